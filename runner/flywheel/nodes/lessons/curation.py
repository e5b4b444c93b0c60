"""What curation does to lessons: which fall out and why, in which order the others stand, what is mixed in.

Stages in order, each a reason that stays with the row: length, quality, duplicate, near-duplicate, contaminated,
quota.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import Any

from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context
from flywheel.nodes.lessons.lesson import Lesson, cleared, lesson_id_of, overlaps_with_evals
from flywheel.nodes.lessons.ranking import over_quota, quota_of, ranked
from flywheel.store.meaning import Meanings, same_meaning
from flywheel.store.similarity import Signature, near_duplicates
from flywheel.student.embedding import EmbedJob, embedder_folder
from flywheel.text import normalised, one_line


@dataclass(frozen=True)
class Fate:
    stage: str
    reason: str


@dataclass(frozen=True)
class Curated:
    """`fates`: candidate → why it was dropped. `ranked`: those that are clean, best first; `difficulty`: of those whose
    place hung on it."""

    fates: Mapping[Any, Fate]
    ranked: Sequence[Lesson]
    difficulty: Mapping[Any, float]
    alike: Sequence[Mapping[str, Any]] = ()
    """Pairs of questions next to `curate.dedup.semantic`: `similarity`, whether they `agree` in what is telling."""

    @property
    def kept(self) -> list[Lesson]:
        return [lesson for lesson in self.ranked if lesson.candidate_id not in self.fates]


@dataclass(frozen=True)
class Remembered:
    """Lessons that earlier iterations of this chain kept, oldest first, and by lesson id what they are compared by;
    what curation works out anew is added to `signed`."""

    lessons: Sequence[Lesson]
    signatures: Mapping[str, Signature]
    signed: dict[str, Signature] = field(default_factory=dict)


def curated(ctx: Context, lessons: Sequence[Lesson], history: Remembered, without: str = "") -> Curated:
    """`without`: the name of a stage that is skipped, as `ablate` has it; without `rank` the order is a seeded draw."""
    fates: dict[Any, Fate] = {}
    for name, stages in STAGES.items():
        for stage in stages if name != without else ():
            fates.update(stage(ctx, [lesson for lesson in lessons if lesson.candidate_id not in fates], history))
    clean = [lesson for lesson in lessons if lesson.candidate_id not in fates]
    repeated, alike = _semantic(ctx, clean, history) if without != "dedup" else ({}, [])
    fates.update(repeated)
    clean = [lesson for lesson in clean if lesson.candidate_id not in fates]
    quota = quota_of(ctx)
    order, difficulty = (shuffled(ctx, clean), {}) if without == "rank" else ranked(ctx, clean, quota)
    for lesson, bought in over_quota(order, quota):
        fates[lesson.candidate_id] = Fate("quota", f"the budget bought {bought} for {lesson.mode}")
    return Curated(fates, order, difficulty, alike)


def shuffled(ctx: Context, lessons: Sequence[Lesson]) -> list[Lesson]:
    """A seeded order in which a lesson's place does not hang on which others there are."""
    return sorted(lessons, key=lambda lesson: fingerprint([ctx.spec.seed, lesson.candidate_id]))


def accepted(ctx: Context) -> list[Lesson]:
    """What passed verification in this iteration."""
    rows = ctx.stream(
        """SELECT c.candidate_id, c.task, c.mode, c.teacher, c.generator, c."row", c.target, j.score AS grade
           FROM candidates c JOIN judged j ON j.candidate_id = c.candidate_id
           WHERE list_contains(?, c.node) AND list_contains(?, j.node) AND j.outcome = 'pass'
           ORDER BY c.candidate_id""",
        [ctx.fingerprints("generate"), ctx.fingerprints("verify")],
    )
    return [lesson_of(row) for row in rows]


def lesson_of(row: Mapping[str, Any]) -> Lesson:
    """Of a row of `candidates` with its `grade`."""
    # Names are the same few in many rows, and the store gives each row its own copy.
    mode = None if row["mode"] is None else intern(row["mode"])
    return Lesson(
        lesson_id_of(row["task"], row["row"], row["target"]), row["candidate_id"], intern(row["task"]), mode,
        intern(row["teacher"]), intern(row["generator"]), row["row"], row["target"], row["grade"],
    )  # fmt: skip


def history_of(ctx: Context) -> Remembered:
    rows = ctx.query(
        """SELECT * FROM dataset WHERE list_contains(?, node) AND origin = 'new'
           ORDER BY list_position(?, node), position, lesson_id""",
        [ctx.earlier("curate"), ctx.earlier("curate")],
    )
    lessons = [
        Lesson(r["lesson_id"], r["candidate_id"], r["task"], r["mode"], r["teacher"], "", r["row"], r["target"])
        for r in rows
    ]
    return Remembered(lessons, _signatures(ctx))


