"""Which texts say the same.

Near-duplicates: MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, ch. 3)
finds pairs among texts that agree in what has to be equal (`telling`), exact Jaccard similarity of 3-character shingles
and a look at the words that differ decide. Contamination: n-grams of words as in GPT-3's appendix C (arXiv 2005.14165),
looked up in a dictionary of the eval items'.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice
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
    """exact, normalised, n-gram, or of characters, in percent."""


#: What a text is compared by, without what many share. `frame`: which lines and how much of its ends that was, when it
#: was signed; `copy`: of the rest and its answer, made comparable; `kind`: of what must agree; `question`: for who asks
#: which questions are the same (64 bits each; all but `frame` never 0); `least`: the least value of each hash.
SIGNATURE = [
    ("frame", "u8"),
    ("copy", "u8"),
    ("kind", "u8"),
    ("question", "u8"),
    ("least", "u4", (BANDS * ROWS_A_BAND,)),
]


class Signatures:
    """Of texts, by place. `rows`: an array of SIGNATURE, all 0 where there is none yet; `lines`: digests of the lines
    of all texts, one text's after another's; `counts`: how many each has, 0 where it is a single line; `anew`: places
    that were signed since it was made."""

    def __init__(
        self,
        rows: NDArray[np.void] | None = None,
        lines: NDArray[np.uint64] | None = None,
        counts: NDArray[np.int64] | None = None,
    ) -> None:
        import numpy as np

        self.rows = np.zeros(0, SIGNATURE) if rows is None else rows
        self.lines = np.zeros(0, np.uint64) if lines is None else lines
        self.counts = np.zeros(len(self.rows), np.int64) if counts is None else counts
        self.anew: list[int] = []
        self._ends = self.counts.cumsum()

    @classmethod
    def packed(cls, rows: Sequence[bytes], lines: Sequence[bytes]) -> Signatures:
        """Of what `get` gave, text by text; empty where a text was not signed."""
        import numpy as np

        empty = np.zeros(1, SIGNATURE).tobytes()
        found = np.frombuffer(bytearray().join(row or empty for row in rows), SIGNATURE)
        return cls(
            found, np.frombuffer(b"".join(lines), np.uint64), np.array([len(own) // 8 for own in lines], np.int64)
        )

    def reach(self, size: int) -> None:
        """Room for so many."""
        import numpy as np

        if size > len(self.rows):
            rows, counts = np.zeros(size, SIGNATURE), np.zeros(size, np.int64)
            rows[: len(self.rows)], counts[: len(self.rows)] = self.rows, self.counts
            self.rows, self.counts, self._ends = rows, counts, counts.cumsum()

    def get(self, place: int, question: int) -> tuple[bytes, bytes]:
        """The row of a text whose question is that, and its lines: packed."""
        self.rows["question"][place] = question
        end = self._ends[place]
        return self.rows[place].tobytes(), self.lines[end - self.counts[place] : end].tobytes()

    def divide(self, places: NDArray[np.int64], texts: Iterable[str]) -> None:
        """Note the lines of the texts at these places, of which none was known."""
        import numpy as np

        found, counts = array("Q"), array("q")
        for text in texts:
            before = len(found)
            found.extend({_line(line) for line in text.split("\n")} if "\n" in text else ())
            counts.append(len(found) - before)
        self.counts[places] = np.frombuffer(counts, np.int64)
        self._ends = self.counts.cumsum()
        fresh = np.zeros(len(self.counts), dtype=bool)
        fresh[places] = True
        fresh = np.repeat(fresh, self.counts)
        lines = np.empty(len(fresh), np.uint64)
        lines[fresh], lines[~fresh] = np.frombuffer(found, np.uint64), self.lines
        self.lines = lines

    def framed(self, frames: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Of each text a number that is equal where the same lines of it are frames; 0 where none is."""
        import numpy as np

        own = np.where(np.isin(self.lines, frames), self.lines, np.uint64(0))
        sums = np.concatenate(([np.uint64(0)], own.cumsum(dtype=np.uint64)))
        found: NDArray[np.uint64] = sums[self._ends] - sums[self._ends - self.counts]
        return found


def _all_at_hand(places: Sequence[int]) -> None:
    del places


