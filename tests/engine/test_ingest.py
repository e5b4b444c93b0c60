"""Production traffic in: once, whole or not at all, nothing lost without a reason, nothing personal stored."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flywheel.engine.forget import forget
from flywheel.engine.ingest import Ingested, ingest
from flywheel.errors import SpecInvalid, StoreLocked, UsageError
from flywheel.store import Store
from mini_domain import Domain

SERVED = {
    "kind": "answer", "id": "r1", "at": "2026-11-28T10:00:00Z", "model_id": "m1", "task": "colour",
    "row": {"text": "old sky 7"}, "messages": None, "prompt": "old sky 7\ncolour:", "answer": "red",
    "finish_reason": "stop", "prompt_tokens": 9, "completion_tokens": 1, "seconds": 0.2,
}  # fmt: skip
FEEDBACK = {
    "kind": "feedback", "id": "f1", "receipt": "r1", "at": "2026-11-28T10:01:00Z", "rating": -1, "correction": "blue",
    "comment": "ask ada@example.org",
}  # fmt: skip


def written(domain: Domain, name: str, items: Sequence[Any], end: str = "") -> Path:
    path = domain.root / name
    path.write_text("".join(json.dumps(item) + "\n" for item in items) + end)
    return path


def taken_in(domain: Domain, *files: Path, **options: Any) -> list[Ingested]:
    return list(ingest(domain.open(), files, **options))


def chat(*texts: str, **beside: Any) -> dict[str, Any]:
    """The user and the assistant in turn."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)], **beside}


def test_the_own_servers_log_comes_in_with_what_people_said(domain: Domain) -> None:
    (done,) = taken_in(domain, written(domain, "served.jsonl", [SERVED, FEEDBACK]))
    assert (done.format, done.items, done.stored, done.opinions) == ("flywheel", 2, 1, 1)
    (row,) = domain.query("SELECT * FROM traffic")
    assert (row["source_id"], row["name"], row["row"], row["answer"]) == ("r1", "colour", {"text": "old sky 7"}, "red")
    assert row["called_at"].isoformat() == "2026-11-28T10:00:00+00:00"
    (said,) = domain.query("SELECT * FROM feedback")
    assert (said["about"], said["rating"], said["correction"], said["author"]) == ("r1", -1, "blue", "person")
    assert "ada@" not in said["comment"]


def test_the_same_file_twice_brings_nothing_new(domain: Domain) -> None:
    files = [
        written(domain, "served.jsonl", [SERVED, FEEDBACK]),
        written(domain, "openai.jsonl", [chat("a", "b"), chat("c", "d", id="with-id")]),
    ]
    taken_in(domain, *files)
    before = domain.query("SELECT * FROM traffic ORDER BY source_id")
    again = taken_in(domain, *files)
    assert [(done.stored, done.completed, done.opinions, done.known) for done in again] == [(0, 0, 0, 2)] * 2
    assert domain.query("SELECT * FROM traffic ORDER BY source_id") == before


def test_a_line_that_a_kill_cut_off_is_dropped_and_counted_and_any_other_is_named(domain: Domain) -> None:
    (done,) = taken_in(domain, written(domain, "served.jsonl", [SERVED], end='{"kind": "answ'))
    assert (done.items, done.stored, dict(done.refused)) == (2, 1, {"a last line that was cut off": 1})
    broken = written(domain, "broken.jsonl", [SERVED], end='{"kind": "answ\n' + json.dumps(FEEDBACK) + "\n")
    with pytest.raises(SpecInvalid, match=r"broken\.jsonl:2: not JSON"):
        taken_in(domain, broken)


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ({**SERVED, "kind": "other"}, 'a line of the kind "other"'),
        ({key: value for key, value in SERVED.items() if key != "answer"}, 'without "answer"'),
        ({**FEEDBACK, "rating": 5}, "a rating of 5"),
    ],
)
def test_a_line_that_the_format_does_not_allow_is_named_and_nothing_of_its_file_is_stored(
    domain: Domain, item: dict[str, Any], why: str
) -> None:
    file = written(domain, "served.jsonl", [SERVED] * 21 + [item])
    with pytest.raises(SpecInvalid, match=rf"served\.jsonl:22: .*{why}"):
        taken_in(domain, file)
    assert domain.query("SELECT count(*) AS n FROM traffic")[0]["n"] == 0


