"""Answering the requests of a server: one batch, in which each row has its own length, sampling and stops.

Called by name in the model worker: `fn(payload, progress)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.answers import stopped
from flywheel.errors import FlywheelError
from flywheel.records import Generation
from flywheel.student.chat import Chat, Prompter, Turn
from flywheel.student.loading import Arm, Loaded, load
from flywheel.student.memory import out_of_memory
from flywheel.student.sampling import ends_of, generate_batch, generation, misfit, sampler
from flywheel.student.work import Asking, Progress


@dataclass(frozen=True)
class Question:
    """A conversation, of which the last turn is answered; or a `text`, from which the student goes on as it stands."""

    turns: tuple[Turn, ...]
    max_new_tokens: int
    text: str | None = None
    system: str | None = None
    """Instead of the spec's own system message."""
    temperature: float = 0.0
    """0 is greedy; above it `seed` says what is drawn."""
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    streamed: bool = False


@dataclass(frozen=True)
class QuestionJob:
    """Questions that are answered at the same time. `progress` is told, as they come, `said`: (place, more of the
    answer) of those that are streamed, and `done`: (place, answer, tokens of the prompt)."""

    arm: Arm
    asking: Asking
    questions: tuple[Question, ...]


def ready(arm: Arm, progress: Progress) -> None:
    """Load the model, so that the first who asks need not wait. Raises as `load`."""
    del progress
    load(arm)


def respond(job: QuestionJob, progress: Progress) -> None:
    """Answer all questions. One that cannot be asked is done at once, with its `problem`."""
    loaded = load(job.arm)
    prompters: dict[str | None, Prompter] = {}
    rows: list[_Row] = []
    refused = []
    for place, question in enumerate(job.questions):
        try:
            row = _Row(place, question, loaded, _prompter(loaded, job.asking.chat, question.system, prompters))
        except Exception as error:  # a template raises what it likes, and the others' answers do not hang on it
            why = str(error) if isinstance(error, FlywheelError) else f"the chat template refuses it: {error}"
            refused.append((place, _problem(place, why), 0))
            continue
        rows.append(row)
    refused += [(row.place, _problem(row.place, row.problem), len(row.ids)) for row in rows if row.problem]
    if refused:
        progress({"said": [], "done": refused})
    _answer(loaded, [row for row in rows if not row.problem], progress)


def _problem(place: int, why: str) -> Generation:
    return Generation(str(place), "", 0, False, why)


def _prompter(loaded: Loaded, chat: Chat, system: str | None, known: dict[str | None, Prompter]) -> Prompter:
    if system not in known:
        known[system] = Prompter(loaded.tokenizer, chat if system is None else Chat(system, chat.template))
    return known[system]


class _Row:
    """A question on its way."""

    def __init__(self, place: int, question: Question, loaded: Loaded, prompter: Prompter) -> None:
        self.place, self.question, self.loaded, self.prompter = place, question, loaded, prompter
        self.ids = prompter.conversation(question.turns) if question.text is None else prompter.raw(question.text)
        self.ends = frozenset(ends_of(loaded, prompter))
        self.problem = misfit(len(self.ids), question.max_new_tokens, loaded.context)
        self.problem = self.problem or ("" if self.ids else "the prompt is empty")
        self.before = self.sent = ""
        self.is_done = False

    def answered(self, tokens: list[int]) -> tuple[int, Generation, int]:
        asked = self.question
        said = generation(self.loaded, self.prompter, str(self.place), tokens, asked.max_new_tokens, asked.stop)
        return self.place, said, len(self.ids)

    def has_ended(self, tokens: Sequence[int]) -> bool:
        asked = self.question
        if tokens[-1] in self.ends or len(tokens) >= asked.max_new_tokens:
            return True
        text = self.prompter.said(tokens) if asked.stop else ""
        return stopped(text, asked.stop) != text

    def more(self, tokens: Sequence[int]) -> str:
        """What can be sent on: what one token more did not change, and nothing that could still become half a
        character's other half or one of the stops."""
        text = self.prompter.said(tokens)
        settled, self.before = _shared(self.before, text).rstrip("\ufffd"), text
        longest = max(map(len, self.question.stop), default=1) - 1
        held = next((n for n in range(longest, 0, -1) if settled.endswith(_starts(self.question.stop, n))), 0)
        more = settled[len(self.sent) : len(settled) - held]
        self.sent += more
        return more


def _shared(one: str, other: str) -> str:
    """How both begin."""
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def _starts(stop: Sequence[str], length: int) -> tuple[str, ...]:
    return tuple(string[:length] for string in stop if len(string) > length)


def _answer(loaded: Loaded, rows: list[_Row], progress: Progress) -> None:
    """A batch that does not fit the memory is halved: what was drawn by then is drawn again, as its seed says."""
    rows = sorted((row for row in rows if not row.is_done), key=lambda row: -len(row.ids))
    if not rows:
        return
    ends = sorted(frozenset().union(*(row.ends for row in rows)))
    longest = max(row.question.max_new_tokens for row in rows)
    try:
        generate_batch(loaded, [row.ids for row in rows], ends, longest, _noise(rows), watch=_watcher(rows, progress))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error) or len(rows) == 1:
            raise
        half = len(rows) // 2
        _answer(loaded, rows[:half], progress)
        _answer(loaded, rows[half:], progress)


def _watcher(rows: Sequence[_Row], progress: Progress) -> Callable[[list[list[int]]], list[bool]]:
    def watch(tokens: list[list[int]]) -> list[bool]:
        said, done = [], []
        for row, new in zip(rows, tokens, strict=True):
            if row.is_done:
                continue
            row.is_done = row.has_ended(new)
            if row.is_done:
                done.append(row.answered(new))
            elif row.question.streamed and (more := row.more(new)):
                said.append((row.place, more))
        if said or done:
            progress({"said": said, "done": done})
        return [row.is_done for row in rows]

    return watch


def _noise(rows: Sequence[_Row]) -> Callable[[Any, Any], Any] | None:
    """Noise on the rows that are sampled; the greedy ones' scores stay as they are."""
    asked = {place: row.question for place, row in enumerate(rows) if row.question.temperature > 0}
    noises = {place: sampler([one.seed], one.temperature, one.top_p) for place, one in asked.items()}

    def add_noise(ids: Any, scores: Any) -> Any:
        scores = scores.float().clone()
        for place, noise in noises.items():
            scores[place : place + 1] = noise(ids, scores[place : place + 1])
        return scores

    return add_noise if noises else None
