"""What judges: the scan and the verdict as objects, the doctor, the sweep, the notes of a release."""

from __future__ import annotations

import json
from typing import Any

import dagger
import pytest

from .conftest import BASE, Engine, query_error, settings
from .graph import chain, commands, everything, marked, marks

pytestmark = pytest.mark.anyio
HOLE = {"id": "CVE-2030-0001", "package": "flask", "version": "3.0.3"}


@pytest.mark.parametrize(
    ("code", "found", "passed", "words"),
    [
        (0, {"error": "", "counts": []}, True, "no vulnerability with a fix is known"),
        (3, {"error": "", "counts": [HOLE]}, False, "CVE-2030-0001 flask 3.0.3"),
        (1, {"error": "osv-scanner ended with 127: no such host"}, False, "osv-scanner ended with 127: no such host"),
    ],
)
async def test_a_scan_is_an_object_and_an_audit_fails_closed(
    engine: Engine, code: int, found: dict[str, Any], passed: bool, words: str
) -> None:
    engine.programs["release vulnerabilities"] = (code, "", "")
    engine.files["osv.json"] = json.dumps(found)
    kws = settings(vulnerability_database=marked("database"))
    scan = await kws.scan(sbom=marked("sbom").file("sbom.cdx.json"))
    assert (scan.passed, scan.error) == (passed, found["error"])
    if passed:
        assert await kws.audit(sbom=marked("sbom").file("sbom.cdx.json")) == words
    else:
        with pytest.raises(RuntimeError, match=words):
            await kws.audit(sbom=marked("sbom").file("sbom.cdx.json"))
    (asked, *_) = engine.with_command("release vulnerabilities")
    assert {"sbom", "database", "exceptions"} <= marks(asked)


async def test_what_was_not_asked_is_judged_and_not_dropped(engine: Engine) -> None:
    engine.programs["release vulnerabilities"] = (1, "", "")
    engine.files["osv.json"] = '{"error": "no such host"}'
    result = await settings().pipeline()
    osv = [args for name, args in everything(result) if args.get("path") == "osv.json" and "contents" in args]
    assert [json.loads(each["contents"])["error"] for each in osv] == ["no such host"]
    assert [command for command in commands(result) if "judge" in command]


async def test_a_config_that_cannot_be_read_is_told(engine: Engine) -> None:
    engine.programs["release vulnerabilities"] = (2, "", "release: osv-scanner.toml: ignoreUntil is missing\n")
    with pytest.raises(ValueError, match="ignoreUntil is missing"):
        await settings().pipeline()


VERDICT = {
    "passed": False,
    "headline": "test accuracy: 80 %",
    "gates": [
        {"name": "test accuracy", "value": "80 %", "bound": "≥ 85 %", "verdict": "failed"},
        {"name": "/predict p95", "value": "9 ms", "bound": "≤ 250 ms", "verdict": "held"},
        {"name": "image size", "value": "-", "bound": "-", "verdict": "off"},
    ],
}


async def test_a_verdict_is_an_object_and_the_gates_fail(engine: Engine) -> None:
    engine.files["gates.json"] = json.dumps(VERDICT)
    found = await settings().verdict(artifacts=marked("a"))
    assert (found.passed, found.failed) == (False, ["test accuracy: 80 % against ≥ 85 %"])
    engine.programs["release verdict"] = (3, "", "failed: test accuracy: 80 %\nfailed: b\n")
    with pytest.raises(RuntimeError, match="failed: test accuracy: 80 %\nfailed: b"):
        await settings().gates(artifacts=marked("a"))
    del engine.files["gates.json"]
    with pytest.raises(ValueError, match=r"--artifacts has no gates.json"):
        await settings().verdict(artifacts=marked("a"))


async def test_a_bound_that_cannot_be_meant_stops_before_any_work(engine: Engine) -> None:
    engine.programs["release bounds"] = (2, "", "release: no gate has a bound 'x'\n")
    with pytest.raises(ValueError, match="--bounds: release: no gate has a bound 'x'"):
        await settings().pipeline(bounds=["x=1"])
    assert not [command for command in engine.ran() if "train" in command]