def test_of_a_file_with_a_fault_no_block_stays_and_the_file_before_it_does(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.engine.ingest.BATCH", 2)
    good = written(domain, "good.jsonl", [{**SERVED, "id": f"g{i}"} for i in range(5)])
    bad = written(domain, "bad.jsonl", [*({**SERVED, "id": f"b{i}"} for i in range(25)), {**SERVED, "kind": "other"}])
    with pytest.raises(SpecInvalid, match=r"bad\.jsonl:26: "):
        taken_in(domain, good, bad, good)
    assert domain.query("SELECT items, stored FROM ingests") == [{"items": 5, "stored": 5}]
    assert domain.query("SELECT count(*) AS n FROM traffic")[0]["n"] == 5
    assert [(done.items, done.known) for done in taken_in(domain, good, dry_run=True)] == [(5, 5)]


def test_a_conversation_that_comes_once_a_turn_is_one_row_whatever_the_order(domain: Domain) -> None:
    turns = [chat("hi", "yes?"), chat("hi", "yes?", "more", "no"), chat("hi", "yes?", "more", "no", "why", "so")]
    for number, turn in enumerate(reversed(turns)):
        taken_in(domain, written(domain, f"{number}.jsonl", [turn]))
    rows = domain.query("SELECT answer, flags FROM traffic ORDER BY turn")
    assert [(row["answer"], row["flags"]) for row in rows] == [
        ("yes?", ["not_last_turn"]), ("no", ["not_last_turn"]), ("so", []),
    ]  # fmt: skip


def test_a_question_asked_again_and_a_talk_that_only_begins_alike_both_stay(domain: Domain) -> None:
    talks = [chat("hi", "yes?"), chat("hi", "hello"), chat("hi", "what?", "more", "no")]
    taken_in(domain, written(domain, "log.jsonl", talks))
    assert domain.query("SELECT count(*) AS n FROM traffic WHERE len(flags) = 0")[0]["n"] == 3


@pytest.mark.parametrize(
    ("item", "flags"),
    [
        (chat("a", "cut litellm_truncated skipped 900 chars"), ["truncated"]),
        (chat("__REDACTED__", "b"), ["redacted"]),
        (chat("a", "  "), ["empty"]),
        (chat("a"), ["no_content"]),
        ({"object": "chat.completion", "id": "c1", "choices": [], "model": "m"}, ["no_content"]),
        ({**SERVED, "finish_reason": "length"}, ["truncated"]),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1'}}]}]},
            ["tool_call"],
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]},
                          {"role": "assistant", "content": "b"}]},
            ["not_text"],
        ),
    ],
)  # fmt: skip
def test_what_is_not_to_be_learned_from_is_kept_flagged_and_counted(
    domain: Domain, item: dict[str, Any], flags: list[str]
) -> None:
    (done,) = taken_in(domain, written(domain, "log.jsonl", [item]))
    assert domain.query("SELECT flags FROM traffic") == [{"flags": flags}]
    assert dict(done.flagged) == dict.fromkeys(flags, 1)


