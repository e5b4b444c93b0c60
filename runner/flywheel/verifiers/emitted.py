"""What the lm-eval tasks that `harness.emitted` wrote score by, in a process of lm-eval's own."""

from __future__ import annotations

import atexit
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from flywheel.harness.scoring import item_score
from flywheel.records import Subject
from flywheel.spec.models import Task
from flywheel.spec.verifiers import AnyVerifier, Verifier
from flywheel.verifiers.checker import Checker, outcome_of


class Scorer:
    """Scores items by the verifiers of the `judging.json` beside a task. The folder in which lm-eval runs is the
    project. Opens nothing before the first item."""

    def __init__(self, judging: Path) -> None:
        self._file = judging

    def __call__(self, doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float | None]:
        """`results`: the answers to one item, or the list of its repeats. The score is None where no verifier could
        say."""
        answers = results[0] if isinstance(results[0], list) else results
        item = json.loads(doc["item"])
        name = self._judging["name"]
        subjects = [Subject(doc["item_id"], name, item["row"], answer, item["gold"]) for answer in answers]
        outcomes = [outcome_of(verdicts) for verdicts in self._checker.judge(subjects, self._tasks)]
        return {"score": item_score(outcomes, self._judging["pass_at"])}

    @cached_property
    def _judging(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._file.read_text("utf-8"))
        return found

    @cached_property
    def _tasks(self) -> dict[str, Task]:
        return {self._judging["name"]: Task.model_validate_json(json.dumps(self._judging["task"]))}

    @cached_property
    def _checker(self) -> Checker:
        kinds: TypeAdapter[dict[str, Verifier]] = TypeAdapter(dict[str, AnyVerifier])
        text = json.dumps(self._judging["verifiers"])
        checker = Checker(kinds.validate_json(text, context={"root": Path.cwd()}), Path.cwd())
        atexit.register(checker.close)
        return checker


def mean(scores: Sequence[float | None]) -> float:
    """Over the items that could be judged, as flywheel's reports have it."""
    known = [score for score in scores if score is not None]
    return sum(known) / len(known)
