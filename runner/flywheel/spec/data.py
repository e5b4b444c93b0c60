"""What the spec's files hold: rows with the needed columns, probes apart from holdouts, sound prompts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.answers import final_answer
from flywheel.errors import Fault, Path_, SpecInvalid
from flywheel.records import Row
from flywheel.records.rows import RowFile, few, read_row_file, shown, target_text
from flywheel.spec.canaries import canary_of, canary_problem
from flywheel.spec.document import Document
from flywheel.spec.models import Task
from flywheel.spec.outline import Outline, hidden_columns, judged_columns
from flywheel.spec.verifiers import Verifier, pattern_faults
from flywheel.text import did_you_mean, normalised, one_line, plural

if TYPE_CHECKING:
    from jinja2 import nodes

TEACHER_VARIABLES = (
    "task", "mode", "mode_description", "n", "failures", "seeds", "lessons", "style", "item", "direction", "row",
    "answer", "reference", "tests", "output",
)  # fmt: skip
"""What a generator's prompts see; a task's prompt sees only `row`."""
RUBRIC_VARIABLES = ("task", "row", "answer", "reference")
"""What a judge's rubric sees."""
MAX_OVERLAPS = 3
"""Overlapping rows shown for a pair of files; the rest is counted."""
CASE_LABELS = {"golden": "expect", "calibration": "label"}
"""Files of cases that a verifier may have, and the column in which each says what a person said: pass or fail."""


def data_faults(document: Document, root: Path, outline: Outline, good: dict[Path_, Path]) -> list[Fault]:
    """Faults of the contents of the files in `good` (place in the spec → path)."""
    prompts, faults = _read_prompts(outline, good)
    uses = [use for use in _uses(outline, prompts) if use.place in good]
    files: dict[Path_, RowFile] = {}
    for use in uses:
        faults += _read(document, use, good[use.place], files)
    columns = _columns_by_task(uses, files)
    for use in uses:
        if use.place in files:
            faults += _own_columns(document, use, files[use.place])
            faults += few(_row_faults(use, files[use.place], columns))
            faults += few(_gold_faults(outline, use, files[use.place], good))
            faults += few(_unjudged(root, outline, use, files[use.place]))
    for place, prompt in prompts.items():
        faults += _prompt_faults(outline, place, prompt, columns)
    faults += _overlaps(outline, uses, files)
    faults += _asked_twice(uses, files)
    faults += _few_shots(outline, uses, files)
    faults += _cases(document, outline, good, prompts, columns)
    faults += _canaries(document, outline, good, prompts)
    return faults


# --- prompts ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompt:
    """What a Jinja file reads."""

    file: str
    columns: dict[str, int] | None
    """Columns of `row` with their first line; None where the whole row is used."""
    unknown: dict[str, int]
    """Variables other than `row`, with their line."""


Prompts = dict[Path_, Prompt]


def _read_prompts(outline: Outline, good: dict[Path_, Path]) -> tuple[dict[Path_, Prompt], list[Fault]]:
    prompts: dict[Path_, Prompt] = {}
    faults: list[Fault] = []
    task_prompts: list[Path_] = [("tasks", name, "prompt") for name in outline.tasks]
    rubrics: list[Path_] = [("verifiers", name, "rubric") for name in outline.verifiers]
    generators: list[Path_] = [("generate", i, key) for i, g in outline.generate.items() for key in g.prompts]
    for place in [*task_prompts, *generators, *rubrics]:
        if place in good:
            try:
                prompts[place] = read_prompt(good[place], _what_task_is(outline, place))
            except SpecInvalid as invalid:
                faults += [replace(fault, path=place) for fault in invalid.faults]
    return prompts, faults


def _what_task_is(outline: Outline, place: Path_) -> dict[str, str | None]:
    """What is known, before anything is asked, of the variable `task` that a generator's prompt sees."""
    name = _task_of_prompt(outline, place) if place[0] == "generate" else ""
    task = outline.tasks.get(name)
    return {} if task is None else {"name": name, "description": task.description, "target": task.target}


