"""The comment on a pull request and the release, against an API in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import github

from .conftest import ROOT
from .github_api import TOKEN, GitHub, serve


@pytest.fixture
def api() -> Iterator[GitHub]:
    with serve() as running:
        yield running


@pytest.fixture
def run(api: GitHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    monkeypatch.setattr(github, "PAUSE", 0)

    def call(*arguments: str | Path) -> tuple[int, str]:
        code = github.main(["--repository=me/words", f"--api={api.url}", *map(str, arguments)])
        said = capsys.readouterr()
        assert TOKEN not in said.out + said.err
        return code, said.err if code else said.out

    return call


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.md"
    path.write_text("# ✅ all held\n")
    return path


def test_a_repeated_run_writes_its_one_comment_anew(api: GitHub, run, report: Path) -> None:  # type: ignore[no-untyped-def]
    # More than a page of others, one of them quoting the marker.
    api.comments = [{"id": n, "body": f"> {github.MARKER}"} for n in range(150)] + [{"id": 400, "body": None}]
    assert run("comment", "--number=7", f"--report={report}")[0] == 0
    assert len(api.comments) == 152
    report.write_text("# ❌ one failed\n")
    assert run("comment", "--number=7", f"--report={report}")[0] == 0
    assert len(api.comments) == 152
    assert api.comments[-1]["body"] == f"{github.MARKER}\n# ❌ one failed\n"
    assert api.comments[-1]["issue"] == "7"


def test_a_long_report_is_cut_at_a_line_and_closes_its_fence() -> None:
    text = github.shortened("```\n" + "line\n" * 50_000, github.LIMIT)
    assert len(text) <= github.LIMIT + 4
    assert text.count("```") == 2
    assert text.endswith("artefact `report.md`.*\n")
    assert github.shortened("short", github.LIMIT) == "short"


CHANGELOG = "# Changes\n\n## [1.1.0] - 2026-02-01\n\n- more\n- better\n\n## 1.0.0\n\n- first\n"


def test_a_release_carries_its_section_and_files_and_can_be_repeated(api: GitHub, run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    changelog, model = tmp_path / "CHANGELOG.md", tmp_path / "model.onnx"
    changelog.write_text(CHANGELOG)
    for content in ("one", "two"):
        model.write_text(content)
        assert run("release", "--tag=v1.1.0", f"--changelog={changelog}", model)[0] == 0
    (made,) = api.releases
    assert made["tag_name"] == "v1.1.0"
    assert made["body"] == "- more\n- better\n"
    assert made["prerelease"] is False
    assert [(asset["name"], asset["content"]) for asset in made["assets"]] == [("model.onnx", "two")]


def test_a_version_without_a_section_is_released_by_no_one(api: GitHub, run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(CHANGELOG)
    code, said = run("release", "--tag=v1.1", f"--changelog={changelog}")
    assert code == 2
    assert "no section '## 1.1'" in said
    assert api.requests == []


def test_the_changelog_that_ships_can_be_released() -> None:
    assert github.notes_of((ROOT / "CHANGELOG.md").read_text(), "v0.1.0")


@pytest.mark.parametrize(("code", "remedy"), [(401, "run out"), (403, "pull-requests: write"), (500, "500")])
def test_a_refusal_is_one_line_with_the_remedy(api: GitHub, run, report: Path, code: int, remedy: str) -> None:  # type: ignore[no-untyped-def]
    api.refuses = code
    failed, said = run("comment", "--number=7", f"--report={report}")
    assert failed == 2
    assert remedy in said
    assert said.count("\n") == 1


def test_without_a_token_nothing_is_asked(api: GitHub, run, report: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("GITHUB_TOKEN", "")
    code, said = run("comment", "--number=7", f"--report={report}")
    assert code == 2
    assert "GITHUB_TOKEN is empty" in said
    assert api.requests == []


@pytest.mark.parametrize(
    "stumble",
    [(502, {}), (429, {"Retry-After": "0"}), (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"})],
)
def test_what_may_pass_is_asked_again_and_not_for_ever(  # type: ignore[no-untyped-def]
    api: GitHub, run, report: Path, stumble: tuple[int, dict[str, str]]
) -> None:
    api.stumbles = [stumble] * (github.ATTEMPTS - 1)
    assert run("comment", "--number=7", f"--report={report}")[0] == 0
    assert len(api.comments) == 1
    api.stumbles = [stumble] * (github.ATTEMPTS + 1)
    assert run("comment", "--number=7", f"--report={report}")[0] == 2
    assert len(api.stumbles) == 1


def test_a_rate_limit_that_holds_long_is_not_waited_for(api: GitHub, run, report: Path) -> None:  # type: ignore[no-untyped-def]
    api.stumbles = [(403, {"Retry-After": "3600"})]
    code, said = run("comment", "--number=7", f"--report={report}")
    assert code == 2
    assert "rate limit" in said
    assert len(api.requests) == 1


def test_what_was_posted_is_not_posted_twice(api: GitHub, run, report: Path) -> None:  # type: ignore[no-untyped-def]
    api.stumbles = [(200, {}), (502, {})]  # an empty page of comments, then the comment itself
    assert run("comment", "--number=7", f"--report={report}")[0] == 2
    assert [method for method, _ in api.requests] == ["GET", "POST"]
