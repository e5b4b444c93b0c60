"""What stands in the repository agrees with itself."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from flywheel.cli.reference import reference
from flywheel.engine.templates import TEMPLATES, copy_template, template_list, template_names
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
    assert "intents     Customers' messages and what they want." in lines[2]


def test_an_unknown_template_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='Did you mean "emails"'):
        copy_template("email", tmp_path)


def test_there_are_four_domains_to_begin_with() -> None:
    assert template_names() == ["arithmetic", "emails", "intents", "shop_sql"]


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
