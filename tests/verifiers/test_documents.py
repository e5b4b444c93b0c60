from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

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
        ("```json\n{}\n```", 'the document: "id" is a required property'),
        ('{"id": 1e999, "items": []}', "not JSON: the number 1e999 is too large"),
        ('{"id": Infinity, "items": []}', "not JSON: Infinity is no JSON number"),
        ('{"caf\u00e9": 1, "cafe\u0301": 2}', 'not JSON: the key "caf\u00e9" stands twice'),
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


# --- what is equal ----------------------------------------------------------------------------------------------------

TYPED = {
    "$defs": {"when": {"type": ["string", "null"], "format": "date-time"}},
    "properties": {
        "when": {"$ref": "#/$defs/when"},
        "at": {"format": "time"},
        "day": {"format": "date"},
        "mail": {"format": "email"},
        "log": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/when"}, {"type": "integer"}]}},
    },
}


def compared(folder: Path, answer: object, gold: object, **options: Any) -> Finding:
    (folder / "typed.json").write_text(json.dumps(TYPED))
    spec = JsonSchemaVerifier(kind="json_schema", schema_file="typed.json", compare="fields", **options)
    written = answer if isinstance(answer, str) else json.dumps(answer)
    return open_json_schema(spec, folder)(subject(written, json.dumps(gold)))


def test_the_shared_cases(tmp_path: Path) -> None:
    data = Path(os.environ.get("FLYWHEEL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    file = data.parent / "cases" / "json_schema.jsonl"
    if not file.exists():
        pytest.skip(f"no cases at {file}")
    for case in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
        check = opened(tmp_path, "fields", case["schema"])
        assert check(subject(case["answer"], json.dumps(case["gold"]))).outcome == case["expect"], case["why"]


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ({"n": "caf\u00e9"}, {"n": "cafe\u0301"}),
        ({"caf\u00e9": [1]}, {"cafe\u0301": [1]}),
        ({"n": "\uac00"}, {"n": "\u1100\u1161"}),
        ({"n": 0.1 + 0.2}, {"n": 0.3}),
        ({"n": 1.0}, {"n": 1}),
        ({"n": 0.9999999999999999}, {"n": 1}),
        ({"n": 1e3}, {"n": 1000}),
        ({"n": -0.0}, {"n": 0}),
        ('{"n": 9007199254740993}', {"n": 9007199254740993}),
        ('{"n": 1E400000}'.replace("E400000", "0" * 400), {"n": 10**400}),
        ({"when": "2026-01-01T00:00:00Z"}, {"when": "2026-01-01T01:00:00+01:00"}),
        ({"when": "2026-01-01t00:00:00.50z"}, {"when": "2025-12-31T22:00:00.5-02:00"}),
        ({"log": [3, "2026-01-01T00:00:00Z"]}, {"log": [3, "2026-01-01T00:00:00+00:00"]}),
        ({"at": "23:30:00Z"}, {"at": "00:30:00+01:00"}),
        ({"when": None}, {"when": None}),
    ],
)
def test_equal_values(tmp_path: Path, answer: object, gold: object) -> None:
    assert compared(tmp_path, answer, gold) == Finding("pass")


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ({"n": "cafe"}, {"n": "caf\u00e9"}),
        ({"n": "\ufb01"}, {"n": "fi"}),  # compatibility forms are other letters
        ({"n": 0.3000000000000002}, {"n": 0.3}),
        ({"n": 0.30000001}, {"n": 0.3}),
        ('{"n": 9007199254740993}', {"n": 9007199254740992}),
        ('{"n": 9007199254740993}', {"n": 9007199254740992.0}),
        ({"n": 1e300}, {"n": 1.0000000000000002e300}),
        ({"n": True}, {"n": 1}),
        ({"n": "1"}, {"n": 1}),
        ({"n": None}, {"n": 0}),
        ({"when": "2026-01-01T00:00:00Z"}, {"when": "2026-01-01T00:00:01Z"}),
        ({"when": "2026-01-01T00:00:00.0000001Z"}, {"when": "2026-01-01T00:00:00.0000002Z"}),
        ({"when": "2016-12-31T23:59:60Z"}, {"when": "2016-12-31T23:59:59Z"}),
        ({"other": "2026-01-01T00:00:00Z"}, {"other": "2026-01-01T00:00:00+00:00"}),  # the schema says nothing of it
        ({"log": [1, 2]}, {"log": [2, 1]}),
    ],
)
def test_other_values(tmp_path: Path, answer: object, gold: object) -> None:
    assert compared(tmp_path, answer, gold).outcome == "fail"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"when": "not a date"}, 'when: "not a date" is not a "date-time"'),
        ({"when": "2026-01-01 00:00:00"}, 'when: "2026-01-01 00:00:00" is not a "date-time"'),
        ({"day": "2026-02-30"}, 'day: "2026-02-30" is not a "date"'),
        ({"mail": "nobody"}, 'mail: "nobody" is not a "email"'),
    ],
)
def test_declared_formats_are_asserted(tmp_path: Path, answer: object, reason: str) -> None:
    assert compared(tmp_path, answer, answer) == Finding("fail", reason)


