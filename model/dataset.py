"""What a run reads: the splits with their classes, the words held back, the noise, and a digest of it all."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import audio, classes, features, noise, store
from model.data.digest import digest_of
from model.data.layout import SPLITS, Clip, Layout
from model.errors import UserError
from model.settings import CLIP_SAMPLES, SILENCE, UNKNOWN, Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """The clips of one split: the readable ones of the keywords and of other words, then (not in training) silence.

    ``targets`` is ``int64[clips]``, an index into the corpus's labels. ``audit`` tells of the files alone.
    """

    clips: tuple[Clip, ...]
    targets: Tensor
    audit: audio.Audit
    stored: store.Stored
    rows: Tensor  # int64: where each clip's features are stored
    silence: Tensor  # float32[n, N_MELS, FRAMES]: the mel power of the last clips, which no file holds

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def copies(self) -> int:
        """How many versions of each clip there are: the clip itself, then those at other speeds."""
        return self.stored.copies

    def power(self, clips: Tensor, copies: Tensor | int = 0) -> Tensor:
        """The mel power ``float32[n, N_MELS, FRAMES]`` of some clips, each in one of its versions.

        The test split has none: it is heard as waveforms, through the exported model.
        """
        power = self.stored.read(self.rows[clips.clamp(max=len(self.rows) - 1)], copies)
        made = clips >= len(self.rows)
        power[made] = self.silence[clips[made] - len(self.rows)]
        return power


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
        read = self.read(files)
        if len(files) == len(clips):
            return read
        silent = noise.silence_waveforms(self.noise_waveforms[split], split, len(clips) - len(files))
        return np.concatenate([read, silent])

    def unseen_waveforms(self) -> audio.Samples:
        """The clips of the words held back: ``float32[clips, CLIP_SAMPLES]``."""
        return self.read(self.unseen)

    def read(self, clips: Sequence[Clip]) -> audio.Samples:
        """Clips from their files, in their order: ``float32[clips, CLIP_SAMPLES]``.

        Raises:
            UserError: a file has been broken since the data set was read.
        """
        waveforms = np.empty((len(clips), CLIP_SAMPLES), np.float32)
        for row, clip in enumerate(clips):
            pcm, found = audio.read_clip((self.root / clip.name).read_bytes())
            if pcm is None:
                raise UserError(f"'{self.root / clip.name}' changed while it was in use ({found.broken}); run again")
            waveforms[row] = audio.from_pcm(pcm)
        return waveforms


def load(layout: Layout, settings: Settings, progress: store.Progress = lambda *_: None) -> Corpus:
    """Read a data set, its mel power from the cache where it is there.

    Raises:
        UserError: a keyword with no readable clip in some split; a word to hold back that is not there.
    """
    started = time.perf_counter()
    other_words = {clip.word for clip in layout.clips} - set(settings.labels)
    unseen_words = () if settings.only_keywords else classes.unseen_words(other_words, settings)
    known_words = (
        settings.labels if settings.only_keywords else other_words.difference(unseen_words) | {*settings.labels}
    )

    noise_audit = audio.Audit()
    pieces = noise.cut(_read_noise(layout, noise_audit))
    copies = {"training": 1 + len(store.SPEEDS) if settings.speed_copies else 1, "validation": 1, "testing": 0}
    digests, readable, stored = {}, {}, {}
    for name in SPLITS:
        clips = layout.of_split(name)
        names = [clip.name for clip in clips]
        digests[name] = digest_of(layout.root, names, name, settings.threads)
        stored[name] = store.open_store(layout.root, names, digests[name], copies[name], settings.threads, progress)
        readable[name] = [(row, clip) for row, clip in enumerate(clips) if not stored[name].found[row].broken]
    digests["noise"] = digest_of(layout.root, layout.noise, "noise", settings.threads)

    unseen = tuple(sorted(clip for part in readable.values() for _, clip in part if clip.word in unseen_words))
    has_unknown = any(clip.word in known_words and clip.word in other_words for _, clip in readable["training"])
    labels = classes.class_names(settings, has_unknown, bool(pieces["training"]))
    splits, others = {}, {}
    for name in SPLITS:
        audit = audio.Audit()
        for clip, found in zip(layout.of_split(name), stored[name].found, strict=True):
            if clip.word in known_words:
                audit.add(clip.name, found)
        known = [(row, clip) for row, clip in readable[name] if clip.word in known_words]
        others[name] = tuple(clip for _, clip in known if clip.word in other_words)
        splits[name] = _split(name, known, audit, stored[name], labels, settings, pieces[name])
    digest = hashlib.sha256("".join(f"{name}\t{digests[name]}\n" for name in sorted(digests)).encode()).hexdigest()
    log.info("data set read in %.1f s", time.perf_counter() - started)
    return Corpus(
        layout.root, labels, splits, unseen, others, _noise_power(pieces["training"]), pieces, noise_audit, digest
    )


def _split(
    name: str,
    known: list[tuple[int, Clip]],
    audit: audio.Audit,
    stored: store.Stored,
    labels: tuple[str, ...],
    settings: Settings,
    pieces: list[audio.Samples],
) -> Split:
    """Of what can be read, what a split holds: training all, the others a share of the other words; and silence."""
    for label in settings.labels:
        if not any(clip.word == label for _, clip in known):
            raise UserError(f"label '{label}' has no readable clips in the {name} split; replace the broken files")
    silent: tuple[Clip, ...] = ()
    silence = torch.empty(0, features.N_MELS, features.FRAMES)
    if name != "training":
        mean = classes.mean_count((clip for _, clip in known), settings.labels)
        other = [clip for _, clip in known if clip.word not in settings.labels] if UNKNOWN in labels else []
        chosen = set(classes.even_choice(other, round(settings.unknown_share * mean)))
        known = [(row, clip) for row, clip in known if clip.word in settings.labels or clip in chosen]
        if SILENCE in labels:
            silent = noise.silence_clips(name, mean)
            if stored.copies:
                waveforms = torch.from_numpy(noise.silence_waveforms(pieces, name, mean))
                silence = torch.cat([features.mel_power(part) for part in waveforms.split(64)])
    clips = (*(clip for _, clip in known), *silent)
    targets = [labels.index(clip.word if clip.word in labels else UNKNOWN) for clip in clips]
    rows = torch.tensor([row for row, _ in known], dtype=torch.int64)
    return Split(clips, torch.tensor(targets, dtype=torch.int64), audit, stored, rows, silence)


def _read_noise(layout: Layout, audit: audio.Audit) -> list[audio.Samples]:
    recordings = []
    for name in layout.noise:
        found = audio.Found()
        try:
            recordings.append(audio.decode((layout.root / name).read_bytes()))
        except audio.BrokenAudioError as error:
            found = audio.Found(broken=str(error))
        audit.add(name, found)
    return recordings


def _noise_power(pieces: list[audio.Samples]) -> Tensor:
    parts = [features.mel_power(torch.from_numpy(piece)[None])[0].T for piece in pieces]
    return torch.cat(parts) if parts else torch.empty(0, features.N_MELS)
