"""How answers to a task are read: in which language, as its verifiers tell."""

from __future__ import annotations

from collections.abc import Iterable

from flywheel.answers import Language, extract_answer
from flywheel.records import Row
from flywheel.spec.verifiers import Verifier


def read_answer(text: str, verifiers: Iterable[Verifier], row: Row) -> str:
    """The answer in `text`, as the task's verifiers will find it there. `row`: the input columns."""
    known = list(verifiers)
    columns = [v.named_by for v in known if v.named_by is not None]
    return extract_answer(text, language_of(known), [str(row[column]) for column in columns if row.get(column)])


def language_of(verifiers: Iterable[Verifier]) -> Language:
    """What a task's answers are written in, as the first of its verifiers tells that knows."""
    return next((verifier.language for verifier in verifiers if verifier.language != "text"), "text")
