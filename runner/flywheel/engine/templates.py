"""Domains to begin with, and recipes of the field, shipped in the package."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from flywheel.errors import UsageError
from flywheel.files import write_text
from flywheel.spec.schema import SCHEMA_FILE, schema_text
from flywheel.text import did_you_mean

_PACKAGE = Path(__file__).parent.parent
TEMPLATES = _PACKAGE / "templates"
#: An installed package has them inside, a checkout at its root (pyproject.toml says so to whoever builds).
EXAMPLES = next((path for path in (_PACKAGE / "examples", _PACKAGE.parent.parent / "examples") if path.is_dir()), None)
SCHEMA_LINE = f"# yaml-language-server: $schema=./{SCHEMA_FILE}\n"
#: What a wheel that turned in a checkout has left beside an example's files.
_MADE = {".flywheel", "reports", "deploy", "__pycache__"}


def template_folder(name: str) -> Path:
    """Where a template's files are. Raises UsageError for an unknown one."""
    if name not in (found := _folders()):
        hint = f"{did_you_mean(name, found)} `flywheel init --template list` describes them."
        raise UsageError(f'there is no template "{name}". {hint}')
    return found[name]


def template_names() -> list[str]:
    """Domains to begin with, then recipes."""
    return list(_folders())


def _folders() -> dict[str, Path]:
    return {
        path.name: path
        for root in (TEMPLATES, EXAMPLES)
        for path in (sorted(root.iterdir()) if root else ())
        if (path / "flywheel.yaml").exists()
    }


def template_list() -> str:
    """A line for each template: its name, and what its spec says it is."""
    specs = {name: (folder / "flywheel.yaml").read_text(encoding="utf-8") for name, folder in _folders().items()}
    width = max(map(len, specs))
    return "\n".join(f"{name:{width}}  {yaml.safe_load(text)['description']}" for name, text in specs.items())


def copy_template(name: str, folder: Path) -> list[Path]:
    """Write a template's files into `folder`, and beside them the schema, which the spec's first line then names; gives
    the paths. Raises UsageError for an unknown name, or where one of the files is there already."""
    source = template_folder(name)
    files = _files(source)
    if there := [folder / path for path in (*files, Path(SCHEMA_FILE)) if (folder / path).exists()]:
        raise UsageError(f"{there[0]} exists already; nothing was written. Choose an empty folder.")
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, folder / path)
    spec = (source / "flywheel.yaml").read_text(encoding="utf-8")
    write_text(folder / "flywheel.yaml", SCHEMA_LINE + spec.removeprefix(SCHEMA_LINE))
    write_text(folder / SCHEMA_FILE, schema_text())
    return [folder / path for path in (*files, Path(SCHEMA_FILE))]


def _files(source: Path) -> list[Path]:
    """Relative to `source`."""
    found = (path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file())
    return [path for path in found if not _MADE & set(path.parts)]


def template_steps(name: str) -> str:
    """The commands that begin with it: first the one that makes its rows, where they are not its own."""
    first = ["python prepare.py"] if (template_folder(name) / "prepare.py").exists() else []
    return " && ".join([*first, "flywheel apply"])
