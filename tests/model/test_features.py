"""Features and their augmentation: what they compute; on disk: once, for exactly what the files hold, never half."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kws.audio import decode
from model import features
from model.augment import Augmenter, mixup
from model.data.recording import fit
from model.data.source import digest_of
from model.settings import Settings

from .conftest import encode, tone, tone_files, write_files

NAMES = [f"low/{speaker:08x}_nohash_0.wav" for speaker in range(40)]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_log_mel_forgets_the_level_and_the_colour() -> None:
    noise = torch.randn(2, 16_000, generator=seeded())
    power = features.mel_power(noise)
    one, other = features.log_mel(power), features.log_mel(power * torch.logspace(1, 3, 40)[:, None])
    torch.testing.assert_close(one, other, atol=1e-3, rtol=0)
    torch.testing.assert_close(one.std(dim=(1, 2)), torch.ones(2), atol=1e-2, rtol=0)
    for level in (0.0, 1e-9, 1e-6):
        assert features.log_mel(features.mel_power(level * noise)).abs().max() < 0.1


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
    rows = torch.arange(40)
    clips = torch.from_numpy(np.stack([fit(decode((moved / name).read_bytes()).waveform) for name in NAMES[4:]]))
    for copy, changed in enumerate([clips, *(features.change_speed(clips, *pair) for pair in features.SPEEDS)]):
        torch.testing.assert_close(again.read(rows[4:], copy), features.mel_power(changed), rtol=2e-3, atol=1e-9)
    assert not again.read(rows[3:4]).any()
    assert torch.equal(stored(moved, 1).read(rows), again.read(rows))


PACKAGES = ("torch", "torchaudio", "numpy", "soundfile", "soxr")
CHANGES: list[tuple[str, Any]] = [("RECIPE", 0), ("FRONT_END", {}), ("SPEEDS", ((10, 9), (11, 10)))]
CHANGES += [("version", lambda name, of=each: "0" if name == of else version(name)) for each in PACKAGES]


def test_the_key_knows_all_that_features_depend_on(root: Path, decoded: list[int], monkeypatch: Any) -> None:
    stored(root)
    for name, value in CHANGES:
        decoded.clear()
        with monkeypatch.context() as patch:
            patch.setattr(features, name, value)
            stored(root)
        assert len(decoded) == 40, (name, value)
    other = encode(tone(2_000, 0.2))
    assert (root / NAMES[0]).stat().st_size == (root / NAMES[0]).write_bytes(other)  # of the same size
    stored(root)
    assert len(decoded) == 80


def test_running_speech_is_computed_once_at_every_speed(own_cache: Path, tmp_path: Path, monkeypatch: Any) -> None:
    files = {"a.wav": encode(tone(500, 3.0)), "b.wav": b"no sound", "c.wav": encode(tone(700, 0.01))}
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


def test_a_shift_moves_frames_and_nothing_comes_in_for_what_leaves() -> None:
    power = torch.zeros(200, 40, 61)
    power[:, :, [0, 30]] = 1.0
    loud = Augmenter(SILENT, 0.5, 0.0, max_shift=6, widest_masks=(0, 0))(power, seeded())[:, 0] > 1
    assert set((loud[:, 20:41].long().argmax(dim=1) + 20).tolist()) == set(range(24, 37))
    assert set(loud.sum(dim=1).tolist()) == {1, 2}


def test_noise_is_added_at_the_given_ratio() -> None:
    power = torch.full((500, 40, 61), 2.0)
    augmenter = Augmenter(NOISE, 0.5, 0.0, max_shift=6, snr_db=(10.0, 10.0))
    added = (augmenter._add_noise(power, seeded()) - power).mean(dim=(1, 2))
    noisy = added > 0.1
    assert 0.4 < noisy.double().mean() < 0.6
    assert ((added[~noisy] > 2e-5) & (added[~noisy] < 0.021)).all()  # a floor everywhere else
    torch.testing.assert_close(added[noisy], torch.full_like(added[noisy], 0.2), rtol=1e-3, atol=0)


def test_masks_are_bounded_and_set_to_the_mean() -> None:
    power = torch.rand(300, 40, 61, generator=seeded()) + 0.1
    augmented = Augmenter(SILENT, 0.5, 0.0, max_shift=0)(power, seeded())
    masked = augmented == 0.0
    assert [int(masked.all(dim=dim).sum(dim=1).max()) for dim in (2, 1)] == [8, 12]
    torch.testing.assert_close(augmented[~masked], features.log_mel(power)[~masked])


def test_silence_is_made_anew_from_digital_silence_up() -> None:
    generator = seeded()
    power, again = (Augmenter(NOISE, 0.5, 0.0, 6).silence(200, generator) for _ in range(2))
    level = power.mean(dim=(1, 2))
    assert 5 <= int((level == 0).sum()) <= 40
    assert level[level > 0].min() < 1e-4 * level.max()
    assert not torch.equal(power, again)


def test_mixup_keeps_the_clip_s_own_label_the_likeliest() -> None:
    inputs, targets = torch.arange(64.0)[:, None, None].expand(64, 4, 5), torch.eye(4)[torch.arange(64) % 4]
    mixed, labels = mixup(inputs, targets, 0.2, seeded())
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(64))
    assert torch.equal(labels.argmax(dim=1), targets.argmax(dim=1))
    assert not torch.equal(mixed, inputs)
