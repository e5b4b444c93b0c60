"""What a training leaves in its folder as it goes, and goes on from: bit for bit in as many processes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flywheel.files import write_text
from flywheel.student.loading import Loaded
from flywheel.student.memory import Room, recomputing, training_room
from flywheel.training.ranks import Ranks

_CHECKPOINT, _SMALLER = "checkpoint.pt", "smaller.json"


@dataclass
class State:
    """What a checkpoint holds besides weights and optimizer."""

    room: Room
    step: int = 0
    tokens: int = 0
    losses: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def checkpoint(
    torch: Any, model: Any, optimizer: Any, schedule: Any, state: State, scratch: Path, ranks: Ranks
) -> None:
    """All that the loop needs to go on bit for bit in as many processes; only they read it back."""
    random, *others = ranks.gathered(torch, torch.get_rng_state())
    if not ranks.is_first:
        return
    temporary = scratch / f"{_CHECKPOINT}.tmp"
    torch.save(
        {
            "adapter": {n: p.data for n, p in model.named_parameters() if p.requires_grad},
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "random": random,
            "random_of_others": others,
            "step": state.step,
            "tokens": state.tokens,
            "losses": state.losses,
            "notes": state.notes,
            "room": (state.room.bytes, state.room.recompute),
        },
        temporary,
    )
    os.replace(temporary, scratch / _CHECKPOINT)
    (scratch / _SMALLER).unlink(missing_ok=True)


def restored(torch: Any, loaded: Loaded, optimizer: Any, schedule: Any, scratch: Path, ranks: Ranks) -> State:
    """Where an earlier, killed run of the same job stopped; a fresh state where there was none."""
    state = State(training_room(loaded.model, loaded.device, ranks.on_machine))
    # The first looks for all: a folder that machines share shows each of them a new file at another time.
    if ranks.first_does(torch, (scratch / _CHECKPOINT).exists):
        saved = torch.load(scratch / _CHECKPOINT, weights_only=True)
        for name, parameter in loaded.model.named_parameters():
            if parameter.requires_grad:
                parameter.data.copy_(saved["adapter"][name])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        random = [saved["random"], *saved.get("random_of_others", [])]
        if ranks.rank < len(random):  # in more processes than before, a new one draws what no other has drawn
            torch.set_rng_state(random[ranks.rank])
        # The room as it was: what fits is no longer to be found out.
        room = _room(loaded.model, state.room, *saved["room"])
        state = State(room, saved["step"], saved["tokens"], saved["losses"], saved["notes"])
    if word := ranks.first_does(torch, lambda: _word_left(scratch)):
        state.room = _room(loaded.model, state.room, word["bytes"], word["recompute"])
        state.notes.append(word["note"])
    size, recompute = ranks.least(torch, state.room.bytes), ranks.least(torch, not state.room.recompute) == 0
    state.room = _room(loaded.model, state.room, size, recompute)
    return state


def _word_left(scratch: Path) -> dict[str, Any] | None:
    """By `leave_word`."""
    try:
        word: dict[str, Any] = json.loads((scratch / _SMALLER).read_text())
    except FileNotFoundError:
        return None
    return word


def _room(model: Any, room: Room, size: int, recompute: bool) -> Room:
    return replace(recomputing(model, room) if recompute else room, bytes=size)


def leave_word(scratch: Path, room: Room, note: str) -> None:
    """For the processes that begin again: how much goes through the model at once, and why."""
    write_text(scratch / _SMALLER, json.dumps({"bytes": room.bytes, "recompute": room.recompute, "note": note}))
