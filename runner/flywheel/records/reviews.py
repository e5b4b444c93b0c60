"""What people said of things that waited for them, and when their words settle one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Words = Mapping[str, "Review"]
"""Of one item: person, in lower case → that person's last word."""


@dataclass(frozen=True)
class Review:
    """One word of one person. `review_id` is of the form that was sent: sent twice, it is one word."""

    review_id: str
    item: str
    """`kind/place/id`, as `item_name` makes it."""
    person: str
    value: str | None
    """The answer; None where the person says that there is no right one."""
    note: str = ""
    needed: int = 1
    """How many people the item takes, as was asked for then."""
    given_at: str = ""
    """ISO 8601, UTC."""


@dataclass(frozen=True)
class Settled:
    """`open`: too few spoke; `disputed`: enough spoke, and no answer has more than half of them."""

    state: Literal["open", "disputed", "settled"]
    value: str | None = None


def item_name(kind: str, place: str, name: str) -> str:
    """The name of what waits: of a kind (lesson, gold, case), in a generator, file or verifier."""
    return f"{kind}/{place}/{name}"


def last_words(reviews: Iterable[Review]) -> dict[str, dict[str, Review]]:
    """Item → each person's last word, of reviews in the order in which they were given."""
    found: dict[str, dict[str, Review]] = {}
    for review in reviews:
        words = found.setdefault(review.item, {})
        words.pop(review.person.casefold(), None)  # the newest stands last
        words[review.person.casefold()] = review
    return found


def settled(words: Words) -> Settled:
    """What so many people as the newest word asks for agree on, by more than half."""
    said = list(words.values())
    if not said or len(said) < said[-1].needed:
        return Settled("open")
    value, most = Counter(review.value for review in said).most_common(1)[0]
    return Settled("settled", value) if 2 * most > len(said) else Settled("disputed")


def categories(words: Words) -> list[str]:
    """What each person said, as agreement is counted; no right answer is an answer of its own."""
    return ["answer " + review.value if review.value is not None else "none" for review in words.values()]
