"""What can be said of a predicate before any answer is there: whether it runs over the rows, and what never holds.

The engine's own parser gives the tree (`json_serialize_sql`); the forms that are looked for are those that read as if
they meant something: comparisons with NULL, NULL asked of a function that never gives it, a verdict that is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import duckdb

from flywheel.records import Outcome, Row
from flywheel.spec.models import ErrorMode
from flywheel.store.taxonomy import UNKNOWN, Failed, first_lines, held, memory, open_table, why_unknown
from flywheel.text import did_you_mean

_NEVER_NULL = {
    "regexp_extract": "regexp_extract gives '' where nothing matches",
    "regexp_extract_all": "regexp_extract_all gives [] where nothing matches",
    "split_part": "split_part gives '' where there is no such part",
}
_COMPARES = (
    "COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_LESSTHAN", "COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_GREATERTHANOREQUALTO",
)  # fmt: skip


def check_predicates(
    sample: Sequence[Row], modes: Sequence[ErrorMode], verifiers: Sequence[str]
) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """(predicates that cannot run over rows like these, those that cannot be computed for some of them): each its index
    among `modes` and what DuckDB says. Answers are not known yet: what raises for an answer shows when it comes."""
    connection = open_table([Failed(row, None, None, []) for row in sample], verifiers)
    try:
        faults, doubts = [], []
        for index, mode in enumerate(modes):
            fault, unknown, why = _trial(connection, mode)
            if fault:
                faults.append((index, fault))
            elif unknown:
                doubts.append((index, f"for {unknown:,} of {len(sample):,} rows it cannot be computed: {why}"))
        return faults, doubts
    finally:
        connection.close()


def _trial(connection: duckdb.DuckDBPyConnection, mode: ErrorMode) -> tuple[str, int, str]:
    """(why it does not bind, rows for which it raises, why)."""
    if mode.when is None:
        return "", 0, ""
    try:
        found = held(connection, mode.when)
    except duckdb.Error as error:
        return _not_bound(error), 0, ""
    unknown = [place for place, value in enumerate(found) if value == UNKNOWN]
    return "", len(unknown), why_unknown(connection, mode.when, unknown[0]) if unknown else ""


_NO_SUCH = re.compile(r'(?:Could not find key|Referenced column) "([^"]+)"')
_CANDIDATES = re.compile(r"Candidate (?:Entries|bindings): (.*)")
#: What a predicate may name beside the columns of `row`; the table has further columns, which are nobody's business.
_NAMES = frozenset({"answer", "gold", "row", "verdict", "reason"})


def _not_bound(error: duckdb.Error) -> str:
    """What DuckDB says; of a name that is not there, the nearest of those that are."""
    said = first_lines(error)
    if (missing := _NO_SUCH.search(said)) is None or (others := _CANDIDATES.search(str(error))) is None:
        return said
    known = set(re.findall(r'"([^"]+)"', others[1]))
    is_column = "in struct" in said
    hint = did_you_mean(missing[1], known if is_column else _NAMES)
    return f'no {"column" if is_column else "value"} "{missing[1]}". {hint}'.rstrip()


def never_holds(predicates: Sequence[str]) -> list[list[str]]:
    """Of each predicate the parts that are never true (or, of `IS NOT NULL`, always), each in words that end in the
    right thing to write. Nothing for what does not parse."""
    connection = memory()
    try:
        return [_never_holds(connection, when) for when in predicates]
    finally:
        connection.close()


def _never_holds(connection: duckdb.DuckDBPyConnection, when: str) -> list[str]:
    try:
        found = connection.execute("SELECT json_serialize_sql(CAST(? AS VARCHAR))", [f"SELECT ({when}\n)"]).fetchall()
    except duckdb.Error:
        return []
    return list(dict.fromkeys(words for node in _nodes(json.loads(found[0][0])) if (words := _vain(node))))


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(child)


def _vain(node: dict[str, Any]) -> str:
    kind = node.get("type", "")
    if kind in _COMPARES:
        return _vain_comparison(kind, [node.get("left"), node.get("right")])
    children = node.get("children") or []
    if kind in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL") and children:
        return _vain_null_test(children[0], kind == "OPERATOR_IS_NULL")
    if kind == "OPERATOR_NOT" and children and children[0].get("type") == "COMPARE_IN":
        return _vain_not_in(children[0]["children"][1:])
    if kind == "COMPARE_IN" and children[1:] and all(map(_is_null, children[1:])):
        return "a comparison with NULL is never true: write IS NULL or IS NOT NULL."
    if kind == "COMPARE_IN" and children and _is_verdict(children[0]):
        texts = [_text(child) for child in children[1:]]
        return _not_outcomes(texts) if all(text is not None for text in texts) else ""
    return ""


def _vain_comparison(kind: str, sides: list[Any]) -> str:
    if any(_is_null(side) for side in sides):
        return "a comparison with NULL is never true: write IS NULL or IS NOT NULL."
    if kind == "COMPARE_EQUAL" and any(_is_verdict(side) for side in sides):
        return _not_outcomes([text for side in sides if (text := _text(side)) is not None])
    return ""


def _vain_not_in(values: Sequence[Any]) -> str:
    return "NOT IN is never true with a NULL among its values: leave it out." if any(map(_is_null, values)) else ""


def _vain_null_test(tested: Any, is_null: bool) -> str:
    name = tested.get("function_name", "") if isinstance(tested, dict) else ""
    if name not in _NEVER_NULL:
        return ""
    test, instead = ("IS NULL never holds", "= ''") if is_null else ("IS NOT NULL always holds", "!= ''")
    return f"{_NEVER_NULL[name]}, so {test}: write {instead.replace(chr(39) * 2, '[]') if 'all' in name else instead}."


def _not_outcomes(texts: Sequence[str | None]) -> str:
    known = get_args(Outcome)
    if texts and not any(text in known for text in texts):
        return f'no verdict is "{texts[0]}": write {", ".join(known[:-1])} or {known[-1]}.'
    return ""


def _is_verdict(node: Any) -> bool:
    names = node.get("column_names", []) if isinstance(node, dict) else []
    return len(names) == 2 and names[0].lower() == "verdict"


def _is_null(node: Any) -> bool:
    return _literal(node).get("kind") == "NULL_LITERAL"


def _text(node: Any) -> str | None:
    literal = _literal(node)
    return literal.get("text") if literal.get("kind") == "STRING" else None


def _literal(node: Any) -> dict[str, Any]:
    found = node.get("literal") if isinstance(node, dict) and node.get("class") == "CONSTANT" else None
    return found if isinstance(found, dict) else {}
