"""Which window speaks for a clip, and the rule of running audio, against an implementation that is easy to read."""

import itertools
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.detection import DEFAULT_THRESHOLD, Detector, Hit, Listener, Rule, classify, detect
from kws.model_file import Model, open_model
from tests.service.tones import LABELS, METADATA, SAMPLE_RATE, save_model, tone

NAMES = ["up", "down", "_unknown_", "_silence_"]
RULES = st.builds(
    Rule,
    hop_seconds=st.sampled_from([0.05, 0.1, 0.2]),
    smoothing=st.integers(1, 6),
    threshold=st.floats(0.01, 1),
    refractory_seconds=st.floats(0, 2),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    rule = Rule(0.1, 3, 0.6, 0.5)
    metadata = {**METADATA, "detection": json.dumps(asdict(rule)), "threshold": "0.7"}
    return open_model(save_model(tmp_path_factory.mktemp("model") / "model.onnx", metadata))


def wandering(seed: int, windows: int) -> npt.NDArray[np.float32]:
    """Probabilities that wander as a model's do, with level stretches; their sums are exact."""
    rng = np.random.default_rng(seed)
    walk = rng.normal(0, 1.5, (windows, len(NAMES))).cumsum(axis=0) * 0.5
    walk = np.repeat(walk, rng.integers(1, 4), axis=0)[:windows]
    exponent = np.exp(walk - walk.max(axis=1, keepdims=True))
    return np.asarray((128 * exponent / exponent.sum(axis=1, keepdims=True)).round() / 128, np.float32)


def by_hand(found: npt.NDArray[np.float32], rule: Rule) -> list[Hit]:
    """The rule as its docstring says it, window by window."""
    full, none = range(rule.smoothing - 1, len(found)), (-1, 0.0)
    means = {at: found[at - rule.smoothing + 1 : at + 1].mean(axis=0) for at in full}
    over = {at: mean for at, mean in means.items() if mean.argmax() < 2 and mean.max() >= rule.threshold}
    words = {at: (int(mean.argmax()), mean.max()) for at, mean in over.items()}
    hits, free, counted = list[Hit](), 0, False
    for at, (label, sure) in words.items():
        counted = counted and words.get(at - 1, none)[0] == label
        if sure >= words.get(at + 1, none)[1] and at >= free and not counted:
            hits.append((at, label, sure))
            free, counted = at + max(1, round(rule.refractory_seconds / rule.hop_seconds)), True
    return hits


@settings(max_examples=300, deadline=None)
@given(rule=RULES, seed=st.integers(0, 2**32 - 1), windows=st.integers(1, 120), cuts=st.lists(st.integers(0, 120)))
def test_the_rule_however_the_audio_is_cut(rule: Rule, seed: int, windows: int, cuts: list[int]) -> None:
    found = wandering(seed, windows)
    at_once, in_pieces = Detector(NAMES, rule), Detector(NAMES, rule)
    whole = at_once.feed(found, ends=True)
    edges = [0, *sorted(min(cut, windows) for cut in cuts), windows]
    pieces = [hit for start, end in itertools.pairwise(edges) for hit in in_pieces.feed(found[start:end])]
    assert pieces + in_pieces.feed(found[:0], ends=True) == whole
    assert whole == by_hand(found, rule)


def spoken(*words: str, pause: float = 1.5) -> npt.NDArray[np.float32]:
    quiet = np.zeros(round(pause * SAMPLE_RATE), np.float32)
    return np.concatenate([quiet, *(part for word in words for part in (tone(word, 0.5)[:, 0], quiet))])


@pytest.mark.parametrize("piece", [160, 1_600, 4_321, 10_000_000])
def test_running_audio_however_it_comes(model: Model, piece: int) -> None:
    audio = spoken("yes", "no", "up")
    listener = Listener(model, model.info.rule)
    found = [each for start in range(0, len(audio), piece) for each in listener.feed(audio[start : start + piece])]
    found += listener.feed(audio[:0], ends=True)
    assert found == detect(model, audio)
    assert [each.label for each in found] == ["yes", "no", "up"]
    for number, each in enumerate(found):
        assert each.start == pytest.approx(1.5 + 2 * number, abs=0.06)
        assert each.start + 0.1 < each.end < 2.06 + 2 * number


def test_a_keyword_at_the_very_end_is_detected_and_a_threshold_goes_before_the_rule(model: Model) -> None:
    for before in (0, 1_000, 20_000, 20_001):
        audio = np.concatenate([np.zeros(before, np.float32), tone("no", 0.6)[:, 0]])
        assert [each.label for each in detect(model, audio)] == ["no"]
    for lowest in (0.01, 1e-68, 5e-324):  # whatever is over 0
        assert detect(model, spoken("yes"), lowest)
    assert not detect(model, 0.5 * spoken("yes") + 0.5 * spoken("no"), 0.9)


@pytest.mark.parametrize(("seconds", "pause", "starts"), [(0.3, 0.0, 1), (1.0, 0.0, 1), (0.5, 1.0, 7)])
def test_a_clip_of_any_length(model: Model, seconds: float, pause: float, starts: int) -> None:
    quiet = np.zeros(round(pause * SAMPLE_RATE), np.float32)
    found = classify(model, np.concatenate([quiet, tone("down", seconds)[:, 0], quiet]))
    assert (found.label, found.accepted, len(found.starts)) == ("down", True, starts)
    assert found.probabilities.shape == (starts, len(LABELS))
    assert found.confidence == found.probabilities[found.best].max() >= model.info.threshold
    loud, surer = (tone("down") + 0.5 * tone("up"))[:, 0], 0.05 * tone("yes")[:, 0]
    assert classify(model, np.concatenate([surer, loud])).label == "down"  # the loudest window speaks
    between = classify(model, (tone("down") + tone("up"))[:, 0])
    assert (between.confidence < model.info.threshold, between.accepted) == (True, False)


def test_what_is_no_rule() -> None:
    fields: dict[str, Any] = {"hop": [0.1], "smoothing": [0, 1.5, 3.0], "threshold": [0, 1.1], "hop_seconds": ["x", 9]}
    for name, value in ((name, value) for name, values in fields.items() for value in values):
        with pytest.raises((ValueError, TypeError)):
            Rule(**{name: value})
    assert Rule(**json.loads(json.dumps(asdict(Rule())))) == Rule(threshold=DEFAULT_THRESHOLD)
