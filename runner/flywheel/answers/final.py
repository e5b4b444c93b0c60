"""The final answer, where a task says how it is marked; and whether a next question follows it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flywheel.answers.thoughts import without_thoughts
from flywheel.text import first_match, matches

_TURN = re.compile(
    r"<\|(?:im_start|im_end|endoftext|end_of_text|begin_of_text|eot_id|start_header_id|user|system|assistant|end)\|>"
    r"|</?s>|\[/?INST\]|<(?:start|end)_of_turn>"
)
_ASKING = (
    r"question|problem|exercise|task|instruction|input|query|prompt|user|human|q|passage|context|message|text|sentence|"
    r"review|frage|aufgabe|pregunta|problema|problème|вопрос|задача|问题|問題|题目|題目|質問|문제|질문"
)
_LABEL = re.compile(
    rf"^[#>*_ \t-]*(?:\d+[.)][ \t]*)?(?:(?:next|new|another)[ \t]+)?"
    rf"(?:(?:{_ASKING})(?:[ \t]*(?:no\.?[ \t]*)?\#?\d+)?[ \t]*[*_]*[ \t]*[:：]|(?:{_ASKING}|example)[ \t]*\#?\d+\b)",
    re.IGNORECASE | re.MULTILINE,
)
_HEADING = re.compile(rf"^[ \t]*\#+[ \t]*(?:(?:next|new|another)[ \t]+)?(?:{_ASKING})\b", re.IGNORECASE | re.MULTILINE)
_QUESTION = re.compile(r"\n(?P<asked>[^\n?？]+)[?？]")
_WORDS_ASKED = 8
_TO_ITSELF = re.compile(
    r"\b(?:i|we|my|our|us|let|wait|hmm+|actually|sorry|mistake|oops|recheck|verify|double[- ]check|answer|solution)\b",
    re.IGNORECASE,
)


def final_answer(text: str, pattern: str | None) -> str:
    """What `pattern`'s one group finds in `text`, thoughts aside: the last match, but none in a question that follows.

    All of the text where nothing matches, or without a pattern. After the first match a next question begins at a turn
    of a chat template (`<|im_start|>`), at a line that is called a question ("Question:", "Q:", "### Problem 2",
    "Input:"), or at one that asks something (eight words or more up to the question mark) in which the author does not
    speak of the own work ("Wait, did I …?"). So an author that corrects itself is taken at the last word.
    """
    if pattern is None:
        return text
    said = without_thoughts(text)
    found = matches(pattern, said[: _next_question(said, pattern)])
    return found[-1].strip() if found else said


def ran_on(text: str, pattern: str | None) -> bool:
    """Whether the text goes on with a next question after its final answer (see `final_answer`)."""
    if pattern is None:
        return False
    said = without_thoughts(text)
    start = _next_question(said, pattern)
    return start is not None and _TURN.sub("", said[start:]).strip() != ""


def _next_question(text: str, pattern: str) -> int | None:
    """Where the next question begins after the first match."""
    first = first_match(pattern, text)
    if first is None:
        return None
    starts = [found.start() for form in (_TURN, _LABEL, _HEADING) if (found := form.search(text, first))]
    starts += [found.start() for found in _QUESTION.finditer(text, first) if _is_asked(found["asked"])][:1]
    return min(starts, default=None)


def _is_asked(line: str) -> bool:
    long = len(line.split()) >= _WORDS_ASKED or (not line.isascii() and len(line) >= 2 * _WORDS_ASKED)
    return long and not _TO_ITSELF.search(line)


def stopped(text: str, stop: Sequence[str]) -> str:
    """`text` up to the first of the strings at which generation stops."""
    return text[: min((place for string in stop if (place := text.find(string)) >= 0), default=len(text))]
