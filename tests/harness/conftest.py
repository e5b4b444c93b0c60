"""A folder of lm-eval tasks of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
doc_to_choice: ["red", "blue"]
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1}}
"""
SHAPES = """
task: shapes
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
fewshot_split: test
output_type: generate_until
doc_to_text: question
doc_to_target: shape
generation_kwargs: {{until: ["."], max_gen_toks: 4, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
filter_list:
  - {{name: strict, filter: [{{function: take_first}}]}}
  - {{name: loose, filter: [{{function: lowercase}}, {{function: take_first}}]}}
metadata: {{version: 1}}
"""


@pytest.fixture
def lm_eval_tasks() -> Callable[[Path], None]:
    """Writes the lm-eval tasks `colours` and `shapes`, and the group `looks` of both, into a folder."""

    def write(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        rows = [{"question": f"thing {i} is", "answer": i % 2, "shape": "round"} for i in range(5)]
        (folder / "rows.json").write_text("\n".join(json.dumps(row) for row in rows))
        (folder / "colours.yaml").write_text(TASK.format(name="colours", data=folder / "rows.json"))
        (folder / "shapes.yaml").write_text(SHAPES.format(data=folder / "rows.json"))
        (folder / "looks.yaml").write_text("group: looks\ntask: [colours, shapes]\nmetadata: {version: 1}\n")

    return write
