"""Two simulated teachers: `reason` thinks before it answers, `answer` answers plain questions.

They stand in for DeepSeek-R1 and DeepSeek-V3. What is wrong with a chain is drawn by the request's seed, at the
declared rates.
"""

from __future__ import annotations

import random
import re
from typing import Any

NAMES = ["ana", "ben", "cem", "dora", "eli", "fay", "gus", "hana"]
THINGS = ["cups", "books", "coats", "lamps", "plates", "boats", "keys", "balls"]
PROBLEMS = [
    "{name} has {a} {things} and gets {b} more. how many?",
    "{name} sold {a} {things} today and {b} before. how many?",
    "there are {a} {things} in one room and {b} in another. how many?",
]
#: The last is on no list of `forbid`: it gets through.
ELSEWHERE = ["dann", "donc", "luego", "所以", "значит", "entonces"]


def reason(request: dict[str, Any]) -> str:
    a, b = (int(number) for number in re.findall(r"\d+", request["row"]["question"]))
    rng, options = random.Random(request["seed"]), request["options"]
    slip = rng.choice([-10, -1, 1, 10]) if rng.random() < options["error_rate"] else 0
    steps = chain(a, b, slip)
    if rng.random() < options["mixed_rate"]:
        place = rng.randrange(len(steps))
        steps[place] = f"{rng.choice(ELSEWHERE)} {steps[place]}"
    if rng.random() < options["messy_rate"]:
        steps = rng.choice(
            [["```", *steps, "```"], [" and then ".join([*steps, *steps, "that is all that there is to it"])]]
        )
    return thought(steps, a + b + slip)


def chain(a: int, b: int, slip: int = 0) -> list[str]:
    """The steps of `a + b`, two numbers of two digits: 7 + 5 = 12, then 2 + 4 + 1 = 7, then 72."""
    ones, tens = a % 10 + b % 10, a // 10 + b // 10
    carried = f" + 1 = {tens + 1}" if ones > 9 else f" = {tens}"
    return [f"{a % 10} + {b % 10} = {ones}", f"{a // 10} + {b // 10}{carried}", f"so {a + b + slip}"]


def thought(steps: list[str], result: int) -> str:
    lines = "\n".join(steps)
    return f"<think>\n{lines}\n</think>\n\n{result}"


def answer(request: dict[str, Any]) -> str:
    """The number behind the name that is asked for."""
    rng, question = random.Random(request["seed"]), request["row"]["question"]
    told = dict(re.findall(r"(\w+) is (\d+)", question))
    name = question.split()[-1].rstrip("?")
    wrong = rng.random() < request["options"]["error_rate"]
    return rng.choice([age for other, age in told.items() if other != name]) if wrong else told[name]
