"""What is done to clips, and that a model which minds it is found out."""

import numpy as np
import pytest

from model import degrade, robustness
from model.material import quiet
from model.settings import CLIP_SAMPLES, SAMPLE_RATE

from .conftest import tone


def level(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


def peak_frequency(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax()) * SAMPLE_RATE / len(samples)


CLIPS = np.stack([tone(500, level=0.2), tone(1000, level=0.1)])
HISS = np.random.default_rng(1).normal(0, 0.01, 5 * SAMPLE_RATE).astype(np.float32)


@pytest.mark.parametrize("snr", [20, 0])
def test_noise_is_added_at_the_ratio_asked_for(snr: int) -> None:
    noisy = degrade.add_noise(CLIPS, [HISS], snr, np.random.default_rng(0))
    for clip, mixed in zip(CLIPS, noisy, strict=True):
        assert level(clip) - level(mixed - clip) == pytest.approx(snr, abs=0.3)


def test_silence_stays_silence_in_noise_that_follows_it() -> None:
    assert not degrade.add_noise(np.zeros_like(CLIPS), [HISS], 0, np.random.default_rng(0)).any()


@pytest.mark.parametrize("milliseconds", [-150, 150])
def test_a_shift_moves_and_brings_in_zeros(milliseconds: int) -> None:
    impulse = np.zeros((1, CLIP_SAMPLES), np.float32)
    impulse[0, 8000] = 1
    assert np.flatnonzero(degrade.shift(impulse, milliseconds)).tolist() == [8000 + milliseconds * 16]
    late = np.zeros((1, CLIP_SAMPLES), np.float32)
    late[0, -1] = late[0, 0] = 1
    assert degrade.shift(late, milliseconds).sum() == 1  # one falls out, none comes round


def test_gain_clips_as_a_microphone_does() -> None:
    assert level(degrade.gain(CLIPS, -20)[0]) == pytest.approx(level(CLIPS[0]) - 20, abs=0.1)
    loud = degrade.gain(np.stack([tone(500, level=0.5)]), 12)
    assert (loud.max(), loud.min()) == (pytest.approx(1, abs=1e-4), -1)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_changes_pitch_and_keeps_the_middle(factor: float) -> None:
    changed = degrade.speed(CLIPS, factor)
    assert changed.shape == CLIPS.shape
    assert peak_frequency(changed[1, 2000:-2000]) == pytest.approx(1000 * factor, rel=0.01)
    impulse = np.zeros((1, CLIP_SAMPLES), np.float32)
    impulse[0, CLIP_SAMPLES // 2] = 1
    assert abs(int(np.abs(degrade.speed(impulse, factor)).argmax()) - CLIP_SAMPLES // 2) <= 2


@pytest.mark.parametrize(("frequency", "passes"), [(100, False), (1000, True), (3000, True), (5000, False)])
def test_a_telephone_passes_its_band_alone(frequency: float, passes: bool) -> None:
    clip = np.stack([tone(frequency, level=0.3)])
    loss = level(clip[0, 1000:-1000]) - level(degrade.telephone(clip)[0, 1000:-1000] + 1e-9)
    assert loss < 0.5 if passes else loss > 30


def test_files_of_other_rates_come_back_as_they_were() -> None:
    for rate in (44_100, 48_000):
        assert np.abs(degrade.as_file(CLIPS, rate)[:, 500:-500] - CLIPS[:, 500:-500]).max() < 2e-3
    stereo = degrade.as_file(CLIPS, SAMPLE_RATE, stereo=True)
    assert level(stereo[0]) == pytest.approx(level(CLIPS[0]) - 2, abs=1)  # the mean of it and a softer, later one


def pitch_or_loudness(kind: str) -> robustness.Run:
    """Which of two tones: by their pitch, or (as no model should) by the level of 0.2 against 0.1."""

    def run(waveforms: np.ndarray) -> np.ndarray:
        high = np.array([peak_frequency(clip[2000:-2000]) > 750 for clip in waveforms])
        soft = np.array([level(clip + 1e-9) < -20 for clip in waveforms])
        second = high if kind == "pitch" else soft
        return np.stack([~second, second], axis=1).astype(np.float32)

    return run


def test_cases_are_judged_by_their_distance_to_clean_clips() -> None:
    targets = np.array([0, 1])
    good = robustness.measure(pitch_or_loudness("pitch"), CLIPS, targets, [HISS], (CLIPS, targets))
    assert good["clean"] == 1.0
    assert len(good["cases"]) == 17
    assert all(case["passed"] for case in good["cases"])
    bad = robustness.measure(pitch_or_loudness("level"), CLIPS, targets, [])
    by_name = {case["name"]: case for case in bad["cases"]}
    assert not any(name.startswith("noise") for name in by_name)  # the data set has none
    assert by_name["gain -20 dB"]["difference"] == -0.5
    assert not by_name["gain -20 dB"]["passed"]
    assert by_name["44.1 kHz file"]["passed"]


def test_voices_have_a_bound_of_their_own() -> None:
    targets = np.array([0, 1])
    run = pitch_or_loudness("pitch")
    swapped = robustness.measure(run, CLIPS, targets, [], (CLIPS[::-1], targets))["cases"][-1]
    assert (swapped["name"], swapped["accuracy"], swapped["least"], swapped["passed"]) == (
        *("synthetic voices", 0.0, 0.95, False),
    )


def test_quiet_clips_are_quiet_and_the_same_each_time() -> None:
    one, again = (quiet([HISS, HISS[:SAMPLE_RATE]]) for _ in range(2))
    every = slice(None)
    samples = one.read(every)
    assert samples.shape == (len(one.names), CLIP_SAMPLES)
    assert np.array_equal(samples, again.read(every))
    assert np.abs(samples[one.names.index("digital silence")]).max() == 0
    assert level(samples[one.names.index("hiss at -60 dBFS")]) == pytest.approx(-60, abs=0.5)
    assert sum("noise" in name for name in one.names) == 3 * (41 + 1)
