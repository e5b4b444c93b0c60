"""Model workers on a cluster of several Ray nodes, all of them processes of this machine."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray_cluster import SMALL, cluster_of, stations

from flywheel.executor import WorkerCancelled, WorkerCrashed, WorkerError, WorkerTimeout, crew
from flywheel.executor.cluster import Cluster
from flywheel.executor.crew import Actor
from flywheel.executor.fleet import LOSSES, Fleet, _Call, _Piece
from flywheel.executor.parcel import send
from flywheel.executor.station import ModelStation


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    with cluster_of(3) as found:
        yield found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "word.txt").write_text("here")
    return folder


@pytest.fixture
def cluster(nodes: Any, tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "project").mkdir()
    cluster = Cluster(nodes.address, tmp_path / "project", fleet=2)
    yield cluster
    cluster.close()


@pytest.fixture
def fleet(cluster: Cluster) -> Fleet:
    assert cluster.fleet is not None
    return cluster.fleet


def only(node: Any) -> Any:
    """This node, for `stations`."""
    return SimpleNamespace(worker_nodes=[node])


def read(fleet: Fleet, folder: Path, parts: int = 6, seconds: float = 0.2, told: Any = None) -> list[str]:
    payloads = [(str(folder), number, seconds) for number in range(parts)]
    return fleet.call("executor_jobs:read_slowly", payloads, [folder], told or (lambda message: None))


# --- without a cluster ---


def test_counts_of_all_parts_are_told_together_and_a_part_that_starts_again_does_not_count_twice() -> None:
    told: list[Any] = []
    call = _Call("some:function", [b"", b""], {}, told.append)
    one, other = _Piece(0), _Piece(1)
    call.hear(one, {"a": {"suite": "a", "done": 3, "total": 8}})
    call.hear(other, {"a": {"suite": "a", "done": 2, "total": 8}, "b": {"suite": "b", "done": 1, "total": 2}})
    call.hear(one, {"a": {"suite": "a", "done": 1, "total": 8}})
    call.hear(one, {"a": {"suite": "a", "done": 1, "total": 8}})
    assert [(m["suite"], m["done"], m["total"]) for m in told] == [("a", 3, 8), ("a", 5, 8), ("b", 1, 2), ("a", 3, 8)]


def test_a_part_that_is_lost_waits_again_and_in_the_end_ends_the_call() -> None:
    call = _Call("some:function", [b""], {}, lambda message: None)
    part = call._waiting.popleft()
    for _ in range(LOSSES - 1):
        call.take(Actor(None, work=part), None)
        assert call._waiting.popleft() is part
    with pytest.raises(WorkerCrashed, match=r"some:function: the machine that ran a part of it was lost 5 times"):
        call.take(Actor(None, work=part), None)


class Recorder:
    """An actor's handle that notes what it is asked for."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.receive = SimpleNamespace(remote=lambda parcel: self.received.append(parcel.folder))
        self.run = SimpleNamespace(remote=lambda function, sent: self.received.append(function))


