"""The report in words: safe text, numbers, and the sentences that a reader in a hurry reads."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any
from urllib.parse import urlencode

from flywheel.records.decision import RuleResult
from flywheel.report.model import (
    Banner,
    Change,
    Funnel,
    ItemPast,
    Mode,
    Modes,
    Outcome,
    Rate,
    Report,
    Score,
    Scores,
    ShadowReplay,
    Strategies,
    Training,
)
from flywheel.stats import Needed
from flywheel.text import duration, plural, printable, usd

#: Slices that the banner names as the weakest.
SHOWN_WEAKEST = 3

TITLES: dict[Outcome, str] = {
    "promote": "Promote",
    "reject": "Do not promote",
    "inconclusive": "Inconclusive: do not promote",
    "untrained": "Nothing was trained",
}

#: Characters that neither UTF-8 nor XML can carry; line separators that scripts take for the end of a line.
_UNCARRIED = {**dict.fromkeys((*range(55296, 57344), 65534, 65535), "�"), 0x2028: r"\u2028", 0x2029: r"\u2029"}


def shown(text: str, limit: int = 2_000) -> str:
    """Text that a model wrote, cut and made safe to show; lone surrogates and non-characters are replaced."""
    head = printable(text[:limit].translate(_UNCARRIED), limit)
    return head if len(text) <= limit else f"{head}… ({len(text):,} characters)"


def objections(verdicts: Iterable[Mapping[str, Any]]) -> str:
    """What verifiers said against an answer, or that they could not say: "parses, same_rows: unknown column"."""
    said: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict["outcome"] != "pass":
            said.setdefault(verdict["reason"] or verdict["outcome"], []).append(verdict["verifier"])
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in said.items())


#: Words, blanks and single signs: what a difference is shown by.
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")


def differing(text: str, other: str) -> list[tuple[str, bool]]:
    """`text` in pieces, each with whether `other` lacks it there."""
    mine, theirs = _TOKEN.findall(text), _TOKEN.findall(other)
    matcher = SequenceMatcher(None, mine, theirs, autojunk=False)
    pieces = [(op != "equal", "".join(mine[i:j])) for op, i, j, _, _ in matcher.get_opcodes()]
    return [(piece, differs) for differs, piece in pieces if piece]


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    if difference is None:
        return "–"
    value = round(100 * difference, 1)
    return f"{_sign(value)}{abs(value):.1f}"


def _sign(value: float) -> str:
    return "+" if value > 0 else "\u2212" if value < 0 else "±"


def interval(of: Rate | Change | None) -> str:
    if of is None:
        return ""
    if isinstance(of, Rate):
        return f"{100 * of.low:.1f} to {100 * of.high:.1f}%"
    return f"{points(of.low)} to {points(of.high)}"


def beside_people(accepted: int, paid: float, human: float, minutes: float | None = None) -> str:
    """What accepted lessons cost, beside what people would be paid for as many and how long they would work; `human`:
    dollars an example, `minutes`: of work. Nothing is said of prices where nothing was paid, nor of hours without
    `minutes`; where neither is left, the text is empty."""
    if not accepted or (not paid and minutes is None):
        return ""
    lessons = plural(accepted, "accepted lesson")
    said = []
    if paid:
        lessons += f" for {usd(paid)}, {usd(paid / accepted)} each"
        said.append(f"people at {usd(human)} each: {usd(accepted * human)}")
    if minutes is not None:
        said.append(f"at {minutes:,g} min of work each: {accepted * minutes / 60:,.1f} hours of people saved")
    return f"{lessons}; {'; '.join(said)}."


def lessons_beside_people(strategies: Strategies) -> str:
    """The same of an iteration's lessons; empty in reports from before there was a price of people."""
    human = strategies.human_usd_per_example
    if human is None:
        return ""
    return beside_people(strategies.accepted, strategies.usd, human, strategies.human_minutes_per_example)


def measured(value: float | None, digits: int = 1) -> str:
    return "not measured" if value is None else f"{value:,.{digits}f}"


def answer_time(value: float | None) -> str:
    return "not measured" if value is None else f"{1000 * value:,.0f} ms" if value < 10 else duration(value)


def seconds(value: float | None) -> str:
    return "–" if value is None else duration(value)


def count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


# --- the verdict --------------------------------------------------------------------------------------------


