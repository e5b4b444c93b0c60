"""The spec: what is wanted. Frozen, strict, defaults here and nowhere else.

`flywheel.yaml` is validated into these models once, at the border; below the loader nobody sees a dict.
The docstrings are the reference: `schemas/flywheel.schema.json` and `docs/spec.md` are generated from them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Usd = Annotated[float, Field(ge=0)]
Scalar = str | int | float | bool

Severity = Literal["critical", "major", "minor"]
SEVERITY_WEIGHT: dict[str, float] = {"critical": 4.0, "major": 2.0, "minor": 1.0}


class Model(BaseModel):
    """Strict (no coercion), frozen, unknown keys refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, populate_by_name=True, use_attribute_docstrings=True
    )


# --- student ----------------------------------------------------------------------------------------------------------


class Student(Model):
    """The model that learns."""

    base: str = "builtin:tiny"
    """`builtin:tiny` (embedded, runs offline), a folder in the project, or a Hugging Face model id."""
    revision: str | None = None
    """Commit of a Hugging Face id. Pin it: a moved branch is another model."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto`: bfloat16 on a GPU that has it, float32 elsewhere."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`auto`: a GPU where there is one."""
    batch_size: Positive = 64
    """Rows generated at a time, in probes and evaluations alike."""
    max_new_tokens: Positive = 64
    """The longest answer, in tokens."""
    system: str | None = None
    """System message for students whose tokenizer has a chat template."""


# --- tasks and taxonomy -----------------------------------------------------------------------------------------------


class Task(Model):
    """One thing the student must do: rows, a prompt, and who says whether an answer is right."""

    prompt: str
    """Jinja file: how the student is asked. It sees `row` (the row's columns without the target)."""
    target: Name
    """The column that holds the right answer."""
    verify: Annotated[list[Name], Field(min_length=1)]
    """Verifiers, cheap ones first: an answer is right when all pass."""
    probes: str | None = None
    """Rows where errors are looked for (JSONL, CSV or Parquet). Never holdout rows."""
    seeds: str | None = None
    """A few rows written by people: examples for teachers, and a share of the training mix."""
    probe_limit: Positive | None = None
    """Probe this many rows (a seeded sample) instead of all."""
    final: str | None = None
    """Regular expression with one group that finds the final answer in a longer one, such as `#### (.+)`: verifiers
    see the last match, or all of it where nothing matches. For answers that reason first."""
    description: str = ""
    """What the task is, in words; teachers read it."""


class ErrorMode(Model):
    """A way to be wrong. The first mode whose predicate holds names the failure; the last, without `when`,
    takes what is left."""

    name: Name
    """What failures of this mode are called, in budget, prompts and report."""
    severity: Severity = "major"
    """Weight in the lesson budget: critical 4, major 2, minor 1."""
    when: str | None = None
    """SQL predicate over the failed row: `answer`, `gold`, `row.<column>`, `verdict.<verifier>` ('pass',
    'fail', 'unknown'), `reason.<verifier>`."""
    task: Name | None = None
    """Only for failures of this task."""
    description: str = ""
    """What goes wrong, in words; teachers read it."""


# --- teachers ---------------------------------------------------------------------------------------------------------


class TeacherLimits(Model):
    concurrency: Positive = 8
    """Calls in flight at a time."""
    timeout_seconds: Seconds = 120.0
    """Total deadline of one attempt."""
    max_retries: Count = 4
    """Further attempts after a fault that can pass (429, 5xx, time-out, dropped connection)."""
    max_calls: Positive | None = None
    """Hard stop: attempts per run."""
    style: str | list[str] = ""
    """Persona or style, given to the prompt as `style`; of several, each call gets the next."""
    fallback: list[Name] = []
    """Teachers that are asked in turn when this one is out of reach. The lesson names who answered."""

    def style_of(self, sample: int) -> str:
        """The style of the call with this sample number."""
        if isinstance(self.style, str):
            return self.style
        return self.style[sample % len(self.style)] if self.style else ""


