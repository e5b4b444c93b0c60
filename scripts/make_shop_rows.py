"""Write the rows of the default domain, shop-sql: the shop's database and its seeds, probes, holdout and basics.

    python scripts/make_shop_rows.py [--out DIR]

Two thirds of the probes and of the holdout are asked in wordings that the simulated teachers use too
(`wording: seen`). The rest (`wording: unseen`) have wordings *and* values that no teacher ever produces. The basics are
the simple questions that the base student was pretrained to answer, asked of this shop; some of their kind are among
the seeds. No question is in two files.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, islice
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tiny_skills import phrase_condition, phrase_count, phrase_list  # noqa: E402

from teachers import LEXICON, SHOP, WORDINGS, Facts, Table, draw_facts, put_in_words, to_sql, words  # noqa: E402

Row = dict[str, str]
Shop = Mapping[str, Table]

# ---------------------------------------------------------------- what no teacher knows

UNSEEN_VALUES = {
    "customers": {
        "name": words("Zora Quentin Yvette Tomas Ulrike Viktor Wanda Xavier"),
        "city": words("Krakow Bergen Porto Ghent"),
        "plan": words("platinum family"),
        "language": words("finnish dutch"),
    },
    "products": {
        "name": words("teapot ladder hammock bucket tripod candle drill sofa"),
        "category": words("camping bathroom music"),
        "brand": words("Zentra Oxlade Yarrow"),
        "color": words("purple orange grey"),
    },
    "orders": {
        "code": words("D407 D411 D418 D423 E506 E512 E517 E524"),
        "status": words("returned cancelled"),
        "channel": words("fair catalog"),
        "payment": words("invoice crypto"),
    },
    "suppliers": {
        "name": words("Quickparts Zincworks Umbraco Yellowstone"),
        "country": words("Iceland Japan Chile"),
        "size": words("tiny giant"),
    },
}
UNSEEN_WORDINGS = {
    "list": [
        "for all the {table}, their {column}",
        "display {column} for each one of the {table}",
        "let me have all {table} with their {column}",
    ],
    "count": ["what is the count of our {table}?", "tell me how many {table} you have", "{table}, how many?"],
    "filter": [
        "tell me the {column} of those {table} that have {key} {value}",
        "we need the {column} of {table} with the {key} {value}",
        "which {column} belongs to {table} of {key} {value}?",
    ],
    "distinct": [
        "what are the different {group} values of {table}?",
        "the distinct {group} that occur in {table}",
        "show unique {group} across our {table}",
    ],
    "count_where": [
        "what is the count of {table} that have {key} {value}?",
        "how many {table} are there with the {key} {value}?",
        "tell me the number of {table} with {value} as their {key}",
    ],
    "aggregate": [
        "i need the {function} {number} across all {table}",
        "for our {table}, what is the {function} {number}?",
        "show the {function} {number} that {table} have",
    ],
    "aggregate_where": [
        "i need the {function} {number} of those {table} with {key} {value}",
        "for {table} of {key} {value}, what is the {function} {number}?",
        "show the {function} {number} that {table} with {value} as {key} have",
    ],
    "compare": [
        "tell me the {column} of those {table} with {number} {sign} {limit}",
        "for {table} with a {number} {sign} {limit}, show the {column}",
        "which {table} have {number} {sign} {limit}? their {column} please",
    ],
    "two_filters": [
        "tell me the {column} of those {table} with {key} {value} and {number} {sign} {limit}",
        "for {table} with {value} as {key} and a {number} {sign} {limit}, show the {column}",
        "which {table} with the {key} {value} have {number} {sign} {limit}? their {column} please",
    ],
    "sorted": [
        "show the {column} of {table} ordered by {number}, {direction} first",
        "the {column} of all {table}, from the {direction} {number} on",
        "put {table} in order, {direction} {number} first, and give the {column}",
    ],
    "top": [
        "give the {column} of the {n} {table} whose {number} is {direction}",
        "among {table}, the {n} with the {direction} {number}: their {column}",
        "i want {n} {table} with {direction} {number}, show the {column}",
    ],
    "group_count": [
        "for each {group}, how many {table}?",
        "show the number of {table} by {group}",
        "in every {group}, count the {table}",
    ],
    "group_aggregate": [
        "for each {group}, the {function} {number} of {table}",
        "show {function} {number} of our {table} by {group}",
        "in every {group}, what {table} have as {function} {number}",
    ],
    "join": [
        "i need the {function} {number} of orders by {parent} with {key} {value}",
        "for {parent} of {key} {value}, what is the {function} {number} of their orders?",
        "show the {function} {number} that orders of {parent} with {value} as {key} have",
    ],
}

# ---------------------------------------------------------------- how many rows of what

SHARES = {
    "list": 9,
    "count": 2,
    "filter": 16,
    "distinct": 6,
    "count_where": 8,
    "aggregate": 8,
    "aggregate_where": 8,
    "compare": 8,
    "two_filters": 8,
    "sorted": 6,
    "top": 7,
    "group_count": 6,
    "group_aggregate": 7,
    "join": 7,
}
BASIC_SHARES = {"list": 5, "count": 1, "filter": 3, "count_where": 1}
SIZES = {"seeds": 192, "probes": 250, "holdout": 400, "basics": 300}
UNSEEN_SHARE = 0.34
SEEN_SEEDS = 42  # three of each kind; the other seeds are basics, so that training keeps what the student knew


def unseen_shop() -> dict[str, Table]:
    """Return every table with the values that no teacher knows."""
    return {
        name: table._replace(
            labels=UNSEEN_VALUES[name][table.label],
            groups={group: UNSEEN_VALUES[name][group] for group in table.groups},
        )
        for name, table in SHOP.items()
    }


def whole_shop() -> dict[str, Table]:
    """Return every table with all of its values."""
    return {
        name: table._replace(
            labels=table.labels + UNSEEN_VALUES[name][table.label],
            groups={group: values + UNSEEN_VALUES[name][group] for group, values in table.groups.items()},
        )
        for name, table in SHOP.items()
    }


# ---------------------------------------------------------------- rows


def seen_row(kind: str, rng: random.Random) -> Row:
    """Ask about what the teachers know, in their words."""
    wording = rng.choice(WORDINGS["terse"][kind] + WORDINGS["chatty"][kind])
    return as_row(kind, wording, draw_facts(kind, SHOP, rng), "seen", rng)


def unseen_row(kind: str, rng: random.Random) -> Row:
    """Ask in other words, and about other values where a question holds any."""
    wording = rng.choice(UNSEEN_WORDINGS[kind])
    facts = draw_facts(kind, unseen_shop(), rng)
    facts["limit"] = str(int(facts["limit"]) + rng.randint(1, 4))  # teachers mention multiples of five
    facts["n"] = str(rng.randint(7, 9))
    return as_row(kind, wording, facts, "unseen", rng)


def basic_row(kind: str, rng: random.Random) -> Row:
    """Ask a simple question in the words of the student's pretraining, which no teacher uses."""
    wording = phrase_count(rng) if kind.startswith("count") else phrase_list(rng)
    if kind in ("filter", "count_where"):
        wording = phrase_condition(rng, wording)
    if "size of" in wording:  # to the student it means "how many", but suppliers have a column of that name
        return basic_row(kind, rng)
    return as_row(kind, " ".join(wording.split()), draw_facts(kind, SHOP, rng), "unseen", rng)


