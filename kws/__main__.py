"""``python -m kws MODEL``: what a model file says of itself, one line of JSON."""

import json
import sys
from pathlib import Path

from kws.model_file import REMEDY, ModelError, open_model


def main(arguments: list[str]) -> int:
    """0, or 2 with a line where the file is no model."""
    try:
        if len(arguments) != 1:
            raise ModelError(f"{len(arguments)} paths were given; {REMEDY}")
        info = open_model(Path(arguments[0])).info
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    told = {name: getattr(info, name) for name in ("sha256", "version", "revision", "labels", "threshold")}
    print(json.dumps({**told, "data_digest": info.metadata.get("data_digest", "")}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
