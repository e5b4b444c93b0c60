"""What a failure shows that a predicate can say: each as SQL over the failed row.

A failure is like another where both go wrong in the same way, whatever was asked: groups are made of the words that the
answer has and the right one lacks, and the other way round, of its form and of what the verifiers said, not of the
question. The question's words and the row's columns are there for predicates alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from flywheel.store.taxonomy import Failed

#: Words, numbers and single marks.
_TOKEN = re.compile(r"[^\W\d_][\w]*|\d[\d.,]*\d|\d|[^\w\s]")
#: A text of at most so many characters can be a label: it is compared as a whole.
LABEL = 40
#: Characters of a text that are looked at, and words of a verifier's reason that stand for it.
_READ, _REASON_WORDS = 4_000, 3
#: A text so many times as long as the other is another form of answer.
_FACTOR = 2


class Tell(NamedTuple):
    """`name`: what a mode of it is called. `when`: SQL. `of_answer`: whether it says how the answer is wrong."""

    name: str
    when: str
    of_answer: bool = True


def tells(one: Failed) -> Iterator[Tell]:
    """All that is true of the failure. Its row is without the right answer, as a predicate may have to do without."""
    yield from _form(one.answer, one.gold)
    yield from _labels(one.answer, one.gold)
    if one.answer is not None:
        yield from _differing(_words(one.answer), _words(one.gold) if one.gold is not None else None)
    for verdict in one.verdicts:
        if verdict.outcome == "fail":
            yield from _reasons(verdict.verifier, verdict.reason)
    yield from _of_row(one.row)


def _form(answer: str | None, gold: str | None) -> Iterator[Tell]:
    if not (answer or "").strip():
        yield Tell("empty", "coalesce(trim(answer), '') = ''")
        return
    assert answer is not None
    if gold is not None and len(answer) > _FACTOR * len(gold):
        yield Tell("longer", f"length(answer) > {_FACTOR} * length(gold)")
    if gold is not None and _FACTOR * len(answer) < len(gold):
        yield Tell("shorter", f"{_FACTOR} * length(answer) < length(gold)")
    if gold is not None and "\n" in answer.strip() and "\n" not in gold.strip():
        yield Tell("several_lines", "contains(trim(answer), chr(10)) AND NOT contains(trim(gold), chr(10))")


def _labels(answer: str | None, gold: str | None) -> Iterator[Tell]:
    if answer is not None and 0 < len(answer) <= LABEL and "\n" not in answer:
        yield Tell(f"says {answer}", f"answer = {literal(answer)}")
    if gold is not None and 0 < len(gold) <= LABEL and "\n" not in gold:
        yield Tell(f"of {gold}", f"gold = {literal(gold)}")


def _differing(answer: set[str], gold: set[str] | None) -> Iterator[Tell]:
    if gold is None:
        yield from (Tell(f"has {_said(word)}", has("answer", word)) for word in sorted(answer))
        return
    for word in sorted(gold - answer):
        yield Tell(f"lacks {_said(word)}", f"{has('gold', word)} AND NOT {has('answer', word)}")
    for word in sorted(answer - gold):
        yield Tell(f"adds {_said(word)}", f"{has('answer', word)} AND NOT {has('gold', word)}")


def _reasons(verifier: str, reason: str) -> Iterator[Tell]:
    """By the words in a row of its first line: numbers and quoted names in it are the row's own."""
    column = f'reason."{verifier}"'
    line = reason.split("\n", 1)[0]
    for piece in re.split(r"""["'`].*?["'`]|\S*\d\S*""", line):
        words = piece.split()
        for start in range(max(1, len(words) - _REASON_WORDS + 1)):
            text = " ".join(words[start : start + _REASON_WORDS])
            if text and text in line:
                yield Tell(f"{verifier} {text}", f"contains({column}, {literal(text)})")


def _of_row(row: Mapping[str, object]) -> Iterator[Tell]:
    for column, value in row.items():
        if not isinstance(value, str) or not column.isidentifier():
            continue
        place = f'row."{column}"'
        if len(value) <= LABEL:
            yield Tell(f"where {column} is {value}", f"{place} = {literal(value)}", of_answer=False)
        else:
            for word in sorted(_words(value)):
                if word[0].isalpha():
                    yield Tell(f"asked {word}", has(place, word), of_answer=False)


def _said(word: str) -> str:
    """A mark by its name, since names of modes have none."""
    return word if word[0].isalnum() else unicodedata.name(word[0], "mark").lower()


def _words(text: str) -> set[str]:
    """Lower case; numbers are what they are."""
    return {word.lower() for word in _TOKEN.findall(text[:_READ])}


def has(column: str, word: str) -> str:
    """SQL: whether the column has the word. DuckDB's `\\b` knows ASCII words only; others are looked for as text."""
    if word.isascii() and word[0].isalpha():
        whole = literal(rf"\b{re.escape(word)}\b")
        return f"regexp_matches({column}, {whole}, 'i')"
    return f"contains(lower({column}), {literal(word)})"


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
