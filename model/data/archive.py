"""Unpack an archive, safely and whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
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
# What an entry of the cache depends on, beside the archive: raise the number when the same archive unpacks otherwise.
RECIPE = hashlib.sha256(f"1 {sorted(AUDIO_SUFFIXES | MEDIA_SUFFIXES)}".encode()).hexdigest()[:8]


def unpack(archive: Path, into: Path, progress: Progress = lambda *_: None) -> tuple[str, ...]:
    """Unpack an archive into the folder ``into``, unless it is there already. The caller holds a lock on ``into``.

    Links stay links. Recordings in formats that are not read become empty files: their names are all that counts.
    Members that are unsafe are passed over where they are no data.

    Returns:
        What was passed over, a sentence each.

    Raises:
        UserError: no archive, truncated, damaged, encrypted, or with a recording that is unsafe.
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
        notes = _Unpacking(archive, working).run(progress)
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

    def __init__(self, archive: Path, folder: Path) -> None:
        self._archive, self._folder = archive, folder
        self._packed = archive.stat().st_size
        self._free = shutil.disk_usage(folder).free - KEPT_FREE
        self._unpacked = self._written = 0
        self._names: dict[str, str] = {}  # below the folder -> as the archive has it
        self._links: dict[str, Member] = {}

    def run(self, progress: Progress) -> list[str]:
        with members(self._archive, progress) as found:
            for number, member in enumerate(found):
                self._bound(number, member)
                self._take(member)
        top, out = os.path.realpath(self._folder), []
        for name, link in self._links.items():  # last, so that nothing is written through one
            path = self._folder / name
            if os.path.realpath(path.parent) != os.path.join(top, os.path.dirname(name)).rstrip("/"):  # noqa: PTH118, PTH120
                self._refuse(link, "is below a link")
            elif not os.path.lexists(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                hard = link.kind == "hard link"
                path.symlink_to(
                    os.path.relpath(self._folder / link.target, path.parent) if hard else link.target or "."
                )
        for name, link in self._links.items():
            if os.path.commonpath((top, os.path.realpath(self._folder / name))) != top:
                self._refuse(link, "leads out of it")
                out.append(name)
        for name in out:
            (self._folder / name).unlink()
        named = [name for name in out if not suffix_of(name)]  # a folder of recordings, perhaps
        if named:
            return [f"{len(named)} links lead out of the archive: {some(named)}; pack what they point to (`tar -h`)"]
        return []

    def _bound(self, number: int, member: Member) -> None:
        self._unpacked += member.size
        most = max(ALWAYS_ALLOWED, MAX_RATIO * self._packed)
        if self._unpacked > most or number >= MAX_MEMBERS:
            raise UserError(
                f"archive '{self._archive}' ({self._packed / 1e6:,.1f} MB) is more than {most / 1e6:,.0f} MB or "
                f"{MAX_MEMBERS:,} members unpacked, as no recordings are; pack the recordings alone, or give a folder"
            )

    def _take(self, member: Member) -> None:
        path = PurePosixPath(member.name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            self._refuse(member, "leads out of it")
            return
        if member.kind == "folder":
            (self._folder / path).mkdir(parents=True, exist_ok=True)
            return
        name = str(path)
        if former := self._names.get(name):
            if _is_wanted(name):
                raise UserError(
                    f"archive '{self._archive}': members '{former}' and '{member.name}' would become the same file "
                    f"'{name}'; rename or remove one"
                )
            return
        self._names[name] = member.name
        if "link" in member.kind:
            self._links[name] = member
        elif member.kind == "file":
            self._write(self._folder / path, member)
        else:
            self._refuse(member, "is a device")

    def _refuse(self, member: Member, why: str) -> None:
        if _is_wanted(member.name):
            raise UserError(
                f"archive '{self._archive}' is unsafe: member '{member.name}' {why}; pack plain files and folders"
            )

    def _write(self, path: Path, member: Member) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            if suffix_of(member.name) in MEDIA_SUFFIXES:
                return
            self._written += member.size
            if self._written > self._free:
                raise UserError(
                    f"archive '{self._archive}' does not fit on the disk of the cache; free some, or set KWS_CACHE"
                )
            with member.open() as stream:
                shutil.copyfileobj(stream, file, 1 << 18)


def _is_wanted(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    if any(is_leftover(part) for part in path.parts if part not in ("..", "/")):
        return False
    return path.name in TEXT_FILES or suffix_of(path.name) in AUDIO_SUFFIXES | MEDIA_SUFFIXES
