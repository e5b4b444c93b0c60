"""What fits into memory: batches bounded by bytes instead of rows, and what to do where one does not fit after all.

How many rows a person asks for decides what is learned (a step's rows) or compared (a batch's answers); how many of
them go through the model at once does not, and follows from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

#: Bytes of activations at a time. On a CPU more is no faster: some hundred tokens fill the cores.
CPU_ROOM = 2 << 30
#: The same where nothing is kept for a backward pass.
READING_ROOM = 512 << 20
#: The least for which it pays to keep activations; below it they are computed twice.
FEW_TOKENS = 256
#: glibc's name for it, in malloc.h.
_M_MMAP_THRESHOLD = -3
#: Of each logit: the value, its softmax and its gradient, in float32.
LOGIT_BYTES = 12

Row = tuple[list[int], int]
"""Token ids of prompt and completion, and how many of them are prompt."""


@dataclass(frozen=True)
class Cost:
    """Bytes that a batch takes: for each token (padding counts), and for each target, whose logits are computed."""

    token: int
    target: int

    def of(self, rows: Sequence[Row]) -> int:
        width = max(len(ids) for ids, _ in rows)
        return len(rows) * width * self.token + sum(len(ids) - start for ids, start in rows) * self.target


@dataclass(frozen=True)
class Room:
    """How much goes through a model at once. `recompute`: activations are not kept but computed again."""

    bytes: int
    cost: Cost
    recompute: bool = False

    def parts(self, rows: Sequence[Row], batch: Sequence[int]) -> Iterator[list[int]]:
        """`batch` (places in `rows`) in parts that fit, in order; a row alone may be too large."""
        part: list[int] = []
        for place in batch:
            if part and self.cost.of([rows[i] for i in (*part, place)]) > self.bytes:
                yield part
                part = []
            part.append(place)
        if part:
            yield part

    def halved(self) -> Room:
        return replace(self, bytes=self.bytes // 2)


def reading_room(model: Any) -> Room:
    """To read rows without learning from them."""
    shape = _shape(model)
    return Room(READING_ROOM, Cost(4 * (12 * shape.hidden + 4 * shape.inner), shape.vocabulary * LOGIT_BYTES))


def training_room(model: Any, device: str, processes: int = 1) -> Room:
    """To learn from rows, in so many processes on this machine. Where memory is short, activations are recomputed (Chen
    et al. 2016, arXiv 1604.06174)."""
    shape = _shape(model)
    room = Room(_room(device, processes), Cost(shape.layers * shape.kept, shape.vocabulary * LOGIT_BYTES))
    if room.bytes >= FEW_TOKENS * room.cost.token or not can_recompute(model):
        return room
    return recomputing(model, room)


def training_needs(model: Any) -> int:
    """Bytes of a model with an adapter that learns, and of the least that goes through it: of what learns, the gradient
    and Adam's two moments beside it."""
    parameters = list(model.parameters())
    weights = sum(int(p.nbytes) for p in parameters)
    learning = sum(int(p.nbytes) for p in parameters if p.requires_grad)
    shape = _shape(model)
    token = shape.layers * 4 * shape.hidden + shape.kept + shape.vocabulary * LOGIT_BYTES
    return weights + 3 * learning + FEW_TOKENS * token


def free_memory(device: str, processes: int = 1) -> int:
    """Bytes of a device that each of so many processes on this machine can have; a lot where that cannot be told."""
    if device == "cuda":  # each has its own
        return _cuda()[1]
    free = _free()
    return 1 << 62 if free is None else free // processes


def can_recompute(model: Any) -> bool:
    return bool(getattr(model, "supports_gradient_checkpointing", False))


def recomputing(model: Any, room: Room) -> Room:
    """Of each layer only what goes in is kept, and the whole of the one that is being computed again."""
    shape = _shape(model)
    token = shape.layers * 4 * shape.hidden + shape.kept
    return Room(room.bytes, replace(room.cost, token=token), recompute=True)


def give_back_what_is_freed() -> None:
    """From now on, in this process, large blocks go back to the system when they are freed. glibc keeps those of up to
    32 MB for itself, in pieces that fit no longer: SmolLM2's training was twice as large as what lived of it. It costs
    time, so it is for where memory is short; other C libraries are left alone."""
    import ctypes  # not every Python has it

    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def out_of_memory(error: BaseException) -> bool:
    """torch has a class for accelerators; its CPU allocator raises a plain RuntimeError."""
    words = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words)
    )


# --- a model's size ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shape:
    layers: int
    hidden: int
    inner: int
    vocabulary: int

    @property
    def kept(self) -> int:
        """Bytes a token that a layer with adapters keeps for its backward pass; measured, on the safe side."""
        return 4 * (30 * self.hidden + 10 * self.inner)


def _shape(model: Any) -> _Shape:
    """From the configuration, whatever a family calls its parts; the text part of a model that sees."""
    config = model.config.get_text_config()
    hidden = int(config.hidden_size)
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    inner = max(inner) if isinstance(inner, list | tuple) else inner  # some families give one for each layer
    experts = getattr(config, "num_experts_per_tok", None) or 1
    return _Shape(int(config.num_hidden_layers), hidden, int(inner) * experts, int(config.vocab_size))


# --- a machine's memory -----------------------------------------------------------------------------------------------


def _room(device: str, processes: int = 1) -> int:
    """By halves less where not twice as much is free, so that it is the same on most days."""
    wanted, free = (CPU_ROOM, free_memory(device, processes)) if device != "cuda" else _cuda()
    while wanted > max(free // 2, 1 << 20):
        wanted //= 2
    return wanted


def _cuda() -> tuple[int, int]:
    import torch

    free, total = torch.cuda.mem_get_info()
    return 1 << (int(total) // 4).bit_length() - 1, int(free)


def _free() -> int | None:
    """Bytes that this process could still get, of the machine and of its group; None where that cannot be told."""
    known = [n for n in (_available(), _left_in_group()) if n is not None]
    return min(known, default=None)


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)


def _left_in_group(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Of a container (cgroup 2)."""
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return None if limit == "max" else max(0, int(limit) - int(used))
    except (OSError, ValueError):
        return None
