"""A Ray cluster: who judges there, and who answers.

Ray places actors and carries messages; what a piece of work may do to its process is held by the same Pool and Worker
as here, on each machine (`station`). What is lost with a machine is done again elsewhere.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.executor.crew import LOSSES, TO_DO, Actor, Crew, room
from flywheel.executor.faults import WorkerError
from flywheel.executor.fleet import Fleet
from flywheel.executor.parcel import pack, send
from flywheel.executor.pool import Pool, Result, _Ticket
from flywheel.executor.station import JUDGED_WITH, Station, versions
from flywheel.text import plural

#: Work sent to a station at a time, in seconds: a message costs about a millisecond.
BATCH_SECONDS = 0.25
_BATCH_LIMIT = 512
_CONNECT_SECONDS = 5.0


class Cluster:
    """The Ray cluster at `address` ("auto" or "host:port"): a station on each of its cores, which judges, and a `fleet`
    of so many model workers, each with a GPU where the cluster has any, else with a core. The project `root` goes there
    without the folders `leave_out`. Both follow the cluster as machines come and go.

    Raises WorkerError where Ray is not installed, nobody answers, or the project is too large.
    """

    def __init__(self, address: str, root: Path, leave_out: Collection[str] = (), fleet: int = 0) -> None:
        self.root = root
        packed = pack(root, leave_out)  # first: a project that is too large would leave the connection behind
        self._ray = _connected(address)
        self._parcel = self._ray.put(packed)
        self.fleet = Fleet(self._ray, address, fleet, lambda: self.crew.make_room()) if fleet else None
        self.crew = Crew(self._ray, address, self._start, self._cores, lambda: versions(JUDGED_WITH), self._lacking)

    def pool(
        self,
        function: str,
        size: int,
        *,
        setup: Any = None,
        log: Path | None = None,
        memory_bytes: int | None = None,
    ) -> ClusterPool:
        """Like Pool; the cluster decides on the size, and children print to Ray's logs. The project's folder in `setup`
        becomes the one that holds its files there."""
        return ClusterPool(self, function, setup, memory_bytes)

    def cancel(self) -> None:
        """What runs there raises WorkerCancelled within a second. Safe to call from any thread."""
        self.crew.cancelled = True
        if self.fleet is not None:
            self.fleet.cancel()

    def close(self) -> None:
        self.cancel()
        self.crew.close()
        if self.fleet is not None:
            self.fleet.close()
        self._ray.shutdown()

    def _cores(self) -> int:
        """Those that no model worker has."""
        return int(self._ray.cluster_resources().get("CPU", 0)) - (self.fleet.cores if self.fleet is not None else 0)

    def _lacking(self) -> str:
        taken = f" (executor.students takes {self.fleet.cores})" if self.fleet is not None and self.fleet.cores else ""
        return f"{room(self._ray, 'CPU')}{taken}"

    def _start(self) -> tuple[Any, Any]:
        options = {"num_cpus": 1, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        handle = self._ray.remote(Station).options(**options).remote()
        return handle, handle.open.remote(self._parcel)


class ClusterPool(Pool):
    """The same `map`, over the stations of a cluster; one at a time of all its pools.

    A lost station costs its batch, whose items run again, each alone. One that is lost LOSSES times is "crashed".
    """

    def __init__(self, cluster: Cluster, function: str, setup: Any, memory_bytes: int | None) -> None:
        super().__init__(function, 0, setup=setup, memory_bytes=memory_bytes)
        self._crew = cluster.crew
        self._sent = send((function, setup, memory_bytes), [cluster.root])

    def map(self, items: Iterable[Any], timeout_of: Callable[[Any], float]) -> Iterator[Result]:
        self._crew.begin()
        try:
            yield from super().map(items, timeout_of)
        finally:
            for actor in [actor for actor in self._crew.actors if actor.work]:
                self._crew.drop(actor)

    def _hand_out(self, waiting: deque[_Ticket]) -> None:
        for actor in self._crew.idle():
            if waiting:
                self._ask(actor, [waiting.popleft() for _ in range(self._count(waiting))])

    def _ask(self, actor: Actor, tickets: list[_Ticket]) -> None:
        actor.work = tickets
        actor.running = actor.handle.run.remote(self._sent, [t.item for t in tickets], [t.timeout for t in tickets])

    def _count(self, waiting: deque[_Ticket]) -> int:
        if waiting[0].crashes:
            return 1
        fair = -(-len(waiting) // len(self._crew.actors))
        return max(1, min(_BATCH_LIMIT, fair, int(BATCH_SECONDS / max(self._item_seconds, 1e-6))))

    def _take_in(self, waiting: deque[_Ticket], done: dict[int, Result]) -> None:
        for actor, answer in self._crew.answered():
            tickets, actor.work = actor.work or [], None
            if answer is None:
                self._run_again(tickets, waiting, done)
                continue
            results, seconds = answer
            done.update((ticket.place, result) for ticket, result in zip(tickets, results, strict=True))
            weight = 1 - 0.9 ** len(tickets)
            self._item_seconds += weight * (seconds / len(tickets) - self._item_seconds)

    def _run_again(self, tickets: list[_Ticket], waiting: deque[_Ticket], done: dict[int, Result]) -> None:
        for ticket in reversed(tickets):
            if ticket.crashes + 1 >= LOSSES:
                done[ticket.place] = Result("crashed", reason=f"its machine was lost {LOSSES} times")
            else:
                waiting.appendleft(ticket._replace(crashes=ticket.crashes + 1))


@dataclass(frozen=True)
class ClusterSize:
    nodes: int
    cores: int
    gpus: int

    def __str__(self) -> str:
        return f"{plural(self.nodes, 'node')}, {plural(self.cores, 'core')}, {plural(self.gpus, 'GPU')}"

    def lack(self, students: int) -> str:
        """What is missing for so many students, a GPU each where there is any, and one core that judges; nothing where
        nothing is."""
        if self.gpus and students > self.gpus:
            return f"executor.students is {students}, which wants {plural(students, 'GPU')}"
        cores = 1 + (0 if self.gpus else students)
        return f"it takes {plural(cores, 'core')}, one of them to judge" if self.cores < cores else ""


def reached(address: str) -> str:
    """Where the cluster would be joined. Raises WorkerError where Ray is not installed, or nobody answers there."""
    _ray_itself()
    found = _found(address)
    _refuse_unreachable(found)
    return found


def size_of(address: str) -> ClusterSize:
    """Joins the cluster and leaves it. Raises WorkerError where that fails."""
    ray = _connected(address)
    try:
        has = ray.cluster_resources()
        alive = [node for node in ray.nodes() if node["Alive"]]
        return ClusterSize(len(alive), int(has.get("CPU", 0)), int(has.get("GPU", 0)))
    finally:
        ray.shutdown()


def _ray_itself() -> Any:
    try:
        import ray
    except ImportError as error:
        raise WorkerError(f'Ray is not installed here. Run `pip install "flywheel-loop[ray]"`, {TO_DO}.') from error
    return ray


def _found(address: str) -> str:
    return os.environ.get("RAY_ADDRESS", address) if address == "auto" else address


def _connected(address: str) -> Any:
    """Ray, connected. What it prints is left to its own logs."""
    ray, found = _ray_itself(), reached(address)
    try:
        ray.init(address=found, logging_level="ERROR", log_to_driver=False, configure_logging=False)
    except Exception as error:
        raise WorkerError(
            f"no Ray cluster at {found}: {error}\nStart one with `ray start --head`, join this machine to it with "
            f"`ray start --address=… --num-cpus=0`, {TO_DO}."
        ) from error
    return ray


def _refuse_unreachable(address: str) -> None:
    """Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise WorkerError(
            f"nobody answers at executor.address {address} ({error}). Start the cluster with `ray start --head "
            f"--port={port}`, mend the address, {TO_DO}."
        ) from error
