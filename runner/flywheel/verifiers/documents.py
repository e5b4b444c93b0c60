"""The json_schema check: the answer is strict JSON, fits a schema, and agrees with the gold's fields.

Letters are compared in Unicode's normal form NFC. Numbers may differ by one floating-point step, where both can be
told apart by a float at all. Where the schema says `format: date-time` or `time`, the same instant is the same value.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from flywheel.errors import dotted
from flywheel.json_text import distinct
from flywheel.records import Subject
from flywheel.spec.verifiers import JsonSchemaVerifier, schema_validator
from flywheel.text import one_line
from flywheel.verifiers.finding import PASS, Check, Finding, VerifierInvalid, fail, read, unknown

_Place = tuple[str | int, ...]


def open_json_schema(spec: JsonSchemaVerifier, root: Path, unsafe: bool = False) -> Check:
    validator = _validator(root / spec.schema_file, spec.schema_file)

    def judged(subject: Subject) -> Finding:
        try:
            answer = strict_json(subject.answer)
        except ValueError as error:
            return fail(f"not JSON: {error}")
        for wrong in validator.iter_errors(answer):
            return fail(f"{_place(tuple(wrong.instance_path))}: {one_line(wrong.message, 160)}")
        return _compared(spec, answer, subject.reference, validator) if spec.compare == "fields" else PASS

    def check(subject: Subject) -> Finding:
        try:
            return judged(read(subject, "json"))
        except RecursionError:
            return fail("not JSON: nested too deeply")

    return check


def _validator(path: Path, name: str) -> Any:
    try:
        schema = _composed(json.loads(path.read_text(encoding="utf-8")))
        return schema_validator(schema, "is outside the file; a schema must stand in one file")
    except ValueError as error:  # bad JSON and bad schema alike
        raise VerifierInvalid(f"schema {name}: {one_line(str(error), 300)}") from error


def strict_json(text: str) -> Any:
    """The one JSON value in `text`, its letters in normal form.

    Raises ValueError for NaN, a number beyond every float, doubled keys, absurd depth.
    """
    try:
        return _composed(
            json.loads(text.strip(), object_pairs_hook=_distinct, parse_constant=_no_constant, parse_float=_finite)
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return distinct([(unicodedata.normalize("NFC", key), value) for key, value in pairs])


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {one_line(digits, 30)} is too large")
    return value


def _composed(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else unicodedata.normalize("NFC", value)
    if isinstance(value, list):
        return [_composed(item) for item in value]
    if isinstance(value, dict):
        return {_composed(key): _composed(item) for key, item in value.items()}
    return value


# --- comparing --------------------------------------------------------------------------------------------------------


def _compared(spec: JsonSchemaVerifier, answer: Any, reference: str | None, validator: Any) -> Finding:
    try:
        gold = strict_json(reference or "")
    except ValueError as error:
        return unknown(f"the gold is not JSON: {error}")
    different = FieldComparison(spec, _times(validator, answer)).difference(answer, gold)
    return PASS if different is None else fail(different)


def _times(validator: Any, answer: Any) -> frozenset[str]:
    """JSON pointers of the values that the schema calls a date-time or a time."""
    return frozenset(
        note["instanceLocation"]
        for note in validator.evaluate(answer).annotations()
        if note["schemaLocation"].endswith("/format") and note["annotations"] in ("date-time", "time")
    )


@dataclass(frozen=True)
class FieldComparison:
    """What counts as equal. `times`: JSON pointers in the answer at which strings are instants."""

    spec: JsonSchemaVerifier
    times: frozenset[str] = frozenset()

    def difference(self, answer: Any, gold: Any, place: _Place = ()) -> str | None:
        """Where `answer` first differs from `gold`, or None."""
        if isinstance(gold, dict) and isinstance(answer, dict):
            return self._fields(answer, gold, place)
        if isinstance(gold, list) and isinstance(answer, list) and len(gold) == len(answer):
            if self.spec.lists == "unordered":
                return self._members(answer, gold, place)
            pairs = enumerate(zip(answer, gold, strict=True))
            return _first(self.difference(a, g, (*place, i)) for i, (a, g) in pairs)
        return (
            None if self._same(answer, gold, place) else f"{_place(place)}: {_shown(answer)} instead of {_shown(gold)}"
        )

    def _fields(self, answer: dict[str, Any], gold: dict[str, Any], place: _Place) -> str | None:
        if self.spec.null_is_absent:
            answer, gold = _without_null(answer), _without_null(gold)
        for key in gold:
            if key not in answer:
                return f"{_place((*place, key))}: missing"
        if (
            self.spec.extra == "forbid"
            and (extra := next((key for key in answer if key not in gold), None)) is not None
        ):
            return f"{_place((*place, extra))}: not in the gold"
        return _first(self.difference(answer[key], gold[key], (*place, key)) for key in gold)

    def _members(self, answer: list[Any], gold: list[Any], place: _Place) -> str | None:
        """Lists as bags: each member of the gold has one of the answer's to itself."""
        left, wanted = _unequal(answer, gold)
        fits = [[i for i in left if self.difference(answer[i], gold[g], (*place, i)) is None] for g in wanted]
        alone = _unmatched(fits)
        return None if alone is None else f"{_place(place)}: nothing equals {_shown(gold[wanted[alone]])}"

    def _same(self, answer: Any, gold: Any, place: _Place) -> bool:
        if isinstance(answer, str) and isinstance(gold, str):
            return self._same_text(answer, gold, place)
        if isinstance(answer, bool) or isinstance(gold, bool):
            return answer is gold
        if isinstance(answer, int | float) and isinstance(gold, int | float):
            return same_number(answer, gold)
        return bool(answer == gold)

    def _same_text(self, answer: str, gold: str, place: _Place) -> bool:
        if answer == gold or (self.spec.ignore_case and answer.casefold() == gold.casefold()):
            return True
        if _pointer(place) not in self.times:
            return False
        one, other = instant(answer), instant(gold)
        return one is not None and one == other