def read_prompt(path: Path, task: Mapping[str, str | None] | None = None) -> Prompt:
    """Parses a Jinja file without rendering it; `task`: known values of that variable, which decide branches. Raises
    `SpecInvalid` at its file and line."""
    import jinja2

    text = _read_text(path)
    try:
        return _prompt(path, jinja2.Environment().parse(text), task or {})
    except jinja2.TemplateSyntaxError as error:
        lines = text.splitlines()
        source = one_line(lines[error.lineno - 1]) if error.lineno <= len(lines) else ""
        message = f"not Jinja: {one_line(error.message or '').rstrip('.')}."
        raise SpecInvalid([Fault(message, file=shown(path), line=error.lineno, source=source)]) from None
    except RecursionError:
        raise SpecInvalid([Fault("not Jinja: nested too deep.", file=shown(path))]) from None


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecInvalid([Fault("not UTF-8 text.", file=shown(path), hint="Save it as UTF-8.")]) from None
    except OSError as error:
        raise SpecInvalid([Fault(f"cannot be read: {error.strerror}.", file=shown(path))]) from None


def _prompt(path: Path, tree: nodes.Template, task: Mapping[str, str | None]) -> Prompt:
    from jinja2 import meta, nodes

    for include in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        message, hint = "a prompt cannot read other files.", "Write the text out here."
        raise SpecInvalid([Fault(message, file=shown(path), line=include.lineno, hint=hint)])
    unknown = meta.find_undeclared_variables(tree) - {"row", "range"}
    lines = {name.name: name.lineno for name in tree.find_all(nodes.Name) if name.name in unknown}
    return Prompt(shown(path), _row_columns(tree, task), lines)


def _row_columns(tree: nodes.Template, task: Mapping[str, str | None]) -> dict[str, int] | None:
    from jinja2 import nodes

    from flywheel.spec.branches import reached

    columns: dict[str, int] = {}
    found = list(reached(tree, task))
    uses = sum(1 for name in found if isinstance(name, nodes.Name) and name.name == "row")
    for node in found:
        inner = getattr(node, "node", None)
        if not isinstance(node, nodes.Getattr | nodes.Getitem) or not _is_row(inner):
            continue
        column = getattr(node, "attr", None) or getattr(getattr(node, "arg", None), "value", None)
        if not isinstance(column, str) or column in _DICT_METHODS:
            return None
        columns.setdefault(column, node.lineno)
        uses -= 1
    return columns if uses == 0 else None


def _is_row(node: object) -> bool:
    from jinja2 import nodes

    return isinstance(node, nodes.Name) and node.name == "row"


_DICT_METHODS = frozenset(name for name in dir(dict) if not name.startswith("_"))


def _prompt_faults(outline: Outline, place: Path_, prompt: Prompt, columns: dict[str, set[str]]) -> Iterator[Fault]:
    """Variables that could never be rendered."""
    if place[0] == "verifiers":
        yield from _rubric_faults(place, prompt)
    name = _task_of_prompt(outline, place)
    task = outline.tasks.get(name)
    if task is None:
        return
    known = columns.get(name, set())
    if place[0] == "tasks" and prompt.columns is None and (hidden := _hidden(outline, task)):
        message = f'the prompt reads all of row, and with it "{hidden[0]}", which the student must not see.'
        yield Fault(message, place, "Name the columns: row.question.", prompt.file, 1)
    for variable, line in prompt.unknown.items():
        if place[0] == "tasks" or variable not in TEACHER_VARIABLES:
            yield Fault(
                f'unknown variable "{variable}".', place, _variable_hint(place, variable, known), prompt.file, line
            )
    for column, line in (prompt.columns or {}).items():
        if column == task.target:
            message = f'row.{column} is the answer: the prompt sees the row without "{column}".'
            yield Fault(message, place, "Remove it.", prompt.file, line)
        elif known and column not in known:
            hint = did_you_mean(column, known - {task.target})
            yield Fault(f'no row has the column "{column}".', place, hint, prompt.file, line)


def _rubric_faults(place: Path_, prompt: Prompt) -> Iterator[Fault]:
    for variable, line in prompt.unknown.items():
        if variable not in RUBRIC_VARIABLES:
            hint = did_you_mean(variable, RUBRIC_VARIABLES)
            yield Fault(f'unknown variable "{variable}".', place, hint, prompt.file, line)


