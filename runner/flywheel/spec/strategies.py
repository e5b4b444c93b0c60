"""Generators: where lessons come from. Each strategy's keys and facts; what they do is in `flywheel.nodes`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flywheel.errors import Path_
from flywheel.spec.base import Count, Name, Positive, Share
from flywheel.spec.kinds import Family, Kind
from flywheel.spec.verifiers import pattern_faults


@dataclass(frozen=True)
class Shown:
    """What a prompt for new rows shows, and how many it asks for."""

    rows_a_call: int = 1
    examples: int = 0
    """Failures, and as many seeds."""
    lessons: int = 0


class Generator(Kind):
    """Where lessons come from: how they are made, by whom, from what, and how many must pass. A strategy of your own is
    a subclass with a method `make`."""

    name: Name
    """What the report calls its lessons."""
    strategy: str
    """How a lesson is made; `docs/strategies.md` has a page for each."""
    accept: Positive
    """Verified lessons wanted per iteration, over all modes."""
    task: Name | None = None
    """May be left out when there is one task."""
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
    novelty: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Drop a candidate whose question has a ROUGE-L (F) above this with a seed or any earlier candidate. Self-Instruct
    uses 0.7."""
    novelty_by: Literal["words", "characters"] = "words"
    """What `novelty` counts. By `characters` it is rapidfuzz's ratio; OpenThoughts drops from 0.95 on."""
    min_words: Count = 0
    """Fewest words of a question."""
    max_words: Positive | None = None
    """Most words of a question."""
    forbid: list[str] = []
    """Regular expressions: a candidate whose question or answer matches one is dropped."""
    floor: Share = 0.02
    """The least share of the lessons for a mode that failed at all."""
    cap: Share = 0.5
    """The greatest share of the lessons for one mode."""

    distinct: ClassVar[Mapping[str, str]] = {"modes": "the error mode"}
    needs_teachers: ClassVar[bool] = True
    by_student_alone: ClassVar[bool] = False
    """Only the student can do it."""
    brings_reference: ClassVar[bool] = False
    """Its lessons come with an answer to compare with: known, voted for, or run."""
    needs_programs_run: ClassVar[bool] = False
    """It is for answers that are programs, which a verifier runs."""
    starts_from_rows: ClassVar[bool] = False
    """It makes a row from rows that somebody wrote; not one that wants only their answers."""
    asks_rows_once: ClassVar[bool] = False
    """It has each row of its source answered once, however many lessons are wanted."""
    writes_the_question: ClassVar[bool] = False
    """It starts from an answer: rows of `data` may lack all else."""

    def make(self, round: Any, wanted: Mapping[str, int]) -> list[Any]:
        """The candidates of a stranger's strategy: a list of `nodes.lessons.pieces.Piece`, from a
        `nodes.lessons.round.Round` and how many are wanted of each mode."""
        raise NotImplementedError(f"{type(self).__name__} has no method make")

    @property
    def files(self) -> Mapping[str, str]:
        named = {**self.prompts, "data": self.data}
        return {key: file for key, file in named.items() if file is not None}

    @property
    def prompts(self) -> Mapping[str, str | None]:
        """Keys that name a Jinja file, with what they name."""
        return {}

    @property
    def asking_prompts(self) -> tuple[str, ...]:
        """Those that a teacher who reads nothing but prompts needs."""
        return ()

    @property
    def named_teachers(self) -> Mapping[str | int, str]:
        """Place below `teachers` → teacher."""
        return {}

    @property
    def weights(self) -> Mapping[str, float]:
        """Teacher → weight; a list weighs all the same."""
        return {}

    @property
    def learns_who_pays(self) -> bool:
        """Calls go to teachers by what theirs paid."""
        return False

    @property
    def opinions(self) -> Sequence[str]:
        """Teachers that answer again what another one wrote."""
        return ()

    @property
    def opinions_each(self) -> float:
        """Calls to them for one candidate."""
        return 1.0 if self.opinions else 0.0

    @property
    def has_modes(self) -> bool:
        """Its lessons are bought by error mode, and its prompts show failures."""
        return self.source == "errors"

    @property
    def shown(self) -> Shown:
        return Shown()

    @property
    def reads_lessons(self) -> bool:
        """It starts from lessons of earlier iterations, or shows some."""
        return self.source == "lessons" or self.shown.lessons > 0

    @property
    def whole_text(self) -> bool:
        """A reply is one text: the target of a given row, or a question. Else it holds JSON rows."""
        return False

    @property
    def answers_each(self) -> int:
        """Answers to a question that are judged."""
        return 1

    @property
    def too_easy_from(self) -> float | None:
        """Share of right samples from which on a question teaches nothing; None keeps all."""
        return None

    def asked_columns(self, columns: Sequence[str], judged: Sequence[str], target: str) -> list[str]:
        """The columns of a row that a teacher writes. `judged`: those that verifiers read beside the student's."""
        return [*columns, target]

    def calls_each(self, acceptance: float) -> float:
        """Calls for one candidate, before any second opinion; `acceptance`: the share of candidates that pass."""
        return 1.0

    @property
    def candidates_limit(self) -> int:
        return self.max_candidates or 4 * self.accept

    def key_faults(self) -> Iterator[tuple[Path_, str, str]]:
        if self.max_candidates is not None and self.max_candidates < self.accept:
            message = f"{self.max_candidates:,} candidates cannot give {self.accept:,} lessons."
            yield ("max_candidates",), message, "Raise it above accept."
        if self.floor > self.cap:
            yield ("floor",), f"floor {self.floor:g} is above cap {self.cap:g}.", ""
        if self.source == "data" and self.data is None:
            yield (), 'missing key "data": from: data reads a file.', "Name it."
        if self.data is not None and self.source != "data":
            yield ("data",), "data is read only with from: data.", "Add from: data, or remove it."
        if self.novelty is None and self.novelty_by != "words":
            yield ("novelty_by",), "novelty_by is read only with novelty.", "Add novelty: 0.95, or remove it."
        for number, pattern in enumerate(self.forbid):
            yield from pattern_faults(("forbid", number), pattern)


