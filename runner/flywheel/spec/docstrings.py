"""What docstrings below fields say, read from the source only when somebody asks.

pydantic's `use_attribute_docstrings` does so for every class at import: a fifth of the time of `flywheel validate`.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise


def field_docstrings(model: type) -> dict[str, str]:
    """Field → its docstring, those of base classes included; of classes without source none."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        found |= _of_module(each.__module__).get(each.__qualname__, {})
    return found


@cache
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except (OSError, TypeError, KeyError):
        return {}
    return {node.name: dict(_documented(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _documented(model: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(model.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match text:
                case ast.Expr(ast.Constant(str(docstring))):
                    yield field.target.id, inspect.cleandoc(docstring)
