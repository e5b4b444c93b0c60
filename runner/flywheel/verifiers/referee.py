"""Tests that are more than cases, as a program that calls the solution from afar.

The tests run in a session of their own: what they compare with never enters the solution's process, and what they do
(they may be a teacher's) is contained too. There, `candidate` and the entry point's name are remote calls that the
verifier relays to the solution's session; the prefix's imports and helpers are at hand as they are. `==` and `!=` in
the tests follow the declared policy, as in cases.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from collections.abc import Iterator
from functools import cache

from flywheel.verifiers import equality
from flywheel.verifiers.programs import bound_names, parsed, whole

#: The name under which the sandbox's driver gives the tests its one remote call.
REMOTE = "_flywheel_remote"

_FUNCTION = f"""
def _flywheel_function(name, remote={REMOTE}):
    import builtins

    def function(*args, **kwargs):
        said = remote(name, list(args), kwargs)
        if said[0] == "value":
            return said[1]
        kind = getattr(builtins, said[1], None)
        known = isinstance(kind, type) and issubclass(kind, BaseException)
        try:
            error = kind(said[2]) if known else None
        except Exception:
            error = None
        raise error or Exception(said[1] + ": " + said[2])

    function.__name__ = function.__qualname__ = name
    return function

"""


def referee(tests: str, entry_point: str, prefix: str = "", policy: equality.Policy = equality.Policy()) -> str:
    """A module that ends when all tests hold, and raises otherwise. `tests` is Python that can be parsed.

    `check(candidate)` and `test_…()` are called where the tests do not call them themselves. Names that nobody defines
    are taken to be modules of the standard library, where they are used like one, or the solution's.
    """
    tree = parsed(tests)
    given = whole(prefix)
    unbound = _unbound(tree, given)
    modules = _modules(tree) & unbound - {entry_point}
    remote = {name: name for name in unbound - modules} | {"candidate": entry_point, entry_point: entry_point}
    names = [f"{name} = _flywheel_function({function!r})" for name, function in sorted(remote.items())]
    same = f"_flywheel_same = _flywheel_policy({policy.numbers!r}, {policy.tolerance!r})"
    rewritten = ast.unparse(ast.fix_missing_locations(_Equals().visit(tree)))
    imports = [f"import {name}" for name in sorted(modules)]
    return "\n".join([given, _prelude(), same, *names, *imports, rewritten, *_calls(tree), ""])


@cache
def _prelude() -> str:
    """Definitions that the tests need, among them the very policy that compares cases."""
    source = inspect.getsource(equality)
    return f"""{_FUNCTION}
def _flywheel_policy(*settings, source={source!r}):
    names = {{"__name__": "builtins"}}  # a module that is there: dataclasses look it up
    exec(source, names)
    return names["Policy"](*settings).same
"""


class _Equals(ast.NodeTransformer):
    """`a == b` → `_flywheel_same(a, b)`; chains of comparisons are left alone."""

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        if len(node.ops) > 1 or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            return node
        same = ast.Call(ast.Name("_flywheel_same", ast.Load()), [node.left, *node.comparators], [])
        return ast.UnaryOp(ast.Not(), same) if isinstance(node.ops[0], ast.NotEq) else same


def _unbound(tree: ast.Module, given: str) -> set[str]:
    known = bound_names(tree) | bound_names(parsed(given)) | set(dir(builtins)) | {"__name__", "__file__"}
    known |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    known |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - known


def _modules(tree: ast.Module) -> set[str]:
    """Modules of the standard library that the tests use (`sys.getsizeof`), as if they had imported them."""
    used = {
        node.value.id for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return used & sys.stdlib_module_names


def _calls(tree: ast.Module) -> Iterator[str]:
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.name in called:
            continue
        takes = len(node.args.args) - len(node.args.defaults)
        if node.name == "check" and takes == 1:
            yield "check(candidate)"
        elif node.name.startswith("test") and takes == 0:
            yield f"{node.name}()"
