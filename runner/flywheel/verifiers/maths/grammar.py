"""From tokens to an answer: a list of items, each a value or a relation in its unit; or words with formulas in them.

A parser by precedence that must use up every token: what it cannot place makes the formula unreadable, so that no part
of an answer is dropped in silence. Its steps and its depth are bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from flywheel.verifiers.maths import units
from flywheel.verifiers.maths.lexer import AND_OR, DOLLAR, FUNCTIONS, Token, Unreadable
from flywheel.verifiers.maths.nodes import Items, ListItem, Node, Number, Symbol, Term

_STEPS, _DEPTH = 20_000, 40

RELATIONS = {
    "=": "=", "==": "=", ":=": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=",
    "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\lt": "<", "\\ge": ">=", "\\geq": ">=", "\\geqslant": ">=",
    "\\gt": ">", "\\ne": "!=", "\\neq": "!=", "\\approx": "~", "\\simeq": "~", "\\sim": "~", "\\cong": "~", "≅": "~",
    "\\doteq": "~", "\\to": "->", "\\rightarrow": "->", "\\in": "in", "\\equiv": "=",
}  # fmt: skip
_TIMES = {"*": "*", "\\cdot": "*", "\\times": "*", "\\ast": "*", "\\bullet": "*", "/": "/", "\\div": "/"}
_SETS = {"\\cup": "cup", "\\cap": "cap", "\\setminus": "setminus", "\\bigcup": "cup"}
_OPEN = {"(": ")", "[": "]", "{": "}", "\\{": "\\}", "\\langle": "\\rangle", "\\lbrack": "\\rbrack", "<": ">"}
_CLOSE = frozenset([")", "]", "}", "\\}", "\\rangle", "\\rbrack", "&", "\\\\", "\\end matrix", "\\rvert", "\\rVert",
    "\\rfloor", "\\rceil", "\\over", "\\choose", "\\pmod", "\\mod", "\\bmod"])  # fmt: skip
_CONSTANTS = {"\\pi": "π", "\\infty": "∞", "\\emptyset": "∅", "\\varnothing": "∅", "\\oslash": "∅", "\\imath": "i"}
_DECORATIONS = frozenset(
    ["hat", "bar", "vec", "tilde", "overline", "widehat", "overrightarrow", "overleftarrow", "dot", "ddot", "widetilde"]
)
#: Commands with a meaning that this grammar has no rule for: a formula with one of them is compared as it stands.
_BEYOND = frozenset(
    [
        "limsup",
        "liminf",
        "partial",
        "nabla",
        "Rightarrow",
        "implies",
        "iff",
        "leftarrow",
        "leftrightarrow",
        "Leftrightarrow",
        "mapsto",
        "begin",
        "end",
        "not",
        "forall",
        "exists",
        "wedge",
        "vee",
        "lor",
        "land",
        "subset",
        "subseteq",
        "perp",
        "parallel",
        "underbrace",
        "overbrace",
        "stackrel",
        "overset",
        "underset",
        "xrightarrow",
    ]
)
_ABOUT = frozenset(
    [
        "the",
        "a",
        "an",
        "is",
        "are",
        "was",
        "about",
        "approximately",
        "approx",
        "around",
        "roughly",
        "exactly",
        "equals",
        "equal",
        "to",
        "answer",
        "answers",
        "solution",
        "solutions",
        "result",
        "results",
        "value",
        "final",
        "total",
        "sum",
        "ratio",
        "it",
        "they",
        "so",
        "therefore",
        "thus",
        "hence",
        "gives",
        "we",
        "get",
        "x's",
        "domain",
        "range",
        "be",
        "only",
        "just",
        "precisely",
        "nearly",
        "almost",
        "circa",
        "ca",
        "odds",
        "there",
        "width",
        "height",
    ]
)


_PERCENT = frozenset(["%", "percent", "pct", "percentage"])
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_VERBS = frozenset(
    [
        "is",
        "are",
        "was",
        "were",
        "isn't",
        "does",
        "do",
        "has",
        "have",
        "had",
        "can",
        "could",
        "should",
        "would",
        "will",
        "not",
        "at",
    ]
)


#: Words that are no name of anything.
_CONNECTING = frozenset(
    ["since", "because", "so", "then", "if", "when", "where", "which", "that", "as", "but", "for", "with", "not", "yes"]
)


def _name(token: Token) -> str:
    return "\\" + token.text if token.sort == "command" else token.text


class Parser:
    """`decimal_comma`: 1,22 is one number, not two."""

    def __init__(self, found: list[Token], decimal_comma: bool = False) -> None:
        self.tokens, self.at = found, 0
        self.decimal_comma = decimal_comma
        self.steps = self.depth = self.groups = self.angles = 0
        self.currency = ""

    # --- the list ------------------------------------------------------------------------------------------------

    def items(self) -> Items:
        """Everything. Raises Unreadable."""
        found: list[ListItem] = []
        self._skip_separators()
        while self.at < len(self.tokens):
            found.append(self.item())
            if self.at < len(self.tokens) and not self._skip_separators() and not self._goes_on(found[-1].unit):
                raise Unreadable(f"{self.tokens[self.at].text} after an answer")
        if not found:
            raise Unreadable("nothing")
        return Items(tuple(found))

    def _goes_on(self, unit: str) -> bool:
        """1 hour 30 minutes, 5 ft 6 in"""
        token = self.peek()
        return token is not None and token.sort == "number" and token.spaced and units.measure(unit) is not None

    def _skip_separators(self) -> bool:
        start = self.at
        while (token := self.peek()) and self._separates(token):
            self.at += 1
        return self.at > start

    def _separates(self, token: Token) -> bool:
        return (token.sort == "mark" and token.text in (",", ";", "\n")) or (
            token.sort == "word" and token.text.lower() in AND_OR
        )

    def item(self) -> ListItem:
        self.currency = ""
        self._about()
        node = self.relation()
        unit = self.unit()
        scale, _, rest = unit.partition(" ")
        if scale.lower() in _SCALES:
            node, unit = Term("*", (node, Number(Fraction(_SCALES[scale.lower()])))), rest
        node, unit = _own_unit(node, unit or self.currency)
        return ListItem(node, "%" if unit.partition(" ")[0].lower() in _PERCENT else unit)

    def _about(self) -> None:
        """What introduces an answer and is no part of it."""
        while token := self.peek():
            following = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else None
            label = following is not None and following.text == ":" and following.sort == "mark"
            if (token.sort == "word" and token.text.lower() in _ABOUT) or (self.at == 0 and _arrow(token)):
                self.at += 1
            elif token.sort == "word" and label:
                raise Unreadable(token.text)
            elif (token.sort == "mark" and token.text == ":" and self.at) or (
                token.sort == "command" and RELATIONS.get(_name(token)) == "~"
            ):
                self.at += 1
            else:
                return

    # --- units ---------------------------------------------------------------------------------------------------

    def unit(self) -> str:
        """The words after a value: `cm^2`, `miles per hour`, `boys`, `% of them`."""
        said = list[str]()
        while (token := self.peek()) and not self._separates(token):
            if not said and token.sort == "word" and token.text.lower() in _VERBS:
                raise Unreadable(f"{token.text} after a value")
            if token.sort in ("word", "upright") or _currency(token) or token.text in ("%", "°"):
                said.append(token.text)
            elif said and token.text in ("/", "-", "*", "\\cdot") and token.sort in ("mark", "command"):
                said.append("/" if token.text == "/" else " ")
            elif said and token.sort == "mark" and token.text == "^" and (power := self._power_of_unit()):
                said[-1] += power
                continue
            elif token.sort == "command" and token.text == "cdot" and said:
                said.append(" ")
            elif (said and token.text in ("(", ")", "'", '"', ".") and token.sort == "mark") or (
                not said and token.text == "(" and self._words_in_brackets()
            ):
                pass
            else:
                break
            self.at += 1
        token = self.peek()
        unit = " ".join(part for part in said if part).replace(" / ", "/")
        if said and token and not self._separates(token) and token.text not in _CLOSE and not self._goes_on(unit):
            raise Unreadable(f"{token.text} in a unit")
        return unit

    def _words_in_brackets(self) -> bool:
        """9 (apples)"""
        rest = self.tokens[self.at + 1 :]
        inside = next((n for n, token in enumerate(rest) if token.text == ")"), 0)
        return inside > 0 and all(token.sort == "word" for token in rest[:inside])

    def _power_of_unit(self) -> str:
        """^2 or ^{-1} after a unit; "" where that is no whole number."""
        rest = self.tokens[self.at + 1 : self.at + 5]
        texts = [token.text for token in rest]
        for shape, size in ((texts[:1], 1), (texts[1:2], 3), (["".join(texts[1:3])], 4)):
            power = "".join(shape)
            if size > 1 and (texts[:1] != ["{"] or texts[size - 1 : size] != ["}"]):
                continue
            if power.lstrip("-").isdecimal():
                self.at += 1 + size
                return f"^{power}"
        return ""

    # --- relations -----------------------------------------------------------------------------------------------

    def relation(self) -> Node:
        parts, operators = [self.union()], list[str]()
        while (token := self.peek()) and (operator := RELATIONS.get(_name(token))) and not self._closes_angle(token):
            self.at += 1
            if (next_ := self.peek()) and operator == "=" and RELATIONS.get(_name(next_)) == "~":
                continue
            operators.append(operator)
            parts.append(self.union())
        found = Term("rel:" + " ".join(operators), tuple(parts)) if operators else parts[0]
        token = self.peek()
        if token and token.sort == "command" and token.text in ("pmod", "mod", "bmod"):
            self.at += 1
            return Term("mod", (found, self.argument()))
        return found

    def _closes_angle(self, token: Token) -> bool:
        return token.text == ">" and self.angles > 0

    def union(self) -> Node:
        parts = [self.range()]
        head = ""
        while (token := self.peek()) and (found := _SETS.get(_name(token))):
            if head and head != found:
                raise Unreadable("unions and intersections without brackets")
            head = found
            self.at += 1
            parts.append(self.range())
        return Term(head, tuple(parts)) if head else parts[0]

    def range(self) -> Node:
        first = self.ratio()
        token = self.peek()
        if token and (token.text == "–" or (token.sort == "word" and token.text.lower() in ("to", "until", "through"))):
            self.at += 1
            return Term("range", (first, self.ratio()))
        return first

    def ratio(self) -> Node:
        parts = [self.over()]
        while (token := self.peek()) and token.text == ":" and token.sort == "mark":
            self.at += 1
            parts.append(self.over())
        return Term(":", tuple(parts)) if len(parts) > 1 else parts[0]

    def over(self) -> Node:
        """{1 \\over 2}, {5 \\choose 2}: all of the group stands above and below."""
        above = self.sum()
        token = self.peek()
        if token and token.sort == "command" and token.text in ("over", "choose"):
            self.at += 1
            return Term("/" if token.text == "over" else "binom", (above, self.sum()))
        return above

    # --- arithmetic ----------------------------------------------------------------------------------------------

    def sum(self) -> Node:
        self._deeper()
        found = self.signed()
        while token := self.peek():
            name = _name(token)
            if name in ("+", "-"):
                self.at += 1
                term = self.product()
                found = _added(found, Term("neg", (term,)) if name == "-" else term)
            elif name in ("\\pm", "\\mp"):
                self.at += 1
                found = Term(name[1:], (found, self.product()))
            else:
                break
        self.depth -= 1
        return found

    def signed(self) -> Node:
        token = self.peek()
        if token and (name := _name(token)) in ("-", "+", "\\pm", "\\mp", "–"):
            self.at += 1
            self._deeper()
            inner = self.signed() if self._sign_next() else self.product()
            self.depth -= 1
            if name == "+":
                return inner
            return Term("neg" if name in ("-", "–") else name[1:], (inner,))
        return self.product()

    def _sign_next(self) -> bool:
        token = self.peek()
        return token is not None and _name(token) in ("-", "+")

    def product(self) -> Node:
        found = self.power()
        while token := self.peek():
            operator = _TIMES.get(_name(token))
            if operator:
                self.at += 1
                found = self._times(operator, found)
            elif self._mixed(found, token):
                found = _added(found, self._fraction_command() if token.sort == "command" else self._fraction())
            elif self._begins_factor(token):
                before = self.at
                try:
                    factor = self.power()
                except Unreadable:
                    if token.text not in ("|", "vert", "mid", "lvert"):
                        raise
                    self.at = before
                    break
                found = Term("*", (found, factor))
            else:
                break
        return found

    def _times(self, operator: str, left: Node) -> Node:
        negative = self.accept("-")
        right = self.power()
        return Term(operator, (left, Term("neg", (right,)) if negative else right))

    def _mixed(self, whole: Node, token: Token) -> bool:
        """2 1/2, 2\\frac{1}{2}: a whole number and then a proper fraction."""
        if not isinstance(whole, Number) or whole.value.denominator != 1:
            return False
        if self.tokens[self.at - 1].sort != "number" or not self.tokens[self.at - 1].text.replace(",", "").isdecimal():
            return False
        if self.at >= 2 and _name(self.tokens[self.at - 2]) in ("^", "_", "/", *_TIMES):
            return False
        if token.sort == "command" and token.text in ("frac", "dfrac", "tfrac", "cfrac"):
            return self._proper(self.look(self._fraction_command))
        return token.sort == "number" and token.spaced and self._proper(self.look(self._fraction))

    @staticmethod
    def _proper(fraction: Node | None) -> bool:
        if not isinstance(fraction, Term) or not all(isinstance(a, Number) for a in fraction.args):
            return False
        above, below = (a.value for a in fraction.args if isinstance(a, Number))
        return above.denominator == below.denominator == 1 and 0 <= above < below

    def _fraction(self) -> Node:
        above = self.number()
        self.expect("/")
        return Term("/", (above, self.number()))

    def _fraction_command(self) -> Node:
        self.at += 1
        return Term("/", (self.argument(digit=True), self.argument(digit=True)))

    def number(self) -> Node:
        token = self.next()
        if token.sort != "number" or token.value is None:
            raise Unreadable(f"{token.text} is no number")
        return Number(token.value)

    def _begins_factor(self, token: Token) -> bool:
        name = _name(token)
        if token.sort in ("number", "comma"):
            previous = self.tokens[self.at - 1]
            if previous.sort in ("number", "comma"):
                raise Unreadable("two numbers side by side")
            return True
        if token.sort == "symbol":
            return True
        if token.sort == "command":
            return name not in RELATIONS and name not in _SETS and name not in _CLOSE and name not in ("\\pm", "\\mp")
        if token.text == "(" and self._words_in_brackets():
            return False
        return token.sort == "mark" and token.text in ("(", "[", "{", "|")

    def power(self) -> Node:
        base = self.atom()
        while token := self.peek():
            if token.sort != "mark":
                break
            if token.text in ("!", "%"):
                self.at += 1
                base = Term("fact" if token.text == "!" else "pct", (base,))
            elif token.text == "_":
                self.at += 1
                base = _decorated(base, "_" + _flat(self.argument()))
            elif token.text in ("'", "''"):
                self.at += 1
                base = _decorated(base, token.text)
                if isinstance(base, Symbol) and self._at("(") and not self.tokens[self.at].spaced:
                    base = Term("app", (base, *self._listed(")")))
            elif token.text == "^" or (token.text == "*" and self._next_is("*")):
                self.at += 1 if token.text == "^" else 2
                base = self._raised(base)
            else:
                break
        return base

    def _next_is(self, text: str) -> bool:
        return self.at + 1 < len(self.tokens) and self.tokens[self.at + 1].text == text

    def _raised(self, base: Node) -> Node:
        token = self.peek()
        if token and token.sort == "command" and token.text in ("circ", "prime"):
            self.at += 1
            return Term("deg", (base,)) if token.text == "circ" else _decorated(base, "'")
        self._deeper()
        negative = self.accept("-")
        exponent = self.argument()
        if (after := self.peek()) and after.text == "^" and after.sort == "mark":
            self.at += 1
            exponent = self._raised(exponent)
        self.depth -= 1
        if isinstance(exponent, Symbol) and exponent.name in ("T", "'", "′"):
            return _decorated(base, exponent.name)
        return Term("^", (base, Term("neg", (exponent,)) if negative else exponent))

    # --- atoms ---------------------------------------------------------------------------------------------------

    def atom(self) -> Node:
        self._deeper()
        try:
            return self._atom(self.next())
        finally:
            self.depth -= 1

    def _atom(self, token: Token) -> Node:
        if token.sort == "number":
            return self._based(token)
        if token.sort == "comma":
            return self._comma(token)
        if token.sort == "range":
            return Term("range", tuple(Number(Fraction(part)) for part in token.text.split("-")))
        if token.sort in ("symbol", "upright"):
            return self._symbol(token.text)
        if token.sort == "word":
            return self._word(token)
        if token.sort == "command":
            return self._command(token.text)
        if _currency(token):
            self.currency = "$" if token.text == DOLLAR else token.text
            return Term("neg", (self.atom(),)) if self.accept("-") else self.atom()
        if token.text in _OPEN:
            return self._brackets(token.text)
        if token.text == "|":
            return self._abs()
        if token.text == "..." and self.at > 1:
            return Symbol("ldots")
        raise Unreadable(token.text)

    def _based(self, token: Token) -> Node:
        """A number, with its base where it has one: 204_5."""
        number = Number(token.value if token.value is not None else Fraction(0))
        if not (self._at("_")):
            return number
        self.at += 1
        return Term("base", (number, self.argument()))

    def _comma(self, token: Token) -> Node:
        whole, _, decimals = token.text.partition(",")
        if self.decimal_comma:
            return Number(Fraction(f"{whole}.{decimals}"))
        rest = [Token("number", whole, token.spaced, Fraction(whole)), Token("mark", ",")]
        self.tokens = self.tokens[: self.at] + rest[1:] + [
            Token("number", decimals, False, Fraction(decimals)), *self.tokens[self.at :]
        ]  # fmt: skip
        return Number(Fraction(whole))

    def _word(self, token: Token) -> Node:
        """A name of a few letters in a formula is a product (gb); a longer one is a name (area)."""
        if token.text.lower() in _CONNECTING or (
            not self.groups and not any(RELATIONS.get(_name(t)) for t in self.tokens)
        ):
            raise Unreadable(token.text)
        if len(token.text) <= 3 and token.text.isascii() and token.text.isalpha():
            found: Node = Symbol(token.text[0])
            for letter in token.text[1:]:
                found = Term("*", (found, Symbol(letter)))
            return found
        return self._symbol(token.text)

    def _symbol(self, name: str) -> Node:
        if self._at("_"):
            self.at += 1
            name += "_" + _flat(self.argument())
        if self._at("(") and not self.tokens[self.at].spaced and len(name) and name not in ("e", "i"):
            return Term("app", (Symbol(name), *self._listed(")")))
        return Symbol(name)

    def _listed(self, close: str) -> tuple[Node, ...]:
        self.at += 1
        found = self._elements()
        self.expect(close)
        return tuple(found)

    def _elements(self) -> list[Node]:
        was, self.decimal_comma = self.decimal_comma, self.decimal_comma and self._semicolon_ahead()
        found = [self.relation()]
        while (token := self.peek()) and (self._separates(token) or token.text in (";",)):
            self._skip_separators()
            found.append(self.relation())
        self.decimal_comma = was
        return found

    def _semicolon_ahead(self) -> bool:
        """(1,5; 2,5): in brackets a comma divides, unless a semicolon does."""
        depth = 0
        for token in self.tokens[self.at :]:
            depth += (token.text in _OPEN) - (token.text in (")", "]", "}"))
            if depth < 0 or (depth == 0 and token.text == ";"):
                return depth == 0
        return False

    def _brackets(self, opened: str) -> Node:
        if opened in ("{", "\\{") and (self._at("}") or self._at("\\}")):
            self.at += 1
            return Symbol("∅")
        self.angles += opened == "<"
        found = self._elements()
        self.angles -= opened == "<"
        if opened == "\\{" and (token := self.peek()) and _name(token) in ("|", "\\mid", "\\vert", ":"):
            self.at += 1
            condition = self._elements()
            self.expect("\\}", "}")
            return Term("such", (found[0], *condition))
        closed = self.next()
        name = _name(closed)
        if opened in ("(", "[") and name in (")", "]"):
            if opened + name == "()" and len(found) == 1:
                return found[0] if not _is_relation(found[0]) else Term("()", tuple(found))
            if opened + name == "[]" and len(found) == 1 and not _is_relation(found[0]):
                return found[0]
            return Term(opened + name, tuple(found))
        if _OPEN[opened] != name and not (opened in ("{", "\\{") and name in ("}", "\\}")):
            raise Unreadable(f"{opened} … {name}")
        if opened == "\\langle" or opened == "<":
            return Term("()", tuple(found))
        if opened == "{":
            return found[0] if len(found) == 1 else Term("list", tuple(found))
        return Term("{}", tuple(found))

    def _abs(self) -> Node:
        inner = self.sum()
        self.expect("|", "\\vert", "\\mid", "\\rvert")
        return Term("abs", (inner,))

    def _command(self, name: str) -> Node:
        if "\\" + name in _CONSTANTS:
            return Symbol(_CONSTANTS["\\" + name])
        if name in ("frac", "dfrac", "tfrac", "cfrac"):
            self.at -= 1
            return self._fraction_command()
        if name in ("binom", "dbinom", "tbinom", "choose"):
            return Term("binom", (self.argument(digit=True), self.argument(digit=True)))
        if name == "sqrt":
            return self._root()
        if name in FUNCTIONS or name in ("arccosh",):
            return self._function(name)
        if name in ("{", "langle", "lbrack"):
            return self._brackets("[" if name == "lbrack" else "\\" + name)
        if name in ("vert", "lvert", "mid"):
            return self._abs()
        if name in ("lfloor", "lceil"):
            inner = self.sum()
            self.expect("\\rfloor" if name == "lfloor" else "\\rceil")
            return Term(name, (inner,))
        if name in ("|", "lVert", "Vert", "|"):
            inner = self.sum()
            self.expect("\\|", "\\rVert", "\\Vert")
            return Term("norm", (inner,))
        if name in _DECORATIONS:
            return _decorated(self.argument(), name)
        if name in ("sum", "prod", "int", "iint", "iiint", "oint", "lim"):
            return self._over(name)
        if name == "begin matrix":
            return self._matrix()
        if name in ("angle", "triangle", "measuredangle"):
            return Term("decorated", (Symbol(name), self.power()))
        if name in _BEYOND or not name.isalpha():
            raise Unreadable("\\" + name)
        return self._symbol(name)

    def _root(self) -> Node:
        degree: Node = Number(Fraction(2))
        if self._at("["):
            self.at += 1
            degree = self.sum()
            self.expect("]")
        return Term("root", (self.argument(), degree))

    def _function(self, name: str) -> Node:
        """\\sin^2 x, \\log_2 8, \\sin 2x \\cos x (the argument ends where another function begins)."""
        base = exponent = None
        while token := self.peek():
            if token.text == "_" and base is None:
                self.at += 1
                base = self.argument()
            elif token.text == "^" and exponent is None:
                self.at += 1
                exponent = Term("neg", (self.argument(),)) if self.accept("-") else self.argument()
            else:
                break
        arguments = self._arguments(name)
        inverse = exponent in (Term("neg", (Number(Fraction(1)),)), Number(Fraction(-1)))
        if inverse and name in ("sin", "cos", "tan", "cot", "sec", "csc"):
            return Term("arc" + name, arguments)
        found = Term(name, arguments if base is None else (*arguments, base))
        return found if exponent is None else Term("^", (found, exponent))

    def _arguments(self, name: str) -> tuple[Node, ...]:
        if name in ("gcd", "lcm", "max", "min"):
            return self._listed(")") if self._at("(") else (self.power(),)
        if self._at("("):
            return (self.power(),)
        negative = self.accept("-")
        found = self.power()
        while (token := self.peek()) and self._begins_factor(token) and token.text not in FUNCTIONS:
            if token.text in ("(", "[", "|", "left"):
                break
            found = Term("*", (found, self.power()))
        return (Term("neg", (found,)) if negative else found,)

    def _over(self, name: str) -> Node:
        """\\sum_{k=0}^{n} k: compared as it stands, but for its bounds and its body, which may be in other words."""
        bounds = []
        for mark in ("_", "^"):
            bounds.append(self.argument() if self.accept(mark) else Symbol(""))
        return Term(name, (*bounds, self.product()))

    def _matrix(self) -> Node:
        rows: list[list[Node]] = [[]]
        while True:
            token = self.peek()
            if token is None:
                raise Unreadable("a matrix without an end")
            name = _name(token)
            if name in ("&", "\\\\", "\\hline", "\n"):
                self.at += 1
                if name == "\\\\":
                    rows.append([])
            elif name == "\\end matrix":
                self.at += 1
                return Term("matrix", tuple(Term("row", tuple(row)) for row in rows if row))
            else:
                rows[-1].append(self.relation())

    def argument(self, digit: bool = False) -> Node:
        """What a command or `^` applies to: a group, or the next sign (`digit`: the next digit, as in \\frac12)."""
        token = self.next()
        if token.sort == "mark" and token.text == "{":
            self.groups += 1
            group = self._brackets("{")
            self.groups -= 1
            return group
        if digit and token.sort == "number" and len(token.text) > 1 and token.text.isdecimal():
            first, rest = token.text[0], token.text[1:]
            self.tokens = [
                *self.tokens[: self.at],
                Token("number", rest, False, Fraction(rest)),
                *self.tokens[self.at :],
            ]
            return Number(Fraction(first))
        if token.sort == "symbol":
            return Symbol(token.text)
        if token.sort == "number":
            return Number(token.value if token.value is not None else Fraction(0))
        self._deeper()
        found = self._atom(token)
        self.depth -= 1
        return found

    # --- tokens --------------------------------------------------------------------------------------------------

    def peek(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def next(self) -> Token:
        self.steps += 1
        if self.at >= len(self.tokens) or self.steps > _STEPS:
            raise Unreadable("the end" if self.steps <= _STEPS else "too long")
        self.at += 1
        return self.tokens[self.at - 1]

    def _at(self, text: str) -> bool:
        token = self.peek()
        return token is not None and token.sort in ("mark", "command") and _name(token) == text

    def accept(self, text: str) -> bool:
        found = self._at(text)
        self.at += found
        return found

    def expect(self, *texts: str) -> None:
        if not any(self.accept(text) for text in texts):
            token = self.peek()
            raise Unreadable(f"{token.text if token else 'the end'} instead of {texts[0]}")

    def look(self, parse: Callable[[], Node]) -> Node | None:
        """What would be parsed here; the place stays."""
        at, tokens, depth = self.at, self.tokens, self.depth
        try:
            return parse()
        except Unreadable:
            return None
        finally:
            self.at, self.tokens, self.depth = at, tokens, depth

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEPTH:
            raise Unreadable("nested too deep")


def _currency(token: Token) -> bool:
    return token.sort == "mark" and (token.text in units.CURRENCIES or token.text == DOLLAR)


def _arrow(token: Token) -> bool:
    return token.sort in ("command", "mark") and token.text in ("to", "Rightarrow", "=>")


def _is_relation(node: Node) -> bool:
    return isinstance(node, Term) and node.head.startswith("rel:")


def _added(left: Node, right: Node) -> Node:
    if isinstance(left, Term) and left.head == "+":
        return Term("+", (*left.args, right))
    return Term("+", (left, right))


def _decorated(base: Node, mark: str) -> Node:
    if isinstance(base, Symbol):
        return Symbol(f"{base.name}{mark}")
    return Term("decorated", (Symbol(mark), base))


def _flat(node: Node) -> str:
    if isinstance(node, Number):
        return str(node.value)
    if isinstance(node, Symbol):
        return node.name
    return "".join(map(_flat, node.args)) + node.head


def _own_unit(node: Node, unit: str) -> tuple[Node, str]:
    """Degrees, percent and bases are units where they end an item: 90^\\circ, 28\\%, 204_5, x = 30\\%."""
    if isinstance(node, Term) and node.head.startswith("rel:"):
        last, unit = _own_unit(node.args[-1], unit)
        return Term(node.head, (*node.args[:-1], last)), unit
    if isinstance(node, Term) and node.head in ("deg", "pct"):
        own = "%" if node.head == "pct" else "°"
        return node.args[0], unit if unit in ("C", "F", "celsius", "fahrenheit") else f"{own} {unit}".strip()
    match node:
        case Term("*", (Term("deg", (number,)), Symbol("C" | "F" as scale))) if not unit:
            return number, scale
        case Term("neg", (Term("*", (Term("deg", (number,)), Symbol("C" | "F" as scale))),)) if not unit:
            return Term("neg", (number,)), scale
    if isinstance(node, Term) and node.head == "base":
        return node.args[0], f"base {_flat(node.args[1])}"
    if (
        isinstance(node, Term)
        and node.head == "neg"
        and isinstance(node.args[0], Term)
        and node.args[0].head in ("deg", "pct", "base")
    ):
        inner, unit = _own_unit(node.args[0], unit)
        return Term("neg", (inner,)), unit
    return node, unit
