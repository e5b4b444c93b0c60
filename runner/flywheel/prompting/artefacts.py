"""Wrong answers that the way of asking made, and not what the model does not know.

Definitions, of one wrong answer (a verifier failed it; unknown ones are left out). "Read" is what the task's `final`
finds in it, thoughts aside.

- `untold`: the task's answers are declared labels, what was asked names none of them (see `TaskReading.told`), and what
  is read is none of them either.
- `no_label`: they are named, and what is read names none of them all the same: who learns to answer with a label gains
  before knowing any. Not where it has run on.
- `ran_on`: where the right answer is one line, it goes on with a next question after its first (`answers.ran_on`). Not
  where the task has a `final`: then it is judged by its first answer, and what follows makes nothing wrong.
- `inside`: what is read holds the right answer as whole words, and more words beside. Of labels, where it names no
  other label; of a number, where it has no other number: who weighs several has not answered. Only for labels and plain
  text: what reads a formula, a query or a program finds it by itself, and of its parts none is an answer.
- `cut`: it met `student.max_new_tokens` before there was an answer: it has no match of `final` and has not run on.

An answer can be several. One that is right is no artefact, however it was cut. A cause is claimed from
`LEAST_ANSWERS` wrong answers and `LEAST_SHARE` of all wrong ones on: fewer do not make a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from flywheel.answers import Language, extract_answer, final_answer, ran_on, without_thoughts
from flywheel.errors import SpecInvalid
from flywheel.prompting.templates import render
from flywheel.records.rows import read_rows
from flywheel.spec.labels import Labels, folded_words
from flywheel.spec.models import Spec
from flywheel.spec.reading import language_of
from flywheel.text import first_match

Cause = Literal["untold", "no_label", "ran_on", "inside", "cut"]
CAUSES: tuple[Cause, ...] = ("untold", "no_label", "ran_on", "inside", "cut")

LEAST_ANSWERS, LEAST_SHARE = 5, 0.2
#: So many rows of a task's file are looked at to learn whether its prompt names labels.
ROWS_SHOWN = 8
_FIRST_LINE = r"\A\s*\S.*()"


class WrongAnswer(NamedTuple):
    """`cut`: it met the token limit; None where that is not known."""

    answer: str
    gold: str
    cut: bool | None


@dataclass(frozen=True)
class TaskReading:
    """How a task is asked, and how its answers are read."""

    task: str
    prompt: str
    """The prompt's file."""
    language: Language
    final: str | None
    labels: Labels
    """Those that its verifiers declare; none where answers are no labels."""
    many: bool
    """An answer is a set of labels."""
    told: bool
    """Every prompt that was looked at names a label. True where there are no labels to name."""
    max_new_tokens: int

    @property
    def in_words(self) -> bool:
        """Answers are compared as they stand, as labels or text."""
        return self.language in ("label", "text")


def task_reading(spec: Spec, root: Path, name: str) -> TaskReading:
    """Raises SpecInvalid where the prompt cannot be rendered, OSError where a file cannot be read."""
    task = spec.tasks[name]
    verifiers = [spec.verifiers[verifier] for verifier in task.verify]
    declared = (verifier.labels_in(root) for verifier in verifiers)
    labels = next((labels for labels in declared if labels.declared), Labels(()))
    return TaskReading(
        task=name,
        prompt=task.prompt,
        language=language_of(verifiers),
        final=task.final,
        labels=labels,
        many=any(verifier.says_sets for verifier in verifiers),
        told=not labels.declared or _names_labels(spec, root, name, labels),
        max_new_tokens=spec.student.max_new_tokens,
    )


def _names_labels(spec: Spec, root: Path, name: str, labels: Labels) -> bool:
    """Whether what is asked names a label, row by row: system message and prompt, filled in with the first probes or
    else holdout rows. One row's own words may name a label by chance, those of all rows do not. True without rows."""
    task = spec.tasks[name]
    if labels.named_in(spec.student.system or ""):
        return True
    files = [task.probes, *(suite.data for suite in spec.evals.values() if suite.task == name)]
    rows = read_rows(root / next(file for file in files if file))[:ROWS_SHOWN] if any(files) else []
    seen = ({key: value for key, value in row.items() if key != task.target} for row in rows)
    return all(labels.named_in(render(root / task.prompt, root, {"row": row})) for row in seen)


def untold_tasks(spec: Spec, root: Path) -> list[TaskReading]:
    """Tasks whose answers are labels that nothing in their prompt names. One that cannot be rendered is left out: its
    own fault says why."""
    found = []
    for name in spec.tasks:
        try:
            found.append(task_reading(spec, root, name))
        except SpecInvalid:
            continue
    return [reading for reading in found if not reading.told]


# --- counting ---------------------------------------------------------------------------------------------------------


