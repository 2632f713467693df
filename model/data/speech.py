"""Running speech and other long recordings: what ``--speech``, ``--speech-evaluation`` and ``--negatives`` name.

Transcripts are read where there are some in LibriSpeech's form (Panayotov et al. 2015): a file ``*.trans.txt`` beside
the recordings has a line for each, its name and its words.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torchaudio.datasets import librispeech

from kws.audio import AudioError, Waveform, decode
from model import files
from model.data import archive, synthetic
from model.data.espeak import pronounced
from model.data.layout import SPLITS, read_text, scan
from model.errors import UserError
from model.settings import CLIP_SAMPLES, Settings

LIBRISPEECH, SPOKEN, NONE = "librispeech", "spoken", "none"
PARTS = {"--speech": "dev-clean", "--speech-evaluation": "test-other"}  # of LibriSpeech, with other readers in each
MAX_SECONDS = 7200.0  # of one recording
_HELD_BACK = 0.2  # of the readers, for each split but training
_FEW = 10  # readers, below which recordings are held back instead


class Recording(NamedTuple):
    """A long recording: its file, who speaks (the folder, where no name says it), its words where they are known."""

    path: Path
    reader: str
    words: frozenset[str] | None


@dataclass
class Speech:
    """The recordings of a run by their use."""

    source: str = NONE  # of those to train on
    evaluation: str = NONE  # of those to judge with; none: other readers of the source
    without: dict[str, list[Recording]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    holding: dict[str, list[Recording]] = field(default_factory=lambda: {split: [] for split in SPLITS})  # a keyword
    negatives: list[Recording] = field(default_factory=list)  # the user's own
    notes: list[str] = field(default_factory=list)  # sentences: what was left out or taken for granted

    @property
    def trained_on(self) -> list[Recording]:
        """What training takes crops of: speech without a keyword, then the user's own recordings."""
        return [*self.without["training"], *self.negatives]

    @cached_property
    def digest(self) -> str:
        """Over the names and contents of all that training and the choice of the rule depend on, wherever it lies."""
        used = [one.path for one in (*self.without["training"], *self.without["validation"], *self.negatives)]
        content = "".join(f"{path.name}\t{files.sha256_of(path)}\n" for path in used)
        return hashlib.sha256(content.encode()).hexdigest()


def open_speech(settings: Settings, keywords: Collection[str]) -> Speech:
    """The recordings that the settings name, fetched, unpacked or spoken unless they are there; divided by reader.

    Raises UserError: something that was asked for is not there, or has no recordings.
    """
    official, notes = settings.dataset == "speech-commands", list[str]()
    source, own, evaluation, others = NONE, list[Recording](), NONE, list[Recording]()
    try:
        defaults = (LIBRISPEECH, LIBRISPEECH) if official else (SPOKEN, NONE)
        source, own = _open(settings, "--speech", defaults[0], keywords, notes)
        evaluation, others = _open(settings, "--speech-evaluation", defaults[1], keywords, notes)
    except UserError as error:
        if not official or settings.speech or settings.speech_evaluation:
            raise
        lacks = "the model does not learn what running speech is and is not to be left listening"
        notes.append(f"Running speech was not to be had ({error}): {lacks}.")
        own = []
    found = Speech(source, evaluation, notes=notes)
    sounds = pronounced({*keywords, *(word for one in (*own, *others) for word in one.words or ())})
    alike = {word for word, sound in sounds.items() if sound in {sounds[keyword] for keyword in keywords}}
    divided = _divide(own, SPLITS[1:2] if others else SPLITS[1:], notes)
    for split, one in (*divided, *(("testing", one) for one in others)):
        apart = not alike.isdisjoint(one.words or ())
        (found.holding if apart else found.without)[split].append(one)
    if told := ", ".join(f"{len(apart)} {split}" for split, apart in found.holding.items() if apart):
        notes.append(f"Of the speech, recordings with a keyword or a word that sounds like one are apart: {told}.")
    if unknown := sum(one.words is None for one in (*own, *others)):
        notes.append(f"{unknown} recordings of speech have no transcript: they are taken to hold no keyword.")
    if settings.negatives:
        found.negatives = _recordings(Path(settings.negatives), "--negatives", notes)
    return found


