"""The general skills that the built-in student `builtin:tiny` is pretrained on.

Every skill is a function from a random generator to one `Example`: a prompt and its completion. All of them
use random words, most of them invented, so the only way to answer is to copy, look up, order or compute:
there is no fact to remember. `write_example` draws a skill by its share, then an example of it.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from typing import NamedTuple


def words(text: str) -> list[str]:
    """Split a text at its spaces."""
    return text.split()


ONSETS = ["", *words("b c d f g h j k l m n p qu r s t v w x y z br cl cr dr fl gr kr pl pr sh sl sp st th tr ch")]
VOWELS = words("a e i o u a e i o ai ea ee io ou")
CODAS = ["", "", "", "", *words("n r l s t m x k nd rt st ck ng")]

COMMON_WORDS = words(
    """
    able about above across add after again age all also always amount and any apart apple are area ask at average
    away back bag ball bank bar base be been before begin below best better between big bike bill bird black blue
    board boat body book bought box boy branch brand bread break bring brother brown build bus busy but buy by
    cake call can cancel car card care case cat category chair change channel charge cheap check chicken child
    city class clean client clock close cloth club coat code coffee cold color column come company cook copy cost
    count country cover cream create cup customer cut dark data date day deal deep delay delivery desk detail
    different difference distinct do doctor dog door down draw dress drink drive drop dry each early earn east
    easy eat egg eight email employee empty end enough enter equal error even every exact except exceed eye face
    fall family far farm fast father few field fifth fill find fine first fish five floor flower fly follow food
    for form found four fourth free fresh friend from full game garden gave get girl give given glass go gold good
    grade grand grass great greatest green group had half hand happen hard has hat have he head heavy height help
    her here hers high higher highest him his hold home horse hot hour hours house how hundred ice if in inside
    invoice is it item job join keep key kind kitchen lamp land large largest last late lead least leave left less
    let letter level light like line list little live long look lost lot love low lower lowest lunch made mail
    main make man many map market match maximum may me mean measure meat meet member middle milk mine minimum
    minus minute money month more morning most mother mountain move much my name near need never new next night
    nine no none north not note number occur of off office old older on once one only open or order other our out
    over overall own owner pack page paid paint paper parcel part password past pay payment pen pencil people per
    percent phone pick picture piece place plan plant plate play please plus point points post price print problem
    product project put quantity queen question quick quiet range rank rate rating read record red refund region
    remain rent repeat report reset respective rest return rice rich ring river road role room round row run
    salary sale salt same save say school score sea seat second see sell send serve service set seven shape she
    ship shipped shirt shoe shop short show shut side sign silver simple single sister sit six size sleep slow
    small smallest smaller snow sold some song sort south space speak spend split spoon spring staff stand star
    start status stay step still stock stone stop store story street strong student sugar sum summer sun supplier
    sure sweet swim table take tall tax tea teach team tell ten test than that the their them there these they
    thing third those three through ticket tie time title to today top total town toy train tree trip true try
    turn two type under unique unit until up upper us use user value various very visit wait walk wall want warm
    was wash water way we wear week weight well went were west what when where which white who whole whose wide
    win wind window wine winter with without woman wood word work worth write year yellow yes you young your zero
    zone
    """
)

KEYWORDS = words(
    """
    SELECT FROM WHERE AND OR NOT IN GROUP ORDER BY ASC DESC LIMIT JOIN ON AS AVG SUM MIN MAX COUNT DISTINCT
    BETWEEN
    """
)

ORDINALS = ["first", "second", "third", "fourth", "fifth"]


class Example(NamedTuple):
    """A prompt and the completion that the model must learn to write after it."""

    prompt: str
    completion: str


Skill = Callable[[random.Random], Example]


# ---------------------------------------------------------------- words


def pseudo_word(rng: random.Random) -> str:
    """Return an invented word of one to three syllables."""
    syllables = rng.choices([1, 2, 3], weights=[2, 6, 2])[0]
    return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(syllables))


def word(rng: random.Random) -> str:
    """Return a word: a common English one (at times plural), an invented one, or rarely a reserved word of SQL."""
    kind = rng.random()
    if kind < 0.04:
        return rng.choice(KEYWORDS)
    if kind < 0.6:
        return rng.choice(COMMON_WORDS) + ("s" if rng.random() < 0.2 else "")
    return pseudo_word(rng)


def proper_name(rng: random.Random) -> str:
    """Return an invented name, capitalised, at times of two parts."""
    parts = 2 if rng.random() < 0.15 else 1
    return " ".join(pseudo_word(rng).capitalize() for _ in range(parts))


def code(rng: random.Random) -> str:
    """Return letters and digits without any sense, so that copying must go sign by sign."""
    letters = "".join(rng.choices(string.ascii_letters, k=rng.randint(1, 4)))
    return letters + str(number(rng)) if rng.random() < 0.6 else letters


def number(rng: random.Random, most: int = 9999) -> int:
    """Return a number whose count of digits is roughly uniform."""
    return rng.randrange(0, min(most, 10 ** rng.randint(1, 4)) + 1)


def numeral(rng: random.Random) -> str:
    """Return the digits of a number."""
    return str(number(rng))


def value(rng: random.Random) -> str:
    """Return something that a field may hold: a word, a name or a number."""
    return rng.choice(
        [word, pseudo_word, word, proper_name, proper_name, proper_name, pseudo_word, code, numeral, numeral]
    )(rng)


def distinct(rng: random.Random, make: Callable[[random.Random], str], count: int) -> list[str]:
    """Return `count` different results of `make`, in random order."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[make(rng)] = None
    return list(found)