def claims(reading: TaskReading, wrong: Sequence[WrongAnswer], shots: int = 0) -> dict[Cause, int]:
    """Cause → wrong answers that it made, for the causes that are claimed. `shots`: solved examples that were shown,
    which tell the labels."""
    hits = {cause: sum(_CHECKS[cause](reading, one) for one in wrong) for cause in CAUSES}
    hits["untold"] = 0 if shots else hits["untold"]
    return {cause: n for cause, n in hits.items() if n >= LEAST_ANSWERS and n >= LEAST_SHARE * len(wrong)}


def _read(reading: TaskReading, text: str) -> str:
    said = final_answer(without_thoughts(text), reading.final)
    return extract_answer(said, "label") if reading.labels.declared else said


def _untold(reading: TaskReading, wrong: WrongAnswer) -> bool:
    return not reading.told and _says_no_label(reading, wrong)


def _no_label(reading: TaskReading, wrong: WrongAnswer) -> bool:
    if not reading.told or not reading.labels.declared or _ran_on(reading, wrong):
        return False
    return not reading.labels.named_in(_read(reading, wrong.answer)) and _says_no_label(reading, wrong)


def _says_no_label(reading: TaskReading, wrong: WrongAnswer) -> bool:
    return not reading.labels.of(_read(reading, wrong.answer), reading.many) & reading.labels.known


def _ran_on(reading: TaskReading, wrong: WrongAnswer) -> bool:
    if not reading.in_words or reading.final is not None or "\n" not in wrong.answer.strip():
        return False
    return len(wrong.gold.strip().splitlines()) == 1 and ran_on(wrong.answer, _FIRST_LINE)


def _inside(reading: TaskReading, wrong: WrongAnswer) -> bool:
    if not reading.in_words:
        return False
    said = _read(reading, wrong.answer)
    longer = folded_words(said)
    if len(longer) < 2:
        return False
    right = _read(reading, wrong.gold)
    shorter = folded_words(right)
    if len(longer) <= len(shorter) or not shorter:
        return False
    if reading.labels.declared:
        return reading.labels.named_in(said) == reading.labels.of(right, reading.many)
    numbers = [{word for word in words if word[0].isdigit()} for words in (longer, shorter)]
    alone = numbers[0] == numbers[1] or any(word.isalpha() for word in shorter)
    return alone and _holds(longer, shorter)


def _holds(words: list[str], part: list[str]) -> bool:
    return any(words[place : place + len(part)] == part for place in range(len(words) - len(part) + 1))


def _cut(reading: TaskReading, wrong: WrongAnswer) -> bool:
    if not wrong.cut or _ran_on(reading, wrong):
        return False
    return reading.final is None or first_match(reading.final, without_thoughts(wrong.answer)) is None


_CHECKS = {"untold": _untold, "no_label": _no_label, "ran_on": _ran_on, "inside": _inside, "cut": _cut}


# --- in words ---------------------------------------------------------------------------------------------------------


def said_of(reading: TaskReading, cause: Cause, counts: str, who: str = "base") -> str:
    """One sentence: what is known. `counts`: "57 of 60 wrong answers on holdout"; `who`: the base, or the incumbent."""
    if cause == "untold":
        names = f"{reading.prompt} names none of the {len(reading.labels.declared):,}"
        return f"The {who} was never told the labels: {names}, and {counts} are none of them."
    return f"The {who}’s score is partly an artefact: {counts} {_made(reading, cause)}."


def noted(reading: TaskReading, cause: Cause, counts: str) -> str:
    """The same for a line of the terminal, with what to do."""
    made = "are none of the labels, and the prompt names none" if cause == "untold" else _made(reading, cause)
    return f"{counts} {made}: {remedy(reading, cause)}"


def _made(reading: TaskReading, cause: Cause) -> str:
    if cause == "cut":
        return f"were cut at student.max_new_tokens ({reading.max_new_tokens:,})"
    if cause == "no_label":
        return f"are none of the {len(reading.labels.declared):,} labels"
    return "run on into a next question" if cause == "ran_on" else "hold the right answer inside a longer one"


def remedy(reading: TaskReading, cause: Cause) -> str:
    """What to change, as a phrase that an order begins: "name the labels in prompts/x.md"."""
    key = f"tasks.{reading.task}"
    if cause == "untold":
        return f"name the labels in {reading.prompt}"
    if cause == "no_label":
        return "see what it knows beside how to answer: show it solved examples (student.shots)"
    if cause == "cut":
        return f"raise student.max_new_tokens, or set {key}.stop where the answer comes first"
    final = "" if reading.final is not None else f", or say how the final answer is marked ({key}.final)"
    return f"set {key}.stop{final}" if cause == "ran_on" else f"ask for the answer alone in {reading.prompt}{final}"


def enumerated(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