def crops(recordings: Sequence[Recording], count: int) -> Waveform:
    """Seconds of recordings, ``float32[count, CLIP_SAMPLES]``: from each in turn, the same ones each time."""
    rng, found = np.random.default_rng(0), np.zeros((count, CLIP_SAMPLES), np.float32)
    for first, one in enumerate(recordings[:count]):
        try:
            waveform = decode(one.path.read_bytes(), max_seconds=MAX_SECONDS).waveform
        except AudioError:  # told of where its features are computed, or where it is listened to
            continue
        for row in range(first, count, len(recordings)):
            start = int(rng.integers(max(1, len(waveform) - CLIP_SAMPLES + 1)))
            piece = waveform[start : start + CLIP_SAMPLES]
            found[row, : len(piece)] = piece
    return found


def _open(
    settings: Settings, option: str, default: str, keywords: Collection[str], notes: list[str]
) -> tuple[str, list[Recording]]:
    given = getattr(settings, option[2:].replace("-", "_")) or default
    path, sha256, name = Path(given), "", Path(given).name
    if given == NONE:
        return NONE, []
    if given == SPOKEN:
        path, name = synthetic.make_speech(keywords), SPOKEN
    elif given == LIBRISPEECH:
        name, file = f"LibriSpeech {PARTS[option]}", f"{PARTS[option]}.tar.gz"
        sha256 = librispeech._CHECKSUMS[f"http://www.openslr.org/resources/12/{file}"]
        path = archive.official(f"{settings.speech_url.rstrip('/')}/{file}", sha256)
    elif not path.exists():
        raise UserError(f"{option} '{given}' does not exist; give a folder or archive of recordings, or {LIBRISPEECH}")
    return name, _recordings(path if path.is_dir() else archive.unpack(path, notes, sha256), option, notes)


def _recordings(root: Path, option: str, notes: list[str]) -> list[Recording]:
    """Every recording below a folder, in the order of the paths; ``notes`` gets what is not used."""
    scanned, words, found = scan(root, notes), dict[Path, frozenset[str]](), []
    for path in (root / name for name in scanned["transcript"]):
        for name, _, text in (line.partition(" ") for line in read_text(path).splitlines()):
            words[path.with_name(name)] = frozenset(text.casefold().split())
    for name in scanned["audio"]:
        path = root / name
        told, folder = words.get(path.with_suffix("")), name.rpartition("/")[0]
        reader = path.stem.partition("-")[0] if told is not None and "-" in path.stem else folder or path.stem
        found.append(Recording(path.absolute(), reader, told))
    if not found:
        raise UserError(f"{option} '{root}' has no recordings that are read here; give a folder or archive of some")
    return found


def _divide(recordings: Sequence[Recording], held: Sequence[str], notes: list[str]) -> list[tuple[str, Recording]]:
    """Recordings with their splits, by the SHA-1 of the readers, or of the recordings where there are few readers."""
    by_reader, divided = len({one.reader for one in recordings}) >= _FEW, []
    for one in recordings:
        unit = one.reader if by_reader else one.path.name
        place = int(hashlib.sha1(f"speech {unit}".encode(), usedforsecurity=False).hexdigest()[:8], 16) / 16**8
        divided.append(((*held, "training")[min(int(place / _HELD_BACK), len(held))], one))
    if recordings and not by_reader:
        notes.append("The speech has few readers: recordings of one may be trained on and judged with.")
    if missing := [split for split in ("training", *held) if recordings and split not in dict(divided)]:
        few = f"The speech has too few recordings for {' and '.join(missing)}"
        notes.append(f"{few}: cut long ones into shorter files.")
    return divided
