"""What a whole run shares: the constructor's arguments."""

from dataclasses import dataclass
from typing import Annotated

import dagger
from dagger import DefaultPath, Doc, Ignore

BUILDER = "https://github.com/dagger/dagger/releases/tag/v0.21.8"
PACKAGE = ["**/__pycache__", "**/*.pyc", "**/.*", "**/*.md"]  # what is no part of a package
CHECKOUT = ["kws/**", "model/**", "service/**", "release/**", "tools/**", "tests/**", "ci/**", "docs/**", ".github/**"]
CHECKOUT += ["*.toml", "*.md", "*.json", "uv.lock", "Makefile", ".pre-commit-config.yaml"]


@dataclass(kw_only=True)
class Settings:
    """Sources and files are relative to dagger.json, wherever in a repository that is."""

    dependencies: Annotated[
        dagger.Directory,
        Doc("The lock, its installer and what trims"),
        DefaultPath("."),
        Ignore(["**", "!pyproject.toml", "!uv.lock", "!tools/install.py", "!tools/trim.py"]),
    ]
    kws_source: Annotated[dagger.Directory, Doc("What all share"), DefaultPath("kws"), Ignore(PACKAGE)]
    model_source: Annotated[dagger.Directory, Doc("The trainer"), DefaultPath("model"), Ignore(PACKAGE)]
    service_source: Annotated[
        dagger.Directory, Doc("The inference app and its test client"), DefaultPath("service"), Ignore(PACKAGE)
    ]
    release_source: Annotated[dagger.Directory, Doc("What judges"), DefaultPath("release"), Ignore(PACKAGE)]
    tools_source: Annotated[dagger.Directory, Doc("Small programs"), DefaultPath("tools"), Ignore(PACKAGE)]
    checkout: Annotated[
        dagger.Directory,
        Doc("All that lint, types and unit tests look at"),
        DefaultPath("."),
        Ignore(["**", *(f"!{path}" for path in CHECKOUT), "ci/sdk", "**/.venv", "**/__pycache__", "**/.*_cache"]),
    ]
    git: Annotated[
        dagger.Directory,
        Doc("Where the checkout's commit is read from"),
        DefaultPath("/"),
        Ignore(["**", "!.git/HEAD", "!.git/packed-refs", "!.git/refs/heads/**"]),
    ]
    gates_file: Annotated[dagger.File, Doc("The bounds of the gates"), DefaultPath("gates.toml")]
    exceptions: Annotated[
        dagger.File, Doc("Vulnerabilities that are accepted until a day"), DefaultPath("osv-scanner.toml")
    ]
    changelog: Annotated[dagger.File, Doc("Its section is a release's text"), DefaultPath("CHANGELOG.md")]

    dataset: Annotated[dagger.File | None, Doc("An archive of recordings, a folder a word (default: official)")] = None
    dataset_folder: Annotated[dagger.Directory | None, Doc("A folder of recordings, in place of an archive")] = None
    synthetic: Annotated[bool, Doc("Words spoken by espeak-ng in place of recordings: needs no download")] = False
    labels: Annotated[list[str] | None, Doc("The words to tell apart (default: up,down,yes,no, or the data's)")] = None
    only_keywords: Annotated[bool, Doc("Train without other words")] = False
    unseen_words: Annotated[list[str] | None, Doc("Other words to hold back for the test (default: six at most)")] = (
        None
    )
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
    torch_index: Annotated[
        str, Doc("Index of torch's CPU build; where it cannot be reached, torch comes from the package index")
    ] = "https://download.pytorch.org/whl/cpu"
    tool_images: Annotated[
        list[str] | None, Doc("NAME=ADDRESS for regctl, syft, osv-scanner, cosign or actionlint")
    ] = None
    vulnerability_database: Annotated[
        dagger.Directory | None, Doc("osv-scalibr/{PyPI,Debian}/all.zip (default: osv.dev is asked)")
    ] = None
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
    public_key: Annotated[dagger.File | None, Doc("cosign.pub: whose signatures count (default: the key's own)")] = None
    identity: Annotated[str, Doc("Keyless: regular expression of whose signatures count, the workflow's URL")] = ""
    issuer: Annotated[str, Doc("Keyless: who vouches, such as https://token.actions.githubusercontent.com")] = ""
    unsigned: Annotated[bool, Doc("Publish under latest without a signature")] = False
