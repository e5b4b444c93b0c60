"""`load` as a whole: what it gives, what it never does, how long it takes."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flywheel.errors import Fault, SpecInvalid, render_fault
from flywheel.spec.loader import load

SMALL = Path(__file__).parent / "projects" / "small"
TEXT = (SMALL / "flywheel.yaml").read_text()


def test_what_is_loaded(project) -> None:
    loaded = project.load()
    assert loaded.spec.name == "orders"
    assert loaded.spec.train.rank == 16
    assert loaded.root == project.root
    assert loaded.text == TEXT
    assert loaded.places["train", "rank"] == (24, 9)
    assert loaded.warnings == ()


def test_a_fault_of_a_later_stage_has_its_place(project) -> None:
    fault = project.load().fault(("taxonomy", 0, "when"), "no such column.", 'Did you mean "row.a"?')
    assert render_fault(fault) == (
        'flywheel.yaml:12:45: taxonomy[0].when: no such column. Did you mean "row.a"?\n'
        "      - {name: empty, severity: critical, when: \"answer = ''\"}\n"
        "                                                ^"
    )


def test_nothing_can_be_changed(project) -> None:
    loaded = project.load()
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.root = Path()


def test_yaml_faults_stop_there(project) -> None:
    project.edit(("name: orders", "name: orders\nname: again"), ("rank: 16", "rank: x"))
    assert [line.split(": ")[0] for line in project.messages()] == ["flywheel.yaml:4:1"]


def test_all_faults_come_at_once_in_the_order_of_the_file(project) -> None:
    project.edit(
        ("verify: [same]", "verify: [sam]"),
        ("rank: 16", 'rank: "16"'),
        ("evals/seeds.csv", "../seeds.csv"),
        ("suite: holdout", "suite: hold"),
    ).write("evals/probes.jsonl", "[]\n").write("prompts/answer.md", "{{ row.thin }}")
    assert [line.split(": ")[0] for line in project.messages()] == [
        "flywheel.yaml:9:12",
        "flywheel.yaml:10:14",
        "flywheel.yaml:24:9",
        "flywheel.yaml:28:13",
        "evals/probes.jsonl:1",
        "prompts/answer.md:1",
    ]


def test_files_are_shown_as_a_person_would_type_them(project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.edit(("rank: 16", "rank: x")).write("evals/probes.jsonl", "[]\n")
    monkeypatch.chdir(project.root.parent)
    with pytest.raises(SpecInvalid) as caught:
        load(project.root / "flywheel.yaml")
    name = project.root.name
    assert [f.file for f in caught.value.faults] == [f"{name}/flywheel.yaml", f"{name}/evals/probes.jsonl"]


def test_validating_imports_nothing_heavy(project) -> None:
    code = (
        "import sys; from pathlib import Path; from flywheel.spec.loader import load; load(Path('flywheel.yaml'))\n"
        "heavy = {'torch', 'transformers', 'peft', 'lm_eval', 'litellm', 'duckdb', 'numpy', 'pyarrow', 'scipy',"
        " 'jsonschema_rs', 'datasets', 'rich', 'typer'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_real_project_loads_fast(project) -> None:
    """Bar: 80 ms for about 800 rows on a quiet machine; 0.5 s of processor time here, for a busy one."""
    rows = [{"thing": f"thing {i} of many", "a": i, "b": 1, "answer": str(i + 1)} for i in range(800)]
    text = [json.dumps(row) + "\n" for row in rows]
    project.write("evals/probes.jsonl", "".join(text[:400])).write("evals/holdout.jsonl", "".join(text[400:]))
    project.load()
    started = time.process_time()
    project.load()
    assert time.process_time() - started < 0.5


# --- nothing but SpecInvalid, whatever the text -------------------------------------------------------------

QUIET = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def what_is_said(project) -> list[Fault]:
    """The faults of the project; anything but them raises here."""
    try:
        project.load()
    except SpecInvalid as invalid:
        assert_told(invalid)
        return invalid.faults
    return []


def assert_told(invalid: SpecInvalid) -> None:
    assert invalid.faults
    assert all(fault.message and fault.file for fault in invalid.faults)
    assert str(invalid).encode(), "can be printed"


@QUIET
@given(text=st.text())
def test_any_text(project, text: str) -> None:
    project.write("flywheel.yaml", text.encode("utf-8", "surrogatepass"))
    what_is_said(project)


@QUIET
@given(data=st.binary())
def test_any_bytes(project, data: bytes) -> None:
    project.write("flywheel.yaml", data)
    what_is_said(project)


@QUIET
@given(data=st.data())
def test_any_damage_to_a_spec(project, data: st.DataObject) -> None:
    """A stretch of a valid spec replaced by YAML's own signs."""
    start = data.draw(st.integers(0, len(TEXT) - 1))
    end = data.draw(st.integers(start, min(len(TEXT), start + 30)))
    signs = data.draw(st.text(alphabet="{}[]:,&*!|>'\"%@`#-? \n\tab0~<$/.", max_size=8))
    project.write("flywheel.yaml", TEXT[:start] + signs + TEXT[end:])
    what_is_said(project)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(
        ["answer", "same", "terse", "holdout", "litellm", "${env:X}", "../x", "evals/probes.jsonl", "a:b"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def places(value: object, path: tuple = ()) -> list[tuple]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for key, item in items for p in places(item, (*path, key)))]


@QUIET
@given(data=st.data())
def test_any_value_anywhere(project, data: st.DataObject) -> None:
    """One value of a valid spec replaced by any other, or given a further key."""
    tree = yaml.safe_load(TEXT)
    path = data.draw(st.sampled_from(places(tree)[1:]))
    here = tree
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = data.draw(JSON)
    if isinstance(here, dict):
        here[data.draw(st.text(max_size=6) | st.sampled_from(["task", "mode", "modes", "lm_eval", "kind"]))] = (
            data.draw(JSON)
        )
    project.write("flywheel.yaml", yaml.safe_dump(tree, allow_unicode=False))
    what_is_said(project)


@QUIET
@given(line=st.binary(max_size=60))
def test_any_row(project, line: bytes) -> None:
    (project.root / "flywheel.yaml").write_text(TEXT)
    project.write("evals/probes.jsonl", line)
    what_is_said(project)


@QUIET
@given(text=st.text(alphabet="{}% row.answerthing|[]()'\"if endfor#-\n", max_size=40))
def test_any_prompt(project, text: str) -> None:
    (project.root / "flywheel.yaml").write_text(TEXT)
    project.write("prompts/answer.md", text)
    what_is_said(project)


def test_the_default_spec_of_the_repository_is_valid() -> None:
    spec = Path(__file__).parents[2] / "flywheel.yaml"
    if not spec.exists():
        pytest.skip("no flywheel.yaml at the root yet")
    assert load(spec).warnings == ()
    assert os.path.isabs(load(spec).root)
