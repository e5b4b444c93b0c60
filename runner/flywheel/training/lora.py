"""LoRA (Hu et al. 2021, arXiv 2106.09685) by peft: a plain, seeded loop that resumes bit for bit.

Why not a Trainer: on a CPU the plain loop with length-sorted windows is 1.6 times as fast, and a checkpoint is one
small file. Prompts are masked, rows longer than `max_length` are left out and counted, never cut. A step's rows go
through the model in parts that fit into memory, in one process or in several (`ranks`); its gradient is the same.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from flywheel.errors import NodeFailed
from flywheel.student.chat import Chat, Prompter
from flywheel.student.loading import (
    Arm,
    Loaded,
    adapter_hash,
    choose_device,
    computed_on,
    load_base,
    prepare_torch,
)
from flywheel.student.memory import (
    Room,
    Row,
    can_recompute,
    free_memory,
    give_back_what_is_freed,
    out_of_memory,
    recomputing,
    training_needs,
)
from flywheel.student.sampling import target_losses
from flywheel.training.checkpoints import State, checkpoint, leave_word, restored
from flywheel.training.launching import launch
from flywheel.training.ranks import ALONE, Ranks
from flywheel.training.recipe import filled
from flywheel.training.sharding import shard

Progress = Callable[[dict[str, Any]], None]

#: A loss that fell by a smaller share hardly fell; one below so many nats a token had no need to.
HARDLY, LITTLE_LOSS = 0.2, 0.3
#: Fewer steps than these are too few before the learning rate is too low.
FEW_STEPS = 100
#: Rows are shuffled, then sorted by length inside windows of this many batches: little padding, still random order.
WINDOW = 8
#: The files of an adapter.
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class TrainingJob:
    """Everything that decides the adapter, and where it is trained. `rows` are (prompt, target) pairs; `settings` is
    `spec.Train` as a dict."""

    arm: Arm
    base_name: str
    rows: tuple[tuple[str, str], ...]
    settings: dict[str, Any]
    chat: Chat
    seed: int
    out: str
    checkpoint_seconds: float = 30.0
    launch: str | None = None
    """The command that starts the training's processes; None: this one trains."""


@dataclass(frozen=True)
class TrainingResult:
    weights_hash: str
    rows: int
    left_out: int
    tokens: int
    steps: int
    loss: float
    """Mean over the last tenth of the steps."""
    losses: list[dict[str, Any]] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    """What memory made necessary, and that little was learned, in words."""
    settings: dict[str, Any] = field(default_factory=dict)
    """As the job's, with what was chosen for what it left open, and what it was computed on."""


class BeginSmaller(NodeFailed):
    """Memory ran out in one of several processes between which the weights are spread: the others wait for it inside a
    layer, so all end, and begin again at the last checkpoint with half as much at a time."""


class Objective(Protocol):
    """What a training lowers: a sum over units, a step's over the sum of their weights."""

    @property
    def rows(self) -> Sequence[Row]:
        """What goes through the model for each unit; several rows as one, for their length."""
        ...

    def weight(self, unit: int) -> int: ...

    def begin(self, torch: Any, loaded: Loaded, units: Sequence[int], ranks: Ranks) -> None:
        """What a whole step needs to know of the model as it is, before any of its parts."""

    def loss(self, torch: Any, loaded: Loaded, units: Sequence[int]) -> Any:
        """The sum over these units, as a tensor to go back from."""
        ...


@dataclass(frozen=True)
class Imitation:
    """The mean loss of a target token: to say what the lessons say."""

    rows: Sequence[Row]

    def weight(self, unit: int) -> int:
        return len(self.rows[unit][0]) - self.rows[unit][1]

    def begin(self, torch: Any, loaded: Loaded, units: Sequence[int], ranks: Ranks) -> None:
        pass

    def loss(self, torch: Any, loaded: Loaded, units: Sequence[int]) -> Any:
        losses, _ = target_losses(torch, loaded, [self.rows[i] for i in units])
        return losses.sum()


def train(job: TrainingJob, progress: Progress, ranks: Ranks = ALONE) -> TrainingResult:
    """Train one adapter into the folder `job.out`, which appears only when it is whole.

    With `job.launch` that command's processes do. Raises NodeFailed where no row fits, the loss is not finite, or the
    command fails.
    """
    if job.launch is not None:
        return launched_result(launch(job.launch, job, job.arm, job.out, progress))
    torch = prepare_torch()
    loaded, free = begun(torch, job, ranks)
    limit = job.settings["max_length"]
    prompter = Prompter(loaded.tokenizer, job.chat)
    encoded = [prompter.supervised(prompt, target) for prompt, target in job.rows]
    rows = [row for row in encoded if len(row[0]) <= limit]
    if not rows:
        raise NodeFailed(f"none of the {len(encoded)} lessons fits train.max_length: {limit} tokens. Raise it.")
    job = replace(job, settings=filled(job.settings, loaded.model, len(rows)))
    adapt(torch, loaded, job, free, ranks)
    result = learned(torch, loaded, Imitation(rows), job, len(encoded) - len(rows), progress, ranks)
    return replace(result, notes=(*result.notes, *_hardly_learned(result.losses, job.settings)))


