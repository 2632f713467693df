"""The trainer: a data set in, a checked keyword model out (``python -m model --help``).

Importing this package loads nothing heavy: torch, matplotlib and ONNX are imported by the commands that need them,
so that the data commands also run where torch is absent.
"""

import os

# ONNX Runtime's Linux builds send usage data to their maker unless this stands here before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
