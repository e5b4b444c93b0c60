"""What the benchmarks share: interleaved rounds, a table with ours beside the limit, made-up rows, a student."""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import random
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.records import LessonRequest, Message


@dataclass(frozen=True)
class Time:
    """Seconds of one run. `cpu`, of this process, hardly changes where other programs compete; `wall` does."""

    wall: float
    cpu: float


def options(doc: str | None, size: int, rounds: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--size", type=int, default=size, help=f"how many rows (default: {size:,})")
    parser.add_argument("--rounds", type=int, default=rounds, help="rounds, interleaved; medians are printed")
    found = parser.parse_args()
    if found.size < 1 or found.rounds < 1:
        parser.error("--size and --rounds are at least 1")
    return found


def timed(run: Callable[[], Any]) -> tuple[Time, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return Time(time.perf_counter() - wall, time.process_time() - cpu), result


def interleaved(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Time]:
    """Median times by name; each round runs every one once, so that a slow minute meets all of them."""
    seen: dict[str, list[Time]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            seen[name].append(timed(run)[0])
    return {
        name: Time(statistics.median(t.wall for t in times), statistics.median(t.cpu for t in times))
        for name, times in seen.items()
    }


def rate_table(times: Mapping[str, Time], counts: Mapping[str, int], unit: str) -> str:
    """One line each: rate, seconds, CPU, and the rate as a multiple of the first line's (the limit's)."""
    rates = {name: counts[name] / t.wall for name, t in times.items()}
    limit = next(iter(rates.values()))
    lines = [f"{'':38s} {unit + '/s':>12s} {'seconds':>9s} {'CPU s':>8s} {'of limit':>9s}"]
    lines += [
        f"{name:38s} {rates[name]:12,.0f} {t.wall:9.3f} {t.cpu:8.3f} {rates[name] / limit:8.2f}x"
        for name, t in times.items()
    ]
    return "\n".join(lines)


def peak_mb() -> int:
    """The most memory this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def footer() -> str:
    return f"peak memory {peak_mb():,} MB; load of the machine {os.getloadavg()[0]:.1f}"


# --- rows ----------------------------------------------------------------------------------------------------


def vocabulary(rng: random.Random, size: int = 5_000) -> list[str]:
    """Made-up words of one to three syllables."""
    ends = ["", "", "n", "r", "s", "l", "t"]
    syllables = [a + b + c for a in "bcdfghjklmnprstvwyz" for b in "aeiouy" for c in ends]
    return ["".join(rng.choices(syllables, k=rng.choice([1, 1, 2, 2, 3]))) for _ in range(size)]


def questions(count: int, seed: int) -> list[str]:
    """Texts of 25 to 55 words, frequent and rare ones as in a language: as long, and as unlike each other, as gsm8k's
    questions are (235 characters; Jaccard of two at random 0.13, gsm8k's 0.11)."""
    rng = random.Random(seed)
    words = vocabulary(rng)
    weights = list(itertools.accumulate(1 / (rank + 5) for rank in range(len(words))))
    return [" ".join(rng.choices(words, cum_weights=weights, k=rng.randint(25, 55))) for _ in range(count)]


# --- a student -----------------------------------------------------------------------------------------------


def tiny_student(folder: Path, texts: Sequence[str]) -> Path:
    """A Llama of about 0.8 million parameters with random weights and a byte-level tokenizer of 1,000 tokens."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, vocab_size=1_000, special_tokens=["<pad>", "<end>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, pad_token="<pad>", eos_token="<end>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1_000, hidden_size=128, intermediate_size=344, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=512, pad_token_id=0, eos_token_id=1, bos_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def lesson_request(sample: int, prompt: str, schema: dict[str, Any] | None = None) -> LessonRequest:
    """A request to the teacher `t`; no two of different `sample` are the same call."""
    return LessonRequest(
        teacher="t", purpose="lessons", task="bench", mode="wrong", mode_description="", n=5, failures=(), seeds=(),
        row=None, messages=(Message("user", prompt),), parameters={"model": "m"}, sample=sample, seed=sample,
        schema=schema,
    )  # fmt: skip


def known_runs(file: Path) -> list[dict[str, str]]:
    """Rows of a benchmark's CSV, from which it goes on."""
    if not file.exists():
        return []
    csv.field_size_limit(1 << 24)
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))


def add_run(file: Path, columns: Sequence[str], row: Mapping[str, Any]) -> None:
    """Append a row; a new file gets the columns' names first."""
    fresh = not file.exists()
    with file.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, columns)
        if fresh:
            writer.writeheader()
        writer.writerow(row)
