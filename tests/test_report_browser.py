"""Pages about runs in a real browser: what is drawn, what is loaded, what scrolls, and what the search does."""

import shutil

import pytest
from browsing import WIDTHS
from launching import ROOT
from report_runs import everything


pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from es_trl.report.write import write_comparison, write_report  # noqa: E402


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of the committed run, of one with all that a page can show, and of both."""
    root = tmp_path_factory.mktemp("pages")
    lab, full = root / "lab", everything(root / "full")
    shutil.copytree(ROOT / "results" / "countdown_es", lab)
    return {
        "lab": write_report(lab),
        "full": write_report(full),
        "both": write_comparison([lab, full], root / "both.html"),
    }


class Open:
    """A page in a browser, with what it said and asked for."""

    def __init__(self, browser, file, width, scheme="light"):
        self.said, self.asked = [], []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.route("**/*", self._route)
        self.page.goto(file.as_uri())
        self.page.wait_for_function("document.querySelectorAll('.chart:not(:has(svg))').length === 0", timeout=30_000)

    def _route(self, route):
        if route.request.url.startswith("file:") and route.request.is_navigation_request():
            route.continue_()
        else:
            self.asked.append(route.request.url)
            route.abort()

    def rows(self):
        """The texts of the samples that are shown."""
        return self.page.locator("#samples tbody tr:visible .text").all_inner_texts()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["lab", "full", "both"])
def test_it_is_drawn_without_network_and_fits(name, width, browser, pages):
    opened = Open(browser, pages[name], width, "dark" if name == "full" else "light")
    page = opened.page
    sizes = page.evaluate("""[...document.querySelectorAll('.chart')].map(chart => {
        const [box, marks] = [chart.querySelector('svg').getBoundingClientRect(), chart.querySelectorAll('svg path')];
        return [box.width, box.height, chart.clientWidth, marks.length];
    })""")
    assert len(sizes) == {"lab": 6, "full": 10, "both": 5}[name]
    for wide, high, room, marks in sizes:
        assert 0.9 * room < wide <= room and high > 100 and marks > 5
    assert page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]") == [width, width]
    assert page.title() == {"lab": "lab", "full": "full", "both": "2 runs"}[name]  # no text of a run has been run
    page.close()
    assert opened.said == [] and opened.asked == []


def test_the_search_and_the_rollout_filter_the_samples(browser, pages):
    opened = Open(browser, pages["full"], 1280)
    page = opened.page
    assert len(opened.rows()) == 48 and page.inner_text("#count") == "24 of 24 completions"
    page.locator("#words").fill("RIGHT TO LEFT")
    assert len(opened.rows()) == 12 and all("right to left" in text for text in opened.rows()[1::2])
    page.locator("#rollout").select_option("20")
    assert len(opened.rows()) == 4 and page.inner_text("#count") == "2 of 24 completions"
    page.locator("#words").press("Enter")
    page.locator("#words").fill("nowhere")
    assert opened.rows() == [] and page.inner_text("#count") == "0 of 24 completions"
    page.locator("#words").fill("")
    page.locator("#rollout").select_option("")
    assert len(opened.rows()) == 48 and opened.said == []
    page.close()


def test_the_pointer_shows_values_and_messages(browser, pages):
    opened = Open(browser, pages["full"], 1280)
    page = opened.page
    chart = page.locator("[data-chart=reward] svg")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert "each rollout" in tip.inner_text() and "mean of the last 10 rollouts" in tip.inner_text()
    page.locator("[data-chart=entropy] svg path[aria-label*=collapsed]").first.hover(force=True)
    page.wait_for_function("document.querySelector('#vg-tooltip-element')?.innerText.includes('entropy has collapsed')")
    assert opened.said == [] and opened.asked == []
    page.close()
