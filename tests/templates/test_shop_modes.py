"""The default domain's error modes say of hand-made failures what a person would say of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.records import Subject, Verdict
from flywheel.spec.loader import LoadedSpec, load
from flywheel.spec.verifiers import SqlVerifier
from flywheel.store.taxonomy import Failed, name_failures
from flywheel.verifiers.finding import Check
from flywheel.verifiers.sql import open_sql

REPOSITORY = Path(__file__).parents[2]
GROUPED = "SELECT channel, COUNT(*) FROM orders GROUP BY channel"


@pytest.fixture(scope="module")
def shop() -> tuple[LoadedSpec, dict[str, Check]]:
    loaded = load(REPOSITORY / "flywheel.yaml")
    verifiers = {name: v for name, v in loaded.spec.verifiers.items() if isinstance(v, SqlVerifier)}
    return loaded, {name: open_sql(verifier, loaded.root) for name, verifier in verifiers.items()}


@pytest.mark.parametrize(
    ("answer", "gold", "mode"),
    [
        ("", GROUPED, "no_parse"),
        ("I am sorry, I cannot say.", GROUPED, "no_parse"),
        ("SELECT channel FORM orders", GROUPED, "no_parse"),
        ("SELECT channel FROM orders; SELECT 1", GROUPED, "no_parse"),
        ("DROP TABLE orders", GROUPED, "no_parse"),
        ("SELECT chanel, COUNT(*) FROM orders GROUP BY chanel", GROUPED, "unknown_name"),
        ("SELECT channel, COUNT(*) FROM sales GROUP BY channel", GROUPED, "unknown_name"),
        ("SELECT HOW_MANY(channel) FROM orders", GROUPED, "unknown_name"),
        ("SELECT channel, COUNT(*) FROM orders", GROUPED, "wrong_grouping"),
        ("SELECT channel, COUNT(*) FROM orders GROUP BY status", GROUPED, "wrong_grouping"),
        ("SELECT channel, COUNT(*) FROM orders", "SELECT COUNT(*) FROM orders", "wrong_grouping"),
        ("SELECT city FROM customers", "SELECT DISTINCT city FROM customers", "wrong_grouping"),
        ("SELECT name FROM products", "SELECT name FROM customers", "wrong_source"),
        ("SELECT AVG(name) FROM customers", "SELECT AVG(age) FROM customers", "wrong_aggregate"),
        ("SELECT age FROM customers", "SELECT AVG(age) FROM customers", "wrong_aggregate"),
        ("SELECT name FROM customers ORDER BY age ASC", "SELECT name FROM customers ORDER BY age DESC", "wrong_order"),
        ("SELECT name FROM customers", "SELECT name FROM customers WHERE age > 30", "wrong_filter"),
        ("SELECT name FROM customers WHERE age > 31", "SELECT name FROM customers WHERE age > 30", "wrong_value"),
        ("SELECT plan FROM customers", "SELECT name FROM customers", "other"),
    ],
)
def test_a_failure_has_the_name_that_a_person_would_give_it(
    shop: tuple[LoadedSpec, dict[str, Check]], answer: str, gold: str, mode: str
) -> None:
    loaded, checks = shop
    subject = Subject("s", "text_to_sql", {"question": "?"}, answer, gold)
    found = {name: check(subject) for name, check in checks.items()}
    verdicts = [Verdict("s", name, "1", finding.outcome, finding.reason) for name, finding in found.items()]
    assert "fail" in {verdict.outcome for verdict in verdicts}

    named = name_failures([Failed({"question": "?"}, answer, gold, verdicts)], loaded.spec.taxonomy, [*checks])

    assert (named.modes, named.undecided) == ([mode], {})
