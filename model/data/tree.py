"""One walk over a folder: which files are recordings, which are no data, and the text files that users write."""

import codecs
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from kws.audio import AUDIO_SUFFIXES
from model import files
from model.errors import UserError

VALIDATION_LIST, TESTING_LIST, INFO_FILE = "validation_list.txt", "testing_list.txt", "dataset.json"
TEXT_FILES = (VALIDATION_LIST, TESTING_LIST, INFO_FILE)
# Audio and video that libsndfile does not read.
MEDIA_SUFFIXES = frozenset(
    (
        *(".3g2", ".3gp", ".aac", ".ac3", ".alac", ".amr", ".ape", ".asf", ".avi", ".awb", ".dff", ".dsf", ".f4a"),
        *(".flv", ".m4a", ".m4b", ".m4r", ".m4v", ".mka", ".mkv", ".mov", ".mp4", ".mpc", ".mpeg", ".mpg", ".ogv"),
        *(".pcm", ".ra", ".raw", ".shn", ".spx", ".tta", ".weba", ".webm", ".wma", ".wmv", ".wv"),
    )
)
# Left behind by operating systems, editors, file servers and interrupted downloads; hidden names are so anyway.
_LEFTOVERS = frozenset(
    (
        *("__macosx", "icon\r", "temporary items", "network trash folder", "lost+found", "desktop.ini", "thumbs.db"),
        *("ehthumbs.db", "$recycle.bin", "system volume information", "@eadir", "#recycle", "#snapshot", "__pycache__"),
    )
)
_LEFTOVER_SUFFIXES = ("~", ".tmp", ".bak", ".swp", ".part", ".partial", ".crdownload")


@dataclass
class Tree:
    """What one walk finds below ``root``, as paths with slashes."""

    root: Path
    audio: list[str] = field(default_factory=list)
    media: list[str] = field(default_factory=list)  # of MEDIA_SUFFIXES
    texts: list[str] = field(default_factory=list)  # files named as TEXT_FILES
    empty: list[str] = field(default_factory=list)  # folders with nothing in them
    no_files: list[str] = field(default_factory=list)  # recordings by name: links to nothing, pipes, folders
    misnamed: list[str] = field(default_factory=list)  # not UTF-8


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is no data."""
    lower = name.lower()
    return name.startswith((".", "~$")) or lower in _LEFTOVERS or lower.endswith(_LEFTOVER_SUFFIXES)


def suffix_of(name: str) -> str:
    """``a/B.WAV`` -> ``.wav``."""
    stem, _, suffix = name.rpartition("/")[2].rpartition(".")
    return f".{suffix}".lower() if stem else ""


def read_text(path: Path) -> str:
    """A text file of the user's, in UTF-8 or with the byte order mark of UTF-16.

    Raises:
        UserError: neither.
    """
    data = path.read_bytes()
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' is not a text file in UTF-8; save it as one, or remove it") from error


def read_info(path: Path) -> dict[str, str]:
    """``dataset.json``; what is null there is empty.

    Raises:
        UserError: no JSON object.
    """
    try:
        info = json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"'{path}' is not JSON ({error}); restore or remove it") from error
    if not isinstance(info, dict):
        raise UserError(f"'{path}' is not a JSON object; restore or remove it")
    return {str(key): "" if value is None else str(value).strip() for key, value in info.items()}


def walk(root: Path) -> Tree:
    """The files below a folder; links are followed, leftovers passed over.

    Raises:
        UserError: a folder cannot be read.
    """
    tree = Tree(root)
    pending: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(root),))]
    while pending:
        folder, above = pending.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(
                f"folder '{root / folder}' cannot be read ({files.reason(error)}); change its rights, or remove it"
            ) from error
        if folder and not entries:
            tree.empty.append(folder)
        for entry in entries:
            if is_leftover(entry.name):
                continue
            name = f"{folder}/{entry.name}" if folder else entry.name
            if not name.isascii() and not _is_utf8(name):
                tree.misnamed.append(name)
            elif Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir():
                real = os.path.realpath(entry.path) if entry.is_symlink() else f"{above[-1]}/{entry.name}"
                if real not in above:  # a link to a folder around it
                    pending.append((name, (*above, real)))
            else:
                _sort_in(tree, name, entry)
    tree.audio.sort()
    return tree


def _sort_in(tree: Tree, name: str, entry: "os.DirEntry[str]") -> None:
    suffix = suffix_of(entry.name)
    if suffix in AUDIO_SUFFIXES:
        there = Path(entry.path).is_file() if entry.is_symlink() else entry.is_file()
        (tree.audio if there else tree.no_files).append(name)
    elif suffix in MEDIA_SUFFIXES:
        tree.media.append(name)
    elif entry.name in TEXT_FILES:
        tree.texts.append(name)


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)
