"""Doing what the plan says: independent nodes in parallel, each committed with all its rows or not at all."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flywheel.engine.events import EventLog, Listener
from flywheel.engine.overview import restore_reports, write_overview
from flywheel.engine.planning import check_saved, make_plan, up_to
from flywheel.engine.project import Workspace, refuse_unready
from flywheel.engine.resources import Resources
from flywheel.engine.reviewing.log import take_in
from flywheel.errors import ApprovalNeeded, BudgetStop, FlywheelError, NodeFailed
from flywheel.hashing import hash_file
from flywheel.plan import VERBS, Plan, PlanNode
from flywheel.prompting import Templates
from flywheel.store import Store

if TYPE_CHECKING:
    from flywheel.nodes import Context, NodeResult

#: Nodes at a time. The model worker serialises what computes; the others wait for teachers and verifiers.
THREADS = 4

EXIT_DONE, EXIT_FAILED, EXIT_NOTHING_PROMOTED, EXIT_BUDGET, EXIT_WAITING, EXIT_INTERRUPTED = 0, 1, 3, 5, 6, 130


@dataclass
class ApplyOutcome:
    """How an apply ended."""

    run_id: str
    exit_code: int
    ran: int = 0
    left: int = 0
    """Nodes of the plan that are still to run."""
    promoted: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    error: str = ""


def command_of(iterations: int | None, until: str | None = None) -> str:
    """What a person types to do the same, for the report."""
    options = [f" --iterations {iterations}"] if iterations else []
    options += [f" --until {until}"] if until else []
    return "flywheel apply" + "".join(options)


def apply(
    project: Workspace,
    *,
    iterations: int | None = None,
    until: str | None = None,
    saved_plan: Mapping[str, Any] | None = None,
    listener: Listener = lambda event: None,
    confirm: Callable[[Plan], bool] = lambda plan: True,
    command: str = "flywheel apply",
    shown: bool = True,
) -> ApplyOutcome:
    """Compile, confirm and execute; without `shown` nothing is reported or deployed. `until`: no further than this step
    of the first iteration that is not done. Raises StoreLocked, PlanMoved, SpecInvalid, SandboxUnavailable, UsageError
    before anything runs.

    Ctrl-C ends the run with exit code 130: received answers are kept, unfinished nodes leave nothing.
    """
    with Store(project.store_path) as store:
        run_id = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
        with Resources(project, store, run_id) as resources:
            if store.quarantined is not None:
                listener({"event": "store_recovered", "at": time.time(), "moved": str(store.quarantined)})
            resources.take_in_journal()
            store.forget_unfinished()
            take_in(project.state, store)
            plan = make_plan(project, iterations, store.query)
            if not shown:
                nodes = tuple(node for node in plan.nodes if not VERBS[node.kind].shows_in_overview)
                plan = replace(plan, nodes=nodes)
            if saved_plan is not None:
                check_saved(dict(saved_plan), plan)
            if until is not None:
                plan = up_to(plan, until)
            if shown:
                restore_reports(project, plan, store.query)
            if not plan.pending:
                return _not_run(run_id, listener)
            refuse_unready(project, plan)
            if not confirm(plan):
                return _not_run(run_id, listener, "nothing was run")
            if any(VERBS[node.kind].needs_judges for node in plan.pending):
                resources.connect()
            return _Run(project, store, resources, plan, run_id, listener, command).execute()


def _not_run(run_id: str, listener: Listener, error: str = "") -> ApplyOutcome:
    """The last event says in any case how it ended."""
    outcome = ApplyOutcome(run_id, EXIT_DONE, error=error)
    listener({"event": "run_ended", "at": round(time.time(), 3), **_ended(outcome, "done")})
    return outcome


def _ended(outcome: ApplyOutcome, status: str) -> dict[str, Any]:
    told = {name: getattr(outcome, name) for name in ("run_id", "exit_code", "ran", "left", "promoted", "error")}
    return {**told, "status": status}


class _Run:
    def __init__(
        self,
        project: Workspace,
        store: Store,
        resources: Resources,
        plan: Plan,
        run_id: str,
        listener: Listener,
        command: str,
    ) -> None:
        # Not before there is something to do: the nodes are more than half of what an apply imports.
        from flywheel import nodes

        self._nodes = nodes
        self.project, self.store, self.resources, self.plan = project, store, resources, plan
        self.run_id, self.command = run_id, command
        self.started = datetime.now(UTC)
        self.log = EventLog(project.state / "runs" / run_id / "events.jsonl", listener)
        resources.on_event = lambda event: self.log.emit(event.pop("event", "calls"), **event)
        self.outcome = ApplyOutcome(run_id, EXIT_DONE)
        self.done = {node.name for node in plan.nodes if node.status == "reused"}
        self.dead: set[str] = set()
        self.budget_stop = ""
        self.waiting = ""

    def execute(self) -> ApplyOutcome:
        self._begin()
        try:
            self._schedule()
            self.outcome.exit_code = self._exit_code()
        except KeyboardInterrupt:
            self.resources.stop()
            self.outcome.exit_code, self.outcome.error = EXIT_INTERRUPTED, "interrupted"
        finally:
            self.resources.take_in_journal()
            self._end()
        return self.outcome

    # -- scheduling

    def _schedule(self) -> None:
        """Start a node when its parents are done; what a failed node leads to is left out, siblings go on."""
        waiting = {node.name: node for node in self.plan.pending}
        running: dict[Future[None], PlanNode] = {}
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="node")
        try:
            while True:
                for node in self._ready(waiting):
                    del waiting[node.name]
                    running[pool.submit(self._run_node, node)] = node
                if not running:
                    return
                finished, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in finished:
                    self._settle(running.pop(future), future)
        except KeyboardInterrupt:
            self.resources.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _ready(self, waiting: Mapping[str, PlanNode]) -> list[PlanNode]:
        if self.budget_stop:
            return []
        ready = []
        for node in list(waiting.values()):
            if (node.status == "blocked" and VERBS[node.kind].may_be_blocked) or any(
                p in self.dead for p in node.parents
            ):
                self.dead.add(node.name)
            elif node.name not in self.dead and all(parent in self.done for parent in node.parents):
                ready.append(node)
        return ready

    def _settle(self, node: PlanNode, future: Future[None]) -> None:
        error = future.exception()
        if error is None:
            self.done.add(node.name)
            return
        self.dead.add(node.name)
        if isinstance(error, BudgetStop):
            self.budget_stop = str(error)
            self.log.emit("budget_stop", node=node.name, error=str(error))
            return
        if isinstance(error, ApprovalNeeded):
            self.waiting = str(error)
            self.log.emit("approval_needed", node=node.name, iteration=node.iteration, error=str(error))
            return
        if not isinstance(error, FlywheelError):
            error = self._bug(node, error)
        self.outcome.failed.append(node.name)
        self.outcome.error = str(error)
        self._record_failure(node, str(error))
        self.log.emit("node_failed", node=node.name, error=str(error))

    def _bug(self, node: PlanNode, error: BaseException) -> FlywheelError:
        """Anything unforeseen: one line for the user, the traceback in a file."""
        path = self.project.state / "runs" / self.run_id / "traceback.txt"
        with path.open("a", encoding="utf-8") as handle:
            handle.write(f"{node.name}\n{''.join(traceback.format_exception(error))}\n")
        where = path.relative_to(self.project.root)
        return NodeFailed(f"{type(error).__name__}: {error} (a bug in flywheel; the traceback is in {where})")

    # -- one node

    def _run_node(self, node: PlanNode) -> None:
        started = datetime.now(UTC)
        self.log.emit("node_started", node=node.name, kind=node.kind, iteration=node.iteration)
        self._clear(node)
        try:
            result, seconds = self._done(node, started)
        except BaseException:
            self._clear(node)
            raise
        if VERBS[node.kind].decides and result.summary["outcome"] == "promote":
            self.outcome.promoted.append(node.iteration)
        if VERBS[node.kind].shows_in_overview:
            write_overview(self.project, self.plan, self.store.query)
        self.outcome.ran += 1
        self.log.emit(
            "node_done",
            node=node.name,
            seconds=round(seconds, 3),
            counts=vars(result.counts),
            summary={k: v for k, v in result.summary.items() if k != "keys"},
        )

    def _clear(self, node: PlanNode) -> None:
        """Away with what an attempt wrote that did not finish."""
        with self.store.transaction() as transaction:
            transaction.clear_node(node.fingerprint)

    def _done(self, node: PlanNode, started: datetime) -> tuple[NodeResult, float]:
        """What the node gave, committed, and the seconds that it took."""
        result = self._nodes.RUN[node.kind](self._context(node))
        # Now, not at the end of the run: reports and the bandit count calls, and know a node's by their time.
        self.resources.take_in_journal()
        if not result.counts.balanced():
            raise NodeFailed(f"{node.name}: rows were lost: {result.counts}. Nothing of it was kept.")
        self._check_files(node)
        return result, self._commit(node, result, started)

    def _check_files(self, node: PlanNode) -> None:
        """What the node read must be what its fingerprint says; the files may have been edited meanwhile."""
        for part, planned in node.inputs.items():
            name = part.removeprefix("file ")
            if name != part and hash_file(self.project.root / name) != planned:
                raise NodeFailed(
                    f"{name} was changed while {node.name} ran; nothing of it was kept. Run `flywheel apply` again: it "
                    "plans with the new content."
                )

    def _context(self, node: PlanNode) -> Context:
        project = self.project
        return self._nodes.Context(
            spec=project.spec,
            spec_text=project.loaded.text,
            spec_hash=project.spec_hash,
            root=project.root,
            node=node,
            chain=self.plan.chain(),
            student=project.student,
            run_id=self.run_id,
            query=self.store.query,
            stream=self.store.stream,
            columns_of=self.store.columns,
            write=self.store.write_all,
            copy=self.store.copy,
            compute=self.resources.compute,
            judge=self.resources.judge,
            ask=self.resources.ask,
            teacher_parameters=project.teacher_parameters,
            shots=project.shots,
            render=Templates(project.root).render,
            progress=lambda **details: self.log.progress(node.name, **details),
            versions=project.versions,
            command=self.command,
        )

    def _commit(self, node: PlanNode, result: NodeResult, started: datetime) -> float:
        """Rows and record in one transaction: "done" is the last atomic act."""
        ended = datetime.now(UTC)
        with self.store.transaction() as transaction:
            for table, rows in result.rows.items():
                transaction.insert(table, rows)
            transaction.insert("nodes", [self._record(node, "done", result, "", started, ended)])
        return (ended - started).total_seconds()

    def _record_failure(self, node: PlanNode, error: str) -> None:
        now = datetime.now(UTC)
        self.store.write("nodes", [self._record(node, "failed", self._nodes.NodeResult(), error, now, now)])

    def _record(
        self, node: PlanNode, status: str, result: NodeResult, error: str, started: datetime, ended: datetime
    ) -> dict[str, Any]:
        counts = result.counts
        return {
            "node": node.fingerprint, "run_id": self.run_id, "name": node.name, "kind": node.kind,
            "iteration": node.iteration, "subject": node.subject, "round": node.round, "status": status,
            "inputs": node.inputs, "parents": list(node.parents),
            "rows_in": counts.rows_in, "kept": counts.kept, "rejected": counts.rejected, "failed": counts.failed,
            "summary": dict(result.summary), "error": error, "started_at": started, "ended_at": ended,
            "seconds": (ended - started).total_seconds(),
        }  # fmt: skip

    # -- the run

    def _begin(self) -> None:
        self.store.write("runs", [self._run_row("running", None)])
        self.log.emit(
            "run_started",
            run_id=self.run_id,
            name=self.plan.name,
            iterations=self.plan.iterations,
            nodes=[[n.name, n.kind, n.iteration, n.status] for n in self.plan.nodes],
        )

    def _end(self) -> None:
        status = {
            EXIT_FAILED: "failed", EXIT_BUDGET: "budget", EXIT_WAITING: "waiting", EXIT_INTERRUPTED: "interrupted",
        }  # fmt: skip
        word = status.get(self.outcome.exit_code, "done")
        self.store.write("runs", [self._run_row(word, datetime.now(UTC))])
        self.store.snapshot(self.project.state / "snapshot.duckdb")
        self.outcome.left = len(self.plan.pending) - self.outcome.ran
        self.log.emit("run_ended", **_ended(self.outcome, word))
        self.log.close()

    def _run_row(self, status: str, ended: datetime | None) -> dict[str, Any]:
        return {
            "run_id": self.run_id, "started_at": self.started, "ended_at": ended, "status": status,
            "spec_hash": self.project.spec_hash, "spec_text": self.project.loaded.text,
            "versions": self.project.versions, "command": self.command,
        }  # fmt: skip

    def _exit_code(self) -> int:
        if self.budget_stop:
            self.outcome.error = self.budget_stop
            return EXIT_BUDGET
        if self.waiting and not self.outcome.failed:
            self.outcome.error = self.waiting
            return EXIT_WAITING
        if self.outcome.failed or self.dead:
            self.outcome.error = self.outcome.error or _blocked(self.plan.nodes)
            return EXIT_FAILED
        decided = any(VERBS[node.kind].decides for node in self.plan.pending)
        return EXIT_NOTHING_PROMOTED if decided and not self.outcome.promoted else EXIT_DONE


def _blocked(nodes: Iterable[PlanNode]) -> str:
    return next((f"{node.name} is blocked: {node.why[0]}" for node in nodes if node.status == "blocked"), "")
