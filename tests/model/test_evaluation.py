"""What ``evaluate`` says of a model that hears tones, on clips of which it is known how they sound."""

import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from kws.audio import SAMPLE_RATE, Waveform, decode
from kws.detection import DEFAULT_THRESHOLD, Rule, detect
from kws.model_file import open_model
from model import evaluation
from model.errors import UserError
from model.evaluation import clips, robustness, running_audio
from model.settings import CLIP_SAMPLES

from .conftest import LABELS, corpus_of, encode, judge, tone, tone_files, tone_model, word, write_files

# How the clips of the test split sound; two are mixtures of `high` and so much of `low`. Nobody says who speaks.
SOUNDS = {"low": "low/1 bird/2 tree/1", "high": "low/3 high/1", "bird": "bird/1 sea/1 tree/2"}
LIKE_LOW = {"low/2": 0.52, "high/2": 0.6}  # right but unsure, wrong
TRAINED = {"low": "low/4 tree/4", "high": "high/4", "bird": "bird/4"}
# Running speech with pauses: how each recording sounds, and its transcript.
SPOKEN: dict[str, tuple[list[tuple[str, float]], str]] = {
    "a": ([("bird", 0.0), ("bird", 0.55), ("bird", 0.0)], "birds sing"),
    "b": ([("bird", 0.0), ("bird", 0.45)], ""),  # a keyword is not the likeliest anywhere
    "c": ([("bird", 0.0), ("high", 0.0)], "bird high"),
}
NOISE = np.random.default_rng(0).normal(0, 0.05, 4 * SAMPLE_RATE).astype(np.float32)


def clip_files(sounds: dict[str, str], loud: float) -> dict[str, bytes]:
    return {f"{each}.wav": encode(loud * word(label, 0.3)) for label, names in sounds.items() for each in names.split()}


def data_files() -> dict[str, bytes]:
    """With a recording that is in two splits, and lists of these."""
    testing = clip_files(SOUNDS, 1.0)
    testing |= {f"{name}.wav": encode(word("high", 0.3, share)) for name, share in LIKE_LOW.items()}
    validation = {name.replace("4", "5"): data for name, data in clip_files(TRAINED, 0.8).items()}
    lists = {"validation_list.txt": "\n".join(validation).encode(), "testing_list.txt": "\n".join(testing).encode()}
    noise = {"_background_noise_/hiss.wav": encode(np.tile(NOISE, 5))}
    return {**testing, **validation, **clip_files(TRAINED, 0.9), **lists, **noise, "low/6.wav": testing["low/1.wav"]}


def spoken_files() -> dict[str, bytes]:
    quiet, files = np.random.default_rng(0).normal(0, 1e-4, 2 * SAMPLE_RATE), {"broken.wav": b"no audio"}
    for name, (sounds, text) in SPOKEN.items():
        parts = [part for sound, like in sounds for part in (word(sound, 0.5, like), quiet)]
        files[f"{name}.wav"] = encode(np.concatenate([quiet, *parts]))
        files[f"{name}.trans.txt"] = f"{name} {text}\n".encode() if text else b""
    return files


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("heard")
    said = {"detection": json.dumps(asdict(Rule(0.1, 3, 0.3))), "temperature": "1.25"}
    said["sensitivities"] = '{"low": 0.9, "medium": 0.3, "high": 0.3}'
    return {
        "model": tone_model(root / "model.onnx", **said),
        "data": write_files(root / "data", data_files()),
        "spoken": write_files(root / "spoken", spoken_files()),
    }


@pytest.fixture(scope="module")
def found(places: dict[str, Path]) -> dict[str, Any]:
    spoken = ("--speech-evaluation", places["spoken"], "--negatives", places["spoken"])
    return judge(places["model"], places["data"], places["data"].with_name("out"), *spoken)


