"""Bring an image as an engine exports it into one reproducible form: ``python -m tools.seal``. Standard library only.

An engine writes the time of the build into the image's history, and its layers depend on what its cache went
through (a base image's layer is packed anew after a restart). Sealed, equal files give equal bytes: entries sorted,
headers in one form, the project's own files without times, and ``created`` the commit's time. Images of several
platforms come under one index. Labels are repeated as annotations, where registries show them.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from tools.oci import INDEX, LAYER, MANIFEST, Archive, ArchiveError, digest_of

FORM = f"1 zlib {zlib.ZLIB_RUNTIME_VERSION}"  # of a sealed layer: what else than its input decides over its bytes
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
ANNOTATED = ("org.opencontainers.image.", "kws.")
XATTR = "SCHILY.xattr."
RFC3339, EPOCH = "%Y-%m-%dT%H:%M:%SZ", "1970-01-01T00:00:00Z"  # a time as OCI wants it, in UTC


@dataclass(frozen=True)
class Layer:
    """A sealed layer: digest and size in bytes as a registry stores it, and the digest of its content."""

    digest: str
    size: int
    diff_id: str


class Sealer:
    """Seals the images of one run into a folder of blobs.

    ``cache`` holds sealed layers by what went into them: of an edited service only its own layer is packed again.
    """

    def __init__(self, blobs: Path, cache: Path) -> None:
        self.blobs = blobs
        self.cache = cache

    def image(self, archive: Archive, own: list[str], created: str, labels: dict[str, str]) -> dict[str, Any]:
        """The descriptor of the sealed image. ``own`` names the project's layers, the last ones, bottom first."""
        manifest, config = archive.image()
        names = ["base"] * (len(manifest["layers"]) - len(own)) + own
        layers = self._layers(archive, [layer["digest"] for layer in manifest["layers"]], names)
        settings = config.get("config", {})
        settings["Labels"] = {**(settings.get("Labels") or {}), **labels}
        sealed = {
            **{key: config[key] for key in ("architecture", "os", "variant") if config.get(key)},
            "config": settings,
            "created": created,
            "history": [{"created": created, "created_by": name} for name in names],
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
        annotations = {key: value for key, value in settings["Labels"].items() if key.startswith(ANNOTATED)}
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.document(sealed, "application/vnd.oci.image.config.v1+json"),
            "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size} for layer in layers],
            "annotations": annotations,
        }
        return {**self.document(document, MANIFEST), "platform": platform_of(sealed)}

    def index(self, images: list[dict[str, Any]]) -> dict[str, Any]:
        """The descriptor of one index over images of several platforms; of a single image, its own."""
        if len(images) == 1:
            return images[0]
        platforms = [image["platform"] for image in images]
        if len({json.dumps(platform) for platform in platforms}) < len(platforms):
            raise ArchiveError("two archives hold an image of the same platform")
        annotations = json.loads(self.path(images[0]["digest"]).read_text())["annotations"]
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": images, "annotations": annotations}
        return self.document(document, INDEX)

    def document(self, content: Any, media_type: str) -> dict[str, Any]:
        """Write JSON as a blob; its descriptor."""
        data = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.path(digest).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def path(self, digest: str) -> Path:
        return self.blobs / digest.partition(":")[2]

    def _layers(self, archive: Archive, digests: list[str], names: list[str]) -> list[Layer]:
        layers: list[Layer] = []
        lower: dict[str, Any] = {}
        seen = 0  # of how many layers `lower` holds the entries
        for at, name in enumerate(names):
            # What stands below decides which directories are repeated, so that it belongs to the key.
            key = hashlib.sha256(repr((FORM, name == "base", digests[: at + 1])).encode()).hexdigest()
            layer = self._cached(key)
            if layer is None:
                print(f"seal: packing {name}", file=sys.stderr, flush=True)
                for below in range(seen, at):
                    with archive.layer(digests[below]) as file:
                        _read(file, lower, times=names[below] == "base")
                with archive.layer(digests[at]) as file:
                    layer = self._pack(file, lower, times=name == "base")
                seen = at + 1
                self._keep(key, layer)
            layers.append(layer)
        return layers

    def _pack(self, source: IO[bytes], lower: dict[str, Any], times: bool) -> Layer:
        with tempfile.NamedTemporaryFile(dir=self.blobs, delete=False) as packed:
            inner = _Hashed(gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6, mtime=0))
            with tarfile.open(fileobj=inner, mode="w|", format=tarfile.PAX_FORMAT) as out:  # type: ignore[call-overload]
                for member, content in _canonical(source, lower, times):
                    out.addfile(member, content)
            inner.close()
        digest = digest_of(Path(packed.name))
        path = Path(packed.name).rename(self.path(digest))
        path.chmod(0o644)
        return Layer(digest, path.stat().st_size, f"sha256:{inner.hash.hexdigest()}")

    def _cached(self, key: str) -> Layer | None:
        note = self.cache / f"{key}.json"
        try:
            layer = Layer(**json.loads(note.read_text()))
            shutil.copyfile(self.cache / layer.digest.partition(":")[2], self.path(layer.digest))
        except (OSError, ValueError, TypeError):
            return None
        # A cache may lose or spoil a file at any time.
        return layer if digest_of(self.path(layer.digest)) == layer.digest else None

    def _keep(self, key: str, layer: Layer) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        blob = self.cache / layer.digest.partition(":")[2]
        for path, write in (
            (blob, lambda new: shutil.copyfile(self.path(layer.digest), new)),
            (self.cache / f"{key}.json", lambda new: Path(new).write_text(json.dumps(asdict(layer)))),
        ):
            new = path.with_name(f".{path.name}.{os.getpid()}")
            write(new)
            new.replace(path)


