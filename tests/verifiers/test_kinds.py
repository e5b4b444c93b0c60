from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.spec.verifiers import (
    VERIFIERS,
    ExactVerifier,
    JsonSchemaVerifier,
    LabelVerifier,
    MathVerifier,
    PythonVerifier,
    RegexVerifier,
    SqlVerifier,
    Verifier,
)
from flywheel.verifiers import VerifierInvalid, parts, version_of
from flywheel.verifiers.kinds import OPEN


def test_every_kind_of_the_spec_can_be_opened_or_asks_a_teacher() -> None:
    asking = {"judge"}
    assert set(VERIFIERS.by_name) - asking == set(OPEN)


@pytest.mark.parametrize(
    ("spec", "needs"),
    [
        (ExactVerifier(kind="exact"), True),
        (MathVerifier(kind="math"), True),
        (RegexVerifier(kind="regex", pattern="a"), False),
        (LabelVerifier(kind="label", labels=["a"]), True),
        (SqlVerifier(kind="sql", check="parses", setup="x.sql"), False),
        (SqlVerifier(kind="sql", check="same_rows", setup="x.sql"), True),
        (JsonSchemaVerifier(kind="json_schema", schema_file="x.json"), False),
        (JsonSchemaVerifier(kind="json_schema", schema_file="x.json", compare="fields"), True),
        (PythonVerifier(kind="python", function="x.py:f"), False),
        (PythonVerifier(kind="python", function="x.py:f", needs_reference=True), True),
    ],
)
def test_needs_reference(spec: Verifier, needs: bool) -> None:
    assert spec.needs_reference is needs


FILES: list[tuple[Verifier, str]] = [
    (SqlVerifier(kind="sql", check="parses", setup="part.txt"), "setup"),
    (JsonSchemaVerifier(kind="json_schema", schema_file="part.txt"), "schema"),
    (LabelVerifier(kind="label", labels="part.txt"), "labels"),
    (PythonVerifier(kind="python", function="part.txt:check"), "function"),
]


@pytest.mark.parametrize(("spec", "part"), FILES)
def test_the_file_is_part_of_the_version(tmp_path: Path, spec: Verifier, part: str) -> None:
    (tmp_path / "part.txt").write_text("one")
    before, version = parts("v", spec, tmp_path), version_of("v", spec, tmp_path)
    (tmp_path / "part.txt").write_text("two")
    after = parts("v", spec, tmp_path)
    assert {key for key in before if before[key] != after[key]} == {part}
    assert version_of("v", spec, tmp_path) != version


@pytest.mark.parametrize(("spec", "part"), FILES)
def test_a_missing_file_is_named(tmp_path: Path, spec: Verifier, part: str) -> None:
    with pytest.raises(VerifierInvalid, match=r"verifiers\.v: cannot read part\.txt: No such file"):
        parts("v", spec, tmp_path)


def test_settings_are_part_of_the_version(tmp_path: Path) -> None:
    loose = MathVerifier(kind="math", tolerance=0.1)
    strict = MathVerifier(kind="math")
    assert version_of("v", loose, tmp_path) != version_of("v", strict, tmp_path)
    assert version_of("v", loose, tmp_path) == version_of("renamed", loose, tmp_path)
    assert "mpmath" in parts("v", loose, tmp_path)


def test_cases_for_an_audit_are_no_part_of_the_version(tmp_path: Path) -> None:
    plain, audited = MathVerifier(kind="math"), MathVerifier(kind="math", golden="cases.jsonl")
    assert version_of("v", audited, tmp_path) == version_of("v", plain, tmp_path)


@pytest.mark.parametrize("kind", ["python", "command", "code"])
def test_kinds_that_run_programs_are_not_confined(kind: str) -> None:
    found = VERIFIERS.by_name[kind]
    assert issubclass(found, Verifier)
    assert not found.confined
