"""What the nodes of one iteration read: parts of the spec that several verbs share; and nodes' names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flywheel.hashing import seed_from
from flywheel.spec.models import Spec, Suite
from flywheel.spec.outline import judged_columns
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
    traffic: Mapping[str, str] = field(default_factory=dict)
    """Task → digest of its rows of production; of the tasks in `traffic.match`."""
    traffic_then: Mapping[tuple[int, str], str] = field(default_factory=dict)
    """(iteration, task) → the same as it was when that iteration was turned: what came in later is the next one's."""
    blocked: Mapping[str, str] = field(default_factory=dict)
    untargeted: bool = False
    """Lessons are made from probe rows as they come, whatever the student fails at: the other side of `flywheel
    compare`."""
    retraining: int = 0
    """So many further seeds of the trainings; everything else keeps its own."""
    curve: int = 0
    """The iteration whose training is measured on parts of its lessons, too; 0 where none is."""


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

    def questioned(self) -> list[str]:
        """Tasks with rows that the student may learn from."""
        taught = {self.spec.task_of(generator) for generator in self.spec.generate}
        tasks = self.spec.tasks.items()
        return [name for name, task in tasks if task.probes or task.seeds or task.practice or name in taught]

    def trained(self) -> list[str]:
        """The node that makes this iteration's model: the last round of learning from judged answers, or training."""
        rounds = self.spec.train.rounds
        return [self.name("prefer", round=rounds) if rounds else self.name("train")]

    def seed(self, *parts: Any) -> int:
        return seed_from(self.spec.seed, self.n, *parts)

    def generator(self, name: str) -> Generator:
        return next(generator for generator in self.spec.generate if generator.name == name)

    # -- inputs

    def asking(self, task: str) -> dict[str, Any]:
        """How the student is asked on a task, many rows at once."""
        engine = self.spec.student.engine
        chosen = {} if engine == "transformers" else {"student.engine": engine}  # as before there was a choice
        return {**self.answering(), **chosen, **self.wording(task)}

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
        student = self.spec.student
        facts = flatten("student", dict(self.facts.student))
        return {**facts, "student.system": student.system, **student.template_parts}

    def wording(self, task: str) -> dict[str, Any]:
        """In which words a task is asked."""
        stop = self.spec.tasks[task].stop
        return {**self.question(task), **({f"tasks.{task}.stop": stop} if stop else {})}  # without one nothing changes

    def question(self, task: str) -> dict[str, Any]:
        """What makes a row of the task a question."""
        spec, shots = self.spec.tasks[task], self.spec.student.shots
        shown = {"student.shots": shots, **self.files(spec.seeds)} if shots else {}  # without any nothing changes
        return {f"tasks.{task}.target": spec.target, **self.file(spec.prompt), **shown}

    def judging(self, task: str) -> dict[str, Any]:
        """Who says whether an answer to the task is right."""
        spec = self.spec.tasks[task]
        inputs: dict[str, Any] = {f"tasks.{task}.final": spec.final, f"tasks.{task}.verify": spec.verify}
        for name in spec.verify:
            verifier = self.spec.verifiers[name]
            inputs.update(flatten(f"verifiers.{name}", dict(self.facts.verifiers[name])))
            if verifier.asks is not None:
                inputs |= {**self.teacher(verifier.asks), **self.judged_by(name)}
            if verifier.runs_programs:
                inputs["allow_unsafe_execution"] = self.spec.allow_unsafe_execution
        return inputs

    def judged_by(self, judge: str) -> dict[str, Any]:
        """What a teacher that judges is told of tasks: of all that it judges, for it is calibrated on all of them."""
        tasks = {name: task for name, task in self.spec.tasks.items() if judge in task.verify}
        return {
            f"tasks.{name}.{key}": getattr(task, key)
            for name, task in tasks.items()
            for key in ("description", "target", "final")
        }

    def teacher(self, name: str) -> dict[str, Any]:
        return flatten(f"teachers.{name}", self.facts.teachers[name])

    def canaries(self) -> dict[str, Any]:
        return self.files(self.spec.train.canaries)

    def kept_for_shadow(self) -> dict[str, Any]:
        """Which rows of production no lesson is made from; without any nothing changes."""
        share = self.spec.traffic.shadow
        return {} if share is None else {"traffic.shadow": share}

    def unknown_limit(self) -> dict[str, Any]:
        return {"loop.max_unknown": self.spec.loop.max_unknown}

    def rules(self) -> dict[str, Any]:
        """Of the gate."""
        return {f"gate[{i}]": rule.model_dump(mode="json") for i, rule in enumerate(self.spec.gate)}

    def modes(self) -> dict[str, Any]:
        """What names a failure."""
        modes = enumerate(self.spec.taxonomy)
        inputs: dict[str, Any] = {f"taxonomy.{m.name}": [index, m.severity, m.when, m.task] for index, m in modes}
        computed = any(mode.when is not None for mode in self.spec.taxonomy)
        return {**inputs, "taxonomy engine": self.facts.predicates} if computed else inputs

    def suites(self, names: Iterable[str]) -> dict[str, Any]:
        """How models are measured on these suites, and who says whether they are right."""
        chosen = {name: self.spec.evals[name] for name in names}
        inputs: dict[str, Any] = {}
        for name, suite in chosen.items():
            inputs |= flatten(f"evals.{name}", suite.model_dump(mode="json", exclude={"role"}))
            if suite.task is not None:
                inputs |= {**self.asking(suite.task), **self.judging(suite.task)}
                inputs |= self.files(self.spec.tasks[suite.task].seeds) if suite.num_fewshot else {}
        return {**inputs, **self.answering(), **self.items(chosen.values()), **self.modes(), "seed": self.spec.seed}

    def items(self, suites: Collection[Suite]) -> dict[str, Any]:
        """The files in which suites have their items."""
        inputs = {part: file for suite in suites for part, file in self.files(suite.data).items()}
        named = any(suite.lm_eval is not None for suite in suites)
        return {**inputs, "lm-eval task files": self.facts.eval_tasks} if named else inputs

    def decontaminating(self) -> dict[str, Any]:
        """By what it is told whether a row overlaps an item of a suite."""
        inputs = flatten("curate.decontaminate", self.spec.curate.decontaminate.model_dump(exclude_none=True))
        for name, suite in self.spec.evals.items():
            inputs[f"evals.{name}"] = [suite.task, suite.data, suite.lm_eval]
            if suite.task is not None:
                task = self.spec.tasks[suite.task]
                columns = judged_columns(self.spec.verifiers[verifier] for verifier in task.verify)
                inputs |= {**self.question(suite.task), f"tasks.{suite.task}.judged columns": columns}
                inputs |= self.files(task.seeds)
        return {**inputs, **self.items(self.spec.evals.values())}

    def file(self, path: str) -> dict[str, str]:
        return {f"file {path}": self.facts.files[path]}

    def files(self, *paths: str | None) -> dict[str, str]:
        return {k: v for path in paths if path is not None for k, v in self.file(path).items()}
