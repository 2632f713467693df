"""What judges, and how a program that failed is told: everywhere by its own words, with nothing published."""

import pytest

from .conftest import Engine, Given, settings
from .graph import marked

pytestmark = pytest.mark.anyio
# What fails, the function that is called, and whether that trains before it is told.
ENDS: list[tuple[str, int, str, Given, bool]] = [
    ("release bounds", 2, "pipeline", {"bounds": ["x=1"]}, False),
    ("release tags", 2, "pipeline", {}, False),
    ("blob put", 1, "pipeline", {}, False),
    ("image digest :latest", 2, "pipeline", {}, False),
    *(("release vulnerabilities", code, "audit", {"sbom": marked("a").file("a")}, False) for code in (1, 2, 3, 137)),
    ("release verdict", 2, "verdict", {"artifacts": marked("a")}, False),
    ("release verdict", 3, "gates", {"artifacts": marked("a")}, False),
    ("release verdict", 3, "publish", {"artifacts": marked("a")}, False),
    ("release notes", 2, "notes", {"tag": "v1"}, False),
    ("mypy", 1, "types", {}, False),
    ("tools.doctor", 1, "doctor", {}, False),
    ("blob put", 1, "doctor", {}, False),
    ("release judge", 3, "publish", {"artifacts": marked("a"), "clips": marked("b")}, False),
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
    assert (bool(engine.said("model train")), engine.said("image copy")) == (trains, [])


def test_the_validation_split_chooses_and_a_run_that_fails_sinks_no_other() -> None:
    from kws_ci.sweep import rank

    found = (("a", 0.8, 0.1), ("b", 0.9, 0.3), ("c", 0.9, 0.2), ("d", 0.9, 0.2))
    runs = [dict(zip(("name", "best_val_acc", "best_val_loss"), each, strict=True)) for each in found]
    assert [run["name"] for run in rank([{"name": "e", "error": "no"}, *runs])] == ["c", "d", "b", "a", "e"]
    with pytest.raises(RuntimeError, match="no run succeeded: e: no"):
        rank([{"name": "e", "error": "no"}])
