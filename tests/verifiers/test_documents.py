from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
from shop import subject

from flywheel.spec.verifiers import JsonSchemaVerifier
from flywheel.verifiers.documents import open_json_schema
from flywheel.verifiers.finding import Check, Finding, VerifierInvalid

SCHEMA = {
    "type": "object",
    "required": ["id", "items"],
    "properties": {
        "id": {"type": "integer"},
        "items": {"type": "array", "items": {"type": "object", "properties": {"quantity": {"minimum": 1}}}},
    },
}


def opened(folder: Path, compare: Literal["none", "fields"] = "none", schema: object = SCHEMA) -> Check:
    (folder / "order.json").write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return open_json_schema(JsonSchemaVerifier(kind="json_schema", schema_file="order.json", compare=compare), folder)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("```json\n{}\n```", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"id": NaN, "items": []}', "not JSON: NaN is no JSON number"),
        ('{"id": 1, "id": 2, "items": []}', 'not JSON: the key "id" stands twice'),
        ('{"id": 1, "items": []} and', "not JSON: Extra data: line 1 column 24 (char 23)"),
        ("[" * 100_000, "not JSON: nested too deeply"),
        ("", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"id": 1}', 'the document: "items" is a required property'),
        (
            '{"id": 1, "items": [{}, {"quantity": 0}]}',
            "items[1].quantity: 0 is less than the minimum of 1",
        ),
    ],
)
def test_reasons_name_the_place(tmp_path: Path, answer: str, reason: str) -> None:
    assert opened(tmp_path)(subject(answer)) == Finding("fail", reason)


def test_what_fits_passes(tmp_path: Path) -> None:
    assert opened(tmp_path)(subject(' {"items": [{"quantity": 2}], "id": 1}\n')) == Finding("pass")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"id": 1.0, "items": [{"quantity": 2, "note": "extra"}], "more": 1}, ""),
        ({"id": 1, "items": [{"quantity": 3}]}, "items[0].quantity: 3 instead of 2"),
        ({"id": 1, "items": [{}]}, "items[0].quantity: missing"),
        ({"id": 1, "items": []}, 'items: [] instead of [{"quantity": 2}]'),
        ({"id": 1, "items": [{"quantity": 2}, {"quantity": 2}]}, 'items: [{"quantity": 2}, {"quantity": 2}]'),
    ],
)
def test_fields_of_the_gold(tmp_path: Path, answer: object, reason: str) -> None:
    gold = '{"id": 1, "items": [{"quantity": 2}]}'
    finding = opened(tmp_path, "fields")(subject(json.dumps(answer), gold))
    assert finding.outcome == ("fail" if reason else "pass")
    assert finding.reason.startswith(reason)


def test_a_boolean_is_no_number(tmp_path: Path) -> None:
    check = opened(tmp_path, "fields", schema={})
    assert check(subject('{"a": true}', '{"a": 1}')).reason == "a: true instead of 1"


def test_gold_that_is_no_json_is_unknown(tmp_path: Path) -> None:
    finding = opened(tmp_path, "fields", schema={})(subject("{}", "none"))
    assert finding.outcome == "unknown"
    assert finding.reason.startswith("the gold is not JSON")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "schema order.json: Expecting"),
        ({"type": "objekt"}, 'schema order.json: .*"objekt" is not valid'),
        ({"$ref": "http://example.invalid/x.json"}, "must stand in one file"),
        ({"$ref": "other.json"}, "retrieving it failed"),
    ],
)
def test_bad_schemas(tmp_path: Path, schema: object, message: str) -> None:
    with pytest.raises(VerifierInvalid, match=message):
        opened(tmp_path, schema=schema)
