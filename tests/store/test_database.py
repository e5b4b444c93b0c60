"""The store: one writer, all or nothing, nothing acknowledged is ever lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from flywheel.errors import StoreError, StoreLocked
from flywheel.records import Reply
from flywheel.store import Store, database, read_only
from flywheel.store.database import ROWS_AT_A_TIME
from flywheel.store.migrations import MIGRATIONS, NODE_TABLES

HERE = Path(__file__).parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flywheel.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as opened:
        yield opened


def reply(key: str = "k", status: str = "ok", **changes: object) -> Reply:
    return Reply(key=key, teacher="t", status=status, text="answer" if status == "ok" else "", **changes)  # type: ignore[arg-type]


# --- opening ----------------------------------------------------------------------------------------------------------


def test_a_new_store_has_every_migration_and_every_table(store: Store) -> None:
    assert [row["name"] for row in store.query("SELECT name FROM migrations")] == [name for name, _ in MIGRATIONS]
    tables = {row["name"] for row in store.query("SHOW TABLES")}
    assert tables >= {*NODE_TABLES, "runs", "nodes", "calls", "deployments"}


def test_opening_again_migrates_nothing_twice(path: Path) -> None:
    for _ in range(2):
        with Store(path) as store:
            assert store.query("SELECT count(*) AS n FROM migrations") == [{"n": len(MIGRATIONS)}]


def test_a_store_of_an_older_version_gets_what_it_lacks_and_keeps_its_rows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(path) as store:
        store.write("losses", [{"node": "n", "step": 1}])
    further = ("0999_further", "ALTER TABLE losses ADD COLUMN gradient DOUBLE")
    monkeypatch.setattr("flywheel.store.database.MIGRATIONS", (*MIGRATIONS, further))

    with Store(path) as store:
        assert store.query("SELECT node, gradient FROM losses") == [{"node": "n", "gradient": None}]


def test_samples_that_were_called_failures_of_a_selection_are_spare(path: Path) -> None:
    said = enumerate(("(selection)", "right"))
    failed = [{"node": "n", "candidate_id": str(i), "outcome": "fail", "verifier": by} for i, by in said]
    with Store(path) as store:
        store.write("judged", failed)
        with store.transaction() as transaction:
            transaction.execute("DELETE FROM migrations WHERE name = '0005_fates'")

    with Store(path) as store:
        found = store.query("SELECT outcome, verifier FROM judged ORDER BY candidate_id")

    assert found == [{"outcome": "spare", "verifier": None}, {"outcome": "fail", "verifier": "right"}]


def test_a_migration_that_fails_leaves_the_old_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(path).close()
    broken = ("0999_broken", "CREATE TABLE half (a INTEGER); SELECT nonsense FROM nowhere")
    with monkeypatch.context() as patch:
        patch.setattr("flywheel.store.database.MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(duckdb.Error):
            Store(path)

    with Store(path) as store:
        assert {"name": "half"} not in store.query("SHOW TABLES")


def test_a_newer_store_is_refused_in_one_line_and_left_alone(path: Path) -> None:
    with Store(path) as store:
        store.write("migrations", [{"name": "9999_from_the_future"}])
    before = path.read_bytes()

    with pytest.raises(StoreError, match=r"newer flywheel.*9999_from_the_future") as caught:
        Store(path)

    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database" * 1_000, b"\0" * 20_000])
def test_a_file_that_is_no_store_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(StoreError):
        Store(path)

    assert path.read_bytes() == content


def test_the_lock_is_free_again_after_a_refusal(path: Path) -> None:
    path.write_bytes(b"not a database" * 1_000)
    with pytest.raises(StoreError):
        Store(path)
    path.unlink()

    Store(path).close()


def test_a_second_process_is_told_who_holds_the_store(store: Store, path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from flywheel.errors import StoreLocked\nfrom flywheel.store import Store\n"
        "try: Store(Path(sys.argv[1]))\n"
        "except StoreLocked as error: print(error); sys.exit(error.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)

    assert done.returncode == 75, done.stderr
    assert f"process {os.getpid()}" in done.stdout


HOLDS = (
    "import sys; from pathlib import Path\nfrom flywheel.store import read_only\n"
    "with read_only(Path(sys.argv[1])): print('reads', flush=True); sys.stdin.read()"
)


@contextmanager
def read_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process reads the store until its input ends."""
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reads\n"
        yield process


