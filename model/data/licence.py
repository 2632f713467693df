"""What may be trained on: only data whose licence is known gets into a model. Standard library only."""

from dataclasses import replace

from model.data.layout import INFO_FILE
from model.data.source import Source
from model.errors import UserError


def licensed(source: Source, licence: str = "", attribution: str = "") -> Source:
    """``source`` with its licence; what is given goes before what the data set says of itself.

    Raises:
        UserError: neither says it.
    """
    licence, attribution = licence.strip() or source.licence, attribution.strip() or source.attribution
    if not licence:
        raise UserError(
            f"the licence of data set '{source.name}' is not known, and only data with a known licence gets into a "
            f"model: give --licence 'CC BY 4.0' (say), or a {INFO_FILE} with \"licence\" at the data set's top"
        )
    return replace(source, licence=licence, attribution=attribution)