class Taught(Generator):
    """What all strategies have that ask teachers."""

    teachers: list[Name] | dict[Name, Annotated[float, Field(gt=0)]] = []
    """Teachers, or teacher: weight. All strategies but `human` need one."""
    prompt: str | None = None
    """Jinja file for teachers that read prompts (litellm; python ones get it rendered too). It sees `task`
    (name, description, columns, target), `mode`, `mode_description`, `n`, `failures` (each with row, gold,
    answer, reason), `seeds`, `lessons` (earlier ones), `style`, `item` (what the strategy starts from: row, answer),
    `direction` and, where the answer to one row is asked for, `row`."""
    allocate: Literal["weights", "bandit"] = "weights"
    """`bandit`: from the second iteration on, teachers get calls by what theirs paid: accepted lessons a dollar (or a
    call, where calls are free), by Thompson sampling. The report shows both."""

    @property
    def prompts(self) -> Mapping[str, str | None]:
        return {"prompt": self.prompt}

    @property
    def asking_prompts(self) -> tuple[str, ...]:
        return ("prompt",)

    @property
    def named_teachers(self) -> Mapping[str | int, str]:
        if isinstance(self.teachers, dict):
            return {name: name for name in self.teachers}
        return dict(enumerate(self.teachers))

    @property
    def weights(self) -> Mapping[str, float]:
        return dict(self.teachers) if isinstance(self.teachers, dict) else dict.fromkeys(self.teachers, 1.0)

    @property
    def learns_who_pays(self) -> bool:
        return self.allocate == "bandit"


class Answered(Taught):
    """Those whose lessons can be answered again by somebody else."""

    second_opinion: list[Name] = []
    """Each lesson without a known answer is answered again by the first of these that did not write it;
    comparing verifiers then need both to agree."""
    second_opinion_prompt: str | None = None
    """Jinja file that asks for the answer to one `row`."""

    @property
    def prompts(self) -> Mapping[str, str | None]:
        return {**super().prompts, "second_opinion_prompt": self.second_opinion_prompt}

    @property
    def opinions(self) -> Sequence[str]:
        return self.second_opinion

    def key_faults(self) -> Iterator[tuple[Path_, str, str]]:
        yield from super().key_faults()
        if self.second_opinion_prompt and not self.second_opinion:
            hint = "Add second_opinion: […], or remove the prompt."
            yield ("second_opinion_prompt",), "no teacher gives a second opinion.", hint


