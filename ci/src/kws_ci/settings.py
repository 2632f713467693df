"""What a whole run shares: the constructor's arguments; bad ones are named before any work."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import dagger
from dagger import DefaultPath, Doc, Ignore

from .steps import UserError

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
BUILDER = "https://github.com/dagger/dagger/releases/tag/v0.21.8"
QUICK = "quick"  # the profile of a toy
LOCK = ["**", "!pyproject.toml", "!uv.lock", "!tools/install.py", "!tools/trim.py"]
PACKAGE = ["**/__pycache__", "**/*.pyc", "**/.*", "**/*.md"]  # what is no part of a package
CHECKOUT = ["kws/**", "model/**", "service/**", "release/**", "tools/**", "tests/**", "ci/**", "docs/**", ".github/**"]
CHECKOUT += ["*.toml", "*.md", "*.json", "uv.lock", "Makefile", ".pre-commit-config.yaml"]
LOOKED_AT = ["**", *(f"!{path}" for path in CHECKOUT), "ci/sdk", "**/.venv", "**/__pycache__", "**/.*_cache"]
HEAD = ["**", "!.git/HEAD", "!.git/packed-refs", "!.git/refs/heads/**"]

# Options of the trainer that name a file or a folder, and the arguments that bring one: it is mounted as /data/OPTION.
OF_FILES = ("dataset", "speech", "speech_evaluation")
MOUNTED: dict[str, tuple[str, ...]] = {
    "negatives": ("negatives",),
    **{name: (name, f"{name}_folder") for name in OF_FILES},
}
# Arguments that are options of the trainer as they are: of every command over a data set, and of a training.
OF_DATA = ["labels", "speaker_pattern", "licence", "attribution"]
OF_DATA += ["dataset_url", "dataset_sha256", "speech_url", "synthetic_size", "synthetic_seed"]
OF_TRAINING = ["profile", "seed"]

EXCLUSIVE = [*MOUNTED.values(), ("dataset", "dataset_folder", "synthetic")]
EXCLUSIVE += [("signing_key", "oidc_request_url", "id_token")]
TOGETHER = [("username", "password"), ("identity", "issuer"), ("oidc_request_url", "oidc_request_token")]
# The grammar of the OCI distribution specification, less what a user cannot mean here.
_ADDRESS = re.compile(r"(localhost|[A-Za-z0-9-]+[.:][A-Za-z0-9.-]+)(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")


def options(**values: Any) -> list[str]:
    """Command-line options of those values that are given; lists are joined by commas, true stands alone."""
    given = {name: value for name, value in values.items() if value not in (None, "", []) and value is not False}
    joined = {name: ",".join(value) if isinstance(value, list) else value for name, value in given.items()}
    named = {f"--{name.replace('_', '-')}": value for name, value in joined.items()}
    return [name if value is True else f"{name}={value}" for name, value in named.items()]


def moment(created: str) -> str:
    """``--created`` as OCI wants it (RFC 3339), in UTC; the epoch where it is not known. Raises UserError."""
    try:
        time = datetime.strptime(created or "1970-01-01T00:00:00Z", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        raise UserError(f"--created {created!r} is not of the form 2026-03-01T12:00:00+01:00") from None
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def recipe(pairs: list[str], argument: str, *also: str) -> list[str]:
    """The trainer's options of NAME=VALUE pairs (``also``: others, too). Raises UserError, which names the argument."""
    for pair in pairs:
        if not (found := re.fullmatch(r"([a-z][a-z0-9-]*)=.+", pair)):
            raise UserError(f"--{argument}: {pair!r} is not NAME=VALUE, such as learning-rate=0.01")
        if found[1].replace("-", "_") in {"dataset", *OF_DATA, *OF_TRAINING}.difference(also):
            raise UserError(f"--{argument}: {pair!r} has an option of its own, --{found[1]}")
    return [f"--{pair}" for pair in pairs]


