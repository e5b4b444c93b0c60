"""The card of an exported training set."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from flywheel.report.card import COLUMNS, Card, render_card, size_category
from flywheel.report.lessons import STAGES

HOSTILE = "a | b\n\n# head\n---\n<script>alert(1)</script> [x](http://e.example) `code` @everyone"


def card(**told: Any) -> Card:
    row = dict.fromkeys(COLUMNS) | {"prompt": "p", "target": "t", "origin": "new", "iteration": 1}
    given: dict[str, Any] = {
        "name": "colours", "iteration": 1, "model_id": "m", "base": "b", "init": "base", "left_out": 0, "rows": [row],
        "stages": dict.fromkeys(STAGES, 1), "losses": [],
    }  # fmt: skip
    return Card(**given | told)


def test_what_others_wrote_does_not_become_markdown_or_html() -> None:
    row = dict.fromkeys(COLUMNS, HOSTILE)
    text = render_card(card(name=HOSTILE, rows=[row], losses=[{"stage": "parsed", "cause": HOSTILE, "total": 2}]))

    page = text.split("\n---\n", 1)[1]
    assert "<script>" not in page
    assert "@everyone" not in page
    assert "](http" not in page
    assert {line.count(" | ") for line in page.splitlines() if line.startswith("| a ")} == {8, 3, 1}
    assert "\n# head" not in page


def test_a_name_cannot_end_the_front_matter() -> None:
    text = render_card(card(name=HOSTILE))

    told = yaml.safe_load(text.removeprefix("---\n").split("\n---\n", 1)[0])
    assert told["pretty_name"] == f"{HOSTILE}, iteration 1"


@pytest.mark.parametrize(
    ("rows", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (2_500_000, "1M<n<10M"), (100_000_000, "n>100M")],
)
def test_sizes_are_called_as_the_hub_calls_them(rows: int, name: str) -> None:
    assert size_category(rows) == name


def test_rows_that_were_too_long_to_train_on_are_told() -> None:
    assert "2 of them did not fit into `train.max_length` and were left out of it." in render_card(card(left_out=2))
    assert "did not fit" not in render_card(card())


def test_a_training_that_went_on_from_the_incumbent_is_told() -> None:
    assert "starting from the incumbent of then, on b." in render_card(card(init="incumbent"))
