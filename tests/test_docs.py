"""The pages: every one is in the index, no link is dead, and the Python in them runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert "the only model ever deployed" in said


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "site" / "python.html").is_file()
    fetched = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//')
    assert not [page for page in (tmp_path / "site").rglob("*.html") if fetched.search(page.read_text("utf-8"))]
