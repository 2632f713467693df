"""A corpus of words spoken by espeak-ng: made offline in seconds, the same bytes for the same settings.

A *speaker* is a voice variant with an English accent. The variants are shared out to the splits, related ones
(``klatt``, ``klatt2``) together, so that no voice is heard in two splits.
"""

import hashlib
import multiprocessing
import signal
import zlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
from numpy.random import Generator

from kws.audio import SAMPLE_RATE
from model import console, files
from model.data import espeak
from model.data.layout import INFO_FILE, NOISE_FOLDER, SPLITS, TRANSCRIPT
from model.data.noise import NOISES, noise
from model.data.recording import rms, write_clip
from model.errors import UserError
from model.settings import CLIP_SAMPLES, processors

Samples = npt.NDArray[np.float64]
_PACKAGES = ("espeakng-loader", "numpy", "scipy", "soxr", "soundfile")
# What the bytes depend on beside the settings; raise the number when the same settings shall give others.
_RECIPE = {"recipe": 3, **{package: version(package) for package in _PACKAGES}}
ACCENTS = ["en", "en-us", "en-us-nyc", "en-029", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd"]
# Effects rather than voices: nobody sounds like this.
_LEFT_OUT = ("robo", "robot", "whisper", "demonic", "croak", "tweaky", "anxious")
_ENDINGS = ("", ".", "!", "?", ",")  # each has its own melody
_SENTENCES = 18  # of each voice, of twelve words: half an hour in all for the rule, and as much to judge it
_GROUPS = 8  # of voices, each spoken by a process of its own


def make(words: tuple[str, ...], size: int, seed: int) -> Path:
    """``size`` clips a word in the cache, divided into splits on top; spoken now unless they are there.

    A word's clips do not depend on the other words. Raises UserError: a word that cannot be spoken.
    """

    def fill(folder: Path) -> None:
        name, about = f"synthetic ({size} clips a word, seed {seed})", "Spoken by espeak-ng; no recording of a person."
        files.write_json(folder / INFO_FILE, {"name": name, "licence": "CC0 1.0", "attribution": about})
        for kind in NOISES:
            samples = 0.1 * noise(kind, 20 * SAMPLE_RATE, _generator(seed, "noise", kind))
            write_clip(folder / NOISE_FOLDER / f"{kind}.wav", samples)
        _in_processes(partial(_speak, folder, size, seed, assign_variants(seed)), words, "speaking (words)")

    return files.cached("synthetic", [_RECIPE, words, size, seed], fill)


def make_speech(keywords: Collection[str]) -> Path:
    """Sentences of other words in the cache, a folder a voice with transcripts in LibriSpeech's form."""
    words = sorted({*Path(__file__).with_name("common_words.txt").read_text().split()}.difference(keywords))

    def fill(folder: Path) -> None:
        voices = [voice for part in assign_variants(0).values() for voice in part]
        groups = [voices[first::_GROUPS] for first in range(_GROUPS)]
        _in_processes(partial(_speak_sentences, folder, words), groups, "speaking (groups of voices)")

    return files.cached("synthetic", [_RECIPE, words, _SENTENCES], fill)


def assign_variants(seed: int) -> dict[str, list[str]]:
    """Share out voice variants to the splits: whole families, at random, a tenth each to validation and testing."""

    def family(name: str) -> str:
        stem = name.rstrip("0123456789")
        return stem if len(stem) > 1 else name  # f1, f2, … are different people

    names = sorted(path.name for path in (espeak.VOICES / "!v").iterdir())  # f1, Andy, …
    voices = sorted((name for name in names if not name.lower().startswith(_LEFT_OUT)), key=family)
    families = [list(found) for _, found in groupby(voices, key=family)]
    order = _generator(seed, "variants").permutation(len(families))
    held = round(0.1 * len(order))
    parts = np.split(order, (len(order) - 2 * held, len(order) - held))
    return {split: [name for at in part for name in families[at]] for split, part in zip(SPLITS, parts, strict=True)}


def _in_processes(speak: Callable[[Any], None], each: Sequence[Any], what: str) -> None:
    context = multiprocessing.get_context("spawn")  # a fork would share espeak's state, and torch's threads
    ignored = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends the work in order
    with ProcessPoolExecutor(processors(), context, signal.signal, ignored, max_tasks_per_child=1) as pool:
        list(console.track(pool.map(speak, each), len(each), what))


def _speak(folder: Path, size: int, seed: int, variants: dict[str, list[str]], word: str) -> None:
    """Speak a word's clips; to be called in a fresh process. Raises UserError: the word has no sound."""
    for number in range(size):
        rng = _generator(seed, word, number)
        # One in ten clips of a word is for validation and one for testing, whatever the corpus's size.
        split = {8: "validation", 9: "testing"}.get(number % 10, "training")
        spoken, voice = _utter(word.replace("_", " ") + str(rng.choice(_ENDINGS)), variants[split], (110, 240), rng)
        loud = np.flatnonzero(np.abs(spoken) > 0.01)
        if loud.size == 0:
            raise UserError(f"espeak-ng has no sound for '{word}'; give --labels that are English words")
        said = spoken[loud[0] : loud[-1] + 1][:CLIP_SAMPLES]
        room = CLIP_SAMPLES - len(said)
        before = round(room * rng.beta(3, 3))  # mostly near the middle, as clips are cut around their loudest part
        clip = _recorded(np.pad(said, (before, room - before)), (-24, -2), (5, 40), rng)
        speaker = hashlib.sha256(voice.encode()).hexdigest()[:8]
        write_clip(folder / split / word / f"{speaker}_nohash_{number}.wav", clip)


def _speak_sentences(folder: Path, words: list[str], variants: list[str]) -> None:
    """The recordings of some voices; to be called in a fresh process."""
    for variant in variants:
        rng, lines = _generator("sentences", variant), []
        name = "".join(character if character.isalnum() else "_" for character in variant)
        for number in range(_SENTENCES):
            said = [str(word) for word in rng.choice(words, 12)]
            text = f"{' '.join(said[:6])}{rng.choice([',', '.', ';'])} {' '.join(said[6:])}"
            spoken, _ = _utter(text, [variant], (120, 220), rng)
            write_clip(folder / name / f"{name}-{number}.flac", _recorded(spoken, (-26, -6), (10, 40), rng))
            lines.append(f"{name}-{number} {' '.join(said)}\n")
        (folder / name / f"{name}{TRANSCRIPT}").write_text("".join(lines))


def _utter(text: str, variants: Sequence[str], speeds: tuple[int, int], rng: Generator) -> tuple[Samples, str]:
    """A text, dry and at full scale 1, by one of some voices; and the voice."""
    voice, seed = f"{rng.choice(ACCENTS)}+{rng.choice(variants)}", int(rng.integers(1, 2**31))
    speed, pitch, pitch_range = (int(rng.integers(*bounds)) for bounds in (speeds, (25, 76), (25, 76)))
    spoken, rate = espeak.say(text, voice, seed, speed, pitch, pitch_range)
    return soxr.resample(spoken / 32768.0, rate, SAMPLE_RATE), voice


def _recorded(speech: Samples, level_db: tuple[float, float], snr_db: tuple[float, float], rng: Generator) -> Samples:
    """Speech as a microphone would have it, in noise; ``level_db`` is of its peak."""
    background = noise(str(rng.choice(NOISES)), len(speech), rng)
    noisy = speech + background * rms(speech[speech != 0]) * 10 ** (-rng.uniform(*snr_db) / 20)
    level = 10 ** (rng.uniform(*level_db) / 20) / max(np.abs(speech).max(initial=0.0), 1e-6)
    return np.clip(level * noisy, -1, 1)


def _generator(*key: Any) -> Generator:
    """Random numbers that depend on nothing but ``key``."""
    return np.random.default_rng([zlib.crc32(str(part).encode()) for part in key])
