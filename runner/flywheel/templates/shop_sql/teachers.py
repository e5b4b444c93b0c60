"""Two simulated teachers of the shop-sql domain: `terse` and `chatty`.

They stand in for language models, so that the wheel turns without a network or a key. Each writes questions in
its own words about the kinds of question that the student fails at, and each is wrong at the rate that
`options["error_rate"]` declares: syntax errors, unknown columns, wrong aggregates, dropped or changed filters,
and now and then no JSON at all. All randomness comes from the request's seed and the teacher's name, so their
errors are independent and every call can be repeated.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

Facts = dict[str, str]
Request = Mapping[str, Any]


class Table(NamedTuple):
    """What a teacher knows of a table: its label column, its categories with values, and its number columns."""

    label: str
    labels: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    numbers: dict[str, int]  # column: the largest value that a question mentions

    @property
    def columns(self) -> list[str]:
        """All columns that a question may name."""
        return [self.label, *self.groups, *self.numbers]

    def values(self, column: str) -> tuple[str, ...]:
        """Return the values that a question may mention for a text column."""
        return self.labels if column == self.label else self.groups[column]


def words(text: str) -> tuple[str, ...]:
    """Split a line of single-word values."""
    return tuple(text.split())


SHOP = {
    "customers": Table(
        "name",
        words("Anna Bruno Carla David Elena Felix Greta Hugo Irene Jonas Karin Lucas Marta Nils Olga Pablo"),
        {
            "city": words("Lisbon Madrid Vienna Dublin Prague Athens Turin Geneva"),
            "plan": words("basic silver gold student"),
            "language": words("english spanish german greek"),
        },
        {"age": 80, "points": 900, "visits": 90},
    ),
    "products": Table(
        "name",
        words("kettle lamp chair desk mirror carpet blender toaster pillow blanket shelf bottle mug clock fan vase"),
        {
            "category": words("kitchen garden office bedroom sport"),
            "brand": words("Norda Velmo Kastor Pinta Rubix"),
            "color": words("red blue green white black"),
        },
        {"price": 400, "stock": 300, "weight": 60},
    ),
    "orders": Table(
        "code",
        words("A105 A110 A115 A120 A125 B205 B210 B215 B220 B225 C305 C310 C315 C320 C325 C330"),
        {
            "status": words("paid shipped delivered open"),
            "channel": words("web phone store app"),
            "payment": words("card cash voucher transfer"),
        },
        {"quantity": 90, "amount": 900, "discount": 50},
    ),
    "suppliers": Table(
        "name",
        words("Alfasoft Brightco Cargonet Deltaline Eurotex Fabrika Globex Handelum"),
        {"country": words("Spain Greece Norway France Poland"), "size": words("small medium large")},
        {"rating": 90, "delay": 60},
    ),
}

# ---------------------------------------------------------------- forms: the SQL of each kind of question

FORMS = {
    "list": "SELECT {column} FROM {table}",
    "count": "SELECT COUNT(*) FROM {table}",
    "filter": "SELECT {column} FROM {table} WHERE {key} = {value}",
    "distinct": "SELECT DISTINCT {group} FROM {table}",
    "count_where": "SELECT COUNT(*) FROM {table} WHERE {key} = {value}",
    "aggregate": "SELECT {function}({number}) FROM {table}",
    "aggregate_where": "SELECT {function}({number}) FROM {table} WHERE {key} = {value}",
    "compare": "SELECT {column} FROM {table} WHERE {number} {sign} {limit}",
    "two_filters": "SELECT {column} FROM {table} WHERE {key} = {value} AND {number} {sign} {limit}",
    "sorted": "SELECT {column} FROM {table} ORDER BY {number} {direction}",
    "top": "SELECT {column} FROM {table} ORDER BY {number} {direction} LIMIT {n}",
    "group_count": "SELECT {group}, COUNT(*) FROM {table} GROUP BY {group}",
    "group_aggregate": "SELECT {group}, {function}({number}) FROM {table} GROUP BY {group}",
    "join": "SELECT {function}({number}) FROM orders JOIN {parent} ON {parent}.id = {parent_id} WHERE {key} = {value}",
}
PARENTS = {"customers": "customer_id", "products": "product_id"}

# Words for the parts of a query that are not copied from the question.
LEXICON = {
    "function": {
        "AVG": ["average", "mean"],
        "MAX": ["highest", "maximum"],
        "MIN": ["lowest", "minimum"],
        "SUM": ["total", "sum of"],
    },
    "sign": {">": ["over", "above", "more than"], "<": ["under", "below", "less than"]},
    "direction": {"DESC": ["highest", "largest"], "ASC": ["lowest", "smallest"]},
}

WORDINGS: dict[str, dict[str, list[str]]] = {
    "terse": {
        "list": ["all {column} of {table}", "{table}: {column}", "list {table} {column}"],
        "count": ["count of {table}", "{table} count", "how many {table}"],
        "filter": [
            "{column} of {table}, {key} {value}",
            "{table} {key} {value}: {column}",
            "list {column}, {table} with {key} {value}",
        ],
        "distinct": ["unique {group} of {table}", "{table}: distinct {group}", "different {group}, {table}"],
        "count_where": [
            "count of {table}, {key} {value}",
            "{table} count, {key} {value}",
            "how many {table} with {key} {value}",
        ],
        "aggregate": [
            "{function} {number} of {table}",
            "{table}: {function} {number}",
            "{function} {number}, all {table}",
        ],
        "aggregate_where": [
            "{function} {number} of {table}, {key} {value}",
            "{table} {key} {value}: {function} {number}",
            "{function} {number}, {table} with {key} {value}",
        ],
        "compare": [
            "{column} of {table}, {number} {sign} {limit}",
            "{table} {number} {sign} {limit}: {column}",
            "list {column}, {table} with {number} {sign} {limit}",
        ],
        "two_filters": [
            "{column} of {table}, {key} {value}, {number} {sign} {limit}",
            "{table} {key} {value} and {number} {sign} {limit}: {column}",
            "list {column}, {table} with {number} {sign} {limit} and {key} {value}",
        ],
        "sorted": [
            "{column} of {table} by {number}, {direction} first",
            "{table} {column}, {direction} {number} first",
            "sort {table} by {direction} {number}: {column}",
        ],
        "top": [
            "{n} {table} of {direction} {number}: {column}",
            "{column} of {n} {table}, {direction} {number}",
            "top {n} {table} by {direction} {number}, {column}",
        ],
        "group_count": ["count of {table} per {group}", "{table} count by {group}", "{table} per {group}"],
        "group_aggregate": [
            "{function} {number} of {table} per {group}",
            "{table}: {function} {number} by {group}",
            "{function} {number} per {group}, {table}",
        ],
        "join": [
            "{function} {number} of orders, {parent} {key} {value}",
            "orders of {parent} {key} {value}: {function} {number}",
            "{function} order {number} for {parent} with {key} {value}",
        ],
    },
    "chatty": {
        "list": [
            "could you show me the {column} of all the {table}?",
            "please list every {column} we have in {table}",
            "what is the {column} of each of the {table}?",
        ],
        "count": [
            "could you count all the {table} for me?",
            "how many {table} are there in the shop?",
            "please tell me the number of {table}",
        ],
        "filter": [
            "could you show me the {column} of the {table} whose {key} is {value}?",
            "what is the {column} for {table} with {value} as {key}?",
            "please list the {column} of all {table} where the {key} is {value}",
        ],
        "distinct": [
            "could you list each different {group} of the {table}?",
            "which distinct {group} values do our {table} have?",
            "please show every {group} in {table} only once",
        ],
        "count_where": [
            "could you count the {table} whose {key} is {value}?",
            "how many of the {table} have {value} as {key}?",
            "please tell me the number of {table} where the {key} is {value}",
        ],
        "aggregate": [
            "could you tell me the {function} {number} of all the {table}?",
            "what is the {function} {number} in {table}?",
            "please compute the {function} {number} over our {table}",
        ],
        "aggregate_where": [
            "could you tell me the {function} {number} of the {table} whose {key} is {value}?",
            "what is the {function} {number} for {table} with {value} as {key}?",
            "please compute the {function} {number} over {table} where the {key} is {value}",
        ],
        "compare": [
            "could you show me the {column} of the {table} whose {number} is {sign} {limit}?",
            "which {column} do {table} with a {number} {sign} {limit} have?",
            "please list the {column} of all {table} where the {number} is {sign} {limit}",
        ],
        "two_filters": [
            "could you show me the {column} of the {table} whose {key} is {value} and {number} is {sign} {limit}?",
            "what is the {column} for {table} with {value} as {key} and a {number} {sign} {limit}?",
            "please list the {column} of {table} where the {number} is {sign} {limit} and the {key} is {value}",
        ],
        "sorted": [
            "could you sort the {table} by {number}, {direction} first, and show the {column}?",
            "please list the {column} of all {table} starting from the {direction} {number}",
            "what is the {column} of our {table} in order of {number}, the {direction} first?",
        ],
        "top": [
            "could you show me the {column} of the {n} {table} with the {direction} {number}?",
            "which {n} {table} have the {direction} {number}? give the {column}",
            "please list the {column} of the {n} {table} that have the {direction} {number}",
        ],
        "group_count": [
            "could you count the {table} for each {group}?",
            "how many {table} are there for every {group}?",
            "please tell me the number of {table} in each {group}",
        ],
        "group_aggregate": [
            "could you tell me the {function} {number} of the {table} for each {group}?",
            "what is the {function} {number} of {table} for every {group}?",
            "please compute the {function} {number} over {table} in each {group}",
        ],
        "join": [
            "could you tell me the {function} {number} of the orders from {parent} whose {key} is {value}?",
            "what is the {function} {number} of orders for {parent} with {value} as {key}?",
            "please compute the {function} {number} over the orders of {parent} where the {key} is {value}",
        ],
    },
}

# ---------------------------------------------------------------- from facts to words and SQL


def draw_facts(kind: str, shop: Mapping[str, Table], rng: random.Random) -> Facts:
    """Choose a table, columns and values that make a sensible question of this kind."""
    parent = rng.choice([name for name in PARENTS if name in shop]) if kind == "join" else ""
    name = "orders" if kind == "join" else rng.choice(list(shop))
    table, keyed = shop[name], shop[parent or name]
    one_of_many = kind in ("aggregate_where", "join")  # to aggregate over one label would say little
    key = rng.choice([*keyed.groups] if one_of_many else [keyed.label, *keyed.groups, *keyed.groups])
    number = rng.choice(list(table.numbers))
    return {
        "table": name,
        "parent": parent,
        "key": key,
        "value": rng.choice(keyed.values(key)),
        "column": rng.choice([column for column in table.columns if column not in (key, number)]),
        "group": rng.choice(list(table.groups)),
        "number": number,
        "limit": str(rng.randrange(5, table.numbers[number] + 1, 5)),
        "n": str(rng.randint(2, 6)),
        **{part: rng.choice(list(meanings)) for part, meanings in LEXICON.items()},
    }


def put_in_words(wording: str, facts: Facts, lexicon: Mapping[str, dict[str, list[str]]], rng: random.Random) -> str:
    """Fill a wording with facts, saying functions, signs and directions in words."""
    said = {part: rng.choice(meanings[facts[part]]) for part, meanings in lexicon.items()}
    return wording.format(**{**facts, **said})


def to_sql(kind: str, facts: Facts) -> str:
    """Return the query that the facts ask for."""
    literal = f"'{facts['value']}'" if "value" in facts else ""
    return FORMS[kind].format(**{**facts, "value": literal, "parent_id": PARENTS.get(facts.get("parent", ""))})


def write_row(kind: str, style: str, rng: random.Random) -> dict[str, str]:
    """Write a question of this kind in this style, with its right query."""
    facts = draw_facts(kind, SHOP, rng)
    wording = rng.choice(WORDINGS[style][kind])
    return {"question": put_in_words(wording, facts, LEXICON, rng), "sql": to_sql(kind, facts)}


# ---------------------------------------------------------------- from words to SQL


@cache
def patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Return every wording of both teachers as (kind, regular expression)."""
    return [(kind, as_pattern(wording)) for style in WORDINGS.values() for kind in style for wording in style[kind]]


