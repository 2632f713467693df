"""Clips from files: any rate and channel count in, one second of 16 kHz mono out, with what was wrong counted."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.data.layout import Clip
from model.settings import CLIP_SAMPLES, SAMPLE_RATE

Pcm = npt.NDArray[np.int16]
Samples = npt.NDArray[np.float32]

SILENT_DBFS = -60.0  # RMS over the clip; a whisper beside the microphone is near -50


@dataclass
class Audit:
    """What was found while reading clips. Names are kept, so that a report can say which."""

    read: int = 0
    padded: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)  # name -> reason; the only clips that are left out

    def to_dict(self, examples: int = 20) -> dict[str, Any]:
        """Counts, and the names of what a person may want to look at."""
        return {
            "read": self.read,
            "padded": len(self.padded),
            "cut": len(self.cut),
            "silent": len(self.silent),
            "broken": len(self.broken),
            "silent_clips": self.silent[:examples],
            "broken_clips": dict(list(self.broken.items())[:examples]),
        }


class BrokenAudioError(Exception):
    """A file that holds no audio: empty, undecodable or not finite."""


def decode(data: bytes) -> Samples:
    """The bytes of an audio file -> ``float32[samples]``, 16 kHz, mono, full scale 1.

    Raises:
        BrokenAudioError: not decodable, no samples, or samples that are not finite.
    """
    import soundfile

    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise BrokenAudioError(f"not decodable: {error.error_string.rstrip('.')}") from error
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if mono.size == 0:
        raise BrokenAudioError("no samples")
    if not np.isfinite(mono).all():
        raise BrokenAudioError("samples are not finite")
    if rate != SAMPLE_RATE:
        import soxr

        mono = soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32)


def to_pcm(samples: Samples) -> Pcm:
    """``float32`` at full scale 1 -> ``int16``, clipped; exact for samples that were 16 bits before."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def fit(samples: Samples, length: int = CLIP_SAMPLES) -> Samples:
    """Exactly ``length`` samples: zeros after a shorter clip; of a longer one the stretch with the most energy."""
    if samples.size < length:
        return np.pad(samples, (0, length - samples.size))
    if samples.size > length:
        energy = np.cumsum(np.concatenate([[0.0], samples.astype(np.float64) ** 2]))
        start = int(np.argmax(energy[length:] - energy[:-length]))
        return samples[start : start + length]
    return samples


def read_clips(root: Path, clips: Sequence[Clip], audit: Audit, digest: Any) -> Iterator[tuple[Clip, Pcm]]:
    """The readable ones of ``clips`` as ``int16[CLIP_SAMPLES]``, in order.

    Fills ``audit``, and feeds each file's name, split and SHA-256 to ``digest`` (a ``hashlib`` object), so that the
    digest names the data whatever folder or archive it came from.
    """
    for clip in clips:
        data = (root / clip.name).read_bytes()
        digest.update(f"{clip.name}\t{clip.split}\t{hashlib.sha256(data).hexdigest()}\n".encode())
        audit.read += 1
        try:
            samples = decode(data)
        except BrokenAudioError as error:
            audit.broken[clip.name] = str(error)
            continue
        if samples.size < CLIP_SAMPLES:
            audit.padded.append(clip.name)
        elif samples.size > CLIP_SAMPLES:
            audit.cut.append(clip.name)
        samples = fit(samples)
        rms = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
        if 20 * np.log10(rms + 1e-12) < SILENT_DBFS:
            audit.silent.append(clip.name)
        yield clip, to_pcm(samples)
