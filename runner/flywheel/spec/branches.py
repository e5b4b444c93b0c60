"""What of a prompt file is reached for one task: a file may serve several, and say `{% if task.name == "sql" %}`.

Only what is certain is left out. A branch on a row or a failure may be taken, and counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from jinja2 import nodes
from jinja2.visitor import NodeTransformer


def reached(tree: nodes.Node, task: Mapping[str, Any]) -> Iterator[nodes.Node]:
    """Every node below `tree` that may be rendered where `task` has these values; `tree` is changed on the way."""
    if all(name.ctx == "load" for name in tree.find_all(nodes.Name) if name.name == "task"):
        _FilledIn(task).visit(tree)
    yield from _reached(tree)


class _FilledIn(NodeTransformer):
    """Puts what is known of `task` in the place of `task.name` and `task["name"]`."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._task = task

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:
        return self._known(node, node.attr)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        return self._known(node, node.arg.value if isinstance(node.arg, nodes.Const) else None)

    def _known(self, node: nodes.Getattr | nodes.Getitem, key: Any) -> nodes.Node:
        if isinstance(node.node, nodes.Name) and node.node.name == "task" and key in self._task:
            return nodes.Const(self._task[key], lineno=node.lineno)
        return self.generic_visit(node)


def _reached(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in _children(node):
        yield from _reached(child)


def _children(node: nodes.Node) -> Iterator[nodes.Node]:
    if isinstance(node, nodes.If):
        yield from _of_if(node)
    elif isinstance(node, nodes.CondExpr):
        holds = _truth(node.test)
        yield node.test
        yield from () if holds is False else (node.expr1,)
        yield from () if holds is True or node.expr2 is None else (node.expr2,)
    elif isinstance(node, nodes.And | nodes.Or):
        yield node.left
        if _truth(node.left) is not isinstance(node, nodes.Or):
            yield node.right
    else:
        yield from node.iter_child_nodes()


def _of_if(node: nodes.If) -> Iterator[nodes.Node]:
    for branch in (node, *node.elif_):
        yield branch.test
        holds = _truth(branch.test)
        yield from () if holds is False else branch.body
        if holds is True:
            return
    yield from node.else_


def _truth(test: nodes.Node) -> bool | None:
    """None where it hangs on what is not known yet."""
    try:
        return bool(cast(nodes.Expr, test).as_const())
    except nodes.Impossible:
        return None
