"""Ordinary sentences without the keywords, spoken by espeak-ng: running speech in which every detection is false.

Words that sound nearly like a keyword are put in on purpose, homophones too: these are marked, as no model of a single
word can tell them from it. Each part of sentences is spoken in a fresh process (see ``espeak``) and cached.
"""

import hashlib
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model import audio, files
from model.data import source, vocabulary
from model.data.synthetic import ACCENTS, assign_variants, generator, ignore_interrupts
from model.machine import processors
from model.settings import SAMPLE_RATE

Samples = npt.NDArray[np.float32]

PART = 100  # sentences spoken in one process, a cache entry: five to six minutes
_RECIPE = 1  # raise it when the same request shall give other bytes
_LEVEL = 0.1  # RMS of a spoken sentence


@dataclass(frozen=True)
class Sentence:
    """What was spoken: ``samples float32`` at 16 kHz, its words with the second at which each begins, and who spoke."""

    samples: Samples
    words: tuple[tuple[str, float], ...]
    voice: str


@dataclass(frozen=True)
class _Request:
    """What determines a part."""

    split: str
    labels: tuple[str, ...]
    seed: int
    number: int

    def folder(self) -> Path:
        parts = ("espeakng-loader", "numpy", "soxr", "soundfile")
        content = {**asdict(self), "recipe": _RECIPE, **{name: version(name) for name in parts}}
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        return source.cache_root() / "sentences" / key


def speak(split: str, labels: tuple[str, ...], number: int, seed: int = 0) -> list[Sentence]:
    """Part ``number`` (of ``PART`` sentences) without ``labels``, in voices of ``split``; cached.

    Missing parts before it are spoken too, in parallel.

    Raises:
        UserError: espeak-ng is not installed, or no sentence is possible without the labels.
    """
    vocabulary.sentence(labels, generator(0))  # a fault to be told here, not in another process
    requests = [_Request(split, tuple(sorted(labels)), seed, each) for each in range(number + 1)]
    if missing := [request for request in requests if not request.folder().is_dir()]:
        context = multiprocessing.get_context("spawn")
        workers = min(len(missing), processors())
        pool = ProcessPoolExecutor(workers, context, initializer=ignore_interrupts, max_tasks_per_child=1)
        try:
            list(pool.map(_speak_part, missing))
        finally:
            pool.shutdown(cancel_futures=True)
    return _read_part(requests[-1].folder())


def _speak_part(request: _Request) -> None:
    """Speak a part into its cache entry; to be called in a fresh process."""
    import soundfile

    from model.data import espeak

    folder = request.folder()
    with files.locked(folder.with_suffix(".lock")):
        if folder.is_dir():
            return
        voice = espeak.Espeak()
        variants = assign_variants(espeak.variants(), request.seed)[request.split]
        said, pieces = [], []
        for number in range(request.number * PART, (request.number + 1) * PART):
            rng = generator("sentence", request.seed, request.split, number)
            name = f"{rng.choice(ACCENTS)}+{rng.choice(variants)}"
            text = vocabulary.sentence(request.labels, rng)
            raw = voice.say(
                text,
                name,
                int(rng.integers(1, 2**31)),
                speed=int(rng.integers(120, 210)),
                pitch=int(rng.integers(25, 76)),
                pitch_range=int(rng.integers(25, 76)),
            )
            pieces.append(_at_level(raw, voice.rate))
            said.append({"text": text, "voice": name, "words": voice.words, "samples": len(pieces[-1])})
        with files.atomic_directory(folder, lambda _: False) as working:
            soundfile.write(working / "speech.flac", np.concatenate(pieces), SAMPLE_RATE, subtype="PCM_16")
            files.write_json(working / "speech.json", said)


def _at_level(raw: npt.NDArray[np.int16], rate: int) -> Samples:
    import soxr

    samples = soxr.resample(raw / 32768.0, rate, SAMPLE_RATE, quality="HQ")
    return np.clip(samples * (_LEVEL / max(audio.rms(samples), 1e-6)), -1, 1).astype(np.float32)


def _read_part(folder: Path) -> list[Sentence]:
    import soundfile

    samples, _ = soundfile.read(folder / "speech.flac", dtype="float32")
    found, start = [], 0
    for said in json.loads((folder / "speech.json").read_text(encoding="utf-8")):
        end = start + said["samples"]
        words = tuple((word, float(second)) for word, second in said["words"])
        found.append(Sentence(samples[start:end], words, said["voice"]))
        start = end
    return found