def _signatures(ctx: Context) -> dict[str, Signature]:
    if ctx.spec.curate.dedup.near is None:
        return {}
    rows = ctx.stream(
        """SELECT lesson_id, content, "copy", kind, least FROM signatures WHERE list_contains(?, node)
           ORDER BY list_position(?, node)""",
        [ctx.earlier("curate"), ctx.earlier("curate")],
    )
    return {row.pop("lesson_id"): Signature(**row) for row in rows}


# -- stages: each maps some lessons to their fate


def _length(ctx: Context, lessons: Sequence[Lesson], history: Remembered) -> dict[Any, Fate]:
    del history
    limits = ctx.spec.curate.length
    found = {}
    for lesson in lessons:
        size = len(lesson.whole)
        if not limits.min_chars <= size <= limits.max_chars:
            found[lesson.candidate_id] = Fate("length", f"{size:,} characters")
    return found


#: A word that stands this often in a row is a model that got stuck.
STUCK = 6


def _quality(ctx: Context, lessons: Sequence[Lesson], history: Remembered) -> dict[Any, Fate]:
    """What verifiers let through and nobody should learn: parroted, cut off or stuck answers (as in Self-Instruct)."""
    del ctx, history
    found = {}
    for lesson in lessons:
        if why := _flaw(lesson):
            found[lesson.candidate_id] = Fate("quality", why)
    return found


def _flaw(lesson: Lesson) -> str:
    target, words = lesson.target.strip(), lesson.target.split()
    if len(words) > 2 and normalised(target) == normalised(lesson.question):
        return "the answer repeats the question"
    if target.endswith((":", "…", "...")):
        return f"the answer is cut off: it ends with {target[-1]!r}"
    if any(len(set(words[i : i + STUCK])) == 1 for i in range(len(words) - STUCK + 1)):
        return f"a word stands {STUCK} times in a row"
    return ""


def _duplicates(ctx: Context, lessons: Sequence[Lesson], history: Remembered) -> dict[Any, Fate]:
    """The same question again, in this iteration or any before. Of different answers to it the first few stay; beyond
    `answers_per_question`, which is one by default, another answer is a conflict."""
    most = ctx.spec.curate.dedup.answers_per_question
    seen: dict[str, dict[str, Lesson]] = defaultdict(dict)
    for lesson in history.lessons:
        seen[normalised(lesson.question)][normalised(lesson.target)] = lesson
    found = {}
    for lesson in lessons:
        known, answer = seen[normalised(lesson.question)], normalised(lesson.target)
        if answer in known:
            found[lesson.candidate_id] = Fate("duplicate", f"repeats {known[answer].lesson_id}")
        elif len(known) >= most:
            found[lesson.candidate_id] = Fate("duplicate", f"{_beyond(most)} {next(iter(known.values())).lesson_id}")
        else:
            known[answer] = lesson
    return found


def _beyond(most: int) -> str:
    return "has another answer than" if most == 1 else f"is answer {most + 1} or later to the question of"


def _near(ctx: Context, lessons: Sequence[Lesson], history: Remembered) -> dict[Any, Fate]:
    threshold = ctx.spec.curate.dedup.near
    if threshold is None:
        return {}
    everything = [*history.lessons, *lessons]
    known = {place: history.signatures.get(x.lesson_id) for place, x in enumerate(everything)}
    signed = {place: signature for place, signature in known.items() if signature is not None}
    pairs = near_duplicates([x.whole for x in everything], threshold, [x.target for x in everything], signed)
    history.signed.update((everything[i].lesson_id, own) for i, own in signed.items() if known[i] is not own)
    return {
        everything[later].candidate_id: Fate("near-duplicate", f"{similarity:.0%} like {everything[earlier].lesson_id}")
        for later, (earlier, similarity) in pairs.items()
        if later >= len(history.lessons)
    }


def _semantic(
    ctx: Context, lessons: Sequence[Lesson], history: Remembered
) -> tuple[dict[Any, Fate], list[dict[str, Any]]]:
    """And the pairs next to the threshold, for whoever chooses it."""
    everything = [*history.lessons, *lessons]
    found = meanings(ctx, everything)
    fates = {
        everything[later].candidate_id: Fate(
            "near-duplicate", f"means what {everything[pair.earlier].lesson_id} means (cosine {pair.similarity:.3f})"
        )
        for later, pair in found.dropped.items()
        if later >= len(history.lessons)
    }
    examples = [
        {
            "similarity": round(pair.similarity, 4), "agree": pair.agree,
            "one": one_line(everything[pair.earlier].question, 200),
            "other": one_line(everything[pair.later].question, 200),
        }
        for pair in found.examples
    ]  # fmt: skip
    return fates, examples


