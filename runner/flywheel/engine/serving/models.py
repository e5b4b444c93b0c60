"""The deployed model as a server holds it: looked at before every batch, and changed when the pointer moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flywheel.engine.asking import chosen_model
from flywheel.engine.project import Workspace, open_project
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


class CurrentModel:
    """What `deploy/current` points at, checked and loaded. One that cannot be trusted or loaded is refused, `say` is
    told why, and the one before goes on serving. Raises as `chosen_model` where there is none to begin with."""

    def __init__(self, file: Path, worker: Worker, say: Callable[[str], None]) -> None:
        self._file, self._worker, self._say = file, worker, say
        self.refused = ""
        """Why what is deployed now is not what is served; nothing where it is."""
        project = open_project(file)
        self._mark = _marked(project)
        self.served = self._opened(project)

    def look(self) -> Served:
        """The model that answers now; blocks while another is loaded."""
        mark = _marked(self.served.project)
        if mark == self._mark:
            return self.served
        try:
            self.served = self._opened(open_project(self._file))
            self.refused, self._mark = "", mark
            self._say(f"serving {self.served.model_id} from now on, by the spec as it is")
        except StoreError:  # an apply that has just begun holds the store: the next batch looks again
            pass
        except (FlywheelError, OSError, ValueError) as error:
            self.refused, self._mark = str(error), mark
            self._say(f"{error}\n{self.served.model_id} goes on serving.")
        return self.served

    def _opened(self, project: Workspace) -> Served:
        model_id, arm = chosen_model(project, None)
        self._worker.call("flywheel.student.serving:ready", arm)
        return Served(project, model_id, arm, int((_home(project) / "manifest.json").stat().st_mtime))


def _home(project: Workspace) -> Path:
    return (project.root / project.spec.deploy.path / "current").resolve()


def _marked(project: Workspace) -> Mark:
    """Changes when another model is deployed, or a file of this one or the spec is written."""
    home = _home(project)
    files = [project.file, *(sorted(home.rglob("*")) if home.is_dir() else [])]
    found = [(path, path.stat()) for path in files if path.exists()]
    return tuple((path.as_posix(), one.st_mtime_ns, one.st_size) for path, one in found)
