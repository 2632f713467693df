"""A corpus of words spoken by espeak-ng: made offline in seconds, the same bytes for the same settings.

A *speaker* is a voice variant with an English accent. The variants are shared out to the splits, related ones
(``klatt``, ``klatt2``) together, so that no voice is heard in two splits.
"""

import hashlib
import json
import multiprocessing
import signal
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from kws.audio import SAMPLE_RATE
from model import files
from model.data import espeak, noise
from model.data.formats import Progress
from model.data.layout import NOISE_FOLDER
from model.data.tree import INFO_FILE, TESTING_LIST, VALIDATION_LIST
from model.errors import UserError
from model.settings import processors

_RECIPE = 1  # raise it when the same settings shall give other bytes
_SHARES = {"training": 0.8, "validation": 0.1, "testing": 0.1}
_PART = 200  # clips a process speaks in one go
ACCENTS = (
    *("en", "en-us", "en-us-nyc", "en-029", "en-gb-x-rp"),
    *("en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd"),
)
# Effects rather than voices: nobody sounds like this.
_LEFT_OUT = ("robo", "robot", "whisper", "demonic", "croak", "tweaky", "anxious")
_ENDINGS = ("", ".", "!", "?", ",")  # each has its own melody
_FEWEST = 10


@dataclass(frozen=True)
class Corpus:
    """What determines the corpus: clips a word, the words (a word's clips do not depend on the others) and a seed."""

    words: tuple[str, ...]
    clips_per_word: int = 400
    seed: int = 0

    @property
    def key(self) -> str:
        """A short digest of everything that the bytes depend on."""
        parts = ("espeakng-loader", "numpy", "soxr", "soundfile")
        content = {**asdict(self), "recipe": _RECIPE, **{name: version(name) for name in parts}}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def make(corpus: Corpus, cache: Path, progress: Progress = lambda *_: None) -> Path:
    """The corpus as a folder in ``cache``; spoken now unless it is there already.

    Raises:
        UserError: too few clips to fill the splits, or a word that cannot be spoken.
    """
    if corpus.clips_per_word < _FEWEST:
        raise UserError(f"--synthetic-size {corpus.clips_per_word} is too few clips a word; give {_FEWEST} or more")
    root = cache / corpus.key
    with files.locked(root.with_suffix(".lock")):
        if not root.is_dir():
            with files.atomic_directory(root, lambda _: False) as folder:
                _speak(corpus, folder, progress)
    return root


def assign_variants(names: list[str], seed: int) -> dict[str, list[str]]:
    """Share out voice variants to the splits: whole families, at random, most to training."""
    families: dict[str, list[str]] = {}
    for name in names:
        if not any(part in name.lower() for part in _LEFT_OUT):
            stem = name.rstrip("0123456789")
            families.setdefault(stem if len(stem) > 1 else name, []).append(name)  # f1, f2, … are different people
    rng = _generator(seed, "variants")
    order = [sorted(families)[i] for i in rng.permutation(len(families))]
    held = {split: round(_SHARES[split] * len(order)) for split in ("validation", "testing")}
    cut = held["validation"], held["validation"] + held["testing"]
    chosen = {"validation": order[: cut[0]], "testing": order[cut[0] : cut[1]], "training": order[cut[1] :]}
    return {split: sorted(name for family in chosen[split] for name in families[family]) for split in _SHARES}


def _speak(corpus: Corpus, folder: Path, progress: Progress) -> None:
    variants = assign_variants(espeak.variants(), corpus.seed)
    for name in (*corpus.words, NOISE_FOLDER):
        (folder / name).mkdir()
    total, names = len(corpus.words) * corpus.clips_per_word, []
    context = multiprocessing.get_context("spawn")  # a fork would share espeak's state, and torch's threads
    pool = ProcessPoolExecutor(processors(), context, initializer=_ignore_interrupts, max_tasks_per_child=1)
    try:
        background = pool.submit(_write_noise, folder / NOISE_FOLDER, corpus.seed)
        jobs = [
            pool.submit(_speak_part, folder, corpus, variants, word, start)
            for word in corpus.words
            for start in range(0, corpus.clips_per_word, _PART)
        ]
        for job in as_completed(jobs):
            names += job.result()
            progress(len(names), total)
        background.result()
    finally:
        pool.shutdown(cancel_futures=True)
    for list_name, split in ((VALIDATION_LIST, "validation"), (TESTING_LIST, "testing")):
        lines = sorted(f"{name}\n" for name, of_split in names if of_split == split)
        (folder / list_name).write_text("".join(lines), encoding="utf-8")
    name = f"synthetic ({corpus.clips_per_word} clips a word, seed {corpus.seed})"
    attribution = "Spoken by espeak-ng; no recording of a person."
    files.write_json(folder / INFO_FILE, {"name": name, "licence": "CC0 1.0", "attribution": attribution})


def _speak_part(
    folder: Path, corpus: Corpus, variants: dict[str, list[str]], word: str, start: int
) -> list[tuple[str, str]]:
    """Speak up to ``_PART`` clips of a word, from number ``start``, into ``folder``: the names with their splits.

    To be called in a fresh process. Raises UserError: espeak-ng has no sound for the word.
    """
    voice = espeak.Espeak()
    written = []
    for number in range(start, min(start + _PART, corpus.clips_per_word)):
        rng = _generator(corpus.seed, word, number)
        # Of each ten clips of a word one is for validation and one for testing, whatever the corpus's size.
        split = {8: "validation", 9: "testing"}.get(number % 10, "training")
        variant = str(rng.choice(variants[split]))
        accent = str(rng.choice(ACCENTS))
        spoken = voice.say(
            word.replace("_", " ") + str(rng.choice(_ENDINGS)),
            f"{accent}+{variant}",
            int(rng.integers(1, 2**31)),
            speed=int(rng.integers(110, 240)),
            pitch=int(rng.integers(25, 76)),
            pitch_range=int(rng.integers(25, 76)),
        )
        clip = noise.place(spoken, voice.rate, rng)
        if clip is None:
            raise UserError(f"espeak-ng has no sound for '{word}'; give --labels that are English words")
        speaker = hashlib.sha256(f"{variant}/{accent}".encode()).hexdigest()[:8]
        name = f"{word}/{speaker}_nohash_{number}.wav"
        soundfile.write(folder / name, clip, SAMPLE_RATE, subtype="PCM_16")
        written.append((name, split))
    return written


def _write_noise(folder: Path, seed: int) -> None:
    """Background recordings without words, 20 s each."""
    for kind in noise.NOISES:
        samples = 0.1 * noise.noise(kind, 20 * SAMPLE_RATE, _generator(seed, "noise", kind))
        soundfile.write(folder / f"{kind}.wav", samples, SAMPLE_RATE, subtype="PCM_16")


def _generator(*key: Any) -> np.random.Generator:
    """Random numbers that depend on nothing but ``key``."""
    return np.random.default_rng([zlib.crc32(str(part).encode()) for part in key])


def _ignore_interrupts() -> None:
    """Ctrl-C reaches the whole group; the parent ends the work in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