def as_pattern(wording: str) -> re.Pattern[str]:
    """Turn a wording into a regular expression with a named group for each slot."""
    pieces = re.split(r"\{(\w+)\}", wording)
    slots = {part: "|".join(say for says in meanings.values() for say in says) for part, meanings in LEXICON.items()}
    slots |= {"table": "|".join(SHOP), "parent": "|".join(PARENTS), "limit": r"\d+", "n": r"\d+"}
    return re.compile(
        "".join(
            f"(?P<{piece}>{slots.get(piece, r'[a-zA-Z0-9]+')})" if place % 2 else re.escape(piece)
            for place, piece in enumerate(pieces)
        )
    )


def understand(question: str) -> tuple[str, Facts] | None:
    """Return the kind and the facts of a question in any of the teachers' own wordings."""
    for kind, pattern in patterns():
        match = pattern.fullmatch(question)
        if match and fits(facts := match.groupdict()):
            return kind, {**facts, **{part: meaning(part, facts[part]) for part in LEXICON if part in facts}}
    return None


def fits(facts: Facts) -> bool:
    """Whether the columns that a reading of a question names belong to its table."""
    table = SHOP[facts.get("table", "orders")]
    keyed = SHOP[facts["parent"]] if "parent" in facts else table
    allowed = {
        "column": table.columns,
        "number": list(table.numbers),
        "group": list(table.groups),
        "key": [keyed.label, *keyed.groups],
    }
    return all(facts[slot] in columns for slot, columns in allowed.items() if slot in facts)


