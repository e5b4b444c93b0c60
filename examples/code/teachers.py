"""Two simulated teachers: `write` makes problems with solutions and repairs them, `test` writes tests.

They stand in for language models. Each is wrong at its declared rate, by the request's seed.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """A kind of problem: wordings, the function, how an argument is drawn. `{x}`: its name; `{k}`, `{m}`: numbers."""

    wordings: tuple[str, str, str]
    code: str
    argument: Callable[[random.Random], Any]


def number(rng: random.Random) -> int:
    return rng.randint(-20, 40)


def numbers(rng: random.Random) -> list[int]:
    return [number(rng) for _ in range(rng.randint(9, 14))]


def word(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefgh", k=rng.randint(9, 14)))


ARGUMENTS = ("x", "y", "z", "a", "b")
KINDS = {
    "add": Kind(("add {k} to {x}", "{x} plus {k}", "{k} more than {x}"), "def f({x}): return {x} + {k}", number),
    "subtract": Kind(
        ("take {k} from {x}", "{x} minus {k}", "{k} less than {x}"), "def f({x}): return {x} - {k}", number
    ),
    "multiply": Kind(("multiply {x} by {k}", "{k} times {x}", "{x}, {k}-fold"), "def f({x}): return {x} * {k}", number),
    "line": Kind(
        ("multiply {x} by {k}, then add {m}", "{k} times {x}, plus {m}", "{m} more than {k} times {x}"),
        "def f({x}): return {x} * {k} + {m}",
        number,
    ),
    "at_least": Kind(
        ("{x}, but at least {k}", "the larger of {x} and {k}", "{x}, never under {k}"),
        "def f({x}): return max({x}, {k})",
        number,
    ),
    "at_most": Kind(
        ("{x}, but at most {k}", "the smaller of {x} and {k}", "{x}, never over {k}"),
        "def f({x}): return min({x}, {k})",
        number,
    ),
    "above": Kind(
        ("is {x} above {k}?", "whether {x} is over {k}", "does {x} exceed {k}?"), "def f({x}): return {x} > {k}", number
    ),
    "first": Kind(
        ("the first {k} of {x}", "{x} cut after {k}", "only {k} from the start of {x}"),
        "def f({x}): return {x}[:{k}]",
        numbers,
    ),
    "without_first": Kind(
        ("{x} without the first {k}", "drop {k} from the start of {x}", "what follows the first {k} of {x}"),
        "def f({x}): return {x}[{k}:]",
        word,
    ),
    "last": Kind(
        ("the last {k} of {x}", "the end of {x}, {k} long", "only {k} from the end of {x}"),
        "def f({x}): return {x}[-{k}:]",
        word,
    ),
    "add_each": Kind(
        ("add {k} to each of {x}", "every one of {x} plus {k}", "all of {x}, {k} higher"),
        "def f({x}): return [n + {k} for n in {x}]",
        numbers,
    ),
    "keep_above": Kind(
        ("those of {x} above {k}", "keep what is over {k} in {x}", "all of {x} beyond {k}"),
        "def f({x}): return [n for n in {x} if n > {k}]",
        numbers,
    ),
}


def problem(rng: random.Random, wordings: slice) -> dict[str, str]:
    """A problem in one of some of its wordings: question, code, kind."""
    kind = rng.choice(list(KINDS))
    names = {"x": rng.choice(ARGUMENTS), "k": rng.randint(2, 9), "m": rng.randint(2, 9)}
    text = rng.choice(KINDS[kind].wordings[wordings]).format(**names)
    return {"question": text, "code": KINDS[kind].code.format(**names), "kind": kind}


def cases(rng: random.Random, kind: str, code: str, count: int) -> list[dict[str, Any]]:
    """Calls of our own code with what it gives."""
    scope: dict[str, Any] = {}
    exec(code, scope)  # written above
    arguments = [KINDS[kind].argument(rng) for _ in range(count)]
    return [{"args": [x], "expected": scope["f"](x)} for x in arguments]


def understood(question: str) -> tuple[str, str]:
    """The kind of a question and the code that answers it."""
    for name, kind in KINDS.items():
        for wording in kind.wordings:
            pattern = re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\w)", re.escape(wording))
            if found := re.fullmatch(pattern, question):
                return name, kind.code.format(**found.groupdict())
    raise LookupError(f"never heard of {question!r}")


def write(request: dict[str, Any]) -> str:
    rng, wrong = random.Random(request["seed"]), request["options"]["error_rate"]
    if request["purpose"] == "answer":  # a repair: it has seen what its code gave, and should have given
        code = understood(request["row"]["question"])[1]
        return slip(rng, code) if rng.random() < wrong else code
    rows = [problem(rng, slice(0, 2)) for _ in range(request["n"])]
    for row in rows:
        row["code"] = slip(rng, row["code"]) if rng.random() < wrong else row["code"]
    return json.dumps(rows)


def slip(rng: random.Random, code: str) -> str:
    """What goes wrong when code is written: another number, another sign, a word or a bracket too few."""
    other = {"+": "-", "-": "+", "*": "+", ">": "<", "max": "min", "min": "max"}
    return rng.choice([
        re.sub(r"\d", lambda found: str(int(found[0]) + 1), code, count=1),
        re.sub(r"max|min|[-+*>]", lambda found: other[found[0]], code, count=1),
        code.replace("return ", ""),
        code.replace("):", ":", 1),
    ])  # fmt: skip


def test(request: dict[str, Any]) -> str:
    """Cases for the problem, from its words alone; some expect what is wrong, some can tell nothing from anything."""
    rng, options = random.Random(request["seed"]), request["options"]
    kind, code = understood(request["row"]["question"])
    found = cases(rng, kind, code, 3)
    chance = rng.random()
    if chance < options["wrong_rate"]:
        found[0]["expected"] = None
    elif chance < options["wrong_rate"] + options["weak_rate"]:
        return "def check(candidate):\n    candidate(" + repr(found[0]["args"][0]) + ")\n"
    return json.dumps(found)
