"""A spec on disk and everything that fingerprints need to know of it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.errors import Fault, SpecInvalid
from flywheel.hashing import fingerprint, hash_file
from flywheel.records.rows import read_rows
from flywheel.spec.files import spec_files
from flywheel.spec.loader import Loaded, load, missing_env
from flywheel.spec.models import JudgeVerifier, Spec
from flywheel.spec.outline import asked_by
from flywheel.student import StudentFiles, locate

if TYPE_CHECKING:
    from flywheel.plan import Facts, Plan

#: Packages whose version can change a result.
MEASURED_WITH = ("flywheel", "torch", "transformers", "peft", "lm_eval", "duckdb", "litellm", "tokenizers")


@dataclass(frozen=True)
class Project:
    """A valid spec, its folder, and hashes of all that it names."""

    loaded: Loaded
    file: Path
    untargeted: bool = False
    """See `Facts.untargeted`."""

    @property
    def spec(self) -> Spec:
        return self.loaded.spec

    @property
    def root(self) -> Path:
        return self.loaded.root

    @property
    def state(self) -> Path:
        return self.root / ".flywheel"

    @property
    def store_path(self) -> Path:
        return self.state / "flywheel.duckdb"

    @cached_property
    def spec_hash(self) -> str:
        return fingerprint(self.spec.model_dump(mode="json"))

    @cached_property
    def student(self) -> StudentFiles:
        return locate(self.spec.student.base, self.spec.student.revision, self.root)

    @cached_property
    def teacher_parameters(self) -> dict[str, dict[str, Any]]:
        from flywheel.teachers import parameters  # here: `validate` has no use for it and is faster without

        return {name: parameters(name, teacher, self.root) for name, teacher in self.spec.teachers.items()}

    @cached_property
    def versions(self) -> dict[str, str]:
        found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
        for package in MEASURED_WITH:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                found[package] = "absent"
        return found

    @cached_property
    def rows(self) -> dict[str, int]:
        """Rows of each file about which teachers may be asked beside lessons: probes, suites, calibrations."""
        spec = self.spec
        judges = [verifier for verifier in spec.verifiers.values() if isinstance(verifier, JudgeVerifier)]
        if not judges and not any(suite.teachers for suite in spec.evals.values()):
            return {}
        of_tasks = [*(task.probes for task in spec.tasks.values()), *(suite.data for suite in spec.evals.values())]
        files = {*of_tasks, *(judge.calibration for judge in judges)} - {None}
        return {file: len(read_rows(self.root / file)) for file in files if file is not None}

    def facts(self) -> Facts:
        from flywheel.plan import Facts
        from flywheel.verifiers import parts

        student = self.spec.student
        return Facts(
            files={name: hash_file(self.root / name) for _, name in spec_files(self.spec)},
            student={
                "base": self.student.name,
                "weights": self.student.weights_hash,
                "dtype": student.dtype,
                "device": student.device,
            },
            teachers=self.teacher_parameters,
            verifiers={
                name: parts(name, v, self.root, self.teacher_parameters) for name, v in self.spec.verifiers.items()
            },
            eval_tasks=self._eval_tasks(),
            blocked=self._blocked(),
            untargeted=self.untargeted,
        )

    def _eval_tasks(self) -> str:
        files = sorted(
            path for pattern in ("*.yaml", "*.yml", "*.py") for path in self.root.glob(f"evals/**/{pattern}")
        )
        return fingerprint([[path.relative_to(self.root).as_posix(), hash_file(path)] for path in files])

    def _blocked(self) -> dict[str, str]:
        """Generators that cannot run now, with the reason."""
        missing = missing_env(self.loaded)
        return {
            generator.name: faults[0].message
            for generator in self.spec.generate
            if (faults := [f for f in missing if f.path[1] in asked_by(self.spec, generator)])
        }


def open_project(file: Path) -> Project:
    """Load and check a spec with its predicates. Raises SpecInvalid with every fault found."""
    project = Project(load(file), file)
    if faults := predicate_faults(project.loaded):
        raise SpecInvalid(faults)
    return project


#: Kinds of nodes that judge answers, or ask teachers.
_JUDGING = {"probe", "generate", "verify", "evaluate", "ablate"}


def refuse_unready(project: Project, plan: Plan) -> None:
    """What would fail in the middle, for the whole machine or spec, fails before anything runs or is paid.

    Raises SandboxUnavailable where programs are judged and no sandbox works, SpecInvalid where a limit of dollars
    stands beside a price that is not known.
    """
    if not any(node.kind in _JUDGING for node in plan.pending):
        return
    from flywheel.sandbox import Sandbox
    from flywheel.teachers import check_prices

    spec = project.spec
    if faults := check_prices(spec.teachers, spec.loop):
        raise SpecInvalid([project.loaded.fault(fault.path, fault.message, fault.hint) for fault in faults])
    if any(spec.verifiers[name].kind == "code" for task in spec.tasks.values() for name in task.verify):
        Sandbox(unsafe=spec.allow_unsafe_execution, workers=1).close()


def predicate_faults(loaded: Loaded) -> list[Fault]:
    """Taxonomy predicates that cannot run over the rows of the tasks whose failures they name."""
    spec = loaded.spec
    if not any(mode.when for mode in spec.taxonomy):
        return []
    from flywheel.store.taxonomy import check_predicates

    faults: dict[int, str] = {}
    for name, task in spec.tasks.items():
        path = task.probes or next((s.data for s in spec.evals.values() if s.task == name), None)
        if path is None:
            continue
        modes = spec.modes_of(name)
        rows = [{k: v for k, v in row.items() if k != task.target} for row in read_rows(loaded.root / path)]
        for index, text in check_predicates(rows, modes, task.verify):
            faults.setdefault(spec.taxonomy.index(modes[index]), text)
    return [
        loaded.fault(("taxonomy", index, "when"), f"the predicate cannot run: {text}.", _PREDICATE_HINT)
        for index, text in sorted(faults.items())
    ]


_PREDICATE_HINT = (
    "It sees answer, gold, row.<column>, verdict.<verifier> and reason.<verifier>; what can fail on some answers goes "
    "into try(…)."
)
