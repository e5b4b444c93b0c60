"""A model's answers, for the terminal and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flywheel.text import one_line, printable

if TYPE_CHECKING:
    from flywheel.engine.asking import StudentAnswer

_SHOWN = 10_000


def answer_text(answer: StudentAnswer) -> str:
    """What is read as the answer, made safe to show, and under it a line for each verifier that spoke."""
    lines = [printable(answer.answer, _SHOWN)]
    if answer.truncated:
        lines.append("  (cut: student.max_new_tokens)")
    if answer.outcome is not None:
        lines.append(f"  {answer.outcome}")
        lines += [f"    {said.verifier}: {said.outcome} {one_line(said.reason)}".rstrip() for said in answer.verdicts]
    return "\n".join(lines)


def answer_json(answer: StudentAnswer) -> dict[str, Any]:
    return asdict(answer)
