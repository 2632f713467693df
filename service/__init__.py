"""The inference service. Nothing is imported here: health check and test client need none of its packages."""

import os

# ONNX Runtime's Linux builds send usage data to their maker unless this stands here before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
