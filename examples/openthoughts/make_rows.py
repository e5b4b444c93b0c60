"""Writes the rows: questions as collections have them, with what OpenThoughts drops before anybody is asked, and the
suites. `python make_rows.py`"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from teachers import KINDS, PROBLEMS, SCIENCE, riddle, sums

NAMES = [
    "ana", "ben", "cem", "dora", "eli", "fay", "gus", "hana", "ivo", "jin", "kira", "leo",
    "mara", "nils", "olga", "pia", "rosa", "sami", "tara", "ugo", "vera", "wim", "yara", "zoe",
]  # fmt: skip
THINGS = [
    "cup", "book", "coat", "lamp", "plate", "boat", "key", "ball", "chair", "drum", "flag", "glove",
    "hat", "jar", "kite", "log", "mask", "nail", "pen", "ring", "stone", "tent", "vase", "wheel",
]  # fmt: skip
ADJECTIVES = [
    "red", "blue", "green", "old", "new", "heavy", "tiny", "round", "broken", "wooden", "golden", "cheap",
    "striped", "wet", "warm", "empty", "famous", "strange", "quiet", "sharp",
]  # fmt: skip
Row = dict[str, str | None]


def main() -> None:
    rng = random.Random(7)
    taken: set[str] = set()
    suites = {
        "holdout": [fresh(problem, rng, taken) for _ in range(200)],
        "puzzle_holdout": [fresh(puzzle, rng, taken) for _ in range(200)],
        "science_holdout": [fresh(science, rng, taken) for _ in range(200)],
        "probes": [fresh(problem, rng, taken) for _ in range(100)],
        "puzzle_probes": [fresh(puzzle, rng, taken) for _ in range(50)],
    }
    clean = [fresh(problem, rng, taken) for _ in range(800)]
    problems = [*clean, *(spoilt(kind, row, rng) for kind in SPOILT for row in rng.sample(clean, 20))]
    problems += [*rng.sample(suites["holdout"], 12), *(typed(row, rng) for row in rng.sample(suites["holdout"], 12))]
    rng.shuffle(problems)
    files = suites | {
        "problems": problems,
        "puzzles": [fresh(puzzle, rng, taken) for _ in range(700)],
        # Nobody knows what is right here.
        "science": [{"question": fresh(science, rng, taken)["question"]} for _ in range(400)],
    }
    for name, rows in files.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (Path(__file__).parent / "rows" / f"{name}.jsonl").write_text(text)


def fresh(make: Callable[[random.Random], Row], rng: random.Random, taken: set[str]) -> Row:
    while str((row := make(rng))["question"]) in taken:
        pass
    taken.add(str(row["question"]))
    return row


def problem(rng: random.Random) -> Row:
    source = rng.choice(list(PROBLEMS))
    a, b, c = (rng.randint(1, 6) for _ in range(3))
    numbers = {"a": max(a, b) if source == "bus" else a, "b": b, "c": min(c, a + b) if source == "shop" else c}
    words = {"name": rng.choice(NAMES), "adjective": rng.choice(ADJECTIVES), "things": rng.choice(THINGS) + "s"}
    question = PROBLEMS[source][0].format(**numbers, **words)
    steps, result = sums(question, False, rng)
    return {"question": question, "solution": f"{', '.join(steps)}: {result}", "source": source}


def science(rng: random.Random) -> Row:
    topic = rng.choice(list(SCIENCE))
    words = {"adjective": rng.choice(ADJECTIVES), "thing": rng.choice(THINGS)}
    question = SCIENCE[topic][0].format(a=rng.randint(2, 6), b=rng.randint(2, 6), **words)
    return {"question": question, "solution": sums(question, False, rng)[1], "source": topic}


def puzzle(rng: random.Random) -> Row:
    kind, other = rng.sample(list(KINDS), 2)
    words = [*rng.sample(KINDS[kind], 2), rng.choice(KINDS[other])]
    rng.shuffle(words)
    listed = " ".join(f"{letter}) {word}" for letter, word in zip("abc", words, strict=True))
    question = f"which is no {kind}? {listed}"
    return {"question": question, "solution": riddle(question, False, rng)[1], "source": kind}


# --- what is in collections and is not to be learned


def typed(row: Row, rng: random.Random) -> Row:
    """The same question, with a letter typed twice."""
    question = str(row["question"])
    place = rng.choice([place for place, letter in enumerate(question) if letter.isalpha()])
    return {**row, "question": question[:place] + question[place] + question[place:]}


def parted(row: Row) -> str:
    text, _, asked = str(row["question"]).rpartition(". ")
    return f"{text}. a) {asked} b) how many were there first?"


SPOILT = ["figure", "link", "parts", "short", "typed", "missing", "empty", "unboxed"]


def spoilt(kind: str, row: Row, rng: random.Random) -> Row:
    question = str(row["question"])
    return {
        "figure": {**row, "question": f"{question} see the figure"},
        "link": {**row, "question": f"{question} http://problems.example/{rng.randint(100, 999)}"},
        "parts": {**row, "question": parted(row)},
        "short": {**row, "question": question.rpartition(". ")[2]},
        "typed": typed(row, rng),
        "missing": {**row, "question": f"{question} thanks", "solution": None},
        "empty": {**row, "question": f"{question} please", "solution": r"it follows: \boxed{}"},
        "unboxed": {**row, "question": f"say {question}", "solution": "it is left to the reader"},
    }[kind]


if __name__ == "__main__":
    main()
