"""Publishing to a registry and pulling back from it."""

import re
from dataclasses import dataclass

import dagger
from dagger import dag

# The grammar of the OCI distribution specification, less what a user cannot mean here.
_REPOSITORY = re.compile(
    r"(?P<host>localhost|[A-Za-z0-9.-]+(?:\.[A-Za-z0-9-]+|:\d+))(?P<port>:\d+)?"
    r"/(?P<path>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Registry:
    """A repository in a registry and how to log in to it. Raises ValueError on arguments that cannot work."""

    address: str
    username: str = ""
    password: dagger.Secret | None = None
    service: dagger.Service | None = None

    def __post_init__(self) -> None:
        if not _REPOSITORY.fullmatch(self.address):
            raise ValueError(
                f"--address {self.address!r} is not HOST/NAME in lower case, without scheme, tag or digest "
                "(such as ghcr.io/owner/name or 127.0.0.1:5000/me/name)"
            )
        if bool(self.username) != (self.password is not None):
            raise ValueError(
                "--username and --password go together: give both (--password env:CR_PAT), "
                "or neither where the registry asks for none"
            )

    async def publish(self, image: dagger.Container, tags: list[str]) -> str:
        """Push under every tag; returns ``HOST/NAME@sha256:…``."""
        digests = [
            await self._login(image).publish(f"{self.address}:{tag}", registry_service=self.service)
            for tag in checked_tags(tags)
        ]
        return f"{self.address}@{digests[0].rpartition('@')[2]}"

    def pull(self, reference: str) -> dagger.Container:
        """The image at ``reference``, a tag or a digest of this repository."""
        return self._login(dag.container()).from_(reference, registry_service=self.service)

    def _login(self, container: dagger.Container) -> dagger.Container:
        if self.password is None:
            return container
        return container.with_registry_auth(self.address, self.username, self.password)


def checked_tags(tags: list[str]) -> list[str]:
    """The tags, each once. Raises ValueError on none at all or on one that no registry takes."""
    if not tags:
        raise ValueError("--tags is empty: name at least one tag, such as latest")
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise ValueError(f"--tags: {tag!r} is not a tag: letters, digits, '_', '.', '-', at most 128")
    return list(dict.fromkeys(tags))


def repository_of(reference: str) -> str:
    """``HOST/NAME`` of ``HOST/NAME:TAG`` or ``HOST/NAME@DIGEST``."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]
