"""What the overview of all iterations shows of one of them."""

from __future__ import annotations

from flywheel.report.model import Deployed, Outcome, Report, ReportPart, Trend


class IndexEntry(ReportPart):
    """`href` is the page's address relative to the overview."""

    name: str
    iteration: int
    href: str
    outcome: Outcome
    headline: str
    generated_at: str
    lessons: int
    usd: float
    seconds: float
    trend: Trend
    deployed: Deployed | None
    live: str = ""
    """What live traffic found of it (`deploy.canary`); else empty."""
    approval: str
    """What a person said of it, that it waits for one, or why it is not deployed though it was promoted; else empty."""


def index_entry(report: Report) -> IndexEntry:
    """A report's line in the overview; its page is at `iter-NNN/index.html`."""
    return IndexEntry(
        name=report.name,
        iteration=report.iteration,
        href=f"iter-{report.iteration:03d}/index.html",
        outcome=report.verdict.outcome,
        headline=report.verdict.headline,
        generated_at=report.generated_at,
        lessons=report.training.rows,
        usd=report.costs.usd,
        seconds=report.costs.seconds,
        trend=report.trend,
        deployed=report.deployed,
        approval=report.approvals.state,
    )
