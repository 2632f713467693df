"""From data to a tested, published image of an audio keyword classifier, as code.

`pipeline` runs the whole way and returns every artefact; each stage is also a function of its own.
"""
