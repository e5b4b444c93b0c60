"""Sums, pupils who get them wrong in known ways, a simulated tutor that errs, and the rubric for what it says."""

from __future__ import annotations

import json
import random
import re
from typing import Any

#: What the tutor says of a mistake → what a pupil who makes it says of `a + b`.
SAYINGS = {
    "that is right": lambda a, b: a + b,
    "you forgot the carry": lambda a, b: a + b - 10 if a % 10 + b % 10 > 9 else None,
    "you took away": lambda a, b: abs(a - b),
    "you swapped the digits": lambda a, b: int(str(a + b)[::-1]),
    "you missed by one": lambda a, b: a + b - 1,
}
STEP = re.compile(r"(\d+) \+ (\d+)(?: \+ (\d+))? = (\d+)")
FORM = re.compile(rf"({'|'.join(SAYINGS)}): (.+), so (\d+)")


# --- the domain


def mistakes(a: int, b: int, said: int) -> list[str]:
    """All that explain what the pupil said."""
    return [saying for saying, slip in SAYINGS.items() if slip(a, b) == said]


def pupil(a: int, b: int, saying: str) -> dict[str, str] | None:
    """A row: the sum, and what a pupil says who makes this mistake and no other; None where there is none."""
    said = SAYINGS[saying](a, b)
    if said is None or mistakes(a, b, said) != [saying]:
        return None
    return {"sum": f"{a} + {b}", "said": str(said), "kind": saying}


def explained(a: int, b: int, saying: str, slip: int = 0) -> str:
    """What a tutor says, such as "you forgot the carry: 7 + 5 = 12, 2 + 4 + 1 = 7, so 72"."""
    ones, tens = a % 10 + b % 10, a // 10 + b // 10
    carried = f" + 1 = {tens + 1}" if ones > 9 else f" = {tens}"
    return f"{saying}: {a % 10} + {b % 10} = {ones}, {a // 10} + {b // 10}{carried}, so {a + b + slip}"


def numbers(row: dict[str, Any]) -> tuple[int, int, int]:
    a, b = (int(number) for number in row["sum"].split(" + "))
    return a, b, int(row["said"])


# --- the simulated tutor


def teach(request: dict[str, Any]) -> str:
    """Pupils with the mistakes of the failures that it is shown, and an explanation to each; wrong in `error_rate` of
    them, half of the time in what it says of the mistake and half of the time in the sum."""
    rng = random.Random(request["seed"])
    kinds = [mistakes(*numbers(failure["row"]))[0] for failure in request["failures"]] or list(SAYINGS)
    rows = []
    while len(rows) < request["n"]:
        a, b = rng.randint(10, 99), rng.randint(10, 99)
        saying = rng.choice(kinds)
        if (row := pupil(a, b, saying)) is None:
            continue
        slip = 0
        if rng.random() < request["options"]["error_rate"]:
            if rng.random() < 0.5:
                saying = rng.choice([other for other in SAYINGS if other != saying])
            else:
                slip = rng.choice([-10, -1, 1, 10])
        rows.append({**row, "answer": explained(a, b, saying, slip)})
    return json.dumps(rows)


# --- the rubric: each line a verifier; none needs a known answer


def form(subject: dict[str, Any]) -> tuple[bool, str]:
    """First the mistake, then the working, then the result; and no other words."""
    return FORM.fullmatch(subject["answer"]) is not None, "not: what went wrong, the working, the result"


def mistake(subject: dict[str, Any]) -> tuple[bool, str]:
    """It names the mistake that the pupil made."""
    a, b, said = numbers(subject["row"])
    [right] = mistakes(a, b, said)
    return subject["answer"].startswith(f"{right}:"), f"the pupil's mistake: {right}"


def working(subject: dict[str, Any]) -> tuple[bool, str]:
    """Every step is true, and they are those of this sum: ones, then tens with the carry."""
    a, b, _ = numbers(subject["row"])
    found = FORM.fullmatch(subject["answer"])
    steps = STEP.findall(found[2]) if found else []
    false = [step for step in steps if sum(int(n) for n in step[:3] if n) != int(step[3])]
    digits = [(a % 10, b % 10), (a // 10, b // 10)]
    if false or [(int(step[0]), int(step[1])) for step in steps] != digits:
        return False, "a step is false, or belongs to another sum"
    return (steps[1][2] == "1") == (sum(digits[0]) > 9), "the carry"


def result(subject: dict[str, Any]) -> tuple[bool, str]:
    """The sum at the end is right."""
    a, b, _ = numbers(subject["row"])
    found = re.search(r"so (\d+)$", subject["answer"])
    return found is not None and int(found[1]) == a + b, f"the sum is {a + b}"
