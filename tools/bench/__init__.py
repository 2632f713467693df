"""What the service costs beside its peers (`python -m tools.bench`), and over a long time (`… tools.bench.soak`)."""
