"""curate: of the verified lessons keep those that are new, clean and worth a place; mix in earlier ones and seeds."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from flywheel.hashing import ListFingerprint
from flywheel.nodes.context import Context, NodeResult
from flywheel.nodes.lessons.curation import (
    Curated,
    Remembered,
    accepted,
    curated,
    history_of,
    human_seeds,
    mixed,
    question_of,
    replay,
)
from flywheel.nodes.lessons.lesson import clear
from flywheel.nodes.lessons.queue import HUMAN
from flywheel.nodes.lessons.watch import SAMPLE, Watch
from flywheel.records import Counts


def curate(ctx: Context) -> NodeResult:
    lessons, history = accepted(ctx), history_of(ctx)
    found = curated(ctx, lessons, history)
    kept = found.kept
    ctx.write("curation", _fates(ctx, found))
    if kept:
        mix = mixed(ctx, kept, history)
        ctx.write("dataset", mix.made)
        replay(ctx, mix.replayed)
    clear(ctx)
    ctx.write("signatures", _signatures(ctx, found, history))
    digest, origins, given = ListFingerprint(), Counter[str](), 0
    givers = {HUMAN, *(name for name, t in ctx.spec.teachers.items() if t.recorded and not t.is_simulated)}
    for row in _dataset(ctx):
        digest.add([row["lesson_id"], row["prompt"], row["target"]])
        origins[row["origin"]] += 1
        given += row["origin"] == "seed" or row["teacher"] in givers
    watch = Watch(given, origins.total(), _looked_at(ctx))
    return NodeResult(
        Counts(len(lessons), len(kept), len(found.fates)),
        summary={
            "accepted": len(lessons),
            "new": len(kept),
            "dropped": dict(Counter(fate.stage for fate in found.fates.values())),
            "origins": dict(origins),
            "watch": watch.measured([seed.question for seed in human_seeds(ctx)]),
            "dataset_hash": digest.done(),
            **({"alike": list(found.alike)} if found.alike else {}),
        },
    )


def _dataset(ctx: Context) -> Iterator[dict[str, Any]]:
    return ctx.stream(
        "SELECT lesson_id, prompt, target, origin, teacher FROM dataset WHERE node = ? ORDER BY position",
        [ctx.node.fingerprint],
    )


def _looked_at(ctx: Context) -> list[tuple[Mapping[str, Any], str]]:
    """Row and answer of the lessons that the watch on collapse looks at."""
    rows = ctx.query(
        f"""SELECT "row", target FROM dataset WHERE node = ? AND origin <> 'seed' ORDER BY position LIMIT {SAMPLE}""",
        [ctx.node.fingerprint],
    )
    return [(row["row"], row["target"]) for row in rows]


def _signatures(ctx: Context, found: Curated, history: Remembered) -> Iterator[dict[str, Any]]:
    """What was worked out anew of lessons that the next iteration looks at."""
    before, signatures = len(history.lessons), history.signatures
    for place in signatures.anew:
        new = None if place < before else history.signed[place - before]
        if new is None or new not in found.fates:
            lesson = history.lessons[place] if new is None else found.lessons[new]
            signature, lines = signatures.get(place, question_of(lesson))
            yield {"node": ctx.node.fingerprint, "lesson_id": lesson.lesson_id, "signature": signature, "lines": lines}


def _fates(ctx: Context, found: Curated) -> Iterator[dict[str, Any]]:
    ranks = array("q", [-1]) * len(found.lessons)
    for rank, place in enumerate(found.ranked):
        ranks[place] = rank
    for place, lesson in enumerate(found.lessons):
        fate = found.fates.get(place)
        yield {
            "node": ctx.node.fingerprint, "candidate_id": lesson.candidate_id,
            "decision": "kept" if fate is None else "dropped", "stage": fate.stage if fate else "",
            "reason": fate.reason if fate else "", "difficulty": found.difficulty.get(place),
            "rank": None if ranks[place] < 0 else ranks[place],
        }  # fmt: skip
