"""Rows that a gold query's own conditions select, and rows that just miss them: what two queries must agree on.

A query is taken apart into *slots* (a table under an alias) and *conditions*. A *case* is one row for each slot:
columns that joins call equal have one value, and conditions hold, or all but one. Many cases make a database: groups of
the sizes that HAVING asks for, more rows than LIMIT lets through, strict orders in some variants, repeats in others.
After the neighbour queries and test suites of Zhong, Yu and Klein (EMNLP 2020), but made for the query at hand.

sqlglot reads the queries. What it cannot read, or what is not understood here, leaves values to chance.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flywheel.verifiers.instances import Cells, Column, Content, Family, TableShape, around, moment_of, number_of

if TYPE_CHECKING:
    from sqlglot import exp

#: Cases of each variant. On the smallest a mean is its only value and no group ties with another.
_CASES = (1, 3, 5, 6, 14, 26, 24, 1, 1, 1)
#: Variants in which values repeat, and of these the one with NULLs; in the others values differ: orders are strict.
_REPEATS, _NULLS = (2, 6), 6
_GROUPED = range(4, 7)
#: Variants of one case that just misses: beside others a largest value or a sum would hide it.
_MISSED = range(7, 10)
_GROUP = 12
_KEPT = 512
_Node = tuple[int, str]
"""A slot and the name of one of its columns, in lower case."""


def witnesses(gold: Any, answer: Any, tables: tuple[TableShape, ...]) -> tuple[Content, ...]:
    """For each variant the rows of each table, parents first. Empty where nothing is known of the gold."""
    brings = {value for _, value in answer.literals} - {value for _, value in gold.literals}
    # An answer of the gold's own tables and constants asks for no rows of its own: what the gold gives is then kept.
    alike = not brings and answer.tables == gold.tables
    return _witnesses(gold.text, gold.text if alike else answer.text, gold.dialect, tables)


@lru_cache(_KEPT)
def _witnesses(gold: str, answer: str, dialect: str, tables: tuple[TableShape, ...]) -> tuple[Content, ...]:
    from flywheel.verifiers.analysis import tree_of

    trees = [tree_of(text, dialect) for text in dict.fromkeys((gold, answer))]
    known = {table.bare_name: table for table in tables}
    if trees[0] is None:
        return ()
    try:
        plans = [_Plan(tree, known) for tree in trees if tree is not None]
        near = _near(plans)
        makers = [_Maker(tables, near, variant) for variant in range(len(_CASES))] if plans[0].slots else []
        return tuple(maker.content(plans) for maker in makers)
    except RecursionError:  # an expression of hundreds of levels
        return ()


# --- taking a query apart -----------------------------------------------------------------------------------


@dataclass
class _Scope:
    """What one SELECT reads: alias → slot, or alias → the SELECT of a derived table."""

    slots: dict[str, int] = field(default_factory=dict)
    derived: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Atom:
    """A condition on one column: `kind` as sqlglot names it, with the constants that it compares with."""

    node: _Node
    kind: str
    constants: tuple[str, ...]
    numeric: bool

    def holds(self, value: str | None) -> bool | None:
        """Whether a value meets it; None where that is not for us to say."""
        if self.kind == "Is":
            return value is None
        if value is None or not self.constants:
            return False if value is None else None
        if self.kind in ("Like", "ILike"):
            pattern = "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in self.constants[0])
            return re.fullmatch(pattern, value, re.DOTALL) is not None
        return self._compares(value)

    def _compares(self, value: str) -> bool | None:
        ordered = [_ordered(text, self.numeric) for text in (value, *self.constants)]
        own, *others = ordered
        if self.numeric and any(item is None for item in ordered):
            return None
        match self.kind:
            case "EQ" | "In":
                return own in others
            case "NEQ":
                return own not in others
            case "GT":
                return bool(own > others[0])
            case "GTE":
                return bool(own >= others[0])
            case "LT":
                return bool(own < others[0])
            case "LTE":
                return bool(own <= others[0])
            case "Between":
                return bool(others[0] <= own <= others[-1])
        return None


def _ordered(text: str, numeric: bool) -> Any:
    return number_of(text) if numeric else text


class _Plan:
    """A query's slots, its conditions, and which of its parts stand beside each other."""

    def __init__(self, tree: exp.Expr, known: Mapping[str, TableShape]) -> None:
        from sqlglot import exp

        self.tree = tree
        self.known = known
        self.slots: list[TableShape] = []
        self.scopes: dict[int, _Scope] = {}
        self.ctes = {cte.alias.lower(): cte.this for cte in tree.find_all(exp.CTE)}
        self.selects = list(tree.find_all(exp.Select))
        for select in self.selects:
            self.scopes[id(select)] = self._scope(select)
        self.conditions = {id(select): list(self._conditions(select)) for select in self.selects}
        self.literals = {node: tuple(found) for node, found in self._literals().items()}
        for node in self._computed():
            self.literals.setdefault(node, (("5", True),))
        self.groups = [self._nodes(select.args.get("group"), select) for select in self.selects]
        self.groups += [list(nodes) for nodes in self._partitions()]
        self.counted = list(self._counted())
        self.sizes = self._sizes()

    def _scope(self, select: exp.Select) -> _Scope:
        from sqlglot import exp

        found = _Scope()
        source = select.args.get("from_") or select.args.get("from")
        for item in [source.this if source else None, *(join.this for join in select.args.get("joins") or [])]:
            if isinstance(item, exp.Table):
                name, alias = item.name.lower(), (item.alias or item.name).lower()
                if name in self.ctes:
                    found.derived[alias] = self.ctes[name]
                elif name in self.known:
                    found.slots[alias] = len(self.slots)
                    self.slots.append(self.known[name])
            elif isinstance(item, exp.Subquery):
                found.derived[item.alias.lower()] = item.this
        return found

    def _conditions(self, select: exp.Select) -> Iterator[exp.Expr]:
        from sqlglot import exp

        for join in select.args.get("joins") or []:
            if join.args.get("on") is not None:
                yield from join.args["on"].flatten() if isinstance(join.args["on"], exp.And) else [join.args["on"]]
        for key in ("where", "having"):
            if select.args.get(key) is not None:
                whole = select.args[key].this
                yield from whole.flatten() if isinstance(whole, exp.And) else [whole]

    def node_of(self, column: exp.Expr | None, select: Any) -> _Node | None:
        """The slot and column that a column means, looked for outwards."""
        from sqlglot import exp

        while isinstance(column, exp.Column) and select is not None:
            scope, alias, name = self.scopes[id(select)], column.table.lower(), column.name.lower()
            for own, slot in scope.slots.items():
                if alias in ("", own) and any(c.name.lower() == name for c in self.slots[slot].columns):
                    return slot, name
            for own, inner in scope.derived.items():
                if alias in ("", own) and (node := self._projected(inner, name)) is not None:
                    return node
            select = select.find_ancestor(exp.Select)
        return None

    def _projected(self, query: Any, name: str) -> _Node | None:
        from sqlglot import exp

        inner = query if isinstance(query, exp.Select) else query.find(exp.Select) if query is not None else None
        if inner is None:
            return None
        for item in inner.expressions:
            if item.alias_or_name.lower() == name or isinstance(item, exp.Star):
                column = exp.column(name) if isinstance(item, exp.Star) else item.find(exp.Column)
                return None if column is None else self.node_of(column, inner)
        return None

    def projection(self, query: Any) -> list[_Node | None]:
        """What each column of a SELECT is taken from."""
        from sqlglot import exp

        inner = query if isinstance(query, exp.Select) else query.find(exp.Select)
        return [] if inner is None else [self.node_of(item.find(exp.Column), inner) for item in inner.expressions]

    def is_text(self, column: exp.Expr, select: Any) -> bool:
        """Whether it is a word in double quotes that names no column: SQLite takes it as text."""
        from sqlglot import exp

        is_quoted = isinstance(column, exp.Column) and not column.table and column.this.args.get("quoted")
        return bool(is_quoted) and self.node_of(column, select) is None

    def constants(self, condition: exp.Expr, select: Any) -> list[tuple[str, bool]]:
        """The constants below a condition, sub-queries aside: text, and whether it is a number."""
        from sqlglot import exp

        found = []
        for node in _own(condition):
            if isinstance(node, exp.Literal) and not isinstance(node.parent, exp.Substring | exp.Round):
                negative = isinstance(node.parent, exp.Neg)
                found.append((f"{'-' if negative else ''}{node.this}", not node.is_string))
            elif isinstance(node, exp.Boolean):
                found.append(("true" if node.this else "false", False))
            elif self.is_text(node, select):
                found.append((node.name, False))
        return found

    def atom(self, condition: exp.Expr, select: Any) -> _Atom | None:
        """The condition as one on a plain column, where it is one."""
        from sqlglot import exp

        own = condition.this
        turned = condition.args.get("expression")
        kind = type(condition).__name__
        if isinstance(turned, exp.Column) and not self.is_text(turned, select):
            own, kind = turned, {"GT": "LT", "LT": "GT", "GTE": "LTE", "LTE": "GTE"}.get(kind, kind)
        node = self.node_of(own, select) if isinstance(own, exp.Column) else None
        if node is None:
            return None
        constants = self.constants(condition, select)
        return _Atom(node, kind, tuple(text for text, _ in constants), any(numeric for _, numeric in constants))

    def _literals(self) -> dict[_Node, list[tuple[str, bool]]]:
        """Every column with the constants that stand in a condition with it, or at which the condition changes."""
        from sqlglot import exp

        from flywheel.verifiers.solutions import solutions

        found: dict[_Node, list[tuple[str, bool]]] = {}
        for select in self.selects:
            for part in select.find_all(exp.Predicate):
                if part.find_ancestor(exp.Select) is select:
                    for node in self._nodes(part, select):
                        found.setdefault(node, []).extend(self.constants(part, select))
                    for column, value, numeric in solutions(part):
                        if (meant := self.node_of(column, select)) is not None:
                            found.setdefault(meant, []).append((value, numeric))
        return found

    def _computed(self) -> Iterator[_Node]:
        """Columns that are added up or reckoned with: they should hold numbers, whatever they are declared as."""
        from sqlglot import exp

        for select in self.selects:
            for part in select.find_all(exp.Sum, exp.Avg, exp.Mul, exp.Sub, exp.Add, exp.Div):
                yield from self._nodes(part, select)

    def _partitions(self) -> Iterator[list[_Node]]:
        """What window functions group by."""
        from sqlglot import exp

        for select in self.selects:
            for window in select.find_all(exp.Window):
                if window.find_ancestor(exp.Select) is select:
                    nodes = (self.node_of(column, select) for column in window.args.get("partition_by") or [])
                    yield [node for node in nodes if node is not None]

    def _counted(self) -> Iterator[_Node]:
        """What is counted or ranked in a group, where it may come twice."""
        from sqlglot import exp

        for select in self.selects:
            for part in select.find_all(exp.Count, exp.Order):
                if part.find_ancestor(exp.Select) is select:
                    yield from self._nodes(part, select)

    def apart(self, condition: exp.Expr, select: Any) -> tuple[_Node, _Node, float] | None:
        """Two columns that the condition compares, and by how much they are apart where it changes."""
        from flywheel.verifiers.solutions import apart

        found = apart(condition)
        if found is None:
            return None
        one, other = self.node_of(found.one, select), self.node_of(found.other, select)
        return None if one is None or other is None or one == other else (one, other, found.by)

    def _nodes(self, tree: exp.Expr | None, select: Any) -> list[_Node]:
        from sqlglot import exp

        from flywheel.verifiers.solutions import measured

        found = _own(tree) if tree is not None else ()
        columns = [node for node in found if isinstance(node, exp.Column) and not measured(node)]
        return [node for column in columns if (node := self.node_of(column, select)) is not None]

    def _sizes(self) -> list[int]:
        """How many rows groups should have: around what HAVING and LIMIT count."""
        from sqlglot import exp

        found = {1, 2, 3}
        for part in self.tree.find_all(exp.Having, exp.Limit):
            for literal in part.find_all(exp.Literal):
                number = number_of(literal.this)
                if number is not None and 0 <= number <= _GROUP:
                    found |= {max(1, int(number) + step) for step in (-1, 0, 1)}
        return sorted(found)


