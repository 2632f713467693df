"""Hours of running audio of known content, made from the clips and noise of one split.

Without a keyword: other words at random gaps and levels, background recordings alone, sentences by espeak-ng, and any
long speech of the user's. With keywords at known times: the split's clips, clean and in noise. What is made depends on
the sources and the seed alone. Clips and noise come round many times in other mixtures: ``Material`` says how much
there is behind the hours.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from model.audio import as_recorded, rms
from model.data import sentences, vocabulary
from model.data.synthetic import generator
from model.settings import CLIP_SAMPLES, SAMPLE_RATE

Samples = npt.NDArray[np.float32]

# Shares of the hours without keywords; a source that is not there leaves its share to the others.
SHARES = {"words": 0.3, "background": 0.2, "sentences": 0.5}
SYNTHETIC = ("sentences",)  # what no person spoke
SNR_DB = (None, 20.0, 10.0, 5.0)  # of the keywords; None: as recorded
STREAM_SECONDS = 300.0  # at most, which bounds memory
_EDGE = SAMPLE_RATE // 50  # clips are faded in and out, so that no cut clicks
_SECONDS_OF_PART = sentences.PART * 4.0  # with the pauses
_ROOM_DBFS = -75.0  # where there is no noise there is still a room


@dataclass(frozen=True)
class Word:
    """Something said in a stream; ``start`` and ``end`` in seconds (the whole clip of a recorded word)."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Stream:
    """``samples float32`` at 16 kHz; ``kind`` is its source, and for keywords the signal-to-noise ratio.

    ``seconds`` stays when the samples are let go.
    """

    kind: str
    samples: Samples
    seconds: float
    words: tuple[Word, ...] = ()

    def without_samples(self) -> "Stream":
        """The same, light. An empty slice would keep the samples."""
        return replace(self, samples=np.empty(0, np.float32))


def stream_of(kind: str, samples: Samples, words: Sequence[Word] = ()) -> Stream:
    """A stream of all that is in ``samples``."""
    return Stream(kind, samples, len(samples) / SAMPLE_RATE, tuple(words))


@dataclass(frozen=True)
class Sources:
    """What streams are made of, all of one split.

    Attributes:
        split: whose voices speak the sentences; empty for no sentences.
        keywords: label -> clips, ``float32[CLIP_SAMPLES]`` each.
        others: (word, clip) of other words; empty where the data set has none.
        noise: background recordings, ``float32[samples]``, at full scale 1; empty where there are none.
        speech: the user's long recordings without keywords, iterated over once a use (``model.data.speech``).
    """

    split: str
    keywords: Mapping[str, Sequence[Samples]]
    others: Sequence[tuple[str, Samples]] = ()
    noise: Sequence[Samples] = ()
    speech: Iterable[Stream] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The keywords."""
        return tuple(self.keywords)


def without_keywords(sources: Sources, hours: float, seed: int = 0) -> Iterator[Stream]:
    """About ``hours`` of streams without keywords by ``SHARES``, then the user's own speech, whole, beside them.

    Raises:
        UserError: sentences are asked for, and espeak-ng is not installed.
    """
    present = {"words": bool(sources.others), "background": bool(sources.noise), "sentences": bool(sources.split)}
    total = sum(share for kind, share in SHARES.items() if present[kind])
    for kind, make in (("words", _words), ("background", _background), ("sentences", _sentences)):
        if present[kind]:
            yield from make(sources, hours * 3600 * SHARES[kind] / total, seed)
    yield from sources.speech


def with_keywords(sources: Sources, passes: int, seed: int = 0) -> Iterator[Stream]:
    """Streams in which each keyword clip comes ``passes`` times, each time at another of ``SNR_DB`` (at most all)."""
    clips = [(label, clip) for label, several in sources.keywords.items() for clip in several]
    rng = generator("keywords", seed)
    order = rng.permutation(len(clips))
    conditions = SNR_DB if sources.noise else (None,)
    for index, snr in enumerate(conditions):
        chosen = [clips[i] for place, i in enumerate(order) if (index - place) % len(conditions) < passes]
        kind = "clean" if snr is None else f"{snr:g} dB"
        per_stream = max(1, int(STREAM_SECONDS / 2.5))
        for start in range(0, len(chosen), per_stream):
            yield _spoken(kind, chosen[start : start + per_stream], snr, sources.noise, rng)


def _spoken(
    kind: str,
    clips: Sequence[tuple[str, Samples]],
    snr: float | None,
    noise: Sequence[Samples],
    rng: np.random.Generator,
) -> Stream:
    """Clips with pauses of 0.5 to 2.5 s between them, in noise whose power follows each clip's."""
    pauses = rng.uniform(0.5, 2.5, len(clips) + 1)
    starts = np.cumsum(np.round(pauses[:-1] * SAMPLE_RATE).astype(int) + CLIP_SAMPLES) - CLIP_SAMPLES
    length = int(starts[-1]) + CLIP_SAMPLES + int(pauses[-1] * SAMPLE_RATE)
    background = _crops(noise, length, rng) if noise else _hiss(length, rng)
    gain = np.full(length, 10 ** (_ROOM_DBFS / 20))
    samples = np.zeros(length, np.float32)
    words = []
    for (label, clip), start in zip(clips, starts, strict=True):
        place = slice(start, start + CLIP_SAMPLES)
        samples[place] += _faded(clip)
        if snr is not None:
            gain[place] = np.maximum(rms(clip) * 10 ** (-snr / 20), gain[0])
        words.append(Word(label, start / SAMPLE_RATE, (start + CLIP_SAMPLES) / SAMPLE_RATE))
    if snr is not None:  # the noise goes on between the words, swelling from one level to the next
        middles = starts + CLIP_SAMPLES // 2
        gain = np.interp(np.arange(length), middles, gain[middles])
    return stream_of(kind, as_recorded(samples + background * gain), words)


