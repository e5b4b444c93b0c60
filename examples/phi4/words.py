"""Instructions in words and the formulas that carry them out, and two simulated teachers that translate and err."""

from __future__ import annotations

import json
import random
import re
from typing import Any

#: How a step is written, and how people say it.
STEPS = {
    "+": ("( {x} + {n} )", ["add {n}", "put {n} on top", "raise it by {n}"]),
    "-": ("( {x} - {n} )", ["take away {n}", "subtract {n}", "lower it by {n}"]),
    "*": ("( {x} * {n} )", ["multiply by {n}", "take it {n} times"]),
}
JOINTS = [", then ", " and then ", ". after that "]
#: One that can be read in two ways: is it the sum that is multiplied, or the number that is added?
UNCLEAR = "add {n} times {m}"

Steps = list[tuple[str, int]]


def drawn(rng: random.Random, most: int = 3) -> Steps:
    """One to `most` steps, no sign twice in a row."""
    steps: Steps = []
    for _ in range(rng.randint(1, most)):
        steps.append((rng.choice([sign for sign in STEPS if not steps or sign != steps[-1][0]]), rng.randint(2, 9)))
    return steps


def said(steps: Steps, rng: random.Random) -> str:
    joint = rng.choice(JOINTS)
    return joint.join(rng.choice(STEPS[sign][1]).format(n=n) for sign, n in steps)


def formula(steps: Steps) -> str:
    text = "x"
    for sign, n in steps:
        text = STEPS[sign][0].format(x=text, n=n)
    return text


def steps_of(text: str) -> Steps:
    """The steps of a formula, from the inside out."""
    return [(sign, int(n)) for sign, n in re.findall(r" ([+*-]) (\d) \)", text)]


def understood(question: str, rng: random.Random) -> Steps:
    """The steps that an instruction asks for; where it is unclear, one of its two readings."""
    steps: Steps = []
    for part in re.split("|".join(map(re.escape, JOINTS)), question):
        if found := re.fullmatch(r"add (\d) times (\d)", part):
            n, m = int(found[1]), int(found[2])
            steps += rng.choice([[("+", n), ("*", m)], [("+", n * m)]])
            continue
        for sign, (_, phrases) in STEPS.items():
            for phrase in phrases:
                if found := re.fullmatch(phrase.format(n=r"(\d)"), part):
                    steps.append((sign, int(found[1])))
    return steps


# --- the simulated teachers


def solve(request: dict[str, Any]) -> str:
    """An instruction's formula. Each step after the first is got wrong in `error_rate` of the tries."""
    rng = random.Random(request["seed"])
    steps = understood(request["row"]["question"], rng)
    for place in range(1, len(steps)):
        if rng.random() < request["options"]["error_rate"]:
            steps[place] = rng.choice(
                [(rng.choice(list(STEPS)), steps[place][1]), (steps[place][0], rng.randint(2, 9))]
            )
    return formula(steps)


def reverse(request: dict[str, Any]) -> str:
    """An instruction for a formula; in `error_rate` of them a number is another one."""
    rng = random.Random(request["seed"])
    steps = steps_of(request["item"]["answer"])
    if rng.random() < request["options"]["error_rate"]:
        place = rng.randrange(len(steps))
        steps[place] = (steps[place][0], rng.randint(2, 9))
    return json.dumps([{"question": said(steps, rng)}])
