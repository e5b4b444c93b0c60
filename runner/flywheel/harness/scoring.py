"""From the outcomes of an item's answers to its score. The emitted lm-eval tasks score by the same functions."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

from flywheel.records import Outcome


def item_score(outcomes: Sequence[Outcome], pass_at: int | None = None) -> float | None:
    """Share of right answers among those that could be judged or, with `pass_at`, the chance that one of so many is
    right. None where too few could be judged."""
    judged = [outcome == "pass" for outcome in outcomes if outcome != "unknown"]
    if len(judged) < (pass_at or 1):
        return None
    return sum(judged) / len(judged) if pass_at is None else pass_at_k(len(judged), sum(judged), pass_at)


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The unbiased estimate of pass@k, 1 - C(n-c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374)."""
    return 1.0 - comb(samples - right, k) / comb(samples, k)
