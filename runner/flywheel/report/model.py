"""Everything a report page shows, as one frozen, versioned value: `report.json`.

Rates and scores are shares in [0, 1]; differences are candidate minus incumbent; money is in US dollars and
time in seconds. Every figure carries the SQL that gave it. `None` always means "not measured", never zero.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from flywheel.records.decision import Precondition, RuleResult

Outcome = Literal["promote", "reject", "inconclusive", "untrained"]
"""What the gate said; "untrained" where the iteration made no candidate model."""

Movement = Literal["fixed", "broken", "still_wrong", "still_right"]

Area = Literal["start", "spec", "data", "teachers", "lessons", "versions"]
"""What a difference from before is about; "start" is the model that the iteration began with."""


class ReportPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Rate(ReportPart):
    """A share with its 95% Wilson interval."""

    value: float
    low: float
    high: float


class Change(ReportPart):
    """A paired difference, candidate minus incumbent, with its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def direction(self) -> Literal["up", "down", "unclear"]:
        """Up or down only where the whole interval is on that side of zero."""
        if self.low > 0:
            return "up"
        return "down" if self.high < 0 else "unclear"


class Worse(ReportPart):
    """A suite, a slice or an error mode that got worse beyond chance."""

    name: str
    change: Change
    items: str
    """Which items it is about, as the page's address has it: `suite=holdout&slice=kind%3A+join`."""


class Staged(ReportPart):
    """How far a suite was evaluated: `used` of `planned` items, at the end of one of so many stages."""

    suite: str
    used: int
    planned: int
    stage: int
    stages: int


class Banner(ReportPart):
    outcome: Outcome
    headline: str
    """One sentence for a reader who reads nothing else."""
    explanation: str
    """The gate's own words."""
    rules: tuple[RuleResult, ...]
    preconditions: tuple[Precondition, ...]
    incumbent_id: str
    candidate_id: str
    look: int | None
    """How many times the holdout has judged a candidate, this time included."""
    stages: tuple[Staged, ...] = ()
    """Suites of which the evaluation ends when their rules are decided."""
    mostly_wrong: tuple[str, ...] = ()
    """Target suites of which the model that takes over still gets less than half right."""
    worse: tuple[Worse, ...] = ()
    """Suites, slices and error modes that got worse beyond chance, each judged alone at 95%."""
    took_over: tuple[str, ...] = ()
    """Error modes that rose beyond chance because errors moved on to them, each with what its items were before."""
    compared: int = 0
    """Suites, slices and error modes that were looked at for that."""
    query: str


class Note(ReportPart):
    """Something that differs from before."""

    area: Area
    text: str


class Changes(ReportPart):
    """What is different from the iteration before, and from the last time this one was run under another spec."""

    notes: tuple[Note, ...]
    rows_added: int
    rows_removed: int
    """Training rows that the iteration before did not have, or had; all are added in the first."""
    query: str


class Approval(ReportPart):
    """A person's word on what the gate promoted."""

    person: str
    verdict: str
    note: str
    at: str


class Approvals(ReportPart):
    """`needed` where the spec asks for a person; `rows` as they were when the report was written, oldest first."""

    needed: bool
    rows: tuple[Approval, ...]
    query: str

    @property
    def state(self) -> str:
        """In words, for a promoted candidate; empty where nobody was asked."""
        if not self.rows:
            return "waits for a person" if self.needed else ""
        last = self.rows[-1]
        return f"{'approved' if last.verdict == 'approve' else 'rejected'} by {last.person}"


class LiveTested(ReportPart):
    """How a promotion fared beside the former model on live conversations (`deploy.canary`)."""

    model_id: str
    former_id: str
    verdict: str
    """`stays` or `rolled back`."""
    at: str
    found: str
    """Conversations, how many each model lost, and the interval of the difference, in points."""


