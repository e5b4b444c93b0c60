"""What sqlglot's tree tells about a query. Only to classify and to make rows by: what runs is always the text itself.

Where sqlglot cannot read a text, or would take long, nothing is known of it, and every answer here is the careful one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from flywheel.verifiers.syntax import Literals
from flywheel.verifiers.tokens import is_ordered

if TYPE_CHECKING:
    from sqlglot import exp

#: Characters up to which a text is read: sqlglot takes about a second for ten times as many.
_CHARACTERS = 10_000


@lru_cache(2_048)
def tree_of(text: str, dialect: str) -> exp.Expr | None:
    """The tree of the one query in the text; None where it cannot be read."""
    if len(text) > _CHARACTERS:
        return None
    import sqlglot
    from sqlglot import exp

    try:
        found = [tree for tree in sqlglot.parse(text, dialect=dialect) if tree is not None]
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError):
        return None
    return found[0] if len(found) == 1 and isinstance(found[0], exp.Query) else None


@dataclass(frozen=True)
class Analysed:
    """A query's text, in `dialect`."""

    text: str
    dialect: str

    @property
    def tree(self) -> exp.Expr | None:
        return tree_of(self.text, self.dialect)

    @cached_property
    def is_ordered(self) -> bool:
        """Whether it has an ORDER BY of its own (not only in a sub-query)."""
        return is_ordered(self.text)

    @cached_property
    def may_hang_on_order(self) -> bool:
        """Whether its rows could hang on the order in which the tables' rows were inserted. True where in doubt."""
        from sqlglot import exp

        if self.tree is None or self.has_lone_column:
            return True
        ordered = (exp.Order, exp.Limit, exp.Window, exp.GroupConcat, exp.ArrayAgg, exp.Anonymous, exp.Rand)
        return self.tree.find(*ordered) is not None

    @cached_property
    def has_lone_column(self) -> bool:
        """Whether a column stands beside an aggregate and is in no GROUP BY: SQLite takes it from some row."""
        from sqlglot import exp

        return self.tree is not None and any(_has_lone_column(select) for select in self.tree.find_all(exp.Select))

    @cached_property
    def tables(self) -> frozenset[str] | None:
        """What it reads by name, in lower case; None where that is not known."""
        from sqlglot import exp

        return None if self.tree is None else frozenset(table.name.lower() for table in self.tree.find_all(exp.Table))

    @cached_property
    def literals(self) -> Literals:
        """Every column with every constant that stands in a condition with it."""
        from sqlglot import exp

        found: set[tuple[str, str]] = set()
        for condition in self.tree.find_all(exp.Predicate) if self.tree is not None else ():
            columns = {column.name.lower() for column in condition.find_all(exp.Column)}
            constants = {literal.this for literal in condition.find_all(exp.Literal)}
            found |= {(column, constant) for column in columns for constant in constants}
        return frozenset(found)


def _has_lone_column(select: exp.Select) -> bool:
    from sqlglot import exp

    grouped = {column.sql().lower() for column in (select.args.get("group") or exp.Group()).find_all(exp.Column)}
    names = {name.rpartition(".")[2] for name in grouped}
    shown = select.expressions
    if not any(node for item in shown for node in item.find_all(exp.AggFunc)) and not grouped:
        return False
    bare = [item.unalias() for item in shown if isinstance(item.unalias(), exp.Column)]
    return any(column.name.lower() not in names for column in bare) if grouped or len(bare) < len(shown) else False