def _variable_hint(place: Path_, variable: str, columns: set[str]) -> str:
    if variable in columns:
        return f"Did you mean row.{variable}?"
    return "A task's prompt sees only row." if place[0] == "tasks" else did_you_mean(variable, TEACHER_VARIABLES)


def _task_of_prompt(outline: Outline, place: Path_) -> str:
    if place[0] == "tasks":
        return str(place[1])
    return outline.task_of(outline.generate[int(place[1])].task) or "" if place[0] == "generate" else ""


# --- rows ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """A data file in one of its places: which columns its rows must have."""

    place: Path_
    noun: str
    task: str
    """Empty where the file serves several tasks."""
    target: str | None
    columns: tuple[str, ...]
    """What the task's prompt reads."""
    judged: tuple[str, ...]
    """What its verifiers read beside."""
    own: dict[Path_, str]
    """Columns that the spec names for this file, by the place that names them."""


def _uses(outline: Outline, prompts: dict[Path_, Prompt]) -> Iterator[Use]:
    for name, task in outline.tasks.items():
        columns, judged = _input_columns(name, task, prompts), _judged(outline, task)
        yield Use(("tasks", name, "probes"), "probe", name, task.target, columns, judged, {})
        yield Use(("tasks", name, "seeds"), "seed", name, task.target, columns, judged, {})
        known = task.target if _compares(outline, task) else None
        yield Use(("tasks", name, "practice"), "practice", name, known, columns, judged, {})
    for index, generator in outline.generate.items():
        of = outline.tasks.get(outline.task_of(generator.task) or "")
        if of is not None and generator.data is not None:
            # The target may be missing: some strategies vote for it, or write the question to an answer.
            named = outline.task_of(generator.task) or ""
            columns = () if generator.writes_the_question else _input_columns(named, of, prompts)
            yield Use(("generate", index, "data"), "lesson", named, None, columns, (), {})
    for name, suite in outline.evals.items():
        of = outline.tasks.get(suite.task or "")
        if of is not None and suite.task is not None:
            columns = _input_columns(suite.task, of, prompts)
            own: dict[Path_, str] = {("evals", name, "slices", i): c for i, c in enumerate(suite.slices)}
            yield Use(("evals", name, "data"), "holdout", suite.task, of.target, columns, _judged(outline, of), own)
    for name, teacher in outline.teachers.items():
        if teacher.recorded:
            yield _teacher_use(outline, name, teacher.matched_column, prompts)


def _teacher_use(outline: Outline, name: str, matched: str | None, prompts: dict[Path_, Prompt]) -> Use:
    """A teacher's rows need what the task needs, where all its generators are of one task."""
    own: dict[Path_, str] = {} if matched is None else {("teachers", name, "match"): matched}
    place: Path_ = ("teachers", name, "path")
    used = {outline.task_of(g.task) for g in outline.generate.values() if name in g.weights}
    only = used.pop() if len(used) == 1 else None
    task = outline.tasks.get(only or "")
    if only is None or task is None:
        return Use(place, "lesson", "", None, (), (), own)
    return Use(place, "lesson", only, task.target, _input_columns(only, task, prompts), _judged(outline, task), own)


def _judged(outline: Outline, task: Task) -> tuple[str, ...]:
    return tuple(judged_columns(outline.verifiers[name] for name in task.verify if name in outline.verifiers))


def _compares(outline: Outline, task: Task) -> bool:
    """Whether an answer cannot be judged without the right one."""
    named = (outline.verifiers[name] for name in task.verify if name in outline.verifiers)
    return any(verifier.needs_reference and not verifier.sees_form for verifier in named)


def _hidden(outline: Outline, task: Task) -> list[str]:
    return hidden_columns(outline.verifiers[name] for name in task.verify if name in outline.verifiers)


def _input_columns(name: str, task: Task, prompts: dict[Path_, Prompt]) -> tuple[str, ...]:
    prompt = prompts.get(("tasks", name, "prompt"))
    columns = prompt.columns if prompt is not None else None
    return tuple(column for column in columns or () if column != task.target)


def _read(document: Document, use: Use, path: Path, files: dict[Path_, RowFile]) -> list[Fault]:
    try:
        file = read_row_file(path)
    except SpecInvalid as invalid:
        return [replace(fault, path=use.place) for fault in invalid.faults]
    if not file.rows:
        return [document.fault(use.place, f"{file.file} is empty: no {use.noun} rows.", "Add rows to it.")]
    files[use.place] = file
    return [document.warning(use.place, f"{file.file}: {file.note}")] if file.note else []


