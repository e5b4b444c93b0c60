"""Which parts of the spec each node reads while it runs, seen from outside: for tests of fingerprints."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from flywheel.engine.resources import Resources
from flywheel.nodes import RUN, Context
from flywheel.spec.base import SpecModel
from flywheel.spec.models import Spec
from flywheel.verifiers import Checker

Path_ = tuple[str | int, ...]
ASKING = ("system", "chat_template_kwargs", "max_new_tokens", "batch_size", "engine")
"""What of the student `Asking.many` reads."""


class Reads:
    """`parts`: node → (place of a model in the spec, its key or fact). `whole`: node → places of which all keys count
    as read: of the teachers and verifiers that it asked, which work in threads and processes of their own, and of its
    generator."""

    def __init__(self, spec: Spec) -> None:
        self.parts: dict[str, set[tuple[Path_, str]]] = defaultdict(set)
        self.whole: dict[str, set[Path_]] = defaultdict(set)
        self._running = threading.local()
        self._places: dict[int, Path_] = {}
        self._models: list[SpecModel] = []
        """Kept, so that no other object gets the id of one."""
        for place, model in models_in(spec):
            self.know(model, place)

    def know(self, model: SpecModel, place: Path_) -> None:
        self._places[id(model)] = place
        self._models.append(model)

    def read(self, model: SpecModel, name: str) -> None:
        node = getattr(self._running, "node", None)
        if node is not None and id(model) in self._places:
            self.parts[node].add((self._places[id(model)], name))

    def copied(self, model: SpecModel, copy: SpecModel) -> None:
        """What is read of a copy is read of the place that it was made from."""
        if id(model) in self._places:
            self.know(copy, self._places[id(model)])

    def runs(self, run: Callable[[Context], Any]) -> Callable[[Context], Any]:
        """The verb's function; what its thread reads is the node's."""

        def ran(ctx: Context) -> Any:
            node, self._running.node = ctx.node, ctx.node.name
            if node.kind == "generate":  # how lessons are made is for the strategy to say, whatever ran here
                self.whole[node.name] |= {
                    ("generate", i) for i, g in enumerate(ctx.spec.generate) if g.name == node.subject
                }
            try:
                return run(self._watched(ctx))
            finally:
                self._running.node = None

        return ran

    def aside(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """What opens something that all nodes share: what it reads is not the node's that comes first."""

        def opened(*arguments: Any, **options: Any) -> Any:
            node, self._running.node = getattr(self._running, "node", None), None
            try:
                return function(*arguments, **options)
            finally:
                self._running.node = node

        return opened

    def _watched(self, ctx: Context) -> Context:
        parts, whole = self.parts[ctx.node.name], self.whole[ctx.node.name]

        def judge(subjects: Iterable[Any], cascade: bool = False, tasks: Any = None) -> Any:
            subjects = list(subjects)
            judged = {subject.task for subject in subjects}
            for name in {name for task in judged for name in (tasks or ctx.spec.tasks)[task].verify}:
                whole.add(("verifiers", name))
                if (teacher := ctx.spec.verifiers[name].asks) is not None:
                    keys = type(ctx.spec.teachers[teacher]).model_fields.keys() - {
                        "fallback"
                    }  # nobody stands in for it
                    parts.update((("teachers", teacher), key) for key in keys)
            yield from ctx.judge(subjects, cascade=cascade, tasks=tasks)
            # Verifiers are looked up for all tasks at once, whoever's answers are judged.
            parts.difference_update({(("tasks", task), "verify") for task in ctx.spec.tasks.keys() - judged})

        def ask(requests: Any, student: Any) -> Any:
            for name in {request.teacher for request in requests}:
                whole.add(("teachers", name))
                if ctx.spec.teachers[name].is_student:  # sampled as it answers elsewhere, in the desk's thread
                    parts.update((("student",), key) for key in ASKING)
            return ctx.ask(requests, student)

        class Files:
            """`ctx.student`: what was found under `base` and, of a hub's model, `revision`."""

            def __getattr__(self, name: str) -> Any:
                parts.update((("student",), key) for key in ("base", "revision"))
                return getattr(ctx.student, name)

        class Shots(dict[str, str]):
            """`ctx.shots`: solved seeds of a task."""

            def __getitem__(self, task: str) -> str:
                parts.add((("student",), "shots"))
                return super().__getitem__(task)

        return replace(ctx, judge=judge, ask=ask, student=Files(), shots=Shots(ctx.shots))  # type: ignore[arg-type]


def trace(patch: pytest.MonkeyPatch, spec: Spec) -> Reads:
    """From now on, what nodes read of this very spec. Ends with the patch."""
    reads = Reads(spec)
    plain, dump, copy = SpecModel.__getattribute__, SpecModel.model_dump, SpecModel.model_copy

    def read(self: SpecModel, name: str) -> Any:
        if name in names_of(type(self)):
            reads.read(self, name)
        return plain(self, name)

    def dumped(self: SpecModel, **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = dump(self, **options)
        for place, model in models_in(self):
            if place and place[0] not in found:  # left out, with all that is in it
                continue
            for name, info in type(model).model_fields.items():
                if model is not self or name in found or info.alias in found:
                    reads.read(model, name)
        return found

    def copied(self: SpecModel, **options: Any) -> SpecModel:
        found = copy(self, **options)
        reads.copied(self, found)
        return found

    patch.setattr(SpecModel, "__getattribute__", read)
    patch.setattr(SpecModel, "model_dump", dumped)
    patch.setattr(SpecModel, "model_copy", copied)
    for shared, name in (
        (Resources, "_open_desk"),
        (Resources, "_open_rubrics"),
        (Checker, "__init__"),
        (Checker, "_open"),
    ):
        patch.setattr(shared, name, reads.aside(getattr(shared, name)))
    for verb, run in [*RUN.items()]:
        patch.setitem(RUN, verb, reads.runs(run))  # type: ignore[arg-type]
    return reads


@cache
def names_of(kind: type[SpecModel]) -> frozenset[str]:
    """Keys, and facts: the properties of a kind, which hang on its keys."""
    own = [name for name in dir(kind) if isinstance(getattr(kind, name, None), property)]
    return frozenset([*kind.model_fields, *(name for name in own if not name.startswith(("_", "model_")))])


def models_in(value: Any, place: Path_ = ()) -> Iterator[tuple[Path_, SpecModel]]:
    """Every model of a spec with its place, in the keys of the YAML."""
    if isinstance(value, SpecModel):
        yield place, value
        for name, info in type(value).model_fields.items():
            yield from models_in(vars(value)[name], (*place, info.alias or name))
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from models_in(item, (*place, key))
