"""Only data with a known licence gets into a model."""

import json
from pathlib import Path

import pytest

from model.data.licence import licensed
from model.data.source import CC_BY, Source, from_path
from model.errors import UserError

from .conftest import Cli, one_line, tar_bytes, tone_files, write_files

WORDS = ("low", "high")


def unlicensed() -> dict[str, bytes]:
    return {name: data for name, data in tone_files(WORDS).items() if name != "dataset.json"}


@pytest.mark.parametrize("packed", [False, True])
def test_train_refuses_data_without_a_licence_and_names_the_remedy(main: Cli, tmp_path: Path, packed: bool) -> None:
    data = tmp_path / "tones.tar.gz" if packed else write_files(tmp_path / "tones", unlicensed())
    if packed:
        data.write_bytes(tar_bytes(unlicensed()))
    line = one_line(main("train", "--labels", "low,high", "--dataset", data, "--output", tmp_path / "out"))
    assert f"the licence of data set '{data.name}' is not known" in line
    assert "give --licence" in line
    assert "dataset.json" in line
    assert not (tmp_path / "out").exists()


def test_an_empty_licence_is_none(tmp_path: Path) -> None:
    root = write_files(tmp_path, {**unlicensed(), "dataset.json": b'{"licence": ""}'})
    with pytest.raises(UserError, match="is not known"):
        licensed(from_path(root, WORDS), "  ")


def test_what_is_given_goes_before_what_the_data_say(tmp_path: Path) -> None:
    told = json.dumps({"licence": "CC0 1.0", "attribution": "nobody"}).encode()
    source = from_path(write_files(tmp_path, {**unlicensed(), "dataset.json": told}), WORDS)
    assert (licensed(source).licence, licensed(source).attribution) == ("CC0 1.0", "nobody")
    assert licensed(source, "MIT", "me") == Source(source.root, source.name, "MIT", "me")


@pytest.mark.real_data
def test_the_shared_subset_s_licence_is_known_by_its_digest(speech_commands: Path) -> None:
    source = licensed(from_path(speech_commands, ("up",)))
    assert source.licence == CC_BY
    assert "Pete Warden" in source.attribution
