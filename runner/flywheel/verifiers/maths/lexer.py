"""Text, with or without formulas in it, as tokens. Every character that says something is in one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from flywheel.verifiers.maths import numerals, units
from flywheel.verifiers.maths.script import DOLLAR


class Unreadable(Exception):
    """The text is no formula that this package reads."""


@dataclass(frozen=True, slots=True)
class Token:
    sort: str
    """number | comma (two readings) | range | symbol | word | upright | compound | command | mark"""
    text: str
    spaced: bool = False
    """White space stands before it."""
    value: Fraction | None = None


FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "sinh",
        "cosh",
        "tanh",
        "coth",
        "arcsin",
        "arccos",
        "arctan",
        "arccot",
        "arcsec",
        "arccsc",
        "ln",
        "log",
        "lg",
        "exp",
        "sqrt",
        "gcd",
        "lcm",
        "arcsinh",
        "arccosh",
        "arctanh",
        "asin",
        "acos",
        "atan",
        "abs",
        "det",
        "max",
        "min",
    ]
)
#: Environments of rows and cells; of others (align, cases) only what stands in them counts.
MATRICES = frozenset(["matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix", "array"])
AND_OR = frozenset(["and", "or", "et", "ou", "und", "oder", "y", "и", "или", "和", "或", "及", "与", "و", "أو"])

_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.S)
_UPRIGHT = re.compile(
    r"\\(text|mbox|textbf|textit|textrm|textnormal|textsf|mathrm|mathit|mathsf|operatorname|hbox|emph|underline)"
    r"\*?\s*(?=\{)"
)
_STYLED = re.compile(r"\\(?:mathbf|boldsymbol|bm|mathcal|mathbb|mathfrak|mathscr|boxed|fbox)\b\s*")
_TOKEN = re.compile(
    rf"""
    (?P<time>\d+(?::\d+)+(?![\w]))
    | (?P<repeating>(?P<start>\d*\.\d*)(?:\\(?:overline|bar|dot)\s*\{{?(?P<block>\d+)\}}?|\((?P<bracketed>\d+)\)))
    | (?P<dots>(?P<dotted>\d*\.\d+)\s*(?:\.\.\.|\\[lc]?dots\b))
    | (?P<turned>{numerals.TURNED})
    | (?P<spaced>{numerals.SPACED})
    | (?P<number>{numerals.PLAIN})(?P<exponent>[eE][-+]?\d+(?!\w))?
    | (?P<environment>\\(?P<edge>begin|end)\s*\{{(?P<name>[A-Za-z]+)\*?\}}(?:\s*\{{[lcr|\s]*\}})?)
    | (?P<command>\\[A-Za-z]+|\\.)
    | (?P<word>[^\W\d_]+)
    | (?P<operator><=|>=|!=|==|=>|:=|->|\.\.\.|''|–)
    | (?P<mark>\S)
    """,
    re.X,
)
_PRODUCT = re.compile(_TOKEN.pattern.replace(r"|\((?P<bracketed>\d+)\)", r"|\((?P<bracketed>(?!))\)"), re.X)
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_MONTH = "|".join(f"{month}|{month[:3]}" for month in _MONTHS)
_DATE = re.compile(
    rf"""(?<![\w.])(?:
    (?P<y>\d{{4}})(?P<mark>[-/.])(?P<m>\d{{1,2}})(?P=mark)(?P<d>\d{{1,2}})
    | (?P<as_it_is>\d{{1,2}}(?P<other>[/.])\d{{1,2}}(?P=other)\d{{4}})
    | (?P<month>{_MONTH})\.?[ ](?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?[ ](?P<year>\d{{4}})
    | (?P<day2>\d{{1,2}})(?:st|nd|rd|th)?[ ](?:of[ ])?(?P<month2>{_MONTH})\.?,?[ ](?P<year2>\d{{4}})
    | (?=(?-i:[A-Z]))(?P<month3>{_MONTH})\.?[ ](?P<day3>\d{{1,2}})(?:st|nd|rd|th)?
    | (?P<day4>\d{{1,2}})(?:st|nd|rd|th)?[ ](?:of[ ])?(?=(?-i:[A-Z]))(?P<month4>{_MONTH})
    )(?!\w|[-/]\d)""",
    re.X | re.I,
)
_COMMA_NUMBER = re.compile(numerals.COMMA + r"(?![\d,.])")
_RANGE = re.compile(r"(?<![\w.^*/+(=_{-])\d+(?:\.\d+)?(?:-\d+(?:\.\d+)?)+(?![\w.^*/+(=)-])")
#: H_2\text{O}: what is set upright right behind an indexed capital is the rest of a compound and no unit.
_INDEXED, _ELEMENTS = re.compile(r"[A-Z]\}?_(?:\d|\{\d{1,3}\})\s*$"), re.compile(r"[A-Z][A-Za-z]*\d*$")
_LABEL = re.compile(r"(?:^|(?<=\n)|(?<=\. ))\s*[A-Za-z][A-Za-z ]{0,30}:(?=\s|$)")


def tokens(text: str) -> list[Token]:
    """Of a whole answer: formulas between dollar signs or brackets, and what stands around them."""
    found: list[Token] = []
    at = 0
    for match in _FORMULA.finditer(text):
        if match.start() < at:
            continue
        if (
            match[2] is not None
            and re.match(r"\s*\d[\d,.]*(\s+[^$]*)?$", match[2])
            and text[match.end() :][:1].isdigit()
        ):
            continue  # $5 and $6
        before = text[at : match.start()]
        found += lex(before, plain=True)
        if not before.strip() and found and found[-1].sort not in ("mark", "word"):
            found.append(Token("mark", ","))
        formula = list(lex(next(g for g in match.groups() if g is not None), plain=False))
        found += formula
        at = match.end()
    bare = at == 0 and "\\" in _UPRIGHT.sub("", text)
    found += lex(text[at:], plain=True, bare=bare)
    return found


def lex(text: str, plain: bool, bare: bool = False) -> Iterator[Token]:
    """`plain`: words are words, not products of letters; `bare`: a formula without delimiters, so both occur."""
    at, end, was = 0, len(text), ""
    while at < end:
        if text[at].isspace():
            if text[at] == "\n" and plain and was not in ("\n", ""):
                yield Token("mark", "\n")
                was = "\n"
            at += 1
            continue
        spaced = at > 0 and text[at - 1].isspace()
        upright = _UPRIGHT.match(text, at)
        if upright:
            inner, after = _braced(text, upright.end())
            compound = _INDEXED.search(text, max(0, at - 9), at) and _ELEMENTS.match(inner)
            yield from [Token("compound", inner)] if compound else _upright(inner, spaced)
            at, was = after, "}"
            continue
        styled = _STYLED.match(text, at)
        if styled:
            at = styled.end()
            continue
        if plain and (date := _DATE.match(text, at)):
            yield Token("word", _iso(date), spaced)
            at, was = date.end(), date[0]
            continue
        if plain and (range_ := _RANGE.match(text, at)) and not bare and was not in ("^", "_"):
            yield Token("range", range_[0], spaced)
            at, was = range_.end(), range_[0]
            continue
        if (comma := _COMMA_NUMBER.match(text, at)) and not re.match(numerals.PLAIN, text[at:])[0].count(","):  # type: ignore[index]
            yield Token("comma", comma[0], spaced)
            at, was = comma.end(), comma[0]
            continue
        match = _TOKEN.match(text, at)
        if match and match["bracketed"] and not plain:
            match = _PRODUCT.match(text, at)  # 0.5(3), where brackets multiply
        assert match is not None  # any character is a mark
        at = match.end()
        yield from _token(match, text, spaced, plain, bare)
        was = match[0]


def _iso(date: re.Match[str]) -> str:
    """2020-05-01, 2020/5/1, May 1, 2020 and 1 May 2020 are one day; 05/01/2020 is one of two, and stays as it is. May 1
    is --05-01."""
    if date["as_it_is"]:
        return "/".join(part.zfill(2) for part in re.split("[/.]", date["as_it_is"]))
    month = date["month"] or date["month2"] or date["month3"] or date["month4"]
    number = [name[:3] for name in _MONTHS].index(month[:3].lower()) + 1 if month else int(date["m"])
    day = int(date["d"] or date["day"] or date["day2"] or date["day3"] or date["day4"])
    return f"{date['y'] or date['year'] or date['year2'] or '-'}-{number:02}-{day:02}"


def _braced(text: str, at: int) -> tuple[str, int]:
    """What stands in the braces that open at `at`, and where they end."""
    depth = 0
    for i in range(at, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[at + 1 : i], i + 1
    return text[at + 1 :], len(text)


def _upright(inner: str, spaced: bool) -> Iterator[Token]:
    inner = inner.replace("~", " ")
    name = inner.strip()
    if len(name) == 1 and name.isalpha():
        yield Token("symbol" if name in "eid" else "upright", name, True)
        return
    if name in units.LONG:
        yield Token("word", name, True)
        return
    first = True
    for token in lex(inner, plain=True):
        yield Token(token.sort, token.text, token.spaced or (first and spaced) or inner[:1].isspace(), token.value)
        first = False


def _token(match: re.Match[str], text: str, spaced: bool, plain: bool, bare: bool) -> Iterator[Token]:
    said = match[0]
    if match["time"]:
        for n, part in enumerate(said.split(":")):
            if n:
                yield Token("mark", ":")
            yield Token("number", part, spaced and not n, Fraction(part))
    elif match["repeating"]:
        block = match["block"] or match["bracketed"]
        yield Token("number", said, spaced, numerals.repeating(match["start"], block))
    elif match["dots"]:
        yield Token("number", said, spaced, _run_on(match["dotted"]))
    elif match["turned"]:
        yield Token("number", said, spaced, numerals.turned(said))
    elif match["spaced"]:
        yield Token("number", said, spaced, numerals.spaced(said))
    elif match["number"]:
        value = numerals.scientific(numerals.plain(match["number"]), (match["exponent"] or "")[1:])
        if value is None:
            raise Unreadable(f"the exponent of {said}")
        yield Token("number", said, spaced, value)
    elif match["environment"]:
        if match["name"] in MATRICES:
            yield Token("command", match["edge"] + " matrix", spaced)
        elif match["edge"] == "end":
            yield Token("mark", "\n")
    elif match["command"]:
        yield Token("command", said[1:], spaced)
    elif match["word"]:
        yield from _letters(said, text, match.start(), spaced, plain, bare)
    elif said == "@":
        yield Token("word", "at", spaced)
    else:
        yield Token("mark", said, spaced)


def _run_on(digits: str) -> Fraction:
    """0.333… and 0.1666… and 0.142857142857… run on as they began; 3.14… is what is written."""
    decimals = digits.partition(".")[2]
    for size in range(1, len(decimals) // 2 + 1):
        block = decimals[-size:]
        times = 3 if size == 1 else 2
        if len(decimals) >= times * size and decimals.endswith(block * times):
            return numerals.repeating(digits[: len(digits) - size], block)
    return Fraction(digits)


def _letters(run: str, text: str, at: int, spaced: bool, plain: bool, bare: bool) -> Iterator[Token]:
    """A run of letters: a function, a word, or a product of symbols."""
    end = at + len(run)
    if run in ("min", "sec") and re.search(r"[\d/]\s*$", text[:at]) and not re.match(r"\s*[({\\]", text[end:]):
        yield Token("word", run, spaced)  # 30 min
    elif run.lower() in ("inf", "infinity"):
        yield Token("command", "infty", spaced)
    elif run == "U" and re.search(r"[)\]}]\s*$", text[:at]) and re.match(r"\s*[(\[{]", text[end:]):
        yield Token("command", "cup", spaced)
    elif run in FUNCTIONS or (run == "pi" and not plain):
        yield Token("command", run, spaced)
    elif run.lower() in AND_OR and len(run) > 1:
        yield Token("word", run.lower(), spaced)
    elif joined := re.match(r"(or|and)(?=[A-Z]$|[A-Z][^A-Za-z])", run + text[end : end + 1]):
        yield Token("word", joined[1], spaced)
        yield from _letters(run[len(joined[1]) :], text, at + len(joined[1]), False, plain, bare)
    elif len(run) == 1 and run >= "\u2e80":
        yield Token("word", run, spaced)
    elif len(run) == 1 and plain and not bare and _unit_letter(run, text, at, end):
        yield Token("upright", run, spaced)
    elif len(run) == 1:
        yield Token("word" if plain and _article(run, text, end) else "symbol", run, spaced)
    elif not plain:
        if run in units.LONG and re.search(r"(?:^|[\d})])\s*$", text[:at]):
            yield Token("word", run, spaced)
        else:
            yield from (Token("symbol", letter, spaced and not n) for n, letter in enumerate(run))
    elif _product(run, text, at, end, bare):
        if run == "pi":
            yield Token("command", run, spaced)
        else:
            yield from (Token("symbol", letter, spaced and not n) for n, letter in enumerate(run))
    else:
        yield Token("word", run, spaced)


def _unit_letter(letter: str, text: str, at: int, end: int) -> bool:
    """The m of `5 m` and `5 m^2`, the s of `5 m/s`; not of `5 m + 1`."""
    before, after = text[:at], text[end:]
    return (
        letter in units.SINGLE
        and re.search(r"\d\s+$|\d\s*[A-Za-z]{1,3}(?:\^\{?-?\d\}?)?\s*/\s*$", before) is not None
        and re.match(r"$|\s*[.,;!?)\n/]|\^|\s+\w", after) is not None
    )


def _article(letter: str, text: str, end: int) -> bool:
    return letter in "aAI" and re.match(r"\s+[^\W\d_]{2}", text[end:]) is not None


#: Short words that stand before a sign and are no product of letters: "The answer is -5".
_WORDS = frozenset(
    ["is", "are", "was", "be", "by", "of", "to", "at", "so", "we", "get", "the", "it", "has", "for", "not"]
)


def _product(run: str, text: str, at: int, end: int, bare: bool) -> bool:
    """In plain text: 2ab, xy + 1, ABC beside an operator; but 5kg, 6th, pm."""
    if run in units.LONG or run.lower() in units.ATTACHED or run.lower() in _WORDS or not run.isascii():
        return False
    if run == "pi":
        return True
    if len(run) > (4 if bare else 3):
        return False
    before, after = text[:at], text[end:]
    tied = re.search(r"[\d^*/+=}_]$|(?<![^\W\d_])[-+*/=<>]\s*$", before) or re.match(
        r"[\d^({_*/+]|\s*[-+*/^=<>](?![^\W\d_]{3})", after
    )
    return tied is not None or (bare and run.isupper())


__all__ = ["AND_OR", "DOLLAR", "FUNCTIONS", "Token", "Unreadable", "tokens"]
