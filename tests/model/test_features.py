"""Features: what they compute; and on disk: computed once, for exactly what the files hold, and never half."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model import features
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
def root(own_cache: Path, tmp_path: Path) -> Path:
    return write_files(tmp_path / "tones", tone_files(("low",)))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the clips that were decoded."""
    sizes, whole = list[int](), features.read_clip
    monkeypatch.setattr(features, "read_clip", lambda data: sizes.append(len(data)) or whole(data))  # type: ignore[func-returns-value]
    return sizes


def stored(root: Path, copies: int = 3) -> features.Stored:
    return features.stored_features(root, NAMES, digest_of(root, NAMES, "training", 1), copies, 2)


def test_a_second_run_decodes_nothing_and_has_the_same(own_cache: Path, root: Path, decoded: list[int]) -> None:
    (root / NAMES[3]).write_bytes(b"no sound")
    first = stored(root)
    assert (len(decoded), [bool(found.broken) for found in first.found].index(True)) == (40, 3)
    first.release()  # memory that is given back is read again
    expected = first.power.clone()
    moved = root.rename(root.with_name("moved"))
    again = stored(moved)
    assert (len(decoded), again.found) == (40, first.found)
    assert torch.equal(again.power, expected)
    rows, (waveforms, _) = torch.arange(40), features._read(moved, NAMES)
    copies = [waveforms, *(features.change_speed(waveforms, *pair) for pair in features.SPEEDS)]
    for copy, changed in enumerate(copies):
        torch.testing.assert_close(again.read(rows, copy), features.mel_power(changed), rtol=2e-3, atol=1e-9)
    assert not again.read(torch.tensor([3])).any()
    assert torch.equal(stored(moved, 1).read(rows), again.read(rows))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("version", package) for package in ("torch", "torchaudio", "numpy", "soundfile", "soxr")),
        *(("RECIPE", 0), ("FRONT_END", {}), ("SPEEDS", ((10, 9), (11, 10))), ("a clip", wav_bytes(tone(2_000, 0.2)))),
    ],
)
def test_the_key_knows_all_that_features_depend_on(
    root: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch, name: str, value: Any
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


def test_running_speech_is_computed_once_at_every_speed(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"a.wav": wav_bytes(tone(500, 3.0)), "b.wav": b"no sound", "c.wav": wav_bytes(tone(700, 0.01))}
    paths = [write_files(tmp_path, files) / name for name in files]
    found = features.running_features(paths, "digest", Settings())
    assert found.frames.tolist() == [[186, 207, 169], [0, 0, 0], [0, 0, 0]]
    assert [bool(why) for why in found.broken] == [False, True, False]
    expected = features.mel_power(torch.from_numpy(tone(500, 3.0))[None, :16_000])[0].T
    torch.testing.assert_close(found.power[:61].float() ** 2, expected, rtol=2e-2, atol=1e-4)
    assert len(features.running_features(paths[1:2], "digest", Settings(speed_copies=False)).power) == 0
    monkeypatch.setattr(features, "decode", None)
    assert torch.equal(features.running_features(paths, "digest", Settings()).power, found.power)
