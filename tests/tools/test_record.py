"""Reading the engine's record of what ran (``tests/e2e/record.py``)."""

from __future__ import annotations

import pytest

from ..e2e import record

PROGRESS = """\
\x1b[95m27  : \x1b[0m┆ \x1b[34mwithExec\x1b[0m python tools/install.py --venv /opt/venv service
27  : ┆ Container.withExec CACHED [0.0s]
39  : ┆ withExec python -m model train --dataset /data/set --output /artifacts/model --profile=quick
39  : ┆ Container.withExec DONE [0.0s]
41  : ┆ withExec python -m tools.report /artifacts (expect: ANY)
41  : ┆ Container.withExec DONE [0.0s]
39  : ┆ Container.withExec DONE [1m4.7s]
40  : ┆ Container.directory DONE [3.0s]
"""


def test_what_took_time_ran_and_what_was_only_listed_did_not() -> None:
    found = record.read(PROGRESS)
    assert found.ran == {"model train"}
    assert found.cached == {"tools/install.py service", "tools.report"}


def test_another_form_of_the_record_is_an_error_not_an_empty_table() -> None:
    with pytest.raises(ValueError, match="no step"):
        record.read("39  : ▼ exec python -m model train\n")