def near_duplicates(
    texts: Sequence[str],
    threshold: float,
    answers: Sequence[str] | None = None,
    signed: Signatures | None = None,
    ahead: Callable[[Sequence[int]], None] = _all_at_hand,
) -> dict[int, tuple[int, float]]:
    """Later texts that repeat an earlier kept one: index → (index of the one kept, Jaccard similarity).

    `texts` come in order of preference: the history first, then the new ones, best first. `answers`: what each text
    ends with; without them a text of several lines has its last one for an answer. `signed`: signatures that are known;
    those that are missing, or of a text of which other lines are frames now, are added. Of the texts with a known one
    only those are looked at that may repeat another, unless all of the others begin or end with the same words.
    `ahead`: is told the places of the texts that are looked at next, a few hundred at a time.
    """
    dropped: dict[int, tuple[int, float]] = {}
    for later, earlier, similarity in alike(texts, threshold, answers, dropped, signed, ahead):
        dropped[later] = (earlier, similarity)
    # A copy of a text that was dropped repeats the one for which that was.
    return {later: dropped.get(earlier, (earlier, same)) for later, (earlier, same) in dropped.items()}


def alike(
    texts: Sequence[str],
    threshold: float,
    answers: Sequence[str] | None = None,
    leave_out: Container[int] = (),
    signed: Signatures | None = None,
    ahead: Callable[[Sequence[int]], None] = _all_at_hand,
) -> Iterator[tuple[int, int, float]]:
    """Pairs of near-duplicates: (later, earlier, Jaccard similarity), as in `near_duplicates`; copies of a text come
    last, each with the first one. Of the others none has an index that is in `leave_out` by then."""
    telling = Telling()
    signed = Signatures() if signed is None else signed
    signed.reach(len(texts))
    content_of = _sign(texts, answers, telling, signed, ahead)
    rows = signed.rows[: len(texts)]
    first_of = _firsts(rows["copy"])
    bare = lru_cache(maxsize=1_000)(lambda place: content_of(texts[place]))
    folded_of = lru_cache(maxsize=1_000)(lambda place: normalised(bare(place)))
    shingles_of = lru_cache(maxsize=1_000)(lambda place: _shingles(folded_of(place)))
    words_of = lru_cache(maxsize=1_000)(lambda place: _words(bare(place), folded_of(place)))
    for later, earlier in _read_together(_similar_pairs(rows, first_of, threshold), ahead):
        if later in leave_out or earlier in leave_out:
            continue
        one, other = shingles_of(later), shingles_of(earlier)
        shared = _shared(one, other)
        similarity = shared / (len(one) + len(other) - shared)
        if similarity >= threshold and worded_alike(words_of(later), words_of(earlier), telling):
            yield later, earlier, similarity
    yield from ((later, first, 1.0) for later, first in enumerate(first_of.tolist()) if later != first)


def _read_together(
    pairs: Iterator[tuple[int, int]], ahead: Callable[[Sequence[int]], None]
) -> Iterator[tuple[int, int]]:
    while block := list(islice(pairs, TEXTS_AT_A_TIME)):
        ahead(sorted({place for pair in block for place in pair}))
        yield from block


def _sign(
    texts: Sequence[str],
    answers: Sequence[str] | None,
    telling: Telling,
    signed: Signatures,
    ahead: Callable[[Sequence[int]], None],
) -> Callable[[str], str]:
    """Add what is missing, or was signed when another part of the text was its content. Gives what makes a text its
    content."""
    import numpy as np

    rows = signed.rows[: len(texts)]
    unknown = np.flatnonzero(rows["copy"] == 0)
    signed.divide(unknown, _at(texts, unknown, ahead))
    frames, start, end = _frames(signed.lines), 0, 0
    own = np.zeros(len(texts), np.uint64)
    if len(texts) < FRAME:
        frames = frames[:0]
    else:
        own = signed.framed(frames)[: len(texts)]
        bare = _without_lines(frozenset(frames.tolist()))
        changed = np.flatnonzero((rows["copy"] == 0) | (rows["frame"] != own))
        start, end = _common(map(bare, _at(texts, changed, ahead)))
        # All of them share no more than some do.
        if (start or end or not len(changed)) and len(changed) < len(texts):
            start, end = _common(map(bare, texts))
    if start or end:
        own ^= np.uint64(digest(f"{start} {end}"))
    content_of = _without_frames(frozenset(frames.tolist()), start, end)
    changed = np.flatnonzero((rows["copy"] == 0) | (rows["frame"] != own))
    for first in range(0, len(changed), TEXTS_AT_A_TIME):
        places = changed[first : first + TEXTS_AT_A_TIME]
        pairs = [
            (content_of(text), _last_line(text) if answers is None else answers[place])
            for place, text in zip(places.tolist(), _at(texts, places, ahead), strict=True)
        ]
        rows[places] = _signed(rows[places], pairs, telling)
    rows["frame"] = own
    signed.anew += changed.tolist()
    return content_of


def _at(texts: Sequence[str], places: NDArray[np.int64], ahead: Callable[[Sequence[int]], None]) -> Iterator[str]:
    """The texts at some places."""
    if len(places) == len(texts):
        yield from texts
        return
    for first in range(0, len(places), TEXTS_AT_A_TIME):
        some = places[first : first + TEXTS_AT_A_TIME].tolist()
        ahead(some)
        yield from map(texts.__getitem__, some)


