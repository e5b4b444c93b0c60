"""What curation does to lessons: which fall out and why, in which order the others stand, what is mixed in.

Stages in order, each a reason that stays with the row: length, quality, duplicate, near-duplicate, contaminated,
quota.
"""

from __future__ import annotations

import random
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context
from flywheel.nodes.lessons.lesson import Lesson, cleared, lesson_id_of, overlaps_with_evals
from flywheel.nodes.lessons.ranking import columns_of, over_quota, quota_of, ranked
from flywheel.nodes.lessons.shelf import AT_A_TIME, Shelf, View, chosen, joined, mapped
from flywheel.store.meaning import Meanings, same_meaning
from flywheel.store.similarity import Signatures, digest, near_duplicates
from flywheel.student.embedding import EmbedJob, embedder_folder
from flywheel.text import normalised, one_line

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Fate:
    stage: str
    reason: str


@dataclass(frozen=True)
class Curated:
    """What became of `lessons`, by place. `fates`: why one was dropped; `ranked`: those that are clean, best first;
    `difficulty`: of those whose place hung on it."""

    lessons: Sequence[Lesson]
    fates: Mapping[int, Fate]
    ranked: Sequence[int]
    difficulty: Mapping[int, float]
    alike: Sequence[Mapping[str, Any]] = ()
    """Pairs of questions next to `curate.dedup.semantic`: `similarity`, whether they `agree` in what is telling."""

    @property
    def kept(self) -> Sequence[Lesson]:
        return chosen(self.lessons, [place for place in self.ranked if place not in self.fates])


@dataclass(frozen=True)
class Remembered:
    """Lessons that earlier iterations of this chain kept, as far back as `curate.mix.window` says, oldest first, and
    what they are compared by. Curation adds to `signatures` those of the lessons that come after them: `signed` has
    their places. `ahead`: is told which of the lessons are looked at next, so that they are read together."""

    lessons: Sequence[Lesson]
    signatures: Signatures = field(default_factory=Signatures)
    signed: list[int] = field(default_factory=list)
    ahead: Callable[[Sequence[int]], None] = lambda _: None


def curated(ctx: Context, lessons: Sequence[Lesson], history: Remembered, without: str = "") -> Curated:
    """`without`: the name of a stage that is skipped, as `ablate` has it; without `rank` the order is a seeded draw."""
    fates: dict[int, Fate] = {}
    for name, stages in STAGES.items():
        for stage in stages if name != without else ():
            left = _left(lessons, fates)
            fates.update((left[place], fate) for place, fate in stage(ctx, chosen(lessons, left), history).items())
            if stage is _near:
                history.signed[:] = left
    left = _left(lessons, fates)
    repeated, alike = _semantic(ctx, chosen(lessons, left), history) if without != "dedup" else ({}, [])
    fates.update((left[place], fate) for place, fate in repeated.items())
    left = _left(lessons, fates)
    clean, quota = chosen(lessons, left), quota_of(ctx)
    difficulty: Mapping[int, float]
    if without == "rank":
        order, difficulty, columns = shuffled(ctx, clean), {}, columns_of(clean)
    else:
        order, difficulty, columns = ranked(ctx, clean, quota)
    for place, bought in over_quota(columns, order, quota):
        mode = columns.names[columns.group[place]][1] or None
        fates[left[place]] = Fate("quota", f"the budget bought {bought} for {mode}")
    hard = {left[place]: loss for place, loss in difficulty.items()}
    return Curated(lessons, fates, [left[place] for place in order], hard, alike)


def _left(lessons: Sequence[Lesson], fates: Mapping[int, Fate]) -> Sequence[int]:
    return array("q", (place for place in range(len(lessons)) if place not in fates))


def shuffled(ctx: Context, lessons: Sequence[Lesson]) -> list[int]:
    """Places in a seeded order, in which a lesson's does not hang on which others there are."""
    keys = [fingerprint([ctx.spec.seed, lesson.candidate_id]) for lesson in lessons]
    return sorted(range(len(keys)), key=keys.__getitem__)


def accepted(ctx: Context) -> Sequence[Lesson]:
    """What passed verification in this iteration."""
    rows = ctx.stream(
        """SELECT c.candidate_id, c.task, c.mode, c.teacher, c.generator, c."row", c.target, j.score AS grade
           FROM candidates c JOIN judged j ON j.candidate_id = c.candidate_id
           WHERE list_contains(?, c.node) AND list_contains(?, j.node) AND j.outcome = 'pass'
           ORDER BY c.candidate_id""",
        [ctx.fingerprints("generate"), ctx.fingerprints("verify")],
    )
    return Shelf(ctx.state, map(lesson_of, rows), Lesson._make)


