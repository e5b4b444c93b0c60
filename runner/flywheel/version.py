"""Which flywheel this is."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

#: The distribution's name on a package index; the import name and the command are `flywheel`.
DISTRIBUTION = "flywheel-loop"


@cache
def installed_version() -> str:
    """Of the installed distribution; "0+unknown" where this is a source tree that nobody installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0+unknown"