# ---------------------------------------------------------------- copying, look-up, ordering


def copy_words(rng: random.Random) -> Example:
    """Repeat a list of words."""
    words = " ".join(value(rng) for _ in range(rng.randint(1, 6)))
    head = rng.choice(["copy", "repeat", "say again", "write"])
    return Example(f"{head}: {words}\nanswer:", words)


def reverse_words(rng: random.Random) -> Example:
    """Write a list of words backwards."""
    words = distinct(rng, word, rng.randint(2, 5))
    head = rng.choice(["reverse", "backwards"])
    return Example(f"{head}: {' '.join(words)}\nanswer:", " ".join(reversed(words)))


def nth_item(rng: random.Random) -> Example:
    """Pick an item of a list by its position."""
    items = distinct(rng, value, rng.randint(2, 5))
    place = rng.randrange(len(items))
    which = "last" if place == len(items) - 1 and rng.random() < 0.4 else ORDINALS[place]
    ask = rng.choice(["the {} item", "what is the {} item?", "which item is {}?"]).format(which)
    return Example(f"items: {', '.join(items)}\nquestion: {ask}\nanswer:", items[place])


def look_up(rng: random.Random) -> Example:
    """Find the value that stands beside a key."""
    keys = distinct(rng, word, rng.randint(2, 5))
    pairs = {key: value(rng) for key in keys}
    wanted = rng.choice(keys)
    facts = rng.choice(["; ", ", ", "\n"]).join(f"{key}: {val}" for key, val in pairs.items())
    ask = rng.choice(["what is {}?", "{}?", "give the {}", "find {}"]).format(wanted)
    return Example(f"{facts}\nquestion: {ask}\nanswer:", pairs[wanted])


def order_numbers(rng: random.Random) -> Example:
    """Sort numbers, or name the largest or smallest."""
    most = rng.choice([9, 99])
    numbers = rng.sample(range(most + 1), rng.randint(2, 4))
    task, result = rng.choice(
        [
            ("ascending", sorted(numbers)),
            ("descending", sorted(numbers, reverse=True)),
            ("largest", [max(numbers)]),
            ("smallest", [min(numbers)]),
        ]
    )
    return Example(f"{task}: {' '.join(map(str, numbers))}\nanswer:", " ".join(map(str, result)))


# ---------------------------------------------------------------- arithmetic