def test_who_writes_waits_for_who_reads_elsewhere(store: Store, path: Path) -> None:
    store.close()
    with read_elsewhere(path) as reader:
        assert reader.stdin is not None
        threading.Timer(0.3, reader.stdin.close).start()
        Store(path).close()


def test_who_goes_on_reading_is_not_waited_for_for_ever(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    monkeypatch.setattr(database, "READER_SECONDS", 0.1)
    with read_elsewhere(path), pytest.raises(StoreLocked, match="another process holds the store"):
        Store(path)


def test_a_reader_in_a_thread_of_this_process_costs_no_write_ahead_log(path: Path) -> None:
    script = (
        "import sys, os, pathlib; from flywheel.store import Store; s = Store(pathlib.Path(sys.argv[1]));"
        "s.write('forgotten', [{'source_hash': 'a'}]); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert path.with_name(f"{path.name}.wal").exists()
    reading = read_only(path)
    reading.__enter__()
    threading.Timer(0.3, reading.__exit__, (None, None, None)).start()
    with Store(path) as store:
        assert store.quarantined is None
        assert store.query("SELECT source_hash FROM forgotten") == [{"source_hash": "a"}]


def test_many_threads_read_at_once(store: Store, path: Path) -> None:
    store.close()

    def read(_: int) -> int:
        with read_only(path) as connection:
            return len(connection.execute("SELECT * FROM migrations").fetchall())

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(read, range(200)))) == 1