def lesson_of(row: Mapping[str, Any]) -> Lesson:
    """Of a row of `candidates` with its `grade`."""
    return Lesson(
        lesson_id_of(row["task"], row["row"], row["target"]), row["candidate_id"], row["task"], row["mode"],
        row["teacher"], row["generator"], row["row"], row["target"], row["grade"],
    )  # fmt: skip


def history_of(ctx: Context) -> Remembered:
    curates = ctx.remembered()
    if not curates:
        return Remembered(())
    rows = ctx.columns_of(
        """SELECT list_position(?, d.node) AS iteration, position, lesson_id, list_position(?, s.node) AS signed,
             signature, lines
           FROM dataset d LEFT JOIN (SELECT * FROM signatures WHERE list_contains(?, node)) s USING (lesson_id)
           WHERE list_contains(?, d.node) AND origin = 'new'""",
        [curates, curates, curates, curates],
    )
    rows = rows.sort_by([(name, "ascending") for name in ("iteration", "position", "lesson_id", "signed")])
    rows = rows.take(_lasts(rows["iteration"].to_numpy(), rows["position"].to_numpy()))
    lessons = _Learned(ctx, rows["lesson_id"].combine_chunks())
    packed = ([value or b"" for value in rows[name].to_pylist()] for name in ("signature", "lines"))
    return Remembered(lessons, Signatures.packed(*packed), ahead=lessons.ahead)


