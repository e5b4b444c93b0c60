"""reports/index.html: all iterations of the plan that have a report, and what is deployed."""

from __future__ import annotations

from flywheel.engine.history import Lookup
from flywheel.engine.project import Project
from flywheel.files import write_text
from flywheel.plan import Plan


def write_overview(project: Project, plan: Plan, query: Lookup) -> None:
    """Rewrite the overview from the report artifacts of the plan's finished report nodes."""
    # Not before there is something to write: an apply with nothing to do starts in half the time.
    from flywheel.report import Report, index_entry, render_index
    from flywheel.report.assemble import deployed

    nodes = [node.fingerprint for node in plan.nodes if node.kind == "report"]
    rows = query(
        "SELECT summary FROM nodes WHERE list_contains(?, node) AND status = 'done' ORDER BY iteration", [nodes]
    )
    reports = [
        Report.model_validate_json(
            (project.root / row["summary"]["artifact"] / "report.json").read_text(), strict=False
        )
        for row in rows
    ]
    if reports:
        entries = [index_entry(report) for report in reports]
        latest = entries[-1].model_copy(update={"deployed": deployed(query)})
        write_text(project.root / "reports" / "index.html", render_index([*entries[:-1], latest]))