class LitellmTeacher(TeacherLimits):
    """Any LLM that litellm reaches; `api_base` for a local OpenAI-compatible server."""

    kind: Literal["litellm"]
    """A model reached through litellm."""
    model: str
    """litellm's name of the model, `provider/model`."""
    api_base: str | None = None
    """Address of a server that speaks OpenAI's protocol; may hold `${env:NAME}`."""
    api_key: str | None = None
    """Only as `${env:NAME}`: a literal key is refused."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.8
    """0 is nearly deterministic."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Nucleus sampling (default: the provider's)."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Above 0: words already used become less likely (default: the provider's)."""
    output: Literal["auto", "schema", "json", "text"] = "auto"
    """How rows are asked for. `schema`: the provider holds the answer to a JSON schema; `json`: to JSON; `text`: rows
    are found in free text. `auto`: the strictest that the server takes."""
    rpm: Positive | None = None
    """Requests a minute, at most."""
    tpm: Positive | None = None
    """Tokens a minute, prompts and answers, at most."""
    max_tokens: Positive = 1024
    """Longest answer, in tokens; with the prompt it bounds the price of a call before it is sent."""
    usd_per_million_input: Usd | None = None
    """Price of a million tokens of prompt, where litellm does not know the model."""
    usd_per_million_output: Usd | None = None
    """Price of a million tokens of answer."""
    max_usd: Usd | None = None
    """Hard stop: dollars per run. An unknown price is then refused."""


class PythonTeacher(TeacherLimits):
    """A function in the project: `def teach(request: dict) -> str`."""

    kind: Literal["python"]
    """A function in the project."""
    function: str
    """`file.py:function`."""
    options: dict[str, Scalar] = {}
    """Given to the function as `request["options"]`."""
    simulated: bool = False
    """Say so when the function stands in for a model or a person; the report names it as simulated."""


class StudentTeacher(TeacherLimits):
    """The student itself, sampled on rows whose answer is known: the verifiers referee."""

    kind: Literal["student"]
    """The student itself."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 0.8
    """Above 0: equal samples teach nothing."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Nucleus sampling."""


class DatasetTeacher(TeacherLimits):
    """Rows that people wrote, or recorded answers (JSONL, CSV or Parquet)."""

    kind: Literal["dataset"]
    """Rows in a file."""
    path: str
    """The file, with the task's columns."""
    match: Name | None = None
    """Pick rows whose value in this column equals that of the mode's failures; without it, rows in seeded
    order."""
    simulated: bool = False
    """Say so when the rows were made by a program; the report names them as simulated."""


Teacher = Annotated[LitellmTeacher | PythonTeacher | StudentTeacher | DatasetTeacher, Field(discriminator="kind")]


# --- verifiers --------------------------------------------------------------------------------------------------------


class VerifierLimits(Model):
    timeout_seconds: Seconds = 5.0
    """After this the verdict is unknown, never wrong (of untrusted code that runs too long: wrong)."""
    golden: str | None = None
    """Cases for `flywheel audit` (JSONL, CSV or Parquet): the task's columns, `answer`, and `expect`: pass or fail."""


class SqlVerifier(VerifierLimits):
    """One query that reads, in a database of the task: `setup`, `database` or `dsn` says which."""

    kind: Literal["sql"]
    """SQL: one query."""
    engine: Literal["duckdb", "sqlite", "postgres"] = "duckdb"
    """Whose SQL it is. `duckdb` and `sqlite` run in a locked-down, confined process, `postgres` on your server."""
    check: Literal["parses", "same_rows"]
    """`parses`: one query that binds against the schema. `same_rows`: gives the gold query's rows (ordered
    when the gold orders)."""
    setup: str | None = None
    """SQL script that makes the database (`duckdb`, `sqlite`; what `.dump` writes is one)."""
    database: str | None = None
    """`sqlite`: a database file, read only. One per row: `databases/{{ row.db_id }}/{{ row.db_id }}.sqlite`."""
    dsn: str | None = None
    """`postgres`: how to reach the server, as `${env:NAME}`. Name a role that can only read."""
    match: Literal["ours", "spider", "bird"] = "ours"
    """When rows are the same. `spider`, `bird`: as those benchmarks' own scripts say, on the declared database."""
    any_column_order: bool = False
    """`ours`: columns may stand in another order than the gold's."""
    ignore_duplicates: bool = False
    """`ours`: a row counts once, so that DISTINCT makes no difference."""
    decimals: Annotated[int, Field(ge=0, le=15)] | None = None
    """`ours`: numbers are equal that differ by no more than rounding to so many decimals does."""
    max_rows: Positive = 10_000
    """`ours`: a result with more rows is wrong."""
    instances: Annotated[int, Field(ge=0, le=20)] = 4
    """`ours`, `same_rows`: further databases of the same schema, generated from a seed (empty; doubled rows and NULLs;
    other values; rows that the gold's own conditions select), on which the rows must agree too, so that no lucky
    match passes. None with `postgres`."""


class MathVerifier(VerifierLimits):
    """Numeric or symbolic equality of the final answer."""

    kind: Literal["math"]
    """The final answer of a calculation."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """Relative tolerance for numbers; 0 compares exactly."""


class JsonSchemaVerifier(VerifierLimits):
    """The answer is JSON that fits a schema and, where fields are named, agrees with the gold in them."""

    kind: Literal["json_schema"]
    """JSON that fits a schema."""
    schema_file: Annotated[str, Field(alias="schema")]
    """JSON Schema file."""
    compare: Literal["none", "fields"] = "none"
    """`fields`: every field of the gold must be equal in the answer."""


class ExactVerifier(VerifierLimits):
    """The answer equals the gold."""

    kind: Literal["exact"]
    """The gold, letter by letter."""
    ignore_case: bool = False
    """Upper and lower case are one."""
    ignore_space: bool = True
    """Spaces at the ends and runs of spaces do not count."""


class RegexVerifier(VerifierLimits):
    """The whole answer matches a pattern."""

    kind: Literal["regex"]
    """A regular expression."""
    pattern: str
    """Python's `re`; the whole answer must match."""


class LabelVerifier(VerifierLimits):
    """The answer is one of the declared labels and, where there is a gold, the right one."""

    kind: Literal["label"]
    """One of a fixed set of labels."""
    labels: list[str] | str
    """The labels, or a text file with one a line."""


class PythonVerifier(VerifierLimits):
    """A function in the project: `def check(subject: dict) -> bool | tuple[bool, str]`."""

    kind: Literal["python"]
    """A function in the project."""
    function: str
    """`file.py:function`. `subject` has `row`, `answer`, `reference` (None where there is no gold)."""
    needs_reference: bool = False
    """The function compares with a known answer; without one the verdict is unknown."""


class CodeVerifier(VerifierLimits):
    """Python run against tests in a sandbox. It gets inputs and returns values; expected values never enter it."""

    kind: Literal["code"]
    """Python in a sandbox."""
    tests: Name = "tests"
    """Column with the tests: JSON cases `[{"args": […], "expected": …}]`, or Python: `assert`s, or
    `def check(candidate)`. The student does not see it."""
    entry_point: Name | None = None
    """Column with the name of the function that is tested (default: the answer's last function)."""
    prefix: Name | None = None
    """Column whose text stands before the answer, such as a signature that the answer continues."""
    numbers: Literal["exact", "close"] = "exact"
    """`exact`: 2 is not 2.0 and True is not 1. `close`: numbers of any type within `tolerance` are equal."""
    tolerance: Annotated[float, Field(ge=0)] = 1e-6
    """Relative and absolute, for `numbers: close`."""
    mutants: Annotated[int, Field(ge=0, le=50)] = 5
    """Tests that a teacher wrote count only if one of so many mutants of the passing answer fails them."""
    memory_mb: Annotated[int, Field(ge=64)] = 512
    """Memory of the program."""


class JudgeVerifier(VerifierLimits):
    """An LLM with a rubric. Until its agreement with people is measured it can rank lessons, not pass or fail them."""

    kind: Literal["judge"]
    """An LLM with a rubric."""
    teacher: Name
    """Who judges; never a lesson of its own."""
    rubric: str
    """Jinja file with what makes an answer good; it sees `task` (name, description), `row`, `answer`, `reference`."""
    compare: Literal["alone", "pair"] = "alone"
    """`alone`: is the answer good? `pair`: is it at least as good as the reference? Asked in both orders."""
    votes: Annotated[int, Field(ge=1, le=25)] = 1
    """Votes, each an own call; the majority counts, a tie is unknown."""
    calibration: str | None = None
    """Rows that people judged (JSONL, CSV or Parquet): the task's columns, `answer`, and `label`: pass or fail."""
    min_kappa: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Cohen's kappa with those labels, from which on the judge's verdicts count."""


class CommandVerifier(VerifierLimits):
    """A program of yours. It reads one JSON object on stdin (`row`, `answer`, `reference`), and its exit status says:
    0 pass, 1 fail, anything else unknown; what it prints is the reason."""

    kind: Literal["command"]
    """A program of yours."""
    command: Annotated[list[str], Field(min_length=1)]
    """Program and arguments, run in the project's folder without a shell."""
    needs_reference: bool = False
    """It compares with a known answer; without one the verdict is unknown."""


Verifier = Annotated[
    SqlVerifier
    | MathVerifier
    | JsonSchemaVerifier
    | ExactVerifier
    | RegexVerifier
    | LabelVerifier
    | PythonVerifier
    | CodeVerifier
    | JudgeVerifier
    | CommandVerifier,
    Field(discriminator="kind"),
]


# --- generate and curate ----------------------------------------------------------------------------------------------


Strategy = Literal[
    "targeted", "self_instruct", "evolve", "paraphrase", "trace", "rationalize", "code_with_tests", "back_translate",
    "self_play", "human",
]  # fmt: skip


class Generator(Model):
    """Where lessons come from: how they are made, by whom, from what, and how many must pass."""

    name: Name
    """What the report calls its lessons."""
    strategy: Strategy = "targeted"
    """How a lesson is made; `docs/strategies.md` has a page for each. `targeted`: new rows like the failures of a mode.
    `self_instruct`: new rows like the seeds. `evolve`: a row made harder. `paraphrase`: a row in other words.
    `trace`: a worked answer to a known question. `rationalize`: the same, wrong ones tried again with the answer as
    hint. `code_with_tests`: problem, solution, tests, run, repair. `back_translate`: a question for a known answer.
    `self_play`: the student asks and answers. `human`: rows that wait for a person."""
    teachers: list[Name] | dict[Name, Annotated[float, Field(gt=0)]] = []
    """Teachers, or teacher: weight. All strategies but `human` need one."""
    accept: Positive
    """Verified lessons wanted per iteration, over all modes."""
    task: Name | None = None
    """May be left out when there is one task."""
    prompt: str | None = None
    """Jinja file for teachers that read prompts (litellm; python ones get it rendered too). It sees `task`
    (name, description, columns, target), `mode`, `mode_description`, `n`, `failures` (each with row, gold,
    answer, reason), `seeds`, `lessons` (earlier ones), `style`, `item` (what the strategy starts from: row, answer),
    `direction` and, where the answer to one row is asked for, `row`."""
    source: Annotated[Literal["errors", "seeds", "data", "lessons"], Field(alias="from")] = "errors"
    """What lessons are made from. `errors`: the failures; the budget follows them. `seeds`: rows that people wrote.
    `data`: the rows of `data`. `lessons`: seeds and the lessons of earlier iterations. All but `errors` spread the
    budget evenly over the modes of a `targeted` generator, and have no modes otherwise."""
    data: str | None = None
    """For `from: data`: rows with the task's columns (JSONL, CSV or Parquet); the target may be missing."""
    modes: list[Name] | None = None
    """Only these error modes."""
    max_candidates: Positive | None = None
    """Stop refilling here (default: 4 times `accept`; samples of one question count as one)."""
    rounds: Annotated[int, Field(ge=1, le=10)] = 3
    """Refill rounds at most: each asks for what is still missing, by measured acceptance."""
    per_call: Positive = 5
    """Rows asked for in one call."""
    examples: Count = 4
    """Real failures, and as many seeds, shown in a prompt."""
    own_examples: Count = 0
    """Earlier lessons shown in a prompt beside them."""
    parse: Literal["rows", "text"] = "rows"
    """`rows`: the answer is JSON rows with the task's columns. `text`: the answer is the target of a given
    row."""
    samples: Annotated[int, Field(ge=1, le=64)] = 4
    """`trace`, `rationalize`, `self_play`: answers to one question."""
    too_easy: Annotated[float, Field(gt=0, le=1)] | None = 1.0
    """`trace`, `self_play`: a question whose share of right samples reaches this teaches nothing and is dropped; null
    keeps it. One that no sample solves is always dropped."""
    directions: Annotated[list[Literal["harder", "broader", "constrained"]], Field(min_length=1)] = [
        "harder", "broader", "constrained",
    ]  # fmt: skip
    """`evolve`: the ways a row is evolved, in turn; the prompt sees `direction`."""
    max_depth: Positive = 3
    """`evolve`: a row that was evolved this often is not evolved further."""
    repairs: Count = 2
    """`code_with_tests`: how often what the run printed goes back to the teacher."""
    hint_prompt: str | None = None
    """`rationalize`: Jinja file that asks for the worked answer to `row`, given the right `answer`. The hint is not in
    the lesson."""
    tests_prompt: str | None = None
    """`code_with_tests`: Jinja file that asks for tests of `row` and its `answer`."""
    repair_prompt: str | None = None
    """`code_with_tests`: Jinja file that asks for a better answer, given `row`, `answer`, `tests` and `output`."""
    novelty: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Drop a candidate whose question has a ROUGE-L (F) above this with a seed or any earlier candidate. Self-Instruct
    uses 0.7."""
    min_words: Count = 0
    """Fewest words of a question."""
    max_words: Positive | None = None
    """Most words of a question."""
    forbid: list[str] = []
    """Regular expressions: a candidate whose question or answer matches one is dropped."""
    second_opinion: list[Name] = []
    """Each lesson without a known answer is answered again by the first of these that did not write it;
    comparing verifiers then need both to agree."""
    second_opinion_prompt: str | None = None
    """Jinja file that asks for the answer to one `row`."""
    allocate: Literal["weights", "bandit"] = "weights"
    """`bandit`: from the second iteration on, teachers get calls by what theirs paid: accepted lessons a dollar (or a
    call, where calls are free), by Thompson sampling. The report shows both."""
    floor: Share = 0.02
    """The least share of the lessons for a mode that failed at all."""
    cap: Share = 0.5
    """The greatest share of the lessons for one mode."""


class Dedup(Model):
    near: Share | None = 0.9
    """Jaccard similarity of 3-character shingles of the whole row from which two rows are one; null: exact
    only."""


class Decontaminate(Model):
    ngram: Annotated[int, Field(ge=3, le=50)] = 13
    """Words in a row shared with an eval item that make a lesson contaminated (exact and normalised always
    count)."""


class Length(Model):
    min_chars: Count = 1
    """Shortest target, in characters."""
    max_chars: Positive = 20_000
    """Longest row with its target, in characters."""


class Mix(Model):
    replay: Share = 1.0
    """Share of the earlier iterations' lessons that are trained on again."""
    seeds: Share = 0.1
    """Human seeds as a share of the dataset, at most."""


class Rank(Model):
    difficulty: Share = 0.5
    """Weight of difficulty for the student (its loss on the lesson) against diversity, in the order of
    lessons."""


class Curate(Model):
    """What survives: duplicates, contamination, length, order, mix."""

    dedup: Dedup = Dedup()
    """Which lessons are one and the same."""
    decontaminate: Decontaminate = Decontaminate()
    """Which lessons are too near to an eval item of any suite."""
    length: Length = Length()
    """Which lessons are too short or too long."""
    rank: Rank = Rank()
    """In which order lessons fill their quota."""
    mix: Mix = Mix()
    """What is trained on beside the new lessons."""


# --- train ------------------------------------------------------------------------------------------------------------


class Train(Model):
    """LoRA fine-tuning by peft."""

    method: Literal["lora"] = "lora"
    """Low-rank adapters."""
    init: Literal["base", "incumbent"] = "base"
    """`base`: from the base on everything accumulated. `incumbent`: on from the deployed adapter."""
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of the adapters."""
    alpha: Positive | None = None
    """Default: 2 x rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the adapters."""
    targets: list[str] | Literal["all-linear"] = "all-linear"
    """Module names; `all-linear` leaves out embeddings and the output layer."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-4
    """The peak, after warm-up."""
    epochs: Positive = 3
    """Passes over the dataset."""
    max_steps: Positive | None = None
    """Stop after this many optimiser steps."""
    batch_size: Positive = 16
    """Rows in a forward pass."""
    gradient_accumulation: Positive = 1
    """Forward passes in an optimiser step."""
    max_length: Annotated[int, Field(ge=16)] = 1024
    """Longest row in tokens; a longer one is left out and counted, never cut."""
    warmup: Share = 0.05
    """Share of the steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of AdamW."""


# --- evals and gate ---------------------------------------------------------------------------------------------------

Role = Literal["target", "guard", "watch"]


class Suite(Model):
    """What "better" means: a task on holdout rows, or one of lm-eval's own tasks."""

    role: Role = "target"
    """`target` should rise, `guard` must not fall, `watch` is only shown."""
    task: Name | None = None
    """Whose prompt and verifiers."""
    data: str | None = None
    """Holdout rows for `task`."""
    lm_eval: str | None = None
    """Name of an lm-eval task."""
    metric: str | None = None
    """For `lm_eval`: which per-item metric counts, as `name` or `name,filter` (default: its first 0/1 metric)."""
    limit: Positive | None = None
    """This many items (a seeded sample) instead of all."""
    num_fewshot: Count | None = None
    """Shots: of an lm-eval task (default: its own), or solved seeds before the question (default: none)."""
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """For `task`: answers to each item, sampled when more than one; the item's score is their mean."""
    pass_at: Positive | None = None
    """For `task`: score is instead the chance that at least one of so many of the `repeats` is right (unbiased
    pass@k, Chen et al. 2021)."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 0.8
    """Of the samples, where `repeats` is above 1."""
    teachers: list[Name] = []
    """Teachers that answer the suite too (API and served models): shown beside the student, never gated."""
    slices: list[Name] = []
    """Columns by whose values scores are given apart."""


Measure = Literal["tokens", "refusals", "seconds", "truncated"]


class GateRule(Model):
    """One condition for deployment, on paired per-item results. Exactly one of the five comparisons."""

    suite: Name
    """The suite that is looked at."""
    better_by: Annotated[float, Field(ge=0, lt=1)] | None = None
    """The candidate is better: the gain is at least this, and above zero beyond chance."""
    not_worse_than: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Non-inferiority: any loss is smaller than this margin beyond chance."""
    at_least: Share | None = None
    """The candidate's own score reaches this."""
    at_most: Annotated[float, Field(ge=0)] | None = None
    """With `measure`: the candidate's mean stays at or under this."""
    measure: Measure | None = None
    """Of an answer: its length in `tokens`, its share of the `seconds` that its batch took, whether it is a refusal
    (`refusals`), or was cut at `max_new_tokens` (`truncated`). The last two are rates."""
    falls_by: Annotated[float, Field(gt=0, le=1)] | None = None
    """With `mode`: the mode's rate falls by at least this share of what it was."""
    mode: Name | None = None
    """Look at the rate of this error mode instead of the score."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the test and of the interval, before it is spent over several looks."""


class Loop(Model):
    """How far the wheel turns, and what it may spend."""

    iterations: Positive = 3
    """Turns of the wheel."""
    max_usd: Usd | None = None
    """Hard stop per run, over all teachers."""
    max_calls: Positive | None = None
    """Hard stop: attempts per run, over all teachers."""
    max_tokens: Positive | None = None
    """Hard stop: tokens per run, prompts and answers."""
    max_unknown: Share = 0.05
    """Share of verdicts of a node that may be unknown before it fails."""


class Ablation(Model):
    """Train once more without a part, on the same number of lessons, and compare on a suite: is it worth having?"""

    name: Name
    """What the report calls it."""
    without: Annotated[str, Field(pattern=r"^(verifier|teacher|generator|curate)\.[A-Za-z0-9_-]+$")]
    """The part: `verifier.<name>`, `teacher.<name>`, `generator.<name>`, or a stage of curation: `curate.dedup`,
    `curate.decontaminate`, `curate.length`, `curate.quality`, `curate.rank`."""
    suite: Name
    """Where the two are compared."""
    lessons: Positive = 200
    """New lessons in each of the two trainings, drawn from the iteration's."""


class Deploy(Model):
    """Where the promoted model goes."""

    kind: Literal["folder"] = "folder"
    """A folder in the project."""
    path: str = "deploy"
    """The folder, of its own."""
    approve: Literal["gate", "human"] = "gate"
    """`human`: what the gate promotes waits for `flywheel approve`, and the wheel with it."""


class Spec(Model):
    """A domain: tasks, how they go wrong, who teaches, who judges, what better means, and what must hold."""

    version: Literal[1] = 1
    """Version of this format."""
    name: Name
    """The domain's name."""
    description: str = ""
    """What the domain is, in words."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """All randomness comes from it."""
    allow_unsafe_execution: bool = False
    """Run untrusted code also where no sandbox works. The run, its report and its gate say so."""
    student: Student = Student()
    """The model that learns."""
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    """What the student must do."""
    taxonomy: list[ErrorMode] = [ErrorMode(name="wrong", severity="major", description="any wrong answer")]
    """How it goes wrong: the first mode that fits names a failure; the last one has no `when`."""
    teachers: Annotated[dict[Name, Teacher], Field(min_length=1)]
    """Who can write lessons."""
    verifiers: Annotated[dict[Name, Verifier], Field(min_length=1)]
    """Who says whether an answer is right."""
    generate: Annotated[list[Generator], Field(min_length=1)]
    """Where lessons come from."""
    curate: Curate = Curate()
    """Which lessons are trained on."""
    train: Train = Train()
    """How the student is trained."""
    evals: Annotated[dict[Name, Suite], Field(min_length=1)]
    """What "better" means."""
    gate: Annotated[list[GateRule], Field(min_length=1)]
    """What must hold before a model is deployed; all rules together."""
    ablate: list[Ablation] = []
    """Which parts are measured by leaving them out; each costs two small trainings an iteration."""
    loop: Loop = Loop()
    """How far the wheel turns, and what it may spend."""
    deploy: Deploy = Deploy()
    """Where the promoted model goes."""

    def task_of(self, generator: Generator) -> str:
        """The generator's task; the only one where it names none."""
        return generator.task or next(iter(self.tasks))

    def weights_of(self, generator: Generator) -> dict[str, float]:
        """Teacher → weight; a list weighs all the same."""
        if isinstance(generator.teachers, dict):
            return dict(generator.teachers)
        return dict.fromkeys(generator.teachers, 1.0)

    def max_candidates_of(self, generator: Generator) -> int:
        return generator.max_candidates or 4 * generator.accept

    def modes_of(self, task: str) -> list[ErrorMode]:
        """Error modes that can name a failure of `task`, in the order in which they are tried."""
        return [mode for mode in self.taxonomy if mode.task in (None, task)]
