"""What a run tells where there is no terminal."""

import logging

import pytest

from model import console


def test_a_bar_is_a_line_at_each_fourth_of_each_total(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.log, "handlers", [caplog.handler])
    monkeypatch.setattr(console.log, "propagate", False)
    with caplog.at_level(logging.INFO, "model"), console.bar("reading (clips)") as show:
        for done in range(1, 101):
            show(done, 100)
        for done in (5, 10):
            show(done, 10)
    assert caplog.messages == [
        *(f"reading (clips): {done} of 100" for done in (1, 25, 50, 75, 100)),
        *(f"reading (clips): {done} of 10" for done in (5, 10)),
    ]
