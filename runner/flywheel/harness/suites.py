"""One model, all suites, one `simple_evaluate`: per-item answers and scores."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flywheel.errors import NodeFailed
from flywheel.records import Outcome, Row, Subject, Verdict
from flywheel.student.loading import Arm, load
from flywheel.student.sampling import chat_prompt

#: Judges one answer; never raises (a verifier that crashes is an unknown verdict).
Judge = Callable[[Subject], tuple[Outcome, list[Verdict]]]


@dataclass(frozen=True)
class Item:
    """One holdout row, ready to be asked."""

    item_id: str
    prompt: str
    row: Row
    gold: str


@dataclass(frozen=True)
class SuiteJob:
    """A suite to run: `items` of a task of ours, or the name of an lm-eval task."""

    name: str
    task: str | None = None
    items: tuple[Item, ...] = ()
    lm_eval: str | None = None
    metric: str | None = None
    limit: int | None = None
    num_fewshot: int | None = None
    include_path: str | None = None


@dataclass(frozen=True)
class ItemResult:
    """One item's outcome. `score` is in [0, 1]; None where no verifier could say."""

    item_id: str
    row: Row
    gold: str
    answer: str
    outcome: Outcome
    score: float | None
    verdicts: list[Verdict] = field(default_factory=list)


def evaluate(
    arm: Arm,
    suites: Sequence[SuiteJob],
    judge: Judge,
    *,
    system: str | None,
    max_new_tokens: int,
    batch_size: int,
    seed: int,
    progress: Callable[[dict[str, Any]], None],
) -> dict[str, list[ItemResult]]:
    """Per-item results by suite name. Raises NodeFailed where lm-eval cannot run a suite."""
    offline_unless_asked()
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    for noisy in ("lm-eval", "lm_eval", "lm_eval.models.huggingface", "lm_eval.evaluator"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    loaded = load(arm)
    lm = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=batch_size)
    book: dict[str, dict[str, ItemResult]] = {suite.name: {} for suite in suites}
    configs: list[Any] = []
    for suite in suites:
        if suite.lm_eval is None:
            asked = {item.item_id: chat_prompt(loaded.tokenizer, item.prompt, system) for item in suite.items}
            configs.append(_task_config(suite, asked, judge, book[suite.name], max_new_tokens, progress))
    results: dict[str, list[ItemResult]] = {}
    if configs:
        _run(simple_evaluate, lm, configs, _task_manager(None), seed)
        results.update({name: list(items.values()) for name, items in book.items() if items})
    for suite in (suite for suite in suites if suite.lm_eval is not None):
        results[suite.name] = _run_named(simple_evaluate, lm, suite, seed)
        progress({"suite": suite.name, "done": len(results[suite.name])})
    return results


def offline_unless_asked() -> None:
    """lm-eval and datasets look at these when imported. A hub is reached only where the user says so."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.setdefault(name, "0" if os.environ.get("FLYWHEEL_ONLINE") == "1" else "1")


def _run(simple_evaluate: Any, lm: Any, tasks: list[Any], manager: Any, seed: int, **options: Any) -> dict[str, Any]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found = simple_evaluate(
                model=lm,
                tasks=tasks,
                task_manager=manager,
                log_samples=True,
                bootstrap_iters=0,
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
                **options,
            )
    except (ValueError, KeyError, OSError, RuntimeError, AttributeError) as error:
        raise NodeFailed(f"lm-eval could not run {tasks}: {type(error).__name__}: {error}") from error
    if found is None:
        raise NodeFailed("lm-eval returned no results.")
    return dict(found)


def _task_manager(include_path: str | None) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=False, include_path=include_path)


def _task_config(
    suite: SuiteJob,
    asked: dict[str, str],
    judge: Judge,
    results: dict[str, ItemResult],
    max_new_tokens: int,
    progress: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """An lm-eval task over the suite's items, judged by the task's verifiers."""
    items = {item.item_id: item for item in suite.items}

    def dataset(**_: Any) -> Any:
        from datasets import Dataset

        return {"test": Dataset.from_list([{"item_id": i, "prompt": asked[i]} for i in items])}

    def process_results(doc: dict[str, Any], answers: list[str]) -> dict[str, float]:
        item = items[doc["item_id"]]
        outcome, verdicts = judge(Subject(item.item_id, suite.task or "", item.row, answers[0], item.gold))
        score = {"pass": 1.0, "fail": 0.0, "unknown": None}[outcome]
        results[item.item_id] = ItemResult(item.item_id, item.row, item.gold, answers[0], outcome, score, verdicts)
        progress({"suite": suite.name, "done": len(results), "total": len(items)})
        return {"verified": score or 0.0}  # None would poison lm-eval's mean; our own record keeps it

    return {
        "task": f"flywheel_{suite.name}",
        "custom_dataset": dataset,
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": lambda doc: doc["prompt"],
        "doc_to_target": lambda doc: items[doc["item_id"]].gold,
        "process_results": process_results,
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": max_new_tokens},
        "metric_list": [{"metric": "verified", "aggregation": "mean", "higher_is_better": True}],
        "num_fewshot": 0,
        "metadata": {"version": 1},
    }


def _run_named(simple_evaluate: Any, lm: Any, suite: SuiteJob, seed: int) -> list[ItemResult]:
    """One of lm-eval's own tasks, or one from the project's `evals/` folder."""
    from lm_eval.tasks import TaskManager

    assert suite.lm_eval is not None
    manager = _task_manager(suite.include_path)
    if suite.lm_eval not in manager.all_tasks:
        manager = TaskManager(include_path=suite.include_path)
    options = {} if suite.num_fewshot is None else {"num_fewshot": suite.num_fewshot}
    found = _run(simple_evaluate, lm, [suite.lm_eval], manager, seed, limit=suite.limit, **options)
    return [
        _named_result(suite, task, sample) for task, samples in sorted(found["samples"].items()) for sample in samples
    ]


def _named_result(suite: SuiteJob, task: str, sample: dict[str, Any]) -> ItemResult:
    metric = suite.metric or next((m for m in sample["metrics"] if _is_share(sample.get(m))), None)
    if metric is None or not _is_share(sample.get(metric)):
        known = ", ".join(sample["metrics"])
        raise NodeFailed(
            f"suite {suite.name}: lm-eval task {task} gives no per-item score in [0, 1] under "
            f'"{metric or "any metric"}". Set evals.{suite.name}.metric to one of: {known}.'
        )
    score = float(sample[metric])
    answer = sample["filtered_resps"][0] if sample.get("filtered_resps") else ""
    outcome: Outcome = "pass" if score >= 1 else "fail"
    row = {"question": str(sample["arguments"][0][0]) if sample.get("arguments") else ""}
    return ItemResult(f"{task}/{sample['doc_id']}", row, str(sample["target"]), str(answer), outcome, score)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= float(value) <= 1