def test_plain_rows_are_read_as_the_spec_says(domain: Domain) -> None:
    columns = {"answer": "said", "id": "nr", "at": "when", "rating": "thumb", "correction": "fixed", "model": "who"}
    domain.edit(lambda spec: spec.update(traffic={"columns": columns, "match": {"colour": {}}}))
    lines = ["nr,text,said,when,thumb,fixed,who", "7,old sky 1,red,1764331200000,down,blue,m", "8,old sky 2,blue,,,,m"]
    (domain.root / "log.csv").write_text("\n".join(lines) + "\n")
    (done,) = taken_in(domain, domain.root / "log.csv")
    assert (done.format, done.items, done.stored, dict(done.matched)) == ("rows", 2, 2, {"colour": 2})
    row = domain.query("SELECT * FROM traffic WHERE source_id = '7'")[0]
    assert (row["row"], row["answer"], row["model"]) == ({"text": "old sky 1"}, "red", "m")
    assert row["called_at"].isoformat() == "2025-11-28T12:00:00+00:00"
    assert domain.query("SELECT about, rating, correction FROM feedback") == [
        {"about": "7", "rating": -1, "correction": "blue"}
    ]


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".json", ".parquet"])
def test_the_same_items_in_any_encoding_are_the_same_exchanges(domain: Domain, ending: str) -> None:
    items = [chat("a", "b", id="1"), chat("c", "d", id="2")]
    path = domain.root / f"log{ending}"
    text = "".join(json.dumps(item) + "\n" for item in items)
    if ending == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as parquet

        parquet.write_table(pa.Table.from_pylist(items), path)
    elif ending == ".json":
        path.write_text(json.dumps(items))
    else:
        path.write_bytes(gzip.compress(text.encode()) if ending.endswith(".gz") else text.encode())
    (done,) = taken_in(domain, path)
    assert (done.format, done.stored) == ("openai", 2)
    rows = domain.query("SELECT source_id, answer FROM traffic ORDER BY source_id")
    assert rows == [{"source_id": "1", "answer": "b"}, {"source_id": "2", "answer": "d"}]


def test_what_no_format_is_says_what_was_seen_and_what_to_do(domain: Domain) -> None:
    with pytest.raises(UsageError, match=r"item 1 has the keys foo, bar, .*\n(.*\n)* +openai "):
        taken_in(domain, written(domain, "log.jsonl", [{"foo": 1, "bar": 2}]))
    with pytest.raises(UsageError, match="flywheel and openai in one file"):
        taken_in(domain, written(domain, "log.jsonl", [SERVED, chat("a", "b")]))
    with pytest.raises(UsageError, match=r'unknown format "opnai"\. Did you mean "openai"\?'):
        taken_in(domain, written(domain, "log.jsonl", []), format="opnai")
    with pytest.raises(UsageError, match="no such file"):
        taken_in(domain, domain.root / "absent.jsonl")
    with pytest.raises(SpecInvalid, match=r'unknown kind of file "\.txt"'):
        taken_in(domain, written(domain, "log.txt", [SERVED]))


def test_a_rehearsal_counts_the_same_and_writes_nothing(domain: Domain) -> None:
    file = written(domain, "served.jsonl", [SERVED, FEEDBACK])
    (rehearsed,) = taken_in(domain, file, dry_run=True)
    assert not (domain.root / ".flywheel" / "flywheel.duckdb").exists()
    assert not (domain.root / ".flywheel" / "traffic.key").exists()
    (done,) = taken_in(domain, file)
    assert rehearsed == done
    (rehearsed,) = taken_in(domain, written(domain, "more.jsonl", [chat("a", "b")]), dry_run=True)
    assert (rehearsed.stored, domain.query("SELECT count(*) AS n FROM traffic")) == (1, [{"n": 1}])


def test_an_ingest_waits_for_no_apply_and_says_who_holds_the_store(domain: Domain) -> None:
    file = written(domain, "served.jsonl", [SERVED])
    with Store(domain.root / ".flywheel" / "flywheel.duckdb"), pytest.raises(StoreLocked, match="held by process"):
        taken_in(domain, file)


