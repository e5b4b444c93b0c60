"""Which items of the gate's suites are asked when, and when enough were: a seeded order, in stages, until every rule of
a suite is decided."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from flywheel.harness import Item, SuiteJob
from flywheel.hashing import fingerprint, seed_from
from flywheel.nodes.context import Context
from flywheel.nodes.trust.evidence import Query, grounds_of, scores_in
from flywheel.records.decision import Staging

#: Of all items, at the ends of the stages. Earlier than at a fifth the boundary is out of reach.
SHARES = tuple(tenths / 10 for tenths in range(2, 11))
#: A stage of fewer items is not worth its own batches.
FEWEST = 10


@dataclass(frozen=True)
class Order:
    """A suite with its items in the order in which they are asked."""

    suite: SuiteJob
    ends: tuple[int, ...]

    def at(self, stage: int) -> SuiteJob:
        """The items of this stage alone, from 1."""
        first = self.ends[stage - 2] if stage > 1 else 0
        return replace(self.suite, items=self.suite.items[first : self.ends[stage - 1]])

    def record(self, stage: int) -> dict[str, Any]:
        """Where it ended, and which items were left."""
        left = self.suite.items[self.ends[stage - 1] :]
        return {**asdict(Staging(self.ends, stage)), "left": sorted(item.item_id for item in left)}


def ordered(suite: SuiteJob, seed: int) -> Order:
    """By whole clusters, so that what moves together is looked at together."""
    groups: dict[tuple[bool, str], list[Item]] = {}
    for item in suite.items:
        cluster = item.row.get("cluster")
        key = (False, item.item_id) if cluster is None else (True, str(cluster))
        groups.setdefault(key, []).append(item)
    shuffled = [groups[key] for key in sorted(groups)]
    random.Random(seed_from(seed, "order", suite.name)).shuffle(shuffled)
    items = tuple(item for group in shuffled for item in group)
    return Order(replace(suite, items=items), _ends([len(group) for group in shuffled]))


def _ends(sizes: Sequence[int]) -> tuple[int, ...]:
    total, done, ends = sum(sizes), 0, [0]
    for size in sizes:
        done += size
        due = next((share for share in SHARES if share * total > ends[-1] + 1e-9), 1.0) * total
        if done >= due - 1e-9 and done - ends[-1] >= FEWEST and total - done >= FEWEST:
            ends.append(done)
    return (*ends[1:], total)


# --- looks ------------------------------------------------------------------------------------------------------------


def holdout_of(items: Collection[tuple[str, str]], watched: Collection[str]) -> str:
    """Identity of the (suite, item) pairs that were planned for the suites that the gate watches."""
    return fingerprint([list(pair) for pair in sorted(items) if pair[0] in watched])


def look_at(query: Query, holdout: str, candidate: str | None) -> int:
    """How often these items have judged a candidate, this time included; whatever the spec was then."""
    rows = query(
        "SELECT count(DISTINCT candidate_id) AS n FROM decisions WHERE holdout = ? AND candidate_id IS DISTINCT FROM ?",
        [holdout, candidate],
    )
    return int(rows[0]["n"]) + 1


# --- decided ----------------------------------------------------------------------------------------------------------


def decided(
    ctx: Context,
    candidate: str,
    rows: Sequence[Mapping[str, Any]],
    stages: Mapping[str, Mapping[str, Any]],
    noise: Mapping[str, Mapping[str, int]],
) -> set[str]:
    """Suites whose rules need no further item. `rows`: those of `scores` so far; `stages`: suite → `Order.record`."""
    asked = {(row["suite"], row["item_id"]) for row in rows}
    planned = asked | {(suite, item) for suite, found in stages.items() for item in found["left"]}
    holdout = holdout_of(planned, {rule.suite for rule in ctx.spec.gate})
    incumbents, candidates = (scores_in(rows, arm) for arm in ("incumbent", "candidate"))
    seed = seed_from(ctx.spec.seed, ctx.node.iteration, "gate")  # of the gate's own draws
    look = look_at(ctx.query, holdout, candidate)
    return grounds_of(ctx.spec.gate, incumbents, candidates, (), look, seed, noise, stages).settled()
