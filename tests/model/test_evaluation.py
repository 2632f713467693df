"""What ``evaluation.json`` says of a model whose answers are known, and of data that lack something."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from kws.audio import SAMPLE_RATE, Waveform
from model import evaluation
from model.calibration import at_bound
from model.errors import UserError
from model.evaluation import clips, robustness
from model.settings import CLIP_SAMPLES, Settings

from . import stand_ins
from .stand_ins import NOISE, Clip, ToneModel, clip, corpus


@pytest.fixture(autouse=True)
def _no_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    leaks(monkeypatch)


def leaks(monkeypatch: pytest.MonkeyPatch, speakers: int = 0, recordings: int = 0, *examples: str) -> None:
    found = {"speakers": speakers, "recordings": recordings, "examples": list(examples)}
    monkeypatch.setattr(evaluation.check, "leaks", lambda _: found)


TONES: Any = ToneModel()


def evaluate(data: Any, model: Any = None) -> dict[str, Any]:
    found = evaluation.evaluate(model or TONES, data, Settings(stream_hours=0))
    assert json.loads(json.dumps(found)) == found  # plain JSON values
    return found


@pytest.mark.parametrize(
    ("right", "wrong", "low", "high"),
    [(407, 13, 0.9477, 0.9818), (0, 10, 0.0, 0.2775), (10, 0, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
)
def test_a_share_has_its_wilson_interval(right: int, wrong: int, low: float, high: float) -> None:
    found = clips.share(np.array([True] * right + [False] * wrong))
    assert found["interval_95"] == pytest.approx((low, high), abs=5e-4)
    assert (found["count"], found["clips"]) == (right, right + wrong)
    assert found["share"] == right / max(1, right + wrong)


def test_figures_of_a_known_outcome() -> None:
    targets = np.array([0, 0, 0, 1, 1, 2])
    probabilities = np.full((6, 3), 0.1, np.float32)
    probabilities[np.arange(6), [0, 0, 1, 1, 0, 1]] = 0.8  # nothing is taken for the third label
    probabilities[4] = [0.9, 0.05, 0.05]  # the surest mistake
    found = clips.figures(probabilities, targets, ["a", "b", "_unknown_"], [f"clip{i}" for i in range(6)])
    assert (found["n"], found["correct"], found["accuracy"]) == (6, 3, 0.5)
    assert (found["keyword_clips"], found["keyword_accuracy"]) == (5, 0.6)
    assert found["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [0, 1, 0]]
    assert found["per_class"]["a"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "clips": 3})
    assert found["per_class"]["b"] == pytest.approx({"precision": 1 / 3, "recall": 1 / 2, "f1": 0.4, "clips": 2})
    assert found["per_class"]["_unknown_"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "clips": 1}
    assert [mistake["clip"] for mistake in found["mistakes"]] == ["clip4", "clip2", "clip5"]
    assert found["mistakes"][0]["prediction"] == "a"
    assert found["loss"] == pytest.approx(-np.log([0.8, 0.8, 0.1, 0.8, 0.05, 0.1]).mean(), rel=1e-5)


def test_recall_and_false_accepts_with_their_curve() -> None:
    def sure(answer: int, probability: float) -> list[float]:
        return [probability if index == answer else (1 - probability) / 2 for index in range(3)]

    probabilities = np.array([sure(0, 0.9), sure(1, 0.9), sure(0, 0.6), sure(2, 0.9)], np.float32)
    targets = np.array([0, 0, 0, 2])  # right and sure, wrong, right and unsure, no keyword
    group = clips.Group(["x", "y"], ["cat", "dog"], np.array([sure(0, 0.95), sure(2, 0.9)], np.float32))
    labels = ("up", "down", "_unknown_")
    found = clips.operating_point(probabilities, targets, {"words": group}, labels, 0.8)
    assert (found["recall"]["count"], found["recall"]["clips"]) == (1, 3)
    assert found["false_accepts"]["words"]["share"] == 0.5
    assert list(found["false_accepts_by_word"]["words"]) == ["cat", "dog"]  # the worst first
    by_threshold = {point["threshold"]: point for point in found["curve"]}
    assert [by_threshold[at]["recall"] for at in (0.0, 0.8)] == pytest.approx([2 / 3, 1 / 3])
    assert by_threshold[0.96]["false_accepts"]["words"] == 0.0
    (accept,) = clips.false_accepts({"words": group}, labels, 0.8)
    assert (accept["clip"], accept["label"], accept["prediction"], accept["kind"]) == ("x", "cat", "up", "words")


def test_a_model_that_hears_all_is_right_in_all() -> None:
    found = evaluate(corpus(), ToneModel(temperature="1.25"))
    assert (found["accuracy"], found["keyword_accuracy"], found["n"]) == (1.0, 1.0, 17)
    assert found["clips"]["testing"] == {"low": 6, "high": 6, "_unknown_": 3, "_silence_": 2, "unknown words": 1}
    assert found["operating"]["threshold"] == 0.5  # the model's own
    assert found["calibration"]["temperature"] == 1.25
    assert not found["calibration"]["at_bound"]
    assert set(found["operating"]["false_accepts"]) == {clips.UNSEEN, clips.KNOWN, clips.QUIET}
    assert found["not_measured"] == {
        "running audio": "not asked for",
        "parity": "no checkpoint was given",
        "synthetic voices": "the data set has such voices itself",
    }
    assert evaluation.headline(found)["accuracy"] == 1.0


def test_unseen_words_are_of_the_test_split_alone() -> None:
    """Those of the other splits are spoken by voices that training has heard."""
    data = corpus(unseen=tuple(clip("tree", split, 0, "low") for split in ("training", "validation", "testing")))
    unseen = evaluate(data)["operating"]["false_accepts"][clips.UNSEEN]
    assert (unseen["count"], unseen["clips"]) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "what", "why"),
    [
        ({"unseen": ()}, clips.UNSEEN, "no word was held back from training"),
        ({"unseen": (clip("tree", "training", 0, "low"),)}, clips.UNSEEN, "no word held back from training is in the"),
        ({"unseen": (), "others": {"testing": ()}}, clips.UNSEEN, "the data set was read without its other words"),
        (
            {"unseen": (), "others": {"testing": ()}, "clips": (clip("low", "testing", 0),)},
            *(clips.UNSEEN, "the data set has no other words"),
        ),
        ({"noise_waveforms": {"testing": []}}, "noise", "the data set has no background noise"),
    ],
)
def test_what_is_not_measured_has_its_true_reason(changes: dict[str, Any], what: str, why: str) -> None:
    found = evaluate(corpus(**changes))
    assert found["not_measured"][what].startswith(why)
    assert what not in found["operating"]["false_accepts"]


def test_a_model_is_judged_on_its_own_classes() -> None:
    assert evaluate(corpus(), ToneModel(("low", "high", "_unknown_")))["n"] == 15
    found = evaluate(corpus(), ToneModel(("low", "high")))
    assert (found["n"], found["labels"]) == (12, ["low", "high"])
    assert found["operating"]["false_accepts"][clips.KNOWN]["clips"] == 3


@pytest.mark.parametrize(
    ("labels", "data", "temperature", "says"),
    [
        (("low", "_silence_"), {}, 1.0, "so it takes any word for one of its keywords"),
        (("low", "_unknown_"), {}, 1.0, "so it may take noise for a keyword"),
        (stand_ins.LABELS, {"speakers_known": False}, 1.0, "not hold for new voices. Ways out: a folder for each sp"),
        (stand_ins.LABELS, {"licence": ""}, 1.0, "The licence of the data is not stated"),
        (stand_ins.LABELS, {"notes": ["2 links led out."]}, 1.0, "2 links led out."),
        (stand_ins.LABELS, {"synthetic": True}, 1.0, "nothing of people's speech"),
        (stand_ins.LABELS, {}, 19.999, "The temperature 19.999 is at the end of its search"),
    ],
)
def test_what_a_reader_must_know_first(
    labels: tuple[str, ...], data: dict[str, Any], temperature: float, says: str
) -> None:
    none = {"speakers": 0, "recordings": 0, "examples": []}
    sound = {"leaks": none, "speakers_known": True, "licence": "MIT", "synthetic": False, "notes": []}

    def told(labels: tuple[str, ...], data: dict[str, Any], temperature: float) -> list[str]:
        calibration = {"temperature": temperature, "at_bound": at_bound(temperature)}
        return evaluation.caveats({"labels": labels, "data": data, "calibration": calibration})

    assert told(stand_ins.LABELS, sound, 1.0) == []
    (caveat,) = told(labels, {**sound, **data}, temperature)
    assert says in caveat


def test_leaks_are_told_with_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    leaks(monkeypatch, 2, 1, "anna", "low/1.wav")
    found = evaluate(corpus())
    assert found["data"]["leaks"]["speakers"] == 2
    assert found["caveats"][0].startswith("Leak: 2 speakers and 1 recordings are in two splits (anna, low/1.wav): ")


def test_the_digest_names_the_same_clips() -> None:
    names, waveforms = ["a", "b"], np.stack([stand_ins.word("low"), stand_ins.word("high")])
    digest = clips.digest(names, waveforms)
    assert clips.digest(names[::-1], waveforms[::-1]) == digest
    for others in ((["a", "c"], waveforms), (names, waveforms[::-1]), (names[:1], waveforms[:1])):
        assert clips.digest(*others) != digest
    found = evaluate(corpus())["test_clips_digest"]
    assert found == evaluate(corpus(unseen=()))["test_clips_digest"]  # which are no part of the test split's clips
    data = corpus()
    data.splits["testing"].clips[0].waveform[0] = 0.5
    assert evaluate(data)["test_clips_digest"] != found


def test_voices_are_a_test_of_their_own_and_no_disturbance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def silent(_: Settings) -> Any:
        raise UserError("espeak-ng is not there; install it")

    def spoken(settings: Settings) -> Any:
        assert (settings.dataset, settings.labels, settings.synthetic_size) == ("synthetic", ("low", "high"), 50)
        for name in ("low.wav", "high.wav"):
            soundfile.write(tmp_path / name, stand_ins.word("low"), SAMPLE_RATE)
        return SimpleNamespace(root=tmp_path, clips=(Clip("low.wav", "low", ""), Clip("high.wav", "high", "")))

    monkeypatch.setattr(evaluation, "open_dataset", silent)
    found = evaluate(corpus(synthetic=False))
    assert found["not_measured"]["synthetic voices"] == "espeak-ng is not there; install it"
    assert found["robustness"]["voices"] is None
    monkeypatch.setattr(evaluation, "open_dataset", spoken)
    found = evaluate(corpus(synthetic=False))
    assert (found["robustness"]["voices"]["clips"], found["robustness"]["voices"]["accuracy"]) == (2, 0.5)
    assert "voices" not in {case["group"] for case in found["robustness"]["cases"]}
    assert found["robustness"]["clean"] == 1.0


CLIPS = np.stack([stand_ins.tone(500, 0.2), stand_ins.tone(1000, 0.1)])


def level(clip: Waveform) -> float:
    """dBFS, without what the ends bring."""
    return float(10 * np.log10(np.mean(clip[2000:-2000].astype(np.float64) ** 2) + 1e-12))


def peak(clip: Waveform) -> float:
    """Hz, where the spectrum is highest."""
    return float(np.abs(np.fft.rfft(clip)).argmax())


@pytest.mark.parametrize(
    ("change", "measure", "expected", "tolerance"),
    [
        (partial(robustness.gain, db=-20), level, level(CLIPS[0]) - 20, 0.1),
        (partial(robustness.gain, db=40), level, 0.0, 0.5),  # clipped at full scale
        (partial(robustness.speed, factor=1.1), peak, 550, 2),
        (partial(robustness.speed, factor=0.9), peak, 450, 2),
        (robustness.telephone, level, level(CLIPS[0]), 0.5),
        (lambda clips: robustness.telephone(10 * stand_ins.tone(5000)[None] + clips), peak, 500, 1),
        (partial(robustness.as_file, rate=44_100), level, level(CLIPS[0]), 0.1),
        (partial(robustness.as_file, rate=16_000, stereo=True), level, level(CLIPS[0]) - 2.04, 0.1),
        (partial(robustness.shift, milliseconds=500), lambda clip: np.abs(clip[:8000]).max(), 0, 0),
        (partial(robustness.shift, milliseconds=-500), lambda clip: np.abs(clip[8000:]).max(), 0, 0),
        (
            lambda clips: robustness.add_noise(clips, [NOISE], 10, np.random.default_rng(0)) - clips,
            *(level, level(CLIPS[0]) - 10, 0.3),
        ),
    ],
)
def test_a_disturbance_does_what_it_says(change: Any, measure: Any, expected: float, tolerance: float) -> None:
    changed = change(CLIPS)
    assert changed.shape == CLIPS.shape
    assert measure(changed[0]) == pytest.approx(expected, abs=tolerance)


def test_a_case_is_told_by_its_accuracy_and_its_distance_to_the_clean_clips() -> None:
    """Of a model that minds loudness: it takes what is softer than -20 dBFS for the second of two tones."""

    def run(waveforms: Waveform) -> Any:
        soft = np.array([level(clip) < -20 for clip in waveforms])
        return np.stack([~soft, soft], axis=1).astype(np.float32)

    found = robustness.measure(run, CLIPS, np.array([0, 1]), [])
    assert (found["clips"], found["clean"]) == (2, 1.0)
    by_name = {case["name"]: case for case in found["cases"]}
    assert not any(name.startswith("noise") for name in by_name)  # the data have none
    assert (by_name["gain -20 dB"]["accuracy"], by_name["gain -20 dB"]["difference"]) == (0.5, -0.5)
    assert by_name["44.1 kHz file"]["difference"] == 0
    assert len(list(robustness.cases([NOISE]))) == len(by_name) + 4


def test_quiet_clips_are_quiet_and_the_same_each_time() -> None:
    (names, samples), (_, again) = (
        clips.quiet([NOISE, NOISE[:CLIP_SAMPLES]]),
        clips.quiet([NOISE, NOISE[:CLIP_SAMPLES]]),
    )
    assert samples.shape == (len(names), CLIP_SAMPLES)
    assert np.array_equal(samples, again)
    assert np.abs(samples[names.index("digital silence")]).max() == 0
    hiss = samples[names.index("hiss at -60 dBFS")]
    assert 20 * np.log10(np.sqrt(np.mean(hiss**2))) == pytest.approx(-60, abs=0.5)
    assert sum("noise" in name for name in names) == 3 * (31 + 1)
