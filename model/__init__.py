"""The trainer: a data set in, a checked keyword model out (``python -m model --help``)."""

import os

# ONNX Runtime's Linux builds send usage data to their maker unless this stands here before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
