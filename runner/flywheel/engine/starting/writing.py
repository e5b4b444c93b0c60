"""The files of a project: spec, prompts, rows."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.engine.starting.columns import Choice, different, safe_name
from flywheel.engine.starting.kinds import AnswerKind, yaml_of
from flywheel.engine.starting.lengths import BUILTIN_BASE
from flywheel.engine.starting.splitting import DECENT_HOLDOUT, SEED, Split, Usable, least_fixed
from flywheel.engine.starting.tables import SourceTable
from flywheel.records import Row
from flywheel.records.rows import target_text
from flywheel.spec.schema import SCHEMA_FILE, schema_text
from flywheel.text import one_line, plural

#: Lessons of one turn. A table with more is gone through in several.
MOST_LESSONS, MOST_TURNS = 1_000, 3
#: Share of lessons that overlap the holdout from which it is worth a look.
MUCH = 0.1
_SINGULAR = {"lessons": "lesson", "probes": "probe", "seeds": "seed"}
#: Slices by the answer, where there are so few that each has a number to speak of.
MOST_SLICES = 12


@dataclass(frozen=True)
class Plans:
    """All that the files are written from."""

    table: SourceTable
    choice: Choice
    kind: AnswerKind
    usable: Usable
    split: Split
    task: str
    teacher: str | None
    base: str
    max_new_tokens: int

    @property
    def target(self) -> str:
        return self.choice.named[self.choice.target]

    @property
    def inputs(self) -> list[str]:
        return [self.choice.named[column] for column in self.choice.inputs]

    @property
    def files(self) -> dict[str, tuple[Row, ...]]:
        return self.split.files

    @property
    def turns(self) -> int:
        return min(MOST_TURNS, math.ceil(len(self.files["lessons"]) / MOST_LESSONS))


def project_files(plans: Plans) -> dict[str, str]:
    """Path → text, of every file of the project."""
    rows = {f"rows/{name}.jsonl": _json_lines(rows) for name, rows in plans.files.items()}
    texts = {
        "flywheel.yaml": spec_text(plans),
        f"prompts/{plans.task}.md": prompt_text(plans),
        SCHEMA_FILE: schema_text(),
        **plans.kind.files,
        **rows,
    }
    if plans.teacher:
        texts[f"prompts/{plans.task}_teacher.md"] = teacher_prompt(plans)
        texts["rows/unanswered.jsonl"] = _json_lines(plans.usable.unanswered)
    return texts


def _json_lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


# --- prompts ----------------------------------------------------------------------------------------------------------


def prompt_text(plans: Plans) -> str:
    """How the student is asked. The built-in one is small: where there are many labels, it is told a few."""
    kind, first = plans.kind, _jinja_safe(plans.kind.instructions)
    if kind.full and plans.base != BUILTIN_BASE:
        first = _jinja_safe(kind.full)
    elif kind.full:
        remark = "For a student that can read, name all labels in place of the next line:\n" + kind.full
        first = "{# " + remark.replace("#}", "# }") + " #}\n" + first
    return f"{first}\n{_question(plans)}{plans.target}:\n".lstrip("\n")


def asked_text(kind: AnswerKind, row: Row, target: str, base: str) -> str:
    """About what the prompt becomes with a row."""
    first = kind.full if kind.full and base != BUILTIN_BASE else kind.instructions
    return "\n".join([first, *(f"{name}: {target_text(row[name])}" for name in row if name != target), f"{target}:"])


def teacher_prompt(plans: Plans) -> str:
    """How a model is asked for the answer to a row that has none."""
    named = _jinja_safe(plans.kind.full or plans.kind.instructions)
    order = "\n".join(part for part in (plans.kind.asked, named, "Write nothing but the answer.") if part)
    return f"{order}\n\n{_question(plans)}{plans.target}:\n"


def _question(plans: Plans) -> str:
    return "".join(f"{name}: {{{{ row.{name}{_as_json(plans, name)} }}}}\n" for name in plans.inputs)


def _as_json(plans: Plans, name: str) -> str:
    nested = any(isinstance(row[name], dict | list) for rows in plans.files.values() for row in rows)
    return " | tojson" if nested else ""


def _jinja_safe(text: str) -> str:
    """Text that Jinja leaves alone: a label may hold braces."""
    return text if not any(mark in text for mark in ("{{", "{%", "{#")) else text.replace("{", "{{ '{' }}")


# --- the spec ---------------------------------------------------------------------------------------------------------


def spec_text(plans: Plans) -> str:
    """`flywheel.yaml`, with a word for whoever has not seen one."""
    parts = [_head(plans), _student(plans), _task(plans), _taxonomy(plans), _teachers(plans), _verifiers(plans)]
    return "\n".join([*parts, _generate(plans), _evals(plans)])


def _head(plans: Plans) -> str:
    asks = ", ".join(plans.choice.inputs)
    description = f"{plans.choice.target} from {asks}; rows of {plans.table.name}."
    return f"""\