def as_row(kind: str, wording: str, facts: Facts, seen: str, rng: random.Random) -> Row:
    """Return the row for a wording and its facts."""
    question = put_in_words(wording, facts, LEXICON, rng)
    return {"question": question, "sql": to_sql(kind, facts), "wording": seen, "kind": kind}


def normalised(question: str) -> str:
    """Return a question without case, punctuation and spacing."""
    return " ".join(re.findall(r"\w+", question.lower()))


def fresh_rows(
    make: Callable[[str, random.Random], Row],
    shares: Mapping[str, int],
    count: int,
    taken: set[str],
    rng: random.Random,
) -> Iterator[Row]:
    """Yield `count` rows over the kinds by their shares, none asking what was asked before."""
    kinds = [kind for kind, share in shares.items() for _ in range(share)]
    rng.shuffle(kinds)
    for kind in islice(cycle(kinds), count):
        row = make(kind, rng)
        while normalised(row["question"]) in taken:
            row = make(kind, rng)
        taken.add(normalised(row["question"]))
        yield row


def make_files(seed: int) -> dict[str, list[Row]]:
    """Return the rows of each file."""
    rng = random.Random(seed)
    taken: set[str] = set()
    files: dict[str, list[Row]] = {}
    for name in ("holdout", "probes"):
        unseen = round(SIZES[name] * UNSEEN_SHARE)
        rows = [
            *fresh_rows(unseen_row, SHARES, unseen, taken, rng),
            *fresh_rows(seen_row, SHARES, SIZES[name] - unseen, taken, rng),
        ]
        files[name] = sorted(rows, key=lambda _: rng.random())
    files["basics"] = list(fresh_rows(basic_row, BASIC_SHARES, SIZES["basics"], taken, rng))
    files["seeds"] = [
        *fresh_rows(seen_row, dict.fromkeys(SHARES, 1), SEEN_SEEDS, taken, rng),
        *fresh_rows(basic_row, BASIC_SHARES, SIZES["seeds"] - SEEN_SEEDS, taken, rng),
    ]
    return files


# ---------------------------------------------------------------- the database


def table_sql(name: str, table: Table, parents: Mapping[str, int], rng: random.Random) -> str:
    """Return the SQL that makes a table: two rows for each label, categories in equal parts, no number twice."""
    size = 2 * len(table.labels)
    columns: dict[str, list[str | int]] = {"id": list(range(1, size + 1))}
    columns |= {f"{parent[:-1]}_id": rng.choices(range(1, rows + 1), k=size) for parent, rows in parents.items()}
    for column in (table.label, *table.groups):
        columns[column] = rng.sample(list(islice(cycle(table.values(column)), size)), size)
    for column, most in table.numbers.items():
        columns[column] = list(rng.sample(range(1, max(most, 2 * size)), size))
    types = {column: "VARCHAR" if isinstance(values[0], str) else "INTEGER" for column, values in columns.items()}
    declared = ", ".join(f"{column} {kind}" for column, kind in types.items())
    rows = ",\n".join(f"  ({', '.join(map(literal, row))})" for row in zip(*columns.values(), strict=True))
    return f"CREATE TABLE {name} ({declared});\nINSERT INTO {name} VALUES\n{rows};\n"


def literal(value: str | int) -> str:
    """Return a value as a SQL literal."""
    return f"'{value}'" if isinstance(value, str) else str(value)


def make_database(seed: int) -> str:
    """Return the SQL that makes the shop."""
    rng = random.Random(seed)
    shop = whole_shop()
    parents = {name: 2 * len(shop[name].labels) for name in ("customers", "products")}
    tables = [table_sql(name, table, parents if name == "orders" else {}, rng) for name, table in shop.items()]
    return "-- A small shop. Written by scripts/make_shop_rows.py.\n\n" + "\n".join(tables)


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=ROOT / "evals" / "text_to_sql")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "shop.sql").write_text(make_database(options.seed))
    for name, rows in make_files(options.seed).items():
        (options.out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
