"""The house: who asks which kind a thing is, which names stand twice, who reads the table of nodes."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from flywheel.plan import VERBS
from flywheel.spec.wording import FAMILIES

PACKAGE = Path(__file__).parent.parent / "runner" / "flywheel"
SOURCES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text())
    for path in sorted(PACKAGE.rglob("*.py"))
    if "templates" not in path.parts
}

CLASSES = {kind.__name__ for family in FAMILIES.values() for kind in (*family.own, family.base)}
NAMES = {name for family in FAMILIES.values() for name in family.by_name} | set(VERBS)
#: A kind's class with its keys and facts, and the table that ties it to the code that runs it.
HOMES = {
    "spec/verifiers.py", "spec/teachers.py", "spec/strategies.py", "spec/targets.py", "spec/kinds.py", "plan/verbs.py",
    "nodes/targets/kinds.py", "verifiers/kinds.py", "teachers/lines.py", "nodes/lessons/strategies.py",
    "nodes/__init__.py",
}  # fmt: skip


def asks_for_a_kind(node: ast.AST) -> bool:
    """An isinstance of a kind's class, a comparison of `.kind` or `.strategy`, a table of kinds' names."""
    match node:
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, classes]):
            return bool({name.id for name in ast.walk(classes) if isinstance(name, ast.Name)} & CLASSES)
        case ast.Compare(left=left, comparators=right):
            sides = [left, *right]
            words = {word.value for side in sides for word in ast.walk(side) if isinstance(word, ast.Constant)}
            asked = any(isinstance(side, ast.Attribute) and side.attr in ("kind", "strategy") for side in sides)
            return asked and bool(words & NAMES)  # a token of a formula has a kind, too
        case ast.Match(subject=ast.Attribute(attr="kind" | "strategy")):
            return True
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items) | ast.Dict(keys=items):
            words = [item.value for item in items if isinstance(item, ast.Constant)]
            return len(words) > 1 and len(words) == len(items) and set(words) <= NAMES
    return False


def places() -> Iterator[str]:
    for file, tree in SOURCES.items():
        if file not in HOMES:
            lines = {
                node.lineno
                for node in ast.walk(tree)
                if isinstance(node, ast.expr | ast.stmt) and asks_for_a_kind(node)
            }
            yield from (f"{file}:{line}" for line in sorted(lines))


def test_hardly_any_place_outside_a_kinds_home_asks_which_kind_it_is() -> None:
    """Counted so, 45adced had 74 lines and more. What is left: `Plan.of` looks a verb up by name, the judge's own room
    asserts its class, corruption knows two languages that are also the names of kinds, `deploy.approve` is gate or
    human."""
    found = list(places())
    assert len(found) <= 5, found


def test_the_count_sees_each_way_to_ask() -> None:
    asked = [
        "isinstance(x, SqlVerifier | None)", "v.kind == 'sql'", "g.strategy in ('trace', 'x')", "{'sql': 1, 'code': 2}",
        "('trace', 'evolve')", "match v.kind:\n    case 'sql': pass",
    ]  # fmt: skip
    quiet = ["isinstance(x, str)", "event == 'node_done'", "('sql', 'csv')", "['targeted']", "v.needs_reference"]
    assert all(any(asks_for_a_kind(node) for node in ast.walk(ast.parse(text))) for text in asked)
    assert not any(asks_for_a_kind(node) for text in quiet for node in ast.walk(ast.parse(text)))


def test_no_class_name_stands_for_two_things() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for file, node in class_definitions():
        homes[node.name].add(file)
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_the_table_of_nodes_has_one_reader_beside_the_reports_own_queries() -> None:
    reading = [path for path in PACKAGE.rglob("*.py") if re.search(r"(FROM|JOIN) nodes\b", path.read_text())]
    assert {path.relative_to(PACKAGE).as_posix() for path in reading} == {"records/nodes.py", "report/queries.py"}


def test_who_has_its_annotations_read_when_it_is_imported_has_values_there_and_no_text() -> None:
    """pydantic and typer compile an annotation that is text, of a field that a class inherits once more in each of its
    subclasses: a twelfth of what `validate` took."""
    models = {"BaseModel"}
    while more := {node.name for _, node in class_definitions() if bases(node) & models} - models:
        models |= more
    of_spec = {file for file, node in class_definitions() if node.name in models and file.startswith("spec/")}
    read = {*of_spec, "cli/commands.py"}
    assert read > {"spec/models.py", "spec/verifiers.py"}
    assert [file for file in sorted(read) if "from __future__ import annotations" in (PACKAGE / file).read_text()] == []


def class_definitions() -> Iterator[tuple[str, ast.ClassDef]]:
    for file, tree in SOURCES.items():
        yield from ((file, node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def bases(node: ast.ClassDef) -> set[str]:
    return {base.id for base in node.bases if isinstance(base, ast.Name)}


def test_a_reference_to_code_is_taken_apart_in_one_place() -> None:
    """`file.py:name`; the executor's own `module:name` is another thing."""
    cut = re.compile(r"""(function|reference)\w*\.r?partition\(":"\)""")
    cutting = [path for path in PACKAGE.rglob("*.py") if cut.search(path.read_text())]
    assert {path.relative_to(PACKAGE).as_posix() for path in cutting} == {"project_code.py", "executor/child.py"}