class ShadowExample(ReportPart):
    """A row of production that the models answer otherwise; personal data were replaced when it came in."""

    question: str
    gold: str
    """What a person corrected the answer to; empty where nobody did."""
    incumbent_answer: str
    candidate_answer: str
    incumbent_outcome: Literal["pass", "fail", "unknown"]
    candidate_outcome: Literal["pass", "fail", "unknown"]


class ShadowReplay(ReportPart):
    """Rows of one task that production was asked, answered by both models before a promotion (`traffic.shadow`). None
    of them was learned from, and no rule of the gate reads it."""

    task: str
    rows: int
    questions: int = 0
    """That differ: what several asked is answered once, and counts as often as it was asked."""
    left_out: int
    """Kept for the replay, and not replayed: they overlap training rows, or `why` says it."""
    why: str = ""
    """Why there are no rows."""
    same: int = 0
    """Answers that are the same to the letter."""
    as_logged: int = 0
    """Answers of the incumbent that are what production answered."""
    judged: int = 0
    """Rows on which both answers could be judged; rates are over them."""
    judged_by: tuple[tuple[str, int], ...] = ()
    """By the strongest that spoke: `correction` (with it as the right answer, all verifiers), `rating` (of the same
    answer), `verifiers` (those that need no known answer)."""
    incumbent: Rate | None = None
    candidate: Rate | None = None
    fixed: int = 0
    broken: int = 0
    change: Change | None = None
    examples: tuple[ShadowExample, ...] = ()
    query: str
    examples_query: str

    @property
    def changed(self) -> int:
        return self.rows - self.same


class Score(ReportPart):
    """One suite, or one slice of it, on the items that both arms could be judged on."""

    suite: str
    role: str
    column: str
    """Slice column; empty for the whole suite."""
    slice: str
    items: int
    unknown: int
    """Items left out because they are unknown, in either arm."""
    incumbent: Rate | None
    candidate: Rate | None
    change: Change | None
    fixed: int
    broken: int
    still_right: int
    still_wrong: int


class ArmAnswers(ReportPart):
    """What one arm's answers to a suite were like: incumbent, candidate, or `teacher:<name>` (never gated)."""

    suite: str
    arm: str
    items: int
    unknown: int
    score: Rate | None
    tokens: float | None
    """Mean length of an answer."""
    seconds: float | None
    """Mean share of an answer in the time of its batch."""
    truncated: float | None
    """Share of answers cut at the student's limit."""


class Scores(ReportPart):
    suites: tuple[Score, ...]
    slices: tuple[Score, ...]
    slices_left_out: int
    """Slices with the fewest items, for which a page has no room; the query gives them."""
    arms: tuple[ArmAnswers, ...]
    query: str
    slices_query: str
    arms_query: str


class Mode(ReportPart):
    """One error mode, from its rate before to its rate after (on the target suites' items)."""

    name: str
    severity: str
    description: str
    task: str = ""
    """The only one whose failures it names; empty where it names those of all."""
    items: int = 0
    """Of the target suites, those that could have it: of its task."""
    before: Rate | None
    probe_failures: int
    in_traffic: Rate | None = None
    """Of the answers of production that could be judged; a wrong one that nobody noticed counts as none."""
    budget: int
    """Lessons that its failures bought."""
    candidates: int
    accepted: int
    trained: int
    after: Rate | None
    change: Change | None
    from_wrong: int = 0
    """Items that have it now and were wrong in another way before."""
    from_right: int = 0
    """Items that have it now and were right before."""
    harm: Change | None = None
    """Of all items, those that were right and have it now, less those that had it and are right now."""

    @property
    def took_over(self) -> bool:
        """It rose beyond chance, and not because right answers were lost: errors moved on to it from other modes."""
        rose = self.change is not None and self.change.direction == "up"
        return rose and self.from_wrong > 0 and (self.harm is None or self.harm.direction != "up")


