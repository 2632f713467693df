"""`python -m service.test_client URL`: the pipeline's test client of a running service.

It needs httpx, jsonschema and typer, and none of the service's packages.
"""
