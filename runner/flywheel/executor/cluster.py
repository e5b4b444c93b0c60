"""A Pool whose children are on the machines of a Ray cluster.

Ray places actors and carries messages; what an item may do to its process is held by the same Pool as here, on each
machine (`station`). What is lost with a machine is run again elsewhere.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flywheel.executor.faults import WorkerCancelled, WorkerCrashed, WorkerError, WorkerTimeout
from flywheel.executor.parcel import pack, send
from flywheel.executor.pool import Pool, Result, _Ticket
from flywheel.executor.station import Station, versions
from flywheel.executor.worker import revived

#: Work sent to a station at a time, in seconds: a message costs about a millisecond.
BATCH_SECONDS = 0.25
_BATCH_LIMIT = 512
#: A machine may come and go several times an hour; an item that was lost so often is unknown.
LOSSES = 5
#: Until a core is free, or a scaler has started a machine.
PATIENCE_SECONDS = 300.0
_CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 2.0
_TO_DO = "or set `executor: {kind: local}`"


@dataclass
class _Actor:
    handle: Any
    running: Any = None
    """What it was asked for last, until it answers."""
    opened: bool = False
    tickets: list[_Ticket] = field(default_factory=list)


class Cluster:
    """The Ray cluster at `address` ("auto" or "host:port"), with a station on each of its cores; the project `root`
    goes there without the folders `leave_out`. Stations follow the cluster as machines come and go.

    Raises WorkerError where Ray is not installed, nobody answers, or the project is too large.
    """

    def __init__(self, address: str, root: Path, leave_out: Collection[str] = ()) -> None:
        self.address = address
        self.root = root
        self.actors: list[_Actor] = []
        self.cancelled = False
        self._ray = _connected(address)
        parcel = pack(root, leave_out)
        self._parcel = self._ray.put(parcel)
        self._looked = self._opened = time.monotonic()
        self._deaths = 0

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
        """A map that runs raises WorkerCancelled within a second. Safe to call from any thread."""
        self.cancelled = True

    def close(self) -> None:
        self.cancel()
        for actor in list(self.actors):
            self.drop(actor)
        self._ray.shutdown()

    # --- actors ---

    def idle(self) -> list[_Actor]:
        self._follow()
        return [actor for actor in self.actors if actor.running is None]

    def ask(self, actor: _Actor, request: bytes, tickets: list[_Ticket]) -> None:
        actor.tickets = tickets
        actor.running = actor.handle.run.remote(request, [t.item for t in tickets], [t.timeout for t in tickets])

    def answered(self) -> Iterator[tuple[_Actor, Any]]:
        """Who answered within a second, and what; None of an actor that was lost, which is dropped."""
        if self.cancelled:
            raise WorkerCancelled("the cluster was left")
        waiting = {actor.running: actor for actor in self.actors if actor.running is not None}
        if not waiting:
            time.sleep(0.2)
            return
        for actor in [waiting[reference] for reference in self._ray.wait(list(waiting), timeout=1.0)[0]]:
            value = self._taken(actor)
            if actor.opened or value is None:
                yield actor, value
            else:
                self._welcome(actor, value)

    def drop(self, actor: _Actor) -> None:
        self.actors.remove(actor)
        self._ray.kill(actor.handle)

    def _taken(self, actor: _Actor) -> Any:
        from ray.exceptions import RayError, RayTaskError

        try:
            kind, content = self._ray.get(actor.running)
        except RayTaskError as error:  # not of an item: of what stands around it
            raise _broken(error) from error
        except RayError as error:
            self.drop(actor)
            self._looked = 0.0
            self._count_death(actor, str(error))
            return None
        actor.running = None
        if kind == "raised":
            raise revived(content, "a station of the cluster")
        return content

    def _count_death(self, actor: _Actor, reason: str) -> None:
        """Some that die before they open are machines that went; all of them is something that is missing there."""
        self._deaths += not actor.opened
        if "No module named 'flywheel" in reason:
            raise _broken(reason)
        if self._deaths >= 2 * LOSSES and not any(other.opened for other in self.actors):
            raise WorkerCrashed(f"the cluster at {self.address}: {self._deaths} actors died at their start:\n{reason}")

    def _welcome(self, actor: _Actor, said: tuple[str, Mapping[str, str]]) -> None:
        machine, theirs = said
        for what, ours in versions().items():
            if theirs.get(what) != ours:
                raise WorkerError(
                    f"{machine} has {what} {theirs.get(what, 'absent')}, and this machine {ours}: verdicts could "
                    f"differ. Install the same on every machine of the cluster, {_TO_DO}."
                )
        actor.opened, self._deaths = True, 0

    def _follow(self) -> None:
        """As many actors as the cluster has cores; those that wait for a core that is gone are taken back."""
        now = time.monotonic()
        if any(actor.opened for actor in self.actors):
            self._opened = now
        elif now - self._opened > PATIENCE_SECONDS:
            raise WorkerTimeout(self._no_core())
        if self.actors and now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        cores = int(self._ray.cluster_resources().get("CPU", 0))
        for _ in range(cores - len(self.actors)):
            self._start()
        for actor in [a for a in self.actors if not a.opened][: max(0, len(self.actors) - max(1, cores))]:
            self.drop(actor)

    def _start(self) -> None:
        remote = self._ray.remote(Station)
        handle = remote.options(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD").remote()
        self.actors.append(_Actor(handle, handle.open.remote(self._parcel)))

    def _no_core(self) -> str:
        cores, free = (found().get("CPU", 0) for found in (self._ray.cluster_resources, self._ray.available_resources))
        return (
            f"the cluster at {self.address} gave no core within {PATIENCE_SECONDS:g} s: it has {cores:g}, {free:g} "
            f"of them free. Add a machine (`ray start --address=…`), wait for other jobs to end, {_TO_DO}."
        )


class ClusterPool(Pool):
    """The same `map`, over the stations of a cluster; one at a time of all its pools.

    A lost station costs its batch, whose items run again, each alone. One that is lost LOSSES times is "crashed".
    """

    def __init__(self, cluster: Cluster, function: str, setup: Any, memory_bytes: int | None) -> None:
        super().__init__(function, 0, setup=setup, memory_bytes=memory_bytes)
        self._cluster = cluster
        self._sent = send((function, setup, memory_bytes), cluster.root)

    def map(self, items: Iterable[Any], timeout_of: Callable[[Any], float]) -> Iterator[Result]:
        self._cluster._opened = time.monotonic()
        try:
            yield from super().map(items, timeout_of)
        finally:
            for actor in [actor for actor in self._cluster.actors if actor.tickets]:
                self._cluster.drop(actor)

    def _hand_out(self, waiting: deque[_Ticket]) -> None:
        for actor in self._cluster.idle():
            if waiting:
                self._cluster.ask(actor, self._sent, [waiting.popleft() for _ in range(self._count(waiting))])

    def _count(self, waiting: deque[_Ticket]) -> int:
        if waiting[0].crashes:
            return 1
        fair = -(-len(waiting) // len(self._cluster.actors))
        return max(1, min(_BATCH_LIMIT, fair, int(BATCH_SECONDS / max(self._item_seconds, 1e-6))))

    def _take_in(self, waiting: deque[_Ticket], done: dict[int, Result]) -> None:
        for actor, answer in self._cluster.answered():
            tickets, actor.tickets = actor.tickets, []
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


def _connected(address: str) -> Any:
    """Ray, connected. What it prints is left to its own logs."""
    try:
        import ray
    except ImportError as error:
        raise WorkerError(f'Ray is not installed here. Run `pip install "flywheel-loop[ray]"`, {_TO_DO}.') from error
    found = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    _refuse_unreachable(found)
    try:
        ray.init(address=found, logging_level="ERROR", log_to_driver=False, configure_logging=False)
    except Exception as error:
        raise WorkerError(
            f"no Ray cluster at {found}: {error}\nStart one with `ray start --head`, join this machine to it with "
            f"`ray start --address=… --num-cpus=0`, {_TO_DO}."
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
            f"--port={port}`, mend the address, {_TO_DO}."
        ) from error


def _broken(reason: object) -> WorkerError:
    if "No module named 'flywheel" in str(reason):
        return WorkerError(
            "a machine of the cluster has no flywheel. Install the same version on every one (`pip install "
            f'"flywheel-loop[ray]"`, in the Python that runs `ray start`), {_TO_DO}.'
        )
    return WorkerError(f"a station of the cluster failed: {reason}")
