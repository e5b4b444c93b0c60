"""Model workers on the machines of a Ray cluster: a job in parts, each given to one that is free."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flywheel.executor.crew import LOSSES, Actor, Crew, room
from flywheel.executor.faults import WorkerCrashed
from flywheel.executor.parcel import pack, send
from flywheel.executor.station import ANSWERED_WITH, ModelStation, versions
from flywheel.executor.worker import OnProgress

#: Into how many parts for each worker a job is cut: the fast take more of them, and a lost machine costs little.
PARTS_EACH = 4
#: Of a model's folder. More is better read where each machine has it.
LIMIT_BYTES = 2 << 30


@dataclass
class _Piece:
    number: int
    losses: int = 0


class Fleet:
    """`size` model workers on the cluster, each on a GPU where it has any, else on a core; one call at a time.

    A worker keeps what it has loaded, and the folders that were sent to it. `make_room` is called while one
    waits for room.
    """

    def __init__(self, ray: Any, address: str, size: int, make_room: Callable[[], None] = lambda: None) -> None:
        self._ray = ray
        self.size = size
        self._make_room = make_room
        self._resource: Literal["CPU", "GPU"] = "GPU" if ray.cluster_resources().get("GPU") else "CPU"
        self._packed: dict[Path, Any] = {}
        self._turn = threading.Lock()
        self._crew = Crew(ray, address, self._start, lambda: size, lambda: versions(ANSWERED_WITH), self._lacking)

    @property
    def cores(self) -> int:
        """That it takes from those who judge."""
        return self.size if self._resource == "CPU" else 0

    def call(self, function: str, parts: Sequence[Any], folders: Sequence[Path], on_progress: OnProgress) -> list[Any]:
        """What `function` ("package.module:name") gives for each part, in order, as `Worker.call` would. `folders` are
        sent along; where a part names one, it finds that machine's copy.

        A part that is lost with its machine is done again elsewhere. Raises WorkerCrashed where that happens LOSSES
        times, WorkerTimeout where the cluster has no room, WorkerCancelled, and what the function raises.
        """
        with self._turn:
            self._crew.begin()
            call = _Call(function, [send(part, folders) for part in parts], self._parcels(folders), on_progress)
            try:
                while not call.is_over:
                    for actor in self._crew.idle():
                        call.give(actor)
                    for actor, answer in self._crew.answered():
                        call.take(actor, answer)
                    self._look(call)
                    if not all(actor.opened for actor in self._crew.actors):
                        self._make_room()
            finally:  # of what was given up
                for actor in [actor for actor in self._crew.actors if actor.work is not None]:
                    self._crew.drop(actor)
        return call.results

    def cancel(self) -> None:
        """The call that runs raises WorkerCancelled within a second. Safe to call from any thread."""
        self._crew.cancelled = True

    def close(self) -> None:
        self.cancel()
        with self._turn:  # Ray would start a cluster of its own for who still asks when it is shut down
            self._crew.close()

    def _parcels(self, folders: Sequence[Path]) -> dict[str, Any]:
        """Folder → reference. A folder is packed once: what is in it is named by what made it, and does not change."""
        for folder in folders:
            if folder not in self._packed:
                self._packed[folder] = self._ray.put(pack(folder, (), LIMIT_BYTES))
        return {str(folder): self._packed[folder] for folder in folders}

    def _look(self, call: _Call) -> None:
        """How far those that compute are."""
        busy = {a.handle.progress.remote(): a.work for a in self._crew.actors if isinstance(a.work, _Piece)}
        for reference in self._ray.wait(list(busy), num_returns=len(busy), timeout=1.0)[0] if busy else ():
            try:
                call.hear(busy[reference], self._ray.get(reference))
            except self._ray.exceptions.RayError:
                continue  # it is lost: `answered` will say so

    def _start(self) -> tuple[Any, Any]:
        share = {"num_gpus": 1, "num_cpus": 0} if self._resource == "GPU" else {"num_cpus": 1}
        options = {**share, "max_restarts": 0, "max_concurrency": 2, "scheduling_strategy": "SPREAD"}
        handle = self._ray.remote(ModelStation).options(**options).remote()
        return handle, handle.open.remote()

    def _lacking(self) -> str:
        return f"executor.students is {self.size}, and {room(self._ray, self._resource)}"


class _Call:
    """One job on its way: which parts wait, which are done, how far all of them are together."""

    def __init__(self, function: str, sent: Sequence[bytes], parcels: dict[str, Any], on_progress: OnProgress) -> None:
        self._function, self._sent, self._parcels, self._on_progress = function, sent, parcels, on_progress
        self._waiting = deque(_Piece(number) for number in range(len(sent)))
        self._done: dict[int, Any] = {}
        self._counts: dict[str, dict[int, int]] = {}
        """What is counted → part → how many."""

    @property
    def is_over(self) -> bool:
        return len(self._done) == len(self._sent)

    @property
    def results(self) -> list[Any]:
        return [self._done[number] for number in range(len(self._sent))]

    def give(self, actor: Actor) -> None:
        """A folder that it lacks, else the next part, if any."""
        if not self._waiting:
            return
        lacking = next((folder for folder in self._parcels if folder not in actor.known), None)
        if lacking is not None:
            actor.work = lacking
            actor.running = actor.handle.receive.remote(self._parcels[lacking])
        else:
            actor.work = part = self._waiting.popleft()
            actor.running = actor.handle.run.remote(self._function, self._sent[part.number])

    def take(self, actor: Actor, answer: Any) -> None:
        """What it said, or None of one that is lost."""
        work, actor.work = actor.work, None
        if answer is None:
            if isinstance(work, _Piece):
                self._again(work)
        elif isinstance(work, _Piece):
            value, heard = answer
            self.hear(work, heard)
            self._done[work.number] = value
        else:
            actor.known.add(work)

    def hear(self, part: _Piece, messages: dict[str, dict[str, Any]]) -> None:
        """Counts of all parts together, told on where they moved."""
        for what, message in messages.items():
            counts = self._counts.setdefault(what, {})
            if counts.get(part.number) != message["done"]:
                counts[part.number] = message["done"]
                self._on_progress({**message, "done": sum(counts.values())})

    def _again(self, part: _Piece) -> None:
        part.losses += 1
        if part.losses >= LOSSES:
            raise WorkerCrashed(f"{self._function}: the machine that ran a part of it was lost {LOSSES} times")
        self._waiting.appendleft(part)
