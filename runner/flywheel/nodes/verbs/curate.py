"""curate: of the verified lessons keep those that are new, clean and worth a place; mix in earlier ones and seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from flywheel.hashing import ListFingerprint
from flywheel.nodes.context import Context, NodeResult
from flywheel.nodes.lessons.curation import Curated, Remembered, accepted, curated, history_of, human_seeds, mixed
from flywheel.nodes.lessons.lesson import Lesson, clear
from flywheel.nodes.lessons.watch import Watch
from flywheel.records import Counts


def curate(ctx: Context) -> NodeResult:
    lessons, history = accepted(ctx), history_of(ctx)
    found = curated(ctx, lessons, history)
    kept = found.kept
    ctx.write("curation", _fates(ctx, lessons, found))
    digest, watch = ListFingerprint(), Watch()

    def dataset() -> Iterator[dict[str, Any]]:
        for row in mixed(ctx, kept, history) if kept else ():
            digest.add([row["lesson_id"], row["prompt"], row["target"]])
            watch.add(row["origin"], row["row"], row["target"])
            yield row

    ctx.write("dataset", dataset())
    clear(ctx)
    ctx.write("signatures", _signatures(ctx, kept, history))
    return NodeResult(
        Counts(len(lessons), len(kept), len(found.fates)),
        summary={
            "accepted": len(lessons),
            "new": len(kept),
            "dropped": dict(Counter(fate.stage for fate in found.fates.values())),
            "origins": dict(watch.origins),
            "watch": watch.measured([seed.question for seed in human_seeds(ctx)]),
            "dataset_hash": digest.done(),
            **({"alike": list(found.alike)} if found.alike else {}),
        },
    )


def _signatures(ctx: Context, kept: Sequence[Lesson], history: Remembered) -> Iterator[dict[str, Any]]:
    """What was worked out anew of lessons that the next iteration looks at."""
    for lesson_id in dict.fromkeys(lesson.lesson_id for lessons in (history.lessons, kept) for lesson in lessons):
        if (own := history.signed.get(lesson_id)) is not None:
            yield {
                "node": ctx.node.fingerprint, "lesson_id": lesson_id, "content": own.content, "copy": own.copy,
                "kind": own.kind, "least": own.least,
            }  # fmt: skip


def _fates(ctx: Context, lessons: Sequence[Lesson], found: Curated) -> Iterator[dict[str, Any]]:
    places = {lesson.candidate_id: place for place, lesson in enumerate(found.ranked)}
    for lesson in lessons:
        fate = found.fates.get(lesson.candidate_id)
        yield {
            "node": ctx.node.fingerprint, "candidate_id": lesson.candidate_id,
            "decision": "kept" if fate is None else "dropped", "stage": fate.stage if fate else "",
            "reason": fate.reason if fate else "", "difficulty": found.difficulty.get(lesson.candidate_id),
            "rank": places.get(lesson.candidate_id),
        }  # fmt: skip
