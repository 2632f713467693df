"""A corpus of words spoken by espeak-ng: made offline in seconds, the same bytes for the same settings.

A *speaker* is a voice variant with an English accent. The variants are shared out to the splits, related ones
(``klatt``, ``klatt2``) together, so that no voice is heard in two splits.
"""

import hashlib
import json
import multiprocessing
import signal
import zlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from scipy.signal import fftconvolve

from kws.audio import SAMPLE_RATE, rms
from model import files
from model.data import espeak
from model.data.archive import Progress
from model.data.layout import INFO_FILE, NOISE_FOLDER, SPLITS
from model.data.noise import NOISES, noise
from model.errors import UserError
from model.settings import CLIP_SAMPLES, processors

Samples = npt.NDArray[np.float64]
_RECIPE = 2  # raise it when the same settings shall give other bytes
ACCENTS = ["en", "en-us", "en-us-nyc", "en-029", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd"]
# Effects rather than voices: nobody sounds like this.
_LEFT_OUT = ("robo", "robot", "whisper", "demonic", "croak", "tweaky", "anxious")
_ENDINGS = ("", ".", "!", "?", ",")  # each has its own melody
_FEWEST = 10
_SENTENCES = 6  # of each voice, of twelve words
_GROUPS = 8  # of voices, each spoken by a process of its own
WORDS = Path(__file__).with_name("common_words.txt").read_text().split()  # of which sentences are made


def make(words: tuple[str, ...], size: int, seed: int, cache: Path, progress: Progress = lambda *_: None) -> Path:
    """``size`` clips a word as a folder in ``cache``, divided into splits on top; spoken now unless they are there.

    A word's clips do not depend on the other words. Raises UserError: too few clips to fill the splits, or a word that
    cannot be spoken.
    """
    if size < _FEWEST:
        raise UserError(f"--synthetic-size {size} is too few clips a word; give {_FEWEST} or more")
    packages = {name: version(name) for name in ("espeakng-loader", "numpy", "scipy", "soxr", "soundfile")}
    content = json.dumps([_RECIPE, words, size, seed, packages])  # all that the bytes depend on
    root = cache / hashlib.sha256(content.encode()).hexdigest()[:16]
    with files.locked(root.with_suffix(".lock")):
        if not root.is_dir():
            with files.atomic_directory(root, lambda _: False) as folder:
                _make(words, size, seed, folder, progress)
    return root


def make_speech(keywords: Collection[str], cache: Path, progress: Progress = lambda *_: None) -> Path:
    """Sentences of other words in a folder in ``cache``, a folder a voice with transcripts in LibriSpeech's form."""
    words = sorted({*WORDS}.difference(keywords))
    content = json.dumps([_RECIPE, words, _SENTENCES, version("espeakng-loader")])
    root = cache / f"speech-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    with files.locked(root.with_suffix(".lock")):
        if not root.is_dir():
            with files.atomic_directory(root, lambda _: False) as folder:
                voices = [voice for part in assign_variants(espeak.variants(), 0).values() for voice in part]
                groups = [voices[first::_GROUPS] for first in range(_GROUPS)]
                _in_processes(partial(_speak_sentences, folder, words), groups, progress)
    return root


def _speak_sentences(folder: Path, words: list[str], variants: list[str]) -> None:
    """The recordings of some voices; to be called in a fresh process."""
    voice = espeak.Espeak()
    for variant in variants:
        rng, lines = _generator("sentences", variant), []
        name = "".join(character if character.isalnum() else "_" for character in variant)
        (folder / name).mkdir()
        for number in range(_SENTENCES):
            said = [str(word) for word in rng.choice(words, 12)]
            text = f"{' '.join(said[:6])}{rng.choice([',', '.', ';'])} {' '.join(said[6:])}"
            speed, pitch, pitch_range = (int(rng.integers(*bounds)) for bounds in ((120, 220), (25, 76), (25, 76)))
            chosen, seed = f"{rng.choice(ACCENTS)}+{variant}", int(rng.integers(1, 2**31))
            dry = voice.say(text, chosen, seed, speed, pitch, pitch_range) / 32768.0
            spoken = soxr.resample(dry, voice.rate, SAMPLE_RATE)
            background = noise(str(rng.choice(NOISES)), len(spoken), rng)
            level = 10 ** (rng.uniform(-26, -6) / 20) / max(np.abs(spoken).max(initial=0.0), 1e-6)
            noisy = level * (spoken + background * rms(spoken) * 10 ** (-rng.uniform(10, 40) / 20))
            soundfile.write(folder / name / f"{name}-{number}.flac", np.clip(noisy, -1, 1), SAMPLE_RATE)
            lines.append(f"{name}-{number} {' '.join(said)}\n")
        (folder / name / f"{name}.trans.txt").write_text("".join(lines))


def assign_variants(names: list[str], seed: int) -> dict[str, list[str]]:
    """Share out voice variants to the splits: whole families, at random, a tenth each to validation and testing."""

    def family(name: str) -> str:
        stem = name.rstrip("0123456789")
        return stem if len(stem) > 1 else name  # f1, f2, … are different people

    voices = sorted((name for name in names if not name.lower().startswith(_LEFT_OUT)), key=family)
    families = [list(found) for _, found in groupby(voices, key=family)]
    order = _generator(seed, "variants").permutation(len(families))
    held = round(0.1 * len(order))
    parts = np.split(order, (len(order) - 2 * held, len(order) - held))
    return {split: [name for at in part for name in families[at]] for split, part in zip(SPLITS, parts, strict=True)}


def _make(words: tuple[str, ...], size: int, seed: int, folder: Path, progress: Progress) -> None:
    name = f"synthetic ({size} clips a word, seed {seed})"
    attribution = "Spoken by espeak-ng; no recording of a person."
    files.write_json(folder / INFO_FILE, {"name": name, "licence": "CC0 1.0", "attribution": attribution})
    (folder / NOISE_FOLDER).mkdir()
    for kind in NOISES:
        samples = 0.1 * noise(kind, 20 * SAMPLE_RATE, _generator(seed, "noise", kind))
        soundfile.write(folder / NOISE_FOLDER / f"{kind}.wav", samples, SAMPLE_RATE, subtype="PCM_16")
    variants = assign_variants(espeak.variants(), seed)
    _in_processes(partial(_speak, folder, size, seed, variants), words, progress)


def _in_processes(speak: Callable[[Any], None], each: Sequence[Any], progress: Progress) -> None:
    """Call ``speak`` with each of some arguments, in a fresh process each time."""
    context = multiprocessing.get_context("spawn")  # a fork would share espeak's state, and torch's threads
    # Ctrl-C reaches the whole group; the parent ends the work in order.
    ignored = (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(processors(), context, signal.signal, ignored, max_tasks_per_child=1)
    try:
        jobs = [pool.submit(speak, one) for one in each]
        for done, job in enumerate(as_completed(jobs), 1):
            job.result()
            progress(done, len(jobs))
    finally:
        pool.shutdown(cancel_futures=True)


def _speak(folder: Path, size: int, seed: int, variants: dict[str, list[str]], word: str) -> None:
    """Speak a word's clips; to be called in a fresh process. Raises UserError: the word has no sound."""
    voice = espeak.Espeak()
    for number in range(size):
        rng = _generator(seed, word, number)
        # Of each ten clips of a word one is for validation and one for testing, whatever the corpus's size.
        split = {8: "validation", 9: "testing"}.get(number % 10, "training")
        variant, accent = str(rng.choice(variants[split])), str(rng.choice(ACCENTS))
        text = word.replace("_", " ") + str(rng.choice(_ENDINGS))
        speed, pitch, pitch_range = (int(rng.integers(*bounds)) for bounds in ((110, 240), (25, 76), (25, 76)))
        spoken = voice.say(text, f"{accent}+{variant}", int(rng.integers(1, 2**31)), speed, pitch, pitch_range)
        clip = _place(spoken, voice.rate, rng)
        if clip is None:
            raise UserError(f"espeak-ng has no sound for '{word}'; give --labels that are English words")
        speaker = hashlib.sha256(f"{variant}/{accent}".encode()).hexdigest()[:8]
        path = folder / split / word / f"{speaker}_nohash_{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, clip, SAMPLE_RATE, subtype="PCM_16")


def _place(spoken: npt.NDArray[np.int16], rate: int, rng: np.random.Generator) -> Samples | None:
    """A dry word as a microphone would hear it, ``float64[CLIP_SAMPLES]``; None when there is nothing to hear."""
    loud = np.flatnonzero(np.abs(spoken.astype(np.int32)) > 300)
    if loud.size == 0:
        return None
    word = soxr.resample(spoken[loud[0] : loud[-1] + 1] / 32768.0, rate, SAMPLE_RATE, quality="HQ")[:CLIP_SAMPLES]
    room = CLIP_SAMPLES - len(word)
    offset = round(room * rng.beta(3, 3))  # mostly near the middle, as clips are cut around their loudest part
    clip = np.pad(word, (offset, room - offset))
    if rng.random() < 0.5:
        clip = _reverberate(clip, rng)
    # The spectrum is tilted about 1 kHz, as cheap microphones and small loudspeakers do.
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(clip), 1 / SAMPLE_RATE), 60.0) / 1000.0)
    clip = np.fft.irfft(np.fft.rfft(clip) * 10 ** (rng.uniform(-4, 4) * octaves / 20), len(clip))
    clip *= 10 ** (rng.uniform(-24, -2) / 20) / np.abs(clip).max()
    background = noise(str(rng.choice(NOISES)), CLIP_SAMPLES, rng)
    level = rms(clip[offset : offset + len(word)])
    return np.clip(clip + background * level * 10 ** (-rng.uniform(5, 40) / 20), -1, 1)


def _reverberate(clip: Samples, rng: np.random.Generator) -> Samples:
    """Add a small room: noise that decays by 60 dB within 0.1 to 0.4 s, quieter than the direct sound."""
    length = int(rng.uniform(0.1, 0.4) * SAMPLE_RATE)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail *= rng.uniform(0.1, 0.6) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return fftconvolve(clip, tail)[: len(clip)]


def _generator(*key: Any) -> np.random.Generator:
    """Random numbers that depend on nothing but ``key``."""
    return np.random.default_rng([zlib.crc32(str(part).encode()) for part in key])
