"""No path of a spec leads out of the project's folder."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from flywheel.files import is_circle

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")

Problem = tuple[str, str]
"""Message and hint."""


def confinement_problem(root: Path, name: str) -> Problem | None:
    """Message and hint where `name` is not a portable path inside `root`."""
    inside = "Name a file inside the project, relative to the spec."
    if not name.strip():
        return "names no file.", inside
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        return "holds a control character.", inside
    if name.startswith(("/", "\\", "~")) or _DRIVE.match(name):
        return "is not relative to the project.", inside
    if "\\" in name:
        return "holds a backslash.", "Separate folders by /."
    parts = PurePosixPath(name).parts
    if ".." in parts:
        return "leads out of its folder (..).", inside
    if any(len(part.encode(errors="replace")) > 255 for part in parts) or len(name) > 1024:
        return "is too long for a file name.", inside
    if reserved := next((part for part in parts if _RESERVED.fullmatch(part)), ""):
        return f'holds "{reserved}", a device on some systems.', "Rename it."
    return _link_problem(root, name)


def _link_problem(root: Path, name: str) -> Problem | None:
    if is_circle(root / name):
        return "is a link that leads nowhere.", "Copy the file into the project."
    inside = (root / name).resolve().is_relative_to(root.resolve())
    return None if inside else ("is a link that leads out of the project.", "Copy the file into the project.")
