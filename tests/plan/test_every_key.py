"""Every key of the spec against every node: what read a key while it ran must not be reused when the key changes.

`tests/full_domain.py` is a project that uses every key, each with a second value. It is applied once, and
`tests/tracing.py` notes what each node reads of the spec meanwhile. Then key after key gets its second value, and the
parts of which fingerprints are made are compared: a node that read the key must move, by its own parts or after an
ancestor. A verb whose nodes move and never read the key does work, and may pay teachers, for nothing.

The exceptions are the three tables below, each with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from flywheel.engine.apply import apply
from flywheel.engine.project import Workspace
from flywheel.hashing import hash_file
from flywheel.plan import VERBS, ProjectFacts, compile_plan
from flywheel.plan.estimates import History
from flywheel.plan.parts import Iteration
from flywheel.spec.base import SpecModel
from flywheel.spec.kinds import Family
from flywheel.spec.loader import LoadedSpec
from flywheel.spec.models import Spec
from flywheel.spec.outline import outline_of
from flywheel.spec.references import reference_faults
from flywheel.spec.wording import fields_by_key, options
from full_domain import OTHERS, SPEC, Two, first, prepare, put, twos
from mini_domain import Domain
from tracing import Path_, Reads, models_in, names_of, trace

PACE = "how fast a teacher or target is asked, and when that stops, changes no answer"
PRICE = "what an answer costs changes no answer"
PLACE = "where an answer is judged changes no verdict"
SERVED = "`flywheel serve` reads it, and no node"
INGEST = "`flywheel ingest` reads it; nodes read what it stored"
NOT_KEPT: Mapping[str, str] = {
    "Teacher.concurrency": PACE,
    "Teacher.timeout_seconds": PACE,
    "Teacher.max_retries": PACE,
    "Teacher.max_calls": PACE,
    "LitellmTeacher.rpm": PACE,
    "LitellmTeacher.tpm": PACE,
    "LitellmTeacher.max_usd": PACE,
    "LitellmTeacher.api_key": "a key opens the door; who answers is `model` and `api_base`",
    "LitellmTeacher.usd_per_million_input": PRICE,
    "LitellmTeacher.usd_per_million_output": PRICE,
    "LitellmTeacher.usd_per_million_cached": PRICE,
    **{f"DeployCanary.{key}": SERVED for key in ("share", "margin", "alpha", "hours")},
    "Train.launch": "where a training runs changes nothing that is wanted of it",
    "Executor.kind": PLACE,
    "Executor.address": PLACE,
    "Executor.students": PLACE,
    "Verifier.golden": "`flywheel audit` reads it, and no node",
    **{
        f"Columns.{key}": INGEST
        for key in ("answer", "prompt", "id", "conversation", "at", "model", "rating", "correction")
    },
    "Traffic.redact": INGEST,
    "Traffic.keep_days": INGEST,
    **{f"{kind}.timeout_seconds": PACE for kind in ("ServerDeploy", "CommandDeploy", "WebhookDeploy")},
    **dict.fromkeys(
        ("ServerDeploy.api_key", "HubDeploy.api_key", "ToldDeploy.api_key", "WebhookDeploy.secret"),
        "a key opens the door; who is told is the address",
    ),
    "Loop.iterations": "the iterations that there are stay as they are",
    "Loop.max_usd": "a run stops at it; what is done stays done",
    "Loop.max_calls": "a run stops at it; what is done stays done",
    "Loop.max_tokens": "a run stops at it; what is done stays done",
}
"""Keys on which nothing that is kept hangs: no node moves with them."""

READ_IN_VAIN: Mapping[tuple[str, str], str] = {
    ("Task.verify", "diagnose"): "looks at all tasks; failures are of those that are probed, and the probe moves",
    ("Task.verify", "curate"): "takes of it the columns that verifiers read, which are a part of their own",
    ("Task.verify", "ablate"): "leaves the verifier out of all tasks; lessons are of those that are taught",
}
"""(key, verb) → why a node of the verb that read the key may be reused all the same."""

MOVES_IN_VAIN: Mapping[tuple[str, str], str] = {
    (
        "Task.target",
        "verify",
    ): "a judge's cases hold right answers in that column; a run's first node calibrates for all",
    ("Generator.task", "verify"): "says whose verifiers are asked; the node finds the task in the lessons",
    **{
        ("Task.seeds", verb): "where a prompt reads the whole row, its columns are those of the first seed"
        for verb in ("mine", "shadow")
    },
    ("Task.seeds", "sample"): "a task that gets its first seeds may give questions; whether it did, curation decides",
    **{
        (key, "deploy"): "who is told, and how the model is called there; the full domain has the folder alone"
        for key in (
            "ServerDeploy.seen_at",
            "ServerDeploy.max_lora_rank",
            "HubDeploy.repo",
            "CommandDeploy.command",
            "WebhookDeploy.url",
        )
    },
    ("Suite.teachers", "ablate"): "an ablation takes its suite with all its keys",
    **{
        ("Spec.allow_unsafe_execution", verb): "one pool runs programs for all; whoever comes first is seen to open it"
        for verb in ("probe", "mine", "generate", "verify", "sample", "evaluate", "shadow", "ablate")
    },
}
"""(key, verb) → why nodes of the verb move by their own parts, though none of them was seen to read the key."""

# --- the keys ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A place of the full domain, or of one that differs from it, with the two values of its key."""

    place: Path_
    two: Two
    tree: dict[str, Any] = field(repr=False)
    domain: int = 0
    """Number of the tree."""

    @property
    def changed(self) -> dict[str, Any]:
        return put(self.tree, self.place, self.two.second)  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return ".".join(map(str, self.place)) + (f", other {self.domain}" if self.domain else "")