def headline(
    outcome: Outcome,
    target: Score | None,
    rules: tuple[RuleResult, ...],
    blocked: tuple[str, ...],
    why_untrained: str,
    waits: bool = False,
) -> str:
    """One sentence: what was decided, and on what. `blocked`: preconditions that did not hold; `waits`: a person has
    to say yes too."""
    if outcome == "untrained":
        return f"No model was trained in this iteration, so nothing changes: {why_untrained}."
    said = f"{_measured(target)} " if target else ""
    if outcome == "promote":
        then = "the new model takes over once a person approves it" if waits else "the new model may take over"
        still = f" It still gets most of {target.suite} wrong." if target and mostly_wrong(target) else ""
        held = "The gate’s one rule holds" if len(rules) == 1 else "Every rule of the gate holds"
        return f"{said}{held}: {then}.{still}"
    return f"{said}{_unmet(rules, blocked)} The incumbent stays."


def _measured(target: Score) -> str:
    if target.candidate is None or target.incumbent is None or target.change is None:
        return f"There is no comparison on {target.suite}."
    return (
        f"The new model gets {percent(target.candidate.value)} of {target.suite} right, the incumbent "
        f"{percent(target.incumbent.value)}: it fixed {plural(target.fixed, 'item')} "
        f"and broke {target.broken:,}."
    )


def mostly_wrong(score: Score) -> bool:
    """Whether the candidate gets less than half of a suite right."""
    return score.candidate is not None and score.candidate.value < 0.5


def _unmet(rules: tuple[RuleResult, ...], blocked: tuple[str, ...]) -> str:
    failing = [demand(rule) for rule in rules if rule.outcome == "fails"]
    unsure = [demand(rule) for rule in rules if rule.outcome == "undecided"]
    parts = []
    if blocked:
        parts.append(f"Blocked, because this does not hold: {'; '.join(shown(name, 200) for name in blocked)}.")
    if failing:
        parts.append(f"Asked for and not met: {'; '.join(failing)}.")
    if unsure:
        parts.append(f"Asked for and not proven: {'; '.join(unsure)}.")
    return " ".join(parts) or "The gate did not agree."


def why_untrained(modes: Modes, funnel: Funnel) -> str:
    """Which step left nothing to train on."""
    rows = {stage.name: stage.rows for stage in funnel.stages}
    if modes.probes and not modes.probe_failures and not modes.traffic_failures and not rows["generated"]:
        return f"the student failed none of its {plural(modes.probes, 'probe')}, so no lessons were bought"
    if not rows["generated"]:
        return "no teacher proposed a lesson"
    if not rows["fitting"]:
        return f"of {plural(rows['generated'], 'candidate')} none was within the generators' rules"
    if not rows["verified"]:
        return f"of {plural(rows['generated'], 'candidate')} none passed its verifiers"
    if not rows["chosen"]:
        return f"of {plural(rows['verified'], 'verified lesson')} all were too easy"
    if not rows["curated"]:
        return f"of {plural(rows['verified'], 'verified lesson')} none survived curation"
    return "the training set was empty"


def modes_in_words(modes: Modes) -> str:
    """How many modes fell and rose beyond chance, and which rose."""
    moved = [mode for mode in modes.rows if mode.change is not None]
    if not moved:
        return "There is no rate after: no candidate was evaluated."
    fell = [m.name for m in moved if m.change and m.change.direction == "down"]
    rose = [m.name for m in moved if m.change and m.change.direction == "up" and not m.took_over]
    worse = f"Got worse beyond chance: {', '.join(rose)}." if rose else "None got worse beyond chance."
    worse += "".join(f" Errors moved on to {took_over(m)}." for m in moved if m.took_over)
    named = f": {', '.join(fell)}" if fell else ""
    better = f"{len(fell)} of {plural(len(moved), 'error mode')} fell beyond chance{named}."
    return f"{better} {worse}"


def took_over(mode: Mode) -> str:
    """What the items were before that a mode has now and had not: "wrong_value (+4.0): of 20 items that came to it 18
    were wrong in another way before, 2 were right"."""
    came = mode.from_wrong + mode.from_right
    rise = f" ({points(mode.change.value)})" if mode.change else ""
    return (
        f"{mode.name}{rise}: of {plural(came, 'item')} that came to it {mode.from_wrong:,} were wrong in another way "
        f"before, {mode.from_right:,} were right"
    )


def demand(rule: RuleResult) -> str:
    """What a rule asks for, in words: "holdout gains at least 2.0 points"."""
    what = f"{rule.mode} on {rule.suite}" if rule.mode else rule.suite
    return f"{what} {threshold(rule)}"