def _columns(tree: exp.Expr) -> Iterator[exp.Column]:
    from sqlglot import exp

    return tree.find_all(exp.Column)


def _own(tree: exp.Expr) -> Iterator[exp.Expr]:
    """The nodes of a tree without those of sub-queries."""
    from sqlglot import exp

    return tree.walk(prune=lambda node: isinstance(node, exp.Query) and node is not tree)


def _near(plans: Sequence[_Plan]) -> dict[tuple[str, str], list[tuple[str, bool]]]:
    """(table, column) → constants that either query compares it with: values that tell the two apart."""
    found: dict[tuple[str, str], dict[tuple[str, bool], None]] = {}
    for plan in plans:
        for (slot, name), constants in plan.literals.items():
            found.setdefault((plan.slots[slot].name, name), {}).update(dict.fromkeys(constants))
    return {key: list(constants) for key, constants in found.items()}


# --- one case: a row for each slot --------------------------------------------------------------------------


class _Variant:
    """What a case wants: values that are one, and conditions that hold or not."""

    def __init__(self, plan: _Plan, rng: random.Random) -> None:
        self.plan = plan
        self.rng = rng
        self.wanted: dict[_Node, list[tuple[_Atom, bool]]] = {}
        self.apart: list[tuple[_Node, _Node, float]] = []
        self.slots: set[int] = set()
        self._leads: dict[_Node, _Node] = {}
        self._taken: set[int] = set()

    def root(self, node: _Node) -> _Node:
        while node in self._leads:
            node = self._leads[node]
        return node

    def equal(self, one: _Node | None, other: _Node | None) -> None:
        if one is not None and other is not None and (a := self.root(one)) != (b := self.root(other)):
            self._leads[a] = b

    def take(self, query: Any, breaking: bool) -> list[_Node | None]:
        """Adds a query with its conditions; one of them does not hold where it is `breaking`. Returns what it gives."""
        from sqlglot import exp

        if isinstance(query, exp.Subquery):
            return self.take(query.this, breaking)
        if isinstance(query, exp.SetOperation):
            return self._take_both(query, breaking)
        if not isinstance(query, exp.Select) or id(query) in self._taken:  # a WITH may be read twice, and by itself
            return []
        self._taken.add(id(query))
        scope = self.plan.scopes[id(query)]
        self.slots |= set(scope.slots.values())
        for inner in scope.derived.values():
            self.take(inner, False)
        conditions = self.plan.conditions[id(query)]
        broken = self._broken(conditions) if breaking and conditions else -1
        for place, condition in enumerate(conditions):
            self.want(condition, place != broken, query)
        return self.plan.projection(query)

    def _broken(self, conditions: Sequence[Any]) -> int:
        """Which condition does not hold: mostly one that compares with a constant, where most mistakes are."""
        from sqlglot import exp

        joins = {place for place, c in enumerate(conditions) if isinstance(c, exp.EQ) and len(list(_columns(c))) > 1}
        others = [place for place in range(len(conditions)) if place not in joins]
        return self.rng.choice(others if others and self.rng.random() < 0.8 else range(len(conditions)))

    def _take_both(self, query: Any, breaking: bool) -> list[_Node | None]:
        # What one side just misses tells only where the other has it.
        sides = "both" if breaking else self.rng.choice(("both", "both", "left", "right"))
        missed = self.rng.choice(("left", "right")) if breaking else ""
        left = self.take(query.left, missed == "left") if sides != "right" else []
        right = self.take(query.right, missed == "right") if sides != "left" else []
        for one, other in zip(left, right, strict=False):
            self.equal(one, other)
        return left or right

    def want(self, condition: Any, truth: bool, select: Any) -> None:
        from sqlglot import exp

        if isinstance(condition, exp.Paren):
            self.want(condition.this, truth, select)
        elif isinstance(condition, exp.Not):
            self.want(condition.this, not truth, select)
        elif isinstance(condition, exp.And | exp.Or):
            self._want_sides(condition, truth, select)
        elif isinstance(condition, exp.Exists) or condition.args.get("query") is not None:
            self._want_inner(condition, truth, select)
        elif (atom := self._plain(condition, truth, select)) is not None:
            self.wanted.setdefault(atom.node, []).append((atom, truth))

    def _want_sides(self, condition: Any, truth: bool, select: Any) -> None:
        """All hold or none; or one is chosen that holds (OR), that does not (AND)."""
        from sqlglot import exp

        parts = list(condition.flatten())
        one = self.rng.randrange(len(parts))
        alone = truth if isinstance(condition, exp.Or) else not truth
        for place, part in enumerate(parts):
            if alone:
                self.want(part, (place == one) is isinstance(condition, exp.Or), select)
            else:
                self.want(part, truth, select)

    def _want_inner(self, condition: Any, truth: bool, select: Any) -> None:
        inner = condition.args.get("query") or condition.this
        given = self.take(inner, not truth and self.rng.random() < 0.5)
        if truth and given and condition.args.get("query") is not None:
            self.equal(self.plan.node_of(condition.this, select), given[0])

    def _plain(self, condition: Any, truth: bool, select: Any) -> _Atom | None:
        from sqlglot import exp

        if isinstance(condition, exp.EQ):
            nodes = [self.plan.node_of(side, select) for side in (condition.this, condition.expression)]
            if None not in nodes:
                if truth:
                    self.equal(nodes[0], nodes[1])
                return None
        if (pair := self.plan.apart(condition, select)) is not None:
            self.apart.append(pair)
        for query in condition.find_all(exp.Query):
            if self.rng.random() < 0.7:
                self.take(query, False)
        return self.plan.atom(condition, select) if isinstance(condition, exp.Predicate) else None


