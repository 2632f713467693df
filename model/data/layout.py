"""What a folder holds: which files are recordings, and what their paths say of words, splits and speakers.

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
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import soundfile

from kws.audio import CONVERT
from kws.detection import SILENCE, UNKNOWN
from model import files
from model.errors import UserError
from model.settings import DEFAULT_LABELS

SPLITS = ("training", "validation", "testing")
NOISE_FOLDER = "_background_noise_"
VALIDATION_LIST, TESTING_LIST, INFO_FILE = "validation_list.txt", "testing_list.txt", "dataset.json"
TEXT_FILES = (VALIDATION_LIST, TESTING_LIST, INFO_FILE)
TRANSCRIPT = ".trans.txt"  # how the names of LibriSpeech's transcripts end
# The names that libsndfile's formats go by.
AUDIO_SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW"}
AUDIO_SUFFIXES |= {".wave", ".oga", ".opus", ".aif", ".aifc", ".snd", ".bw64", ".mp2", ".sph", ".sf"}
_AUDIO_STARTS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"caff", b".snd")  # of files without a suffix
MEDIA_SUFFIXES = {  # of audio and video that libsndfile does not read
    *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".avi", ".dsf", ".flv", ".m4a", ".m4b", ".mka", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".pcm", ".raw", ".webm", ".wma", ".wv", ".weba", ".tta", ".tak", ".wmv", ".m4v"),
}
# Left behind by operating systems, editors, file servers and interrupted downloads; hidden names are so anyway.
_LEFTOVERS = ("__macosx", "__pycache__", "lost+found", "desktop.ini", "thumbs.db", "$recycle.bin", "@eadir", "#recycle")
_LEFTOVER_STARTS = (".", "~$", "system volume information", "icon\r", "@recycle", "found.0", "paxheader")
_LEFTOVER_ENDS = ("~", ".tmp", ".bak", ".swp", ".part", ".partial", ".crdownload")
_SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "testing"),
}
_CLASS_FOLDERS = {"unknown": UNKNOWN, "silence": SILENCE, "background_noise": NOISE_FOLDER}
_USELESS = {  # what a folder may hold that nobody can use
    "links": "{} recordings are no files but links to nothing, or pipes: {}; fetch what the links stand for "
    "(`git annex get`, `dvc pull`)",
    "misnamed": "{} names are not in UTF-8 and left out: {}; rename them (`convmv -f latin1 -t utf8 --notest -r .`)",
    "empty": "{} folders are empty: {}",
}

Paths = dict[str, tuple[str, ...]]  # a recording's name -> the folders of it that are still to be read, and its file


class Clip(NamedTuple):
    """One recording. ``word`` is a word, ``UNKNOWN`` or ``SILENCE``; what is not known is empty."""

    name: str  # its path below the data set
    word: str
    split: str
    speaker: str = ""
    below: str = ""  # its path below the word's folder


class Layout(NamedTuple):
    """A data set by its paths."""

    clips: list[Clip]  # sorted by name; their splits as far as folders say them; speakers: the folders below words
    noise: tuple[str, ...]
    texts: dict[str, Path]  # those of TEXT_FILES that are there
    labels: tuple[str, ...]


def read_layout(root: Path, labels: tuple[str, ...], notes: list[str]) -> Layout:
    """What a folder's paths say; ``labels`` are the words that the user named. ``notes`` gets what is not used.

    Raises UserError: a folder cannot be read.
    """
    labels = tuple(unicodedata.normalize("NFC", label) for label in labels)
    sought = frozenset(labels or DEFAULT_LABELS)
    found = scan(root, notes)
    every = {name: tuple(name.split("/")) for name in sorted(found["audio"])}
    noise = [name for name, parts in every.items() if NOISE_FOLDER in {_word(part, sought) for part in parts}]
    paths = _unwrap({name: every[name] for name in every.keys() - set(noise)}, sought)
    below = {parts[1].lower() for parts in paths.values() if len(parts) > 2}
    if below <= _SPLIT_FOLDERS.keys() and len({_SPLIT_FOLDERS[name] for name in below}) > 1:  # WORD/train/…
        paths = {name: (*parts[1:2], parts[0], *parts[2:]) if parts[2:] else parts for name, parts in paths.items()}
    divided = sorted(_divide(paths, sought, notes).items())
    clips = [
        Clip(name, _word(parts[0], sought), split, parts[1] if len(parts) > 2 else "", "/".join(parts[1:]))
        for name, (split, parts) in divided
        if len(parts) > 1
    ]
    if loose := [name for name, (_, parts) in divided if len(parts) == 1]:
        notes.append(f"recordings in no word's folder are left out: {some(loose)}")
    if deeper := [clip.name for clip in clips if "/" in clip.below]:
        notes.append(f"{len(deeper)} recordings are in a folder below a word's, read as WORD/SPEAKER: {some(deeper)}")
    if others := {clip.word for clip in clips if clip.word.startswith("_")} - {UNKNOWN, SILENCE}:
        notes.append(f"folders that begin with '_' are no words and left out: {some(sorted(others), 5)}")
    clips = [clip for clip in clips if clip.word not in others]
    words = sorted({clip.word for clip in clips} - {UNKNOWN, SILENCE})
    if not labels and words and not set(words).issuperset(DEFAULT_LABELS):
        notes.append(f"the keywords are all words of the data set: {', '.join(words)}; --labels keeps fewer")
        labels = tuple(words)
    texts = {Path(name).name.lower(): root / name for name in sorted(found["text"], key=lambda name: -name.count("/"))}
    if unused := [name for name in found["text"] if root / name not in texts.values()]:
        notes.append(f"not used, for there is another of the name: {some(unused, 5)}")
    return Layout(clips, tuple(noise), texts, labels or DEFAULT_LABELS)


def scan(root: Path, notes: list[str]) -> dict[str, list[str]]:
    """The names below a folder by kind: ``audio``, ``text``, ``transcript``, in the order of their paths.

    Walks over it once; ``notes`` gets what cannot be used. Raises UserError: a folder cannot be read.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for path, kind in _walk(root, frozenset()):
        found[kind].append(path.relative_to(root).as_posix())
    notes += [text.format(len(found[kind]), some(found[kind], 5)) for kind, text in _USELESS.items() if found[kind]]
    if media := Counter((Path(name).suffix.lower(), str(Path(name).parent)) for name in found["media"]):
        listed = [f"{count} {suffix} in {folder}" for (suffix, folder), count in sorted(media.items())]
        more, convert = f" and {len(listed) - 8} more folders" * (len(listed) > 8), CONVERT.replace(" it ", " them ")
        notes.append(f"recordings that are not read: {', '.join(listed[:8])}{more}; {convert}")
    return found


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is no data."""
    lower = name.lower()
    return lower in _LEFTOVERS or lower.startswith(_LEFTOVER_STARTS) or lower.endswith(_LEFTOVER_ENDS)


def some(names: Collection[str], most: int = 1) -> str:
    """The first of some names in quotes, and how many more there are."""
    first = [f"'{name.encode(errors='surrogateescape').decode(errors='backslashreplace')}'" for name in names][:most]
    return ", ".join(first) + (f" and {len(names) - most} more" if len(names) > most else "")


def read_text(path: Path) -> str:
    """A text file of the user's, in UTF-8 or with the byte order mark of UTF-16. Raises UserError: neither."""
    data = path.read_bytes()
    try:
        return data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' is not a text file in UTF-8; save it as one, or remove it") from error


