"""Domains to begin with, shipped in the package."""

from __future__ import annotations

import shutil
from pathlib import Path

from flywheel.errors import UsageError
from flywheel.text import did_you_mean

TEMPLATES = Path(__file__).parent.parent / "templates"


def template_names() -> list[str]:
    return sorted(path.name for path in TEMPLATES.iterdir() if (path / "flywheel.yaml").exists())


def copy_template(name: str, folder: Path) -> list[Path]:
    """Write a template's files into `folder`; gives the paths. Raises UsageError where one is there already."""
    if name not in template_names():
        raise UsageError(f'there is no template "{name}". {did_you_mean(name, template_names())}')
    source = TEMPLATES / name
    files = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    if there := [folder / path for path in files if (folder / path).exists()]:
        raise UsageError(f"{there[0]} exists already; nothing was written. Choose an empty folder.")
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, folder / path)
    return [folder / path for path in files]