def test_lists_in_any_order(tmp_path: Path) -> None:
    def bags(answer: object, gold: object) -> Finding:
        return compared(tmp_path, {"l": answer}, {"l": gold}, lists="unordered")

    assert bags([3, 1, 2], [1, 2, 3]) == bags([[1, 2], [3]], [[3], [2, 1]]) == Finding("pass")
    assert bags([1, 1, 2], [1, 2, 2]) == Finding("fail", "l: nothing equals 2")
    assert bags([1, 2], [1, 2, 2]).outcome == "fail"
    # The first of the gold fits both; only one way round fits all.
    assert bags([{"a": 1, "b": 2}, {"a": 1}], [{"a": 1}, {"a": 1, "b": 2}]) == Finding("pass")
    assert bags([{"a": 1}, {"a": 1, "b": 2, "c": 3}], [{"a": 1, "b": 2}, {"a": 1}]) == Finding("pass")
    assert bags([0.1 + 0.2, "x"], ["x", 0.3]) == Finding("pass")


def test_fields_of_the_answer_alone(tmp_path: Path) -> None:
    assert compared(tmp_path, {"a": 1, "b": 2}, {"a": 1}) == Finding("pass")
    assert compared(tmp_path, {"a": 1, "b": 2}, {"a": 1}, extra="forbid") == Finding("fail", "b: not in the gold")
    assert compared(tmp_path, {"o": {"a": 1, "b": 2}}, {"o": {"a": 1}}, extra="forbid").reason == "o.b: not in the gold"


def test_null_and_absent(tmp_path: Path) -> None:
    assert compared(tmp_path, {"a": 1}, {"a": 1, "b": None}).reason == "b: missing"
    assert compared(tmp_path, {"a": 1}, {"a": 1, "b": None}, null_is_absent=True) == Finding("pass")
    assert compared(tmp_path, {"a": 1, "b": None}, {"a": 1}, null_is_absent=True, extra="forbid") == Finding("pass")
    assert compared(tmp_path, {"l": [None]}, {"l": []}, null_is_absent=True).outcome == "fail"


def test_letter_case(tmp_path: Path) -> None:
    assert compared(tmp_path, {"a": "Stra\u00dfe"}, {"a": "STRASSE"}).outcome == "fail"
    assert compared(tmp_path, {"a": "Stra\u00dfe"}, {"a": "STRASSE"}, ignore_case=True) == Finding("pass")
    assert compared(tmp_path, {"A": 1}, {"a": 1}, ignore_case=True).reason == "a: missing"


def test_absurd_depth_is_no_crash(tmp_path: Path) -> None:
    deep = "[" * 900 + "]" * 900
    assert compared(tmp_path, deep, json.loads(deep)).outcome in ("pass", "fail")
