"""Which column is the answer, which are shown to the student, and what they are called in the project."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.engine.starting.tables import SourceTable
from flywheel.errors import UsageError
from flywheel.records.rows import target_text
from flywheel.text import did_you_mean, listing

#: Names that say that a column is the answer, the surest first; without accents.
_ANSWER_NAMES = """
target label labels gold category class intent answer expected sql query completion response output solution topic
sentiment result reference
etikett kategorie klasse absicht antwort losung thema stimmung ergebnis
etiquette categorie classe intention reponse resultat
etiqueta categoria clase intencion intencao respuesta resposta resultado sentimiento
etichetta risposta risultato kategoria odpowiedz antwoord resultaat
"""
ANSWER_NAMES = tuple(_ANSWER_NAMES.split())
#: Last words of a longer name that say so, too, such as `ticket_category`.
ANSWER_ENDINGS = frozenset({"label", "labels", "category", "class", "intent", "kategorie", "klasse", "categorie"})
#: More different values than this, or longer ones, are no labels.
MOST_LABELS, LONGEST_LABEL = 200, 100
#: Labels of which most stand in fewer rows than this are none that anybody chose from a list.
ROWS_A_LABEL = 3
#: A column of an identifier is named so.
_ID = re.compile(r"(?i)(?:^|[_ -])(?:id|uuid|guid|index|idx|no|row)$|(?:nr|nummer)\.?$|^unnamed")
_TIME = r"\d{1,2}:\d{2}\S*(?: ?[AP]M)?"
_DATE = re.compile(
    rf"\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}(?:[T ]{_TIME})?|\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}}(?:,? {_TIME})?"
)
DATES = "dates"
#: Names that mean something else where they would stand: methods of a row in a prompt, a teacher's `match: mode`.
_TAKEN = frozenset(name for name in dir(dict) if not name.startswith("_")) | {"mode"}


@dataclass(frozen=True)
class Choice:
    """The columns of a project, as the table calls them."""

    target: str
    inputs: tuple[str, ...]
    group: str | None
    why_target: str
    why_inputs: str
    named: dict[str, str]
    """Column of the table → its name in the project."""
    doubtful: tuple[str, ...] = ()
    """Inputs that were guessed, and whose few values somebody may give only after the question is there."""
    groups: tuple[str, ...] = ()
    """Identifiers that recur, such as a customer's."""


def is_empty(value: Any) -> bool:
    """No value: null, or nothing but blanks."""
    return value is None or (isinstance(value, str) and not value.strip())


def choose(
    table: SourceTable,
    target: str | None,
    inputs: Sequence[str],
    group: str | None,
    ask: Callable[[str, Sequence[str]], str] | None = None,
) -> Choice:
    """What is given is taken, the rest is guessed from names and values. `ask` puts a question with choices to a
    person, where there is one. Raises UsageError where a column is not there or the target cannot be guessed."""
    for flag, columns in (("--target", [target]), ("--inputs", inputs), ("--group", [group])):
        _known(table, flag, [column for column in columns if column is not None])
    why = "named by --target"
    if target is None:
        target, why = _guessed_target(table, inputs, group, ask)
    if target in inputs:
        raise UsageError(f'"{target}" is the answer (--target) and cannot be shown to the student (--inputs).')
    chosen, why_inputs = (tuple(inputs), "named by --inputs") if inputs else _guessed_inputs(table, target, group)
    named = _names([target, *chosen, *([group] if group else [])])
    doubtful = () if inputs else tuple(column for column in chosen if _may_be_an_answer(table, column))
    groups = tuple(column for column in table.columns if _ID.search(column) and _recurs_at_all(table.values(column)))
    return Choice(target, chosen, group, why, why_inputs, named, doubtful, groups)


def _known(table: SourceTable, flag: str, columns: Iterable[str]) -> None:
    for column in columns:
        if column not in table.columns:
            raise UsageError(f'{flag}: {table.name} has no column "{column}". {did_you_mean(column, table.columns)}')


# --- the target -------------------------------------------------------------------------------------------------------


def _guessed_target(
    table: SourceTable, inputs: Sequence[str], group: str | None, ask: Callable[[str, Sequence[str]], str] | None
) -> tuple[str, str]:
    free = [c for c in table.columns if c not in (*inputs, group) and not all(map(is_empty, table.values(c)))]
    by_name = sorted((c for c in free if _folded(c) in ANSWER_NAMES), key=lambda c: ANSWER_NAMES.index(_folded(c)))
    by_ending = [c for c in free if _folded(c).split("_")[-1] in ANSWER_ENDINGS]
    if len(free) > 1 and (by_name or len(by_ending) == 1):
        return (by_name or by_ending)[0], "by its name"
    likely = [c for c in free if _may_be_an_answer(table, c)]
    if len(free) > 1 and len(likely) == 1:
        return likely[0], "the one column whose values recur, or are objects"
    if ask is not None and len(free) > 1:
        return ask("Which column holds the right answer?", free), "said by you"
    if len(free) < 2 and not inputs:
        raise UsageError(no_answers(table, "it has one column with values"))
    if not likely:
        raise UsageError(no_answers(table, "no column is named like one, or has values that recur", free))
    named = " or ".join(f"{column} ({different(table, column):,} values)" for column in likely)
    others = ", ".join(column for column in free if column not in likely)
    raise UsageError(
        f"{table.name}: which column holds the right answer cannot be guessed. Name it with --target: {named}"
        f"{f', or another one ({others})' if others else ''}"
    )