def launched_result(found: Mapping[str, Any]) -> TrainingResult:
    """What another process left as JSON."""
    return TrainingResult(**{**found, "notes": tuple(found["notes"])})


def begun(torch: Any, job: TrainingJob, ranks: Ranks) -> tuple[Loaded, int]:
    """The base, and how many bytes were free on the device of each process before. Where there are several processes,
    it is on the CPU until `adapt`: it may be too large for a device."""
    torch.manual_seed(job.seed)
    device = choose_device(job.arm.device)
    free = ranks.least(torch, free_memory(device, ranks.on_machine)) if ranks.world > 1 else 0
    return load_base(job.arm, in_4_bits(job.settings), moved=ranks.world == 1), free


def adapt(torch: Any, loaded: Loaded, job: TrainingJob, free: int, ranks: Ranks) -> None:
    """Give the loaded model an adapter that learns, the same in all processes, and put it on the device: whole, or its
    share where the whole does not fit into what was `free`."""
    loaded.model = with_adapter(loaded.model, job.settings, job.arm.adapter)
    if ranks.world == 1:
        return
    fits, quantised = training_needs(loaded.model) <= free, in_4_bits(job.settings)
    if quantised and not fits:
        raise NodeFailed("the base does not fit one GPU in 4 bits, and is not spread in 4 bits. Remove train.quantize.")
    if fits and not quantised:
        loaded.model.to(loaded.device)
    if not fits:
        shard(torch, loaded.model, loaded.device, ranks)
        loaded.sharded = True
    ranks.copy_of_first(torch, _learning(loaded.model))
    if not ranks.is_first:
        torch.manual_seed(job.seed + ranks.rank)  # dropout differs


def _learning(model: Any) -> list[Any]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def in_4_bits(settings: Mapping[str, Any]) -> bool:
    """Whether the base is quantised while the adapter learns."""
    return settings.get("quantize") is not None


