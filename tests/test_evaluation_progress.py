"""What an evaluation shows while it samples."""

import io

import pytest
from rich.console import Console

from es_trl.evaluation import progress as module


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_lines_in_a_file(clock):
    text = io.StringIO()
    with module.progress(10_000, 2_000, Console(file=text, force_terminal=False)) as advance:
        for _ in range(8):
            clock[0] += 16
            advance(1_000)
    lines = text.getvalue().splitlines()
    assert lines == [
        "2,000 of 10,000 completions are there from an earlier start",
        "4,000 of 10,000 completions (40 %), 62 per second, 1 min 36 s left",
        "6,000 of 10,000 completions (60 %), 62 per second, 1 min 4 s left",
        "8,000 of 10,000 completions (80 %), 62 per second, 32 s left",
        "10,000 of 10,000 completions (100 %), 62 per second, 0 s left",
    ]
    assert "\r" not in text.getvalue() and "\x1b" not in text.getvalue()


def test_a_bar_on_a_terminal():
    text = io.StringIO()
    with module.progress(100, 0, Console(file=text, force_terminal=True, width=100)) as advance:
        advance(60)
        advance(40)
    assert "100 of 100 completions" in text.getvalue()
