"""A corpus of words spoken by espeak-ng: made offline in seconds, the same bytes for the same settings.

A *speaker* is a voice variant with an English accent. The variants are shared out to the splits, related ones
(``klatt``, ``klatt2``) together, so that no voice is heard in two splits.
"""

import hashlib
import json
import logging
import multiprocessing
import signal
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model import files
from model.data.layout import NOISE_FOLDER
from model.data.tree import INFO_FILE, TESTING_LIST, VALIDATION_LIST
from model.errors import UserError
from model.settings import processors

if TYPE_CHECKING:
    import numpy as np

    from model.data.formats import Progress

log = logging.getLogger(__name__)

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
SMALLEST = 10


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


def make(corpus: Corpus, cache: Path, progress: "Progress" = lambda *_: None) -> Path:
    """The corpus as a folder in the cache; spoken now unless it is there already.

    Raises:
        UserError: too few clips to fill the splits, or a word that cannot be spoken.
    """
    if corpus.clips_per_word < SMALLEST:
        raise UserError(f"--synthetic-size {corpus.clips_per_word} is too few clips a word; give {SMALLEST} or more")
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
        if any(part in name.lower() for part in _LEFT_OUT):
            continue
        stem = name.rstrip("0123456789")
        families.setdefault(stem if len(stem) > 1 else name, []).append(name)  # f1, f2, … are different people
    rng = generator(seed, "variants")
    order = [sorted(families)[i] for i in rng.permutation(len(families))]
    held = {split: round(_SHARES[split] * len(order)) for split in ("validation", "testing")}
    cut = held["validation"], held["validation"] + held["testing"]
    chosen = {"validation": order[: cut[0]], "testing": order[cut[0] : cut[1]], "training": order[cut[1] :]}
    return {split: sorted(name for family in chosen[split] for name in families[family]) for split in _SHARES}


def _speak(corpus: Corpus, folder: Path, progress: "Progress") -> None:
    from model.data import espeak

    variants = assign_variants(espeak.variants(), corpus.seed)
    parts = [(w, s) for w in corpus.words for s in range(0, corpus.clips_per_word, _PART)]
    for word in corpus.words:
        (folder / word).mkdir()
    (folder / NOISE_FOLDER).mkdir()
    total, done, names = len(corpus.words) * corpus.clips_per_word, 0, []
    context = multiprocessing.get_context("spawn")  # a fork would share espeak's state, and torch's threads
    pool = ProcessPoolExecutor(processors(), context, initializer=ignore_interrupts, max_tasks_per_child=1)
    try:
        noise = pool.submit(write_noise, folder / NOISE_FOLDER, corpus.seed)
        jobs = [pool.submit(speak_part, folder, corpus, variants, word, start) for word, start in parts]
        for job in as_completed(jobs):
            names += job.result()
            done = len(names)
            progress(done, total)
        noise.result()
    finally:
        pool.shutdown(cancel_futures=True)
    for list_name, split in ((VALIDATION_LIST, "validation"), (TESTING_LIST, "testing")):
        lines = sorted(f"{name}\n" for name, of_split in names if of_split == split)
        (folder / list_name).write_text("".join(lines), encoding="utf-8")
    files.write_json(
        folder / INFO_FILE,
        {
            "name": f"synthetic ({corpus.clips_per_word} clips a word, seed {corpus.seed})",
            "licence": "CC0 1.0",
            "attribution": "Spoken by espeak-ng; no recording of a person.",
        },
    )


def speak_part(
    folder: Path, corpus: Corpus, variants: dict[str, list[str]], word: str, start: int
) -> list[tuple[str, str]]:
    """Speak up to ``_PART`` clips of a word, from number ``start``, into ``folder``: the names with their splits.

    To be called in a fresh process. Raises:
        UserError: espeak-ng has no sound for the word.
    """
    import soundfile

    from kws.audio import SAMPLE_RATE
    from model.data import espeak, noise

    voice = espeak.Espeak()
    written = []
    for number in range(start, min(start + _PART, corpus.clips_per_word)):
        rng = generator(corpus.seed, word, number)
        split = _split_of(number)
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


def write_noise(folder: Path, seed: int) -> None:
    """Background recordings without words, 20 s each, ``<kind>.wav``."""
    import soundfile

    from kws.audio import SAMPLE_RATE
    from model.data import noise

    for kind in noise.NOISES:
        samples = 0.1 * noise.noise(kind, 20 * SAMPLE_RATE, generator(seed, "noise", kind))
        soundfile.write(folder / f"{kind}.wav", samples, SAMPLE_RATE, subtype="PCM_16")


def _split_of(number: int) -> str:
    """Of each ten clips of a word one is for validation and one for testing, whatever the corpus's size."""
    return {8: "validation", 9: "testing"}.get(number % 10, "training")


def generator(*key: Any) -> "np.random.Generator":
    """Random numbers that depend on nothing but ``key``."""
    import numpy as np

    return np.random.default_rng([zlib.crc32(str(part).encode()) for part in key])


def ignore_interrupts() -> None:
    """Ctrl-C reaches the whole group; the parent ends the work in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
