"""Who is asked for how much, and where a teacher's sample numbers go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property

from flywheel.nodes.lessons.allocation import Paid, thompson_shares
from flywheel.nodes.lessons.pieces import Ask, Assignment
from flywheel.plan.shares import whole


class Shares:
    def __init__(self, work: Assignment) -> None:
        self._work = work
        self.learned: dict[str, float] = {}
        """Teacher → share, where what theirs paid decided; empty elsewhere."""

    def split(self, count: int) -> dict[str, int]:
        """Teacher → how many of `count`, by weight, or by what theirs has paid."""
        weights = self._work.generator.weights
        shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
        if self._work.generator.learns_who_pays and (paid := self._paid()):
            records = {name: paid.get(name, Paid()) for name in weights}
            self.learned = shares = thompson_shares(records, self._work.ctx.seed())
        return dict(zip(shares, whole(list(shares.values()), count), strict=True))

    def _paid(self) -> dict[str, Paid]:
        """What each teacher's candidates of earlier iterations came to."""
        ctx = self._work.ctx
        nodes = [node for node in self._work.earlier_nodes if node in ctx.earlier("generate")]
        rows = ctx.query(
            """WITH spent AS (SELECT key, sum(usd) AS usd FROM calls GROUP BY key)
               SELECT c.teacher, count(*) AS tried, count(*) FILTER (j.outcome = 'pass') AS accepted,
                   coalesce(sum(spent.usd / share.n), 0) AS usd
               FROM candidates c LEFT JOIN judged j ON j.candidate_id = c.candidate_id AND list_contains(?, j.node)
               LEFT JOIN spent ON spent.key = c.call_key
               LEFT JOIN (SELECT call_key, count(*) AS n FROM candidates WHERE list_contains(?, node) GROUP BY call_key)
                   AS share ON share.call_key = c.call_key
               WHERE list_contains(?, c.node) GROUP BY c.teacher""",
            [ctx.earlier("verify"), nodes, nodes],
        )
        return {r["teacher"]: Paid(r["tried"], r["accepted"], r["usd"]) for r in rows}

    def first_sample(self, teacher: str, mode: str) -> int:
        """How many calls this teacher has had for this mode: sample numbers go on, so that nothing repeats."""
        return self._asked_before[_key(teacher, mode)]

    @cached_property
    def _asked_before(self) -> Counter[str]:
        """`teacher/mode` → calls of earlier rounds and iterations."""
        found: Counter[str] = Counter()
        for record in self._work.ctx.finished(self._work.earlier_nodes):
            found.update(record.summary.get("asked") or {})
        return found


def counted(asks: Iterable[Ask]) -> dict[str, int]:
    """`teacher/mode` → requests; where the next round's sample numbers start."""
    return dict(Counter(_key(ask.request.teacher, ask.request.mode or "") for ask in asks))


def _key(teacher: str, mode: str) -> str:
    return f"{teacher}/{mode}"