def learned(
    torch: Any,
    loaded: Loaded,
    objective: Objective,
    job: TrainingJob,
    left_out: int,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> TrainingResult:
    """The adapter of a loaded model, trained by an objective and written to `job.out`. Raises as `train`."""
    from safetensors import SafetensorError

    scratch = Path(f"{job.out}.part")
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        state = _loop(torch, loaded, objective, job, scratch, progress, ranks)
        weights = ranks.first_does(torch, lambda: _save(loaded.model, job, scratch))
    except (OSError, SafetensorError) as error:
        raise NodeFailed(
            f"the adapter could not be written to {scratch}: {error}. Free some space; the next apply goes on from the "
            "last checkpoint."
        ) from error
    spread = (f"the student's weights are spread over {ranks.world} processes: they do not fit one device",)
    return TrainingResult(
        weights_hash=weights,
        rows=len(objective.rows),
        left_out=left_out,
        tokens=state.tokens,
        steps=state.step,
        loss=_ends(state.losses)[1],
        losses=state.losses,
        notes=(*(spread if loaded.sharded else ()), *state.notes),
        settings={**job.settings, "computed_on": _in_words(computed_on(loaded.device), loaded, ranks)},
    )


def _in_words(device: str, loaded: Loaded, ranks: Ranks) -> str:
    if not ranks.launched:
        return device
    processes = "1 process" if ranks.world == 1 else f"{ranks.world} processes"
    return f"{device}, {processes}{' that share the weights' if loaded.sharded else ''}"


def with_adapter(model: Any, settings: Mapping[str, Any], adapter: str | None) -> Any:
    """The model with a new adapter, or with the one in the folder `adapter`, that learns."""
    from peft import LoraConfig, PeftModel, get_peft_model

    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter, is_trainable=True)
    else:
        targets = settings["targets"]
        config = LoraConfig(
            r=settings["rank"],
            lora_alpha=settings["alpha"] or 2 * settings["rank"],
            lora_dropout=settings["dropout"],
            target_modules=targets if isinstance(targets, str) else list(targets),
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(model, config)
    for parameter in model.parameters():
        if parameter.requires_grad:  # the adapter learns in float32 whatever the base is stored in
            parameter.data = parameter.data.float()
    return model


def _loop(
    torch: Any,
    loaded: Loaded,
    objective: Objective,
    job: TrainingJob,
    scratch: Path,
    progress: Progress,
    ranks: Ranks,
) -> State:
    settings = job.settings
    batches = list(_batches(objective.rows, settings["batch_size"], settings["epochs"], job.seed))
    accumulate = settings["gradient_accumulation"]
    total = min(math.ceil(len(batches) / accumulate), settings["max_steps"] or len(batches))
    trained = _learning(loaded.model)
    optimizer = torch.optim.AdamW(trained, lr=settings["learning_rate"], weight_decay=settings["weight_decay"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warmup_cosine(total, settings["warmup"]))
    state = restored(torch, loaded, optimizer, schedule, scratch, ranks)
    loaded.model.train()
    if state.room.recompute:
        _recompute(loaded.model)
    saved = time.monotonic()
    progress({"done": state.step, "total": total})
    while state.step < total:
        group = batches[state.step * accumulate : (state.step + 1) * accumulate]
        loss, tokens = _fitting_step(torch, loaded, objective, group, state, scratch, ranks)
        if not math.isfinite(loss):
            raise NodeFailed(
                f"training diverged: the loss is {loss} at step {state.step + 1} of {total}. "
                f"Lower train.learning_rate (now {settings['learning_rate']:g})."
            )
        ranks.sum_gradients(torch, trained)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        rate = schedule.get_last_lr()[0]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        _record(state, loss, rate, tokens, total, settings["epochs"])
        progress({"done": state.step, "total": total, "loss": loss, "tokens": state.tokens})
        if ranks.first_does(torch, partial(_is_due, saved, job.checkpoint_seconds)):
            checkpoint(torch, loaded.model, optimizer, schedule, state, scratch, ranks)
            saved = time.monotonic()
    return state


def _is_due(saved: float, seconds: float) -> bool:
    return time.monotonic() - saved > seconds


def _record(state: State, loss: float, rate: float, tokens: int, total: int, epochs: int) -> None:
    state.step += 1
    state.tokens += tokens
    state.losses.append(
        {
            "step": state.step,
            "epoch": epochs * state.step / total,
            "loss": loss,
            "learning_rate": rate,
            "tokens": state.tokens,
        }
    )


def _fitting_step(
    torch: Any,
    loaded: Loaded,
    objective: Objective,
    group: list[list[int]],
    state: State,
    scratch: Path,
    ranks: Ranks,
) -> tuple[float, int]:
    """One step, its loss and tokens over all processes. Where memory runs out in any of them all begin it again in
    smaller parts, and that is noted."""
    drawn = torch.get_rng_state()
    while True:
        loss, tokens, ran_out = 0.0, 0, False
        try:
            loss, tokens = learning_step(torch, loaded, objective, group, state.room, ranks)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            ran_out = True
        if ran_out and loaded.sharded:
            _begin_smaller(loaded.model, state, objective.rows, group, scratch, ranks)
        loss, read, anybody = ranks.sums(torch, loss, tokens, ran_out)
        if not anybody:
            return loss, int(read)
        loaded.model.zero_grad(set_to_none=True)
        torch.set_rng_state(drawn)
        state.room = _smaller(loaded.model, state.room, objective.rows, group, ranks)
        state.notes.append(_note(state.room, state.step + 1))


def _begin_smaller(
    model: Any, state: State, rows: Sequence[Row], group: list[list[int]], scratch: Path, ranks: Ranks
) -> None:
    room = _smaller(model, state.room, rows, group, ranks)
    leave_word(scratch, room, _note(room, state.step + 1))
    raise BeginSmaller("memory ran out in a process that shares the weights with others.")


def _smaller(model: Any, room: Room, rows: Sequence[Row], group: list[list[int]], ranks: Ranks) -> Room:
    """Half as much at a time, where that makes smaller parts; else activations are computed again. Raises NodeFailed
    where neither is left to do."""
    parts = [part for rank in range(ranks.world) for part in _parts(rows, group, room, ranks, rank)]
    half = replace(room, bytes=min(room.bytes, max(room.cost.of([rows[i] for i in part]) for part in parts)) // 2)
    if any(len(part) > 1 for part in parts):
        return half
    if not room.recompute and can_recompute(model):
        _recompute(model)
        return replace(recomputing(model, half), bytes=half.bytes)
    longest = max(len(rows[i][0]) for batch in group for i in batch)
    raise NodeFailed(
        f"a single lesson of {longest:,} tokens does not fit into memory. Lower train.max_length, or take a smaller "
        "student."
    )


def _note(room: Room, step: int) -> str:
    again = ", and activations are computed twice" if room.recompute else ""
    return f"memory ran out at step {step}: half as many rows go through the model at a time{again}"


def _recompute(model: Any) -> None:
    give_back_what_is_freed()
    model.get_base_model().activation_checkpointing_enable({"use_reentrant": False})


def learning_step(
    torch: Any, loaded: Loaded, objective: Objective, group: list[list[int]], room: Room, ranks: Ranks = ALONE
) -> tuple[float, int]:
    """Forward and backward over this process's share of one optimizer step's batches: what it adds to the step's mean
    loss, and tokens read."""
    units = [i for batch in group for i in batch]
    wanted = sum(objective.weight(i) for i in units)
    objective.begin(torch, loaded, units, ranks)
    loss_sum, tokens = 0.0, 0
    parts = _parts(objective.rows, group, room, ranks, ranks.rank)
    for part in parts:
        loss = objective.loss(torch, loaded, part) / wanted
        loss.backward()
        loss_sum += float(loss.detach())
        tokens += sum(len(objective.rows[i][0]) for i in part)
    if loaded.sharded:  # a layer comes together only where all go through it: as often as who has most to read
        most = max(len(_parts(objective.rows, group, room, ranks, rank)) for rank in range(ranks.world))
        for _ in range(most - len(parts)):
            (0 * objective.loss(torch, loaded, units[:1])).backward()
    return loss_sum, tokens


def _parts(rows: Sequence[Row], group: list[list[int]], room: Room, ranks: Ranks, rank: int) -> list[list[int]]:
    """What a process reads of a step's batches, as it goes through the model."""
    return [part for batch in ranks.share(group, rank) for part in room.parts(rows, batch)]


def _batches(rows: Sequence[tuple[list[int], int]], size: int, epochs: int, seed: int) -> Iterator[list[int]]:
    """Row indices, every row once an epoch: shuffled, length-sorted within windows, batches shuffled."""
    for epoch in range(epochs):
        rng = random.Random(f"{seed}/{epoch}")
        order = list(range(len(rows)))
        rng.shuffle(order)
        batches: list[list[int]] = []
        for start in range(0, len(order), size * WINDOW):
            window = sorted(order[start : start + size * WINDOW], key=lambda i: len(rows[i][0]))
            batches += [window[i : i + size] for i in range(0, len(window), size)]
        rng.shuffle(batches)
        yield from batches


def _warmup_cosine(total: int, warmup: float) -> Callable[[int], float]:
    """Linear warm-up over the first `warmup` share of the steps, then a cosine down to a tenth."""
    rise = max(1, round(total * warmup))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))

    return factor


def _save(model: Any, job: TrainingJob, scratch: Path) -> str:
    """Write the adapter beside its place, sync it, and rename: a folder of that name is a whole adapter. Gives its
    hash."""
    # Not the embedding itself, which peft saves beside an adapter on it: it is the base's, and larger than all else.
    model.save_pretrained(scratch, safe_serialization=True, save_embedding_layers=False)
    for path in scratch.iterdir():
        if path.name not in ADAPTER:  # a README, a checkpoint, what a kill cut off
            path.unlink()
    config = json.loads((scratch / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = job.base_name  # a folder of this machine is nobody else's business
    config["revision"] = job.arm.revision
    (scratch / "adapter_config.json").write_text(json.dumps(_sorted_lists(config), indent=2, sort_keys=True))
    for path in scratch.iterdir():
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
    out = Path(job.out)
    if out.exists():
        shutil.rmtree(out)
    os.replace(scratch, out)
    return adapter_hash(out)


def _sorted_lists(config: dict[str, Any]) -> dict[str, Any]:
    """peft writes sets in arbitrary order; the hash of the file must not depend on it."""
    return {
        k: sorted(v) if isinstance(v, list) and all(isinstance(i, str) for i in v) else v for k, v in config.items()
    }


def _ends(losses: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Means over the first and the last tenth of the steps."""
    tenth = max(1, len(losses) // 10)
    return fmean(entry["loss"] for entry in losses[:tenth]), fmean(entry["loss"] for entry in losses[-tenth:])


def _hardly_learned(losses: Sequence[dict[str, Any]], settings: dict[str, Any]) -> list[str]:
    """Where the loss hardly fell though there was much to learn: what to change."""
    first, last = _ends(losses)
    if last < LITTLE_LOSS or last < first * (1 - HARDLY):
        return []
    rate, epochs, steps = settings["learning_rate"], settings["epochs"], len(losses)
    change = f"raise train.epochs (now {epochs})" if steps < FEW_STEPS else f"raise train.learning_rate (now {rate:g})"
    return [f"the loss hardly fell, from {first:.2f} to {last:.2f} nats a token in {steps:,} steps: {change}"]
