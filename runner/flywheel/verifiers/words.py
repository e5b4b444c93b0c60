"""Checks on the answer as text: exact, label, regex."""

from __future__ import annotations

import re
from pathlib import Path

from flywheel.records import Subject
from flywheel.spec.verifiers import ExactVerifier, LabelVerifier, RegexVerifier
from flywheel.text import did_you_mean, one_line
from flywheel.verifiers.finding import PASS, Check, Finding, VerifierInvalid, fail, unknown


def open_exact(spec: ExactVerifier, root: Path, unsafe: bool = False) -> Check:
    def form(text: str) -> str:
        spaced = " ".join(text.split()) if spec.ignore_space else text
        return spaced.casefold() if spec.ignore_case else spaced

    def check(subject: Subject) -> Finding:
        if form(subject.answer) == form(subject.reference or ""):
            return PASS
        return fail(f'"{one_line(subject.answer, 60)}" instead of "{one_line(subject.reference or "", 60)}"')

    return check


def open_regex(spec: RegexVerifier, root: Path, unsafe: bool = False) -> Check:
    try:
        pattern = re.compile(spec.pattern)
    except re.error as error:
        raise VerifierInvalid(f"the pattern {spec.pattern!r} is not a regular expression: {error}") from error

    def check(subject: Subject) -> Finding:
        if pattern.fullmatch(subject.answer):
            return PASS
        return fail(f"does not match {spec.pattern}")

    return check


def open_label(spec: LabelVerifier, root: Path, unsafe: bool = False) -> Check:
    labels = frozenset(spec.labels_in(root))

    def check(subject: Subject) -> Finding:
        label = subject.answer.strip()
        if label not in labels:
            hint = did_you_mean(label, labels)
            return fail(f'unknown label: "{one_line(label, 60)}"' + (f". {hint}" if hint else ""))
        if subject.reference is None:
            return unknown("no reference to compare with")
        if label != subject.reference.strip():
            return fail(f'other label: "{label}" instead of "{subject.reference.strip()}"')
        return PASS

    return check