class _Hashed:
    """A file to write to that also hashes what is written."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self.file = file
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return self.file.write(data)

    def close(self) -> None:
        self.file.close()


def _name(member_name: str) -> str:
    return member_name.removeprefix("./").strip("/")


def _members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """The entries by name, the last of each; the root itself is left out, as some packers do."""
    members = {_name(member.name): member for member in tar}
    return {name: member for name, member in members.items() if name not in ("", ".")}


def _header(name: str, member: tarfile.TarInfo, times: bool) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type = tarfile.REGTYPE if member.isreg() else member.type
    header.mode, header.uid, header.gid = member.mode & 0o7777, member.uid, member.gid
    header.size = member.size if member.isreg() else 0
    header.mtime = int(member.mtime) if times else 0
    header.linkname = _name(member.linkname) if member.islnk() else member.linkname
    header.devmajor, header.devminor = (member.devmajor, member.devminor) if member.isdev() else (0, 0)
    header.pax_headers = {key: value for key, value in sorted(member.pax_headers.items()) if key.startswith(XATTR)}
    return header


def _facts(header: tarfile.TarInfo) -> Any:
    return header.mode, header.uid, header.gid, header.mtime, header.pax_headers


def _note(lower: dict[str, Any], name: str, header: tarfile.TarInfo) -> None:
    """Put an entry into ``lower``: what each directory is by now, seen through all layers so far."""
    folder, _, last = name.rpartition("/")
    if last.startswith(WHITEOUT):
        gone = folder if last == OPAQUE else f"{folder}/{last.removeprefix(WHITEOUT)}".lstrip("/")
        for known in [known for known in lower if known == gone or known.startswith(f"{gone}/")]:
            if last != OPAQUE or known != gone:
                del lower[known]
    elif header.isdir():
        lower[name] = _facts(header)
    else:
        lower.pop(name, None)


def _read(source: IO[bytes], lower: dict[str, Any], times: bool) -> None:
    with tarfile.open(fileobj=source) as tar:
        for name, member in sorted(_members(tar).items()):
            _note(lower, name, _header(name, member, times))


def _canonical(
    source: IO[bytes], lower: dict[str, Any], times: bool
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """The entries of a layer in their one form: sorted, each once, directories only where they change."""
    with tarfile.open(fileobj=source) as tar:
        members = _members(tar)
        # Of the names of one file the first holds the content, whichever the packer met first.
        links: dict[str, list[str]] = {}
        for name, member in members.items():
            if member.islnk() and _name(member.linkname) in members:
                links.setdefault(_name(member.linkname), []).append(name)
        holders = {name: target for target, names in links.items() for name in (*names, target)}
        first = {target: min(target, *names) for target, names in links.items()}
        for name in sorted(members):
            member = members[holders.get(name, name)]
            header = _header(name, member, times)
            content: IO[bytes] | None = tar.extractfile(member) if member.isreg() else None
            if name in holders and first[holders[name]] != name:
                header.type, header.size, header.linkname, content = tarfile.LNKTYPE, 0, first[holders[name]], None
            repeated = header.isdir() and lower.get(name) == _facts(header)
            if not repeated:
                yield header, content
            _note(lower, name, header)


def platform_of(config: dict[str, Any]) -> dict[str, str]:
    return {key: config[key] for key in ("architecture", "os", "variant") if config.get(key)}


def write(output: Path, blobs: Path, root: dict[str, Any]) -> None:
    """The OCI archive of all blobs under ``root``."""
    folder = blobs.parent.parent
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [root]}
    (folder / "index.json").write_text(json.dumps(index, sort_keys=True))
    if "platform" in root:  # what `docker load` before version 25 reads; it knows no index of platforms
        manifest = json.loads((blobs / root["digest"].partition(":")[2]).read_text())
        names = [f"blobs/{part['digest'].replace(':', '/')}" for part in (manifest["config"], *manifest["layers"])]
        listed = [{"Config": names[0], "RepoTags": None, "Layers": names[1:]}]
        (folder / "manifest.json").write_text(json.dumps(listed))
    output.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                header = tarfile.TarInfo(str(path.relative_to(folder)))
                header.size = path.stat().st_size
                with path.open("rb") as file:
                    tar.addfile(header, file)


def seal(
    archives: list[Path], own: list[str], created: str, labels: dict[str, str], cache: Path, output: Path
) -> dict[str, Any]:
    """Seal the images of one or more archives into ``output``; the descriptor of the image or its index."""
    with tempfile.TemporaryDirectory(dir=output.parent if output.parent.is_dir() else None) as folder:
        blobs = Path(folder) / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        sealer = Sealer(blobs, cache)
        images = []
        for path in archives:
            with Archive(path) as archive:
                images.append(sealer.image(archive, own, created, labels))
        root = sealer.index(sorted(images, key=lambda image: json.dumps(image["platform"])))
        write(output, blobs, root)
    return root


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", nargs="+", type=Path, help="OCI archives, one a platform")
    parser.add_argument("--own", nargs="+", default=[], metavar="NAME", help="the project's layers, bottom first")
    parser.add_argument("--created", default="", help="the commit's time in UTC, such as 2026-03-01T12:00:00Z")
    parser.add_argument("--label", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    parser.add_argument("--labels", type=Path, help="a JSON object of more labels")
    parser.add_argument("--cache", type=Path, required=True, help="a folder of sealed layers, kept between runs")
    parser.add_argument("--output", type=Path, required=True, help="the OCI archive to write")
    options = parser.parse_args()
    try:
        created = options.created or EPOCH
        datetime.strptime(created, RFC3339)
        labels = dict(label.split("=", 1) for label in options.label)
        if options.labels:
            labels |= json.loads(options.labels.read_text())
        if options.created:
            labels["org.opencontainers.image.created"] = created
        root = seal(options.archives, options.own, created, labels, options.cache, options.output)
    except (ArchiveError, ValueError, OSError) as error:
        print(f"seal: {error}", file=sys.stderr)
        return 2
    print(root["digest"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
