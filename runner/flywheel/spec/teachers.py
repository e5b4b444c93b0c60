"""Teachers: each kind's keys and facts. How they are reached is in `flywheel.teachers`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flywheel.spec.addresses import place_of
from flywheel.spec.base import Count, Name, Positive, Scalar, Seconds, Usd
from flywheel.spec.kinds import Family, Kind


class Teacher(Kind):
    """Who can write lessons. A kind of your own is a subclass with a method `teach`."""

    kind: str
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

    pace: ClassVar[frozenset[str]] = frozenset(
        {"concurrency", "timeout_seconds", "max_retries", "max_calls", "fallback"}
    )
    """Keys that cannot change an answer."""
    remote: ClassVar[bool] = False
    """It is reached over a network: its calls can fail, be tried again, and cost money."""
    reads_prompts: ClassVar[bool] = False
    """It reads nothing but prompts, so that a generator must have one."""
    writes_questions: ClassVar[bool] = True
    """It can write questions, and answer those of others. False: it answers known rows, or hands out its own."""
    is_student: ClassVar[bool] = False
    """It is the student, sampled: asked as tasks ask it, its answers taken as they are."""
    recorded: ClassVar[bool] = False
    """It has recorded rows only and can answer no new one."""

    def teach(self, request: dict[str, Any]) -> str:
        """The answer of a stranger's kind; `request` is what a `kind: python` function gets. Runs in a thread."""
        raise NotImplementedError(f"{type(self).__name__} has no method teach")

    @property
    def is_simulated(self) -> bool:
        """It stands in for a model or a person, and the report says so."""
        return False

    @property
    def deadline(self) -> float | None:
        """Seconds of one attempt; None where none is set."""
        return self.timeout_seconds

    @property
    def answer_tokens(self) -> int | None:
        """The longest answer, in tokens; None where none are counted."""
        return None

    @property
    def price(self) -> tuple[float, float, float | None] | None:
        """Declared dollars of a million tokens: of prompt, of answer, and of prompt that was in the provider's cache
        (None: as any other); None where the spec says none."""
        return None

    @property
    def address(self) -> str | None:
        """Of its server; may hold references to variables."""
        return None

    @property
    def key_reference(self) -> str | None:
        """The reference to its key."""
        return None

    @property
    def priced_as(self) -> str:
        """The name under which litellm may know the price."""
        return ""

    @property
    def routed_as(self) -> str:
        """The name by which litellm must find who serves the model; empty where litellm is not asked."""
        return ""

    @property
    def usd_limit(self) -> float | None:
        """Hard stop: dollars per run."""
        return None

    @property
    def matched_column(self) -> str | None:
        """The column of its rows by which they are picked."""
        return None

    def identity(self) -> dict[str, Any]:
        """Its keys that can change an answer, for fingerprints."""
        return {key: value for key, value in self.model_dump().items() if key not in self.pace}

    def same_source(self, other: "Teacher") -> bool:
        """Whether both are one author: the same model, function or rows under another name."""
        return type(self) is type(other) and self.identity() == other.identity()

    def style_of(self, sample: int) -> str:
        """The style of the call with this sample number."""
        if isinstance(self.style, str):
            return self.style
        return self.style[sample % len(self.style)] if self.style else ""


class LitellmTeacher(Teacher):
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
    """Price of a million tokens of answer, reasoning included."""
    usd_per_million_cached: Usd | None = None
    """Price of a million tokens of prompt that the provider had in its cache (default: as any other prompt)."""
    max_usd: Usd | None = None
    """Hard stop: dollars per run. An unknown price is then refused."""

    pace: ClassVar[frozenset[str]] = Teacher.pace | {
        "api_key", "rpm", "tpm", "max_usd", "usd_per_million_input", "usd_per_million_output",
        "usd_per_million_cached",
    }  # fmt: skip
    variables: ClassVar[tuple[str, ...]] = ("api_key", "api_base")
    remote: ClassVar[bool] = True
    reads_prompts: ClassVar[bool] = True

    @property
    def answer_tokens(self) -> int:
        return self.max_tokens

    @property
    def price(self) -> tuple[float, float, float | None] | None:
        """One side alone means that the other is free."""
        given = (self.usd_per_million_input, self.usd_per_million_output)
        return None if given == (None, None) else (given[0] or 0.0, given[1] or 0.0, self.usd_per_million_cached)

    @property
    def address(self) -> str | None:
        return self.api_base

    @property
    def key_reference(self) -> str | None:
        return self.api_key

    @property
    def priced_as(self) -> str:
        return self.model

    @property
    def routed_as(self) -> str:
        return self.model

    @property
    def usd_limit(self) -> float | None:
        return self.max_usd

    def identity(self) -> dict[str, Any]:
        """What is left to the provider is left out."""
        return {key: value for key, value in super().identity().items() if value is not None}

    def same_source(self, other: "Teacher") -> bool:
        return isinstance(other, LitellmTeacher) and self._served == other._served

    @property
    def _served(self) -> tuple[str, str]:
        """Model and server. At an address of its own the provider says only in which words the server is asked."""
        if self.api_base is None:
            return self.model, ""
        return self.model.partition("/")[2] or self.model, place_of(self.api_base)


class PythonTeacher(Teacher):
    """A function in the project: `def teach(request: dict) -> str`."""

    kind: Literal["python"]
    """A function in the project."""
    function: str
    """`file.py:function`."""
    options: dict[str, Scalar] = {}
    """Given to the function as `request["options"]`."""
    simulated: bool = False
    """Say so when the function stands in for a model or a person; the report names it as simulated."""

    @property
    def functions(self) -> Mapping[str, str]:
        return {"function": self.function}

    @property
    def is_simulated(self) -> bool:
        return self.simulated

    def same_source(self, other: "Teacher") -> bool:
        return isinstance(other, PythonTeacher) and (self.function, self.options) == (other.function, other.options)


class StudentTeacher(Teacher):
    """The student itself, sampled on rows whose answer is known: the verifiers referee."""

    kind: Literal["student"]
    """The student itself."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 0.8
    """Above 0: equal samples teach nothing."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Nucleus sampling."""

    writes_questions: ClassVar[bool] = False
    is_student: ClassVar[bool] = True

    @property
    def deadline(self) -> None:
        return None

    def same_source(self, other: "Teacher") -> bool:
        return other.is_student


class DatasetTeacher(Teacher):
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

    writes_questions: ClassVar[bool] = False
    recorded: ClassVar[bool] = True

    @property
    def files(self) -> Mapping[str, str]:
        return {"path": self.path}

    @property
    def is_simulated(self) -> bool:
        return self.simulated

    @property
    def deadline(self) -> None:
        return None

    @property
    def matched_column(self) -> str | None:
        return self.match


TEACHERS = Family(
    noun="teacher",
    key="kind",
    group="flywheel.teachers",
    base=Teacher,
    own=(LitellmTeacher, PythonTeacher, StudentTeacher, DatasetTeacher),
    facts=("is_simulated", "deadline", "answer_tokens", "price", "priced_as", "usd_limit", "matched_column", "files"),
)
AnyTeacher = Annotated[Teacher, TEACHERS]
