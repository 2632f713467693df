"""What the probe sends: labelled clips of a folder, and a tone made by sox."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


class ClipsError(ValueError):
    """The clips folder cannot be used; the message is one line."""


@dataclass(frozen=True)
class Clip:
    """A WAV file and the keyword it holds."""

    label: str
    path: Path

    def read(self) -> bytes:
        """The file's bytes."""
        return self.path.read_bytes()


def find_clips(folder: Path) -> list[Clip]:
    """The clips `folder/<label>/*.wav`, in the order of their names.

    Raises:
        ClipsError: there is no such folder, no clip in it, or a label's folder without any.
    """
    if not folder.is_dir():
        raise ClipsError(f"{folder} is not a folder")
    labels = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    clips = []
    for label in labels:
        files = sorted(path for path in label.iterdir() if path.suffix.lower() == ".wav" and path.is_file())
        if not files:
            raise ClipsError(f"{label} holds no .wav file")
        clips += [Clip(label.name, path) for path in files]
    if not clips:
        raise ClipsError(f"{folder} holds no clips: wanted {folder}/<label>/*.wav")
    return clips


TONE_HZ = 440


def sox_tone() -> bytes | None:
    """One second of a sine as a 16 kHz WAV, made by sox; None where sox is not installed.

    Raises:
        RuntimeError: sox is installed but fails; with what it says.
    """
    if shutil.which("sox") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tone.wav"
        command = ["sox", "-n", "-r", "16000", "-c", "1", "-b", "16", str(path)]
        command += ["synth", "1", "sine", str(TONE_HZ), "vol", "0.5"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        if run.returncode:
            raise RuntimeError(f"sox failed: {run.stderr.strip()}")
        return path.read_bytes()
