"""A store with three iterations of made-up but realistic rows, in the project's own tables.

Iteration 1 is promoted, iteration 2 rejected, iteration 3 had nothing to train on.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import duckdb
import pytest

from flywheel.hashing import fingerprint
from flywheel.records.decision import Precondition, RuleResult
from flywheel.report import (
    GeneratorFact,
    JudgeFact,
    ModeFact,
    Report,
    ReportFacts,
    SuiteFact,
    TaskFact,
    TeacherFact,
    assemble,
)
from flywheel.store.migrations import MIGRATIONS

KINDS = ("probe", "diagnose", "budget", "generate", "verify", "curate", "train", "evaluate", "ablate", "gate")
MODES = ("no_parse", "wrong_column", "wrong_aggregate", "missing_filter", "wrong_order", "other")
TEACHERS = ("terse", "chatty", "self")
ROUNDS = 2

Row = dict[str, Any]


def node(kind: str, iteration: int, part: int = 1) -> str:
    return fingerprint([kind, iteration, part])


def chain(iterations: int = 3) -> list[dict[str, list[str]]]:
    return [{kind: _nodes(kind, n) for kind in KINDS} for n in range(1, iterations + 1)]


def _nodes(kind: str, iteration: int) -> list[str]:
    parts = ROUNDS if kind in ("generate", "verify") else 1
    return [node(kind, iteration, part) for part in range(1, parts + 1)]


class Inserts:
    """Rows by table and columns, written a few hundred at a time: one by one they take seconds."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        self.db = db
        self.rows: dict[tuple[str, tuple[str, ...]], list[list[Any]]] = {}

    def add(self, table: str, **row: Any) -> None:
        self.rows.setdefault((table, tuple(row)), []).append(list(row.values()))

    def flush(self) -> None:
        for (table, names), rows in self.rows.items():
            columns, marks = ", ".join(f'"{name}"' for name in names), f"({', '.join('?' * len(names))})"
            for start in range(0, len(rows), 500):
                block = rows[start : start + 500]
                values = [value for row in block for value in row]
                self.db.execute(f"INSERT INTO {table} ({columns}) VALUES {', '.join([marks] * len(block))}", values)
        self.rows.clear()


