"""One model, or a teacher, on the declared suites: asked in the model worker or at the desk, judged in batches here."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from flywheel.answers import extract_answer, final_answer, ran_on, stopped, without_thoughts
from flywheel.errors import NodeFailed
from flywheel.harness import Answer, Evaluated, EvaluationJob, Item, Measured, SuiteJob
from flywheel.harness.scoring import item_score
from flywheel.harness.suites import sampled
from flywheel.hashing import seed_from
from flywheel.nodes.context import Context, Model, TaskRow, watched
from flywheel.records import TOO_LONG, LessonRequest, Message, Outcome, Reply, Row, Subject, Verdict
from flywheel.records.rows import read_rows, target_text
from flywheel.spec.models import Spec, Suite, Task
from flywheel.store.taxonomy import Failed, Named, name_failures
from flywheel.teachers.faults import ANSWERED
from flywheel.verifiers import outcome_of

#: Of a suite's items one in so many is measured twice, for the run-to-run noise, but at least so many.
NOISE_SHARE, FEWEST_NOISE_ITEMS = 12, 8
#: At most so many; where an answer came out in other words the second time, as many.
NOISE_ITEMS = 64


@dataclass(frozen=True)
class JudgedItem:
    """An item with what the verifiers said of each of its answers."""

    item: Measured
    verdicts: tuple[list[Verdict], ...]
    outcomes: tuple[Outcome, ...]
    score: float | None

    @property
    def outcome(self) -> Outcome:
        if self.score is None:
            return "unknown"
        return "pass" if self.score >= 1 else "fail"

    @property
    def shown(self) -> int:
        """The answer that stands for the item: the first with its outcome."""
        return self.outcomes.index(self.outcome) if self.outcome in self.outcomes else 0


# --- what is asked ----------------------------------------------------------------------------------------------------


def suite_jobs(ctx: Context) -> list[SuiteJob]:
    return [_job(ctx, name, suite) for name, suite in ctx.spec.evals.items()]


def _job(ctx: Context, name: str, suite: Suite) -> SuiteJob:
    if suite.lm_eval is not None:
        return SuiteJob(
            name, lm_eval=suite.lm_eval, metric=suite.metric, limit=suite.limit, num_fewshot=suite.num_fewshot,
            include_path=str(ctx.root / "evals"),
        )  # fmt: skip
    assert suite.task is not None
    assert suite.data is not None
    rows = list({row.row_id: row for row in ctx.task_rows(suite.task, suite.data)}.values())  # each counts once
    chosen = [rows[place] for place in sampled(len(rows), suite.limit, seed_from(ctx.spec.seed, name))]
    examples = _examples(ctx, suite)
    items = tuple(_item(ctx, name, suite, row, examples) for row in chosen)
    stop = tuple(ctx.spec.stop_of(suite))
    return SuiteJob(name, suite.task, items, repeats=suite.repeats, temperature=suite.temperature, stop=stop)


def _examples(ctx: Context, suite: Suite) -> list[tuple[str, str]]:
    """The task's seeds as (prompt, answer), where shots are wanted."""
    if not suite.num_fewshot:
        return []
    assert suite.task is not None
    task = ctx.spec.tasks[suite.task]
    rows = read_rows(ctx.root / task.seeds) if task.seeds else []
    found = [
        (ctx.question(suite.task, {k: v for k, v in row.items() if k != task.target}), target_text(row[task.target]))
        for row in rows
    ]
    if len(found) <= suite.num_fewshot:
        raise NodeFailed(
            f"{suite.num_fewshot} shots need as many seeds and one to spare; tasks.{suite.task}.seeds has "
            f"{len(found)}. Add seeds, or lower num_fewshot."
        )
    return found


