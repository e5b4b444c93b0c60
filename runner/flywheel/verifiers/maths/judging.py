"""One answer against one gold: quickly where both are plain numbers, else by reading them whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from flywheel.text import one_line
from flywheel.verifiers.finding import PASS, Finding, fail, unknown
from flywheel.verifiers.maths import numerals, place
from flywheel.verifiers.maths.comparing import AnswerComparison, MathPolicy, NotComparable
from flywheel.verifiers.maths.nodes import Items, ListItem, Phrase, Reading, Symbol
from flywheel.verifiers.maths.script import folded

#: Of a longer answer the end is read; a final answer may be this long.
_TAIL, _ANSWER_LIMIT = 20_000, 4_500
_LONE_COMMA = re.compile(r"\d,\d")
_SETTING = re.compile(r"\\(?:text|mathrm|mbox|textbf|textnormal)\s*\{([^{}]*)\}|\\[()\[\]]|\$|(?<!\\)\{(\w)\}")
_LOOSE_SPACE = re.compile(r"(?<![^\W_])\s+|\s+(?![^\W_])|(?<=[^\W\d_])\s+(?=\d)|(?<=\d)\s+(?=[^\W\d_])")
_LAST_LINE = re.compile(
    rf"(?:[^\d$\\\n*/^=+<>()\[\]{{}}|~%#_`-]*\s)?(?P<number>-?[$]?(?:{numerals.PLAIN})(?:/\d{{1,400}})?%?)"
    r"(?P<noun>(?:\s+[A-Za-z]+){0,6})[.!]?\s*"
)


@dataclass(frozen=True, slots=True)
class _MathGold:
    final: str
    readings: tuple[Reading, ...]
    """One; two where a comma between digits has two readings."""


class Judgement:
    """`finding` judges; what was read of a gold is kept for the next answer to it."""

    def __init__(self, policy: MathPolicy, decimal_comma: bool | None) -> None:
        self.policy, self.comparison = policy, AnswerComparison(policy)
        self.decimal_comma = decimal_comma
        self.gold = lru_cache(4096)(self._read_gold)

    def finding(self, gold: str, answer: str) -> Finding:
        if not answer.strip():
            return fail("no answer")
        right = _quick(gold)
        given = None if right is None else _quick(answer) or _last_line(answer, gold)
        if right is not None and given is not None and (right[1] == given[1] or "$" not in gold + answer):
            return PASS if self._equal(right, given) else _other(answer.rpartition("####")[2].strip(), gold)
        return PASS if gold.strip() == answer.strip() else self._read(self.gold(gold), folded(answer[-_TAIL:]))

    def _equal(self, right: tuple[numerals.Exact, bool], given: tuple[numerals.Exact, bool]) -> bool:
        (gold, gold_percent), (value, percent) = right, given
        if gold_percent == percent and (value == gold or not self.policy.tolerance):
            return value == gold
        if abs(Fraction(value - gold)) <= abs(Fraction(gold)) * self.policy.tolerance:
            return gold_percent == percent or self.policy.percent == "lenient"
        if gold_percent != percent:
            gold, value = (Fraction(gold, 100), value) if gold_percent else (gold, Fraction(value, 100))
        return abs(Fraction(value - gold)) <= abs(Fraction(gold)) * self.policy.tolerance

    def _read_gold(self, gold: str) -> _MathGold:
        text = folded(gold)
        found = place.marked(text)
        final = found[0] if found else text
        readings = self._readings(final)
        if found is None and readings and isinstance(readings[0], Phrase):
            answered = [said for comma in self._commas(final) if (said := place.after_marker(final, comma))]
            readings = tuple(answered) or readings
        return _MathGold(final, readings)

    def _readings(self, text: str) -> tuple[Reading, ...]:
        return tuple(found for comma in self._commas(text) if (found := place.whole(text, comma)) is not None)

    def _commas(self, text: str) -> tuple[bool, ...]:
        if self.decimal_comma is not None:
            return (self.decimal_comma,)
        return (False, True) if _LONE_COMMA.search(text) else (False,)

    def _read(self, gold: _MathGold, answer: str) -> Finding:
        if not gold.readings:
            return unknown("the gold is empty")
        found = place.marked(answer)
        final, denied = found or (answer, False)
        if denied:
            return fail(f"says what the answer is not: {one_line(answer, 60)}")
        if _key(final) == _key(gold.final):
            return PASS
        if len(final) > _ANSWER_LIMIT and (found or " " not in final):
            return fail(f"too long for a final answer ({len(final):,} characters)")
        try:
            return self._compared(gold, final, prose=found is None)
        except NotComparable as error:
            return unknown(str(error))

    def _compared(self, gold: _MathGold, final: str, prose: bool) -> Finding:
        said = False
        for right, given in self._pairs(gold, final, prose):
            said = said or isinstance(given, Items) or isinstance(right, Phrase)
            if self.comparison.readings(right, given):
                return PASS
        if any(isinstance(right, Phrase) and not right.readable for right in gold.readings):
            return unknown(f"the gold has a formula that cannot be read: {one_line(gold.final, 60)}")
        if not said:
            return fail(f"no final answer that can be read: {one_line(final, 60)}")
        return _other(final, gold.final)

    def _pairs(self, gold: _MathGold, final: str, prose: bool) -> Iterator[tuple[Reading, Reading]]:
        """The readings to compare. With a lone comma on both sides, both read it alike."""
        commas = self._commas(final)
        for right, comma in zip(gold.readings, self._commas(gold.final), strict=False):
            for other in commas:
                if len(commas) == len(gold.readings) == 2 and comma != other:
                    continue
                for given in self._answers(right, final, prose, other):
                    yield right, given

    def _answers(self, right: Reading, final: str, prose: bool, comma: bool) -> Iterator[Reading]:
        """A short answer is read whole; a sentence is asked for what it says."""
        if _is_letter(right) and (option := place.choice(final)):
            yield option
            return
        found = place.whole(final, comma) if len(final) <= _ANSWER_LIMIT else None
        if isinstance(found, Items) or not prose or isinstance(right, Phrase):
            said = place.said_in_words(final, right, comma) if prose and isinstance(right, Phrase) else None
        else:
            found, said = None, place.said(final, len(right.items), comma)
        yield from (reading for reading in (found, said) if reading is not None)


def _is_letter(gold: Reading) -> bool:
    """Whether the gold may be one of several options."""
    match gold:
        case Items((ListItem(Symbol(name), ""),)):
            return name in tuple("ABCDEFGHIJ")
    return False


def _quick(text: str) -> tuple[numerals.Exact, bool] | None:
    """The number that a text marks with `####`, or is; None where reading takes more than that."""
    return numerals.simple((text.rpartition("####")[2] if "####" in text else text).strip())


#: Words by which a line says more than its number.
_TURNS = re.compile(
    r"\b(?:but|than|instead|except|and|or|to|a?\s*half|percent|percentage|pct|hundred|thousand|million|billion|trillion"
    r"|dozens?|squared|cubed|[ap]m|if|because|since|least|most|over|under|above|below|beyond|excluding|without|doubt"
    r"|impossible|unlikely|longer|minus|negative|log|ln|sin|cos|tan|sqrt|rs|inr|usd|eur|gbp|way|think|believe"
    r"|(?:jan|febr)uary|march|april|may|june|july|august|\w+ember|october)\b",
    re.I,
)


def _last_line(text: str, gold: str) -> tuple[numerals.Exact, bool] | None:
    """The one number of the last line of prose without formulas."""
    if "\\" in text or "####" in text:
        return None
    head, _, line = text.rstrip().rpartition("\n")
    found = _LAST_LINE.fullmatch(line) if line.isascii() and "nswer" not in head else None
    if found is None or place.denies(line) or _TURNS.search(line):
        return None
    if found["noun"] and re.search("[$%]", gold.rpartition("####")[2]):
        return None  # dollars, and what noun?
    if line.rstrip().endswith("!") and not re.search("[A-Za-z]", line):
        return None  # 5! is 120
    return numerals.simple(found["number"])


def _key(text: str) -> str:
    """Answers with one key are the same answer, set otherwise."""
    bare = _SETTING.sub(lambda m: m[1] or m[2] or "", place.unquoted(text))
    if bare.startswith("{") and bare.endswith("}") and bare.count("{") == 1:
        bare = bare[1:-1]
    return _LOOSE_SPACE.sub("", " ".join(bare.split()))


def _other(answer: str, gold: str) -> Finding:
    return fail(f"{one_line(answer, 60)} instead of {one_line(gold.rpartition('####')[2].strip(), 60)}")
