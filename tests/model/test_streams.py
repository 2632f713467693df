"""Streams of known content."""

import re
from pathlib import Path

import numpy as np
import pytest

from model.data import sentences, speech, streams, vocabulary
from model.data.synthetic import assign_variants, generator
from model.errors import UserError
from model.settings import CLIP_SAMPLES, LABELS, SAMPLE_RATE

from .conftest import tone, wav_bytes, write_files

LOW, HIGH, OTHER = tone(400), tone(1200), tone(2500)
NOISE = np.random.default_rng(0).normal(0, 0.05, 3 * SAMPLE_RATE).astype(np.float32)
SOURCES = streams.Sources("", {"low": [LOW] * 8, "high": [HIGH] * 8}, [("other", OTHER)] * 5, [NOISE])


def strength(samples: streams.Samples, frequency: float) -> float:
    """The share of a second's power that is at a frequency."""
    wave = np.exp(-2j * np.pi * frequency * np.arange(len(samples)) / SAMPLE_RATE)
    return float(2 * abs(np.mean(samples * wave)) ** 2 / np.mean(samples**2))


def test_keywords_are_where_it_is_said() -> None:
    made = list(streams.with_keywords(SOURCES, len(streams.SNR_DB)))
    assert {stream.kind for stream in made} == {"clean", "20 dB", "10 dB", "5 dB"}
    for kind, least in (("clean", 0.95), ("20 dB", 0.9), ("10 dB", 0.8), ("5 dB", 0.6)):
        words = [(stream, word) for stream in made if stream.kind == kind for word in stream.words]
        assert sorted(word.text for _, word in words) == ["high"] * 8 + ["low"] * 8
        for stream, word in words:
            start = round(word.start * SAMPLE_RATE)
            heard = stream.samples[start : start + CLIP_SAMPLES]
            assert strength(heard, {"low": 400, "high": 1200}[word.text]) > least, kind
            assert word.end - word.start == pytest.approx(1)
        ends = [0.0, *(word.end for _, word in words)]
        assert all(0.5 <= word.start - end <= 2.6 for (_, word), end in zip(words, ends, strict=False))


def test_fewer_passes_take_each_clip_once_each() -> None:
    for passes in (1, 2):
        words = [word for stream in streams.with_keywords(SOURCES, passes) for word in stream.words]
        assert len(words) == 16 * passes


def test_without_noise_keywords_are_clean() -> None:
    bare = streams.Sources("", {"low": [LOW] * 9})
    for passes in (1, 4):
        (stream,) = streams.with_keywords(bare, passes)
        assert (stream.kind, len(stream.words)) == ("clean", 9)


def test_hours_without_keywords_follow_the_shares() -> None:
    made = list(streams.without_keywords(SOURCES, 0.05))
    seconds = {stream.kind: stream.seconds for stream in made}
    assert seconds == pytest.approx({"words": 0.6 * 180, "background": 0.4 * 180})
    for stream in made:
        assert stream.samples.dtype == np.float32
        assert np.abs(stream.samples).max() <= 1
    words = next(stream for stream in made if stream.kind == "words")
    assert {word.text for word in words.words} == {"other"}
    assert len(words.words) > 40


def test_the_seed_decides() -> None:
    one, same, other = (list(streams.without_keywords(SOURCES, 0.02, seed)) for seed in (0, 0, 1))
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0].samples, other[0].samples)


def test_what_is_behind_the_hours() -> None:
    found = streams.material(SOURCES, {"words": 108.0, "background": 72.0})
    assert found["words"] == {"seconds": 108, "synthetic": False, "distinct_clips": 5, "distinct_seconds": 5}
    assert found["background"]["distinct_seconds"] == pytest.approx(3)
    assert found["keywords"]["distinct_clips"] == 16


def test_sentences_hold_no_keyword() -> None:
    rng = np.random.default_rng(0)
    texts = [vocabulary.sentence(LABELS, rng) for _ in range(2000)]
    words = {word.lower() for text in texts for word in vocabulary.words_of(text)}
    assert not words & {"up", "down", "yes", "no", "ups", "upstairs", "yesterday", "nobody"}
    assert words >= {"nope", "know", "cup", "pup", "town", "dawn", "yet", "yeah"}
    assert len(set(texts)) > 1990
    assert not any("{" in text for text in texts)


def test_sentences_for_other_labels_leave_those_out() -> None:
    rng = np.random.default_rng(0)
    labels = ("house", "two", "dog", "on")
    words = [word.lower() for _ in range(500) for word in vocabulary.words_of(vocabulary.sentence(labels, rng))]
    assert not {"house", "houses", "dog", "dogs", "two", "on"} & set(words)
    assert {"to", "too"} & set(words)  # homophones of two, marked as such
    assert vocabulary.homophone_of("Too", labels) == "two"


