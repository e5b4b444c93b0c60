"""Making a plan from a project and what its store remembers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flywheel.engine.history import done_nodes, measured, open_lookup
from flywheel.engine.mining import with_traffic_then
from flywheel.engine.project import Workspace
from flywheel.errors import PlanMoved, UsageError
from flywheel.plan import Plan, PlanNode, ProjectFacts, compile_plan
from flywheel.plan.estimates import History, Speed
from flywheel.records.nodes import Query, finished
from flywheel.text import did_you_mean, plural
from flywheel.training.recipe import in_words, preference_rate


def make_plan(
    project: Workspace, iterations: int | None = None, query: Query | None = None, speed: Speed | None = None
) -> Plan:
    """The plan for `iterations` (the spec's by default). `query` is the open store's, or the file is opened to read.
    `speed`: of the student, for what was not measured yet."""
    wanted = iterations or project.spec.loop.iterations
    rows = project.rows_asked if speed is None else project.rows
    history = History(rows=rows, count=project.count, speed=speed, prices=project.prices)
    if query is not None:
        return _compile(project, wanted, query, history)
    if not project.store_path.exists():
        return compile_plan(project.spec, project.spec_hash, project.facts(), {}, history, wanted)
    with open_lookup(project.state) as found:
        return _compile(project, wanted, found, history)


def timed_plan(project: Workspace, iterations: int | None, say: Callable[[str], None]) -> Plan:
    """The plan with the time that the student will take; it is measured where nothing tells, and `say` is told."""
    from flywheel.engine.calibrating import speed_of  # it asks a student, which an apply with nothing to do need not

    plan = make_plan(project, iterations)
    speed = speed_of(project, plan, say)
    return plan if speed is None else make_plan(project, iterations, speed=speed)


def training_in_words(project: Workspace) -> str:
    """What is chosen for what `train` leaves open; nothing where it leaves nothing open, or the base is not here."""
    from flywheel.engine.calibrating import size_of_student

    size = size_of_student(project)
    return in_words(project.spec.train.of_lessons, size) if size else ""


def rounds_in_words(project: Workspace) -> str:
    """How much is sampled and judged after the lessons; nothing where the student learns from lessons alone."""
    from flywheel.engine.calibrating import size_of_student

    train, chosen = project.spec.train, project.spec.train.preference
    if not train.rounds:
        return ""
    size = size_of_student(project)
    rate = chosen.learning_rate or (preference_rate(size, train.method, project.spec.practises) if size else None)
    return (
        f"After the lessons, {train.method}: {plural(train.rounds, 'round')} of {plural(chosen.questions, 'question')} "
        f"at most with {chosen.samples} answers to each: up to {train.rounds * chosen.answers:,} answers are judged in "
        f"an iteration{f'; learning rate {rate:g}' if rate else ''}."
    )


def _compile(project: Workspace, iterations: int, query: Query, known: History) -> Plan:
    measures = measured(query)
    history = replace(known, seconds=measures.seconds, acceptance=measures.acceptance, calls=measures.calls)
    done = done_nodes(query, project.root)

    def compiled(facts: ProjectFacts) -> Plan:
        return compile_plan(project.spec, project.spec_hash, facts, done, history, iterations)

    plan = with_traffic_then(project.facts(query), compiled, query)
    unspoken = waiting(project, plan, query)
    held = {node.name for node in plan.of("deploy") if node.iteration in unspoken and node.status != "reused"}
    if not held:
        return plan
    return replace(plan, nodes=tuple(_with_wait(node) if node.name in held else node for node in plan.nodes))


def waiting(project: Workspace, plan: Plan, query: Query) -> set[int]:
    """Iterations whose candidate the gate promoted, and of which no person has spoken; none where nobody is asked."""
    if project.spec.deploy.approve != "human":
        return set()
    gates = [node.fingerprint for node in plan.of("gate") if node.status == "reused"]
    rows = query(
        """SELECT iteration FROM decisions WHERE list_contains(?, node) AND outcome = 'promote'
           AND decision_hash NOT IN (SELECT decision_hash FROM approvals)""",
        [gates],
    )
    return {row["iteration"] for row in rows}


def up_to(plan: Plan, step: str) -> Plan:
    """The part of a plan that ends with `step` of the first iteration that is not done. Raises UsageError where that
    iteration has no such step."""
    at_work = next((node.iteration for node in plan.pending), plan.iterations)
    steps = list(dict.fromkeys(node.kind for node in plan.nodes if node.iteration == at_work))
    if step not in steps:
        raise UsageError(f"--until {step}: iteration {at_work} has no such step. {did_you_mean(step, steps)}")
    wanted = {node.name for node in plan.of(step) if node.iteration == at_work}
    for node in reversed(plan.nodes):  # each comes after its parents
        if node.name in wanted:
            wanted.update(node.parents)
    return replace(plan, nodes=tuple(node for node in plan.nodes if node.name in wanted))


def _with_wait(node: PlanNode) -> PlanNode:
    why = f"waits for approval: flywheel approve {node.iteration} --by NAME"
    return replace(node, why=(why, *node.why))


def known_budgets(project: Workspace, plan: Plan) -> dict[int, dict[str, int]]:
    """Lessons by iteration and mode, for the plan's budget nodes that are done."""
    if not project.store_path.exists():
        return {}
    with open_lookup(project.state) as query:
        iterations = {
            record.node: record.iteration for record in finished(query, [n.fingerprint for n in plan.of("budget")])
        }
        rows = query(
            """SELECT node, mode, sum(lessons) AS lessons FROM budgets WHERE list_contains(?, node) AND lessons > 0
               GROUP BY ALL ORDER BY lessons DESC, mode""",
            [list(iterations)],
        )
    found: dict[int, dict[str, int]] = {}
    for row in sorted(rows, key=lambda row: iterations[row["node"]]):
        found.setdefault(iterations[row["node"]], {})[row["mode"]] = int(row["lessons"])
    return found


def cannot_pay_in_words(project: Workspace, plan: Plan) -> str:
    """Where lessons that follow the errors can hardly pay, by the probes of the last iteration that has them."""
    if not project.store_path.exists():
        return ""
    with open_lookup(project.state) as query:
        records = finished(query, [node.fingerprint for node in plan.of("budget")])
    last = max(records, key=lambda record: record.iteration, default=None)
    return " ".join(last.summary.get("cannot_pay", ())) if last else ""


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
