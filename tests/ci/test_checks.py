"""What judges: the scan and the verdict as objects, the doctor, the sweep."""

import json
from contextlib import nullcontext
from typing import Any

import pytest

from .conftest import Ended, Engine, Given, query_error, settings
from .graph import marked, marks, written

pytestmark = pytest.mark.anyio
HOLE = "failed: CVE-2030-0001 in flask: fixed in 3.0.4"
NOBODY = "release: osv-scanner ended with 127: no such host"


SCANS = [
    ((0, "77 packages: 0 with a fix\n", ""), []),
    ((3, "77 packages: 1 with a fix\n", f"{HOLE}\n"), [HOLE]),
    ((1, "", f"{NOBODY}\n"), [NOBODY]),
    ((137, "", ""), ["ended with exit code 137 without a word"]),
]


@pytest.mark.parametrize(("ended", "failed"), SCANS)
async def test_a_scan_is_an_object_and_an_audit_fails_closed(engine: Engine, ended: Ended, failed: list[str]) -> None:
    engine.programs["release vulnerabilities"] = ended
    kws, sbom = settings(vulnerability_database=marked("database")), marked("sbom").file("sbom.cdx.json")
    scan = await kws.scan(sbom=sbom)
    assert (scan.passed, scan.failed, scan.headline) == (not failed, failed, ended[1].strip())
    assert {"sbom", "database", "exceptions"} <= set().union(*map(marks, engine.asked))
    with pytest.raises(RuntimeError, match=failed[0]) if failed else nullcontext():
        assert await kws.audit(sbom=sbom) == "77 packages: 0 with a fix"


# What fails, the function that is called, and whether that trains before it is told.
ENDS: list[tuple[str, int, str, Given, bool]] = [
    ("release bounds", 2, "pipeline", {"bounds": ["x=1"]}, False),
    ("release tags", 2, "pipeline", {}, False),
    ("blob put", 1, "pipeline", {}, False),
    ("image digest :latest", 2, "pipeline", {}, False),
    ("release vulnerabilities", 2, "audit", {"sbom": marked("a").file("a")}, False),
    ("release verdict", 2, "verdict", {"artifacts": marked("a")}, False),
    ("release verdict", 3, "gates", {"artifacts": marked("a")}, False),
    ("release verdict", 3, "publish", {"artifacts": marked("a")}, False),
    ("release notes", 2, "notes", {"tag": "v1"}, False),
    ("mypy", 1, "types", {}, False),
    ("release judge", 137, "pipeline", {}, True),
    ("release judge", 3, "predict", {}, True),
    ("model train", 2, "pipeline", {}, True),
    ("model train", 1, "build", {}, True),
]


@pytest.mark.parametrize(("words", "code", "function", "given", "trains"), ENDS)
async def test_a_failed_program_is_told_and_nothing_published(
    engine: Engine, signed: Given, words: str, code: int, function: str, given: Given, trains: bool
) -> None:
    engine.programs[words] = (code, "", "trace\nrelease: no\n")
    with pytest.raises((ValueError, RuntimeError), match="release: no"):
        await getattr(settings(**signed), function)(**given)
    assert (bool(engine.said("model train")), engine.said("image import")) == (trains, [])


def refuse(_: list[str]) -> Any:
    raise query_error("input: resolve\nfailed to resolve python:3.13-slim")


SICK = [
    ((3, "FAILED   package index: no\nFAILED   data set: no\n", ""), "package index, data set"),
    ((1, "", "Traceback\nKeyError: 'x'\n"), "network"),
    (refuse, "network"),
]


@pytest.mark.parametrize(("ended", "failed"), SICK)
async def test_the_doctor_names_what_failed_first_and_looks_at_all_else(
    engine: Engine, ended: Any, failed: str
) -> None:
    engine.programs = {"tools.doctor": ended, "blob put": (1, "", "unauthorized [http 401]\n")}
    with pytest.raises(RuntimeError) as raised:
        await settings(package_index="https://pypi", torch_index="", address="ghcr.io/me/name").doctor()
    first, *lines = str(raised.value).splitlines()
    assert first == f"failed: {failed}, push"
    assert {"ok       engine: v0.21.8", "ok       latest: nothing yet"} <= {*lines}
    (asked,) = engine.said("tools.doctor")
    assert asked.endswith(" --package-index=https://pypi --vulnerability-source=https://api.osv.dev")


async def test_of_every_seed_with_every_setting_a_run_that_fails_sinks_no_other(engine: Engine) -> None:
    engine.programs |= {"width=2 --seed=1": (137, "", "Killed\n"), "width=3 --seed=2": (2, "", "error: too wide\n")}
    swept = await settings(profile="quick").sweep(seeds=[1, 2], settings=["dropout=0.1 width=2", "width=3"])
    files = written(swept.results)
    assert engine.said("--profile=quick --dropout=0.1 --width=2 --seed=1")
    errors = [run.get("error") for run in json.loads(files["sweep.json"])["runs"]]
    assert errors == [None, None, "the training ended with exit code 137", "error: too wide"]
    assert files["sweep.md"].splitlines()[-1] == f"| width=3_seed=2 |{'  |' * 7} error: too wide |"
    engine.programs = {"train": (1, "", "broke\n")}
    with pytest.raises(RuntimeError, match="no run succeeded: seed=1: broke"):
        await settings().sweep(seeds=[1, 2])
