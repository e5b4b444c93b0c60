"""Right answers made wrong, to see which verifiers notice. Pure and seeded: the same answer gives the same corruptions.

A corruption may happen to be right as well (`ORDER BY` dropped where the rows come in order anyway), so a rate of
accepted corruptions is an upper bound of the rate of false accepts; what was accepted is listed for people to look at.
"""

from __future__ import annotations

import json
import keyword
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flywheel.answers import Language
from flywheel.hashing import seed_from


@dataclass(frozen=True)
class Corruption:
    name: str
    answer: str


@dataclass(frozen=True)
class Surroundings:
    """What a corruption may draw from: how answers are written, the declared labels, other right answers."""

    language: Language = "text"
    labels: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


_Corrupt = Callable[[str, Surroundings, random.Random], str | None]


def corruptions(answer: str, around: Surroundings, final: str | None = None, seed: int = 0) -> list[Corruption]:
    """At most one corruption of each kind, those that apply; none that is the answer again but for case and space.

    `final`: the task's pattern; then only what its group matches last is corrupted."""
    start, end = _final_span(answer, final)
    made = []
    for name, corrupt in _KINDS.items():
        rng = random.Random(seed_from(seed, name, answer))
        wrong = corrupt(answer[start:end], around, rng)
        if wrong is not None and not _same(wrong, answer[start:end]):
            made.append(Corruption(name, answer[:start] + wrong + answer[end:]))
    return made


def _final_span(answer: str, final: str | None) -> tuple[int, int]:
    spans = [match.span(1) for match in re.finditer(final, answer)] if final else []
    return spans[-1] if spans else (0, len(answer))


def _same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one.casefold().split() == other.casefold().split()


# --- numbers ----------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\.?\w)")


def _changed_number(answer: str, around: Surroundings, rng: random.Random) -> str | None:
    """Another number of the same look, not a neighbour."""
    return _with_number(answer, rng, lambda value: rng.randint(2, 9 + abs(int(value))))


def _off_by_one(answer: str, around: Surroundings, rng: random.Random) -> str | None:
    return _with_number(answer, rng, lambda value: 1)


def _with_number(answer: str, rng: random.Random, step: Callable[[float], int]) -> str | None:
    """A number moved up or down, where that leaves its sign."""
    found = list(_NUMBER.finditer(answer))
    if not found:
        return None
    match = rng.choice(found)
    whole, _, decimals = match[0].partition(".")
    value = float(match[0]) if decimals else int(whole)
    distance = step(value)
    value += rng.choice([d for d in (distance, -distance) if (value + d < 0) == (value < 0)])
    text = f"{value:.{len(decimals)}f}" if decimals else str(value).zfill(len(whole) if whole.startswith("0") else 0)
    return answer[: match.start()] + text + answer[match.end() :]


# --- names, clauses and comparisons -----------------------------------------------------------------------------------

_SQL_NAMES = """
all and any array as asc avg between bool by case cast coalesce count cross date desc distinct else end except exists
extract false first from full group having ilike in inner integer intersect interval is join last left like limit lower
max min not null nulls offset on or order outer over partition recursive right round select sum then timestamp true
union upper using values varchar when where with
"""
_SQL_WORDS = frozenset(_SQL_NAMES.split())
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|[A-Za-z_]\w*|\S")


def _swapped_name(answer: str, around: Surroundings, rng: random.Random) -> str | None:
    """A column, table or variable replaced by another that stands in the same place in a like answer."""
    if around.language not in ("sql", "python"):
        return None
    own = _names(answer, around.language)
    words = {name for _, name, _ in own}
    known: dict[str, set[str]] = {}
    for names in [own, *(_names(other, around.language) for other in around.others)]:
        if words & {name for _, name, _ in names}:
            for before, name, _ in names:
                known.setdefault(before, set()).add(name)
    choices = [(at, name, sorted(known[before] - {name})) for before, name, at in own if known[before] - {name}]
    if not choices:
        return None
    at, name, instead = rng.choice(choices)
    return answer[:at] + rng.choice(instead) + answer[at + len(name) :]


@lru_cache(maxsize=4096)
def _names(answer: str, language: Language) -> list[tuple[str, str, int]]:
    """(the token before, the name, where it begins) of every name that is no word of the language."""
    found, before = [], ""
    for match in _TOKEN.finditer(answer):
        token = match[0]
        if (token[0].isalpha() or token[0] == "_") and not _is_word(token, language):
            found.append((before.upper(), token, match.start()))
        before = token
    return found


def _is_word(token: str, language: Language) -> bool:
    return token.lower() in _SQL_WORDS if language == "sql" else keyword.iskeyword(token)


_CLAUSE = re.compile(
    r"\s+(?:(?:(?:INNER|LEFT|RIGHT|FULL|CROSS)\s+)?(?:OUTER\s+)?JOIN|WHERE|GROUP\s+BY|HAVING|ORDER\s+BY|LIMIT)\b"
    r"|\bDISTINCT\b",
    re.I,
)


