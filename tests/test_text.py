"""What a message says of names: the nearest one, or few enough to read."""

from __future__ import annotations

from flywheel.text import did_you_mean, listing


def test_a_short_list_stands_whole_and_in_its_own_order() -> None:
    assert listing(["b", "a", "b", "c"]) == "b, a, c"
    assert did_you_mean("zzzz", ["b", "a"]) == "Known: a, b."
    assert did_you_mean("x", []) == ""


def test_a_long_list_says_the_nearest_first_and_how_many_more_there_are() -> None:
    names = [f"intent_{i:02}" for i in range(40)] + ["cash"]
    assert listing(names, "cards").startswith("cash, ")
    assert listing(names, "cards").endswith(" and 29 more")
    assert did_you_mean("cheque", names).startswith("Known: cash, ")
    assert did_you_mean("intent_7", names) == 'Did you mean "intent_37"?'
    assert listing(names).startswith("intent_00, intent_01, ")


def test_where_a_list_would_be_cut_a_text_that_is_kept_does_without() -> None:
    names = [f"intent_{i:02}" for i in range(40)]
    assert did_you_mean("zzzz", names, cut=False) == ""
    assert did_you_mean("zzzz", names[:12], cut=False).count(",") == 11
