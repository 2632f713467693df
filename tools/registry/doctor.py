"""Whether a registry takes what the pipeline publishes, and gives it back. Nothing is left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tools.doctor import Finding, State
from tools.registry.client import MissingError, Registry, RegistryError, explained
from tools.registry.distribution import Answer, Session

LAST = "latest"


def examine(registry: Registry) -> Iterator[Finding]:
    """Reach, push, pull with the credentials, pull without."""
    try:
        answer = Session(registry).probe()
        if answer.status not in (200, 401):
            raise _failure(registry, answer, "GET /v2/")
    except RegistryError as error:
        yield Finding(State.FAILED, "registry", str(error))
        for name in ("push", "pull", "anonymous pull"):
            yield Finding(State.SKIPPED, name, "the registry does not answer")
        return
    yield Finding(State.OK, "registry", f"{registry.address.partition('/')[0]} answers")
    pushed = push(registry)
    yield pushed
    yield pull(registry, pushed.state is State.OK)
    yield anonymous_pull(registry)


def push(registry: Registry) -> Finding:
    """An upload that is begun and cancelled: it makes no manifest, no tag and no version of a package."""
    session, actions = Session(registry), "pull,push"
    try:
        begun = session.request("POST", "blobs/uploads/", actions)
        if begun.status != 202:
            raise _failure(registry, begun, "beginning an upload")
    except RegistryError as error:
        return Finding(State.FAILED, "push", str(error))
    try:
        cancelled = session.request("DELETE", begun.headers.get("Location", ""), actions).status in (202, 204)
    except RegistryError:
        cancelled = False
    end = "cancelled" if cancelled else "left to expire: this registry cancels none"
    return Finding(State.OK, "push", f"an upload to {registry.address} was begun, and {end}")


def pull(registry: Registry, may_push: bool) -> Finding:
    name = "pull"
    if not registry.username:
        return Finding(State.SKIPPED, name, "no --username and --password")
    try:
        return Finding(State.OK, name, _pulled(registry, Session(registry)))
    except MissingError:
        return Finding(State.SKIPPED, name, f"nothing is published as {LAST} yet")
    except RefusedError as error:
        if may_push:  # GHCR says so of a package that there is not
            return Finding(State.SKIPPED, name, f"nothing is published as {LAST} yet, or it is not this user's")
        return Finding(State.FAILED, name, str(error))
    except RegistryError as error:
        return Finding(State.FAILED, name, str(error))


def anonymous_pull(registry: Registry) -> Finding:
    name = "anonymous pull"
    try:
        return Finding(State.OK, name, _pulled(registry, Session(registry, anonymous=True)))
    except MissingError:
        return Finding(State.SKIPPED, name, f"nothing is published as {LAST} yet")
    except RefusedError:
        return Finding(
            State.WARNING,
            name,
            f"refused: {LAST} is not there yet, or only who logs in can pull it (GHCR: on the package's page "
            "'Package settings', 'Change visibility', 'Public')",
        )
    except RegistryError as error:
        return Finding(State.FAILED, name, str(error))


class RefusedError(RegistryError):
    """The registry does not let this user, or no one without a login, do it."""


def _pulled(registry: Registry, session: Session) -> str:
    """The last release: its manifest, one image's manifest where it is an index, and that image's configuration."""
    answer = _read(registry, session, f"manifests/{LAST}")
    digest = answer.headers.get("Docker-Content-Digest", "")
    try:
        manifest = json.loads(answer.body)
        if "manifests" in manifest:
            child = manifest["manifests"][0]["digest"]
            manifest = json.loads(_read(registry, session, f"manifests/{child}").body)
        # A blob is often given out by another host.
        _read(registry, session, f"blobs/{manifest['config']['digest']}")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise RegistryError(f"{registry.address}:{LAST} is no image ({type(error).__name__}: {error})") from None
    except MissingError as error:
        raise RegistryError(f"{registry.address}:{LAST} is not whole: {error}") from None
    return f"{registry.address}:{LAST} {digest}".rstrip()


def _read(registry: Registry, session: Session, path: str) -> Answer:
    answer = session.request("GET", path)
    if answer.status == 200:
        return answer
    if answer.refused:
        raise RefusedError(str(_failure(registry, answer, path)))
    raise _failure(registry, answer, path)


def _failure(registry: Registry, answer: Answer, what: str) -> RegistryError:
    return explained(f"{what}: status code {answer.status}", registry.address, what)