def threshold(rule: RuleResult) -> str:
    """A rule's threshold as words and number."""
    if rule.comparison == "at_least":
        return f"reaches {percent(rule.threshold)}"
    if rule.comparison == "at_most":
        return f"{measure(rule)} at most {_amount(rule, rule.threshold)}"
    if rule.comparison == "falls_by":
        return f"falls by at least {percent(rule.threshold)} of what it was"
    bound = f"{100 * rule.threshold:.1f} points"
    return f"gains at least {bound}" if rule.comparison == "better_by" else f"loses less than {bound}"


#: Measures of an answer that are shares; the others are means in their unit.
_SHARES = ("refusals", "truncated")


def measure(rule: RuleResult) -> str:
    """What an `at_most` rule measures: the second word of "holdout tokens at_most 40"."""
    return next(iter(rule.label.split()[1:2]), "") if rule.comparison == "at_most" else ""


def _amount(rule: RuleResult, value: float | None) -> str:
    return percent(value) if value is None or measure(rule) in _SHARES else f"{value:.3g}"


def arm_value(rule: RuleResult, value: float | None) -> str:
    """What an arm came to under a rule: a share, or for `at_most` a mean in its unit."""
    return _amount(rule, value) if rule.comparison == "at_most" else percent(value)


def observed(rule: RuleResult) -> str:
    """`at_least` and `falls_by` observe a share, `at_most` a mean; the others a difference in points."""
    return _as_observed(rule, rule.observed)


def observed_interval(rule: RuleResult) -> str:
    if rule.low is None and rule.high is None:
        return "–"
    return f"{_as_observed(rule, rule.low)} to {_as_observed(rule, rule.high)}"


def _as_observed(rule: RuleResult, value: float | None) -> str:
    if rule.comparison == "at_most":
        return _amount(rule, value)
    return percent(value) if rule.comparison in ("at_least", "falls_by") else points(value)


def standing(verdict: Banner) -> str:
    """The verdict in a few words; a promotion of a model that is mostly wrong says so."""
    title = TITLES[verdict.outcome]
    return f"{title}: better, and still mostly wrong" if verdict.mostly_wrong else title


def tone(verdict: Banner) -> str:
    """The banner's class: a promotion that is no triumph is not green."""
    return f"{verdict.outcome} short" if verdict.mostly_wrong else verdict.outcome


def score_name(score: Score) -> str:
    """A suite, or a slice of one: "holdout, kind: join"."""
    return f"{score.suite}, {score.column}: {score.slice}" if score.column else score.suite


def weakest(scores: Scores) -> list[Score]:
    """Slices of the target suites that the candidate does worse on than on its suite, beyond chance: the lowest three.
    A slice that was wrong before and is wrong now got no worse, and nobody would hear of it."""
    whole = {
        score.suite: score.candidate.value for score in scores.suites if score.role == "target" and score.candidate
    }
    below = [
        (score.candidate.value, score)
        for score in scores.slices
        if score.candidate and score.suite in whole and score.candidate.high < whole[score.suite]
    ]
    return [score for _, score in sorted(below, key=lambda pair: (pair[0], score_name(pair[1])))[:SHOWN_WEAKEST]]


def far_below(scores: Scores) -> str:
    """The weakest slices in a sentence; empty where there are none."""
    named = [
        f"{score_name(score)} {percent(score.candidate.value)} of {plural(score.items, 'item')}"
        for score in weakest(scores)
        if score.candidate
    ]
    return f"Far below the rest: {'; '.join(named)}." if named else ""


def slice_names(scores: Scores) -> list[str]:
    """As an item names them, each once."""
    return list(dict.fromkeys(f"{score.column}: {score.slice}" for score in scores.slices))


def items_of(score: Score) -> str:
    """Which items a suite or a slice has, as `filtered` writes it."""
    return filtered(suite=score.suite, slice=f"{score.column}: {score.slice}" if score.column else "")


def filtered(**parts: str) -> str:
    """The part of an address that says which items are meant: `mode=no_parse&movement=broken`."""
    return urlencode({name: value for name, value in parts.items() if value})


def taught(mode: Mode) -> str:
    """From an error mode's failures to what became of it."""
    after = f" → {percent(mode.after.value)}" if mode.after else ""
    rates = f"; its rate {percent(mode.before.value)}{after}" if mode.before else ""
    live = f" and {percent(mode.in_traffic.value)} of traffic" if mode.in_traffic else ""
    return (
        f"{plural(mode.probe_failures, 'failure')} among the probes{live} → {plural(mode.budget, 'lesson')} bought → "
        f"{mode.candidates:,} candidates → {mode.accepted:,} accepted → {mode.trained:,} trained on{rates}"
    )


