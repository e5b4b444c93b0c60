"""Evaluation, items a second: our harness (lm-eval, then verifiers) beside plain batched generate and plain lm-eval.

    python bench/evaluation.py [--size 300] [--rounds 3]

Greedy, 32 new tokens, batches of 64, a Llama of about 0.8 million parameters with random weights, loaded before. Plain
generate sorts by length; plain lm-eval is HFLM's own `generate_until` on the same prompts, without task and judge. Ours
is the whole of it: tasks, generation, and an `exact` verdict of every answer from the verifiers' processes, which are
already up as they are in an apply. Imports are not counted.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from measuring import footer, interleaved, options, questions, rate_table, tiny_student

from flywheel.harness import EvaluationJob, Item, SuiteJob, evaluate
from flywheel.records import Subject
from flywheel.spec.models import Task
from flywheel.spec.verifiers import ExactVerifier
from flywheel.student.chat import Chat
from flywheel.student.loading import Arm, Loaded, load
from flywheel.student.work import Asking
from flywheel.verifiers import Checker

BATCH, NEW_TOKENS = 64, 32
TASKS = {"bench": Task(prompt="none.md", target="gold", verify=["exact"])}


def harness(arm: Arm, prompts: list[str], judge: Checker) -> None:
    items = tuple(Item(str(i), prompt, {"question": prompt}, "gold") for i, prompt in enumerate(prompts))
    job = EvaluationJob(arm, Asking(Chat(), NEW_TOKENS, BATCH), (SuiteJob("holdout", "bench", items),), seed=0)
    found = evaluate(job, lambda _: None).suites["holdout"]
    subjects = [Subject(item.item_id, "bench", item.row, item.answers[0].text, item.gold) for item in found]
    verdicts = list(judge.judge(subjects, TASKS))
    if len(verdicts) != len(prompts):
        raise SystemExit(f"{len(verdicts)} verdicts for {len(prompts)} prompts")


def plain_generate(loaded: Loaded, prompts: list[str]) -> None:
    ordered = sorted(prompts, key=len, reverse=True)
    for start in range(0, len(ordered), BATCH):
        batch = loaded.tokenizer(ordered[start : start + BATCH], padding=True, padding_side="left", return_tensors="pt")
        with torch.inference_mode():
            output = loaded.model.generate(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=NEW_TOKENS,
                do_sample=False, pad_token_id=loaded.tokenizer.pad_token_id,
            )  # fmt: skip
        loaded.tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def plain_lm_eval(lm: Any, prompts: list[str]) -> None:
    settings = {"until": [], "do_sample": False, "max_gen_toks": NEW_TOKENS}
    lm.generate_until(
        [Instance("generate_until", {}, (prompt, settings), i) for i, prompt in enumerate(prompts)], disable_tqdm=True
    )


def main() -> None:
    given = options(__doc__, 300, 3)
    prompts = questions(given.size, seed=1)
    exact = ExactVerifier(kind="exact")
    with tempfile.TemporaryDirectory() as folder, Checker({"exact": exact}, Path(folder)) as judge:
        student = tiny_student(Path(folder) / "student", prompts)
        arm = Arm(str(student), None, "float32", "cpu", "bench")
        loaded = load(arm)
        lm = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=BATCH)
        runs: dict[str, Callable[[], None]] = {
            "plain generate, sorted, batch 64": lambda: plain_generate(loaded, prompts),
            "plain lm-eval HFLM": lambda: plain_lm_eval(lm, prompts),
            "flywheel: evaluate, then judge": lambda: harness(arm, prompts, judge),
        }
        harness(arm, prompts[:BATCH], judge)
        times = interleaved(runs, given.rounds)
    print(f"{given.size:,} prompts, {torch.get_num_threads()} threads")
    print(rate_table(times, dict.fromkeys(times, given.size), "items"))
    print(footer())


if __name__ == "__main__":
    main()
