"""Spec → DAG with content fingerprints, and for each node whether it is done already, or why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.hashing import fingerprint, seed_from, short
from flywheel.plan.estimates import History, estimate
from flywheel.plan.model import Plan, PlanNode
from flywheel.spec.models import CodeVerifier, Generator, JudgeVerifier, Spec, StudentTeacher
from flywheel.spec.outline import PROMPT_KEYS, with_fallbacks

#: Raise a kind's number when its code changes what it would write for the same inputs.
IMPLEMENTATION: dict[str, int] = {
    "probe": 2, "diagnose": 2, "budget": 2, "generate": 2, "verify": 2, "curate": 2, "train": 1, "evaluate": 3,
    "ablate": 1, "gate": 2, "report": 3, "deploy": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What the engine found on disk: content hashes, and parts that only other rooms can name.

    `blocked` maps a node name's subject (a generator) to the reason why it cannot run now.
    """

    files: Mapping[str, str]
    student: Mapping[str, Any]
    teachers: Mapping[str, Mapping[str, Any]]
    verifiers: Mapping[str, Mapping[str, str]]
    eval_tasks: str = ""
    """Over the lm-eval task files of the project's `evals/`."""
    blocked: Mapping[str, str] = field(default_factory=dict)
    predicates: str = ""
    """What computes the taxonomy's predicates, with its version: functions change their meaning between patches."""
    untargeted: bool = False
    """Lessons are spread evenly over modes, whatever the student fails at: the other side of `flywheel compare`."""


@dataclass(frozen=True)
class Done:
    """A finished node as the store remembers it."""

    fingerprint: str
    name: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class _Draft:
    """A node before its fingerprint."""

    name: str
    kind: str
    iteration: int
    parents: tuple[str, ...]
    inputs: dict[str, Any]
    subject: str = ""
    round: int = 0


def compile_plan(
    spec: Spec, spec_hash: str, facts: Facts, done: Mapping[str, Done], history: History, iterations: int
) -> Plan:
    """The DAG of `iterations` iterations. `done` maps fingerprints to finished nodes, oldest first.

    Raises FlywheelError where the graph has a cycle or a node without its parent.
    """
    drafts = {draft.name: draft for n in range(1, iterations + 1) for draft in _Iteration(spec, facts, n).nodes()}
    last = {node.name: node for node in done.values()}
    nodes: dict[str, PlanNode] = {}
    for name in _ordered(drafts):
        draft = drafts[name]
        node = _fingerprinted(draft, [nodes[p] for p in draft.parents])
        node = _with_status(node, [nodes[p] for p in draft.parents], done, last.get(name), facts)
        if node.status != "reused":
            found = estimate(node.kind, node.subject, node.round, spec, history, node.iteration)
            node = replace(node, estimate=found)
        nodes[name] = node
    return Plan(spec.name, spec_hash, iterations, tuple(nodes.values()))


def _ordered(drafts: Mapping[str, _Draft]) -> list[str]:
    for draft in drafts.values():
        if missing := [parent for parent in draft.parents if parent not in drafts]:
            raise FlywheelError(f"node {draft.name} needs {missing[0]}, which is not in the plan.")
    try:
        return list(TopologicalSorter({d.name: d.parents for d in drafts.values()}).static_order())
    except CycleError as error:
        raise FlywheelError(f"the plan has a cycle: {' → '.join(error.args[1])}") from error


def _fingerprinted(draft: _Draft, parents: list[PlanNode]) -> PlanNode:
    digest = fingerprint(
        {
            "kind": draft.kind,
            "implementation": IMPLEMENTATION[draft.kind],
            "iteration": draft.iteration,
            "round": draft.round,
            "subject": draft.subject,
            "inputs": draft.inputs,
            "parents": [parent.fingerprint for parent in parents],
        }
    )
    return PlanNode(
        draft.name, draft.kind, draft.iteration, draft.subject, draft.round, draft.parents, draft.inputs, digest
    )


def _with_status(
    node: PlanNode, parents: list[PlanNode], done: Mapping[str, Done], last: Done | None, facts: Facts
) -> PlanNode:
    if node.fingerprint in done:
        return replace(node, status="reused")
    if node.kind == "generate" and node.subject in facts.blocked:
        return replace(node, status="blocked", why=(facts.blocked[node.subject],))
    if stuck := [parent.name for parent in parents if parent.status == "blocked"]:
        return replace(node, status="blocked", why=(f"waits for {stuck[0]}",))
    if last is None:
        return replace(node, status="new")
    return replace(node, status="changed", why=tuple(_differences(last.inputs, node.inputs, parents)))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], parents: list[PlanNode]) -> Iterator[str]:
    """`train.rank 16 → 32`, or which parents are new where nothing of its own changed."""
    found = False
    for part in sorted(old.keys() | new.keys()):
        if old.get(part) != new.get(part):
            found = True
            yield f"{part} {_shown(part, old.get(part))} → {_shown(part, new.get(part))}"
    if not found:
        yield "after " + (", ".join(p.name for p in parents if p.status != "reused") or "an earlier history")