def test_a_lock_whose_owner_is_dead_needs_no_clearing(path: Path) -> None:
    script = (
        "import sys, os, pathlib; from flywheel.store import Store; s = Store(pathlib.Path(sys.argv[1])); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)

    Store(path).close()


def test_reading_before_there_is_a_store_names_the_way_on(path: Path) -> None:
    with pytest.raises(StoreError, match="flywheel apply"), read_only(path):
        pass


# --- transactions -----------------------------------------------------------------------------------------------------


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    def fail_halfway() -> None:
        with store.transaction() as transaction:
            transaction.insert("losses", [{"node": "n", "step": 1}])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()

    assert store.query("SELECT * FROM losses") == []
    store.write("losses", [{"node": "n", "step": 2}])
    assert [row["step"] for row in store.query("SELECT step FROM losses")] == [2]


def test_a_row_that_does_not_fit_takes_its_transaction_along(store: Store) -> None:
    def misfit() -> None:
        with store.transaction() as transaction:
            transaction.insert("losses", [{"node": "n", "step": 1}])
            transaction.insert("losses", [{"node": "n", "step": "no number"}])

    with pytest.raises(duckdb.Error, match="no number"):
        misfit()

    assert store.query("SELECT * FROM losses") == []
    store.write("losses", [{"node": "n", "step": 3}])
    assert store.query("SELECT step FROM losses") == [{"step": 3}]


def test_clearing_a_node_leaves_the_others(store: Store) -> None:
    store.write("losses", [{"node": "a", "step": 1}, {"node": "b", "step": 2}])
    store.write("scores", [{"node": "a", "item_id": "x"}])

    with store.transaction() as transaction:
        transaction.clear_node("a")

    assert [row["node"] for row in store.query("SELECT node FROM losses")] == ["b"]
    assert store.query("SELECT * FROM scores") == []


def test_what_a_killed_node_wrote_is_forgotten_and_nothing_else(store: Store) -> None:
    store.write("nodes", [{"node": "done", "status": "done", "started_at": datetime.now(UTC)}])
    store.write_all("losses", ({"node": node, "step": 1} for node in ("done", "killed")))

    store.write("runs", [{"run_id": "1", "started_at": datetime.now(UTC)}])
    store.write("runs", [{"run_id": "1", "started_at": datetime.now(UTC), "ended_at": datetime.now(UTC)}])
    store.forget_unfinished()
    assert len(store.query("SELECT * FROM losses")) == 2  # the run ended; a node that runs clears what is its own

    store.write("runs", [{"run_id": "2", "started_at": datetime.now(UTC)}])
    store.forget_unfinished()
    assert [row["node"] for row in store.query("SELECT node FROM losses")] == ["done"]


def test_a_stream_sees_what_was_there_when_it_began_in_blocks(store: Store) -> None:
    store.write_all("losses", ({"node": "a", "step": step} for step in range(ROWS_AT_A_TIME + 5)))
    rows = store.stream("SELECT step FROM losses WHERE node = ? ORDER BY step", ["a"])
    assert next(rows) == {"step": 0}
    store.write("losses", [{"node": "a", "step": -1}])
    assert [row["step"] for row in rows] == list(range(1, ROWS_AT_A_TIME + 5))


def test_every_table_of_node_rows_is_cleared(store: Store) -> None:
    """A table with a `node` column that is not cleared would keep what a killed node left."""
    columns = store.query("SELECT table_name FROM information_schema.columns WHERE column_name = 'node'")

    assert {row["table_name"] for row in columns} - {"nodes", "deployments", "approvals"} == set(NODE_TABLES)


def test_json_columns_come_back_as_they_went_in(store: Store) -> None:
    row = {"text": "a “quoted” line\n", "list": [1, 2.5, None, True], "nested": {"ü": "\u2028"}}

    store.write("answers", [{"node": "n", "row": row}])

    assert store.query('SELECT "row" FROM answers') == [{"row": row}]


def test_half_a_surrogate_pair_is_kept_as_an_escape(store: Store) -> None:
    store.write("answers", [{"node": "n", "answer": "bad \ud800 text"}])

    assert store.query("SELECT answer FROM answers") == [{"answer": "bad \\ud800 text"}]


def test_threads_may_share_a_store(store: Store) -> None:
    def write(number: int) -> None:
        for step in range(20):
            store.write("losses", [{"node": str(number), "step": step}])
            assert store.query("SELECT count(*) AS n FROM losses WHERE node = ?", [str(number)])[0]["n"] == step + 1

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.query("SELECT count(*) AS n FROM losses") == [{"n": 80}]


# --- calls ------------------------------------------------------------------------------------------------------------


def test_taking_in_the_same_calls_twice_keeps_them_once(store: Store) -> None:
    calls = [({"purpose": "lessons"}, reply("a")), ({"purpose": "lessons"}, reply("b", "failed", fault="timeout"))]

    for _ in range(2):
        store.save_calls("run", calls)

    assert store.query("SELECT count(*) AS n FROM calls") == [{"n": 2}]


def test_an_answer_after_an_interrupted_call_counts_as_well_and_is_what_is_known(store: Store) -> None:
    store.save_calls("one", [({}, reply("a", "failed", fault="interrupted", usd=0.5))])
    store.save_calls("two", [({}, reply("a", usd=0.25))])

    assert store.query("SELECT sum(usd) AS usd, count(*) AS n FROM calls") == [{"usd": 0.75, "n": 2}]
    assert store.known_calls(["a"])["a"].status == "ok"
    assert store.known_calls(["a"])["a"].cached


def test_two_failures_of_one_call_are_both_paid_for(store: Store) -> None:
    for seconds in (1.5, 1.6):
        store.save_calls("run", [({}, reply("a", "failed", fault="timeout", usd=0.5, seconds=seconds))])

    assert store.query("SELECT sum(usd) AS usd FROM calls") == [{"usd": 1.0}]


def test_an_answer_counts_before_a_later_failure(store: Store) -> None:
    store.save_calls("one", [({}, reply("a"))])
    store.save_calls("two", [({}, reply("a", "failed", fault="timeout"))])

    assert store.known_calls(["a", "unknown"]) == {"a": reply("a")}


# --- other readers ----------------------------------------------------------------------------------------------------


def test_a_snapshot_can_be_read_while_the_store_is_open(store: Store, tmp_path: Path) -> None:
    store.write("losses", [{"node": "n", "step": 1}])
    copy = tmp_path / "snapshot.duckdb"
    for step in (2, 3):
        store.write("losses", [{"node": "n", "step": step}])
        store.snapshot(copy)
    script = (
        "import duckdb, sys; store = duckdb.connect(sys.argv[1], read_only=True)\n"
        "print(store.execute('SELECT max(step) FROM losses').fetchall())"
    )

    done = subprocess.run([sys.executable, "-c", script, str(copy)], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[(3,)]"
    assert [name for name in os.listdir(tmp_path) if name.endswith(".tmp")] == []


def test_a_snapshot_does_not_give_the_lock_away(store: Store, path: Path, tmp_path: Path) -> None:
    store.snapshot(tmp_path / "snapshot.duckdb")
    script = "import duckdb, sys; duckdb.connect(sys.argv[1])"

    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "lock" in done.stderr


def test_a_reader_can_neither_write_nor_reach_other_files(store: Store, path: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    store.close()
    with read_only(path) as connection:
        for sql in (
            "INSERT INTO losses (step) VALUES (1)",
            f"SELECT * FROM read_text('{tmp_path}/secret.txt')",
            f"COPY losses TO '{tmp_path}/out.csv'",
            "SET enable_external_access = true",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(sql)


def test_while_the_store_is_held_another_process_cannot_read_it(store: Store, path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from flywheel.errors import StoreLocked\nfrom flywheel.store import read_only\n"
        "try:\n    with read_only(Path(sys.argv[1])): pass\n"
        "except StoreLocked as error: print(error); sys.exit(75)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)

    assert done.returncode == 75, done.stderr


# --- kills and full disks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kills", [6, pytest.param(1_000, marks=[pytest.mark.slow, pytest.mark.timeout(3_600)])])
def test_no_kill_loses_an_acknowledged_row_or_leaves_half_a_transaction(path: Path, kills: int) -> None:
    command = [sys.executable, str(HERE / "commit_loop.py"), str(path), str(kills)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{kills} kills")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("ballast", [2_000_000, 8_000_000])
def test_a_full_disk_is_said_and_the_store_goes_on_when_there_is_room(small_disk: Path, ballast: int) -> None:
    command = [sys.executable, str(HERE / "full_disk.py"), str(small_disk), str(ballast)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    refused, kept, opens = done.stdout.splitlines()
    assert "disk is full" in refused
    assert "flywheel apply" in refused
    assert kept.startswith("kept: True")
    assert opens == "opens: True"


def test_an_unreadable_log_is_put_aside_and_what_was_checkpointed_is_there(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    script = (
        "import os, sys; from pathlib import Path; from flywheel.store import Store\n"
        "s = Store(Path(sys.argv[1])); s.write('failures', [{'node': 'kept'}]); s.checkpoint()\n"
        "s.write('failures', [{'node': 'only in the log'}]); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    log = path.with_name("s.duckdb.wal")
    spoilt = bytearray(log.read_bytes())
    spoilt[len(spoilt) // 2] ^= 0xFF
    log.write_bytes(bytes(spoilt))

    with Store(path) as store:
        assert store.query("SELECT node FROM failures") == [{"node": "kept"}]
        assert store.quarantined is not None
        assert store.quarantined.read_bytes() == bytes(spoilt)
