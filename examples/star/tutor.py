"""A simulated tutor: works sums out digit by digit and, unless it is told the result, slips now and then."""

from __future__ import annotations

import random
from typing import Any


def teach(request: dict[str, Any]) -> str:
    a, b = (int(number) for number in request["row"]["question"].split(" + "))
    told = (request["item"] or {}).get("hint", False)
    rng = random.Random(request["seed"])
    slip = rng.choice([-10, -1, 1, 10]) if not told and rng.random() < request["options"]["error_rate"] else 0
    return work(a, b, slip)


def work(a: int, b: int, slip: int = 0) -> str:
    """The working of `a + b`, such as "7 + 5 = 12, 2 + 4 + 1 = 7, so 72"; `slip` is added to the result."""
    ones, tens = a % 10 + b % 10, a // 10 + b // 10
    carried = f" + 1 = {tens + 1}" if ones > 9 else f" = {tens}"
    return f"{a % 10} + {b % 10} = {ones}, {a // 10} + {b // 10}{carried}, so {a + b + slip}"