def _lasts(*keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the last of each run of equal keys: of a lesson's signatures the latest counts."""
    import numpy as np

    last = np.ones(len(keys[0]), dtype=bool)
    last[:-1] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.flatnonzero(last)


#: Lessons in the order in which they were learned. Takes the nodes.
_OLDEST = "list_position(?, node), position, lesson_id"


class _Learned(View[Lesson]):
    """Lessons that earlier iterations kept, oldest first: ids in memory, what they say in the store."""

    def __init__(self, ctx: Context, ids: pa.StringArray) -> None:
        self._ctx, self._ids = ctx, ids
        self._at_hand: dict[int, Lesson] = {}
        super().__init__(len(ids), self._read)

    def _read(self, place: int) -> Lesson:
        if place not in self._at_hand:
            self.ahead(range(place, min(place + AT_A_TIME, len(self))))
        return self._at_hand[place]

    def ahead(self, places: Sequence[int]) -> None:
        """Read these, in the place of those before."""
        ids = self._ids.take(list(places)).to_pylist()
        rows = self._ctx.query(
            f"{_LEARNED} AND lesson_id IN (SELECT unnest(?))", [self._ctx.remembered(), list(set(ids))]
        )
        found = {row["lesson_id"]: Lesson(**row) for row in rows}
        self._at_hand = {place: found[lesson_id] for place, lesson_id in zip(places, ids, strict=True)}

    def __iter__(self) -> Iterator[Lesson]:
        curates = self._ctx.remembered()
        return (Lesson(**row) for row in self._ctx.stream(f"{_LEARNED} ORDER BY {_OLDEST}", [curates, curates]))


_LEARNED = """SELECT lesson_id, candidate_id, task, mode, teacher, '' AS generator, "row", target FROM dataset
    WHERE list_contains(?, node) AND origin = 'new'"""


# -- stages: each maps places of some lessons to their fate


def _length(ctx: Context, lessons: Sequence[Lesson], history: Remembered) -> dict[int, Fate]:
    del history
    limits = ctx.spec.curate.length
    sizes = ((place, len(lesson.whole)) for place, lesson in enumerate(lessons))
    return {
        place: Fate("length", f"{size:,} characters")
        for place, size in sizes
        if not limits.min_chars <= size <= limits.max_chars
    }


#: A word that stands this often in a row is a model that got stuck.
STUCK = 6


def _quality(ctx: Context, lessons: Sequence[Lesson], history: Remembered) -> dict[int, Fate]:
    """What verifiers let through and nobody should learn: parroted, cut off or stuck answers (as in Self-Instruct)."""
    del ctx, history
    return {place: Fate("quality", why) for place, lesson in enumerate(lessons) if (why := _flaw(lesson))}


def _flaw(lesson: Lesson) -> str:
    target, words = lesson.target.strip(), lesson.target.split()
    if len(words) > 2 and normalised(target) == normalised(lesson.question):
        return "the answer repeats the question"
    if target.endswith((":", "…", "...")):
        return f"the answer is cut off: it ends with {target[-1]!r}"
    if any(len(set(words[i : i + STUCK])) == 1 for i in range(len(words) - STUCK + 1)):
        return f"a word stands {STUCK} times in a row"
    return ""


def _duplicates(ctx: Context, lessons: Sequence[Lesson], history: Remembered) -> dict[int, Fate]:
    """The same question again, in this iteration or any before. Of different answers to it the first few stay; beyond
    `answers_per_question`, which is one by default, another answer is a conflict."""
    most, before = ctx.spec.curate.dedup.answers_per_question, len(history.lessons)
    everything = joined(history.lessons, lessons)
    seen: dict[str, dict[str, str]] = defaultdict(dict)
    found = {}
    for place in _read_together(_asked_again(everything, history.signatures), history):
        lesson = everything[place]
        known, answer = seen[normalised(lesson.question)], normalised(lesson.target)
        if place < before:
            known[answer] = lesson.lesson_id
        elif answer in known:
            found[place - before] = Fate("duplicate", f"repeats {known[answer]}")
        elif len(known) >= most:
            found[place - before] = Fate("duplicate", f"{_beyond(most)} {next(iter(known.values()))}")
        else:
            known[answer] = lesson.lesson_id
    return found


def _read_together(places: Sequence[int], history: Remembered) -> Iterator[int]:
    """The places, those of earlier lessons announced."""
    before = len(history.lessons)
    for start in range(0, len(places), AT_A_TIME):
        block = places[start : start + AT_A_TIME]
        _announce(block, history, before)
        yield from block


def _announce(places: Sequence[int], history: Remembered, before: int) -> None:
    if earlier := [place for place in places if place < before]:
        history.ahead(earlier)


def _asked_again(lessons: Sequence[Lesson], known: Signatures) -> list[int]:
    """Places of those whose question stands more than once, in order. What is known of the first ones is not looked for
    again."""
    import numpy as np

    questions = np.zeros(len(lessons), np.uint64)
    questions[: len(known.rows)] = known.rows["question"]
    for place in np.flatnonzero(questions == 0).tolist():
        questions[place] = question_of(lessons[place])
    _, number, counts = np.unique(questions, return_inverse=True, return_counts=True)
    found: list[int] = np.flatnonzero(counts[number] > 1).tolist()
    return found


def question_of(lesson: Lesson) -> int:
    """64 bits that are equal where the questions are the same text."""
    return digest(normalised(lesson.question))


def _beyond(most: int) -> str:
    return "has another answer than" if most == 1 else f"is answer {most + 1} or later to the question of"


def _near(ctx: Context, lessons: Sequence[Lesson], history: Remembered) -> dict[int, Fate]:
    threshold, before = ctx.spec.curate.dedup.near, len(history.lessons)
    if threshold is None:
        return {}
    # Texts are looked at three times: in a file with nothing else in it. Each begins with its question.
    questions = array("q")
    wholes = Shelf(ctx.state, (_whole(lesson, questions) for lesson in lessons))

    def answer(place: int) -> str:
        return history.lessons[place].target if place < before else wholes[place - before][questions[place - before] :]

    found = near_duplicates(
        joined(mapped(history.lessons, lambda lesson: lesson.whole), wholes),
        threshold,
        View(before + len(lessons), answer),
        history.signatures,
        lambda places: _announce(places, history, before),
    )
    pairs = [(later, *pair) for later, pair in found.items() if later >= before]
    everything, like = joined(history.lessons, lessons), _read_together([pair[1] for pair in pairs], history)
    return {
        later - before: Fate("near-duplicate", f"{similarity:.0%} like {everything[earlier].lesson_id}")
        for (later, _, similarity), earlier in zip(pairs, like, strict=True)
    }


def _whole(lesson: Lesson, questions: array[int]) -> str:
    """And where its answer begins, into `questions`."""
    whole = lesson.whole
    questions.append(len(whole) - len(lesson.target))
    return whole


def _semantic(
    ctx: Context, lessons: Sequence[Lesson], history: Remembered
) -> tuple[dict[int, Fate], list[dict[str, Any]]]:
    """And the pairs next to the threshold, for whoever chooses it."""
    everything, before = joined(history.lessons, lessons), len(history.lessons)
    found = meanings(ctx, everything)
    fates = {
        later - before: Fate(
            "near-duplicate",
            f"means what {everything[pair.earlier].lesson_id} means (cosine {pair.similarity:.3f})",
        )
        for later, pair in found.dropped.items()
        if later >= before
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


def _contaminated(ctx: Context, lessons: Sequence[Lesson], history: Remembered) -> dict[int, Fate]:
    del history
    return {
        place: Fate("contaminated", f"{o.how} overlap with {o.suite} item {o.item_id}")
        for place, o in overlaps_with_evals(ctx, lessons).items()
    }


#: What `ablate` calls a stage → its parts.
STAGES: Mapping[str, tuple[Callable[[Context, Sequence[Lesson], Remembered], dict[int, Fate]], ...]] = {
    "length": (_length,),
    "quality": (_quality,),
    "dedup": (_duplicates, _near),
    "decontaminate": (_contaminated,),
}


# -- mix


@dataclass(frozen=True)
class TrainingRows:
    """The training rows. `made`: new lessons and seeds, with their positions; `replayed`: the place among earlier
    lessons and the position of each that is learned again."""

    made: Iterator[dict[str, Any]]
    replayed: Mapping[int, int]


def mixed(ctx: Context, kept: Sequence[Lesson], history: Remembered) -> TrainingRows:
    """New lessons, a share of earlier ones, human seeds; shuffled."""
    mix = ctx.spec.curate.mix
    rng = random.Random(ctx.seed())
    clean = _replayable(ctx, history.lessons) if mix.replay else []
    replay = rng.sample(clean, round(len(clean) * mix.replay))
    seeds = human_seeds(ctx)
    overlaps = overlaps_with_evals(ctx, seeds)
    seeds = [seed for index, seed in enumerate(seeds) if index not in overlaps]
    room = round((len(kept) + len(replay)) * mix.seeds / (1 - mix.seeds)) if mix.seeds < 1 else len(seeds)
    seeds = rng.sample(seeds, min(room, len(seeds)))
    new, earlier = len(kept), len(kept) + len(replay)
    order = list(range(earlier + len(seeds)))
    rng.shuffle(order)
    made = (
        _dataset_row(ctx, position, *((kept[row], "new") if row < new else (seeds[row - earlier], "seed")))
        for position, row in enumerate(order)
        if not new <= row < earlier
    )
    replayed = {replay[row - new]: position for position, row in enumerate(order) if new <= row < earlier}
    return TrainingRows(made, replayed)


def replay(ctx: Context, replayed: Mapping[int, int]) -> None:
    """Learn earlier lessons again: their rows as they are, at other positions. The prompt is the one that this chain
    asks by: another would make all of it anew."""
    curates = ctx.remembered()
    ctx.copy(
        "dataset",
        f"""SELECT ? AS node, again.position, lesson_id, candidate_id, 'replay' AS origin, task, mode, teacher, "row",
                target, prompt
            FROM (SELECT *, row_number() OVER (ORDER BY {_OLDEST}) - 1 AS place FROM dataset
                  WHERE list_contains(?, node) AND origin = 'new') learned
            JOIN (SELECT unnest(?::BIGINT[]) AS place, unnest(?::INTEGER[]) AS position) again USING (place)""",
        [ctx.node.fingerprint, curates, curates, list(replayed), list(replayed.values())],
    )


def _replayable(ctx: Context, history: Sequence[Lesson]) -> list[int]:
    """Places of those that overlap no eval item: suites may have been added since they were learned."""
    condition, parameters = cleared(ctx)
    rows = ctx.query(
        f"""SELECT place FROM (
                SELECT *, row_number() OVER (ORDER BY {_OLDEST}) - 1 AS place
                FROM dataset WHERE list_contains(?, node) AND origin = 'new')
            WHERE NOT {condition} ORDER BY place""",
        [ctx.remembered(), ctx.remembered(), *parameters],
    )
    unseen = [int(row["place"]) for row in rows]
    overlapping = {unseen[index] for index in overlaps_with_evals(ctx, chosen(history, unseen))}
    return [place for place in range(len(history)) if place not in overlapping]


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