# --- rows ---------------------------------------------------------------------------------------------------


class _Maker:
    """Makes the rows of one variant."""

    def __init__(
        self, tables: Sequence[TableShape], near: Mapping[tuple[str, str], list[tuple[str, bool]]], variant: int
    ) -> None:
        self.tables = {table.name: table for table in tables}
        self.near = near
        self.variant = variant
        self.strict = variant not in _REPEATS
        self.null_share = 0.2 if variant == _NULLS else 0.0
        self.shares = False
        self.rng = random.Random(variant)
        self.rows: dict[str, list[list[str | None]]] = {table.name: [] for table in tables}
        self.keys: dict[tuple[str, tuple[str, ...]], set[tuple[str | None, ...]]] = {}
        self.counts: dict[tuple[str, str], int] = {}
        self.before: dict[_Node, str | None] = {}

    def content(self, plans: Sequence[_Plan]) -> Content:
        for number, plan in enumerate(plans):
            self.before = {}
            cases = _CASES[self.variant]
            for place in range(cases if number == 0 else cases // 2):
                self._case(plan, breaking=place % 3 == 2 or self.variant in _MISSED, fixed={})
            if number == 0 and self.variant in _GROUPED:
                self._groups(plan)
        return tuple(
            (table, _with_own_keys(table, self.rows[name])) for name, table in self.tables.items() if self.rows[name]
        )

    def _groups(self, plan: _Plan) -> None:
        """Cases that are alike in what the query groups by, as many as it may count."""
        for nodes in filter(None, plan.groups):
            for place, size in enumerate(plan.sizes):
                fixed: dict[_Node, str | None] = {}
                for _ in range(size):
                    found = self._case(plan, breaking=False, fixed=fixed, keep=[*nodes, *plan.counted])
                    again = not self.strict and self.rng.random() < 0.5
                    fixed = {node: value for node, value in found.items() if again or node in nodes}
                for _ in range(2 * (len(plan.sizes) - place - 1)):  # the smaller a group, the more just miss it
                    self._case(plan, breaking=True, fixed=fixed, keep=nodes)

    def _case(
        self, plan: _Plan, breaking: bool, fixed: Mapping[_Node, str | None], keep: Sequence[_Node] = ()
    ) -> dict[_Node, str | None]:
        """Rows for one case; returns the values of the columns to `keep`."""
        case = _Variant(plan, self.rng)
        case.take(plan.tree, breaking)
        self.shares = self.rng.random() < 0.5
        chosen: dict[_Node, str | None] = {}
        for node in fixed:
            chosen.setdefault(case.root(node), fixed[node])
        missing = (
            self.rng.choice(sorted(case.slots)) if len(case.slots) > 1 and not keep and self.rng.random() < 0.2 else -1
        )
        members: dict[_Node, list[_Node]] = {}
        for slot in sorted(case.slots):
            for column in plan.slots[slot].columns:
                node = (slot, column.name.lower())
                members.setdefault(case.root(node), []).append(node)
        for root, nodes in members.items():
            if root not in chosen:
                chosen[root] = self._value(plan, nodes, [w for n in nodes for w in case.wanted.get(n, [])], root)
        self._set_apart(case, fixed, chosen)
        self.before = chosen
        if self.rng.random() < 0.5:
            self._forget(plan, members, missing, chosen)
        made = []
        for slot in sorted(case.slots - {missing}):
            table = plan.slots[slot]
            cells = [chosen[case.root((slot, column.name.lower()))] for column in table.columns]
            self.rows[table.name].append(cells)
            made.append((table, cells))
        for table, cells in made:  # when all of the case are there: a row for a key is made only where none was
            self._complete(table, cells)
        return {node: chosen[case.root(node)] for node in keep if case.root(node) in chosen}

    def _set_apart(self, case: _Variant, fixed: Mapping[_Node, str | None], chosen: dict[_Node, str | None]) -> None:
        """Values for columns that are compared with each other: at the border, or next to it."""
        kept = {case.root(node) for node in (*fixed, *case.wanted)}
        for one, other, by in case.apart:
            a, b = case.root(one), case.root(other)
            step = by + self.rng.choice((-1, 0, 0, 1))
            if a != b and a not in kept and (value := _moved(chosen.get(b), step)) is not None:
                chosen[a] = value
            elif a != b and b not in kept and (value := _moved(chosen.get(a), -step)) is not None:
                chosen[b] = value

    def _forget(
        self, plan: _Plan, members: Mapping[_Node, list[_Node]], missing: int, chosen: dict[_Node, str | None]
    ) -> None:
        """NULL in the columns that lead to the row that is missing, where they may be."""
        for root, nodes in members.items():
            if any(slot == missing for slot, _ in nodes):
                others = [_column(plan.slots[slot], name) for slot, name in nodes if slot != missing]
                if others and all(column.nullable and not column.key for column in others):
                    chosen[root] = None

    def _value(
        self, plan: _Plan, nodes: Sequence[_Node], wanted: Sequence[tuple[_Atom, bool]], root: _Node
    ) -> str | None:
        columns = [(plan.slots[slot], _column(plan.slots[slot], name)) for slot, name in nodes]
        near = [c for table, column in columns for c in self.near.get((table.name, column.name.lower()), ())]
        own = columns[0][1].family
        family: Family = "number" if own != "truth" and any(numeric for _, numeric in near) else own
        if wanted:
            return self._fitting(near, wanted, family, columns)
        if any(_leads(table, column) or column.key for table, column in columns):
            return self._key(columns, root, near, family)
        table, column = columns[0]
        if column.nullable and self.rng.random() < self.null_share:
            return None
        if near and self.rng.random() < 0.6 and not _enumerated(column):
            return self._of(near, family)
        return self._free(table, column, family)

    def _fitting(
        self,
        near: Sequence[tuple[str, bool]],
        wanted: Sequence[tuple[_Atom, bool]],
        family: Family,
        columns: Sequence[tuple[TableShape, Column]],
    ) -> str | None:
        """A value that meets what is wanted, at or near a constant where one does."""
        constants = dict.fromkeys([*near, *((text, atom.numeric) for atom, _ in wanted for text in atom.constants)])
        values: list[str | None] = [value for constant, _ in constants for value in around(family, constant)]
        values += [self._free(table, column, family) for table, column in columns for _ in range(3)]
        if any(_enumerated(column) for _, column in columns):
            values = [value for value in values if any(value in column.pool for _, column in columns)]
        if any(atom.kind == "Is" for atom, _ in wanted):
            values.append(None)
        fitting = [value for value in values if all(atom.holds(value) in (truth, None) for atom, truth in wanted)]
        exact = [text for text, _ in constants if text in fitting]
        if exact and self.rng.random() < 0.5:  # at the very border
            return self.rng.choice(exact)
        return self.rng.choice(fitting or values or [None])

    def _of(self, near: Sequence[tuple[str, bool]], family: Family) -> str | None:
        values = [value for constant, _ in near for value in around(family, constant)]
        return self.rng.choice(values) if values else None

    def _key(
        self,
        columns: Sequence[tuple[TableShape, Column]],
        root: _Node,
        near: Sequence[tuple[str, bool]],
        family: Family,
    ) -> str | None:
        """Mostly a value of its own; now and then that of the case before, so that rows share a parent."""
        chance = self.rng.random()
        nullable = all(column.nullable and not column.key for _, column in columns)
        if nullable and chance < 0.5 * self.null_share:
            return None
        if self.shares and root in self.before and chance < 0.6:
            return self.before[root]
        if near and self.shares and chance < 0.8:
            return self._of(near, family)
        table, column = next(((t, c) for t, c in columns if c.key), columns[0])
        return self._fresh(table, column)

    def _free(self, table: TableShape, column: Column, family: Family) -> str | None:
        """Any value: its own in the strict variants, one of a few in the others."""
        if column.closed:
            return self.rng.choice(column.pool) if column.pool else None
        is_own = family == column.family and column.pool and self.rng.random() < (0.1 if self.strict else 0.3)
        if family == "other" or is_own:
            return self.rng.choice(column.pool) if column.pool else None
        if self.strict and family != "truth":
            return self._fresh(table, column, family)
        few: Mapping[Family, tuple[str, ...]] = {
            "number": ("1", "2", "3", "7"),
            "text": ("a", "b", "B", "c d"),
            "time": ("2000-01-01", "2001-06-15", "2010-12-31"),
            "truth": ("true", "false") if "true" in column.pool else ("1", "0"),
        }
        return self.rng.choice(few[family])

    def _fresh(self, table: TableShape, column: Column, family: Family | None = None) -> str:
        """A value that the column has not had, in no order: steps of 7 meet all of 101 numbers."""
        place = (table.name, column.name)
        count = self.counts[place] = self.counts.get(place, self.rng.randrange(50)) + 1
        number = count * 7 % 101 + 101 * (count // 101) + 1
        family = family or column.family
        if family == "time":
            return f"{1990 + number % 30}-{number % 12 + 1:02}-{number % 28 + 1:02}"
        return str(number) if family == "number" else f"{'nmk'[number % 3]}{number}"

    # -- into the tables

    def _complete(self, table: TableShape, cells: list[str | None], depth: int = 0) -> None:
        """The rows that the row's foreign keys lead to."""
        for key in table.foreign_keys:
            values = [cells[place] for place in key.columns]
            if None not in values and depth < 5:
                self._parent(self.tables[key.parent], key.parent_columns, values, depth)

    def _parent(self, table: TableShape, names: tuple[str, ...], values: list[str | None], depth: int) -> None:
        places = [_place(table, name) for name in names]
        if None in places or any([row[p] for p in places] == values for row in self.rows[table.name]):  # type: ignore[index]
            return
        cells: list[str | None] = []
        for place, column in enumerate(table.columns):
            if place in places:
                cells.append(values[places.index(place)])
            elif _leads(table, column) and column.nullable:
                cells.append(None)
            else:
                cells.append(self._fresh(table, column) if column.key else self._free(table, column, column.family))
        self.rows[table.name].append(cells)
        self._complete(table, cells, depth + 1)


def _with_own_keys(table: TableShape, rows: Sequence[list[str | None]]) -> tuple[Cells, ...]:
    """The rows without those whose key stands before them: which of two was kept would hang on their order."""
    keys = [place for place, column in enumerate(table.columns) if column.key]
    if not keys:
        return tuple(map(tuple, rows))
    first: dict[Cells, list[str | None]] = {}
    for row in rows:
        first.setdefault(tuple(row[place] for place in keys), row)
    return tuple(map(tuple, first.values()))


def _column(table: TableShape, name: str) -> Column:
    return next(column for column in table.columns if column.name.lower() == name)


def _place(table: TableShape, name: str) -> int | None:
    return next((place for place, column in enumerate(table.columns) if column.name.lower() == name.lower()), None)


def _moved(value: str | None, by: float) -> str | None:
    """A number, or the day of a time, moved by so much."""
    number = number_of(value or "")
    if number is not None:
        return f"{number + by:.15g}"
    moment = moment_of(value or "")
    return (moment + timedelta(days=by)).isoformat(" ")[: len(value or "")] if moment is not None else None


def _enumerated(column: Column) -> bool:
    """Whether a value is one of few: nothing next to a constant is another."""
    return column.family == "truth" or (column.closed and column.family == "text")


def _leads(table: TableShape, column: Column) -> bool:
    place = table.columns.index(column)
    return any(place in key.columns for key in table.foreign_keys)
