"""What the nodes of one iteration read: parts of the spec that several verbs share; and nodes' names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flywheel.hashing import seed_from
from flywheel.spec.models import Spec
from flywheel.spec.strategies import Generator


@dataclass(frozen=True)
class ProjectFacts:
    """What the engine found on disk: content hashes, and parts that only other rooms can name.

    `blocked` maps a node name's subject (a generator) to the reason why it cannot run now.
    """

    files: Mapping[str, str]
    student: Mapping[str, Any]
    teachers: Mapping[str, Mapping[str, Any]]
    verifiers: Mapping[str, Mapping[str, str]]
    eval_tasks: str = ""
    """Over the lm-eval task files of the project's `evals/`."""
    embedder: str = ""
    """The hash of the model that `curate.dedup.semantic` uses."""
    predicates: str = ""
    """What computes the taxonomy's predicates, with its version: functions change their meaning between patches."""
    blocked: Mapping[str, str] = field(default_factory=dict)
    untargeted: bool = False
    """Lessons are spread evenly over modes, whatever the student fails at: the other side of `flywheel compare`."""


def node_name(iteration: int, verb: str, subject: str = "", round: int = 0) -> str:
    """`i2.generate.targeted.r1`. To take one apart, ask the node: it has all of these."""
    parts = [f"i{iteration}", verb, subject, f"r{round}" if round else ""]
    return ".".join(part for part in parts if part)


def flatten(prefix: str, value: Any) -> dict[str, Any]:
    """`{"a": {"b": 1}}` → `{"prefix.a.b": 1}`: one entry a leaf, so that a plan can say which one changed."""
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in flatten(f"{prefix}.{key}", item).items()}
    return {prefix: value}


@dataclass(frozen=True)
class Iteration:
    """Iteration `n` of a spec. Its methods give inputs: part → value or content hash."""

    spec: Spec
    facts: ProjectFacts
    n: int

    def name(self, verb: str, subject: str = "", round: int = 0) -> str:
        return node_name(self.n, verb, subject, round)

    def before(self, verb: str) -> list[str]:
        """The verb's node of the iteration before, if there was one."""
        return [node_name(self.n - 1, verb)] if self.n > 1 else []

    def incumbent(self) -> list[str]:
        """The nodes that decide which model this iteration starts from: with a person's word where that is asked."""
        return [*self.before("gate"), *(self.before("deploy") if self.spec.deploy.approve == "human" else [])]

    def seed(self, *parts: Any) -> int:
        return seed_from(self.spec.seed, self.n, *parts)

    def generator(self, name: str) -> Generator:
        return next(generator for generator in self.spec.generate if generator.name == name)

    # -- inputs

    def asking(self, task: str) -> dict[str, Any]:
        """How the student is asked on a task."""
        return {**self.answering(), **self.wording(task)}

    def answering(self) -> dict[str, Any]:
        """How the student answers, whatever it is asked."""
        student = self.spec.student
        return {
            **self.student(),
            "student.max_new_tokens": student.max_new_tokens,
            "student.batch_size": student.batch_size,
        }

    def student(self) -> dict[str, Any]:
        """Which model, and how it is spoken to."""
        return {**flatten("student", dict(self.facts.student)), "student.system": self.spec.student.system}

    def wording(self, task: str) -> dict[str, Any]:
        """In which words a task is asked."""
        spec = self.spec.tasks[task]
        stop = {f"tasks.{task}.stop": spec.stop} if spec.stop else {}  # without one nothing is asked otherwise
        return {f"tasks.{task}.target": spec.target, **stop, **self.file(spec.prompt)}

    def judging(self, task: str) -> dict[str, Any]:
        """Who says whether an answer to the task is right."""
        inputs: dict[str, Any] = {f"tasks.{task}.final": self.spec.tasks[task].final}
        for name in self.spec.tasks[task].verify:
            verifier = self.spec.verifiers[name]
            inputs.update(flatten(f"verifiers.{name}", dict(self.facts.verifiers[name])))
            if verifier.asks is not None:
                inputs.update(self.teacher(verifier.asks))
            if verifier.runs_programs:
                inputs["allow_unsafe_execution"] = self.spec.allow_unsafe_execution
        return inputs

    def teacher(self, name: str) -> dict[str, Any]:
        return flatten(f"teachers.{name}", self.facts.teachers[name])

    def unknown_limit(self) -> dict[str, Any]:
        return {"loop.max_unknown": self.spec.loop.max_unknown}

    def modes(self) -> dict[str, Any]:
        """What names a failure."""
        modes = enumerate(self.spec.taxonomy)
        inputs: dict[str, Any] = {f"taxonomy.{m.name}": [index, m.severity, m.when, m.task] for index, m in modes}
        computed = any(mode.when is not None for mode in self.spec.taxonomy)
        return {**inputs, "taxonomy engine": self.facts.predicates} if computed else inputs

    def suites(self) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        for name, suite in self.spec.evals.items():
            inputs.update(flatten(f"evals.{name}", suite.model_dump(mode="json", exclude={"role"})))
            inputs |= self.files(suite.data)
            if suite.lm_eval is not None:
                inputs["lm-eval task files"] = self.facts.eval_tasks
        return inputs

    def file(self, path: str) -> dict[str, str]:
        return {f"file {path}": self.facts.files[path]}

    def files(self, *paths: str | None) -> dict[str, str]:
        return {k: v for path in paths if path is not None for k, v in self.file(path).items()}
