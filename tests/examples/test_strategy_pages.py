"""docs/strategies: what the pages show loads as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flywheel.engine.planning import make_plan
from flywheel.engine.project import open_project
from flywheel.spec.strategies import STRATEGIES

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "strategies").glob("*.md"))
BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
PROMPT = re.compile(r"`(prompts/\w+\.md)`\n\n```jinja\n(.*?)```", re.DOTALL)
WORDS = ("question", "answer")
CODE = ("question", "code", "tests")
CALLS = [{"args": [2], "expected": 4}]
ROWS: dict[str, tuple[tuple[str, ...], list[Any]]] = {
    "seeds": (WORDS, ["what is 3 and 4?", "3 + 4 = 7 #### 7"]),
    "probes": (WORDS, ["what is 5 and 4?", "9"]),
    "holdout": (WORDS, ["what is 8 and 4?", "12"]),
    "answered": (WORDS, ["what is 1 and 4?", "5"]),
    "answers": (WORDS, [None, "7 + 4 = 11 #### 11"]),
    "questions": (("question",), ["what is 2 and 4?"]),
    "programs": (CODE, ["double x", "def f(x): return 2 * x", CALLS]),
    "program_probes": (CODE, ["square x", "def f(x): return x * x", CALLS]),
    "program_holdout": (CODE, ["x plus 2", "def f(x): return x + 2", CALLS]),
}


def write_project(root: Path, page: Path) -> Path:
    """The project of the index with the page's blocks in it, the page's prompts, and one row a file."""
    [common] = BLOCK.findall((DOCS / "strategies.md").read_text())
    text = page.read_text()
    spec: dict[str, Any] = yaml.safe_load(common)
    for block in BLOCK.findall(text):
        spec |= yaml.safe_load(block)
    prompts = {"prompts/solve.md": "question: {{ row.question }}", **dict(PROMPT.findall(text))}
    for name, prompt in prompts.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(prompt)
    (root / "rows").mkdir()
    for name, (columns, values) in ROWS.items():
        (root / "rows" / f"{name}.jsonl").write_text(json.dumps(dict(zip(columns, values, strict=True))) + "\n")
    (root / "flywheel.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return root / "flywheel.yaml"


def test_there_is_a_page_for_each_strategy_and_the_index_links_it() -> None:
    index = (DOCS / "strategies.md").read_text()

    assert {page.stem for page in PAGES} == set(STRATEGIES.by_name)
    assert set(re.findall(r"\(strategies/(\w+)\.md\)", index)) == set(STRATEGIES.by_name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_is_a_generator_of_its_strategy_that_loads_and_plans(page: Path, tmp_path: Path) -> None:
    project = open_project(write_project(tmp_path, page))

    assert [generator.strategy for generator in project.spec.generate] == [page.stem]
    assert make_plan(project).nodes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_every_prompt_file_that_its_block_names(page: Path) -> None:
    text = page.read_text()
    named = {name for block in BLOCK.findall(text) for name in re.findall(r"_?prompt: (prompts/\w+\.md)", block)}

    assert named - {"prompts/solve.md"} <= {name for name, _ in PROMPT.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_was_measured(page: Path) -> None:
    measured = page.read_text().partition("**Measured.** ")[2].partition("\n\n")[0]

    assert re.search(r"\d|Nothing", measured)