def _folded(column: str) -> str:
    """Lower case, without accents, and with one underscore where signs and blanks were."""
    return safe_name(column).casefold()


def _may_be_an_answer(table: SourceTable, column: str) -> bool:
    """Its values are objects, or labels that most stand in several rows; and they are no identifiers or dates."""
    values = table.values(column)
    if _ID.search(column) or _are_dates(values):
        return False
    counts = Counter(target_text(value) for value in values if not is_empty(value))
    rare = sum(count < ROWS_A_LABEL for count in counts.values())
    return _holds_objects(values) or (recurs(values) and 2 * rare <= len(counts))


def different(table: SourceTable, column: str) -> int:
    """How many values a column has."""
    return len({target_text(value) for value in table.values(column) if not is_empty(value)})


def _are_dates(values: Sequence[Any]) -> bool:
    texts = [value.strip() for value in values if isinstance(value, str) and not is_empty(value)]
    return len(texts) > 2 and all(map(_DATE.fullmatch, texts))


def _recurs_at_all(values: Sequence[Any]) -> bool:
    filled = [target_text(value) for value in values if not is_empty(value)]
    return 1 < len(set(filled)) < len(filled)


def no_answers(table: SourceTable, why: str, columns: Sequence[str] = ()) -> str:
    """What to do with rows that nobody has answered. `columns`: those of which one may hold answers all the same."""
    name_one = f" If one of its columns holds them, name it: --target with one of {listing(columns)}" if columns else ""
    return (
        f"{table.name} has no right answers ({why}), and without some nothing says what better is. Add a column, "
        "such as label, with the right answer to 100 rows or more, and name it: --target label. The other rows may "
        "stay without: with --teacher provider/model a model answers them several times, and where it agrees with "
        f"itself that is a lesson.{name_one}"
    )


def _holds_objects(values: Sequence[Any]) -> bool:
    return all(isinstance(value, dict) for value in values if not is_empty(value))


def recurs(values: Sequence[Any]) -> bool:
    """Few and short values, most of which stand in several rows: labels."""
    texts = [" ".join(target_text(value).split()).casefold() for value in values if not is_empty(value)]
    if not texts or max(map(len, texts)) > LONGEST_LABEL:
        return False
    counts = Counter(texts)
    several = sum(count for count in counts.values() if count > 1)
    return 1 < len(counts) <= min(MOST_LABELS, max(2, len(texts) // 3)) and several >= 0.8 * len(texts)


# --- the inputs -------------------------------------------------------------------------------------------------------


def _guessed_inputs(table: SourceTable, target: str, group: str | None) -> tuple[tuple[str, ...], str]:
    """All columns that tell a question, with why the others do not."""
    reasons: dict[str, list[str]] = {}
    for column in table.columns:
        if column != target:
            reason = "the group" if column == group else _needless(table, column, target)
            reasons.setdefault(reason, []).append(column)
    if DATES in reasons and "" not in reasons:  # of which then the question is
        reasons[""] = reasons.pop(DATES)
    kept = reasons.get("", [])
    left_out = "; ".join(f"{', '.join(columns)}: {reason}" for reason, columns in reasons.items() if reason)
    if not kept:
        raise UsageError(f"{table.name}: no column is left to ask with ({left_out}). Name some: --inputs A,B.")
    return tuple(kept), f"left out: {left_out}" if left_out else "all others"


def _needless(table: SourceTable, column: str, target: str) -> str:
    values = [target_text(value) for value in table.values(column) if not is_empty(value)]
    if not values:
        return "empty"
    if len(set(values)) == 1 and len(values) > 1:
        return "one value"
    if _ID.search(column) and (len(set(values)) == len(values) or not any(" " in value for value in values)):
        return "an identifier"
    if _counts_up(values):
        return "a number of the row"
    if _are_dates(table.values(column)):
        return DATES
    return "it gives the answer away" if _gives_away(table, column, target) else ""


def _counts_up(values: Sequence[str]) -> bool:
    numbers = [int(value) for value in values if value.isascii() and value.isdigit()]
    return len(numbers) == len(values) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _gives_away(table: SourceTable, column: str, target: str) -> bool:
    """It is the target by another name: each of its recurring values stands beside one answer, and the other way
    round."""
    pairs = {
        (target_text(row[column]).strip(), target_text(row[target]).strip())
        for row in table.rows
        if not is_empty(row[column]) and not is_empty(row[target])
    }
    sides = [{pair[side] for pair in pairs} for side in (0, 1)]
    several = recurs(table.values(target)) or all(one == other for one, other in pairs)
    return several and 1 < len(pairs) == len(sides[0]) == len(sides[1])


# --- names ------------------------------------------------------------------------------------------------------------


def _names(columns: Sequence[str]) -> dict[str, str]:
    """Names that stand in a prompt, a predicate and the spec; two never differ in letter case only."""
    found: dict[str, str] = {}
    for column in columns:
        name, number = safe_name(column), 2
        while name.casefold() in {other.casefold() for other in found.values()}:
            name, number = f"{safe_name(column)}_{number}", number + 1
        found[column] = name
    return found


def safe_name(text: str, otherwise: str = "column") -> str:
    """ASCII letters, digits and underscores, beginning with a letter; `otherwise` where nothing is left of it."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"\W+", "_", plain).strip("_")[:60]
    name = name if name[:1].isalpha() else f"{otherwise}_{name}".rstrip("_")
    return f"{name}_" if name in _TAKEN else name