def _words(sources: Sources, seconds: float, seed: int) -> Iterator[Stream]:
    """Other words, some running into one another, some apart, each at a level of its own, over noise."""
    rng = generator("words", seed)
    deck: list[int] = []
    for length in _lengths(seconds):
        samples = np.zeros(length, np.float32)
        words, at = [], int(rng.uniform(0, SAMPLE_RATE))
        while at + CLIP_SAMPLES < length:
            deck = deck or rng.permutation(len(sources.others)).tolist()
            text, clip = sources.others[deck.pop()]
            level = 10 ** (rng.uniform(-35, -12) / 20) / max(rms(clip), 1e-4)
            samples[at : at + CLIP_SAMPLES] += _faded(clip) * level
            words.append(Word(text, at / SAMPLE_RATE, (at + CLIP_SAMPLES) / SAMPLE_RATE))
            at += CLIP_SAMPLES + int(rng.uniform(-0.4, 1.2) * SAMPLE_RATE)
        yield stream_of("words", _over_noise(samples, sources.noise, rng), words)


def _background(sources: Sources, seconds: float, seed: int) -> Iterator[Stream]:
    """Background recordings, piece after piece, at levels from near silence to loud."""
    rng = generator("background", seed)
    for length in _lengths(seconds):
        pieces = _crops(sources.noise, length, rng)
        at = np.arange(0, length + 10 * SAMPLE_RATE, 10 * SAMPLE_RATE)
        gain = 10 ** (np.interp(np.arange(length), at, rng.uniform(-70, -15, len(at))) / 20)
        yield stream_of("background", as_recorded(pieces * gain))


def _sentences(sources: Sources, seconds: float, seed: int) -> Iterator[Stream]:
    """Sentences with pauses between them, over noise."""
    rng = generator("sentences", seed)
    lengths = list(_lengths(seconds))
    spoken = _all_sentences(sources, seconds, seed)
    for length in lengths:
        samples = np.zeros(length, np.float32)
        words: list[Word] = []
        at = int(rng.uniform(0, SAMPLE_RATE))
        while at + len((said := next(spoken)).samples) <= length:
            end, offset = at + len(said.samples), at / SAMPLE_RATE
            samples[at:end] += said.samples * 10 ** (rng.uniform(-15, 8) / 20)
            ends = [*(begin for _, begin in said.words[1:]), len(said.samples) / SAMPLE_RATE]
            words += [
                Word(text, offset + begin, offset + stop) for (text, begin), stop in zip(said.words, ends, strict=True)
            ]
            at = end + int(rng.uniform(0.2, 1.5) * SAMPLE_RATE)
        yield stream_of("sentences", _over_noise(samples, sources.noise, rng), words)