def meaning(part: str, said: str) -> str:
    """Return the SQL word that a word of the lexicon stands for."""
    return next(sql for sql, says in LEXICON[part].items() if said in says)


# ---------------------------------------------------------------- realistic mistakes


def break_syntax(sql: str, rng: random.Random) -> str:
    """Leave out a word that the query cannot do without."""
    keyword = rng.choice([word for word in ("FROM ", "BY ", "SELECT ") if word in sql])
    return sql.replace(keyword, "", 1)


def invent_column(sql: str, rng: random.Random) -> str:
    """Select a column that no table has."""
    invented = rng.choice(["item", "total_value", "label"])
    return re.sub(r"^SELECT (?:DISTINCT )?\w+(?:\([*\w]+\))?", f"SELECT {invented}", sql)


def swap_aggregate(sql: str, rng: random.Random) -> str:
    """Compute something else than what was asked."""
    found = re.search(r"AVG|MAX|MIN|SUM", sql)
    if not found:
        return re.sub(r"^SELECT (.+?) FROM", "SELECT COUNT(*) FROM", sql)
    others = [function for function in LEXICON["function"] if function != found[0]]
    return sql.replace(found[0], rng.choice(others), 1)


def drop_filter(sql: str, _: random.Random) -> str:
    """Forget the last condition."""
    return re.sub(r" (?:WHERE|AND) (?:(?!WHERE|AND).)+$", "", sql)


