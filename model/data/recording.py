"""From the bytes of a file to a clip of exactly one second, with what was wrong with it counted."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from kws.audio import SILENT_DBFS, AudioError, Waveform, decode, rms
from model.settings import CLIP_SAMPLES

Pcm = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Found:
    """What was found in one file; a ``broken`` one (the reason, as words) gives no clip."""

    padded: bool = False
    cut: bool = False
    silent: bool = False
    broken: str = ""

    def to_text(self) -> str:
        """In short, for the cache: ``""`` for nothing amiss, which most files are."""
        return "!" + self.broken if self.broken else "p" * self.padded + "c" * self.cut + "s" * self.silent

    @staticmethod
    @lru_cache(maxsize=4096)
    def from_text(text: str) -> "Found":
        """What ``to_text`` gave."""
        return Found(broken=text[1:]) if text.startswith("!") else Found("p" in text, "c" in text, "s" in text)


@dataclass
class Audit:
    """What was found while reading clips, by the names of the files."""

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
        counts = {name: len(getattr(self, name)) for name in ("padded", "cut", "silent", "broken")}
        broken = dict(list(self.broken.items())[:examples])
        return {"read": self.read, **counts, "silent_clips": self.silent[:examples], "broken_clips": broken}


def read_clip(data: bytes) -> tuple[Pcm | None, Found]:
    """The bytes of a file -> the clip ``int16[CLIP_SAMPLES]``, or None where it is broken; and what was found."""
    try:
        samples = decode(data).waveform
    except AudioError as error:
        return None, Found(broken=error.detail.rstrip("."))
    clip = fit(samples)
    return to_pcm(clip), Found(samples.size < CLIP_SAMPLES, samples.size > CLIP_SAMPLES, is_silent(clip))


def fit(samples: Waveform, length: int = CLIP_SAMPLES) -> Waveform:
    """Exactly ``length`` samples: zeros after a shorter clip; of a longer one the stretch with the most energy."""
    if samples.size < length:
        return np.pad(samples, (0, length - samples.size))
    if samples.size > length:
        energy = np.cumsum(np.concatenate([[0.0], samples.astype(np.float64) ** 2]))
        start = int(np.argmax(energy[length:] - energy[:-length]))
        return samples[start : start + length]
    return samples


def is_silent(clip: Waveform) -> bool:
    """Whether the root mean square of a clip is below ``SILENT_DBFS``."""
    return bool(20 * np.log10(rms(clip) + 1e-12) < SILENT_DBFS)


def to_pcm(samples: npt.NDArray[np.floating[Any]]) -> Pcm:
    """``float32`` at full scale 1 -> ``int16``, clipped; exact for samples that were 16 bits before."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def from_pcm(pcm: Pcm) -> Waveform:
    """``int16`` -> ``float32`` at full scale 1."""
    return pcm.astype(np.float32) / 32768.0


def as_recorded(samples: npt.NDArray[np.floating[Any]]) -> Waveform:
    """What 16 bits hold of samples at full scale 1: their steps, and nothing beyond full scale."""
    return from_pcm(to_pcm(samples))
