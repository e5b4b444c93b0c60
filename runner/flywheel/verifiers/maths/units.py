"""Units of measure, and how two of them compare."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

_TABLE = """
length 1: m meter meters metre metres
length 1/100: cm centimeter centimeters centimetre centimetres
length 1/1000: mm millimeter millimeters millimetre millimetres
length 1000: km kilometer kilometers kilometre kilometres kms
inch 1: in inch inches
inch 12: ft foot feet
inch 36: yd yds yard yards
inch 63360: mi mile miles
mass 1: g gram grams gramme grammes
mass 1000: kg kilogram kilograms kilo kilos kgs
mass 1/1000: mg milligram milligrams
mass 1000000: t tonne tonnes
pound 1: lb lbs pound pounds
pound 1/16: oz ounce ounces
time 1: s sec secs second seconds
time 60: min mins minute minutes
time 3600: h hr hrs hour hours
time 86400: day days
time 604800: week weeks wk wks
time 1/1000: ms millisecond milliseconds
month 1: month months
month 12: year years yr yrs
length^3 1/1000: L l liter liters litre litres
length^3 1/1000000: mL ml milliliter milliliters millilitre millilitres
cup 1: cup cups
cup 2: pint pints
cup 4: quart quarts qt
cup 16: gallon gallons gal
degree 1: degree degrees deg °
radian 1: rad radian radians
celsius 1: C ℃ celsius
fahrenheit 1: F ℉ fahrenheit
kelvin 1: K kelvin
force 1: N newton newtons
energy 1: J joule joules
power 1: W watt watts
power 1000: kW kilowatt kilowatts
volt 1: V volt volts
ampere 1: A amp amps ampere amperes
frequency 1: Hz hertz
dollar 1: $ dollar dollars usd bucks
dollar 1/100: cent cents ¢
dollar 1000: $k
euro 1: € euro euros eur
sterling 1: £ gbp
yen 1: ¥ yen jpy
yuan 1: yuan rmb cny 元
rupee 1: ₹ rupee rupees inr rs
won 1: ₩ won krw
ruble 1: ₽ ruble rubles rouble roubles rub
percent 1: % percent pct percentage
am 1: am a.m. a.m
pm 1: pm p.m. p.m
"""


def _table() -> dict[str, tuple[str, Fraction]]:
    known = {}
    for line in _TABLE.strip().splitlines():
        measure, _, names = line.partition(":")
        dimension, factor = measure.split()
        for name in names.split():
            known[name] = (dimension, Fraction(factor))
    return known


KNOWN = _table()
#: Names of units that are made of others.
_MADE_OF = {"mph": "mi/h", "kph": "km/h", "kmph": "km/h", "kmh": "km/h", "cc": "cm^3"}
CURRENCIES = frozenset("$€£¥₹₩₽¢元")
SINGLE = frozenset(name for name in KNOWN if len(name) == 1 and name.isalpha())
LONG = frozenset(name for name in (*KNOWN, *_MADE_OF) if len(name) > 1)
#: What is written right after a number and is no product of letters.
ATTACHED = frozenset(["st", "nd", "rd", "th", "am", "pm", "k", "bn", "x", *(name.lower() for name in LONG)])
_FACTOR = re.compile(r"([^\W\d_]+|[$€£¥₹₩₽¢°%℃℉])(?:\^\{?(-?\d+)\}?)?")
_WORD_POWERS = (
    (re.compile(r"\b(?:square|sq\.?)\s+([^\W\d_]+)"), r"\1^2"),
    (re.compile(r"\b(?:cubic|cu\.?)\s+([^\W\d_]+)"), r"\1^3"),
    (re.compile(r"\b([^\W\d_]+)\s+squared\b"), r"\1^2"),
    (re.compile(r"\b([^\W\d_]+)\s+cubed\b"), r"\1^3"),
    *((re.compile(rf"\b{name}\b"), plain) for name, plain in _MADE_OF.items()),
    (re.compile(r"(?:\bdeg(?:rees?)?|°)\s+(?=(?:celsius|fahrenheit|kelvin|[CFK])\b)", re.I), ""),
)

Measure = tuple[Fraction, tuple[tuple[str, int], ...]]


@lru_cache(4096)
def measure(unit: str) -> Measure | None:
    """`cm^2` as its factor and its dimensions; None for what is no unit of measure (apples)."""
    if not unit:
        return None
    if unit.startswith("base "):
        return Fraction(1), ((unit, 1),)
    for pattern, plain in _WORD_POWERS:
        unit = pattern.sub(plain, unit)
    unit = re.sub(r"\bper\b", "/", unit)
    factor, dimensions, sign = Fraction(1), dict[str, int](), 1
    for part in re.split(r"([/*·\s-]+)", unit.strip()):
        if not part.strip(" *·-"):
            continue
        if part.strip() == "/":
            sign = -1
            continue
        found = _FACTOR.fullmatch(part)
        known = KNOWN.get(found[1]) or KNOWN.get(found[1].lower()) if found else None
        if found is None or known is None:
            return None
        power = sign * int(found[2] or 1)
        factor *= known[1] ** power
        dimension, _, exponent = known[0].partition("^")
        dimensions[dimension] = dimensions.get(dimension, 0) + power * int(exponent or 1)
    return (factor, tuple(sorted((d, p) for d, p in dimensions.items() if p))) if dimensions else None


def like(one: str, other: str) -> bool:
    """Nouns in singular and plural: boy and boys, child and children."""
    first, second = one.casefold().split(), other.casefold().split()
    if len(first) != len(second):
        return bool(set(first) & set(second))
    return all(
        a == b or (min(len(a), len(b)) > 2 and (a.startswith(b[:-1]) or b.startswith(a[:-1])))
        for a, b in zip(first, second, strict=True)
    )
