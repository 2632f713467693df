"""May this be released, and the papers that go with it. Programs with files in and files out: ``python -m release``."""
