"""Words for people: nearest names, numbers, safe display of text that a model wrote."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable

from flywheel.normal import normalised as normalised

#: Bidirectional controls can make shown text lie about its order; they are shown as escapes.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SPACE = re.compile(r"\s+")


#: Names that one message lists.
NAMES_SHOWN = 12


def did_you_mean(word: str, known: Iterable[str], cut: bool = True) -> str:
    """`Did you mean "x"?` for the nearest known word, else the known ones as a `listing`, or nothing where there are
    none; without `cut` also where the listing would leave some out."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f'Did you mean "{near[0]}"?'
    return f"Known: {listing(names, word)}." if names and (cut or len(names) <= NAMES_SHOWN) else ""


def listing(names: Iterable[str], word: str = "") -> str:
    """`a, b, c` in the order given; of more than `NAMES_SHOWN` those nearest to `word`, then `and 30 more`."""
    found = list(dict.fromkeys(names))
    if len(found) <= NAMES_SHOWN:
        return ", ".join(found)
    if word:
        found.sort(key=lambda name: -difflib.SequenceMatcher(None, name, word).ratio())
    return f"{', '.join(found[:NAMES_SHOWN])} and {len(found) - NAMES_SHOWN:,} more"


def printable(text: str, limit: int = 2_000) -> str:
    """Text from a model, made safe to show: control and bidi characters escaped, cut at `limit` characters."""
    cut = text[:limit]
    cut = _BIDI.sub(lambda m: f"\\u{ord(m[0]):04x}", cut)
    cut = _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}", cut)
    return cut if len(text) <= limit else f"{cut}… ({len(text):,} characters)"


def one_line(text: str, limit: int = 120) -> str:
    flat = _SPACE.sub(" ", printable(text, limit * 4)).strip()
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def gap(question: str, answer: str) -> str:
    """What stands between the two, as lm-eval's target delimiter: a space, unless there is white space already."""
    return "" if question[-1:].isspace() or answer[:1].isspace() else " "


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 07 s`, `2 h 05 min`; a clock that was set back gives no time below zero."""
    if seconds < 59.95:
        return f"{max(0.0, seconds):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def about(seconds: float) -> str:
    """A time to come, in whole seconds: nobody knows it better."""
    return f"{max(1, round(seconds))} s" if seconds < 59.5 else duration(seconds)


def pace(each_second: float) -> str:
    """`1,240/s`, `3.2/s`, and where one takes longer than a second `4.1 s each`."""
    if each_second < 1:
        return f"{duration(1 / each_second)} each"
    return f"{each_second:.1f}/s" if each_second < 10 else f"{each_second:,.0f}/s"


def usd(amount: float | None) -> str:
    """Cents, and under ten cents two significant digits; a dash where it is not known."""
    if amount is None:
        return "–"
    digits = 2 if amount == 0 or amount >= 0.1 else 1 - math.floor(math.log10(amount))
    return f"${amount:,.{digits}f}"


def signed(value: float) -> str:
    """With its sign and one decimal; what rounds to nothing is +0.0."""
    return f"{round(value, 1) + 0.0:+.1f}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


#: Patterns meet text that a model wrote: one that backtracks without end must not take the run with it.
PATTERN_SECONDS = 1.0


def matches(pattern: str, text: str) -> list[str]:
    """What `pattern` (or its one group) matches in `text`, in order; nothing where looking takes over a second."""
    import regex  # here: `validate` has no use for it

    try:
        return [str(found) for found in regex.findall(pattern, text, timeout=PATTERN_SECONDS)]
    except TimeoutError:
        return []


def first_match(pattern: str, text: str) -> int | None:
    """Where the first match's one group begins; None where there is none, or looking takes over a second."""
    import regex  # here: `validate` has no use for it

    try:
        found = regex.search(pattern, text, timeout=PATTERN_SECONDS)
    except TimeoutError:
        return None
    return None if found is None else max(found.start(1), found.start())


def named_groups(pattern: str, text: str) -> dict[str, str] | None:
    """The named groups of the first match, those aside that took no part; None where there is no match, or looking
    takes over a second."""
    import regex  # here: `validate` has no use for it

    try:
        found = regex.search(pattern, text, timeout=PATTERN_SECONDS)
    except TimeoutError:
        return None
    return None if found is None else {name: value for name, value in found.groupdict().items() if value is not None}
