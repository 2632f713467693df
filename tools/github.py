"""GitHub's API, and what the pipeline tells it: one comment on a pull request, and a release. Standard library only.

The token is read from the environment (``GITHUB_TOKEN``), so that it stands on no command line and in no message.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARKER = "<!-- kws: pipeline report -->"  # finds the comment again
LIMIT = 65_000  # characters of a body, a little under what GitHub takes
PAGE = 100
ATTEMPTS = 4
PAUSE = 1.0  # seconds before the first retry; doubled for each further one
LONGEST = 60.0  # seconds; a rate limit that holds longer ends the program


class GitHubError(Exception):
    """The API refused or could not be reached: one line that names the request and the remedy.

    ``code`` is the answer's status (0: none came), ``said`` GitHub's own words.
    """

    code = 0
    said = ""


@dataclass(frozen=True)
class Api:
    """GitHub's API, or that of an Enterprise server, and who speaks to it. Raises GitHubError without a token."""

    token: str
    address: str = "https://api.github.com"

    def __post_init__(self) -> None:
        if not self.token:
            raise GitHubError("GITHUB_TOKEN is empty: hand the job's token over")

    def request(self, method: str, url: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """The answer's JSON; ``url`` is whole or a path of the API. What may pass is tried again, not for ever."""
        if not url.startswith(("http://", "https://")):
            url = f"{self.address.rstrip('/')}/{url}"
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "Content-Type": kind,
        }
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        asked = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 (the caller's own API)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
                    return json.load(answer) if answer.status != 204 else None
            except urllib.error.HTTPError as error:
                failure, wait = _refusal(f"{method} {url}", error), _wait(method, error, attempt)
            except OSError as error:
                failure, wait = GitHubError(f"{method} {url}: {error}"), _wait(method, error, attempt)
            if wait is None or attempt == ATTEMPTS:
                raise failure
            time.sleep(wait)
        raise AssertionError

    def pages(self, path: str) -> Iterator[Any]:
        """Every entry of a list, a page after the other."""
        number = 1
        while True:
            found = self.request("GET", f"{path}?per_page={PAGE}&page={number}")
            yield from found
            if len(found) < PAGE:
                return
            number += 1


@dataclass(frozen=True)
class Repository:
    """A repository. Raises GitHubError on a name that cannot be one."""

    name: str
    api: Api

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.name):
            raise GitHubError(f"{self.name!r} is not OWNER/NAME")

    def request(self, method: str, url: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """The answer's JSON; ``url`` is whole or a path under the repository."""
        whole = url.startswith(("http://", "https://"))
        return self.api.request(method, url if whole else f"repos/{self.name}/{url}", body, kind=kind)

    def pages(self, path: str) -> Iterator[Any]:
        return self.api.pages(f"repos/{self.name}/{path}")


def _refusal(what: str, error: urllib.error.HTTPError) -> GitHubError:
    try:
        said = " ".join(str(json.load(error)["message"]).split())
    except (ValueError, KeyError, TypeError, OSError):
        said = ""
    words = f" ({said})" if said else ""
    remedy = ": the token's rate limit is used up" if _limited(error) else _remedy(error.code)
    failure = GitHubError(f"{what}: {error.code} {error.reason}{words}{remedy}")
    failure.code, failure.said = error.code, said
    return failure


def _limited(error: urllib.error.HTTPError) -> bool:
    return error.code == 429 or (error.code == 403 and ("Retry-After" in error.headers or _used_up(error)))


def _used_up(error: urllib.error.HTTPError) -> bool:
    return bool(error.headers.get("X-RateLimit-Remaining") == "0")


def _wait(method: str, error: OSError, attempt: int) -> float | None:
    """Seconds until the request may be made again; None: never, or too late to wait for."""
    usual = PAUSE * 2 ** (attempt - 1)
    if isinstance(error, urllib.error.HTTPError) and _limited(error):
        after = error.headers.get("Retry-After", "")
        reset = float(error.headers.get("X-RateLimit-Reset") or 0) - time.time() if _used_up(error) else 0
        wait = float(after) if after.isdigit() else max(usual, reset)
        return wait if wait <= LONGEST else None
    # What was posted may have arrived: once more would be twice.
    passing = not isinstance(error, urllib.error.HTTPError) or error.code >= 500
    return usual if passing and method != "POST" else None


def _remedy(code: int) -> str:
    return {
        401: ": the token is wrong or has run out",
        403: ": the token lacks a permission (pull-requests: write for a comment, contents: write for a release, "
        "read:packages and delete:packages to prune)",
        404: ": there is no such thing, or the token must not see it",
    }.get(code, "")


def comment(repository: Repository, number: int, report: str) -> str:
    """Write the report into its one comment on pull request ``number``; the comment's address."""
    body = f"{MARKER}\n{shortened(report, LIMIT - len(MARKER) - 1)}"
    found = [
        entry["id"]
        for entry in repository.pages(f"issues/{number}/comments")
        if (entry["body"] or "").startswith(MARKER)
    ]
    if found:
        answer = repository.request("PATCH", f"issues/comments/{found[0]}", {"body": body})
    else:
        answer = repository.request("POST", f"issues/{number}/comments", {"body": body})
    return str(answer["html_url"])


def release(repository: Repository, tag: str, notes: str, files: Sequence[Path]) -> str:
    """Make the release of ``tag``, or mend the one there is, so that a repeated run ends the same; its address."""
    content = {"tag_name": tag, "name": tag, "body": shortened(notes, LIMIT), "prerelease": "-" in tag}
    there = [entry for entry in repository.pages("releases") if entry["tag_name"] == tag]
    if there:
        answer = repository.request("PATCH", f"releases/{there[0]['id']}", content)
    else:
        answer = repository.request("POST", "releases", content)
    upload = answer["upload_url"].partition("{")[0]
    assets = {asset["name"]: asset["url"] for asset in answer.get("assets", [])}
    for file in files:
        if file.name in assets:
            repository.request("DELETE", assets[file.name])
        address = f"{upload}?{urllib.parse.urlencode({'name': file.name})}"
        repository.request("POST", address, file.read_bytes(), kind="application/octet-stream")
    return str(answer["html_url"])


def shortened(text: str, limit: int) -> str:
    """The text, cut at a line where it is too long."""
    if len(text) <= limit:
        return text
    end = "\n\n*Cut here: the rest stands in the artefact `report.md`.*\n"
    kept = text[: limit - len(end)].rpartition("\n")[0]
    # An open fence would swallow the last line.
    return kept + ("\n```" if kept.count("```") % 2 else "") + end


def notes_of(changelog: str, tag: str) -> str:
    """The section of ``CHANGELOG.md`` about a version: what stands between its heading and the next."""
    version = re.escape(tag.removeprefix("v"))
    found = re.search(rf"^## \[?{version}\]?(?![\w.+-]).*?$\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if not found:
        raise GitHubError(f"CHANGELOG.md has no section '## {tag.removeprefix('v')}': write what is in {tag} first")
    return found.group(1).strip() + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", required=True, help="OWNER/NAME")
    parser.add_argument("--api", default="https://api.github.com", help="GitHub's API, or that of an Enterprise server")
    commands = parser.add_subparsers(dest="command", required=True)
    on_pull_request = commands.add_parser("comment", help="the report as one comment, written anew each time")
    on_pull_request.add_argument("--number", type=int, required=True, help="of the pull request")
    on_pull_request.add_argument("--report", type=Path, required=True, help="report.md")
    on_tag = commands.add_parser("release", help="the release of a tag, with files")
    on_tag.add_argument("--tag", required=True, help="the git tag, such as v1.2.0")
    on_tag.add_argument("--changelog", type=Path, required=True, help="CHANGELOG.md: its section is the release's text")
    on_tag.add_argument("files", nargs="*", type=Path, help="what is attached")
    options = parser.parse_args(arguments)
    actions: dict[str, Callable[[Repository], str]] = {
        "comment": lambda repository: comment(repository, options.number, options.report.read_text(encoding="utf-8")),
        "release": lambda repository: release(
            repository, options.tag, notes_of(options.changelog.read_text(encoding="utf-8"), options.tag), options.files
        ),
    }
    try:
        api = Api(os.environ.get("GITHUB_TOKEN", ""), options.api)
        print(actions[options.command](Repository(options.repository, api)))
    except (GitHubError, OSError) as error:
        print(f"github: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
