"""Write the rows of the templates `emails`, `arithmetic` and `intents` of `flywheel init`.

    python scripts/make_template_rows.py [--out DIR] [TEMPLATE …]

Everything is drawn from one seed: the same script gives the same files. Lessons, probes and seeds use the taught
wordings and values. Every third holdout row has a wording that no lesson uses and, in e-mails and word problems, draws
from names and things of which a quarter is in no lesson. The guard holds the plainest kind of question. No two rows of
a template ask the same, whatever file they are in.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

from flywheel.text import normalised

SEED = 7
DEFAULT_OUT = Path(__file__).parents[1] / "runner" / "flywheel" / "templates"
SIZES = {"holdout": 201, "guard": 100, "probes": 150, "seeds": 30, "lessons": 900}
FRESH_EVERY = 3  # in the holdout
# What the guard measures is taught too, or it would be unlearned. Sums the student can do before any lesson, so they
# have a file of their own: lessons that follow the failures would leave them out.
PLAIN_EVERY = {"emails": 6, "intents": 6}
PLAIN_FILES = ("guard", "sums")

Row = dict[str, Any]


def words(text: str) -> list[str]:
    """Split a text at its spaces."""
    return text.split()


NAMES = {
    "taught": words(
        """Adam Amir Anna Ben Bella Carl Cora Dana Dora Elin Emil Eva Fritz Greta Hana Hugo Ida Ivan Jana Jonas
        Karim Lena Leo Lotte Maja Marta Milan Mira Nadia Nils Noor Olga Omar Otto Paul Petra Rosa Sara Tariq Tom"""
    ),
    "fresh": words("Abel Bruno Clara Diego Edda Finn Gita Henk Iris Joel Kira Luca Mona Nora Oskar Pia"),
}
CITIES = {
    "taught": words(
        """Aachen Basel Bergen Bilbao Bonn Breda Cadiz Como Cork Delft Derby Dover Essen Evora Faro Genoa Ghent Graz
        Halle Hull Kiel Leeds Leon Liege Lille Linz Lucca Lund Luton Lyon Malmo Metz Milan Nantes Oslo Parma Pisa
        Porto Riga Rome Siena Split Turin Turku Vigo Wells York Zadar"""
    ),
    "fresh": words("Arles Bari Brno Calais Dijon Exeter Gijon Lugo Minsk Murcia Namur Odense Poole Reims Trier Ulm"),
}
ITEMS = {
    "taught": words(
        """bags balls bikes boats books bottles boxes brushes cakes cards chairs clocks coats cups desks dolls doors
        drums flags forks glasses gloves hats jackets kites knives lamps letters locks maps mirrors mugs pans papers
        pencils pens pictures pillows plants plates pots rings rugs scarves shirts shoes spoons stamps tables tents"""
    ),
    "fresh": words("apples baskets belts candles carpets eggs kettles ladders lemons masks nails parcels ropes towels"),
}

for values in (NAMES, CITIES, ITEMS):
    values["fresh"] += values["taught"]

# ---------------------------------------------------------------- e-mails with an order

EMAILS: dict[str, dict[str, list[str]]] = {
    "plain": {
        "taught": [
            "please send {quantity} {item} to {city}",
            "{quantity} {item} for our shop in {city}, thank you",
            "we need {quantity} {item} in {city}",
            "could you ship {quantity} {item} to {city}?",
        ],
        "fresh": [
            "may we have {quantity} {item} sent to {city} today?",
            "hello, {quantity} {item} to {city} please",
        ],
    },
    "turned": {
        "taught": [
            "our shop in {city} needs {item}, {quantity} of them",
            "for {city} please: {item}, {quantity} pieces",
            "send to {city} as many as {quantity} {item}",
            "{city} is out of {item}, we order {quantity}",
        ],
        "fresh": [
            "the {city} shop asks for {item}, {quantity} pieces please",
            "in {city} they are out of {item}: please ship {quantity}",
        ],
    },
    "numbers": {
        "taught": [
            "order {number}: {quantity} {item} to {city}",
            "this is customer {number}, please send {quantity} {item} to {city}",
            "{quantity} {item} to {city} before day {number}",
            "we paid {number} dollars for {quantity} {item} to {city}",
        ],
        "fresh": [
            "for customer {number}: ship {quantity} {item} to {city}",
            "we need {quantity} {item} in {city} before day {number}, please",
        ],
    },
    "changes": {
        "taught": [
            "not the {other} but {quantity} {item} to {city}",
            "instead of {other} send {quantity} {item} to {city}",
            "{quantity} {item} to {city}, and no {other} this time",
            "cancel the {other}, we need {quantity} {item} in {city}",
        ],
        "fresh": [
            "please ship {quantity} {item} to {city} instead of the {other}",
            "no {other} this time: send {quantity} {item} to {city}",
        ],
    },
}
NAMED_FIELDS = [
    "item: {item}, quantity: {quantity}, city: {city}",
    "the city is {city}, the item is {item}, the quantity is {quantity}",
    "quantity {quantity}, item {item}, city {city}",
]


def email(rng: random.Random, wording: str) -> Row:
    """Return an e-mail that orders something, in one of four kinds, and the order."""
    kind = rng.choice(list(EMAILS))
    return fill_email(rng, kind, wording, rng.choice(EMAILS[kind][wording]))


def named_fields(rng: random.Random, wording: str) -> Row:
    """Return an e-mail that says which field is which: the plainest kind."""
    return fill_email(rng, "named", wording, rng.choice(NAMED_FIELDS))


def fill_email(rng: random.Random, kind: str, wording: str, template: str) -> Row:
    """Put an order and what may confuse with it into a template."""
    item, other = rng.sample(ITEMS[wording], 2)
    order = {"item": item, "quantity": rng.randint(2, 99), "city": rng.choice(CITIES[wording])}
    return {
        "email": template.format(**order, other=other, number=rng.randint(100, 999)),
        "order": order,
        "kind": kind,
        "wording": wording,
    }


# ---------------------------------------------------------------- word problems

PROBLEMS: dict[str, dict[str, list[str]]] = {
    "more": {
        "taught": [
            "{name} has {a} {item} and gets {b} more. how many {item} has {name}?",
            "there are {a} {item}. {name} brings {b} more. how many are there?",
            "{name} made {a} {item} and {friend} made {b}. how many in all?",
        ],
        "fresh": [
            "{name} gets {a} {item} and {friend} brings {b} more. how many in all?",
            "there are {a} {item} and {name} made {b} more. how many are there?",
        ],
    },
    "fewer": {
        "taught": [
            "{name} has {a} {item} and gives away {b}. how many {item} are left?",
            "there were {a} {item}. {name} sold {b}. how many are left?",
            "{name} had {a} {item} and lost {b}. how many {item} has {name}?",
        ],
        "fresh": [
            "{name} had {a} {item} and sold {b}. how many {item} are left?",
            "there were {a} {item}. {name} gives away {b}. how many are left?",
        ],
    },
    "times": {
        "taught": [
            "{name} has {a} bags with {b} {item} each. how many {item}?",
            "there are {a} boxes of {b} {item}. how many {item} in all?",
            "{name} buys {b} {item} a day for {a} days. how many {item}?",
        ],
        "fresh": [
            "{name} has {a} boxes with {b} {item} each. how many in all?",
            "there are {a} bags of {b} {item}. how many {item}?",
        ],
    },
    "compare": {
        "taught": [
            "{name} has {a} {item} and {friend} has {b}. how many more has {name}?",
            "{friend} has {b} {item}, {name} has {a}. how many fewer has {friend}?",
            "{name} sold {a} {item} and {friend} sold {b}. what is the difference?",
        ],
        "fresh": [
            "{name} sold {a} {item} and {friend} sold {b}. how many more sold {name}?",
            "{friend} has {b} {item}, {name} has {a}. what is the difference?",
        ],
    },
}
PLAIN_SUMS = {"more": "plus", "fewer": "minus", "times": "times"}
PLAIN_WORDINGS = ["what is {a} {sign} {b}?", "{a} {sign} {b}?", "compute {a} {sign} {b}", "how many is {a} {sign} {b}?"]


def problem(rng: random.Random, wording: str) -> Row:
    """Return a small word problem of one of four kinds."""
    kind = rng.choice(list(PROBLEMS))
    name, friend = rng.sample(NAMES[wording], 2)
    item = rng.choice(ITEMS[wording])
    return fill_problem(rng, kind, wording, rng.choice(PROBLEMS[kind][wording]), name=name, friend=friend, item=item)


def plain_sum(rng: random.Random, wording: str) -> Row:
    """Return a bare sum: the plainest kind, which the student can do before any lesson."""
    kind = rng.choice(list(PLAIN_SUMS))
    row = fill_problem(rng, kind, wording, rng.choice(PLAIN_WORDINGS), sign=PLAIN_SUMS[kind])
    return {**row, "kind": "plain"}


def fill_problem(rng: random.Random, kind: str, wording: str, template: str, **said: str) -> Row:
    """Put two numbers into a template and work out the answer; `a` and `b` let the taxonomy see what went wrong."""
    a, b = (rng.randint(2, 5), rng.randint(2, 5)) if kind == "times" else (rng.randint(1, 9), rng.randint(1, 9))
    if kind in ("fewer", "compare"):
        a, b = max(a, b), min(a, b)
    answer = {"more": a + b, "fewer": a - b, "times": a * b, "compare": a - b}[kind]
    question = template.format(a=a, b=b, **said)
    return {"question": question, "answer": answer, "a": a, "b": b, "kind": kind, "wording": wording}


# ---------------------------------------------------------------- what a customer wants

AREAS = {
    "delivery": ["track_order", "late_parcel", "change_address"],
    "money": ["refund", "invoice", "payment_failed"],
    "account": ["reset_password", "change_email", "close_account"],
}
INTENTS: dict[str, dict[str, list[str]]] = {
    "track_order": {
        "taught": ["where is my order of {item}", "when will the {item} be here", "which day do my {item} come"],
        "fresh": ["where are my {item} and when will they come"],
    },
    "late_parcel": {
        "taught": ["my {item} should be here by now", "the {item} are late", "still no {item} after two weeks"],
        "fresh": ["two weeks and the {item} are still not here"],
    },
    "change_address": {
        "taught": [
            "send my {item} to another street",
            "my {item} go to an old address",
            "we moved, where do {item} go",
        ],
        "fresh": ["we moved to another street, send the {item} there"],
    },
    "refund": {
        "taught": [
            "I want my money back for the {item}",
            "the {item} are broken, pay me back",
            "return {item} for cash",
        ],
        "fresh": ["the {item} are broken and I want my money"],
    },
    "invoice": {
        "taught": ["I need a bill for my {item}", "send the receipt of the {item}", "a paper with the price of {item}"],
        "fresh": ["please send a bill with the price of my {item}"],
    },
    "payment_failed": {
        "taught": ["my card did not work for the {item}", "I can not pay for {item}", "an error when I pay the {item}"],
        "fresh": ["I can not pay, my card did not work with the {item}"],
    },
    "reset_password": {
        "taught": [
            "I forgot my password, no {item} for me",
            "can not sign in to buy {item}",
            "new password to order {item}",
        ],
        "fresh": ["I forgot how to sign in and need a new password for {item}"],
    },
    "change_email": {
        "taught": [
            "mail about {item} goes to my old mail",
            "use my new mail for {item}",
            "my mail changed, I buy {item}",
        ],
        "fresh": ["my old mail changed, use the new one for {item}"],
    },
    "close_account": {
        "taught": [
            "delete my account, I buy no {item}",
            "close my account with the {item}",
            "no more {item}, remove me",
        ],
        "fresh": ["remove my account, I want no more {item}"],
    },
}
OPENERS = ["", "", "hi, ", "hello, ", "good day, ", "please help: ", "sorry, ", "one more thing: "]
CLOSERS = ["", "", "?", "!", ", please", ", thank you", " today", ", what now?"]


def message(rng: random.Random, wording: str) -> Row:
    """Return a customer's message, its intent, and the area that the intent belongs to."""
    intent = rng.choice(list(INTENTS))
    said = rng.choice(INTENTS[intent][wording]).format(item=rng.choice(ITEMS["taught"]))
    return labelled(rng.choice(OPENERS) + said + rng.choice(CLOSERS), intent, wording)


