"""What a run reads: the splits with their classes, the words held back, the noise, and a digest of it all."""

import hashlib
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import audio, classes, features, noise
from model.data.layout import SPLITS, Clip, Layout
from model.errors import UserError
from model.settings import CLIP_SAMPLES, SILENCE, UNKNOWN, Settings

log = logging.getLogger(__name__)

SPEEDS = ((9, 10), (11, 10))  # copies at -10 % and +10 %, a cheap vocal-tract change
_CHUNK = 256


@dataclass(frozen=True)
class Split:
    """The clips of one split: the readable ones of the keywords and of other words, then (not in training) silence.

    ``targets`` is ``int64[clips]``, an index into the corpus's labels. ``audit`` tells of the files alone.
    """

    clips: tuple[Clip, ...]
    targets: Tensor
    audit: audio.Audit
    stored: Tensor  # float32[copies, clips, N_MELS, FRAMES]

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def copies(self) -> int:
        """How many versions of each clip there are: the clip itself, then those at other speeds."""
        return len(self.stored)

    def power(self, clips: Tensor | slice, copies: Tensor | int = 0) -> Tensor:
        """The mel power ``float32[n, N_MELS, FRAMES]`` of some clips, each in one of its versions."""
        return self.stored[copies, clips]


@dataclass(frozen=True)
class Corpus:
    """A data set as a run sees it.

    ``labels`` are the model's classes. ``unseen`` holds every clip of the words held back, ``others`` all the clips of
    the other words, split by split, of which a split takes a share. ``noise`` is the mel power ``float32[frames,
    N_MELS]`` of the training part of the background recordings, ``noise_waveforms`` each part as ``float32[samples]``
    (16 kHz, a second or more).
    """

    root: Path
    labels: tuple[str, ...]
    splits: dict[str, Split]
    unseen: tuple[Clip, ...]
    others: dict[str, tuple[Clip, ...]]
    noise: Tensor
    noise_waveforms: dict[str, list[audio.Samples]]
    noise_audit: audio.Audit
    digest: str

    @property
    def unseen_words(self) -> tuple[str, ...]:
        """The words that no part of training hears."""
        return tuple(sorted({clip.word for clip in self.unseen}))

    def waveforms(self, split: str) -> audio.Samples:
        """The clips of a split in their order, generated silence included: ``float32[clips, CLIP_SAMPLES]``."""
        clips = self.splits[split].clips
        files = [clip for clip in clips if clip.word != SILENCE]
        parts = [self.read(files)]
        if len(files) < len(clips):
            parts.append(noise.silence_clips(self.noise_waveforms[split], split, len(clips) - len(files))[1])
        return np.concatenate(parts)

    def unseen_waveforms(self) -> audio.Samples:
        """The clips of the words held back: ``float32[clips, CLIP_SAMPLES]``."""
        return self.read(self.unseen)

    def read(self, clips: Sequence[Clip]) -> audio.Samples:
        """Readable clips from their files, in their order: ``float32[clips, CLIP_SAMPLES]``."""
        reader = audio.read_clips(self.root, clips, audio.Audit(), hashlib.sha256())
        rows = [_float(pcm) for _, pcm in reader]
        return np.stack(rows) if rows else np.empty((0, CLIP_SAMPLES), np.float32)


