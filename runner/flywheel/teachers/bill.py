"""What a server says that a call cost: read with distrust, and priced as the provider does.

`usage` is the server's word. Numbers that are none (text, negative, a fraction) or that no call can have are not
believed: the call and its answer stand, its upper bound is counted, and the reply says so. A believable number is
counted as it is, also where it is above the bound: some servers bill reasoning that `max_tokens` does not limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BEYOND_BELIEF = 1 << 20
"""Tokens above a call's upper bound from which a bill is no longer believed; no model thinks for so long."""
_FIELDS = ("prompt_tokens", "completion_tokens", "total_tokens")


@dataclass(frozen=True)
class Bill:
    """Tokens of one call; 0 where the server did not say, or was not believed (`doubt` says why). `cached_tokens` are
    among `input_tokens`, reasoning among `output_tokens`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    doubt: str = ""

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def is_known(self) -> bool:
        """Half a bill is no bill."""
        return self.input_tokens > 0 and self.output_tokens > 0

    def within(self, bound: int) -> Bill:
        """Itself, or nothing but a doubt where it is further above a call's bound of tokens than can be."""
        if self.tokens <= bound + BEYOND_BELIEF:
            return self
        return Bill(doubt=f"{_short(self.tokens)} tokens for a call of at most {bound:,}")


NO_BILL = Bill()


def read_bill(usage: Any) -> Bill:
    """The bill in a chat completion's `usage`, whatever stands there."""
    if usage is None:
        return NO_BILL
    if not isinstance(usage, Mapping):
        return Bill(doubt=f"usage is {_short(usage)}")
    counts = {name: _count(usage.get(name)) for name in _FIELDS}
    if odd := [name for name, count in counts.items() if count is None]:
        return Bill(doubt=f"{odd[0]} is {_short(usage[odd[0]])}")
    prompt, completion, total = (counts[name] or 0 for name in _FIELDS)
    if not (prompt and completion):
        return NO_BILL
    reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    # Some servers leave reasoning out of the completion; the total, or more reasoning than completion, tells.
    output = max(completion, total - prompt, completion + reasoning if reasoning > completion else 0)
    return Bill(prompt, output, min(prompt, _detail(usage, "prompt_tokens_details", "cached_tokens")))


def _count(value: Any) -> int | None:
    """A number of tokens: 0 where there is none, None where it is nonsense."""
    if value is None:
        return 0
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and value >= 0 else None


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    return (_count(details.get(name)) if isinstance(details, Mapping) else None) or 0


def _short(value: Any) -> str:
    """The value in at most a few dozen characters; a number too long for Python to write is one of so many digits."""
    if type(value) is int and value.bit_length() > 128:
        return f"about 2^{value.bit_length() - 1}"
    if isinstance(value, str | int | float | bool):
        return f"{value:,}" if type(value) is int else repr(value)[:60]
    return f"a {type(value).__name__}"


def plausible(tokens: Any, usd: Any) -> bool:
    """Whether these can be a call's cost as the journal has it: what an earlier version wrote may be anything."""
    return type(tokens) is int and 0 <= tokens < 1 << 53 and type(usd) in (int, float) and 0 <= usd < 1e15


def doubted(bill: Bill) -> str:
    """For the reply's detail."""
    return f"usage was not believed ({bill.doubt}); counted as its upper bound" if bill.doubt else ""
