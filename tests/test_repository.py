"""What stands in the repository agrees with itself."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from flywheel.cli.reference import reference
from flywheel.engine.templates import (
    EXAMPLES,
    TEMPLATES,
    copy_template,
    template_list,
    template_names,
    template_steps,
)
from flywheel.errors import UsageError

ROOT = Path(__file__).parent.parent


def test_the_root_is_what_init_writes() -> None:
    template = TEMPLATES / "shop_sql"
    files = [path.relative_to(template) for path in template.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert Path("flywheel.yaml") in files
    for path in files:
        assert (ROOT / path).read_bytes() == (template / path).read_bytes(), path


def test_the_command_reference_is_current() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == reference()


def test_init_writes_a_template_and_refuses_to_overwrite(tmp_path: Path) -> None:
    written = copy_template("shop_sql", tmp_path / "mine")
    assert tmp_path / "mine" / "flywheel.yaml" in written
    with pytest.raises(UsageError, match="exists already; nothing was written"):
        copy_template("shop_sql", tmp_path / "mine")


@pytest.mark.parametrize("name", template_names())
def test_the_first_line_of_a_new_spec_names_a_schema_that_is_there(name: str, tmp_path: Path) -> None:
    copy_template(name, tmp_path)
    first = (tmp_path / "flywheel.yaml").read_text().splitlines()[0]

    schema = tmp_path / first.removeprefix("# yaml-language-server: $schema=")

    assert schema.read_bytes() == (ROOT / "schemas" / "flywheel.schema.json").read_bytes()


def test_the_list_of_templates_says_what_each_is() -> None:
    lines = template_list().splitlines()

    assert [line.split()[0] for line in lines] == template_names()
    assert lines[2].split(maxsplit=1)[1].startswith("Customers' messages and what they want.")


def test_an_unknown_template_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='Did you mean "emails"'):
        copy_template("email", tmp_path)


def test_there_are_four_domains_to_begin_with_and_then_every_example() -> None:
    examples = sorted(path.parent.name for path in (ROOT / "examples").glob("*/flywheel.yaml"))

    assert template_names() == ["arithmetic", "emails", "intents", "shop_sql", *examples]


def test_an_example_is_begun_with_as_it_stands_but_for_the_line_that_names_its_schema(tmp_path: Path) -> None:
    copy_template("star", tmp_path)

    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT / "examples" / "star", capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {
        *tracked, "schemas/flywheel.schema.json",
    }  # fmt: skip
    for name in tracked:
        written, committed = (tmp_path / name).read_text(), (ROOT / "examples" / "star" / name).read_text()
        assert written.partition("\n")[2] == committed if name == "flywheel.yaml" else written == committed


def test_what_a_wheel_left_in_an_example_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = tmp_path / "examples" / "mine"
    for name in (".flywheel/a", "reports/iter-001/b", "deploy/c", "__pycache__/d", "rows/e", "flywheel.yaml"):
        (example / name).parent.mkdir(parents=True, exist_ok=True)
        (example / name).write_text("version: 1\n")
    monkeypatch.setattr("flywheel.engine.templates.EXAMPLES", example.parent)

    written = copy_template("mine", tmp_path / "new")

    assert [str(path.relative_to(tmp_path / "new")) for path in written] == [
        "flywheel.yaml", "rows/e", "schemas/flywheel.schema.json",
    ]  # fmt: skip


def test_an_installed_package_has_the_examples_where_init_looks() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert EXAMPLES == ROOT / "examples"
    assert "examples" in wheel["only-include"]
    assert wheel["sources"] == {
        "runner": "",
        "examples": (TEMPLATES.parent / "examples").relative_to(ROOT / "runner").as_posix(),
    }


def test_an_example_whose_rows_are_made_first_says_so() -> None:
    assert template_steps("banking77") == "python prepare.py && flywheel apply"
    assert template_steps("star") == "flywheel apply"


def test_no_tracked_file_names_a_place_of_one_machine() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    private = re.compile(r"/(?:root|work)/(?:main|shared)|/home/\w+/")
    found = []
    for name in filter(None, tracked):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".txt", ".json", ".jsonl", ".sql"} and path.is_file():
            found += [f"{name}: {m.group()}" for m in private.finditer(path.read_text(encoding="utf-8"))]
    assert found == []


def test_the_dockerfile_runs_the_two_commands_of_the_readme() -> None:
    block = re.search(r"## Two commands\n\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block
    commands = [line.partition("#")[0].strip() for line in block[1].splitlines()]
    lines = (ROOT / "Dockerfile").read_text().splitlines()

    assert [f"RUN {commands[0]}", f"CMD {json.dumps(commands[1].split())}"] == lines[-2:]
