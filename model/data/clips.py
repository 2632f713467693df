"""A few recordings of the test split, for a client that tests a running service."""

import hashlib
import logging
from pathlib import Path

from kws.audio import AudioError, decode
from model import files
from model.data.recording import write_clip
from model.data.source import DataSet, require_clips
from model.errors import UserError

log = logging.getLogger(__name__)
LIST = "clips.json"


def write(folder: Path, dataset: DataSet, per_label: int) -> None:
    """``LABEL/NAME.wav`` for a few clips of every label's test split, and ``clips.json``, into an empty folder.

    The clips are those whose names have the lowest SHA-256: the same everywhere, spread over the speakers, blind to how
    a model does on them. They become 16-bit WAV; broken ones are passed over.
    """
    require_clips(dataset, ("testing",))
    listed: list[str] = []
    for label in dataset.labels:
        names = [clip.name for clip in dataset.of_split("testing", (label,))]
        most = len(listed) + per_label
        for name in sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest()):
            file = f"{label}/{'_'.join(Path(name).with_suffix('').parts[1:])}.wav"
            if file in listed:  # the same in another format
                continue
            try:
                waveform = decode((dataset.root / name).read_bytes()).waveform
            except AudioError as error:
                log.warning("broken, passed over: %s (%s)", name, error)
                continue
            write_clip(folder / file, waveform)
            listed.append(file)
            if len(listed) == most:
                break
        if len(listed) == most - per_label:
            raise UserError(f"label '{label}' has no readable clips in the testing split of '{dataset.name}'")
    origin = {"source": dataset.name, "licence": dataset.licence, "attribution": dataset.attribution}
    files.write_json(folder / LIST, {**origin, "split": "testing", "clips": listed})
    log.info("%d test clips of %s", len(listed), dataset.name)
