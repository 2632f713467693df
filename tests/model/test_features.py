"""Features and their augmentation: what they compute; on disk: once, for exactly what the files hold, never half."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model import features
from model.augment import Augmenter, mixup
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
    return features.stored_features(root, NAMES, digest_of(root, NAMES, "training"), copies, 2)


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


PACKAGES = ("torch", "torchaudio", "numpy", "soundfile", "soxr")
CHANGES: list[tuple[str, Any]] = [("RECIPE", 0), ("FRONT_END", {}), ("SPEEDS", ((10, 9), (11, 10)))]
CHANGES += [("version", lambda name, of=each: "0" if name == of else version(name)) for each in PACKAGES]


def test_the_key_knows_all_that_features_depend_on(
    root: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(root)
    for name, value in CHANGES:
        decoded.clear()
        with monkeypatch.context() as patch:
            patch.setattr(features, name, value)
            stored(root)
        assert len(decoded) == 40, (name, value)
    other = wav_bytes(tone(2_000, 0.2))
    assert (root / NAMES[0]).stat().st_size == (root / NAMES[0]).write_bytes(other)  # of the same size
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


NOISE = torch.rand(300, 40, generator=torch.Generator().manual_seed(1)) + 0.5
SILENT = torch.empty(0, 40)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_shift_moves_frames_and_nothing_comes_in_for_what_leaves() -> None:
    power = torch.zeros(200, 40, 61)
    power[:, :, [0, 30]] = 1.0
    shifted = Augmenter(SILENT, max_shift=6)._shift(power, _generator())
    assert set((shifted[:, 0, 20:41].argmax(dim=1) + 20).tolist()) == set(range(24, 37))
    assert power.sum() / 2 < shifted.sum() < power.sum()


def test_noise_is_added_at_the_given_ratio() -> None:
    power = torch.full((500, 40, 61), 2.0)
    augmenter = Augmenter(NOISE, noise_probability=0.5, snr_db=(10.0, 10.0))
    added = (augmenter._add_noise(power, _generator()) - power).mean(dim=(1, 2))
    noisy = added > 0.1
    assert 0.4 < noisy.double().mean() < 0.6
    assert ((added[~noisy] > 2e-5) & (added[~noisy] < 0.021)).all()  # a floor everywhere else
    torch.testing.assert_close(added[noisy], torch.full_like(added[noisy], 0.2), rtol=1e-3, atol=0)


def test_masks_are_bounded_and_set_to_the_mean() -> None:
    power = torch.rand(300, 40, 61, generator=_generator()) + 0.1
    augmented = Augmenter(SILENT, max_shift=0)(power, _generator())
    masked = augmented == 0.0
    assert [int(masked.all(dim=dim).sum(dim=1).max()) for dim in (2, 1)] == [8, 12]
    torch.testing.assert_close(augmented[~masked], features.log_mel(power)[~masked])


def test_silence_is_made_anew_from_digital_silence_up() -> None:
    generator = _generator()
    power, again = (Augmenter(NOISE).silence(200, generator) for _ in range(2))
    level = power.mean(dim=(1, 2))
    assert 5 <= int((level == 0).sum()) <= 40
    assert level[level > 0].min() < 1e-4 * level.max()
    assert not torch.equal(power, again)


def test_mixup_keeps_the_clip_s_own_label_the_likeliest() -> None:
    inputs, targets = torch.arange(64.0)[:, None, None].expand(64, 4, 5), torch.eye(4)[torch.arange(64) % 4]
    mixed, labels = mixup(inputs, targets, 0.2, _generator())
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(64))
    assert torch.equal(labels.argmax(dim=1), targets.argmax(dim=1))
    assert not torch.equal(mixed, inputs)
