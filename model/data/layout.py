"""What the paths of recordings say of words, splits and speakers.

::

    up/0a2b400e_nohash_0.wav      a folder a word; below it folders by speaker, or none
    train/up/…  test/up/…         a division into splits on top is kept
    _unknown_/  _silence_/        the classes beside the keywords
    _background_noise_/           long recordings without words
    validation_list.txt           lines like up/0a2b400e_nohash_0.wav, with testing_list.txt
    dataset.json                  name, licence and attribution of the data

A folder around all of it does not matter. The Speech Commands archive (Warden 2018, arXiv:1804.03209) is laid out so.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from kws.audio import CONVERT
from kws.detection import SILENCE, UNKNOWN
from model.data.tree import Tree, suffix_of
from model.settings import DEFAULT_LABELS

SPLITS = ("training", "validation", "testing")
NOISE_FOLDER = "_background_noise_"

_SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "testing"),
}
_CLASS_FOLDERS = {"unknown": UNKNOWN, "silence": SILENCE}

Paths = dict[
    str, tuple[str, ...]
]  # a recording's whole name -> the folders of it that are still to be read, and its file


@dataclass(frozen=True, order=True)
class Clip:
    """One recording. ``word`` is a word, ``UNKNOWN`` or ``SILENCE``; ``speaker`` is empty where it is not known."""

    name: str  # its path below the data set
    word: str
    split: str
    speaker: str = ""


@dataclass(frozen=True)
class Recording:
    """What the path of a clip says; ``split`` and ``folder`` are empty where there is none."""

    name: str
    word: str
    split: str
    folder: str  # beside the word's: a speaker's, say
    below: str  # the path without the word's folder and what is above it


@dataclass(frozen=True)
class Layout:
    """A data set by its paths."""

    recordings: tuple[Recording, ...]
    noise: tuple[str, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...]


def read_layout(tree: Tree, labels: tuple[str, ...] = ()) -> Layout:
    """Read the paths of a tree; ``labels`` are the words that the user named."""
    labels = tuple(unicodedata.normalize("NFC", label) for label in labels)
    sought = frozenset(labels or DEFAULT_LABELS)
    noise, paths = [], {}
    for name in tree.audio:
        parts = tuple(name.split("/"))
        if any(_plain(part) == "background_noise" for part in parts[:-1]):
            noise.append(name)
        else:
            paths[name] = parts
    notes = _notes(tree)
    divided = _divide(_unwrap(paths, sought), sought, notes)
    if loose := [name for name, (_, parts) in divided.items() if len(parts) == 1]:
        notes.append(f"{len(loose)} recordings are in no word's folder and left out: {some(loose)}")
        divided = {name: divided[name] for name in divided.keys() - set(loose)}
    recordings = _read(divided, sought, notes)
    spelling = _spelling(Counter(each.word for each in recordings), labels or DEFAULT_LABELS, notes)
    kept = [each for each in recordings if not each.word.startswith("_") or each.word in (UNKNOWN, SILENCE)]
    if others := sorted({each.word for each in recordings} - {each.word for each in kept}):
        notes.append(f"folders that begin with '_' are no words and left out: {some(others, 5)}")
    found = tuple(
        Recording(each.name, spelling[each.word], each.split, each.folder, each.below)
        for each in sorted(kept, key=lambda each: each.name)
    )
    return Layout(found, tuple(noise), labels or _default_labels(found, notes), tuple(notes))


def some(names: Collection[str], most: int = 1) -> str:
    """The first of some names in quotes, and how many more there are."""
    first = [f"'{name.encode(errors='surrogateescape').decode(errors='backslashreplace')}'" for name in names][:most]
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return " ".join([", ".join(first), *more])


@cache
def _plain(folder: str) -> str:
    return folder.strip("_ -").replace(" ", "_").replace("-", "_").lower()


@cache
def _word(folder: str, sought: frozenset[str]) -> str:
    """The word or class that a folder is named for."""
    word = unicodedata.normalize("NFC", folder).strip()
    return word if word in sought else _CLASS_FOLDERS.get(_plain(word), word)


def _unwrap(paths: Paths, sought: frozenset[str]) -> Paths:
    """The paths without the folders that are around all the others."""
    while True:
        tops = {parts[0] for parts in paths.values() if len(parts) > 1}
        if len(tops) != 1 or not any(len(parts) > 2 for parts in paths.values()):
            return paths
        (top,) = tops
        word = _word(top, sought)
        if word in sought or word in (UNKNOWN, SILENCE) or _SPLIT_FOLDERS.get(top.lower(), "training") != "training":
            return paths
        paths = {name: parts[1:] if len(parts) > 1 else parts for name, parts in paths.items()}


def _divide(paths: Paths, sought: frozenset[str], notes: list[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Each recording's split by the folders on top, empty where these are no division, and the rest of its path."""
    tops: dict[str, Paths] = defaultdict(dict)
    for name, parts in paths.items():
        tops[parts[0] if len(parts) > 1 else ""][name] = parts
    parts_of = [
        top
        for top, below in tops.items()
        if top.lower() in _SPLIT_FOLDERS and any(len(parts) > 2 for parts in below.values())
    ]
    merged = _unwrap({name: parts[1:] for top in parts_of for name, parts in tops[top].items()}, sought)
    inside = {top: {name: merged[name] for name in tops[top]} for top in parts_of}
    for top in parts_of:
        others = {parts[0] for other in parts_of if other != top for parts in inside[other].values()}
        inside[top] = _unwrap(inside[top], sought | others)
    words = {
        top: {_word(parts[0], sought) for parts in below.values() if len(parts) > 1} for top, below in inside.items()
    }
    beside = {_word(top, sought): top for top in tops if top and top not in inside}
    every_word = set().union(*words.values())
    splits = {_SPLIT_FOLDERS[top.lower()] for top in inside}
    in_training = [beside[word] for word in sorted(every_word & beside.keys())]
    known = len(every_word & sought) > len({*beside, *inside} & sought)
    if not inside or not (len(splits) > 1 or in_training or known or not beside):
        return {name: ("", parts) for name, parts in paths.items()}

    trained = set(in_training).union(*(words[top] for top in inside if _SPLIT_FOLDERS[top.lower()] == "training"))
    divided = {name: ("training", parts) for top in in_training for name, parts in tops[top].items()}
    left_out = [top for top in beside.values() if top not in in_training]
    for top, below in inside.items():
        if trained and not words[top] & trained:
            left_out.append(top)
        else:
            divided |= {name: (_SPLIT_FOLDERS[top.lower()], parts) for name, parts in below.items()}
    if left_out:
        count = sum(len(tops[top]) for top in left_out)
        notes.append(
            f"beside the folders of splits, {count} recordings are not in folders of the same words and left out: "
            f"{some(sorted(left_out), 5)}"
        )
    if {split for split, _ in divided.values()} == {"training"}:
        divided = {name: ("", parts) for name, (_, parts) in divided.items()}
    return divided | {name: ("", parts) for name, parts in tops[""].items()}