class Modes(ReportPart):
    rows: tuple[Mode, ...]
    items: int
    """Items of the target suites that the rates are over."""
    suites: tuple[str, ...]
    probes: int
    probe_failures: int
    traffic: int = 0
    """Answers of production that could be judged."""
    traffic_failures: int = 0
    undecided: tuple[str, ...] = ()
    """Of modes whose predicate could not be computed for some wrong answers: where, which, how many, and why."""
    cannot_pay: tuple[str, ...] = ()
    """Where lessons that follow the errors can hardly beat as many drawn without looking, with the figures."""
    rates_query: str
    failures_query: str
    traffic_query: str = ""
    budget_query: str
    lessons_query: str


class Objection(ReportPart):
    """What one verifier said of an answer or a candidate."""

    verifier: str
    outcome: str
    reason: str


class WrongProbe(ReportPart):
    """A wrong answer to a probe, of which lessons were asked; texts are cut and made safe to show."""

    answer_id: str
    failure_id: str
    question: str
    gold: str
    answer: str
    verdicts: tuple[Objection, ...]


class Bought(ReportPart):
    """A candidate that was asked for because of failures, and what became of it."""

    candidate_id: str
    teacher: str
    question: str
    target: str
    verdicts: tuple[Objection, ...]
    fate: str
    """trained; kept or dropped in curation; by its verifiers spare, fail, unknown; before them filtered or unparsed."""
    why: str
    """What dropped it, or made it spare or unfit; empty for one that was kept."""
    failures: tuple[str, ...]
    """Ids of the failures that its teacher was shown."""


class ModeTeacher(ReportPart):
    """What a teacher's lessons for one error mode came to; `usd`: of the calls that asked for them, failed ones too."""

    teacher: str
    candidates: int
    accepted: int
    trained: int
    usd: float


class Followed(ReportPart):
    """One error mode, from failure over lesson and verdict to the training rows."""

    mode: str
    teachers: tuple[ModeTeacher, ...]
    fates: tuple[tuple[str, int], ...]
    """All of its candidates by what became of them."""
    failures: tuple[WrongProbe, ...]
    lessons: tuple[Bought, ...]


class Followings(ReportPart):
    """Of the error modes with the most failures and lessons: a few failures, and of each fate a few lessons."""

    rows: tuple[Followed, ...] = ()
    left_out: int = 0
    """Modes for which the page has no room."""
    failures_query: str = ""
    lessons_query: str = ""
    verdicts_query: str = ""
    teachers_query: str = ""
    calls_query: str = ""


class ItemPast(ReportPart):
    """How one iteration's models did on the item: outcomes, and error modes where it was answered wrong."""

    iteration: int
    before: str
    mode_before: str
    after: str
    """Empty where the iteration had no candidate."""
    mode_after: str


class Example(ReportPart):
    """One item as both arms answered it; texts are cut and made safe to show."""

    suite: str
    item_id: str
    movement: Movement
    question: str
    gold: str
    incumbent_answer: str
    candidate_answer: str
    incumbent_mode: str
    candidate_mode: str
    incumbent_reason: str = ""
    candidate_reason: str = ""
    """What the verifiers said against the answer."""
    past: tuple[ItemPast, ...] = ()
    """Of every iteration so far, this one included."""


class Examples(ReportPart):
    rows: tuple[Example, ...]
    query: str


class Explored(ReportPart):
    """All items of all suites: what the page lets a reader go through, and the data files beside it hold."""

    total: int = 0
    query: str = ""
    targets: tuple[tuple[str, str], ...] = ()
    """Suite and column of its rows that holds the right answer: it is no part of the question."""


class ItemAnswer(ReportPart):
    """What one model answered; texts are cut and made safe to show."""

    outcome: Literal["pass", "fail", "unknown"]
    answer: str
    mode: str
    reason: str


class ShownItem(ReportPart):
    """One item of a suite, as both models answered it. `second` is None where there is no second model."""

    suite: str
    item_id: str
    movement: Movement | Literal["unknown", ""]
    """unknown: of one model or the other it cannot be said; empty without a second model."""
    slices: tuple[str, ...]
    """As "column: value"."""
    question: str
    gold: str
    first: ItemAnswer
    second: ItemAnswer | None
    past: tuple[ItemPast, ...] = ()