class Builder:
    """Fills one iteration's tables; every choice comes from the seed."""

    def __init__(self, inserts: Inserts, iteration: int) -> None:
        self.inserts, self.n = inserts, iteration
        self.rng = random.Random(iteration)
        self.called: set[str] = set()
        self.keys: dict[int, set[str]] = {part: set() for part in range(1, ROUNDS + 1)}
        self.summaries: dict[str, Row] = {}

    def generated(self) -> None:
        """What the generate nodes say of themselves; after the candidates, before `nodes`."""
        for part, keys in self.keys.items():
            self.summaries[node("generate", self.n, part)] = {
                "wanted": {"no_parse": 120, "wrong_order": 80},
                "calls": len(keys),
                "calls_cached": 2,
                "calls_failed": {"timeout": 1} if f"lost-{self.n}" in keys else {},
                "keys": sorted(keys),
                "same_answers": 0.31 if part == 2 else 0.02,
                "allocation": {"terse": 0.7, "chatty": 0.2, "self": 0.1} if self.n == 2 else None,
            }

    def evaluated(self) -> None:
        self.summaries[node("evaluate", self.n)] = {
            "settings": {"batch_size": 128, "dtype": "float32"},
            "measured_before": ["incumbent"] if self.n > 1 else [],
            "noise": {"holdout": {"items": 64, "differ": 1, "answers": 2}},
            "too_long": {"holdout": 3} if self.n == 1 else {},
            "ran_on": {"holdout": {"candidate": 7}} if self.n == 1 else {},
            "labels": {"holdout": {"candidate": {"refund": {"gold": 4, "said": 2, "right": 2}}}} if self.n == 1 else {},
            "lm_eval_commands": {"holdout": {"candidate": "lm-eval run --include_path x --tasks holdout"}},
        }

    def nodes(self) -> None:
        minutes = 0
        for kind in KINDS:
            for part, name in enumerate(_nodes(kind, self.n), start=1):
                label = f"{kind}.targeted.r{part}" if kind in ("generate", "verify") else kind
                self.inserts.add(
                    "nodes",
                    node=name,
                    run_id="run-1",
                    name=f"i{self.n}.{label}",
                    kind=kind,
                    subject="targeted" if kind in ("generate", "verify") else "",
                    round=part if kind in ("generate", "verify") else 0,
                    iteration=self.n,
                    status="done",
                    rows_in=100,
                    kept=80,
                    rejected=18,
                    failed=2,
                    started_at=f"2026-11-20T1{self.n}:{minutes:02d}:00+00:00",
                    ended_at=f"2026-11-20T1{self.n}:{minutes:02d}:40+00:00",
                    seconds=40.0 / self.n,
                    summary=json.dumps(self.summaries.get(name, {})),
                    inputs="{}",
                )
                minutes += 1

    def probes(self, failing: int) -> None:
        for i in range(200):
            self.inserts.add(
                "answers",
                node=node("probe", self.n),
                answer_id=f"a{self.n}-{i}",
                task="sql",
                outcome="fail" if i < failing else "pass",
            )
        for i in range(failing):
            self.inserts.add(
                "failures",
                node=node("diagnose", self.n),
                failure_id=f"f{self.n}-{i}",
                answer_id=f"a{self.n}-{i}",
                task="sql",
                mode=MODES[i % 4],
                severity="major",
            )

    def budget(self, lessons: int) -> None:
        for mode in MODES[:4]:
            self.inserts.add(
                "budgets",
                node=node("budget", self.n),
                generator="targeted",
                task="sql",
                mode=mode,
                severity="major",
                probes=200,
                failures=20,
                mass=0.1,
                share=0.25,
                lessons=lessons // 4,
            )

    def candidates(self, count: int, passing: float = 0.7) -> list[str]:
        """`count` candidates over two rounds, judged and curated; returns the ids that were kept."""
        kept = []
        for i in range(count):
            part, teacher, mode = 1 + i % ROUNDS, TEACHERS[i % 3], MODES[i % 4]
            key = f"call-{self.n}-{i // 5 * 5 + part}-{teacher}"
            candidate = f"c{self.n}-{i}"
            parsed = self.rng.random() > 0.06
            self.inserts.add(
                "candidates",
                node=node("generate", self.n, part),
                candidate_id=candidate,
                task="sql",
                generator="targeted",
                strategy="targeted",
                teacher=teacher,
                mode=mode,
                round=part,
                call_key=key,
                row="{}",
                target="x",
                status="parsed" if parsed else "unparsed",
                problem=None if parsed else "no JSON in the answer",
            )
            self._call(key, teacher)
            self.keys[part].add(key)
            if parsed and self._judge(candidate, part, passing) and self._curate(candidate):
                kept.append(candidate)
        return kept

    def _call(self, key: str, teacher: str) -> None:
        if key in self.called:
            return
        self.called.add(key)
        self.inserts.add(
            "calls",
            key=key,
            run_id="run-1",
            teacher=teacher,
            kind="python",
            purpose="lessons",
            status="ok",
            input_tokens=420,
            output_tokens=180,
            usd=0.0 if teacher == "self" else 0.0015,
            attempts=1,
            called_at=f"2026-11-20T1{self.n}:03:10+00:00",
        )

    def failed_call(self) -> None:
        self.keys[1].add(f"lost-{self.n}")
        self.inserts.add(
            "calls",
            key=f"lost-{self.n}",
            run_id="run-1",
            teacher="chatty",
            kind="python",
            purpose="lessons",
            status="failed",
            fault="timeout",
            input_tokens=400,
            output_tokens=0,
            usd=0.0006,
            attempts=4,
            called_at=f"2026-11-20T1{self.n}:03:20+00:00",
        )

    def _judge(self, candidate: str, part: int, passing: float) -> bool:
        draw = self.rng.random()
        outcome = "pass" if draw < passing else "unknown" if draw > 0.98 else "fail"
        reason = {"pass": None, "unknown": "timed out after 5 s", "fail": "other rows than the gold query"}[outcome]
        verifier = None if outcome == "pass" else "same_rows" if draw > 0.8 else "parses"
        if verifier == "parses" and outcome == "fail":
            reason = f"Binder Error: column {self.rng.choice(['prices', 'custmer', 'qty'])} not found"
        verify = node("verify", self.n, part)
        self.inserts.add(
            "judged", node=verify, candidate_id=candidate, outcome=outcome, verifier=verifier, reason=reason
        )
        for name in ("parses", "same_rows"):
            if name == "same_rows" and verifier == "parses" and outcome == "fail":
                continue  # a cascade: what one has failed the next is not shown
            said = outcome if name == (verifier or "") else "pass"
            self.inserts.add(
                "verdicts",
                node=verify,
                subject_id=candidate,
                verifier=name,
                version=f"{name}-1",
                outcome=said,
                reason=reason,
                seconds=0.004,
            )
        return outcome == "pass"

    def _curate(self, candidate: str) -> bool:
        draw = self.rng.random()
        stage = "dedup" if draw > 0.85 else "decontaminate" if draw > 0.82 else None
        reason = {"dedup": "near-duplicate (0.94)", "decontaminate": "13-gram of holdout"}.get(stage or "")
        self.inserts.add(
            "curation",
            node=node("curate", self.n),
            candidate_id=candidate,
            decision="dropped" if stage else "kept",
            stage=stage,
            reason=reason,
        )
        return stage is None

    def dataset(self, kept: list[str], replay: int, seeds: int) -> None:
        rows: list[tuple[str | None, ...]] = [
            (c, "new", MODES[int(c.split("-")[1]) % 4], TEACHERS[int(c.split("-")[1]) % 3]) for c in kept
        ]
        rows += [(None, "replay", MODES[i % 4], TEACHERS[i % 2]) for i in range(replay)]
        rows += [(None, "seed", None, None) for _ in range(seeds)]
        for position, (candidate, origin, mode, teacher) in enumerate(rows):
            self.inserts.add(
                "dataset",
                node=node("curate", self.n),
                position=position,
                lesson_id=f"l{self.n}-{position}",
                candidate_id=candidate,
                origin=origin,
                task="sql",
                mode=mode,
                teacher=teacher,
                row="{}",
                target="x",
            )
        self.inserts.add(
            "adapters",
            node=node("train", self.n),
            model_id=f"sql-i{self.n}",
            base="builtin:tiny",
            base_hash=fingerprint("base"),
            weights_hash=fingerprint(["w", self.n]),
            dataset_hash=fingerprint(["d", self.n]),
            settings=json.dumps({"rank": 16, "epochs": 3, "learning_rate": 2e-4}),
            rows=len(rows),
            left_out=1,
            tokens=52_000,
            steps=90,
            loss=0.4,
        )
        for step in range(1, 91):
            self.inserts.add(
                "losses",
                node=node("train", self.n),
                step=step,
                epoch=step / 30,
                tokens=500 * step,
                loss=0.35 + 2.6 / (1 + step / 6) + self.rng.random() * 0.1,
                learning_rate=2e-4,
            )

    def scores(self, suite: str, items: int, before: float, after: float | None, unknown: int = 0) -> None:
        for i in range(items):
            draw, second = self.rng.random(), self.rng.random()
            was = draw < before
            self._score(suite, i, "incumbent", "unknown" if i < unknown else "pass" if was else "fail")
            if after is not None:
                right = second > 0.03 if was else second < (after - before) / max(1 - before, 0.01)
                self._score(suite, i, "candidate", "pass" if right else "fail")

    def teacher_answers(self, suite: str, items: int, right: int) -> None:
        for i in range(items):
            self._score(suite, i, "teacher:chatty", "pass" if i < right else "fail")

    def _score(self, suite: str, i: int, arm: str, outcome: str) -> None:
        gold = f"SELECT count(*) FROM orders WHERE month = {1 + i % 12}"
        answers = {
            "pass": gold,
            "fail": f"SELECT sum(total) FROM orders WHERE month = {1 + i % 12}",
            "unknown": "WITH",
        }
        mode = None if outcome != "fail" else MODES[(i * 7 + (arm == "candidate")) % 6 if i % 5 else 2]
        self.inserts.add(
            "scores",
            node=node("evaluate", self.n),
            suite=suite,
            arm=arm,
            model_id=arm,
            item_id=f"{suite}-{i}",
            row=json.dumps({"question": f"How many orders came in month {1 + i % 12}?", "sql": gold}),
            gold=gold,
            answer=answers[outcome],
            outcome=outcome,
            score={"pass": 1.0, "fail": 0.0, "unknown": None}[outcome],
            mode=mode,
            severity="major" if mode else None,
            slices=json.dumps({"wording": "unseen" if i % 3 == 0 else "seen"}),
            tokens=20 + i % 5,
            truncated=outcome == "unknown",
            seconds=0.012 if arm == "candidate" else None,
        )

    def decision(self, outcome: str, rules: Sequence[RuleResult], explanation: str, trained: bool = True) -> None:
        checks = (
            Precondition("adapter_effect", True, "outputs differ from the incumbent's on 61 of 64 probe prompts"),
            Precondition("no_contamination", True, "0 of 512 training rows overlap an eval item"),
            Precondition("verifier_errors", True, "0 unknown verdicts"),
        )
        self.inserts.add(
            "decisions",
            node=node("gate", self.n),
            iteration=self.n,
            outcome=outcome,
            incumbent_id="base",
            candidate_id=f"sql-i{self.n}" if trained else None,
            rules=json.dumps([asdict(rule) for rule in rules]),
            preconditions=json.dumps([asdict(check) for check in checks] if trained else []),
            explanation=explanation,
            decision_hash=fingerprint(["decision", self.n]),
            look=self.n,
        )


