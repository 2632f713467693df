"""The inference service: audio in, keyword probabilities out.

It meets the trainer in the exported ONNX file alone and imports neither `model` nor torch. Nothing is
imported here, so that the health check and the probe start fast and need none of the service's packages.
"""

import os

# ONNX Runtime's Linux builds send usage data to their maker unless this stands here before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
