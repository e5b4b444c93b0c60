"""The page of `flywheel review`: who may write, what is kept, and what becomes of it."""

from __future__ import annotations

import json
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from flywheel.engine.reviewing.items import ReviewDesk, ReviewTable, tables_of
from flywheel.engine.reviewing.log import read_reviews
from flywheel.engine.reviewing.server import MOST_BYTES, FormRefused, ReviewRoom, desk_at, server
from flywheel.engine.reviewing.writing import write
from flywheel.errors import UsageError
from mini_domain import Domain, rows

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six rows, none with a right answer."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows(0, 6)))
    return path


@pytest.fixture
def room(table: Path) -> ReviewRoom:
    return ReviewRoom(ReviewDesk(table.parent, None, (ReviewTable(table, "label"),)), "Ada")


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, page
    return found[1]


def page_of(room: ReviewRoom, address: str, person: str = "Ada") -> str:
    response = room.get(address, person)
    while response.status == 303:
        response = room.get(dict(response.headers)["Location"], person)
    return response.body.decode()


def say(room: ReviewRoom, value: str, person: str = "Ada", address: str = "/next", **more: str) -> str:
    """A word on the next item; its name."""
    page = page_of(room, address, person)
    fields = {name: hidden(page, name) for name in ("token", "form", "item")}
    room.post("/word", {**fields, "say": "answer", "value": value, **more}, person)
    return fields["item"]


# --- going through ----------------------------------------------------------------------------------------------------


def test_rows_become_words_become_right_answers(room: ReviewRoom, table: Path) -> None:
    for i in range(5):
        say(room, "blue" if i % 2 else "red")
    say(room, "", say="none")
    page = page_of(room, "/")
    assert "6 of 6 settled; 6 by you." in page
    [written] = write(room.desk)
    assert (written.rows, written.left) == (5, 1)
    found = [json.loads(line) for line in table.read_text().splitlines()]
    assert [row.get("label") for row in found] == ["red", "blue", "red", "blue", "red", None]
    assert [written.rows for written in write(room.desk)] == [0]


def test_an_earlier_word_can_be_changed_and_both_are_kept(room: ReviewRoom) -> None:
    name = say(room, "red")
    page = page_of(room, f"/item?name={quote(name)}")
    assert ">\nred</textarea>" in page
    say(room, "blue", address=f"/item?name={quote(name)}")
    assert [r.value for r in read_reviews(room.desk.state)] == ["red", "blue"]
    write(room.desk)
    assert '"blue"' in room.desk.tables[0].path.read_text()


def test_two_people_are_asked_where_two_are_needed_and_agreement_is_told(room: ReviewRoom) -> None:
    room.needed = 2
    for person, answers in (("Ada", "rbrbrb"), ("Bob", "rbrbrr")):
        for answer in answers:
            say(room, answer, person)
    page = page_of(room, "/")
    assert "5 of 6 settled" in page
    assert "1 disputed" in page
    assert "alpha 0.69" in page
    say(room, "r", "Cyd")
    assert "6 of 6 settled" in page_of(room, "/")


def test_later_leads_to_the_next_one_and_round(room: ReviewRoom) -> None:
    names = []
    address = "/next"
    for _ in range(7):
        names.append(hidden(page_of(room, address), "item"))
        address = "/next?" + urlencode({"after": names[-1]})
    assert len(set(names)) == 6
    assert names[6] == names[0]


def test_without_a_name_the_page_asks_for_one(room: ReviewRoom) -> None:
    assert "Who are you?" in page_of(room, "/", "")
    response = room.post("/person", {"token": room.token, "person": " Zoë "}, "")
    assert "reviewer=Zo%C3%AB;" in dict(response.headers)["Set-Cookie"]
    with pytest.raises(FormRefused, match="name is needed"):
        room.post("/person", {"token": room.token, "person": " "}, "")