class Loss(ReportPart):
    """Why rows were lost on the way to a stage."""

    cause: str
    rows: int
    reasons: tuple[tuple[str, int], ...]
    """The commonest reasons with their counts; together at most `rows`."""


class Stage(ReportPart):
    name: Literal["generated", "parsed", "fitting", "verified", "chosen", "curated", "trained"]
    """fitting: not dropped by the generator's own rules; chosen: of several samples of a question, the one."""
    rows: int
    losses: tuple[Loss, ...]
    """What was lost between the stage before and this one."""


class Funnel(ReportPart):
    wanted: int
    """Lessons that teachers were asked for, over all rounds."""
    calls: int
    calls_cached: int
    """Calls that had been answered before and cost nothing now."""
    calls_failed: tuple[tuple[str, int], ...]
    """Fault and number, the commonest first."""
    stages: tuple[Stage, ...]
    asked_query: str
    query: str
    losses_query: str

    @property
    def unexplained(self) -> int:
        """Rows that no recorded reason accounts for; anything but 0 is a fault in the store."""
        pairs = zip(self.stages, self.stages[1:], strict=False)
        return sum(abs(a.rows - b.rows - sum(loss.rows for loss in b.losses)) for a, b in pairs)


class LessonLedger(ReportPart):
    """What lessons cost and came to, for one teacher or one strategy."""

    name: str
    calls: int
    failed_calls: int
    candidates: int
    questions: int
    """Candidates, where the samples of one question count as one."""
    accepted: int
    acceptance: Rate | None
    """Accepted by question."""
    trained: int
    dataset_share: float | None
    """Share of the rows trained on, replayed ones included."""
    tokens: int
    usd: float
    usd_per_accepted: float | None
    modes_fell: tuple[str, ...]
    """Of the error modes that it wrote trained lessons for: those whose rate fell beyond chance."""


class TeacherWork(LessonLedger):
    """`usd` is all that it was paid; a lesson's price is that of the calls that asked it for lessons, failed ones too
    (second opinions, tests and repairs are in its strategy's)."""

    kind: str
    simulated: bool
    style: str


class Teachers(ReportPart):
    rows: tuple[TeacherWork, ...]
    lessons_query: str
    calls_query: str
    dataset_query: str
    taught_query: str


class TeacherShare(ReportPart):
    """How much of a strategy's asking went to a teacher: by the spec, and as it was where a bandit decided."""

    teacher: str
    weight: float
    allocated: float | None
    bandit: float | None
    """What Thompson sampling over this iteration's lessons would give it next."""


class Strategy(LessonLedger):
    """One generator. Its price has everything: lessons, second opinions, tests, repairs, failed calls."""

    strategy: str
    allocate: str
    shares: tuple[TeacherShare, ...]
    same_answers: float
    """Share of answers that another call gave word for word, in the worst round."""
    promised: float | None = None
    """Of its candidates, the share that the plan expected to be accepted."""

    @property
    def came(self) -> float | None:
        """The share that was, counted as the plan counts: each sample of a question for itself."""
        return self.accepted / self.candidates if self.candidates else None


class Strategies(ReportPart):
    rows: tuple[Strategy, ...]
    human_usd_per_example: float | None = None
    """What the spec says that a person is paid for an accepted example; None in reports from before there was a key."""
    human_minutes_per_example: float | None = None
    """Minutes of a person's work for one, where the spec says."""

    @property
    def accepted(self) -> int:
        return sum(row.accepted for row in self.rows)

    @property
    def usd(self) -> float:
        return sum(row.usd for row in self.rows)

    lessons_query: str
    calls_query: str
    dataset_query: str
    taught_query: str
    asked_query: str


class VerifierUse(ReportPart):
    """What one verifier said of the candidates that came to it: none comes that an earlier one failed."""

    task: str
    name: str
    version: str
    judged: int
    passed: int
    failed: int
    unknown: int
    advisory: int
    """Verdicts that could not decide: of a judge whose agreement with people is not known."""
    seconds: float


