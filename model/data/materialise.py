"""Data sets as folders of files: a whole one to keep, or a few test clips for a probe."""

import hashlib
import logging
import shutil
from pathlib import Path

from model import files
from model.data.layout import INFO_FILE, NOISE_FOLDER, TESTING_LIST, VALIDATION_LIST, Clip, Layout
from model.data.source import Source
from model.errors import UserError

log = logging.getLogger(__name__)

CLIPS_FILE = "clips.json"


def is_former_data(folder: Path) -> bool:
    """Whether a folder was written by ``write_data``: it says so in its ``dataset.json``."""
    return (folder / INFO_FILE).is_file() and '"written_by": "python -m model data"' in (folder / INFO_FILE).read_text()


def is_former_clips(folder: Path) -> bool:
    """Whether a folder was written by ``write_clips``."""
    return (folder / CLIPS_FILE).is_file()


def write_data(folder: Path, layout: Layout, source: Source) -> None:
    """The clips of a layout and its noise, with split lists and ``dataset.json``, into an empty folder."""
    for name in (*(clip.name for clip in layout.clips), *layout.noise):
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(layout.root / name, target)
    (folder / NOISE_FOLDER).mkdir(exist_ok=True)
    for list_name, split in ((VALIDATION_LIST, "validation"), (TESTING_LIST, "testing")):
        lines = [clip.name + "\n" for clip in layout.of_split(split)]
        (folder / list_name).write_text("".join(lines), encoding="utf-8")
    origin = {"name": source.name, "licence": source.licence, "attribution": source.attribution}
    files.write_json(folder / INFO_FILE, {**origin, "written_by": "python -m model data"})
    log.info("%d clips and %d noise recordings of %s", len(layout.clips), len(layout.noise), source.name)


def choose(layout: Layout, label: str, count: int) -> list[Clip]:
    """Up to ``count`` clips of the label's test split: those whose names have the lowest SHA-256.

    So the choice is the same everywhere, spread over the speakers, and blind to how a model does on them.
    """
    clips = [clip for clip in layout.of_split("testing") if clip.word == label]
    return sorted(clips, key=lambda clip: hashlib.sha256(clip.name.encode()).hexdigest())[:count]


def write_clips(folder: Path, layout: Layout, source: Source, labels: tuple[str, ...], per_label: int) -> None:
    """``<label>/<name>.wav`` for a few clips of every label's test split, and ``clips.json``, into an empty folder.

    WAV files are copied as they are, others become 16-bit WAV. Broken files are passed over and reported.
    """
    import soundfile

    from model.audio import BrokenAudioError, decode
    from model.settings import SAMPLE_RATE

    listed = []
    for label in labels:
        (folder / label).mkdir()
        found = 0
        for clip in choose(layout, label, len(layout.clips)):
            if found == per_label:
                break
            origin = layout.root / clip.name
            try:
                samples = decode(origin.read_bytes())
            except BrokenAudioError as error:
                log.warning("broken, passed over: %s (%s)", clip.name, error)
                continue
            target = folder / label / (origin.stem + ".wav")
            if origin.suffix.lower() == ".wav":
                shutil.copyfile(origin, target)
            else:
                soundfile.write(target, samples, SAMPLE_RATE, subtype="PCM_16")
            digest = hashlib.sha256(target.read_bytes()).hexdigest()
            listed.append({"file": f"{label}/{target.name}", "label": label, "sha256": digest})
            found += 1
        if not found:
            raise UserError(f"label '{label}' has no readable clips in the testing split of '{source.name}'")
        if found < per_label:
            log.warning("label '%s' has only %d readable test clips", label, found)
    origin_of = {"source": source.name, "licence": source.licence, "attribution": source.attribution}
    files.write_json(folder / CLIPS_FILE, {**origin_of, "split": "testing", "clips": listed})
    log.info("%d test clips of %s", len(listed), source.name)
