"""Modes proposed for failures that have none."""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from flywheel.console.modes import modes_text
from flywheel.engine.history import open_lookup
from flywheel.engine.proposing.patch import patch
from flywheel.engine.proposing.proposals import Proposal, Unnamed, chosen, proposals, propose
from flywheel.engine.proposing.tells import tells
from flywheel.errors import UsageError
from flywheel.records import Verdict
from flywheel.spec.models import ErrorMode
from flywheel.store.taxonomy import Failed, held, name_failures, open_table
from mini_domain import Domain

CITIES = ("Oslo", "Porto", "Lima", "Quito", "Hanoi", "Accra", "Turin", "Dakar")


def failed(question: str, gold: str | None, answer: str | None, reason: str = "other rows") -> Failed:
    return Failed({"question": question}, answer, gold, [Verdict("s", "rows", "1", "fail", reason)])


def planted() -> tuple[list[Failed], list[str]]:
    """Queries wrong in three ways, and some each in its own; in random order."""
    found: list[tuple[Failed, str]] = []
    for n in range(40):
        city, column = CITIES[n % 8], f"c{n % 5}"
        asked = f"{column} of the people in {city} number {n}"
        gold = f"SELECT {column} FROM people WHERE city = '{city}'"
        found.append((failed(asked, gold, f"SELECT {column} FROM people"), "no_where"))
        found.append((failed(asked, gold, gold.replace("SELECT", "SELECT DISTINCT")), "distinct"))
        found.append((failed(asked, gold, f"I cannot say {n}", f'syntax error near "I" at {n}'), "refuses"))
    own = [failed(f"odd {n}", f"SELECT a{n} FROM b{n}", f"SELECT q{n} FROM z{n}") for n in range(8)]
    found += [(one, "own") for one in own]
    random.Random(5).shuffle(found)
    return [one for one, _ in found], [kind for _, kind in found]


def test_each_way_of_being_wrong_is_proposed_once_with_a_predicate_that_holds_for_it_alone() -> None:
    failures, kinds = planted()
    found = proposals(failures, "t", ["rows"], set())
    modes = [ErrorMode(name=one.name, when=one.when) for one in found if one.when]
    named = name_failures(failures, [*modes, ErrorMode(name="other")], ["rows"]).modes
    by_kind = {kind: {n for n, k in zip(named, kinds, strict=True) if k == kind} for kind in set(kinds)}
    assert all(len(by_kind[kind]) == 1 for kind in ("no_where", "distinct", "refuses")), by_kind
    assert len(set.union(*(by_kind[k] for k in ("no_where", "distinct", "refuses")))) == 3
    assert by_kind["own"] == {"other"}


def test_precision_and_recall_are_of_the_half_that_the_predicate_was_not_found_on() -> None:
    failures, _ = planted()
    for one in proposals(failures, "t", ["rows"], set()):
        held_out = failures[1::2]
        connection = open_table(held_out, ["rows"])
        assert held(connection, one.when).count("true") == one.said
        connection.close()
        assert one.right <= one.said
        assert one.there <= one.failures


def test_every_tell_is_true_of_the_failure_that_shows_it() -> None:
    failures = [
        failed("why isn't it?", "it's", "its  'quoted' \\b \\ [x]"),
        failed("größe der tür in straße fünf und noch etwas länger", "Tür\nzwei", "ÜBER größer"),
        failed("日本語の質問", "東京", "京都です"),
        failed("empty", "a", ""),
        failed("none", "a", None),
        failed("no gold", None, "many words " * 30, "line one is wrong\nline two"),
        failed("50% of a_b", "50%", "a_b % __ %%"),
        Failed({"question": "q" * 60 + " word", "n": 3, "it's": "x", "two words": "y"}, "a\nb\nc", "a", []),
    ]
    connection = open_table(failures, ["rows"])
    for place, one in enumerate(failures):
        shown = list(tells(one))
        assert shown
        for tell in shown:
            assert held(connection, tell.when)[place] == "true", (tell, one)
    connection.close()


@pytest.mark.parametrize("many", [0, 1, 5, 9])
def test_of_few_failures_nothing_is_proposed(many: int) -> None:
    assert proposals([failed("q", "a", "b")] * many, "t", ["rows"], set()) == []


def test_failures_that_share_nothing_are_no_group() -> None:
    assert proposals([Failed({}, f"a{n}", f"b{n}", []) for n in range(30)], "t", [], set()) == []


def test_failures_that_are_all_the_same_are_one_group() -> None:
    (one,) = proposals([failed("q", "red", "blue")] * 20, "t", ["rows"], set())
    assert (one.failures, one.right, one.said, one.there) == (20, 10, 10, 10)


def test_names_are_new_and_names() -> None:
    failures, _ = planted()
    first = {one.name for one in proposals(failures, "t", ["rows"], set())}
    taken = set(first)
    again = {one.name for one in proposals(failures, "t", ["rows"], taken)}
    assert not first & again
    for name in taken:
        ErrorMode(name=name)


