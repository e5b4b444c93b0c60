"""Which texts say the same.

Near-duplicates: MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, ch. 3)
finds pairs among texts that agree in what has to be equal (`telling`), exact Jaccard similarity of 3-character shingles
and a look at the words that differ decide. Contamination: n-grams of words as in GPT-3's appendix C (arXiv 2005.14165),
looked up in a dictionary of the eval items'.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from flywheel.normal import WORD, gram_units, words
from flywheel.store.telling import Telling, must_agree, worded_alike
from flywheel.text import normalised

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: 16 bands of 4 hashes: a pair of Jaccard 0.8 is found with probability 0.9998, one of 0.7 with 0.99.
BANDS, ROWS_A_BAND = 16, 4
#: In a crowd that shares a band value, a text is compared with all before it up to this many, then with its first few.
CROWD, FIRST_FEW = 500, 64
#: Texts whose shingles, and pairs whose signatures, are in memory at a time.
TEXTS_AT_A_TIME, PAIRS_AT_A_TIME = 500, 100_000
#: A line in this many texts, and a beginning or an end of all of so many, is a frame; content has this many words.
FRAME, CONTENT_WORDS = 20, 4


@dataclass(frozen=True)
class Overlap:
    """A lesson that is too like an eval item."""

    suite: str
    item_id: str
    how: str
    """exact, normalised, or n-gram."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a text is compared by, without what many share. `content`: of that and its answer, as they stand; `copy`:
    the same made comparable; `kind`: of what must agree (16 hex digits each); `least`: 64 values of 4 bytes."""

    content: str
    copy: str
    kind: str
    least: bytes


def near_duplicates(
    texts: Sequence[str],
    threshold: float,
    answers: Sequence[str] | None = None,
    signed: MutableMapping[int, Signature] | None = None,
) -> dict[int, tuple[int, float]]:
    """Later texts that repeat an earlier kept one: index → (index of the one kept, Jaccard similarity).

    `texts` come in order of preference: the history first, then the new ones, best first. `answers`: what each text
    ends with; without them a text of several lines has its last one for an answer. `signed`: signatures that are known,
    by index; those that are missing, or of another content, are added.
    """
    dropped: dict[int, tuple[int, float]] = {}
    for later, earlier, similarity in alike(texts, threshold, answers, dropped, signed):
        dropped[later] = (earlier, similarity)
    # A copy of a text that was dropped repeats the one for which that was.
    return {later: dropped.get(earlier, (earlier, same)) for later, (earlier, same) in dropped.items()}


def alike(
    texts: Sequence[str],
    threshold: float,
    answers: Sequence[str] | None = None,
    leave_out: Container[int] = (),
    signed: MutableMapping[int, Signature] | None = None,
) -> Iterator[tuple[int, int, float]]:
    """Pairs of near-duplicates: (later, earlier, Jaccard similarity), as in `near_duplicates`; copies of a text come
    last, each with the first one. Of the others none has an index that is in `leave_out` by then."""
    contents = _without_frames(texts)
    if answers is None:
        answers = [text.rpartition("\n")[2] if "\n" in text else "" for text in texts]
    telling = Telling()
    signed = {} if signed is None else signed
    _sign(contents, answers, telling, signed)
    copies, firsts = _copies([signed[place].copy for place in range(len(texts))])
    folded_of = lru_cache(maxsize=10_000)(lambda place: normalised(contents[firsts[place]]))
    shingles_of = lru_cache(maxsize=10_000)(lambda place: _shingles(folded_of(place)))
    words_of = lru_cache(maxsize=10_000)(lambda place: _words(contents[firsts[place]], folded_of(place)))
    for later, earlier in _similar_pairs([signed[first] for first in firsts], threshold):
        if firsts[later] in leave_out or firsts[earlier] in leave_out:
            continue
        one, other = shingles_of(later), shingles_of(earlier)
        shared = len(one & other)
        similarity = shared / (len(one) + len(other) - shared)
        if similarity >= threshold and worded_alike(words_of(later), words_of(earlier), telling):
            yield firsts[later], firsts[earlier], similarity
    yield from ((later, first, 1.0) for later, first in copies.items())


def _sign(
    contents: Sequence[str], answers: Sequence[str], telling: Telling, signed: MutableMapping[int, Signature]
) -> None:
    """Add what is missing, or was signed when another part of the text was its content."""
    hashes = [_digest(f"{len(content)} {content}{answer}") for content, answer in zip(contents, answers, strict=True)]
    places = [place for place, own in enumerate(hashes) if place not in signed or signed[place].content != own]
    for start in range(0, len(places), TEXTS_AT_A_TIME):
        block = places[start : start + TEXTS_AT_A_TIME]
        folded = [normalised(contents[place]) for place in block]
        for place, text, least in zip(block, folded, _signatures(folded), strict=True):
            answer = answers[place]
            agreed = must_agree(text.split(" "), normalised(answer).split(" ") if answer else (), telling)
            kind = "\0".join(["\1".join(part) for part in agreed])
            signed[place] = Signature(
                hashes[place], _digest(f"{len(text)} {text}{kind}"), _digest(kind), least.tobytes()
            )


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _words(text: str, folded: str) -> list[str]:
    """In their own letter case."""
    return words(text) if text != text.lower() else folded.split(" ")


def _copies(keys: Sequence[object]) -> tuple[dict[int, int], list[int]]:
    """Later index → the first with an equal key; and the indices of the first ones."""
    first: dict[object, int] = {}
    copies = {index: earlier for index, key in enumerate(keys) if (earlier := first.setdefault(key, index)) != index}
    return copies, list(first.values())


def _numbered(keys: Sequence[object]) -> NDArray[np.int64]:
    """Equal numbers for equal keys."""
    import numpy as np

    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _without_frames(texts: Sequence[str]) -> list[str]:
    """Texts without what stands in many: a schema on a line of its own, an instruction before or after every question.

    Where little is left, what is shared is the content.
    """
    if len(texts) < FRAME:
        return list(texts)
    lines = Counter(line for text in texts if "\n" in text for line in set(text.split("\n")))
    frames = {line for line, count in lines.items() if count >= FRAME}
    bare = [_substance("\n".join(x for x in t.split("\n") if x not in frames), t) for t in texts] if frames else texts
    start, end = _common(bare), _common([text[::-1] for text in bare])
    return [_substance(text[start : len(text) - end], text) if start or end else text for text in bare]


def _common(texts: Sequence[str]) -> int:
    """How many characters all texts begin with, in whole words; 0 where those are few words."""
    least, most = min(texts), max(texts)
    same = next((i for i, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), len(least))
    length = max(least.rfind(" ", 0, same), least.rfind("\n", 0, same)) + 1
    return length if len(least[:length].split()) >= CONTENT_WORDS else 0


def _substance(part: str, whole: str) -> str:
    return part if len(part) > 24 and _has_words(part) else whole


def _has_words(part: str) -> bool:
    """Whether it has CONTENT_WORDS; plain ones at the beginning are enough to see it."""
    plain = sum(chunk.isalnum() and chunk.isascii() for chunk in part.split(None, 2 * CONTENT_WORDS)[:-1])
    return plain >= CONTENT_WORDS or len(words(part)) >= CONTENT_WORDS


def _shingles(text: str) -> frozenset[str]:
    """Runs of 3 characters; a shorter text is its own shingle."""
    return frozenset(text[i : i + 3] for i in range(max(len(text) - 2, 1)))


def _similar_pairs(signed: Sequence[Signature], threshold: float) -> list[tuple[int, int]]:
    """(later, earlier), in order: pairs of one kind that share a band and whose hashes agree nearly as often as the
    threshold says.

    The share of agreeing hashes estimates the similarity; a pair at the threshold falls four standard errors below it
    three times in 100,000.
    """
    import numpy as np

    hashes = BANDS * ROWS_A_BAND
    signatures = np.frombuffer(b"".join(signature.least for signature in signed), np.uint32).reshape(-1, hashes)
    kinds = _numbered([signature.kind for signature in signed])
    # A byte of each hash is enough to compare by: a signature is then one cache line.
    bytes_ = np.ascontiguousarray(signatures.astype(np.uint8))
    least = hashes * (threshold - 4 * (threshold * (1 - threshold) / hashes) ** 0.5)
    found: list[NDArray[np.int64]] = [np.empty((0, 2), np.int64)]
    for band in range(BANDS):
        rows = signatures[:, band * ROWS_A_BAND : (band + 1) * ROWS_A_BAND]
        for pairs in _pairs_of_equal(rows, kinds):
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


def _pairs_of_equal(rows: NDArray[np.uint32], kinds: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Blocks of (later, earlier) among the indices of one kind with equal rows of 4 hashes."""
    import numpy as np

    high, low = np.ascontiguousarray(rows).view(np.uint64).T
    some = _maybe_equal(high, low, kinds)
    order = some[np.lexsort((low[some], high[some], kinds[some]))]
    high, low, kinds = high[order], low[order], kinds[order]
    fresh = np.concatenate(([True], (high[1:] != high[:-1]) | (low[1:] != low[:-1]) | (kinds[1:] != kinds[:-1])))
    starts = np.flatnonzero(fresh)
    sizes = np.diff(np.append(starts, len(order)))
    first_of = np.repeat(starts, sizes)
    # lexsort is stable: inside a group the indices rise, so each place is paired with those before it in its group.
    before = np.arange(len(order)) - first_of
    before = np.where(before > CROWD, FIRST_FEW, before)
    ends = before.cumsum()
    first = 0
    while first < len(order):
        last = int(np.searchsorted(ends, (ends[first - 1] if first else 0) + PAIRS_AT_A_TIME, side="right"))
        last = max(last, first + 1)
        places = np.repeat(np.arange(first, last), before[first:last])
        if len(places):
            counts = before[first:last]
            rank = np.arange(len(places)) - np.repeat(counts.cumsum() - counts, counts)
            yield np.stack([order[places], order[first_of[places] + rank]], axis=1)
        first = last


