"""A page about a run as tests read it, without Vega but where they ask for it."""

import json
from html.parser import HTMLParser

import pytest


@pytest.fixture(autouse=True)
def without_vega(request, monkeypatch):
    """Leave out Vega, which takes seconds to put together, but in tests that say so."""
    if "with_vega" not in request.fixturenames:
        from es_trl.report import page as pages

        monkeypatch.setattr(pages, "vega", lambda: "/* Vega */")


@pytest.fixture
def with_vega():
    """Keep Vega in the page."""


class Page(HTMLParser):
    """The tags, the cells of tables and the texts of scripts of a page."""

    def __init__(self, path):
        super().__init__()
        self.cells, self.tags, self.scripts, self.seen = [], [], [], ""
        self.text = path.read_text()
        self.feed(self.text)
        self.specs = json.loads(self.scripts[-2]) if len(self.scripts) > 1 else {}

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "td":
            self.cells.append("")
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.lasttag == "script":
            self.scripts[-1] += data
        else:
            self.seen += data
            if self.cells and self.lasttag in ("td", "div"):
                self.cells[-1] += data

    def data(self, chart):
        return self.specs[chart]["data"]["values"]
