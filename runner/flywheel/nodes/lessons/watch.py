"""A watch on collapse: whether the lessons of an iteration become alike. Measured once, as they are curated, on the
first 2,000 lessons of a shuffled data set, so that a long history costs nothing again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from flywheel.text import normalised

SAMPLE = 2_000
WINDOW = 25
"""Lessons whose variety is measured at a time. Of more lessons a smaller share of word pairs is new, however varied
they are, so that whole data sets of different sizes do not compare."""


@dataclass(frozen=True)
class Watch:
    """What training rows are like."""

    given: int
    """Rows that no model wrote as the wheel turned: seeds, people's answers, rows of a teacher's file."""
    rows: int
    """All of them."""
    sample: Sequence[tuple[Mapping[str, Any], str]]
    """Row and answer of the lessons that are looked at."""

    def measured(self, seeds: Collection[str]) -> dict[str, float]:
        """`real`: the share of rows that were given. `distinct`: different word pairs of questions and answers over
        all of them (distinct-2, Li et al. 2016, NAACL), and `entropy`: of whole answers, in bits; both are means
        over windows of lessons (as MATTR is of tokens, Covington & McFall 2010, J. Quant. Linguist. 17:94), absent
        with fewer lessons than one. `length`: mean characters of an answer. `tail`: the share of the words in the
        questions `seeds` that lessons still use, absent without any: what is rare is lost first (Shumailov et al.
        2024, Nature 631:755). Nothing without lessons."""
        if not self.sample:
            return {}
        words = [normalised(f"{_question(row)} {target}").split() for row, target in self.sample]
        answers = [normalised(target) for _, target in self.sample]
        wanted = {word for question in seeds for word in normalised(question).split()}
        used = {word for own in words for word in own}
        windows = [slice(end - WINDOW, end) for end in range(WINDOW, len(words) + 1, WINDOW)]
        varied = {
            "distinct": [_distinct(words[window]) for window in windows],
            "entropy": [_entropy(answers[window]) for window in windows],
        }
        return {
            "real": self.given / self.rows,
            **{name: fmean(values) for name, values in varied.items() if values},
            "length": fmean(len(target) for _, target in self.sample),
            **({"tail": len(wanted & used) / len(wanted)} if wanted else {}),
        }


def _question(row: Mapping[str, Any]) -> str:
    return " ".join(str(value) for value in row.values())


def _distinct(texts: Sequence[Sequence[str]]) -> float:
    pairs = [pair for words in texts for pair in pairwise(words)]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def _entropy(answers: Sequence[str]) -> float:
    shares = [n / len(answers) for n in Counter(answers).values()]
    return math.fsum(share * math.log2(1 / share) for share in shares)
