"""Normalising makes one of what differs in looks alone, and never of what says something else."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.normal import _CHUNKS, word_count, words
from flywheel.text import normalised

DIFFERENT = [
    ("What is C?", "What is C#?"), ("What is C?", "What is C++?"), ("What is C?", "what is c?"),
    ("Differentiate f(x)", "Differentiate f'(x)"), ("f'(x)", "f''(x)"), ("y″", "y′"), ("5'", '5"'), ('6" wide', "6 wide"),
    ("What is 5!?", "What is 5?"), ("5!!", "5!"), ("n!", "n"), ("!x", "x"),
    ("if a != b", "if a = b"), ("a <= b", "a >= b"), ("a ≤ b", "a ≥ b"), ("a := b", "a = b"), ("a && b", "a || b"),
    ("x-y", "x+y"), ("x-y", "x y"), ("2x-3", "2x+3"), ("-5", "5"), ("3-4", "3 4"), ("3–4", "3 4"), ("2·3", "2 3"),
    ("3.14", "3 14"), ("3.14", "314"), (".5", "5"), ("1,000", "1.000"), ("12:30", "1230"), ("5%", "5"), ("$5", "€5"),
    ("(3+4)*5", "3+4*5"), ("[1,2)", "(1,2]"), ("√2", "2"), ("x²", "x2"), ("x²", "x"), ("½ cup", "1 2 cup"),
    ("mW", "MW"), ("5 m", "5 M"), ("5 mm", "5 Mm"), ("10Gb", "10GB"), ("the US", "the us"), ("Co", "CO"),
    ("speak Polish", "speak polish"), ("f(x)", "F(x)"), ("userId", "userid"), ("ls -r", "ls -R"), ("pH", "PH"),
    ("its", "it's"), ("we're", "were"), ("résumé", "resume"), ("Maße", "Masse"), ("ё", "е"),
    ("दिन में क्या करते हैं", "दान में क्या करते हैं"), ("हाँ", "हां"), ("কি", "কা"), ("ที่", "ที"), ("كَتَبَ", "كُتِبَ"), ("がく", "かく"),
    ("fine 😀", "fine 😢"), ("👍🏽", "👍🏿"), ("👨‍👩‍👧", "👨👩👧"), ("😀", ""), (":)", ":("), ("A→B", "A←B"),
    ("Что такое C", "Что такое C#"), ("什么是C", "什么是C#"), ("R&D", "R D"), ("x_1", "x 1"), ("2^3", "2 3"),
]  # fmt: skip

SAME = [
    ("Which  COLOUR is it?", "which colour is it?"), ("WHAT IS THE CAPITAL OF FRANCE?", "What is the capital of France?"),
    ("what is the capital of france", "What is the capital of France?"), ("A shop sold it", "a shop sold it."),
    ("Why, then?", "why then"), ("“Rome”", "'Rome'"), ("In Rome (Italy) now", "in rome italy now"), ("e-mail", "E mail"),
    ("don’t", "don't"), ("ﬁne", "fine"), ("ＡＢＣ１２３", "ABC123"), ("café", "cafe\u0301"), ("2+3", "2 + 3"), ("５＋３", "5+3"),
    ("什么是C#？", "什么是 C#"), ("有48个", "有 48 个"), ("日本語、です。", "日本語です"), ("क्या है?", "क्या  है ।"), ("ما هو؟", "ما هو"),
    ("**5**", "5"), ("(B)", "B"), ("B", "b."), ("NO", "No."), ("YES", "Yes"), ("- item one", "item one"), ("Can I see", "can I see"),
    ("«Привет»", "привет"), ("В магазине", "в магазине"), ("❤️", "❤"), ("Stop now!!", "stop now"), ("soft\u00adhyphen", "softhyphen"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_differs_is_not_merged(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_only_looks_different_is_merged(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_can_be_normalised_and_its_composition_does_not_matter(text: str) -> None:
    assert normalised(text) == normalised(unicodedata.normalize("NFD", unicodedata.normalize("NFC", text)))
    assert normalised(text) == " ".join(normalised(text).split())
    assert words(text) == " ".join(words(text)).split()


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="aB c!'\"-.,:()#*5$\n", max_size=40))
def test_blanks_at_the_ends_and_twice_say_nothing(text: str) -> None:
    assert normalised(f"  {text} ") == normalised(text)


def test_what_is_remembered_stays_bounded_and_changes_nothing() -> None:
    before = normalised("C# in 5 steps!")
    for number in range(_CHUNKS.MOST + 10):
        normalised(f"Word{number} is {'x' * 100}{number}")
    assert len(_CHUNKS) <= _CHUNKS.MOST
    assert normalised("C# in 5 steps!") == before


@pytest.mark.parametrize(
    "text", ["(" * 20_000, "'" * 20_000, "**" * 10_000, "A" * 20_000, "A " * 10_000, "a'" * 10_000, "!-" * 9_999]
)
def test_hostile_text_takes_no_longer_than_its_length(text: str) -> None:
    """A text of 20,000 characters that took the square of its length would run into the test's limit."""
    for _ in range(20):
        normalised(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("How many sheep are there?", 5),
        ("Wie viele Schafe, bitte?", 4),
        ("", 0),
        ("東京は日本の首都ですか", 7),
        ("ประเทศไทยมีกี่จังหวัด", 5),
    ],
)
def test_words_are_counted_where_no_blanks_are_between_them_too(text: str, count: int) -> None:
    assert word_count(text) == count
