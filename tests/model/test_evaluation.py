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
from .stand_ins import NOISE, Clip, ToneModel, clip, corpus, sure

LABELS = ("up", "down", "_unknown_")
HEARD = np.stack([stand_ins.tone(500, 0.2), stand_ins.tone(1000, 0.1)])


@pytest.fixture(autouse=True)
def leaks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {"speakers": 0, "recordings": 0, "examples": []}
    monkeypatch.setattr(evaluation.check, "leaks", lambda _: found)
    return found


TONES: Any = ToneModel()


def evaluate(data: Any, model: Any = TONES) -> dict[str, Any]:
    found = evaluation.evaluate(model, data, Settings())
    assert json.loads(json.dumps(found)) == found  # plain JSON values
    return found


@pytest.mark.parametrize(
    ("right", "wrong", "low", "high"), [(407, 13, 0.9477, 0.9818), (0, 10, 0.0, 0.2775), (0, 0, 0.0, 1.0)]
)
def test_a_share_has_its_wilson_interval(right: int, wrong: int, low: float, high: float) -> None:
    found = clips.share(np.array([True] * right + [False] * wrong))
    assert found["interval_95"] == pytest.approx((low, high), abs=5e-4)
    assert (found["count"], found["clips"]) == (right, right + wrong)


def test_figures_of_a_known_outcome() -> None:
    targets = np.array([0, 0, 0, 1, 1, 2])
    probabilities = np.full((6, 3), 0.1, np.float32)
    probabilities[np.arange(6), [0, 0, 1, 1, 0, 1]] = 0.8  # nothing is taken for the third label
    probabilities[4] = [0.9, 0.05, 0.05]  # the surest mistake
    found = clips.figures(probabilities, targets, ["a", "b", "_unknown_"], [f"clip{i}" for i in range(6)])
    assert (found["n"], found["correct"], found["accuracy"]) == (6, 3, 0.5)
    assert (found["keyword_clips"], found["keyword_accuracy"]) == (5, 0.6)
    assert found["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [0, 1, 0]]
    assert found["per_class"]["b"] == pytest.approx({"precision": 1 / 3, "recall": 1 / 2, "f1": 0.4, "clips": 2})
    assert found["per_class"]["_unknown_"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "clips": 1}
    assert [mistake["clip"] for mistake in found["mistakes"]] == ["clip4", "clip2", "clip5"]
    assert found["loss"] == pytest.approx(-np.log([0.8, 0.8, 0.1, 0.8, 0.05, 0.1]).mean(), rel=1e-5)


def test_recall_and_false_accepts() -> None:
    probabilities = np.array([sure(0, 0.9), sure(1, 0.9), sure(0, 0.6), sure(2, 0.9)], np.float32)
    targets = np.array([0, 0, 0, 2])  # right and sure, wrong, right and unsure, no keyword
    said = np.array([sure(2, 0.9), sure(0, 0.95), sure(2, 0.9)], np.float32)
    groups = {clips.UNSEEN: clips.Group(["dog", "cat", "cat"], said), clips.KNOWN: clips.Group(["sun"], said[:1])}
    found = clips.operating_point(probabilities, targets, groups, LABELS, 0.8)
    assert (found["recall"]["count"], found["recall"]["clips"]) == (1, 3)
    assert [found["false_accepts"][kind]["share"] for kind in groups] == [pytest.approx(1 / 3), 0]
    assert {word: each["share"] for word, each in found["unseen_words"].items()} == {"cat": 0.5, "dog": 0.0}
    assert list(found["unseen_words"]) == ["cat", "dog"]  # the worst first
    assert clips.operating_point(probabilities, targets, groups, LABELS, 0.5)["recall"]["count"] == 2


def test_a_model_that_hears_all_is_right_in_all(leaks: dict[str, Any]) -> None:
    leaks.update(speakers=2, recordings=1, examples=["anna", "low/1.wav"])
    found = evaluate(corpus(), ToneModel(temperature="1.25"))
    assert (found["accuracy"], found["keyword_accuracy"], found["n"]) == (1.0, 1.0, 17)
    assert found["clips"]["testing"] == {"low": 6, "high": 6, "_unknown_": 3, "_silence_": 2, "unknown words": 1}
    assert found["operating"]["threshold"] == 0.5  # the model's own
    assert (found["calibration"]["temperature"], found["calibration"]["at_bound"]) == (1.25, False)
    assert set(found["operating"]["false_accepts"]) == {clips.UNSEEN, clips.KNOWN, clips.QUIET}
    assert found["not_measured"] == {
        "running audio": "no running speech without keywords to judge with: see --speech-evaluation",
        "parity": "no checkpoint was given",
        "synthetic voices": "the data set has such voices itself",
    }
    assert evaluation.headline(found)["accuracy"] == 1.0
    assert found["caveats"][0].startswith("Leak: 2 speakers and 1 recordings are in two splits (anna, low/1.wav): ")


NOT_MEASURED: list[tuple[dict[str, Any], str, str]] = [
    ({"unseen": ()}, clips.UNSEEN, "no word was held back from training"),
    ({"unseen": (clip("tree", "training", 0, "low"),)}, clips.UNSEEN, "no word held back from training is in the"),
    ({"noise_waveforms": {"testing": []}}, "noise", "the data set has no background noise"),
]


@pytest.mark.parametrize(("changes", "what", "why"), NOT_MEASURED)
def test_what_is_not_measured_has_its_true_reason(changes: dict[str, Any], what: str, why: str) -> None:
    found = evaluate(corpus(**changes))
    assert found["not_measured"][what].startswith(why)
    assert what not in found["operating"]["false_accepts"]


def test_a_model_is_judged_on_its_own_classes_and_on_unseen_words_of_the_test_split_alone() -> None:
    assert evaluate(corpus(), ToneModel(("low", "high", "_unknown_")))["n"] == 15
    # Those of the other splits are spoken by voices that training has heard.
    data = corpus(unseen=tuple(clip("tree", split, 0, "low") for split in ("training", "validation", "testing")))
    found = evaluate(data, ToneModel(("low", "high")))
    assert (found["n"], found["labels"]) == (12, ["low", "high"])
    accepts = found["operating"]["false_accepts"]
    assert accepts[clips.KNOWN]["clips"] == 3
    assert (accepts[clips.UNSEEN]["count"], accepts[clips.UNSEEN]["clips"]) == (1, 1)


@pytest.mark.parametrize(
    ("labels", "data", "temperature", "says"),
    [
        (stand_ins.LABELS, {}, 1.0, ""),
        (("low", "_silence_"), {}, 1.0, "so it takes any word for one of its keywords"),
        (("low", "_unknown_"), {}, 1.0, "so it may take noise for a keyword"),
        (stand_ins.LABELS, {"speakers_known": False}, 1.0, "not hold for new voices. Ways out: a folder for each sp"),
        (stand_ins.LABELS, {"licence": ""}, 1.0, "The licence of the data is not stated"),
        (stand_ins.LABELS, {"notes": ["2 links led out."]}, 1.0, "2 links led out."),
        (stand_ins.LABELS, {"synthetic": True}, 1.0, "nothing of people's speech"),
        (stand_ins.LABELS, {"speech": {"source": "spoken"}}, 1.0, "running speech is spoken by espeak-ng"),
        (stand_ins.LABELS, {"speech": {"source": "none"}}, 1.0, "It has heard no running speech"),
        (stand_ins.LABELS, {}, 19.999, "The temperature 19.999 is at the end of its search"),
    ],
)
def test_what_a_reader_must_know_first(
    leaks: Any, labels: tuple[str, ...], data: dict[str, Any], temperature: float, says: str
) -> None:
    sound = {"speech": {"source": "others"}, "speakers_known": True, "licence": "MIT", "synthetic": False, "notes": []}
    calibration = {"temperature": temperature, "at_bound": at_bound(temperature)}
    found = evaluation.caveats(
        {"labels": labels, "data": {**sound, "leaks": leaks, **data}, "calibration": calibration}
    )
    assert len(found) == bool(says)
    assert says in "".join(found)


def test_the_digest_names_the_same_clips() -> None:
    names, waveforms = ["a", "b"], np.stack([stand_ins.word("low"), stand_ins.word("high")])
    digest = clips.digest(names, waveforms)
    assert clips.digest(names[::-1], waveforms[::-1]) == digest
    for others in ((["a", "c"], waveforms), (names, waveforms[::-1]), (names[:1], waveforms[:1])):
        assert clips.digest(*others) != digest


def test_voices_are_a_test_of_their_own_and_no_disturbance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def silent(_: Settings) -> Any:
        raise UserError("espeak-ng is not there; install it")

    def spoken(settings: Settings) -> Any:
        assert (settings.dataset, settings.labels, settings.synthetic_size) == ("synthetic", ("low", "high"), 50)
        for name in ("low.wav", "high.wav"):
            soundfile.write(tmp_path / name, stand_ins.word("low"), SAMPLE_RATE)
        return SimpleNamespace(root=tmp_path, clips=(Clip("low.wav", "low", ""), Clip("high.wav", "high", "")))

    monkeypatch.setattr(evaluation, "open_dataset", silent)
    assert evaluate(corpus(synthetic=False))["not_measured"]["synthetic voices"] == "espeak-ng is not there; install it"
    monkeypatch.setattr(evaluation, "open_dataset", spoken)
    found = evaluate(corpus(synthetic=False))["robustness"]
    assert (found["voices"]["clips"], found["voices"]["share"]) == (2, 0.5)
    assert "voices" not in {case["group"] for case in found["cases"]}


def level(clip: Waveform) -> float:
    """dBFS, without what the ends bring."""
    return float(10 * np.log10(np.mean(clip[2000:-2000].astype(np.float64) ** 2) + 1e-12))


def peak(clip: Waveform) -> float:
    """Hz, where the spectrum is highest."""
    return float(np.abs(np.fft.rfft(clip)).argmax())


def noise_at_10_db(heard: Waveform) -> Waveform:
    return robustness.add_noise(heard, [NOISE], 10, np.random.default_rng(0)) - heard


@pytest.mark.parametrize(
    ("change", "measure", "expected", "tolerance"),
    [
        (partial(robustness.gain, db=-20), level, level(HEARD[0]) - 20, 0.1),
        (partial(robustness.gain, db=40), level, 0.0, 0.5),  # clipped at full scale
        (partial(robustness.speed, up=11, down=10), peak, 550, 2),
        (partial(robustness.speed, up=9, down=10), peak, 450, 2),
        (lambda heard: robustness.telephone(10 * stand_ins.tone(5000)[None] + heard), peak, 500, 1),
        (partial(robustness.shift, milliseconds=500), lambda heard: np.abs(heard[:8000]).max(), 0, 0),
        (partial(robustness.shift, milliseconds=-500), lambda heard: np.abs(heard[8000:]).max(), 0, 0),
        (noise_at_10_db, level, level(HEARD[0]) - 10, 0.3),
    ],
)
def test_a_disturbance_does_what_it_says(change: Any, measure: Any, expected: float, tolerance: float) -> None:
    changed = change(HEARD)
    assert changed.shape == HEARD.shape
    assert measure(changed[0]) == pytest.approx(expected, abs=tolerance)


def test_a_case_is_told_by_its_accuracy_and_its_distance_to_the_clean_clips() -> None:
    """Of a model that minds loudness: it takes what is softer than -20 dBFS for the second of two tones."""

    def run(waveforms: Waveform) -> Any:
        soft = np.array([level(heard) < -20 for heard in waveforms])
        return np.stack([~soft, soft], axis=1).astype(np.float32)

    found, noisy = (robustness.measure(run, HEARD, np.array([0, 1]), noise) for noise in ([], [NOISE]))
    by_name = {case["name"]: case for case in found["cases"]}
    assert (found["clips"], found["clean"]) == (2, 1.0)
    assert (by_name["gain -20 dB"]["accuracy"], by_name["gain -20 dB"]["difference"]) == (0.5, -0.5)
    assert {"speed -10 %", "speed +10 %", "shift +150 ms", "telephone"} < set(by_name)
    assert len(noisy["cases"]) == len(by_name) + 4  # with noise, where the data have some


def test_quiet_clips_are_quiet_and_the_same_each_time() -> None:
    samples, again = (clips.quiet([NOISE, NOISE[:CLIP_SAMPLES]]) for _ in range(2))
    assert samples.shape[1] == CLIP_SAMPLES
    assert np.array_equal(samples, again)
    assert np.abs(samples[-3]).max() == 0  # digital silence
    assert level(samples[-53 + 10]) == pytest.approx(-60, abs=0.5)  # hiss, ten clips a level