# yaml-language-server: $schema=./{SCHEMA_FILE}
# Written by `flywheel init --from TABLE`; every key is in docs/spec.md. Next: flywheel apply
version: 1
name: {safe_name(plans.table.stem, "table")}
description: {yaml_of(one_line(description, 300))}
seed: {SEED}
"""


def _student(plans: Plans) -> str:
    small = " # learns in minutes, offline; later a folder or a Hugging Face id (docs/howto-real-models.md)"
    return f"""\
student:
  base: {yaml_of(plans.base)}{small if plans.base == BUILTIN_BASE else ""}
  max_new_tokens: {plans.max_new_tokens} # the longest answer fits
"""


def _task(plans: Plans) -> str:
    more = "".join(
        f"    {key}: {yaml_of(value)} # verifiers see the result alone\n" for key, value in plans.kind.task.items()
    )
    return f"""\
tasks:
  {plans.task}:
    description: {yaml_of(plans.kind.asked)}
    prompt: prompts/{plans.task}.md # how the student is asked
    target: {plans.target} # the column with the right answer
{more}    seeds: rows/seeds.jsonl # always among the lessons
    probes: rows/probes.jsonl # where errors are looked for
    verify: {yaml_of(list(plans.kind.verifiers))}
"""


def _taxonomy(plans: Plans) -> str:
    modes = "".join(f"  - {yaml_of(dict(mode))}\n" for mode in plans.kind.modes)
    return f"taxonomy: # the first that holds names a failure; add what you know to go wrong\n{modes}"


def _teachers(plans: Plans) -> str:
    match = ""
    if plans.kind.strata and len(plans.files["lessons"]) > MOST_LESSONS:
        match = f"\n    match: {plans.target} # rows whose answer is one that the student missed"
    model = f"\n  model: {{kind: litellm, model: {yaml_of(plans.teacher)}}}" if plans.teacher else ""
    return f"""\
teachers:
  people:
    kind: dataset
    path: rows/lessons.jsonl{match}{model}
"""


def _verifiers(plans: Plans) -> str:
    lines = "".join(f"  {name}: {yaml_of(dict(keys))}\n" for name, keys in plans.kind.verifiers.items())
    return f"verifiers: # who says whether an answer is right\n{lines}"


def _generate(plans: Plans) -> str:
    lessons = len(plans.files["lessons"])
    accept = math.ceil(lessons / plans.turns) if plans.turns < MOST_TURNS else min(MOST_LESSONS, lessons)
    text = f"""\
generate:
  - name: known
    teachers: [people]
    accept: {accept}{" # all of them" if accept == lessons else " # in each turn"}
    per_call: 50
    cap: 1.0 # all may go to one error mode
"""
    return text + _answered_by_a_model(plans) if plans.teacher else text


def _answered_by_a_model(plans: Plans) -> str:
    rows = len(plans.usable.unanswered)
    return f"""\
  - name: answered # rows without an answer: the model answers each several times, and most must agree
    strategy: trace
    teachers: [model]
    from: data
    data: rows/unanswered.jsonl
    prompt: prompts/{plans.task}_teacher.md
    samples: 3
    too_easy: null # what all samples agree on is kept
    accept: {min(MOST_LESSONS, rows)}
"""


def _evals(plans: Plans) -> str:
    answers = {target_text(row[plans.target]) for row in plans.files["holdout"]}
    slices = f", slices: [{plans.target}]" if plans.kind.strata and len(answers) <= MOST_SLICES else ""
    turns, held = plans.turns, len(plans.files["holdout"])
    return f"""\
evals:
  holdout: {{task: {plans.task}, data: rows/holdout.jsonl{slices}}} # never taught; the gate decides on it

