"""Which teacher the next calls go to, where the spec leaves it to what theirs has paid."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

DRAWS = 400
#: Nobody is left out: a teacher that is never asked could never show that it has become better.
LEAST = 0.05


@dataclass(frozen=True)
class Paid:
    """A teacher's candidates so far, those accepted, and what they cost in dollars."""

    tried: int = 0
    accepted: int = 0
    usd: float = 0.0


def thompson_shares(paid: Mapping[str, Paid], seed: int) -> dict[str, float]:
    """Teacher → share of the calls, by Thompson sampling (Thompson 1933): the share of draws in which its posterior
    acceptance, Beta(1 + accepted, 1 + rejected), over its price a candidate is the highest.

    The price is left out unless all have one. Shares sum to 1, none is under 5%.
    """
    rng = random.Random(seed)
    priced = all(p.usd > 0 for p in paid.values())
    wins = Counter(
        max(paid, key=lambda name: _draw(paid[name], priced, rng))  # dicts keep their order: ties are settled by it
        for _ in range(DRAWS)
    )
    shares = {name: max(LEAST, wins[name] / DRAWS) for name in paid}
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def _draw(paid: Paid, priced: bool, rng: random.Random) -> float:
    rate = rng.betavariate(1 + paid.accepted, 1 + paid.tried - paid.accepted)
    return rate / (paid.usd / paid.tried) if priced else rate