def test_what_few_answers_there_are_is_chosen(table: Path) -> None:
    known = [*rows(10, 8), {"text": "a new sky"}]
    table.write_text("".join(json.dumps(row) + "\n" for row in known))
    room = ReviewRoom(ReviewDesk(table.parent, None, (ReviewTable(table, "label"),)), "Ada")
    assert 'type="radio" name="value" value="blue"' in page_of(room, "/next")
    with pytest.raises(FormRefused, match="The answers are: blue, red"):
        say(room, "green")


HOSTILE = '"><script>alert(1)</script>\u202e{{ "ha" * 3 }}'


def test_hostile_rows_names_and_words_are_only_shown(table: Path) -> None:
    table.write_text(json.dumps({"text": HOSTILE}) + "\n")
    room = ReviewRoom(ReviewDesk(table.parent, None, (ReviewTable(table, "label"),)), HOSTILE)
    name = say(room, HOSTILE, HOSTILE, note=HOSTILE)
    for page in (page_of(room, "/", HOSTILE), page_of(room, f"/item?name={quote(name)}", HOSTILE)):
        assert "<script>" not in page
        assert "hahaha" not in page
    assert read_reviews(room.desk.state)[0].value == HOSTILE


@pytest.mark.parametrize(
    ("paths", "target", "words"),
    [
        (["rows.jsonl"], None, "--target"), (["none.jsonl"], "label", "no such file"),
        (["rows.csv"], "label", "JSON lines only"), (["rows.jsonl", "more/rows.jsonl"], "label", "one name"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_reviewed_are_refused(
    table: Path, paths: list[str], target: str | None, words: str
) -> None:
    (table.parent / "more").mkdir()
    for copy in ("rows.csv", "more/rows.jsonl"):
        (table.parent / copy).write_bytes(table.read_bytes())
    with pytest.raises(UsageError, match=words):
        tables_of([table.parent / path for path in paths], target)


# --- round the wheel --------------------------------------------------------------------------------------------------


def test_what_was_said_on_the_page_is_a_lesson_of_the_next_apply(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["generate"].append({"name": "experts", "strategy": "human", "accept": 3, "rounds": 1})
        spec["loop"]["iterations"] = 2
        spec["gate"] = [{"suite": "holdout", "better_by": 0.99}]

    domain.edit(change)
    assert not domain.apply(iterations=1).error
    queue = domain.root / "human" / "experts.jsonl"
    before = queue.read_bytes()
    room = ReviewRoom(desk_at(domain.root / "flywheel.yaml", ()), "Ada")
    name = say(room, "blue")
    skipped = say(room, "", say="none")

    assert not domain.apply().error

    [taken] = domain.query("SELECT target, reference_from, parent_id FROM candidates WHERE teacher = 'human'")
    assert taken == {"target": "blue", "reference_from": "person", "parent_id": name.rpartition("/")[2]}
    assert queue.read_bytes().startswith(before)
    assert domain.query("SELECT item FROM reviews ORDER BY sequence") == [{"item": name}, {"item": skipped}]
    notes = domain.query("SELECT summary FROM nodes WHERE name = 'i2.generate.experts.r1'")[0]["summary"]
    assert notes["answered"] == 1


def test_an_answer_in_the_file_counts_before_one_on_the_page(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["generate"].append({"name": "experts", "strategy": "human", "accept": 3, "rounds": 1})

    domain.edit(change)
    (domain.root / "human").mkdir()
    domain.write_rows("human/experts.jsonl", [{"id": "a", "mode": "not_blue", "text": "old sky 5", "label": None}])
    room = ReviewRoom(desk_at(domain.root / "flywheel.yaml", ()), "Ada")
    say(room, "red")
    domain.write_rows("human/experts.jsonl", [{"id": "a", "mode": "not_blue", "text": "old sky 5", "label": "blue"}])
    assert "Lessons of experts" not in page_of(room, "/")
    assert not domain.apply().error
    assert domain.query("SELECT target FROM candidates WHERE teacher = 'human'") == [{"target": "blue"}]


def test_a_spec_whose_rows_have_no_right_answer_at_all_goes_by_way_of_people(domain: Domain, flywheel: Any) -> None:
    names = ("probes", "seeds", "holdout", "guard")
    paths = [domain.root / "evals" / f"{name}.jsonl" for name in names]
    known = {row["text"]: row["label"] for path in paths for row in map(json.loads, path.read_text().splitlines())}
    for path in paths:
        domain.write_rows(f"evals/{path.name}", [{"text": row["text"]} for row in map(json.loads, path.open())])
    code, _, error = flywheel(domain, "validate")
    assert code == 4
    assert "flywheel review --rows evals/probes.jsonl --target label" in error

    room = ReviewRoom(desk_at(domain.root / "flywheel.yaml", tables_of(paths, "label")), "Ada")
    for item in room.desk.items():
        say(room, known[item.question["text"]], address=f"/item?name={quote(item.name)}")
    rows = [word for name in names for word in ("--rows", f"evals/{name}.jsonl")]
    code, said, _ = flywheel(domain, "review", *rows, "--target", "label", "--write")

    assert (code, said.count(" 0 still open")) == (0, 4)
    assert flywheel(domain, "validate")[0] == 0
    assert domain.apply().exit_code == 0


def test_what_the_gate_promoted_is_approved_on_the_page(domain: Domain) -> None:
    domain.edit(lambda spec: spec.update(deploy={"approve": "human"}))
    assert domain.apply().exit_code == 6
    room = ReviewRoom(desk_at(domain.root / "flywheel.yaml", ()), "Ada")
    page = page_of(room, "/")
    assert "Iteration 1 was promoted" in page
    room.post("/approval", {"token": room.token, "iteration": "1", "say": "approve", "note": "fine"}, "Ada")
    assert "was promoted" not in page_of(room, "/")
    assert domain.query("SELECT person, verdict, note FROM approvals") == [
        {"person": "Ada", "verdict": "approve", "note": "fine"}
    ]
    assert domain.apply().exit_code == 0


def test_answers_are_labelled_for_a_judge_and_written_into_its_cases(applied: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["verifiers"]["judge"] = {
            "kind": "judge", "teacher": "careless", "rubric": "prompts/rubric.md", "calibration": "evals/cases.jsonl"
        }  # fmt: skip
        spec["tasks"]["colour"]["verify"] = ["known", "judge"]
        spec["generate"][0]["teachers"] = ["careful"]

    (applied.root / "prompts" / "rubric.md").write_text("Is {{ answer }} the colour of {{ row.text }}?")
    applied.write_rows("evals/cases.jsonl", [{"text": "old sky 1", "answer": "blue", "label": "pass"}])
    applied.edit(change)
    room = ReviewRoom(desk_at(applied.root / "flywheel.yaml", ()), "Ada")
    name = say(room, "fail")
    [written] = write(room.desk)
    assert written.rows == 1
    [first, added] = [json.loads(line) for line in (applied.root / "evals" / "cases.jsonl").read_text().splitlines()]
    assert first["text"] == "old sky 1"
    assert set(added) == {"text", "answer", "label", "reference"}
    assert added["label"] == "fail"
    assert name not in room.items({}, anew=True)
    assert applied.open().spec.verifiers["judge"].may_gate


# --- who may write ----------------------------------------------------------------------------------------------------


@pytest.fixture
def address(room: ReviewRoom) -> Iterator[tuple[str, int]]:
    running = server(room)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield "127.0.0.1", running.server_port
    running.shutdown()
    running.server_close()


def ask(address: tuple[str, int], method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
    connection = HTTPConnection(*address, timeout=30)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body or None, {**(FORM if method == "POST" else {}), **sent})
    response = connection.getresponse()
    found = response.status, response.read().decode()
    connection.close()
    return found


def word_body(room: ReviewRoom, **more: str) -> str:
    page = page_of(room, "/next")
    return urlencode(
        {**{n: hidden(page, n) for n in ("token", "form", "item")}, "value": "red", "say": "answer", **more}
    )


def test_a_form_of_the_page_is_taken(room: ReviewRoom, address: tuple[str, int]) -> None:
    assert ask(address, "POST", "/word", word_body(room))[0] == 303
    assert [r.value for r in read_reviews(room.desk.state)] == ["red"]


@pytest.mark.parametrize(
    ("headers", "fields", "status"),
    [
        ({"Host": "evil.example"}, {}, 403), ({"Sec_Fetch_Site": "cross-site"}, {}, 403), ({}, {"token": "x"}, 403),
        ({}, {"token": ""}, 403), ({"Content_Type": "text/plain"}, {}, 415), ({}, {"form": "x"}, 400),
        ({}, {"item": "gold/rows.jsonl/none"}, 404), ({}, {"value": " "}, 400),
        ({"Content_Length": str(MOST_BYTES + 1)}, {}, 413), ({"Content_Length": "-1"}, {}, 411),
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_nothing_kept(
    room: ReviewRoom, address: tuple[str, int], headers: dict[str, str], fields: dict[str, str], status: int
) -> None:
    assert ask(address, "POST", "/word", word_body(room, **fields), **headers)[0] == status
    assert read_reviews(room.desk.state) == []


def test_no_page_lets_another_site_read_or_frame_it(address: tuple[str, int]) -> None:
    connection = HTTPConnection(*address, timeout=30)
    connection.request("GET", "/", headers={"Origin": "http://evil.example"})
    headers = connection.getresponse().headers
    assert headers["Access-Control-Allow-Origin"] is None
    assert headers["X-Frame-Options"] == "DENY"
    connection.close()
    assert ask(address, "GET", "/", Host="evil.example")[0] == 403
    assert ask(address, "OPTIONS", "/word")[0] == 501
    assert ask(address, "GET", "/../flywheel.yaml")[0] == 404


# --- killed -----------------------------------------------------------------------------------------------------------


def people_at_work(port: int, table: Path, acknowledged: list[tuple[str, str]], stop: threading.Event) -> None:
    """Words on whatever is next, until the server is gone; what it answered to is written down."""
    person = f"person {threading.get_ident()}"
    cookie = {"Cookie": f"reviewer={quote(person)}"}
    while not stop.is_set():
        try:
            status, page = ask(("127.0.0.1", port), "GET", f"/item?name={quote(chosen(table))}", **cookie)
            fields = {name: hidden(page, name) for name in ("token", "form", "item")}
            body = urlencode({**fields, "value": "red", "say": "answer"})
            status, _ = ask(("127.0.0.1", port), "POST", "/word", body, **cookie)
            assert status == 303
            acknowledged.append((fields["form"], person))
        except (OSError, HTTPException):
            return


def chosen(table: Path) -> str:
    row = json.loads(random.choice(table.read_text().splitlines()))
    return ReviewTable(table, "label").item_of(row)


@pytest.mark.parametrize("number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 8))])
def test_a_killed_server_loses_no_acknowledged_word_and_doubles_none(table: Path, number: int) -> None:
    domain = Domain(table.parent)
    acknowledged: list[tuple[str, str]] = []
    rng = random.Random(number)
    for _ in range(2):
        process = domain.start("review", "--rows", "rows.jsonl", "--target", "label", stand_in=False)
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2].split("/")[0])
        stop = threading.Event()
        threads = [
            threading.Thread(target=people_at_work, args=(port, table, acknowledged, stop), daemon=True)
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        before = len(acknowledged)
        while len(acknowledged) < before + 3:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        stop.set()
        for thread in threads:
            thread.join()
    kept = [review.review_id for review in read_reviews(domain.root / ".flywheel")]
    assert len(kept) == len(set(kept))
    assert {form for form, _ in acknowledged} <= set(kept)
    assert len(kept) <= len(acknowledged) + 6  # one on its way for each of three people, twice