def named_intent(rng: random.Random, wording: str) -> Row:
    """Return a message that says its intent in the label's own words: the plainest kind."""
    intent = rng.choice(list(INTENTS))
    said = f"{intent.replace('_', ' ')} for {rng.choice(ITEMS['taught'])}"
    return labelled(rng.choice(OPENERS) + said, intent, wording)


def labelled(text: str, intent: str, wording: str) -> Row:
    """Return a message as a row."""
    area = next(area for area, intents in AREAS.items() if intent in intents)
    return {"message": text, "intent": intent, "area": area, "wording": wording}


# ---------------------------------------------------------------- files

Maker = Callable[[random.Random, str], Row]
TEMPLATES: dict[str, tuple[str, Maker, Maker]] = {
    "emails": ("email", email, named_fields),
    "arithmetic": ("question", problem, plain_sum),
    "intents": ("message", message, named_intent),
}


def draw(makers: Iterator[Callable[[], Row]], column: str, size: int, taken: set[str]) -> Iterator[Row]:
    """Draw rows whose question nobody has asked yet, whatever its case and signs."""
    for make in islice(makers, size):
        row = make()
        while normalised(row[column]) in taken:
            row = make()
        taken.add(normalised(row[column]))
        yield row


def makers_of(template: str, file: str, rng: random.Random) -> Iterator[Callable[[], Row]]:
    """What makes the rows of a file, one after the other."""
    _, make, make_plain = TEMPLATES[template]
    for place in count():
        is_fresh = file == "holdout" and place % FRESH_EVERY == 0
        often = PLAIN_EVERY.get(template) if file != "holdout" else None
        is_plain = file in PLAIN_FILES or (often is not None and place % often == 0)
        yield partial(make_plain if is_plain else make, rng, "fresh" if is_fresh else "taught")


def sizes_of(template: str) -> dict[str, int]:
    """How many rows each file of a template has."""
    return SIZES | {"sums": 300} if template == "arithmetic" else SIZES


def write_rows(template: str, out: Path) -> None:
    """Write the files of a template."""
    column, _, _ = TEMPLATES[template]
    rng = random.Random(f"{SEED}/{template}")
    taken: set[str] = set()
    (out / template / "rows").mkdir(parents=True, exist_ok=True)
    for name, size in sizes_of(template).items():
        rows = list(draw(makers_of(template, name, rng), column, size, taken))
        rng.shuffle(rows)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (out / template / "rows" / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Write the rows of the named templates, or of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("templates", nargs="*", metavar="TEMPLATE", help=", ".join(TEMPLATES))
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    options = parser.parse_args()
    if unknown := set(options.templates) - set(TEMPLATES):
        parser.error(f"no such template: {', '.join(sorted(unknown))}; there are {', '.join(TEMPLATES)}")
    for template in options.templates or TEMPLATES:
        write_rows(template, options.out)


if __name__ == "__main__":
    main()
