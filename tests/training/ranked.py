"""Several processes of a training, without a launcher: children that have torch from here, since importing it takes
longer than all that they do."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from flywheel.training.ranks import Ranks

#: Far more than any of these trainings takes.
DEADLOCKED = 60.0


def ranked(run: Callable[[Ranks], Any], world: int = 2, wanted: tuple[int, ...] | None = None) -> list[Any]:
    """What each process gives or raises; of the `wanted` ranks only, where the others wait for them in vain."""
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(world)]
    port = _free_port()
    children = [context.Process(target=_run, args=(run, rank, world, port, pipes[rank][1])) for rank in range(world)]
    for child in children:
        child.start()
    try:
        return [_answer(pipes[rank][0]) for rank in (range(world) if wanted is None else wanted)]
    finally:
        for child in children:
            child.kill()
            child.join()


def _free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def _answer(pipe: Any) -> Any:
    assert pipe.poll(DEADLOCKED), "the processes wait for each other"
    return pipe.recv()


def _run(run: Callable[[Ranks], Any], rank: int, world: int, port: str, answer: Any) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    try:
        answer.send(run(Ranks.joined(torch, "cpu")))
    except Exception as error:
        answer.send(error)
    time.sleep(DEADLOCKED)  # a process that is gone would free those that wait for it
