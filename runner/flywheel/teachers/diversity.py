"""Whether a teacher says new things, or the same again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from flywheel.records import Reply
from flywheel.text import normalised


def duplicates(replies: Iterable[Reply]) -> float:
    """Share of answers, in [0, 1], that only say again what another call's answer said; 0.0 without any answer.

    Compared as `flywheel.text.normalised`; one call's answer that is given out twice (one key) counts once.
    """
    texts = {reply.key: normalised(reply.text) for reply in replies if reply.status == "ok"}
    return sum(count - 1 for count in Counter(texts.values()).values()) / len(texts) if texts else 0.0