def _columns_by_task(uses: list[Use], files: dict[Path_, RowFile]) -> dict[str, set[str]]:
    """Task → every column that any of its rows has."""
    found: dict[str, set[str]] = {}
    for use in uses:
        if use.place in files:
            columns = found.setdefault(use.task, set())
            columns.update(*(row.keys() for row in files[use.place].rows))
    return found


def _own_columns(document: Document, use: Use, file: RowFile) -> Iterator[Fault]:
    present = {column for row in file.rows for column in row}
    for place, column in use.own.items():
        if column not in present:
            message = f'no row of {file.file} has the column "{column}".'
            yield document.fault(place, message, did_you_mean(column, present))


def _row_faults(use: Use, file: RowFile, columns: dict[str, set[str]]) -> Iterator[Fault]:
    """Columns that a row lacks. (Of one that no row of the task has, the prompt's fault speaks.)"""
    known = columns.get(use.task, set())
    needed = [] if use.target is None else [use.target]
    needed += [column for column in use.columns if column in known] + list(use.judged)
    everywhere = [c for c in needed if len(file.rows) > 1 and not any(c in row for row in file.rows)]
    for column in everywhere:
        present = {name for row in file.rows for name in row}
        message = f'none of its {len(file.rows):,} rows has the column "{column}".'
        hint = did_you_mean(column, present) + (_ask_people(file, column) if column == use.target else "")
        yield Fault(message, use.place, hint, file.file, file.lines[0])
    for line, row in zip(file.lines, file.rows, strict=True):
        yield from _lacking(use.place, file.file, line, row, [c for c in needed if c not in everywhere])


def _ask_people(file: RowFile, target: str) -> str:
    words = shlex.join(["flywheel", "review", "--rows", file.file, "--target", target])
    return f" Where nobody knows it yet, people say it: `{words}`."


def _gold_faults(outline: Outline, use: Use, file: RowFile, good: Mapping[Path_, Path]) -> Iterator[Fault]:
    """Right answers that no answer can match, as the task's verifiers say."""
    task = outline.tasks.get(use.task)
    if task is None or use.target is None or not _finds_one(task.final):
        return
    known = [
        (line, row[use.target])
        for line, row in zip(file.lines, file.rows, strict=True)
        if row.get(use.target) is not None
    ]
    golds = [final_answer(target_text(gold), task.final) for _, gold in known]
    for name in task.verify:
        verifier = outline.verifiers.get(name)
        if verifier is None:
            continue
        place: Path_ = ("verifiers", name)
        readable = {key: good[*place, key] for key in verifier.files if (*place, key) in good}
        for index, message, hint in verifier.gold_faults(golds, readable):
            yield Fault(f"{message} of verifiers.{name}.", use.place, hint, file.file, known[index][0])


def _finds_one(final: str | None) -> bool:
    """Whether it can be looked for; what else it is, its own fault says."""
    return final is None or (not any(pattern_faults((), final)) and re.compile(final).groups == 1)


def _unjudged(root: Path, outline: Outline, use: Use, file: RowFile) -> Iterator[Fault]:
    """Rows that the task's verifiers could not judge, each said once."""
    task = outline.tasks.get(use.task)
    named = [outline.verifiers[name] for name in task.verify if name in outline.verifiers] if task else []
    problems = (problem for verifier in named for problem in verifier.row_faults_in(root, file.rows))
    for index, message, hint in dict.fromkeys(problems):
        yield Fault(message, use.place, hint, file.file, file.lines[index])


def _lacking(place: Path_, file: str, line: int, row: Row, needed: Iterable[str]) -> Iterator[Fault]:
    for column in needed:
        if row.get(column) is None:
            what = "has null in" if column in row else "lacks"
            hint = did_you_mean(column, row) if column not in row else "Give it a value."
            yield Fault(f'the row {what} the column "{column}".', place, hint, file, line)


# --- cases that people judged -------------------------------------------------------------------------------


