"""The labels that a model gives its image: ``python -m tools.labels MODEL.onnx``; it needs onnxruntime."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from tools.oci import digest_of

# Of the ONNX metadata: what each says, and the label for it.
FROM_METADATA = {"model_version": "kws.model.version", "data_digest": "kws.data.digest"}


def labels(model: Path) -> dict[str, str]:
    """Digest of the file, and version and digest of the training data as its metadata names them."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the next line loads it
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    known = {label: metadata[name] for name, label in FROM_METADATA.items() if metadata.get(name)}
    return {"kws.model.digest": digest_of(model), **known}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="model.onnx")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    try:
        found = labels(options.model)
    except Exception as error:  # onnxruntime raises classes of its own, a kind for each defect
        print(f"labels: {options.model} is not a model that can be loaded: {error}", file=sys.stderr)
        return 2
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
