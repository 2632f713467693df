"""The splits of a data set as a run sees them, and the sampler that makes an epoch.

The task of Speech Commands (Warden 2018, arXiv:1804.03209): the keywords, ``_unknown_`` for every other word, beyond it
for every second of running speech, and ``_silence_`` for no word at all.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from kws.audio import AudioError, Waveform, decode
from kws.detection import SILENCE, UNKNOWN
from model import features
from model.data import noise
from model.data.layout import SPLITS, Clip
from model.data.recording import Audit, Found
from model.data.source import DataSet, digest_of
from model.data.speech import Speech, crops, open_speech
from model.errors import UserError
from model.settings import CLIP_SAMPLES, Settings

# What stands for a clip that no file holds: silence made from noise, a crop of running speech, a hard one.
NO_CLIP, CROP, HARD = -1, -2, -3


@dataclass(frozen=True)
class Split:
    """The clips of one split: the readable ones of the keywords and of other words, then (not in training) what no file
    holds, crops of running speech where there are no other words, and silence."""

    clips: tuple[Clip, ...]
    targets: Tensor  # int64[clips]: an index into the corpus's labels
    audit: Audit  # of the files alone
    stored: features.Stored
    rows: Tensor  # int64: where each clip's features are stored
    made: Waveform  # float32[n, CLIP_SAMPLES]: the last clips, which no file holds
    made_power: Tensor  # their mel power

    def __len__(self) -> int:
        return len(self.clips)

    def power(self, clips: Tensor, copies: Tensor | int = 0) -> Tensor:
        """The mel power ``float32[n, N_MELS, FRAMES]`` of some clips of training or validation, each in one version."""
        power = self.stored.read(self.rows[clips.clamp(max=len(self.rows) - 1)], copies)
        made = clips >= len(self.rows)
        power[made] = self.made_power[clips[made] - len(self.rows)]
        return power


@dataclass(frozen=True)
class Corpus:
    """A data set as a run sees it."""

    dataset: DataSet
    labels: tuple[str, ...]  # the model's classes: the keywords, then _unknown_ and _silence_ as far as they are there
    splits: dict[str, Split]
    speech: Speech
    others: dict[str, tuple[Clip, ...]]  # all clips of the other words, split by split, of which a split takes a share
    noise: Tensor  # float32[frames, N_MELS]: the mel power of the training part of the background recordings
    noise_waveforms: dict[str, list[Waveform]]  # each part as float32[samples], 16 kHz, a second or more
    noise_audit: Audit
    digest: str  # of names and contents

    def waveforms(self, split: str) -> Waveform:
        """The clips of a split in their order, those that no file holds included: ``float32[clips, CLIP_SAMPLES]``."""
        part = self.splits[split]
        waveforms = self.read(part.clips[: len(part.rows)], len(part.made))
        waveforms[len(part.rows) :] = part.made
        return waveforms

    def classes(self, split: str) -> list[str]:
        """The class of each of these clips."""
        return [self.labels[target] for target in self.splits[split].targets.tolist()]

    def read(self, clips: Sequence[Clip], more: int = 0) -> Waveform:
        """``float32[clips + more, CLIP_SAMPLES]``: files, then zeros. Raises UserError: one broke since it was read."""
        waveforms, seen = features.read_clips(self.dataset.root, [clip.name for clip in clips], more)
        for path, found in zip((self.dataset.root / clip.name for clip in clips), seen, strict=True):
            if found.broken:
                raise UserError(f"'{path}' changed while it was in use ({found.broken}); run again")
        return waveforms.numpy()


def load(dataset: DataSet, settings: Settings) -> Corpus:
    """Read a data set, mel power from the cache where it is there. Raises UserError: a keyword has no readable clip."""
    keywords = dataset.labels
    other_words = {clip.word for clip in dataset.clips} - {*keywords, SILENCE}
    speech = open_speech(settings, keywords)

    noise_audit, recordings = Audit(), []
    for name in dataset.noise:
        noise_audit[name] = Found()
        try:
            recordings.append(decode((dataset.root / name).read_bytes()).waveform)
        except AudioError as error:
            noise_audit[name] = Found(broken=error.detail.rstrip("."))
    pieces = noise.cut(recordings)
    power = [features.mel_power(torch.from_numpy(piece)[None])[0].T for piece in pieces["training"]]
    noise_power = torch.cat([torch.empty(0, features.N_MELS), *power])

    copies = {"training": 1 + len(features.SPEEDS) if settings.speed_copies else 1, "validation": 1, "testing": 0}
    noise_digest = digest_of(dataset.root, dataset.noise, "noise")
    digests, stored, readable = {"noise": noise_digest, "speech": speech.digest}, {}, {}
    for name in SPLITS:
        clips = dataset.of_split(name)
        names = [clip.name for clip in clips]
        digests[name] = digest_of(dataset.root, names, name)
        stored[name] = features.stored_features(dataset.root, names, digests[name], copies[name], settings.workers)
        readable[name] = [clip for clip, found in zip(clips, stored[name].found, strict=True) if not found.broken]
        missing = sorted({*keywords}.difference(clip.word for clip in readable[name]))
        if missing and (name == "testing" or not dataset.test_only):
            raise UserError(f"label '{missing[0]}' has no readable clips in the {name} split; replace the broken files")
    trained = {clip.word for clip in readable["testing" if dataset.test_only else "training"]}
    unknown = (UNKNOWN,) if trained & other_words or speech.trained_on else ()
    silence = (SILENCE,) if pieces["training"] or SILENCE in trained else ()
    labels = (*keywords, *unknown, *silence)
    if len(labels) < 2:
        raise UserError(f"the word '{labels[0]}' has nothing to be told from; give more --labels, other words or noise")
    others = {name: tuple(clip for clip in clips if clip.word in other_words) for name, clips in readable.items()}
    digest = hashlib.sha256("".join(f"{name}\t{digests[name]}\n" for name in sorted(digests)).encode()).hexdigest()
    corpus = Corpus(dataset, labels, {}, speech, others, noise_power, pieces, noise_audit, digest)
    corpus.splits.update({name: _split(corpus, name, stored[name]) for name in SPLITS})
    return corpus


def _split(corpus: Corpus, name: str, stored: features.Stored) -> Split:
    """What a split holds of the readable clips. Training holds all; the others hold as many other words, and as much
    silence, as a keyword has clips on average, so that what is judged does not depend on the recipe."""
    labels, keywords, pieces = corpus.labels, corpus.dataset.labels, corpus.noise_waveforms[name]
    seen = enumerate(zip(corpus.dataset.of_split(name), stored.found, strict=True))
    used = [(row, clip, found) for row, (clip, found) in seen if clip.word != SILENCE or SILENCE in labels]
    rows = {clip: row for row, clip, found in used if not found.broken}
    counts = Counter(clip.word for clip in rows)
    more, made = list[Clip](), np.empty((0, CLIP_SAMPLES), np.float32)
    if name != "training":
        mean = round(sum(counts[word] for word in keywords) / len(keywords))
        other = [clip for clip in rows if clip.word not in (*keywords, SILENCE)]
        for clip in {*other} - _even_choice(other, mean if UNKNOWN in labels else 0):
            del rows[clip]
        speech = corpus.speech.without[name]
        spoken = crops(speech, mean) if UNKNOWN in labels and speech and not other else made
        missing = max(0, mean - counts[SILENCE]) if SILENCE in labels and pieces else 0
        made = np.concatenate([spoken, noise.silence_waveforms(pieces, name, missing)])
        words = [UNKNOWN] * len(spoken) + [SILENCE] * missing
        more = [Clip(f"{word}/{name}_{row:05d}", word, name) for row, word in enumerate(words)]
    clips = (*rows, *more)
    targets = torch.tensor([labels.index(clip.word if clip.word in labels else UNKNOWN) for clip in clips]).long()
    audit = Audit({clip.name: found for _, clip, found in used})
    power = map(features.mel_power, torch.from_numpy(made).split(64) if len(made) else ())
    made_power = torch.cat([torch.empty(0, features.N_MELS, features.FRAMES), *power])
    return Split(clips, targets, audit, stored, torch.tensor([*rows.values()]), made, made_power)


def _even_choice(clips: Sequence[Clip], count: int) -> set[Clip]:
    """Up to ``count`` of the clips, evenly over their words, the same ones each time."""
    order = sorted(clips, key=lambda clip: hashlib.sha1(clip.name.encode()).digest())  # noqa: S324
    of_words = [[clip for clip in order if clip.word == word] for word in {clip.word for clip in clips}]
    rank = {clip: number for of_word in of_words for number, clip in enumerate(of_word)}
    return {*sorted(order, key=lambda clip: rank[clip])[:count]}


class Sampler:
    """Draws an epoch's clips from the training split.

    Every keyword clip once; other words ``unknown_share`` times as often as a keyword has clips on average, evenly over
    the words, however many clips each has; silence ``silence_share`` times as often, from noise and from its own clips;
    crops of running speech, every second one a hard one, up to ``speech_share`` of all.
    """

    def __init__(self, corpus: Corpus, settings: Settings) -> None:
        rows: dict[str, list[int]] = {}
        for row, clip in enumerate(corpus.splits["training"].clips):
            rows.setdefault(clip.word, []).append(row)
        keywords = corpus.dataset.labels
        self._keywords = torch.tensor([row for word in keywords for row in rows[word]])
        mean = len(self._keywords) / len(keywords)
        self._others = [torch.tensor(rows[word]) for word in sorted(rows) if word not in (*keywords, SILENCE)]
        self._unknown = max(1, round(settings.unknown_share * mean)) if self._others else 0
        recorded = [torch.tensor(rows[SILENCE])] if SILENCE in rows else []
        self._silence = max(1, round(settings.silence_share * mean)) if SILENCE in corpus.labels else 0
        self._silent = [torch.full((self._silence,), NO_CLIP)] * bool(len(corpus.noise)) + recorded
        share = settings.speech_share if corpus.speech.trained_on else 0.0
        self._crops = round((len(self._keywords) + self._unknown + self._silence) * share / (1 - share))

    def __len__(self) -> int:
        return len(self._keywords) + self._unknown + self._silence + self._crops

    def epoch(self, generator: Generator) -> Tensor:
        """The rows of the split for one epoch in random order, ``int64[len(self)]``, and what stands for no clip."""
        unknown = _draw(self._others, self._unknown, generator)
        silence = _draw(self._silent, self._silence, generator)
        crops = torch.tensor([CROP, HARD]).repeat(self._crops // 2 + 1)[: self._crops]
        rows = torch.cat([self._keywords, unknown, silence, crops])
        return rows[torch.randperm(len(rows), generator=generator)]


def _draw(groups: list[Tensor], count: int, generator: Generator) -> Tensor:
    """``count`` rows, as many of each group; a group's rows all once before any comes again."""
    none = torch.empty(0, dtype=torch.int64)
    drawn = [none]
    for rank, group in enumerate(torch.randperm(len(groups), generator=generator).tolist() if count else ()):
        rows, share = groups[group], count // len(groups) + (rank < count % len(groups))  # the first give one more
        orders = [torch.randperm(len(rows), generator=generator) for _ in range(-(-share // len(rows)))]
        drawn.append(rows[torch.cat([none, *orders])[:share]])
    return torch.cat(drawn)
