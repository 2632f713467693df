"""What a model is judged on: the test split, and all that must not be taken for a keyword."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from model import audio
from model.calibration import Targets
from model.data import synthetic
from model.data.layout import Clip, scan
from model.dataset import Corpus
from model.errors import UserError
from model.inference import Probabilities, Waveforms
from model.settings import CLIP_SAMPLES, SAMPLE_RATE, is_keyword

log = logging.getLogger(__name__)

UNSEEN, KNOWN, QUIET = "unseen words", "known other words", "noise and near-silence"
VOICES_PER_WORD = 50
_CHUNK = 1024  # clips read at once
_QUIET_DB = (0.0, -20.0, -40.0)  # levels of the background recordings, beside as recorded
_MOST_QUIET = 1000  # windows of background recordings, all levels together


@dataclass(frozen=True)
class Group:
    """Clips without a keyword: their names, the word that each says, and ``float32[clips, CLIP_SAMPLES]`` by ``read``.

    Of the official archive's words there are too many to hold in memory at once: ``read`` gives the waveforms of a
    slice of the clips.
    """

    names: list[str]
    words: list[str]
    read: Callable[[slice], Waveforms]

    def heard_by(self, run: Callable[[Waveforms], Probabilities]) -> Probabilities:
        """The probabilities ``float32[clips, classes]`` that ``run`` gives."""
        starts = range(0, len(self.names), _CHUNK)
        return np.concatenate([run(self.read(slice(start, start + _CHUNK))) for start in starts])


@dataclass(frozen=True)
class Material:
    """What a model with the classes ``labels`` is judged on; ``targets`` are indices into them.

    ``waveforms`` are the clips of the test split; ``others`` what must not be taken for a keyword, by kind; ``noise``
    the testing part of the background recordings; ``voices`` keywords spoken by espeak-ng with their targets. What is
    missing is named in ``missing`` with the reason.
    """

    labels: tuple[str, ...]
    waveforms: Waveforms
    targets: Targets
    names: list[str]
    others: dict[str, Group]
    noise: list[audio.Samples]
    voices: tuple[Waveforms, Targets] | None
    missing: dict[str, str] = field(default_factory=dict)


def gather(corpus: Corpus, labels: tuple[str, ...], no_voices: str = "", split: str = "testing") -> Material:
    """The material that a corpus gives for a model with the classes ``labels``.

    Clips of a class that the model does not have are no part of its test split; they are among ``others`` all the same.
    ``no_voices`` is the reason why espeak-ng shall not speak, if there is one.
    """
    part = corpus.splits[split]
    wanted = [row for row, target in enumerate(part.targets.tolist()) if corpus.labels[target] in labels]
    targets = np.array([labels.index(corpus.labels[int(part.targets[row])]) for row in wanted], np.int64)
    missing: dict[str, str] = {}
    others = {}
    if corpus.unseen:
        others[UNSEEN] = _group(corpus, corpus.unseen)
    else:
        missing[UNSEEN] = "the data set was read without other words"
    if known := corpus.others[split]:
        others[KNOWN] = _group(corpus, known)
    noise = corpus.noise_waveforms[split]
    if not noise:
        missing["noise"] = "the data set has no background noise"
    others[QUIET] = quiet(noise)
    spoken = None
    if no_voices:
        missing["synthetic voices"] = no_voices
    else:
        try:
            spoken = speak(tuple(filter(is_keyword, labels)), labels)
        except UserError as error:
            missing["synthetic voices"] = str(error)
    for what, why in missing.items():
        log.warning("not measured: %s (%s)", what, why)
    return Material(
        labels,
        corpus.waveforms(split)[wanted],
        targets,
        [part.clips[row].name for row in wanted],
        others,
        noise,
        spoken,
        missing,
    )


def quiet(noise: Sequence[audio.Samples]) -> Group:
    """Clips without a voice: background recordings at three levels, hiss down to the last bit, digital silence."""
    names, parts = [], []
    windows = [sliding_window_view(piece, CLIP_SAMPLES)[:: SAMPLE_RATE // 10] for piece in noise]
    stride = max(1, -(-len(_QUIET_DB) * sum(map(len, windows)) // _MOST_QUIET))
    for number, recording in enumerate(windows):
        for db in _QUIET_DB:
            kept = recording[::stride]
            parts.append(kept * np.float32(10 ** (db / 20)))
            names += [f"noise {number} at {db:+.0f} dB, {0.1 * stride * row:.1f} s" for row in range(len(kept))]
    rng = np.random.default_rng(0)
    for dbfs in (-50, -60, -70, -80, -90):
        parts.append(rng.normal(0, 10 ** (dbfs / 20), (10, CLIP_SAMPLES)).astype(np.float32))
        names += [f"hiss at {dbfs} dBFS" for _ in range(10)]
    steady = np.zeros((3, CLIP_SAMPLES), np.float32)
    steady[1], steady[2] = 0.01, 1 / 32768  # a microphone's offset, and the smallest there is
    parts.append(steady)
    names += ["digital silence", "offset of 0.01", "offset of one step"]
    samples = audio.as_recorded(np.concatenate(parts))
    return Group(names, ["(none)"] * len(names), lambda part: samples[part])


def speak(words: tuple[str, ...], labels: tuple[str, ...]) -> tuple[Waveforms, Targets]:
    """``VOICES_PER_WORD`` clips a word, spoken by espeak-ng, from the cache where they are there already.

    Raises:
        UserError: espeak-ng is not installed, or has no sound for a word.
    """
    source = synthetic.make(synthetic.Corpus(words, VOICES_PER_WORD))
    clips = scan(source.root, words).clips
    samples = [audio.fit(audio.decode((source.root / clip.name).read_bytes())) for clip in clips]
    return np.stack(samples), np.array([labels.index(clip.word) for clip in clips], np.int64)


def _group(corpus: Corpus, clips: Sequence[Clip]) -> Group:
    return Group([clip.name for clip in clips], [clip.word for clip in clips], lambda part: corpus.read(clips[part]))