class FromExamples(Answered):
    """New rows like the examples in a prompt."""

    per_call: Positive = 5
    """Rows asked for in one call."""
    examples: Count = 4
    """Real failures, and as many seeds, shown in a prompt."""
    own_examples: Count = 0
    """Earlier lessons shown in a prompt beside them."""
    parse: Literal["rows", "text"] = "rows"
    """`rows`: the answer is JSON rows with the task's columns. `text`: the answer is the target of a given
    row."""

    @property
    def shown(self) -> Shown:
        return Shown(self.per_call, self.examples, self.own_examples)

    @property
    def whole_text(self) -> bool:
        return self.parse == "text"

    def calls_each(self, acceptance: float) -> float:
        return 1.0 if self.whole_text else 1 / self.per_call


class Targeted(FromExamples):
    """New rows like the failures of a mode."""

    strategy: Literal["targeted"] = "targeted"
    """New rows like the failures of a mode."""

    @property
    def has_modes(self) -> bool:
        return True


class SelfInstruct(FromExamples):
    """New rows like the seeds (Wang et al. 2023)."""

    strategy: Literal["self_instruct"]
    """New rows like the seeds."""

    starts_from_rows: ClassVar[bool] = True


class Evolve(Answered):
    """A row made harder, broader or more constrained (Xu et al. 2023, Evol-Instruct)."""

    strategy: Literal["evolve"]
    """A row made harder."""
    directions: Annotated[list[Literal["harder", "broader", "constrained"]], Field(min_length=1)] = [
        "harder", "broader", "constrained",
    ]  # fmt: skip
    """The ways a row is evolved, in turn; the prompt sees `direction`."""
    max_depth: Positive = 3
    """A row that was evolved this often is not evolved further."""

    starts_from_rows: ClassVar[bool] = True


class Reworded(Answered):
    """New questions to an answer that stays."""

    starts_from_rows: ClassVar[bool] = True

    def asked_columns(self, columns: Sequence[str], judged: Sequence[str], target: str) -> list[str]:
        """Tests and the like stay those of the item."""
        return [column for column in columns if column not in judged]


class Paraphrase(Reworded):
    """The question in other words; its answer stays."""

    strategy: Literal["paraphrase"]
    """A row in other words."""


class BackTranslate(Reworded):
    """A question for a known answer (Li et al. 2023)."""

    strategy: Literal["back_translate"]
    """A question for a known answer."""

    writes_the_question: ClassVar[bool] = True


class Trace(Taught):
    """Worked answers to a known question, several samples each (Wang et al. 2022, self-consistency)."""

    strategy: Literal["trace"]
    """A worked answer to a known question."""
    samples: Annotated[int, Field(ge=1, le=64)] = 4
    """Answers to one question."""
    too_easy: Annotated[float, Field(gt=0, le=1)] | None = 1.0
    """A question whose share of right samples reaches this teaches nothing and is dropped; null keeps it. One that no
    sample solves is always dropped."""

    brings_reference: ClassVar[bool] = True
    asks_rows_once: ClassVar[bool] = True
    implementation: ClassVar[int] = 4

    @property
    def answers_each(self) -> int:
        return self.samples

    @property
    def too_easy_from(self) -> float | None:
        return self.too_easy

    def calls_each(self, acceptance: float) -> float:
        return self.samples


class Rationalize(Taught):
    """Worked answers; wrong ones are tried again with the right answer as a hint (Zelikman et al. 2022, STaR)."""

    strategy: Literal["rationalize"]
    """A worked answer to a known question, wrong ones tried again with the answer as hint."""
    samples: Annotated[int, Field(ge=1, le=64)] = 4
    """Answers to one question."""
    hint_prompt: str | None = None
    """Jinja file that asks for the worked answer to `row`, given the right `answer`. The hint is not in the lesson."""

    brings_reference: ClassVar[bool] = True
    asks_rows_once: ClassVar[bool] = True
    implementation: ClassVar[int] = 4

    @property
    def prompts(self) -> Mapping[str, str | None]:
        return {**super().prompts, "hint_prompt": self.hint_prompt}

    @property
    def asking_prompts(self) -> tuple[str, ...]:
        return ("prompt", "hint_prompt")

    @property
    def answers_each(self) -> int:
        return self.samples

    def calls_each(self, acceptance: float) -> float:
        return self.samples