gate: # what must hold before a model is deployed
  - {{suite: holdout, better_by: 0.02}} # and by more than chance: here at least {least_fixed()} of {held:,} rows

loop: {{iterations: {turns}}}{" # one turn uses all lessons; raise it when there are new rows" if turns == 1 else ""}
"""


# --- what was guessed -------------------------------------------------------------------------------------------------


def said_of(plans: Plans, least: int) -> list[tuple[str, str]]:
    """(what, in words), of each guess with the flag that changes it. `least`: see `splitting.least_fixed`."""
    choice, table = plans.choice, plans.table
    renamed = [f"{was} is {now}" for was, now in choice.named.items() if was != now]
    sizes = ", ".join(
        f"{len(rows):,} {_SINGULAR.get(name, name) if len(rows) == 1 else name}" for name, rows in plans.files.items()
    )
    held = len(plans.files["holdout"])
    lines = [
        ("table", f"{table.name}: {len(table.rows):,} rows of {', '.join(table.columns)}"),
        *([("note", table.note)] if table.note else []),
        ("answer", f"{choice.target}: {choice.why_target}{_unless(choice.why_target, '--target')}"),
        ("question", f"{', '.join(choice.inputs)}: {choice.why_inputs}{_unless(choice.why_inputs, '--inputs')}"),
        ("kind", f"{plans.kind.flag}: {plans.kind.why}{_unless(plans.kind.why, '--kind')}"),
        *(("note", _given_when(plans, column)) for column in choice.doubtful if len(choice.inputs) > 1),
        *(("names", text) for text in renamed),
        *(("note", text) for text in plans.kind.notes),
        *(("rows", f"{_of_the_open(plans, text)}") for text in plans.usable.said),
        ("split", f"{sizes}; {_apart(plans)}"),
        ("gate", f"the fewest that are no chance: {least} of the {held:,} holdout rows more right, "
                 f"{100 * least / held:.0f} points{_few(held)}"),
    ]  # fmt: skip
    if shared := plans.split.shared:
        lines.append(("note", _overlap(shared, len(plans.files["lessons"]))))
    return lines


def _given_when(plans: Plans, column: str) -> str:
    """A word on an input that somebody may fill in when the question has been dealt with, such as who did it."""
    others = ",".join(other for other in plans.choice.inputs if other != column)
    return (
        f"{column} has {different(plans.table, column):,} values. If nobody knows it yet when a question comes in, "
        f"leave it out: --inputs {shlex.quote(others)}"
    )


def _overlap(shared: int, lessons: int) -> str:
    """A word on lessons that curation will drop for what they share with the holdout."""
    said = (
        f"{plural(shared, 'lesson')} of {lessons:,} with 13 words in a row that a holdout row has, too: curation drops "
    )
    said += "it" if shared == 1 else "them"
    if shared < MUCH * lessons:
        return said
    return f"{said}. If that is a signature or a form that many rows share, take it out of the table"


def _unless(why: str, flag: str) -> str:
    return "" if flag in why else f" ({flag} says otherwise)"


def _of_the_open(plans: Plans, text: str) -> str:
    if "without an answer" in text and plans.teacher:
        return f"{text}: {plans.teacher} answers them"
    hint = " (--teacher provider/model lets a model answer them)" if "without an answer" in text else ""
    return f"left out: {text}{hint}"


def _apart(plans: Plans) -> str:
    if plans.choice.group:
        return f"rows of one {plans.choice.group}, and rows that are alike, stay together"
    near = f": {plans.split.near:,} are" if plans.split.near else ""
    other = f"--group {shlex.quote(plans.choice.groups[0])}" if plans.choice.groups else "--group COLUMN"
    return f"rows that are alike stay together{near} ({other}: those of one customer, too)"


def _few(held: int) -> str:
    if held >= DECENT_HOLDOUT:
        return ""
    rare = " Hardly any training brings so much: with 400 rows in the table 6 points are enough" if held < 20 else ""
    return f"; more rows would show smaller gains.{rare}" if rare else "; more rows would show smaller gains"


def aligned(lines: Sequence[tuple[str, str]]) -> str:
    """Two columns."""
    return "\n".join(f"{what:9} {text}" for what, text in lines)


def example_row(plans: Plans) -> Mapping[str, Any]:
    """A row of the holdout as `flywheel ask` takes it, without its answer."""
    row = plans.files["holdout"][0]
    return {name: row[name] for name in plans.inputs}
