"""What ``--dataset`` names, as a folder on disk with its clips, splits and origin."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kws.detection import SILENCE, UNKNOWN
from model import files
from model.data import archive
from model.data.layout import INFO_FILE, NOISE_FOLDER, SPLITS, Clip, Layout, read_layout, read_text
from model.data.split import divide
from model.errors import UserError
from model.settings import DEFAULT_LABELS, OFFICIAL_SHA256, Settings

_WARDEN = "Pete Warden, Speech Commands: a dataset for limited-vocabulary speech recognition, arXiv:1804.03209"
FEW_CLIPS = 5  # of an other word that may be a folder of something else
TEST_SET = "test_set"  # in the name of speech_commands_test_set_v0.02.tar.gz, which has no other splits

# Archives whose content, and so whose licence, is known: SHA-256 -> name.
KNOWN_ARCHIVES = {
    OFFICIAL_SHA256: "Speech Commands v0.02",
    "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d": "Speech Commands v0.01",
    "353845981fd5f3f27ed0e6b9e46bde7968336969896e137c6f61b24e5b71fc5a": "Speech Commands v0.01, a subset",
}


@dataclass(frozen=True)
class DataSet:
    """Recordings on disk, and what is known of them."""

    root: Path
    name: str
    licence: str  # empty: not stated
    attribution: str
    synthetic: bool
    labels: tuple[str, ...]  # the keywords: as given, else the usual ones if the data set has them, else all its words
    clips: tuple[Clip, ...]  # of every word and class, sorted by name
    noise: tuple[str, ...]  # long recordings without words, below ``root``
    split_rule: str
    speakers_known: bool  # if not, the test figure does not hold for new voices
    notes: tuple[str, ...]  # a sentence each: what was left out, passed over or taken for granted
    test_only: bool = False  # it is there to be judged with, whole

    def of_split(self, split: str, words: Sequence[str] | None = None) -> tuple[Clip, ...]:
        """The clips of one of ``SPLITS``, of some words or of all."""
        return tuple(clip for clip in self.clips if clip.split == split and (words is None or clip.word in words))


def open_dataset(settings: Settings) -> DataSet:
    """The data set of a run: downloaded, unpacked or spoken if it is not there yet, then scanned once.

    Raises UserError: it is not there, cannot be read, or lacks a keyword.
    """
    notes: list[str] = []
    root, info = _find(settings, notes)
    layout, name = read_layout(root, settings.labels, notes), info["name"]
    few = _require_words(layout, name, notes)
    clips, rule, known = divide(layout, settings.speaker_pattern, notes)
    if test_only := TEST_SET in name:
        clips, rule = tuple(clip._replace(split="testing") for clip in clips), "a test set, whole"
    if INFO_FILE in layout.texts and "licence" not in info:
        info |= _read_info(layout.texts[INFO_FILE])
    licence, attribution = (getattr(settings, key).strip() or info.get(key, "") for key in ("licence", "attribution"))
    about = root, info["name"], licence, attribution, settings.dataset == "synthetic"
    return DataSet(*about, layout.labels, clips, layout.noise, rule, known, (*notes, *few), test_only)


def require_clips(dataset: DataSet, splits: Sequence[str] = SPLITS) -> None:
    """Raises UserError: a keyword has no clip in one of the splits."""
    there = {(clip.word, clip.split) for clip in dataset.clips}
    for label, split in ((label, split) for label in dataset.labels for split in splits):
        if (label, split) not in there:
            where = f"in the {split} split of data set '{dataset.name}', split by {dataset.split_rule}"
            listed = f", or list some in {split}_list.txt" if split != "training" else ""
            raise UserError(f"label '{label}' has no clips {where}; add clips of more speakers{listed}")


def _find(settings: Settings, notes: list[str]) -> tuple[Path, dict[str, str]]:
    """The folder that ``--dataset`` stands for, and what is known of its origin."""
    given, path, sha256 = settings.dataset, Path(settings.dataset), ""
    if given == "synthetic":
        from model.data import synthetic

        words = settings.labels or DEFAULT_LABELS
        return synthetic.make(words, settings.synthetic_size, settings.synthetic_seed), {"name": given}
    if given == "speech-commands":
        path = archive.official(settings.dataset_url, sha256 := settings.dataset_sha256.lower())
    elif given and path.is_dir():
        return path, {"name": path.resolve().name}
    elif not path.is_file():
        hint = "a folder, an archive, speech-commands or synthetic; an address is for --dataset-url"
        raise UserError(f"data set '{given}' {'is no file' if path.exists() else 'does not exist'}; give {hint}")
    root = archive.unpack(path, notes, sha256 := sha256 or files.sha256_of(path))
    if name := KNOWN_ARCHIVES.get(sha256):
        return root, {"name": name, "licence": "CC BY 4.0", "attribution": _WARDEN}
    return root, {"name": path.name}


def _read_info(path: Path) -> dict[str, str]:
    try:
        info = json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"'{path}' is not JSON ({error}); restore or remove it") from error
    if not isinstance(info, dict):
        raise UserError(f"'{path}' is not a JSON object; restore or remove it")
    return {key: text for key, value in info.items() if (text := str(value or "").strip())}


def _require_words(layout: Layout, what: str, told: Sequence[str]) -> list[str]:
    """Refuses a data set without words or without one of the labels; gives back a note of words with few clips."""
    counts = Counter(clip.word for clip in layout.clips)
    words = sorted(counts.keys() - {UNKNOWN, SILENCE})
    notes = "".join(f"; {note}" for note in told)
    if not words:
        notes = notes or "; it holds no recordings"
        raise UserError(f"data set '{what}' has no words{notes}; give a folder of recordings a word")
    for label in layout.labels:
        if label not in words:
            there = f"in data set '{what}' (it has {', '.join(words[:40])}){notes}"
            raise UserError(f"label '{label}' has no clips {there}; change --labels or add clips")
    if len(counts) == 1 and not layout.noise:
        remedy = f"add folders of other words, or of background noise ({NOISE_FOLDER})"
        raise UserError(f"data set '{what}' has the one word '{words[0]}' and nothing to tell it from{notes}; {remedy}")
    few = [f"{word} ({counts[word]})" for word in words if counts[word] < FEW_CLIPS and word not in layout.labels]
    return [f"folders taken for other words, with few clips: {', '.join(few[:20])}"] if few else []


def digest_of(root: Path, names: Sequence[str], role: str) -> str:
    """The SHA-256 (64 hex digits) over the names below ``root``, their ``role`` and the SHA-256 of what they hold."""
    sums = (hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names)
    content = "".join(f"{name}\t{role}\t{sum_}\n" for name, sum_ in zip(names, sums, strict=True))
    return hashlib.sha256(content.encode()).hexdigest()
