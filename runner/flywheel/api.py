"""The Python API: `from flywheel import Project`. Thin over the engine; docs/python.md shows it at work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from flywheel.errors import Fault, UsageError
from flywheel.text import listing

if TYPE_CHECKING:
    from flywheel.engine.apply import ApplyOutcome
    from flywheel.engine.asking import StudentAnswer
    from flywheel.engine.dataset import ExportedDataset
    from flywheel.engine.export import Exported
    from flywheel.engine.project import Workspace
    from flywheel.executor import Worker
    from flywheel.plan import Plan
    from flywheel.spec.models import Spec

SPEC_NAME = "flywheel.yaml"


class Project:
    """A folder with a spec, and all that the wheel has made there. `Project.open` gives one.

    Nothing is kept between calls but the process that holds the model: each call reads spec and files as they are
    then, as each command does. Everything that a user can act on raises a `flywheel.errors.FlywheelError`.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._worker: Worker | None = None

    @classmethod
    def open(cls, path: str | Path = ".") -> Self:
        """The project at `path`: its folder, or its spec's file. Raises UsageError where there is none."""
        file = Path(path)
        if file.is_dir():
            file /= SPEC_NAME
        if not file.is_file():
            raise UsageError(f"{file}: there is no spec here. Run `flywheel init`, or name one.")
        return cls(file.absolute())

    def __repr__(self) -> str:
        return f"Project.open({str(self.file)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from flywheel.report.notebook import project_html

        pages = {number: (folder / "index.html").as_uri() for number, folder in self.reports().items()}
        return project_html(self.root.name, self.status(), pages)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process that holds the model, if one was asked; the next question starts another."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    # -- what is wanted

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.file.parent

    @property
    def spec(self) -> Spec:
        """The spec, checked. Raises SpecInvalid."""
        return self._workspace().spec

    def validate(self) -> list[Fault]:
        """Warnings. Raises SpecInvalid, whose `faults` are every fault of the spec and of the files that it names."""
        from flywheel.engine.golds import validated

        return validated(self._workspace())

    def plan(self, iterations: int | None = None) -> Plan:
        """What `apply` would do, and why. Raises SpecInvalid, StoreLocked.

        `iterations`: how many in all, instead of `loop.iterations`.
        """
        from flywheel.engine.planning import make_plan

        return make_plan(self._workspace(), iterations)

    def apply(
        self,
        plan: Plan | None = None,
        *,
        iterations: int | None = None,
        until: str | None = None,
        confirm: Callable[[Plan], bool] = lambda plan: True,
        on_event: Callable[[dict[str, Any]], None] = lambda event: None,
    ) -> ApplyOutcome:
        """Turn the wheel. The outcome says how it ended (`exit_code` as of the command), and what was promoted.

        `plan`: exactly this one; PlanMoved is raised where it is no longer what would happen. `confirm` may look at the
        plan, its dollars above all, and say no; without it money is spent unasked, within the spec's limits. `on_event`
        sees what the terminal would show. `until`: no further than this step of the first iteration that is not done,
        such as `curate`. Raises StoreLocked, SpecInvalid, SandboxUnavailable, UsageError before anything runs.
        """
        from flywheel.engine.apply import apply, command_of

        self.close()  # two models may not fit
        wanted = iterations if plan is None else plan.iterations
        return apply(
            self._workspace(),
            iterations=wanted,
            until=until,
            saved_plan=None if plan is None else plan.to_json(),
            listener=on_event,
            confirm=confirm,
            command=command_of(wanted, until),
        )

    # -- what happened

    def status(self) -> dict[str, Any]:
        """The newest run, decisions, approvals and deployments."""
        from flywheel.engine.status import status

        return status(self.root / ".flywheel")

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Rows of a query over the store, which can only be read. Raises StoreError before the first run, UsageError
        for a query that cannot run."""
        from flywheel.engine.history import asked, open_lookup

        with open_lookup(self.root / ".flywheel") as lookup:
            return asked(lookup, sql, parameters)

    def reports(self) -> dict[int, Path]:
        """Iteration → folder of its report: index.html, report.json, junit.xml, summary.md."""
        folders = sorted((self.root / "reports").glob("iter-*/report.json"))
        return {int(path.parent.name.removeprefix("iter-")): path.parent for path in folders}

    def report(self, iteration: int | None = None) -> dict[str, Any]:
        """An iteration's report (the last one's without it), as schemas/report.schema.json describes it."""
        found = self.reports()
        number = max(found, default=0) if iteration is None else iteration
        if number not in found:
            have = f"There are: {listing(map(str, found), str(number))}." if found else "Run `flywheel apply` first."
            raise UsageError(f"no report of iteration {number}. {have}" if found else f"no report yet. {have}")
        return dict(json.loads((found[number] / "report.json").read_text(encoding="utf-8")))

    def rollback(self, to: str | None = None) -> dict[str, Any]:
        """Deploy the model before the current one again, or `to` (a model id); gives its manifest. Raises UsageError
        where there is none, Tampered where it is not what it was."""
        from flywheel.engine.rollback import rollback

        return rollback(self._workspace(), to)

    # -- the model

    def export(self, folder: str | Path, *, iteration: int | None = None, merged: bool = False) -> Exported:
        """Write the deployed model, or the one that `iteration` trained, as a folder that works elsewhere.

        `merged`: one plain model, that answers as the adapter does; else the adapter with all that it needs. Raises
        UsageError where the folder is not empty or there is no such model, FlywheelError where the merged model
        answers otherwise; nothing is left then.
        """
        from flywheel.engine.export import export

        return export(self._workspace(), self._asked(), Path(folder), iteration, merged)

    def export_dataset(self, folder: str | Path, *, iteration: int | None = None) -> ExportedDataset:
        """Write what the deployed model, or the one that `iteration` trained, was trained on: `data.jsonl`,
        `data.parquet`, and a card with which `datasets.load_dataset(folder)` loads it.

        Raises UsageError where the folder is not empty or there is no such model; nothing is left then.
        """
        from flywheel.engine.dataset import export_dataset

        return export_dataset(self._workspace(), Path(folder), iteration)

    def ask(
        self, task: str, row: Mapping[str, Any], *, iteration: int | None = None, judge: bool = False
    ) -> StudentAnswer:
        """One answer; see `answers`."""
        return self.answers(task, [row], iteration=iteration, judge=judge)[0]

    def answers(
        self,
        task: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        iteration: int | None = None,
        judge: bool = False,
    ) -> list[StudentAnswer]:
        """What the deployed model says to rows of a task, in order and greedily, asked by the task's prompt.

        `iteration`: the model that it trained; 0 is the base. `judge`: the task's verifiers say whether each is right,
        as far as they can without asking a teacher. The model's process stays until `close`. Raises UsageError for a
        task, an iteration or a row that is none, Tampered where the adapter is not the recorded one.
        """
        from flywheel.engine import asking

        return asking.ask(self._workspace(), self._asked(), task, rows, iteration, judge)

    def _asked(self) -> Worker:
        from flywheel.engine.asking import new_worker

        if self._worker is None:
            self._worker = new_worker(self.root)
        return self._worker

    def _workspace(self) -> Workspace:
        from flywheel.engine.project import open_project

        return open_project(self.file)
