"""When a teacher has shown that it does not teach.

A sequential probability ratio test (Wald 1945) of "one in ten of what it writes can be used" against "one in a
hundred". It may be looked at after every answer: the ratio passes 1/alpha with a chance of at most alpha, ever, where
at least one in ten can be used (Ville 1939).
"""

from __future__ import annotations

import math

USABLE, USELESS = 0.10, 0.01
"""Shares of a teacher worth asking, and of one that is not."""
ALPHA = 0.05
"""Chance that a teacher of whose writing one in ten can be used is stopped all the same."""


def is_useless(used: int, unused: int) -> bool:
    """Whether a teacher is to be asked no more, after so many pieces of which so many could be used."""
    evidence = used * math.log(USELESS / USABLE) + unused * math.log((1 - USELESS) / (1 - USABLE))
    return evidence > -math.log(ALPHA)


FEWEST = math.floor(-math.log(ALPHA) / math.log((1 - USELESS) / (1 - USABLE))) + 1
"""Useless pieces, with no useful one among them, after which a teacher is stopped."""
