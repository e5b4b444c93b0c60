#!/usr/bin/env bash
# duckdb 2.0.0, seen in November 2026.
#
# Behaviour: `split_part(column, separator, n)` compared with anything but the same call fails where the optimizer knows that the column holds NULLs
# only: "Invalid Input Error: BindBuiltinScalarFunction did not return a BoundFunctionExpression". Selected without a comparison it is NULL, as it
# should be; so is the comparison with the optimizer "statistics_propagation" off, and that of every other text function tried.
# Expected: NULL for each row.
# Why it matters: a predicate on answers is tried before there are any, over a table whose column is all NULL; and an evaluation in which a model
# answered nothing is such a column. The message names neither function nor column.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "duckdb==2.0.0"
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb


def said(select, *settings):
    with duckdb.connect() as connection:
        for setting in settings:
            connection.execute(f"SET {setting}")
        connection.execute("CREATE TABLE t AS SELECT NULL::VARCHAR AS a, NULL::VARCHAR AS b FROM range(3)")
        try:
            return connection.execute(f"SELECT {select} FROM t").fetchall()
        except duckdb.Error as error:
            return str(error)


nulls = [(None,)] * 3
alone = said("split_part(a, ' ', 1)")
compared = said("split_part(a, ' ', 1) = 'x'")
both = said("split_part(a, ' ', 1) <> split_part(b, ' ', 1)")
unoptimized = said("split_part(a, ' ', 1) = 'x'", "disabled_optimizers = 'statistics_propagation'")
others = [said(f"{call} = 'x'") for call in ("upper(a)", "replace(a, ' ', '')", "regexp_extract(a, 'y')", "a[1:2]")]
print(alone, compared, both, unoptimized, others, sep="\n")
assert alone == unoptimized == nulls and others == [nulls] * 4, "the behaviour has changed"
assert "did not return a BoundFunctionExpression" in compared and "BoundFunctionExpression" in both, "the behaviour has changed"
PYTHON
