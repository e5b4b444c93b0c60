"""Texts made comparable: what differs only in spacing, quotes, closing marks or plain letter case is one; nothing else.

A mark is dropped where it only sets words apart (`Why, then?`) and kept where it says something (`5!`, `f'(x)`, `C#`,
`a != b`, `3.14`, an emoji). Letter case goes where it follows from the place or is emphasis (`Which COLOUR`) and stays
where it tells two things apart: single letters (`C`, `x`), units and acronyms of two letters (`MW`, `US`), words with a
capital inside (`mW`, `userId`). Accents, vowel signs and other combining marks stay; characters are composed (NFC),
and full-width forms, ligatures and Arabic presentation forms are read as the letters that they are (`x²` stays `x²`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

#: English words that are another word with a capital.
CAPITONYMS = frozenset({"aids", "china", "polish", "turkey", "who"})

# --- tokens -----------------------------------------------------------------------------------------------------------

# What only lays out or sets off: bullets and headings at the start of a line, bold, quotes around something, (word).
_LAYOUT = re.compile(r"^[ \t]*[-*#>•‣◦]+[ \t]+(?=[^\W\d_])", re.MULTILINE)
_BOLD = re.compile(r"(?<![\w*])\*\*(?=\S)([^*\n]+)(?<=\S)\*\*(?![\w*])")
_QUOTED = re.compile(r"""(?<![\w)\]'"])(['"])((?:(?!\1)[^\n])*)\1(?![\w'"])""")
_BRACKETED = re.compile(r"(?<!\w)\(([^\W\d_]+)\)")

#: `WORD` stands for a character of a word, `ALONE` for characters that are tokens of their own. Each alternative
#: begins with what it takes, so that the others cost nothing.
_TOKENS = r"""
    ALONE
    WORD+(?:(?:['.]|[,:](?<=\d.)(?=\d))WORD+)*              # word, don't, 3.14, 1,000, 12:30, data.csv
  | [+*/<>=%^~|&@\#$\\()\[\]{}]
  | ['!](?:(?<=[\d)\]}].)|(?<=\b[^\W\d_].)|(?<=''))       # 5!  f(x)'  n!  f'  f''
  | !(?:(?<=[\d)\]}]!!)|(?==)|(?<![\w!?.]!)(?=[\w(]))      # 5!!  !=  !x
  | "(?<=\d")                                             # 6"
  | -(?:(?<![^\W\d_]-)|(?![^\W\d_]))                      # 2-3, -x, x - y
  | -(?<=\b[^\W\d_]-)(?=[^\W\d_]\b)                      # x-y, but not well-known
  | :(?:(?=[:=])|(?<=::))                                 # ::  :=
  | \.(?<!\w\.)\d[\w.]*                                  # .5
  | \.(?<![\w.]\.)(?=[^\W\d_])                           # .NET
"""
_ASCII_TOKEN = re.compile(_TOKENS.replace("ALONE", "").replace("WORD", r"\w"), re.VERBOSE)
#: Scripts that put no blanks between words: those whose characters are syllables or words, and alphabets.
DENSE, LOOSE = r"\p{Han}\p{Hiragana}\p{Katakana}ー", r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
#: Beside symbols, what counts of the punctuation beyond ASCII: dots that multiply, per mille, brackets of mathematics.
_TELLING = "·‰‱٪†‡§¶⌊⌋⌈⌉⟨⟩⟦⟧"

#: Typographic forms of ASCII marks, and characters that only steer the layout.
_PLAIN = {
    **dict.fromkeys(map(ord, "‘’ʼ′ʹ`"), "'"),
    **dict.fromkeys(map(ord, "“”„‟«»‹›「」『』"), '"'),
    **dict.fromkeys(map(ord, "‐‑–−"), "-"),
    **dict.fromkeys(map(ord, "—―"), " "),
    **dict.fromkeys(
        [0xAD, 0x640, 0x200B, 0x2060, 0xFEFF, 0xFE0E, 0xFE0F, 0x200E, 0x200F, 0x61C, *range(0x202A, 0x202F)]
    ),
}
_TYPOGRAPHIC = re.compile("[" + "".join(map(chr, _PLAIN)) + "]")
#: A dash between words, as those that write — without one do.
_SPACED = re.compile(r"(?<=[^\W\d_]{2} )–(?= [^\W\d_]{2})")
_BETWEEN_NUMBERS = re.compile(r"(?<=\d)[—―](?=\d)")
#: Decompositions that name another way to write the same letters; superscripts, fractions and fonts are none.
_SAME_LETTERS = frozenset(
    f"<{name}>"
    for name in ("wide", "narrow", "compat", "noBreak", "small", "vertical", "isolated", "initial", "medial", "final")
)


def words(text: str) -> list[str]:
    """Words, numbers and telling marks in order, in their own letter case; what lies between them is no content."""
    return _tokens(_set_plainly(_composed(text)).split()).split()


def _tokens(chunks: list[str]) -> str:
    """The tokens of what stands between blanks, with one blank between two."""
    found = " ".join(map(_CHUNKS.__getitem__, chunks))
    return found if "  " not in found and found == found.strip() else " ".join(found.split())


class _Chunks(dict[str, str]):
    """Words come again and again: their tokens are remembered."""

    MOST, LONGEST = 50_000, 40

    def __missing__(self, chunk: str) -> str:
        found = " ".join((_ASCII_TOKEN if chunk.isascii() else _any_token()).findall(chunk))
        if len(chunk) <= self.LONGEST:
            if len(self) >= self.MOST:
                self.clear()
            self[chunk] = found
        return found


_CHUNKS = _Chunks()


@lru_cache(maxsize=1)
def _any_token() -> Any:
    import regex  # here: ASCII has no use for it

    alone = rf"[[{DENSE}{LOOSE}]--\p{{Nd}}]\p{{M}}* | [\p{{S}}{_TELLING}--[+<>=^~|$`]] |"
    word = rf"[[\w\p{{No}}]--[[{DENSE}{LOOSE}]--\p{{Nd}}]]"
    return regex.compile(_TOKENS.replace("ALONE", alone).replace("WORD", word), regex.VERBOSE | regex.V1)


def _set_plainly(text: str) -> str:
    if "\n" in text or not text[:1].isalnum():
        text = _LAYOUT.sub("", text)
    if "**" in text:
        text = _BOLD.sub(r"\1", text)
    if '"' in text or "'" in text:
        text = _QUOTED.sub(r" \2 ", text)
    return _BRACKETED.sub(r" \1 ", text) if "(" in text else text


def _composed(text: str) -> str:
    if text.isascii():
        return text
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFC", "".join(map(_same_letters, text)))
    return _BETWEEN_NUMBERS.sub("-", _SPACED.sub(" ", text)).translate(_PLAIN) if _TYPOGRAPHIC.search(text) else text


@lru_cache(maxsize=4_096)
def _same_letters(character: str) -> str:
    tag = unicodedata.decomposition(character).partition(" ")[0]
    return unicodedata.normalize("NFKC", character) if tag in _SAME_LETTERS else character


# --- n-grams ----------------------------------------------------------------------------------------------------------

#: How much of an n-gram a word is, and a character of a script without blanks: a Chinese or Japanese word has one and a
#: half to two characters, a Thai one four with its vowels. 13 words are 20 or 39 of them.
WORD, DENSE_CHARACTER, LOOSE_CHARACTER = 6, 4, 2


def gram_units(tokens: list[str]) -> list[int]:
    """The size of each token; nothing where all are words."""
    if all(map(str.isascii, tokens)):
        return []
    dense, loose = _unspaced()
    sizes = [
        DENSE_CHARACTER if dense.match(token) else LOOSE_CHARACTER if loose.match(token) else WORD for token in tokens
    ]
    return sizes if min(sizes, default=WORD) < WORD else []


def word_count(text: str) -> int:
    """Words between blanks, or about as many as there would be in a script that has none."""
    units = [] if text.isascii() else gram_units(words(text))
    return round(sum(units) / WORD) if units else len(text.split())


@lru_cache(maxsize=1)
def _unspaced() -> tuple[Any, Any]:
    import regex

    return regex.compile(f"[{DENSE}]"), regex.compile(rf"[[{LOOSE}]--\p{{Nd}}]", regex.V1)


# --- letter case ------------------------------------------------------------------------------------------------------

#: A run of letters and digits of scripts with letter case, with its apostrophes: in 什么是C it is C.
_CASED = r"[^\W_\u0e00-\u109f\u1780-\u17ff\u2e80-\u9fff\U00020000-\U0003ffff]"
_WORD = re.compile(rf"{_CASED}+(?:'{_CASED}+)*")
_OPENING = frozenset(".!?:;\"'(…。।؟¿¡")
_CLOSING = ".,;:?!\"'"
#: Beside a single letter, what is one answer however it is written, where it is the whole text.
_SHORT_ANSWERS = frozenset({"NO", "OK", "SI", "JA", "ДА"})
_NEEDS_CARE = re.compile(r"[^a-z\s,;?]")


@lru_cache(maxsize=16_384)  # curation looks at a text four times
def normalised(text: str) -> str:
    """Two texts are the same question where this is equal: see the head of this module."""
    if not _NEEDS_CARE.search(text):  # the same, many times as fast
        return " ".join(text.replace(",", " ").replace(";", " ").replace("?", " ").split())
    plain = _set_plainly(_composed(text))
    shouted = _shouted(plain)
    found = _tokens([chunk for line in plain.split("\n") for chunk in _folded(line, shouted)])
    return found.lower() if len(found) == 1 or found in _SHORT_ANSWERS else found


def _shouted(text: str) -> bool:
    """All in capitals, and long enough to be so on purpose."""
    return text.isupper() and sum(len(word) > 2 and word.isupper() for word in text.split()) > 1


def _folded(line: str, shouted: bool) -> list[str]:
    """What stands between blanks, in lower case but for the capitals that tell something apart."""
    chunks, lowered = line.split(), line.lower().split()
    for place, (chunk, lower) in enumerate(zip(chunks, lowered, strict=True)):
        if chunk != lower:
            chunks[place] = lower if _capitalised(chunk.strip(_CLOSING)) else _fold(chunks, place, shouted)
    return chunks


def _capitalised(word: str) -> bool:
    """Surely a plain word at the start of a sentence, a name, a shout: as most are."""
    plain = word[1:].islower() or word.isupper()
    return plain and len(word) > 2 and word.isalpha() and word.lower() not in CAPITONYMS


def _fold(chunks: list[str], place: int, shouted: bool) -> str:
    """`chunks[place]`, of a line; those before it are folded."""
    before = chunks[place - 1][-1] if place else ""
    after = chunks[place + 1] if place + 1 < len(chunks) else ""

    def fold(found: re.Match[str]) -> str:
        last = found.string[found.start() - 1] if found.start() else before
        opens = not last or last in _OPENING
        if len(found[0]) == 1:
            whole = found.end() == len(found.string)
            return found[0].lower() if whole and _is_a_word(found[0], after, opens or shouted) else found[0]
        return found[0] if _keeps_its_case(found[0], opens, last.isdigit(), shouted) else found[0].lower()

    return _WORD.sub(fold, chunks[place])


def _keeps_its_case(word: str, opens: bool, counted: bool, shouted: bool) -> bool:
    """`opens`: a sentence begins with it; `counted`: a number stands before it, as before a unit."""
    if not word.isupper() and any(map(str.isupper, word[1:])):
        return True
    if shouted:
        return False
    short = sum(map(str.isalpha, word)) <= 2
    if word.isupper():
        return short or word.lower() in CAPITONYMS
    return not opens and (word.lower() in CAPITONYMS or (short and counted))


def _is_a_word(letter: str, after: str, opens: bool) -> bool:
    """A single capital that is an article, a preposition or "I": it opens a sentence, and a plain word follows."""
    return len(after) > 1 and after.isalpha() and (opens or (letter == "I" and after.islower()))
