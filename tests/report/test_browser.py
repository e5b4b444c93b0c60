"""The page in a real browser: silent, narrow, dark, printed, and inert with hostile text."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.records.nodes import Query
from flywheel.report import Report, index_entry, items, render, render_index

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH (Debian: apt-get install chromium)"),
]
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install flywheel[dev]")

#: Lowest WCAG 2 contrast of any shown text with what is behind it.
CONTRAST = """() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return [m[0], m[1], m[2], m.length > 3 ? m[3] : 1]; };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = c.map(v => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { const up = [];
    for (let n = e; n; n = n.parentElement) up.push(parse(getComputedStyle(n).backgroundColor));
    return up.reverse().reduce((b, a) => over(a, b), [255, 255, 255, 1]); };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !e.getClientRects().length) continue;
    const style = getComputedStyle(e), back = behind(e);
    const text = over(parse(e instanceof SVGElement ? style.fill : style.color), back);
    const [a, b] = [light(text), light(back)].sort((x, y) => y - x);
    found.push([(a + .05) / (b + .05), walk.currentNode.textContent.trim().slice(0, 40)]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM)
        yield opened
        opened.close()


class Visit:
    """A page opened from disk, with everything that it said or asked for."""

    def __init__(self, browser: Any, path: Path, width: int, scheme: str) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return width


@pytest.fixture(params=["promoted", "rejected", "untrained", "overview", "hostile", "doubtful"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "overview":
        html = render_index([index_entry(request.getfixturevalue(n)) for n in ("promoted", "rejected", "untrained")])
    else:
        html = render(request.getfixturevalue(request.param))
    file = tmp_path / "index.html"
    file.write_text(html)
    return file


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_silent_alone_wide_enough_and_legible(browser: Any, path: Path, width: int, scheme: str) -> None:
    visit = Visit(browser, path, width, scheme)
    assert visit.said == []
    assert visit.asked == [path.as_uri()]
    assert visit.overflow() <= 0
    contrast = visit.page.evaluate(CONTRAST)
    assert len(contrast) > 20
    assert contrast[0][0] >= 4.5, contrast[:5]
    visit.page.close()


@pytest.mark.parametrize("width", [768, 1000])
@pytest.mark.slow
def test_no_width_between_scrolls(browser: Any, path: Path, width: int) -> None:
    visit = Visit(browser, path, width, "light")
    assert visit.overflow() <= 0
    visit.page.close()


def test_dark_is_dark_and_print_is_not(browser: Any, promoted: Report, tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    file.write_text(render(promoted))
    visit = Visit(browser, file, 1280, "dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    assert visit.page.evaluate(ground) == "rgb(19, 22, 25)"
    visit.page.emulate_media(media="print", color_scheme="dark")
    assert visit.page.evaluate(ground) == "rgb(255, 255, 255)"
    assert visit.page.evaluate(CONTRAST)[0][0] >= 4.5
    assert not visit.page.locator("nav").is_visible()
    assert visit.page.pdf().startswith(b"%PDF")
    visit.page.close()


def test_the_keyboard_reaches_links_details_and_wide_tables(browser: Any, promoted: Report, tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    file.write_text(render(promoted))
    visit = Visit(browser, file, 1280, "light")
    reached = []
    for _ in range(60):
        visit.page.keyboard.press("Tab")
        reached.append(visit.page.evaluate("document.activeElement.className + ' ' + document.activeElement.tagName"))
    assert reached[0] == "skip A"
    assert {"scroll DIV", " SUMMARY", " A"} <= set(reached)
    visit.page.close()


@pytest.fixture
def explored(rejected: Report, shared_query: Query, wheel: Any, tmp_path: Path) -> Path:
    """The second iteration's page with its items."""
    nodes = wheel.chains[4][1]
    found = items.page_items(items.item_rows(shared_query, nodes, 1_000), dict(rejected.items.targets), {})
    file = tmp_path / "index.html"
    file.write_text(render(rejected, found))
    return file


def test_items_are_filtered_searched_and_named_by_the_address(browser: Any, explored: Path, rejected: Report) -> None:
    visit = Visit(browser, explored, 1280, "light")
    page, articles = visit.page, visit.page.locator("#x-list article")
    broken = rejected.scores.suites[1].broken
    assert page.locator("#x-count").inner_text().startswith(f"{rejected.items.total} of {rejected.items.total} items")
    page.locator("#x-movement").select_option("broken")
    page.locator("#x-suite").select_option("guard")
    assert page.locator("#x-count").inner_text().startswith(f"{broken} of ")
    assert "movement=broken" in page.url
    page.locator("#x-text").fill("no such text anywhere")
    assert articles.count() == 0
    page.locator("#x-reset").click()
    assert articles.count() == 20
    page.locator("#x-more").click()
    assert articles.count() == 40
    page.locator("#guards a.items", has_text="broken in guard").click()
    assert page.locator("#x-count").inner_text().startswith(f"{broken} of ")
    assert articles.first.locator("mark").count() > 0
    articles.first.locator("h4 a").click()
    assert articles.count() == 1
    assert visit.said == []
    assert visit.asked == [explored.as_uri()]
    visit.page.close()


def test_an_item_shows_its_modes_failures_and_lessons(browser: Any, explored: Path, rejected: Report) -> None:
    page = browser.new_page()
    page.goto(explored.as_uri())
    one = rejected.followed.rows[0]
    page.locator("#x-mode").select_option(one.mode)
    life = page.locator("#x-list article").first.locator("details").first
    life.locator("summary").first.click()
    copy = life.locator("details")
    copy.first.wait_for()
    assert copy.locator("h4").all_inner_texts() == [
        *(f"Failure · {failure.failure_id}" for failure in one.failures),
        *(f"Lesson · {lesson.candidate_id}" for lesson in one.lessons),
    ]
    assert page.evaluate(
        "(ids => ids.length === new Set(ids).size)([...document.querySelectorAll('[id]')].map(e => e.id))"
    )
    page.close()


def test_without_script_a_link_opens_the_mode_that_it_names(browser: Any, explored: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(explored.as_uri())
    failure = page.locator("#mode-1 article").first
    assert not failure.is_visible()
    page.locator('#modes tbody a[href="#mode-1"]').click()
    failure.wait_for(state="visible")
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_a_page_with_items_is_legible_and_fits(browser: Any, explored: Path, width: int, scheme: str) -> None:
    visit = Visit(browser, explored, width, scheme)
    assert visit.overflow() <= 0
    assert visit.page.evaluate(CONTRAST)[0][0] >= 4.5
    visit.page.close()


def test_without_script_the_page_has_its_samples_and_says_where_all_items_are(browser: Any, explored: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(explored.as_uri())
    assert not page.locator("#x-explorer").is_visible()
    assert page.locator("#items article").first.is_visible()
    assert page.get_by_text("the files below hold every one").is_visible()
    page.close()


def test_a_printed_page_has_at_most_eight_sheets(browser: Any, explored: Path) -> None:
    visit = Visit(browser, explored, 1280, "light")
    assert len(re.findall(rb"/Type\s*/Page[^s]", visit.page.pdf(format="A4"))) <= 8
    visit.page.close()


def test_hostile_text_stays_text(browser: Any, hostile: Report, tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    file.write_text(render(hostile))
    visit = Visit(browser, file, 360, "light")
    assert visit.page.locator("script, img, iframe").count() == 0
    assert visit.page.get_by_text("<script>alert(1)</script>").count() > 0
    assert visit.said == []
    visit.page.close()
