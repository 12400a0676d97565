"""The site builds without a warning, refuses broken pages, and can be read and searched in a real browser."""

import http.server
import json
import re
import subprocess
import sys
import threading
from dataclasses import fields
from functools import partial

import pytest
from browsing import WIDTHS
from launching import LIMIT, ROOT, environment

from es_trl import Stage
from es_trl.config.registry import PARTS
from es_trl.recipe import RecipeParser
from es_trl.tracking.history import RolloutRecord


pytestmark = pytest.mark.slow
DOCS = ROOT / "docs"


def build(docs, out):
    """The exit code of a strict build, and what it warns of."""
    command = [sys.executable, "-m", "sphinx", "-E", "-W", "-n", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", str(out / "doctrees"), str(docs), str(out / "html")],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built once."""
    out = tmp_path_factory.mktemp("site")
    code, warnings = build(DOCS, out)
    assert (code, warnings) == (0, "")
    return out / "html"


def ids(page):
    return set(re.findall(r'\bid="([^"]+)"', page.read_text()))


def test_every_page_is_built(site):
    pages = [page.relative_to(DOCS) for page in DOCS.rglob("*.md") if "_build" not in page.parts]
    assert len(pages) > 8
    assert [page for page in pages if not (site / page).with_suffix(".html").is_file()] == []


def test_every_key_and_field_is_on_its_page(site):
    keys = {field.name for kind in RecipeParser()._classes for field in fields(kind) if field.init}
    shown = ids(site / "reference/recipe_keys.html")
    assert len(keys) > 200 and {name for name in keys if f"key-{name}" not in shown} == set()
    assert {field.name for field in fields(Stage) if f"stage-{field.name}" not in shown} == set()
    kinds = {f"{block}-{kind}" for block, parts in PARTS.items() for kind in parts}
    assert len(kinds) > 20 and kinds - shown == set()
    shown = ids(site / "reference/history.html")
    assert {field.name for field in fields(RolloutRecord) if f"field-{field.name}" not in shown} == set()


def test_the_help_of_every_history_field_is_shown(site):
    assert all(field.metadata["help"] for field in fields(RolloutRecord))
    text = (site / "reference/history.html").read_text()
    assert "Target minus entropy." in text and "number, nats" in text and "es/clamped_entropy" in text


def test_ranges_and_choices_are_shown(site):
    text = re.sub(r"<[^>]+>", "", (site / "reference/recipe_keys.html").read_text())
    for cell in ("number &gt; 0 and &lt;= 1", "whole number &gt;= 2", "token_truncate, token_mask", "chat, text"):
        assert cell in text, cell


def test_the_search_index_finds_what_readers_type(site):
    text = (site / "searchindex.js").read_text()
    index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    for stem in ("resum", "ratio", "clip"):  # as the search shortens resume, ratio and clip
        assert index["terms"].get(stem) is not None or index["titleterms"].get(stem) is not None, stem


def test_a_broken_page_fails_the_build(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("_ext", "_static"):
        (docs / name).symlink_to(DOCS / name)
    # a public name without a docstring, and one whose docstring leaves out a parameter
    bare = "import es_trl\nes_trl.__all__ += ['Bare', 'Half']\nes_trl.Bare = type('Bare', (), {})\n"
    half = "def Half(one, two):\n    'Add `one`.'\nHalf.__module__, es_trl.Half = 'es_trl', Half\n"
    (docs / "conf.py").write_text((DOCS / "conf.py").read_text() + bare + half)
    (docs / "index.md").write_text("# Site\n\n[broken](nowhere.md) and {py:class}`es_trl.Nothing`\n")
    (docs / "orphan.md").write_text("# Orphan\n")
    code, warnings = build(docs, tmp_path / "out")
    assert code == 1, warnings
    assert "cross-reference target not found: 'nowhere.md'" in warnings
    assert "reference target not found: es_trl.Nothing" in warnings
    assert "orphan.md: WARNING: document isn't included in any toctree" in warnings
    assert "WARNING: es_trl.Bare has no docstring" in warnings
    assert "WARNING: the docstring of es_trl.Half leaves out two" in warnings
    assert "WARNING: no page documents es_trl.Stage" in warnings


# --- in a browser -----------------------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Print nothing."""


@pytest.fixture(scope="module")
def address(site):
    """The address at which the site is served."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_scrolls_sideways(width, browser, address, site):
    page = browser.new_page(viewport={"width": width, "height": 900})
    sizes = {}
    for file in sorted(site.rglob("*.html")):
        name = str(file.relative_to(site))
        page.goto(f"{address}/{name}", wait_until="domcontentloaded")
        sizes[name] = page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
    page.close()
    assert len(sizes) > 8 and {name: size for name, size in sizes.items() if size[0] > size[1]} == {}
    assert {size[1] for size in sizes.values()} == {width}


def test_a_wide_table_scrolls_in_its_own_box(browser, address):
    page = browser.new_page(viewport={"width": 400, "height": 900})
    page.goto(f"{address}/reference/recipe_keys.html")
    boxes = page.eval_on_selector_all("div.table-wrapper", "boxes => boxes.map(b => [b.scrollWidth, b.clientWidth])")
    page.close()
    assert len(boxes) > 20 and all(inner > outer for inner, outer in boxes)


@pytest.mark.parametrize("word", ["resume", "num_generations", "ratio"])
def test_typing_into_the_search_shows_results(word, browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{address}/index.html")
    page.locator("input.sidebar-search").type(word)
    page.keyboard.press("Enter")
    # the results come one by one
    wanted = page.locator("#search-results li a", has_text=re.compile(f"{word}|recipe keys", re.IGNORECASE))
    wanted.first.wait_for(timeout=20_000)
    page.close()