def _item(ctx: Context, name: str, suite: Suite, row: TaskRow, examples: Sequence[tuple[str, str]]) -> Item:
    assert suite.task is not None
    prompt = (ctx.prompt if suite.num_fewshot is None else ctx.question)(suite.task, row.inputs)
    others = [example for example in examples if example[0] != prompt]
    rng = random.Random(seed_from(ctx.spec.seed, name, row.row_id))
    shots = tuple(rng.sample(others, suite.num_fewshot or 0)) if others else ()
    return Item(row.row_id, prompt, row.inputs, row.gold, shots)


# --- a model ----------------------------------------------------------------------------------------------------------


def scored(ctx: Context, arm: str, model: Model, suites: Sequence[SuiteJob]) -> tuple[list[dict[str, Any]], Evaluated]:
    """A row of `scores` for each item, and what was measured."""
    measured = answers_of(ctx, arm, model, suites, ctx.asking.batch_size)
    rows = []
    for suite in suites:
        items = _judged(ctx, ctx.spec.evals[suite.name], measured.suites[suite.name])
        rows += _rows(ctx, arm, model.model_id, suite.name, items)
    return rows, measured


def noise(
    ctx: Context, model: Model, suites: Sequence[SuiteJob], rows: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, int]]:
    """The same model again on some items of each suite, in batches of another size: how many items score differently
    (`differ`), and how many are answered in other words (`answers`).

    A few items tell whether answers vary at all, as they do not in float32; how often takes more.
    """
    found = _repeated(ctx, model, [_part(suite, _few(suite), ctx.spec.seed) for suite in suites], rows)
    varying = [suite for suite in suites if found[suite.name]["answers"]]
    if varying:
        found |= _repeated(ctx, model, [_part(suite, NOISE_ITEMS, ctx.spec.seed) for suite in varying], rows)
    return found


