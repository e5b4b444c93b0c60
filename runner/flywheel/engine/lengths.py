"""Prompts that do not fit the student, and answers that it is not let write to their end, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from flywheel.errors import Fault
from flywheel.prompting import render, shots_of
from flywheel.records import Row
from flywheel.records.rows import RowFile, read_row_file, target_text
from flywheel.spec.loader import LoadedSpec
from flywheel.student.lengths import context_in, lengths_in
from flywheel.text import plural


def too_long(loaded: LoadedSpec, student: Path) -> list[Fault]:
    """A warning for each file with rows that leave no room for an answer, or whose known answer is longer than any that
    the student may give, at the first of them. Nothing where the student's tokenizer is not in the folder `student`."""
    context = context_in(student)
    if context is None:
        return []
    room = context - loaded.spec.student.max_new_tokens
    shots = shots_of(loaded.spec, loaded.root)
    found: list[Fault] = []
    for task, name in _asked(loaded):
        file = read_row_file(loaded.root / name)
        found += _of_prompts(loaded, student, task, file, shots[task], room)
        found += _of_answers(loaded, student, task, file)
    return found


def _asked(loaded: LoadedSpec) -> Iterator[tuple[str, str]]:
    """Each task with the files about whose rows the student is asked."""
    spec = loaded.spec
    found = [(name, file) for name, task in spec.tasks.items() for file in (task.probes, task.practice)]
    found += [(suite.task, suite.data) for suite in spec.evals.values() if suite.task is not None]
    return ((task, file) for task, file in dict.fromkeys(found) if file is not None)


def _of_prompts(loaded: LoadedSpec, student: Path, task: str, file: RowFile, shots: str, room: int) -> Iterator[Fault]:
    if over := _longer(student, _long_ones(loaded, task, file.rows, shots, room), room):
        place, length = over[0]
        yield Fault(
            f"{plural(len(over), 'row')} of {len(file.rows):,} cannot be asked about: with this one the prompt has "
            f"{length:,} tokens, and {room:,} leave room for an answer of {loaded.spec.student.max_new_tokens:,}.",
            ("tasks", task, "prompt"),
            "They count as unknown. Shorten the rows or the prompt, or take a student with a longer window.",
            file.file,
            file.lines[place],
            warning=True,
        )


def _longer(student: Path, texts: Mapping[int, str], most: int) -> list[tuple[int, int]]:
    """(place, tokens) of the texts that have more than so many."""
    tokens = lengths_in(student, list(texts.values())) if texts else None
    return [(place, length) for place, length in zip(texts, tokens or (), strict=False) if length > most]


def _long_ones(loaded: LoadedSpec, task: str, rows: tuple[Row, ...], shots: str, room: int) -> dict[int, str]:
    """Place → prompt, of the rows that are long enough to doubt: a token is a byte at least, and a prompt that says a
    row twice is rare."""
    prompt, target = loaded.spec.tasks[task].prompt, loaded.spec.tasks[task].target
    fixed = len(shots.encode()) + (loaded.root / prompt).stat().st_size
    found = {}
    for place, row in enumerate(rows):
        inputs = {column: value for column, value in row.items() if column != target}
        if fixed + 2 * len(str(inputs).encode()) > room:
            found[place] = shots + render(loaded.root / prompt, loaded.root, {"row": inputs})
    return found


def _of_answers(loaded: LoadedSpec, student: Path, task: str, file: RowFile) -> Iterator[Fault]:
    most, target = loaded.spec.student.max_new_tokens, loaded.spec.tasks[task].target
    golds = [target_text(row[target]) if row.get(target) is not None else "" for row in file.rows]
    # A token is a byte at least.
    long = {place: gold for place, gold in enumerate(golds) if len(gold.encode()) > most}
    if over := _longer(student, long, most):
        place, length = over[0]
        yield Fault(
            f"{plural(len(over), 'row')} of {len(file.rows):,} cannot be answered in full: the known answer of this "
            f"one has {length:,} tokens, and the student may write {most:,}.",
            ("student", "max_new_tokens"),
            f"Write student.max_new_tokens: {max(length for _, length in over) + 1}, or shorter answers.",
            file.file,
            file.lines[place],
            warning=True,
        )
