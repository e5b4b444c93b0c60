"""Real students, memory and CPU time: ranking, training and evaluation, beside another build and beside the limit.

    python bench/real_student.py [--against CHECKOUT] [--students smollm2 gemma] [--rounds 1] [--only training …]

The students are what `scripts/fetch_weights.py` fetches, unpacked once beside their files. `--against` is another
checkout of this repository: each measurement runs once with its code and once with ours, each in a process of its own,
in turns. Rows are short, as of a classification: 60 to 98 tokens of which 4 to 6 are the answer. CPU seconds and the
most memory (resident, of the whole process) are compared, not wall time: other programs may compete.

- ranking: the loss on 64 rows, batch 64
- training: two steps of 16 rows, LoRA of rank 16 on all linear layers
- short: the same where the machine is said to have 2 GiB left, so that fewer rows go through the model at a time
- shortest: with 1 GiB left, so that activations are computed twice, too
- evaluation: both models on 96 items, at most 8 new tokens, beside plain batched `generate` of both; with the noise
  repeat and the checks of the adapter's effect. The time of the verifiers is not in it: they are other processes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve()
OURS = HERE.parents[1] / "runner"
ORDER = ["ranking", "training", "short", "shortest", "evaluation"]
STUDENTS = {"smollm2": "smollm2-135m-instruct", "gemma": "gemma-3-270m"}
WORDS = re.findall("[a-z]+", "please tell me how my card was charged twice for the same hotel abroad last week and why")


def pairs(count: int) -> list[tuple[str, str]]:
    rng = random.Random(1)
    found = []
    for number in range(count):
        question = " ".join(rng.choices(WORDS, k=rng.randint(40, 64)))
        found.append((f"{question} {number}\nLabel:", rng.choice(["card payment", "refund status", "exchange rate"])))
    return found


# --- one measurement, in a process of its own -------------------------------------------------------------------------


def arm_of(folder: str, adapter: str | None = None) -> Any:
    from flywheel.student.loading import Arm

    return Arm(folder, None, "float32", "cpu", "bench", adapter, None)


def chat() -> Any:
    """No system message, as builds say it before and after 0.2."""
    try:
        from flywheel.student.chat import Chat
    except ImportError:
        return None
    return Chat()


def as_chat(tokenizer: Any, prompt: str) -> str:
    if not tokenizer.chat_template:
        return prompt
    turns = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))


def ranking(folder: str, scratch: str) -> dict[str, float]:
    from flywheel.student.work import Asking, LossJob, losses

    job = LossJob(arm_of(folder), Asking(chat(), 8, 64), tuple(pairs(64)))
    return measured(lambda: losses(job, lambda message: None), tokens=0)


def training(folder: str, scratch: str) -> dict[str, float]:
    from flywheel.spec.models import Train
    from flywheel.training import TrainingJob, train

    chosen = Train(rank=16, epochs=1, batch_size=16, learning_rate=1e-3, targets="all-linear")
    job = TrainingJob(
        arm_of(folder), "bench", tuple(pairs(32)), chosen.model_dump(mode="json"), chat(), 0, f"{scratch}/adapter"
    )
    return measured(lambda: train(job, lambda message: None), tokens=lambda result: result.tokens)


def short(folder: str, scratch: str, left: int = 2 << 30) -> dict[str, float]:
    try:
        from flywheel.student import memory
    except ImportError:  # before 0.2, which takes what there is
        return training(folder, scratch)
    memory._free = lambda: left
    return training(folder, scratch)


def shortest(folder: str, scratch: str) -> dict[str, float]:
    return short(folder, scratch, 1 << 30)


def evaluation(folder: str, scratch: str) -> dict[str, float]:
    """What the node asks of the model worker for two new models, one after the other."""
    from flywheel.harness import EvaluationJob, Item, SuiteJob, evaluate
    from flywheel.student.loading import adapter_hash
    from flywheel.student.work import Asking

    base, asking = arm_of(folder), Asking(chat(), 8, 32)
    adapted = arm_of(folder, a_small_adapter(folder, f"{scratch}/adapter"))
    adapted = type(adapted)(**{**adapted.__dict__, "adapter_hash": adapter_hash(Path(adapted.adapter))})
    items = tuple(Item(str(i), prompt, {"text": prompt}, gold) for i, (prompt, gold) in enumerate(pairs(96)))
    suite = SuiteJob("holdout", "bench", items)

    def asked(arm: Any, suite: SuiteJob, batch: int) -> list[Any]:
        job = EvaluationJob(arm, type(asking)(**{**asking.__dict__, "batch_size": batch}), (suite,), 0)
        return evaluate(job, lambda message: None).suites["holdout"]

    evaluate(EvaluationJob(base, asking, (SuiteJob("warm", "bench", items[:2]),), 0), lambda message: None)

    def whole() -> None:
        asked(base, suite, 32)
        asked(base, noise_part(suite), 16)
        answers = asked(adapted, suite, 32)
        effect_of(adapted, asking, items, answers)

    return measured(whole, tokens=0)


def plain(folder: str, scratch: str) -> dict[str, float]:
    """The limit of evaluation: both models loaded, prompts sorted by length, batches of 32."""
    import torch

    from flywheel.student.loading import load

    arms = (arm_of(folder), arm_of(folder, a_small_adapter(folder, f"{scratch}/adapter")))

    def generated(arm: Any, count: int) -> None:
        loaded = load(arm)
        asked = sorted((as_chat(loaded.tokenizer, prompt) for prompt, _ in pairs(count)), key=len)
        for start in range(0, count, 32):
            batch = loaded.tokenizer(asked[start : start + 32], padding=True, padding_side="left", return_tensors="pt")
            with torch.inference_mode():
                loaded.model.generate(
                    input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=8,
                    do_sample=False, pad_token_id=loaded.tokenizer.pad_token_id,
                )  # fmt: skip

    generated(arms[0], 2)
    return measured(lambda: [generated(arm, 96) for arm in arms], tokens=0)


def noise_part(suite: Any) -> Any:
    """What is measured a second time where answers do not vary."""
    try:
        from flywheel.nodes.measuring.suites import _few, _part
    except ImportError:  # before 0.2
        from flywheel.nodes.measuring import _part as part_of

        return part_of(suite, 0)
    return _part(suite, _few(suite), 0)


def effect_of(adapted: Any, asking: Any, items: Any, answers: Any) -> None:
    from flywheel.student.work import EffectJob, effect

    try:
        from flywheel.nodes.verbs.evaluate import EFFECT_PROMPTS
    except ImportError:  # before 0.2
        from flywheel.nodes.evaluate import EFFECT_PROMPTS
    if "pairs" in EffectJob.__dataclass_fields__:
        said = {one.item_id: one.answers[0].text for one in answers}
        asked = tuple((item.prompt, said[item.item_id]) for item in items)
    else:
        asked = tuple((item.item_id, item.prompt) for item in items)
    effect(EffectJob(adapted, asking, asked[:EFFECT_PROMPTS]), lambda message: None)


def a_small_adapter(folder: str, out: str) -> str:
    import torch
    from peft import LoraConfig, get_peft_model

    from flywheel.student.loading import load_base

    torch.manual_seed(1)
    model = get_peft_model(load_base(arm_of(folder)).model, LoraConfig(r=16, target_modules="all-linear"))
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=1e-3)
    model.save_pretrained(out)
    return out


def measured(run: Any, tokens: Any) -> dict[str, float]:
    started = time.process_time()
    result = run()
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"cpu": seconds, "mb": peak, "tokens": tokens(result) if callable(tokens) else 0}


WORK = {
    "ranking": ranking, "training": training, "short": short, "shortest": shortest, "evaluation": evaluation,
    "plain generate": plain,
}  # fmt: skip


# --- all of them ------------------------------------------------------------------------------------------------------


def in_a_process(work: str, folder: Path, source: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(source), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(HERE), "--one", work, str(folder)]
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run([*command, scratch], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2_000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def unpacked(name: str) -> Path:
    sys.path.insert(0, str(HERE.parents[1] / "scripts"))
    from fetch_weights import WEIGHTS, fetch, folder

    from flywheel.student.gguf import unpack

    weights = next(weights for weights in WEIGHTS if weights.file.startswith(STUDENTS[name]))
    file = fetch(weights, folder())
    unpack(file, file.with_suffix(""))
    return file.with_suffix("")


def compared(work: str, student: str, rounds: int, other: Path | None) -> None:
    """A line for each build; where there is no other, the limit stands beside."""
    folder = unpacked(student)
    builds = {"here": OURS} | ({"the other build": other / "runner"} if other else {})
    runs = {name: (work, source) for name, source in builds.items()}
    if work == "evaluation":
        runs["plain generate"] = ("plain generate", OURS)
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (what, source) in runs.items():
            seen[name].append(in_a_process(what, folder, source))
    ours = middle(seen["here"])
    for name, found in seen.items():
        one = middle(found)
        rate = f"{one['tokens'] / one['cpu']:7.1f} tokens a CPU s" if one["tokens"] else ""
        line = f"{student:8} {work:10} {name:16} {one['cpu']:7.1f} CPU s  {one['mb']:6,.0f} MB {rate}"
        if name != "here":
            line += f"  ours: {ours['cpu'] / one['cpu']:.2f}x the CPU, {ours['mb'] / one['mb']:.2f}x the memory"
        print(line, flush=True)


def middle(found: list[dict[str, float]]) -> dict[str, float]:
    return {key: median(one[key] for one in found) for key in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--students", nargs="+", choices=STUDENTS, default=list(STUDENTS))
    parser.add_argument("--only", nargs="+", choices=ORDER)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(WORK[given.one[0]](*given.one[1:])))
        return
    for student in given.students:
        for work in given.only or ORDER:
            compared(work, student, given.rounds, given.against)
    print(f"load of the machine {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
