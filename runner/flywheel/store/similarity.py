"""Which texts say the same.

Near-duplicates: MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, ch. 3)
finds pairs among texts that agree in what has to be equal (`telling`), exact Jaccard similarity of 3-character shingles
and a look at the words that differ decide. Contamination: n-grams of words as in GPT-3's appendix C (arXiv 2005.14165),
looked up in a dictionary of the eval items'.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

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


#: What a text is compared by, without what many share. `content`: of that and its answer, as they stand; `copy`: the
#: same made comparable; `kind`: of what must agree (64 bits each, never 0); `least`: the least value of each hash.
#: `question`: for who asks which questions are the same.
SIGNATURE = [
    ("content", "u8"),
    ("copy", "u8"),
    ("kind", "u8"),
    ("question", "u8"),
    ("least", "u4", (BANDS * ROWS_A_BAND,)),
]


class Signatures:
    """Of texts, by place. `rows`: an array of SIGNATURE, all 0 where there is none yet; `anew`: places that were signed
    since it was made."""

    def __init__(self, rows: NDArray[np.void] | None = None) -> None:
        import numpy as np

        self.rows = np.zeros(0, SIGNATURE) if rows is None else rows
        self.anew: list[int] = []

    def reach(self, size: int) -> None:
        """Room for so many."""
        import numpy as np

        if size > len(self.rows):
            rows = np.zeros(size, SIGNATURE)
            rows[: len(self.rows)] = self.rows
            self.rows = rows

    def put(self, place: int, least: bytes, **numbers: str | None) -> None:
        """As `get` gave it."""
        import numpy as np

        row = self.rows[place]
        row["least"] = np.frombuffer(least, np.uint32)
        for name, number in numbers.items():
            row[name] = int(number or "0", 16)

    def get(self, place: int) -> dict[str, Any]:
        """A signature as JSON values and bytes; numbers have 16 hex digits."""
        row = self.rows[place]
        numbers = {name: f"{row[name]:016x}" for name in ("content", "copy", "kind", "question")}
        return numbers | {"least": row["least"].tobytes()}


def near_duplicates(
    texts: Sequence[str],
    threshold: float,
    answers: Sequence[str] | None = None,
    signed: Signatures | None = None,
) -> dict[int, tuple[int, float]]:
    """Later texts that repeat an earlier kept one: index → (index of the one kept, Jaccard similarity).

    `texts` come in order of preference: the history first, then the new ones, best first. `answers`: what each text
    ends with; without them a text of several lines has its last one for an answer. `signed`: signatures that are known;
    those that are missing, or of another content, are added. Texts are looked at a few at a time, in four passes.
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
    signed: Signatures | None = None,
) -> Iterator[tuple[int, int, float]]:
    """Pairs of near-duplicates: (later, earlier, Jaccard similarity), as in `near_duplicates`; copies of a text come
    last, each with the first one. Of the others none has an index that is in `leave_out` by then."""
    content_of = _without_frames(texts)
    telling = Telling()
    signed = Signatures() if signed is None else signed
    signed.reach(len(texts))
    _sign(texts, answers, content_of, telling, signed)
    rows = signed.rows[: len(texts)]
    first_of = _firsts(rows["copy"])
    bare = lru_cache(maxsize=1_000)(lambda place: content_of(texts[place]))
    folded_of = lru_cache(maxsize=1_000)(lambda place: normalised(bare(place)))
    shingles_of = lru_cache(maxsize=1_000)(lambda place: _shingles(folded_of(place)))
    words_of = lru_cache(maxsize=1_000)(lambda place: _words(bare(place), folded_of(place)))
    for later, earlier in _similar_pairs(rows, first_of, threshold):
        if later in leave_out or earlier in leave_out:
            continue
        one, other = shingles_of(later), shingles_of(earlier)
        shared = len(one & other)
        similarity = shared / (len(one) + len(other) - shared)
        if similarity >= threshold and worded_alike(words_of(later), words_of(earlier), telling):
            yield later, earlier, similarity
    yield from ((later, first, 1.0) for later, first in enumerate(first_of.tolist()) if later != first)


def _sign(
    texts: Sequence[str],
    answers: Sequence[str] | None,
    content_of: Callable[[str], str],
    telling: Telling,
    signed: Signatures,
) -> None:
    """Add what is missing, or was signed when another part of the text was its content."""
    import numpy as np

    waiting = enumerate(texts)
    for start in range(0, len(texts), TEXTS_AT_A_TIME):
        pairs = [
            (content_of(text), _last_line(text) if answers is None else answers[place])
            for place, text in islice(waiting, TEXTS_AT_A_TIME)
        ]
        rows = signed.rows[start : start + len(pairs)]
        hashes = np.array([digest(f"{len(content)} {content}{answer}") for content, answer in pairs], np.uint64)
        if len(places := np.flatnonzero(rows["content"] != hashes)):
            rows["content"] = hashes
            rows[places] = _signed(rows[places], [pairs[place] for place in places], telling)
            signed.anew += (places + start).tolist()


