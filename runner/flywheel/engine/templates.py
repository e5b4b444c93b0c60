"""Domains to begin with, shipped in the package."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from flywheel.errors import UsageError
from flywheel.files import write_text
from flywheel.spec.schema import SCHEMA_FILE, schema_text
from flywheel.text import did_you_mean

TEMPLATES = Path(__file__).parent.parent / "templates"


def template_names() -> list[str]:
    return sorted(path.name for path in TEMPLATES.iterdir() if (path / "flywheel.yaml").exists())


def template_list() -> str:
    """A line for each template: its name, and what its spec says it is."""
    specs = {name: (TEMPLATES / name / "flywheel.yaml").read_text(encoding="utf-8") for name in template_names()}
    width = max(map(len, specs))
    return "\n".join(f"{name:{width}}  {yaml.safe_load(text)['description']}" for name, text in specs.items())


def copy_template(name: str, folder: Path) -> list[Path]:
    """Write a template's files into `folder`, and the schema beside them; gives the paths. Raises UsageError where one
    is there already."""
    if name not in template_names():
        raise UsageError(f'there is no template "{name}". {did_you_mean(name, template_names())}')
    source = TEMPLATES / name
    files = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    if there := [folder / path for path in (*files, Path(SCHEMA_FILE)) if (folder / path).exists()]:
        raise UsageError(f"{there[0]} exists already; nothing was written. Choose an empty folder.")
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, folder / path)
    write_text(folder / SCHEMA_FILE, schema_text())
    return [folder / path for path in (*files, Path(SCHEMA_FILE))]
