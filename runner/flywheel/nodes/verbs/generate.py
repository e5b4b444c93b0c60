"""generate: teachers write lessons for what is still short, by the generator's strategy.

Round 1 asks for the whole budget, a refill round for what verification left missing.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from flywheel.nodes.context import Context, NodeResult
from flywheel.nodes.lessons.filters import filtered
from flywheel.nodes.lessons.pieces import Piece
from flywheel.nodes.lessons.replies import refuse_silence
from flywheel.nodes.lessons.round import Round
from flywheel.nodes.lessons.shares import counted
from flywheel.nodes.lessons.strategies import made
from flywheel.plan.estimates import ACCEPTANCE_GUESS
from flywheel.plan.shares import whole
from flywheel.records import Counts
from flywheel.teachers import duplicates


def generate(ctx: Context) -> NodeResult:
    g = Round(ctx)
    wanted = _short(g)
    pieces = filtered(g, made(g, wanted))
    replies = g.exchange.replies
    refuse_silence(ctx.node.name, replies)
    # What an attempt failed to bring, a fallback may have: it is lost only where nothing came in its place.
    failed = [reply for reply in replies if reply.status == "failed"]
    kept = sum(piece.status == "parsed" for piece in pieces)
    return NodeResult(
        Counts(len(pieces) + len(failed), kept, len(pieces) - kept, len(failed)),
        {"candidates": [_stored(g, piece) for piece in pieces]},
        {
            "wanted": wanted,
            "asked": counted(g.opening),
            "calls": len(replies),
            "calls_cached": sum(r.cached for r in replies),
            "calls_failed": dict(Counter(r.fault for r in failed)),
            "keys": sorted({r.key for r in replies}),
            "usd": sum(r.usd for r in replies if not r.cached),
            "tokens": sum(r.input_tokens + r.output_tokens for r in replies if not r.cached),
            "filtered": dict(Counter(_rule(p.problem) for p in pieces if p.status == "filtered")),
            "same_answers": round(_repeated(g), 4),
            "notes": _stopped(g),
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


def _repeated(g: Round) -> float:
    """Share of answers with new rows that repeat another. (That second opinions and votes agree is their purpose.)"""
    keys = {ask.request.key for ask in g.opening if ask.request.purpose == "lessons"}
    return duplicates(reply for reply in g.exchange.replies if reply.key in keys)


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
            g.ctx.earlier("curate"),
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