class CodeWithTests(Taught):
    """Problem and solution, then tests by somebody else, run; what the run says goes back for better solutions (as in
    Llama 3's code data, 2024)."""

    strategy: Literal["code_with_tests"]
    """Problem, solution, tests, run, repair."""
    second_opinion: list[Name] = []
    """Who writes the tests: the first of these that did not write the solution."""
    per_call: Positive = 5
    """Problems asked for in one call."""
    examples: Count = 4
    """Real failures, and as many seeds, shown in a prompt."""
    own_examples: Count = 0
    """Earlier lessons shown in a prompt beside them."""
    repairs: Count = 2
    """How often what the run printed goes back to the teacher."""
    tests_prompt: str | None = None
    """Jinja file that asks for tests of `row` and its `answer`."""
    repair_prompt: str | None = None
    """Jinja file that asks for a better answer, given `row`, `answer`, `tests` and `output`."""

    brings_reference: ClassVar[bool] = True
    needs_programs_run: ClassVar[bool] = True
    implementation: ClassVar[int] = 2

    @property
    def prompts(self) -> Mapping[str, str | None]:
        return {**super().prompts, "tests_prompt": self.tests_prompt, "repair_prompt": self.repair_prompt}

    @property
    def asking_prompts(self) -> tuple[str, ...]:
        return ("prompt", "tests_prompt", "repair_prompt")

    @property
    def opinions(self) -> Sequence[str]:
        return self.second_opinion

    @property
    def opinions_each(self) -> float:
        """They write tests, which `calls_each` counts."""
        return 0.0

    @property
    def shown(self) -> Shown:
        return Shown(self.per_call, self.examples, self.own_examples)

    def asked_columns(self, columns: Sequence[str], judged: Sequence[str], target: str) -> list[str]:
        """The tests, the first that the verifier reads, come later."""
        return [*(column for column in columns if column not in judged[:1]), target]

    def calls_each(self, acceptance: float) -> float:
        """Solution, tests, and a repair where the first try fails."""
        return 1 / self.per_call + 1 + min(1, self.repairs) * (1 - acceptance)


class SelfPlay(Taught):
    """The student asks, and answers each question several times; verifiers and its own votes referee."""

    strategy: Literal["self_play"]
    """The student asks and answers."""
    per_call: Positive = 5
    """Questions asked for in one call."""
    examples: Count = 4
    """Real failures, and as many seeds, shown in a prompt."""
    own_examples: Count = 0
    """Earlier lessons shown in a prompt beside them."""
    parse: Literal["rows", "text"] = "rows"
    """`rows`: the answer is JSON rows with the task's columns. `text`: all of it is the one column of a row."""
    samples: Annotated[int, Field(ge=1, le=64)] = 4
    """Answers to one question."""
    too_easy: Annotated[float, Field(gt=0, le=1)] | None = 1.0
    """A question whose share of right samples reaches this teaches nothing and is dropped; null keeps it. One that no
    sample solves is always dropped."""

    by_student_alone: ClassVar[bool] = True
    brings_reference: ClassVar[bool] = True
    starts_from_rows: ClassVar[bool] = True
    implementation: ClassVar[int] = 2

    @property
    def shown(self) -> Shown:
        return Shown(self.per_call, self.examples, self.own_examples)

    @property
    def whole_text(self) -> bool:
        return self.parse == "text"

    @property
    def answers_each(self) -> int:
        return self.samples

    @property
    def too_easy_from(self) -> float | None:
        return self.too_easy

    def asked_columns(self, columns: Sequence[str], judged: Sequence[str], target: str) -> list[str]:
        return [column for column in columns if column not in judged]

    def calls_each(self, acceptance: float) -> float:
        return self.samples + 1 / self.per_call


class Human(Generator):
    """Rows that wait for a person, in `human/<generator>.jsonl`."""

    strategy: Literal["human"]
    """Rows that wait for a person."""

    needs_teachers: ClassVar[bool] = False
    brings_reference: ClassVar[bool] = True


STRATEGIES = Family(
    noun="strategy",
    key="strategy",
    group="flywheel.strategies",
    base=Generator,
    own=(
        Targeted, SelfInstruct, Evolve, Paraphrase, Trace, Rationalize, CodeWithTests, BackTranslate, SelfPlay, Human,
    ),
    facts=(
        "prompts", "asking_prompts", "named_teachers", "weights", "learns_who_pays", "opinions", "opinions_each",
        "has_modes", "shown", "reads_lessons", "whole_text", "answers_each", "too_easy_from", "files",
    ),
    default="targeted",
)  # fmt: skip
AnyGenerator = Annotated[Generator, STRATEGIES]
