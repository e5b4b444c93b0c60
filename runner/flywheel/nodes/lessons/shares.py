"""Who is asked for how much, and where a teacher's sample numbers go on."""

from __future__ import annotations

from collections import Counter
from functools import cached_property

from flywheel.nodes.lessons.allocation import Paid, thompson_shares
from flywheel.nodes.lessons.pieces import Ask, Assignment
from flywheel.nodes.lessons.stopping import is_useless
from flywheel.plan.shares import whole
from flywheel.spec.outline import with_fallbacks


class Shares:
    def __init__(self, work: Assignment) -> None:
        self._work = work
        self.learned: dict[str, float] = {}
        """Teacher → share, where what theirs paid decided; empty elsewhere."""
        self.stopped: dict[str, str] = {}
        """`teacher/mode` → why it is not asked for that mode any more."""

    def split(self, count: int, mode: str = "") -> dict[str, int]:
        """Teacher → how many of `count`, by weight, or by what theirs has paid. A teacher of which hardly anything was
        accepted for the mode is left out, and its fallback stands in; nobody is left where all are."""
        weights = self._still_asked(mode)
        if not weights:
            return {}
        shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
        if self._work.generator.learns_who_pays and (paid := self._paid()):
            records = {name: paid.get(name, Paid()) for name in weights}
            self.learned = shares = thompson_shares(records, self._work.ctx.seed())
        return dict(zip(shares, whole(list(shares.values()), count), strict=True))

    def _still_asked(self, mode: str) -> dict[str, float]:
        """The generator's weights, a useless teacher's with the first of its fallbacks that is none."""
        spec, found = self._work.ctx.spec, dict[str, float]()
        for name, weight in self._work.generator.weights.items():
            asked = next((n for n in with_fallbacks(spec, [name]) if not self._is_useless(n, mode)), None)
            if asked is not None:
                found[asked] = found.get(asked, 0) + weight
        return found

    def _is_useless(self, teacher: str, mode: str) -> bool:
        tried, accepted = self._accepted.get((teacher, mode), (0, 0))
        useless = self._work.ctx.spec.teachers[teacher].remote and is_useless(accepted, tried - accepted)
        if useless:
            self.stopped[_key(teacher, mode)] = f"{accepted:,} of {tried:,} candidates were accepted"
        return useless

    @cached_property
    def _accepted(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(teacher, mode) → what it wrote in earlier rounds and iterations, and how much of that was accepted. Samples
        of one question count as one."""
        ctx = self._work.ctx
        rows = ctx.query(
            """WITH c AS (SELECT *, coalesce(nullif(group_id, ''), candidate_id) AS question FROM candidates)
               SELECT c.teacher, coalesce(c.mode, '') AS mode, count(DISTINCT question) AS tried,
                   count(DISTINCT question) FILTER (j.outcome IN ('pass', 'spare')) AS accepted
               FROM c LEFT JOIN judged j ON j.candidate_id = c.candidate_id AND list_contains(?, j.node)
               WHERE list_contains(?, c.node) AND j.outcome IS DISTINCT FROM 'unknown' GROUP BY ALL""",
            [ctx.earlier("verify") + ctx.fingerprints("verify"), self._work.earlier_nodes],
        )
        return {(row["teacher"], row["mode"]): (row["tried"], row["accepted"]) for row in rows}

    def _paid(self) -> dict[str, Paid]:
        """What each teacher's candidates of earlier iterations came to."""
        ctx = self._work.ctx
        nodes = [node for node in self._work.earlier_nodes if node in ctx.earlier("generate")]
        rows = ctx.query(
            """WITH spent AS (SELECT key, round(sum(usd), 9) AS usd FROM calls GROUP BY key)
               SELECT c.teacher, count(*) AS tried, count(*) FILTER (j.outcome = 'pass') AS accepted,
                   coalesce(round(sum(spent.usd / share.n), 9), 0) AS usd
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


def asked_of(ask: Ask) -> str:
    """`teacher/mode`, under which requests are counted; where the next round's sample numbers start."""
    return _key(ask.request.teacher, ask.request.mode or "")


def _key(teacher: str, mode: str) -> str:
    return f"{teacher}/{mode}"
