"""Predicates that are all right are not tried again until something changes; others are, every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flywheel.engine.project import open_project
from flywheel.errors import SpecInvalid
from flywheel.store import predicates
from mini_domain import Domain, rows


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Callable[[Domain], int]:
    """How often predicates are tried when a project is opened."""
    calls: list[Any] = []
    real = predicates.check_predicates

    def check(*given: Any) -> Any:
        calls.append(given)
        return real(*given)

    monkeypatch.setattr(predicates, "check_predicates", check)

    def count(domain: Domain) -> int:
        calls.clear()
        open_project(domain.root / "flywheel.yaml")
        return len(calls)

    return count


def with_when(domain: Domain, when: str) -> Domain:
    return domain.edit(lambda spec: spec.update(taxonomy=[{"name": "first", "when": when}, {"name": "rest"}]))


def test_what_was_right_is_not_asked_about_again(domain: Domain, tried: Callable[[Domain], int]) -> None:
    with_when(domain, "answer = ''")
    assert tried(domain) > 0
    assert tried(domain) == 0


@pytest.mark.parametrize("change", ["rows", "predicate", "target", "engine"])
def test_it_is_asked_again_when_something_changes(
    domain: Domain, tried: Callable[[Domain], int], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_when(domain, "answer = ''")
    tried(domain)
    match change:
        case "rows":
            domain.write_rows("evals/holdout.jsonl", rows(900, 20))
        case "predicate":
            with_when(domain, "answer = 'x'")
        case "target":
            domain.edit(lambda spec: spec["tasks"]["colour"].update(verify=["right"]))
        case "engine":
            monkeypatch.setattr("flywheel.engine.project.version", lambda package: "99.0")
    assert tried(domain) > 0
    assert tried(domain) == 0


def test_what_is_wrong_or_doubtful_is_said_every_time(domain: Domain, tried: Callable[[Domain], int]) -> None:
    with_when(domain, "regexp_extract(answer, 'a') IS NULL")
    for _ in range(2):
        assert tried(domain) > 0
        (fault,) = open_project(domain.root / "flywheel.yaml").warnings
        assert "never holds" in fault.message
    with_when(domain, "no_such_column = 1")
    for _ in range(2):
        with pytest.raises(SpecInvalid, match="cannot run"):
            tried(domain)
