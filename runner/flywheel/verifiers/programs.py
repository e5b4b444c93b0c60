"""From an answer to a program: the block that solves, the prefix before it, and which function is tested."""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from flywheel.answers import extract_answer
from flywheel.text import one_line

#: Longer programs are refused unread: Python's parser is fast, not unbounded.
MAX_CHARACTERS = 200_000
#: Python compiles a `finally` again for every way out of its `try`: nested, a few lines take minutes and gigabytes.
MAX_STATEMENTS = 100_000

_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


class ProgramUnreadable(Exception):
    """The text is no Python, or has no function to test; the message is the reason, typed by its first words."""


@dataclass(frozen=True)
class Program:
    """`first_line`: where the answer begins in `source`, from 1; what stands before it is given."""

    source: str
    entry_point: str
    first_line: int = 1


def assemble(answer: str, prefix: str = "", entry_point: str | None = None, called: Collection[str] = ()) -> Program:
    """The program that `answer` makes. Raises ProgramUnreadable.

    Where no entry point is named it is the last function, of those that the tests call (`called`) where there is one.
    An answer that defines the entry point itself stands alone (after the prefix's imports and helpers); any other
    continues the prefix, at its indentation or, where that was lost, at four blanks.
    """
    if len(answer) + len(prefix) > MAX_CHARACTERS:
        raise ProgramUnreadable(f"too long: {len(answer):,} characters of program")
    code = extract_answer(answer, "python", called if entry_point is None else [entry_point])
    if not code.strip():
        raise ProgramUnreadable("no answer")
    code += "\n"  # as a file ends
    for before in _beginnings(code, prefix, entry_point):
        tree = _tree_or_none(before + code)
        if tree is not None:
            return Program(before + code, _entry_point(tree, entry_point, called), before.count("\n") + 1)
    for body in _indented(code) if prefix else ():
        before = prefix if prefix.endswith("\n") else prefix + "\n"
        tree = _tree_or_none(before + body)
        if tree is not None:
            return Program(before + body, _entry_point(tree, entry_point, called), before.count("\n") + 1)
    raise ProgramUnreadable(_syntax_error(code if not prefix else prefix + code))


def whole(prefix: str) -> str:
    """The prefix as a module of its own: a signature without a body gets an empty one; "" where nothing helps."""
    for module in (prefix, f"{prefix.rstrip()}\n    pass\n"):
        if _tree_or_none(module) is not None:
            return module if module.endswith("\n") else module + "\n"
    return ""


def parsed(source: str) -> ast.Module:
    """The syntax tree. Raises SyntaxError, whatever Python's parser raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or type(error).__name__) from None


def bound_names(tree: ast.Module) -> set[str]:
    """Names that the module binds anywhere: definitions, assignments, imports."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                names.add(name)
            case ast.Name(name, ast.Store()):
                names.add(name)
            case ast.alias(name, renamed):
                names.add((renamed or name).partition(".")[0])
    return names


def _beginnings(code: str, prefix: str, entry_point: str | None) -> Iterator[str]:
    """What may stand before the code, likeliest first."""
    alone = _tree_or_none(code)
    if alone is not None and (not prefix or _stands_alone(alone, entry_point)):
        yield whole(prefix)
    elif prefix:
        yield prefix
        yield prefix + "\n"


def _stands_alone(tree: ast.Module, entry_point: str | None) -> bool:
    if entry_point is None:
        return any(isinstance(node, _FUNCTION) for node in tree.body)
    return entry_point in bound_names(tree)


def _indented(code: str) -> Iterator[str]:
    """The code as a body whose indentation was lost: of its first line, or of all."""
    yield "    " + code.lstrip()
    yield textwrap.indent(code, "    ")


def _compiled(source: str) -> ast.Module:
    """The tree of a whole program. Raises SyntaxError, for `return` outside a function too, which no parser sees."""
    tree = parsed(source)
    if _compiled_size(tree.body)[0] > MAX_STATEMENTS:
        raise SyntaxError("too many copies of nested finally blocks")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(tree, "answer", "exec", dont_inherit=True)
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise SyntaxError(str(error) or type(error).__name__) from None
    return tree


def _compiled_size(body: list[ast.stmt]) -> tuple[int, int]:
    """(statements as they are compiled, ways out among them), at most a billion each."""
    size = exits = 0
    for statement in body:
        inner, leaves = 1, int(isinstance(statement, ast.Return | ast.Break | ast.Continue))
        for block in _blocks(statement):
            found = _compiled_size(block)
            inner, leaves = inner + found[0], leaves + found[1]
        final = getattr(statement, "finalbody", None)
        if final:
            once, out = _compiled_size(final)
            inner, leaves = inner + once * (2 + leaves), leaves + out * (2 + leaves)
        size, exits = min(size + inner, 10**9), min(exits + leaves, 10**9)
    return size, exits


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks inside a statement, but for `finally`."""
    for name in ("body", "orelse"):
        yield getattr(statement, name, None) or []
    for name in ("handlers", "cases"):
        yield from (branch.body for branch in getattr(statement, name, None) or ())


def _tree_or_none(source: str) -> ast.Module | None:
    try:
        return _compiled(source)
    except SyntaxError:
        return None


def _entry_point(tree: ast.Module, named: str | None, called: Collection[str]) -> str:
    if named is not None:
        if named not in bound_names(tree):
            raise ProgramUnreadable(f"no function: the answer does not define {one_line(named, 60)}")
        return named
    functions = [node.name for node in tree.body if isinstance(node, _FUNCTION)]
    if tested := [name for name in functions if name in called] or sorted(bound_names(tree) & set(called)):
        return tested[-1]
    if not functions:
        raise ProgramUnreadable("no function: the answer defines none")
    return functions[-1]


def _syntax_error(source: str) -> str:
    try:
        _compiled(source)
    except SyntaxError as error:
        where = f", line {error.lineno}: {one_line(error.text or '', 80)}" if error.lineno else ""
        return f"syntax error: {one_line(error.msg, 120)}{where}"
    return "syntax error"
