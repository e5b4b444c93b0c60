"""Kinds from outside the package go round the wheel: a verifier, a teacher and a strategy, from a file of the project
and from an installed package. What is wrong with one is said as theirs, with its place."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from flywheel.errors import SpecInvalid
from mini_domain import Domain

KINDS = '''
import json
from collections.abc import Mapping
from dataclasses import replace

from flywheel.records import Reference
from flywheel.spec.strategies import Taught
from flywheel.spec.teachers import Teacher
from flywheel.spec.verifiers import Verifier

BLUES = ("sky", "sea", "jeans", "sapphire")


def colour(text):
    return "blue" if text.split()[1] in BLUES else "red"


class ByNoun(Verifier):
    """Right by the noun."""

    lenient: bool = False
    """Upper case will do."""

    @property
    def tells_right_from_wrong(self):
        return True

    def open(self, root):
        def check(subject):
            answer = subject.answer.lower() if self.lenient else subject.answer
            return answer == colour(subject.row["text"]), "by the noun"

        return check


class Painter(Teacher):
    """Writes blue things."""

    shade: str = "old"
    """The adjective."""

    def teach(self, request):
        rows = []
        for i in range(request["n"]):
            text = f"{self.shade} {BLUES[(request['seed'] + i) % 4]} {(request['seed'] + 7919 * i) % 90_000 + 10_000}"
            rows.append({"text": text, "label": "blue"})
        return json.dumps(rows)


class Twice(Taught):
    """Each row that a teacher wrote, and the same with another number."""

    step: int = 1

    def make(self, round, wanted: Mapping[str, int]):
        asks = [
            ask
            for mode, count in wanted.items()
            for teacher, number in round.shares.split(count).items()
            for ask in round.requests.rows(teacher, mode, number)
        ]
        pieces = [
            piece
            for ask, reply in zip(asks, round.open(asks), strict=True)
            for piece in round.read.rows(ask, reply)
        ]
        more = []
        for piece in pieces:
            c = piece.candidate
            row = {**c.row, "text": c.row["text"] + str(self.step)}
            more.append(replace(piece, candidate=replace(c, candidate_id=c.candidate_id[:-1] + "+", row=row)))
        return pieces + more
'''


def use(domain: Domain, verifier: str, teacher: str, strategy: str) -> Domain:
    def change(spec: dict[str, Any]) -> None:
        spec["verifiers"]["right"] = {"kind": verifier, "lenient": True}
        spec["teachers"] = {"painter": {"kind": teacher, "shade": "new", "concurrency": 2}}
        spec["generate"] = [{"name": "twice", "strategy": strategy, "teachers": ["painter"], "accept": 8, "rounds": 1}]

    return domain.edit(change)


@pytest.fixture
def theirs(domain: Domain) -> Domain:
    (domain.root / "kinds.py").write_text(KINDS)
    return use(domain, "kinds.py:ByNoun", "kinds.py:Painter", "kinds.py:Twice")


@pytest.fixture
def installed(domain: Domain, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Domain:
    site = tmp_path_factory.mktemp("site")
    (site / "strange_kinds.py").write_text(KINDS)
    folder = site / "strange_kinds-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-kinds\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[flywheel.verifiers]\nby_noun = strange_kinds:ByNoun\n"
        "[flywheel.teachers]\npainter = strange_kinds:Painter\n"
        "[flywheel.strategies]\ntwice = strange_kinds:Twice\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delitem(sys.modules, "strange_kinds", raising=False)
    return use(domain, "by_noun", "painter", "twice")


@pytest.mark.parametrize("where", ["theirs", "installed"])
def test_they_go_round_the_wheel(where: str, request: pytest.FixtureRequest) -> None:
    domain: Domain = request.getfixturevalue(where)

    outcome = domain.apply()

    assert outcome.error == ""
    assert not outcome.failed
    candidates = domain.query("SELECT strategy, teacher, count(*) AS n FROM candidates GROUP BY ALL")
    assert [(row["teacher"], row["n"] >= 16) for row in candidates] == [("painter", True)]
    assert candidates[0]["strategy"] == domain.spec["generate"][0]["strategy"]
    verdicts = domain.query("SELECT outcome, reason FROM verdicts WHERE verifier = 'right' AND outcome = 'pass'")
    assert verdicts
    assert {row["reason"] for row in verdicts} == {"by the noun"}
    assert domain.query("SELECT count(*) AS n FROM dataset WHERE origin = 'new'")[0]["n"] >= 8
    assert domain.apply().ran == 0


def moved(domain: Domain, change: Any) -> set[str]:
    before = {node.name: node.fingerprint for node in domain.plan().nodes}
    change()
    return {node.kind for node in domain.plan().nodes if before.get(node.name) != node.fingerprint}


def test_their_keys_and_their_code_are_in_the_fingerprints(theirs: Domain) -> None:
    assert "probe" in moved(theirs, lambda: theirs.edit(lambda s: s["verifiers"]["right"].update(lenient=False)))
    reached = moved(theirs, lambda: theirs.edit(lambda s: s["teachers"]["painter"].update(shade="odd")))
    assert "generate" in reached
    assert "probe" not in reached
    assert moved(theirs, lambda: theirs.edit(lambda s: s["teachers"]["painter"].update(concurrency=4))) == set()
    assert "generate" in moved(theirs, lambda: theirs.edit(lambda s: s["generate"][0].update(step=2)))
    file = theirs.root / "kinds.py"
    assert {"probe", "generate"} <= moved(theirs, lambda: file.write_text(KINDS + "\n# another\n"))


def faults(domain: Domain) -> list[str]:
    with pytest.raises(SpecInvalid) as caught:
        domain.open()
    return [f"{fault.path[-1]}: {fault.message} {fault.hint}".strip() for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("kind", "source", "message"),
    [
        ("kinds.py:ByNuon", KINDS, 'kind: kinds.py has no function or class "ByNuon". Did you mean "ByNoun"?'),
        ("kind.py:ByNoun", KINDS, 'kind: there is no file "kind.py". Did you mean "kinds.py"?'),
        ("kinds.py:Painter", KINDS, "kind: kinds.py:Painter is no verifier. Make it a subclass of "
         "flywheel.spec.verifiers.Verifier."),
        ("kinds.py:ByNoun", "\n\nimport nowhere_at_all\n", "kind: kinds.py cannot be loaded: kinds.py:3: "
         "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("kinds.py:ByNoun", "class ByNoun(:\n", "kind: kinds.py cannot be loaded: kinds.py:1: SyntaxError: invalid "
         "syntax"),
        ("kinds.py:ByNoun", KINDS.replace("        return True\n", "        return self.nothing\n", 1), "kind: "
         "ByNoun.tells_right_from_wrong cannot be read: kinds.py:"),
    ],
)  # fmt: skip
def test_a_fault_in_theirs_is_shown_as_theirs(theirs: Domain, kind: str, source: str, message: str) -> None:
    (theirs.root / "kinds.py").write_text(source)
    theirs.edit(lambda s: s["verifiers"]["right"].update(kind=kind))
    (theirs.root / "sound.py").write_text(KINDS)  # of the others
    theirs.edit(lambda s: s["teachers"]["painter"].update(kind="sound.py:Painter"))
    theirs.edit(lambda s: s["generate"][0].update(strategy="sound.py:Twice"))
    assert any(found.startswith(message) for found in faults(theirs)), faults(theirs)


def test_their_keys_are_checked_like_ours(theirs: Domain) -> None:
    theirs.edit(lambda s: s["verifiers"]["right"].update(lenint=True))
    assert faults(theirs) == ['lenint: unknown key "lenint". Did you mean "lenient"?']


def test_a_name_that_nobody_has_names_the_nearest(installed: Domain) -> None:
    installed.edit(lambda s: s["verifiers"]["right"].update(kind="by_nuon"))
    assert faults(installed)[0].endswith('Did you mean "by_noun"?')


def test_what_their_check_raises_is_unknown_with_its_place(theirs: Domain) -> None:
    (theirs.root / "kinds.py").write_text(KINDS.replace('return answer == colour(subject.row["text"])', "return 1 / 0"))
    outcome = theirs.apply()
    assert outcome.failed
    assert "kinds.py:" in outcome.error
    assert "ZeroDivisionError" in outcome.error


def test_what_their_strategy_raises_fails_its_node_with_its_place(theirs: Domain) -> None:
    (theirs.root / "kinds.py").write_text(KINDS.replace("return pieces + more", "return pieces + nowhere"))
    outcome = theirs.apply()
    assert outcome.failed == ["i1.generate.twice.r1"]
    assert "kinds.py:Twice raised kinds.py:" in outcome.error
    assert "NameError" in outcome.error
