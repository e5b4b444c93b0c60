"""The verifier of `beyond.py`'s formulas: does the formula do what the instruction says? It is told no right answer."""

from __future__ import annotations

import random
from typing import Any

from words import formula, understood


def carried_out(subject: dict[str, Any]) -> tuple[bool, str]:
    wanted = formula(understood(subject["row"]["question"], random.Random(0)))
    return subject["answer"].split() == wanted.split(), "does something else"