@dataclass(kw_only=True)
class Settings:
    """Sources and files are relative to dagger.json, wherever in a repository that is."""

    dependencies: Annotated[dagger.Directory, Doc("The lock and its installer"), DefaultPath("."), Ignore(LOCK)]
    kws_source: Annotated[dagger.Directory, Doc("What all share"), DefaultPath("kws"), Ignore(PACKAGE)]
    model_source: Annotated[dagger.Directory, Doc("The trainer"), DefaultPath("model"), Ignore(PACKAGE)]
    service_source: Annotated[dagger.Directory, Doc("The inference app"), DefaultPath("service"), Ignore(PACKAGE)]
    release_source: Annotated[dagger.Directory, Doc("What judges"), DefaultPath("release"), Ignore(PACKAGE)]
    tools_source: Annotated[dagger.Directory, Doc("Small programs"), DefaultPath("tools"), Ignore(PACKAGE)]
    checkout: Annotated[dagger.Directory, Doc("What the checks look at"), DefaultPath("."), Ignore(LOOKED_AT)]
    git: Annotated[dagger.Directory, Doc("Where the commit is read from"), DefaultPath("/"), Ignore(HEAD)]
    gates_file: Annotated[dagger.File, Doc("The bounds of the gates"), DefaultPath("gates.toml")]
    exceptions: Annotated[dagger.File, Doc("Vulnerabilities accepted until a day"), DefaultPath("osv-scanner.toml")]
    changelog: Annotated[dagger.File, Doc("Its section is a release's text"), DefaultPath("CHANGELOG.md")]

    dataset: Annotated[dagger.File | None, Doc("An archive of recordings, a folder a word (default: official)")] = None
    dataset_folder: Annotated[dagger.Directory | None, Doc("A folder of recordings, in place of an archive")] = None
    synthetic: Annotated[bool, Doc("Words spoken by espeak-ng in place of recordings: needs no download")] = False
    labels: Annotated[list[str] | None, Doc("The words to tell apart (default: up,down,yes,no, or the data's)")] = None
    speech: Annotated[dagger.File | None, Doc("An archive of running speech to train on")] = None
    speech_folder: Annotated[dagger.Directory | None, Doc("A folder of it, in place of an archive")] = None
    speech_evaluation: Annotated[dagger.File | None, Doc("An archive of other people's speech, to judge with")] = None
    speech_evaluation_folder: Annotated[dagger.Directory | None, Doc("A folder of it")] = None
    speech_url: Annotated[str, Doc("A mirror of LibriSpeech")] = ""
    negatives: Annotated[dagger.Directory | None, Doc("Recordings without keywords: rooms, television, music")] = None
    licence: Annotated[str, Doc("Licence of own recordings, for model card and SBOM")] = ""
    attribution: Annotated[str, Doc("Whom own recordings are from")] = ""
    speaker_pattern: Annotated[str, Doc("Regular expression: the speaker in a clip's name")] = ""
    synthetic_size: Annotated[int | None, Doc("Clips of each word that are spoken")] = None
    synthetic_seed: Annotated[int | None, Doc("Seed of what is spoken")] = None
    dataset_url: Annotated[str, Doc("A mirror of the official archive")] = ""
    dataset_sha256: Annotated[str, Doc("Its SHA-256")] = ""
    profile: Annotated[str, Doc("Of training: quick, standard or best (default: standard)")] = ""
    seed: Annotated[int | None, Doc("Of training")] = None
    training: Annotated[list[str] | None, Doc("More options of the trainer: NAME=VALUE, such as epochs=5")] = None

    base_image: Annotated[str, Doc("Image with Python that every container starts from")] = "python:3.13-slim"
    package_index: Annotated[str, Doc("A mirror of PyPI (default: PyPI)")] = ""
    torch_index: Annotated[str, Doc("Index of torch's CPU build (fallback: the package index)")] = TORCH_INDEX
    tool_images: Annotated[list[str] | None, Doc("NAME=ADDRESS of a tool: regctl, syft, osv-scanner, …")] = None
    vulnerability_database: Annotated[dagger.Directory | None, Doc("osv-scalibr/… (default: osv.dev is asked)")] = None
    platforms: Annotated[list[str] | None, Doc("Of the image, such as linux/amd64,linux/arm64 (default: own)")] = None

    repository: Annotated[str, Doc("Address of the source repository")] = ""
    revision: Annotated[str, Doc("Commit of the source (default for the model's metadata: the checkout's)")] = ""
    version: Annotated[str, Doc("Of the release, from its git tag")] = ""
    branch: Annotated[str, Doc("Of the source")] = ""
    default_branch: Annotated[str, Doc("The branch whose images are latest")] = "main"
    created: Annotated[str, Doc("The commit's time, ISO 8601: the image's only time")] = ""
    builder: Annotated[str, Doc("URI of who runs the build, for the provenance")] = BUILDER
    invocation: Annotated[str, Doc("URI of the run, for the provenance")] = ""

    address: Annotated[str, Doc("Where images are: HOST/NAME, such as ghcr.io/owner/name")] = ""
    username: Annotated[str, Doc("User name at the registry")] = ""
    password: Annotated[dagger.Secret | None, Doc("Password or token there, such as env:CR_PAT")] = None
    registry: Annotated[dagger.Service | None, Doc("A registry only the caller reaches: tcp://127.0.0.1:5000")] = None
    signing_key: Annotated[dagger.Secret | None, Doc("cosign's private key, such as file:cosign.key")] = None
    signing_passphrase: Annotated[dagger.Secret | None, Doc("Its passphrase, such as env:COSIGN_PASSWORD")] = None
    oidc_request_url: Annotated[dagger.Secret | None, Doc("Keyless: env:ACTIONS_ID_TOKEN_REQUEST_URL")] = None
    oidc_request_token: Annotated[dagger.Secret | None, Doc("Keyless: env:ACTIONS_ID_TOKEN_REQUEST_TOKEN")] = None
    id_token: Annotated[dagger.Secret | None, Doc("Keyless on GitLab: env:SIGSTORE_ID_TOKEN")] = None
    public_key: Annotated[dagger.File | None, Doc("cosign.pub: whose signatures count (default: the key's own)")] = None
    identity: Annotated[str, Doc("Keyless: regular expression of whose signatures count, the workflow's URL")] = ""
    issuer: Annotated[str, Doc("Keyless: who vouches, such as https://token.actions.githubusercontent.com")] = ""
    unsigned: Annotated[bool, Doc("Publish under latest without a signature")] = False

    def __post_init__(self) -> None:
        def listed(names: Iterable[str]) -> str:
            return " and ".join(f"--{name.replace('_', '-')}" for name in names)

        given = {name for name in self.__dataclass_fields__ if getattr(self, name)}
        for names in EXCLUSIVE:
            if len(found := [name for name in names if name in given]) > 1:
                raise UserError(f"{listed(found)} exclude each other: give one")
        for names in TOGETHER:
            if len(given & {*names}) == 1:
                raise UserError(f"{listed(names)} go together: give both, or neither")
        if (self.oidc_request_url or self.id_token) and not self.identity:
            raise UserError("--identity and --issuer are missing: what is signed keyless is verified by them")
        recipe(self.training or [], "training")
        if self.address and not _ADDRESS.fullmatch(self.address):
            raise UserError(f"--address {self.address!r} is not HOST/NAME in lower case, such as ghcr.io/owner/name")
        host = self.address.partition("/")[0]
        if host.partition(":")[0] in ("localhost", "127.0.0.1") and self.registry is None:
            raise UserError(f"--address {host} is each container's own loopback: add --registry=tcp://{host}")
        self.moment = moment(self.created)

    @property
    def toy(self) -> str:
        """Why a model is not to be served to all; empty of one that may be."""
        why = "its voices are synthetic" if self.synthetic else f"it was trained with the profile {QUICK}"
        return f"not to be called latest: {why}" if self.synthetic or self.profile == QUICK else ""
