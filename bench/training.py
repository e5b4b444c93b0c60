"""LoRA training, tokens a second: `flywheel.training.train` beside a bare peft loop on the same rows, model and steps.

    python bench/training.py [--size 600] [--rounds 3]

A Llama of about 0.8 million parameters, random weights. Both load the model, tokenize, sort by length within windows of
eight batches and train one epoch; ours also masks prompts, checks each loss, keeps the curve and writes the adapter.
Random batches, as most trainers have them, are beside. Imports are not counted.
"""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import footer, interleaved, options, questions, rate_table, tiny_student
from peft import LoraConfig, get_peft_model

from flywheel.spec.models import Train
from flywheel.student.chat import Chat
from flywheel.student.loading import Arm, load_base
from flywheel.training import TrainingJob, train

BATCH, RANK, WINDOW = 16, 16, 8


def pairs(size: int) -> list[tuple[str, str]]:
    rng = random.Random(5)
    found = []
    for text in questions(size, seed=1):
        words = text.split()
        found.append((" ".join(words[: rng.randint(5, len(words))]), " ".join(rng.sample(words, rng.randint(1, 6)))))
    return found


def bare(arm: Arm, rows: list[tuple[str, str]], sort: bool) -> None:
    torch.manual_seed(0)
    loaded = load_base(arm)
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(loaded.model, config)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
    ids = [loaded.tokenizer(prompt + target)["input_ids"] for prompt, target in rows]
    random.Random(0).shuffle(ids)
    span = BATCH * WINDOW
    windows = [sorted(ids[i : i + span], key=len) if sort else ids[i : i + span] for i in range(0, len(ids), span)]
    ordered = list(itertools.chain.from_iterable(windows))
    model.train()
    for start in range(0, len(ordered), BATCH):
        batch = loaded.tokenizer.pad({"input_ids": ordered[start : start + BATCH]}, return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def ours(arm: Arm, rows: list[tuple[str, str]]) -> int:
    """Tokens trained on."""
    settings = Train(rank=RANK, epochs=1, batch_size=BATCH).model_dump(mode="json")
    with tempfile.TemporaryDirectory() as folder:
        job = TrainingJob(arm, "bench", tuple(rows), settings, Chat(), 0, f"{folder}/adapter")
        return train(job, lambda _: None).tokens


def main() -> None:
    given = options(__doc__, 600, 3)
    rows = pairs(given.size)
    with tempfile.TemporaryDirectory() as folder:
        student = tiny_student(Path(folder) / "student", [prompt for prompt, _ in rows])
        arm = Arm(str(student), None, "float32", "cpu", "bench")
        tokens = ours(arm, rows)  # and everything is imported and warm
        runs: dict[str, Callable[[], object]] = {
            "bare peft loop, sorted in windows": lambda: bare(arm, rows, sort=True),
            "bare peft loop, random batches": lambda: bare(arm, rows, sort=False),
            "flywheel.training.train": lambda: ours(arm, rows),
        }
        times = interleaved(runs, given.rounds)
    print(f"{given.size:,} rows, {tokens:,} tokens, {torch.get_num_threads()} threads")
    print(rate_table(times, dict.fromkeys(times, tokens), "tokens"))
    print(footer())


if __name__ == "__main__":
    main()
