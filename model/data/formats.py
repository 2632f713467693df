"""The archives that are read, as a row of members: tar with any compression, and ZIP; others are named."""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from kws.audio import media_kind
from model.errors import UserError

Progress = Callable[[int, int], None]  # bytes done, bytes in all

CORRUPT = (tarfile.TarError, zipfile.BadZipFile, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
_ENCRYPTED = 0x1
_LONGEST_LINK = 4096
_MOST_BLOCKS = 256
_OTHERS = {  # first bytes -> what it is, and the command that unpacks it
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "7z x -oDATA"),
    b"Rar!": ("a RAR archive", "unrar x"),
    b"\x1f\x9d": ("a file of `compress`", "uncompress"),
    b"\x1f\xa0": ("a file of `compress`", "uncompress"),
    b"\x04\x22\x4d\x18": ("an LZ4 file", "lz4 -d"),
    b"LZIP": ("an lzip file", "lzip -d"),
    b"MSCF": ("a cabinet file", "cabextract"),
    b"!<arch>": ("an ar archive", "ar x"),
    b"070701": ("a cpio archive", "bsdtar xf"),
    b"070707": ("a cpio archive", "bsdtar xf"),
    b"xar!": ("a xar archive", "bsdtar xf"),
    b"PAR1": ("a Parquet file", ""),
    b"\x89HDF": ("an HDF5 file", ""),
    b"ARROW1": ("an Arrow file", ""),
    b"SQLite": ("an SQLite database", ""),
}
_RECORDINGS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"fLaC", b"OggS", b"ID3", b"FORM", b"caff", b".snd", b"\xff\xfb")


@dataclass(frozen=True)
class Member:
    """A member of an archive under its name there; ``target`` is what a link points to."""

    name: str
    kind: str  # file, folder, hard link, link or device
    size: int  # bytes, unpacked
    target: str
    open: Callable[[], IO[bytes]]


@contextmanager
def members(archive: Path, progress: Progress) -> Iterator[Iterator[Member]]:
    """The members of an archive in their order; each is to be read before the next one is asked for.

    Raises:
        UserError: no archive that is read here, or an encrypted one.
        CORRUPT, OSError without a number: truncated or damaged, which may be found at the end only.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(archive.open("rb"))
        size = archive.stat().st_size
        first = raw.read(512)
        raw.seek(0)
        if first.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            yield _of_zip(stack.enter_context(zipfile.ZipFile(raw)), archive, progress)
            return
        stream: Any = raw
        if first.startswith(b"\x1f\x8b"):
            stream = stack.enter_context(gzip.open(raw))
        elif first.startswith(b"BZh"):
            stream = stack.enter_context(bz2.open(raw))
        elif first.startswith((b"\xfd7zXZ", b"\x5d\x00\x00")):
            stream = stack.enter_context(lzma.open(raw))
        elif first.startswith(b"\x28\xb5\x2f\xfd"):
            stream = stack.enter_context(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
        source = _Source(stream)
        if stream is not raw and not source.first:
            raise EOFError("it ends early")
        if not _is_tar(source.first):
            for _ in range(_MOST_BLOCKS):  # damaged, perhaps: what is not, has its checksum at the end
                stream.read(1 << 20)
            raise UserError(f"data set '{archive}' is {_other(source.first, archive, stream is not raw)}")
        yield _of_tar(source, lambda: progress(raw.tell(), size))


class _Source:
    """A stream that knows its first and its last block of 512 bytes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.first = self._ahead = stream.read(512)
        self._last = b""

    def read(self, size: int) -> bytes:
        block = self._ahead or cast(bytes, self._stream.read(size))
        self._ahead = b""
        self._last = (self._last + block)[-512:]
        return block

    def read_to_end(self) -> None:
        """tarfile takes a truncation between two members for the end: the decompressor knows better, or the zeros."""
        while self.read(1 << 20):
            pass
        if self._last.strip(b"\0"):
            raise tarfile.ReadError("its end is missing")


def _of_tar(source: _Source, progress: Callable[[], None]) -> Iterator[Member]:
    kinds = {tarfile.DIRTYPE: "folder", tarfile.LNKTYPE: "hard link", tarfile.SYMTYPE: "link"}
    with tarfile.open(fileobj=cast(Any, source), mode="r|") as tar:
        while info := tar.next():
            tar.members.clear()  # type: ignore[attr-defined]
            kind = "file" if info.isfile() else kinds.get(info.type, "device")

            def opened(info: tarfile.TarInfo = info) -> IO[bytes]:
                return cast(IO[bytes], tar.extractfile(info))

            yield Member(info.name, kind, info.size if kind == "file" else 0, info.linkname, opened)
            progress()
    source.read_to_end()


def _of_zip(archive: zipfile.ZipFile, path: Path, progress: Progress) -> Iterator[Member]:
    done, total = 0, sum(info.compress_size for info in archive.infolist())
    for info in archive.infolist():
        mode = info.external_attr >> 16
        plain = stat.S_IFMT(mode) in (0, stat.S_IFREG)
        kind = "folder" if info.is_dir() else "file" if plain else "link" if stat.S_ISLNK(mode) else "device"
        if info.flag_bits & _ENCRYPTED:
            raise UserError(f"archive '{path}' is encrypted; unpack it with its password and give the folder")

        def opened(info: zipfile.ZipInfo = info) -> IO[bytes]:
            try:
                return archive.open(info)
            except NotImplementedError as error:
                raise UserError(
                    f"archive '{path}' is packed in a way not read here ({error}); unpack it and give the folder"
                ) from error

        target = ""
        if kind == "link":
            with opened() as stream:
                target = stream.read(_LONGEST_LINK).decode(errors="surrogateescape").partition("\0")[0]
        yield Member(info.filename.replace("\\", "/"), kind, info.file_size, target, opened)
        done += info.compress_size
        progress(done, total)


def _is_tar(first: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(first, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return bool(first) and not first.strip(b"\0")  # an empty one
    return True


def _other(first: bytes, archive: Path, compressed: bool) -> str:
    """What a file is that is no archive, with the remedy."""
    for start, (kind, command) in _OTHERS.items():
        if first.startswith(start):
            if not command:
                return f"{kind}; write its recordings into a folder a word and give the folder"
            return (
                f"{kind}, which is not read here; unpack it with `{command} {archive.name}` and give the folder, or "
                "repack that with `tar czf DATA.tar.gz FOLDER`"
            )
    if not first:
        return "an empty file; fetch it again"
    if compressed:
        return "compressed, but no archive; give a folder, or an archive of one"
    if first.startswith(_RECORDINGS):
        return "one recording; give a folder of recordings a word"
    if first.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer in place of the archive; fetch it with `git lfs pull`"
    return f"{media_kind(first) or 'no archive that is known here'}; give a folder, or a .tar.gz or .zip of one"
