"""Clips from files: any rate and channel count in, one second of 16 kHz mono out, with what was wrong counted."""

import io
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from model.settings import CLIP_SAMPLES, SAMPLE_RATE

Pcm = npt.NDArray[np.int16]
Samples = npt.NDArray[np.float32]

SILENT_DBFS = -60.0  # RMS over the clip; a whisper beside the microphone is near -50


@dataclass(frozen=True)
class Found:
    """What was found in one file; a ``broken`` one (the reason, as words) gives no clip."""

    padded: bool = False
    cut: bool = False
    silent: bool = False
    broken: str = ""

    def to_text(self) -> str:
        """In short, to be kept: ``""`` for nothing amiss, which most files are."""
        return "!" + self.broken if self.broken else "p" * self.padded + "c" * self.cut + "s" * self.silent

    @staticmethod
    @lru_cache(maxsize=4096)
    def from_text(text: str) -> "Found":
        """What ``to_text`` gave."""
        return Found(broken=text[1:]) if text.startswith("!") else Found("p" in text, "c" in text, "s" in text)


@dataclass
class Audit:
    """What was found while reading clips. Names are kept, so that a report can say which."""

    read: int = 0
    padded: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)  # name -> reason; the only clips that are left out

    def add(self, name: str, found: Found) -> None:
        """Take note of one more file."""
        self.read += 1
        for is_so, names in ((found.padded, self.padded), (found.cut, self.cut), (found.silent, self.silent)):
            if is_so:
                names.append(name)
        if found.broken:
            self.broken[name] = found.broken

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


def to_pcm(samples: npt.NDArray[np.floating[Any]]) -> Pcm:
    """``float32`` at full scale 1 -> ``int16``, clipped; exact for samples that were 16 bits before."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def from_pcm(pcm: Pcm) -> Samples:
    """``int16`` -> ``float32`` at full scale 1."""
    return pcm.astype(np.float32) / 32768.0


def as_recorded(samples: npt.NDArray[np.floating[Any]]) -> Samples:
    """What 16 bits hold of samples at full scale 1: their steps, and nothing beyond full scale."""
    return from_pcm(to_pcm(samples))


def rms(samples: npt.NDArray[np.floating[Any]]) -> float:
    """The root mean square; 0 where there are no samples."""
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) if samples.size else 0.0


def is_silent(clip: Samples) -> bool:
    """Whether the root mean square of a clip is below ``SILENT_DBFS``."""
    return bool(20 * np.log10(rms(clip) + 1e-12) < SILENT_DBFS)


def fit(samples: Samples, length: int = CLIP_SAMPLES) -> Samples:
    """Exactly ``length`` samples: zeros after a shorter clip; of a longer one the stretch with the most energy."""
    if samples.size < length:
        return np.pad(samples, (0, length - samples.size))
    if samples.size > length:
        energy = np.cumsum(np.concatenate([[0.0], samples.astype(np.float64) ** 2]))
        start = int(np.argmax(energy[length:] - energy[:-length]))
        return samples[start : start + length]
    return samples


def read_clip(data: bytes) -> tuple[Pcm | None, Found]:
    """The bytes of a file -> the clip ``int16[CLIP_SAMPLES]``, or None where it is broken; and what was found."""
    try:
        samples = decode(data)
    except BrokenAudioError as error:
        return None, Found(broken=str(error))
    size, samples = samples.size, fit(samples)
    return to_pcm(samples), Found(size < CLIP_SAMPLES, size > CLIP_SAMPLES, is_silent(samples))
