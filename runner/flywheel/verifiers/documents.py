"""The json_schema check: the answer is strict JSON, fits a schema, and agrees with the gold's fields."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from flywheel.errors import dotted
from flywheel.records import Subject
from flywheel.spec.verifiers import JsonSchemaVerifier
from flywheel.text import one_line
from flywheel.verifiers.finding import PASS, Check, Finding, VerifierInvalid, fail, unknown

_Place = tuple[str | int, ...]


def open_json_schema(spec: JsonSchemaVerifier, root: Path, unsafe: bool = False) -> Check:
    validator = _validator(root / spec.schema_file, spec.schema_file)

    def check(subject: Subject) -> Finding:
        try:
            answer = strict_json(subject.answer)
        except ValueError as error:
            return fail(f"not JSON: {error}")
        for wrong in validator.iter_errors(answer):
            return fail(f"{_place(tuple(wrong.instance_path))}: {one_line(wrong.message, 160)}")
        return _compare(answer, subject.reference) if spec.compare == "fields" else PASS

    return check


def _validator(path: Path, name: str) -> Any:
    import jsonschema_rs

    def refuse(uri: str) -> NoReturn:
        raise ValueError(f"{uri} is outside the file; a schema must stand in one file")

    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
        return jsonschema_rs.validator_for(schema, retriever=refuse)
    except ValueError as error:  # bad JSON and bad schema alike
        raise VerifierInvalid(f"schema {name}: {one_line(str(error), 300)}") from error


def strict_json(text: str) -> Any:
    """The one JSON value in `text`. Raises ValueError for NaN, doubled keys, absurd depth."""
    try:
        return json.loads(text.strip(), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f'the key "{next(k for k in keys if keys.count(k) > 1)}" stands twice')
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _compare(answer: Any, reference: str | None) -> Finding:
    try:
        gold = strict_json(reference or "")
    except ValueError as error:
        return unknown(f"the gold is not JSON: {error}")
    different = difference(answer, gold)
    return PASS if different is None else fail(different)


def difference(answer: Any, gold: Any, place: _Place = ()) -> str | None:
    """Where `answer` first differs from `gold`, or None.

    Fields that only the answer has are the schema's business.
    """
    if isinstance(gold, dict) and isinstance(answer, dict):
        missing = next((key for key in gold if key not in answer), None)
        if missing is not None:
            return f"{_place((*place, missing))}: missing"
        return _first(difference(answer[key], gold[key], (*place, key)) for key in gold)
    if isinstance(gold, list) and isinstance(answer, list) and len(gold) == len(answer):
        return _first(difference(a, g, (*place, i)) for i, (a, g) in enumerate(zip(answer, gold, strict=True)))
    if isinstance(answer, bool) is isinstance(gold, bool) and answer == gold:
        return None
    return f"{_place(place)}: {_shown(answer)} instead of {_shown(gold)}"


def _first(differences: Iterable[str | None]) -> str | None:
    return next((found for found in differences if found is not None), None)


def _place(path: _Place) -> str:
    return dotted(path) or "the document"


def _shown(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), 60)