def case_problem(row: Row, tasks: Mapping[str, Task], label: str) -> tuple[str, str] | None:
    """What is wrong with a case, and how to mend it; None where it can be read.

    A case is a task's columns, `answer`, and pass or fail in the column `label`; where there are several `tasks` (those
    that the verifier judges), the column `task` names one.
    """
    if (task := case_task(row, tasks)) not in tasks:
        message = f'column "task" names no task that this verifier judges: "{one_line(task, 80)}".'
        return message, did_you_mean(task, tasks)
    if row.get("answer") is None:
        return 'missing column "answer".', "Write the answer that is judged."
    if label not in row:
        return f'missing column "{label}".', "Write pass or fail."
    if row[label] not in ("pass", "fail"):
        return f'column "{label}" is {one_line(repr(row[label]), 80)}.', "Write pass or fail."
    return None


def case_task(row: Row, tasks: Mapping[str, Task]) -> str:
    """Whose case the row is: the only task's, or the one that it names."""
    return next(iter(tasks)) if len(tasks) == 1 else str(row.get("task"))


def gold_column(target: str, label: str) -> str:
    """Where a case has its right answer: in the target's column, unless that has the name of a column of its own."""
    return "reference" if target in ("answer", label) else target


def _cases(
    document: Document,
    outline: Outline,
    good: dict[Path_, Path],
    prompts: dict[Path_, Prompt],
    columns: dict[str, set[str]],
) -> Iterator[Fault]:
    """Faults of `golden` and `calibration` files, which are read late: after probes were asked and lessons paid."""
    for name, verifier in outline.verifiers.items():
        tasks = {task: spec for task, spec in outline.tasks.items() if name in spec.verify}
        for key, label in CASE_LABELS.items():
            place: Path_ = ("verifiers", name, key)
            if place not in good or not tasks or not outline.whole("tasks"):
                continue
            files: dict[Path_, RowFile] = {}
            yield from _read(document, Use(place, "case", "", None, (), (), {}), good[place], files)
            needed = {task: _case_columns(task, tasks[task], verifier, label, prompts, columns) for task in tasks}
            for file in files.values():
                yield from few(_case_faults(place, file, tasks, label, needed))


def _case_columns(
    name: str,
    task: Task,
    verifier: Verifier,
    label: str,
    prompts: dict[Path_, Prompt],
    columns: dict[str, set[str]],
) -> list[str]:
    """What the prompt shows, what the verifier reads, and the right answer where it would say nothing without."""
    own = {"answer", label}
    needed = [column for column in _input_columns(name, task, prompts) if column in columns.get(name, ())]
    needed += judged_columns([verifier])
    if verifier.needs_reference and not verifier.sees_form:
        needed.append(gold_column(task.target, label))
    return [column for column in needed if column not in own]


def _case_faults(
    place: Path_, file: RowFile, tasks: Mapping[str, Task], label: str, needed: Mapping[str, list[str]]
) -> Iterator[Fault]:
    for line, row in zip(file.lines, file.rows, strict=True):
        if problem := case_problem(row, tasks, label):
            yield Fault(problem[0], place, problem[1], file.file, line)
        else:
            yield from _lacking(place, file.file, line, row, needed[case_task(row, tasks)])


def _canaries(document: Document, outline: Outline, good: dict[Path_, Path], prompts: Prompts) -> Iterator[Fault]:
    """Faults of `train.canaries`, which are read after the lessons are learned."""
    place: Path_ = ("train", "canaries")
    if place not in good or not outline.whole("tasks"):
        return
    files: dict[Path_, RowFile] = {}
    yield from _read(document, Use(place, "canary", "", None, (), (), {}), good[place], files)
    for file in files.values():
        yield from few(_canary_faults(place, file, outline, prompts))


def _canary_faults(place: Path_, file: RowFile, outline: Outline, prompts: Prompts) -> Iterator[Fault]:
    for line, row in zip(file.lines, file.rows, strict=True):
        if problem := canary_problem(row, outline.tasks):
            yield Fault(problem[0], place, problem[1], file.file, line)
            continue
        canary = canary_of(row, line, outline.tasks)
        needed = _input_columns(canary.task, outline.tasks[canary.task], prompts)
        yield from _lacking(place, file.file, line, canary.row, needed)


