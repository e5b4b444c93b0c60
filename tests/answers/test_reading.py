"""Where the answer stands: blocks, fences, thoughts, in each language."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.answers import Language, extract_answer, leading_thought, without_thoughts

CASES = Path(os.environ.get("FLYWHEEL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")).parent / "cases"
F = "def f(x):\n    return x"
QUERY = "SELECT 1"
OBJECT = '{"a": 1}'


def fenced(body: str, info: str = "", fence: str = "```") -> str:
    return f"{fence}{info}\n{body}\n{fence}"


def test_the_shared_cases() -> None:
    file = CASES / "answers.jsonl"
    if not file.exists():
        pytest.skip(f"no cases at {file}")
    for case in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
        assert extract_answer(case["answer"], case["language"]) == case["right"], case["id"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" SELECT 1 \n", "SELECT 1"),
        ("```sql\nSELECT 1\n```", "SELECT 1"),
        ("Sure:\n```sql\nSELECT 1\n```\nDone.", "SELECT 1"),
        ("First\n```\nSELECT 0\n```\nbetter\n```\nSELECT 1\n```", "SELECT 1"),
        ("```\nSELECT 1", "SELECT 1"),
        ("`SELECT 1`", "SELECT 1"),
        ("`` `a` ``", "`a`"),
        ("`a` and `b`", "`a` and `b`"),
        ("<think>or 2?</think>\nSELECT 1", "SELECT 1"),
        ("", ""),
        ("x = `y`", "x = `y`"),
    ],
)
def test_one_answer_in_any_text(text: str, answer: str) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        F,
        fenced(F, "python"),
        fenced(F, "python", "````"),
        fenced(F, "", "~~~"),
        fenced(F, "{.python}"),
        f"```python\r\n{F.replace(chr(10), chr(13) + chr(10))}\r\n```",
        f"{F}\n```",
        f"{F}\n```\n\nIt returns what it is given.",
        f"```python\n{F}",
        f"```python\n{F}\n\nIt returns what it is given.",
        f"```python\n{F}```",
        f"{fenced(F, 'python')}\n```",
        f"```python\n{F}\n\nUsage:\n```python\nprint(f(1))\n```",
        fenced(fenced(F, "python"), "markdown", "````"),
        fenced(fenced(F, "python"), "markdown"),
        fenced(fenced(F, "python"), "", "````"),
        "1. This:\n   ```python\n   def f(x):\n       return x\n   ```\n",
        "Here:\n\n    def f(x):\n        return x\n\nThat is all.",
        f"{fenced(F, 'python')}\nExample:\n{fenced('print(f(1))', 'python')}\nOutput:\n{fenced('1')}",
        f"{fenced(F, 'python')}\n{fenced('from answer import f' + chr(10) + 'assert f(1) == 1', 'python')}",
        f"{fenced(F, 'python')}\nTests:\n{fenced('def test_f():' + chr(10) + '    assert f(1) == 1', 'python')}",
        f"{fenced('pip install numpy', 'bash')}\n{fenced(F, 'python')}",
        f"{fenced('>>> f(1)' + chr(10) + '1')}\n{fenced(F, 'python')}\n{fenced('>>> f(2)' + chr(10) + '2')}",
        f"First:\n{fenced('def f(x):' + chr(10) + '    return 0', 'python')}\nWrong. Better:\n{fenced(F, 'python')}",
        f"What is f?\n</think>\n\n{fenced(F, 'python')}",
    ],
)
@pytest.mark.parametrize("names", [[], ["f"]])
def test_the_block_with_the_solution_is_the_program(text: str, names: list[str]) -> None:
    assert extract_answer(text, "python", names) == F


def test_of_two_solutions_the_one_that_defines_what_is_tested_counts() -> None:
    text = f"{fenced(F, 'python')}\nOr:\n{fenced('def g(x):' + chr(10) + '    return f(x)', 'python')}"
    assert extract_answer(text, "python", ["f"]) == F
    assert extract_answer(text, "python", ["g"]).startswith(F)  # g needs f


def test_a_solution_in_parts_is_put_together() -> None:
    text = f"{fenced('import math', 'python')}\nThen\n{fenced('def f(x):' + chr(10) + '    return math.pi', 'python')}"
    assert extract_answer(text, "python", ["f"]) == "import math\n\ndef f(x):\n    return math.pi"


@pytest.mark.parametrize(
    "program",
    [
        '    return x\n\n    # "```"',
        "    y = x\n\n    return y",
        "y = x\n    return g(y)",
        "y = 1\n\n    def g(z):\n        return z\n\n    return g(y)",
        "def f(s):\n    return re.sub(r'<think>.*?</think>', '', s)",
        "def f(s):\n    return s.split('</think>\\n')[-1]",
        'def f(s):\n    return s.replace("<think>", "").replace("</think>", "")',
        "f = lambda x: x",
    ],
)
def test_a_bare_program_stays_as_it_is(program: str) -> None:
    assert extract_answer(f"{program}\n", "python", ["f"]) == program


def test_a_program_that_is_indented_as_a_whole_is_a_program() -> None:
    indented = "    def f(x):\n        return x\n"
    assert extract_answer(indented, "python", ["f"]) == F
    assert extract_answer(indented + "\n    return f(y)\n", "python", ["g"]) == indented + "\n    return f(y)"


def test_a_fence_in_a_docstring_is_part_of_the_program() -> None:
    program = 'def f(x):\n    """Says x.\n\n    ```python\n    f(1)\n    ```\n    """\n    return x'
    assert extract_answer(fenced(program, "python"), "python", ["f"]) == program
    assert extract_answer(program, "python", ["f"]) == program


def test_the_body_of_a_function_keeps_its_indentation_and_what_it_printed_is_none() -> None:
    text = f"{fenced('    return x', 'python')}\nIt prints:\n{fenced('1')}"
    assert extract_answer(text, "python", ["f"]) == "    return x"


@pytest.mark.parametrize(
    "text",
    [
        fenced(QUERY, "sql"),
        fenced(QUERY, "sql", "````"),
        fenced(QUERY, "SQLite"),
        fenced(QUERY, "", "~~~~"),
        "```sql SELECT 1```",
        f"```sql\n{QUERY}```\nThat is it.",
        f"{QUERY}\n```",
        f"{QUERY}\n```\n\nIt selects one.",
        f"The query:\n\n    {QUERY}\n\nIt selects one.",
        f"{fenced(QUERY, 'sql')}\nOutput:\n{fenced('| 1 |')}",
        f"{fenced(QUERY, 'sql')}\n{fenced('db.execute(query)', 'python')}",
        f"{fenced('CREATE TABLE t (a INT)', 'sql')}\n{fenced(QUERY, 'sql')}",
        f"{fenced(QUERY, 'sql')}\non this schema:\n{fenced('CREATE TABLE t (a INT)', 'sql')}",
        f"<think>{fenced('SELECT 0', 'sql')}</think>{QUERY}",
        f"<think>{fenced('SELECT 0', 'sql')}</think>{fenced(QUERY, 'sql')}",
    ],
)
def test_the_block_with_the_query_is_the_query(text: str) -> None:
    assert extract_answer(text, "sql") == QUERY


def test_a_query_may_be_indented_as_it_likes() -> None:
    query = "SELECT a,\n\n    b\nFROM t"
    assert extract_answer(query, "sql") == query
    assert extract_answer(fenced(f"-- one\n{query}", "sql"), "sql") == f"-- one\n{query}"


@pytest.mark.parametrize(
    "text",
    [
        OBJECT,
        fenced(OBJECT, "json"),
        fenced(OBJECT, "", "~~~"),
        f"{OBJECT}\n```",
        f"Here:\n\n    {OBJECT}\n",
        f"{fenced(OBJECT, 'json')}\nOutput:\n{fenced('1')}",
        f"{fenced(OBJECT)}\n{fenced('print(1)', 'python')}",
        f"{fenced('[' + chr(10), 'json')}\nmended:\n{fenced(OBJECT, 'json')}",
        f"```json {OBJECT}```",
    ],
)
def test_the_block_with_json_is_the_json(text: str) -> None:
    assert extract_answer(text, "json") == OBJECT


@pytest.mark.parametrize(
    "text",
    [
        "billing",
        fenced("billing"),
        "billing\n```",
        "billing\n```\nThe customer asks about a bill.",
        "The label is:\n\n    billing\n",
        "`billing`",
        "<think>\n\n</think>\n\nbilling",
        "<think></think>billing",
        "It is about money.</think>billing",
        "<thinking>money</thinking> billing",
        "<thought>money</thought>\nbilling",
        "[THINK]money[/THINK]billing",
        "◁think▷money◁/think▷billing",
        "<seed:think>money</seed:think>billing",
        "<Think>money</Think>billing",
        "<think >money</think >billing",
        "<|START_THINKING|>money<|END_THINKING|><|START_RESPONSE|>billing<|END_RESPONSE|>",
        "\ufeffbilling",
        "<|begin_of_thought|>money<|end_of_thought|>\n\n<|begin_of_solution|>billing<|end_of_solution|>",
        "<|channel|>analysis<|message|>money<|end|><|start|>assistant<|channel|>final<|message|>billing<|return|>",
        "analysisIt is about money.assistantfinalbilling",
        "<reasoning>money</reasoning>\n<answer>\nbilling\n</answer>",
        "<think>a <think> b</think> c</think>billing",
        "<think>the tag </think> ends it</think>billing",
    ],
)
def test_thoughts_and_fences_are_no_part_of_a_label(text: str) -> None:
    assert extract_answer(text, "label") == "billing"


@pytest.mark.parametrize(
    "text", ["<think>5, or 6", "<|channel|>analysis<|message|>so it is 5", "5</think>", "<think></think>"]
)
def test_who_only_thought_has_not_answered(text: str) -> None:
    assert extract_answer(text, "label") == ""
    assert extract_answer(text, "math") == ""


def test_a_tag_that_is_spoken_of_is_not_used() -> None:
    for text in ('the "</think>" tag', "`<think>` and `</think>`", "analysis of sales", "<thinker>x</thinker>"):
        assert without_thoughts(text) == text


def test_working_with_blocks_is_read_whole_in_mathematics() -> None:
    text = f"{fenced('print(18)', 'python')}\nOutput:\n{fenced('18')}\n#### 18"
    assert extract_answer(text, "math") == text
    assert extract_answer(fenced("18"), "math") == "18"


@pytest.mark.parametrize("language", ["text", "python", "sql", "json", "label", "math"])
@pytest.mark.parametrize(
    "text",
    ["```" + " " * 200_000 + "`", "# " * 100_000, "x\n\n    y\n" * 10_000, "```\n" * 30_000, "<think>" * 50_000,
     "</think>" * 50_000, "<|channel|>analysis" + "a" * 200_000, "`" * 100_000, "/*" * 100_000],
)  # fmt: skip
def test_hostile_text_ends_soon(text: str, language: Language) -> None:
    started = time.monotonic()
    extract_answer(text, language)
    assert time.monotonic() - started < 60


pieces = st.sampled_from(
    ["```", "```python\n", "~~~\n", "````\n", "\n", "    ", "def f(x):\n", "return 1", "<think>", "</think>", "`",
     "SELECT 1",     "{", "}", '"', "<|channel|>", "final", "<|message|>", ">>> ", "Output:", "\r\n"]
)  # fmt: skip
languages = st.sampled_from(["text", "python", "sql", "json", "label", "math"])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(pieces, max_size=14).map("".join)), languages)
def test_nothing_raises(text: str, language: Language) -> None:
    extract_answer(text, language, ["f"])


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("<think>\nhm\n</think>\n\n12", "<think>\nhm\n</think>\n\n"),
        (" <think>a</think><think>b</think>12 ", "<think>a</think><think>b</think>"),
        ("hm</think> 12", "hm</think> "),
        ("[THINK]hm[/THINK]12", "[THINK]hm[/THINK]"),
        ("12", ""),
        ("  12", ""),
        ("so <think>hm</think> 12", ""),
        ("<think>hm", "<think>hm"),
        ("say '<think>' 12", ""),
        ("", ""),
    ],
)
def test_a_leading_thought_is_what_stands_before_the_answer(text: str, thought: str) -> None:
    assert leading_thought(text) == thought
