"""One alphabet: characters of many scripts and typesetting become the few that the lexer knows."""

from __future__ import annotations

import re
import unicodedata

from flywheel.verifiers.maths.spelled import signed

#: Stands for a currency sign that is no delimiter of a formula. (Its full-width form: folded away before.)
DOLLAR = "＄"

_CHARACTERS = {
    "−": "-", "‐": "-", "‑": "-", "﹣": "-", "—": " – ", "×": r" \times ", "✕": r" \times ", "∙": r" \cdot ",
    "⋅": r" \cdot ", "·": r" \cdot ", "÷": r" \div ", "∕": "/", "⁄": "/", "√": r"\sqrt ", "π": r"\pi ",
    "∞": r"\infty ", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
    "±": r"\pm ", "∓": r"\mp ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "°": r"^\circ ",
    "º": r"^\circ ", "′": "'", "’": "'", "″": "''", "⟨": r"\langle ", "⟩": r"\rangle ", "→": r"\to ",
    "⇒": r"\Rightarrow ", "…": r"\ldots ", "٫": ".", "٬": ",", "٪": "%", "،": ",", "؛": ";", "、": ",", "。": ". ",
    "“": '"', "”": '"', "\u00a0": " ", "\u202f": "\u2009", "\u200b": "", "\ufeff": "", "\u200e": "", "\u200f": "",
    "∠": r"\angle ", "△": r"\triangle ", "∛": r"\sqrt[3] ", "∜": r"\sqrt[4] ", "≡": r"\equiv ", "⌊": r"\lfloor ",
    "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ",
    "\u2061": "", "\u2062": "", "ℝ": "R", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ",
}  # fmt: skip
_TABLE = str.maketrans(_CHARACTERS)
_SUPER = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_SUB = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_OVERLINED = re.compile("((?:\\d[\u0304\u0305\u0307])+)")
_MARKS = re.compile("[\u0304\u0305\u0307]")

#: What is often written with two backslashes, by people and programs that escape once too often.
_DOUBLED = "[dtc]?frac|left|right|boxed|text|sqrt|leq?|geq?|pi|cdot|times|infty|in"
_TYPESETTING: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (rf"\\\\(?=(?:{_DOUBLED})\b(?![^$]*\\end\{{))", r"\\"),
        (r"\\\$|(?<![\\$])\$(?=\s*\d[\d,.]*\s*(?:million|billion|each|per)\b)", DOLLAR),
        (r"\\([%#\"])", r"\1"),
        (r"\s*\{,\s*\}|,\s*\\!\s*", ","),
        (r"(?<=\d)(?:\\[,;: ]|\u2009|~)\s*(?=\d{3}(?!\d))", ""),
        (r"\u2009|(?<!\\)\\[,;:! ~]|\\q?quad(?![b-z])|\\thinspace\b|~", " "),
        (r"\\(?:left|right|big|Big|bigg|Bigg|bigl|bigr|Bigl|Bigr|biggl|biggr)\b\.?", ""),
        (r"\\(?:displaystyle|textstyle|scriptstyle|limits|mathstrut|hfill|notag|nonumber)\b", " "),
        (r"\\(?:hspace|vspace|phantom|label|tag)\*?\{[^{}]*\}", " "),
        (r"\\degree\b|\^\{\s*\\circ\s*\}|\^\s*\\circ\b|\\circ\b(?=\s*$)", r"^\\circ "),
        (r"\{\s*\\(?:rm|bf|it)\b", r"{"),
        (r"(\d*\.\d*)\\dot\s*\{?(\d)\}?(\d*)\\dot\s*\{?(\d)\}?", r"\1\\overline{\2\3\4}"),
    )
)  # fmt: skip

_BOLD = re.compile(
    r"\*\*(?=\S)(.{1,300}?)(?<=\S)\*\*|__(?=\S)(.{1,300}?)(?<=\S)__|</?(?:b|strong|i|em|u|mark|code)>", re.S
)
_ITALIC = re.compile(r"(?<![\w*)\]}])\*(?=[^\s*])([^*\n]*?)(?<=[^\s*])\*(?![\w*(\[{])|`+")


