"""What kind of answer a column holds, and what a project for it needs: verifiers, error modes, prompt, files."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from flywheel.answers import extract_answer
from flywheel.engine.starting.columns import MOST_LABELS, recurs, safe_name
from flywheel.errors import UsageError
from flywheel.hashing import canonical
from flywheel.records.rows import target_text
from flywheel.text import did_you_mean, one_line, plural

Mapped = dict[str, Any]

#: A prompt names labels up to so many characters: the built-in student reads 512 tokens.
MOST_CHARACTERS_OF_LABELS = 600
#: Fewer different numbers than this, each in several rows, are grades rather than results.
GRADES, ROWS_A_GRADE = 10, 5
#: How alike a label and a more frequent one are where one may be the other, misspelled.
ALIKE, TIMES_AS_FREQUENT = 0.85, 5
#: Fields of an object that get an error mode of their own.
MOST_FIELDS = 8

_NUMBER = re.compile(r"[-+−]?[$€£]?\s?(?:\d[\d.,' ’]*|\.\d+)\s?[%$€£]?")
_COMMA_NUMBER = re.compile(r"[-+−]?[$€£]?\s?\d+,\d{1,2}\D*|.*\d\.\d{3},\d+.*")
_MARKED = re.compile(r".*####\s*\S[^\n]*\s*", re.DOTALL)
_QUERY = re.compile(r"\s*(?:select|with)\s.*\bfrom\b|\s*select\s", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class AnswerKind:
    """How answers of a kind are asked for and judged."""

    flag: str
    """What `--kind` calls it."""
    why: str
    """What of the values it was guessed from."""
    asked: str
    """What the student is to do, as an order."""
    verifiers: Mapping[str, Mapped]
    modes: Sequence[Mapped]
    """The last one takes what is left."""
    task: Mapped = field(default_factory=dict)
    """Further keys of the task."""
    instructions: str = ""
    """First line of the student's prompt."""
    full: str = ""
    """Instead of `instructions` where those are shortened: for whoever can read more than the built-in student."""
    files: Mapping[str, str] = field(default_factory=dict)
    clean: Callable[[Any], Any] = target_text
    """An answer of the table as the project's rows have it."""
    notes: Sequence[str] = ()
    """What was changed, and what to know."""
    strata: bool = False
    """The answers are classes: the split holds each in proportion."""


def guess_kind(answers: Sequence[Any], wanted: str | None, setup: Path | None) -> AnswerKind:
    """The kind of the `answers` (none empty). `wanted`: the kind that the person named; `setup`: a script that makes
    the database of queries. Raises UsageError where the answers are not of that kind, or a query has no database."""
    if wanted is None:
        kind = next(kind for kind, (holds, _) in KINDS.items() if holds(answers))
    elif wanted in KINDS:
        kind = wanted
    else:
        raise UsageError(f'--kind: there is no kind "{wanted}". {did_you_mean(wanted, KINDS)}')
    if setup is not None and kind != "sql":
        raise UsageError(f"--setup is for queries, and the answers are {kind}. Add --kind sql, or leave it out.")
    found = KINDS[kind][1](answers, setup)
    return found if wanted is None else replace(found, why="named by --kind")


# --- labels -----------------------------------------------------------------------------------------------------------


