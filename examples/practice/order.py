"""The verifier: are these the numbers of the question, in order? It knows no right answer and needs none."""

from __future__ import annotations

from typing import Any


def ordered(subject: dict[str, Any]) -> tuple[bool, str]:
    given, said = subject["row"]["numbers"].split(), subject["answer"].split()
    if sorted(said) != sorted(given):
        return False, "other numbers"
    return said == sorted(said), "not in order"
