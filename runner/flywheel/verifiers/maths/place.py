"""Where in a text the final answer stands.

Marked: what follows `####`, or stands in the last `\\boxed{}`es. Else a short answer is read whole; in prose it is what
follows "the answer is", or the last formula or number. What a text denies ("the answer is not 5") it does not say.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from flywheel.verifiers.maths.grammar import Parser
from flywheel.verifiers.maths.lexer import AND_OR, Token, Unreadable, tokens
from flywheel.verifiers.maths.nodes import Items, ListItem, Phrase, Reading, Symbol
from flywheel.verifiers.maths.spelled import in_digits

#: Words that deny what follows them, in the languages whose "the answer is" is known below.
_NOT = (
    "not|no longer|hardly|isnt|cannot|never|neither|nor|nicht|kein|keine|pas|no es|no son|non|não|nie|niet|inte|ikke|не"
    "|ليس|ليست"
)
_NEGATION = re.compile(
    rf"(?<![^\W\d_])(?:{_NOT}|wrong|incorrect|false)(?![^\W\d_])|n't\b|不|并非|ليس|¬|ではな|ではありません|아니|아닙니다|नहीं",
    re.I,
)
_BETWEEN_NOT_AND_NUMBER = (
    "be|equal|to|the|a|an|really|simply|just|it|is|number|value|answer|always|necessarily|about|more|less|than|at|least"
    "|most|by|exactly|die|der|das|la|le|el"
)
_DENIED_BEFORE = re.compile(
    rf"(?:(?<![^\W\d_])(?:{_NOT}|rather than|instead of|other than|anything but|all but|except|except for|excluding"
    rf"|without|wrong|incorrect|false)(?![^\W\d_])|不是|并非|n't\b|¬)"
    rf"(?:\s+(?:{_BETWEEN_NOT_AND_NUMBER})\b)*(?:\s+(?:have|need|want|get|eat|use|buy|take|exceed|include)\s)?"
    rf"[\s:=$*\"'({{\\]*(?:text\{{)?$",
    re.I,
)
_DENIED_AFTER = re.compile(
    r"[\s$)}\"'.*,]*(?:,?\s*(?:which|that|it)\s+)?(?:is|was|would be|are|be)?\s*"
    r"(?:not\b|n't\b|isn't\b|wrong\b|incorrect\b|false\b|no longer\b|impossible\b|excluded\b|extraneous\b)(?!\s+\S*\d)"
    r"|[\s$)}\"'*]*(?:does|do|did|can|could|would)(?:\s+not|n't)\s+(?:work|satisfy|fit|hold|solve|count|qualify|make)\b"
    r"|\s*(?:ではな|ではありません|じゃな|[이가은는]?\s*아[니닙]|नहीं)",
    re.I,
)
#: What follows is thought not to be so: "I don't think the answer is 5".
_DOUBTED = re.compile(
    r"(?:\b(?:do|does|did|would|can)(?:n't|\s+not)\s+(?:think|believe|suppose|agree)\b|(?<!no )(?<!without )\bdoubt"
    r"|\bno\s+way\b|\bimpossible\b|\bunlikely\b|\bnot\s+(?:true|the case|possible|likely|correct)\b)[^.,;:!?\n]*$",
    re.I,
)
#: A bound is no value: "more than 5", and "at least 5" where it is all that is said ("He must buy at least 5" answers).
_STRICTLY = re.compile(
    r"\b(?:(?:more|less|fewer|greater|larger|smaller|higher|lower)\s+than|over|under|above|below|beyond)[\s$*(]*$", re.I
)
_ALONE = r"\A\W*(?:(?:the\s+)?(?:final\s+)?(?:answer|value|result|it|x)\s+(?:is|are|was|must\s+be|equals)\s+)?"
_BOUNDED = re.compile(
    rf"{_ALONE}(?:at\s+(?:least|most)|no\s+(?:more|less|fewer|greater)\s+than|up\s+to)[\s$*(]*\Z", re.I
)
_NOTHING_ELSE = re.compile(rf"{_ALONE}\W*\Z", re.I)
_BOUNDED_AFTER = re.compile(
    r"[\s$*)]*(?:or\s+(?:more|less|fewer|greater|above|below|higher|lower|over|under)\b|at\s+(?:least|most)\b"
    r"|and\s+(?:up|above|below|over)\b|[-+]\s*(?:$|[.,;]))",
    re.I,
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_ANSWER_LINE = re.compile(r"\s*[*#>]*\s*(?:A|Ans|Answer|Final answer)\s*[:：][*\s]*(\S.*)$", re.I)
_BETWEEN = 60
_SIGN_BEFORE = re.compile(
    r"(?:^|[=≈$({,:]|\\approx|\\text\{[^}]*\}|[a-z]\s)\s*\$?\s*(?P<sign>[-+]|\\pm)\s*[$＄]?\s*$"
    r"|(?:^|[\n$=])\s*(?P<alone>[-+])\s*$"
)
_UNIT_AFTER = re.compile(
    r"\s*[$]?\s*(?P<unit>\\?%|percent\b|pct\b|percentage\b|\^\s*\\circ\s*(?:\\text\{\s*[CF]\s*\})?|_\{?\d+\}?"
    r"|\\(?:text|mathrm|mbox|textnormal)\s*\{[^{}]*\}(?:\s*\^\s*\{?\d\}?)?)"
)
_MARKER = re.compile(
    r"\b(?:final\s+)?(?:answer|result)\b[^.\n:=]{0,60}?(?:\bis\b|\bare\b|\bequals\b|:|=)\s*:?"
    r"|\bsolutions?\s+(?:is|are)\s*:?"
    r"|\bfinal\s+answer\b\s*(?=\n)"
    r"|答案[是为：:]*|الجواب\s*(?:هو|:)?|(?:réponse|respuesta|risposta|resposta|Antwort|ответ|odpowiedź)\b[^.\n:=]{0,40}?(?:est|es|è|é|ist|lautet|to|:|=|—|-)\s*:?",
    re.I,
)
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]*]*\s+|\n+")
_CLOSING = re.compile(
    r"(?:,|;|\s[–-]|\.)?\s+\(?(?:because|since|as|which|so|where|when|if|i\.e|that|after|and\s+not|but|not|in\s+total|altogether|left|hence|therefore)\b.*$",
    re.I | re.S,
)
_ASIDE = re.compile(r"\s*\((?:since|because|as|where|which|i\.e|that is|rounded|not)\b.*\)\s*$", re.I)
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.S)
#: Of long prose the end is read, and of what it calls the answer the last few.
_TAIL, _MARKERS = 4_000, 6


def marked(text: str) -> tuple[str, bool] | None:
    """What the text marks as its final answer, and whether it denies it; None where it marks nothing."""
    if "####" in text:
        lines = text.rpartition("####")[2].strip().splitlines()
        return (lines[0].strip() if lines else ""), False
    boxes = list(_boxes(text))
    if not boxes:
        return _labelled(text)
    if later := _MARKER.search(text, boxes[-1][1]):
        found, _ = _clause(text[later.end() :], 1, False)
        if found:
            return None
    said, denied, group = _last_group(text, boxes)
    refused = {said}
    while denied and len(boxes) > len(group):  # \boxed{42}, not \boxed{41}
        boxes = boxes[: len(boxes) - len(group)]
        said, denied, group = _last_group(text, boxes)
        denied = denied or said in refused
        refused.add(said)
    return said, denied


def _last_group(text: str, boxes: list[_Span]) -> tuple[str, bool, list[_Span]]:
    """(what the last boxes that belong together say, whether the text denies it, those boxes)"""
    group = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        if not _joined(text[box[1] : group[0][0]]):
            break
        group.insert(0, box)
    said = ", ".join(_dressed(text, start, end) for start, end in group)
    return said, _denied(text[: group[0][0]], text[group[-1][1] :]), group


def _labelled(text: str) -> tuple[str, bool] | None:
    """What the last line calls the answer, after working: `A: 18`"""
    head, _, line = text.rstrip().rpartition("\n")
    found = _ANSWER_LINE.match(line) if head.strip() else None
    return (found[1], False) if found and not denies(found[1]) else None


_Span = tuple[int, int]


def _boxes(text: str) -> Iterator[_Span]:
    """(start, end) of every box that closes; of the last one that does not, to the end of its line."""
    at = 0
    while match := _BOX.search(text, at):
        depth, at = 1, match.end()
        while at < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        if depth and text[match.end() :].strip():
            at = next((n for n in range(match.end(), len(text)) if text[n] in "$\n"), len(text))
        yield match.start(), at


def _joined(between: str) -> bool:
    """`\\boxed{2}, \\boxed{3}`, `\\boxed{1} and \\boxed{2}` belong together; boxes of different sentences do not."""
    between = re.sub(r"[A-Za-z](?:_\{?\w+\}?)?\s*=\s*$", "", between)
    if len(between) > _BETWEEN or re.search(r"\.\s+[A-Z]|\n\s*\n|=|\\approx|\\Rightarrow|\\implies", between):
        return False
    words = re.findall(r"[^\W\d_]+", re.sub(r"\\(?:text|mathrm|mbox|quad|qquad|left|right)", " ", between))
    if _NEGATION.search(between) or {"no", "wait", "so", "then"} & {word.lower() for word in words}:
        return False
    return not words or any(word.lower() in AND_OR for word in words)


def _dressed(text: str, start: int, end: int) -> str:
    """What is in the box, with the sign before it and the unit after it."""
    inner = text[text.index("{", start) + 1 : end].removesuffix("}").strip()
    inner = re.sub(r"(?<!\\)\$", " ", inner) if len(re.findall(r"(?<!\\)\$", text[:start])) % 2 else inner
    sign = _SIGN_BEFORE.search(text[max(0, start - 40) : start])
    if sign and not inner.startswith(("-", "+")):
        inner = f"{sign['sign'] or sign['alone']} {inner}" if re.fullmatch(r"[^+\-=<>,]*", inner) else inner
    unit = _UNIT_AFTER.match(text, end)
    if unit and not re.match(r"\s*\\(?:text|mbox)\{[^}]*\b(?:and|or|for|if|when|where|is|are|so)\b", text[end:]):
        inner += " " + unit["unit"]
    return inner


def _denied(before: str, after: str) -> bool:
    """Whether what stands between them is denied or doubted."""
    found = _DENIED_BEFORE.search(before[-80:]) or _DENIED_AFTER.match(after[:60]) or _DOUBTED.search(before[-80:])
    return found is not None


def _bound(before: str, after: str) -> bool:
    """Whether what stands between them is only a bound."""
    if _BOUNDED_AFTER.match(after[:60]):
        return _NOTHING_ELSE.match(before) is not None
    return (_BOUNDED.match(before) or _STRICTLY.search(before[-80:])) is not None


def whole(text: str, decimal_comma: bool = False) -> Reading | None:
    """The text read from end to end: items, or words with formulas between them; None where there is nothing."""
    stripped = unquoted(text)
    if not stripped:
        return None
    if not _DIGIT.search(stripped):
        meaning = _meaning(stripped)
        if meaning:
            return Items((ListItem(Symbol(meaning)),))
        stripped = in_digits(stripped)
    try:
        found = tokens(stripped)
    except Unreadable:
        return Phrase((_plain(stripped),), readable=False)
    try:
        return Parser(found, decimal_comma).items()
    except Unreadable:
        return _phrase(found, decimal_comma)


_DIGIT = re.compile(r"\d")
#: Answers that are one thing in many words.
_MEANINGS = (
    (r"no solutions?(?: exists?)?|(?:the )?(?:empty|null) set", "∅"),
    (r"(?:x is )?(?:the set of )?(?:all|any|every) (?:the )?reals?(?: numbers?)?", "R"),
    (r"(?:an )?infinite(?:ly many| number of)?(?: solutions?)", "infinitely many"),
    (r"infinitely many", "infinitely many"),
    (r"(?:the limit )?(?:does not|doesn't) exist|dne", "DNE"),
)
_MEANING = tuple((re.compile(pattern), meaning) for pattern, meaning in _MEANINGS)
_LEAD = re.compile(r"(?:there (?:is|are)|(?:the|this) (?:equation|system|inequality) has|it has) ")
_UPRIGHT = re.compile(r"\\(?:text|mathrm|mbox|textbf)\s*\{([^{}]*)\}|\$")


def _meaning(text: str) -> str:
    """The symbol of what `text` says in words ("no solution"), or ""."""
    if len(text) > 80:
        return ""
    said = _LEAD.sub("", " ".join(_UPRIGHT.sub(r"\1", text).casefold().split()), count=1)
    return next((meaning for pattern, meaning in _MEANING if pattern.fullmatch(said)), "")


def unquoted(text: str) -> str:
    stripped = text.strip().strip('"“”').strip()
    while stripped and unicodedata.category(stripped[-1]) == "So" and stripped[-1] not in "℃℉":
        stripped = stripped[:-1].rstrip()  # ✓
    while stripped and (stripped[-1] in ".。,;:?" or (stripped[-1] == "!" and _EXCLAIMED.search(stripped))):
        if stripped.endswith(("...", "\\.")) or (stripped[-1] == "." and stripped.endswith("\\right.")):
            break
        stripped = stripped[:-1].rstrip()
    return stripped


_EXCLAIMED = re.compile(r"[^\W\d_]!$|[A-Za-z]{2}.*\s[A-Za-z]{2,}\s")  # 5! is 120; "The answer is 5!" is 5


def _plain(text: str) -> str:
    return "".join(re.sub(r"\\(?:text|mathrm|mbox)\b|[${}\s]", "", text).split()).casefold()


_SMALL = frozenset(
    [
        "the",
        "a",
        "an",
        "is",
        "are",
        "was",
        "were",
        "of",
        "in",
        "at",
        "it",
        "that",
        "this",
        "there",
        "solution",
        "answer",
        "be",
        "has",
        "have",
        "we",
    ]
)


def _phrase(found: list[Token], decimal_comma: bool) -> Phrase:
    parts: list[str | Items] = []
    readable = True
    run: list[Token] = []

    def close() -> None:
        nonlocal readable
        while run and run[-1].text in (",", ".", ";", ":", "\n", "!", "?", '"', "'"):
            run.pop()
        while run and run[0].text in (",", ".", ";", ":", "\n", "!", "?", '"', "'"):
            run.pop(0)
        if not run:
            return
        try:
            parts.append(Parser(list(run), decimal_comma).items())
        except Unreadable:
            parts.append(" ".join(token.text for token in run))
            readable = False
        run.clear()

    for n, token in enumerate(found):
        last = n + 1 == len(found)
        if token.sort == "word" or (token.text in (".", "?", '"') and token.sort == "mark"):
            close()
            if token.sort == "word" and token.text.casefold() not in _SMALL:
                parts.append(token.text.casefold())
        elif token.text == "," and token.sort == "mark" and not last and found[n + 1].sort == "word":
            close()
        else:
            run.append(token)
    close()
    if not parts:
        parts = [token.text.casefold() for token in found]
    return Phrase(tuple(parts), readable)


def said_in_words(text: str, gold: Phrase, decimal_comma: bool = False) -> Reading | None:
    """What prose says after "the answer is", with its first word ("Yes, because …"), or of its subject in the last
    sentence ("The graph is a parabola"), for a gold in words."""
    tail = text[-_TAIL:].strip()
    markers = list(_MARKER.finditer(tail))
    if markers:
        tail = _first_sentence(tail[markers[-1].end() :].strip().partition("\n")[0])
        if not _OPENING.match(tail):
            return whole(tail, decimal_comma)
    if opening := _OPENING.match(tail):
        other = _OPPOSITE[opening[1].lower()]
        return None if re.search(rf"\b{other}\b", tail, re.I) else Phrase((opening[1].lower(),))
    sentence = _SENTENCE.split(tail)[-1]
    formulas = any(isinstance(part, Items) for part in gold.parts)  # of which it would say the last
    subject = None if formulas or denies(sentence) else _IS.search(sentence)
    return whole(subject[1], decimal_comma) if subject else None


_OPPOSITE = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
_OPENING = re.compile(r"\W*(yes|no|true|false)\s*(?:[,.;:!–-]|$)", re.I)
_IS = re.compile(
    r"\b(?:is|are|was|were|be)\s+(?:on\s+)?(?:an?\s+|the\s+)?((?:(?!\b(?:is|are|was|were|be)\b).)+)$", re.S
)
_OPTION = re.compile(r"\b(?:option|choice|letter|it's|it is|choose|pick|select)\s+\(?([A-J])\b\)?", re.I)
_LETTERED = re.compile(r"\W*(?:\b(?:option|choice)\s+)?\(?([A-J])(?:\)|[.:](?=\s))\s*\S")
_ANY_LETTERED = re.compile(r"(?<![\w])\(?([A-J])(?:\)|[.:](?=\s))|\b(?:[Oo]ption|[Cc]hoice)\s+\(?([A-J])\b")


def choice(text: str) -> Items | None:
    """The letter of one option: B) Paris; option B. None where several are named, or it is denied."""
    tail = " ".join(_UPRIGHT.sub(r"\1", text[-_TAIL:]).split())
    markers = list(_MARKER.finditer(tail))
    said = tail[markers[-1].end() :].strip() if markers else tail
    found = _LETTERED.match(said) or _OPTION.search(said)
    letters = {letter for pair in _ANY_LETTERED.findall(said) for letter in pair if letter}
    if found is None or not found[1].isupper() or letters - {found[1]} or denies(said):
        return None
    return Items((ListItem(Symbol(found[1])),))


def after_marker(text: str, decimal_comma: bool) -> Items | None:
    """What a worked solution says after "the final answer is", or in its last sentence after "the answer is"."""
    last = [match.end() for match in _SENTENCE.finditer(text[-_TAIL:].rstrip())]
    for marker in reversed(list(_MARKER.finditer(text[-_TAIL:]))[-_MARKERS:]):
        if "final" not in marker[0].casefold() and not (last and marker.start() >= last[-1]):
            continue
        found, _ = _clause(text[-_TAIL:][marker.end() :], 1, decimal_comma)
        if found:
            return found
    return None


def denies(text: str) -> bool:
    return _NEGATION.search(text) is not None


# --- prose ------------------------------------------------------------------------------------------------------------


def said(text: str, count: int, decimal_comma: bool = False) -> Items | None:
    """The final answer of prose; `count`: how many things are asked for. None where it says none, or denies it."""
    tail = text[-_TAIL:]
    if not _DIGIT.search(tail):
        tail = in_digits(tail)
    markers = list(_MARKER.finditer(tail))
    for marker in reversed(markers[-_MARKERS:]):
        found, denied = _clause(tail[marker.end() :], count, decimal_comma)
        if denied:
            return None
        if found and (_NEGATION.search(marker[0]) or _DOUBTED.search(tail[: marker.start()][-80:])):
            rest = re.split(r"[,;]|\bbut\b", tail[marker.end() :], maxsplit=1)[1:]
            return said(rest[0], count, decimal_comma) if rest else None
        if found:
            return _corrected(tail[marker.end() :], count, decimal_comma) or found
    formulas = list(_FORMULA.finditer(tail))
    after = _without_formulas(tail)
    number = _last_number(after)
    if formulas and (number is None or number < formulas[-1].start()):
        return _last_formula(tail, formulas, decimal_comma)
    return _last_run(tail, count, decimal_comma)


_CORRECTS = re.compile(r"[.!?…]\s+(?:no,?\s+)?(?:wait|actually|correction|oops|sorry|hmm)\b", re.I)


def _corrected(text: str, count: int, decimal_comma: bool) -> Items | None:
    """What the author says instead: "… 3. Actually, it is 4"."""
    turn = _CORRECTS.search(text)
    return said(text[turn.end() :], count, decimal_comma) if turn else None


def _without_formulas(text: str) -> str:
    return _FORMULA.sub(lambda m: " " * len(m[0]), text)


def _last_number(text: str) -> int | None:
    found = [match.start() for match in re.finditer(r"(?<![A-Za-z_\\^{])\d", text)]
    return found[-1] if found else None


def _clause(after: str, count: int, decimal_comma: bool) -> tuple[Items | None, bool]:
    """(what stands right after "the answer is", whether it is denied)"""
    lines = [line for line in after.split("\n") if line.strip(" *_:$\\[]")]
    if not lines:
        return None, False
    if after.lstrip().startswith(("\\[", "$$", "\\(", "$")) and (match := _FORMULA.match(after.lstrip())):
        lines = [match[0] + after.lstrip()[match.end() :].split("\n")[0], *lines]
    sentence = _first_sentence(lines[0]).strip()
    if _denied(sentence[: _start_of_answer(sentence)], "") or re.match(r"(?:not|never|n't)\b", sentence):
        rest = re.split(r"(?<!anything )\bbut\b|\bit's\b|\bit is\b|;", sentence, maxsplit=1)
        if len(rest) < 2:
            return None, True
        sentence = rest[1]
    sentence = _ASIDE.sub("", sentence)
    for candidate in (sentence, _CLOSING.sub("", sentence)):
        reading = whole(candidate, decimal_comma)
        if isinstance(reading, Items):
            return reading, False
    formulas = list(_FORMULA.finditer(sentence))
    if (formulas and (number := _last_number(_without_formulas(sentence))) is None) or (
        formulas and number and number < formulas[-1].start()
    ):
        found = _last_formula(sentence, formulas, decimal_comma)
        return found, found is None
    found = _last_run(sentence, count, decimal_comma)
    return found, found is None and _NEGATION.search(sentence) is not None


def _start_of_answer(sentence: str) -> int:
    match = re.search(r"[\d$\\]", sentence)
    return match.start() if match else len(sentence)


def _first_sentence(text: str) -> str:
    """Up to a full stop that is in no formula."""
    blanked = _FORMULA.sub(lambda m: "x" * len(m[0]), text)
    end = re.search(r"[.!?](?=[\s\"'*]|$)|。", blanked)
    return text[: end.start()] if end else text


def _last_formula(text: str, formulas: list[re.Match[str]], decimal_comma: bool) -> Items | None:
    """The last formula, with those that a comma, `and` or `or` joins to it, and its unit."""
    start = end = len(formulas) - 1
    while start and _links(text[formulas[start - 1].end() : formulas[start].start()]):
        start -= 1
    first, last = formulas[start].start(), formulas[end].end()
    if _denied(text[:first], text[last:]) or _bound(text[:first], text[last:]):
        return None
    unit = re.match(r"\s*(?:%|percent|pct|[A-Za-z°]+(?:\^?\d)?(?=[\s.,;!]*$))", text[last:])
    for stop in ([last + unit.end()] if unit else []) + [last]:
        reading = whole(text[first:stop], decimal_comma)
        if isinstance(reading, Items):
            return reading
    return None


def _links(between: str) -> bool:
    words = re.findall(r"[^\W\d_]+", between)
    return re.fullmatch(r"[\s,;\"]*(?:[^\W\d_]+[\s,;\"]*)?", between) is not None and all(
        w.lower() in AND_OR for w in words
    )


def _last_run(text: str, count: int, decimal_comma: bool) -> Items | None:
    """The last number, sum or relation that stands in the prose; where several are asked for, those of its sentence."""
    for sentence in reversed(_SENTENCE.split(text)):
        if not re.search(r"\d", sentence):
            continue
        found = [run for run in _runs(sentence, decimal_comma) if run is not None]
        if not found:
            return None
        if count == 1:
            return found[-1]
        return Items(tuple(item for run in found for item in run.items))
    return None


def _runs(sentence: str, decimal_comma: bool) -> Iterator[Items | None]:
    """Every run of formula in a sentence, with the words after it as its unit; None: it is denied, or unreadable."""
    try:
        found = tokens(_LABEL.sub("", unquoted(sentence)))
    except Unreadable:
        return
    at = 0
    while at < len(found):
        if not _starts(found, at):
            at += 1
            continue
        end = _end_of_run(found, at)
        unit = _end_of_words(found, end)
        before, after = _as_text(found[:at]) + " " * found[at].spaced, _as_text(found[end:])
        if not any(token.sort in ("number", "comma", "range") for token in found[at:end]):
            at = end
            continue
        if _denied(before, after) or _bound(before, after):
            yield None
        else:
            yield _parsed(found[at:unit], found[at:end], decimal_comma)
        at = end


def _as_text(found: list[Token]) -> str:
    return "".join(" " * token.spaced + token.text for token in found)


_LABEL = re.compile(r"^\s*[#>*-]*\s*[^\W\d_][\w ]{0,30}?\s*[:：](?!\d)")


def _starts(found: list[Token], at: int) -> bool:
    token = found[at]
    if token.sort in ("number", "comma", "range"):
        return not (
            at and found[at - 1].sort in ("word", "symbol") and not token.spaced and found[at - 1].text.isascii()
        )
    following = found[at + 1] if at + 1 < len(found) else None
    if token.sort == "mark" and token.text in ("-", "(", "$", "＄", "[", "{", "|", "€", "£", "¥", "+", "–"):
        return following is not None and following.sort != "word"
    if token.sort == "command" and token.text not in ("to", "ldots"):
        return True
    return (
        token.sort == "symbol"
        and following is not None
        and following.sort in ("mark", "command")
        and following.text in "=+-*/^<>_("
    )


def _end_of_run(found: list[Token], at: int) -> int:
    depth, end = 0, at
    while end < len(found):
        token = found[end]
        if token.sort == "word":
            break
        if token.sort == "mark":
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.text, 0)
            if depth < 0 or (depth == 0 and token.text in (",", ";", "\n", ".", "!", "?", '"', "'")):
                break
        end += 1
    while end > at + 1 and found[end - 1].sort == "mark" and found[end - 1].text in ("-", "–", ":", "+", "=", "(", "*"):
        end -= 1
    return end


def _end_of_words(found: list[Token], end: int) -> int:
    while end < len(found) and found[end].sort == "word" and found[end].text.lower() not in AND_OR:
        end += 1
    return end


def _shorter(run: list[Token]) -> Iterator[list[Token]]:
    """Without what stands apart at the end: `2,74 $ a`"""
    for end in range(len(run) - 1, max(0, len(run) - 6), -1):
        if run[end].spaced and run[end].sort == "symbol":
            yield run[:end]


def _parsed(run: list[Token], shorter: list[Token], decimal_comma: bool) -> Items | None:
    for some in (run, shorter, *_shorter(shorter)):
        if some and some[0].text == "(" and some[-1].text != ")" and some.count(some[0]) == 1:
            some = some[1:]
        try:
            return Parser(list(some), decimal_comma).items()
        except Unreadable:
            continue
    return None
