"""The page of `flywheel review` in a real browser: by keyboard alone, narrow, dark and light, silent."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.engine.reviewing.items import ReviewDesk, ReviewTable
from flywheel.engine.reviewing.log import read_reviews
from flywheel.engine.reviewing.server import ReviewRoom, server
from mini_domain import rows

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH (Debian: apt-get install chromium)"),
]
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install flywheel[dev]")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM)
        yield opened
        opened.close()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[tuple[ReviewRoom, str]]:
    """Words to write and words to choose, and where the page is."""
    (tmp_path / "free.jsonl").write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows(0, 2)))
    long = {"text": "an unbroken " + "x" * 400, "more": {"of": ["a structure"]}}
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows(10, 8), long]))
    room = ReviewRoom(
        ReviewDesk(
            tmp_path,
            None,
            (ReviewTable(tmp_path / "free.jsonl", "label"), ReviewTable(tmp_path / "few.jsonl", "label")),
        )
    )
    running = server(room)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield room, f"http://127.0.0.1:{running.server_port}/"
    running.shutdown()
    running.server_close()


def opened(browser: Any, address: str, width: int = 1280, scheme: str = "light") -> tuple[Any, list[str]]:
    page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    return page, said


def typed(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key) if len(key) == 1 or key[0].isupper() else page.keyboard.type(key)
    page.wait_for_load_state()


def access(page: Any, key: str) -> None:
    """An access key as a keyboard sends it: playwright leaves out what the key is without Alt."""
    code = {"key": key, "code": f"Key{key.upper()}", "windowsVirtualKeyCode": ord(key.upper()), "modifiers": 1}
    session = page.context.new_cdp_session(page)
    session.send("Input.dispatchKeyEvent", {"type": "keyDown", "text": key, "unmodifiedText": key, **code})
    session.send("Input.dispatchKeyEvent", {"type": "keyUp", **code})


def focused(page: Any) -> str:
    found: str = page.evaluate("(document.activeElement.name || '') + ' ' + document.activeElement.textContent.trim()")
    return found.strip()


def test_a_person_without_a_mouse_says_who_they_are_and_goes_through_all_that_waits(
    browser: Any, room: tuple[ReviewRoom, str]
) -> None:
    page, said = opened(browser, room[1])
    page.wait_for_selector("input:focus")  # the first key is lost where it comes before the field has the focus
    typed(page, "ada", "Enter")
    page.wait_for_selector("text=What waits for people")
    assert focused(page) == "Go on with the next one"
    typed(page, "Enter")
    for answer in ("red", "blue"):
        page.wait_for_selector("textarea:focus")
        typed(page, answer, "Tab", "Tab")
        assert focused(page).endswith("Keep and go on")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
        with page.expect_navigation():
            typed(page, "Enter")
    page.wait_for_selector("input[type=radio]:focus")
    typed(page, "ArrowDown")
    with page.expect_navigation():
        typed(page, "Enter")
    page.wait_for_selector("text=What waits for people")
    assert "2 of 2 settled; 2 by you." in page.inner_text("main")
    assert [(r.person, r.value) for r in read_reviews(room[0].desk.state)] == [
        ("ada", "red"), ("ada", "blue"), ("ada", "red"),
    ]  # fmt: skip
    assert said == []


def test_what_is_needed_is_asked_for_before_anything_is_sent(browser: Any, room: tuple[ReviewRoom, str]) -> None:
    room[0].person = "Ada"
    page, _ = opened(browser, f"{room[1]}next")
    page.click("text=Keep and go on")
    assert page.evaluate("document.querySelector('textarea').validity.valueMissing")
    assert read_reviews(room[0].desk.state) == []
    with page.expect_navigation():
        page.click("text=There is no right answer")
    assert [r.value for r in read_reviews(room[0].desk.state)] == [None]


def test_access_keys_keep_and_lead_back(browser: Any, room: tuple[ReviewRoom, str]) -> None:
    room[0].person = "Ada"
    page, _ = opened(browser, f"{room[1]}next")
    first = page.input_value("input[name=item]")
    typed(page, "red")
    with page.expect_navigation():
        access(page, "s")
    with page.expect_navigation():
        access(page, "b")
    assert (page.input_value("input[name=item]"), page.input_value("textarea")) == (first, "red")


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (360, "light"), (1280, "dark"), (1280, "light")])
def test_every_page_fits_and_is_legible(browser: Any, room: tuple[ReviewRoom, str], width: int, scheme: str) -> None:
    page, said = opened(browser, room[1], width, scheme)
    addresses = ["?who", "", *(f"item?name={name}" for name in room[0].items({}))]
    assert contrast(page) >= 4.5
    with page.expect_navigation():
        typed(page, "ada", "Enter")
    for address in addresses:
        page.goto(room[1] + address)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, address
        assert contrast(page) >= 4.5, address
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (ground == "rgb(19, 22, 25)") is (scheme == "dark")
    assert said == []


def contrast(page: Any) -> float:
    """The lowest WCAG 2 contrast of text, controls included, with the colour that the page has behind it."""
    found: float = page.evaluate(
        """() => {
          const parse = c => c.match(/[\\d.]+/g).map(Number);
          const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
          const light = c => { const [r, g, b] = c.map(v => linear(v / 255));
            return .2126 * r + .7152 * g + .0722 * b; };
          const behind = e => { for (let n = e; n; n = n.parentElement) {
            const c = parse(getComputedStyle(n).backgroundColor);
            if (c.length < 4 || c[3] === 1) return c; }
            return [255, 255, 255]; };
          const shown = [...document.querySelectorAll('main *, header *')].filter(e => e.getClientRects().length &&
            ([...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || e.matches('textarea, input')));
          return Math.min(...shown.map(e => {
            const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
            return (a + .05) / (b + .05); }));
        }"""
    )
    return found
