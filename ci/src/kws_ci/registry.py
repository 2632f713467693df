"""A repository in a registry: how it is named, reached and logged in to; pushing to it and pulling from it."""

import re
import uuid
from dataclasses import dataclass

import dagger
from dagger import dag

from .errors import UserError

# The grammar of the OCI distribution specification, less what a user cannot mean here.
_REPOSITORY = re.compile(
    r"(?P<host>localhost|[A-Za-z0-9.-]+(?:\.[A-Za-z0-9-]+|:\d+))(?P<port>:\d+)?"
    r"/(?P<path>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
)
DEFAULT_BRANCH = "master"
PASSWORD = "/run/secrets/password"  # noqa: S105 (where the secret is mounted)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Registry:
    """A repository in a registry and how to log in to it. Raises UserError on arguments that cannot work."""

    address: str
    username: str = ""
    password: dagger.Secret | None = None
    service: dagger.Service | None = None

    def __post_init__(self) -> None:
        if not _REPOSITORY.fullmatch(self.address):
            raise UserError(
                f"--address {self.address!r} is not HOST/NAME in lower case, without scheme, tag or digest "
                "(such as ghcr.io/owner/name or 127.0.0.1:5000/me/name)"
            )
        if bool(self.username) != (self.password is not None):
            raise UserError(
                "--username and --password go together: give both (--password env:CR_PAT), "
                "or neither where the registry asks for none"
            )

    @property
    def host(self) -> str:
        return self.address.partition("/")[0]

    def check_reachable(self) -> None:
        """Raise UserError where only the engine's own process could reach the registry, and no container can."""
        if self.host.partition(":")[0] in ("localhost", "127.0.0.1") and self.service is None:
            raise UserError(
                f"--address {self.address!r} is each container's own loopback: hand the registry over as a service, "
                f"--registry=tcp://{self.host}"
            )

    def run(self, toolbox: dagger.Container, *command: str) -> dagger.Container:
        """``python -m tools.registry`` with this repository, never answered from the cache."""
        options = [f"--address={self.address}"]
        container = toolbox.with_env_variable("KWS_RUN", uuid.uuid4().hex)
        if self.service is not None:
            _, _, port = self.host.partition(":")
            _, _, name = self.address.partition("/")
            container = container.with_service_binding("registry", self.service)
            options += [f"--endpoint=registry:{port or 80}/{name}", "--plain-http"]
        if self.password is not None:
            container = container.with_mounted_secret(PASSWORD, self.password)
            options += [f"--username={self.username}", f"--password-file={PASSWORD}"]
        return container.with_exec(["python", "-m", "tools.registry", *options, *command])

    def pull(self, reference: str) -> dagger.Container:
        """The image at ``reference``, a tag or a digest of this repository."""
        return self._login(dag.container()).from_(reference, registry_service=self.service)

    def _login(self, container: dagger.Container) -> dagger.Container:
        if self.password is None:
            return container
        return container.with_registry_auth(self.address, self.username, self.password)


def release_tags(revision: str, branch: str, version: str, tags: list[str] | None = None) -> list[str]:
    """The tags of a release: those given, or by rule the commit, the branch, the version; ``latest`` from master.

    A call that says nothing of where it comes from publishes ``latest``. Raises UserError on what is no tag.
    """
    if tags is not None:
        return checked_tags(tags)
    known = {
        "--revision": revision,
        "--branch": re.sub(r"[^A-Za-z0-9._-]", "-", branch),
        "--version": re.sub(r"^v(?=\d)", "", version).replace("+", "-"),
    }
    found = [_checked_tag(tag, option) for option, tag in known.items() if tag]
    if branch == DEFAULT_BRANCH or not found:
        found.append("latest")
    return list(dict.fromkeys(found))


def checked_tags(tags: list[str]) -> list[str]:
    """The tags, each once. Raises UserError on none at all or on one that no registry takes."""
    if not tags:
        raise UserError("--tags is empty: name at least one tag, such as latest")
    return list(dict.fromkeys(_checked_tag(tag, "--tags") for tag in tags))


def _checked_tag(tag: str, option: str) -> str:
    if not _TAG.fullmatch(tag):
        raise UserError(f"{option}: {tag!r} is not a tag: letters, digits, '_', '.', '-', at most 128")
    return tag


def repository_of(reference: str) -> str:
    """``HOST/NAME`` of ``HOST/NAME:TAG`` or ``HOST/NAME@DIGEST``. Raises UserError on what is neither."""
    name, at, digest = reference.partition("@")
    head, slash, last = name.rpartition("/")
    repository, colon, tag = (head + slash + last.partition(":")[0], *last.partition(":")[1:])
    named = _DIGEST.fullmatch(digest) if at else colon and _TAG.fullmatch(tag)
    if not named or not _REPOSITORY.fullmatch(repository):
        raise UserError(f"--reference {reference!r} is not HOST/NAME:TAG or HOST/NAME@sha256:… in lower case")
    return repository
