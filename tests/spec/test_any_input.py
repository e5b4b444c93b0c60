"""No spec ends in a traceback: a valid one is spoilt in one or more places, at random."""

from __future__ import annotations

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flywheel.engine.project import open_project
from flywheel.errors import FlywheelError

TREE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "projects" / "small" / "flywheel.yaml").read_text())


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


ODD_TEXT = [
    "", " ", "a", "A", "answer", "Answer", "kind", "1", "é", "e\u0301", "\u202e", "x" * 300, "a.b", "a/b", "../x",
    "{{ row }}", "${env:X}", "${", "null", "a\tb", "日本", "\U0001f600", "http://[", "'", '"', "--", "[key]",
]  # fmt: skip
VALUES = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, 2**62, 1e300, *ODD_TEXT]) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(ODD_TEXT), inner, max_size=3),
    max_leaves=8,
)


def spoilt(tree: Any, place: tuple[Any, ...], how: str, key: str, value: Any) -> Any:
    if not place:
        return value if how == "replace" else tree
    head, *rest = place
    if not isinstance(tree, dict | list) or (isinstance(tree, dict) and head not in tree):
        return tree
    if isinstance(tree, list) and not (isinstance(head, int) and head < len(tree)):
        return tree
    if rest:
        tree[head] = spoilt(tree[head], tuple(rest), how, key, value)
    elif how == "replace":
        tree[head] = value
    elif how == "remove":
        del tree[head]
    elif isinstance(tree, dict):
        renamed = {"case": str(head).swapcase(), "rename": key}.get(how, key)
        tree[renamed] = copy.deepcopy(tree[head]) if how in ("case", "twin") else tree.pop(head)
    return tree


SPOILING = st.tuples(
    st.sampled_from(places(TREE)[1:]), st.sampled_from(["replace", "remove", "case", "twin", "rename"]),
    st.sampled_from(ODD_TEXT), VALUES,
)  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SPOILING, min_size=1, max_size=3))
def test_a_spoilt_spec_is_valid_or_told_what_is_wrong(project, spoilings: list[Any]) -> None:
    tree: Any = copy.deepcopy(TREE)
    for spoiling in spoilings:
        tree = spoilt(tree, *spoiling)
    (project.root / "flywheel.yaml").write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    validated()


def validated() -> None:
    with suppress(FlywheelError):
        open_project(Path("flywheel.yaml")).warnings  # noqa: B018


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("verifiers:\n", "verifiers:\n  Same: {kind: exact}\n"),
        ("verifiers:\n", "verifiers:\n  '': {kind: exact}\n"),
        ("tasks:\n", "tasks:\n  '': {}\n"),
        ("teachers:\n", "teachers:\n  Terse: {kind: student}\n"),
        ("taxonomy:\n", "taxonomy:\n  - {name: Empty, when: 'true'}\n"),
        ("name: ", "'': x\nname: "),
    ],
)
def test_keys_that_are_empty_or_differ_in_case_only(project, old: str, new: str) -> None:
    project.edit((old, new))
    validated()


@pytest.mark.parametrize("final", ["#### (.+", "##+)", ".+", "", "(a)(b)", "(?P<", "[", "(.)" * 300])
def test_a_mark_of_the_final_answer_that_cannot_be_looked_for_is_one_fault(project, final: str) -> None:
    project.edit(("target: answer", f"target: answer\n    final: '{final}'"))
    assert [message.split(": ")[1] for message in project.messages()] == ["tasks.answer.final"]


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3_000, "~" * 300, "./" + "b" * 300])
def test_names_too_long_for_a_file(project, name: str) -> None:
    project.edit(("version: 1\n", f"version: 1\nstudent: {{base: {name}}}\n"))
    project.edit(("verifiers:\n", f"verifiers:\n  odd: {{kind: command, command: [{name}]}}\n"))
    validated()


@pytest.mark.parametrize("row", [{"thing": "x", "Thing": "y"}, {"": "x"}, {"thing": {"deep": [{"": []}]}}, {"a b": 1}])
def test_columns_that_are_empty_or_differ_in_case_only(project, row: dict[str, Any]) -> None:
    import json

    probes = project.root / "evals/probes.jsonl"
    lines = [json.loads(line) for line in probes.read_text().splitlines()]
    probes.write_text("".join(json.dumps({**line, **row}) + "\n" for line in lines))
    validated()


def test_verifiers_that_differ_in_case_only_are_refused(project) -> None:
    project.edit(("verifiers:\n", "verifiers:\n  Same: {kind: exact}\n"), ("verify: [same]", "verify: [same, Same]"))

    assert 'verifiers.same: "same" and "Same" differ in letter case only. Give one' in project.faults()