def test_clips_what_they_are_taken_for_and_what_is_accepted(found: dict[str, Any]) -> None:
    assert (found["n"], found["correct"], found["keyword_clips"], found["keyword_accuracy"]) == (9, 7, 5, 0.6)
    assert found["accuracy_interval_95"] == pytest.approx([0.453, 0.937], abs=5e-4)  # Wilson's
    assert found["confusion_matrix"] == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2]]
    expected = {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "clips": 3}
    assert found["per_class"]["low"] == pytest.approx(expected)
    assert [each["clip"] for each in found["mistakes"]] == ["low/3.wav", "high/2.wav"]  # the surest first
    assert found["loss"] == pytest.approx(-(-8 + math.log(0.045) + math.log(0.64)) / 9, rel=0.02)
    assert found["clips"]["testing"] == {"low": 3, "high": 2, "_unknown_": 2, "_silence_": 2, "unknown words": 2}
    assert (found["calibration"]["temperature"], found["calibration"]["at_bound"]) == (1.25, False)
    operating = found["operating"]
    assert (operating["threshold"], operating["recall"]["count"], operating["recall"]["clips"]) == (0.8, 2, 5)
    shares = {kind: (each["count"], each["clips"]) for kind, each in operating["false_accepts"].items()}
    assert shares == {clips.OTHERS: (2, 5), clips.QUIET: (0, shares[clips.QUIET][1])}
    taken = [(name, each["share"]) for name, each in operating["other_words"].items()]
    assert taken == [("bird", 0.5), ("tree", 0.5), ("sea", 0)]


@pytest.mark.parametrize(
    ("labels", "without", "n", "what", "why"),
    [
        (LABELS, "_back", 7, "noise", "the data set has no background noise"),
        (LABELS[:3], "", 7, "running audio", "no running speech without keywords to judge with"),
        (LABELS[:2], "", 5, "parity", "no checkpoint was given"),
    ],
)
def test_a_model_is_judged_on_its_own_classes_and_what_is_not_measured_has_its_reason(
    tmp_path: Path, labels: tuple[str, ...], without: str, n: int, what: str, why: str
) -> None:
    files = {name: data for name, data in data_files().items() if not (without and re.match(without, name))}
    model = tone_model(tmp_path / "m.onnx", labels)
    found = judge(model, write_files(tmp_path / "d", files), tmp_path / "out")
    assert (found["n"], found["labels"]) == (n, [*labels])
    assert found["not_measured"][what].startswith(why)
    assert what not in found["operating"]["false_accepts"]


def test_a_test_set_is_judged_whole_by_a_model_that_says_little(tmp_path: Path) -> None:
    """As ``speech_commands_test_set_v0.02.tar.gz`` is: every clip is there to be judged with, and no lists say so."""
    data = write_files(tmp_path / "words_test_set_v0.02", tone_files(LABELS, speakers=5))
    model = tone_model(tmp_path / "bare.onnx", threshold=None)
    found = judge(model, data, tmp_path / "out")
    assert (found["n"], found["data"]["split_rule"]) == (20, "a test set, whole")
    assert [found["per_class"][label]["clips"] for label in LABELS] == [5, 5, 5, 5]
    assert found["operating"]["threshold"] == open_model(model).info.threshold == DEFAULT_THRESHOLD


def test_running_audio(found: dict[str, Any]) -> None:
    running = found["running_audio"]
    assert running["hours"] * 3600 == pytest.approx(9.5 + 7)  # of `a` and `b`
    assert running["lowest_upper_bound"] == pytest.approx(3 / running["hours"], rel=0.01)
    at, medium = running["operating"], running["operating"]["medium"]
    counts = [(point["false_accepts"], point["misses_embedded"]["count"]) for point in at.values()]
    assert (list(at), counts) == (["low", "medium", "high"], [(0, 0), (1, 0), (1, 0)])
    assert medium["false_accepts_per_hour"] == pytest.approx(1 / running["hours"])
    assert (medium["misses"]["count"], medium["misses"]["clips"], medium["misses_embedded"]["clips"]) == (2, 5, 1)
    assert {name: each["count"] for name, each in medium["misses_by_word"].items()} == {"low": 1, "high": 1}
    missed = running["misses_at"]
    assert list(missed) == ["1 an hour", "2 an hour", "5 an hour"]
    assert missed["1 an hour"] == pytest.approx(0.6, abs=0.01)
    assert list(missed.values()) == sorted(missed.values(), reverse=True)
    assert evaluation.compared(found)["missed at 1 an hour"] == round(missed["1 an hour"], 4)
    worst = running["worst"][0]
    assert (worst["recording"], worst["label"], worst["seconds"]) == ("a.wav", "low", pytest.approx(5, abs=1))
    assert running["curve"][0]["false_accepts_per_hour"] * running["hours"] == pytest.approx(1)
    for name, order in (("misses", 1), ("false_accepts_per_hour", -1)):
        values = [point[name] for point in running["curve"]]
        assert values == sorted(values)[::order]


