from __future__ import annotations

import os
import random
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_cluster import SMALL, cluster_of, stations

from flywheel.executor import Pool, Result, WorkerCancelled, WorkerError, WorkerTimeout, crew
from flywheel.executor import cluster as room
from flywheel.executor.cluster import Cluster, ClusterPool, ClusterSize, reached, size_of
from flywheel.executor.crew import Actor, Crew
from flywheel.executor.pool import _Ticket
from flywheel.executor.station import versions


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    with cluster_of(2) as found:
        yield found


@pytest.fixture
def cluster(nodes: Any, tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "word.txt").write_text("here")
    cluster = Cluster(nodes.address, tmp_path)
    yield cluster
    cluster.close()


def squares(cluster: Cluster, count: int) -> list[Any]:
    pool = cluster.pool("executor_jobs:open_slow_squares", 2)
    return [result.value for result in pool.map(range(count), lambda _: 30.0)]


class Told:
    """A Ray in which every actor has answered."""

    def __init__(self, said: Any) -> None:
        self.said, self.killed = said, 0

    def wait(self, references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return references, []

    def get(self, reference: Any) -> Any:
        return self.said

    def kill(self, handle: Any) -> None:
        self.killed += 1


# --- without a cluster ---


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (("value", ("one", {"python": "2.7"})), "one has python 2.7, and this machine 3"),
        (("raised", {"summary": "OSError: no place", "trace": ""}), "no place"),
    ],
)
def test_an_actor_that_cannot_begin_is_never_given_work(said: Any, words: str) -> None:
    pytest.importorskip("ray", reason='needs Ray: pip install "flywheel-loop[ray]"')
    ray = Told(said)
    actors = Crew(ray, "somewhere:1", lambda: (None, object()), lambda: 1, lambda: {"python": "3"}, lambda: "")
    assert actors.idle() == []
    with pytest.raises(WorkerError, match=words):
        list(actors.answered())
    assert (actors.idle(), ray.killed) == ([], 1)


def test_of_a_cluster_that_became_smaller_idle_actors_make_room_and_no_others() -> None:
    ray = Told(None)
    actors = Crew(ray, "somewhere:1", lambda: (None, None), lambda: 2, dict, lambda: "")
    actors.actors += [Actor(None, running=running, opened=True) for running in (1, None, None, None)]
    actors.make_room()
    assert (ray.killed, len(actors.actors)) == (2, 4)
    actors.actors[2].running = actors.actors[3].running = 1
    actors.make_room()
    assert ray.killed == 3, "who works is left alone"


def test_a_crew_that_was_closed_is_not_begun_again() -> None:
    actors = Crew(None, "somewhere:1", lambda: (None, None), lambda: 1, dict, lambda: "")
    actors.close()
    with pytest.raises(WorkerCancelled):
        actors.begin()


def test_an_address_at_which_nobody_answers_is_refused_at_once_with_the_next_command(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason='needs Ray: pip install "flywheel-loop[ray]"')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # it does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(WorkerError, match=rf"nobody answers at executor.address {address} .*ray start --head"):
            Cluster(address, tmp_path)


@pytest.mark.parametrize(
    ("size", "students", "lack"),
    [
        (ClusterSize(3, 16, 4), 4, ""),
        (ClusterSize(3, 16, 4), 5, "executor.students is 5, which wants 5 GPUs"),
        (ClusterSize(1, 0, 4), 4, "it takes 1 core, one of them to judge"),
        (ClusterSize(2, 3, 0), 2, ""),
        (ClusterSize(2, 2, 0), 2, "it takes 3 cores, one of them to judge"),
        (ClusterSize(1, 1, 0), 0, ""),
    ],
)
def test_a_cluster_that_is_too_small_says_for_what(size: ClusterSize, students: int, lack: str) -> None:
    assert size.lack(students) == lack


@pytest.mark.slow
def test_the_size_of_a_cluster_is_what_its_nodes_have(nodes: Any) -> None:
    assert str(size_of(nodes.address)) == "3 nodes, 2 cores, 0 GPUs"
    assert reached(nodes.address) == nodes.address


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(WorkerError, match=r"pip install \"flywheel-loop\[ray\]\".*kind: local"):
        Cluster("auto", tmp_path)


def test_a_project_that_is_too_large_is_seen_before_the_cluster_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "word.txt").write_text("here")
    joined: list[str] = []
    monkeypatch.setattr(room, "_connected", joined.append)
    monkeypatch.setattr("flywheel.executor.parcel.LIMIT_BYTES", 1)
    with pytest.raises(WorkerError, match=r"The largest file is word\.txt"):
        Cluster("somewhere:1", tmp_path)
    assert joined == []