def _signed(rows: NDArray[np.void], pairs: Sequence[tuple[str, str]], telling: Telling) -> NDArray[np.void]:
    """The rows of some contents and answers, all but `content` worked out."""
    folded = [normalised(content) for content, _ in pairs]
    rows["least"] = _signatures(folded)
    for place, (text, (_, answer)) in enumerate(zip(folded, pairs, strict=True)):
        agreed = must_agree(text.split(" "), normalised(answer).split(" ") if answer else (), telling)
        kind = "\0".join(["\1".join(part) for part in agreed])
        rows["copy"][place], rows["kind"][place] = digest(f"{len(text)} {text}{kind}"), digest(kind)
    return rows


def _last_line(text: str) -> str:
    return text.rpartition("\n")[2] if "\n" in text else ""


def digest(text: str) -> int:
    """64 bits, of which one is set."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def _words(text: str, folded: str) -> list[str]:
    """In their own letter case."""
    return words(text) if text != text.lower() else folded.split(" ")


def _firsts(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Of each place the first one with an equal key."""
    import numpy as np

    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse]


def _without_frames(texts: Sequence[str]) -> Callable[[str], str]:
    """What to make of a text so that it is without what stands in many: a schema on a line of its own, an instruction
    before or after every question.

    Where little is left, what is shared is the content.
    """
    if len(texts) < FRAME:
        return lambda text: text
    frames = _frames(texts)

    def bare(text: str) -> str:
        if not frames or "\n" not in text:
            return _substance(text, text) if frames else text
        return _substance("\n".join(line for line in text.split("\n") if hash(line) not in frames), text)

    start, end = _common(map(bare, texts))

    def content(text: str) -> str:
        text = bare(text)
        return _substance(text[start : len(text) - end], text) if start or end else text

    return content


def _frames(texts: Sequence[str]) -> Collection[int]:
    """Hashes of lines that stand in so many texts as make a frame. A million lines are no million texts in memory."""
    import numpy as np

    lines = (hash(line) for text in texts if "\n" in text for line in set(text.split("\n")))
    hashes, counts = np.unique(np.fromiter(lines, np.int64), return_counts=True)
    return frozenset(hashes[counts >= FRAME].tolist())


def _common(texts: Iterable[str]) -> tuple[int, int]:
    """How many characters all texts begin and end with, in whole words; 0 where those are few words."""
    waiting = iter(texts)
    least = most = next(waiting)
    last_least = last_most = least[::-1]
    for text in waiting:
        back = text[::-1]
        least, most = min(least, text), max(most, text)
        last_least, last_most = min(last_least, back), max(last_most, back)
    return _shared_words(least, most), _shared_words(last_least, last_most)


def _shared_words(one: str, other: str) -> int:
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    length = max(one.rfind(" ", 0, same), one.rfind("\n", 0, same)) + 1
    return length if len(one[:length].split()) >= CONTENT_WORDS else 0


def _substance(part: str, whole: str) -> str:
    return part if len(part) > 24 and _has_words(part) else whole


def _has_words(part: str) -> bool:
    """Whether it has CONTENT_WORDS; plain ones at the beginning are enough to see it."""
    first = part.split(None, 2 * CONTENT_WORDS)[:-1]
    if len(first) >= CONTENT_WORDS and (start := "".join(first[:CONTENT_WORDS])).isalnum() and start.isascii():
        return True  # nearly always, and soon seen
    plain = sum(chunk.isalnum() and chunk.isascii() for chunk in first)
    return plain >= CONTENT_WORDS or len(words(part)) >= CONTENT_WORDS


def _shingles(text: str) -> frozenset[str]:
    """Runs of 3 characters; a shorter text is its own shingle."""
    return frozenset(text[i : i + 3] for i in range(max(len(text) - 2, 1)))


