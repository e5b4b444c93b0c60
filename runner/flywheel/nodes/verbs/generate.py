"""generate: teachers write lessons for what is still short, by the generator's strategy.

Round 1 asks for the whole budget, a refill round for what verification left missing.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from flywheel.nodes.context import Context, NodeResult
from flywheel.nodes.lessons.filters import filtered
from flywheel.nodes.lessons.pieces import Piece
from flywheel.nodes.lessons.replies import refuse_silence
from flywheel.nodes.lessons.round import Round
from flywheel.nodes.lessons.strategies import made
from flywheel.plan.estimates import ACCEPTANCE_GUESS
from flywheel.plan.shares import whole
from flywheel.records import Counts


def generate(ctx: Context) -> NodeResult:
    g = Round(ctx)
    wanted = _short(g)
    written, rules = Counter[str](), Counter[str]()

    def rows() -> Iterator[dict[str, Any]]:
        for piece in filtered(g, made(g, wanted)):
            written[piece.status] += 1
            if piece.status == "filtered":
                rules[_rule(piece.problem)] += 1
            yield _stored(g, piece)

    ctx.write("candidates", rows())
    heard = g.exchange.heard
    refuse_silence(ctx.node.name, heard)
    kept, all_ = written["parsed"], written.total()
    return NodeResult(
        # What an attempt failed to bring, a fallback may have: it is lost only where nothing came in its place.
        Counts(all_ + heard.failed, kept, all_ - kept, heard.failed),
        summary={
            "wanted": wanted,
            "asked": dict(g.asked),
            "calls": heard.number,
            "calls_cached": heard.cached,
            "calls_failed": dict(heard.faults),
            "keys": sorted(heard.keys),
            "usd": heard.usd,
            "tokens": heard.tokens,
            "filtered": dict(rules),
            "same_answers": round(g.said.share, 4),
            "notes": [*_stopped(g), *g.remarks],
            **({"promised": promised} if (promised := ctx.node.estimate.acceptance) is not None else {}),
            **({"allocation": _rounded(g.shares.learned)} if g.shares.learned else {}),
            **g.notes,
        },
    )


def _stopped(g: Round) -> list[str]:
    """Teachers that were asked no more, with why."""
    of_modes = {key.removesuffix("/").replace("/", " for "): why for key, why in g.shares.stopped.items()}
    return [f"{who} was stopped: {why}" for who, why in {**of_modes, **g.exchange.stopped}.items()]


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}


def _rule(problem: str) -> str:
    """What a filter's reason has in common with its others: "ROUGE-L 0.72 with …" without the figure."""
    return re.sub(r"[\d.]+ ", "", problem.partition(":")[0])


# -- how many


def _short(g: Round) -> dict[str, int]:
    """Mode → candidates to ask for now, by what is missing and the acceptance measured so far."""
    budgets = g.ctx.query(
        "SELECT mode, lessons FROM budgets WHERE list_contains(?, node) AND generator = ? AND lessons > 0",
        [g.ctx.fingerprints("budget"), g.generator.name],
    )
    tried, accepted = _so_far(g)
    missing = {b["mode"]: max(0, b["lessons"] - accepted.get(b["mode"], 0)) for b in budgets}
    rates = _acceptance(g)
    asked = {
        mode: math.ceil(short / rates.get(mode, rates.get("", ACCEPTANCE_GUESS)))
        for mode, short in missing.items()
        if short
    }
    left = g.generator.candidates_limit - sum(tried.values())
    if sum(asked.values()) > left:
        shares = [count / sum(asked.values()) for count in asked.values()]
        asked = dict(zip(asked, whole(shares, max(0, left)), strict=True))
    return {mode: count for mode, count in asked.items() if count}


#: Candidates by mode; the samples of one question are one.
_TRIED = "count(DISTINCT coalesce(nullif(c.group_id, ''), c.candidate_id))"


def _so_far(g: Round) -> tuple[dict[str, int], dict[str, int]]:
    """This iteration, earlier rounds: candidates by mode, and distinct new accepted ones by mode."""
    rows = g.ctx.query(
        f"""SELECT coalesce(c.mode, '') AS mode, {_TRIED} AS tried,
               count(DISTINCT c."row") FILTER (j.outcome = 'pass' AND c."row" NOT IN (
                   SELECT "row" FROM dataset WHERE list_contains(?, node))) AS accepted
           FROM candidates c LEFT JOIN judged j ON j.candidate_id = c.candidate_id AND list_contains(?, j.node)
           WHERE list_contains(?, c.node) AND c.generator = ? GROUP BY c.mode""",
        [
            g.ctx.remembered(),
            g.ctx.fingerprints("verify"),
            [n for n in g.work.earlier_nodes if n in g.ctx.fingerprints("generate")],
            g.generator.name,
        ],
    )
    return {r["mode"]: r["tried"] for r in rows}, {r["mode"]: r["accepted"] for r in rows}


def _acceptance(g: Round) -> dict[str, float]:
    """Measured share of candidates that passed, by mode and ("") overall, never under 5%."""
    verifies = g.ctx.earlier("verify") + g.ctx.fingerprints("verify")
    rows = g.ctx.query(
        f"""SELECT coalesce(c.mode, '') AS mode, {_TRIED} AS tried, count(*) FILTER (j.outcome = 'pass') AS passed
           FROM candidates c LEFT JOIN judged j ON j.candidate_id = c.candidate_id AND list_contains(?, j.node)
           WHERE list_contains(?, c.node) AND c.generator = ? GROUP BY c.mode""",
        [verifies, g.work.earlier_nodes, g.generator.name],
    )
    rates = {r["mode"]: max(0.05, r["passed"] / r["tried"]) for r in rows if r["tried"] >= 20}
    if tried := sum(r["tried"] for r in rows):
        rates[""] = max(0.05, sum(r["passed"] for r in rows) / tried)
    return rates


def _stored(g: Round, piece: Piece) -> dict[str, Any]:
    c = piece.candidate
    return {
        "node": g.ctx.node.fingerprint, "candidate_id": c.candidate_id, "task": c.task, "generator": c.generator,
        "teacher": c.teacher, "mode": c.mode, "round": g.ctx.node.round, "call_key": c.call_key, "row": c.row,
        "target": c.target, "reference": c.reference.text if c.reference else None,
        "reference_from": c.reference.origin if c.reference else "",
        "failure_ids": list(c.failure_ids), "status": piece.status, "problem": piece.problem, "text": piece.text,
        "strategy": c.strategy, "group_id": c.group, "depth": c.depth, "parent_id": c.parent,
    }  # fmt: skip
