"""Actors of one class on the machines of a Ray cluster: started, asked, and replaced as machines come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flywheel.executor.faults import WorkerCancelled, WorkerCrashed, WorkerError, WorkerTimeout
from flywheel.executor.worker import revived

#: A machine may come and go several times an hour; work that was lost with one so often is given up.
LOSSES = 5
#: Until there is room for an actor, or a scaler has started a machine.
PATIENCE_SECONDS = 300.0
_LOOK_SECONDS = 2.0
TO_DO = "or set `executor: {kind: local}`"


@dataclass
class Actor:
    handle: Any
    running: Any = None
    """What it was asked for last, until it answers."""
    work: Any = None
    """What that is for, to whoever asked."""
    opened: bool = False
    known: set[str] = field(default_factory=set)
    """Folders that were sent to it and stay there. Two may hold the same, and it must know of both."""


class Crew:
    """As many actors as `wanted` says at any time; `start` makes one and what its opening will give: the machine's name
    and its versions, which must be `versions`. `lacking` says what a cluster lacks that gives no room to one."""

    def __init__(
        self,
        ray: Any,
        address: str,
        start: Callable[[], tuple[Any, Any]],
        wanted: Callable[[], int],
        versions: Callable[[], Mapping[str, str]],
        lacking: Callable[[], str],
    ) -> None:
        self.actors: list[Actor] = []
        self.cancelled = False
        self._ray, self._address = ray, address
        self._start, self._wanted, self._versions, self._lacking = start, wanted, versions, lacking
        self._deaths = 0
        self.begin()

    def begin(self) -> None:
        """From now on it waits for room, for so long as it is patient. Raises WorkerCancelled once it is closed."""
        if self.cancelled:
            raise _left()
        self._drop_lost()
        self._looked = self._opened = time.monotonic()

    def close(self) -> None:
        self.cancelled = True
        for actor in list(self.actors):
            self.drop(actor)

    def idle(self) -> list[Actor]:
        self._follow()
        return [actor for actor in self.actors if actor.running is None]

    def make_room(self) -> None:
        """Ends idle actors that the cluster has become too small for. Safe to call from any thread: whoever asks them
        next finds them lost."""
        idle = [actor for actor in list(self.actors) if actor.running is None]
        for actor in idle[: max(0, len(self.actors) - self._wanted())]:
            self._ray.kill(actor.handle)

    def answered(self) -> Iterator[tuple[Actor, Any]]:
        """Who answered within a second, and what; None of an actor that was lost, which is dropped."""
        if self.cancelled:
            raise _left()
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

    def drop(self, actor: Actor) -> None:
        self.actors.remove(actor)
        self._ray.kill(actor.handle)

    def _drop_lost(self) -> None:
        """Those whose machine went while nobody asked them: what such a one is given would count as lost with it."""
        asked = {actor.handle.__ray_ready__.remote(): actor for actor in self.actors if actor.opened}
        for reference in self._ray.wait(list(asked), num_returns=len(asked), timeout=1.0)[0] if asked else ():
            try:
                self._ray.get(reference)
            except self._ray.exceptions.RayError:
                self.drop(asked[reference])

    def _taken(self, actor: Actor) -> Any:
        """What it said. One after whose word this raises is dropped: it is never asked again."""
        from ray.exceptions import RayError, RayTaskError

        try:
            kind, content = self._ray.get(actor.running)
        except RayTaskError as error:  # not of what it was given: of what stands around it
            self.drop(actor)
            raise _broken(error) from error
        except RayError as error:
            self.drop(actor)
            self._looked = 0.0
            self._count_death(actor, str(error))
            return None
        actor.running = None
        if kind == "raised":
            self.drop(actor)
            raise revived(content, "an actor of the cluster")
        return content

    def _count_death(self, actor: Actor, reason: str) -> None:
        """Some that die before they open are machines that went; all of them is something that is missing there."""
        self._deaths += not actor.opened
        if "No module named 'flywheel" in reason:
            raise _broken(reason)
        if self._deaths >= 2 * LOSSES and not any(other.opened for other in self.actors):
            raise WorkerCrashed(f"the cluster at {self._address}: {self._deaths} actors died at their start:\n{reason}")

    def _welcome(self, actor: Actor, said: tuple[str, Mapping[str, str]]) -> None:
        machine, theirs = said
        for what, ours in self._versions().items():
            if theirs.get(what) != ours:
                self.drop(actor)
                raise WorkerError(
                    f"{machine} has {what} {theirs.get(what, 'absent')}, and this machine {ours}: what it finds could "
                    f"differ. Install the same on every machine of the cluster, {TO_DO}."
                )
        actor.opened, self._deaths = True, 0

    def _follow(self) -> None:
        """As many actors as are wanted; those that wait for room that is gone are taken back."""
        now = time.monotonic()
        if any(actor.opened for actor in self.actors):
            self._opened = now
        elif now - self._opened > PATIENCE_SECONDS:
            raise WorkerTimeout(
                f"the cluster at {self._address} gave no room within {PATIENCE_SECONDS:g} s: {self._lacking()}. "
                f"Add a machine (`ray start --address=…`), wait for other jobs to end, {TO_DO}."
            )
        if self.actors and now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        wanted = self._wanted()
        for _ in range(wanted - len(self.actors)):
            self.actors.append(Actor(*self._start()))
        for actor in [a for a in self.actors if not a.opened][: max(0, len(self.actors) - max(1, wanted))]:
            self.drop(actor)


def room(ray: Any, resource: Literal["CPU", "GPU"]) -> str:
    """`it has 3 cores, 1 of them free`, of the cluster that Ray is connected to."""
    every, free = (found().get(resource, 0) for found in (ray.cluster_resources, ray.available_resources))
    return f"it has {every:g} {'GPUs' if resource == 'GPU' else 'cores'}, {free:g} of them free"


def _left() -> WorkerCancelled:
    return WorkerCancelled("the cluster was left")


def _broken(reason: object) -> WorkerError:
    if "No module named 'flywheel" in str(reason):
        return WorkerError(
            "a machine of the cluster has no flywheel. Install the same version on every one (`pip install "
            f'"flywheel-loop[ray]"`, in the Python that runs `ray start`), {TO_DO}.'
        )
    return WorkerError(f"an actor of the cluster failed: {reason}")