def test_a_machine_with_other_versions_is_named_with_both() -> None:
    ours = versions(["duckdb"])
    judges = Crew(Told(None), "head:1", lambda: (None, None), lambda: 0, lambda: ours, str)
    judges.actors.append(actor := Actor(None))
    with pytest.raises(WorkerError, match=r"far has duckdb 0\.1, and this machine .*Install the same"):
        judges._welcome(actor, ("far", ours | {"duckdb": "0.1"}))


def test_an_item_that_is_lost_again_and_again_is_given_up_and_others_are_not() -> None:
    pool, again, done = object.__new__(ClusterPool), deque[_Ticket](), dict[int, Result]()
    often, once = _Ticket(0, "a", 1.0, crew.LOSSES - 1), _Ticket(1, "b", 1.0)
    pool._run_again([often, once], again, done)
    assert done == {0: Result("crashed", reason=f"its machine was lost {crew.LOSSES} times")}
    assert again == deque([once._replace(crashes=1)])


# --- with one ---


@pytest.mark.slow
def test_time_outs_crashes_and_errors_cost_their_item_alone_and_are_said_as_locally(cluster: Cluster) -> None:
    items = [1, "raise", 2, "crash", "hang", 3, "word"]
    limits = lambda item: 1.0 if item == "hang" else 30.0  # noqa: E731
    setup = (cluster.root,)
    there = list(cluster.pool("executor_jobs:open_in_folder", 2, setup=setup).map(items, limits))
    with Pool("executor_jobs:open_in_folder", 2, setup=setup) as pool:
        assert there == list(pool.map(items, limits))
    assert [result.status for result in there] == ["ok", "raised", "ok", "crashed", "timed_out", "ok", "ok"]


@pytest.mark.slow
def test_what_a_set_up_raises_is_raised_here(cluster: Cluster) -> None:
    from executor_jobs import OwnError

    with pytest.raises(OwnError, match="3 wrong"):
        list(cluster.pool("executor_jobs:open_own_error", 2).map([1], lambda _: 30.0))


@pytest.mark.slow
def test_stations_killed_at_twenty_random_moments_change_no_result(nodes: Any, cluster: Cluster) -> None:
    """Those that died were busy, or idle, or just starting while the other worked; order and values are the same."""
    chance, killed, over = random.Random(7), [], threading.Event()

    def kill() -> None:
        while len(killed) < 20 and not over.wait(chance.uniform(0.3, 2.5)):
            working = any(actor.opened for actor in cluster.crew.actors)
            if working and (found := stations(nodes)):
                os.kill(chance.choice(found), signal.SIGKILL)
                killed.append(1)

    thread = threading.Thread(target=kill)
    thread.start()
    found = []
    try:
        while thread.is_alive():
            found.append(squares(cluster, 60))
    finally:
        over.set()
        thread.join()
    assert len(killed) == 20
    assert found
    assert all(one == [n * n for n in range(60)] for one in found)


@pytest.mark.slow
def test_a_node_that_comes_works_and_one_that_goes_costs_nothing(nodes: Any, cluster: Cluster) -> None:
    pool, seen = cluster.pool("executor_jobs:open_slow_squares", 2), []
    for number, result in enumerate(pool.map(range(400), lambda _: 30.0)):
        seen.append(result.value)
        if number == 50:
            came = nodes.add_node(**SMALL)
        if number == 200:
            assert len(cluster.crew.actors) == 3, "the new node has a station"
            nodes.remove_node(came, allow_graceful=False)
    assert seen == [n * n for n in range(400)]


@pytest.mark.slow
def test_an_item_whose_machine_is_lost_again_and_again_is_crashed_and_its_neighbours_are_not(cluster: Cluster) -> None:
    pool = cluster.pool("executor_jobs:open_parricide", 2)
    found = list(pool.map([1, 2, "kill", 3], lambda _: 30.0))
    assert [result.status for result in found] == ["ok", "ok", "crashed", "ok"]
    assert found[2].reason == "its machine was lost 5 times"


@pytest.mark.slow
def test_leaving_a_cluster_ends_a_map_that_waits(cluster: Cluster) -> None:
    threading.Timer(3.0, cluster.cancel).start()
    with pytest.raises(WorkerCancelled):
        list(cluster.pool("executor_jobs:open_in_folder", 2, setup=(cluster.root,)).map(["hang"], lambda _: 200.0))


@pytest.mark.slow
def test_a_machine_with_another_version_is_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "versions", lambda packages: {"flywheel": "9.9"})
    with pytest.raises(
        WorkerError, match=r"has flywheel \S+, and this machine 9\.9: what it finds could differ\. Install"
    ):
        squares(cluster, 3)


@pytest.mark.slow
def test_a_cluster_without_a_free_core_says_so(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(cluster.crew, "_wanted", lambda: 0)
    with pytest.raises(WorkerTimeout, match=r"no room within 1 s: it has \d cores, \d of them free\. Add a machine"):
        squares(cluster, 3)