def _without_null(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def same_number(one: float, other: float) -> bool:
    """Equal, or neighbouring floats. Whole numbers beyond 2^53 only where they are equal: no float tells them apart."""
    if one == other:
        return True
    if (isinstance(one, int) and isinstance(other, int)) or max(abs(one), abs(other)) > 2**53:
        return False
    return math.nextafter(one, other) == other


_INSTANT = re.compile(
    r"(?:(?P<date>\d{4}-\d\d-\d\d)[Tt])?(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<part>\d+))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d))"
)


def instant(text: str) -> tuple[datetime, Fraction, bool] | None:
    """When an RFC 3339 date-time, or a time on some day, is: whole seconds in UTC, the rest, and whether it is a leap
    second. None where the text is neither."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        return None
    leap = found["second"] == "60"
    offset = timedelta(hours=int(found["hours"] or 0), minutes=int(found["minutes"] or 0))
    try:
        day = datetime.fromisoformat(found["date"] or "2000-01-01")
        seconds = timedelta(hours=int(found["hour"]), minutes=int(found["minute"]), seconds=int(found["second"]) - leap)
        when = day + seconds + (offset if found["sign"] == "-" else -offset)
    except (ValueError, OverflowError):
        return None
    if not found["date"]:
        when = when.replace(year=2000, month=1, day=1)
    return when, Fraction(f"0.{found['part'] or 0}"), leap


def _unequal(answer: Sequence[Any], gold: Sequence[Any]) -> tuple[list[int], list[int]]:
    """Places in both lists that are left where equal members are taken out in pairs."""
    known = [json.dumps(value, sort_keys=True) for value in answer]
    wanted = [json.dumps(value, sort_keys=True) for value in gold]
    return _surplus(known, Counter(wanted)), _surplus(wanted, Counter(known))


def _surplus(values: Sequence[str], taken: Counter[str]) -> list[int]:
    places = []
    for place, value in enumerate(values):
        if taken[value]:
            taken[value] -= 1
        else:
            places.append(place)
    return places


def _unmatched(fits: Sequence[Sequence[int]]) -> int | None:
    """The first for which no partner is left when each takes one of those that fit (Kuhn's augmenting paths)."""
    partner: dict[int, int] = {}

    def finds(who: int, tried: set[int]) -> bool:
        for other in fits[who]:
            if other not in tried:
                tried.add(other)
                if other not in partner or finds(partner[other], tried):
                    partner[other] = who
                    return True
        return False

    return next((who for who in range(len(fits)) if not finds(who, set())), None)


def _first(differences: Iterable[str | None]) -> str | None:
    return next((found for found in differences if found is not None), None)


def _place(path: _Place) -> str:
    return dotted(path) or "the document"


def _pointer(path: _Place) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def _shown(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), 60)