class Verifiers(ReportPart):
    """In the order of the cascade."""

    rows: tuple[VerifierUse, ...]
    query: str


class AuditRate(ReportPart):
    """How often the wrong thing was said, of the cases that it could be said of. Unknown is neither."""

    cases: int
    wrong: int
    unknown: int
    rate: Rate | None


class AuditSource(ReportPart):
    source: str
    expected: str
    cases: int
    passed: int
    failed: int
    unknown: int


class Audited(ReportPart):
    """The newest audit of a task's verifier, or of all its verifiers together (`verifier` empty)."""

    task: str
    verifier: str
    version: str
    at: str
    false_accept: AuditRate
    false_reject: AuditRate
    sources: tuple[AuditSource, ...]


class WrongCase(ReportPart):
    """A case that a verifier got wrong, for a person to look at."""

    task: str
    verifier: str
    source: str
    expected: str
    text: str


class Judged(ReportPart):
    """A judge's agreement with people. Without a calibration, kappa is None."""

    verifier: str
    teacher: str
    cases: int
    agreed: int
    kappa: float | None
    low: float | None
    high: float | None
    min_kappa: float
    calibrated: bool
    problem: str
    at: str


class Audit(ReportPart):
    rows: tuple[Audited, ...]
    never: tuple[str, ...]
    """Verifiers in use that were never audited in the version that judged here."""
    judges: tuple[Judged, ...]
    wrong: tuple[WrongCase, ...]
    query: str
    judges_query: str


class Ablated(ReportPart):
    """Two trainings that differ in one part, or in targeting; `change` is what having the part brought."""

    name: str
    without: str
    suite: str
    lessons: int
    items: int
    with_part: float
    without_part: float
    change: Change
    p_value: float | None
    note: str
    """What to know of this comparison; empty where nothing is."""


class AfterLessons(ReportPart):
    """A score after so many lessons; with several seeds both are means."""

    lessons: float
    score: Rate


class LoopCurves(ReportPart):
    """`flywheel compare --curve` on one suite: both loops' last training on parts of its lessons, the fewest first."""

    suite: str
    items: int
    seeds: int
    targeted: tuple[AfterLessons, ...]
    untargeted: tuple[AfterLessons, ...]
    needs: tuple[str, ...]
    """How many lessons each side needs for what the other has with all of its own, in words."""


class Ablations(ReportPart):
    rows: tuple[Ablated, ...]
    curves: tuple[LoopCurves, ...] = ()
    query: str


class ArtefactCount(ReportPart):
    """Wrong answers to the probes (`suite` empty) or to a suite, and how many of them the cause made."""

    suite: str
    hits: int
    wrong: int


class Artefact(ReportPart):
    """What made many of the incumbent's answers wrong, and is not what it does not know (`prompting.artefacts` has the
    definitions): labels that nothing names, a next question run on into, a right answer inside a longer one, the token
    limit."""

    task: str
    cause: Literal["untold", "no_label", "ran_on", "inside", "cut"]
    counts: tuple[ArtefactCount, ...]
    text: str
    remedy: str


class WithShots(ReportPart):
    """The candidate's gain on a suite without shots, over the incumbent as asked there and over the incumbent with
    shots, which another suite shows of the same items. Over the items that all three could be judged on."""

    suite: str
    shown: str
    """The suite with shots."""
    shots: int
    items: int
    candidate: Rate
    without: Rate
    with_shots: Rate
    over_without: Change
    over_with_shots: Change
    text: str
    query: str


class Baseline(ReportPart):
    """How far the model that the gain is over could show what it knows."""

    who: Literal["base", "incumbent"] = "base"
    """`incumbent`: one that an earlier iteration taught."""
    artefacts: tuple[Artefact, ...] = ()
    shots: tuple[WithShots, ...] = ()
    advice: str = ""
    """How to measure it with shots, where there is an artefact and nothing shows it; else empty."""
    constants: tuple[str, ...] = ()
    """For each target suite of labels: what the most frequent right answer, given to all, would score."""
    constants_query: str = ""
    probes_query: str = ""
    suites_query: str = ""


