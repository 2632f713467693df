"""A few recordings of the test split, for a client that tests a running service."""

import hashlib
import logging
from pathlib import Path

import soundfile

from kws.audio import SAMPLE_RATE, AudioError, decode
from model import files
from model.data.source import DataSet, require_clips
from model.data.tree import suffix_of
from model.errors import UserError

log = logging.getLogger(__name__)

LIST = "clips.json"


def is_former(folder: Path) -> bool:
    """Whether a folder was written by ``write``."""
    return (folder / LIST).is_file()


def write(folder: Path, dataset: DataSet, per_label: int) -> None:
    """``LABEL/NAME.wav`` for a few clips of every label's test split, and ``clips.json``, into an empty folder.

    The clips are those whose names have the lowest SHA-256: the same everywhere, spread over the speakers, blind to how
    a model does on them. WAV files are copied as they are, others become 16-bit WAV; broken ones are passed over.
    """
    require_clips(dataset, ("testing",))
    listed = []
    for label in dataset.labels:
        (folder / label).mkdir()
        clips = dataset.of_split("testing", (label,))
        found = 0
        for clip in sorted(clips, key=lambda clip: hashlib.sha256(clip.name.encode()).hexdigest()):
            if found == per_label:
                break
            data = (dataset.root / clip.name).read_bytes()
            try:
                waveform = decode(data).waveform
            except AudioError as error:
                log.warning("broken, passed over: %s (%s)", clip.name, error)
                continue
            found += 1
            target = folder / label / f"{'_'.join(Path(clip.name).with_suffix('').parts[1:])}.wav"
            if suffix_of(clip.name) == ".wav":
                target.write_bytes(data)
            else:
                soundfile.write(target, waveform, SAMPLE_RATE, subtype="PCM_16")
            digest = hashlib.sha256(target.read_bytes()).hexdigest()
            listed.append({"file": f"{label}/{target.name}", "label": label, "sha256": digest})
        if not found:
            raise UserError(f"label '{label}' has no readable clips in the testing split of '{dataset.name}'")
        if found < per_label:
            log.warning("label '%s' has only %d readable test clips", label, found)
    origin = {"source": dataset.name, "licence": dataset.licence, "attribution": dataset.attribution}
    files.write_json(folder / LIST, {**origin, "split": "testing", "clips": listed})
    log.info("%d test clips of %s", len(listed), dataset.name)
