"""Making a plan from a project and what its store remembers."""

from __future__ import annotations

from dataclasses import replace

from flywheel.engine.history import Lookup, done_nodes, measured, open_lookup
from flywheel.engine.project import Workspace
from flywheel.errors import PlanMoved
from flywheel.plan import Plan, PlanNode, compile_plan
from flywheel.plan.estimates import History


def make_plan(project: Workspace, iterations: int | None = None, query: Lookup | None = None) -> Plan:
    """The plan for `iterations` (the spec's by default). `query` is the open store's, or the file is opened to read."""
    wanted = iterations or project.spec.loop.iterations
    if query is not None:
        return _compile(project, wanted, query)
    if not project.store_path.exists():
        return compile_plan(project.spec, project.spec_hash, project.facts(), {}, History(rows=project.rows), wanted)
    with open_lookup(project.state) as found:
        return _compile(project, wanted, found)


def _compile(project: Workspace, iterations: int, query: Lookup) -> Plan:
    history = replace(measured(query), rows=project.rows)
    plan = compile_plan(
        project.spec, project.spec_hash, project.facts(), done_nodes(query, project.root), history, iterations
    )
    if project.spec.deploy.approve != "human":
        return plan
    waiting = _waiting(plan, query)
    return replace(plan, nodes=tuple(_with_wait(node) if node.iteration in waiting else node for node in plan.nodes))


def _waiting(plan: Plan, query: Lookup) -> set[int]:
    """Iterations whose candidate the gate promoted, and of which no person has spoken."""
    gates = [node.fingerprint for node in plan.nodes if node.kind == "gate" and node.status == "reused"]
    rows = query(
        """SELECT iteration FROM decisions WHERE list_contains(?, node) AND outcome = 'promote'
           AND decision_hash NOT IN (SELECT decision_hash FROM approvals)""",
        [gates],
    )
    return {row["iteration"] for row in rows}


def _with_wait(node: PlanNode) -> PlanNode:
    if node.kind != "deploy" or node.status == "reused":
        return node
    why = f"waits for approval: flywheel approve {node.iteration} --by NAME"
    return replace(node, why=(why, *node.why))


def known_budgets(project: Workspace, plan: Plan) -> dict[int, dict[str, int]]:
    """Lessons by iteration and mode, for the plan's budget nodes that are done."""
    if not project.store_path.exists():
        return {}
    with open_lookup(project.state) as query:
        rows = query(
            """SELECT n.iteration, b.mode, sum(b.lessons) AS lessons FROM budgets b JOIN nodes n ON n.node = b.node
               WHERE list_contains(?, b.node) AND b.lessons > 0 AND n.status = 'done'
               GROUP BY ALL ORDER BY n.iteration, lessons DESC, b.mode""",
            [[node.fingerprint for node in plan.nodes if node.kind == "budget"]],
        )
    found: dict[int, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row["iteration"], {})[row["mode"]] = int(row["lessons"])
    return found


def check_saved(saved: dict[str, object], plan: Plan) -> None:
    """Refuse a saved plan that is no longer what would happen. Raises PlanMoved with the first difference."""
    if saved.get("state") == plan.state:
        return
    before = {n["name"]: n for n in saved.get("nodes", [])}  # type: ignore[attr-defined]
    for node in plan.nodes:
        old = before.get(node.name)
        if old is None or old["fingerprint"] != node.fingerprint or old["status"] != node.status:
            why = f" ({node.why[0]})" if node.why else ""
            raise PlanMoved(
                f"the plan is out of date: {node.name} is {node.status} now{why}, and was "
                f"{old['status'] if old else 'absent'} when it was saved. Run `flywheel plan -o …` "
                "again and look at it."
            )
    raise PlanMoved(
        "the plan is out of date: it has nodes that the spec no longer has. Run `flywheel plan -o …` again."
    )
