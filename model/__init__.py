"""The trainer: a data set in, a checked keyword model out (``python -m model --help``).

Importing this package loads nothing heavy: torch, matplotlib and ONNX are imported by the commands that need them,
so that the data commands also run where torch is absent.
"""
