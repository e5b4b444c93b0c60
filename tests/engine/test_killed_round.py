"""The server, the wheel and the review page of one project, killed at any moment: what was told is kept, once."""

from __future__ import annotations

import random
import re
import secrets
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from flywheel.engine.reviewing.log import read_reviews
from mini_domain import Domain
from served_domain import records

ASKING, REVIEWING = 3, 2
#: How often each is killed: twenty times together.
KILLS = {"server": 7, "wheel": 7, "page": 6}
#: Seconds between two requests of one client.
PAUSE = 0.05
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass
class Kept:
    """A server that is started again whenever it was killed."""

    domain: Domain
    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None
    address: str = ""

    def start(self) -> None:
        said = self.domain.root / f"{self.arguments[0]}.log"
        with said.open("w") as log:
            self.process = subprocess.Popen(
                self.domain.command(*self.arguments), cwd=self.domain.root, stdout=log, stderr=log
            )
        wait_for(lambda: ADDRESS.search(said.read_text()) is not None, said.read_text)
        self.address = ADDRESS.findall(said.read_text())[0]

    def killed(self, rng: random.Random, kills: int, told: Callable[[], int]) -> None:
        """Each time a moment after it told somebody something again."""
        for _ in range(kills):
            enough = told() + rng.randint(1, 12)
            wait_for(lambda enough=enough: told() >= enough)
            time.sleep(rng.uniform(0, 0.3))
            assert self.process is not None
            assert self.process.poll() is None, "it ended by itself"
            self.process.kill()
            self.process.wait()
            self.start()

    def end(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


@dataclass
class Wheel:
    """`flywheel watch --once`, over and over."""

    domain: Domain
    over: threading.Event
    seconds: float
    """That a turn takes."""
    turned: list[tuple[int, str]] = field(default_factory=list)
    """Exit status, and what was said."""
    process: subprocess.Popen[str] | None = None

    def go_on(self) -> None:
        while not self.over.is_set():
            self.process = self.domain.start("watch", "--new", "1", "--once")
            said = "".join(self.process.communicate())
            self.turned.append((self.process.returncode, said))

    def killed(self, rng: random.Random, kills: int) -> None:
        """At any moment of a turn, its start and its end among them."""
        for _ in range(kills):
            before = len(self.turned)
            time.sleep(rng.uniform(0, 1.3 * self.seconds))
            wait_for(lambda: self.process is not None and self.process.poll() is None)
            assert self.process is not None
            self.process.kill()
            wait_for(lambda before=before: len(self.turned) > before)


@dataclass
class Told:
    """What those who asked, spoke and reviewed were told."""

    answers: dict[str, str] = field(default_factory=dict)
    """Receipt → what was asked."""
    feedback: dict[str, str] = field(default_factory=dict)
    """Id → receipt."""
    reviews: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Form → item, person, value."""
    refused: list[str] = field(default_factory=list)


def wait_for(condition: Callable[[], bool], said: Callable[[], str] = str, seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, said()
        time.sleep(0.02)


def asking(server: Kept, told: Told, over: threading.Event, number: int) -> None:
    rng = random.Random(number)
    while not over.is_set():
        text = f"old {rng.choice(['sky', 'sea', 'rose'])} {secrets.randbelow(10**9)}"
        try:
            with httpx.Client(base_url=server.address, timeout=60) as client:
                body = {"flywheel": {"task": "colour", "row": {"text": text}}}
                said = client.post("/v1/chat/completions", json=body)
                if said.status_code != 200:
                    told.refused.append(said.text)
                    continue
                receipt = said.json()["id"]
                told.answers[receipt] = text
                right = "red" if "rose" in text else "blue"
                is_right = said.json()["choices"][0]["message"]["content"] == right
                word: dict[str, Any] = {"rating": 1} if is_right else {"rating": -1, "correction": right}
                word = client.post("/feedback", json={"receipt": receipt, **word}).raise_for_status().json()
                told.feedback[word["id"]] = receipt
        except httpx.TransportError:  # it was killed: nobody was told anything
            pass
        over.wait(PAUSE)


def reviewing(page: Kept, told: Told, over: threading.Event, number: int) -> None:
    """A form that nobody said was kept is sent again, as a browser does; each start of the page has its own mark."""
    rng, form = random.Random(number), ""
    person, value = "", ""
    while not over.is_set():
        form = form or secrets.token_hex(16)
        person, value = person or f"person {number} {secrets.token_hex(3)}", value or rng.choice(["red", "blue"])
        try:
            with httpx.Client(base_url=page.address, timeout=60, cookies={"reviewer": person}) as client:
                items = re.findall(r'/item\?name=[^"&]+', client.get("/").text)
                item = httpx.URL(items[number]).params["name"]
                [mark] = re.findall(r'name="token" value="([^"]+)"', client.get(items[number]).text)
                fields = {"token": mark, "form": form, "item": item, "value": value}
                said = client.post("/word", data=fields)
                if said.status_code == 303:
                    told.reviews[form] = (item, person, value)
                    form = person = value = ""
                elif said.status_code != 403:  # killed between the two: the mark is of the former one
                    told.refused.append(said.text)
        except httpx.TransportError:
            pass
        over.wait(PAUSE)


@pytest.fixture
def watched(tmp_path: Path) -> Domain:
    """Not yet turned: with a queue for people, and traffic that is looked at."""

    def change(spec: dict[str, Any]) -> None:
        spec["traffic"] = {"match": {"colour": {"limit": 100}}}
        spec["generate"].append({"name": "experts", "strategy": "human", "accept": 3, "rounds": 1})

    return Domain.written(tmp_path / "project").edit(change)


def first_turn(domain: Domain) -> float:
    """The seconds that it takes."""
    began = time.monotonic()
    done = domain.run("apply")
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whoever_is_killed_what_anybody_was_told_is_kept_once(watched: Domain) -> None:
    told, over = Told(), threading.Event()
    server, page = Kept(watched, ("serve", "--port", "0")), Kept(watched, ("review",))
    wheel = Wheel(watched, over, first_turn(watched))
    server.start()
    page.start()
    with ThreadPoolExecutor(ASKING + REVIEWING + 1 + len(KILLS)) as pool:
        tasks = [pool.submit(asking, server, told, over, number) for number in range(ASKING)]
        tasks += [pool.submit(reviewing, page, told, over, number) for number in range(REVIEWING)]
        tasks.append(pool.submit(wheel.go_on))
        killing = [
            pool.submit(server.killed, random.Random(1), KILLS["server"], lambda: len(told.feedback)),
            pool.submit(page.killed, random.Random(2), KILLS["page"], lambda: len(told.reviews)),
            pool.submit(wheel.killed, random.Random(3), KILLS["wheel"]),
        ]
        wait(killing)
        over.set()
    for task in [*killing, *tasks]:
        task.result()
    server.end()
    page.end()
    last = watched.run("watch", "--new", "1", "--once")

    statuses = Counter(status for status, _ in wheel.turned)
    assert told.refused == []
    assert last.returncode in (0, 3), last.stderr
    assert statuses.pop(-signal.SIGKILL) == KILLS["wheel"]
    assert set(statuses) <= {0, 3}, wheel.turned
    assert_served(watched, told)
    assert_reviewed(watched, told)
    assert_turned(watched)


def assert_served(domain: Domain, told: Told) -> None:
    """In the log, and from there in the store; of what nobody was told, no more than was on its way at a kill."""
    found = records(domain)
    answers = {record["id"]: record["row"]["text"] for record in found if record["kind"] == "answer"}
    feedback = {record["id"]: record["receipt"] for record in found if record["kind"] == "feedback"}
    assert len(answers) + len(feedback) == len(found), "nothing is there twice"
    assert told.answers.items() <= answers.items()
    assert told.feedback.items() <= feedback.items()
    assert len(found) - len(told.answers) - len(told.feedback) <= KILLS["server"] * ASKING
    stored = domain.query("""SELECT source_id, "row"->>'text' AS text FROM traffic""")
    assert sorted((row["source_id"], row["text"]) for row in stored) == sorted(answers.items())
    stored = domain.query("SELECT opinion_id, about FROM feedback")
    assert sorted((row["opinion_id"], row["about"]) for row in stored) == sorted(feedback.items())


def assert_reviewed(domain: Domain, told: Told) -> None:
    found = [(one.review_id, (one.item, one.person, one.value)) for one in read_reviews(domain.root / ".flywheel")]
    kept = dict(found)
    assert len(kept) == len(found), "nothing is there twice"
    assert told.reviews.items() <= kept.items()
    assert len(kept) - len(told.reviews) <= REVIEWING, "an unanswered form was sent again until it was taken"
    stored = domain.query("SELECT review_id, item, person, value FROM reviews ORDER BY sequence")
    assert [(row["review_id"], (row["item"], row["person"], row["value"])) for row in stored] == found


def assert_turned(domain: Domain) -> None:
    """No step was recorded twice, no word became two lessons (one that was too many for its iteration's budget comes
    again), and each exchange was looked at once an iteration."""
    assert domain.query("SELECT node FROM nodes GROUP BY node HAVING count(*) > 1") == []
    again = """SELECT parent_id FROM candidates LEFT JOIN curation USING (candidate_id)
               WHERE teacher = 'human' AND stage IS DISTINCT FROM 'quota' GROUP BY ALL HAVING count(*) > 1"""
    assert domain.query(again) == []
    twice = "SELECT source_id FROM answers WHERE source_id IS NOT NULL GROUP BY node, source_id HAVING count(*) > 1"
    assert domain.query(twice) == []
