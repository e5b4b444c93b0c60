"""Proposed modes as a change of the spec: before the fallback, whose failures they are."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path

from flywheel.engine.proposing.proposals import Proposal
from flywheel.errors import UsageError
from flywheel.spec.loader import LoadedSpec


def patch(loaded: LoadedSpec, proposals: Sequence[Proposal]) -> str:
    """A unified diff of the spec, as `patch -p1` takes it in the spec's folder.

    Raises UsageError where the taxonomy is not written as a list of lines, so that a person has to.
    """
    before = loaded.text.splitlines(keepends=True)
    if before and not before[-1].endswith("\n"):
        before[-1] += "\n"
    after = _written(loaded, before, proposals)
    name = Path(loaded.document.source.file).name
    return "".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}"))


def _written(loaded: LoadedSpec, lines: list[str], proposals: Sequence[Proposal]) -> list[str]:
    if "taxonomy" not in loaded.document.tree:
        fallback = loaded.spec.taxonomy[-1]
        rest = f"  - {{name: {fallback.name}, severity: {fallback.severity}}}\n"
        return [*lines, "\n", "taxonomy:\n", *(line for one in proposals for line in _mode(one, "  ")), rest]
    after = list(lines)
    for place, one in sorted(((_before(loaded, one.task), one) for one in reversed(proposals)), key=lambda p: -p[0]):
        indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
        after[place:place] = _mode(one, indent)
    return after


def _before(loaded: LoadedSpec, task: str) -> int:
    """The line, from 0, of the mode that takes what is left of the task's failures, or of its comments."""
    spec = loaded.spec
    index = next(i for i, m in enumerate(spec.taxonomy) if m.when is None and m.task in (None, task))
    line = loaded.places["taxonomy", index][0] - 1
    lines = loaded.text.splitlines()
    if not lines[line].lstrip().startswith("- "):
        raise UsageError(
            f"{loaded.document.source.file}:{line + 1}: this mode is not a line that begins with a dash. Write those "
            "that are proposed before it by hand (`flywheel modes` shows them)."
        )
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
    return line


def _mode(one: Proposal, indent: str) -> list[str]:
    """In JSON's quotes, which YAML reads too."""
    keys = {"severity": one.severity, "task": one.task, "description": one.description, "when": one.when}
    lines = [f"- name: {one.name}", *(f"  {key}: {_scalar(key, value)}" for key, value in keys.items() if value)]
    return [f"{indent}{line}\n" for line in lines]


def _scalar(key: str, value: str) -> str:
    return value if key in ("severity", "task") else json.dumps(value, ensure_ascii=False)
