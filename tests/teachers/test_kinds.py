"""Functions, files and the student as teachers; what identifies a teacher."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from desks import chat_teacher, request

from flywheel.errors import SpecInvalid
from flywheel.records import Generation, Message, Reply, Row
from flywheel.spec.teachers import DatasetTeacher, PythonTeacher, StudentTeacher, Teacher
from flywheel.teachers import Desk, parameters
from flywheel.teachers.dataset import in_proportion

TEACH = """
import json, sys, time

def teach(request):
    return json.dumps([{"q": request["prompt"], "style": request["style"], "times": request["options"]["times"]}])

def mutates(request):
    request["failures"].append("mine"); request["row"]["q"] = "changed"
    return "ok"

def raises(request):
    raise ValueError("no idea")

def leaves(request):
    sys.exit(0)

def hangs(request):
    time.sleep(60)

def returns_rows(request):
    return [{"q": 1}]

def seen(request):
    return json.dumps(sorted(request))

def silent(request):
    return " "
"""


def python_teacher(function: str = "teach", **changes: Any) -> PythonTeacher:
    return PythonTeacher(kind="python", function=f"teachers.py:{function}", **{"options": {"times": 3}, **changes})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "teachers.py").write_text(TEACH)
    return tmp_path


def ask(project: Path, teacher: Teacher, *requests: Any, **more: Any) -> list[Reply]:
    with Desk({"gpt": teacher}, project, project / "calls", **more) as desk:
        return desk.ask(list(requests))


# --- functions


def test_a_function_answers(project: Path) -> None:
    (reply,) = ask(project, python_teacher(style="terse"), request(4))
    assert json.loads(reply.text) == [{"q": "prompt 4", "style": "terse", "times": 3}]
    assert (reply.model, reply.usd, reply.attempts) == ("teachers.py:teach", 0.0, 1)


def test_a_function_sees_a_copy(project: Path) -> None:
    asked = request(0, failures=({"row": {}},), row={"q": "mine"})
    ask(project, python_teacher("mutates"), asked)
    assert (asked.failures, asked.row) == (({"row": {}},), {"q": "mine"})


def test_what_a_function_sees(project: Path) -> None:
    (reply,) = ask(project, python_teacher("seen"), request(0))
    names = "failures item messages mode mode_description n options prompt purpose row sample seed seeds style task"
    assert json.loads(reply.text) == names.split()


@pytest.mark.parametrize(
    ("function", "fault", "detail"),
    [
        ("raises", "crashed", "teachers.py:12: ValueError: no idea"),
        ("leaves", "crashed", "SystemExit"),
        ("returns_rows", "malformed", "returned list, not text"),
        ("silent", "empty", "returned no text"),
        ("hangs", "timeout", "no answer within 0.2 s"),
    ],
)
def test_a_function_that_fails(project: Path, function: str, fault: str, detail: str) -> None:
    started = time.monotonic()
    (reply,) = ask(project, python_teacher(function, timeout_seconds=0.2), request(0))
    assert (reply.status, reply.fault, reply.attempts) == ("failed", fault, 1)
    assert detail in reply.detail
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("teachers.py:teech", r'has no function or class "teech"\. Did you mean "teach"\?'),
        ("teacher.py:teach", r'there is no file "teacher.py"\. Did you mean "teachers.py"\?'),
        ("../teachers.py:teach", "lies outside the project"),
        ("broken.py:teach", r"broken.py cannot be loaded: .*NameError"),
    ],
)
def test_a_function_that_is_not_there(project: Path, function: str, message: str) -> None:
    (project / "broken.py").write_text("oops\n")
    with pytest.raises(SpecInvalid, match=message):
        ask(project, PythonTeacher(kind="python", function=function), request(0))


# --- files


def rows_file(project: Path, rows: list[Row]) -> DatasetTeacher:
    (project / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DatasetTeacher(kind="dataset", path="rows.jsonl")


def given(replies: list[Reply]) -> list[list[Row]]:
    return [json.loads(reply.text) for reply in replies]


def test_a_file_gives_every_row_once_and_then_nothing(project: Path) -> None:
    teacher = rows_file(project, [{"q": i} for i in range(12)])
    slices = given(ask(project, teacher, *[request(i) for i in range(4)]))
    assert [len(rows) for rows in slices] == [5, 5, 2, 0]
    order = [row["q"] for rows in slices for row in rows]
    assert sorted(order) == list(range(12))
    assert order != list(range(12))


def test_the_order_hangs_on_seed_and_mode_only(project: Path) -> None:
    teacher = rows_file(project, [{"q": i} for i in range(50)])

    def pick(folder: str, mode: str = "wrong", **more: Any) -> list[list[Row]]:
        with Desk({"gpt": teacher}, project, project / folder, **more) as desk:
            return given(desk.ask([request(2, mode=mode)]))

    assert pick("a", seed=3) == pick("b", seed=3)
    assert pick("c", seed=4) != pick("a", seed=3)
    assert pick("d", seed=3, mode="other") != pick("a", seed=3)


def test_rows_match_the_failures_in_proportion(project: Path) -> None:
    rows = [{"text": f"{label} {i}", "label": label} for label in ("card", "cash", "loan") for i in range(40)]
    teacher = rows_file(project, rows).model_copy(update={"match": "label"})
    # The target is not in a failure's row: its gold is what counts.
    failures = tuple({"row": {"text": "?"}, "gold": gold} for gold in ["card"] * 3 + ["cash"])
    replies = ask(project, teacher, *[request(i, n=20, failures=failures) for i in range(5)])
    slices = given(replies)
    assert [Counter(r["label"] for r in rows) for rows in slices[:2]] == [{"card": 15, "cash": 5}] * 2
    assert [len(rows) for rows in slices] == [20, 20, 20, 20, 0]
    texts = [row["text"] for rows in slices for row in rows]
    assert len(set(texts)) == len(texts) == 80


def test_rows_match_by_an_input_column(project: Path) -> None:
    teacher = rows_file(project, [{"topic": t, "q": i} for i in range(9) for t in ("a", "b")])
    failures = ({"row": {"topic": "b"}, "gold": "a"},)
    (reply,) = ask(project, teacher.model_copy(update={"match": "topic"}), request(0, failures=failures))
    assert {row["topic"] for row in json.loads(reply.text)} == {"b"}


def test_rows_match_by_the_mode_itself(project: Path) -> None:
    teacher = rows_file(project, [{"mode": m, "q": i} for i in range(9) for m in ("wrong", "late")])
    (reply,) = ask(project, teacher.model_copy(update={"match": "mode"}), request(0, mode="late"))
    assert {row["mode"] for row in json.loads(reply.text)} == {"late"}


def test_recorded_answers(project: Path) -> None:
    teacher = rows_file(project, [{"q": "one", "a": "1"}, {"q": "two", "a": {"n": 2}}])
    asked = [request(0, purpose="answer", row={"q": q}) for q in ("one", "two", "three")]
    one, two, three = ask(project, teacher, *asked)
    assert (one.text, two.text) == ("1", '{"n": 2}')
    assert (three.status, three.fault) == ("failed", "empty")


def test_a_bad_file_is_named(project: Path) -> None:
    (project / "rows.jsonl").write_text('{"q": 1}\n{"q": \n')
    with pytest.raises(SpecInvalid, match=r"rows\.jsonl:2"):
        ask(project, DatasetTeacher(kind="dataset", path="rows.jsonl"), request(0))
    with pytest.raises(SpecInvalid, match=r'there is no file "row.jsonl"'):
        ask(project, DatasetTeacher(kind="dataset", path="row.jsonl"), request(0))


def test_interleaving_keeps_proportions_in_every_prefix() -> None:
    order = in_proportion([(6, list(range(60))), (3, list(range(100, 130))), (1, list(range(200, 210)))])
    assert len(order) == 100
    for end in range(10, 101, 10):
        counts = Counter(member // 100 for member in order[:end])
        assert counts == {0: 0.6 * end, 1: 0.3 * end, 2: 0.1 * end}


# --- the student


class Sampler:
    """A student that repeats its prompt and notes its batches."""

    def __init__(self, truncated: bool = False) -> None:
        self.batches: list[list[str]] = []
        self.seeds: list[int] = []
        self.truncated = truncated

    def __call__(self, prompts: list[str], temperature: float, top_p: float, seeds: list[int]) -> list[Generation]:
        self.batches.append(prompts)
        self.seeds += seeds
        return [Generation(str(i), f"{temperature} {top_p} {p}", 3, self.truncated) for i, p in enumerate(prompts)]


STUDENT = StudentTeacher(kind="student", temperature=0.7, top_p=0.9)


def test_the_student_answers_in_one_batch(project: Path) -> None:
    sampler = Sampler()
    asked = [request(i, purpose="answer", row={"q": i}) for i in range(200)]
    replies = ask(project, STUDENT, *asked, generate=sampler)
    assert [reply.text for reply in replies] == [f"0.7 0.9 prompt {i}" for i in range(200)]
    assert [len(batch) for batch in sampler.batches] == [200]
    assert len(set(sampler.seeds)) == 200


def test_samples_of_one_row_have_their_own_seeds(project: Path) -> None:
    sampler = Sampler()
    same = (Message("user", "x"),)
    ask(project, STUDENT, *[request(i, messages=same) for i in range(5)], generate=sampler)
    again = Sampler()
    ask(project / "again", STUDENT, *[request(i, messages=same) for i in range(5)], generate=again)
    assert len(set(sampler.seeds)) == 5
    assert sampler.seeds == again.seeds


def test_a_truncated_answer_of_the_student_is_a_fault(project: Path) -> None:
    (reply,) = ask(project, STUDENT, request(0), generate=Sampler(truncated=True))
    assert (reply.status, reply.fault) == ("failed", "truncated")


def test_an_error_of_the_student_reaches_the_asker(project: Path) -> None:
    def generate(prompts: list[str], temperature: float, top_p: float, seeds: list[int]) -> list[Generation]:
        raise RuntimeError("the worker is gone")

    with pytest.raises(RuntimeError, match="the worker is gone"):
        ask(project, STUDENT, request(0), generate=generate)


def test_kinds_are_asked_side_by_side_from_two_threads(project: Path) -> None:
    teachers: dict[str, Teacher] = {"py": python_teacher(), "me": STUDENT}
    found: dict[str, list[Reply]] = {}
    with Desk(teachers, project, project / "calls", generate=Sampler()) as desk:

        def run(name: str) -> None:
            found[name] = desk.ask([request(i, teacher=name) for i in range(20)])

        threads = [threading.Thread(target=run, args=(name,)) for name in teachers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(reply.status == "ok" for replies in found.values() for reply in replies)
    assert {name: len(replies) for name, replies in found.items()} == {"py": 20, "me": 20}


# --- what identifies a teacher


def test_everything_that_can_change_an_answer_is_a_parameter(project: Path) -> None:
    base = parameters("t", python_teacher(), project)
    assert parameters("t", python_teacher(concurrency=3, timeout_seconds=1.0, max_calls=1), project) == base
    assert parameters("t", python_teacher(style="chatty"), project) != base
    assert parameters("t", python_teacher(options={"times": 4}), project) != base
    (project / "teachers.py").write_text(TEACH + "# edited\n")
    assert parameters("t", python_teacher(), project) != base

    rows = parameters("t", rows_file(project, [{"q": 1}]), project)
    assert parameters("t", rows_file(project, [{"q": 2}]), project) != rows


def test_secrets_and_prices_are_no_parameters(project: Path) -> None:
    base = parameters("t", chat_teacher("${env:BASE}/v1"), project)
    assert base["api_base"] == "${env:BASE}/v1"
    assert base["model"] == "openai/stub"
    assert "api_key" not in base
    assert parameters("t", chat_teacher("${env:BASE}/v1", api_key=None, usd_per_million_input=9.0), project) == base
    assert parameters("t", chat_teacher("${env:BASE}/v1", temperature=0.1), project) != base
    assert parameters("t", chat_teacher("${env:BASE}/v1", max_tokens=7), project) != base