def _all_sentences(sources: Sources, seconds: float, seed: int) -> Iterator[sentences.Sentence]:
    """As many as are asked for, no two alike; those that fill ``seconds`` are spoken in one go, in parallel."""
    sentences.speak(sources.split, sources.labels, int(seconds / _SECONDS_OF_PART), seed)
    for number in itertools.count():
        yield from sentences.speak(sources.split, sources.labels, number, seed)


def homophones(stream: Stream, labels: Sequence[str]) -> list[Word]:
    """The words of a stream that sound like a keyword."""
    return [word for word in stream.words if vocabulary.homophone_of(word.text, labels)]


def material(sources: Sources, seconds: Mapping[str, float]) -> dict[str, Any]:
    """What is behind ``seconds`` of each source: clips and recordings come round again in other mixtures."""
    clips = [clip for several in sources.keywords.values() for clip in several]
    known = {
        "words": {"distinct_clips": len(sources.others), "distinct_seconds": float(len(sources.others))},
        "background": {
            "distinct_recordings": len(sources.noise),
            "distinct_seconds": sum(len(piece) for piece in sources.noise) / SAMPLE_RATE,
        },
        "sentences": {"distinct_seconds": seconds.get("sentences", 0.0)},
        "speech": {"distinct_seconds": seconds.get("speech", 0.0)},
    }
    return {
        **{
            source: {"seconds": length, "synthetic": source in SYNTHETIC, **known[source]}
            for source, length in seconds.items()
        },
        "keywords": {"distinct_clips": len(clips), "synthetic": False},
    }


def _lengths(seconds: float) -> Iterator[int]:
    """Equal parts of at most ``STREAM_SECONDS``, in samples."""
    count = max(1, int(np.ceil(seconds / STREAM_SECONDS)))
    for _ in range(count):
        yield max(5 * CLIP_SAMPLES, round(seconds / count * SAMPLE_RATE))


def _over_noise(samples: Samples, noise: Sequence[Samples], rng: np.random.Generator) -> Samples:
    """Speech over background that wanders between 40 and 5 dB below it."""
    length = len(samples)
    at = np.arange(0, length + 10 * SAMPLE_RATE, 10 * SAMPLE_RATE)
    below = 10 ** (-np.interp(np.arange(length), at, rng.uniform(5, 40, len(at))) / 20)
    background = _crops(noise, length, rng) if noise else _hiss(length, rng) * 0.03
    return as_recorded(samples + background * rms(samples) * below)


def _crops(noise: Sequence[Samples], length: int, rng: np.random.Generator) -> Samples:
    """Noise of any length and RMS 1: random stretches of 2 to 10 s of the recordings, faded into one another."""
    result = np.zeros(length + 10 * SAMPLE_RATE, np.float32)
    at = 0
    fade = SAMPLE_RATE // 4
    while at < length:
        piece = noise[int(rng.integers(len(noise)))]
        size = min(len(piece), int(rng.uniform(2, 10) * SAMPLE_RATE))
        start = int(rng.integers(len(piece) - size + 1))
        stretch = piece[start : start + size] / max(rms(piece), 1e-6)
        result[at : at + size] += _faded(stretch, min(fade, size // 2))
        at += max(size - fade, size // 2)
    return result[:length]


def _hiss(length: int, rng: np.random.Generator) -> Samples:
    return rng.standard_normal(length, dtype=np.float32)


def _faded(samples: Samples, edge: int = _EDGE) -> Samples:
    ramp = np.linspace(0, 1, edge, dtype=np.float32)
    faded = samples.astype(np.float32, copy=True)
    faded[:edge] *= ramp
    faded[len(faded) - edge :] *= ramp[::-1]
    return faded