_AND_A_HALF = re.compile(r"(\d)\s+and\s+(?:a|one)[\s-]half\b", re.I)
_HALF_DAY = re.compile(r"\b([ap])\.\s?m\b\.?", re.I)
#: What is one thing in several spellings, and a word that each of them has.
_SPELLINGS: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (word, re.compile(pattern, re.I), plain)
    for word, pattern, plain in (
        ("noon", r"\b(?:12(?::00)?\s*)?noon\b", "12:00 pm"),
        ("midnight", r"\b(?:12(?::00)?\s*)?midnight\b", "12:00 am"),
        ("per cent", r"\bper cent\b", "percent"),
        ("remainder", r"(?<=\d)\s*,?\s*(?:with\s+)?(?:a\s+)?remainder\s*(?:of\s+)?(?=\d)", " R "),
        (" r ", r"(?<=\d) r (?=\d)", " R "),
        ("10", r"(?<=\d)\s*x\s*(?=10\s*(?:\^|\*\*))", r" \\times "),
        ("/d", r"\bd([a-z])/d([a-z])\b", r"\\frac{d\1}{d\2}"),
        ("mod", r"\(\s*(?:\\text\s*\{\s*)?mod\b\s*\}?\s*(\w+)\s*\)", r"\\pmod{\1}"),
        ("h", r"\b(\d+)h\s?(\d+)m(?:in)?\b", r"\1 hr \2 min"),
        ("rs", r"\b(?:rs\.?|inr)\s*(?=\d)", "₹"),
        ("inr", r"\binr\s*(?=\d)", "₹"),
        ("usd", r"\busd\s*(?=\d)", DOLLAR),
        ("us$", r"\bus\$\s*(?=\d)", DOLLAR),
        ("eur", r"\beur\s*(?=\d)", "€"),
        ("gbp", r"\bgbp\s*(?=\d)", "£"),
    )
)


def folded(text: str) -> str:
    """`text` in the alphabet of the lexer. What is said stays the same; how it is set does not."""
    if not text.isascii():
        text = _of_any_script(text)
    if "*" in text or "`" in text or "_" in text or "<" in text:
        text = _ITALIC.sub(r"\1", _BOLD.sub(r"\1\2", text))
    if " half" in text:
        text = _AND_A_HALF.sub(r"\1 1/2", text)
    if ".m" in text or ". m" in text or ".M" in text:
        text = _HALF_DAY.sub(r"\1m", text)
    lower = text.lower()
    if "minus" in lower or "negative" in lower or "+/-" in lower:
        text = signed(text)
    for word, pattern, plain in _SPELLINGS:
        if word in lower:
            text = pattern.sub(plain, text)
    if "\\" in text or "{" in text or "~" in text or "$" in text:
        for pattern, plain in _TYPESETTING:
            text = pattern.sub(plain, text)
    return text


def _of_any_script(text: str) -> str:
    text = _OVERLINED.sub(lambda m: rf"\overline{{{_MARKS.sub('', m[1])}}}", unicodedata.normalize("NFD", text))
    text = unicodedata.normalize("NFC", text)
    text = re.sub(f"[{''.join(_SUPER)}]+", lambda m: "^{" + "".join(_SUPER[c] for c in m[0]) + "}", text)
    text = re.sub(f"[{''.join(_SUB)}]+", lambda m: "_{" + "".join(_SUB[c] for c in m[0]) + "}", text)
    return "".join(map(_character, text.replace("\u00a0", " "))).translate(_TABLE)


def _character(c: str) -> str:
    """A digit of any script as 0 to 9, a full-width sign as the plain one, ½ as 1/2 beside what stands before it."""
    if c.isascii():
        return c
    if c.isdecimal():
        return str(unicodedata.decimal(c))
    if "\uff01" <= c <= "\uff5e" and c != DOLLAR:
        return chr(ord(c) - 0xFEE0)
    decomposed = unicodedata.decomposition(c)
    if decomposed.startswith("<fraction>"):
        return " " + unicodedata.normalize("NFKC", c).replace("⁄", "/") + " "
    return unicodedata.normalize("NFKC", c) if decomposed.startswith("<font>") else c
