"""Which texts say the same: near-duplicates and contamination, as set queries in a throw-away DuckDB.

Near-duplicates: MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, ch. 3)
finds pairs, exact Jaccard similarity of 3-character shingles decides. Contamination: n-grams of words as in GPT-3's
appendix C (arXiv 2005.14165), by a semi-join on hashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from flywheel.text import normalised

#: 16 bands of 4 hashes: a pair of Jaccard 0.8 is found with probability 0.9998, one of 0.7 with 0.99.
BANDS, ROWS_A_BAND = 16, 4
#: A band value shared by more texts than this says nothing; its pairs are left to the other bands.
CROWD = 500


@dataclass(frozen=True)
class Overlap:
    """A lesson that is too like an eval item."""

    suite: str
    item_id: str
    how: str
    """exact, normalised, or n-gram."""


def near_duplicates(texts: Sequence[str], threshold: float) -> dict[int, tuple[int, float]]:
    """Later texts that repeat an earlier kept one: index → (index of the one kept, Jaccard similarity).

    `texts` come in order of preference: the history first, then the new ones, best first.
    """
    if len(texts) < 2:
        return {}
    connection = duckdb.connect(":memory:")
    try:
        _load(connection, "texts", {"place": list(range(len(texts))), "text": [normalised(t) for t in texts]})
        pairs = connection.execute(_PAIRS, [threshold]).fetchall()
    finally:
        connection.close()
    dropped: dict[int, tuple[int, float]] = {}
    for later, earlier, similarity in pairs:
        if later not in dropped and earlier not in dropped:
            dropped[later] = (earlier, similarity)
    return dropped


_MINHASHES = ", ".join(
    f"list_min(list_transform(grams, lambda g: hash(g, {number})))" for number in range(BANDS * ROWS_A_BAND)
)
_BAND_VALUES = ", ".join(
    f"hash({band}, list_slice(mins, {band * ROWS_A_BAND + 1}, {(band + 1) * ROWS_A_BAND}))" for band in range(BANDS)
)
_PAIRS = f"""
WITH shingled AS (
    SELECT place, list_distinct(list_transform(range(1, greatest(length(text) - 1, 2)), lambda i: hash(text[i:i+2])))
        AS grams FROM texts),
signed AS MATERIALIZED (SELECT place, grams, [{_MINHASHES}] AS mins FROM shingled),
banded AS MATERIALIZED (SELECT place, unnest([{_BAND_VALUES}]) AS band FROM signed),
crowded AS (SELECT band FROM banded GROUP BY band HAVING count(*) > {CROWD}),
pairs AS (
    SELECT DISTINCT a.place AS earlier, b.place AS later
    FROM banded a JOIN banded b ON a.band = b.band AND a.place < b.place
    WHERE a.band NOT IN (SELECT band FROM crowded)),
judged AS (
    SELECT later, earlier, len(list_intersect(x.grams, y.grams)) AS shared, len(x.grams) + len(y.grams) AS total
    FROM pairs JOIN signed x ON x.place = earlier JOIN signed y ON y.place = later)
SELECT later, earlier, shared / (total - shared) AS similarity FROM judged
WHERE shared / (total - shared) >= ? ORDER BY later, earlier
"""


def contaminated(
    lessons: Sequence[tuple[str, str]], items: Sequence[tuple[str, str, str, str]], ngram: int
) -> dict[int, Overlap]:
    """Lessons (question text, whole text) that overlap an eval item (suite, item id, question text, whole text).

    Exact and normalised equality look at the question, n-grams of words at the whole. Index of lesson → first overlap.
    """
    if not lessons or not items:
        return {}
    exact = {question: (suite, item) for suite, item, question, _ in items}
    folded = {normalised(question): (suite, item) for suite, item, question, _ in items}
    found: dict[int, Overlap] = {}
    for index, (question, _) in enumerate(lessons):
        if question in exact:
            found[index] = Overlap(*exact[question], "exact")
        elif (key := normalised(question)) in folded:
            found[index] = Overlap(*folded[key], "normalised")
    for index, suite, item in _sharing_ngrams([w for _, w in lessons], [(s, i, w) for s, i, _, w in items], ngram):
        found.setdefault(index, Overlap(suite, item, f"{ngram}-gram"))
    return found


def _sharing_ngrams(
    lessons: Sequence[str], items: Sequence[tuple[str, str, str]], ngram: int
) -> list[tuple[int, str, str]]:
    connection = duckdb.connect(":memory:")
    try:
        _load(connection, "lessons", {"place": list(range(len(lessons))), "text": [normalised(t) for t in lessons]})
        _load(
            connection,
            "items",
            {
                "suite": [suite for suite, _, _ in items],
                "item": [item for _, item, _ in items],
                "text": [normalised(text) for _, _, text in items],
            },
        )
        return [(place, suite, item) for place, suite, item in connection.execute(_NGRAMS, [ngram] * 4).fetchall()]
    finally:
        connection.close()


_NGRAMS = """
WITH lesson_grams AS (
    SELECT DISTINCT place,
        unnest(list_transform(range(1, len(words) - ? + 2), lambda i: hash(words[i:i + ? - 1]))) AS gram
    FROM (SELECT place, string_split(text, ' ') AS words FROM lessons)),
item_grams AS (
    SELECT suite, item,
        unnest(list_transform(range(1, len(words) - ? + 2), lambda i: hash(words[i:i + ? - 1]))) AS gram
    FROM (SELECT suite, item, string_split(text, ' ') AS words FROM items))
SELECT place, min(suite), min(item) FROM lesson_grams JOIN item_grams USING (gram) GROUP BY place ORDER BY place
"""


def _load(connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, list[Any]]) -> None:
    import pyarrow as pa

    connection.register("incoming", pa.table(columns))
    connection.execute(f"CREATE TABLE {table} AS SELECT * FROM incoming")
    connection.unregister("incoming")