class LossPoint(ReportPart):
    step: int
    loss: float


class MixRow(ReportPart):
    mode: str
    new: int
    replay: int
    seed: int


class Training(ReportPart):
    """What was trained on, and how the loss went; empty where nothing was trained."""

    trained: bool
    rows: int
    left_out: int
    """Rows longer than the student's limit: left out whole, never cut."""
    steps: int
    tokens: int
    notes: tuple[str, ...] = ()
    """What memory made necessary, and that little was learned, with what to change."""
    losses: tuple[LossPoint, ...]
    mix: tuple[MixRow, ...]
    losses_query: str
    mix_query: str


class RewardRound(ReportPart):
    """What the student earned before a round of learning from its judged answers, and what the round learned from."""

    round: int
    questions: int
    new_questions: int
    """Of them not asked in an earlier round: what they earn was not practised."""
    answers: int
    unknown: int
    """Answers that could not be judged: they teach nothing."""
    reward: Rate | None
    """Share of the others that passed."""
    units: int
    """Pairs (dpo) or answers (kto, grpo) that it learned from."""
    left_out: int
    """Of them too long, or of the same tokens."""
    steps: int


class RewardError(ReportPart):
    """How often those who say what an answer earns were found wrong, in the newest audit."""

    task: str
    verifier: str
    false_accept: AuditRate
    false_reject: AuditRate


class SinceLessons(ReportPart):
    """A suite before the first round and after the last."""

    suite: str
    before: Rate | None
    after: Rate | None
    change: Change | None


class Rewards(ReportPart):
    """Learning from judged answers."""

    method: str
    rounds: tuple[RewardRound, ...]
    errors: tuple[RewardError, ...]
    suites: tuple[SinceLessons, ...]
    """Where the model before the first round was measured, too."""
    verdict: str
    """Whether what the student earned rose, and the holdout with it."""
    query: str
    suites_query: str


class TrendScore(ReportPart):
    iteration: int
    suite: str
    role: str
    incumbent: Rate | None
    candidate: Rate | None


class TrendTurn(ReportPart):
    iteration: int
    outcome: Outcome
    trained_rows: int
    seconds: float


class Learned(ReportPart):
    """A candidate's score, and the lessons that had been bought by then: those trained on for the first time, of this
    iteration and all before."""

    iteration: int
    suite: str
    lessons: int
    score: Rate


class Trend(ReportPart):
    turns: tuple[TrendTurn, ...]
    scores: tuple[TrendScore, ...]
    learned: tuple[Learned, ...] = ()
    """Of the target suites; 0 lessons is the model that the first iteration began with."""
    query: str
    turns_query: str
    learned_query: str = ""


class CollapseRow(ReportPart):
    """What an iteration's training rows are like; `warnings` names the figures that are beyond their limit."""

    iteration: int
    real: float
    """Share of rows that no model wrote as the wheel turned: seeds, people's answers, rows of files."""
    distinct: float | None = None
    """Different word pairs over all, of 25 lessons at a time; null with fewer."""
    entropy: float | None = None
    """Of answers, in bits, of 25 lessons at a time."""
    length: float
    """Mean characters of an answer."""
    tail: float | None = None
    """Share of the words in the human seeds that lessons still use."""
    warnings: tuple[str, ...]


class Collapse(ReportPart):
    rows: tuple[CollapseRow, ...] = ()
    query: str = ""


class NodeCost(ReportPart):
    name: str
    kind: str
    seconds: float
    seconds_before: float | None
    """The same step in the iteration before."""
    rows_in: int
    kept: int
    rejected: int
    failed: int
    tokens: int
    usd: float
    usd_before: float | None


class Costs(ReportPart):
    nodes: tuple[NodeCost, ...]
    seconds: float
    seconds_before: float | None
    """The iteration before took this long."""
    usd: float
    usd_before: float | None
    tokens: int
    tokens_before: int | None
    query: str
    calls_query: str
    calls_before_query: str


