"""Every command that messages, reports and pages tell people to type is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from flywheel.cli.commands import app

ROOT = Path(__file__).parents[2]
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
#: Sources, whose messages have them between backticks or as a whole text; pages and templates.
SOURCES = sorted((ROOT / "runner" / "flywheel").rglob("*.py"))
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "runner" / "flywheel").rglob("*.j2"),
     *(ROOT / "runner" / "flywheel" / "templates").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
)  # fmt: skip
WORKFLOWS = sorted((ROOT / "examples").rglob("*.yml"))
TICKED = re.compile(r"(?:`|<code>)(flywheel [^`<\n]+)(?:`|</code>)")
QUOTED = re.compile(rf'"(flywheel (?:{"|".join(COMMANDS)})\b[^"\n]*)"')
LINE = re.compile(r"(?m)(?:^|&& |\$ )(flywheel (?:[a-z]+)\b[^#&|\n]*?)(?= *(?:#|&&|\||$))")


def found() -> Iterator[tuple[str, str]]:
    for path in [*SOURCES, *PAGES, *WORKFLOWS]:
        text = path.read_text(encoding="utf-8")
        said = TICKED.findall(text) + (QUOTED.findall(text) if path.suffix == ".py" else [])
        for block in re.findall(r"```(?:sh|bash|console)?\n(.*?)```", text, re.DOTALL) if path.suffix == ".md" else ():
            said += LINE.findall(block)
        said += LINE.findall("\n".join(scripts_of(text))) if path.suffix == ".yml" else []
        commands = (part.strip() for text in said for part in text.split(" && "))
        # One that goes on in the next line is left out.
        whole = (part for part in commands if part.startswith("flywheel ") and part.count('"') % 2 == 0)
        yield from ((path.relative_to(ROOT).as_posix(), command) for command in whole)


def scripts_of(workflow: str) -> list[str]:
    jobs = yaml.safe_load(workflow)["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def words_of(command: str) -> list[str]:
    """As a person would type it: what stands for something else is filled in, what is left out is left out."""
    filled = (
        re.sub(r"\{\{.*?\}\}|\{(?!at\}|option\})[^{}]*\}", "1", command).replace("{at}", "").replace("{option}", "")
    )
    words = shlex.split(filled.replace("[", "").replace("]", ""))
    said = ["1" if re.fullmatch(r"[A-Z]+…?", word) else word for word in words if word not in ("...", "\\")]
    # Dots after an option stand for what it takes, elsewhere for what may follow.
    return [
        "1" if word == "…" else word
        for before, word in zip(["", *said], said, strict=False)
        if word != "…" or before.startswith("-")
    ]


def refused(command: str) -> str:
    """Why the command line does not take it; empty where it does."""
    name, *rest = words_of(command.partition(" > ")[0])[1:]
    if name.startswith("-"):
        return "" if name in ("--version", "--install-completion", "--show-completion", "--help") else f"no {name}"
    if name not in COMMANDS:
        return f"there is no command {name}"
    # A command is named without what it needs, as in "`flywheel ask`".
    alone = not rest
    try:
        COMMANDS[name].make_context(name, list(rest), resilient_parsing=alone)
    except Exception as error:
        return str(getattr(error, "message", error)) or type(error).__name__
    return ""


def test_every_command_that_is_recommended_is_one() -> None:
    wrong = {(place, command, why) for place, command in found() if (why := refused(command))}

    assert wrong == set()


def test_commands_are_found_in_messages_pages_and_the_report() -> None:
    places = {place for place, _ in found()}

    assert {"README.md", "runner/flywheel/errors.py", "runner/flywheel/console/ending.py"} & places
    assert any(place.endswith(".j2") for place in places)
    assert sum(place.endswith(".yml") for place, _ in found()) == 3
    assert len(list(found())) > 100


@pytest.mark.parametrize(
    "command",
    ["flywheel audti", "flywheel audit --task x", "flywheel diff A", "flywheel report --opne", "flywheel --no"],
)
def test_a_command_that_is_none_would_be_found(command: str) -> None:
    assert refused(command)
