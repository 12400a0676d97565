"""The judge of gold answers in the test's own process, so that data sets load without a worker."""

import pytest

from es_trl.rewards import golds, judge


class Here:
    """The part of `Workers` that `check_golds` asks."""

    def ask(self, questions, seconds):
        for function, arguments in questions:
            try:
                yield getattr(judge, function)(*arguments)
            except judge.UnreadableGold as error:
                yield str(error)


@pytest.fixture(autouse=True)
def judged_here(monkeypatch, request):
    """Judge in this process, unless the test is slow."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(golds, "workers", Here)