def _are_labels(answers: Sequence[Any]) -> bool:
    if all(isinstance(answer, list) for answer in answers):
        return _are_lists(answers)
    if any(isinstance(answer, dict | list) for answer in answers):
        return False
    if all(map(_is_number, answers)) and not all(isinstance(answer, bool) for answer in answers):
        different = set(map(_label, answers))
        whole = all(re.fullmatch(r"[-+]?\d+", answer) for answer in different)
        return whole and 1 < len(different) <= min(GRADES, len(answers) // ROWS_A_GRADE)
    return recurs(answers)


def _are_lists(answers: Sequence[list[Any]]) -> bool:
    members = [member for answer in answers for member in answer]
    plain = all(isinstance(member, str | int | bool) for member in members)
    return plain and len(set(map(_label, members))) <= min(MOST_LABELS, max(2, len(answers) // 3)) and bool(members)


def _labels(answers: Sequence[Any], setup: Path | None) -> AnswerKind:
    many = all(isinstance(answer, list) for answer in answers)
    members = [member for answer in answers for member in (answer if many else [answer])]
    spelled = _spellings(members)
    labels = sorted(set(spelled.values()))
    if len(labels) < 2:
        raise UsageError("--target: all answers are the same, so there is nothing to learn. Name another column.")
    named = f"{'some' if many else 'one'} of: {', '.join(labels)}"
    short = len(named) <= MOST_CHARACTERS_OF_LABELS
    shortened = f"{'some' if many else 'one'} of {len(labels)} labels, such as {_few(labels)}"
    kind = "sets of" if many else "one of"
    verifier = {"kind": "label", "labels": "labels.txt", **({"many": True} if many else {})}
    modes = [
        {"name": "not_a_label", "severity": "critical", "when": "reason.right LIKE 'unknown label%'",
         "description": "The answer is none of the labels."},
        {"name": "confused", "description": "One label in the place of another."},
    ]  # fmt: skip
    return AnswerKind(
        flag="labels",
        why=f"{kind} {len(labels)} values in {plural(len(answers), 'row')}",
        asked="Say which labels fit, with commas between them." if many else "Answer with one of the labels.",
        verifiers={"right": verifier},
        modes=modes,
        instructions=named if short else shortened,
        full="" if short else named,
        files={"labels.txt": "".join(f"{label}\n" for label in labels)},
        clean=lambda answer: [spelled[_label(m)] for m in answer] if many else spelled[_label(answer)],
        notes=_label_notes(members, spelled),
        strata=not many,
    )


def _label(value: Any) -> str:
    """One line, as an answer is read: without blanks, back-ticks and the like around it."""
    return " ".join(extract_answer(target_text(value), "label").split())


def _few(labels: Sequence[str]) -> str:
    return ", ".join(label for label in labels[:: max(1, len(labels) // 5)][:5])


def _spellings(members: Sequence[Any]) -> dict[str, str]:
    """Each spelling → the most frequent one of those that differ in letter case alone."""
    counts = Counter(map(_label, members))
    alike: dict[str, list[str]] = defaultdict(list)
    for label in counts:
        alike[label.casefold()].append(label)
    best = {key: max(labels, key=lambda label: counts[label]) for key, labels in alike.items()}
    return {label: best[label.casefold()] for label in counts}


def _label_notes(members: Sequence[Any], spelled: Mapping[str, str]) -> list[str]:
    counts = Counter(spelled[_label(member)] for member in members)
    changed = {(target_text(m), spelled[_label(m)]) for m in members if target_text(m) != spelled[_label(m)]}
    times = sum(target_text(member) != spelled[_label(member)] for member in members)
    notes = []
    if changed:
        differ = sorted((one_line(was, 30), one_line(now, 30)) for was, now in changed)
        shown = "; ".join(f'"{was}" is "{now}"' for was, now in [pair for pair in differ if pair[0] != pair[1]][:3])
        notes.append(f"one spelling for each label, changed in {plural(times, 'row')}: {shown or 'blanks around it'}")
    for label, other in _misspelled(counts)[:3]:
        notes.append(
            f'"{one_line(label, 30)}" ({plural(counts[label], "row")}) looks like "{one_line(other, 30)}" '
            f"({counts[other]:,}): if it is, mend the table and write the project again"
        )
    if rare := [label for label, count in counts.items() if count < 3]:
        shown = ", ".join(one_line(label, 30) for label in sorted(rare)[:3])
        notes.append(f"{plural(len(rare), 'label')} in fewer than 3 rows, too few to learn or measure: {shown}")
    return notes


def _misspelled(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Labels that differ in a letter or two, and in no digit, from one that is at least five times as frequent."""
    found = []
    for label in sorted(counts):
        frequent = [other for other in counts if counts[other] >= TIMES_AS_FREQUENT * counts[label]]
        near = difflib.get_close_matches(label, frequent, n=1, cutoff=ALIKE) if len(label) > 3 else []
        if near and re.findall(r"\d+", label) == re.findall(r"\d+", near[0]):
            found.append((label, near[0]))
    return found


# --- JSON -------------------------------------------------------------------------------------------------------------


def _are_fields(answers: Sequence[Any]) -> bool:
    return all(isinstance(answer, dict) and answer for answer in answers)


def _fields(answers: Sequence[Any], setup: Path | None) -> AnswerKind:
    if not all(isinstance(answer, dict | list) for answer in answers):
        raise UsageError("--kind fields: some answers are no JSON objects. Leave --kind out to have it guessed.")
    schema = _schema(answers)
    names = list(schema.get("properties", {}))
    verifier = {"kind": "json_schema", "schema": "answer.schema.json"}
    modes: list[Mapped] = [
        {"name": "not_json", "severity": "critical", "when": "reason.fits LIKE 'not JSON%'",
         "description": "The answer is not one JSON value."},
        {"name": "schema_violation", "severity": "critical", "when": "verdict.fits = 'fail'",
         "description": "JSON, but a field is missing, unknown, or of the wrong type."},
    ]  # fmt: skip
    for name in names[:MOST_FIELDS] if len({safe_name(name).casefold() for name in names}) == len(names) else ():
        when = f"starts_with(reason.agrees, '{name.replace(chr(39), chr(39) * 2)}')"
        modes.append({"name": f"wrong_{safe_name(name)}"[:60], "when": when, "description": f"{name} is wrong."})
    return AnswerKind(
        flag="fields",
        why=f"JSON in each of {plural(len(answers), 'row')}" + (f", with {', '.join(names[:5])}" if names else ""),
        asked="Answer with JSON" + (f" with the fields {', '.join(names)}." if names else "."),
        verifiers={"fits": verifier, "agrees": {**verifier, "compare": "fields"}},
        modes=[*modes, {"name": "other", "severity": "minor", "description": "Any other difference."}],
        files={"answer.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"},
        clean=lambda answer: answer,
        notes=["answer.schema.json is what these rows have in common; make it stricter where you know more"],
    )


def _schema(values: Sequence[Any]) -> Mapped:
    """A JSON Schema that all `values` fit: types, fields, those that none lacks, and no others."""
    kinds = sorted({_json_type(value) for value in values})
    if "number" in kinds and "integer" in kinds:
        kinds.remove("integer")
    schema: Mapped = {"type": kinds[0] if len(kinds) == 1 else kinds}
    if objects := [value for value in values if isinstance(value, dict)]:
        names = dict.fromkeys(name for one in objects for name in one)
        schema["properties"] = {name: _schema([one[name] for one in objects if name in one]) for name in names}
        schema["required"] = [name for name in names if all(name in one for one in objects)]
        schema["additionalProperties"] = False
    if members := [member for value in values if isinstance(value, list) for member in value]:
        schema["items"] = _schema(members)
    return schema


def _json_type(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    names = {int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


# --- numbers ----------------------------------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) or (isinstance(value, str) and bool(_NUMBER.fullmatch(value.strip())))


def _are_numbers(answers: Sequence[Any]) -> bool:
    marked = all(isinstance(answer, str) and _MARKED.fullmatch(answer) for answer in answers)
    return marked or all(map(_is_number, answers))


def _numbers(answers: Sequence[Any], setup: Path | None) -> AnswerKind:
    texts = [target_text(answer).strip() for answer in answers]
    marked = all(_MARKED.fullmatch(text) for text in texts)
    commas = not marked and any(_COMMA_NUMBER.fullmatch(text) for text in texts)
    said = "NOT contains(answer, '####')" if marked else "NOT regexp_matches(answer, '[0-9]')"
    return AnswerKind(
        flag="numbers",
        why="worked answers that end in #### and the result" if marked else "every answer is a number",
        asked="Work it out, and end with #### and the result." if marked else "Answer with the number alone.",
        verifiers={"equal": {"kind": "math", **({"decimal_comma": True} if commas else {})}},
        modes=[
            {"name": "no_result" if marked else "no_number", "severity": "critical", "when": said,
             "description": "The answer comes to no result." if marked else "The answer holds no number."},
            {"name": "wrong_number", "description": "Another number."},
        ],
        task={"final": "#### (.+)"} if marked else {},
        clean=lambda answer: target_text(answer).strip(),
        notes=["1,5 is one and a half: some answers have a comma before one or two digits"] if commas else [],
    )  # fmt: skip


# --- queries ----------------------------------------------------------------------------------------------------------


def _are_queries(answers: Sequence[Any]) -> bool:
    return all(isinstance(answer, str) and _QUERY.match(answer) for answer in answers)


def _queries(answers: Sequence[Any], setup: Path | None) -> AnswerKind:
    if setup is None:
        raise UsageError(
            "the answers are SQL, which is judged by running it. Name the script that makes the tables: --setup "
            "schema.sql. Or have them compared letter by letter: --kind text."
        )
    try:
        script = setup.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--setup: {setup} cannot be read: {error}.") from error
    database = {"kind": "sql", "setup": "schema.sql"}
    return AnswerKind(
        flag="sql",
        why="every answer is a query",
        asked="Answer with one SQL query.",
        verifiers={"parses": {**database, "check": "parses"}, "same_rows": {**database, "check": "same_rows"}},
        modes=[
            {"name": "no_query", "severity": "critical", "when": "verdict.parses = 'fail'",
             "description": "The answer is no query that these tables could run."},
            {"name": "other_rows", "description": "The query gives other rows than the right one."},
        ],
        files={"schema.sql": script},
        clean=lambda answer: target_text(answer).strip(),
        notes=["queries are run by DuckDB; for SQLite or Postgres see engine under verifiers in docs/spec.md"],
    )  # fmt: skip


# --- text -------------------------------------------------------------------------------------------------------------


def _is_text(answers: Sequence[Any]) -> bool:
    return True


def _text(answers: Sequence[Any], setup: Path | None) -> AnswerKind:
    return AnswerKind(
        flag="text",
        why="the answers are neither few values, nor numbers, JSON or SQL",
        asked="Write the answer.",
        verifiers={"same": {"kind": "exact", "ignore_case": True}},
        modes=[
            {"name": "no_answer", "severity": "critical", "when": "trim(answer) = ''",
             "description": "Nothing is answered."},
            {"name": "other_words", "description": "Another text than the right one."},
        ],
        clean=lambda answer: target_text(answer).strip(),
        notes=[
            "an answer is right when it is the same text, blanks and letter case aside: where there are several ways "
            "to say it, a judge has to read it (docs/verification.md); without one the gate will hardly promote"
        ],
    )  # fmt: skip


KINDS: dict[str, tuple[Callable[[Sequence[Any]], bool], Callable[[Sequence[Any], Path | None], AnswerKind]]] = {
    "fields": (_are_fields, _fields),
    "labels": (_are_labels, _labels),
    "numbers": (_are_numbers, _numbers),
    "sql": (_are_queries, _queries),
    "text": (_is_text, _text),
}
"""Kind → whether answers are of it, and what it makes of them; in the order in which they are tried."""


def yaml_of(value: Any) -> str:
    """A value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def answer_key(answer: Any) -> str:
    """Equal where two answers of the project's rows are."""
    return canonical(answer)
