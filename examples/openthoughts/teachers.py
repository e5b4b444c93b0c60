"""One simulated reasoner that thinks before it answers; it stands in for DeepSeek-R1.

It is asked at temperature 0: one question has one answer, right or wrong, however often it is asked.
"""

from __future__ import annotations

import random
import re
from typing import Any

#: Questions by source, and what is done to their first number with the others.
PROBLEMS = {
    "shop": ("{name} has {a} {adjective} {things}, gets {b}, sells {c}. how many are left?", "+-"),
    "bus": ("{a} {adjective} {things}. {name} takes {b} and adds {c}. how many are there?", "-+"),
    "box": ("to {a} {adjective} {things} {name} adds {b}, then {c}. how many are they?", "++"),
}
SCIENCE = {
    "motion": ("a {adjective} {thing} at {a} m/s for {b} s. how many metres?", "*"),
    "force": ("a {adjective} {thing} of {a} kg at {b} m/s2. how many newtons?", "*"),
    "moles": ("a mole of {adjective} {thing} is {a} g. how many g are {b} moles?", "*"),
    "cells": ("a {adjective} {thing} of {a} by {b} cells. how many cells?", "*"),
}
KINDS = {
    "fruit": ["apple", "pear", "plum", "fig", "lemon", "grape"],
    "tool": ["saw", "hammer", "drill", "file", "axe", "rake"],
    "animal": ["dog", "horse", "frog", "owl", "goat", "crab"],
}
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}
CHOICE = re.compile(r"([abc])\) (\w+)")
ODD = re.compile(r"which is no (\w+)\?")


def reason(request: dict[str, Any]) -> str:
    question, options = request["row"]["question"], request["options"]
    rng = random.Random(question)
    slips = rng.random() < options["error_rate"]
    steps, result = riddle(question, slips, rng) if ODD.search(question) else sums(question, slips, rng)
    if rng.random() < options["doubt_rate"]:  # a long thought: all of it again
        steps = [*steps, "wait, once more", *steps]
    return "<think>\n" + "\n".join(steps) + f"\n</think>\n\n{result}"


def sums(question: str, slips: bool, rng: random.Random) -> tuple[list[str], str]:
    """The working of a calculation and its result in a box; where it slips one step is wrong by one."""
    signs = next((signs for text, signs in PROBLEMS.values() if text.rpartition(". ")[2] in question), "*")
    numbers = [int(number) for number in re.findall(r"\b\d+\b", question)]
    if len(numbers) <= len(signs):
        return ["there are no numbers"], r"\boxed{}"
    so_far, *others = numbers
    wrong = rng.randrange(len(signs)) if slips else None
    steps = []
    for place, (sign, number) in enumerate(zip(signs, others, strict=False)):
        result = {"+": so_far + number, "-": so_far - number, "*": so_far * number}[sign]
        result += rng.choice([-1, 1]) if place == wrong else 0
        steps.append(f"{so_far} {sign} {number} = {result}")
        so_far = result
    return steps, f"\\boxed{{{so_far}}}"


def riddle(question: str, slips: bool, rng: random.Random) -> tuple[list[str], str]:
    """What each choice is, and the letter of the one that is something else; where it slips, of another."""
    wanted, choices = ODD.findall(question)[0], CHOICE.findall(question)
    odd = next(letter for letter, word in choices if KIND_OF[word] != wanted)
    said = rng.choice([letter for letter, _ in choices if letter != odd]) if slips else odd
    return [f"{word}: {KIND_OF[word]}, {'no' if letter == said else 'yes'}" for letter, word in choices], said
