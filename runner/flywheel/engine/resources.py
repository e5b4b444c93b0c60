"""What nodes share during a run: model worker, verifier pool, teachers' desk. Each is opened when first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from flywheel.engine.project import Workspace
from flywheel.executor import Pool, Worker, WorkerCancelled
from flywheel.records import Generation, LessonRequest, Reply, Subject, Verdict
from flywheel.spec.models import Task
from flywheel.store import Store
from flywheel.student.identity import BUILTIN
from flywheel.student.loading import Arm
from flywheel.student.work import AnswerJob, Asking, Divisible
from flywheel.teachers import Desk, Spent, drain
from flywheel.verifiers import Checker
from flywheel.verifiers.rubric import RubricJudge, Setting, judged_further

if TYPE_CHECKING:
    from flywheel.executor.cluster import Cluster

#: Verifier processes.
JUDGES = 2
#: Subjects about which a teacher that judges is asked in one go.
JUDGED_TOGETHER = 512
#: Replies after which the journal goes into the store.
ASKED_TOGETHER = 2_000


class Resources:
    def __init__(self, project: Workspace, store: Store, run_id: str) -> None:
        self._project, self._store, self._run_id = project, store, run_id
        log = project.state / "runs" / run_id / "worker.log"
        self._worker = Worker(log)
        self._checker: Checker | None = None
        self._cluster: Cluster | None = None
        self._judging = threading.Lock()
        self._contained = ""
        self._rubrics: dict[str, RubricJudge] = {}
        self._stopped = False
        self._desk: Desk | None = None
        self._opening = threading.Lock()
        self._journal = project.state / "calls"
        self._student: Arm | None = None
        self._asked = 0
        self.on_event: Callable[[dict[str, Any]], None] = lambda event: None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop asking, kill children; received answers stay in the journal."""
        self._stopped = True
        self._worker.close()
        if self._cluster is not None:
            self._cluster.cancel()
        with self._opening:
            if self._desk is not None:
                self._desk.stop()
                self._desk = None
        with self._judging:
            if self._checker is not None:
                self._checker.close()
                self._checker = None
            if self._cluster is not None:
                self._cluster.close()
                self._cluster = None

    def connect(self) -> Cluster | None:
        """To the cluster that the spec names, if any: before anything is asked or paid."""
        spec = self._project.spec
        if spec.executor.kind == "local":
            return None
        from flywheel.executor.cluster import Cluster  # here: most runs have no use for it

        with self._opening:
            if self._stopped:  # a node between two steps would else join it anew, and nobody leave it
                raise WorkerCancelled("the cluster was left")
            if self._cluster is None:
                leave_out = ["reports", spec.deploy.path, spec.student.base]
                address = spec.executor.address or "auto"
                self._cluster = Cluster(address, self._project.root, leave_out, spec.executor.students)
            return self._cluster

    # -- computing

    def compute(self, function: str, payload: Any, on_progress: Callable[[dict[str, Any]], None]) -> Any:
        """In the model worker; by the students of the cluster, where there are any, what they can divide."""
        if self._project.spec.executor.students and isinstance(payload, Divisible):
            return self._divided(function, payload, on_progress)
        return self.compute_here(function, payload, on_progress)

    def compute_here(self, function: str, payload: Any, on_progress: Callable[[dict[str, Any]], None]) -> Any:
        """In the model worker."""
        return self._worker.call(function, payload, on_progress=on_progress)

    def _divided(self, function: str, job: Divisible, on_progress: Callable[[dict[str, Any]], None]) -> Any:
        from flywheel.executor.fleet import PARTS_EACH

        cluster = self.connect()
        assert cluster is not None
        assert cluster.fleet is not None
        fleet = cluster.fleet
        if job.arm.gguf is not None:
            self._worker.call("flywheel.student.work:unpacked", job.arm)
        return job.joined(fleet.call(function, job.parts(PARTS_EACH * fleet.size), self._sent(job), on_progress))

    def _sent(self, job: Divisible) -> list[Path]:
        """The folders that the cluster is sent for a job: its adapter, and a base that comes with the project or with
        flywheel. Another base every machine must have."""
        arm, root = job.arm, self._project.root.resolve()
        base = Path(arm.source)
        ours = base.is_relative_to(root) or base in BUILTIN.values()
        named = [*([arm.source] if ours else []), *([arm.adapter] if arm.adapter else []), *job.folders()]
        return [folder for folder in map(Path, named) if folder.is_dir()]

    # -- judging

    def judge(
        self, subjects: Iterable[Subject], cascade: bool = False, tasks: Mapping[str, Task] | None = None
    ) -> Iterator[list[Verdict]]:
        """Verdicts in order, of every verifier of the subject's task (`tasks`: other than the spec's); with `cascade`
        none after one that fails. Judges that are teachers are asked about what no other verifier has failed.
        """
        tasks = tasks or self._project.spec.tasks
        judges = self._open_rubrics({name for task in tasks.values() for name in task.verify})
        if not judges:
            yield from self._checked(subjects, cascade, tasks)
            return
        waiting = iter(subjects)
        while chosen := list(islice(waiting, JUDGED_TOGETHER)):
            yield from judged_further(chosen, list(self._checked(chosen, cascade, tasks)), tasks, judges)

    def _checked(
        self, subjects: Iterable[Subject], cascade: bool, tasks: Mapping[str, Task]
    ) -> Iterator[list[Verdict]]:
        """One node at a time: the pool's children are as many as the machine's cores can use."""
        with self._judging:
            if self._stopped:
                raise WorkerCancelled("judging was stopped")
            if self._checker is None:
                spec = self._project.spec
                cluster = self.connect()
                self._checker = Checker(
                    spec.verifiers,
                    self._project.root,
                    JUDGES,
                    unsafe=spec.allow_unsafe_execution,
                    open_pool=Pool if cluster is None else cluster.pool,
                )
            try:
                for verdicts in self._checker.judge(subjects, tasks, cascade):
                    if self._stopped:
                        raise WorkerCancelled("judging was stopped")
                    yield verdicts
            finally:
                self._record_tiers(self._checker.tiers)

    def _record_tiers(self, tiers: Mapping[str, str]) -> None:
        """In the run's record: how what nobody trusts was contained, and whether a program ran without a sandbox."""
        contained = ", ".join(f"{what}: {tiers[what]}" for what in sorted(tiers))
        if contained != self._contained:
            self._contained = contained
            with self._store.transaction() as transaction:
                transaction.execute(
                    "UPDATE runs SET sandbox = ?, tainted = ? WHERE run_id = ?",
                    [contained, tiers.get("programs") == "none", self._run_id],
                )

    def _open_rubrics(self, names: set[str]) -> dict[str, RubricJudge]:
        """The judges among these verifiers, in the spec's order."""
        spec = self._project.spec
        wanted = [name for name, verifier in spec.verifiers.items() if verifier.asks is not None and name in names]
        with self._opening:
            for name in wanted:
                if name not in self._rubrics:
                    parameters = self._project.teacher_parameters
                    setting = Setting(spec, self._project.root, parameters, self._ask_judge, self._keep_calibration)
                    self._rubrics[name] = RubricJudge(name, setting)
        return {name: self._rubrics[name] for name in wanted}

    def _ask_judge(self, requests: Sequence[LessonRequest]) -> list[Reply]:
        if self._stopped:
            raise WorkerCancelled("judging was stopped")
        return self._open_desk().ask(requests)

    def _keep_calibration(self, row: dict[str, Any]) -> None:
        """Every process calibrates anew, from calls it has paid for; only what is new becomes a row."""
        known = self._store.query(
            "SELECT * FROM calibrations WHERE verifier = ? AND version = ? ORDER BY calibrated_at DESC LIMIT 1",
            [row["verifier"], row["version"]],
        )
        if not known or known[0]["confusion"] != row["confusion"]:
            self._store.write("calibrations", [row])

    # -- asking teachers

    def ask(self, requests: Sequence[LessonRequest], student: Arm) -> list[Reply]:
        """Replies in order. `student` is the model that student teachers sample: the iteration's incumbent."""
        if not requests:
            return []
        self._student = student
        replies = self._open_desk().ask(requests)
        self._asked += len(requests)
        if self._asked >= ASKED_TOGETHER:  # the desk holds what the store has not taken
            self._asked = 0
            self.take_in_journal()
        return replies

    def take_in_journal(self) -> None:
        """Answers that are durable but not yet in the store."""

        def commit(entries: list[tuple[dict[str, Any], Reply]]) -> None:
            self._store.save_calls(self._run_id, entries)
            self._store.checkpoint()  # the journal forgets them next: they must not hang on the log alone

        with self._opening:
            if self._desk is not None:
                self._desk.drain(commit)
            elif self._journal.exists():
                drain(self._journal, commit)

    def _open_desk(self) -> Desk:
        with self._opening:
            if self._stopped:  # a node between two steps would else open a new desk and go on paying
                raise WorkerCancelled("asking was stopped")
            if self._desk is None:
                project = self._project
                self._desk = Desk(
                    project.spec.teachers,
                    project.root,
                    self._journal,
                    limits=project.spec.loop,
                    known=self._store.known_calls,
                    generate=self._sample,
                    on_event=lambda event: self.on_event(event),
                    spent_before=self._spent_before(),
                    seed=project.spec.seed,
                )
            return self._desk

    def _spent_before(self) -> dict[str, Spent]:
        """What this run has cost: an apply that goes on where unfinished ones stopped continues their account."""
        rows = self._store.query(
            """SELECT teacher, round(sum(usd), 9) AS usd, sum(attempts) AS calls,
                      sum(input_tokens + output_tokens) AS tokens
               FROM calls
               WHERE called_at > coalesce((SELECT max(ended_at) FROM runs WHERE status = 'done'), '-infinity')
                   AND run_id NOT LIKE 'audit-%'
               GROUP BY teacher"""
        )
        return {row["teacher"]: Spent(row["usd"], int(row["calls"]), int(row["tokens"])) for row in rows}

    def _sample(
        self, prompts: list[str], temperature: float, top_p: float, seeds: list[int], stop: tuple[str, ...] = ()
    ) -> list[Generation]:
        assert self._student is not None
        student = self._project.spec.student
        job = AnswerJob(
            self._student,
            Asking.many(student),
            tuple((str(i), prompt) for i, prompt in enumerate(prompts)),
            temperature,
            top_p,
            tuple(seeds),
            stop,
        )
        found: list[Generation] = self.compute("flywheel.student.work:answer", job, lambda _: None)
        return found
