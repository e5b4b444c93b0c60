"""The page: one HTML file that needs nothing else. No script, no request, everything escaped."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flywheel.report import charts, words
from flywheel.report.index import IndexEntry
from flywheel.report.model import Report, Trend
from flywheel.text import plural

#: Longest text that a page shows in one place, whoever made the report.
SHOWN = 60_000


def render(report: Report) -> str:
    """The iteration's page, self-contained, at most about 1 MB."""
    return _page("report.html.j2", report=report)


def render_index(entries: list[IndexEntry]) -> str:
    """All iterations, the trend and what is deployed. `entries` in the order of the iterations."""
    return _page("index.html.j2", entries=entries, latest=entries[-1] if entries else None)


def _page(template: str, **values: Any) -> str:
    style = _source("style.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return _environment().get_template(template).render(style=Markup(style), policy=policy, **values)


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
    environment.globals.update(charts=charts, words=words, lead_suites=lead_suites)
    environment.filters.update(
        percent=words.percent,
        points=words.points,
        interval=words.interval,
        usd=words.usd,
        seconds=words.seconds,
        measured=words.measured,
        answer_time=words.answer_time,
        n=words.count,
        plural=plural,
    )
    return environment


def _finalize(value: Any) -> Any:
    """The last border: all text is made safe to show, also that of a `report.json` edited by hand."""
    return words.shown(value, SHOWN) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _source(name: str) -> str:
    source, _, _ = PackageLoader("flywheel.report", "templates").get_source(_environment(), name)
    return source


def lead_suites(trend: Trend) -> list[str]:
    """The suites worth a trend chart: targets, or everything where there is none."""
    roles = {s.suite: s.role for s in trend.scores}
    return [name for name, role in roles.items() if role == "target"] or list(roles)