def _walk(folder: Path, above: frozenset[Path]) -> Iterator[tuple[Path, str]]:
    """Files and empty folders with their kinds; links are followed, but not into a folder around them."""
    try:
        here, inside = folder.resolve(), sorted(folder.iterdir())
    except OSError as error:
        remedy = f"({files.reason(error)}); change its rights, or remove it"
        raise UserError(f"folder '{folder}' cannot be read {remedy}") from error
    if above and not inside:
        yield folder, "empty"
    for path in inside if here not in above else ():
        if not is_leftover(path.name):
            yield from _walk(path, above | {here}) if path.is_dir() else [(path, _kind(path))]


def _kind(path: Path) -> str:
    """Audio, media, text, transcript, one of ``_USELESS``, or empty where nobody misses it."""
    suffix = path.suffix.lower()
    if path.name.lower() in TEXT_FILES:
        return "text"
    if path.name.endswith(TRANSCRIPT):
        return "transcript"
    if suffix not in AUDIO_SUFFIXES | MEDIA_SUFFIXES and (suffix or not _begins_as_audio(path)):
        return ""
    if any("\ud800" <= character <= "\udfff" for character in str(path)):
        return "misnamed"
    return "media" if suffix in MEDIA_SUFFIXES else "audio" if path.is_file() else "links"