def test_alarms_are_what_the_service_would_detect(found: dict[str, Any], places: dict[str, Path]) -> None:
    model = open_model(places["model"])
    assert [each["recording"] for each in found["negatives"]] == ["a.wav", "b.wav", "c.wav"]
    for each in found["negatives"]:
        waveform = decode((places["spoken"] / each["recording"]).read_bytes()).waveform
        assert each["alarms"] == len(detect(model, waveform))
        assert each["minutes"] == pytest.approx(len(waveform) / SAMPLE_RATE / 60)


CAVEATS: list[tuple[str, Any, str]] = [
    ("data", {}, ""),
    ("labels", ["low", "_silence_"], "so it takes any word for one of its keywords"),
    ("labels", ["low", "_unknown_"], "so it may take noise for a keyword"),
    ("data", {"leaks": {"speakers": 2, "recordings": 1, "examples": ["a"]}}, "Leak: 2 speakers and 1 recordings are"),
    ("data", {"speakers_known": False}, "not hold for new voices. Ways out: a folder for each speaker"),
    ("data", {"licence": ""}, "The licence of the data is not stated"),
    ("data", {"notes": ["2 links led out."]}, "2 links led out."),
    ("data", {"synthetic": True}, "nothing of people's speech"),
    ("data", {"speech": {"source": "spoken"}}, "running speech is spoken by espeak-ng"),
    ("data", {"speech": {"source": "none"}}, "It has heard no running speech"),
    ("calibration", {"temperature": 19.999, "at_bound": True}, "The temperature 19.999 is at the end of its search"),
]


@pytest.mark.parametrize(("part", "changes", "says"), CAVEATS)
def test_what_a_reader_must_know_first(found: dict[str, Any], part: str, changes: Any, says: str) -> None:
    sound = {"speech": {"source": "others"}, "speakers_known": True, "licence": "MIT", "notes": []}
    sound["leaks"] = {"speakers": 0, "recordings": 0, "examples": []}
    changed = {**found, "data": {**found["data"], **sound}}
    changed[part] = changes if isinstance(changes, list) else {**changed[part], **changes}
    told = evaluation.caveats(changed)
    assert len(told) == bool(says)
    assert says in "".join(told)
    assert "speakers and 1 recordings are in two splits (recording 'bird/2.wav = low/1.wav =" in found["caveats"][0]


def test_the_digest_names_the_same_clips() -> None:
    names, waveforms = ["a", "b"], np.stack([word("low"), word("high")])
    digest = clips.digest(names, waveforms)
    assert clips.digest(names[::-1], waveforms[::-1]) == digest
    for others in ((["a", "c"], waveforms), (names, waveforms[::-1]), (names[:1], waveforms[:1])):
        assert clips.digest(*others) != digest


def test_disturbances_and_apart_from_them_voices(found: Any, places: Any, tmp_path: Path, monkeypatch: Any) -> None:
    assert found["robustness"]["voices"]["clips"] == 2 * evaluation.VOICES_PER_WORD
    by_name = {case["name"]: case for case in found["robustness"]["cases"]}
    assert "voices" not in {case["group"] for case in by_name.values()}
    assert (found["robustness"]["clips"], found["robustness"]["clean"]) == (5, 0.6)
    assert (by_name["speed +10 %"]["accuracy"], by_name["speed +10 %"]["difference"]) == (0, -0.6)  # another tone
    assert {"gain -20 dB", "speed -10 %", "shift +150 ms", "telephone", "noise at 10 dB"} < set(by_name)
    monkeypatch.setattr(evaluation, "open_dataset", Mock(side_effect=UserError("no espeak-ng; install it")))
    again = judge(places["model"], places["data"], tmp_path / "out")
    assert again["not_measured"]["synthetic voices"] == "no espeak-ng; install it"


def level(clip: Waveform) -> float:
    """dBFS, without what the ends bring."""
    return float(10 * np.log10(np.mean(clip[2000:-2000].astype(np.float64) ** 2) + 1e-12))