def rule(label: str, suite: str, outcome: str, observed: float, **more: Any) -> RuleResult:
    base: Row = {
        "label": label,
        "suite": suite,
        "comparison": "better_by",
        "mode": None,
        "threshold": 0.02,
        "items": 300,
        "incumbent": 0.42,
        "candidate": 0.42 + observed,
        "observed": observed,
        "low": observed - 0.06,
        "high": observed + 0.06,
        "p_value": 0.0001,
        "alpha": 0.0304,
        "fixed": 112,
        "broken": 4,
        "items_needed": None,
        "explanation": "The gain and its lower bound are above the threshold.",
    }
    return RuleResult(**{**base, "outcome": outcome, **more})


def build() -> duckdb.DuckDBPyConnection:
    """An in-memory store with the three iterations."""
    db = duckdb.connect(":memory:")
    for _, sql in MIGRATIONS:
        db.execute(sql)
    inserts = Inserts(db)
    _promoted(Builder(inserts, 1))
    _rejected(Builder(inserts, 2))
    _untrained(Builder(inserts, 3))
    inserts.add(
        "deployments",
        sequence=1,
        node=node("gate", 1),
        action="deploy",
        iteration=1,
        model_id="sql-i1",
        weights_hash=fingerprint(["w", 1]),
        deployed_at="2026-11-20T12:00:00+00:00",
    )
    _trust(inserts)
    inserts.flush()
    return db


