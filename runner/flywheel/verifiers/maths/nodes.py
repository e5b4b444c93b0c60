"""What a final answer is made of: numbers, symbols, and whatever stands in between, as plain trees."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Number:
    value: Fraction


@dataclass(frozen=True, slots=True)
class Symbol:
    name: str


@dataclass(frozen=True, slots=True)
class Term:
    """`head` is an operator, a function, a kind of brackets, or a relation."""

    head: str
    args: tuple[Node, ...]


Node = Number | Symbol | Term


@dataclass(frozen=True, slots=True)
class ListItem:
    """One of the things an answer says: a value or a relation, in a unit, with what is said around it."""

    node: Node
    unit: str = ""
    """As it stands: `cm^2`, `dollars`, `boys`, `%`."""


@dataclass(frozen=True, slots=True)
class Items:
    """An answer that is one thing or a list of things."""

    items: tuple[ListItem, ...]


@dataclass(frozen=True, slots=True)
class Phrase:
    """An answer in words: words (str) with formulas between them, in order. A formula nobody can read is a str too."""

    parts: tuple[str | Items, ...]
    readable: bool = True


Reading = Items | Phrase


def relation(node: Node) -> bool:
    return isinstance(node, Term) and node.head.startswith("rel:")


def operators(node: Term) -> list[str]:
    """Of `rel:< <=`: `<` and `<=`."""
    return node.head[4:].split(" ")


def symbols(node: Node) -> set[str]:
    if isinstance(node, Symbol):
        return {node.name}
    return set().union(*map(symbols, node.args)) if isinstance(node, Term) else set()


def has_number(node: Node) -> bool:
    return isinstance(node, Number) or (isinstance(node, Term) and any(map(has_number, node.args)))


def named(node: Node) -> bool:
    """Whether this is a name for what is looked for, not a part of an equation: x, AB, |AB|, f(x), P(X = 5), (x, y)."""
    match node:
        case Symbol():
            return True
        case Term("app", (Symbol(), *arguments)):
            return all(isinstance(a, Number) or relation(a) or named(a) for a in arguments)
        case Term("^", (Symbol(name), power)):
            return name in "fghFGH" and power in (Number(Fraction(-1)), Term("neg", (Number(Fraction(1)),)))  # f^{-1}
        case Term("*" | "/" | "abs" | "()" | ":" | "norm" | "decorated" as head, args):
            return bool(args) and all(named(a) or (head == "()" and isinstance(a, Number)) for a in args)
    return False