def _maybe_equal(high: NDArray[np.uint64], low: NDArray[np.uint64], kinds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices, rising, without those that certainly have no equal: nearly all, which then need no exact sorting."""
    import numpy as np

    mixed = high * np.uint64(0x9E3779B97F4A7C15) ^ low * np.uint64(0xC2B2AE3D27D4EB4F) ^ kinds.astype(np.uint64)
    order = np.argsort(mixed)
    equal = np.flatnonzero(np.diff(mixed[order]) == 0)
    return np.unique(order[np.concatenate((equal, equal + 1))])


def contaminated(
    lessons: Sequence[tuple[str, str]], items: Sequence[tuple[str, str, str, str]], ngram: int
) -> dict[int, Overlap]:
    """Lessons (question text, whole text) that overlap an eval item (suite, item id, question text, whole text).

    Exact and normalised equality look at the question, n-grams of words at the whole; letter case counts in neither: a
    leak costs more than a lesson. Where a script has no blanks between words, as many characters as make `ngram` words
    stand for them (`flywheel.normal.gram_units`). Index of lesson → first overlap.
    """
    if not lessons or not items:
        return {}
    exact = {question: (suite, item) for suite, item, question, _ in items}
    folded = {normalised(question).lower(): (suite, item) for suite, item, question, _ in items}
    found: dict[int, Overlap] = {}
    for index, (question, _) in enumerate(lessons):
        if question in exact:
            found[index] = Overlap(*exact[question], "exact")
        elif (key := normalised(question).lower()) in folded:
            found[index] = Overlap(*folded[key], "normalised")
    for index, suite, item in _sharing_ngrams([w for _, w in lessons], [(s, i, w) for s, i, _, w in items], ngram):
        found.setdefault(index, Overlap(suite, item, f"{ngram}-gram"))
    return found


def _sharing_ngrams(
    lessons: Sequence[str], items: Sequence[tuple[str, str, str]], ngram: int
) -> Iterator[tuple[int, str, str]]:
    """(place of the lesson, suite, item): the first item, by name, that shares a run of `ngram` words."""
    owners: dict[tuple[str, ...], tuple[str, str]] = {}
    halves: set[tuple[str, ...]] = set()
    half = ngram // 2
    for suite, item, text in items:
        tokens = _gram_tokens(text)
        halves.update(_runs(tokens, half))
        for gram in _ngrams(tokens, ngram):
            owners[gram] = min(owners.get(gram, (suite, item)), (suite, item))
    for place, text in enumerate(lessons):
        tokens = _gram_tokens(text)
        # A run of `ngram` words holds a whole half that begins at a multiple of the rest: most texts have none.
        if text.isascii() and halves.isdisjoint(
            tuple(tokens[i : i + half]) for i in range(0, len(tokens) - half + 1, ngram - half + 1)
        ):
            continue
        if shared := owners.keys() & _ngrams(tokens, ngram):
            yield (place, *min(owners[gram] for gram in shared))


def _gram_tokens(text: str) -> list[str]:
    """Words; signs are none, or any two queries of one form would overlap."""
    return [word for word in normalised(text).lower().split(" ") if len(word) > 1 or word.isalnum()]


def _ngrams(tokens: list[str], length: int) -> set[tuple[str, ...]]:
    """Runs of `length` words, or of as many characters as make so many."""
    sizes = gram_units(tokens)
    return _weighted(tokens, sizes, length * WORD) if sizes else set(_runs(tokens, length))


def _runs(tokens: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return zip(*(tokens[start:] for start in range(length)), strict=False)


def _weighted(tokens: Sequence[str], sizes: Sequence[int], enough: int) -> set[tuple[str, ...]]:
    """The shortest runs from each token on whose sizes come to `enough`."""
    found, end, size = set(), 0, 0
    for start, own in enumerate(sizes):
        while size < enough and end < len(tokens):
            size += sizes[end]
            end += 1
        if size < enough:
            break
        found.add(tuple(tokens[start:end]))
        size -= own
    return found
