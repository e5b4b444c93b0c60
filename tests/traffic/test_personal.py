"""What is recognised as personal, what is not, and that a pseudonym still tells one thing from another."""

from __future__ import annotations

import pytest

from flywheel.traffic.personal import SHAPES, Pseudonyms

KEY = b"k" * 32


def cleaned(text: str) -> str:
    return Pseudonyms(list(SHAPES), KEY).text(text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("email", "ada.lovelace+x@mail.example.org"),
        ("email", "jürgen@müller.example"),
        ("iban", "DE89370400440532013000"),
        ("iban", "GB82 WEST 1234 5698 7654 32"),
        ("iban", "NO93 8601 1117 947"),
        ("card", "4111 1111 1111 1111"),
        ("card", "5500-0000-0000-0004"),
        ("card", "378282246310005"),
        ("phone", "+49 170 1234567"),
        ("phone", "+1 (415) 555-2671"),
        ("ip", "192.168.17.4"),
        ("ip", "2001:db8::8a2e:370:7334"),
        ("key", "sk-proj-abcdefghijklmnop1234"),
        ("key", "ghp_abcdefghijklmnopqrst1234"),
        ("key", "AKIAIOSFODNN7EXAMPLE"),
    ],
)
def test_what_is_personal_goes_and_the_words_around_it_stay(kind: str, text: str) -> None:
    found = cleaned(f"Write to {text}, please.")
    assert text not in found
    assert found.startswith(f"Write to <{kind}:")
    assert found.endswith(">, please.")


@pytest.mark.parametrize(
    "text",
    [
        "DE89370400440532013001",  # another check number
        "4111 1111 1111 1112",  # Luhn
        "9111111111111111",  # nobody issues these
        "1764331200000000000",  # a time in nanoseconds
        "12 + 34567890",
        "f(3)+12345678",
        "x = 5 +4930123456",
        "version 1.2.3.400",
        "127.0.0.1",
        "at 12:30:45",
        "std::vector<a::b>",
        "@decorator and a@b",
        "sk-short",
        "order 20251128-0001",
    ],
)
def test_what_only_looks_personal_stays(text: str) -> None:
    assert cleaned(text) == text


def test_one_thing_has_one_pseudonym_however_it_is_written_and_another_project_has_another() -> None:
    spaced, dense = cleaned("DE89 3704 0044 0532 0130 00"), cleaned("DE89370400440532013000")
    assert spaced == dense
    assert cleaned("Ada@Example.org") == cleaned("ada@example.org") != cleaned("eve@example.org")
    assert Pseudonyms(["email"], b"other").text("ada@example.org") != cleaned("ada@example.org")


def test_a_word_in_capitals_after_an_iban_stays() -> None:
    assert cleaned("GB82 WEST 1234 5698 7654 32 THANK YOU").endswith("> THANK YOU")


def test_every_text_of_a_value_is_looked_at_and_counted() -> None:
    pseudonyms = Pseudonyms(["email"], KEY)
    found = pseudonyms.value({"a": ["x@y.example", {"b": "x@y.example"}], "n": 4111111111111111})
    assert found["a"][0] == found["a"][1]["b"]
    assert found["n"] == 4111111111111111
    assert pseudonyms.counts == {"email": 2}


def test_half_a_surrogate_pair_does_not_stop_the_file() -> None:
    cleaned("\ud83d and more").encode()