# --- on a project -----------------------------------------------------------------------------------------------------


def unnamed(domain: Domain) -> list[Unnamed]:
    with open_lookup(domain.root / ".flywheel") as lookup:
        return propose(domain.open(), lookup, None)


@pytest.fixture
def all_fallen(applied: Domain) -> Domain:
    """As if the taxonomy had had a fallback alone, and five times as much had failed."""
    from flywheel.store import Store

    fallback = next(mode.name for mode in applied.open().spec.taxonomy if mode.when is None)
    with Store(applied.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        transaction.execute("UPDATE failures SET mode = ?", [fallback])
        for table in ("answers", "failures"):
            transaction.execute(
                f"""INSERT INTO {table} SELECT t.* REPLACE (concat(answer_id, n) AS answer_id)
                    FROM {table} t, range(4) r(n) WHERE answer_id IN (SELECT answer_id FROM failures)"""
            )
    return applied


def test_what_is_accepted_goes_into_the_spec_by_the_printed_patch_and_names_those_failures(
    all_fallen: Domain, flywheel
) -> None:
    (task,) = unnamed(all_fallen)
    one = next(one for one in task.proposals if one.when)
    code, diff, _ = flywheel(all_fallen, "modes", "--accept", one.name)
    assert code == 0
    subprocess.run(["patch", "-p1"], cwd=all_fallen.root, input=diff, text=True, check=True, capture_output=True)
    spec = all_fallen.open().spec
    names = [mode.name for mode in spec.taxonomy]
    assert names.index(one.name) == len(names) - 2
    assert next(mode for mode in spec.taxonomy if mode.name == one.name).when == one.when


def test_the_command_says_what_the_fallback_took(all_fallen: Domain, flywheel) -> None:
    code, out, _ = flywheel(all_fallen, "modes")
    (task,) = unnamed(all_fallen)
    assert code == 0
    assert f"{task.failures} of {task.all_failures} failures fell to '{task.fallback}'" in out
    assert "when:" in out
    assert json.loads(flywheel(all_fallen, "modes", "--json")[1])[0]["proposals"][0]["when"] in out


def test_a_mode_that_is_not_proposed_cannot_be_accepted(all_fallen: Domain) -> None:
    with pytest.raises(UsageError, match='no mode "x" is proposed'):
        chosen(unnamed(all_fallen), ["x"])


def test_an_iteration_without_failures_is_said(applied: Domain, flywheel) -> None:
    code, _, error = flywheel(applied, "modes", "7")
    assert code != 0
    assert "no failures of iteration 7 are named yet" in error


def test_where_every_failure_has_a_mode_there_is_nothing_to_propose() -> None:
    assert "nothing is left" in modes_text([])


# --- the patch --------------------------------------------------------------------------------------------------------

MODE = Proposal("adds_x", "colour", "major", "Adds x.", "answer = 'it''s \"x\"'", 9, 4, 4, 4, [])


def patched(domain: Domain, taxonomy: str | None) -> list[ErrorMode]:
    path = domain.root / "flywheel.yaml"
    text = path.read_text()
    head, _, rest = text.partition("taxonomy:")
    tail = rest[next(i for i, c in enumerate(rest) if c == "\n" and rest[i + 1 : i + 2].isalpha()) :] if rest else ""
    path.write_text(head + (taxonomy or "") + tail)
    project = domain.open()
    task = next(iter(project.spec.tasks))
    diff = patch(project.loaded, [mode_of(task)])
    subprocess.run(["patch", "-p1"], cwd=domain.root, input=diff, text=True, check=True, capture_output=True)
    return domain.open().spec.taxonomy


def mode_of(task: str) -> Proposal:
    return replace(MODE, task=task)


@pytest.mark.parametrize(
    "taxonomy",
    [
        "taxonomy:\n- {name: other}",
        "taxonomy:\n  - name: red\n    when: answer != 'blue'\n  # what is left\n  - name: other\n    severity: minor",
        "taxonomy:\n    - {name: not_blue, when: \"answer != 'blue'\"}\n    - {name: other}  # the rest",
        None,
    ],
)
def test_the_mode_stands_before_the_fallback_however_the_taxonomy_is_written(
    domain: Domain, taxonomy: str | None
) -> None:
    modes = patched(domain, taxonomy)
    assert modes[-1].when is None
    assert modes[-2].name == "adds_x"
    assert modes[-2].when == MODE.when


def test_a_taxonomy_on_one_line_is_left_to_a_person(domain: Domain) -> None:
    with pytest.raises(UsageError, match="by hand"):
        patched(domain, "taxonomy: [{name: other}]")


def test_proposals_read_like_text(tmp_path: Path) -> None:
    text = modes_text([Unnamed("t", "other", 40, 50, 40, [MODE])])
    assert "t: 40 of 50 failures fell to 'other'; 1 group" in text
    assert "right for 4 of 4 (51.0% to 100.0%) that it names" in text