def _dropped_clause(answer: str, around: Surroundings, rng: random.Random) -> str | None:
    """One clause less: JOIN, WHERE, GROUP BY, HAVING, ORDER BY, LIMIT, DISTINCT."""
    found = list(_CLAUSE.finditer(answer)) if around.language == "sql" else []
    if not found:
        return None
    match = rng.choice(found)
    if match[0].upper() == "DISTINCT":
        return answer[: match.start()] + answer[match.end() :].lstrip()
    later = [other.start() for other in found if other.start() > match.start()]
    return answer[: match.start()] + (answer[min(later) :] if later else _closing(answer[match.end() :]))


def _closing(rest: str) -> str:
    """The brackets and the semicolon that end a query, which belong to no clause."""
    depth = 0
    for i, character in enumerate(rest):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            return rest[i:]
    return ";" if rest.rstrip().endswith(";") else ""


_NEGATION = {
    "<=": ">", ">=": "<", "<>": "=", "!=": "=", "==": "!=", "<": ">=", ">": "<=", "=": "!=",
    " NOT IN ": " IN ", " IN ": " NOT IN ", " NOT LIKE ": " LIKE ", " LIKE ": " NOT LIKE ",
    " IS NOT NULL": " IS NULL", " IS NULL": " IS NOT NULL", " not in ": " in ", " is not ": " is ", " is ": " is not ",
}  # fmt: skip
_COMPARISON = {
    "sql": re.compile(r"<=|>=|<>|!=|<|>|=| NOT IN | IN | NOT LIKE | LIKE | IS NOT NULL| IS NULL"),
    "python": re.compile(r"<=|>=|!=|==|(?<![-<])>(?!>)|<(?![<-])| not in | is not | is "),
}


def _negated_comparison(answer: str, around: Surroundings, rng: random.Random) -> str | None:
    found = list(_COMPARISON[around.language].finditer(answer)) if around.language in _COMPARISON else []
    if not found:
        return None
    match = rng.choice(found)
    instead = _NEGATION[match[0]]
    if around.language == "python" and match[0] == "!=":
        instead = "=="
    return answer[: match.start()] + instead + answer[match.end() :]


# --- labels and fields ------------------------------------------------------------------------------------------------


def _other_label(answer: str, around: Surroundings, rng: random.Random) -> str | None:
    others = [label for label in around.labels if label != answer.strip()]
    return rng.choice(others) if others and answer.strip() in around.labels else None


def _dropped_field(answer: str, around: Surroundings, rng: random.Random) -> str | None:
    def drop(fields: dict[str, Any]) -> dict[str, Any]:
        gone = rng.choice(sorted(fields))
        return {key: value for key, value in fields.items() if key != gone}

    return _with_fields(answer, drop)


def _renamed_field(answer: str, around: Surroundings, rng: random.Random) -> str | None:
    def rename(fields: dict[str, Any]) -> dict[str, Any]:
        old = rng.choice(sorted(fields))
        return {f"{key}_" if key == old else key: value for key, value in fields.items()}

    return _with_fields(answer, rename)


def _other_value(answer: str, around: Surroundings, rng: random.Random) -> str | None:
    """A field with the value that it has in another right answer."""
    known = [fields for other in around.others if (fields := _fields(other))]

    def exchange(fields: dict[str, Any]) -> dict[str, Any] | None:
        key = rng.choice(sorted(fields))
        values = [other[key] for other in known if key in other and other[key] != fields[key]]
        return fields | {key: rng.choice(values)} if values else None

    return _with_fields(answer, exchange)


def _with_fields(answer: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> str | None:
    fields = _fields(answer)
    changed = change(fields) if fields else None
    return None if changed is None else json.dumps(changed, ensure_ascii=False)


def _fields(answer: str) -> dict[str, Any] | None:
    if not answer.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(answer)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


# --- any text ---------------------------------------------------------------------------------------------------------


def _truncated(answer: str, around: Surroundings, rng: random.Random) -> str | None:
    """The first 30 to 90 per cent."""
    bare = answer.rstrip()
    return bare[: max(1, int(len(bare) * rng.uniform(0.3, 0.9)))] if len(bare) > 1 else None


def _shuffled_words(answer: str, around: Surroundings, rng: random.Random) -> str | None:
    """For prose: words in another order are no query, program or JSON, or, as in DuckDB, the same query."""
    words = answer.split()
    if around.language != "text" or len(set(words)) < 3:
        return None
    shuffled = rng.sample(words, len(words))
    return " ".join(shuffled if shuffled != words else shuffled[::-1])


def _empty(answer: str, around: Surroundings, rng: random.Random) -> str | None:
    return "" if answer.strip() else None


_KINDS: dict[str, _Corrupt] = {
    "changed_number": _changed_number,
    "off_by_one": _off_by_one,
    "swapped_name": _swapped_name,
    "dropped_clause": _dropped_clause,
    "negated_comparison": _negated_comparison,
    "other_label": _other_label,
    "other_value": _other_value,
    "dropped_field": _dropped_field,
    "renamed_field": _renamed_field,
    "truncated": _truncated,
    "shuffled_words": _shuffled_words,
    "empty": _empty,
}

KINDS: Sequence[str] = tuple(_KINDS)
