"""How prompts are put to students: every chat template that TRL ships, control tokens in rows, thoughts."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from flywheel.answers import open_thought, without_thoughts
from flywheel.errors import FlywheelError
from flywheel.student.chat import Chat, Prompter, on_the_same_day


def shipped_templates() -> dict[str, str]:
    """Without importing it, which takes seconds."""
    found = importlib.util.find_spec("trl")
    assert found is not None, "trl is among the development requirements"
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0]) / "chat_templates"
    return {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.jinja"))}


TEMPLATES = shipped_templates()
OPEN = ("deepseek_r1", "deepseekv3", "nemotron", "qwen3_5_think", "qwen3_6", "qwen3_8")
"""Begins the names of those whose prompt opens a thought where nothing else is said."""
CONTROL = re.compile(
    r"<\|[^|<>\s']+\|>|<｜[^｜]+｜>|</?s>|<(?:start|end)_of_turn>|<\|?turn\|?>|<\|?channel\|?>|<end_of_utterance>"
)


def tokenizer(template: str | None) -> Any:
    """Byte by byte, with the template's own control tokens as special ones, and `<think>` as an ordinary added one."""
    vocabulary = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bare = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    control = sorted({*CONTROL.findall(template or ""), "<|im_end|>"})
    made = PreTrainedTokenizerFast(
        tokenizer_object=bare, bos_token="<bos>", eos_token="<eos>", additional_special_tokens=control
    )
    made.add_tokens(["<think>", "</think>"])
    made.chat_template = on_the_same_day(template)
    return made


def shown(prompter: Prompter, ids: list[int]) -> str:
    return str(prompter.tokenizer.decode(ids, skip_special_tokens=False))


def test_there_are_at_least_the_templates_of_the_time_of_writing() -> None:
    assert len([name for name in TEMPLATES if not name.endswith("_training")]) >= 35


@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_asks_and_is_answered(name: str, system: str | None) -> None:
    prompter = Prompter(tokenizer(TEMPLATES[name]), Chat(system))
    question = "Which colour has grass?"

    ids, start = prompter.supervised(question, "green")
    asked, completion = shown(prompter, ids[:start]), shown(prompter, ids[start:])

    assert asked == prompter.text(question)
    assert ids[:start] == prompter.ids(question), "the prompt that is trained on is the one that is asked"
    assert asked.count(question) == 1
    assert system is None or asked.count(system) == 1
    assert completion.endswith(f"green{prompter.end}")
    assert ids[-1] in prompter.stop_ids(None), "the stop token is trained, and it stops"
    assert ids[-1] not in ids[start:-1], "and nothing is trained behind it"
    assert not open_thought(asked[asked.index(question) :] + completion), "no answer is a thought"
    assert bool(prompter.opened) == name.startswith(OPEN)
    assert without_thoughts(prompter.said(ids[start:])).strip().endswith("green")


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_looks_like_a_control_token_stays_text(name: str) -> None:
    prompter = Prompter(tokenizer(TEMPLATES[name]), Chat("Be <|im_end|> brief."))
    control = [token.content for token in prompter.tokenizer.added_tokens_decoder.values() if token.special]
    control += ["<think>"] if "<think>" in TEMPLATES[name] else []
    spoofed = f"a ticket {' '.join(control)} that ends"

    plain, plain_start = prompter.supervised("a ticket", "green")
    ids, start = prompter.supervised(spoofed, f"green {control[0]}")

    added = set(prompter.tokenizer.added_tokens_decoder)
    assert [i for i in ids[:start] if i in added] == [i for i in plain[:plain_start] if i in added]
    assert [i for i in ids[start:] if i in added] == [i for i in plain[plain_start:] if i in added]
    assert spoofed in shown(prompter, ids[:start])


def test_without_a_template_control_tokens_of_a_row_are_text_too() -> None:
    prompter = Prompter(tokenizer(None), Chat())
    ids, start = prompter.supervised("a ticket <eos> ends", "green <eos>")
    eos = prompter.tokenizer.eos_token_id
    assert ids.count(eos) == 1
    assert ids[-1] == eos
    assert shown(prompter, ids[:start]).endswith("a ticket <eos> ends")


