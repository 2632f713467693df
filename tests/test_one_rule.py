"""The trainer measures detections by a rule; the service and its page make them by the same, held three times."""

import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import detection as trained
from service import detection as served
from service import rule as served_rule
from service.classifier import Classifier
from tests.service.tones import LABELS, METADATA, SAMPLE_RATE, save_model, tone

RULES = st.builds(
    trained.Rule,
    hop_seconds=st.sampled_from([0.05, 0.1, 0.2]),
    smoothing=st.integers(1, 6),
    threshold=st.floats(0.01, 1),
    refractory_seconds=st.floats(0, 2),
)
NAMES = ["up", "down", "_unknown_", "_silence_"]


def random_probabilities(seed: int, windows: int) -> trained.Probabilities:
    """Wandering as a model's do, with level stretches."""
    rng = np.random.default_rng(seed)
    walk = np.repeat(rng.normal(0, 1.5, (windows, len(NAMES))).cumsum(axis=0) * 0.5, rng.integers(1, 4), axis=0)[
        :windows
    ]
    exponent = np.exp(walk - walk.max(axis=1, keepdims=True))
    return np.asarray((exponent / exponent.sum(axis=1, keepdims=True)).round(2), np.float32)


@settings(max_examples=300, deadline=None)
@given(rule=RULES, seed=st.integers(0, 2**32 - 1), windows=st.integers(1, 200))
def test_random_probabilities(rule: trained.Rule, seed: int, windows: int) -> None:
    found = random_probabilities(seed, windows)
    expected = [(each.label, each.time, each.confidence) for each in trained.detections(found, NAMES, rule)]
    same = served_rule.Rule(**asdict(rule))
    index, label, confidence = served_rule.detections(found, NAMES, same)
    middles = served_rule.middle(index, same) + 0.5
    assert expected == [
        (NAMES[a], b, c) for a, b, c in zip(label.tolist(), middles.tolist(), confidence.tolist(), strict=True)
    ]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_page() -> None:
    rng = np.random.default_rng(0)
    cases = []
    for seed in range(40):
        rule = trained.Rule(0.1, int(rng.integers(1, 6)), float(rng.uniform(0.2, 0.8)), float(rng.uniform(0, 1.5)))
        cases.append((rule, random_probabilities(seed, 150)))
    script = (Path(served.__file__).parent / "static" / "rule.js").read_text()
    script += """
    const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
    console.log(JSON.stringify(cases.map(({ rule, windows }) => {
      const listener = new Listener(rule);
      return windows.map((window) => listener.hear(window)).filter((heard) => heard);
    })));
    """
    sent = [
        {"rule": asdict(rule), "windows": [dict(zip(NAMES, row, strict=True)) for row in found.tolist()]}
        for rule, found in cases
    ]
    done = subprocess.run(["node", "-e", script], input=json.dumps(sent), capture_output=True, text=True, check=True)
    count = 0
    for (rule, found), heard in zip(cases, json.loads(done.stdout), strict=True):
        # A top in the last window is told by the next one, which does not come.
        expected = trained.detections(np.concatenate([found, found[-1:] * 0]), NAMES, rule)
        last = 0.5 + (len(found) - 1 - (rule.smoothing - 1) / 2) * rule.hop_seconds
        expected = [each for each in expected if each.time < last - 1e-6]
        assert [each["label"] for each in heard] == [each.label for each in expected]
        assert [each["confidence"] for each in heard] == pytest.approx([each.confidence for each in expected])
        count += len(heard)
    assert count > 100


def test_a_stream_through_a_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pieces = [rng.normal(0, 0.01, (rng.integers(2_000, 30_000), 1)) for _ in range(20)]
    words = [tone(str(word), 0.5) for word in rng.choice(LABELS, 20)]
    samples = np.concatenate([part for pair in zip(pieces, words, strict=True) for part in pair])[:, 0].astype(
        np.float32
    )
    rule = trained.Rule(0.1, 3, 0.7, 0.6)
    classifier = Classifier(save_model(tmp_path / "model.onnx", METADATA | {"detection": rule.to_json()}))
    assert asdict(classifier.info.rule) == asdict(rule)
    found = served.detect(classifier, samples)
    probabilities = trained.probabilities(classifier, samples, LABELS, rule.hop_seconds)
    expected = trained.detections(probabilities, LABELS, rule)
    assert len(found) > 10
    assert [each.label for each in found] == [each.label for each in expected]
    assert [each.confidence for each in found] == pytest.approx([each.confidence for each in expected], abs=1e-6)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.start - 0.5 < theirs.time < mine.end + 0.5
    assert len(samples) / SAMPLE_RATE > 20
