"""lm-eval's own tasks and groups by name, and those of the project's `evals/` folder: scored by lm-eval itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flywheel.errors import NodeFailed
from flywheel.harness.suites import Answer, EvaluationJob, Measured, SuiteJob, named_faults, sampled
from flywheel.text import listing


def run_named(lm: Any, suite: SuiteJob, job: EvaluationJob) -> list[Measured]:
    """By `simple_evaluate`, with the student's chat template and system prompt; of a group, every subtask's items."""
    from lm_eval.evaluator import simple_evaluate

    assert suite.lm_eval is not None
    chat = bool(lm.tokenizer.chat_template)
    with named_faults([suite.name]):
        manager = task_manager(suite.lm_eval, suite.include_path)
        chosen = _samples(manager, suite, job.seed)
        found = simple_evaluate(
            model=lm,
            tasks=[suite.lm_eval],
            task_manager=manager,
            samples=chosen,
            num_fewshot=suite.num_fewshot,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
            system_instruction=job.asking.chat.system if chat else None,
            log_samples=True,
            bootstrap_iters=0,
            random_seed=job.seed,
            numpy_random_seed=job.seed,
            torch_random_seed=job.seed,
            fewshot_random_seed=job.seed,
        )
    if found is None:
        raise NodeFailed(f"suite {suite.name}: lm-eval returned no results.")
    return [
        _measured(lm, suite, task, place, sample)
        for task, samples in sorted(found["samples"].items())
        for place, sample in enumerate(_one_filter(suite, samples))
    ]


def task_manager(name: str, include_path: str | None) -> Any:
    """Looks in the project's folder first: lm-eval's own index of thousands of tasks takes seconds to read."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_defaults=False, include_path=include_path)
    return manager if name in manager.all_tasks else TaskManager(include_path=include_path)


def _samples(manager: Any, suite: SuiteJob, seed: int) -> dict[str, list[int]] | None:
    if suite.limit is None:
        return None
    tasks = manager.load([suite.lm_eval])["tasks"]
    return {name: sampled(len(task.eval_docs), suite.limit, seed) for name, task in tasks.items()}


def _one_filter(suite: SuiteJob, samples: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """lm-eval logs an item once for each of a task's filters: the one that `metric` names ("exact_match,strict")
    counts, else the first."""
    wanted = (suite.metric or "").partition(",")[2]
    known = list(dict.fromkeys(sample["filter"] for sample in samples))
    if wanted and wanted not in known:
        raise NodeFailed(
            f'suite {suite.name}: no filter "{wanted}". Set evals.{suite.name}.metric to <metric>,<filter> '
            f"with one of: {listing(known, wanted)}."
        )
    return [sample for sample in samples if sample["filter"] == (wanted or known[0])]


def _measured(lm: Any, suite: SuiteJob, task: str, place: int, sample: dict[str, Any]) -> Measured:
    """`place`: among the documents that were asked; `doc_id`: among all of the task's."""
    metric = (suite.metric or "").partition(",")[0] or next((m for m in sample["metrics"] if _is_share(sample[m])), "")
    if not _is_share(sample.get(metric)):
        known = listing(sample["metrics"], metric)
        raise NodeFailed(
            f"suite {suite.name}: lm-eval task {task} gives no per-item score in [0, 1] under "
            f'"{metric or "any metric"}". Set evals.{suite.name}.metric to one of: {known}.'
        )
    asked = str(sample["arguments"][0][0]) if sample.get("arguments") else ""
    text = str(sample["filtered_resps"][0]) if sample.get("filtered_resps") else ""
    problem = lm.problems.get((task, place), "")
    return Measured(
        f"{task}/{sample['doc_id']}", {"question": asked, "subtask": task}, str(sample["target"]), (Answer(text),),
        None if problem else float(sample[metric]), problem, lm.prompt_tokens.get((task, place)), asked,
    )  # fmt: skip


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= float(value) <= 1