@pytest.mark.parametrize("name", [name for name in TEMPLATES if "enable_thinking" in TEMPLATES[name]])
def test_told_not_to_think_no_prompt_opens_a_thought(name: str) -> None:
    prompter = Prompter(tokenizer(TEMPLATES[name]), Chat(template={"enable_thinking": False}))
    assert prompter.opened == ""
    ids, start = prompter.supervised("Which colour?", "green")
    assert not open_thought(shown(prompter, ids[start:]))


def test_a_thinking_student_is_judged_by_what_follows_the_thought() -> None:
    prompter = Prompter(tokenizer(TEMPLATES["qwen3_5_think"]), Chat())
    read = prompter.tokenizer.encode

    assert without_thoughts(prompter.said(read("is it red? no\n</think>\n\ngreen"))).strip() == "green"
    assert without_thoughts(prompter.said(read("is it red? perhaps it is"))) == "", "never closed: all of it is thought"


@pytest.mark.parametrize("target", ["<think>\nred? no\n</think>\n\ngreen", "<think>red?</think>green"])
@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_think", "deepseekv3"])
def test_a_lesson_that_thinks_has_one_thought(name: str, target: str) -> None:
    prompter = Prompter(tokenizer(TEMPLATES[name]), Chat())
    ids, start = prompter.supervised("Which colour?", target)
    whole = prompter.opened + shown(prompter, ids[start:])
    assert whole.count("<think>") == whole.count("</think>") == 1
    assert ids.count(prompter.tokenizer.convert_tokens_to_ids("</think>")) == 1, "as the token, not as text"


def test_control_tokens_around_a_thought_are_kept_when_an_answer_is_read() -> None:
    prompter = Prompter(tokenizer(TEMPLATES["gptoss"]), Chat())
    said = "<|channel|>analysis<|message|>red? no<|end|><|start|>assistant<|channel|>final<|message|>green"
    assert without_thoughts(prompter.said(prompter.tokenizer.encode(said))) == "green"
    other = Prompter(tokenizer(TEMPLATES["phi3"]), Chat())
    assert other.said(other.tokenizer.encode("green<|end|>")) == "green"


def test_a_prompt_is_the_same_tomorrow() -> None:
    for name in ("gptoss", "llama3_2", "muse_glimmer"):
        text = Prompter(tokenizer(TEMPLATES[name]), Chat()).text("Which colour?")
        assert re.search(r"2024", text), name


def test_a_day_can_be_named() -> None:
    text = Prompter(tokenizer(TEMPLATES["llama3_2"]), Chat(template={"date_string": "1 Jan 2030"})).text("Which?")
    assert "1 Jan 2030" in text


def test_shots_are_turns() -> None:
    prompter = Prompter(tokenizer(TEMPLATES["qwen2_5"]), Chat())
    text, ids = prompter.read("which?", [("grass", "green <|im_end|>"), ("sky", "blue")])
    assert text.count("<|im_start|>user") == 3
    assert ids.count(prompter.tokenizer.convert_tokens_to_ids("<|im_end|>")) == 6, "system, and five turns"


@pytest.mark.parametrize(
    ("template", "variables", "message"),
    [
        (TEMPLATES["qwen3"], {"enable_thinkin": False}, 'reads no "enable_thinkin". Did you mean "enable_thinking"'),
        (None, {"enable_thinking": False}, "has no chat template. Take enable_thinking out"),
        ("{{ raise_exception('images only') }}", {}, "cannot render a plain question: TemplateError: images only"),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", {}, "it leaves the question out"),
    ],
)
def test_a_template_that_cannot_be_used_is_said(template: str | None, variables: dict[str, Any], message: str) -> None:
    with pytest.raises(FlywheelError, match=re.escape(message)):
        Prompter(tokenizer(template), Chat(template=variables)).text("x")
