"""Each suite as a task of stock lm-eval: task file, data, scoring, and the command that gives the same number."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flywheel.files import write_text
from flywheel.harness.suites import Measured, SuiteJob, own_task_name
from flywheel.spec.models import Task
from flywheel.spec.verifiers import Verifier
from flywheel.student import StudentFiles
from flywheel.student.loading import Arm

#: The JSON reader of `datasets` turns a column of such strings into dates.
_DATE = re.compile(r"\d{4}-\d\d-\d\d")

#: Stands for the place of a base outside the project.
_ELSEWHERE = "\ue000"

SCORING = '''"""Scores an lm-eval task with the verifiers that flywheel used. Written by flywheel, which must be
installed; run lm-eval in the project's folder, where the verifiers' own files are."""

from pathlib import Path

from flywheel.verifiers.emitted import Scorer, mean  # mean: lm-eval looks for it here

SCORER = Scorer(Path(__file__).with_name("judging.json"))


def process(doc, results):
    """The item's score; None where no verifier could say."""
    return SCORER(doc, results)
'''


@dataclass(frozen=True)
class SuiteJudges:
    """Who judges a suite: its task with the verifiers it names, and `pass_at` of the suite."""

    name: str
    task: Task
    verifiers: Mapping[str, Verifier]
    pass_at: int | None = None


def emit(
    folder: Path, root: Path, suite: SuiteJob, judging: SuiteJudges, items: Sequence[Measured], tokens: int
) -> bool:
    """Write the suite's task into `folder` (inside `root`): `task.yaml`, `items.jsonl` and, where lm-eval's own metric
    is not the same, `scoring.py`. `tokens`: the longest answer. False, and nothing written, where lm-eval could not
    score it: an LLM judges, or no item was asked."""
    asked = [item for item in items if not item.problem]
    if not asked or any(verifier.asks for verifier in judging.verifiers.values()):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "items.jsonl", "".join(json.dumps(_line(item), ensure_ascii=False) + "\n" for item in asked))
    own = _own_metric(suite, judging, [item.gold for item in asked])
    if own is None:
        write_text(folder / "scoring.py", SCORING)
        write_text(folder / "judging.json", json.dumps(_judging(judging), ensure_ascii=False, indent=1))
    data = (folder / "items.jsonl").relative_to(root).as_posix()
    write_text(folder / "task.yaml", _task_file(suite, data, own, tokens))
    return True


def command(
    root: Path,
    student: StudentFiles,
    arm: Arm,
    suite: SuiteJob,
    folder: Path | None,
    settings: Mapping[str, Any],
    item_ids: Sequence[str],
) -> str:
    """What to run in `root`, in a POSIX shell. `student`: the base of `arm`. `folder`: where the tasks of our suites
    were emitted; None for a suite of lm-eval's own. `settings`: those of `Evaluated`; `item_ids`: the items that were
    asked."""
    variables = settings.get("chat_template_kwargs", {}) if folder is None else {}  # our tasks come as whole prompts
    model = _model_arguments(root, student, arm, settings["dtype"], variables)
    words = ["--batch_size", str(settings["batch_size"]), "--device", settings["device"]]
    words += ["--seed", str(settings["seed"])]
    if folder is not None:
        words += ["--include_path", _shown(root, str(folder)), "--tasks", own_task_name(suite.name)]
    else:
        words += _named_options(root, suite, settings, item_ids)
    return f"lm-eval run --model hf --model_args {model} {shlex.join(words)}"


def _named_options(root: Path, suite: SuiteJob, settings: Mapping[str, Any], item_ids: Sequence[str]) -> list[str]:
    words = ["--tasks", str(suite.lm_eval)]
    if suite.include_path and Path(suite.include_path).is_dir():
        words += ["--include_path", _shown(root, suite.include_path)]
    if suite.num_fewshot is not None:
        words += ["--num_fewshot", str(suite.num_fewshot)]
    if suite.limit is not None:
        words += ["--samples", json.dumps(_documents(item_ids))]
    if settings["chat_template"]:
        words.append("--apply_chat_template")
    if settings["system"]:
        words += ["--system_instruction", settings["system"]]
    return words


def _documents(item_ids: Sequence[str]) -> dict[str, list[int]]:
    """Item ids of lm-eval's tasks, "task/number", as lm-eval's --samples wants them."""
    found: dict[str, list[int]] = {}
    for item_id in item_ids:
        task, _, number = item_id.rpartition("/")
        found.setdefault(task, []).append(int(number))
    return {task: sorted(numbers) for task, numbers in sorted(found.items())}


def _model_arguments(root: Path, student: StudentFiles, arm: Arm, dtype: str, variables: Mapping[str, Any]) -> str:
    """As a word of the shell. A base outside the project has another place on another machine, or in another
    environment: the shell asks for it."""
    elsewhere = os.path.isabs(arm.source) and not Path(arm.source).is_relative_to(root)
    parts = {"pretrained": _ELSEWHERE if elsewhere else _shown(root, arm.source), "dtype": dtype}
    if arm.revision:
        parts["revision"] = arm.revision
    if arm.adapter:
        parts["peft"] = _shown(root, arm.adapter)
    word = ",".join(f"{name}={value}" for name, value in parts.items())
    if variables:  # values within values can only be said as JSON
        word = json.dumps({**parts, "chat_template_args": dict(variables)}, ensure_ascii=False)
    asked = f'"$(flywheel base {shlex.quote(student.name)})"'
    return asked.join(shlex.quote(part) for part in word.split(_ELSEWHERE))


def _shown(root: Path, path: str) -> str:
    """Relative to the project where it lies inside; a hub id as it is."""
    inside = os.path.isabs(path) and Path(path).is_relative_to(root)
    return Path(path).relative_to(root).as_posix() if inside else path


# --- files ------------------------------------------------------------------------------------------------------------


def _line(item: Measured) -> dict[str, str]:
    """`item` is JSON in a string, so that the reader cannot take its values for dates or numbers."""
    whole = json.dumps({"row": item.row, "gold": item.gold}, ensure_ascii=False)
    return {"item_id": item.item_id, "prompt": item.asked, "gold": item.gold, "item": whole}


def _judging(judging: SuiteJudges) -> dict[str, Any]:
    verifiers = {
        name: spec.model_dump(mode="json", by_alias=True, exclude_none=True) for name, spec in judging.verifiers.items()
    }
    # Without what no scorer reads: another description is no reason to measure anew.
    read = {"prompt", "target", "verify", "final"}
    task = judging.task.model_dump(mode="json", by_alias=True, exclude_none=True, include=read)
    return {"name": judging.name, "task": task, "verifiers": verifiers, "pass_at": judging.pass_at}


def _own_metric(suite: SuiteJob, judging: SuiteJudges, golds: Sequence[str]) -> dict[str, Any] | None:
    """lm-eval's `exact_match` where it says the same for every answer, else None.

    It does for one verifier only: all others look for where the answer stands in what was written, and runs of white
    space are one space to them.
    """
    verifiers = list(judging.verifiers.values())
    if len(verifiers) != 1 or suite.repeats > 1 or judging.task.final or all(_DATE.match(gold) for gold in golds):
        return None
    if not verifiers[0].takes_answers_as_written:
        return None
    return {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}


def _task_file(suite: SuiteJob, data: str, own: dict[str, Any] | None, tokens: int) -> str:
    sampling = {"do_sample": True, "temperature": suite.temperature} if suite.repeats > 1 else {"do_sample": False}
    task: dict[str, Any] = {
        "task": own_task_name(suite.name),
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": data}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "gold",
        "generation_kwargs": {"until": list(suite.stop), "max_gen_toks": tokens, **sampling},
        "num_fewshot": 0,
        "metadata": {"version": 1},
    }
    if suite.repeats > 1:
        take = [{"function": "take_first_k", "k": suite.repeats}]
        task |= {"repeats": suite.repeats, "filter_list": [{"name": "all", "filter": take}]}
    if own is not None:
        return _dumped(task | {"metric_list": [own]})
    metric = {"metric": "score", "aggregation": _Function("scoring.mean"), "higher_is_better": True}
    return _dumped(task | {"process_results": _Function("scoring.process"), "metric_list": [metric]})


class _Function(str):
    """A reference that lm-eval resolves beside the task file."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", str(name)))


def _dumped(task: dict[str, Any]) -> str:
    return yaml.dump(task, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