def load(layout: Layout, settings: Settings) -> Corpus:
    """Read a data set and compute its mel power.

    Raises:
        UserError: a keyword with no readable clip in some split; a word to hold back that is not there.
    """
    known = [clip for clip in layout.clips if clip.word in settings.labels]
    other_words = {clip.word for clip in layout.clips} - set(settings.labels)
    unseen = () if settings.only_keywords else classes.unseen_words(other_words, settings)
    if not settings.only_keywords:
        known += [clip for clip in layout.clips if clip.word in other_words and clip.word not in unseen]

    digest = hashlib.sha256()
    noise_audit = audio.Audit()
    pieces = noise.cut(_read_noise(layout, noise_audit, digest))
    has_noise = bool(pieces["training"])
    held_back = [clip for clip in layout.clips if clip.word in unseen]
    unseen_clips = tuple(clip for clip, _ in audio.read_clips(layout.root, held_back, audio.Audit(), digest))

    read = {}
    for name in SPLITS:
        clips = sorted(clip for clip in known if clip.split == name)
        read[name] = _read_split(layout.root, clips, settings.speed_copies and name == "training", digest)
    has_unknown = any(clip.word not in settings.labels for clip in read["training"][0])
    labels = classes.class_names(settings, has_unknown, has_noise)
    splits, others = {}, {}
    for name, (clips, power, audit) in read.items():
        others[name] = tuple(clip for clip in clips if clip.word not in settings.labels)
        splits[name] = _split(name, clips, power, audit, labels, settings, pieces[name])
    parts = [features.mel_power(torch.from_numpy(piece)[None])[0].T for piece in pieces["training"]]
    power = torch.cat(parts) if parts else torch.empty(0, features.N_MELS)
    return Corpus(layout.root, labels, splits, unseen_clips, others, power, pieces, noise_audit, digest.hexdigest())


def _split(
    name: str,
    clips: list[Clip],
    power: Tensor,
    audit: audio.Audit,
    labels: tuple[str, ...],
    settings: Settings,
    pieces: list[audio.Samples],
) -> Split:
    """Of what was read, what a split holds: training everything, the others a share of the other words, and silence."""
    for label in settings.labels:
        if not any(clip.word == label for clip in clips):
            raise UserError(f"label '{label}' has no readable clips in the {name} split; replace the broken files")
    if name != "training":
        mean = classes.mean_count(clips, settings.labels)
        other = [clip for clip in clips if clip.word not in settings.labels] if UNKNOWN in labels else []
        chosen = set(classes.even_choice(other, round(settings.unknown_share * mean)))
        rows = [row for row, clip in enumerate(clips) if clip.word in settings.labels or clip in chosen]
        clips, power = [clips[row] for row in rows], power[:, rows]
        if SILENCE in labels:
            silent, waveforms = noise.silence_clips(pieces, name, mean)
            clips += silent
            power = torch.cat([power, features.mel_power(torch.from_numpy(waveforms))[None]], dim=1)
    targets = [labels.index(clip.word if clip.word in labels else UNKNOWN) for clip in clips]
    return Split(tuple(clips), torch.tensor(targets, dtype=torch.int64), audit, power)


def _read_split(
    root: Path, clips: list[Clip], copies: bool, digest: "hashlib._Hash"
) -> tuple[list[Clip], Tensor, audio.Audit]:
    speeds = SPEEDS if copies else ()
    power = torch.empty(1 + len(speeds), len(clips), features.N_MELS, features.FRAMES)
    audit = audio.Audit()
    reader = audio.read_clips(root, clips, audit, digest)
    kept: list[Clip] = []
    while chunk := list(itertools.islice(reader, _CHUNK)):
        batch = torch.from_numpy(np.stack([_float(pcm) for _, pcm in chunk]))
        place = slice(len(kept), len(kept) + len(chunk))
        power[0, place] = features.mel_power(batch)
        for copy, (numerator, denominator) in enumerate(speeds, start=1):
            power[copy, place] = features.mel_power(features.change_speed(batch, numerator, denominator))
        kept += [clip for clip, _ in chunk]
    return kept, power[:, : len(kept)], audit


def _read_noise(layout: Layout, audit: audio.Audit, digest: "hashlib._Hash") -> list[audio.Samples]:
    recordings = []
    for name in layout.noise:
        data = (layout.root / name).read_bytes()
        digest.update(f"{name}\tnoise\t{hashlib.sha256(data).hexdigest()}\n".encode())
        audit.read += 1
        try:
            recordings.append(audio.decode(data))
        except audio.BrokenAudioError as error:
            audit.broken[name] = str(error)
    return recordings


def _float(pcm: audio.Pcm) -> audio.Samples:
    return pcm.astype(np.float32) / 32768.0
