"""The page: one HTML file that needs nothing else. No request, everything escaped, one script that the policy names by
its hash, and without which all but going through the items is there."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flywheel.report import charts, words
from flywheel.report.index import IndexEntry
from flywheel.report.items import ItemPage, Pasts, held, page_item
from flywheel.report.model import Change, Rate, Report, ShownItem, Trend
from flywheel.text import plural, usd

#: Longest text that a page shows in one place, whoever made the report.
SHOWN = 60_000


def render(report: Report, items: Iterable[ShownItem] = ()) -> str:
    """The iteration's page, self-contained, at most 1.5 MB: of more `items` than that holds it has the first, and
    says so."""
    page_items = held(items, report.items.total, ("Incumbent", "Candidate"), report.iteration)
    return _page("report.html.j2", script=_script() if page_items.items else "", report=report, held=page_items)


def render_index(entries: list[IndexEntry]) -> str:
    """All iterations, the trend and what is deployed. `entries` in the order of the iterations."""
    return _page("index.html.j2", entries=entries, latest=entries[-1] if entries else None)


def render_items(report: Report, page: ItemPage, past: Pasts) -> str:
    """One page of an iteration's items, for the server: its form asks that server for others."""
    targets = dict(report.items.targets)
    shown = [page_item(row, targets, past.get((row["suite"], row["item_id"]), ())) for row in page.rows]
    return _page(
        "items.html.j2", forms="'self'", report=report, items=shown, found=page.found, number=page.number,
        pages=page.pages, wanted=page.wanted,
    )  # fmt: skip


def render_diff(name: str, labels: tuple[str, str], found: Mapping[str, Any], items: Sequence[ShownItem]) -> str:
    """Two models on the same items. `found`: as `flywheel diff A B --json` has it; `labels`: what each is called."""
    page_items = held(items, len(items), labels)
    script = _script() if page_items.items else ""
    return _page("diff.html.j2", script=script, name=name, labels=labels, found=found, held=page_items)


def render_life(row_id: str, chapters: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """All that the store knows of a row, for the server."""
    return _page("life.html.j2", row_id=row_id, chapters=chapters)


def render_review(view: str, **values: Any) -> str:
    """A page of `flywheel review`; `view` is who, overview or item. Its forms go to the server that sent it."""
    return _page(f"review_{view}.html.j2", forms="'self'", **values)


def _page(template: str, script: str = "", forms: str = "'none'", **values: Any) -> str:
    style = _source("style.css")
    allowed = f"style-src {_hashed(style)}" + (f"; script-src {_hashed(script)}" if script else "")
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action {forms}"
    rendered = {"style": Markup(style), "script": Markup(script), "policy": policy}
    return _environment().get_template(template).render(**rendered, **values)


def _hashed(source: str) -> str:
    """As a policy names what it admits."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _script() -> str:
    return _source("explore.js")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("flywheel.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.globals.update(charts=charts, words=words, Rate=Rate, Change=Change, trend_suites=trend_suites)
    environment.filters.update(
        percent=words.percent,
        points=words.points,
        interval=words.interval,
        usd=usd,
        seconds=words.seconds,
        measured=words.measured,
        answer_time=words.answer_time,
        n=words.count,
        plural=plural,
        json=Markup,  # of `items.held`, which leaves nothing in it that could end its element
    )
    return environment


def _finalize(value: Any) -> Any:
    """The last border: all text is made safe to show, also that of a `report.json` edited by hand."""
    return words.shown(value, SHOWN) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _source(name: str) -> str:
    source, _, _ = PackageLoader("flywheel.report", "templates").get_source(_environment(), name)
    return source


def trend_suites(trend: Trend) -> list[tuple[str, str]]:
    """(suite, role) of what is worth a trend chart: targets, then guards; everything where there is neither."""
    roles = {s.suite: s.role for s in trend.scores}
    ranked = [(name, role) for wanted in ("target", "guard") for name, role in roles.items() if role == wanted]
    return ranked or list(roles.items())
