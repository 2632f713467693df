"""The Speech Commands folder layout and its split rule (Warden 2018, arXiv:1804.03209). Standard library only.

::

    up/0a2b400e_nohash_0.wav        one folder a word; <speaker>_nohash_<n>.wav
    _background_noise_/*.wav        long recordings without words
    validation_list.txt             lines like up/0a2b400e_nohash_0.wav; optional, as is
    testing_list.txt
    dataset.json                    optional: where the data comes from, its licence (written by this package)
"""

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from model.errors import UserError

NOISE_FOLDER = "_background_noise_"
VALIDATION_LIST = "validation_list.txt"
TESTING_LIST = "testing_list.txt"
INFO_FILE = "dataset.json"
EVERY_WORD = "*"  # stands for all words that a data set has
AUDIO_SUFFIXES = (".wav", ".flac")
SPLITS = ("training", "validation", "testing")

_MAX_WAVS_PER_CLASS = 2**27 - 1  # the constant of the data set's own README: ~134M


@dataclass(frozen=True, order=True)
class Clip:
    """One recording of one word: ``name`` is its path below the data set, ``up/0a2b400e_nohash_0.wav``."""

    name: str
    word: str
    split: str

    @property
    def speaker(self) -> str:
        """The part of the file name that identifies who spoke."""
        return speaker_of(self.name)


@dataclass(frozen=True)
class Layout:
    """A scanned data set: the clips of the wanted words (sorted by name) and the noise recordings."""

    root: Path
    clips: tuple[Clip, ...]
    noise: tuple[str, ...]
    split_rule: str

    def of_split(self, split: str) -> tuple[Clip, ...]:
        """The clips of one of ``SPLITS``."""
        return tuple(clip for clip in self.clips if clip.split == split)


def speaker_of(name: str) -> str:
    """The speaker part of a clip's name: what stands before ``_nohash_``, else the whole stem."""
    return re.sub(r"_nohash_.*$", "", Path(name).stem)


def official_split(name: str, validation_percent: float = 10.0, testing_percent: float = 10.0) -> str:
    """``which_set`` of the data set's README: the SHA-1 of the speaker part of the name decides.

    A speaker's clips thus stay together, and in the same split when clips are added later.
    """
    base = re.sub(r"_nohash_.*$", "", Path(name).name)
    hashed = int(hashlib.sha1(base.encode(), usedforsecurity=False).hexdigest(), 16)
    percent = (hashed % (_MAX_WAVS_PER_CLASS + 1)) * (100.0 / _MAX_WAVS_PER_CLASS)
    if percent < validation_percent:
        return "validation"
    return "testing" if percent < validation_percent + testing_percent else "training"


def _read_list(path: Path) -> frozenset[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' is not a text file of clip names; restore or remove it") from error
    return frozenset(line.strip().replace("\\", "/").removeprefix("./") for line in lines if line.strip())


def scan(root: Path, words: tuple[str, ...]) -> Layout:
    """The clips of ``words`` (``EVERY_WORD`` among them: of all there are) below ``root`` with their splits.

    The data set's own lists decide when they are there (both, as in the official archive); the official rule otherwise.

    Raises:
        UserError: no such folder, one list without the other, or a clip in both lists.
    """
    if not root.is_dir():
        raise UserError(f"data set '{root}' is not a folder; give one in the Speech Commands layout")
    lists = [root / VALIDATION_LIST, root / TESTING_LIST]
    present = [path for path in lists if path.is_file()]
    if len(present) == 1:
        missing = next(path for path in lists if path not in present)
        raise UserError(f"data set '{root}' has {present[0].name} but no {missing.name}; add it, or remove the one")
    validation, testing = (_read_list(path) for path in lists) if present else (frozenset(), frozenset())
    if both := sorted(validation & testing):
        raise UserError(f"data set '{root}' lists '{both[0]}' for validation and for testing; list it once")

    def split_of(name: str) -> str:
        if not present:
            return official_split(name)
        return "validation" if name in validation else "testing" if name in testing else "training"

    if EVERY_WORD in words:
        words = tuple(words_of(root))
    names = [(f"{word}/{path.name}", word) for word in words for path in _audio_files(root / word)]
    clips = tuple(sorted(Clip(name, word, split_of(name)) for name, word in names))
    noise = tuple(f"{NOISE_FOLDER}/{path.name}" for path in _audio_files(root / NOISE_FOLDER))
    return Layout(root, clips, noise, "lists of the data set" if present else "SHA-1 of the speaker (official rule)")


def require_clips(layout: Layout, labels: tuple[str, ...], what: str, splits: tuple[str, ...] = SPLITS) -> None:
    """Every label needs clips in every split.

    Raises:
        UserError: naming the first label without any, and the words that the data set does have.
    """
    counts = Counter((clip.word, clip.split) for clip in layout.clips)
    for label in labels:
        if not any(counts[label, split] for split in SPLITS):
            words = words_of(layout.root)
            known = f"it has {', '.join(words[:40])}" if words else "it has no folders of words"
            raise UserError(
                f"label '{label}' has no clips in data set '{what}' ({known}); change --labels or add clips"
            )
        for split in splits:
            if not counts[label, split]:
                raise UserError(
                    f"label '{label}' has no clips in the {split} split of data set '{what}'; "
                    "add clips of more speakers, or list some for it"
                )


def words_of(root: Path) -> list[str]:
    """The words that a data set has folders of, sorted; neither the noise nor hidden folders."""
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))


def read_info(root: Path) -> dict[str, str]:
    """``dataset.json`` of a folder as strings; empty when there is none.

    Raises:
        UserError: the file is there but no JSON object.
    """
    path = root / INFO_FILE
    if not path.is_file():
        return {}
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"'{path}' is not JSON ({error}); restore or remove it") from error
    if not isinstance(info, dict):
        raise UserError(f"'{path}' is not a JSON object; restore or remove it")
    return {str(key): str(value) for key, value in info.items()}


def _audio_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())
