"""`python -m service.probe URL`: the pipeline's test client of a running service.

It needs httpx and typer and none of the service's packages.
"""
