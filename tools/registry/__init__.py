"""Work with releases in an OCI registry: ``python -m tools.registry``, through skopeo, oras and cosign.

Standard library only. An image goes up by its digest, gets its attachments and its signature, and only then its tags:
no tag ever names an image that lacks them.
"""
