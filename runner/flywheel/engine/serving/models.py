"""The deployed model as a server holds it: looked at before every batch, and changed when the pointer moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from flywheel.engine.asking import chosen_model, deployed_model
from flywheel.engine.project import Workspace, open_project
from flywheel.engine.rollback import rollback
from flywheel.engine.serving.canary import Trial, end, standing, trial_answers, trial_of, unit_of
from flywheel.engine.serving.verdicts import LiveTask, judge_waiting, live_tasks, verdicts_of
from flywheel.errors import FlywheelError, StoreError
from flywheel.executor import Worker
from flywheel.student.loading import Arm

#: Whatever is deployed goes by this name, too.
ALIAS = "deployed"

Mark = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Served:
    """A model in service, and the project as it was when it was taken into service."""

    project: Workspace
    model_id: str
    arm: Arm
    since: int
    """When it was deployed, in seconds since 1970."""

    @property
    def names(self) -> list[str]:
        """By which it can be asked for."""
        return list(dict.fromkeys([self.model_id, ALIAS, self.project.spec.name]))


@dataclass(frozen=True)
class Tried:
    """A trial that goes on, and the former model; where it is lost, that one answers everybody until the pointer is
    back."""

    trial: Trial
    former: Served
    is_lost: bool
    tasks: tuple[LiveTask, ...] = ()
    """Of whose answers verifiers speak, too."""


class CurrentModel:
    """What `deploy/current` points at, checked and loaded. One that cannot be trusted or loaded is refused, `say` is
    told why, and the one before goes on serving. Raises as `chosen_model` where there is none to begin with."""

    def __init__(self, file: Path, worker: Worker, say: Callable[[str], None]) -> None:
        self._file, self._worker, self._say = file, worker, say
        self.refused = ""
        """Why what is deployed now is not what is served; nothing where it is."""
        project = open_project(file)
        self._problem = ""
        """Why verifiers could not speak the last time."""
        self._mark = _marked(project)
        self.served = self._opened(project)
        self._tried = self._trying(self.served)

    def look(self) -> Served:
        """The model that answers now; blocks while another is loaded."""
        mark = _marked(self.served.project)
        if mark == self._mark:
            return self.served
        try:
            served = self._opened(open_project(self._file))
            self._tried = self._trying(served)
            self.served, self.refused, self._mark = served, "", mark
            self._say(f"serving {self.served.model_id} from now on, by the spec as it is")
        except StoreError:  # an apply that has just begun holds the store: the next batch looks again
            pass
        except (FlywheelError, OSError, ValueError) as error:
            self.refused, self._mark = str(error), mark
            self._say(f"{error}\n{self.served.model_id} goes on serving.")
        return self.served

    @property
    def trial(self) -> str:
        """The name of the trial that goes on; nothing where none does."""
        tried = self._tried
        return "" if tried is None or tried.is_lost else tried.trial.name

    def answering(self, model: str, asked: Mapping[str, Any]) -> tuple[Served, str | None]:
        """Who answers this request, and the name of the trial that it was drawn for. `model`: which was asked for;
        `asked`: as it is logged."""
        tried = self._tried
        if tried is None:
            return self.served, None
        if tried.is_lost:
            return tried.former, None
        if model == self.served.model_id:
            return self.served, None
        takes = tried.trial.takes(unit_of(asked))
        return (self.served if takes else tried.former), tried.trial.name

    def loaded_as(self, served: Served) -> Arm:
        """With merged weights, which answer sooner, where one model answers everybody; two that take turns share their
        base, and each has its adapter beside it."""
        return replace(served.arm, merged=not self.trial)

    def judge(self, now: datetime, is_over: Callable[[], bool] = lambda: False) -> None:
        """Look at what people and verifiers said since the promotion, and act on it; let go when `is_over`. A rollback
        that cannot be made now, such as while an apply holds the store, is tried again the next time; the former model
        answers meanwhile."""
        tried = self._tried
        if tried is None:
            return
        try:
            if not tried.is_lost and not self._ended(tried, now, is_over):
                return
            if (tried := self._tried) is not None:
                rollback(tried.former.project, tried.trial.former_id)
                self._say(f"rolled back to {tried.trial.former_id} by the canary")
        except StoreError:
            pass
        except (FlywheelError, OSError) as error:
            self._say(f"{error}\nThe canary's word could not be kept. It is tried again.")

    def _ended(self, tried: Tried, now: datetime, is_over: Callable[[], bool]) -> bool:
        trial, served = tried.trial, tried.trial.folder.parent / "served"
        verdicts = None
        if tried.tasks:
            answers = trial_answers(trial, served)
            problem = judge_waiting(tried.former.project, tried.tasks, answers, trial.verdicts, is_over)
            if problem and problem != self._problem:
                self._say(f"{problem}\ncanary: until that is mended people's words alone count.")
            self._problem = problem
            verdicts = verdicts_of(trial.verdicts)
        found = standing(trial, served, now, verdicts)
        ending = found.ending(trial.settings.margin)
        if ending is None:
            return False
        end(trial, ending, found)
        verdict = "is rolled back" if ending == "lost" else "answers everybody from now on"
        self._say(f"canary: {trial.model_id} {verdict}: {found.words}")
        self._tried = replace(tried, is_lost=True) if ending == "lost" else None
        return True

    def _trying(self, served: Served) -> Tried | None:
        """Where a trial goes on, the former model, loaded too. One that cannot be loaded any more, such as of another
        base, is no reason not to serve the new one. Raises StoreError where the history cannot be read now."""
        project = served.project
        trial = trial_of(project, served.model_id)
        if trial is None or trial.ending == "kept":
            return None
        try:
            model_id, arm = deployed_model(project, project.root / project.spec.deploy.path / trial.former_id)
            self._worker.call("flywheel.student.serving:ready", arm)
        except StoreError:
            raise
        except FlywheelError as error:
            self._say(
                f"{error}\ncanary: without {trial.former_id} there is no trial; {served.model_id} serves everybody."
            )
            return None
        if trial.ending is None:
            self._say(
                f"canary: {trial.settings.share:.0%} of conversations go to {served.model_id}, others to {model_id}"
            )
        former = replace(served, model_id=model_id, arm=arm)
        return Tried(trial, former, trial.ending == "lost", tuple(live_tasks(project)))

    def _opened(self, project: Workspace) -> Served:
        model_id, arm = chosen_model(project, None)
        self._worker.call("flywheel.student.serving:ready", replace(arm, merged=True))
        return Served(project, model_id, arm, int((_home(project) / "manifest.json").stat().st_mtime))


def _home(project: Workspace) -> Path:
    return (project.root / project.spec.deploy.path / "current").resolve()


def _marked(project: Workspace) -> Mark:
    """Changes when another model is deployed, or a file of this one or the spec is written."""
    home = _home(project)
    files = [project.file, *(sorted(home.rglob("*")) if home.is_dir() else [])]
    found = [(path, path.stat()) for path in files if path.exists()]
    return tuple((path.as_posix(), one.st_mtime_ns, one.st_size) for path, one in found)