def _begins_as_audio(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in _AUDIO_STARTS


@cache
def _word(folder: str, sought: frozenset[str]) -> str:
    """The word or class that a folder is named for: one that is sought, whatever its capitals, before all others."""
    word = unicodedata.normalize("NFC", folder).strip()
    plain = word.strip("_ -").replace(" ", "_").replace("-", "_").lower()
    others = {each.casefold(): each for each in sorted(sought)}
    return word if word in sought else others.get(word.casefold(), _CLASS_FOLDERS.get(plain, word))


def _unwrap(paths: Paths, sought: frozenset[str]) -> Paths:
    """The paths without the folders that are around all the others, and are no words, classes or splits."""
    while any(len(parts) > 2 for parts in paths.values()):
        tops = {parts[0] for parts in paths.values() if len(parts) > 1}
        word = _word(min(tops), sought)
        is_split = _SPLIT_FOLDERS.get(word.lower(), "training") != "training"
        if len(tops) > 1 or is_split or word in (*sought, UNKNOWN, SILENCE):
            break
        paths = {name: parts[1:] or parts for name, parts in paths.items()}
    return paths


def _divide(paths: Paths, sought: frozenset[str], notes: list[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Each recording's split by the folders on top, empty where these are no division, and the rest of its path."""
    deep = {parts[0] for parts in paths.values() if len(parts) > 2}
    splits = {top: _SPLIT_FOLDERS[top.lower()] for top in deep if top.lower() in _SPLIT_FOLDERS}
    inside = paths | _unwrap({name: parts[1:] for name, parts in paths.items() if parts[0] in splits}, sought)
    words: dict[str, set[str]] = {parts[0]: set() for parts in paths.values() if len(parts) > 1}  # of each top
    for name, parts in inside.items():
        if len(parts) > 1:
            words[paths[name][0]].add(_word(parts[0], sought))
    divided = {word for top in splits for word in words[top]}
    rest = {top for top in words.keys() - splits.keys() if words[top] & divided}  # the words beside a test folder, say
    if len({*splits.values()}) < 2 and not rest and splits.keys() < words.keys():
        return {name: ("", parts) for name, parts in paths.items()}

    splits |= dict.fromkeys(rest, "training")
    trained = {word for top, split in splits.items() if split == "training" for word in words[top]}
    used = {top: split for top, split in splits.items() if not trained or words[top] & trained}
    if left_out := sorted(words.keys() - used.keys()):
        count = sum(parts[0] in left_out for parts in paths.values())
        told = f"{count} recordings are not in folders of the same words and left out"
        notes.append(f"beside the folders of splits, {told}: {some(left_out, 5)}")
    if {*used.values()} == {"training"}:
        used = dict.fromkeys(used, "")
    kept = (name for name, parts in paths.items() if len(parts) == 1 or parts[0] in used)
    return {name: (used.get(paths[name][0], ""), inside[name]) for name in kept}
