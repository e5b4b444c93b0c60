"""The processes of one training: each reads its share of a step's rows, and all take the same step.

Data parallel without a wrapper: a step's loss is a sum over rows divided by the weight of *all* of them, and each
process has the adapter whole, so that gradients are added and nothing else is done to them. What a process finds out
alone (memory ran out, a checkpoint is due) all agree on before one of them acts on it: else the others would wait for
it for ever.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Ranks:
    """`rank` of `world` processes, of which `on_machine` are on this machine. Alone, all below is done without a word
    to anybody. `launched`: by a command, which may have started fewer than somebody thinks."""

    rank: int = 0
    world: int = 1
    on_machine: int = 1
    launched: bool = False

    @classmethod
    def joined(cls, torch: Any, device: str) -> Self:
        """As the launcher numbers this process in RANK, WORLD_SIZE and LOCAL_WORLD_SIZE, as torchrun and accelerate do.

        Numbers and objects go by gloo, whatever the device: memory may have run out there.
        """
        world = int(os.environ.get("WORLD_SIZE", 1))
        if world == 1:
            return cls(launched=True)
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo")
        return cls(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_WORLD_SIZE", 1)), launched=True)

    def leave(self, torch: Any) -> None:
        if self.world > 1:
            torch.distributed.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """It alone writes."""
        return self.rank == 0

    def share(self, group: Sequence[list[int]], rank: int) -> list[list[int]]:
        """Of a step's batches what a process reads: every so-manieth row, in batches as large as they were."""
        if self.world == 1:
            return list(group)
        size = max(map(len, group))
        own = [place for batch in group for place in batch][rank :: self.world]
        return [own[i : i + size] for i in range(0, len(own), size)]

    def sums(self, torch: Any, *numbers: float) -> list[float]:
        """Each number, over all processes."""
        return self._reduced(torch, "SUM", numbers, torch.float64)

    def least(self, torch: Any, number: int) -> int:
        """Over all processes."""
        return int(self._reduced(torch, "MIN", [number], torch.int64)[0])

    def _reduced(self, torch: Any, how: str, numbers: Iterable[float], dtype: Any) -> list[Any]:
        values = torch.tensor(list(numbers), dtype=dtype)
        if self.world > 1:
            torch.distributed.all_reduce(values, getattr(torch.distributed.ReduceOp, how))
        found: list[Any] = values.tolist()
        return found

    def gathered(self, torch: Any, value: Any) -> list[Any]:
        """What each process has, by rank."""
        if self.world == 1:
            return [value]
        every: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(every, value)
        return every

    def first_does(self, torch: Any, do: Callable[[], Any]) -> Any:
        """What it gives, for all; they wait for it."""
        if self.world == 1:
            return do()
        told = [do() if self.is_first else None]
        torch.distributed.broadcast_object_list(told, src=0, device=torch.device("cpu"))
        return told[0]

    def sum_gradients(self, torch: Any, parameters: Sequence[Any]) -> None:
        """In place. What got a gradient in no process has none afterwards, as it would have alone."""
        if self.world == 1:
            return
        found = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32)
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
        torch.distributed.all_reduce(found)
        torch.distributed.all_reduce(flat)
        sums = flat.split([p.numel() for p in parameters])
        for parameter, has_one, total in zip(parameters, found.tolist(), sums, strict=True):
            parameter.grad = total.view_as(parameter) if has_one else None

    def copy_of_first(self, torch: Any, parameters: Sequence[Any]) -> None:
        """The parameters become what they are in the first process."""
        if self.world > 1:
            for parameter in parameters:
                torch.distributed.broadcast(parameter.data, src=0)


ALONE = Ranks()