def test_two_folders_that_hold_the_same_are_both_sent(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
        (folder / "word.txt").write_text("here")
    fleet = Fleet(SimpleNamespace(cluster_resources=dict, put=lambda parcel: parcel), "somewhere:1", 1)
    call = _Call("some:function", [b""], fleet._parcels(folders), lambda message: None)
    actor = Actor(recorder := Recorder(), opened=True)
    for _ in range(3):
        call.give(actor)
        call.take(actor, "answer" if isinstance(actor.work, str) else (None, {}))
    assert recorder.received == [*map(str, folders), "some:function"]
    assert call.is_over


def test_what_a_part_counted_is_not_told_of_the_next(model: Path) -> None:
    station = ModelStation()
    try:
        kind, (value, heard) = station.run("executor_jobs:read_slowly", send((str(model), 3, 0.0), []))
    finally:
        station._worker.close()
    assert (kind, value) == ("value", "3 here")
    assert [message["done"] for message in heard.values()] == [4]
    assert station.progress() == {}


# --- with one ---


@pytest.mark.slow
def test_parts_are_done_in_order_with_the_folders_that_were_sent(fleet: Fleet, model: Path) -> None:
    told: list[dict[str, Any]] = []
    assert read(fleet, model, told=told.append) == [f"{number} here" for number in range(6)]
    assert told[-1] == {"suite": "one", "done": 24, "total": 8}
    assert [message["done"] for message in told] == sorted(message["done"] for message in told)
    (model / "word.txt").unlink()  # it was sent; what is there stays there
    assert read(fleet, model, parts=1) == ["0 here"]


@pytest.mark.slow
def test_those_who_answer_leave_cores_to_those_who_judge(cluster: Cluster, fleet: Fleet, model: Path) -> None:
    read(fleet, model)
    pool = cluster.pool("executor_jobs:open_slow_squares", 2)
    assert [result.value for result in pool.map(range(9), lambda _: 30.0)] == [n * n for n in range(9)]
    assert len(cluster.crew.actors) == 1
    assert len(fleet._crew.actors) == 2


@pytest.mark.slow
def test_what_a_function_raises_is_raised_here_with_the_machine(fleet: Fleet, model: Path) -> None:
    from executor_jobs import OwnError

    with pytest.raises(OwnError, match=r"somewhere: 3 wrong \(on .*, a machine of the cluster\)"):
        fleet.call("executor_jobs:raise_own", [None, None], [], lambda message: None)
    with pytest.raises(WorkerError, match="seven is odd"):
        fleet.call("executor_jobs:raise_value_error", [None], [], lambda message: None)
    assert read(fleet, model, parts=2) == ["0 here", "1 here"], "it goes on"


@pytest.mark.slow
def test_model_workers_killed_at_random_moments_change_no_result(nodes: Any, fleet: Fleet, model: Path) -> None:
    chance, killed, over = random.Random(11), [], threading.Event()

    def kill() -> None:
        while len(killed) < 10 and not over.wait(chance.uniform(0.5, 3.0)):
            if found := stations(nodes, "ModelStation"):
                os.kill(chance.choice(found), signal.SIGKILL)
                killed.append(1)

    thread = threading.Thread(target=kill)
    thread.start()
    found = []
    try:
        while thread.is_alive():
            found.append(read(fleet, model, parts=8))
    finally:
        over.set()
        thread.join()
    assert len(killed) == 10
    assert all(one == [f"{number} here" for number in range(8)] for one in found)


@pytest.mark.slow
def test_students_that_went_while_nobody_asked_them_cost_no_part_a_loss(
    nodes: Any, fleet: Fleet, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.executor.fleet.LOSSES", 1)
    read(fleet, model, parts=2)
    for process in stations(nodes, "ModelStation"):
        os.kill(process, signal.SIGKILL)
    time.sleep(2.0)
    assert read(fleet, model, parts=1) == ["0 here"]


@pytest.mark.slow
def test_a_student_whose_machine_went_gets_the_core_of_one_who_judges(
    nodes: Any, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.setattr(crew, "PATIENCE_SECONDS", 40.0)
    cluster = Cluster(nodes.address, tmp_path / "project", fleet=1)
    try:
        assert cluster.fleet is not None
        read(cluster.fleet, model, parts=1)
        pool = cluster.pool("executor_jobs:open_slow_squares", 2)
        assert len(list(pool.map(range(60), lambda _: 30.0))) == 60
        assert len(cluster.crew.actors) == 2
        [student] = stations(nodes, "ModelStation")
        [lost] = [node for node in nodes.worker_nodes if student in stations(only(node), "ModelStation")]
        nodes.remove_node(lost, allow_graceful=False)
        while cluster._ray.cluster_resources()["CPU"] > 2:
            time.sleep(0.1)
        assert read(cluster.fleet, model, parts=1) == ["0 here"]
        assert [result.value for result in pool.map(range(9), lambda _: 30.0)] == [n * n for n in range(9)]
        assert len(cluster.crew.actors) == 1
    finally:
        cluster.close()
        nodes.add_node(**SMALL)


@pytest.mark.slow
def test_a_part_that_takes_its_machine_along_each_time_ends_the_call(fleet: Fleet) -> None:
    with pytest.raises(WorkerCrashed, match="lost 5 times"):
        fleet.call("executor_jobs:kill_the_actor", [None], [], lambda message: None)


@pytest.mark.slow
def test_leaving_a_cluster_ends_a_call_that_waits(cluster: Cluster, fleet: Fleet, model: Path) -> None:
    read(fleet, model, parts=1)
    threading.Timer(1.0, cluster.cancel).start()
    started = time.monotonic()
    with pytest.raises(WorkerCancelled):
        read(fleet, model, seconds=60.0)
    assert time.monotonic() - started < 30


@pytest.mark.slow
def test_a_cluster_is_left_when_its_call_has_ended_and_gives_nothing_afterwards(
    cluster: Cluster, fleet: Fleet, model: Path
) -> None:
    ended: list[str] = []

    def ask() -> None:
        try:
            read(fleet, model, seconds=60.0)
        except WorkerCancelled:
            ended.append("cancelled")

    thread = threading.Thread(target=ask)
    thread.start()
    while not any(actor.work for actor in fleet._crew.actors):
        time.sleep(0.05)
    cluster.close()
    thread.join()
    assert ended == ["cancelled"]
    with pytest.raises(WorkerCancelled):
        read(fleet, model)
    assert not __import__("ray").is_initialized(), "nobody started a cluster of its own"


@pytest.mark.slow
def test_a_cluster_without_room_says_what_it_has(
    nodes: Any, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.setattr(crew, "PATIENCE_SECONDS", 1.0)
    cluster = Cluster(nodes.address, tmp_path / "project", fleet=5)
    assert cluster.fleet is not None
    monkeypatch.setattr(cluster.fleet._crew, "_wanted", lambda: 0)
    try:
        with pytest.raises(WorkerTimeout, match=r"no room within 1 s: executor\.students is 5, and it has 3 cores"):
            read(cluster.fleet, model)
    finally:
        cluster.close()