async def test_bounds_reach_every_judgement(engine: Engine, signed: dict[str, Any]) -> None:
    await settings(**signed).pipeline(bounds=["max_p95_ms=7"])
    judgements = [command for command in engine.ran() if "judge" in command or "bounds" in command]
    assert len(judgements) == 3
    assert all("--bound=max_p95_ms=7" in command for command in judgements)


@pytest.mark.parametrize("code", [1, 2, 137])
async def test_a_judge_that_broke_is_no_verdict(engine: Engine, code: int) -> None:
    engine.programs["release judge"] = (code, "", "Traceback\nKeyError: x\n")
    with pytest.raises(RuntimeError, match="KeyError: x"):
        await settings().pipeline()


async def test_test_predict_alone_is_judged_by_the_same_gates(engine: Engine) -> None:
    found = await settings().test_predict(model=marked("m").file("m"), bounds=["min_clip_accuracy=0.9"])
    assert chain(found)[-1] == ("directory", {"path": "/artifacts/inference"})
    judge = next(command for command in engine.ran() if "judge" in command)
    assert {"--without=model", "--without=image", "--without=start", "--bound=min_clip_accuracy=0.9"} <= set(judge)
    engine.programs["release judge"] = (3, "", "failed: /predict accuracy: 50 %\n")
    for asked in (settings().test_predict(model=marked("m").file("m")), settings().predict()):
        with pytest.raises(RuntimeError, match="failed: /predict accuracy"):
            await asked
    with pytest.raises(ValueError, match="--image and --reference exclude each other"):
        await settings().test_predict(image=dagger.dag.container(), reference="latest")


async def test_what_is_published_is_fetched_anew_to_be_tested(engine: Engine) -> None:
    engine.programs["image digest"] = (0, BASE, "")
    await settings(address="ghcr.io/me/name").test_predict(reference="latest", clips=marked("clips"))
    assert ["regctl", "image", "export", f"ghcr.io/me/name@{BASE}", "/inference_image.tar"] in engine.ran()


async def test_notes_are_the_changelogs_section(engine: Engine) -> None:
    engine.programs["release notes"] = (0, "- new\n", "")
    written = dict(chain(await settings().notes("v1.2.0")))["withNewFile"]
    assert written == {"path": "notes.md", "contents": "- new\n"} | ({"permissions": 420} if len(written) > 2 else {})
    engine.programs["release notes"] = (2, "", "release: CHANGELOG.md has no section 1.2.0\n")
    with pytest.raises(RuntimeError, match=r"has no section 1.2.0"):
        await settings().notes("v1.2.0")


# The doctor.
def well(engine: Engine, **programs: Any) -> None:
    engine.files["dagger.json"] = '{"engineVersion": "v0.21.8"}'
    engine.programs |= {"tools.doctor": (0, "ok       package index: answers\n", ""), **programs}


async def test_the_doctor_looks_at_everything(engine: Engine) -> None:
    well(engine)
    mirrors = {"package_index": "https://pypi.mirror", "torch_index": "", "dataset_url": "http://d"}
    lines = (await settings(**mirrors, address="ghcr.io/me/name").doctor()).splitlines()
    assert lines == [
        "ok       engine: v0.21.8, linux/amd64",
        f"ok       base image: docker.io/library/python:3.13-slim@{BASE}",
        "ok       package index: answers",
        "ok       push: a blob was pushed to ghcr.io/me/name, which nothing names",
        "skipped  pull: nothing is published as latest yet",
    ]
    asked = next(command for command in engine.ran() if "tools.doctor" in command)
    mirrored = ["--package-index=https://pypi.mirror", "--dataset-url=http://d"]
    assert asked[3:] == [*mirrored, "--vulnerability-source=https://api.osv.dev"]


@pytest.mark.parametrize(
    ("programs", "failed"),
    [
        ({"tools.doctor": (3, "FAILED   package index: no\nFAILED   data set: no\n", "")}, "package index, data set"),
        ({"tools.doctor": (1, "", "Traceback\nKeyError: 'x'\n")}, "network"),
        ({"blob put": (1, "", "unauthorized [http 401]\n")}, "registry"),
    ],
)
async def test_what_failed_is_named_before_all_lines(engine: Engine, programs: dict[str, Any], failed: str) -> None:
    well(engine, **programs)
    with pytest.raises(RuntimeError) as raised:
        await settings(address="ghcr.io/me/name").doctor()
    lines = str(raised.value).splitlines()
    assert lines[0] == f"failed: {failed}"
    assert lines[1].startswith("ok       engine")


