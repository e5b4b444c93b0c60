"""Mutants: programs with one small semantic change, to see whether tests notice.

The operators are the usual ones of mutation testing (DeMillo, Lipton and Sayward 1978): comparisons swapped,
constants off by one, arithmetic swapped, conditions negated, statements dropped, and return values replaced.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flywheel.hashing import fingerprint
from flywheel.verifiers.programs import Program, parsed

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
#: Fields that say nothing about what a program does.
_SILENT = {"annotation", "returns", "decorator_list", "type_comment", "format_spec"}


@dataclass(frozen=True)
class _Edit:
    """Put `new` where `old` stands: in `holder`, a list, at `place`; else in the field `place` of a node."""

    holder: Any
    place: Any
    old: ast.AST
    new: ast.AST

    def apply(self, node: ast.AST) -> None:
        if isinstance(self.holder, list):
            self.holder[self.place] = node
        else:
            setattr(self.holder, self.place, node)


def mutants(program: Program, count: int) -> Iterator[str]:
    """At most `count` different mutants of the answer, as source text, in an order that only the program decides.

    What stands before the answer is not touched. Replaced return values come last: nearly any test notices them.
    """
    tree = parsed(program.source)
    seen = {ast.unparse(tree)}
    for edit in _shuffled(tree, program):
        if len(seen) > count:
            return
        edit.apply(edit.new)
        source = ast.unparse(ast.fix_missing_locations(tree))
        edit.apply(edit.old)
        if source not in seen:
            seen.add(source)
            yield source


def _shuffled(tree: ast.Module, program: Program) -> list[_Edit]:
    functions = [node for node in tree.body if (node.end_lineno or 0) >= program.first_line]
    fine: list[_Edit] = []
    gross: list[_Edit] = []
    for function in functions:
        for edit in _edits(function):
            (gross if isinstance(edit.new, ast.Return) else fine).append(edit)
    rng = random.Random(fingerprint(program.source))
    rng.shuffle(fine)
    rng.shuffle(gross)
    return fine + gross


def _edits(node: ast.AST) -> Iterator[_Edit]:
    """Every change of `node`'s descendants."""
    for name, value in ast.iter_fields(node):
        if name in _SILENT:
            continue
        places = enumerate(value) if isinstance(value, list) else [(name, value)]
        for place, child in places:
            if isinstance(child, ast.AST):
                holder = value if isinstance(value, list) else node
                yield from (_Edit(holder, place, child, new) for new in _instead_of(child, name))
                if not _is_docstring(child):
                    yield from _edits(child)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _instead_of(node: ast.AST, place: str) -> Iterator[ast.AST]:
    """What `node` may be replaced by, in the field `place` of its parent."""
    if place in ("test", "ifs"):
        yield ast.UnaryOp(ast.Not(), node)  # type: ignore[arg-type]
    change = _CHANGES.get(type(node))
    if change is not None:
        yield from change(node)


def _compare(node: ast.Compare) -> Iterator[ast.AST]:
    swapped = _COMPARISONS[type(node.ops[0])]
    yield ast.Compare(node.left, [swapped(), *node.ops[1:]], node.comparators)


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)
    elif isinstance(node.value, str):
        yield ast.Constant("" if node.value else "x")


def _arithmetic(node: ast.BinOp) -> Iterator[ast.AST]:
    if type(node.op) in _ARITHMETIC:
        yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)


def _in_place(node: ast.AugAssign) -> Iterator[ast.AST]:
    if type(node.op) in _ARITHMETIC:
        yield ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
    yield ast.Pass()


def _either(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)


def _unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    yield node.operand


def _return(node: ast.Return) -> Iterator[ast.AST]:
    is_none = node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)
    yield ast.Return(ast.Constant(0 if is_none else None))


def _expression(node: ast.Expr) -> Iterator[ast.AST]:
    if isinstance(node.value, ast.Call | ast.Await | ast.Yield):
        yield ast.Pass()


def _dropped(node: ast.AST) -> Iterator[ast.AST]:
    yield ast.Pass()


_CHANGES: dict[type[ast.AST], Callable[[Any], Iterator[ast.AST]]] = {
    ast.Compare: _compare, ast.Constant: _constant, ast.BinOp: _arithmetic, ast.AugAssign: _in_place,
    ast.BoolOp: _either, ast.UnaryOp: _unary, ast.Return: _return, ast.Expr: _expression,
    ast.Break: _dropped, ast.Continue: _dropped, ast.Assign: _dropped,
}  # fmt: skip
