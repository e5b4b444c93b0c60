"""Which questions mean the same, by their embeddings: pairs of a high cosine similarity that agree in what is telling.

An embedding hardly sees a number, a negation or a name (SemDeDup, Abbas et al., arXiv 2303.09540, drops by similarity
alone), so those are compared beside it, in any order.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from flywheel.normal import words
from flywheel.store.telling import LIGHT, Telling, must_agree
from flywheel.text import normalised

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Rows of the similarity matrix in memory at a time; earlier texts that a text is compared with in words; examples on
#: each side of the threshold.
BLOCK, NEAREST, EXAMPLES = 256, 20, 3
#: Words that a paraphrase may gain or lose.
_LOOSE = frozenset(
    "or with from all some only where when who why if sum add large small left right second 1".split(" ")  # noqa: SIM905
)


@dataclass(frozen=True)
class Likeness:
    """Two texts by index, `earlier` first, and the cosine similarity of their embeddings."""

    earlier: int
    later: int
    similarity: float
    agree: bool
    """In numbers, signs, negations, names and the answer."""


@dataclass(frozen=True)
class Meanings:
    """`dropped`: later text → the earlier kept one that it repeats; `examples`: the pairs next to the threshold."""

    dropped: dict[int, Likeness]
    examples: list[Likeness]


def same_meaning(
    questions: Sequence[str], answers: Sequence[str], vectors: NDArray[np.float32], threshold: float
) -> Meanings:
    """Later questions that say again what an earlier kept one said, with the same answer.

    `vectors` have unit length. Equal questions are left alone: how many answers one may have is decided elsewhere.
    """
    signs = _Signs(questions, answers)
    dropped: dict[int, Likeness] = {}
    examples: list[Likeness] = []
    for later, earlier, similarity in _pairs(vectors, threshold):
        if signs.equal(earlier, later):
            continue
        found = Likeness(earlier, later, similarity, signs.agree(earlier, later))
        examples.append(found)
        if similarity >= threshold and found.agree and later not in dropped and earlier not in dropped:
            dropped[later] = found
        if len(examples) > 100:
            examples = _next_to(examples, threshold)
    return Meanings(dropped, _next_to(examples, threshold))


def _next_to(pairs: Sequence[Likeness], threshold: float) -> list[Likeness]:
    """Most alike first."""
    above = heapq.nsmallest(EXAMPLES, (p for p in pairs if p.similarity >= threshold), key=lambda p: p.similarity)
    below = heapq.nlargest(EXAMPLES, (p for p in pairs if p.similarity < threshold), key=lambda p: p.similarity)
    return [*reversed(above), *below]


def _pairs(vectors: NDArray[np.float32], threshold: float) -> Iterator[tuple[int, int, float]]:
    """(later, earlier, similarity): of each text those at or above the threshold, most alike first, and one below."""
    import numpy as np

    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK] @ vectors[: start + BLOCK].T
        for row, later in enumerate(range(start, min(start + BLOCK, len(vectors)))):
            likeness = block[row, :later]
            above = np.flatnonzero(likeness >= threshold)
            best = above[np.argsort(-likeness[above], kind="stable")][:NEAREST]
            below = np.where(likeness < threshold, likeness, -1.0)
            near = [int(below.argmax())] if later and below.max() > -1.0 else []
            for earlier in [*best.tolist(), *near]:
                yield later, earlier, float(likeness[earlier])


class _Signs:
    """What must agree between two texts, worked out when it is asked for."""

    def __init__(self, questions: Sequence[str], answers: Sequence[str]) -> None:
        self.telling = Telling()
        self.questions, self.answers = questions, answers
        self.of = lru_cache(maxsize=20_000)(self._of)

    def equal(self, one: int, other: int) -> bool:
        return self.of(one)[0] == self.of(other)[0]

    def agree(self, one: int, other: int) -> bool:
        (_, said, counts, names, vocabulary), (_, said_2, counts_2, names_2, vocabulary_2) = (
            self.of(one),
            self.of(other),
        )
        return said == said_2 and counts == counts_2 and names <= vocabulary_2 and names_2 <= vocabulary

    def _of(self, index: int) -> tuple[str, object, Counter[str], frozenset[str], frozenset[str]]:
        question = normalised(self.questions[index])
        own = words(self.questions[index])
        telling, said = must_agree(question.split(" "), normalised(self.answers[index]).split(" "), self.telling)
        names = {w.lower() for w in own[1:] if w != w.lower() and len(w) > 1 and w.lower() not in LIGHT}
        counts = Counter(token for token in telling if token not in _LOOSE)
        return question, said, counts, frozenset(names), frozenset(word.lower() for word in own)