def test_nothing_personal_reaches_the_disk(domain: Domain) -> None:
    asked = {
        **SERVED,
        "row": {"text": "ada@example.org"},
        "prompt": "GB82 WEST 1234 5698 7654 32",
        "answer": "+49 170 1234567",
    }
    taken_in(domain, written(domain, "served.jsonl", [asked, {**FEEDBACK, "correction": "4111 1111 1111 1111"}]))
    kept = b"".join(path.read_bytes() for path in (domain.root / ".flywheel").rglob("*") if path.is_file())
    assert not [word for word in (b"ada@example", b"GB82", b"WEST 1234", b"170 1234567", b"4111 1111") if word in kept]
    assert os.stat(domain.root / ".flywheel" / "traffic.key").st_mode & 0o077 == 0


def test_what_is_too_old_is_not_taken_in_and_goes_by_the_next_ingest(domain: Domain) -> None:
    old = {**SERVED, "id": "r0", "at": "2020-01-01T00:00:00Z"}
    taken_in(domain, written(domain, "old.jsonl", [old]))
    domain.edit(lambda spec: spec.update(traffic={"keep_days": 30}))
    now = {**SERVED, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    (done,) = taken_in(domain, written(domain, "new.jsonl", [old, now]))
    assert (done.stored, done.removed, dict(done.refused)) == (1, 1, {"older than traffic.keep_days": 1})
    assert domain.query("SELECT source_id FROM traffic") == [{"source_id": "r1"}]


def test_what_is_forgotten_is_gone_and_never_taken_in_again(domain: Domain) -> None:
    file = written(domain, "served.jsonl", [SERVED, FEEDBACK])
    taken_in(domain, file)
    found = forget(domain.open(), "r1")
    assert (found.exchanges, found.opinions, found.models) == (1, 1, ())
    assert domain.query("SELECT (SELECT count(*) FROM traffic) + (SELECT count(*) FROM feedback) AS n") == [{"n": 0}]
    (done,) = taken_in(domain, file)
    assert (done.stored, done.refused["forgotten"]) == (0, 2)
    with pytest.raises(UsageError, match="no such exchange"):
        forget(domain.open(), "r1")


def test_forget_of_an_unknown_id_names_the_nearest_and_forgets_nothing(domain: Domain) -> None:
    taken_in(domain, written(domain, "served.jsonl", [SERVED]))
    with pytest.raises(UsageError, match='The nearest is "r1"'):
        forget(domain.open(), "r11")
    assert domain.query("SELECT count(*) AS n FROM forgotten") == [{"n": 0}]


KILLED = """
import os, signal, sys
from pathlib import Path
from flywheel.engine.ingest import ingest
from flywheel.engine.project import open_project
from flywheel.store.traffic import Landing

settle = Landing.settle_opinions
Landing.settle_opinions = lambda self, now: (settle(self, now), os.kill(os.getpid(), signal.SIGKILL))
list(ingest(open_project(Path("flywheel.yaml")), [Path("served.jsonl")]))
"""


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_nothing_half(domain: Domain) -> None:
    file = written(domain, "served.jsonl", [SERVED, FEEDBACK])
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=domain.root, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert domain.query("SELECT (SELECT count(*) FROM traffic) + (SELECT count(*) FROM ingests) AS n") == [{"n": 0}]
    (again,) = taken_in(domain, file)
    assert (again.stored, again.opinions) == (1, 1)


def test_the_commands_say_what_became_of_each_file(domain: Domain, flywheel: Any) -> None:
    written(domain, "served.jsonl", [SERVED, FEEDBACK])
    code, out, error = flywheel(domain, "ingest", "served.jsonl")
    assert (code, error) == (0, "")
    assert out.splitlines() == [
        "served.jsonl (flywheel): 2 items: 1 stored, 1 opinions", "  redacted  1 email", "  matched   1 of no task",
    ]  # fmt: skip
    assert json.loads(flywheel(domain, "ingest", "served.jsonl", "--json")[1])["known"] == 2
    code, out, _ = flywheel(domain, "forget", "r1")
    assert code == 0
    assert out.startswith("removed: 1 exchange, 1 opinion")
    assert flywheel(domain, "ingest", "absent.jsonl")[0] == 64
