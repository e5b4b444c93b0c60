"""The words for what becomes of an answer or a candidate: the same in the terminal, the store and the report.

pass      every verifier passes it
fail      a verifier fails it
unknown   none fails it, and one cannot judge it
spare     a candidate that passes and is not needed: another sample of its question is better, or it is too easy
kept      a lesson that curation takes; what it leaves out is dropped
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Fate = Literal["pass", "spare", "fail", "unknown"]
"""Of a row in `judged`. An answer's outcome is one of the others than `spare`."""
FATES: tuple[Fate, ...] = get_args(Fate)


def in_words(counts: Mapping[Fate, int]) -> str:
    """`220 pass, 220 spare, 0 fail`: passes and fails in any case, the others where there are any."""
    shown = (fate for fate in FATES if counts.get(fate) or fate in ("pass", "fail"))
    return ", ".join(f"{counts.get(fate, 0):,} {fate}" for fate in shown)