def _few_shots(outline: Outline, uses: list[Use], files: dict[Path_, RowFile]) -> Iterator[Fault]:
    """Tasks with fewer seeds than `student.shots`."""
    wanted = outline.student.shots
    for use in uses:
        if use.noun == "seed" and use.place in files and (found := len(files[use.place].rows)) < wanted:
            message = f"has {plural(found, 'seed')}, and student.shots wants {wanted}."
            yield Fault(message, use.place, "Add seeds, or lower student.shots.", files[use.place].file)


# --- probes and holdouts ------------------------------------------------------------------------------------

Identity = tuple[str, ...]


def _overlaps(outline: Outline, uses: list[Use], files: dict[Path_, RowFile]) -> Iterator[Fault]:
    """Rows of the probes, seeds or practice that are in a suite: what is practised would be what is measured."""
    read = [use for use in uses if use.place in files and use.noun in ("probe", "seed", "practice", "holdout")]
    known = {use.place: list(_identities(use, files[use.place])) for use in read}
    for held in (use for use in read if use.noun == "holdout"):
        index = {identity: line for line, found in reversed(known[held.place]) for identity in found}
        for use in read:
            if use.noun != "holdout" and use.task == held.task:
                yield from _shared(use, held, files, known[use.place], index)


def _identities(use: Use, file: RowFile) -> Iterator[tuple[int, list[Identity]]]:
    for line, row in zip(file.lines, file.rows, strict=True):
        yield line, _identity(use, row)


def _identity(use: Use, row: Row) -> list[Identity]:
    """The forms in which a row can be another's: the same input; the same words of input and the same answer.

    Words alone are not enough: "3 + 4" and "3 - 4" have the same. The input is what the prompt shows, else
    every column but the target.
    """
    texts = _question(use, row)
    if texts is None:
        return []
    words = [normalised(text) for text in texts]
    answer = target_text(row.get(use.target or ""))
    return [("=", *texts), ("~", *words, answer)] if any(words) else [("=", *texts)]


def _question(use: Use, row: Row) -> tuple[str, ...] | None:
    """What the prompt shows of a row, else every column but the target; None where one of them is missing."""
    names = use.columns or sorted(column for column in row if column != use.target)
    return tuple(target_text(row[column]) for column in names) if all(column in row for column in names) else None


def _asked_twice(uses: list[Use], files: dict[Path_, RowFile]) -> Iterator[Fault]:
    """Rows that stand in a suite's file again, and those that ask what another one asks, with another right answer."""
    for use in uses:
        if use.noun != "holdout" or use.place not in files:
            continue
        file, first = files[use.place], dict[tuple[str, ...], int]()
        again, torn = list[tuple[int, int]](), list[tuple[int, int]]()
        for place, row in enumerate(file.rows):
            asked = _question(use, row)
            before = first.setdefault(asked, place) if asked else place
            if before == place:
                continue
            if row == file.rows[before]:
                again.append((place, before))
            elif row.get(use.target or "") != file.rows[before].get(use.target or ""):
                torn.append((place, before))
        for found, what, hint in (
            (again, "stands twice", "It counts once."),
            (torn, "has two right answers", "One of them is wrong: mend it."),
        ):
            if found:
                place, before = found[0]
                rows = f"{plural(len(found), 'row')} of {len(file.rows):,}"
                message = f"a question {what}: {rows}, of which this one asks what line {file.lines[before]} asks."
                yield Fault(message, use.place, hint, file.file, file.lines[place], warning=True)


def _shared(
    use: Use,
    held: Use,
    files: dict[Path_, RowFile],
    rows: list[tuple[int, list[Identity]]],
    index: dict[Identity, int],
) -> Iterator[Fault]:
    matches = ((line, next((index[i] for i in found if i in index), None)) for line, found in rows)
    shared = [(line, match) for line, match in matches if match is not None]
    file, other = files[use.place].file, files[held.place].file
    suite = str(held.place[1])
    for line, match in shared[:MAX_OVERLAPS]:
        message = f'the row is also in {other}:{match}, of the suite "{suite}".'
        yield Fault(message, use.place, "Keep it in one of the two.", file, line)
    if len(shared) > MAX_OVERLAPS:
        rest = plural(len(shared) - MAX_OVERLAPS, "more row")
        message = f'and {rest} that are also in {other}, of the suite "{suite}".'
        yield Fault(message, use.place, file=file, line=shared[MAX_OVERLAPS][0])