def calculate(rng: random.Random, most: int) -> tuple[int, str, int, int]:
    """Return an exercise with a small, whole, non-negative result: left, operator, right, result."""
    operator = rng.choice("++--*")
    if operator == "*":
        left, right = rng.randint(0, 9), rng.randint(0, 9)
        return left, operator, right, left * right
    left, right = rng.randint(0, most), rng.randint(0, most)
    if operator == "-":
        left, right = max(left, right), min(left, right)
        return left, operator, right, left - right
    return left, operator, right, left + right


OPERATOR_WORDS = {"+": ["+", "plus", "and"], "-": ["-", "minus", "less"], "*": ["*", "times"]}


def arithmetic(rng: random.Random) -> Example:
    """Add, subtract or multiply small numbers."""
    left, operator, right, result = calculate(rng, rng.choice([9, 20, 50]))
    ask = f"{left} {rng.choice(OPERATOR_WORDS[operator])} {right}"
    head = rng.choice(["question: what is {}?", "question: {}", "compute: {}", "question: {} = ?"])
    return Example(f"{head.format(ask)}\nanswer:", str(result))


def named_arithmetic(rng: random.Random) -> Example:
    """Compute with numbers that must first be looked up by name."""
    left, operator, right, result = calculate(rng, rng.choice([9, 20]))
    one, two = distinct(rng, word, 2)
    facts = [f"{one} is {left}", f"{two} is {right}"]
    rng.shuffle(facts)
    ask = f"{one} {rng.choice(OPERATOR_WORDS[operator])} {two}"
    return Example(f"{facts[0]}. {facts[1]}.\nquestion: {ask}?\nanswer:", str(result))


# ---------------------------------------------------------------- templates, extraction, labels


def fill_template(rng: random.Random) -> Example:
    """Put values into the slots of a template."""
    slots = distinct(rng, word, rng.randint(1, 3))
    values = {slot: value(rng) for slot in slots}
    pieces = [part for slot in slots for part in (word(rng), f"<{slot}>")] + [word(rng)]
    filled = [values[piece[1:-1]] if piece.startswith("<") else piece for piece in pieces]
    given = "; ".join(f"{slot} = {val}" for slot, val in values.items())
    return Example(f"template: {' '.join(pieces)}\nvalues: {given}\nanswer:", " ".join(filled))


def described_record(rng: random.Random) -> tuple[str, dict[str, str | int]]:
    """Return a sentence that states one to three fields, and the record it states."""
    fields = distinct(rng, word, rng.randint(1, 3))
    record: dict[str, str | int] = {
        field: number(rng, 999) if rng.random() < 0.4 else rng.choice([word, proper_name])(rng) for field in fields
    }
    style = rng.choice(["the {} is {}", "{} {}", "{}: {}", "with {} {}", "{} of {}"])
    clauses = [style.format(field, val) for field, val in record.items()]
    return rng.choice([", ", " and ", ". "]).join(clauses), record


def extract_lines(rng: random.Random) -> Example:
    """Turn a sentence into `key: value` lines."""
    text, record = described_record(rng)
    lines = "; ".join(f"{field}: {val}" for field, val in record.items())
    return Example(f"text: {text}\nfields:", lines)


def extract_json(rng: random.Random) -> Example:
    """Turn a sentence into a JSON object."""
    text, record = described_record(rng)
    return Example(f"text: {text}\njson:", json.dumps(record))


def choose_label(rng: random.Random) -> Example:
    """Choose the label whose keyword stands in the text."""
    keywords, labels = distinct(rng, word, 3), distinct(rng, word, 3)
    chosen = rng.randrange(3)
    text = [filler for filler in distinct(rng, word, rng.randint(2, 5)) if filler not in keywords]
    text.insert(rng.randint(0, len(text)), keywords[chosen])
    rules = "; ".join(f"{key} -> {label}" for key, label in zip(keywords, labels, strict=True))
    return Example(f"rules: {rules}\ntext: {' '.join(text)}\nlabel:", labels[chosen])


# ---------------------------------------------------------------- the simplest forms of SQL

