"""How a student is trained where the spec does not say: by its width, its size, and how many lessons there are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Below it a model has met few words, and its embeddings have to learn, too.
SMALL_PARAMETERS = 20_000_000
#: Optimiser steps to aim at. Fewer hardly move an adapter, which begins at zero; a small model needs more.
STEPS, STEPS_OF_SMALL = 200, 300
MOST_EPOCHS, FEWEST_EPOCHS = 10, 3
BATCH_SIZES = (4, 8, 16)
#: Batches that an epoch should have before larger ones pay.
BATCHES = 32


@dataclass(frozen=True)
class Size:
    """Of a student: the width of its hidden states, and about how many parameters it has."""

    hidden: int
    parameters: int

    @property
    def is_small(self) -> bool:
        return self.parameters < SMALL_PARAMETERS


def size_in(folder: Path) -> Size | None:
    """Of the model in a folder, from its `config.json`; None where that does not tell."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict):
        return None
    config = config.get("text_config") or config
    hidden, layers, vocabulary = (config.get(key) for key in ("hidden_size", "num_hidden_layers", "vocab_size"))
    if not (isinstance(hidden, int) and isinstance(layers, int) and isinstance(vocabulary, int)):
        return None
    inner = config.get("intermediate_size")
    inner = inner if isinstance(inner, int) else 4 * hidden
    return Size(hidden, vocabulary * hidden + layers * hidden * (4 * hidden + 3 * inner))


def size_of(model: Any) -> Size:
    """Of a loaded model."""
    config = model.config.get_text_config()
    return Size(int(config.hidden_size), int(model.num_parameters()))  # two of four bits are stored as one


def learning_rate(size: Size) -> float:
    """The wider a model, the smaller: 5e-4 (2000 / width)^0.781, as LoRA on Llamas of many sizes was found to learn
    best (Schulman et al. 2025, "LoRA Without Regret", and the Tinker cookbook's `get_lr`)."""
    return float(f"{min(5e-3, 5e-4 * (2000 / size.hidden) ** 0.781):.1e}")


def preference_rate(size: Size, method: str, practises: bool) -> float:
    """To learn from judged answers by `dpo`, `kto` or `grpo`: this part of the rate at which lessons are learned, as it
    was measured to pay, and not to undo what lessons had taught (docs/howto-preference.md). `practises`: there are
    questions to practise on; the few others come again and again."""
    return float(f"{learning_rate(size) / (10 if method == 'grpo' and practises else 40):.1e}")


def filled(settings: Mapping[str, Any], model: Any, lessons: int) -> dict[str, Any]:
    """`settings` (of `spec.Train`) with a value for each that is None."""
    size = size_of(model)
    chosen = dict(settings)
    if chosen["learning_rate"] is None:
        chosen["learning_rate"] = learning_rate(size)
    chosen |= _batches_and_epochs(settings, size, lessons)
    if chosen["targets"] is None:
        chosen["targets"] = _linear_and_embeddings(model) if size.is_small else "all-linear"
    return chosen


def _batches_and_epochs(settings: Mapping[str, Any], size: Size, lessons: int) -> dict[str, int]:
    fitting = [batch for batch in BATCH_SIZES if lessons >= batch * BATCHES]
    batch = settings["batch_size"] or max(fitting, default=BATCH_SIZES[0])
    steps = STEPS_OF_SMALL if size.is_small else STEPS
    of_an_epoch = max(1, math.ceil(lessons / (batch * settings["gradient_accumulation"])))
    epochs = settings["epochs"] or min(MOST_EPOCHS, max(FEWEST_EPOCHS, math.ceil(steps / of_an_epoch)))
    return {"batch_size": batch, "epochs": epochs}


def rows_read(settings: Mapping[str, Any], size: Size, lessons: int) -> int:
    """How many rows a training on so many lessons reads, over all epochs."""
    chosen = _batches_and_epochs(settings, size, lessons)
    of_steps = (settings["max_steps"] or math.inf) * chosen["batch_size"] * settings["gradient_accumulation"]
    return int(min(chosen["epochs"] * lessons, of_steps))


def _linear_and_embeddings(model: Any) -> list[str]:
    """Last parts of the names of all linear layers but the output, and of the input embeddings."""
    from torch.nn import Linear

    output, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    named = model.named_modules()
    wanted = (n for n, m in named if m is embeddings or (isinstance(m, Linear) and m is not output))
    return sorted({name.rpartition(".")[2] for name in wanted})


def in_words(settings: Mapping[str, Any], size: Size) -> str:
    """What will be chosen for what the spec leaves open, for `plan`; nothing where it leaves nothing open."""
    words = []
    if settings["learning_rate"] is None:
        words.append(f"learning rate {learning_rate(size):g} (a student of width {size.hidden:,})")
    if settings["targets"] is None:
        words.append("all linear layers and the embeddings" if size.is_small else "all linear layers")
    if settings["epochs"] is None:
        words.append(f"epochs for about {STEPS_OF_SMALL if size.is_small else STEPS} steps")
    if settings["batch_size"] is None:
        words.append(f"batches of {BATCH_SIZES[0]} to {BATCH_SIZES[-1]}, the more lessons the larger")
    return "; ".join(words)
