"""From a table to a project that is whole, valid and says what was guessed; or to nothing at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

from flywheel.engine.golds import validated
from flywheel.engine.project import open_project
from flywheel.engine.starting.columns import choose, is_empty, no_answers, safe_name
from flywheel.engine.starting.kinds import AnswerKind, guess_kind
from flywheel.engine.starting.lengths import BUILTIN_BASE, fitted
from flywheel.engine.starting.splitting import Usable, least_fixed, split, usable_rows
from flywheel.engine.starting.tables import SourceTable, read_table
from flywheel.engine.starting.writing import Plans, aligned, asked_text, example_row, project_files, said_of
from flywheel.errors import FlywheelError, SpecInvalid, UsageError, render_fault
from flywheel.files import write_text
from flywheel.records.rows import target_text
from flywheel.text import plural

#: Of a project that would not be valid; they are mostly of one kind.
MOST_FAULTS = 5


@dataclass(frozen=True)
class Wishes:
    """What a person said about a table; what is left open is guessed."""

    target: str | None = None
    inputs: tuple[str, ...] = ()
    group: str | None = None
    kind: str | None = None
    task: str | None = None
    teacher: str | None = None
    setup: Path | None = None
    base: str = BUILTIN_BASE


@dataclass(frozen=True)
class Started:
    """A project that was written."""

    folder: Path
    files: tuple[Path, ...]
    guessed: str
    """A line for each guess, with the flag that changes it."""
    task: str
    example: str
    """A row as `flywheel ask` takes it: `column=text …`."""


def start(
    source: str,
    folder: Path | None,
    wishes: Wishes,
    ask: Callable[[str, Sequence[str]], str] | None = None,
) -> Started:
    """Write the project of a table into `folder` (default: one named after the table). `ask` as in `columns.choose`.

    Raises UsageError or SpecInvalid, with nothing written, where the table, a wish or the folder cannot be used.
    """
    table = read_table(source)
    folder = Path(safe_name(table.stem, "table")) if folder is None else folder
    _refuse_a_project(folder)
    plans = planned(table, wishes, ask)
    texts = project_files(plans)
    if there := [folder / name for name in texts if (folder / name).exists()]:
        raise UsageError(f"{there[0]} exists already; nothing was written. Choose an empty folder.")
    _write(folder, texts)
    shown = " ".join(f'{name}="…"' for name in example_row(plans))
    guessed = aligned(said_of(plans, least_fixed()))
    return Started(folder, tuple(folder / name for name in texts), guessed, plans.task, shown)


def planned(table: SourceTable, wishes: Wishes, ask: Callable[[str, Sequence[str]], str] | None = None) -> Plans:
    """What the project will be. Raises UsageError where the table does not hold one."""
    choice = choose(table, wishes.target, wishes.inputs, wishes.group, ask)
    answers = [value for value in table.values(choice.target) if not is_empty(value)]
    if not answers:
        raise UsageError(no_answers(table, f"{choice.target} is empty everywhere"))
    kind = guess_kind(answers, wishes.kind, wishes.setup)
    usable = usable_rows(table, choice, kind)
    if wishes.teacher is not None and not usable.unanswered:
        raise UsageError("--teacher: every row has its answer, so there is nothing to ask a model. Leave it out.")
    named = [choice.named[column] for column in choice.inputs]
    target = choice.named[choice.target]
    base = str(Path(wishes.base).resolve()) if Path(wishes.base).exists() else wishes.base
    usable, max_new_tokens = _that_fit(usable, kind, target, base)
    parts = split(usable, named, target, kind.strata)
    task = safe_name(wishes.task, "task") if wishes.task is not None else target
    return Plans(table, choice, kind, usable, parts, task, wishes.teacher, base, max_new_tokens)


def _that_fit(usable: Usable, kind: AnswerKind, target: str, base: str) -> tuple[Usable, int]:
    """The rows that the student has room for, and for how long an answer."""
    rows = usable.answered
    prompts = [asked_text(kind, row, target, base) for row in rows]
    fit = fitted(base, prompts, [target_text(row[target]) for row in rows])
    long = fit.fits.count(False)
    said = f"{plural(long, 'row')} too long for the small built-in student (--base FOLDER names a larger one)"
    return replace(
        usable,
        answered=tuple(compress(rows, fit.fits)),
        groups=tuple(compress(usable.groups, fit.fits)) if usable.groups else (),
        said=(*usable.said, said) if long else usable.said,
    ), fit.max_new_tokens


def _refuse_a_project(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file. Name a folder: flywheel init FOLDER --from …")
    if (folder / "flywheel.yaml").exists():
        raise UsageError(f"{folder / 'flywheel.yaml'} exists already; nothing was written. Choose an empty folder.")


def _write(folder: Path, texts: dict[str, str]) -> None:
    """All files, or none: they are written and checked beside the folder and moved into it, the spec last."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".init-", dir=folder))
    moved: list[Path] = []
    try:
        for name, text in texts.items():
            write_text(scratch / name, text)
        _check(scratch)
        for name in sorted(texts, key=lambda name: name == "flywheel.yaml"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(scratch / name, folder / name)
            moved.append(folder / name)
    except BaseException:
        for path in moved:
            path.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _drop_empty_folders(folder, texts, made)


def _drop_empty_folders(folder: Path, texts: dict[str, str], made: bool) -> None:
    """What a failure leaves: folders that were made for files which are not there."""
    for parent in sorted({(folder / name).parent for name in texts}, reverse=True):
        if parent.is_dir() and (parent != folder or made) and not any(parent.iterdir()):
            parent.rmdir()


def _check(scratch: Path) -> None:
    """A spec of ours is valid; queries of the table that do not bind, or a name nobody foresaw, are said."""
    try:
        validated(open_project(scratch / "flywheel.yaml"))
    except SpecInvalid as invalid:
        faults = [replace(fault, file=Path(fault.file).name, path=()) for fault in invalid.faults]
        said = "\n".join(render_fault(fault) for fault in faults[:MOST_FAULTS])
        raise FlywheelError(f"nothing was written, because the project would not be valid:\n{said}") from invalid