AUDITED_AT = "2026-11-20T09:00:00+00:00"


def _trust(inserts: Inserts) -> None:
    """Runs, an audit, a calibration, an approval, ablations."""
    inserts.add("runs", run_id="run-1", status="running", sandbox=None, tainted=None)
    inserts.add("runs", run_id="run-1", status="done", sandbox="zygote", tainted=False)
    wrong = [{"row": {"question": "How many?"}, "answer": "SELECT 2", "reference": "SELECT 1", "reason": "luck"}]
    for audit, at, accepted in (("audit-1", "2026-11-19T09:00:00+00:00", 50), ("audit-2", AUDITED_AT, 3)):
        for verifier, version in (("*", "both-1"), ("same_rows", "same_rows-1")):
            shared = {"audit": audit, "task": "sql", "verifier": verifier, "version": version, "audited_at": at}
            inserts.add(
                "audits", **shared, source="changed number", expected="fail", cases=100, passed=accepted,
                failed=98 - accepted, unknown=2, wrong=json.dumps(wrong),
            )  # fmt: skip
            inserts.add(
                "audits", **shared, source="seeds", expected="pass", cases=60, passed=59, failed=1, unknown=0,
                wrong="[]",
            )  # fmt: skip
    inserts.add(
        "calibrations", verifier="tone", version="tone-1", teacher="chatty", cases=40, agreed=37, kappa=0.84, low=0.66,
        high=1.0, confusion=json.dumps({"problem": ""}), calibrated_at=AUDITED_AT,
    )  # fmt: skip
    inserts.add(
        "approvals", sequence=1, node=node("gate", 1), iteration=1, verdict="approve", person="Ada", note="looks right",
        decision_hash=fingerprint(["decision", 1]), given_at="2026-11-20T11:55:00+00:00",
    )  # fmt: skip
    for name, without, at in (
        ("same rows", "verifier.same_rows", node("ablate", 1)),
        ("targeting", "targeting", "compare:untargeted"),
    ):
        inserts.add(
            "ablations", node=at, name=name, without=without, suite="holdout", lessons=200, items=296, with_part=0.61,
            without_part=0.55, difference=0.06, low=0.01, high=0.11, p_value=0.02, detail="{}",
        )  # fmt: skip