def test_labels_that_leave_no_sentence_are_refused() -> None:
    with pytest.raises(UserError, match="--labels the,a,it,do leave no sentence"):
        vocabulary.sentence(("the", "a", "it", "do"), np.random.default_rng(0))


@pytest.mark.parametrize("word", ["Up", "ups", "upstairs", "yesterday", "downed", "nobody"])
def test_words_that_hold_a_keyword_are_left_out(word: str) -> None:
    assert vocabulary.is_left_out(word, LABELS)


@pytest.mark.parametrize("word", ["cup", "know", "north", "town", "supper"])
def test_words_that_hold_none_are_kept(word: str) -> None:
    assert not vocabulary.is_left_out(word, LABELS)


@pytest.fixture(scope="module")
def spoken(cache: Path) -> list[sentences.Sentence]:
    return sentences.speak("testing", LABELS, 0)


def test_sentences_are_spoken_in_voices_of_their_split(spoken: list[sentences.Sentence]) -> None:
    from model.data import espeak

    voices = set(assign_variants(espeak.variants(), 0)["testing"])
    assert len(spoken) == sentences.PART
    assert {sentence.voice.partition("+")[2] for sentence in spoken} <= voices
    for sentence in spoken:
        begins = [begin for _, begin in sentence.words]
        assert begins == sorted(begins)
        assert 0.5 < len(sentence.samples) / SAMPLE_RATE < 12
        assert begins[-1] < len(sentence.samples) / SAMPLE_RATE
        assert np.sqrt(np.mean(sentence.samples**2)) == pytest.approx(0.1, rel=0.05)


def test_sentences_come_from_the_cache_and_are_the_same_without_it(
    spoken: list[sentences.Sentence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sentences, "_speak_part", None)
        again = sentences.speak("testing", LABELS, 0)
    monkeypatch.setenv("KWS_CACHE", str(tmp_path))
    anew = sentences.speak("testing", LABELS, 0)
    for one, two, three in zip(spoken, again, anew, strict=True):
        assert one.words == two.words == three.words
        assert np.array_equal(one.samples, two.samples)
        assert np.array_equal(one.samples, three.samples)


def test_a_stream_of_sentences_knows_its_words(spoken: list[sentences.Sentence]) -> None:
    sources = streams.Sources("testing", {label: [LOW] for label in LABELS}, noise=[NOISE])
    (stream,) = [each for each in streams.without_keywords(sources, 0.03) if each.kind == "sentences"]
    starts = [word.start for word in stream.words]
    assert starts == sorted(starts)
    said = [word.text for word in stream.words]
    expected = [word for sentence in spoken for word, _ in sentence.words]
    assert said == expected[: len(said)]
    assert len(said) > 60


def test_homophones_are_found() -> None:
    stream = streams.stream_of("sentences", LOW, [streams.Word("know", 0, 0.4), streams.Word("now", 0.4, 1)])
    assert [word.text for word in streams.homophones(stream, LABELS)] == ["know"]


TRANSCRIBED = {
    "a/one.wav": wav_bytes(tone(300, 2.0)),
    "a/one.txt": b"Nothing of note",
    "a/two.wav": wav_bytes(tone(300, 2.0)),
    "a/two.txt": b"and they went up!",
    "b/84-1-0.flac": wav_bytes(tone(300, 3.0), kind="FLAC"),
    "b/84-1-1.flac": wav_bytes(tone(300, 3.0), kind="FLAC"),
    "b/84-1-2.flac": wav_bytes(tone(300, 3.0), kind="FLAC"),
    "b/84-1.trans.txt": b"84-1-0 IT WAS A LAMP\n84-1-1 NO ONE CAME\n84-1-2 I KNOW\n",
    "c/silent.wav": wav_bytes(tone(300)),
}


def test_long_speech_without_keywords(tmp_path: Path) -> None:
    found = speech.find(write_files(tmp_path, TRANSCRIBED), LABELS)
    assert [path.name for path in found.paths] == ["one.wav", "84-1-0.flac"]
    assert [(stream.kind, stream.seconds) for stream in found] == [("speech", 2), ("speech", 3)]
    sources = streams.Sources("", {"up": [LOW]}, speech=found)
    assert [stream.kind for stream in streams.without_keywords(sources, 1)] == ["speech", "speech"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.wav": b""}, "no .wav or .flac file with a transcript"),
        ({"a.wav": b"", "a.txt": b"Yes."}, "every transcript holds a keyword"),
        ({"a.wav": b"x", "a.txt": b"What."}, "'.*a.wav' is broken"),
    ],
)
def test_speech_that_is_none(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(speech.find(write_files(tmp_path, files), LABELS))
    with pytest.raises(UserError, match=re.escape("is not a folder")):
        speech.find(tmp_path / "nothing", LABELS)


def test_the_generator_depends_on_its_key_alone() -> None:
    assert generator("a", 1).random() == generator("a", 1).random() != generator("a", 2).random()