def all_keys() -> Iterator[Key]:
    full = first(SPEC)
    yield from (Key(place, two, full) for place, two in twos(SPEC))
    for number, other in enumerate(OTHERS, 1):
        tree = put(full, other.place, first(other.entry))
        for place, value in other.beside.items():
            tree = put(tree, place, value)
        yield from (Key(place, two, tree, number) for place, two in twos(other.entry, other.place))


KEYS = list(all_keys())


# --- the project ------------------------------------------------------------------------------------------------------


@dataclass
class Planned:
    """A spec, and each node's own parts and parents."""

    spec: Spec
    facts: ProjectFacts

    @cached_property
    def nodes(self) -> dict[str, tuple[str, dict[str, Any], list[str]]]:
        """Name → verb, parts, parents."""
        found = {}
        for n in range(1, self.spec.loop.iterations + 1):
            it = Iteration(self.spec, self.facts, n)
            for kind, verb in VERBS.items():
                for place in verb.places(it):
                    found[it.name(kind, *place)] = kind, verb.inputs(it, place), verb.parents(it, place)
        return found

    @cached_property
    def models(self) -> dict[Path_, SpecModel]:
        return dict(models_in(self.spec))

    def moved(self, after: Planned) -> set[str]:
        """Nodes that could not be reused."""
        found = {name for name, node in self.nodes.items() if after.nodes.get(name) != node}
        while more := {name for name, node in self.nodes.items() if name not in found and found & set(node[2])}:
            found |= more
        return found


@dataclass
class Change:
    """What the second value of a key does. `because`: node → what it read that is another now."""

    label: str
    """`Task.prompt`: the class that declares the key, and the key."""
    moved: set[str]
    by_themselves: set[str]
    because: dict[str, list[str]]


class Project:
    """The traced domain."""

    def __init__(self, workspace: Workspace, reads: Reads) -> None:
        self.workspace, self.reads = workspace, reads
        self._bases: dict[int, Planned] = {}
        self._changes: dict[str, Change] = {}

    def planned(self, tree: dict[str, Any]) -> Planned:
        root, document = self.workspace.root, replace(self.workspace.loaded.document, tree=tree)
        spec = Spec.model_validate(tree, by_alias=True, by_name=False, context={"root": root})
        faults = [fault for fault in reference_faults(document, outline_of(spec)) if not fault.warning]
        assert not faults, f"tests/full_domain.py: the spec is not valid: {faults[0]}"
        facts = Workspace(LoadedSpec(spec, root, document, ()), self.workspace.file).facts()
        return Planned(spec, facts)

    def change(self, key: Key) -> Change:
        if str(key) not in self._changes:
            if key.domain not in self._bases:
                self._bases[key.domain] = self.planned(key.tree)
            self._changes[str(key)] = self._change(key, self._bases[key.domain], self.planned(key.changed))
        return self._changes[str(key)]

    def _change(self, key: Key, before: Planned, after: Planned) -> Change:
        place = next(key.place[:n] for n in range(len(key.place) - 1, -1, -1) if key.place[:n] in before.models)
        old, new = before.models[place], after.models[place]
        other = {name for name in names_of(type(old)) if _gist(getattr(old, name)) != _gist(getattr(new, name))}
        because = {
            name: sorted(fact for at, fact in self.reads.parts[name] if at == place and fact in other)
            + ["all of it"] * (place in self.reads.whole[name])
            for name in before.nodes
        }
        return Change(
            _label(type(old), str(key.place[len(place)])),
            before.moved(after),
            {n for n, node in before.nodes.items() if n in after.nodes and after.nodes[n][1] != node[1]},
            {name: why for name, why in because.items() if why},
        )


