"""Log-mel features: mel power, computed once a clip and kept on disk, and its normalised logarithm for the network.

The cache has a folder a split, ``$KWS_CACHE/features/<digest of all that it depends on>``: ``power.f16``, the square
root of mel power as float16, and ``files.json``, what was found in each file. Half precision of the root keeps 1 part
in 1,000 of the power over 15 decades, silence to full scale, in half the memory.
"""

import json
import mmap
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchaudio
from torch import Tensor

from kws.audio import SAMPLE_RATE, AudioError, decode
from model import console, files
from model.data.recording import Found, read_clip
from model.data.speech import MAX_SECONDS
from model.settings import CLIP_SAMPLES, Settings

N_FFT = 512  # the window's length, too: 32 ms
HOP_LENGTH = 256  # 16 ms
BIN_STEP = 2  # every second bin: 62.5 Hz apart, as far as the window's main lobe reaches to either side
N_MELS = 40
F_MIN, F_MAX = 20.0, 7600.0
FRAMES = 1 + (CLIP_SAMPLES - N_FFT) // HOP_LENGTH  # whole windows, none padded
LOG_OFFSET = 1e-6
LEAST_DEVIATION = 0.1  # speech deviates by 2, noise by 0.6: less is silence, whose rounding errors must not be blown up
_CONSTANTS = ("N_FFT", "HOP_LENGTH", "BIN_STEP", "N_MELS", "F_MIN", "F_MAX", "LOG_OFFSET", "LEAST_DEVIATION")
FRONT_END = {name.lower(): globals()[name] for name in _CONSTANTS}  # written down beside the weights
SPEEDS = ((9, 10), (11, 10))  # copies at -10 % and +10 %, a cheap vocal-tract change
POWER, FILES = "power.f16", "files.json"
RECIPE = 5  # raise it when the same files shall give other features
_PACKAGES = ("torch", "torchaudio", "numpy", "soundfile", "soxr")  # that compute them
_CHUNK = 64  # clips in work at once, a thread


class MelSpectrogram(torch.nn.Module):
    """The reference front end, ``float32[batch, CLIP_SAMPLES]`` -> mel power ``float32[batch, N_MELS, FRAMES]``.

    A 32 ms Hann window every 16 ms, power of every second bin (enough for the mel bands, and half the work), 40 HTK mel
    bands. Windows are symmetric and never padded so that the exported graph can fold them (``export.py``).
    """

    def __init__(self) -> None:
        super().__init__()
        self.spectrogram = torchaudio.transforms.Spectrogram(
            n_fft=N_FFT, hop_length=HOP_LENGTH, power=2.0, center=False, wkwargs={"periodic": False}
        )
        self.mel_scale = torchaudio.transforms.MelScale(
            n_mels=N_MELS, sample_rate=SAMPLE_RATE, f_min=F_MIN, f_max=F_MAX, n_stft=N_FFT // 2 // BIN_STEP + 1
        )

    @torch.inference_mode()
    def forward(self, waveforms: Tensor) -> Tensor:
        return torch.cat([self.mel_scale(self.spectrogram(part)[:, ::BIN_STEP]) for part in waveforms.split(128)])


mel_power = MelSpectrogram()


def log_mel(power: Tensor) -> Tensor:
    """Mel power ``[batch, N_MELS, frames]`` -> its logarithm, each band's mean 0, its deviation at most 1; same shape.

    With each band's mean the recording's level, the microphone's colour and steady hums go (Atal 1974).
    """
    log = torch.log(power + LOG_OFFSET)
    centred = log - log.mean(dim=2, keepdim=True)
    deviation = (centred * centred).mean(dim=(1, 2), keepdim=True).sqrt()
    return centred / deviation.clamp(min=LEAST_DEVIATION)


