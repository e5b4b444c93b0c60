"""reports/index.html: all iterations of the plan that have a report, and what is deployed."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from flywheel.engine.history import open_lookup
from flywheel.engine.planning import make_plan
from flywheel.engine.project import Workspace, open_project
from flywheel.errors import FlywheelError
from flywheel.files import copy_folder, write_text
from flywheel.hashing import hash_file
from flywheel.plan import Plan
from flywheel.records.live import live_tests
from flywheel.records.nodes import Query, finished, held_back

#: Report and deploy nodes of different iterations end in different threads, and both rewrite the page.
_WRITING = threading.Lock()


def write_overview(project: Workspace, plan: Plan, query: Query) -> None:
    """Rewrite the overview from the report artifacts of the plan's finished report nodes."""
    # Not before there is something to write: an apply with nothing to do starts in half the time.
    from flywheel.report import Report, index_entry, render_index
    from flywheel.report.assemble import deployed

    with _WRITING:
        # Of several records of one node the last counts.
        last = {
            record.iteration: record for record in finished(query, [node.fingerprint for node in plan.of("report")])
        }
        folders = [project.root / last[n].summary["artifact"] for n in sorted(last)]
        reports = [Report.model_validate_json((folder / "report.json").read_text(), strict=False) for folder in folders]
        if reports:
            held = held_back(query, [node.fingerprint for node in plan.of("deploy")])
            words = _last_words(plan, query) | {n: f"not deployed: {why}" for n, why in held.items()}
            tests = live_tests(project.state / "canary")
            live = {test.model_id: f"on live traffic {test.verdict}: {test.words}" for test in tests}
            entries = [
                index_entry(report).model_copy(
                    update={
                        "approval": words.get(report.iteration, report.approvals.state),
                        "live": live.get(report.verdict.candidate_id, ""),
                    }
                )
                for report in reports
            ]
            latest = entries[-1].model_copy(update={"deployed": deployed(query)})
            write_text(project.root / "reports" / "index.html", render_index([*entries[:-1], latest]))


def restore_reports(project: Workspace, plan: Plan, query: Query) -> None:
    """Where an edited spec wrote its report over one that the plan has (again), that one is put back. A page that no
    node wrote is left as it is."""
    wanted = {node.fingerprint for node in plan.of("report")}
    records = finished(query, verb="report")
    known = {record.summary["hash"] for record in records}
    stale = []
    for record in {record.iteration: record for record in records if record.node in wanted}.values():
        page = project.root / "reports" / f"iter-{record.iteration:03d}"
        data = page / "report.json"
        if data.is_file() and (now := hash_file(data)) != record.summary["hash"] and now in known:
            stale.append((project.root / record.summary["artifact"], page))
    for artifact, page in stale:
        copy_folder(artifact, page)
    if stale:
        write_overview(project, plan, query)


def refresh_overview(file: Path) -> None:
    """Write it again where a live test ended since; left as it is where that cannot be done now."""
    page, folder = file.absolute().parent / "reports" / "index.html", file.absolute().parent / ".flywheel" / "canary"
    if all(path.stat().st_mtime <= page.stat().st_mtime for path in folder.glob("*.json")):
        return
    with suppress(FlywheelError):
        project = open_project(file)
        with open_lookup(project.state) as query:
            last = query("SELECT coalesce(max(iteration), 0) AS n FROM deployments")[0]["n"]
            write_overview(project, make_plan(project, max(project.spec.loop.iterations, last), query), query)


def _last_words(plan: Plan, query: Query) -> dict[int, str]:
    """Iteration → what a person last said of what it promoted; the reports were written before."""
    gates = [node.fingerprint for node in plan.of("gate")]
    rows = query(
        """SELECT d.iteration, max_by(p.verdict, p.sequence) AS verdict, max_by(p.person, p.sequence) AS person
           FROM approvals p JOIN decisions d USING (decision_hash) WHERE list_contains(?, d.node)
           GROUP BY d.iteration""",
        [gates],
    )
    said = {"approve": "approved", "reject": "rejected"}
    return {row["iteration"]: f"{said[row['verdict']]} by {row['person']}" for row in rows}
