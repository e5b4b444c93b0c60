"""A project as a notebook shows it: what was decided, and what is deployed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any


def project_html(name: str, status: Mapping[str, Any], reports: Mapping[int, str]) -> str:
    """A table of the decisions, a row an iteration. `status`: as `engine.status` gives it; `reports`: iteration → where
    its page is."""
    rows = "".join(_row(decision, reports) for decision in status["decisions"])
    table = f"<table><tr><th>iteration</th><th>gate</th><th>why</th></tr>{rows}</table>" if rows else ""
    return f"<div><b>{escape(name)}</b>: {escape(_state(status))}{table}</div>"


def _state(status: Mapping[str, Any]) -> str:
    run, deployments = status["run"], status["deployments"]
    deployed = f"{deployments[-1]['model_id'][:12]} is deployed" if deployments else "nothing is deployed"
    return f"{deployed}; the last run: {run['status']}" if run else "no run yet"


def _row(decision: Mapping[str, Any], reports: Mapping[int, str]) -> str:
    number = decision["iteration"]
    page = reports.get(number)
    shown = f'<a href="{escape(page)}">{number}</a>' if page else str(number)
    cells: Sequence[str] = (shown, escape(decision["outcome"]), escape(decision["explanation"]))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
