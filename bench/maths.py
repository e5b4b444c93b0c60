"""How right and how fast the math verifier is, on public data, beside math-verify.

    python bench/maths.py [FOLDER] [--size 300]

FOLDER (or FLYWHEEL_TEST_DATA, else ../shared/data) holds what there is of: gsm8k/train.jsonl, gsm8k/test.jsonl and
gsm8k/example_model_solutions.jsonl (openai/grade-school-math); asdiv/, college_math/ (QwenLM/Qwen2.5-Math,
evaluation/data) and math500/ (ZubinGou/math-evaluation-harness, data/math_oai), each with its test.jsonl; math-verify/
with the files of huggingface/Math-Verify's tests/. What is absent is said and left out. `size`: how many golds of each
set math-verify judges too.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measuring import footer

from flywheel.records import Subject
from flywheel.spec.verifiers import MathVerifier
from flywheel.verifiers.maths import open_math

SETS = {
    "gsm8k": "gsm8k/train.jsonl",
    "asdiv": "asdiv/test.jsonl",
    "math500": "math500/test.jsonl",
    "college_math": "college_math/test.jsonl",
}
SOLUTIONS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
_NUMBER = re.compile(r"\d+")

Judge = Callable[[str, str], str]
"""(gold, answer) to pass, fail or unknown."""


def ours(tolerance: float = 0.0) -> Judge:
    check = open_math(MathVerifier(kind="math", tolerance=tolerance), Path())
    return lambda gold, answer: check(Subject("s", "t", {}, answer, gold)).outcome


def math_verify() -> Judge:
    from math_verify import parse, verify

    def judge(gold: str, answer: str) -> str:
        right, given = (parse(text if "$" in text or "\\" not in text else f"${text}$") for text in (gold, answer))
        return "unknown" if not right else "pass" if verify(right, given) else "fail"

    return judge


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def corrupted(gold: str, chance: random.Random) -> tuple[str, str] | None:
    """(the gold, with its first number changed; with one drawn) of its final answer; None where it has no number."""
    found = list(_NUMBER.finditer(gold, max(0, gold.rfind("####"))))
    if not found:
        return None
    return changed(gold, found[0], 1), changed(gold, chance.choice(found), chance.choice((1, 2, 3, 10)))


def changed(gold: str, number: re.Match[str], by: int) -> str:
    return f"{gold[: number.start()]}{int(number[0]) + by}{gold[number.end() :]}"


def measured(judge: Judge, golds: list[str]) -> tuple[Counter[str], Counter[str], float, list[str]]:
    """Verdicts on golds against themselves and on corrupted ones, answers a second, and what was accepted."""
    chance, accepted = random.Random(1), list[str]()
    own, wrong = Counter[str](), Counter[str]()
    start = time.perf_counter()
    for gold in golds:
        own[judge(gold, gold)] += 1
        for answer in corrupted(gold, chance) or ():
            outcome = judge(gold, answer)
            wrong[outcome] += 1
            if outcome == "pass":
                accepted.append(f"{answer[-70:]!r} for {gold[-70:]!r}")
    return own, wrong, (sum(own.values()) + sum(wrong.values())) / (time.perf_counter() - start), accepted


def line(name: str, own: Counter[str], wrong: Counter[str], rate: float) -> str:
    def three(found: Counter[str]) -> str:
        return " / ".join(f"{found[outcome]:,}" for outcome in ("pass", "fail", "unknown"))

    return f"{name:32s} {three(own):>20s} {three(wrong):>22s} {rate:10,.0f}"


def data_sets(folder: Path, size: int) -> None:
    print(f"{'':32s} {'golds: p / f / u':>20s} {'corrupted: p / f / u':>22s} {'answers/s':>10s}")
    for name, file in SETS.items():
        if not (folder / file).exists():
            print(f"{name}: no {file} in {folder}")
            continue
        golds = [row["answer"] for row in rows(folder / file)]
        own, wrong, rate, accepted = measured(ours(), golds)
        print(line(name, own, wrong, rate))
        sample = random.Random(2).sample(golds, min(size, len(golds)))
        print(line(f"  math-verify, {len(sample)} of them", *measured(math_verify(), sample)[:3]))
        print(*(f"    accepted: {one}" for one in accepted), sep="\n", end="\n" if accepted else "")


def labelled(folder: Path) -> None:
    solutions, tests = folder / "gsm8k/example_model_solutions.jsonl", folder / "gsm8k/test.jsonl"
    if not (solutions.exists() and tests.exists()):
        print(f"labelled solutions: no {solutions.name} and test.jsonl in {folder / 'gsm8k'}")
        return
    judge = ours()
    agree = Counter(
        (judge(test["answer"], row[model]["solution"]) == "pass") == row[model]["is_correct"]
        for row, test in zip(rows(solutions), rows(tests), strict=True)
        for model in SOLUTIONS
    )
    print(f"gsm8k's labelled solutions: {agree[True]:,} of {agree.total():,} agree")


def pairs(folder: Path) -> Iterator[dict[str, Any]]:
    """The parametrized (gold, pred, expected) of math-verify's tests, read without running them."""
    for file in sorted(folder.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("parametrize")):
                continue
            try:
                names, cases = (ast.literal_eval(argument) for argument in node.args[:2])
            except ValueError:  # made by a program, and no pairs of answers
                continue
            columns = [name.strip() for name in names.split(",")]
            if {"gold", "pred"} <= set(columns):
                yield from (dict(zip(columns, case, strict=True)) for case in cases)


def neighbours_tests(folder: Path) -> None:
    """math-verify rounds to `precision` digits (6 without it): our tolerance."""
    found = list(pairs(folder / "math-verify"))
    if not found:
        print(f"math-verify's pairs: no tests in {folder / 'math-verify'}")
        return
    judges = {digits: ours(10.0**-digits) for digits in {pair.get("precision", 6) for pair in found}}
    others = list[str]()
    for pair in found:
        expected = "pass" if pair.get("expected", pair.get("result")) else "fail"
        outcome = judges[pair.get("precision", 6)](pair["gold"], pair["pred"])
        if outcome != expected:
            others.append(f"    {outcome}, not {expected}: {pair['pred'][-60:]!r} for {pair['gold'][-60:]!r}")
    print(f"math-verify's own pairs: {len(found) - len(others)} of {len(found)} agree", *others, sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    default = Path(os.environ.get("FLYWHEEL_TEST_DATA", "../shared/data"))
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument(
        "--size", type=int, default=300, help="golds of each set that math-verify judges (default: 300)"
    )
    given = parser.parse_args()
    data_sets(given.folder, given.size)
    labelled(given.folder)
    neighbours_tests(given.folder)
    print(footer())


if __name__ == "__main__":
    main()
