"""How a prompt is put to a student: by its tokenizer's chat template, whatever family it is of.

Templates differ in what they take (text or parts, a system message or none), in what they write before an answer (an
empty thought, a channel), in whether the prompt already opens a thought, and in how a turn ends. All of that is found
out by rendering words that stand for a prompt and an answer, never by a family's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flywheel.answers import closing_tag, is_thought_tag, open_thought, without_thoughts
from flywheel.errors import FlywheelError
from flywheel.text import did_you_mean, gap

Turn = tuple[str, str]
"""Role and content."""

#: Where the prompt stands in a `Prompter.skeleton`.
PLACE = "{prompt}"
#: What stands for a prompt, an answer and a system message while a template is looked at.
_ASKED, _SAID, _SYSTEM = "flywheel-asked", "flywheel-said", "flywheel-system"
#: Where a model tells its thoughts from its answer by channels, these tokens do.
_CHANNEL = frozenset({"<|start|>", "<|channel|>", "<|message|>", "<|end|>"})
#: Some templates say what day it is. A prompt of tomorrow must be that of today, or no two evaluations compare: theirs
#: is the day that Llama's own template names where it is told none.
_SAME_DAY = (
    "{%- macro strftime_now(format) -%}{{ '26 Jul 2024' if format == '%d %b %Y' else '2024-07-26' }}{%- endmacro -%}"
)


@dataclass(frozen=True)
class Chat:
    """What the spec says: a system message, and variables for the chat template, such as `enable_thinking`."""

    system: str | None = None
    template: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Form:
    """How a template takes messages: contents as a list of parts, the system message as part of the first prompt."""

    parts: bool
    folded: bool


class Prompter:
    """Prompts and answers as a tokenizer's student reads and writes them. Raises FlywheelError for a chat template
    that renders no plain question, and for variables that it does not read.

    Text in a prompt that looks like one of the tokenizer's control tokens (`<|im_end|>` in a ticket) is read as text:
    it neither ends a turn nor opens a thought. In an answer thoughts are thoughts, all else is text.
    """

    def __init__(self, tokenizer: Any, chat: Chat) -> None:
        self.tokenizer = tokenizer
        self.chat = chat
        self._template = str(tokenizer.get_chat_template()) if tokenizer.chat_template else ""
        added = (token.content for token in tokenizer.added_tokens_decoder.values())
        self._added = _any_of(content for content in added if not content.isspace())
        self._form = self._found_form() if self._template else _Form(False, False)
        self._check_variables()

    # -- what the student reads

    def read(self, prompt: str, shots: Sequence[tuple[str, str]] = ()) -> tuple[str, list[int]]:
        """`text` and `ids`."""
        text = self.text(prompt, shots)
        return text, self._ids(text, _turns(prompt, shots))

    def text(self, prompt: str, shots: Sequence[tuple[str, str]] = ()) -> str:
        """The chat template around the prompt, solved examples as turns before it; without a template the prompt
        itself, examples as text before it.
        """
        if not self._template:
            return "".join(f"{asked}{gap(asked, said)}{said}\n\n" for asked, said in shots) + prompt
        return self._render(_turns(prompt, shots), prompted=True) + self._header

    def ids(self, prompt: str, shots: Sequence[tuple[str, str]] = ()) -> list[int]:
        """Token ids of `text`, with the tokenizer's own special tokens unless the template writes them; that is
        lm-eval's rule, too.
        """
        return self.read(prompt, shots)[1]

    def conversation(self, turns: Sequence[Turn]) -> list[int]:
        """Token ids of a conversation up to the student's next word; without a template of its last turn alone. A
        template raises what it likes about turns that it does not take."""
        if not self._template:
            return self.ids(turns[-1][1])
        return self._ids(self._render(turns, prompted=True) + self._header, turns)

    def raw(self, text: str) -> list[int]:
        """Token ids of a text to go on from as it stands: what is a control token in it is one."""
        return self._encoded(text, first=True)

    def _ids(self, text: str, turns: Sequence[Turn]) -> list[int]:
        if not self._meets_added(self.chat.system or "", *(content for _, content in turns)):
            return self._encoded(text, first=True)
        if not self._template:
            return list(self.tokenizer.encode(text, split_special_tokens=True))
        ids = self._rendered(turns, prompted=True, tokenize=True, sanitize_control_tokens=True)
        start = [] if self._has_start(text) else self._start
        return [*start, *ids, *self._encoded(self._header)]

    def skeleton(self) -> dict[str, Any] | None:
        """How a prompt is put to the student, as data for those who do it without us: the `messages` with `{prompt}`
        where it stands, the template's `variables`, and what comes `after` the rendered text. None without a template.
        """
        if not self._template:
            return None
        messages = self._messages([("user", PLACE)], self.chat.system, self._form)
        return {"messages": messages, "variables": dict(self.chat.template), "after": self._header}

    # -- what it should write

    def supervised(self, prompt: str, target: str, ended: bool = True) -> tuple[list[int], int]:
        """A training row: token ids of prompt and completion, and how many of them are prompt (masked in the loss).

        The completion is what the student must write itself: what the template puts before an answer, the answer, the
        end of the turn. An answer that was cut is not `ended`: nothing comes after it.
        """
        asked = self.ids(prompt)
        before, target, end = self._lead_of(target), self._answer_of(target), self.end if ended else ""
        if not self._meets_added(target):
            return asked + self._encoded(f"{before}{target}{end}"), len(asked)
        said = self._encoded(target, split_special_tokens=True)
        return asked + self._encoded(before) + said + self._encoded(end), len(asked)

    @cached_property
    def opened(self) -> str:
        """The tag of the thought that every prompt opens, or nothing: the student's first word is then a thought."""
        return open_thought(self._prompted.rpartition(_ASKED)[2])

    @cached_property
    def end(self) -> str:
        """What ends an answer: the template's first control token after it, else the tokenizer's end of text."""
        tail = self._answered[1]
        found = self._control.search(tail) if self._control else None
        return tail[: found.end()] if found else f"{tail.rstrip()}{self.tokenizer.eos_token}"

    def stop_ids(self, configured: int | Sequence[int] | None) -> list[int]:
        """Tokens at which the student stops: the tokenizer's, those of its generation config, the template's."""
        ids = {self.tokenizer.eos_token_id, *(configured if isinstance(configured, Sequence) else [configured])}
        return sorted(i for i in ids | self._end_token if i is not None)

    @cached_property
    def _end_token(self) -> set[int]:
        """Asked for with every answer."""
        return set(self._encoded(self.end)[-1:])

    def said(self, tokens: Sequence[int]) -> str:
        """The text of generated token ids; control tokens are left out, but for those around a thought."""
        drop = self._dropped
        text = self.tokenizer.decode([t for t in tokens if t not in drop], skip_special_tokens=False)
        return f"{self.opened}{text}"

    # -- how the template works

    def _rendered(self, turns: Sequence[Turn], prompted: bool, **how: Any) -> Any:
        """A conversation by the template: text, or token ids where `how` says so."""
        return self._put(turns, self.chat.system, prompted, self._form, **how)

    def _put(self, turns: Sequence[Turn], system: str | None, prompted: bool, form: _Form, **how: Any) -> Any:
        messages = self._messages(turns, system, form)
        how = {"tokenize": False, "return_dict": False, **how, **self.chat.template}
        return self.tokenizer.apply_chat_template(messages, add_generation_prompt=prompted, **how)

    @staticmethod
    def _messages(turns: Sequence[Turn], system: str | None, form: _Form) -> list[dict[str, Any]]:
        turns = list(turns)
        if system and form.folded:
            turns[0] = turns[0][0], f"{system}\n\n{turns[0][1]}"
        elif system:
            turns.insert(0, ("system", system))
        return [{"role": role, "content": _parts(content) if form.parts else content} for role, content in turns]

    def _render(self, turns: Sequence[Turn], prompted: bool) -> str:
        return str(self._rendered(turns, prompted))

    def _found_form(self) -> _Form:
        system = _SYSTEM if self.chat.system else None
        why = "it leaves the question out"
        for folded in (False, True) if system else (False,):
            for parts in (False, True):
                form = _Form(parts, folded)
                try:
                    text = str(self._put([("user", _ASKED)], system, prompted=True, form=form))
                except Exception as error:  # a template can raise anything
                    why = f"{type(error).__name__}: {error}"
                    continue
                if text.count(_ASKED) == 1 and (not system or _SYSTEM in text):
                    return form
        raise FlywheelError(
            f"the chat template of {self.tokenizer.name_or_path} cannot render a plain question: {why}. Give the "
            "student a tokenizer with another chat template."
        )

    @cached_property
    def _bare(self) -> str:
        return self._render([("user", _ASKED)], prompted=False) if self._template else _ASKED

    @cached_property
    def _prompted(self) -> str:
        return self._render([("user", _ASKED)], prompted=True) if self._template else _ASKED

    @cached_property
    def _answered(self) -> tuple[str, str]:
        """What an answer stands between, in a finished conversation: all before it, and all behind it."""
        if not self._template:
            return _ASKED, ""
        turns = [("user", _ASKED), ("assistant", _SAID)]
        before, found, behind = self._render(turns, prompted=False).rpartition(_SAID)
        if not found:
            raise FlywheelError(f"the chat template of {self.tokenizer.name_or_path} leaves the answer out.")
        return before, behind

    @cached_property
    def _header(self) -> str:
        """What a template without a generation prompt writes before an answer: part of the prompt then."""
        before = self._answered[0]
        unasked = self._bare == self._prompted and before.startswith(self._prompted)
        return before[len(self._prompted) :] if unasked else ""

    @cached_property
    def _lead(self) -> str:
        """What a student must write before its answer: what the template has there, with any open thought closed."""
        before, asked = self._answered[0], self._prompted + self._header
        lead = before[len(asked) :] if before.startswith(asked) else ""
        if not self.opened or not open_thought(self.opened + lead):
            return lead
        return self._closing or f"\n{closing_tag(self.opened)}\n\n"

    @cached_property
    def _closing(self) -> str:
        """How the template itself closes the thought that a prompt opened, where it can be told not to think."""
        told = Prompter(self.tokenizer, Chat(self.chat.system, {**self.chat.template, **self._not_thinking}))
        closed = told._prompted
        return closed[len(self._prompted) :] if closed.startswith(self._prompted) and not told.opened else ""

    @property
    def _not_thinking(self) -> dict[str, bool]:
        return {name: False for name in ("enable_thinking", "thinking") if _reads(self._template, name)}

    def _lead_of(self, target: str) -> str:
        """A target that thinks by itself is not also given an empty thought."""
        own = without_thoughts(target) != target
        return "" if own and (self.opened or without_thoughts(self._lead) != self._lead) else self._lead

    def _answer_of(self, target: str) -> str:
        """A target without the tag that the prompt has written already."""
        return target.removeprefix(self.opened) if self.opened else target

    def _check_variables(self) -> None:
        name = next((name for name in self.chat.template if not _reads(self._template, name)), None)
        if name is None:
            return
        whose = self.tokenizer.name_or_path
        if not self._template:
            raise FlywheelError(f"student.chat_template_kwargs: {whose} has no chat template. Take {name} out.")
        hint = did_you_mean(name, set(re.findall(r"\b[a-z_]{4,}\b", self._template)), cut=False)
        raise FlywheelError(
            f'student.chat_template_kwargs: the chat template of {whose} reads no "{name}". {hint}'.rstrip()
        )

    # -- tokens

    def _encoded(self, text: str, first: bool = False, **how: Any) -> list[int]:
        """`first`: the tokenizer's own special tokens are put around it, where the text does not begin with one."""
        return list(self.tokenizer.encode(text, add_special_tokens=first and not self._has_start(text), **how))

    def _has_start(self, text: str) -> bool:
        bos = self.tokenizer.bos_token
        return bool(bos and text.startswith(bos))

    @cached_property
    def _start(self) -> list[int]:
        """What the tokenizer puts before every text."""
        ids = self.tokenizer.encode("", add_special_tokens=True)
        return [token for token in ids if token == self.tokenizer.bos_token_id]

    def _meets_added(self, *texts: str) -> bool:
        return self._added is not None and any(self._added.search(text) for text in texts)

    @cached_property
    def _control(self) -> re.Pattern[str] | None:
        return _any_of(token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special)

    @cached_property
    def _dropped(self) -> frozenset[int]:
        tokens = self.tokenizer.added_tokens_decoder
        special = {i: token.content for i, token in tokens.items() if token.special}
        told = _CHANNEL if "<|channel|>" in special.values() else frozenset()
        return frozenset(i for i, content in special.items() if not is_thought_tag(content) and content not in told)


def on_the_same_day(template: Any) -> Any:
    """A chat template (or several, by name) for which it is always the same day."""
    if isinstance(template, dict):
        return {name: on_the_same_day(one) for name, one in template.items()}
    return _SAME_DAY + template if isinstance(template, str) and "strftime_now" in template else template


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(filter(None, texts), key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _turns(prompt: str, shots: Sequence[tuple[str, str]]) -> list[Turn]:
    turns = [(role, part) for shot in shots for role, part in zip(("user", "assistant"), shot, strict=True)]
    return [*turns, ("user", prompt)]


def _parts(content: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": content}]


def _reads(template: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", template) is not None
