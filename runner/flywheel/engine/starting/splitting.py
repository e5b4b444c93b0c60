"""Rows that can be used, and their split into files of which none knows a row of the holdout.

What curation takes for one question stays on one side: copies, near-duplicates (also through a third row), and rows of
one group. Of classes each file holds its share.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from flywheel.engine.starting.columns import Choice, is_empty
from flywheel.engine.starting.kinds import AnswerKind, answer_key
from flywheel.engine.starting.tables import SourceTable
from flywheel.errors import UsageError
from flywheel.hashing import seed_from
from flywheel.records import Row
from flywheel.records.rows import target_text
from flywheel.spec.models import Curate
from flywheel.stats import alpha_at, mcnemar_p
from flywheel.store.similarity import alike, contaminated
from flywheel.text import normalised, plural

SEED = 7
#: More rows than this are a sample: no more are needed, and all are compared with each other.
MOST_ROWS = 20_000
HOLDOUT, PROBES, SEEDS = 0.25, 0.1, 0.05
#: Rows at most, but for the lessons.
MOST = {"holdout": 500, "probes": 400, "seeds": 100}
#: So many rows of the holdout are wanted even where they are a third of all.
DECENT_HOLDOUT = 60
ALPHA = 0.05


@dataclass(frozen=True)
class Usable:
    """The rows of a project, by the columns' new names, and what is said about the others."""

    answered: tuple[Row, ...]
    unanswered: tuple[Row, ...]
    groups: tuple[str, ...]
    """Of each answered row; empty without a group column."""
    said: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """File → rows."""

    files: dict[str, tuple[Row, ...]]
    near: int
    """Rows that are near another one."""
    shared: int
    """Lessons that curation will leave out for a run of words that a holdout row has, too."""


def least_fixed() -> int:
    """So many more rows right, and none lost, are the fewest that the gate's first look does not take for chance."""
    return next(fixed for fixed in range(1, 100) if mcnemar_p(fixed, 0) <= alpha_at(1, ALPHA))


# --- usable rows ------------------------------------------------------------------------------------------------------


def usable_rows(table: SourceTable, choice: Choice, kind: AnswerKind) -> Usable:
    """Rows with a question, each once; of contradicting answers none can be known to be right."""
    asked = [(line, row) for line, row in zip(table.lines, table.rows, strict=True) if _asks(row, choice)]
    said = [f"{plural(len(table.rows) - len(asked), 'row')} without a question"] if len(asked) < len(table.rows) else []
    if len(asked) > MOST_ROWS:
        said.append(f"{plural(len(asked) - MOST_ROWS, 'row')} beyond a sample of {MOST_ROWS:,}")
        asked = [asked[i] for i in sorted(random.Random(SEED).sample(range(len(asked)), MOST_ROWS))]
    known = [(line, row) for line, row in asked if not is_empty(row[choice.target])]
    once, problems = _once(known, choice, kind)
    open_rows = [row for _, row in asked if is_empty(row[choice.target])]
    taken = {_question(row, choice) for _, row in known}
    unanswered = {key: row for row in open_rows if (key := _question(row, choice)) not in taken}
    said += [f"{plural(len(open_rows), 'row')} without an answer"] if open_rows else []
    return Usable(
        answered=tuple(_renamed(row, choice, kind) for row in once),
        unanswered=tuple(_renamed(row, choice, None) for row in unanswered.values()),
        groups=tuple(target_text(row[choice.group]) for row in once) if choice.group else (),
        said=(*said, *problems),
    )


def _asks(row: Row, choice: Choice) -> bool:
    return not all(is_empty(row[column]) for column in choice.inputs)


def _question(row: Row, choice: Choice) -> tuple[str, ...]:
    return tuple(normalised(_shown(row[column])) for column in choice.inputs)


def _shown(value: object) -> str:
    return "" if value is None else target_text(value)


def _once(known: Sequence[tuple[int, Row]], choice: Choice, kind: AnswerKind) -> tuple[list[Row], list[str]]:
    """The first row of each question, and what is wrong with the rest."""
    by_question: dict[tuple[str, ...], list[tuple[int, Row]]] = defaultdict(list)
    for line, row in known:
        by_question[_question(row, choice)].append((line, row))
    kept, repeats, torn = [], 0, []
    for same in by_question.values():
        if len({answer_key(kind.clean(row[choice.target])) for _, row in same}) > 1:
            torn.append([line for line, _ in same])
        else:
            kept.append(same[0][1])
            repeats += len(same) - 1
    said = [f"{plural(repeats, 'row')} that repeat another one"] if repeats else []
    if torn:
        places = "; ".join(" and ".join(map(str, lines[:2])) for lines in torn[:3])
        said.append(f"{plural(sum(map(len, torn)), 'row')} that contradict each other (lines {places})")
    return kept, said


