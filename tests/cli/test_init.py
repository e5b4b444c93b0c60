"""`flywheel init` as a person meets it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from flywheel.engine.templates import template_list
from mini_domain import Domain

HEAVY = ("torch", "transformers", "peft", "lm_eval", "litellm", "datasets")


@pytest.fixture
def table(tmp_path: Path) -> Domain:
    """A folder with a table of 60 messages, and no project."""
    rows = [f"message {'abc'[i % 3] * 3} number {i * 37} of {i * i + 1} today,{'xyz'[i % 3]}\n" for i in range(60)]
    (tmp_path / "mail.csv").write_text("text,label\n" + "".join(rows))
    return Domain(tmp_path)


def test_a_table_becomes_a_project_that_is_valid_as_it_stands(table: Domain, flywheel) -> None:
    code, out, error = flywheel(table, "init", "--from", "mail.csv")

    assert (code, error) == (0, "")
    assert "answer    label: by its name (--target says otherwise)\n" in out
    assert out.splitlines()[-1] == 'Now: cd mail && flywheel apply; then: flywheel ask label text="…"'
    assert flywheel(Domain(table.root / "mail"), "validate") == (0, "flywheel.yaml: valid\n", "")
    assert flywheel(Domain(table.root / "mail"), "plan")[0] == 0


def test_a_second_time_nothing_is_written(table: Domain, flywheel) -> None:
    flywheel(table, "init", "here", "--from", "mail.csv")

    code, out, error = flywheel(table, "init", "here", "--from", "mail.csv")

    assert (code, out) == (64, "")
    assert error == "flywheel: here/flywheel.yaml exists already; nothing was written. Choose an empty folder.\n"


def test_who_is_asked_and_says_nothing_has_nothing_written(
    table: Domain, flywheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (table.root / "mail.csv").write_text("a,b\n" + "".join(f"one text {i},another {i * i}\n" for i in range(60)))
    typed = io.StringIO("c\n")
    monkeypatch.setattr(typed, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", typed)

    code, _, error = flywheel(table, "init", "--from", "mail.csv")

    assert code == 130
    assert error.count("Which column holds the right answer? (a, b)") == 2
    assert [path.name for path in table.root.iterdir()] == ["mail.csv"]


def test_flags_say_what_would_be_guessed(table: Domain, flywheel) -> None:
    flags = ["--target", "label", "--inputs", "text", "--kind", "text", "--task", "sort"]

    code, out, _ = flywheel(table, "init", "--from", "mail.csv", *flags)

    assert code == 0
    assert "flywheel ask sort text=" in out
    assert "text: named by --kind" in out
    assert (table.root / "mail" / "prompts" / "sort.md").is_file()


def test_a_flag_of_tables_needs_a_table(table: Domain, flywheel) -> None:
    for flags in (["--target", "label"], ["--from", "mail.csv", "--template", "emails"]):
        code, _, error = flywheel(table, "init", *flags)
        assert (code, error.startswith("flywheel: --template copies a domain")) == (64, True)


def test_the_list_of_templates_describes_them(table: Domain, flywheel) -> None:
    assert flywheel(table, "init", "--template", "list") == (0, template_list() + "\n", "")


def test_to_begin_with_a_table_loads_none_of_the_heavy_packages(table: Domain) -> None:
    script = (
        "import sys\nfrom flywheel.cli import main\nsys.argv = ['flywheel', 'init', '--from', 'mail.csv']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", script], cwd=table.root, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "loaded: []"