def _signed(rows: NDArray[np.void], pairs: Sequence[tuple[str, str]], telling: Telling) -> NDArray[np.void]:
    """The rows of some contents and answers, worked out."""
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


@lru_cache(maxsize=16_384)  # of a frame every text has its own copy
def _line(line: str) -> int:
    return digest(line)


def _words(text: str, folded: str) -> list[str]:
    """In their own letter case."""
    return words(text) if text != text.lower() else folded.split(" ")


def _firsts(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Of each place the first one with an equal key."""
    import numpy as np

    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse]


def _without_frames(frames: Collection[int], start: int, end: int) -> Callable[[str], str]:
    """What to make of a text so that it is without what stands in many: a schema on a line of its own, an instruction
    before or after every question.

    Where little is left, what is shared is the content.
    """
    bare = _without_lines(frames)

    def content(text: str) -> str:
        text = bare(text)
        return _substance(text[start : len(text) - end], text) if start or end else text

    return content


def _without_lines(frames: Collection[int]) -> Callable[[str], str]:
    def bare(text: str) -> str:
        if not frames or "\n" not in text:
            return text
        return _substance("\n".join(line for line in text.split("\n") if _line(line) not in frames), text)

    return bare


def _frames(lines: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Those that stand in so many texts as make a frame."""
    import numpy as np

    found, counts = np.unique(lines, return_counts=True)
    return found[counts >= FRAME]


def _common(texts: Iterable[str]) -> tuple[int, int]:
    """How many characters all texts begin and end with, in whole words; 0 where those are few words."""
    waiting = iter(texts)
    least = most = next(waiting, "")
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


def _shingles(text: str) -> NDArray[np.uint64]:
    """Runs of 3 characters, rising, each once; a shorter text is its own shingle."""
    import numpy as np

    codes = _runs_of_3(_letters([text.ljust(3, "\0")]))
    codes.sort()
    return codes[np.concatenate(([True], codes[1:] != codes[:-1]))]


def _shared(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> int:
    """How many values two rising arrays have in common. (To sort both together is faster than sets of Python.)"""
    import numpy as np

    both = np.concatenate((one, other))
    both.sort()
    return int(np.count_nonzero(both[1:] == both[:-1]))


def _letters(texts: Sequence[str]) -> NDArray[np.uint64]:
    """The code points of the texts, one text's after another's."""
    import numpy as np

    return np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)


def _runs_of_3(letters: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each with the two after it as one number: 21 bits hold a code point."""
    import numpy as np

    codes: NDArray[np.uint64] = (letters[:-2] << np.uint64(42)) | (letters[1:-1] << np.uint64(21)) | letters[2:]
    return codes


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
    found: list[NDArray[np.int64]] = [np.empty(0, np.int64)]  # later * size + earlier
    for band in range(BANDS):
        values = rows["least"][firsts, band * ROWS_A_BAND : (band + 1) * ROWS_A_BAND]
        for pairs in _pairs_of_equal(_band_keys(values, kinds[firsts])):
            later, earlier = firsts[pairs].T
            agreeing = (bytes_.take(later, 0) == bytes_.take(earlier, 0)).sum(axis=1, dtype=np.uint8)
            near = (agreeing >= least) & (kinds[later] == kinds[earlier])
            found.append(later[near] * len(rows) + earlier[near])
    later, earlier = np.divmod(np.unique(np.concatenate(found)), max(len(rows), 1))
    return zip(later.tolist(), earlier.tolist(), strict=True)


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
    letters = _letters(padded)
    lengths = np.array([len(text) for text in padded])
    within = np.ones(len(letters), dtype=bool)
    ends = lengths.cumsum()
    within[ends - 1] = within[ends - 2] = False  # a shingle does not reach into the next text
    starts = np.concatenate(([0], (lengths - 2).cumsum()[:-1]))
    mixed = (_runs_of_3(letters)[within[:-2]] * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
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
    lessons: Iterable[tuple[str, str]],
    items: Sequence[tuple[str, str, str, str]],
    ngram: int,
    ratio: float | None = None,
) -> dict[int, Overlap]:
    """Lessons (question text, whole text) that overlap an eval item (suite, item id, question text, whole text).

    Exact and normalised equality and the `ratio` of characters (as in OpenThoughts, Guha et al. 2025) look at the
    question, n-grams of words at the whole; letter case counts in none: a leak costs more than a lesson. Where a script
    has no blanks between words, as many characters as make `ngram` words stand for them (`flywheel.normal.gram_units`).
    Index of lesson → first overlap.
    """
    if not items:
        return {}
    exact = {question: (suite, item) for suite, item, question, _ in items}
    folded = _Folded((suite, item, question) for suite, item, question, _ in items)
    grams = _Grams([(suite, item, whole) for suite, item, _, whole in items], ngram)
    lowered = {(suite, item): question.lower() for suite, item, question, _ in items}
    found: dict[int, Overlap] = {}
    for index, (question, whole) in enumerate(lessons):
        if question in exact:
            found[index] = Overlap(*exact[question], "exact")
        elif owner := folded.same_as(question):
            found[index] = Overlap(*owner, "normalised")
        elif owner := grams.shared_by(whole):
            found[index] = Overlap(*owner, f"{ngram}-gram")
        elif ratio is not None and (owner := _nearest(question, lowered, ratio)):
            found[index] = Overlap(*owner, f"{100 * ratio:g}%")
    return found


def _nearest(question: str, lowered: Mapping[tuple[str, str], str], ratio: float) -> tuple[str, str] | None:
    """The (suite, item) whose question, in lower case, is the most alike, if it is so from `ratio` on."""
    from rapidfuzz import fuzz, process

    found = process.extractOne(question.lower(), lowered, scorer=fuzz.ratio, score_cutoff=100 * ratio)
    return None if found is None else found[2]


class _Folded:
    """Questions of (suite, item, question), normalised and in lower case."""

    def __init__(self, items: Iterable[tuple[str, str, str]]) -> None:
        self._owners = {normalised(question).lower(): (suite, item) for suite, item, question in items}
        self._spelled = {b"".join(_pieces(key)) for key in self._owners if key.isascii()}

    def same_as(self, question: str) -> tuple[str, str] | None:
        """The (suite, item) whose question it is."""
        if question.isascii() and b"".join(_pieces(question)) not in self._spelled:
            return None  # other letters: seen at once, where to normalise takes long
        return self._owners.get(normalised(question).lower())


class _Grams:
    """Runs of `ngram` words of (suite, item, text).

    An ASCII text that has such a run in common with an item also has the letters and digits of that run, which are soon
    compared: half as many pieces as every run has, wherever they begin in an item, and in the text at so many places
    that one of them lies within any run.
    """

    def __init__(self, items: Sequence[tuple[str, str, str]], ngram: int) -> None:
        self._ngram = ngram
        self._owners: dict[tuple[str, ...], tuple[str, str]] = {}
        plain: list[list[str]] = []
        for suite, item, text in items:
            tokens = _gram_tokens(text)
            plain += [list(run) for is_ascii, run in groupby(tokens, str.isascii) if is_ascii]
            for gram in _ngrams(tokens, ngram):
                self._owners[gram] = min(self._owners.get(gram, (suite, item)), (suite, item))
        fewest = min((_fewest_pieces(run, ngram) for run in plain if len(run) >= ngram), default=0)
        self._half = (fewest + 1) // 2
        self._step = fewest - self._half + 1
        self._halves = {half for run in plain for half in _runs(_pieces(" ".join(run)), self._half)}

    def shared_by(self, text: str) -> tuple[str, str] | None:
        """The first (suite, item), by name, that has a run in common with the text."""
        if self._half and text.isascii() and not self._may_share(text):
            return None
        shared = self._owners.keys() & _ngrams(_gram_tokens(text), self._ngram)
        return min((self._owners[gram] for gram in shared), default=None)

    def _may_share(self, text: str) -> bool:
        pieces, half = _pieces(text), self._half
        starts = range(0, len(pieces) - half + 1, self._step)
        return not self._halves.isdisjoint(tuple(pieces[i : i + half]) for i in starts)


#: Of a byte: a letter in lower case or a digit, else a blank.
_PIECES = bytes(ord(chr(code).lower()) if chr(code).isalnum() and code < 128 else 32 for code in range(256))


def _pieces(text: str) -> list[bytes]:
    """Letters and digits of an ASCII text between all else, in lower case: no normalising changes them."""
    return text.encode().translate(_PIECES).split()


def _fewest_pieces(tokens: Sequence[str], length: int) -> int:
    """Of any run of `length` tokens."""
    counts = [len(_pieces(token)) for token in tokens]
    return min(map(sum, _runs(counts, length)))


def _gram_tokens(text: str) -> list[str]:
    """Words; signs are none, or any two queries of one form would overlap."""
    return [word for word in normalised(text).lower().split(" ") if len(word) > 1 or word.isalnum()]


def _ngrams(tokens: list[str], length: int) -> set[tuple[str, ...]]:
    """Runs of `length` words, or of as many characters as make so many."""
    sizes = gram_units(tokens)
    return _weighted(tokens, sizes, length * WORD) if sizes else set(_runs(tokens, length))


def _runs(tokens: Sequence[Any], length: int) -> Iterator[tuple[Any, ...]]:
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
