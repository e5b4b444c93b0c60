"""A spec on disk and everything that fingerprints need to know of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.engine.mining import traffic_digests
from flywheel.errors import Fault, FlywheelError, SpecInvalid
from flywheel.files import write_text
from flywheel.hashing import fingerprint, hash_file
from flywheel.records.nodes import Query
from flywheel.records.rows import each_row, read_rows
from flywheel.spec import secrets
from flywheel.spec.files import spec_files
from flywheel.spec.loader import LoadedSpec, load, missing_env
from flywheel.spec.models import Spec
from flywheel.spec.outline import asked_by, asked_teachers, judges_of, with_fallbacks
from flywheel.spec.teachers import Teacher
from flywheel.student import StudentFiles, four_bits, locate, model_folder
from flywheel.version import installed_version

if TYPE_CHECKING:
    from flywheel.plan import Plan, ProjectFacts

#: Packages whose version can change a result.
MEASURED_WITH = ("torch", "transformers", "peft", "lm_eval", "duckdb", "litellm", "tokenizers")


@dataclass(frozen=True)
class Workspace:
    """A valid spec, its folder, and hashes of all that it names."""

    loaded: LoadedSpec
    file: Path
    untargeted: bool = False
    """See `ProjectFacts.untargeted`."""
    retraining: int = 0
    """See `ProjectFacts.retraining`."""
    curve: int = 0
    """See `ProjectFacts.curve`."""

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

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """What is valid and worth a word: predicates that never hold, labels that no prompt names, secrets that are not
        set, models that litellm refuses, a training or an engine that this machine does not have."""
        lacking = (*missing_env(self.loaded), *self._unrouted, *_cannot_train(self.loaded), *_no_engine(self.loaded))
        absent = (replace(fault, warning=True) for fault in lacking)
        return (*self.loaded.warnings, *self.predicates[1], *_untold(self.loaded), *self._too_long, *absent)

    @cached_property
    def _too_long(self) -> list[Fault]:
        """Rows that do not fit the student; where all do, they are not looked at again until something changes."""
        folder = model_folder(self.spec.student.base, self.spec.student.revision, self.root)
        if folder is None:
            return []
        kept = _KnownRight(self.state / "lengths", _digest_of_prompts(self.loaded, folder))
        if kept.is_right:
            return []
        from flywheel.engine.lengths import too_long

        found = too_long(self.loaded, folder)
        if not found:
            kept.keep()
        return found

    @property
    def _unrouted(self) -> list[Fault]:
        """Teachers whose model litellm refuses. Where there are none it is not asked again: loading it takes long."""
        asked = asked_teachers(self.spec)
        routed = [teacher for name, teacher in self.spec.teachers.items() if name in asked and teacher.routed_as]
        kept = _KnownRight(self.state / "routes", _digest_of_routes(routed))
        if not routed or kept.is_right:
            return []
        found = unrouted(self, asked)
        if not found:
            kept.keep()
        return found

    @cached_property
    def predicates(self) -> tuple[list[Fault], list[Fault]]:
        """Of the taxonomy: those that cannot run, and those worth a word. Where there are none, it is not asked about
        again until rows, predicates or DuckDB change: to load it costs as much as all the rest of `validate`."""
        kept = _KnownRight(self.state / "predicates", _digest_of_predicates(self.loaded))
        if kept.is_right:
            return [], []
        found = _predicates(self.loaded)
        if found == ([], []):
            kept.keep()
        return found

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
    def prices(self) -> dict[str, tuple[float, float] | None]:
        """Dollars of a million tokens, read and written, of teachers whose price the spec leaves open; None where
        nobody knows."""
        open_ = {name: teacher for name, teacher in self.spec.teachers.items() if teacher.remote and not teacher.price}
        if not open_:
            return {}
        from flywheel.teachers import expected_prices

        found = expected_prices(open_)
        return {name: None if price is None else (price.input, price.output) for name, price in found.items()}

    @cached_property
    def versions(self) -> dict[str, str]:
        found = {
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "flywheel": installed_version(),
        }
        for package in MEASURED_WITH:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                found[package] = "absent"
        return found

    @cached_property
    def shots(self) -> dict[str, str]:
        """Task → the solved seeds that stand before each of its questions."""
        from flywheel.prompting import shots_of

        return shots_of(self.spec, self.root)

    @cached_property
    def rows_asked(self) -> dict[str, int]:
        """`rows`, where teachers may be asked about some of them beside lessons; else nothing, and no file is read."""
        spec = self.spec
        judges = [verifier for verifier in spec.verifiers.values() if verifier.asks is not None]
        if not judges and not any(suite.teachers for suite in spec.evals.values()):
            return {}
        return self.rows

    @cached_property
    def rows(self) -> dict[str, int]:
        """Rows of each file of probes, seeds, suites and calibrations of judges."""
        spec = self.spec
        of_tasks = [file for task in spec.tasks.values() for file in (task.probes, task.seeds)]
        of_suites = [suite.data for suite in spec.evals.values()]
        of_judges = [verifier.cases_of_people for verifier in spec.verifiers.values()]
        return {file: len(read_rows(self.root / file)) for file in {*of_tasks, *of_suites, *of_judges} if file}

    def count(self, file: str) -> int:
        """Rows of a file of the project."""
        return sum(1 for _ in each_row(self.root / file))

    def facts(self, query: Query | None = None) -> ProjectFacts:
        """`query`: of the store, where there is one."""
        from flywheel.plan import ProjectFacts
        from flywheel.verifiers import parts

        student = self.spec.student
        return ProjectFacts(
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
            embedder=self._embedder(),
            traffic=traffic_digests(self.spec.traffic, self.state, query),
            blocked=self._blocked(),
            predicates=f"duckdb {self.versions['duckdb']}",
            untargeted=self.untargeted,
            retraining=self.retraining,
            curve=self.curve,
        )

    def _embedder(self) -> str:
        """Of the model that compares questions by meaning, if the spec wants that. Raises FlywheelError without it."""
        from flywheel.student.embedding import embedder_folder, embedder_hash

        dedup = self.spec.curate.dedup
        return "" if dedup.semantic is None else embedder_hash(embedder_folder(dedup.embedder, self.root))

    def _eval_tasks(self) -> str:
        files = sorted(
            path for pattern in ("*.yaml", "*.yml", "*.py") for path in self.root.glob(f"evals/**/{pattern}")
        )
        return fingerprint([[path.relative_to(self.root).as_posix(), hash_file(path)] for path in files])

    def _blocked(self) -> dict[str, str]:
        """Generators that cannot run now, with the reason."""
        missing = [fault for fault in missing_env(self.loaded) if fault.path[0] == "teachers"]
        return {
            generator.name: faults[0].message
            for generator in self.spec.generate
            if (faults := [f for f in missing if f.path[1] in asked_by(self.spec, generator)])
        }


def open_project(file: Path) -> Workspace:
    """Load and check a spec with its predicates. Raises SpecInvalid with every fault found."""
    project = Workspace(load(file), file)
    if project.predicates[0]:
        raise SpecInvalid(project.predicates[0])
    return project


def refuse_unready(project: Workspace, plan: Plan) -> None:
    """What would fail in the middle, for the whole machine or spec, fails before anything runs or is paid.

    Raises SandboxUnavailable where programs are judged and no sandbox works, SpecInvalid where a variable is not set or
    makes no address, litellm refuses a model, a limit of dollars stands beside a price that is not known, or this
    machine cannot train so.
    """
    from flywheel.plan import VERBS

    if any(VERBS[node.kind].trains for node in plan.pending) and (faults := _cannot_train(project.loaded, True)):
        raise SpecInvalid(faults)
    if plan.pending and (faults := _no_engine(project.loaded)):
        raise SpecInvalid(faults)
    if not any(VERBS[node.kind].needs_judges for node in plan.pending):
        return
    from flywheel.sandbox import Sandbox
    from flywheel.teachers import check_prices

    spec = project.spec
    if faults := [*_unset(project, plan), *unrouted(project, _asked_by(project, plan))]:
        raise SpecInvalid(faults)
    if faults := check_prices(spec.teachers, spec.loop):
        raise SpecInvalid([project.loaded.fault(fault.path, fault.message, fault.hint) for fault in faults])
    if any(spec.verifiers[name].runs_programs for task in spec.tasks.values() for name in task.verify):
        Sandbox(unsafe=spec.allow_unsafe_execution, workers=1).close()


def unrouted(project: Workspace, names: Collection[str]) -> list[Fault]:
    """Of these teachers those whose model litellm refuses."""
    from flywheel.teachers import check_routes

    faults = check_routes((name, teacher) for name, teacher in project.spec.teachers.items() if name in names)
    return [project.loaded.fault(fault.path, fault.message, fault.hint) for fault in faults]


def _asked_by(project: Workspace, plan: Plan) -> list[str]:
    """The teachers that pending nodes may ask."""
    from flywheel.plan import VERBS

    spec = project.spec
    generating = {node.subject for node in plan.pending if VERBS[node.kind].may_be_blocked}
    asked = {name for g in spec.generate if g.name in generating for name in asked_by(spec, g)}
    asked |= {judge.asks for task in spec.tasks for judge in judges_of(spec, task).values() if judge.asks is not None}
    if any(VERBS[node.kind].asks_teachers_of_suites for node in plan.pending):
        asked |= {name for suite in spec.evals.values() for name in suite.teachers}
    return with_fallbacks(spec, sorted(asked))


def _unset(project: Workspace, plan: Plan) -> list[Fault]:
    """Variables and addresses without which a pending node could not ask its teachers, a verifier its server, or
    deploy its target."""
    spec, needed = project.spec, _asked_by(project, plan)
    judging = {name for task in spec.tasks.values() for name in task.verify}
    told = {*spec.deploy.variables} if any(node.kind == "deploy" for node in plan.pending) else set[str]()
    waited_for = {"teachers": {*needed}, "verifiers": judging, "deploy": told}
    return [fault for fault in missing_env(project.loaded) if fault.path[1] in waited_for[str(fault.path[0])]]


def _cannot_train(loaded: LoadedSpec, in_depth: bool = False) -> list[Fault]:
    """What the machine lacks for `train.launch`, or, where it trains itself, for `train.quantize`."""
    train = loaded.spec.train
    if train.launch is not None:
        from flywheel.training.launching import lack  # here: most commands have no use for it

        return [] if (missing := lack(train.launch)) is None else [loaded.fault(("train", "launch"), *missing)]
    if train.quantize is None or (missing := four_bits.lack(in_depth)) is None:
        return []
    return [loaded.fault(("train", "quantize"), *missing)]


def _no_engine(loaded: LoadedSpec) -> list[Fault]:
    """What the machine lacks for `student.engine`."""
    if not loaded.spec.wants_vllm_here:
        return []
    from flywheel.student.vllm import lack  # here: most commands have no use for it

    return [] if (missing := lack()) is None else [loaded.fault(("student", "engine"), *missing)]


def _untold(loaded: LoadedSpec) -> list[Fault]:
    """Prompts that name none of the labels with which the task is to be answered."""
    from flywheel.prompting.artefacts import untold_tasks  # here: it knows Jinja, and most commands have no use for it

    return [
        Fault(
            f"the prompt names none of the {len(reading.labels.declared):,} labels: the base cannot know them, and its "
            "score is an artefact of the prompt.",
            ("tasks", reading.task, "prompt"),
            f"Name them in it, such as {reading.labels.some}.",
            reading.prompt,
            warning=True,
        )
        for reading in untold_tasks(loaded.spec, loaded.root)
    ]


@dataclass(frozen=True)
class _KnownRight:
    """That something was found right, by the digest of all that it hangs on."""

    file: Path
    digest: str

    @property
    def is_right(self) -> bool:
        return self.file.is_file() and self.file.read_text() == self.digest

    def keep(self) -> None:
        with suppress(OSError, FlywheelError):  # where nothing can be kept, it is asked again
            write_text(self.file, self.digest)


def _digest_of_routes(teachers: Sequence[Teacher]) -> str:
    """Changes with everything that could make litellm refuse a model; of a variable counts whether it is set."""
    addresses = [teacher.address or "" for teacher in teachers]
    is_set = [[bool(os.environ.get(name)) for name in secrets.names(address)] for address in addresses]
    models = [teacher.routed_as for teacher in teachers]
    return fingerprint([models, addresses, is_set, version("litellm"), installed_version()])


def _digest_of_prompts(loaded: LoadedSpec, student: Path) -> str:
    """Changes with everything that could make a prompt or a known answer longer."""
    spec = loaded.spec
    asked = [[task.prompt, task.probes, task.seeds, task.practice] for task in spec.tasks.values()]
    asked += [[suite.data] for suite in spec.evals.values() if suite.task]
    hashes = [hash_file(loaded.root / name) for names in asked for name in names if name is not None]
    asked += [[task.target] for task in spec.tasks.values()]
    of_student = [hash_file(path) for path in (student / "config.json", student / "tokenizer.json") if path.is_file()]
    return fingerprint([of_student, spec.student.model_dump(mode="json"), asked, hashes, installed_version()])


def _digest_of_predicates(loaded: LoadedSpec) -> str:
    """Changes with everything that could make a predicate hold otherwise."""
    spec = loaded.spec
    files = {*(t.probes for t in spec.tasks.values()), *(s.data for s in spec.evals.values() if s.task)} - {None}
    asked = [mode.model_dump(mode="json") for mode in spec.taxonomy]
    where = {name: [task.probes, task.target, task.verify] for name, task in spec.tasks.items()}
    suites = {name: [suite.task, suite.data] for name, suite in spec.evals.items()}
    hashes = {str(file): hash_file(loaded.root / str(file)) for file in files}
    return fingerprint([asked, where, suites, hashes, version("duckdb"), installed_version()])


def _predicates(loaded: LoadedSpec) -> tuple[list[Fault], list[Fault]]:
    """Taxonomy predicates that cannot run over the rows of the tasks whose failures they name; and those of which a
    part never holds, or that cannot be computed for some rows."""
    spec = loaded.spec
    if not any(mode.when for mode in spec.taxonomy):
        return [], []
    from flywheel.store.predicates import check_predicates, never_holds

    faults: dict[int, str] = {}
    doubts: dict[int, str] = {}
    for name, task in spec.tasks.items():
        modes = spec.modes_of(name)
        # Of each file for itself: its columns have types of their own.
        for path in (task.probes, *(s.data for s in spec.evals.values() if s.task == name)):
            if path is not None:
                rows = [{k: v for k, v in r.items() if k != task.target} for r in read_rows(loaded.root / path)]
                for into, found in zip((faults, doubts), check_predicates(rows, modes, task.verify), strict=True):
                    for index, text in found:
                        into.setdefault(spec.taxonomy.index(modes[index]), f"{text} ({path})")
    said = [(index, f"{text}.", "It is unknown for those.") for index, text in sorted(doubts.items())]
    for index, vain in enumerate(never_holds([mode.when or "true" for mode in spec.taxonomy])):
        said += [(index, "a part of the predicate never holds:", text) for text in vain]
    return (
        [
            loaded.fault(("taxonomy", index, "when"), f"the predicate cannot run: {text}.", _PREDICATE_HINT)
            for index, text in sorted(faults.items())
        ],
        [replace(loaded.fault(("taxonomy", i, "when"), text, hint), warning=True) for i, text, hint in said],
    )


_PREDICATE_HINT = (
    "It sees answer, gold, row.<column>, verdict.<verifier> and reason.<verifier>; what can fail on some answers goes "
    "into try(…)."
)
