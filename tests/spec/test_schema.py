"""The generated files say what the models say, and what the loader does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import jsonschema_rs
import pytest
import yaml
from pydantic import TypeAdapter

from flywheel.spec.document import parse_document
from flywheel.spec.kinds import Family
from flywheel.spec.models import Spec
from flywheel.spec.schema import generated_files, json_schema, write
from flywheel.spec.wording import FAMILIES, fields_by_key

REPOSITORY = Path(__file__).parents[2]
SMALL = Path(__file__).parent / "projects" / "small" / "flywheel.yaml"


@pytest.mark.parametrize("name", sorted(generated_files()))
def test_generated_files_are_current(name: str) -> None:
    found = (REPOSITORY / name).read_text(encoding="utf-8")
    assert found == generated_files()[name], "run: python -m flywheel.spec.schema"


def test_writing(tmp_path: Path) -> None:
    assert [path.relative_to(tmp_path).as_posix() for path in write(tmp_path)] == list(generated_files())
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in generated_files()} == generated_files()


def test_it_is_a_schema_and_the_small_spec_fits() -> None:
    jsonschema_rs.meta.validate(json_schema())
    tree = parse_document(SMALL.read_text(), "f").tree
    assert jsonschema_rs.validator_for(json_schema()).is_valid(tree)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rank: 16", "rnak: 16"),
        ("rank: 16", 'rank: "16"'),
        ("rank: 16", "rank: 0"),
        ("{kind: exact}", "{kind: exakt}"),
        ("{kind: exact}", "{kind: exact, schema: x}"),
        ("  answer:\n", "  my answer:\n"),
        ("name: practice,", "name: practice, source: seeds,"),
        ("[terse, chatty]", "{terse: 0}"),
    ],
)
def test_what_the_loader_refuses_the_editor_refuses(old: str, new: str) -> None:
    tree = parse_document(SMALL.read_text().replace(old, new, 1), "f").tree
    assert not jsonschema_rs.validator_for(json_schema()).is_valid(tree)


def test_every_key_has_a_meaning_and_is_in_the_reference() -> None:
    reference = generated_files()["docs/spec.md"]
    schema = json_schema()
    for name, model in schema["$defs"].items():
        for key, value in model["properties"].items():
            assert "description" in value or "$ref" in value, f"{name}.{key} needs a docstring"
            assert f"`{key}`" in reference, f"{name}.{key} is not in docs/spec.md"
    assert all(f"`{key}`" in reference for key in fields_by_key(Spec))


def test_the_reference_shows_the_default_of_a_list_and_its_choices_as_they_are_written() -> None:
    reference = generated_files()["docs/spec.md"]
    wrong = '[{"name": "wrong", "severity": "major", "description": "any wrong answer"}]'
    assert f"| `taxonomy` | list of mappings | `{wrong}` |" in reference
    assert Spec.model_validate(yaml.safe_load(SMALL.read_text()) | {"taxonomy": yaml.safe_load(wrong)}).taxonomy
    choices = r"list of `harder` \| `broader` \| `constrained`"
    assert f'| `directions` | {choices} | `["harder", "broader", "constrained"]` |' in reference
    assert "`s |" not in reference


def test_keys_are_as_written_in_yaml() -> None:
    models = json_schema()["$defs"]
    assert "from" in models["Targeted"]["properties"]
    assert "schema" in models["JsonSchemaVerifier"]["properties"]


def test_yaml_of_the_fixture_means_the_same_to_everybody() -> None:
    """The fixture uses nothing that YAML 1.1 and 1.2 read differently."""
    text = SMALL.read_text()
    assert yaml.safe_load(text) == parse_document(text, "f").tree


def best(old: str, new: str) -> tuple[str, str]:
    """Place and message of what an editor would show first."""
    jsonschema = pytest.importorskip("jsonschema")
    tree = parse_document(SMALL.read_text().replace(old, new, 1), "f").tree
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(json_schema()).iter_errors(tree))
    return error.json_path, error.message


def test_a_kind_that_nobody_has_is_said_with_those_that_there_are() -> None:
    place, message = best("{kind: exact}", "{kind: exakt}")
    assert place == "$.verifiers.same.kind"
    assert message.startswith("'exakt' is not one of ['sql', 'math'")
    assert best("{kind: exact}", "{}") == ("$.verifiers.same", "'kind' is a required property")
    place, message = best("name: practice,", "name: practice, strategy: targetted,")
    assert place == "$.generate[1].strategy"
    assert message.startswith("'targetted' is not one of ['targeted'")


@pytest.mark.parametrize("kind", ["exact", "math", "label", "sql"])
def test_a_wrong_key_is_said_of_the_kind_that_was_meant(kind: str) -> None:
    place, message = best("{kind: exact}", f"{{kind: {kind}, labels: l.txt, setup: s.sql, nonsense: 1}}")
    assert place == "$.verifiers.same"
    assert "'nonsense'" in message
    assert "were unexpected" in message or "was unexpected" in message


def test_a_wrong_key_where_the_strategy_is_left_out_is_said_of_the_usual_one() -> None:
    message = "Additional properties are not allowed ('source' was unexpected)"
    assert best("name: practice,", "name: practice, source: seeds,") == ("$.generate[1]", message)


def test_a_kind_of_your_own_may_have_any_keys() -> None:
    tree = parse_document(SMALL.read_text().replace("{kind: exact}", "{kind: own.py:Mine, x: 1}", 1), "f").tree
    assert jsonschema_rs.validator_for(json_schema()).is_valid(tree)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.noun)
def test_every_kind_has_a_branch_under_its_name(family: Family) -> None:
    entry = TypeAdapter(Annotated[Any, family]).json_schema()
    named = [name for branch in entry["allOf"][1:] for name in branch["if"]["properties"][family.key]["enum"]]
    assert named == list(family.by_name) == entry["allOf"][0]["else"]["properties"][family.key]["enum"]
