#!/usr/bin/env bash
# sqlglot 30.30.0 with Python's SQLite (seen with 3.40.1), November 2026.
#
# Behaviour: a SQLite query that is parsed and written again, both as SQLite, gives other rows. CAST(x AS DATE) comes back as DATE(x), CAST(x AS
# TIMESTAMP) as DATETIME(x). SQLite has no such types: its CAST to them is one to NUMERIC, so that '2020-05-06' becomes the number 2020, while
# DATE('2020-05-06') stays a text. Grouped by it, days of one year are one group before and several after.
# Expected: what is read as SQLite and written as SQLite means the same.
# Why it matters: text-to-SQL tools normalise, compare or edit answers this way, and models like to write CAST(d AS DATE) for SQLite. A query that is
# wrong on the real database becomes right once it was normalised.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "sqlglot==30.30.0"
"$folder/venv/bin/python" - <<'PYTHON'
import sqlite3

import sqlglot

connection = sqlite3.connect(":memory:")
connection.executescript("CREATE TABLE sale(day TEXT); INSERT INTO sale VALUES ('2020-05-06'), ('2020-06-07'), ('2021-01-01');")


def both(query):
    again = sqlglot.parse_one(query, read="sqlite").sql(dialect="sqlite")
    return again, connection.execute(query).fetchall(), connection.execute(again).fetchall()


cast = both("SELECT CAST(day AS DATE) FROM sale")
groups = both("SELECT count(*) FROM (SELECT 1 FROM sale GROUP BY CAST(day AS TIMESTAMP))")
kept = both("SELECT CAST(day AS INTEGER) FROM sale")
print(cast, groups, kept, sep="\n")
assert cast == ("SELECT DATE(day) FROM sale", [(2020,), (2020,), (2021,)], [("2020-05-06",), ("2020-06-07",), ("2021-01-01",)]), "changed"
assert groups[1:] == ([(2,)], [(3,)]), "the behaviour has changed"
assert kept[1] == kept[2], "the behaviour has changed"
PYTHON
