"""What is dropped before anything is verified: too near to what was asked before, too short or long, or forbidden.

Self-Instruct (Wang et al. 2022) drops an instruction whose ROUGE-L with any earlier one is above 0.7, one of under 4 or
over 150 words, and those with certain words. OpenThoughts (Guha et al. 2025) drops a question whose rapidfuzz ratio
with an earlier one is 95 or more: the same measure over characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from flywheel.nodes.lessons.lesson import words_of
from flywheel.nodes.lessons.pieces import Piece
from flywheel.nodes.lessons.round import Round
from flywheel.normal import word_count, words
from flywheel.text import matches, one_line


def filtered(g: Round, pieces: Iterable[Piece]) -> Iterable[Piece]:
    """The pieces, as they come but for `novelty`; those that a rule of the generator drops have the status "filtered"
    and say why."""
    found = (_dropped(piece, _flaw(g, piece)) for piece in pieces)
    return _novel(g, list(found)) if g.generator.novelty is not None else found


def _dropped(piece: Piece, why: str) -> Piece:
    return replace(piece, status="filtered", problem=why) if why and piece.status == "parsed" else piece


def _flaw(g: Round, piece: Piece) -> str:
    if not (g.generator.min_words or g.generator.max_words or g.generator.forbid):
        return ""
    question = words_of(piece.candidate.row)
    length = word_count(question)
    if length < g.generator.min_words:
        return f"{length} words are under min_words"
    if g.generator.max_words is not None and length > g.generator.max_words:
        return f"{length} words are over max_words"
    for pattern in g.generator.forbid:
        if not piece.candidate.target and _ENDS.search(pattern):
            continue
        if matches(f"(?:{pattern})", f"{question}\n{piece.candidate.target}"):
            return f'forbidden: "{one_line(pattern, 40)}"'
    return ""


#: What holds or not by what comes after: a question that nobody has answered yet says nothing of it.
_ENDS = re.compile(r"\$|\(\?!|\\[Zz]")


def _novel(g: Round, pieces: Sequence[Piece]) -> list[Piece]:
    """Samples of one question are one question."""
    assert g.generator.novelty is not None
    pool = [words_of(g.work.inputs(row)) for row in g.sources.seeds] + _asked_before(g)
    open_ = {p.candidate.group or p.candidate.candidate_id: p for p in pieces if p.status == "parsed"}
    questions = [words_of(piece.candidate.row) for piece in open_.values()]
    by = g.generator.novelty_by
    nearest = rouge_l_to_earlier(questions, pool, by)
    near = {
        key: f"{MEASURES[by]} {score:.2f} with an earlier question"
        for key, score in zip(open_, nearest, strict=True)
        if score > g.generator.novelty
    }
    return [_dropped(piece, near.get(piece.candidate.group or piece.candidate.candidate_id, "")) for piece in pieces]


def _asked_before(g: Round) -> list[str]:
    rows = g.ctx.query(
        """SELECT DISTINCT "row" FROM candidates WHERE list_contains(?, node) AND status != 'unparsed'
           ORDER BY "row"::VARCHAR""",
        [g.work.earlier_nodes],
    )
    return [words_of(row["row"]) for row in rows]


#: What novelty is called, by what it counts.
MEASURES = {"words": "ROUGE-L", "characters": "ratio"}
#: Rows of a similarity matrix that are held at a time.
BLOCK = 256


def rouge_l_to_earlier(texts: Sequence[str], pool: Sequence[str], by: str = "words") -> list[float]:
    """For each text the highest ROUGE-L F (Lin 2004) with the pool and the texts before it, over words or, `by`
    "characters", over these: rapidfuzz's ratio. Where a script puts no blanks between words, characters are words: a
    question there would be one word, and unlike all others."""
    import numpy as np
    from rapidfuzz.distance import LCSseq
    from rapidfuzz.process import cdist

    coded = [text.lower() for text in [*pool, *texts]]
    if by == "words":  # a word as one character: the longest common subsequence of words is then one of characters
        codes: dict[str, int] = {}
        coded = ["".join(_character(codes, w) for w in _words(text)) for text in coded]
    lengths = np.array([len(c) for c in coded], dtype=np.float32)
    found: list[float] = []
    for start in range(len(pool), len(coded), BLOCK):
        block = range(start, min(start + BLOCK, len(coded)))
        common = cdist([coded[i] for i in block], coded[: block.stop], scorer=LCSseq.similarity, dtype=np.float32)
        scores = 2 * common / np.maximum(1, lengths[list(block)][:, None] + lengths[None, : block.stop])
        found += [float(scores[row, :i].max(initial=0.0)) for row, i in enumerate(block)]
    return found


def _words(text: str) -> Iterator[str]:
    for word in text.split():
        yield from (word,) if word.isascii() else words(word)


def _character(codes: dict[str, int], word: str) -> str:
    code = codes.setdefault(word, len(codes) + 1)
    return chr(code if code < 0xD800 else code + 0x800)  # past the surrogates
