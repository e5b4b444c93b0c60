"""docs/cli.md, from the commands themselves: `python -m flywheel.cli.reference`."""

from __future__ import annotations

from typing import Any


def reference() -> str:
    """Every command with its arguments and options, as Markdown."""
    import typer

    from flywheel.cli.commands import app

    group: Any = typer.main.get_command(app)
    parts = ["# Commands\n", "Generated from the code by `make docs`; a test keeps it current.\n", _ALL]
    parts += [_command(name, command) for name, command in group.commands.items()]
    return "\n".join([*parts, _EXIT_CODES])


def _command(name: str, command: Any) -> str:
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    table = ["", "| | |", "|---|---|", *rows] if rows else []
    return "\n".join([f"## flywheel {name}\n", (command.help or "").strip(), *table, ""])


def _row(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    names = ", ".join(f"`{name}`" for name in (parameter.opts if is_option else [parameter.name.upper()]))
    return f"| {names} | {parameter.help or ''} |"


_ALL = """`flywheel --version` prints the version. `flywheel --install-completion` teaches your shell (bash, zsh, fish,
PowerShell) to complete commands and options; `--show-completion` prints what it would install.
"""

_EXIT_CODES = """## Exit codes

| code | means |
|---|---|
| 0 | done: something was promoted, there was nothing to do, or `--until` was reached |
| 1 | a node failed, a saved plan is out of date, or a certificate does not hold |
| 2 | `plan --detailed-exitcode`: there is something to do |
| 3 | the run promoted nothing |
| 4 | the spec, or a file that it names, is invalid |
| 5 | a limit of calls, tokens or dollars was reached; apply goes on once it is raised |
| 6 | a promoted iteration waits for `flywheel approve` or `flywheel reject`; apply goes on after it |
| 64 | the command line is wrong |
| 75 | another process holds the store |
| 130 | interrupted; apply goes on where it was |
"""


if __name__ == "__main__":
    print(reference(), end="")
