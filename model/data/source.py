"""What ``--dataset`` names, as a folder on disk with its clips, splits and origin."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kws.detection import SILENCE, UNKNOWN
from model import console, files
from model.data import archive, download
from model.data.layout import NOISE_FOLDER, SPLITS, Clip, Layout, read_layout
from model.data.split import divide
from model.data.tree import INFO_FILE, read_info, walk
from model.errors import UserError
from model.settings import DEFAULT_LABELS, Settings

CC_BY = "CC BY 4.0"
_WARDEN = "Pete Warden, Speech Commands: a dataset for limited-vocabulary speech recognition, arXiv:1804.03209"
FEW_CLIPS = 5  # of an other word that may be a folder of something else

# Archives whose content, and so whose licence, is known: SHA-256 -> name.
KNOWN_ARCHIVES = {
    "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58": "Speech Commands v0.02",
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

    def of_split(self, split: str, words: Sequence[str] | None = None) -> tuple[Clip, ...]:
        """The clips of one of ``SPLITS``, of some words or of all."""
        return tuple(clip for clip in self.clips if clip.split == split and (words is None or clip.word in words))


def open_dataset(settings: Settings) -> DataSet:
    """The data set of a run: downloaded, unpacked or spoken if it is not there yet, then scanned once.

    Raises:
        UserError: it is not there, cannot be read, or lacks a keyword.
    """
    root, name, origin, passed_over = _find(settings)
    tree = walk(root)
    texts = {}
    for path in sorted(tree.texts, key=lambda path: (path.count("/"), path), reverse=True):
        texts[path.rpartition("/")[2]] = root / path
    info = read_info(texts[INFO_FILE]) if INFO_FILE in texts else {}
    info = {**info, **origin}
    layout = read_layout(tree, settings.labels)
    _require_words(layout, name)
    divided = divide(layout, texts, settings.speaker_pattern)
    return DataSet(
        root,
        info.get("name") or name,
        settings.licence.strip() or info.get("licence", ""),
        settings.attribution.strip() or info.get("attribution", ""),
        settings.dataset == "synthetic",
        layout.labels,
        divided.clips,
        layout.noise,
        divided.rule,
        divided.speakers_known,
        (*passed_over, *layout.notes, *divided.notes, *_few(layout)),
    )


def require_clips(dataset: DataSet, splits: Sequence[str] = SPLITS) -> None:
    """Raises UserError: a keyword has no clip in one of the splits."""
    counts = Counter((clip.word, clip.split) for clip in dataset.clips)
    for label in dataset.labels:
        for split in splits:
            if not counts[label, split]:
                raise UserError(
                    f"label '{label}' has no clips in the {split} split of data set '{dataset.name}' "
                    f"({dataset.split_rule}); add clips of more speakers, or list some in {split}_list.txt"
                )


def _find(settings: Settings) -> tuple[Path, str, dict[str, str], tuple[str, ...]]:
    """The folder that ``--dataset`` stands for, its name, what is known of its origin, and what was not unpacked."""
    given = settings.dataset
    if given == "synthetic":
        from model.data import synthetic

        corpus = synthetic.Corpus(settings.labels or DEFAULT_LABELS, settings.synthetic_size, settings.synthetic_seed)
        with console.bar("speaking (clips)") as speaking:
            return synthetic.make(corpus, cache_root() / "synthetic", speaking), given, {}, ()
    if given == "speech-commands":
        with console.bar("downloading (MB)", 1_000_000) as downloading:
            path = download.official(
                settings.dataset_url, settings.dataset_sha256, cache_root() / "downloads", downloading
            )
        return _unpacked(path, settings.dataset_sha256.lower())
    path = Path(given)
    if path.is_dir():
        return path, path.resolve().name, {}, ()
    if not path.exists():
        hint = (
            "give its address to --dataset-url, its SHA-256 to --dataset-sha256"
            if "://" in given
            else ("give a folder, an archive, speech-commands or synthetic")
        )
        raise UserError(f"data set '{given}' does not exist; {hint}")
    if not path.is_file():
        raise UserError(f"data set '{given}' is neither a folder nor a file; give a folder or an archive")
    return _unpacked(path, download.sha256_of(path))


def _unpacked(path: Path, sha256: str) -> tuple[Path, str, dict[str, str], tuple[str, ...]]:
    """An archive, unpacked into the cache under its digest unless it is there."""
    root = cache_root() / "unpacked" / f"{sha256[:32]}-{archive.RECIPE}"
    with files.locked(root.with_suffix(".lock")), console.bar("unpacking (MB)", 1_000_000) as unpacking:
        notes = archive.unpack(path, root, unpacking)
    if name := KNOWN_ARCHIVES.get(sha256):
        return root, name, {"name": name, "licence": CC_BY, "attribution": _WARDEN}, notes
    return root, path.name, {}, notes


def _require_words(layout: Layout, what: str) -> None:
    words = sorted({each.word for each in layout.recordings} - {UNKNOWN, SILENCE})
    notes = "".join(f"; {note}" for note in layout.notes)
    if not words:
        raise UserError(
            f"data set '{what}' has no words{notes or '; it holds no recordings'}; give a folder of recordings a word"
        )
    for label in layout.labels:
        if label not in words:
            raise UserError(
                f"label '{label}' has no clips in data set '{what}' (it has {', '.join(words[:40])}){notes}; "
                "change --labels or add clips"
            )
    classes = {each.word for each in layout.recordings}
    if len(classes) == 1 and not layout.noise:
        raise UserError(
            f"data set '{what}' has the one word '{words[0]}' and nothing to tell it from{notes}; add folders of other "
            f"words, or of background noise ({NOISE_FOLDER})"
        )


def _few(layout: Layout) -> list[str]:
    counts = Counter(each.word for each in layout.recordings)
    few = [
        f"{word} ({count})"
        for word, count in sorted(counts.items())
        if count < FEW_CLIPS and word not in layout.labels and word not in (UNKNOWN, SILENCE)
    ]
    return [f"folders taken for other words, with few clips: {', '.join(few[:20])}"] if few else []


def cache_root() -> Path:
    """``KWS_CACHE``, else ``kws`` in the user's cache folder (XDG base directory specification)."""
    if own := os.environ.get("KWS_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kws"
