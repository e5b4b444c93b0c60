"""Checks on the answer as text: exact, label, regex."""

from __future__ import annotations

import re
from pathlib import Path

from flywheel.answers import extract_answer, without_thoughts
from flywheel.records import Subject
from flywheel.spec.models import ExactVerifier, LabelVerifier, RegexVerifier
from flywheel.text import did_you_mean, one_line
from flywheel.verifiers.finding import PASS, Check, Finding, VerifierInvalid, fail


def open_exact(spec: ExactVerifier, root: Path) -> Check:
    def form(text: str) -> str:
        spaced = " ".join(text.split()) if spec.ignore_space else text
        return spaced.casefold() if spec.ignore_case else spaced

    def check(subject: Subject) -> Finding:
        answer, gold = subject.answer, subject.reference or ""
        if spec.ignore_space and form(answer) != form(gold):
            answer = _as_written_in(gold, answer)
        if form(answer) == form(gold):
            return PASS
        return fail(f'"{one_line(answer, 60)}" instead of "{one_line(gold, 60)}"')

    return check


def _as_written_in(gold: str, answer: str) -> str:
    """The answer without thoughts and, unless the gold has fences itself, without those."""
    said = without_thoughts(answer)
    return extract_answer(said) if extract_answer(gold) == gold.strip() else said


def open_regex(spec: RegexVerifier, root: Path) -> Check:
    try:
        pattern = re.compile(spec.pattern)
    except re.error as error:
        raise VerifierInvalid(f"the pattern {spec.pattern!r} is not a regular expression: {error}") from error

    def check(subject: Subject) -> Finding:
        said = without_thoughts(subject.answer)
        if pattern.fullmatch(subject.answer) or (said != subject.answer and pattern.fullmatch(said.strip())):
            return PASS
        return fail(f"does not match {spec.pattern}")

    return check


def open_label(spec: LabelVerifier, root: Path) -> Check:
    labels = frozenset(labels_of(spec, root))

    def check(subject: Subject) -> Finding:
        label = subject.answer.strip()
        if label not in labels:
            hint = did_you_mean(label, labels)
            return fail(f'unknown label: "{one_line(label, 60)}"' + (f". {hint}" if hint else ""))
        if subject.reference is not None and label != subject.reference.strip():
            return fail(f'other label: "{label}" instead of "{subject.reference.strip()}"')
        return PASS

    return check


def labels_of(spec: LabelVerifier, root: Path) -> list[str]:
    if isinstance(spec.labels, list):
        return spec.labels
    lines = (root / spec.labels).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]