def _repeated(
    ctx: Context, model: Model, parts: Sequence[SuiteJob], rows: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, int]]:
    batch_size = max(1, ctx.asking.batch_size // 2) if ctx.asking.batch_size > 1 else 2
    again = answers_of(ctx, "noise", model, parts, batch_size)
    found = {}
    for part in parts:
        before = {row["item_id"]: row for row in rows if row["suite"] == part.name}
        judged = _judged(ctx, ctx.spec.evals[part.name], again.suites[part.name])
        pairs = [(before[item.item.item_id], item) for item in judged]
        found[part.name] = {
            "items": len(pairs),
            "differ": sum(row["score"] != item.score for row, item in pairs),
            "answers": sum(row["answer"] != _text(item) for row, item in pairs),
        }
    return found


def _few(suite: SuiteJob) -> int:
    """Of lm-eval's own suites without a limit the size is not known here."""
    items = len(suite.items) or suite.limit or NOISE_ITEMS * NOISE_SHARE
    return min(NOISE_ITEMS, max(FEWEST_NOISE_ITEMS, items // NOISE_SHARE))


def _part(suite: SuiteJob, most: int, seed: int) -> SuiteJob:
    if suite.lm_eval is not None:
        return replace(suite, limit=min(most, suite.limit or most))
    places = sampled(len(suite.items), most, seed)
    return replace(suite, items=tuple(suite.items[place] for place in places))


def answers_of(ctx: Context, what: str, model: Model, suites: Sequence[SuiteJob], batch_size: int) -> Evaluated:
    """Every item, answered by lm-eval as suites are; of tasks of ours nothing is judged yet. `what`: for progress."""
    job = EvaluationJob(model.arm, replace(ctx.asking_many, batch_size=batch_size), tuple(suites), ctx.seed())
    found: Evaluated = ctx.compute("flywheel.harness:evaluate", job, lambda m: ctx.progress(**m, what=what))
    return found


# --- a teacher --------------------------------------------------------------------------------------------------------


def teachers_scored(ctx: Context, suites: Sequence[SuiteJob]) -> list[dict[str, Any]]:
    """Rows of `scores` for the teachers that a suite names, as arm `teacher:<name>`. Asked greedily, once, whatever the
    suite's `repeats`; an answer that was paid for is not asked for again. Raises what `ctx.ask` raises at a limit."""
    rows = []
    for suite in suites:
        for teacher in ctx.spec.evals[suite.name].teachers:
            items = _judged(ctx, ctx.spec.evals[suite.name], _answered(ctx, teacher, suite), once=True)
            rows += _rows(ctx, f"teacher:{teacher}", teacher, suite.name, items)
    return rows


def _answered(ctx: Context, teacher: str, suite: SuiteJob) -> list[Measured]:
    requests = [_request(ctx, teacher, suite, item) for item in suite.items]
    replies = ctx.ask(requests, ctx.incumbent().arm)
    is_student = ctx.spec.teachers[teacher].is_student
    return [_reply(ctx, suite, item, reply, is_student) for item, reply in zip(suite.items, replies, strict=True)]


def _request(ctx: Context, teacher: str, suite: SuiteJob, item: Item) -> LessonRequest:
    parameters: Row = dict(ctx.teacher_parameters[teacher])
    if ctx.spec.teachers[teacher].is_student:
        parameters["model_id"] = ctx.incumbent().model_id
        if suite.stop:
            parameters["stop"] = list(suite.stop)
    row = {column: item.row.get(column) for column in ctx.columns(suite.task or "")}
    turns = [m for prompt, answer in item.shots for m in (Message("user", prompt), Message("assistant", answer))]
    return LessonRequest(
        teacher=teacher, purpose="answer", task=suite.task or "", mode=None, mode_description="", n=1, failures=(),
        seeds=(), row=row, messages=(*turns, Message("user", item.prompt)), parameters=parameters, sample=0,
        seed=seed_from(ctx.spec.seed, suite.name, item.item_id), temperature=0.0,
    )  # fmt: skip


def _reply(ctx: Context, suite: SuiteJob, item: Item, reply: Reply, is_student: bool) -> Measured:
    """A refused, cut or empty answer is judged as it is, as the student's would be."""
    if reply.status == "failed" and reply.fault not in ANSWERED:
        return Measured(item.item_id, item.row, item.gold, (), problem=f"{reply.teacher}: {reply.fault} {reply.detail}")
    text = (
        reply.text
        if is_student
        else ctx.read(suite.task or "", stopped(without_thoughts(reply.text), suite.stop), item.row)
    )
    # Functions count no tokens.
    answer = Answer(text, reply.output_tokens or None, reply.seconds, reply.fault == "truncated")
    return Measured(item.item_id, item.row, item.gold, (answer,), prompt_tokens=reply.input_tokens or None)


# --- judging ----------------------------------------------------------------------------------------------------------


def _judged(ctx: Context, suite: Suite, items: Sequence[Measured], once: bool = False) -> list[JudgedItem]:
    """Verdicts of every answer, all in one batch; what lm-eval scored itself keeps its score."""
    if suite.task is None:
        return [_by_lm_eval(item) for item in items]
    subjects = [
        Subject(item.item_id if number == 0 else f"{item.item_id}#{number}", suite.task, item.row, a.text, item.gold)
        for item in items
        for number, a in enumerate(item.answers)
    ]
    verdicts = iter(_verdicts(ctx, subjects))
    pass_at = None if once else suite.pass_at
    return [_by_verifiers(item, [next(verdicts) for _ in item.answers], pass_at) for item in items]


def _verdicts(ctx: Context, subjects: Sequence[Subject]) -> list[list[Verdict]]:
    return watched(ctx, ctx.judge(subjects), len(subjects)) if subjects else []


def _by_lm_eval(item: Measured) -> JudgedItem:
    if item.score is None:
        return _not_asked(item)
    outcome: Outcome = "pass" if item.score >= 1 else "fail"
    return JudgedItem(item, ([],), (outcome,), item.score)


def _by_verifiers(item: Measured, verdicts: Sequence[list[Verdict]], pass_at: int | None) -> JudgedItem:
    if not verdicts:
        return _not_asked(item)
    outcomes = tuple(outcome_of(found) for found in verdicts)
    return JudgedItem(item, tuple(verdicts), outcomes, item_score(outcomes, pass_at))


def _not_asked(item: Measured) -> JudgedItem:
    verdict = Verdict(item.item_id, TOO_LONG if item.prompt_tokens else "teacher", "1", "unknown", item.problem)
    return JudgedItem(item, ([verdict],), ("unknown",), None)


# --- rows -------------------------------------------------------------------------------------------------------------


def _rows(ctx: Context, arm: str, model_id: str, name: str, items: Sequence[JudgedItem]) -> list[dict[str, Any]]:
    suite = ctx.spec.evals[name]
    severity = {mode.name: mode.severity for mode in ctx.spec.taxonomy}
    return [
        {
            "node": ctx.node.fingerprint, "suite": name, "arm": arm, "model_id": model_id,
            "item_id": item.item.item_id, "row": item.item.row, "gold": item.item.gold, "answer": _text(item),
            "outcome": item.outcome, "score": item.score, "mode": mode, "severity": severity.get(mode or ""),
            "verdicts": [asdict(verdict) | {"seconds": 0.0} for verdict in item.verdicts[item.shown]],
            "slices": {column: _slice(ctx, suite, item, column) for column in suite.slices},
            "cluster": item.item.row.get("cluster"), "prompt_tokens": item.item.prompt_tokens,
            "samples": _samples(item), **_measures(item.item.answers),
        }
        for item, mode in zip(items, _modes(ctx, suite, items), strict=True)
    ]  # fmt: skip


def _slice(ctx: Context, suite: Suite, item: JudgedItem, column: str) -> Any:
    """The item's value in a column; of the task's own target, which no row that is asked holds, the right answer."""
    of_target = suite.task is not None and column == ctx.spec.tasks[suite.task].target
    return item.item.gold if of_target else item.item.row.get(column)


def _text(item: JudgedItem) -> str:
    return item.item.answers[item.shown].text if item.item.answers else ""


def _samples(item: JudgedItem) -> list[dict[str, str]] | None:
    """Every answer with its outcome, where there are several."""
    answers = item.item.answers
    if len(answers) < 2:
        return None
    return [{"answer": a.text, "outcome": outcome} for a, outcome in zip(answers, item.outcomes, strict=True)]


def _measures(answers: Sequence[Answer]) -> dict[str, Any]:
    """Of the item: mean length and time of its answers, and whether any was cut."""
    tokens = [a.tokens for a in answers if a.tokens is not None]
    seconds = [a.seconds for a in answers if a.seconds is not None]
    cut = [a.truncated for a in answers if a.truncated is not None]
    return {
        "tokens": round(fmean(tokens)) if tokens else None,
        "seconds": fmean(seconds) if seconds else None,
        "truncated": any(cut) if cut else None,
    }


def _modes(ctx: Context, suite: Suite, items: Sequence[JudgedItem]) -> list[str | None]:
    """The error mode of each failed item, None for the others."""
    if suite.task is None:
        return [None] * len(items)
    wrong = [item for item in items if item.outcome == "fail"]
    failed = [Failed(i.item.row, _text(i), i.item.gold, i.verdicts[i.shown]) for i in wrong]
    names = _named(ctx, suite, failed).modes
    by_item = {i.item.item_id: name for i, name in zip(wrong, names, strict=True)}
    return [by_item.get(item.item.item_id) for item in items]


def run_on(rows: Sequence[Mapping[str, Any]], suites: Mapping[str, Suite], tasks: Mapping[str, Task]) -> Row:
    """Suite → arm → answers that go on with a next question after their final answer; suites without any left out."""
    found: dict[str, Counter[str]] = {}
    for row in rows:
        task = suites[row["suite"]].task
        pattern = tasks[task].final if task is not None else None
        said = [sample["answer"] for sample in row["samples"] or ()] or [row["answer"]]
        if number := sum(ran_on(text, pattern) for text in said):
            found.setdefault(row["suite"], Counter())[row["arm"]] += number
    return {suite: dict(sorted(arms.items())) for suite, arms in sorted(found.items())}


def thoughts(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, int]]]:
    """Suite → arm → its answers, how many of them hold a thought, and of those the median length of the thought in
    characters; suites in which no arm thinks are left out."""
    lengths: dict[str, dict[str, list[int]]] = {}
    for row in rows:
        said = [sample["answer"] for sample in row["samples"] or ()] or [row["answer"]]
        of_arm = lengths.setdefault(row["suite"], {}).setdefault(row["arm"], [])
        of_arm += [len(text) - len(without_thoughts(text)) for text in said if text is not None]
    return {
        suite: {arm: _thinking(found) for arm, found in sorted(arms.items())}
        for suite, arms in sorted(lengths.items())
        if any(map(any, arms.values()))
    }


def _thinking(lengths: Sequence[int]) -> dict[str, int]:
    some = [length for length in lengths if length]
    return {"answers": len(lengths), "thinking": len(some), "characters": round(median(some)) if some else 0}


def label_scores(
    rows: Sequence[Mapping[str, Any]], spec: Spec, root: Path
) -> dict[str, dict[str, dict[str, dict[str, int]]]]:
    """Suite → arm → label → how many items have it (`gold`), were given it (`said`), both (`right`): for suites whose
    answers are sets of labels. Of several answers to an item the one that is shown counts."""
    found: dict[str, dict[str, dict[str, dict[str, int]]]] = {}
    for name, suite in spec.evals.items():
        task = spec.tasks[suite.task] if suite.task is not None else None
        sets = [v for v in (spec.verifiers[n] for n in task.verify) if v.says_sets] if task is not None else []
        if task is not None and sets:
            labels = sets[0].labels_in(root)
            arms: dict[str, dict[str, dict[str, int]]] = {}
            for row in rows:
                if row["suite"] == name and row["outcome"] != "unknown":
                    said, gold = (
                        labels.many(extract_answer(final_answer(row[column], task.final), "label"))
                        for column in ("answer", "gold")
                    )
                    _count_labels(arms.setdefault(row["arm"], {}), said, gold)
            found[name] = arms
    return found


def _count_labels(counts: dict[str, dict[str, int]], said: frozenset[str], gold: frozenset[str]) -> None:
    for label in sorted(said | gold):
        known = counts.setdefault(label, {"gold": 0, "said": 0, "right": 0})
        known["gold"] += label in gold
        known["said"] += label in said
        known["right"] += label in gold & said


def _named(ctx: Context, suite: Suite, failed: Sequence[Failed]) -> Named:
    assert suite.task is not None
    like = ctx.seen(suite.task, suite.data) if failed and suite.data is not None else []
    return name_failures(failed, ctx.spec.modes_of(suite.task), ctx.spec.tasks[suite.task].verify, like)


def undecided(ctx: Context, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Predicates that could not be computed for some wrong answers of `rows`, all arms together, by suite and mode."""
    found = {}
    for name, suite in ctx.spec.evals.items():
        wrong = [row for row in rows if row["suite"] == name and row["outcome"] == "fail"]
        if suite.task is None or not wrong:
            continue
        failed = [Failed(r["row"], r["answer"], r["gold"], [Verdict(**v) for v in r["verdicts"] or ()]) for r in wrong]
        found.update({f"{name}: {mode}": said for mode, said in _named(ctx, suite, failed).summary().items()})
    return found


def too_long(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Items by suite whose prompt does not fit the model, counted once for all arms."""
    items = {
        (row["suite"], row["item_id"]) for row in rows if any(v["verifier"] == TOO_LONG for v in row["verdicts"] or ())
    }
    return dict(sorted(Counter(suite for suite, _ in items).items()))
