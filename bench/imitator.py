"""Two simulated teachers: `write` has nothing of its own, and writes by the word pairs of the examples in its prompt;
`read` says what a message wants by the template's rows.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

LONGEST = 20


def write(request: Mapping[str, Any]) -> str:
    """`n` rows as JSON: the label of an example, and a message drawn by the word pairs of those with that label, seeds
    and lessons alike."""
    shown = json.loads(request["prompt"])
    rng = random.Random(request["seed"])
    examples: list[dict[str, Any]] = shown["lessons"] + shown["seeds"]
    by_label: dict[str, list[list[str]]] = defaultdict(list)
    for example in examples:
        by_label[example["intent"]].append(example["message"].split())
    labels = [rng.choice(examples)["intent"] for _ in range(request["n"])]
    return json.dumps([{"message": " ".join(drawn(by_label[label], rng)), "intent": label} for label in labels])


def drawn(messages: Sequence[Sequence[str]], rng: random.Random) -> list[str]:
    """A walk over the messages' word pairs, from a first word to a last one."""
    after: dict[str, list[str]] = defaultdict(list)
    for words in messages:
        for word, following in zip(["", *words], [*words, ""], strict=True):
            after[word].append(following)
    written: list[str] = []
    while len(written) < LONGEST and (word := rng.choice(after[written[-1] if written else ""])):
        written.append(word)
    return written


def read(request: Mapping[str, Any]) -> str:
    """The label of the row that shares most of its words with the message, by Jaccard."""
    words = frozenset(request["prompt"].split())
    return max(known(), key=lambda row: (len(row[0] & words) / len(row[0] | words), row[1]))[1]


@cache
def known() -> list[tuple[frozenset[str], str]]:
    file = Path(__file__).parent / "rows" / "lessons.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [(frozenset(row["message"].split()), row["intent"]) for row in rows]
