"""Unpack the recordings of an archive, safely and whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from bisect import bisect_left
from pathlib import Path, PurePosixPath

from kws.audio import AUDIO_SUFFIXES
from model.data.formats import CORRUPT, Member, Progress, members
from model.data.layout import some
from model.data.tree import MEDIA_SUFFIXES, TEXT_FILES, is_leftover, suffix_of
from model.errors import UserError

MAX_MEMBERS = 5_000_000
MAX_RATIO = 100  # unpacked to packed; recordings come to 20 at most, long digital silence apart
ALWAYS_ALLOWED = 1 << 30  # bytes unpacked, whatever the ratio
KEPT_FREE = 256 << 20  # bytes of the disk
_DONE = ".complete"
_TARGETS = ".targets"
_MOST_HOPS = 40  # links that point to links, as the kernel has it
# What an entry of the cache depends on, beside the archive: raise the number when the same archive unpacks otherwise.
RECIPE = hashlib.sha256(f"1 {sorted(AUDIO_SUFFIXES | MEDIA_SUFFIXES)}".encode()).hexdigest()[:8]


def unpack(archive: Path, into: Path, progress: Progress = lambda *_: None) -> tuple[str, ...]:
    """Unpack the recordings and the texts of a data set into the folder ``into``, unless they are there already.

    Members that are no data are passed over. A link becomes what it points to. Recordings in formats that are not read
    become empty files: their names are all that counts. The caller holds a lock on ``into``.

    Returns:
        What was passed over, a sentence each.

    Raises:
        UserError: no archive, truncated, damaged, encrypted, or with a member that is unsafe.
        OSError: no space left, among others.
    """
    try:
        return tuple(json.loads((into / _DONE).read_text()))
    except (OSError, ValueError):
        shutil.rmtree(into, ignore_errors=True)  # of a run that was killed, or damaged
    into.parent.mkdir(parents=True, exist_ok=True)
    for left in into.parent.glob(f".{into.name}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    working = Path(tempfile.mkdtemp(prefix=f".{into.name}.", suffix=".tmp", dir=into.parent))
    try:
        notes = _Unpacking(archive, working, progress).run()
        (working / _DONE).write_text(json.dumps(notes))
        working.rename(into)
        return tuple(notes)
    except (*CORRUPT, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the archive
            raise
        raise UserError(f"archive '{archive}' is truncated or corrupt ({error}); fetch or pack it again") from error
    finally:
        shutil.rmtree(working, ignore_errors=True)


class _Unpacking:
    """One archive on its way into one folder."""

    def __init__(self, archive: Path, folder: Path, progress: Progress) -> None:
        self._archive, self._folder, self._progress = archive, folder, progress
        self._packed = archive.stat().st_size
        self._free = shutil.disk_usage(folder).free - KEPT_FREE
        self._unpacked = self._written = 0
        self._files: dict[str, str] = {}  # name of a file's member, cleaned -> as it was
        self._links: dict[str, tuple[str, str]] = {}  # cleaned -> as it was, target below the archive or ""

    def run(self) -> list[str]:
        with members(self._archive, self._progress) as found:
            for number, member in enumerate(found):
                self._bound(number, member)
                self._take(member)
        pairs, notes = self._resolve()
        missing = {target for target in pairs.values() if not (self._folder / target).is_file()}
        if missing:  # of a name that is no recording's: hidden, or without a suffix
            with members(self._archive, self._progress) as found:
                for member in found:
                    if member.kind == "file" and (name := _clean(member.name)) in missing:
                        self._write(self._folder / _TARGETS / _digest(str(name)), member)
        for link, target in pairs.items():
            (self._folder / link).parent.mkdir(parents=True, exist_ok=True)
            os.link(
                self._folder / (f"{_TARGETS}/{_digest(target)}" if target in missing else target), self._folder / link
            )
        shutil.rmtree(self._folder / _TARGETS, ignore_errors=True)
        return notes

    def _bound(self, number: int, member: Member) -> None:
        self._unpacked += member.size
        most = max(ALWAYS_ALLOWED, MAX_RATIO * self._packed)
        if self._unpacked > most or number >= MAX_MEMBERS:
            raise UserError(
                f"archive '{self._archive}' ({self._packed / 1e6:,.1f} MB) is more than {most / 1e6:,.0f} MB or "
                f"{MAX_MEMBERS:,} members unpacked, as no recordings are; pack the recordings alone, or give a folder"
            )

    def _take(self, member: Member) -> None:
        name = _clean(member.name)
        hidden = _is_hidden(member.name)
        wanted = not hidden and _is_wanted(member.name)
        if member.kind == "folder":
            if name and not hidden:
                (self._folder / name).mkdir(parents=True, exist_ok=True)
        elif "link" in member.kind and name:
            if wanted:
                self._claim(name, member.name)
            self._links[name] = (member.name, _clean_target(name, member))
        elif wanted:
            if not name or member.kind != "file":
                why = f"is a {member.kind}" if name else "leads out of the archive"
                raise UserError(
                    f"archive '{self._archive}' is unsafe: member '{member.name}' {why}; pack plain files and folders"
                )
            self._claim(name, member.name)
            self._files[name] = member.name
            self._write(self._folder / name, member)
        elif name and member.kind == "file":
            self._files.setdefault(name, member.name)  # a link may point to it

    def _claim(self, name: str, original: str) -> None:
        """See that no other member becomes the same file."""
        former = self._files.get(name) or self._links.get(name, ("",))[0]
        if former:
            raise UserError(
                f"archive '{self._archive}': members '{former}' and '{original}' would become the same file '{name}'; "
                "rename or remove one"
            )

    def _write(self, path: Path, member: Member) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            if suffix_of(member.name) in MEDIA_SUFFIXES:
                return
            self._written += member.size
            if self._written > self._free:
                raise UserError(
                    f"archive '{self._archive}' does not fit on the disk of the cache; free some, or set KWS_CACHE"
                )
            with member.open() as stream:
                shutil.copyfileobj(stream, file, 1 << 18)

    def _resolve(self) -> tuple[dict[str, str], list[str]]:
        """For each recording that is a link, or below one, the member it stands for; and which links lead nowhere."""
        pairs: dict[str, str] = {}
        nowhere: list[str] = []
        out: list[str] = []
        names = sorted(self._files.keys() | self._links.keys())
        for name, (original, _) in self._links.items():
            wanted = _is_wanted(name)
            if _is_hidden(name) or (suffix_of(name) and not wanted):
                continue
            target = self._follow(name)
            if target is None and wanted:
                raise UserError(
                    f"archive '{self._archive}' is unsafe: link '{original}' leads out of it; pack what links point to "
                    "(`tar -h`), or leave it out"
                )
            if target in self._files:
                if wanted:
                    pairs[name] = target
                continue
            below = names[bisect_left(names, f"{target}/") : bisect_left(names, f"{target}0")] if target else []
            for other in below:  # of a folder; "0" follows "/"
                inner, new = self._follow(other), name + other[len(target or "") :]
                if inner in self._files and _is_wanted(new) and not _is_hidden(new):
                    self._claim(new, f"{original}{new[len(name) :]}")
                    pairs[new] = inner
            if not below:
                (out if target is None else nowhere).append(original)
        notes = []
        for links, where in ((out, "lead out of the archive"), (nowhere, "point to nothing in the archive")):
            if links:
                notes.append(f"{len(links)} links {where} and are left out: {some(links)}; pack with `tar -h`")
        return pairs, notes

    def _follow(self, name: str) -> str | None:
        """The name that a path leads to when its links are followed; None where that is outside."""
        for _ in range(_MOST_HOPS):
            parts = name.split("/")
            heads = ["/".join(parts[: end + 1]) for end in range(len(parts))]
            link = next((head for head in heads if head in self._links), None)
            if link is None:
                return name
            target = self._links[link][1]
            if not target:
                return None
            name = target + name[len(link) :]
        return ""  # in a circle


def _is_wanted(name: str) -> bool:
    return suffix_of(name) in AUDIO_SUFFIXES | MEDIA_SUFFIXES or PurePosixPath(name).name in TEXT_FILES


def _is_hidden(name: str) -> bool:
    return any(is_leftover(part) for part in name.replace("\\", "/").split("/") if part not in ("", ".", ".."))


def _clean(name: str) -> str | None:
    """``./a//b`` -> ``a/b``; None for what leads out."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        return None
    return "/".join(path.parts)


def _clean_target(name: str, member: Member) -> str:
    """What a link points to, from the archive's top; empty for what is outside."""
    target = member.target.replace("\\", "/")
    if target.startswith("/"):
        return ""
    parts = [] if member.kind == "hard link" else name.split("/")[:-1]
    for part in PurePosixPath(target).parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            return ""
    return "/".join(parts)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
