"""What is doubtful about gold queries themselves: three ways in which a published gold is often wrong.

A LIMIT that cuts through a tie, so that which row is right is chance; an ORDER BY over NULLs, which engines sort to
different ends; numbers that are kept as text and sorted as text ("9" above "10"). Looked for on the declared database,
by running the gold with its sort keys beside its columns. (Those of BIRD's golds: bird-bench/mini_dev, issue 49.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.records import Subject
from flywheel.spec.verifiers import SqlVerifier, Verifier
from flywheel.text import one_line, plural
from flywheel.verifiers.analysis import tree_of
from flywheel.verifiers.fixture import QueryRefused, QueryUndecided
from flywheel.verifiers.instances import number_of
from flywheel.verifiers.matching import rule_of

if TYPE_CHECKING:
    from sqlglot import exp

Lint = Callable[[Subject], list[str]]
#: Rows of a gold that are looked at.
_ROWS = 10_000


def has_lint(spec: Verifier) -> bool:
    """Whether its golds are queries that can be looked at."""
    return spec.language == "sql" and spec.origin is None and spec.needs_reference


def open_lint(spec: SqlVerifier, root: Path) -> Lint:
    """What is doubtful of a subject's reference. Raises VerifierInvalid."""
    from flywheel.verifiers.sql import engines_of

    engines, rule = engines_of(spec, root), rule_of(spec)
    dialect = spec.engine

    def lint(subject: Subject) -> list[str]:
        gold = subject.reference or ""
        try:
            engine = engines(subject)[0]
            rows = engine.original.rows(engine.query(rule.prepared(gold, True)), _ROWS).rows
        except (QueryRefused, QueryUndecided) as error:
            return [f"the gold query does not run: {error}"]
        tree = tree_of(gold, dialect)
        return [] if tree is None else list(dict.fromkeys(_doubts(engine, tree, list(rows), dialect)))

    return lint


def _doubts(engine: Any, tree: exp.Expr, gold_rows: list[tuple[Any, ...]], dialect: str) -> Iterator[str]:
    from sqlglot import exp

    order, limit = tree.args.get("order"), _limit(tree)
    if not isinstance(tree, exp.Select) or order is None:
        return
    if _rows(engine, tree, dialect) != gold_rows:
        return  # sqlglot writes another query than it read, such as DATE(x) for SQLite's CAST(x AS DATE)
    rows = _with_keys(engine, tree, dialect)
    width = len(order.expressions)
    keys, others = [row[-width:] for row in rows], [row[:-width] for row in rows]
    names = [one_line(ordered.this.sql(dialect=dialect), 60) for ordered in order.expressions]
    if (
        limit is not None
        and len(rows) > limit > 0
        and keys[limit - 1] == keys[limit]
        and others[limit - 1] != others[limit]
    ):
        tied = sum(key == keys[limit] for key in keys)
        yield f"LIMIT {limit} cuts through {plural(tied, 'row')} that tie in {', '.join(names)}"
    shown = keys if limit is None else keys[:limit]
    for place, name in enumerate(names):
        if nulls := sum(key[place] is None for key in shown):
            yield f"ORDER BY {name} sorts {plural(nulls, 'NULL')} among its rows, which engines put at different ends"
        if _numbers_as_text([key[place] for key in keys]):
            yield f"ORDER BY {name} sorts numbers that are kept as text: '10' comes before '9'"


def _limit(tree: exp.Expr) -> int | None:
    limit = tree.args.get("limit")
    number = number_of(limit.expression.this) if limit is not None and hasattr(limit.expression, "this") else None
    return None if number is None else int(number)


def _with_keys(engine: Any, tree: exp.Expr, dialect: str) -> list[tuple[Any, ...]]:
    """The gold's rows without its LIMIT, each followed by what it is sorted by; none where that cannot be asked."""
    copy = tree.copy()
    if copy.args.get("distinct"):
        return []  # a key that is not shown would change what is distinct
    aliases = {item.alias: item.unalias() for item in copy.expressions if item.alias}
    keys = [ordered.this for ordered in copy.args["order"].expressions]
    shown = [aliases[key.name] if key.name in aliases and not key.args.get("table") else key for key in keys]
    width = len(copy.expressions)
    places = [copy.expressions[int(k.this) - 1].unalias() if _is_place(k, width) else k for k in shown]
    copy.set("expressions", [*copy.expressions, *(place.copy() for place in places)])
    copy.set("limit", None)
    return _rows(engine, copy, dialect)


def _rows(engine: Any, tree: exp.Expr, dialect: str) -> list[tuple[Any, ...]]:
    """What the query gives; none where it cannot be asked."""
    try:
        return list(engine.original.rows(engine.query(tree.sql(dialect=dialect)), _ROWS).rows)
    except (QueryRefused, QueryUndecided):
        return []


def _is_place(key: Any, width: int) -> bool:
    """`ORDER BY 2`."""
    return key.key == "literal" and not key.is_string and key.this.isdigit() and 1 <= int(key.this) <= width


def _numbers_as_text(values: list[Any]) -> bool:
    """Whether they are texts of numbers whose order as texts is another than as numbers."""
    texts = {value for value in values if value is not None}
    if len(texts) < 2 or not all(isinstance(text, str) and number_of(text) is not None for text in texts):
        return False
    return sorted(texts) != sorted(texts, key=lambda text: (number_of(text), text))


def open_lints(setup: tuple[dict[str, SqlVerifier], Path, bool]) -> Callable[[tuple[str, Subject]], list[str]]:
    """In a child, confined where it can be: the function that lints one subject by the named verifier."""
    from flywheel.sandbox import confine
    from flywheel.verifiers.checker import files_of

    verifiers, root, confined = setup
    if confined:
        confine(files_of(verifiers.values(), root))
    opened = {name: open_lint(spec, root) for name, spec in verifiers.items()}

    return lambda asked: opened[asked[0]](asked[1])