def _read(divided: dict[str, tuple[str, tuple[str, ...]]], sought: frozenset[str], notes: list[str]) -> list[Recording]:
    """Words and the folders by speaker, whichever is above the other."""
    first = {_word(parts[0], sought) for _, parts in divided.values()}
    second = {_word(parts[1], sought) for _, parts in divided.values() if len(parts) > 2}
    word_below = not first & sought and bool(second & sought)
    recordings = []
    for name, (split, parts) in divided.items():
        if word_below and len(parts) > 2 and _word(parts[0], sought) not in (UNKNOWN, SILENCE):
            parts = (parts[1], parts[0], *parts[2:])
        folder = parts[1] if len(parts) > 2 else ""
        recordings.append(Recording(name, _word(parts[0], sought), split, folder, "/".join(parts[1:])))
    if word_below:
        notes.append("the folders are read as SPEAKER/WORD")
    elif deeper := [each.name for each in recordings if each.folder]:
        notes.append(
            f"{len(deeper)} recordings are in a folder below a word's, read as WORD/SPEAKER: {some(deeper)}; "
            "for SPEAKER/WORD name the words by --labels"
        )
    return recordings


def _spelling(counts: Counter[str], sought: Sequence[str], notes: list[str]) -> dict[str, str]:
    """One spelling for words that differ in capitals alone: the label's, else the most frequent one."""
    spelled: dict[str, str] = {}
    chosen = {word.casefold(): word for word, _ in sorted(counts.items(), key=lambda item: (item[1], item[0]))}
    chosen |= {label.casefold(): label for label in reversed(sought)}
    for word in sorted(counts):
        spelled[word] = word if word in sought else chosen[word.casefold()]
        if spelled[word] != word:
            notes.append(f"the folder '{word}' is read as '{spelled[word]}'")
    return spelled


def _default_labels(recordings: Iterable[Recording], notes: list[str]) -> tuple[str, ...]:
    words = sorted({each.word for each in recordings} - {UNKNOWN, SILENCE})
    if set(DEFAULT_LABELS) <= set(words) or not words:
        return DEFAULT_LABELS
    notes.append(f"the keywords are all words of the data set: {', '.join(words)}; --labels names others")
    return tuple(words)


def _notes(tree: Tree) -> list[str]:
    """What the walk found and nobody can use."""
    notes = []
    if tree.media:
        counts = Counter((suffix_of(name), name.rpartition("/")[0] or ".") for name in tree.media)
        listed = [f"{count} {suffix} in {folder}" for (suffix, folder), count in sorted(counts.items())]
        more = f" and {len(listed) - 8} more folders" if len(listed) > 8 else ""
        notes.append(f"recordings that are not read: {', '.join(listed[:8])}{more}; {CONVERT}")
    if tree.no_files:
        notes.append(
            f"{len(tree.no_files)} recordings are no files but links to nothing, or pipes: {some(tree.no_files)}; "
            "fetch what the links stand for (`git annex get`, `dvc pull`)"
        )
    if tree.misnamed:
        notes.append(
            f"{len(tree.misnamed)} names are not in UTF-8 and left out: {some(tree.misnamed)}; "
            "rename them (`convmv -r -f latin1 -t utf8 --notest FOLDER`)"
        )
    if tree.empty:
        notes.append(f"{len(tree.empty)} folders are empty: {some(sorted(tree.empty), 5)}")
    return notes
