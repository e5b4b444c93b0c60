"""One error mode after the other, from failure over lesson and verdict to the training rows: a few rows of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from flywheel.report import queries
from flywheel.report.facts import ReportFacts
from flywheel.report.model import Bought, Followed, Followings, Mode, Modes, ModeTeacher, Objection, WrongProbe
from flywheel.report.scoring import ANY, Query, Row, question
from flywheel.report.words import shown

#: What a page has room for: error modes, failures of each (beside those that its lessons were asked for because of),
#: lessons of each, and of them those with one fate.
MODES, FAILURES, LESSONS, ALIKE = 20, 3, 5, 2
#: Characters of a text.
TEXT = 300

#: What became of a lesson, in the order in which a page has room for it.
FATES = ("trained", "fail", "dropped", "unknown", "spare", "filtered", "unparsed", "kept")


def followings(
    query: Query, nodes: queries.Nodes, facts: ReportFacts, modes: Modes, taught: Sequence[Row]
) -> Followings:
    """`taught`: rows of `queries.taught`. The worst mode first; those without failure and lesson are left out."""
    told = sorted((m for m in modes.rows if m.probe_failures or m.candidates), key=_weight)
    names = [mode.name for mode in told[:MODES]]
    sql = {"lessons": queries.followed_lessons(nodes, names, ALIKE), "calls": queries.calls(nodes, "mode, teacher")}
    lessons = _by_mode(query(sql["lessons"], ()))
    chosen = {mode: _chosen(rows) for mode, rows in lessons.items()}
    wanted = [failure for rows in chosen.values() for failure in _covering(rows)]
    sql["failures"] = queries.followed_failures(nodes, names, wanted, FAILURES)
    failures = _by_mode(query(sql["failures"], ()))
    subjects = [row["candidate_id"] for rows in chosen.values() for row in rows]
    subjects += [row["answer_id"] for rows in failures.values() for row in rows]
    sql["verdicts"] = queries.followed_verdicts(nodes, subjects)
    verdicts = _verdicts(query(sql["verdicts"], ()))
    targets = {suite.task: suite.target for suite in facts.suites}
    paid = {(row["mode"] or ANY, row["teacher"]): row["own"] for row in query(sql["calls"], ())}
    rows = (
        Followed(
            mode=name,
            teachers=_teachers(name, taught, paid),
            fates=_fates(lessons.get(name, ())),
            failures=tuple(_failure(row, targets, verdicts) for row in failures.get(name, ())),
            lessons=tuple(_lesson(row, targets, verdicts) for row in chosen.get(name, ())),
        )
        for name in names
    )
    queried = {f"{what}_query": text for what, text in sql.items()}
    return Followings(
        rows=tuple(rows), left_out=max(len(told) - MODES, 0), teachers_query=queries.taught(nodes), **queried
    )


def _weight(mode: Mode) -> tuple[int, int]:
    return -mode.probe_failures, -mode.candidates


def _by_mode(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["mode"]].append(row)
    return found


def _chosen(rows: Sequence[Row]) -> list[Row]:
    """Of each fate the first, then the second of each, while there is room."""
    seen: Counter[str] = Counter()
    placed = []
    for row in rows:
        placed.append((seen[row["fate"]], FATES.index(row["fate"]), row))
        seen[row["fate"]] += 1
    first = sorted(placed, key=lambda entry: entry[:2])[:LESSONS]
    return [row for _, _, row in sorted(first, key=lambda entry: (entry[1], entry[0]))]


def _covering(lessons: Sequence[Row]) -> list[str]:
    """A few failures, so that each lesson was asked for because of one of them: the greedy cover."""
    left, found = [list(row["failure_ids"]) for row in lessons if row["failure_ids"]], []
    while left:
        [(most, _)] = Counter(failure for failures in left for failure in failures).most_common(1)
        found.append(most)
        left = [failures for failures in left if most not in failures]
    return found


def _fates(rows: Sequence[Row]) -> tuple[tuple[str, int], ...]:
    counts = {row["fate"]: row["rows"] for row in rows}
    return tuple((fate, counts[fate]) for fate in FATES if fate in counts)


def _verdicts(rows: Iterable[Row]) -> dict[str, tuple[Objection, ...]]:
    """Once each: an answer that was given before has been judged before."""
    found: dict[str, dict[Objection, None]] = defaultdict(dict)
    for row in rows:
        said = shown(row["reason"] or "", 200)
        found[row["subject_id"]][
            Objection(verifier=shown(row["verifier"], 80), outcome=row["outcome"], reason=said)
        ] = None
    return {subject: tuple(said) for subject, said in found.items()}


def _failure(row: Row, targets: Mapping[str, str], verdicts: Mapping[str, tuple[Objection, ...]]) -> WrongProbe:
    gold = row["gold"] or ""
    return WrongProbe(
        answer_id=row["answer_id"],
        failure_id=row["failure_id"],
        question=question(row["question"], gold, targets.get(row["task"], ""), limit=TEXT),
        gold=shown(gold, TEXT),
        answer=shown(row["answer"] or "", TEXT),
        verdicts=verdicts.get(row["answer_id"], ()),
    )


def _lesson(row: Row, targets: Mapping[str, str], verdicts: Mapping[str, tuple[Objection, ...]]) -> Bought:
    target = row["target"] or ""
    return Bought(
        candidate_id=row["candidate_id"],
        teacher=shown(row["teacher"] or "", 80),
        question=question(row["question"], target, targets.get(row["task"], ""), limit=TEXT) if row["question"] else "",
        target=shown(target, TEXT),
        verdicts=verdicts.get(row["candidate_id"], ()),
        fate=row["fate"],
        why=shown(_why(row), 200),
        failures=tuple(row["failure_ids"] or ()),
    )


def _why(row: Row) -> str:
    if row["fate"] in ("filtered", "unparsed"):
        return row["problem"] or ""
    said = {"dropped": ("stage", "curation"), "trained": (), "kept": ()}.get(row["fate"], ("verifier", "reason"))
    return ": ".join(row[column] for column in said if row[column])


def _teachers(mode: str, taught: Sequence[Row], paid: Mapping[tuple[str, str], float]) -> tuple[ModeTeacher, ...]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in taught:
        if row["mode"] == mode:
            counts[row["teacher"] or ""].update({key: row[key] for key in ("generated", "chosen", "trained")})
    return tuple(
        ModeTeacher(
            teacher=shown(name, 80),
            candidates=found["generated"],
            accepted=found["chosen"],
            trained=found["trained"],
            usd=paid.get((mode, name), 0.0),
        )
        for name, found in sorted(counts.items())
    )
