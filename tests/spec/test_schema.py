"""The generated files say what the models say, and what the loader does."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from flywheel.spec.document import parse_document
from flywheel.spec.models import Spec
from flywheel.spec.schema import generated_files, json_schema, write
from flywheel.spec.wording import fields_by_key

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


def test_keys_are_as_written_in_yaml() -> None:
    models = json_schema()["$defs"]
    assert "from" in models["Targeted"]["properties"]
    assert "schema" in models["JsonSchemaVerifier"]["properties"]


def test_yaml_of_the_fixture_means_the_same_to_everybody() -> None:
    """The fixture uses nothing that YAML 1.1 and 1.2 read differently."""
    text = SMALL.read_text()
    assert yaml.safe_load(text) == parse_document(text, "f").tree
