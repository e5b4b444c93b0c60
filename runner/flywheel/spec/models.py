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
    style: str = ""
    """Persona or style, given to the prompt as `style`."""


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
    """After this the verdict is unknown, never wrong."""


class SqlVerifier(VerifierLimits):
    """SQL in a locked-down, throw-away DuckDB."""

    kind: Literal["sql"]
    """SQL in DuckDB."""
    check: Literal["parses", "same_rows"]
    """`parses`: one query that binds against the schema. `same_rows`: gives the gold query's rows (ordered
    when the gold orders)."""
    setup: str
    """SQL script that makes the database."""
    max_rows: Positive = 10_000
    """A result with more rows is wrong."""


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


Verifier = Annotated[
    SqlVerifier | MathVerifier | JsonSchemaVerifier | ExactVerifier | RegexVerifier | LabelVerifier | PythonVerifier,
    Field(discriminator="kind"),
]


# --- generate and curate ----------------------------------------------------------------------------------------------


class Generator(Model):
    """Where lessons come from: who writes them, from what, and how many must pass."""

    name: Name
    """What the report calls its lessons."""
    teachers: Annotated[list[Name] | dict[Name, Annotated[float, Field(gt=0)]], Field(min_length=1)]
    """Teachers, or teacher: weight."""
    accept: Positive
    """Verified lessons wanted per iteration, over all modes."""
    task: Name | None = None
    """May be left out when there is one task."""
    prompt: str | None = None
    """Jinja file for teachers that read prompts (litellm; python ones get it rendered too). It sees `task`
    (name, description, columns, target), `mode`, `mode_description`, `n`, `failures` (each with row, gold,
    answer, reason), `seeds`, `style` and, where the answer to one row is asked for, `row`."""
    source: Annotated[Literal["errors", "seeds"], Field(alias="from")] = "errors"
    """`errors`: the budget follows the failures. `seeds`: the same number for every mode, whatever fails."""
    modes: list[Name] | None = None
    """Only these error modes."""
    max_candidates: Positive | None = None
    """Stop refilling here (default: 4 times `accept`)."""
    rounds: Annotated[int, Field(ge=1, le=10)] = 3
    """Refill rounds at most: each asks for what is still missing, by measured acceptance."""
    per_call: Positive = 5
    """Rows asked for in one call."""
    examples: Count = 4
    """Real failures, and as many seeds, shown in a prompt."""
    parse: Literal["rows", "text"] = "rows"
    """`rows`: the answer is JSON rows with the task's columns. `text`: the answer is the target of a given
    row."""
    second_opinion: list[Name] = []
    """Each lesson without a known answer is answered again by the first of these that did not write it;
    comparing verifiers then need both to agree."""
    second_opinion_prompt: str | None = None
    """Jinja file that asks for the answer to one `row`."""
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
    """For `lm_eval`: which per-item metric counts (default: its first 0/1 metric)."""
    limit: Positive | None = None
    """This many items (a seeded sample) instead of all."""
    num_fewshot: Count | None = None
    """For `lm_eval`: shots (default: the task's own)."""
    slices: list[Name] = []
    """Columns by whose values scores are given apart."""


class GateRule(Model):
    """One condition for deployment, on paired per-item results. Exactly one of the four comparisons."""

    suite: Name
    """The suite that is looked at."""
    better_by: Annotated[float, Field(ge=0, lt=1)] | None = None
    """The candidate is better: the gain is at least this, and above zero beyond chance."""
    not_worse_than: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Non-inferiority: any loss is smaller than this margin beyond chance."""
    at_least: Share | None = None
    """The candidate's own score reaches this."""
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


class Deploy(Model):
    """Where the promoted model goes."""

    kind: Literal["folder"] = "folder"
    """A folder in the project."""
    path: str = "deploy"
    """The folder, of its own."""


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
