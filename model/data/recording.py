"""From the bytes of a file to a clip of exactly one second, with what was wrong with it counted; and back to a file."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
from numpy.lib.stride_tricks import sliding_window_view

from kws.audio import SAMPLE_RATE, SILENT_DBFS, AudioError, Waveform, decode
from model import console, files
from model.data.source import DataSet, require_clips
from model.errors import UserError
from model.settings import CLIP_SAMPLES

LIST = "clips.json"  # of clips for a test client
EXAMPLES = 20  # names a finding
CLIPPED_RUN = 3  # samples in a row at full scale: what audio editors call clipped


class Found(NamedTuple):
    """What was found in one file; a ``broken`` one (the reason, as words) gives no clip."""

    padded: bool = False
    cut: bool = False
    silent: bool = False
    clipped: bool = False
    broken: str = ""


class Audit(dict[str, Found]):
    """What was found in files, by their names; the broken ones are the only ones that are left out."""

    def named(self, kind: str) -> list[str]:
        return [name for name, found in self.items() if getattr(found, kind)]

    def to_dict(self) -> dict[str, Any]:
        """Counts, and the names of what a person may want to look at."""
        counts = {kind: len(self.named(kind)) for kind in Found._fields}
        broken = {name: self[name].broken for name in self.named("broken")[:EXAMPLES]}
        return {"read": len(self), **counts, "silent_clips": self.named("silent")[:EXAMPLES], "broken_clips": broken}


def read_clip(data: bytes) -> tuple[Waveform | None, Found]:
    """The bytes of a file -> the clip ``float32[CLIP_SAMPLES]``, or None where it is broken; and what was found."""
    try:
        samples = decode(data).waveform
    except AudioError as error:
        return None, Found(broken=error.detail.rstrip("."))
    clip, size = fit(samples), samples.size
    silent = 20 * np.log10(rms(clip) + 1e-12) < SILENT_DBFS
    full = np.abs(clip) >= 32767 / 32768
    clipped = full.sum() >= CLIPPED_RUN and sliding_window_view(full, CLIPPED_RUN).all(axis=1).any()
    return as_recorded(clip), Found(size < CLIP_SAMPLES, size > CLIP_SAMPLES, bool(silent), bool(clipped))


def rms(waveform: npt.NDArray[np.floating[Any]]) -> float:
    """The root mean square of float[samples]; 0 where there are none."""
    return float(np.sqrt(np.mean(waveform.astype(np.float64) ** 2))) if waveform.size else 0.0


def fit(samples: Waveform, length: int = CLIP_SAMPLES) -> Waveform:
    """Exactly ``length`` samples: zeros after a shorter clip; of a longer one the stretch with the most energy."""
    if samples.size <= length:
        return np.pad(samples, (0, length - samples.size))
    energy = np.cumsum(np.concatenate([[0.0], samples.astype(np.float64) ** 2]))
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return samples[start : start + length]


def as_recorded(samples: npt.NDArray[np.floating[Any]]) -> Waveform:
    """What 16 bits hold of samples at full scale 1: their steps, and nothing beyond full scale."""
    steps = np.rint(samples * 32768.0) + 0.0  # 16 bits have no negative zero
    return np.clip(steps, -32768, 32767).astype(np.float32) / 32768.0


def write_clip(path: Path, samples: npt.NDArray[Any]) -> None:
    """Write ``float[samples]`` at ``SAMPLE_RATE`` with 16 bits, as its suffix says. Raises OSError."""
    kind = path.suffix.removeprefix(".")
    files.write_saved(path, lambda file: soundfile.write(file, samples, SAMPLE_RATE, "PCM_16", format=kind))


def write_test_clips(folder: Path, dataset: DataSet, per_label: int) -> None:
    """``LABEL/NAME.wav`` for a few clips of every label's test split, and ``clips.json``, into an empty folder.

    They are for a client that tests a running service. Those are chosen whose names have the lowest SHA-256: the same
    everywhere, spread over the speakers, blind to how a model does on them. Broken ones are passed over.
    """
    require_clips(dataset, ("testing",))
    listed: list[str] = []
    for label in dataset.labels:
        names, written = [clip.name for clip in dataset.of_split("testing", (label,))], list[str]()
        for name in sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest()):
            file = f"{label}/{'_'.join(Path(name).with_suffix('').parts[1:])}.wav"
            if len(written) == per_label or file in written:  # the same in another format
                continue
            try:
                write_clip(folder / file, decode((dataset.root / name).read_bytes()).waveform)
                written.append(file)
            except AudioError as error:
                console.log.warning("broken, passed over: %s (%s)", name, error)
        if not written:
            raise UserError(f"label '{label}' has no readable clips in the testing split of '{dataset.name}'")
        listed += written
    origin = {"source": dataset.name, "licence": dataset.licence, "attribution": dataset.attribution}
    files.write_json(folder / LIST, {**origin, "split": "testing", "clips": listed})
