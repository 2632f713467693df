"""Fetch an archive, and unpack one, safely and whole or not at all: tar with any compression, or ZIP."""

import http.client
import json
import lzma
import os
import re
import shutil
import stat
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

import zstandard

from kws.audio import media_kind
from model import console, files
from model.data.layout import AUDIO_SUFFIXES, MEDIA_SUFFIXES, TEXT_FILES, is_leftover, some
from model.errors import UserError

Members = Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]  # each is to be read before the next is asked for

RECIPE = 1  # raise it when the same archive shall unpack otherwise
MAX_MEMBERS = 5_000_000
MAX_RATIO = 100  # unpacked to packed; recordings come to 20 at most, long digital silence apart
ALWAYS_ALLOWED = 1 << 30  # bytes unpacked, whatever the ratio
KEPT_FREE = 256 << 20  # bytes of the disk
_BLOCK = 1_000_000  # bytes of a download at once
_PAUSE = 2.0  # seconds between attempts, longer each time
NOTES = ".notes.json"  # what was passed over

_CORRUPT = (tarfile.TarError, zipfile.BadZipFile, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
_ZIP, _ZSTD = (b"PK\x03\x04", b"PK\x05\x06"), b"\x28\xb5\x2f\xfd"
_NO_TAR = "truncated or corrupt (no tar is in it); fetch or pack it again"
_REPACK = "unpack it with `bsdtar -xf {}` and give the folder"
_NOT_READ = {  # first bytes -> what it is, with the remedy
    **dict.fromkeys((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x5d\x00\x00", _ZSTD), _NO_TAR),
    b"7z\xbc\xaf\x27\x1c": f"a 7z archive; {_REPACK}",
    b"Rar!": f"a RAR archive; {_REPACK}",
    b"\x04\x22\x4d\x18": f"an LZ4 file; {_REPACK}",
    b"PAR1": "a Parquet file; write its recordings into a folder a word and give the folder",
    b"version https://git-lfs": "a Git LFS pointer in its place; fetch it with `git lfs pull`",
    b"": "{kind}; give a folder with a folder of recordings a word, or a .tar.gz or .zip (others: `bsdtar -xf`)",
}


def official(url: str, sha256: str) -> Path:
    """The archive at ``url``, which appears in the cache only when it is complete and has this SHA-256.

    What has arrived stays in a part when the connection or the process dies, and is gone on with (HTTP Range, RFC
    9110). A complete part that turns out wrong is thrown away, and fetched anew if it was an old one. Raises UserError:
    a bad URL or digest, an unreachable server, an incomplete transfer or a wrong checksum.
    """
    if not re.fullmatch("[0-9a-f]{64}", sha256.lower()):
        raise UserError(f"--dataset-sha256 '{sha256}' is no SHA-256; give its 64 hex digits")
    if not url.startswith(("http://", "https://")):
        raise UserError(f"--dataset-url '{url}' is not an http(s) address; correct it, or give a path to --dataset")
    archive = files.cache_root() / "downloads" / sha256[:32].lower()
    part = archive.with_suffix(".part")
    with files.locked(archive.with_suffix(".lock")):
        if archive.exists():
            return archive
        console.log.info("downloading %s", url)
        for attempt in range(8):
            time.sleep(_PAUSE * attempt)
            with part.open("ab") as file:
                start, problem = file.tell(), _fetch(url, file)
            if problem:
                continue
            if (actual := files.sha256_of(part)) == sha256.lower():
                return part.rename(archive)
            part.unlink()
            if start == 0:
                raise UserError(f"{url} has the wrong checksum: SHA-256 {actual}; give the right --dataset-sha256")
    raise UserError(f"cannot download {url}: {problem}; check the network and run again to go on")


def _fetch(url: str, file: IO[bytes]) -> str:
    """Append what is missing to a file by one request; what went wrong, empty where the file is complete."""
    done = file.tell()
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - http(s) only
            done = done if response.status == 206 else file.truncate(0)
            total = done + int(response.headers.get("Content-Length") or 0)
            blocks = iter(partial(response.read, _BLOCK), b"")
            for block in console.track(blocks, max(1, (total - done) // _BLOCK), "downloading (MB)"):
                done += file.write(block)
        return "the connection ended early" if done < total else ""
    except (OSError, http.client.HTTPException) as error:
        if files.no_space(error):
            raise
        if not isinstance(error, urllib.error.HTTPError):
            return str(getattr(error, "reason", error)) or type(error).__name__
        if error.code == 416 and done:  # nothing after it: complete, or longer than the file
            return ""
        if error.code < 500 and error.code not in (408, 429):
            raise UserError(f"cannot download {url}: HTTP {error.code} {error.reason}; check --dataset-url") from error
        return f"HTTP {error.code} {error.reason}"


def unpack(archive: Path, notes: list[str], sha256: str = "") -> Path:
    """The folder in the cache with what an archive holds; ``notes`` gets what of use was passed over.

    Links stay links; recordings in formats that are not read become empty files: their names are all that counts.
    Raises UserError: no archive, truncated, damaged, encrypted, or with a recording that is unsafe; OSError: no space
    left, among others.
    """

    def fill(folder: Path) -> None:
        console.log.info("unpacking %s (%.1f MB)", archive.name, archive.stat().st_size / 1e6)
        try:
            with archive.open("rb") as raw:
                links = _write_files(_members(raw), folder, archive.stat().st_size)
            files.write_json(folder / NOTES, _make_links(links, Path(os.path.realpath(folder))))
        except UserError as error:
            raise UserError(f"archive '{archive}' {error}") from error
        except RuntimeError as error:  # of zipfile: encrypted, or a method that it does not know
            raise UserError(f"archive '{archive}' is not read here ({error}); unpack it and give the folder") from error
        except (*_CORRUPT, UnicodeError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk, not the archive
                raise
            raise UserError(f"archive '{archive}' is truncated or corrupt ({error}); fetch or pack it again") from error

    key = [RECIPE, sorted(AUDIO_SUFFIXES | MEDIA_SUFFIXES), sha256 or files.sha256_of(archive)]
    root = files.cached("unpacked", key, fill)
    notes += json.loads((root / NOTES).read_text())
    return root


def _members(raw: IO[bytes]) -> Members:
    """The members of an archive in their order. What is damaged may be found at the end only."""
    first = raw.read(512)
    raw.seek(0)
    if first.startswith(_ZIP):
        yield from _of_zip(zipfile.ZipFile(raw))
        return
    unzstd = partial(zstandard.ZstdDecompressor().stream_reader, read_across_frames=True)
    try:
        stream = unzstd(raw) if first.startswith(_ZSTD) else raw
        tar = tarfile.open(fileobj=stream, mode="r:*" if stream is raw else "r|")  # noqa: SIM115 - nothing to close
    except tarfile.ReadError as error:
        kind = media_kind(first) or ("of no kind that is read here" if first else "an empty file")
        told = next(text for start, text in _NOT_READ.items() if first.startswith(start))
        raise UserError(f"is {told.format(raw.name, kind=kind)}") from error
    while info := tar.next():
        yield info, tar.extractfile(info) if info.isfile() else None
        tar.members = []  # type: ignore[attr-defined]
    # tarfile takes damage between two members for the end; the decompressor finds what is wrong by its own end.
    if tar.fileobj.read(512) != bytes(512):
        raise tarfile.ReadError("its end is missing")
    while tar.fileobj.read(1 << 20):
        pass


def _of_zip(archive: zipfile.ZipFile) -> Members:
    types = {0: tarfile.REGTYPE, stat.S_IFREG: tarfile.REGTYPE, stat.S_IFLNK: tarfile.SYMTYPE}
    for member in archive.infolist():
        info, kind = tarfile.TarInfo(member.filename), stat.S_IFMT(member.external_attr >> 16)
        info.size, info.type = member.file_size, types.get(kind, tarfile.FIFOTYPE)
        if member.is_dir():
            info.type = tarfile.DIRTYPE
        elif info.issym():
            info.linkname = archive.open(member).read(4096).decode(errors="surrogateescape").partition("\0")[0]
        yield info, archive.open(member)


def _write_files(members: Members, folder: Path, packed: int) -> dict[str, tarfile.TarInfo]:
    """Files and folders of an archive, whose size is ``packed`` bytes; gives back its links by their names there."""
    most, free, unpacked = max(ALWAYS_ALLOWED, MAX_RATIO * packed), shutil.disk_usage(folder).free - KEPT_FREE, 0
    names: dict[str, str] = {}  # below the folder -> as the archive has it
    links = {}
    for number, (info, stream) in enumerate(members):
        path = PurePosixPath(info.name.replace("\\", "/"))
        is_media = path.suffix.lower() in MEDIA_SUFFIXES
        places = (str(path), *(str(each) for each in path.parents if str(each) not in links))
        unpacked += 0 if is_media or not info.isfile() else info.size
        if unpacked > most or number >= MAX_MEMBERS:
            size = f"({packed / 1e6:,.1f} MB) is more than {most / 1e6:,.0f} MB or {MAX_MEMBERS:,} members unpacked"
            raise UserError(f"{size}, as no recordings are; pack those alone, or give a folder")
        if unpacked > free:
            raise UserError("does not fit on the disk of the cache; free some, or set KWS_CACHE")
        if path.is_absolute() or ".." in path.parts:
            _refuse(info, "leads out of it")
        elif former := next((names[each] for each in places if each in names), ""):
            _refuse(info, f"would become the same file as '{former}'")
        elif info.isdir():
            (folder / path).mkdir(parents=True, exist_ok=True)
        elif (folder / path).is_dir():
            _refuse(info, "has the name of a folder")
        elif not (info.isfile() or info.issym() or info.islnk()):
            _refuse(info, "is a device")
        else:
            names[str(path)] = info.name
            if not info.isfile():
                links[str(path)] = info
                continue
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with (folder / path).open("wb") as file:
                if stream and not is_media:
                    shutil.copyfileobj(stream, file, 1 << 18)
    return links


def _make_links(links: dict[str, tarfile.TarInfo], top: Path) -> list[str]:
    """Links after all files, so that nothing is written through one; those that lead out are refused or removed."""
    made: dict[Path, tarfile.TarInfo] = {}
    for name, info in links.items():
        path = top / name
        if os.path.realpath(path.parent) != str(path.parent):
            _refuse(info, "is below a link")
        elif not os.path.lexists(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(os.path.relpath(top / info.linkname, path.parent) if info.islnk() else info.linkname or ".")
            made[path] = info
    out = [path for path in made if not Path(os.path.realpath(path)).is_relative_to(top)]
    for path in out:
        _refuse(made[path], "leads out of it")
        path.unlink()
    named = [made[path].name for path in out if not path.suffix]  # folders of recordings, perhaps
    told = f"{len(named)} links lead out of the archive: {some(named)}; pack what they point to (`tar -h`)"
    return [told] if named else []


def _refuse(member: tarfile.TarInfo, why: str) -> None:
    """Raises UserError, unless the member is no data and can be passed over."""
    path = PurePosixPath(member.name.replace("\\", "/"))
    leftover = any(is_leftover(part) for part in path.parts if part not in ("..", "/"))
    wanted = path.name.lower() in TEXT_FILES or path.suffix.lower() in AUDIO_SUFFIXES | MEDIA_SUFFIXES
    if wanted and not leftover:
        raise UserError(f"is unsafe: member '{member.name}' {why}; pack plain files and folders")
