"""Thin commands: parse, call the engine, show, exit. Each imports what it needs when it runs."""

from __future__ import annotations

import sys

EXIT_USAGE, EXIT_INTERRUPTED = 64, 130


def main() -> None:
    """Entry point. A FlywheelError is one message and its exit code; anything else is a bug with a traceback."""
    from typer import Abort

    from flywheel.cli.commands import app
    from flywheel.errors import FlywheelError, SpecInvalid

    try:
        sys.exit(app(standalone_mode=False, prog_name="flywheel"))
    except SpecInvalid as error:  # each fault begins with its place, as editors expect
        from flywheel.console.colour import FAULTS, say

        say(str(error), FAULTS, sys.stderr)
        sys.exit(error.exit_code)
    except FlywheelError as error:
        print(f"flywheel: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, Abort):  # the latter: Ctrl-C or the end of input where a person was asked
        print("flywheel: interrupted; run the same command again to go on.", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        # typer carries its own copy of click; its usage errors are known by what they can do.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message()
        bare = message.startswith("Usage:")  # `flywheel` alone: the help is the message
        print(message if bare else f"flywheel: {message} Try `flywheel --help`.", file=sys.stderr)
        sys.exit(EXIT_USAGE)
