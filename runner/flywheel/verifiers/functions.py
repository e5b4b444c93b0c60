"""The python check: a function in the project says whether an answer is right."""

from __future__ import annotations

from pathlib import Path

from flywheel.answers import without_thoughts
from flywheel.project_code import CodeInvalid, load
from flywheel.records import Subject
from flywheel.spec.verifiers import PythonVerifier
from flywheel.verifiers.finding import Check, Finding, VerifierInvalid, said_by


def open_python(spec: PythonVerifier, root: Path, unsafe: bool = False) -> Check:
    try:
        function = load(spec.function, root)
    except CodeInvalid as error:
        raise VerifierInvalid(str(error)) from error

    def check(subject: Subject) -> Finding:
        answer = without_thoughts(subject.answer)
        return said_by(function({"row": subject.row, "answer": answer, "reference": subject.reference}))

    return check
