"""Three simulated teachers: `write` makes and repairs problems with solutions, `test` writes tests, `grade` judges.

They stand in for language models. Writer and tester are wrong at their declared rates, by the request's seed.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """A kind of problem: wordings, the value, how an argument is drawn. `{x}`: its name; `{k}`, `{m}`: numbers."""

    wordings: tuple[str, str, str]
    value: str
    argument: Callable[[random.Random], Any]


def number(rng: random.Random) -> int:
    return rng.randint(-20, 40)


def numbers(rng: random.Random) -> list[int]:
    return [number(rng) for _ in range(rng.randint(9, 14))]


def word(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefgh", k=rng.randint(9, 14)))


ARGUMENTS = ("x", "y", "z", "a", "b")
KINDS = {
    "add": Kind(("add {k} to {x}", "{x} plus {k}", "{k} more than {x}"), "{x} + {k}", number),
    "multiply": Kind(("multiply {x} by {k}", "{k} times {x}", "{x}, {k}-fold"), "{x} * {k}", number),
    "line": Kind(
        ("multiply {x} by {k}, then add {m}", "{k} times {x}, plus {m}", "{m} more than {k} times {x}"),
        "{x} * {k} + {m}",
        number,
    ),
    "at_least": Kind(
        ("{x}, but at least {k}", "the larger of {x} and {k}", "{x}, never under {k}"), "max({x}, {k})", number
    ),
    "at_most": Kind(
        ("{x}, but at most {k}", "the smaller of {x} and {k}", "{x}, never over {k}"), "min({x}, {k})", number
    ),
    "above": Kind(("is {x} above {k}?", "whether {x} is over {k}", "does {x} exceed {k}?"), "{x} > {k}", number),
    "first": Kind(
        ("the first {k} of {x}", "{x} cut after {k}", "only {k} from the start of {x}"), "{x}[:{k}]", numbers
    ),
    "last": Kind(
        ("the last {k} of {x}", "the end of {x}, {k} long", "only {k} from the end of {x}"), "{x}[-{k}:]", word
    ),
}


def solution(argument: str, value: str) -> str:
    return f"def f({argument}): return {value}"


def clumsy(argument: str, value: str) -> str:
    """Right, and in two steps where one would do."""
    return f"def f({argument}): n = {value}; return n"


def careless(argument: str, value: str) -> str:
    """Right, and nothing that a linter lets pass: a lambda with a name."""
    return f"f = lambda {argument}: {value}"


def problem(rng: random.Random, wordings: slice) -> dict[str, str]:
    """A problem in one of some of its wordings: question, code, kind."""
    kind = rng.choice(list(KINDS))
    names = {"x": rng.choice(ARGUMENTS), "k": str(rng.randint(2, 9)), "m": str(rng.randint(2, 9))}
    text = rng.choice(KINDS[kind].wordings[wordings]).format(**names)
    return {"question": text, "code": solution(names["x"], KINDS[kind].value.format(**names)), "kind": kind}


def cases(rng: random.Random, kind: str, code: str, count: int) -> list[dict[str, Any]]:
    """Calls of our own code with what it gives."""
    scope: dict[str, Any] = {}
    exec(code, scope)  # written above
    arguments = [KINDS[kind].argument(rng) for _ in range(count)]
    return [{"args": [x], "expected": scope["f"](x)} for x in arguments]


def understood(question: str) -> tuple[str, str, str]:
    """The kind of a question, the argument's name, and the value that is asked for."""
    for name, kind in KINDS.items():
        for wording in kind.wordings:
            pattern = re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\w)", re.escape(wording))
            if found := re.fullmatch(pattern, question):
                return name, found["x"], kind.value.format(**found.groupdict())
    raise LookupError(f"never heard of {question!r}")


def write(request: dict[str, Any]) -> str:
    rng = random.Random(request["seed"])
    if request["purpose"] == "answer":  # a repair: it has seen what the linter or the tests said
        return written(rng, request["row"]["question"], request["options"])
    rows = [problem(rng, slice(0, 2)) for _ in range(request["n"])]
    return json.dumps([{**row, "code": written(rng, row["question"], request["options"])} for row in rows])


def written(rng: random.Random, question: str, options: dict[str, Any]) -> str:
    _, argument, value = understood(question)
    if rng.random() < options["error_rate"]:
        return slip(rng, solution(argument, value))
    style = rng.choices([clumsy, careless, solution], [options["clumsy_rate"], options["careless_rate"], 1.0])[0]
    return style(argument, value)


def slip(rng: random.Random, code: str) -> str:
    """What goes wrong when code is written: another number, another sign, a word or a bracket too few."""
    other = {"+": "-", "*": "+", ">": "<", "max": "min", "min": "max"}
    return rng.choice([
        re.sub(r"\d", lambda found: str(int(found[0]) + 1), code, count=1),
        re.sub(r"max|min|[+*>]", lambda found: other[found[0]], code, count=1),
        code.replace("return ", ""),
        code.replace("):", ":", 1),
    ])  # fmt: skip


def test(request: dict[str, Any]) -> str:
    """Cases for the problem, from its words alone; some expect what is wrong."""
    rng = random.Random(request["seed"])
    kind, argument, value = understood(request["row"]["question"])
    found = cases(rng, kind, solution(argument, value), 4)
    if rng.random() < request["options"]["wrong_rate"]:
        found[0]["expected"] = None
    return json.dumps(found)


def grade(request: dict[str, Any]) -> str:
    """Llama 3 asks of code, in two points, whether it has bugs and whether it is what the user meant."""
    plain = "n = " not in request["item"]["answer"]
    why = "says what it does in one step" if plain else "needs a variable for nothing"
    return json.dumps({"why": why, "verdict": "pass", "grade": 1.0 if plain else 0.5})
