"""The command line: ``python -m tools.registry COMMAND``. Exit code 2: it could not be done, with one line why.

3, of ``doctor``: something that is needed failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tools.doctor import report
from tools.github import Api, GitHubError
from tools.oci import Archive, ArchiveError
from tools.registry import attachments, signing
from tools.registry.client import MissingError, Registry, RegistryError
from tools.registry.doctor import examine
from tools.registry.prune import Package, prune


def release(registry: Registry, options: argparse.Namespace) -> None:
    with Archive(options.archive) as archive:
        image = str(archive.root["digest"])
        created = archive.images()[0][2].get("created", "")
    signer = signer_of(options)
    if signer is not None:
        signer.options()  # what is missing is named before anything is pushed
    registry.copy_archive(options.archive, image)
    attachments.attach(registry, image, files_of(options.attach), created)
    if signer is not None:
        signing.sign(registry, image, signer, files_of(options.attach).get("provenance"))
    tag(registry, image, options.tags)
    print(f"{registry.address}@{image}")


def tag(registry: Registry, image: str, tags: list[str]) -> None:
    if tags:
        registry.oras("tag", registry.at(image), *tags)


def sign(registry: Registry, options: argparse.Namespace) -> None:
    image = registry.digest(options.reference)
    signer = signer_of(options)
    if signer is None:
        raise RegistryError("signing needs --key or --keyless")
    signer.options()
    with tempfile.TemporaryDirectory() as folder:
        try:
            (provenance,) = attachments.fetch(registry, image, ["provenance"], Path(folder))
        except MissingError:
            provenance = None
        signing.sign(registry, image, signer, provenance)
    print(f"{registry.address}@{image}")


def verify(registry: Registry, options: argparse.Namespace) -> None:
    image = registry.digest(options.reference)
    for line in signing.verify(registry, image, verifier_of(options)):
        print(f"verified: {line}")
    print(f"{registry.address}@{image}")


def promote(registry: Registry, options: argparse.Namespace) -> None:
    image = registry.digest(options.reference)
    signing.verify(registry, image, verifier_of(options))
    tag(registry, image, options.tags)
    print(f"{registry.address}@{image}")


def fetch(registry: Registry, options: argparse.Namespace) -> None:
    try:
        image = registry.digest(options.reference)
        for path in attachments.fetch(registry, image, options.kinds, options.output, some=options.optional):
            print(path)
    except MissingError as error:
        if not options.optional:
            raise
        print(error)


def listing(registry: Registry, options: argparse.Namespace) -> None:
    image = registry.digest(options.reference)
    found = [vars(attachment) for attachment in attachments.listed(registry, image)]
    print(json.dumps({"digest": image, "attachments": found}, indent=2))


def pruned(registry: Registry, options: argparse.Namespace) -> None:
    if options.older_than < 1:
        raise RegistryError("--older-than is at least a day: what is being pushed has no tag yet")
    package = Package(Api(os.environ.get("GITHUB_TOKEN", ""), options.api), registry.address)
    for line in prune(registry, package, options.older_than, datetime.now(UTC), delete=options.delete):
        print(line, flush=True)


def doctor(registry: Registry, _: argparse.Namespace) -> int:
    return report(examine(registry))


def files_of(attach: list[str]) -> dict[str, Path]:
    files = dict(entry.split("=", 1) for entry in attach)
    unknown = sorted(set(files) - set(attachments.TYPES))
    if unknown:
        raise RegistryError(f"--attach: {', '.join(unknown)} is none of {', '.join(attachments.TYPES)}")
    return {kind: Path(path) for kind, path in files.items()}


def signer_of(options: argparse.Namespace) -> signing.Signer | None:
    if options.key is None and not options.keyless:
        return None
    return signing.Signer(options.key, options.transparency_log)


def verifier_of(options: argparse.Namespace) -> signing.Verifier:
    return signing.Verifier(options.key, options.identity, options.issuer, options.transparency_log)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.registry", description=__doc__)
    parser.add_argument("--address", required=True, help="HOST/NAME, as its users write it")
    parser.add_argument("--endpoint", default="", help="HOST/NAME, as it is reached from here (default: the address)")
    parser.add_argument("--plain-http", action="store_true", help="speak HTTP, not HTTPS")
    parser.add_argument("--username", default="")
    parser.add_argument("--password-file", type=Path, help="a file that holds the password or token")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str, *, reference: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        if reference:
            sub.add_argument("reference", help="a tag, or a digest sha256:…")
        return sub

    def signer(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--key", type=Path, help="cosign's private key; its passphrase is in COSIGN_PASSWORD")
        sub.add_argument("--keyless", action="store_true", help="by the identity of the GitHub workflow")
        sub.add_argument("--transparency-log", action="store_true", help="enter a key's signature into the public log")

    def verifier(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--key", type=Path, help="the public key")
        sub.add_argument("--identity", default="", help="keyless: a regular expression over the signer's identity")
        sub.add_argument("--issuer", default="", help="keyless: who vouches for the identity")
        sub.add_argument("--transparency-log", action="store_true", help="ask that the public log holds the signature")

    sub = command("release", release, "push, attach, sign, tag", reference=False)
    sub.add_argument("archive", type=Path, help="an OCI archive")
    sub.add_argument("--tags", nargs="*", default=[])
    sub.add_argument("--attach", action="append", default=[], metavar="KIND=FILE", help="may be repeated")
    signer(sub)
    signer(command("sign", sign, "sign an image that is there"))
    verifier(command("verify", verify, "check signature, provenance and attachments"))
    sub = command("promote", promote, "put tags on an image that verifies")
    verifier(sub)
    sub.add_argument("--tags", nargs="+", required=True)
    sub = command("fetch", fetch, "write an image's attachments to a folder")
    sub.add_argument("--kinds", nargs="*", choices=sorted(attachments.TYPES), help="(default: all there are)")
    sub.add_argument("--optional", action="store_true", help="what is not there is said, and is no error")
    sub.add_argument("--output", type=Path, required=True)
    command("list", listing, "an image's attachments as JSON")
    command("doctor", doctor, "check that it can be reached, pushed to and pulled from", reference=False)
    sub = command("prune", pruned, "remove old images without a tag (GitHub's registry)", reference=False)
    sub.add_argument("--older-than", type=int, default=30, metavar="DAYS", help="(%(default)s)")
    sub.add_argument("--delete", action="store_true", help="do it; else it is only told")
    sub.add_argument("--api", default=Api.address, help="GitHub's API; the token is in GITHUB_TOKEN (%(default)s)")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    try:
        password = options.password_file.read_text().strip() if options.password_file else ""
        registry = Registry(options.address, options.endpoint, options.plain_http, options.username, password)
        return int(options.run(registry, options) or 0)
    except (RegistryError, GitHubError, ArchiveError, OSError, ValueError) as error:
        print(f"registry: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
