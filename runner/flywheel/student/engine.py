"""What answers many prompts at once, in place of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Sampling:
    """What answers have in common: greedy at temperature 0, ended by one of the tokens or before one of the strings."""

    ends: Sequence[int]
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: Sequence[str] = ()
    repetition_penalty: float = 1.0


class BatchEngine(Protocol):
    """One model's."""

    version: str
    """Such as `vllm 0.32.0`; empty before its first answer."""

    def answer(
        self, rows: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], progress: Callable[[int], None]
    ) -> list[list[int]]:
        """The new token ids of each row of token ids; `seeds` has one for each where it is sampled. `progress` is told
        how many are done. Raises FlywheelError where it cannot take the model, or answers otherwise than
        transformers."""
        ...

    def close(self) -> None:
        """Give up the memory. It starts again when it is asked."""
        ...
