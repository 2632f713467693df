"""The training data in memory: mel power of every clip, split by split, computed once."""

import hashlib
import itertools
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import audio, features
from model.data.layout import SPLITS, Clip, Layout
from model.errors import UserError
from model.settings import CLIP_SAMPLES, SAMPLE_RATE

log = logging.getLogger(__name__)

SPEEDS = ((9, 10), (11, 10))  # copies at -10 % and +10 %, a cheap vocal-tract change
_CHUNK = 256


@dataclass(frozen=True)
class Split:
    """The clips of one split that could be read.

    ``power`` is ``float32[copies, clips, N_MELS, FRAMES]`` (copy 0 is the clip itself), ``targets`` ``int64[clips]``.
    """

    clips: tuple[Clip, ...]
    power: Tensor
    targets: Tensor
    audit: audio.Audit

    def __len__(self) -> int:
        return len(self.clips)


@dataclass(frozen=True)
class Corpus:
    """All that a run reads: its splits, the noise (mel power ``float32[frames, N_MELS]``) and a digest of the files."""

    splits: dict[str, Split]
    noise: Tensor
    noise_audit: audio.Audit
    digest: str


def waveforms(root: Path, clips: tuple[Clip, ...]) -> Tensor:
    """Clips that are known to be readable, as the model's input ``float32[clips, CLIP_SAMPLES]``."""
    pcm = [samples for _, samples in audio.read_clips(root, clips, audio.Audit(), hashlib.sha256())]
    return _float(np.stack(pcm))


def load(layout: Layout, labels: tuple[str, ...], speed_copies: bool) -> Corpus:
    """Read the clips of ``labels`` and the noise, and compute their mel power.

    Raises:
        UserError: a label with no readable clip in some split.
    """
    digest = hashlib.sha256(f"labels\t{','.join(labels)}\n".encode())
    splits = {}
    for name in SPLITS:
        clips = tuple(clip for clip in layout.of_split(name) if clip.word in labels)
        splits[name] = _load_split(layout.root, clips, labels, speed_copies and name == "training", digest)
        for index, label in enumerate(labels):
            if not (splits[name].targets == index).any():
                raise UserError(f"label '{label}' has no readable clips in the {name} split; replace the broken files")
    noise_audit = audio.Audit()
    noise = _load_noise(layout, noise_audit, digest)
    return Corpus(splits, noise, noise_audit, digest.hexdigest())


def _load_split(root: Path, clips: tuple[Clip, ...], labels: tuple[str, ...], copies: bool, digest: object) -> Split:
    speeds = SPEEDS if copies else ()
    power = torch.empty(1 + len(speeds), len(clips), features.N_MELS, features.FRAMES)
    audit = audio.Audit()
    reader = audio.read_clips(root, clips, audit, digest)
    kept: list[Clip] = []
    while chunk := list(itertools.islice(reader, _CHUNK)):
        batch = _float(np.stack([pcm for _, pcm in chunk]))
        place = slice(len(kept), len(kept) + len(chunk))
        power[0, place] = features.mel_power(batch)
        for copy, (numerator, denominator) in enumerate(speeds, start=1):
            power[copy, place] = features.mel_power(features.change_speed(batch, numerator, denominator))
        kept += [clip for clip, _ in chunk]
    targets = torch.tensor([labels.index(clip.word) for clip in kept], dtype=torch.int64)
    return Split(tuple(kept), power[:, : len(kept)], targets, audit)


def _load_noise(layout: Layout, audit: audio.Audit, digest: "hashlib._Hash") -> Tensor:
    parts = []
    for name in layout.noise:
        data = (layout.root / name).read_bytes()
        digest.update(f"{name}\tnoise\t{hashlib.sha256(data).hexdigest()}\n".encode())
        audit.read += 1
        try:
            samples = audio.decode(data)
        except audio.BrokenAudioError as error:
            audit.broken[name] = str(error)
            continue
        if len(samples) >= SAMPLE_RATE:
            parts.append(features.mel_power(torch.from_numpy(samples)[None])[0].T)
    return torch.cat(parts) if parts else torch.empty(0, features.N_MELS)


def _float(pcm: audio.Pcm) -> Tensor:
    assert pcm.shape[-1] == CLIP_SAMPLES  # noqa: S101 - read_clips' promise
    return torch.from_numpy(pcm).float() / 32768.0
