"""The registry's tools, run with one login, bounded retries and errors of one line."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ATTEMPTS = 4
TRANSIENT = re.compile(
    r"(?i)\b(status(?: code)?:? (?:429|5\d\d)|(?:429|50[0234]) [A-Z][a-z]+|toomanyrequests|"
    r"connection (?:refused|reset)|broken pipe|unexpected EOF|i/o timeout|TLS handshake timeout|"
    r"context deadline exceeded|temporary failure in name resolution)"
)

LOOKUP = re.compile(r"\blookup ([\w.-]+?)\.?(?: on \S+)?: ")  # as Go names the host that it asked for


class RegistryError(RuntimeError):
    """What went wrong at the registry, in one line that names the setting to change; ``said``: the tool's words."""

    said = ""


class MissingError(RegistryError):
    """The registry holds nothing under that name."""


@dataclass
class Registry:
    """A repository in a registry.

    ``address`` is HOST/NAME as its users write it, ``endpoint`` the same as it is reached from here, ``plain_http``
    for a registry that was handed over as a service. Anonymous without ``username``.
    """

    address: str
    endpoint: str = ""
    plain_http: bool = False
    username: str = ""
    password: str = ""
    pause: float = 1.0  # seconds before the first retry; doubled for each further one
    folder: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory, repr=False)

    def __post_init__(self) -> None:
        self.endpoint = self.endpoint or self.address
        if self.username:
            # Kept in this process's own folder, as the tools want it; it never is an argument of a command.
            token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            config = Path(self.folder.name) / "config.json"
            config.touch(mode=0o600)
            config.write_text(json.dumps({"auths": {self.host: {"auth": token}}}))

    @property
    def host(self) -> str:
        return self.endpoint.partition("/")[0]

    def at(self, reference: str) -> str:
        """``reference``, a tag or a digest, in this repository as it is reached."""
        return f"{self.endpoint}{'@' if ':' in reference else ':'}{reference}"

    def skopeo(self, command: str, *arguments: str) -> str:
        return self._run("skopeo", command, *(["--tls-verify=false"] if self.plain_http else []), *arguments)

    def copy_archive(self, archive: Path, reference: str) -> None:
        """Push an OCI archive's image, or its index with all images, with its digests as they are."""
        say(f"pushing {self.address}@{reference}")
        plain = ["--dest-tls-verify=false"] if self.plain_http else []
        source, target = f"oci-archive:{archive}", f"docker://{self.at(reference)}"
        self._run("skopeo", "copy", "--quiet", "--all", "--preserve-digests", *plain, source, target)

    def oras(self, *command: str, cwd: Path | None = None, tag_scheme: bool = False) -> str:
        plain = ["--plain-http"] if self.plain_http else []
        # GHCR has no referrers endpoint; the fallback tag is written everywhere, so that a copy keeps it too.
        scheme = ["--distribution-spec", "v1.1-referrers-tag"] if tag_scheme else []
        return self._run("oras", *command, *plain, *scheme, cwd=cwd)

    def cosign(self, *command: str, environment: dict[str, str] | None = None) -> str:
        plain = ["--allow-http-registry", "--allow-insecure-registry"] if self.plain_http else []
        return self._run("cosign", *command, *plain, environment=environment)

    def digest(self, reference: str) -> str:
        """The digest under a tag, or of a digest that is there. Raises MissingError where there is none."""
        try:
            described = json.loads(self.oras("manifest", "fetch", "--descriptor", self.at(reference)))
        except MissingError as error:
            raise MissingError(f"{self.address} holds nothing under {reference}") from error
        return str(described["digest"])

    def manifest(self, reference: str) -> dict[str, Any]:
        return dict(json.loads(self.oras("manifest", "fetch", self.at(reference))))

    def tags(self) -> list[str]:
        """All tags; none where the repository does not exist yet."""
        try:
            return self.oras("repo", "tags", self.endpoint).split()
        except MissingError:
            return []

    def _run(self, *command: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
        own = {"DOCKER_CONFIG": self.folder.name, "REGISTRY_AUTH_FILE": f"{self.folder.name}/config.json"}
        if not self.username:
            del own["REGISTRY_AUTH_FILE"]
        for attempt in range(1, ATTEMPTS + 1):
            try:
                done = subprocess.run(
                    command, cwd=cwd, env={**os.environ, **own, **(environment or {})}, capture_output=True, text=True,
                    stdin=subprocess.DEVNULL, timeout=900,
                )  # fmt: skip
            except FileNotFoundError as error:
                raise RegistryError(
                    f"{command[0]} is not installed (Debian 13: apt install cosign oras skopeo)"
                ) from error
            except subprocess.TimeoutExpired as error:
                raise RegistryError(f"{self.address}: {command[0]} did not end within 900 s") from error
            if done.returncode == 0:
                return done.stdout
            message = self._without_secrets(done.stderr or done.stdout)
            if not TRANSIENT.search(message) or attempt == ATTEMPTS:
                failure = explained(message, self.address, " ".join(command[:2]), attempt)
                failure.said = message
                raise failure
            pause = self.pause * 2 ** (attempt - 1)
            say(f"{self.host}: {_last_line(message)}; again in {pause:g} s")
            time.sleep(pause)
        raise AssertionError

    def _without_secrets(self, message: str) -> str:
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        for secret in (self.password, token):
            message = message.replace(secret, "***") if secret else message
        return message


def say(what: str) -> None:
    """A line of progress, beside what a command prints for its caller."""
    print(f"registry: {what}", file=sys.stderr, flush=True)


def explained(message: str, address: str, what: str, attempts: int = 1) -> RegistryError:
    """The error for a tool's message: what it means for the user, and the setting to change."""
    host, _, name = address.partition("/")
    said = message.lower()
    last = _last_line(message)

    def has(*words: str) -> bool:
        return any(word in said for word in words)

    if has("no such host", "name resolution", "name or service not known", "server misbehaving"):
        asked = LOOKUP.search(message)
        if asked and asked[1].endswith("sigstore.dev"):
            return RegistryError(f"{what} without a key asks {asked[1]}, which cannot be found: give a key")
        if asked and asked[1] != host.partition(":")[0]:
            return RegistryError(f"{asked[1]} is no host that can be found, and {what} needs it")
        return RegistryError(f"{host} is no host that can be found: check --address")
    if has("server gave http response to https client", "wrong_version_number", "record_layer_failure"):
        return RegistryError(f"{host} speaks plain HTTP: hand it over as a service, --registry=tcp://HOST:PORT")
    if has("x509", "certificate"):
        return RegistryError(f"{host}: its certificate is not trusted here: give the engine the CA ({last})")
    if has("unauthorized", "authentication required", "invalid username/password", "status code 401", " 401"):
        return RegistryError(
            f"{host} refuses these credentials for {name}: check --username and --password "
            "(GHCR: a token with write:packages)"
        )
    if has("denied", "forbidden", "status code 403", " 403"):
        return RegistryError(
            f"{host} forbids it for {name}: the account needs the right to write there "
            "(GHCR: 'permissions: packages: write' in the workflow, or the package's 'Manage Actions access')"
        )
    if has("manifest unknown", "not found", "name unknown", "repository name not known", "status code 404"):
        return MissingError(f"{address} does not hold what was asked for ({last})")
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    return RegistryError(f"{host}: {what} failed{tried}: {last}")


def _last_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1][-400:] if lines else "no message"
