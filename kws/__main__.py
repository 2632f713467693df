"""``python -m kws MODEL``: what a model file says of itself, one line of JSON."""

import json
import sys
from pathlib import Path

from kws.model_file import REMEDY, ModelError, open_model

if __name__ == "__main__":
    try:
        if len(sys.argv) != 2:
            raise ModelError(f"{len(sys.argv) - 1} paths were given; {REMEDY}")
        info = open_model(Path(sys.argv[1])).info
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    told = {name: getattr(info, name) for name in ("sha256", "version", "revision", "labels", "threshold")}
    print(json.dumps({**told, "data_digest": info.metadata.get("data_digest", "")}))
