"""A model worker without a model: it learns which noun goes with which answer, and says "red" to all others.

It has the real worker's interface, so everything but torch is the real thing. As a script it is `flywheel` with this
worker, for tests that kill it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Progress = Callable[[dict[str, Any]], None]

#: Among the words of an adapter: it no longer wavers.
SURE = "\n"


class StandInWorker:
    """`flywheel.executor.Worker` as far as the engine uses it, in this process."""

    def __init__(self, log: Path | None = None, memory_bytes: int | None = None) -> None:
        self.closed = False

    def call(
        self, function: str, payload: Any, *, timeout: float | None = None, on_progress: Progress | None = None
    ) -> Any:
        time.sleep(float(os.environ.get("STAND_IN_PAUSE", "0")))
        return WORK[function](payload, on_progress or (lambda message: None))

    def cancel(self) -> None:
        self.closed = True

    close = cancel

    def __enter__(self) -> StandInWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def learned(adapter: str | None) -> dict[str, str]:
    from safetensors.numpy import load_file

    if adapter is None:
        return {}
    return dict(json.loads(load_file(Path(adapter) / "adapter_model.safetensors")["words"].tobytes()))


def say(adapter: str | None, prompt: str) -> str:
    words = learned(adapter)
    return next((words[word] for word in prompt.split() if word in words), "red")


def answer(job: Any, progress: Progress) -> list[Any]:
    from flywheel.records import Generation

    progress({"done": len(job.prompts), "total": len(job.prompts)})
    said = [say(job.arm.adapter, text) for _, text in job.prompts]
    if job.temperature == 1.0:  # it wavers: of what it does not say by itself, about every second time
        said = ["red" if seed % 2 and SURE not in learned(job.arm.adapter) else word for seed, word in pairs(job, said)]
    return [Generation(name, word, 1, False) for (name, _), word in zip(job.prompts, said, strict=True)]


def pairs(job: Any, said: list[str]) -> Iterator[tuple[int, str]]:
    return zip(job.seeds, said, strict=True)


def ready(arm: Any, progress: Progress) -> None:
    if arm.adapter is not None:
        from flywheel.student.loading import check_adapter

        check_adapter(Path(arm.adapter), arm.adapter_hash)


def respond(job: Any, progress: Progress) -> None:
    """A word at a time where it is streamed; a prompt of "crash" is too much for it."""
    from flywheel.records import Generation

    for place, question in enumerate(job.questions):
        asked = question.turns[-1][1] if question.text is None else question.text
        if asked == "crash":
            raise RuntimeError("too much")
        said = say(job.arm.adapter, asked)
        if question.streamed:
            progress({"said": [(place, said[:2])], "done": []})
        progress({"said": [], "done": [(place, Generation(str(place), said, 1, False), len(asked))]})


def losses(job: Any, progress: Progress) -> list[float]:
    return [0.5 if say(job.arm.adapter, prompt) == target else 2.0 for prompt, target in job.pairs]


def effect(job: Any, progress: Progress) -> Any:
    from flywheel.student.work import Effect, Merged

    changed = sum(say(job.adapted.adapter, text) != say(None, text) for text, _ in job.pairs)
    return Effect(len(job.pairs), changed, float(changed), Merged(0, 0.0, 1.0, "float32"))


def train(job: Any, progress: Progress) -> Any:
    words = {**learned(job.arm.adapter), **{prompt.split()[1]: target for prompt, target in job.rows}}
    return saved(words, job, len(job.rows))


def saved(words: dict[str, str], job: Any, rows: int) -> Any:
    import numpy
    from safetensors.numpy import save_file

    from flywheel.student.loading import adapter_hash
    from flywheel.training import TrainingResult

    folder = Path(job.out)
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(words, sort_keys=True).encode()
    save_file({"words": numpy.frombuffer(content, numpy.uint8).copy()}, folder / "adapter_model.safetensors")
    config = json.dumps({"r": job.settings["rank"], "seed": job.seed, "lr": job.settings["learning_rate"]})
    (folder / "adapter_config.json").write_text(config)
    steps = [{"step": 1, "epoch": 1.0, "loss": 1.0, "learning_rate": 0.1, "tokens": 10}]
    notes = ("the loss hardly fell: this is a stand-in",)
    return TrainingResult(adapter_hash(folder), rows, 0, 10, 1, 1.0, steps, notes, job.settings)


def prefer(job: Any, progress: Progress) -> Any:
    """What passed is said from now on, and no longer now and then."""
    wanted = [
        unit[0] for unit, reward in zip(job.units, job.rewards or [1.0] * len(job.units), strict=True) if reward > 0
    ]
    words = {**learned(job.training.arm.adapter), SURE: "sure"}
    words |= {said.prompt.split()[1]: said.text for said in wanted}
    return saved(words, job.training, len(job.units))


def calibrate(job: Any, progress: Progress) -> Any:
    from flywheel.student.gguf import unpack
    from flywheel.training import Calibration

    if job.arm.gguf is not None:  # as whatever loads it does
        unpack(Path(job.arm.gguf), Path(job.arm.source))
    return Calibration(1.0, 0.01, 0.1, 0.02, None if job.settings is None else 0.05)


def evaluate(job: Any, progress: Progress) -> Any:
    """Every item of the suites, answered; nothing is judged here."""
    from flywheel.harness import Answer, Evaluated, Measured

    found: dict[str, list[Any]] = {}
    for suite in job.suites:
        found[suite.name] = [
            Measured(
                item.item_id, item.row, item.gold,
                (Answer(say(job.arm.adapter, item.prompt), 1, 0.01, False),) * suite.repeats,
                prompt_tokens=len(item.prompt), asked=item.prompt,
            )
            for item in suite.items
        ]  # fmt: skip
    settings = {
        "device": "cpu", "dtype": "float32", "batch_size": job.asking.batch_size, "chat_template": None, "system": None,
        "max_new_tokens": job.asking.max_new_tokens, "context": 512, "seed": job.seed,
    }  # fmt: skip
    return Evaluated(found, settings)


def embed(job: Any, progress: Progress) -> Any:
    from flywheel.student.embedding import embed as real

    return real(job, progress)


def merge(job: Any, progress: Progress) -> Any:
    from flywheel.student.merging import MergeResult
    from flywheel.student.work import Merged

    (Path(job.folder) / "config.json").write_text("{}")
    return MergeResult(len(job.prompts), len(job.prompts), False, Merged(0, 0.0, 1.0, "float32"))


def pack(job: Any, progress: Progress) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (Path(job.folder) / name).write_text(json.dumps({"stands for": name}))


WORK: dict[str, Callable[[Any, Progress], Any]] = {
    "flywheel.student.work:answer": answer,
    "flywheel.student.serving:ready": ready,
    "flywheel.student.serving:respond": respond,
    "flywheel.student.work:losses": losses,
    "flywheel.student.work:effect": effect,
    "flywheel.training:calibrate": calibrate,
    "flywheel.training:train": train,
    "flywheel.training:prefer": prefer,
    "flywheel.harness:evaluate": evaluate,
    "flywheel.student.embedding:embed": embed,
    "flywheel.student.merging:merge": merge,
    "flywheel.student.packing:pack": pack,
}

if __name__ == "__main__":
    import flywheel.engine.asking
    import flywheel.engine.resources
    from flywheel.cli import main

    flywheel.engine.asking.Worker = StandInWorker  # type: ignore[assignment,misc]
    flywheel.engine.resources.Worker = StandInWorker  # type: ignore[assignment,misc]
    main()
