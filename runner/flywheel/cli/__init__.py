"""Thin commands: parse, call the engine, show, exit. Each imports what it needs when it runs."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point. A FlywheelError is one message and its exit code; anything else is a bug with a traceback."""
    from flywheel.cli.commands import app
    from flywheel.errors import FlywheelError

    try:
        app(standalone_mode=False)
    except FlywheelError as error:
        print(f"flywheel: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        _usage_or_raise(error)


def _usage_or_raise(error: Exception) -> None:
    import typer
    from click.exceptions import Abort, ClickException

    if isinstance(error, ClickException):
        error.show()
        sys.exit(64)
    if isinstance(error, Abort | typer.Abort):
        sys.exit(130)
    raise error