def meanings(ctx: Context, lessons: Sequence[Lesson]) -> Meanings:
    """Which lessons' questions mean the same; nothing unless the spec asks for it."""
    dedup = ctx.spec.curate.dedup
    if dedup.semantic is None or len(lessons) < 2:
        return Meanings({}, [])
    questions = [lesson.question for lesson in lessons]
    folder = str(embedder_folder(dedup.embedder, ctx.root))
    job = EmbedJob(folder, ctx.spec.student.device, tuple(questions))
    vectors = ctx.compute("flywheel.student.embedding:embed", job, lambda m: ctx.progress(**m))
    return same_meaning(questions, [lesson.target for lesson in lessons], vectors, dedup.semantic)


def _contaminated(ctx: Context, lessons: Sequence[Lesson], history: Remembered) -> dict[Any, Fate]:
    del history
    overlaps = overlaps_with_evals(ctx, lessons)
    return {
        lessons[index].candidate_id: Fate("contaminated", f"{o.how} overlap with {o.suite} item {o.item_id}")
        for index, o in overlaps.items()
    }


#: What `ablate` calls a stage → its parts.
STAGES: Mapping[str, tuple[Callable[[Context, Sequence[Lesson], Remembered], dict[Any, Fate]], ...]] = {
    "length": (_length,),
    "quality": (_quality,),
    "dedup": (_duplicates, _near),
    "decontaminate": (_contaminated,),
}


# -- mix


def mixed(ctx: Context, kept: Sequence[Lesson], history: Remembered) -> Iterator[dict[str, Any]]:
    """The training rows: new lessons, a share of earlier ones, human seeds; shuffled."""
    mix = ctx.spec.curate.mix
    rng = random.Random(ctx.seed())
    clean = _replayable(ctx, history.lessons)
    replay = rng.sample(clean, round(len(clean) * mix.replay))
    seeds = human_seeds(ctx)
    overlaps = overlaps_with_evals(ctx, seeds)
    seeds = [seed for index, seed in enumerate(seeds) if index not in overlaps]
    room = round((len(kept) + len(replay)) * mix.seeds / (1 - mix.seeds)) if mix.seeds < 1 else len(seeds)
    seeds = rng.sample(seeds, min(room, len(seeds)))
    rows = [(lesson, "new") for lesson in kept] + [(lesson, "replay") for lesson in replay]
    rows += [(lesson, "seed") for lesson in seeds]
    rng.shuffle(rows)
    for place, (lesson, origin) in enumerate(rows):
        yield _dataset_row(ctx, place, lesson, origin)


def _replayable(ctx: Context, history: Sequence[Lesson]) -> list[Lesson]:
    """Without those that overlap an eval item: suites may have been added since they were learned."""
    condition, parameters = cleared(ctx)
    rows = ctx.query(
        f"""SELECT place FROM (
                SELECT *, row_number() OVER (ORDER BY list_position(?, node), position, lesson_id) - 1 AS place
                FROM dataset WHERE list_contains(?, node) AND origin = 'new')
            WHERE NOT {condition} ORDER BY place""",
        [ctx.earlier("curate"), ctx.earlier("curate"), *parameters],
    )
    unseen = [int(row["place"]) for row in rows]
    overlapping = {unseen[index] for index in overlaps_with_evals(ctx, [history[place] for place in unseen])}
    return [lesson for place, lesson in enumerate(history) if place not in overlapping]


def human_seeds(ctx: Context) -> list[Lesson]:
    """Solved rows of all tasks, without those that are shown before every question."""
    found = []
    for name, task in ctx.spec.tasks.items():
        columns = ctx.columns(name)
        rows = ctx.task_rows(name, task.seeds) if task.seeds else []
        for row in rows[ctx.spec.student.shots :]:  # the others stand, solved, before every question
            inputs = {column: row.inputs.get(column) for column in columns}
            lesson_id = lesson_id_of(name, inputs, row.gold)
            found.append(Lesson(lesson_id, None, name, None, None, "", inputs, row.gold))
    return found


def _dataset_row(ctx: Context, place: int, lesson: Lesson, origin: str) -> dict[str, Any]:
    return {
        "node": ctx.node.fingerprint, "position": place, "lesson_id": lesson.lesson_id,
        "candidate_id": lesson.candidate_id, "origin": origin, "task": lesson.task, "mode": lesson.mode,
        "teacher": lesson.teacher, "row": lesson.row, "target": lesson.target,
        "prompt": ctx.prompt(lesson.task, lesson.row),
    }  # fmt: skip
