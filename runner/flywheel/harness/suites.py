"""One model, all suites: every item answered by lm-eval. Our own tasks are judged afterwards, in batches, elsewhere."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from flywheel.errors import NodeFailed
from flywheel.hashing import seed_from
from flywheel.records import Row
from flywheel.student.loading import Arm
from flywheel.student.sampling import ELSEWHERE
from flywheel.student.work import Asking

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Item:
    """One holdout row, ready to be asked. `shots`: solved examples that come first, as (prompt, answer)."""

    item_id: str
    prompt: str
    row: Row
    gold: str
    shots: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class SuiteJob:
    """A suite to run: `items` of a task of ours, or the name of an lm-eval task or group.

    With `repeats` above 1, that many answers an item are sampled at `temperature`; else one, greedy.
    """

    name: str
    task: str | None = None
    items: tuple[Item, ...] = ()
    repeats: int = 1
    temperature: float = 0.8
    lm_eval: str | None = None
    metric: str | None = None
    limit: int | None = None
    """Of an lm-eval task: so many items of each of its subtasks, a seeded sample."""
    num_fewshot: int | None = None
    include_path: str | None = None
    stop: tuple[str, ...] = ()
    """Of a task of ours: strings at which an answer ends; they are no part of it."""


@dataclass(frozen=True)
class EvaluationJob:
    """One model on these suites."""

    arm: Arm
    asking: Asking
    suites: tuple[SuiteJob, ...]
    seed: int

    def parts(self, of: int) -> list[Self]:
        """Batches of our own suites are dealt out, and lm-eval's suites one at a time."""
        own = max((len(suite.items) * suite.repeats for suite in self.suites), default=0)
        named = self.asking.batch_size * sum(suite.lm_eval is not None for suite in self.suites)
        return [replace(self, asking=share) for share in self.asking.shares(of, max(own, named))]

    def joined(self, results: Sequence[Evaluated]) -> Evaluated:
        """Raises NodeFailed where parts ran on devices, or with numbers, of several kinds."""
        settings = max((found.settings for found in results), key=len)  # who had nothing to answer names no engine
        differing = [found.settings for found in results if {**settings, **found.settings} != settings]
        if differing:
            raise NodeFailed(
                f"parts of one evaluation ran otherwise: {settings} and {differing[0]}. Let all machines of "
                "the cluster have accelerators of one kind, or set executor.students: 0."
            )
        suites = {suite.name: _joined([found.suites[suite.name] for found in results], suite) for suite in self.suites}
        return Evaluated(suites, settings)

    def folders(self) -> Sequence[str]:
        return sorted({suite.include_path for suite in self.suites if suite.include_path})


def _joined(found: Sequence[list[Measured]], suite: SuiteJob) -> list[Measured]:
    """Of a suite of ours each part has all items, and the answers of its batches; of lm-eval's one part has all."""
    if suite.lm_eval is not None:
        return max(found, key=len)
    return [_whole(items) for items in zip(*found, strict=True)]


def _whole(items: Sequence[Measured]) -> Measured:
    answers = zip(*(item.answers for item in items), strict=True)
    return replace(items[0], answers=tuple(next(a for a in some if a.tokens != ELSEWHERE) for some in answers))


@dataclass(frozen=True)
class Answer:
    """`seconds`: the answer's share of the time that its batch took; `truncated`: it met the token limit."""

    text: str
    tokens: int | None = None
    seconds: float | None = None
    truncated: bool | None = None


@dataclass(frozen=True)
class Measured:
    """One item, answered. `score` only where lm-eval scored it (its own tasks); ours are judged later.

    `problem` says why an item was not asked as it is (a prompt too long for the model); nothing is cut in silence.
    """

    item_id: str
    row: Row
    gold: str
    answers: tuple[Answer, ...]
    score: float | None = None
    problem: str = ""
    prompt_tokens: int | None = None
    asked: str = ""
    """What the model read, chat template included."""


