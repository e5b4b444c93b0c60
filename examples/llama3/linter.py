"""What parser and linter say of an answer, before it is run. A rule of your own is a line here."""

from __future__ import annotations

import ast
from typing import Any


def check(subject: dict[str, Any]) -> tuple[bool, str]:
    try:
        tree = ast.parse(subject["answer"])
    except (SyntaxError, ValueError) as error:
        return False, f"does not parse: {error}"
    if not any(isinstance(node, ast.FunctionDef) for node in tree.body):
        return False, "E731 do not assign a lambda expression, write a def" if "lambda" in subject[
            "answer"
        ] else "no function"
    returns = any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(tree))
    return (True, "") if returns else (False, "the function returns nothing")