@pytest.mark.parametrize(
    ("version", "state"),
    [("v0.21.8", "ok"), ("v0.22.0-2611", "warning"), ("v0.21.10", "warning"), ("v0.9.9", "FAILED")],
)
async def test_an_older_engine_fails(engine: Engine, version: str, state: str) -> None:
    well(engine)
    engine.answers["version"] = version
    if state == "FAILED":
        with pytest.raises(RuntimeError, match="failed: engine"):
            await settings().doctor()
    else:
        assert (await settings().doctor()).startswith(f"{state:<8} engine: {version}, linux/amd64")


async def test_without_the_base_image_nothing_else_is_looked_at(engine: Engine) -> None:
    def refuse(_: list[str]) -> Any:
        raise query_error("input: resolve\nfailed to resolve python:3.13-slim")

    well(engine, **{"tools.doctor": refuse})
    with pytest.raises(
        RuntimeError, match=r"failed: base image\n(.*\n)*.*failed to resolve python:3.13-slim; --base-image"
    ):
        await settings().doctor()


# The sweep.
def metrics(accuracy: float, loss: float) -> dict[str, str]:
    trained = {"best_val_acc": accuracy, "best_val_loss": loss, "training_time_sec": 9.0, "model_version": "v"}
    return {"train_metrics.json": json.dumps(trained), "evaluation.json": json.dumps({"accuracy": 0.9})}


async def test_a_sweep_trains_every_seed_with_every_setting(engine: Engine) -> None:
    engine.files |= metrics(0.9, 0.2)
    swept = await settings(synthetic=True, profile="quick").sweep(
        seeds=[1, 2], settings=["width=2 dropout=0.1", "width=3"]
    )
    trainings = {tuple(command[8:]) for command in commands(swept.results) if "train" in command}
    assert ("--profile=quick", "--width=2", "--dropout=0.1", "--seed=1") in trainings
    assert len(trainings) == 4
    assert chain(swept.model)[-1] == ("file", {"path": "best/model.onnx"})


async def test_a_run_that_fails_sinks_no_other(engine: Engine) -> None:
    engine.files |= metrics(0.9, 0.2)
    engine.programs |= {"train --seed=1": (137, "", "Killed\n"), "train --seed=3": (2, "", "error: no such width\n")}
    swept = await settings().sweep(seeds=[1, 2, 3])
    written = {args["path"]: args["contents"] for name, args in chain(swept.results) if name == "withNewFile"}
    runs = json.loads(written["sweep.json"])["runs"]
    assert [(run["name"], run.get("error")) for run in runs] == [
        *(("seed=2", None), ("seed=1", "the training ended with exit code 137"), ("seed=3", "error: no such width"))
    ]
    assert "| seed=1 | failed: the training ended with exit code 137 | | | |" in written["sweep.md"]
    engine.programs = {"train": (1, "", "broke\n")}
    with pytest.raises(RuntimeError, match="no run succeeded: seed=1: broke"):
        await settings().sweep(seeds=[1, 2])


def test_the_validation_split_chooses() -> None:
    from kws_ci.sweep import rank

    runs = [{"name": name, "best_val_acc": accuracy, "best_val_loss": loss} for name, accuracy, loss in
            (("a", 0.8, 0.1), ("b", 0.9, 0.3), ("c", 0.9, 0.2), ("d", 0.9, 0.2))]  # fmt: skip
    assert [run["name"] for run in rank(runs)] == ["c", "d", "b", "a"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"seeds": [1]}, "--seeds"),
        ({"seeds": []}, "--seeds"),
        ({"seeds": [1, 1]}, "--seeds"),
        ({"seeds": [1, -2]}, "--seeds: -2"),
        ({"settings": ["width"]}, "--settings: 'width'"),
        ({"parallel": 0}, "--parallel 0"),
    ],
)
async def test_a_sweep_that_cannot_work_is_named_before_any_work(
    engine: Engine, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        await settings().sweep(**arguments)
    assert engine.asked == []
