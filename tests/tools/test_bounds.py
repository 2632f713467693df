"""gates.toml and what replaces its bounds for one run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import bounds

from .conftest import ROOT

SHIPPED = ROOT / "gates.toml"


def test_the_file_that_ships_is_valid_and_switches_nothing_off() -> None:
    shipped = bounds.read(SHIPPED)
    assert None not in vars(shipped).values()
    assert shipped.min_accuracy == 0.85


def test_a_bound_for_one_run_replaces_the_files() -> None:
    read = bounds.read(SHIPPED, ["min_accuracy=0.5", "max_p95_ms=7", 'denied_licences=["MIT"]', "min_recall=false"])
    assert (read.min_accuracy, read.max_p95_ms, read.denied_licences, read.min_recall) == (0.5, 7.0, ["MIT"], None)
    assert read.max_size_mb == bounds.read(SHIPPED).max_size_mb


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ("min_accuracy", "is not NAME=VALUE"),
        ("accuracy=0.5", "no gate has a bound 'accuracy'; there are min_accuracy"),
        ("min_accuracy=high", "'high' is not a number, a list or false"),
        ("min_accuracy=", "'' is not a number"),
        ("min_accuracy=95", "is a share from 0 to 1, not 95"),
        ("min_accuracy=-1", "is a number from 0 on"),
        ("min_accuracy=nan", "is a number from 0 on"),
        ("min_accuracy=true", "is a number from 0 on"),
        ("min_accuracy=[1]", "is a number from 0 on"),
        ("denied_licences=1", "is a list of strings"),
    ],
)
def test_a_bound_that_cannot_be_meant_is_named(replaced: str, message: str) -> None:
    with pytest.raises(bounds.BoundsError) as error:
        bounds.read(SHIPPED, [replaced])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model", "is not TOML"),
        ("min_accuracy = 0.9", "every bound stands in a table"),
        ("[model]\nmin_accuracy = 0.9", "lacks min_accuracy_lower, min_recall"),
    ],
)
def test_a_file_that_cannot_be_meant_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(text)
    with pytest.raises(bounds.BoundsError, match=message) as error:
        bounds.read(path)
    assert str(path) in str(error.value)


def test_a_misspelt_bound_of_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(SHIPPED.read_text() + "\nmax_size = 3\n")
    with pytest.raises(bounds.BoundsError, match="no gate has a bound 'max_size'"):
        bounds.read(path)


def test_the_command_line_prints_what_holds_or_one_line() -> None:
    command = [sys.executable, "-m", "tools.bounds", str(SHIPPED), "max_p95_ms=7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["max_p95_ms"] == 7
    wrong = subprocess.run([*command, "x=1"], cwd=ROOT, capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr.count("\n"), wrong.stdout) == (2, 1, "")
