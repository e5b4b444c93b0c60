"""Right answers made wrong."""

from __future__ import annotations

import json

import pytest

from flywheel.verifiers.corruptions import KINDS, Surroundings, corruptions

QUERIES = (
    "SELECT name, price FROM products WHERE price >= 30 ORDER BY name LIMIT 5",
    "SELECT color FROM products JOIN orders ON orders.product_id = products.id GROUP BY color;",
    "SELECT DISTINCT stock FROM products",
)
SQL = Surroundings("sql", others=QUERIES)
FUNCTION = "def f(xs, n):\n    return [x for x in xs if x != 0 and x >= n + 3]\n"
ORDER = '{"item": "kites", "quantity": 12, "city": "Nantes"}'
JSON = Surroundings("json", others=('{"item": "balls", "quantity": 12, "city": "Malmo"}',))


PROSE = Surroundings()


def made(answer: str, around: Surroundings = PROSE, final: str | None = None, seed: int = 0) -> dict[str, str]:
    return {wrong.name: wrong.answer for wrong in corruptions(answer, around, final, seed)}


EXAMPLES = [(query, SQL) for query in QUERIES] + [
    (FUNCTION, Surroundings("python")),
    (ORDER, JSON),
    ("refund", Surroundings("label", labels=("refund", "invoice"))),
    ("the cat sat on the mat", Surroundings()),
    ("-3.50", Surroundings()),
    ("0", Surroundings()),
]


def test_every_kind_applies_to_some_answer() -> None:
    assert {name for answer, around in EXAMPLES for name in made(answer, around)} == set(KINDS)


@pytest.mark.parametrize(("answer", "around"), EXAMPLES)
def test_they_differ_from_the_answer_and_are_the_same_every_time(answer: str, around: Surroundings) -> None:
    for seed in range(50):
        found = made(answer, around, seed=seed)
        assert found == made(answer, around, seed=seed)
        assert all(wrong.casefold().split() != answer.casefold().split() for wrong in found.values())


def every(name: str, answer: str, around: Surroundings = SQL) -> set[str]:
    return {found[name] for seed in range(60) if name in (found := made(answer, around, seed=seed))}


def test_off_by_one_moves_one_number_by_one() -> None:
    assert every("off_by_one", "WHERE a < 30 AND b > 0") == {
        "WHERE a < 29 AND b > 0",
        "WHERE a < 31 AND b > 0",
        "WHERE a < 30 AND b > 1",
    }
    assert every("off_by_one", "-3.50") == {"-4.50", "-2.50"}


def test_a_changed_number_keeps_its_sign_and_is_no_neighbour() -> None:
    found = {int(wrong) for wrong in every("changed_number", "12")}
    assert min(found) >= 0
    assert not found & {11, 12, 13}


def test_numbers_in_names_and_versions_are_left_alone() -> None:
    assert not {"off_by_one", "changed_number"} & set(made("col1 v1.2.3 x2y"))


def test_one_clause_is_dropped_whole() -> None:
    assert every("dropped_clause", QUERIES[0]) == {
        "SELECT name, price FROM products ORDER BY name LIMIT 5",
        "SELECT name, price FROM products WHERE price >= 30 LIMIT 5",
        "SELECT name, price FROM products WHERE price >= 30 ORDER BY name",
    }
    assert every("dropped_clause", QUERIES[1]) == {
        "SELECT color FROM products GROUP BY color;",
        "SELECT color FROM products JOIN orders ON orders.product_id = products.id;",
    }
    assert every("dropped_clause", QUERIES[2]) == {"SELECT stock FROM products"}


def test_the_brackets_of_a_subquery_stay() -> None:
    query = "SELECT name FROM t WHERE a IN (SELECT b FROM u WHERE c = 1)"

    assert "SELECT name FROM t WHERE a IN (SELECT b FROM u)" in every("dropped_clause", query)


def test_a_comparison_is_negated() -> None:
    assert every("negated_comparison", "SELECT a FROM t WHERE b = 1 AND c NOT IN (2)") == {
        "SELECT a FROM t WHERE b != 1 AND c NOT IN (2)",
        "SELECT a FROM t WHERE b = 1 AND c IN (2)",
    }
    assert every("negated_comparison", FUNCTION, Surroundings("python")) == {
        FUNCTION.replace("!=", "=="),
        FUNCTION.replace(">=", "<"),
    }


def test_a_name_is_swapped_for_one_in_the_same_place_of_a_like_answer() -> None:
    swapped = every("swapped_name", QUERIES[2])

    assert swapped == set()  # nothing else follows DISTINCT, and FROM is always followed by products
    assert "SELECT color, price FROM products WHERE price >= 30 ORDER BY name LIMIT 5" in every(
        "swapped_name", QUERIES[0]
    )


def test_only_json_objects_lose_and_rename_fields() -> None:
    assert {frozenset(json.loads(wrong)) for wrong in every("dropped_field", ORDER, JSON)} == {
        frozenset({"item", "quantity"}), frozenset({"item", "city"}), frozenset({"quantity", "city"}),
    }  # fmt: skip
    assert all(len(json.loads(wrong)) == 3 for wrong in every("renamed_field", ORDER, JSON))
    assert not {"dropped_field", "renamed_field", "other_value"} & set(made("[1, 2]", JSON) | made("{broken", JSON))


def test_a_value_is_exchanged_for_one_that_the_field_has_elsewhere() -> None:
    changed = [json.loads(wrong) for wrong in every("other_value", ORDER, JSON)]

    assert {(order["item"], order["city"]) for order in changed} == {("balls", "Nantes"), ("kites", "Malmo")}


def test_of_a_longer_answer_only_the_final_one_is_made_wrong() -> None:
    answer = "4 * 18 = 72 apples\n#### 72"

    found = made(answer, final=r"#### (.+)")

    assert found["off_by_one"] in ("4 * 18 = 72 apples\n#### 71", "4 * 18 = 72 apples\n#### 73")
    assert found["empty"] == "4 * 18 = 72 apples\n#### "


def test_an_empty_answer_cannot_be_made_worse() -> None:
    assert made("") == made("  ") == {}