def _gist(value: Any) -> Any:
    """Without the models in it, whose keys are looked at where they are."""
    if isinstance(value, dict):
        return {key: _gist(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_gist(item) for item in value]
    return None if isinstance(value, SpecModel) else value


def _label(model: type[BaseModel], key: str) -> str:
    declares = [base for base in model.__mro__ if issubclass(base, BaseModel) and key in fields_by_key(base)]
    return f"{declares[-1].__name__}.{key}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    domain = Domain.written(tmp_path_factory.mktemp("full") / "project")
    with pytest.MonkeyPatch.context() as patch:
        prepare(domain, patch)
        workspace = domain.open()
        with pytest.MonkeyPatch.context() as tracing:
            reads = trace(tracing, workspace.spec)
            outcome = apply(workspace)
        assert not outcome.error, outcome.error
        assert outcome.promoted == [1], "the first model is to be deployed, so that deploying is seen"
        # What takes long to find and stays as it is.
        patch.setattr(Workspace, "versions", workspace.versions)
        patch.setattr("flywheel.engine.project.hash_file", cache(hash_file))
        yield Project(workspace, reads)


# --- what must hold ---------------------------------------------------------------------------------------------------


def test_every_key_has_a_second_value(project: Project) -> None:
    known = {project.change(key).label for key in KEYS}
    missing = sorted(set(_labels()) - known - {"Deploy.kind"})  # each kind has one value
    assert not missing, (
        f"{', '.join(missing)}: no second value. In tests/full_domain.py give an entry the key, with "
        "Two(first, second); a kind or strategy that cannot be applied there goes into OTHERS"
    )


def _labels() -> Iterator[str]:
    """Every key of the spec's models, but sections and those with one value only."""
    waiting: list[type[BaseModel]] = [Spec]
    for model in waiting:  # grows as it goes
        for key, info in fields_by_key(model).items():
            inner = list(_models_of(info.annotation))
            waiting += [other for other in inner if other not in waiting]
            if not inner and not (get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1):
                yield _label(model, key)


def _models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    for option in options(annotation):
        if isinstance(option, Family):
            yield from option.own
        elif isinstance(option, type) and issubclass(option, BaseModel):
            yield option
        elif get_origin(option) in (dict, list):
            yield from _models_of(get_args(option)[-1])


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_node_that_read_a_key_is_not_reused_when_it_changes(project: Project, key: Key) -> None:
    change = project.change(key)
    for node, why in change.because.items() if change.label not in NOT_KEPT else ():
        verb = _verb(node)
        assert node in change.moved or (change.label, verb) in READ_IN_VAIN, (
            f"{node} read {key} ({', '.join(why)}) while it ran, and its old result would be shown as the new one when "
            f"the key changes. Add the key to {type(VERBS[verb]).__name__}.inputs in plan/verbs.py or, where nothing "
            f"that is kept hangs on it, {change.label} to one of this file's tables, with the reason"
        )


def test_every_key_is_read_by_some_node_or_moves_none(project: Project) -> None:
    changes = [project.change(key) for key in KEYS]
    unread = {change.label for change in changes} - {change.label for change in changes if change.because}
    moving = {change.label for change in changes if change.moved}
    unseen = {label for label, _ in MOVES_IN_VAIN}  # of kinds that cannot be applied there
    assert unread <= {*NOT_KEPT, *unseen}, (
        "no node read them: let one do so in tests/full_domain.py, or name them in NOT_KEPT"
    )
    assert not moving & set(NOT_KEPT), "they move nodes: take them out of the verbs' inputs, or of NOT_KEPT"


def test_nothing_is_done_again_for_a_key_that_it_never_reads(project: Project) -> None:
    read, moved = set(), set()
    for change in map(project.change, KEYS):
        read |= {(change.label, _verb(node)) for node in change.because}
        moved |= {(change.label, _verb(node)) for node in change.by_themselves}
    # Probes and traffic are judged at the same time: either opens the pool.
    in_vain = moved - read | {("Spec.allow_unsafe_execution", verb) for verb in ("probe", "mine")}
    assert in_vain == set(MOVES_IN_VAIN), (
        "(key, verb): the verb's nodes have the key among their own parts, and none of them read it in the full "
        "domain. Take it out of the verb's inputs, or name it in MOVES_IN_VAIN with the reason"
    )


def test_no_exception_is_left_that_nothing_needs(project: Project) -> None:
    changes = [project.change(key) for key in KEYS]
    needed = {(c.label, _verb(node)) for c in changes for node in c.because if node not in c.moved}
    assert set(NOT_KEPT) <= {change.label for change in changes}
    assert set(READ_IN_VAIN) <= needed


@pytest.mark.parametrize("place", ["train.rank", "tasks.tone.final", "teachers.careful.options", "loop.max_usd"])
def test_what_moves_by_parts_and_parents_moves_by_fingerprint(project: Project, place: str) -> None:
    key = next(key for key in KEYS if str(key) == place)
    before, after = (_fingerprints(project.planned(tree)) for tree in (key.tree, key.changed))
    assert project.change(key).moved == {name for name, found in before.items() if after[name] != found}


def _fingerprints(planned: Planned) -> dict[str, str]:
    plan = compile_plan(planned.spec, "", planned.facts, {}, History(), planned.spec.loop.iterations)
    return {node.name: node.fingerprint for node in plan.nodes}


def _verb(node: str) -> str:
    return node.split(".")[1]
