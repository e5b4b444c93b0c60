"""Which block of Python is the solution."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from flywheel.answers.blocks import Block, blocks_in, fenced, has_fences, indented, is_shown, last, lines_of, span

#: Blocks beyond this are not parsed.
_MOST_BLOCKS = 50
#: A longer block that is never closed is not looked through for where the program ends.
_MOST_CHARACTERS = 20_000
_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PYTHON = ("python", "py", "python3", "py3", "python2", "pycon")
_ABOUT_TESTS = re.compile(r"test|check$|main$|example|demo|solve_example")


@dataclass(frozen=True)
class _Module:
    """A block of Python; `tree` is None where it is none by itself (the body of a function, say)."""

    block: Block
    tree: ast.Module | None

    @property
    def defines(self) -> set[str]:
        """Functions, classes and names that it gives a value to; not what it imports."""
        names: set[str] = set()
        for node in self.tree.body if self.tree else ():
            match node:
                case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                    names.add(name)
                case ast.Assign(targets):
                    names |= {target.id for target in targets if isinstance(target, ast.Name)}
                case ast.AnnAssign(ast.Name(name)):
                    names.add(name)
        return names

    @property
    def solves(self) -> bool:
        """It has a function or class that is not there to test, or to show, another."""
        body = self.tree.body if self.tree else []
        return any(isinstance(node, _DEFINITION) and not _ABOUT_TESTS.match(node.name.lower()) for node in body)

    @property
    def is_library(self) -> bool:
        """Nothing but imports, definitions and constants."""
        kept = (*_DEFINITION, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
        return self.tree is not None and all(isinstance(node, kept) for node in self.tree.body)

    @property
    def binds(self) -> set[str]:
        imported = {
            (alias.asname or alias.name).partition(".")[0]
            for node in (self.tree.body if self.tree else ())
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        return self.defines | imported


def python_in(text: str, names: Collection[str]) -> str:
    """The program in `text`: the block that defines one of `names`, else the last that defines anything but tests."""
    whole = text.strip("\n").rstrip()
    if not has_fences(whole) or tree_of(whole) is not None:  # a docstring may have fences
        return _unfenced(whole, names)
    lines = lines_of(whole)
    # As Markdown has them and as models mean them: which of the two it is shows in what parses.
    found = [*blocks_in(whole), *fenced(lines, strict=True), *fenced(lines, strict=False)]
    blocks = [_typed(block) for block in dict.fromkeys(found) if block.body.strip()][-_MOST_BLOCKS:]
    modules = [_module(block) for block in blocks]
    chosen = _chosen(modules, set(names))
    if chosen is None:
        return _body(blocks) if blocks else whole
    return _with_parts(chosen, modules)


def _unfenced(whole: str, names: Collection[str]) -> str:
    """All of it, where that is a program or the body of one; else an indented block with the solution, if there is."""
    spanned = span(whole.strip(), "python|py")
    if spanned != whole.strip():
        return spanned
    if whole[:1].isspace() and set(names) & _module(Block(_clean(whole))).defines:
        return _clean(whole)
    blocks = [] if "\n\n" not in whole or tree_of(whole) or _as_body(whole) else indented(lines_of(whole))
    chosen = _chosen([_module(block) for block in blocks], set(names))
    return whole if chosen is None else _clean(chosen.block.body)


def _module(block: Block) -> _Module:
    """Of a block that is never closed, as much as is Python: words may follow the program."""
    tree = tree_of(textwrap.dedent(block.body))
    if tree is not None or block.closed or len(block.body) > _MOST_CHARACTERS:
        return _Module(block, tree)
    parts = block.body.rstrip().split("\n\n")
    for end in range(len(parts) - 1, max(len(parts) - 10, 0), -1):
        part = "\n\n".join(parts[:end])
        if (tree := tree_of(textwrap.dedent(part))) is not None:
            return _Module(replace(block, body=part), tree)
    return _Module(block, None)


def _chosen(modules: Sequence[_Module], names: set[str]) -> _Module | None:
    tests: tuple[Callable[[_Module], bool], ...] = (
        lambda module: bool(names & module.defines),
        lambda module: module.solves and not names and not is_shown(module.block),
        lambda module: module.solves,
    )
    for test in tests:
        for module in reversed(modules):
            if test(module):
                return module
    return None


def _with_parts(chosen: _Module, modules: Sequence[_Module]) -> str:
    """The chosen block after those that define what it uses and does not define itself."""
    needed, parts = _loads(chosen) - chosen.binds, [_clean(chosen.block.body)]
    for module in reversed(modules[: modules.index(chosen)]):
        if module.is_library and needed & module.binds and not chosen.defines & module.defines:
            parts.insert(0, _clean(module.block.body))
            needed = (needed | _loads(module)) - module.binds
    return "\n\n".join(parts)


def _loads(module: _Module) -> set[str]:
    nodes = ast.walk(module.tree) if module.tree else ()
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _body(blocks: Sequence[Block]) -> str:
    """No block defines anything: the last that could continue a signature, rather than show a call or its output."""
    body = last(
        blocks,
        lambda block: _is_body(block.body) and not is_shown(block),
        lambda block: block.info in _PYTHON and not block.shows,
        lambda block: block.info in _PYTHON,
    )
    return body.strip("\n").rstrip()


def _is_body(code: str) -> bool:
    tree = _as_body(code)
    nodes = ast.walk(tree) if tree else ()
    return any(isinstance(node, ast.Return | ast.Yield | ast.YieldFrom | ast.Raise) for node in nodes)


def _as_body(code: str) -> ast.Module | None:
    """The code as the body of a function, at its own indentation or where only the first line has lost its."""
    for body in (textwrap.indent(textwrap.dedent(code), "    "), "    " + code.lstrip()):
        if (tree := tree_of(f"def body():\n{body}")) is not None:
            return tree
    return None


def _clean(body: str) -> str:
    return textwrap.dedent(body).strip("\n").rstrip()


def _typed(block: Block) -> Block:
    """An interpreter's session with definitions in it, as the lines that were typed."""
    lines = block.body.split("\n")
    if not lines[0].lstrip().startswith(">>> "):
        return block
    typed = [line.lstrip()[4:] for line in lines if line.lstrip().startswith((">>> ", "... "))]
    return replace(block, body="\n".join(typed))


def tree_of(source: str) -> ast.Module | None:
    if len(source) > 200_000:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
