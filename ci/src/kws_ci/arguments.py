"""Arguments that cannot be meant: argument and remedy are named in one line, before anything runs.

What only a program can tell (a word that the data set lacks, a bound that no gate has) that program says itself.
"""

import re
from datetime import UTC, datetime

from .errors import UserError

# As the trainer and the installer know them: tests/ci holds them together.
PROFILES = ("quick", "standard", "best")
PLATFORMS = ("linux/amd64", "linux/arm64")


def check_training(
    profile: str = "", epochs: int | None = None, seed: int | None = None, labels: list[str] | None = None
) -> None:
    """What a training is told."""
    if profile and profile not in PROFILES:
        raise UserError(f"--profile {profile!r} is unknown: choose one of {', '.join(PROFILES)}")
    if epochs is not None and epochs < 1:
        raise UserError(f"--epochs {epochs} is out of range: give 1 or more")
    if seed is not None and seed < 0:
        raise UserError(f"--seed {seed} is out of range: give 0 or more")
    if labels is not None and not all(label.strip() for label in labels or [""]):
        raise UserError(f"--labels {','.join(labels)!r} names no word, or an empty one: give them as up,down,yes,no")


def check_archive(url: str, sha256: str) -> None:
    """Where the official archive comes from."""
    if not re.fullmatch(r"https?://\S+", url):
        raise UserError(f"--dataset-url {url!r} is not an address: give one that begins with https:// or http://")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", sha256):
        raise UserError(f"--dataset-sha256 {sha256!r} is no SHA-256: give sha256: and its 64 hex digits in lower case")


def check_repository(slug: str) -> None:
    """A repository on GitHub."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", slug):
        raise UserError(f"--repository {slug!r} is not OWNER/NAME: give it without the server's address")


def check_number(number: int) -> None:
    """Of a pull request."""
    if number < 1:
        raise UserError(f"--number {number} is no pull request's: give 1 or more")


def other_platforms(platforms: list[str], own: str) -> list[str]:
    """Those of the image beside ``own``, the engine's."""
    if unknown := [platform for platform in platforms if platform not in (own, *PLATFORMS)]:
        raise UserError(f"--platforms: {unknown[0]!r} is unknown: choose of {', '.join(PLATFORMS)}")
    if len(set(platforms)) < len(platforms):
        raise UserError(f"--platforms {','.join(platforms)} names one twice: name each once")
    if own not in platforms:
        raise UserError(f"--platforms lacks {own}, the engine's own: only an image of that platform can be tested")
    return [platform for platform in platforms if platform != own]


def moment(created: str) -> str:
    """``--created`` as OCI wants it (RFC 3339), in UTC to the second; empty where it is not known."""
    if not created:
        return ""
    try:
        time = datetime.fromtimestamp(int(created), UTC) if created.isdecimal() else datetime.fromisoformat(created)
    except (ValueError, OverflowError):
        raise UserError(f"--created {created!r} is neither ISO 8601 nor seconds since 1970") from None
    if time.tzinfo is None:
        raise UserError(f"--created {created!r} has no time zone: add Z or an offset such as +01:00")
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
