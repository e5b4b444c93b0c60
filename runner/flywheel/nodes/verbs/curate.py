"""curate: of the verified lessons keep those that are new, clean and worth a place; mix in earlier ones and seeds."""

from __future__ import annotations

from collections import Counter

from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, NodeResult
from flywheel.nodes.lessons.curation import accepted, curated, history_of, mixed
from flywheel.records import Counts


def curate(ctx: Context) -> NodeResult:
    lessons, history = accepted(ctx), history_of(ctx)
    found = curated(ctx, lessons, history)
    fates, kept = found.fates, found.kept
    dataset = mixed(ctx, kept, history) if kept else []
    digest = fingerprint([[d["lesson_id"], d["prompt"], d["target"]] for d in dataset])
    places = {lesson.candidate_id: place for place, lesson in enumerate(found.ranked)}
    return NodeResult(
        Counts(len(lessons), len(kept), len(fates)),
        {
            "curation": [
                {
                    "node": ctx.node.fingerprint, "candidate_id": lesson.candidate_id,
                    "decision": "dropped" if lesson.candidate_id in fates else "kept",
                    "stage": fates[lesson.candidate_id].stage if lesson.candidate_id in fates else "",
                    "reason": fates[lesson.candidate_id].reason if lesson.candidate_id in fates else "",
                    "difficulty": found.difficulty.get(lesson.candidate_id), "rank": places.get(lesson.candidate_id),
                }
                for lesson in lessons
            ],
            "dataset": dataset,
        },
        {
            "accepted": len(lessons),
            "new": len(kept),
            "dropped": dict(Counter(fate.stage for fate in fates.values())),
            "origins": dict(Counter(d["origin"] for d in dataset)),
            "dataset_hash": digest,
            **({"alike": list(found.alike)} if found.alike else {}),
        },
    )  # fmt: skip
