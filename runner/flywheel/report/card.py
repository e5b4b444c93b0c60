"""The card of an exported training set: front matter as the Hugging Face hub reads it, and a page for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from flywheel.report.lessons import STAGES
from flywheel.report.markdown import plain, table
from flywheel.text import one_line, plural

Row = Mapping[str, Any]

#: A column of the data files → what it holds. All are texts but `iteration`.
COLUMNS: Mapping[str, str] = {
    "lesson_id": "names the row in the store: `flywheel show ID` prints its whole life",
    "task": "the task of the spec",
    "prompt": "what the student was asked; its chat template, where it has one, goes around this",
    "target": "what it learned to answer",
    "row": "the columns that the prompt was made of, as JSON",
    "origin": "new: made for this iteration; replay: from an iteration before; seed: from the project's seeds",
    "mode": "the error mode that it was made against",
    "generator": "the generator of the spec that asked for it",
    "strategy": "how it was asked for",
    "teacher": "who wrote it, by the name that the spec has",
    "model": "what answered for the teacher: a model, a function or a file of the project",
    "reference": "the known answer that it was held against",
    "reference_from": "where that known answer came from",
    "verdicts": "what each verifier said of it",
    "iteration": "in which it was made (a number)",
}

#: Rows that are shown, and how much of a text.
SHOWN, SHOWN_CHARACTERS = 3, 160

#: Sizes as the hub has them: up to how many rows, and the category.
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)


@dataclass(frozen=True)
class Card:
    """What a card tells: of the project, of the model trained on the rows, and of how the rows came about."""

    name: str
    iteration: int
    model_id: str
    base: str
    init: str
    """Where the training started: base or incumbent."""
    left_out: int
    """Rows that were too long to train on."""
    rows: Sequence[Row]
    stages: Row
    """Candidates that came as far as each of `STAGES`."""
    losses: Sequence[Row]
    """stage, cause, total: why the others did not."""


def render_card(card: Card) -> str:
    """README.md of the folder. All text in it is escaped, whoever wrote it."""
    title = f"{plain(card.name)}, iteration {card.iteration}"
    parts = [f"# {title}", _what(card), _origins(card), _sources(card), _waterfall(card), _examples(card), _columns()]
    return "\n\n".join([_front_matter(card), *parts, _LOADING, _LICENSE]) + "\n"


def size_category(rows: int) -> str:
    """As the hub names it, such as `1K<n<10K`."""
    return next((name for limit, name in _SIZES if rows < limit), "n>100M")


def _front_matter(card: Card) -> str:
    told = {
        "license": "other",
        "pretty_name": f"{card.name}, iteration {card.iteration}",
        "size_categories": [size_category(len(card.rows))],
        "task_categories": ["text-generation"],
        "tags": ["flywheel", "fine-tuning"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data.parquet"}]}],
    }
    return f"---\n{yaml.safe_dump(told, sort_keys=False, allow_unicode=True)}---"


def _what(card: Card) -> str:
    words = [
        f"The {plural(len(card.rows), 'row')} that the flywheel project {plain(card.name)} gave to the training of "
        f"iteration {card.iteration}, in their order. It made the model {plain(card.model_id)}, {_start(card)}."
    ]
    if card.left_out:
        words.append(f"{card.left_out:,} of them did not fit into `train.max_length` and were left out of it.")
    return " ".join([*words, "`flywheel export-dataset` wrote all of this out of the project's store."])


def _start(card: Card) -> str:
    base = plain(card.base)
    return f"starting from the incumbent of then, on {base}" if card.init == "incumbent" else f"an adapter on {base}"


def _origins(card: Card) -> str:
    counts = Counter(row["origin"] for row in card.rows)
    return table(["origin", "rows"], [[plain(origin), f"{n:,}"] for origin, n in sorted(counts.items())])


_SOURCE = ("origin", "task", "mode", "generator", "strategy", "teacher", "model", "reference_from")


def _sources(card: Card) -> str:
    counts = Counter(tuple(row[name] or "" for name in _SOURCE) for row in card.rows)
    rows = [[*(plain(text) or "–" for text in source), f"{n:,}"] for source, n in sorted(counts.items())]
    return "## Where the rows come from\n\n" + table([*_SOURCE, "rows"], rows)


def _waterfall(card: Card) -> str:
    """Of the candidates of this iteration; replayed rows and seeds were not among them."""
    lost: dict[str, dict[str, int]] = {}
    for loss in card.losses:
        lost.setdefault(loss["stage"], {})[loss["cause"]] = int(loss["total"])
    rows = [[name, f"{card.stages[name]:,}", _causes(lost.get(name, {}))] for name in STAGES]
    intro = "What teachers proposed in this iteration, and how far it came; beside a stage, why rows did not reach it."
    return f"## From asked to trained\n\n{intro}\n\n" + table(["stage", "rows", "lost before it"], rows)


def _causes(lost: Mapping[str, int]) -> str:
    most = sorted(lost.items(), key=lambda item: (-item[1], item[0]))
    return "; ".join(f"{plain(cause)}: {n:,}" for cause, n in most) or "–"


def _examples(card: Card) -> str:
    names = ("prompt", "target", "origin", "teacher")
    rows = [[plain(one_line(row[name] or "–", SHOWN_CHARACTERS)) for name in names] for row in card.rows[:SHOWN]]
    return "## The first rows\n\n" + table([*names], rows)


def _columns() -> str:
    rows = [[f"`{name}`", text] for name, text in COLUMNS.items()]
    return "## Columns\n\nEmpty where the store knows nothing of it, as of a seed's teacher.\n\n" + table(
        ["column", "holds"], rows
    )


_LOADING = """## Loading it

```python
from datasets import load_dataset

rows = load_dataset("FOLDER", split="train")  # this folder, or its name on the hub
```

`data.parquet` is what that loads; `data.jsonl` has the same rows, one object a line."""

_LICENSE = """## License

Not decided here: `license: other` in this card's head is a placeholder. The rows may hold texts of the project's own
data, of people, and of models whose terms restrict what may be trained on their answers. Whoever publishes them chooses
a license, and looks first whether they may."""