def _promoted(it: Builder) -> None:
    it.probes(failing=110)
    it.budget(400)
    it.dataset(it.candidates(360), replay=0, seeds=24)
    it.failed_call()
    it.scores("holdout", 300, before=0.42, after=0.78, unknown=4)
    it.scores("basics", 120, before=0.95, after=0.95)
    it.teacher_answers("holdout", 40, right=31)
    guard = rule(
        "basics not_worse_than 0.02",
        "basics",
        "holds",
        0.008,
        comparison="not_worse_than",
        fixed=2,
        broken=1,
        items=120,
        explanation="Any loss is smaller than the margin beyond chance.",
        incumbent=0.95,
        candidate=0.958,
        low=-0.012,
        high=0.03,
    )
    it.decision("promote", [rule("holdout better_by 0.02", "holdout", "holds", 0.36), guard], "All rules hold.")
    it.generated()
    it.evaluated()
    it.nodes()


def _rejected(it: Builder) -> None:
    it.probes(failing=50)
    it.budget(400)
    it.dataset(it.candidates(240, passing=0.6), replay=200, seeds=24)
    it.scores("holdout", 300, before=0.78, after=0.79)
    it.scores("basics", 120, before=0.95, after=0.80)
    undecided = rule(
        "holdout better_by 0.02",
        "holdout",
        "undecided",
        0.012,
        fixed=10,
        broken=6,
        items_needed=900,
        explanation="The gain could be chance: its interval reaches below the threshold.",
    )
    guard = rule(
        "basics not_worse_than 0.02",
        "basics",
        "fails",
        -0.058,
        comparison="not_worse_than",
        fixed=0,
        broken=7,
        items=120,
        explanation="The loss is larger than the margin.",
        incumbent=0.95,
        candidate=0.892,
    )
    it.decision("reject", [undecided, guard], "One rule fails.")
    it.generated()
    it.evaluated()
    it.nodes()


def _untrained(it: Builder) -> None:
    it.probes(failing=0)
    it.scores("holdout", 300, before=0.78, after=None)
    it.scores("basics", 120, before=0.95, after=None)
    it.decision("reject", [], "There is no candidate.", trained=False)
    it.generated()
    it.evaluated()
    it.nodes()


def query_of(db: duckdb.DuckDBPyConnection) -> Callable[[str, Sequence[Any]], list[Row]]:
    def query(sql: str, params: Sequence[Any] = ()) -> list[Row]:
        cursor = db.execute(sql, list(params))
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return query


FACTS = ReportFacts(
    name="shop-sql",
    description="Questions about a small shop, answered in SQL.",
    seed=7,
    generated_at="2026-11-20 12:30 UTC",
    command="flywheel apply flywheel.yaml",
    spec_text="version: 1\nname: shop-sql\n",
    spec_hash=fingerprint("spec"),
    suites=(SuiteFact("holdout", "target", "sql"), SuiteFact("basics", "guard", "sql")),
    teachers=(
        TeacherFact("terse", "python", True, "short, correct nine times in ten"),
        TeacherFact("chatty", "python", True, "explains at length"),
        TeacherFact("self", "student"),
    ),
    taxonomy=tuple(
        ModeFact(name, "critical" if name == "no_parse" else "major", f"the answer has: {name.replace('_', ' ')}")
        for name in MODES
    ),
    versions={"flywheel": "0.1.0", "torch": "2.13.0", "python": "3.11.2"},
    changed=(
        ("start", "Iteration 1 ended in “promote”; this one starts from the model that it promoted."),
        ("teachers", "teachers.chatty.style: “explains” → “explains at length”"),
        ("data", "evals/probes.jsonl: other contents"),
    ),
    generators=(
        GeneratorFact(
            "targeted",
            "targeted",
            {"terse": 0.5, "chatty": 0.25, "self": 0.25},
            {"terse": 0.6, "chatty": 0.3, "self": 0.1},
            "bandit",
        ),
    ),
    tasks=(TaskFact("sql", (("parses", "parses-1"), ("same_rows", "same_rows-1"), ("tone", "tone-1")), "both-1"),),
    judges=(JudgeFact("tone", "chatty", 0.6),),
)


Query = Callable[[str, Sequence[Any]], list[Row]]


@pytest.fixture(scope="session")
def shared() -> duckdb.DuckDBPyConnection:
    return build()


