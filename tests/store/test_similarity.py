"""Near-duplicates and contamination, against what plain Python says."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.store.similarity import contaminated, near_duplicates
from flywheel.text import normalised

WORDS = [
    f"{a}{b}" for a in ("ka", "lo", "mu", "ru", "ti", "vu", "shi", "bra") for b in ("n", "rt", "sk", "ll", "mp", "x")
]


def sentence(rng: random.Random, length: int = 20) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(length))


def jaccard(a: str, b: str) -> float:
    one, other = ({text[i : i + 3] for i in range(max(1, len(text) - 2))} for text in (normalised(a), normalised(b)))
    return len(one & other) / len(one | other)


def test_planted_near_duplicates_are_found_and_unrelated_texts_are_not() -> None:
    rng = random.Random(1)
    texts = [sentence(rng) for _ in range(400)]
    planted = [text.replace(text.split()[7], "changed", 1) for text in texts[:100]]
    likely = [i for i in range(100) if jaccard(texts[i], planted[i]) >= 0.8]

    found = near_duplicates([*texts, *planted], 0.8)

    assert {400 + i for i in likely} == set(found)
    assert len(likely) > 50
    assert all(found[400 + i][0] == i for i in likely)


def test_what_is_dropped_does_not_drop_others() -> None:
    """b repeats a, c repeats b but not a: c stays."""
    rng = random.Random(2)
    a = sentence(rng, 30).split()
    b = [*a[:-2], "nova", "nova"]
    c = ["prima", "prima", *b[2:]]
    texts = [" ".join(words) for words in (a, b, c)]
    threshold = 0.85
    assert jaccard(texts[0], texts[1]) >= threshold
    assert jaccard(texts[1], texts[2]) >= threshold > jaccard(texts[0], texts[2])

    assert set(near_duplicates(texts, threshold)) == {1}


def test_a_template_that_many_texts_share_does_not_hide_their_copies() -> None:
    texts = [f"how many things of kind {i} are there in shop number {i * 7919}" for i in range(1_500)]
    texts.append(texts[3])

    assert near_duplicates(texts, 0.99)[1_500][0] == 3


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(alphabet="ab c", min_size=0, max_size=12), min_size=2, max_size=8),
    st.sampled_from([0.5, 0.8, 1.0]),
)
def test_whatever_is_dropped_is_as_alike_as_it_is_said(texts: list[str], threshold: float) -> None:
    for later, (earlier, similarity) in near_duplicates(texts, threshold).items():
        assert earlier < later
        assert similarity == pytest.approx(jaccard(texts[earlier], texts[later]))
        assert similarity >= threshold


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(alphabet="ab c", min_size=0, max_size=12), min_size=2, max_size=8))
def test_equal_texts_are_always_found(texts: list[str]) -> None:
    found = near_duplicates([*texts, *texts], 1.0)

    assert {len(texts) + i for i in range(len(texts))} <= set(found)


# --- contamination ----------------------------------------------------------------------------------------------------

ITEM = "Which of the customers in Lisbon have bought more than three green chairs since the spring of last year"


@pytest.mark.parametrize(
    ("question", "how"),
    [
        (ITEM, "exact"),
        (ITEM.upper().replace(" ", "  ") + "?!", "normalised"),
        ("Tell me: " + ITEM + " and why", "13-gram"),
        (" ".join(ITEM.split()[:13]), "13-gram"),
        (" ".join(ITEM.split()[:12]), None),
        ("How many lamps are there", None),
    ],
)
def test_overlap_is_found_in_three_ways(question: str, how: str | None) -> None:
    found = contaminated([(question, question)], [("holdout", "item", ITEM, ITEM)], 13)

    assert (found[0].how if found else None) == how
    assert not found or (found[0].suite, found[0].item_id) == ("holdout", "item")


def test_an_ngram_may_lie_in_the_answer() -> None:
    gold = "SELECT name, count(*) FROM customers JOIN orders USING (id) WHERE city = 'Lisbon' GROUP BY name"

    found = contaminated([("q one", f"q one\n{gold}")], [("s", "i", "another", f"another\n{gold}")], 8)

    assert found[0].how == "8-gram"


def test_only_the_guilty_are_named() -> None:
    lessons = [(f"lesson number {i}", f"lesson number {i}") for i in range(50)]
    items = [("a", "x", "lesson number 7", "lesson number 7"), ("b", "y", "lesson number 9", "lesson number 9")]

    assert {index: found.suite for index, found in contaminated(lessons, items, 13).items()} == {7: "a", 9: "b"}


def test_nothing_overlaps_nothing() -> None:
    assert contaminated([], [("s", "i", "q", "q")], 13) == {}
    assert contaminated([("q", "q")], [], 13) == {}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=8), min_size=1, max_size=4),
    st.lists(st.lists(st.sampled_from("abc"), max_size=8), min_size=1, max_size=4),
)
def test_ngrams_agree_with_plain_python(lessons: list[list[str]], items: list[list[str]]) -> None:
    def grams(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}

    shared = set().union(*(grams(words) for words in items))
    expected = {i for i, words in enumerate(lessons) if grams(words) & shared}

    found = contaminated(
        [(f"lesson {i}", " ".join(words)) for i, words in enumerate(lessons)],
        [("s", str(i), f"item {i}", " ".join(words)) for i, words in enumerate(items)],
        3,
    )

    assert set(found) == expected
