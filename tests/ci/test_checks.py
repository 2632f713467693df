"""What judges: the scan and the verdict as objects, the doctor, the sweep, the notes of a release."""

import json
from contextlib import nullcontext
from typing import Any

import pytest

from release.gates import Part

from .conftest import BASE, Ended, Engine, Given, query_error, settings
from .graph import chain, marked, marks, written

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


async def test_a_verdict_is_an_object_and_the_gates_fail(engine: Engine) -> None:
    kws, said, engine.files["gates.json"] = settings(), "test accuracy: 80 %", '{"headline": "test accuracy: 80 %"}'
    assert await kws.gates(artifacts=marked("a")) == said
    engine.programs["release verdict"] = (3, "", "failed: a\nfailed: b\n")
    found = await kws.verdict(artifacts=marked("a"))
    assert (found.passed, found.failed, found.headline) == (False, ["failed: a", "failed: b"], said)
    with pytest.raises(RuntimeError, match="failed: a\nfailed: b"):
        await kws.gates(artifacts=marked("a"))


ENDS = [
    ("release bounds", 2, "pipeline", {"bounds": ["x=1"]}),
    ("release vulnerabilities", 2, "audit", {"sbom": marked("a").file("a")}),
    ("release verdict", 2, "verdict", {"artifacts": marked("a")}),
    ("release judge", 137, "pipeline", {}),
    ("release judge", 3, "predict", {}),
    ("release notes", 2, "notes", {"tag": "v1"}),
    ("model train", 2, "pipeline", {}),
    ("model train", 1, "build", {}),
    ("mypy", 1, "types", {}),
]


@pytest.mark.parametrize(("words", "code", "function", "given"), ENDS)
async def test_a_failed_program_is_told(engine: Engine, words: str, code: int, function: str, given: Given) -> None:
    """Bad input everywhere, and where nobody could judge."""
    engine.programs[words] = (code, "", "trace\nrelease: no\n")
    with pytest.raises((ValueError, RuntimeError), match="release: no"):
        await getattr(settings(), function)(**given)
    assert words != "release bounds" or not engine.said("model train")


async def test_test_predict_alone_is_judged_by_the_same_gates(engine: Engine) -> None:
    found = await settings().test_predict(model=marked("m").file("m"), bounds=["min_clip_accuracy=0.9"])
    assert [args["path"] for _, args in chain(found)[-2:]] == ["/artifacts", "inference"]
    assert engine.said("judge", "--bound=min_clip_accuracy=0.9 ", f"--without={Part.MODEL} --without={Part.IMAGE}")
    engine.programs["image digest"] = (0, BASE, "")
    await settings(address="ghcr.io/me/name").test_predict(reference="latest", clips=marked("clips"))
    assert ["regctl", "image", "export", f"ghcr.io/me/name@{BASE}", "/inference_image.tar"] in engine.ran


async def test_the_workflows_are_looked_at_and_notes_are_a_file(engine: Engine) -> None:
    await settings().workflows()
    assert [command[0] for command in engine.ran if command[0] in ("actionlint", "zizmor")] == ["actionlint", "zizmor"]
    engine.programs["release notes --tag v1.2.0"] = (0, "- new\n", "")
    assert written(await settings().notes("v1.2.0")) == {"notes.md": "- new\n"}


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


def test_the_validation_split_chooses() -> None:
    from kws_ci.sweep import rank

    found = (("a", 0.8, 0.1), ("b", 0.9, 0.3), ("c", 0.9, 0.2), ("d", 0.9, 0.2))
    runs = [dict(zip(("name", "best_val_acc", "best_val_loss"), each, strict=True)) for each in found]
    assert [run["name"] for run in rank(runs)] == ["c", "d", "b", "a"]
