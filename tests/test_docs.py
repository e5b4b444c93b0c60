"""The pages: every one is in the index, no link is dead, and the Python in them runs."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from flywheel.records import LessonRequest, Subject
from flywheel.spec.teachers import PythonTeacher
from flywheel.teachers.function import function_request
from mini_domain import Domain

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"])


def linked(page: Path) -> set[Path]:
    found = LINK.findall(page.read_text(encoding="utf-8"))
    return {(page.parent / link).resolve() for link in found if "://" not in link}


def test_the_index_names_every_page() -> None:
    pages = {page for page in DOCS.glob("*.md") if page.name != "README.md"} | set((DOCS / "decisions").glob("*.md"))

    assert pages <= linked(DOCS / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_link_to_a_file_is_dead(page: Path) -> None:
    assert [path for path in linked(page) if not path.exists()] == []


def test_the_python_page_runs_from_top_to_bottom(
    applied: Domain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(applied.root)
    names: dict[str, object] = {}

    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)

    said = capsys.readouterr().out
    assert "\nblue " in said
    assert "['fail', 'pass'] ['pass', 'pass']" in said
    assert "no model was in service" in said


def test_a_teachers_request_is_described_key_by_key() -> None:
    request = LessonRequest("t", "lessons", "colour", None, "", 1, (), (), None, (), {}, 0, 7)
    teacher = PythonTeacher(kind="python", function="teachers.py:teach")
    table = re.findall(r"^\| (`.*?) \|", (DOCS / "kinds.md").read_text(encoding="utf-8"), re.MULTILINE)
    described = {key for first in table for key in re.findall(r"`(\w+)`", first)}

    assert set(function_request(teacher, request, {})) <= described


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "site" / "python.html").is_file()
    fetched = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//')
    assert not [page for page in (tmp_path / "site").rglob("*.html") if fetched.search(page.read_text("utf-8"))]


def blocks(page: Path) -> list[str]:
    found = re.findall(r"^( *)```python\n(.*?)^\1```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for _, block in found]


def test_the_kinds_of_the_page_go_round_the_wheel(domain: Domain) -> None:
    page = DOCS / "kinds.md"
    (domain.root / "kinds.py").write_text("\n".join(blocks(page)))
    found = re.search(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    shown = yaml.safe_load(found[1])
    domain.edit(lambda spec: spec["verifiers"].update(shown["verifiers"]))
    domain.edit(lambda spec: spec["tasks"]["colour"].update(verify=["right", "by_noun"]))
    domain.edit(lambda spec: spec.update(teachers=shown["teachers"], generate=shown["generate"]))

    outcome = domain.apply()

    assert outcome.error == ""
    assert domain.query("SELECT count(*) AS n FROM verdicts WHERE verifier = 'by_noun' AND reason = 'it is blue'")[0][
        "n"
    ]
    assert domain.query("SELECT count(*) AS n FROM candidates WHERE strategy = 'kinds.py:Twice'")[0]["n"] >= 16


def test_the_verifier_of_the_contributors_page_judges() -> None:
    keys, code = blocks(ROOT / "CONTRIBUTING.md")
    names: dict[str, Any] = {}
    for module in ("typing", "pathlib", "flywheel.records", "flywheel.spec.verifiers", "flywheel.verifiers.finding"):
        exec(f"from {module} import *", names)
    exec(compile(keys + code, "CONTRIBUTING.md", "exec", dont_inherit=True), names)

    check = names["open_palindrome"](names["PalindromeVerifier"](kind="palindrome"), ROOT, False)

    assert [check(Subject("1", "t", {}, answer)).outcome for answer in ("never odd or even", "odd")] == ["pass", "fail"]