class Noise(ReportPart):
    """The same model measured twice on some items of a suite: how many scored differently."""

    suite: str
    items: int
    differ: int


class RanOn(ReportPart):
    """Answers of an arm that went on with a next question after their final answer, and were judged by the first."""

    suite: str
    arm: str
    answers: int


class Thoughts(ReportPart):
    """How much an arm thinks before it answers: answers with a thought, and the median length of it in characters."""

    suite: str
    arm: str
    answers: int
    thinking: int
    characters: int


class LabelScore(ReportPart):
    """One label of a suite whose answers are sets of labels: items that have it, that were given it, and both."""

    suite: str
    arm: str
    label: str
    gold: int
    said: int
    right: int
    f1: float | None
    """2 x right / (gold + said); None where neither names it."""


class StockCommand(ReportPart):
    """Stock lm-eval's way to the same number, in the project's folder."""

    suite: str
    arm: str
    command: str


class Measurement(ReportPart):
    """How the suites were measured."""

    settings: tuple[tuple[str, str], ...]
    reused: tuple[str, ...]
    """Arms that an earlier evaluation of the same suites had measured."""
    noise: tuple[Noise, ...]
    too_long: tuple[tuple[str, int], ...]
    """Suite and items whose prompt does not fit the model."""
    ran_on: tuple[RanOn, ...]
    thoughts: tuple[Thoughts, ...] = ()
    stopped_thinking: tuple[str, ...] = ()
    """Suites in which the candidate thinks before less than half as many of its answers as the incumbent."""
    labels: tuple[LabelScore, ...]
    commands: tuple[StockCommand, ...]
    query: str


class RunFact(ReportPart):
    """A run that worked on this iteration. `sandbox` names the tier that untrusted code ran in; None: not recorded."""

    run_id: str
    sandbox: str | None
    tainted: bool


class NodeIdentity(ReportPart):
    kind: str
    fingerprint: str


class Provenance(ReportPart):
    command: str
    seed: int
    spec_hash: str
    spec_text: str
    versions: tuple[tuple[str, str], ...]
    nodes: tuple[NodeIdentity, ...]
    hashes: tuple[tuple[str, str], ...]
    """Base, weights, dataset, decision: name and digest."""
    training: tuple[tuple[str, str], ...]
    """The training settings as recorded with the adapter."""
    runs: tuple[RunFact, ...]
    query: str
    runs_query: str

    @property
    def tainted(self) -> bool:
        """Whether untrusted code ran without a sandbox."""
        return any(run.tainted for run in self.runs)


class Deployed(ReportPart):
    """What the pointer named when the report was written."""

    model_id: str
    iteration: int
    action: str
    weights_hash: str
    at: str
    query: str


class Report(ReportPart):
    """One iteration of one domain."""

    report_version: Literal[2] = 2
    name: str
    description: str
    iteration: int
    iterations: int = 0
    """How many the plan has: whether there is a next one."""
    generated_at: str
    verdict: Banner
    baseline: Baseline = Baseline()
    approvals: Approvals
    live: tuple[LiveTested, ...] = ()
    """Of the candidate and of the incumbent, as far as was known when the report was written."""
    shadow: tuple[ShadowReplay, ...] = ()
    """Empty where the spec keeps no rows of production for it."""
    changes: Changes
    scores: Scores
    modes: Modes
    followed: Followings = Followings()
    examples: Examples
    guard_examples: Examples
    items: Explored = Explored()
    funnel: Funnel
    teachers: Teachers
    strategies: Strategies
    verifiers: Verifiers
    audit: Audit
    ablations: Ablations
    training: Training
    rewards: Rewards | None = None
    """None where the student learned from lessons alone."""
    trend: Trend
    collapse: Collapse = Collapse()
    costs: Costs
    measurement: Measurement
    provenance: Provenance
    deployed: Deployed | None