@pytest.fixture
def db(shared: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The store, to be changed at will: what a test does to it is rolled back."""
    shared.begin()
    yield shared
    shared.rollback()


@pytest.fixture(scope="session")
def shared_query(shared: duckdb.DuckDBPyConnection) -> Query:
    """For tests that only read."""
    return query_of(shared)


@pytest.fixture
def query(db: duckdb.DuckDBPyConnection) -> Query:
    return query_of(db)


@pytest.fixture(scope="session")
def facts() -> ReportFacts:
    return FACTS


@pytest.fixture(scope="session")
def turns() -> list[dict[str, list[str]]]:
    return chain()


@pytest.fixture(scope="session")
def promoted(shared_query: Query) -> Report:
    return assemble(shared_query, 1, chain(), FACTS)


@pytest.fixture(scope="session")
def rejected(shared_query: Query) -> Report:
    return assemble(shared_query, 2, chain(), FACTS)


@pytest.fixture(scope="session")
def untrained(shared_query: Query) -> Report:
    return assemble(shared_query, 3, chain(), FACTS)


HOSTILE = "<script>alert(1)</script></style><img src=x onerror=alert(2)>\u202etxt\x1b[31m&#106;avascript:alert(3)\u2028"


#: Where a model, a teacher or a spec can put text.
OPEN = {
    "scores": ("answer", "gold", "mode"),
    "candidates": ("problem", "generator", "teacher", "mode", "task"),
    "calls": ("teacher",),
    "budgets": ("mode",),
    "audits": ("source", "expected"),
    "calibrations": ("teacher",),
    "approvals": ("person", "note"),
    "ablations": ("name", "without", "suite"),
    "runs": ("sandbox",),
    "judged": ("reason", "verifier"),
    "curation": ("stage", "reason"),
    "failures": ("mode",),
    "dataset": ("mode", "teacher"),
    "verdicts": ("verifier", "version"),
    "nodes": ("name",),
    "decisions": ("explanation",),
    "deployments": ("model_id", "action"),
    "adapters": ("dataset_hash",),
}


@pytest.fixture(scope="session")
def hostile(shared: duckdb.DuckDBPyConnection, promoted: Report) -> Report:
    """The first iteration with hostile text everywhere, and a megabyte in every answer that is shown."""
    shown = [example.item_id for example in promoted.examples.rows]
    shared.begin()
    for table, columns in OPEN.items():
        for column in columns:
            shared.execute(f"UPDATE {table} SET {column} = ? WHERE {column} IS NOT NULL", [HOSTILE])
    shared.execute("UPDATE scores SET answer = answer || repeat('y', 1000000) WHERE item_id IN ?", [shown])
    shared.execute("UPDATE scores SET arm = arm || ? WHERE starts_with(arm, 'teacher')", [HOSTILE])
    shared.execute('UPDATE scores SET "row" = json_object(?, ?)', [HOSTILE, HOSTILE])
    shared.execute("UPDATE audits SET wrong = json_array(json_object('answer', ?, 'reason', ?))", [HOSTILE, HOSTILE])
    shared.execute("UPDATE calibrations SET confusion = json_object('problem', ?)", [HOSTILE])
    told = {"x": HOSTILE, HOSTILE: HOSTILE}
    summary = {"settings": told, "measured_before": [HOSTILE], "noise": {HOSTILE: {"items": 1, "differ": 1}},
               "too_long": {HOSTILE: 1}, "ran_on": {HOSTILE: {HOSTILE: 1}},
               "labels": {HOSTILE: {HOSTILE: {HOSTILE: {"gold": 1, "said": 0, "right": 0}}}},
               "lm_eval_commands": {HOSTILE: told}}  # fmt: skip
    shared.execute("UPDATE nodes SET summary = ? WHERE kind = 'evaluate'", [json.dumps(summary)])
    shared.execute("UPDATE nodes SET summary = json_merge_patch(summary, ?) WHERE kind = 'generate'",
                   [json.dumps({"calls_failed": {HOSTILE: 3}, "allocation": {HOSTILE: 1.0}})])  # fmt: skip
    shared.execute("UPDATE scores SET slices = json_object('wording', ?), item_id = item_id || ?", [HOSTILE, HOSTILE])
    facts = replace(
        FACTS,
        name=HOSTILE,
        description=HOSTILE,
        command=HOSTILE,
        generated_at=HOSTILE,
        changed=(("spec", HOSTILE),),
        generators=(GeneratorFact(HOSTILE, HOSTILE, {HOSTILE: 1.0}, {HOSTILE: 1.0}, HOSTILE),),
        teachers=(TeacherFact(HOSTILE, HOSTILE, True, HOSTILE),),
        versions={HOSTILE: HOSTILE},
        spec_text=HOSTILE * 90_000,
    )
    report = assemble(query_of(shared), 1, chain(), facts)
    shared.rollback()
    assert "1,000,0" in report.examples.rows[0].candidate_answer
    return report
