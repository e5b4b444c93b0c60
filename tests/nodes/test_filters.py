"""How near a new question is to earlier ones, in scripts with blanks between words and without."""

from __future__ import annotations

import pytest
from rapidfuzz import fuzz

from flywheel.nodes.lessons.filters import rouge_l_to_earlier

CHANGED = [
    ("How many sheep are on the green hill?", "How many goats are on the green hill?"),
    ("東京は日本のとても古い首都ですか", "東京は日本のとても大きい首都ですか"),
    ("北京是中国的首都吗", "北京是中国的首都吧"),
    ("ประเทศไทยมีกี่จังหวัดในภาคเหนือ", "ประเทศไทยมีกี่จังหวัดในภาคใต้"),
]


@pytest.mark.parametrize(("earlier", "text"), CHANGED)
def test_a_question_with_one_word_changed_is_near_in_any_script(earlier: str, text: str) -> None:
    assert rouge_l_to_earlier([text], [earlier])[0] > 0.7
    assert rouge_l_to_earlier([text], [text]) == [1.0]


@pytest.mark.parametrize(
    ("earlier", "text"),
    [("How many sheep are there?", "Name a river."), ("東京は日本の首都ですか", "富士山に登ったことがありますか")],
)
def test_another_question_is_not(earlier: str, text: str) -> None:
    assert rouge_l_to_earlier([text], [earlier])[0] < 0.5


def test_by_characters_it_is_the_ratio_of_rapidfuzz() -> None:
    texts = ["How many sheep are on the green hill?", "how many sheeep are on the green hill?", "Name a river."]

    found = rouge_l_to_earlier(texts[1:], texts[:1], "characters")

    lowered = [text.lower() for text in texts]
    ratios = [max(fuzz.ratio(text, other) for other in lowered[:i]) for i, text in enumerate(lowered) if i]
    assert found == pytest.approx([ratio / 100 for ratio in ratios])
    assert found[0] > 0.95 > rouge_l_to_earlier(texts[1:2], texts[:1])[0], "a typing error is a word of eight"


def test_signs_that_tell_two_questions_apart_count() -> None:
    assert rouge_l_to_earlier(["x = a - b"], ["x = a + b"])[0] < 1.0