def _similar_pairs(rows: NDArray[np.void], first_of: NDArray[np.int64], threshold: float) -> Iterator[tuple[int, int]]:
    """(later, earlier), in order, of texts that are no copies: pairs of one kind that share a band and whose hashes
    agree nearly as often as the threshold says.

    The share of agreeing hashes estimates the similarity; a pair at the threshold falls four standard errors below it
    three times in 100,000.
    """
    import numpy as np

    hashes = BANDS * ROWS_A_BAND
    firsts, kinds = np.flatnonzero(first_of == np.arange(len(first_of))), np.ascontiguousarray(rows["kind"])
    # A byte of each hash is enough to compare by: a signature is then one cache line.
    bytes_ = rows["least"].astype(np.uint8, order="C")
    least = hashes * (threshold - 4 * (threshold * (1 - threshold) / hashes) ** 0.5)
    found: list[NDArray[np.int64]] = [np.empty((0, 2), np.int64)]
    for band in range(BANDS):
        values = rows["least"][firsts, band * ROWS_A_BAND : (band + 1) * ROWS_A_BAND]
        for pairs in _pairs_of_equal(_band_keys(values, kinds[firsts])):
            later, earlier = firsts[pairs].T
            agreeing = (bytes_[later] == bytes_[earlier]).sum(axis=1)
            found.append(firsts[pairs][(agreeing >= least) & (kinds[later] == kinds[earlier])])
    return map(tuple, np.unique(np.concatenate(found), axis=0).tolist())


def _band_keys(values: NDArray[np.uint32], kinds: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 bits that are equal where 4 hashes and the kind are, and hardly elsewhere."""
    import numpy as np

    high, low = np.ascontiguousarray(values).view(np.uint64).T
    keys: NDArray[np.uint64] = high * np.uint64(0x9E3779B97F4A7C15) ^ low * np.uint64(0xC2B2AE3D27D4EB4F) ^ kinds
    return keys


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


def _pairs_of_equal(keys: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Blocks of (later, earlier) among the indices with equal keys."""
    import numpy as np

    some = _maybe_equal(keys)
    order = some[np.argsort(keys[some], kind="stable")]
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if len(keys) else some
    sizes = np.diff(np.append(starts, len(order)))
    first_of = np.repeat(starts, sizes)
    # The sort is stable: inside a group the indices rise, so each place is paired with those before it in its group.
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


def _maybe_equal(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Indices, rising, of keys that stand more than once."""
    import numpy as np

    order = np.argsort(keys)
    equal = np.flatnonzero(np.diff(keys[order]) == 0)
    return np.unique(order[np.concatenate((equal, equal + 1))])


def contaminated(
    lessons: Iterable[tuple[str, str]], items: Sequence[tuple[str, str, str, str]], ngram: int
) -> dict[int, Overlap]:
    """Lessons (question text, whole text) that overlap an eval item (suite, item id, question text, whole text).

    Exact and normalised equality look at the question, n-grams of words at the whole; letter case counts in neither: a
    leak costs more than a lesson. Where a script has no blanks between words, as many characters as make `ngram` words
    stand for them (`flywheel.normal.gram_units`). Index of lesson → first overlap.
    """
    if not items:
        return {}
    exact = {question: (suite, item) for suite, item, question, _ in items}
    folded = {normalised(question).lower(): (suite, item) for suite, item, question, _ in items}
    grams = _Grams([(suite, item, whole) for suite, item, _, whole in items], ngram)
    found: dict[int, Overlap] = {}
    for index, (question, whole) in enumerate(lessons):
        if question in exact:
            found[index] = Overlap(*exact[question], "exact")
        elif (key := normalised(question).lower()) in folded:
            found[index] = Overlap(*folded[key], "normalised")
        elif owner := grams.shared_by(whole):
            found[index] = Overlap(*owner, f"{ngram}-gram")
    return found


class _Grams:
    """Runs of `ngram` words of (suite, item, text)."""

    def __init__(self, items: Sequence[tuple[str, str, str]], ngram: int) -> None:
        self._ngram, self._half = ngram, ngram // 2
        self._owners: dict[tuple[str, ...], tuple[str, str]] = {}
        self._halves: set[tuple[str, ...]] = set()
        for suite, item, text in items:
            tokens = _gram_tokens(text)
            self._halves.update(_runs(tokens, self._half))
            for gram in _ngrams(tokens, ngram):
                self._owners[gram] = min(self._owners.get(gram, (suite, item)), (suite, item))

    def shared_by(self, text: str) -> tuple[str, str] | None:
        """The first (suite, item), by name, that has a run in common with the text."""
        tokens, half = _gram_tokens(text), self._half
        # A run of `ngram` words holds a whole half that begins at a multiple of the rest: most texts have none.
        if text.isascii() and self._halves.isdisjoint(
            tuple(tokens[i : i + half]) for i in range(0, len(tokens) - half + 1, self._ngram - half + 1)
        ):
            return None
        shared = self._owners.keys() & _ngrams(tokens, self._ngram)
        return min((self._owners[gram] for gram in shared), default=None)


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
