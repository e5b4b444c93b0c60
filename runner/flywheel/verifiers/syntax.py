"""What DuckDB's own syntax tree tells about a query: its effects, its order, and the literals that its columns meet."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

#: (column, value): the value stands beside the column in a condition.
Literals = frozenset[tuple[str, str]]

# Quotes inside literals stand escaped in the tree's JSON, so text in a query cannot pose as one of these.
_NODES = re.compile(
    r'(?<!\\)"type":"(?:(?P<change>[A-Z]+)\w*_QUERY_NODE|(?P<show>SHOW)_REF'
    r'|TABLE_FUNCTION".*?"function_name":"(?P<function>(?:[^"\\]|\\.)*)")'
)
_FUNCTION = re.compile(r'(?<!\\)"class":"FUNCTION".*?"function_name":"((?:[^"\\]|\\.)*)"')
_TABLE = re.compile(r'(?<!\\)"type":"BASE_TABLE".*?"table_name":"((?:[^"\\]|\\.)*)"')
_ORDERED_NODES = re.compile(r'(?<!\\)"(?:modifiers":\[\{|class":"WINDOW|sample":\{)')
#: Functions whose value does not hang on the order of the rows. Of all others we suppose that it may.
_ORDERLESS = frozenset(
    {"+", "-", "*", "/", "//", "%", "||", "~~", "!~~", "~~*", "!~~*", "abs", "avg", "ceil", "coalesce", "concat"}
    | {"contains", "count", "count_star", "date_diff", "date_part", "date_trunc", "day", "floor", "greatest", "least"}
    | {"length", "lower", "max", "mean", "median", "min", "month", "nullif", "prefix", "replace", "round", "strftime"}
    | {"substring", "substr", "suffix", "sum", "trim", "upper", "year", "like_escape", "stddev", "variance"}
)
_CONDITIONS = frozenset({"COMPARISON", "BETWEEN", "OPERATOR", "FUNCTION"})


@dataclass(frozen=True)
class Query:
    """The text of one query and DuckDB's tree of it, as JSON."""

    text: str
    tree: str

    @cached_property
    def is_ordered(self) -> bool:
        """Whether it has an ORDER BY of its own (not only in a sub-query)."""
        node = json.loads(self.tree)["statements"][0]["node"]
        return any(modifier["type"] == "ORDER_MODIFIER" for modifier in node["modifiers"])

    @cached_property
    def may_hang_on_order(self) -> bool:
        """Whether its rows could hang on the order in which the tables' rows were inserted. True where in doubt."""
        if _ORDERED_NODES.search(self.tree):
            return True
        return any(name.lower() not in _ORDERLESS for name in _FUNCTION.findall(self.tree))

    @property
    def has_lone_column(self) -> bool:
        """Never: DuckDB refuses a column beside an aggregate that is in no GROUP BY."""
        return False

    @property
    def dialect(self) -> str:
        return "duckdb"

    @cached_property
    def tables(self) -> frozenset[str]:
        """What it reads by name, in lower case: tables, views, and its own WITH."""
        return frozenset(json.loads(f'"{name}"').lower() for name in _TABLE.findall(self.tree))

    @cached_property
    def literals(self) -> Literals:
        found: set[tuple[str, str]] = set()
        with suppress(RecursionError):  # an expression of hundreds of levels; what was found before it serves
            _collect(json.loads(self.tree)["statements"], found)
        return frozenset(found)


def effects(tree: str, functions: frozenset[str]) -> Iterator[str]:
    """What makes the tree more than a query, in words; table functions other than `functions` among it."""
    for node in _NODES.finditer(tree):
        if node["change"]:
            yield f"not a query: {node['change']} in WITH"
        elif node["show"]:
            yield "not a query: SHOW"
        elif node["function"].lower() not in functions:
            yield f"table function not allowed: {node['function']}"


def _collect(node: Any, found: set[tuple[str, str]]) -> tuple[set[str], set[str]]:
    """Columns and constants below the node; where it is a condition, every pair of them goes to `found`."""
    columns: set[str] = set()
    constants: set[str] = set()
    if isinstance(node, list):
        below = node
    elif not isinstance(node, dict):
        return columns, constants
    elif node.get("class") == "COLUMN_REF":
        return {str(node["column_names"][-1]).lower()}, constants
    elif node.get("class") == "CONSTANT":
        return columns, {str(node["literal"].get("text", ""))}
    else:
        below = [value for key, value in node.items() if key != "modifiers"]  # LIMIT 5 says nothing of a column
    for child in below:
        names, values = _collect(child, found)
        columns |= names
        constants |= values
    if isinstance(node, dict) and node.get("class") in _CONDITIONS:
        found |= {(column, constant) for column in columns for constant in constants}
    return columns, constants
