from __future__ import annotations

from pathlib import Path

import pytest
from shop import subject

from flywheel.spec.verifiers import PythonVerifier
from flywheel.verifiers.finding import Finding, VerifierInvalid
from flywheel.verifiers.functions import open_python


def opened(folder: Path, source: str, name: str = "check"):  # type: ignore[no-untyped-def]
    (folder / "checks.py").write_text(source, encoding="utf-8")
    return open_python(PythonVerifier(kind="python", function=f"checks.py:{name}"), folder)


@pytest.mark.parametrize(
    ("returned", "finding"),
    [
        ("True", Finding("pass")),
        ("(False, 'too short')", Finding("fail", "too short")),
        ("1", Finding("unknown", "returned 1; return True, False or (bool, reason)")),
        ("None", Finding("unknown", "returned None; return True, False or (bool, reason)")),
        ("(True,)", Finding("unknown", "returned (True,); return True, False or (bool, reason)")),
        ("subject['answer'] == subject['row']['q'] + str(subject['reference'])", Finding("pass")),
    ],
)
def test_what_a_function_returns(tmp_path: Path, returned: str, finding: Finding) -> None:
    check = opened(tmp_path, f"def check(subject):\n    return {returned}\n")
    assert check(subject("aNone", q="a")) == finding


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def check(:", "checks.py cannot be loaded: checks.py:1: SyntaxError"),
        ("import nowhere_to_be_found", "cannot be loaded: checks.py:1: ModuleNotFoundError"),
        ("def checks(s): ...", 'checks.py has no function or class "check". Did you mean "checks"?'),
    ],
)
def test_functions_that_cannot_be_loaded(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(VerifierInvalid) as caught:
        opened(tmp_path, source)
    assert message in str(caught.value)
