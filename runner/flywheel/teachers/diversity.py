"""Whether a teacher says new things, or the same again and again."""

from __future__ import annotations

from collections import Counter

from flywheel.hashing import fingerprint_of_text
from flywheel.records import Reply


class Repeats:
    """Answers that only say again what another call's answer said: compared without their letter case and white space.
    One call's answer that is given out twice (one key) counts once."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def add(self, reply: Reply) -> None:
        if reply.status == "ok":
            self._said[reply.key] = fingerprint_of_text(" ".join(reply.text.lower().split()))[:16]

    @property
    def share(self) -> float:
        """Of the answers, in [0, 1]; 0.0 without any."""
        counted = Counter(self._said.values()).values()
        return sum(count - 1 for count in counted) / len(self._said) if self._said else 0.0