OPENERS = ["", "", "show", "get", "print", "find", "fetch", "look up", "we want", "i must know", "what about"]
OPENERS += ["which is", "can you get", "would you print", "do show me", "let us see", "kindly give", "go and read"]
OPENERS += ["report"]
COLUMN_PHRASES = [
    "{column}",
    "the {column}",
    "every {column}",
    "each {column}",
    "just the {column}",
    "the {column} field",
]
LINKS = ["of", "in", "from", "for", "out of", "over", "that stands in", "across"]
TABLE_PHRASES = [
    "{table}",
    "the {table}",
    "all {table}",
    "our {table}",
    "all the {table}",
    "these {table}",
    "table {table}",
]
COUNTERS = ["count up", "how many rows in", "number of rows of", "size of", "what number of", "row count of"]
CONDITIONS = [
    "where {key} is {value}",
    "where the {key} equals {value}",
    "with {key} = {value}",
    "with {key} {value}",
    "having {value} as {key}",
    "having {key} {value}",
    "that show {value} for {key}",
    "if their {key} is {value}",
    "whenever {key} says {value}",
    "under {key} {value}",
    "and only {key} {value}",
]
CLOSERS = ["", "", "", "?", " now", " please", " today", "."]


def phrase_list(rng: random.Random) -> str:
    """Ask for a column of a table."""
    opener, column, link, table = (rng.choice(part) for part in (OPENERS, COLUMN_PHRASES, LINKS, TABLE_PHRASES))
    return rng.choice(
        [
            f"{opener} {column} {link} {table}",
            f"{opener} {column} {link} {table}",
            f"{link} {table} {opener} {column}",
            f"{table}: {opener} {rng.choice(COLUMN_PHRASES[1:])}",
            f"{opener} what {{column}} {table} have",
        ]
    )


def phrase_count(rng: random.Random) -> str:
    """Ask how many rows a table has."""
    counter, table = rng.choice(COUNTERS), rng.choice(TABLE_PHRASES)
    return rng.choice([f"{counter} {table}", f"{rng.choice(OPENERS)} {counter} {table}", f"{table}: {counter}"])


def phrase_condition(rng: random.Random, phrase: str) -> str:
    """Add a condition to a phrase, at its end or at its beginning."""
    condition = rng.choice(CONDITIONS)
    return f"{condition}, {phrase}" if rng.random() < 0.2 else f"{phrase} {condition}"


def simple_sql(rng: random.Random) -> Example:
    """Answer a list or count question, often with one condition, over a random table."""
    table, column, key = distinct(rng, word, 3)
    wanted = value(rng)
    literal = wanted if wanted.isdigit() else f"'{wanted}'"
    counts, filters = rng.random() < 0.25, rng.random() < 0.6
    phrase = phrase_count(rng) if counts else phrase_list(rng)
    sql = f"SELECT {'COUNT(*)' if counts else column} FROM {table}"
    if filters:
        phrase, sql = phrase_condition(rng, phrase), f"{sql} WHERE {key} = {literal}"
    wording = " ".join((phrase + rng.choice(CLOSERS)).split())
    question = wording.format(table=table, column=column, key=key, value=wanted)
    return Example(f"question: {question}\nsql:", sql)


# ---------------------------------------------------------------- the mixture

SHARES: dict[Skill, int] = {
    copy_words: 8,
    reverse_words: 2,
    nth_item: 4,
    look_up: 8,
    order_numbers: 3,
    arithmetic: 8,
    named_arithmetic: 3,
    fill_template: 4,
    extract_lines: 5,
    extract_json: 8,
    choose_label: 5,
    simple_sql: 42,
}
FIRST_SHARES: dict[Skill, int] = {copy_words: 2, extract_lines: 1, simple_sql: 1}


def write_example(rng: random.Random, first: bool = False) -> Example:
    """Draw a skill by its share, then an example of it; `first`: of the skills that teach to copy."""
    shares = FIRST_SHARES if first else SHARES
    skill = rng.choices(list(shares), weights=list(shares.values()))[0]
    return skill(rng)
