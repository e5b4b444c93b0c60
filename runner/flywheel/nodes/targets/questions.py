"""The served-model gate: a server's greedy answers against those that were evaluated, and those of the base."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flywheel.answers import stopped, without_thoughts
from flywheel.nodes.targets.release import Server, TargetRefused
from flywheel.text import one_line, plural

#: Prompts that a server is asked.
ASKED = 4
#: Of so many evaluated answers those are looked for that the base would not give.
LOOKED_AT = 16


@dataclass(frozen=True)
class ServedPrompt:
    """A prompt as the student is asked, with the answer that was evaluated and what the base says to it."""

    prompt: str
    answer: str
    base: str
    stop: tuple[str, ...] = ()

    @property
    def tells(self) -> bool:
        """Whether the answer tells the model from its base."""
        return self.read(self.answer) != self.read(self.base)

    def read(self, text: str) -> str:
        """Up to the stop, without thoughts, as both sides are compared."""
        return whole(without_thoughts(stopped(text, self.stop))).strip()


def whole(text: str) -> str:
    """Without a character that the length limit cut in the middle: transformers writes U+FFFD for it, vLLM nothing."""
    return text.rstrip("\ufffd")


#: Evaluated: (prompt, answer, stop).
Evaluated = tuple[str, str, tuple[str, ...]]


def chosen(evaluated: Sequence[Evaluated], base: Callable[[Sequence[str]], Sequence[str]]) -> list[ServedPrompt]:
    """The questions that a server is asked, those that tell the model from its base. `base`: prompts → its answers."""
    some = evaluated[:LOOKED_AT]
    said = base([prompt for prompt, _, _ in some])
    found = [ServedPrompt(prompt, answer, b, stop) for (prompt, answer, stop), b in zip(some, said, strict=True)]
    return [question for question in found if question.tells][:ASKED]


class ServedGate:
    """Asks a server as the model in `home` was evaluated: greedily, by its chat template or by the bare prompt."""

    def __init__(self, home: Path, questions: Sequence[ServedPrompt]) -> None:
        self._home, self._questions = home, questions

    @cached_property
    def _settings(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self._home / "flywheel.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise TargetRefused(
                f"{self._home.name} was deployed by an earlier version, which did not keep how it is asked."
            ) from None

    def __call__(self, server: Server, model: str) -> None:
        """Raise TargetRefused where the answers of `model` are not the evaluated ones. Paths begin after `/v1`."""
        if not self._questions:
            raise TargetRefused(
                "no answer of the evaluation tells the model from its base, so nobody can say which one is served. "
                "Give a suite with a `task` more items, or write deploy.kind: folder."
            )
        said = [self._ask(server, model, question) for question in self._questions]
        wrong = [(q, text) for q, text in zip(self._questions, said, strict=True) if q.read(text) != q.read(q.answer)]
        if not wrong:
            return
        question, text = wrong[0]
        number = f"{len(wrong)} of {plural(len(said), 'prompt')}"
        if all(q.read(text) == q.read(q.base) for q, text in wrong):
            raise TargetRefused(
                f"{server.place} answers {number} as the base model does: {model} is not in force there. Look into the "
                "server's log for adapter weights that matched nothing."
            )
        raise TargetRefused(
            f"{server.place} answers {number} otherwise than {model} was evaluated: {_quoted(question, text)} instead "
            f"of {_quoted(question, question.answer)}. Serve the same base in the precision of the evaluation "
            f"({self._settings['dtype']}), with its chat template."
        )

    def _ask(self, server: Server, model: str, question: ServedPrompt) -> str:
        body: dict[str, Any] = {"model": model, "temperature": 0, "max_tokens": self._settings["max_new_tokens"]}
        if question.stop:
            body["stop"] = list(question.stop)
        chat = self._settings["chat"]
        if chat is None:
            found = server.post("/completions", {**body, "prompt": question.prompt})
        else:
            body |= {"chat_template_kwargs": chat["variables"]} if chat["variables"] else {}
            found = server.post("/chat/completions", {**body, "messages": _messages(chat, question.prompt)})
        return _text(server, found)


def _quoted(question: ServedPrompt, text: str) -> str:
    return f'"{one_line(question.read(text), 60)}"'


def _messages(chat: Mapping[str, Any], prompt: str) -> Any:
    return json.loads(json.dumps(chat["messages"]).replace("{prompt}", json.dumps(prompt)[1:-1]))


def _text(server: Server, found: Any) -> str:
    try:
        choice = found["choices"][0]
        return str((choice["message"]["content"] if "message" in choice else choice["text"]) or "")
    except (KeyError, IndexError, TypeError):
        said = server.shown(str(found), 120)
        raise TargetRefused(f"{server.place} does not answer as OpenAI's protocol wants it: {said}.") from None