def _renamed(row: Row, choice: Choice, kind: AnswerKind | None) -> Row:
    """Text for what is empty: a prompt would show None."""
    found = {choice.named[column]: "" if row[column] is None else row[column] for column in choice.inputs}
    return found if kind is None else {**found, choice.named[choice.target]: kind.clean(row[choice.target])}


# --- the split --------------------------------------------------------------------------------------------------------


def split(usable: Usable, inputs: Sequence[str], target: str, strata: bool) -> Split:
    """Raises UsageError where the holdout could not let even a model through that gets everything right."""
    rows = usable.answered
    sizes = _sizes(len(rows))
    bundles, near = _bundles(rows, inputs, usable.groups)
    sides = _dealt(bundles, [answer_key(row[target]) if strata else "" for row in rows], sizes)
    files = {name: tuple(row for row, side in zip(rows, sides, strict=True) if side == name) for name in sizes}
    if len(files["holdout"]) < least_fixed() or not files["lessons"] or not files["probes"]:
        raise UsageError(_too_few(len(rows), len(bundles)))
    return Split(files, near, _shared(files, inputs, target))


def _sizes(rows: int) -> dict[str, int]:
    wanted = {"holdout": max(round(HOLDOUT * rows), min(DECENT_HOLDOUT, rows // 3))}
    wanted |= {"probes": max(1, round(PROBES * rows)), "seeds": max(1, round(SEEDS * rows))}
    sizes = {name: min(size, MOST[name]) for name, size in wanted.items()}
    return {"lessons": rows - sum(sizes.values()), **sizes}


def _too_few(rows: int, bundles: int) -> str:
    apart = f", of which {plural(bundles, 'bundle')} can stand on different sides" if bundles < rows else ""
    return (
        f"{plural(rows, 'row')} with question and answer{apart}: too few. The gate needs {least_fixed()} rows "
        "put aside to tell even a perfect model from chance, and lessons beside them: 20 rows at the least, 400 to see "
        "a gain of 6 points."
    )


def _bundles(rows: Sequence[Row], inputs: Sequence[str], groups: Sequence[str]) -> tuple[list[list[int]], int]:
    """Indices that stay together, in the order of their first; and how many are near another one."""
    head = list(range(len(rows)))

    def find(index: int) -> int:
        while head[index] != index:
            head[index] = head[head[index]]
            index = head[index]
        return index

    texts = [_text_of(row, inputs) for row in rows]
    near = set()
    # Whatever they answer: two rows that ask the same are one question.
    for later, earlier, _ in alike(texts, Curate().dedup.near or 0.9, [""] * len(texts)):
        head[find(later)] = find(earlier)
        near |= {later, earlier}
    first: dict[str, int] = {}
    for index, group in enumerate(groups):
        head[find(index)] = find(first.setdefault(group, index))
    found: dict[int, list[int]] = defaultdict(list)
    for index in range(len(rows)):
        found[find(index)].append(index)
    return sorted(found.values()), len(near)


def _text_of(row: Row, inputs: Sequence[str]) -> str:
    return "\n".join(target_text(row[column]) for column in inputs)


def _dealt(bundles: Sequence[Sequence[int]], classes: Sequence[str], sizes: dict[str, int]) -> list[str]:
    """The file of each row. Class by class a bundle goes to the file that is furthest below its share by then, so that
    each holds each class in proportion; the first of a class is a lesson, so that none is asked that was not taught."""
    rng = random.Random(seed_from(SEED, "split"))
    by_class: dict[str, list[Sequence[int]]] = defaultdict(list)
    for bundle in rng.sample(list(bundles), len(bundles)):
        by_class[classes[bundle[0]]].append(bundle)
    sides = [""] * len(classes)
    dealt: Counter[str] = Counter()
    for name in sorted(by_class):
        for place, bundle in enumerate(sorted(by_class[name], key=len, reverse=True)):
            seen = (sum(dealt.values()) + len(bundle)) / len(classes)
            behind = {file: size * seen - dealt[file] for file, size in sizes.items()}
            side = "lessons" if place == 0 and len(by_class) > 1 else max(behind, key=behind.__getitem__)
            dealt[side] += len(bundle)
            for index in bundle:
                sides[index] = side
    return sides


def _shared(files: dict[str, tuple[Row, ...]], inputs: Sequence[str], target: str) -> int:
    lessons = [(_text_of(row, inputs), _text_of(row, [*inputs, target])) for row in files["lessons"]]
    held = [
        ("holdout", str(place), _text_of(row, inputs), _text_of(row, [*inputs, target]))
        for place, row in enumerate(files["holdout"])
    ]
    return len(contaminated(lessons, held, Curate().decontaminate.ngram))