@dataclass(frozen=True)
class Evaluated:
    """Per-item results by suite, and what both arms must share: device, dtype, batch size, template, seed."""

    suites: dict[str, list[Measured]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def offline_unless_asked() -> None:
    """lm-eval and datasets look at these when imported. A hub is reached only where the user says so."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.setdefault(name, "0" if os.environ.get("FLYWHEEL_ONLINE") == "1" else "1")


def quiet() -> None:
    for noisy in ("lm-eval", "lm_eval", "lm_eval.models.huggingface", "lm_eval.evaluator", "lm_eval.api.task"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def own_task_name(suite: str) -> str:
    return f"flywheel_{suite}"


def sampled(number: int, limit: int | None, seed: int) -> list[int]:
    """Places of a seeded sample, in order; a smaller limit takes a part of a larger one's."""
    places = list(range(number))
    if limit is None or limit >= number:
        return places
    random.Random(seed).shuffle(places)
    return sorted(places[:limit])


@contextlib.contextmanager
def named_faults(suites: Sequence[str]) -> Iterator[None]:
    """lm-eval's own errors as ours, with the suites named; its tables are not for our terminal."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except (ValueError, KeyError, OSError, RuntimeError, AttributeError, AssertionError) as error:
        raise NodeFailed(f"lm-eval could not run {', '.join(suites)}: {type(error).__name__}: {error}") from error


# --- our own tasks ----------------------------------------------------------------------------------------------------


def run_own(lm: Any, job: EvaluationJob) -> dict[str, list[Measured]]:
    """By lm-eval's `evaluate`: what `simple_evaluate` adds (half a second of environment report) is in our store."""
    from lm_eval.evaluator import evaluate as run
    from lm_eval.tasks import TaskManager

    suites = [suite for suite in job.suites if suite.lm_eval is None and suite.items]
    if not suites:
        return {}
    asked = {s.name: [_read(lm, item) for item in s.items] for s in suites}
    lm.sampling = {own_task_name(s.name): _sampling(s, job.seed) for s in suites}
    lm.stop = {own_task_name(s.name): s.stop for s in suites}
    with named_faults([suite.name for suite in suites]):
        configs = [_task_config(suite, asked[suite.name]) for suite in suites]
        run(lm, TaskManager(include_defaults=False).load(configs), bootstrap_iters=0, log_samples=False)
    return {s.name: _measured(lm, s, asked[s.name]) for s in suites}


def _read(lm: Any, item: Item) -> str:
    """What the model reads; in tokens, too."""
    text, ids = lm.prompter.read(item.prompt, item.shots)
    lm.ids[text] = ids
    return str(text)


def _sampling(suite: SuiteJob, seed: int) -> tuple[float, Callable[[int, int], int]]:
    """(temperature, item and repeat → seed): greedy for one answer; both arms draw from the same seeds."""
    if suite.repeats == 1:
        return 0.0, lambda item, repeat: 0
    return suite.temperature, lambda item, repeat: seed_from(seed, suite.name, suite.items[item].item_id, repeat)


def _task_config(suite: SuiteJob, asked: Sequence[str]) -> dict[str, Any]:
    """An lm-eval task over the suite's items, which lm-eval answers and leaves unscored."""

    def dataset(**_: Any) -> Any:
        from datasets import Dataset

        return {"test": Dataset.from_dict({"prompt": list(asked)})}

    return {
        "task": own_task_name(suite.name),
        "custom_dataset": dataset,
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "prompt",  # not read; a column, because lm-eval compiles any other text for each item
        "process_results": lambda doc, answers: {"answered": 1.0},
        "generation_kwargs": {"until": list(suite.stop), "do_sample": suite.repeats > 1},
        "metric_list": [{"metric": "answered", "aggregation": "mean", "higher_is_better": True}],
        "repeats": suite.repeats,
        "num_fewshot": 0,
        "metadata": {"version": 1},
    }


def _measured(lm: Any, suite: SuiteJob, asked: Sequence[str]) -> list[Measured]:
    found = []
    for place, item in enumerate(suite.items):
        key = (own_task_name(suite.name), place)
        found.append(
            Measured(
                item.item_id, item.row, item.gold, tuple(lm.answers.get(key, ())), problem=lm.problems.get(key, ""),
                prompt_tokens=lm.prompt_tokens[key], asked=asked[place],
            )
        )  # fmt: skip
    return found
