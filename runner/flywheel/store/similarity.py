"""Which texts say the same.

Near-duplicates: MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, ch. 3)
finds pairs, exact Jaccard similarity of 3-character shingles decides. Contamination: n-grams of words as in GPT-3's
appendix C (arXiv 2005.14165), looked up in a dictionary of the eval items'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from flywheel.text import normalised

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: 16 bands of 4 hashes: a pair of Jaccard 0.8 is found with probability 0.9998, one of 0.7 with 0.99.
BANDS, ROWS_A_BAND = 16, 4
#: A band value shared by more texts than this says nothing; its pairs are left to the other bands.
CROWD = 500
#: Texts whose shingles, and pairs whose signatures, are in memory at a time.
TEXTS_AT_A_TIME, PAIRS_AT_A_TIME = 500, 100_000


@dataclass(frozen=True)
class Overlap:
    """A lesson that is too like an eval item."""

    suite: str
    item_id: str
    how: str
    """exact, normalised, or n-gram."""


def near_duplicates(texts: Sequence[str], threshold: float) -> dict[int, tuple[int, float]]:
    """Later texts that repeat an earlier kept one: index → (index of the one kept, Jaccard similarity).

    `texts` come in order of preference: the history first, then the new ones, best first.
    """
    if len(texts) < 2:
        return {}
    folded = [normalised(text) for text in texts]
    shingles_of = lru_cache(maxsize=10_000)(lambda index: _shingles(folded[index]))
    dropped: dict[int, tuple[int, float]] = {}
    for later, earlier in _similar_pairs(folded, threshold):
        if later in dropped or earlier in dropped:
            continue
        one, other = shingles_of(later), shingles_of(earlier)
        shared = len(one & other)
        similarity = shared / (len(one) + len(other) - shared)
        if similarity >= threshold:
            dropped[later] = (earlier, similarity)
    return dropped


def _shingles(text: str) -> frozenset[str]:
    """Runs of 3 characters; a shorter text is its own shingle."""
    return frozenset(text[i : i + 3] for i in range(max(len(text) - 2, 1)))


def _similar_pairs(texts: Sequence[str], threshold: float) -> list[tuple[int, int]]:
    """(later, earlier), in order: pairs that share a band and whose hashes agree nearly as often as the threshold says.

    The share of agreeing hashes estimates the similarity; a pair at the threshold falls four standard errors below it
    three times in 100,000.
    """
    import numpy as np

    signatures = np.concatenate(
        [_signatures(texts[i : i + TEXTS_AT_A_TIME]) for i in range(0, len(texts), TEXTS_AT_A_TIME)]
    )
    # A byte of each hash is enough to compare by: a signature is then one cache line.
    bytes_ = np.ascontiguousarray(signatures.astype(np.uint8))
    hashes = BANDS * ROWS_A_BAND
    least = hashes * (threshold - 4 * (threshold * (1 - threshold) / hashes) ** 0.5)
    found: list[NDArray[np.int64]] = [np.empty((0, 2), np.int64)]
    for band in range(BANDS):
        rows = signatures[:, band * ROWS_A_BAND : (band + 1) * ROWS_A_BAND]
        for pairs in _pairs_of_equal(rows):
            agreeing = (bytes_[pairs[:, 0]] == bytes_[pairs[:, 1]]).sum(axis=1)
            found.append(pairs[agreeing >= least])
    return [(later, earlier) for later, earlier in np.unique(np.concatenate(found), axis=0).tolist()]


def _signatures(texts: Sequence[str]) -> NDArray[np.uint32]:
    """The least value of each hash over a text's shingles: (texts, hashes)."""
    import numpy as np

    padded = [text.ljust(3, "\0") for text in texts]
    letters = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    codes = (letters[:-2] << np.uint64(42)) | (letters[1:-1] << np.uint64(21)) | letters[2:]
    lengths = np.array([len(text) for text in padded])
    within = np.ones(len(letters), dtype=bool)
    ends = lengths.cumsum()
    within[ends - 1] = within[ends - 2] = False  # a shingle does not reach into the next text
    starts = np.concatenate(([0], (lengths - 2).cumsum()[:-1]))
    mixed = (codes[within[:-2]] * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    values = mixed.astype(np.uint32)
    least = np.empty((len(texts), BANDS * ROWS_A_BAND), np.uint32)
    for number, (factor, addend) in enumerate(_hash_parameters()):
        hashed = values * factor + addend
        hashed ^= hashed >> np.uint32(15)
        hashed *= np.uint32(0x2C1B3C6D)
        least[:, number] = np.minimum.reduceat(hashed, starts)
    return least


@lru_cache(maxsize=1)
def _hash_parameters() -> list[tuple[np.uint32, np.uint32]]:
    """Fixed, so that the same texts have the same near-duplicates everywhere. Odd factors keep all 32 bits."""
    import random

    import numpy as np

    rng = random.Random(0)
    return [(np.uint32(rng.getrandbits(32) | 1), np.uint32(rng.getrandbits(32))) for _ in range(BANDS * ROWS_A_BAND)]


def _pairs_of_equal(rows: NDArray[np.uint32]) -> Iterator[NDArray[np.int64]]:
    """Blocks of (later, earlier) among the indices of equal rows of 4 hashes, where no more than a crowd are equal."""
    import numpy as np

    high, low = np.ascontiguousarray(rows).view(np.uint64).T
    order = np.lexsort((low, high))
    high, low = high[order], low[order]
    fresh = np.concatenate(([True], (high[1:] != high[:-1]) | (low[1:] != low[:-1])))
    starts = np.flatnonzero(fresh)
    sizes = np.diff(np.append(starts, len(order)))
    crowded = np.repeat(sizes > CROWD, sizes)
    # lexsort is stable: inside a group the indices rise, so each place is paired with those before it in its group.
    before = np.where(crowded, 0, np.arange(len(order)) - np.repeat(starts, sizes))
    ends = before.cumsum()
    first = 0
    while first < len(order):
        last = int(np.searchsorted(ends, (ends[first - 1] if first else 0) + PAIRS_AT_A_TIME, side="right"))
        last = max(last, first + 1)
        places = np.repeat(np.arange(first, last), before[first:last])
        if len(places):
            counts = before[first:last]
            rank = np.arange(len(places)) - np.repeat(counts.cumsum() - counts, counts)
            yield np.stack([order[places], order[places - 1 - rank]], axis=1)
        first = last


def contaminated(
    lessons: Sequence[tuple[str, str]], items: Sequence[tuple[str, str, str, str]], ngram: int
) -> dict[int, Overlap]:
    """Lessons (question text, whole text) that overlap an eval item (suite, item id, question text, whole text).

    Exact and normalised equality look at the question, n-grams of words at the whole. Index of lesson → first overlap.
    """
    if not lessons or not items:
        return {}
    exact = {question: (suite, item) for suite, item, question, _ in items}
    folded = {normalised(question): (suite, item) for suite, item, question, _ in items}
    found: dict[int, Overlap] = {}
    for index, (question, _) in enumerate(lessons):
        if question in exact:
            found[index] = Overlap(*exact[question], "exact")
        elif (key := normalised(question)) in folded:
            found[index] = Overlap(*folded[key], "normalised")
    for index, suite, item in _sharing_ngrams([w for _, w in lessons], [(s, i, w) for s, i, _, w in items], ngram):
        found.setdefault(index, Overlap(suite, item, f"{ngram}-gram"))
    return found


def _sharing_ngrams(
    lessons: Sequence[str], items: Sequence[tuple[str, str, str]], ngram: int
) -> Iterator[tuple[int, str, str]]:
    """(place of the lesson, suite, item): the first item, by name, that shares a run of `ngram` words."""
    owners: dict[tuple[str, ...], tuple[str, str]] = {}
    for suite, item, text in items:
        for gram in _ngrams(text, ngram):
            owners[gram] = min(owners.get(gram, (suite, item)), (suite, item))
    for place, text in enumerate(lessons):
        if shared := owners.keys() & _ngrams(text, ngram):
            yield (place, *min(owners[gram] for gram in shared))


def _ngrams(text: str, length: int) -> set[tuple[str, ...]]:
    """Runs of `length` words; operators are none, or any two queries of one form would overlap."""
    words = [word for word in normalised(text).split(" ") if word.isalnum() or "_" in word]
    return set(zip(*(words[start:] for start in range(length)), strict=False))
