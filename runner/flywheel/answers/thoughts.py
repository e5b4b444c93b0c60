"""What a reasoning model thinks before it answers."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TAG = re.compile(
    r"(?P<open><(?:seed:)?(?:think(?:ing)?|thoughts?)\s*>|\[THINK\]|◁think▷|<\|(?:begin_of_thought|start_thinking)\|>"
    r"|<\|channel>)"
    r"|<(?:/(?:seed:)?(?:think(?:ing)?|thoughts?)|/?end_of_thought)\s*>|\[/THINK\]|◁/think▷"
    r"|<\|(?:end_of_thought|end_thinking)\|>|<channel\|>",
    re.IGNORECASE,
)
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(analysis|commentary|final)\b[^<]*<\|message\|>(.*?)"
    r"(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
_PAIRS = (("<|begin_of_", "<|end_of_"), ("<|start_", "<|end_"), ("<|channel>", "<channel|>"))
_MAY_THINK = re.compile(r"[<[◁]|\A\s*analysis")
_BARE_CHANNELS = re.compile(r"\A\s*analysis.*assistantfinal", re.DOTALL)
#: Working and answer in tags of their own, as some models are trained to write: only at the very start.
_REASONING = re.compile(r"\A\s*<(reasoning|analysis|reflection|scratchpad)>.*?</\1>", re.DOTALL)
_ANSWER = re.compile(
    r"\A\s*(?:<answer>|<\|(?:begin_of_solution|start_response)\|>)(.*?)"
    r"(?:(?:</answer>|<\|(?:end_of_solution|end_response)\|>)\s*)?\Z",
    re.DOTALL | re.IGNORECASE,
)


def without_thoughts(text: str) -> str:
    """`text` without what a reasoning model thought before it answered.

    A closing tag without an opening one ends a thought that the prompt opened. What follows an opening tag that is
    never closed is all thought. Of channels (`<|channel|>analysis…`, `<|channel|>final…`) the last final one is the
    answer. A tag in quotes or back-ticks is spoken of, not used.
    """
    if not _MAY_THINK.search(text):  # nearly all answers
        return text
    if channels := _CHANNEL.findall(text):
        finals = [said for name, said in channels if name == "final"]
        return finals[-1] if finals else ""
    if bare := _BARE_CHANNELS.match(text):  # the same, where decoding has dropped the special tokens
        return text[bare.end() :]
    kept: list[str] = []
    start, thinking = 0, False
    for tag in _used_tags(text):
        if tag["open"] is None:
            kept = kept if thinking else []
            start, thinking = tag.end(), False
        elif not thinking:
            kept.append(text[start : tag.start()])
            thinking = True
    return "".join(kept if thinking else [*kept, text[start:]])


def leading_thought(text: str) -> str:
    """What `text` holds before its answer where that is a thought, with the blanks behind it; nothing where it is none,
    or stands elsewhere too."""
    answer = without_thoughts(text).lstrip()
    thought = text[: len(text) - len(answer)] if text.endswith(answer) else ""
    return thought.lstrip() if _TAG.search(thought) else ""


def _used_tags(text: str) -> Iterator[re.Match[str]]:
    """Tags that are not quoted: neither each by itself ("</think>") nor a pair ('<think>.*?</think>')."""
    quote = ""
    for tag in _TAG.finditer(text):
        before, after = text[max(tag.start() - 1, 0) : tag.start()], text[tag.end() : tag.end() + 1]
        before = "" if text[max(tag.start() - 3, 0) : tag.start()] == "```" else before  # a fence
        quoted = before != "" and before in "\"'`" and (tag["open"] is not None or after in (before, "\\"))
        if not quoted and not (tag["open"] is None and quote and after == quote):
            yield tag
        quote = before if quoted and tag["open"] is not None else ""


def is_thought_tag(text: str) -> bool:
    """Whether `text` is a tag that opens or closes a thought."""
    return _TAG.fullmatch(text) is not None


def open_thought(text: str) -> str:
    """The tag of the thought that is open where `text` ends; nothing where none is."""
    tags = list(_TAG.finditer(text))
    return tags[-1][0] if tags and tags[-1]["open"] is not None else ""


def closing_tag(opening: str) -> str:
    """What closes a thought that `opening` opened: `</think>`, `[/THINK]`, `<|end_of_thought|>`."""
    for start, end in _PAIRS:
        if opening.casefold().startswith(start):
            return (end.upper() if opening.isupper() else end) + opening[len(start) :]
    return f"{opening[:1]}/{opening[1:]}"


def without_wrapping(text: str) -> str:
    """`text` without leading `<reasoning>…</reasoning>` and, where they hold all the rest, `<answer>…</answer>`."""
    if "<" not in text:
        return text
    return _ANSWER.sub(lambda found: found[1], _REASONING.sub("", text))