@dataclass(frozen=True)
class ModeLife:
    """What the page tells of an error mode beside its items. `place`: where it is followed; empty where it is not."""

    place: str
    taught: str


def lives(report: Report) -> dict[str, ModeLife]:
    """Error mode → its life. Names may be any text, so places are numbers."""
    places = {one.mode: f"mode-{number}" for number, one in enumerate(report.followed.rows, start=1)}
    return {mode.name: ModeLife(places.get(mode.name, ""), taught(mode)) for mode in report.modes.rows}


#: What became of a candidate.
FATES = {
    "trained": "trained on",
    "kept": "kept, not in the mix",
    "dropped": "dropped in curation",
    "spare": "spare",
    "fail": "fail",
    "unknown": "unknown",
    "filtered": "against the rules of its generator",
    "unparsed": "unreadable",
}


def went(past: ItemPast) -> str:
    """An item in one iteration: "fail (wrong_value) → pass"."""
    arms = ((past.before, past.mode_before), (past.after, past.mode_after))
    return " → ".join(f"{outcome} ({mode})" if mode else outcome for outcome, mode in arms if outcome)


def lessons_needed(side: str, lessons: Sequence[float], needed: Needed, other: str, end: float) -> str:
    """How many of its `lessons` (rising: what its trainings learned from) a side needs for what the other one has with
    all of its own, which are `end`."""
    least, most = lessons[0], lessons[-1]
    what = f"the {percent(needed.score)} of {end:,.0f} {other} lessons"
    limits = f"95% interval {_times(needed.low, end, least, most)} to {_times(needed.high, end, least, most)}"
    if math.isinf(needed.lessons):
        return f"{side}: {what} is not reached within {most:,.0f} lessons; {limits} times as many"
    fewer = " or fewer" if needed.lessons <= least else ""
    times = f"{needed.lessons / end:.2f}"
    return f"{side}: {what} takes {needed.lessons:,.0f} lessons{fewer}, {times} times as many ({limits})"


def _times(lessons: float, end: float, least: float, most: float) -> str:
    """As a part of the other side's lessons; beyond the sizes that were trained nothing is known."""
    if math.isinf(lessons):
        return f"over {most / end:.2f}"
    return f"{lessons / end:.2f}{' or less' if lessons <= least else ''}"


_JUDGES = {
    "correction": "with a person's correction", "rating": "by a person's rating",
    "verifiers": "by verifiers that need no known answer",
}  # fmt: skip


def replayed(shadow: ShadowReplay) -> str:
    """What a promotion changes in production."""
    if not shadow.rows:
        kept = f" ({plural(shadow.left_out, 'row')} kept for it)" if shadow.left_out else ""
        return f"{shadow.task}: no row of production was replayed: {shadow.why}{kept}."
    said = (
        f"{shadow.task}: {plural(shadow.rows, 'row')} of production that no lesson was made from, answered by both "
        f"models: {shadow.same:,} in the same words, {shadow.changed:,} in others."
    )
    if shadow.change is None:
        return f"{said} Nobody can say which are right."
    judges = ", ".join(f"{count:,} {_JUDGES[name]}" for name, count in shadow.judged_by)
    return (
        f"{said} Of {shadow.judged:,} that can be judged ({judges}) {shadow.fixed:,} become right and "
        f"{shadow.broken:,} wrong: {percent(shadow.incumbent.value if shadow.incumbent else None)} → "
        f"{percent(shadow.candidate.value if shadow.candidate else None)}, {points(shadow.change.value)} points "
        f"({interval(shadow.change)})."
    )


# --- what the page's charts and tables ask for --------------------------------------------------------------


def bounds(modes: Modes) -> list[float]:
    """Upper ends of every mode's intervals: what the axis must hold."""
    return [rate.high for mode in modes.rows for rate in (mode.before, mode.after) if rate]


def largest_mix(training: Training) -> int:
    return max((row.new + row.replay + row.seed for row in training.mix), default=1)


def worst_first(scores: Scores) -> list[Score]:
    """Suites that are no target and that a candidate answered, the largest loss first."""
    guards = [(s.change.value, s) for s in scores.suites if s.role != "target" and s.change]
    return [score for _, score in sorted(guards, key=lambda pair: (pair[0], pair[1].suite))]