def peak(clip: Waveform) -> float:
    """Hz, where the spectrum is highest."""
    return float(np.abs(np.fft.rfft(clip)).argmax())


def test_a_disturbance_does_what_it_says() -> None:
    heard, changes, run = tone(500)[None], robustness.changes([NOISE]), Mock(return_value=np.zeros((1, 2)))
    robustness.measure(run, heard / np.abs(heard).max(), np.zeros(1, int), np.arange(1), [NOISE])
    assert max(np.abs(call.args[0]).max() for call in run.call_args_list) == 1  # clipped at full scale
    clean = level(heard[0])
    assert level(changes["gain -20 dB"](heard)[0]) == pytest.approx(clean - 20, abs=0.1)
    assert level((changes["noise at 10 dB"](heard) - heard)[0]) == pytest.approx(clean - 10, abs=0.3)
    for percent, frequency in ((10, 550), (-10, 450)):
        changed = changes[f"speed {percent:+d} %"](np.pad(tone(500, 0.25), 6000)[None])[0]
        start, end = np.flatnonzero(np.abs(changed) > 0.05)[[0, -1]]
        assert peak(changed) == pytest.approx(frequency, abs=2)
        assert (start + end) / 2 == pytest.approx(8000, abs=30)  # the middle stays in the middle
        assert end - start == pytest.approx(4000 / (1 + percent / 100), rel=0.02)
    assert peak(changes["telephone"](10 * tone(5000)[None] + heard)[0]) == pytest.approx(500, abs=1)
    later, sooner = (changes[f"shift {milliseconds:+d} ms"](heard) for milliseconds in (150, -150))
    assert (np.abs(later[:, :2400]).max(), np.abs(sooner[:, -2400:]).max(), later.shape) == (0, 0, heard.shape)


def test_quiet_clips_are_quiet_and_the_same_each_time() -> None:
    samples, again = (clips.quiet([NOISE, NOISE[:CLIP_SAMPLES]]) for _ in range(2))
    assert samples.shape[1] == CLIP_SAMPLES
    assert np.array_equal(samples, again)
    assert np.abs(samples[-3]).max() == 0  # digital silence
    assert level(samples[-53 + 10]) == pytest.approx(-60, abs=0.5)  # hiss, ten clips a level


def test_the_rule_is_chosen_on_validation_for_so_many_false_accepts(places: dict[str, Path], tmp_path: Path) -> None:
    files = spoken_files()
    speech = {f"{reader}/{name}": files[name] for reader in range(12) for name in ("a.wav", "b.wav")}
    data = corpus_of(places["data"], speech=str(write_files(tmp_path / "speech", speech)))
    model = open_model(places["model"])
    rule, sensitivities = running_audio.choose_rule(model, data, 1.0)
    assert sensitivities["low"] >= rule.threshold == sensitivities["medium"] >= sensitivities["high"]
    assert running_audio.choose_rule(model, data, 500.0)[0].threshold < rule.threshold
    plain = corpus_of(places["data"])
    assert running_audio.choose_rule(model, plain, 1.0) == (Rule(threshold=0.8), {})  # the model's own


@pytest.mark.parametrize("allowed", [0.5, 1.0, 2.0, 5.0, 50.0])
def test_so_many_reach_the_threshold(allowed: float) -> None:
    """On odds whose logarithm has an exponential tail, where how many are over a threshold is known."""
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        odds = np.sort(rng.exponential(0.5, 400) - 3)[::-1]
        at = running_audio.threshold(1 / (1 + np.exp(-odds)), allowed)
        found.append(400 * math.exp(-(math.log(at / (1 - at)) + 3) / 0.5))
    assert np.median(found) == pytest.approx(allowed, rel=0.35)


def test_few_false_accepts_give_a_threshold_over_the_highest_and_a_bound_as_in_garwoods_tables() -> None:
    for tops, at in (([], 0.5), ([0.3], 0.5), ([0.9, 0.2, 0.1], 0.9369)):
        assert running_audio.threshold(np.array(tops), 0.5) == pytest.approx(at, abs=1e-4)
    for count, hours, bound in ((0, 1.0, 2.996), (0, 6.0, 0.499), (1, 1.0, 4.744), (10, 2.0, 8.48)):
        assert running_audio.upper_bound(count, hours) == pytest.approx(bound, abs=2e-3)
