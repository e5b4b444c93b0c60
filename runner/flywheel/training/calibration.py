"""How fast a student is on this machine: it answers and learns from a few rows, for some seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from flywheel.student.chat import Prompter
from flywheel.student.loading import Arm, Loaded, forget, load, load_base, load_tokenizer, prepare_torch
from flywheel.student.memory import training_room
from flywheel.student.sampling import completion_losses, generate_batch
from flywheel.student.work import Asking
from flywheel.training.lora import Imitation, in_4_bits, learning_step, with_adapter
from flywheel.training.recipe import filled

Progress = Callable[[dict[str, Any]], None]

#: Three things are measured, each for so many seconds at least where a few rows take less.
SECONDS_EACH = 3.0
#: In the place of tokens that end an answer: a student that falls silent at once would seem fast.
NO_TOKEN = 2**31 - 1


@dataclass(frozen=True)
class CalibrationJob:
    """`pairs`: some rows as (prompt, right answer). `settings`: `spec.Train` as a dict; None where a command trains
    (`train.launch`): it may not fit here."""

    arm: Arm
    asking: Asking
    pairs: tuple[tuple[str, str], ...]
    settings: dict[str, Any] | None


@dataclass(frozen=True)
class Calibration:
    """Seconds of the student on this machine."""

    load: float
    """Until it can be asked."""
    answer_short: float
    """An answer as long as the right ones are, in a batch of the size that it is asked in."""
    answer_long: float
    """An answer as long as `student.max_new_tokens` allows."""
    read: float
    """The loss on a row."""
    learn: float | None
    """A row in a step of training."""


def calibrate(job: CalibrationJob, progress: Progress) -> Calibration:
    """Measure a student, in about ten seconds. One that is slow takes longer: each of its steps is taken once."""
    del progress
    load_tokenizer(job.arm)  # a GGUF file is unpacked once, and not each time it is loaded
    began = time.perf_counter()
    loaded = load(job.arm)
    ready = time.perf_counter() - began
    prompter = Prompter(loaded.tokenizer, job.asking.chat)
    prompts = [prompter.ids(prompt) for prompt, _ in job.pairs]
    rows = [prompter.supervised(*pair) for pair in job.pairs]
    longest = job.asking.max_new_tokens
    right = min(longest, round(fmean(len(ids) - start for ids, start in rows)))

    def answering(tokens: int) -> Callable[[int], object]:
        return lambda rows: generate_batch(loaded, prompts[:rows], [NO_TOKEN], tokens, None)

    def reading(rows: int) -> object:
        return completion_losses(loaded, job.pairs[:rows], chat=job.asking.chat)

    batch = min(len(prompts), job.asking.batch_size)
    short, long = (seconds_a_row(answering(tokens), batch) for tokens in (right, longest))
    read = seconds_a_row(reading, batch)
    learn = None if job.settings is None else _learning(loaded, job.arm, job.settings, rows)
    return Calibration(ready, short, long, read, learn)


def _learning(loaded: Loaded, arm: Arm, told: dict[str, Any], rows: Sequence[tuple[list[int], int]]) -> float:
    """Of a row in a step of training. The loaded model is given up: it has an adapter now."""
    torch = prepare_torch()
    settings = filled(told, loaded.model, len(rows))
    forget()
    loaded = load_base(arm, in_4_bits=True) if in_4_bits(settings) else loaded
    learner = replace(loaded, model=with_adapter(loaded.model, settings, None))
    learner.model.train()
    room = training_room(learner.model, learner.device)

    def learning(number: int) -> object:
        return learning_step(torch, learner, Imitation(rows), [list(range(number))], room)

    return seconds_a_row(learning, min(len(rows), settings["batch_size"]))


def seconds_a_row(run: Callable[[int], object], most: int, seconds: float = SECONDS_EACH) -> float:
    """`run` takes a number of rows: it is given ever more, up to `most`, as long as there is time. Its first round is
    not counted."""
    run(1)
    rows, left = 1, seconds
    while True:
        began = time.perf_counter()
        run(rows)
        took = time.perf_counter() - began
        left -= took
        if rows >= most or left < 2 * took:
            return took / rows
        rows = min(most, 2 * rows)