def _shown(part: str, value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str) and len(value) == 64:
        return short(value)
    return str(value)


def flatten(prefix: str, value: Any) -> dict[str, Any]:
    """`{"a": {"b": 1}}` → `{"prefix.a.b": 1}`: one entry a leaf, so that a plan can say which one changed."""
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in flatten(f"{prefix}.{key}", item).items()}
    return {prefix: value}


class _Iteration:
    """The nodes of iteration `n`; `i2.probe.sql` is the probe of task sql in iteration 2."""

    def __init__(self, spec: Spec, facts: Facts, n: int) -> None:
        self.spec, self.facts, self.n = spec, facts, n

    def nodes(self) -> Iterator[_Draft]:
        yield from self.probes()
        yield self.diagnose()
        yield self.budget()
        for generator in self.spec.generate:
            for number in range(1, generator.rounds + 1):
                yield self.generate(generator, number)
                yield self.verify(generator, number)
        yield self.curate()
        yield self.train()
        yield self.evaluate()
        yield from self.ablations()
        yield self.gate()
        yield self.report()
        yield self.deploy()

    def probes(self) -> Iterator[_Draft]:
        for name, task in self.spec.tasks.items():
            if task.probes is not None:
                inputs = {
                    **self.asking(name),
                    **self.file(task.probes),
                    f"tasks.{name}.probe_limit": task.probe_limit,
                    **self.judging(name),
                    # Without a limit all rows are asked, whatever the seed.
                    **({"seed": self.spec.seed} if task.probe_limit else {}),
                }
                yield self.draft("probe", self.incumbent(), inputs, subject=name)

    def diagnose(self) -> _Draft:
        inputs = self.naming()
        # Without probes nothing else would make an iteration wait for the one before, whose lessons and model it takes.
        return self.draft("diagnose", [probe.name for probe in self.probes()] or self.incumbent(), inputs)

    def budget(self) -> _Draft:
        inputs: dict[str, Any] = {"untargeted": True} if self.facts.untargeted else {}
        for generator in self.spec.generate:
            chosen = generator.model_dump(mode="json", include={"accept", "floor", "cap", "modes", "source", "task"})
            inputs.update(flatten(f"generate.{generator.name}", chosen))
        return self.draft("budget", [self.name("diagnose")], inputs)

    def generate(self, generator: Generator, number: int) -> _Draft:
        parents = [self.name("budget")]
        if number > 1:
            parents.append(self.name("verify", generator.name, number - 1))
        if self.n > 1 and (generator.source == "lessons" or generator.own_examples):
            parents.append(f"i{self.n - 1}.curate")
        task = self.spec.tasks[self.spec.task_of(generator)]
        dumped = generator.model_dump(mode="json", exclude={"floor", "cap", "modes", "source"})
        inputs = {
            **flatten(f"generate.{generator.name}", dumped),
            **self.files(*(getattr(generator, key) for key in PROMPT_KEYS), generator.data, task.seeds),
            f"tasks.{self.spec.task_of(generator)}.description": task.description,
            **self.judging(self.spec.task_of(generator)),
            "taxonomy.descriptions": {mode.name: mode.description for mode in self.spec.taxonomy},
            "seed": self.seed("generate", generator.name, number),
        }
        if task.probes is None:  # else the probe, an ancestor, covers how the task is asked
            inputs |= self.wording(self.spec.task_of(generator))
        for teacher in with_fallbacks(self.spec, [*generator.teachers, *generator.second_opinion]):
            inputs.update(flatten(f"teachers.{teacher}", self.facts.teachers[teacher]))
            if isinstance(self.spec.teachers[teacher], StudentTeacher):
                inputs.update(self.asking(self.spec.task_of(generator)))
        return self.draft("generate", parents, inputs, subject=generator.name, round=number)

    def verify(self, generator: Generator, number: int) -> _Draft:
        inputs = {**self.judging(self.spec.task_of(generator)), "loop.max_unknown": self.spec.loop.max_unknown}
        parents = [self.name("generate", generator.name, number)]
        return self.draft("verify", parents, inputs, subject=generator.name, round=number)

    def curate(self) -> _Draft:
        parents = [self.name("verify", g.name, number) for g in self.spec.generate for number in range(1, g.rounds + 1)]
        if self.n > 1:
            parents.append(f"i{self.n - 1}.curate")
        inputs = flatten("curate", self.spec.curate.model_dump(mode="json"))
        for name, task in self.spec.tasks.items():
            inputs |= {**self.asking(name), **self.files(task.seeds)}
        inputs |= self.suites()
        return self.draft("curate", parents, {**inputs, "seed": self.seed("curate")})

    def train(self) -> _Draft:
        parents = [self.name("curate")]
        if self.spec.train.init == "incumbent":
            parents += self.incumbent()
        inputs = {
            **flatten("train", self.spec.train.model_dump(mode="json")),
            **flatten("student", dict(self.facts.student)),
            "student.system": self.spec.student.system,
            "seed": self.seed("train"),
        }
        return self.draft("train", parents, inputs)

    def evaluate(self) -> _Draft:
        inputs = {**self.suites(), **self.answering(), "seed": self.spec.seed}
        for task in sorted({suite.task for suite in self.spec.evals.values() if suite.task}):
            inputs |= {**self.asking(task), **self.judging(task)}
            if any(suite.task == task and suite.num_fewshot for suite in self.spec.evals.values()):
                inputs |= self.files(self.spec.tasks[task].seeds)
        for teacher in sorted({name for suite in self.spec.evals.values() for name in suite.teachers}):
            inputs.update(flatten(f"teachers.{teacher}", self.facts.teachers[teacher]))
        inputs |= self.naming()
        return self.draft("evaluate", [self.name("train"), *self.incumbent()], inputs)

    def gate(self) -> _Draft:
        rules = {f"gate[{i}]": rule.model_dump(mode="json") for i, rule in enumerate(self.spec.gate)}
        parents = [self.name("evaluate"), self.name("curate"), *self.incumbent()]
        return self.draft("gate", parents, {**rules, "seed": self.seed("gate")})

    def report(self) -> _Draft:
        ablations = [draft.name for draft in self.ablations()]
        return self.draft("report", [self.name("gate"), *ablations], {})

    def ablations(self) -> Iterator[_Draft]:
        train = self.train()
        for ablation in self.spec.ablate:
            inputs = {**train.inputs, **self.evaluate().inputs, **flatten("ablate", ablation.model_dump(mode="json"))}
            yield self.draft("ablate", [self.name("train")], inputs, subject=ablation.name)

    def deploy(self) -> _Draft:
        before = [f"i{self.n - 1}.deploy"] if self.n > 1 else []
        inputs = {"deploy.path": self.spec.deploy.path, "deploy.approve": self.spec.deploy.approve}
        # After train, too: an adapter that was lost is trained again while the gate's word still stands.
        return self.draft("deploy", [self.name("train"), self.name("gate"), self.name("report"), *before], inputs)

    # -- parts

    def draft(self, kind: str, parents: list[str], inputs: dict[str, Any], subject: str = "", round: int = 0) -> _Draft:
        return _Draft(
            self.name(kind, subject, round), kind, self.n, tuple(dict.fromkeys(parents)), inputs, subject, round
        )

    def name(self, kind: str, subject: str = "", number: int = 0) -> str:
        parts = [f"i{self.n}", kind, subject, f"r{number}" if number else ""]
        return ".".join(part for part in parts if part)

    def incumbent(self) -> list[str]:
        """The nodes that decide which model this iteration starts from: with a person's word where that is asked."""
        if self.n == 1:
            return []
        last = [f"i{self.n - 1}.gate"]
        return [*last, f"i{self.n - 1}.deploy"] if self.spec.deploy.approve == "human" else last

    def seed(self, *parts: Any) -> int:
        return seed_from(self.spec.seed, self.n, *parts)

    def asking(self, task: str) -> dict[str, Any]:
        """How the student is asked on a task."""
        return {**self.answering(), **self.wording(task)}

    def answering(self) -> dict[str, Any]:
        """How the student answers, whatever it is asked."""
        student = self.spec.student
        return {
            **flatten("student", dict(self.facts.student)),
            "student.max_new_tokens": student.max_new_tokens,
            "student.batch_size": student.batch_size,
            "student.system": student.system,
        }

    def wording(self, task: str) -> dict[str, Any]:
        """In which words a task is asked."""
        return {f"tasks.{task}.target": self.spec.tasks[task].target, **self.file(self.spec.tasks[task].prompt)}

    def naming(self) -> dict[str, Any]:
        """How failures are named."""
        modes = enumerate(self.spec.taxonomy)
        inputs: dict[str, Any] = {f"taxonomy.{m.name}": [index, m.severity, m.when, m.task] for index, m in modes}
        computed = any(mode.when is not None for mode in self.spec.taxonomy)
        return {**inputs, "taxonomy engine": self.facts.predicates} if computed else inputs

    def judging(self, task: str) -> dict[str, Any]:
        inputs: dict[str, Any] = {f"tasks.{task}.final": self.spec.tasks[task].final}
        for verifier in self.spec.tasks[task].verify:
            inputs.update(flatten(f"verifiers.{verifier}", dict(self.facts.verifiers[verifier])))
            match self.spec.verifiers[verifier]:
                case JudgeVerifier(teacher=teacher):
                    inputs.update(flatten(f"teachers.{teacher}", self.facts.teachers[teacher]))
                case CodeVerifier():
                    inputs["allow_unsafe_execution"] = self.spec.allow_unsafe_execution
        return inputs

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
