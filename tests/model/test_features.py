"""Features: what they compute; and on disk: computed once, for exactly what the files hold, and never half."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model import features
from model.data.recording import Found
from model.data.source import digest_of
from model.export import FoldedMelPower
from model.settings import Settings

from .conftest import tone, tone_files, wav_bytes, write_files

NAMES = [f"low/{speaker:08x}_nohash_0.wav" for speaker in range(40)]


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_the_folded_front_end_equals_torchaudio() -> None:
    for waveforms in (_noise(3, 16_000), 1e-3 * _noise(3, 16_000), torch.eye(512, 16_000).roll(8000)):
        expected, got = features.mel_power(waveforms), FoldedMelPower()(waveforms)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6 * float(waveforms.abs().max()) ** 2)


def test_log_mel_forgets_the_level_and_the_colour() -> None:
    power = features.mel_power(_noise(2, 16_000))
    one, other = features.log_mel(power), features.log_mel(power * torch.logspace(1, 3, 40)[:, None])
    torch.testing.assert_close(one, other, atol=1e-3, rtol=0)
    torch.testing.assert_close(one.mean(dim=2), torch.zeros(2, 40), atol=1e-5, rtol=0)
    torch.testing.assert_close(one.std(dim=(1, 2)), torch.ones(2), atol=1e-2, rtol=0)
    for level in (0.0, 1e-9, 1e-6):
        assert features.log_mel(features.mel_power(level * _noise(1, 16_000))).abs().max() < 0.1


@pytest.mark.parametrize(("numerator", "denominator"), features.SPEEDS)
def test_speed_changes_the_pitch_and_keeps_the_middle(numerator: int, denominator: int) -> None:
    word = np.zeros(16_000, dtype=np.float32)
    word[6_000:10_000] = tone(1000, 0.25)
    changed = features.change_speed(torch.from_numpy(word)[None], numerator, denominator)[0].numpy()
    assert changed.shape == (16_000,)
    assert np.abs(np.fft.rfft(changed)).argmax() == pytest.approx(1000 * numerator / denominator, rel=0.01)
    heard = np.flatnonzero(np.abs(changed) > 0.05)
    assert (heard[0] + heard[-1]) / 2 == pytest.approx(8_000, abs=30)
    assert heard[-1] - heard[0] == pytest.approx(4_000 * denominator / numerator, rel=0.02)


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of the entries of a cache that is this test's own."""
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/features"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_files(tmp_path / "tones", tone_files(("low",)))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the clips that were decoded; clear it between runs."""
    sizes: list[int] = []
    whole = features.read_clip

    def count(data: bytes) -> tuple[Any, Found]:
        sizes.append(len(data))
        return whole(data)

    monkeypatch.setattr(features, "read_clip", count)
    return sizes


def stored(root: Path, copies: int = 3) -> features.Stored:
    return features.stored_features(root, NAMES, digest_of(root, NAMES, "training", 1), copies, 2)


def test_a_second_run_decodes_nothing_and_has_the_same(entries: Path, root: Path, decoded: list[int]) -> None:
    (root / NAMES[3]).write_bytes(b"no sound")
    first = stored(root)
    assert (len(decoded), [bool(found.broken) for found in first.found].index(True)) == (40, 3)
    first.release()  # memory that is given back is read again
    again = stored(root.rename(root.with_name("moved")))
    assert (len(decoded), again.found) == (40, first.found)
    assert torch.equal(again.power, first.power)
    rows = torch.arange(40)
    waveforms, _ = features._read(root.with_name("moved"), NAMES)
    for copy, version_ in enumerate(
        [waveforms, *(features.change_speed(waveforms, *pair) for pair in features.SPEEDS)]
    ):
        torch.testing.assert_close(again.read(rows, copy), features.mel_power(version_), rtol=2e-3, atol=1e-9)
    assert not again.read(torch.tensor([3])).any()
    assert torch.equal(stored(root.with_name("moved"), 1).read(rows), again.read(rows))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("version", package) for package in ("torch", "torchaudio", "numpy", "soundfile", "soxr")),
        *(("RECIPE", 0), ("FRONT_END", {}), ("SPEEDS", ((10, 9), (11, 10))), ("a clip", wav_bytes(tone(2_000, 0.2)))),
    ],
)
def test_the_key_knows_all_that_features_depend_on(
    entries: Path, root: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    stored(root)
    if name == "a clip":
        assert (root / NAMES[0]).stat().st_size == (root / NAMES[0]).write_bytes(value)  # of the same size
    elif name == "version":
        monkeypatch.setattr(features, name, lambda package: "0" if package == value else version(package))
    else:
        monkeypatch.setattr(features, name, value)
    stored(root)
    assert len(decoded) == 80


@pytest.mark.parametrize("damaged", [features.POWER, features.FILES])
def test_a_damaged_entry_is_not_used(entries: Path, root: Path, decoded: list[int], damaged: str) -> None:
    expected = stored(root)
    (path,) = entries.glob(f"*/{damaged}")
    path.write_bytes(path.read_bytes()[:-2])
    again = stored(root)
    assert len(decoded) == 80
    assert (again.found, torch.equal(again.power, expected.power)) == (expected.found, True)


def test_running_speech_is_computed_once_at_every_speed(
    entries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(
        tmp_path, {"a.wav": wav_bytes(tone(500, 3.0)), "b.wav": b"no sound", "c.wav": wav_bytes(tone(700, 0.01))}
    )
    paths = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    found = features.running_features(paths, "digest", Settings())
    assert found.frames.tolist() == [[186, 207, 169], [0, 0, 0], [0, 0, 0]]
    assert [bool(why) for why in found.broken] == [False, True, False]
    expected = features.mel_power(torch.from_numpy(tone(500, 3.0))[None, :16_000])[0].T
    torch.testing.assert_close(found.power[:61].float() ** 2, expected, rtol=2e-2, atol=1e-4)
    assert len(features.running_features(paths[1:2], "digest", Settings(speed_copies=False)).power) == 0
    monkeypatch.setattr(features, "decode", None)
    again = features.running_features(paths, "digest", Settings())
    assert torch.equal(again.power, found.power)
