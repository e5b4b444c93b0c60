"""How answers to a task are read: in which language, as its verifiers tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flywheel.answers import Language, extract_answer
from flywheel.records import Row
from flywheel.spec.models import CodeVerifier, Verifier

#: Kinds of verifiers that know which text is an answer; to all others it is any text.
LANGUAGES: Mapping[str, Language] = {
    "code": "python", "sql": "sql", "json_schema": "json", "math": "math", "label": "label",
}  # fmt: skip


def read_answer(text: str, verifiers: Iterable[Verifier], row: Row) -> str:
    """The answer in `text`, as the task's verifiers will find it there. `row`: the input columns."""
    known = list(verifiers)
    language: Language = next((LANGUAGES[v.kind] for v in known if v.kind in LANGUAGES), "text")
    columns = [v.entry_point for v in known if isinstance(v, CodeVerifier) and v.entry_point is not None]
    return extract_answer(text, language, [str(row[column]) for column in columns if row.get(column)])
