"""Checks on the answer as text: exact, label, regex."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from flywheel.answers import extract_answer, without_thoughts
from flywheel.records import Subject
from flywheel.spec.labels import Labels
from flywheel.spec.verifiers import ExactVerifier, LabelVerifier, RegexVerifier
from flywheel.text import did_you_mean, one_line
from flywheel.verifiers.finding import PASS, Check, Finding, VerifierInvalid, fail, read, unknown


def open_exact(spec: ExactVerifier, root: Path, unsafe: bool = False) -> Check:
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


def open_regex(spec: RegexVerifier, root: Path, unsafe: bool = False) -> Check:
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


def open_label(spec: LabelVerifier, root: Path, unsafe: bool = False) -> Check:
    labels = spec.labels_in(root)

    def check(subject: Subject) -> Finding:
        subject = read(subject, "label")
        said = labels.of(subject.answer, spec.many)
        gold = None if subject.reference is None else labels.of(subject.reference, spec.many)
        finding = _unknown_label(said, labels) or _other_labels(said, gold)
        return replace(finding, score=jaccard(said, gold)) if spec.many and gold is not None else finding

    return check


def jaccard(said: frozenset[str], gold: frozenset[str]) -> float:
    """The share of labels in both among those in either (Jaccard 1901); 1 where both are empty."""
    return len(said & gold) / len(said | gold) if said | gold else 1.0


def _unknown_label(said: frozenset[str], labels: Labels) -> Finding | None:
    strange = sorted(said - labels.known)
    if not strange:
        return None
    hint = did_you_mean(strange[0], labels.known, cut=False)  # rows keep it
    return fail(f'unknown label: "{one_line(strange[0], 60)}"' + (f". {hint}" if hint else ""))


def _other_labels(said: frozenset[str], gold: frozenset[str] | None) -> Finding:
    if gold is None:
        return unknown("no reference to compare with")
    if said == gold:
        return PASS
    missing, strange = sorted(gold - said), sorted(said - gold)
    if len(said) == len(gold) == 1:
        return fail(f'other label: "{one_line(strange[0], 60)}" instead of "{one_line(missing[0], 60)}"')
    parts = [("missing", missing), ("too many", strange)]
    return fail("; ".join(f"{what}: {one_line(', '.join(labels), 200)}" for what, labels in parts if labels))
