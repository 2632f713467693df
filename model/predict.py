"""What a model hears in a file, as a line; the window that speaks is chosen as the service does."""

import json
from pathlib import Path

from kws.audio import AudioError, decode
from kws.detection import classify, is_keyword
from kws.model_file import Model
from model.errors import UserError
from model.files import reason


def predict(model: Model, path: Path, as_json: bool) -> str:
    """A line for a person, or a JSON object. Raises UserError: the file gives no waveform."""
    info = model.info
    try:
        found = classify(model, decode(path.read_bytes(), info.sample_rate).waveform)
    except AudioError as error:
        raise UserError(f"'{path}' cannot be heard: {error.detail.rstrip('.')}") from error
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({reason(error)}); give a recording") from error
    probabilities = dict(zip(info.labels, found.probabilities[found.best].tolist(), strict=True))
    if as_json:
        told = {"file": str(path), "prediction": found.label, "accepted": found.accepted, "threshold": info.threshold}
        return json.dumps(
            {**told, "probabilities": probabilities, "start": found.starts[found.best] / info.sample_rate}
        )
    shown = ", ".join(f"{label} {100 * each:.1f} %" for label, each in probabilities.items())
    below = is_keyword(found.label) and not found.accepted
    return f"{path}: {found.label}{f', below the threshold of {info.threshold:.2f}' * below} ({shown})"