def change_speed(waveforms: Tensor, numerator: int, denominator: int) -> Tensor:
    """Play clips ``numerator / denominator`` times as fast, pitch included; same shape, the middle stays in place."""
    changed = torchaudio.functional.resample(waveforms, numerator, denominator)
    missing = waveforms.shape[-1] - changed.shape[-1]
    return torch.nn.functional.pad(changed, (missing // 2, missing - missing // 2))  # a negative pad crops


@dataclass(frozen=True)
class Stored:
    """The features of some files, in their order, and what was found in each."""

    found: tuple[Found, ...]
    copies: int
    power: Tensor  # float16[files * copies, N_MELS * FRAMES], mapped; empty where no features were wanted
    mapping: mmap.mmap | None = None

    def read(self, rows: Tensor, copies: Tensor | int = 0) -> Tensor:
        """The mel power ``float32[n, N_MELS, FRAMES]`` of some rows, each in one of its versions."""
        chosen = self.power[rows * self.copies + copies]
        return chosen.float().square_().view(-1, N_MELS, FRAMES)

    def release(self) -> None:
        """Give the memory back that reading took; the next reading takes it again, from the kernel's cache of files."""
        if self.mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.mapping.madvise(mmap.MADV_DONTNEED)


def stored_features(root: Path, names: Sequence[str], digest: str, copies: int, workers: int) -> Stored:
    """The features of the audio files ``names`` below ``root``, whose content ``digest`` names; computed at most once.

    ``copies`` is 0 (only see what is in the files), 1, or 1 + len(SPEEDS). A broken file's row is zero.
    """

    def work(start: int) -> tuple[list[Found], bytes]:
        waveforms, found = read_clips(root, names[start : start + _CHUNK])
        power = [mel_power(change_speed(waveforms, *speed)) for speed in ((1, 1), *SPEEDS)[:copies]]
        return found, torch.stack(power, 1).sqrt_().half().numpy().tobytes() if copies else b""

    recipe, parts = {"digest": digest, "copies": copies, "row": N_MELS * FRAMES}, range(0, len(names), _CHUNK)
    notes, power, mapping = _cached(recipe, parts, work, workers)
    return Stored(tuple(Found(*note) for note in notes), copies, power, mapping)


class Running(NamedTuple):
    """The mel power of long recordings, one after another, each at every speed."""

    power: Tensor  # float16[frames, N_MELS], the square root, mapped
    frames: Tensor  # int64[recordings, speeds]: how many each has; 0 of a broken one
    broken: tuple[str, ...]  # why each recording is broken; empty where it is not


def running_features(recordings: Sequence[Path], digest: str, settings: Settings) -> Running:
    factors = ((1, 1), *SPEEDS) if settings.speed_copies else ((1, 1),)

    def work(path: Path) -> tuple[list[tuple[list[int], str]], bytes]:
        try:
            waveform = torch.from_numpy(decode(path.read_bytes(), max_seconds=MAX_SECONDS).waveform)
        except AudioError as error:
            return [([0] * len(factors), error.detail)], b""
        powers = [_running_power(waveform, *factor) for factor in factors]
        return [([len(power) for power in powers], "")], torch.cat(powers).sqrt_().half().numpy().tobytes()

    recipe = {"running": digest, "factors": factors, "row": N_MELS}
    notes, power, _ = _cached(recipe, recordings, work, settings.workers)
    frames = torch.tensor([counts for counts, _ in notes], dtype=torch.int64).view(-1, len(factors))
    return Running(power, frames, tuple(why for _, why in notes))


def _cached(
    recipe: dict[str, Any], parts: Sequence[Any], work: Callable[[Any], tuple[list[Any], bytes]], workers: int
) -> tuple[list[Any], Tensor, mmap.mmap | None]:
    """An entry of the cache: a note a file, and all numbers, float16[n, row], mapped; ``work`` computes those of one of
    the ``parts``, where there is no entry yet."""
    recipe |= {"speeds": SPEEDS, "front_end": FRONT_END, "recipe": RECIPE}
    recipe["versions"] = {package: version(package) for package in _PACKAGES}

    def fill(folder: Path) -> None:
        notes: list[Any] = []
        pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
        with pool, (folder / POWER).open("wb") as file:
            for found, power in console.track(pool.map(work, parts), len(parts), "computing features (parts)"):
                file.write(power)
                notes += found
        files.write_json(folder / FILES, notes)

    entry = files.cached("features", recipe, fill)
    notes = json.loads((entry / FILES).read_text(encoding="utf-8"))
    if not (entry / POWER).stat().st_size:
        return notes, torch.empty(0, recipe["row"], dtype=torch.float16), None
    with (entry / POWER).open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # never written, but torch wants it writable
    return notes, torch.frombuffer(mapping, dtype=torch.float16).view(-1, recipe["row"]), mapping


def _running_power(waveform: Tensor, numerator: int, denominator: int) -> Tensor:
    """``float32[samples]``, played at another speed -> mel power ``float32[frames, N_MELS]``, a minute at a time."""
    waveform = torchaudio.functional.resample(waveform, numerator, denominator)
    step = 3750 * HOP_LENGTH
    starts = range(0, max(0, len(waveform) - N_FFT + 1), step)
    parts = [mel_power(waveform[None, start : start + step + N_FFT - HOP_LENGTH])[0].T for start in starts]
    return torch.cat([torch.empty(0, N_MELS), *parts])


def read_clips(root: Path, names: Sequence[str], more: int = 0) -> tuple[Tensor, list[Found]]:
    """``float32[clips + more, CLIP_SAMPLES]``, from files, a broken one zero, then zeros; what was found in each."""
    waveforms, found = torch.zeros(len(names) + more, CLIP_SAMPLES), []
    for row, name in enumerate(names):
        waveform, seen = read_clip((root / name).read_bytes())
        found.append(seen)
        if waveform is not None:
            waveforms[row] = torch.from_numpy(waveform)
    return waveforms, found