def change_value(sql: str, rng: random.Random) -> str:
    """Ask about another value than the question does."""
    if "'" in sql:
        return re.sub(r"'\w+'", f"'{rng.choice(['other', 'none', 'Paris'])}'", sql, count=1)
    return re.sub(r"\d+$", lambda digits: str(int(digits[0]) + rng.randint(1, 9)), sql)


MISTAKES: list[Callable[[str, random.Random], str]] = [
    break_syntax,
    invent_column,
    swap_aggregate,
    drop_filter,
    change_value,
]


def spoil(sql: str, rng: random.Random) -> str:
    """Return the query with one mistake in it."""
    spoilt = sql
    while spoilt == sql:
        spoilt = rng.choice(MISTAKES)(sql, rng)
    return spoilt


# ---------------------------------------------------------------- the teachers


def kinds_to_teach(failures: Sequence[Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the kinds of the failed questions, or of the seeds, as often as they occur."""
    rows = [failure["row"] for failure in failures] or list(seeds)
    kinds = [row.get("kind") or (understand(row["question"]) or (None,))[0] for row in rows]
    return [kind for kind in kinds if kind in FORMS] or list(FORMS)


def reply(name: str, request: Request) -> str:
    """Do what a request asks, in the manner of the teacher of this name."""
    rng = random.Random(f"{name}:{request['seed']}")
    error_rate = float(request["options"].get("error_rate", 0.0))

    def maybe_spoil(sql: str) -> str:
        return spoil(sql, rng) if rng.random() < error_rate else sql

    if request["purpose"] == "answer":
        understood = understand(request["row"]["question"])
        return maybe_spoil(to_sql(*understood)) if understood else "I do not understand the question."
    if rng.random() < error_rate / 5:
        return "I am sorry, but I am not able to help with this request."
    kinds = kinds_to_teach(request["failures"], request["seeds"])
    rows = [write_row(rng.choice(kinds), name, rng) for _ in range(request["n"])]
    return json.dumps([{**row, "sql": maybe_spoil(row["sql"])} for row in rows], indent=1)


def terse(request: Request) -> str:
    """Teach in as few words as possible."""
    return reply("terse", request)


def chatty(request: Request) -> str:
    """Teach in full and friendly sentences."""
    return f"Here you are:\n\n{text}" if (text := reply("chatty", request)).startswith("[") else text
