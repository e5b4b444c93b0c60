"""Exchanges of production in the store: what a file holds lands beside what is here, and joins it at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from flywheel.store.database import Store, Transaction


class Landing:
    """The exchanges and opinions of one file, in tables of their own, which the store never sees. What has landed is
    committed there a block at a time: a transaction keeps in memory what it has written. Then all of it joins the store
    in one `settling`."""

    def __init__(self, store: Store, file: str, format: str) -> None:
        self._store, self.file, self._format = store, file, format
        self._place = 0
        with self._store.transaction() as transaction:
            _clear(transaction)
            transaction.execute("CREATE TEMP TABLE landing AS SELECT *, 0::BIGINT AS place FROM traffic WHERE false")
            transaction.execute(
                "CREATE TEMP TABLE said AS SELECT *, false AS part, 0::BIGINT AS place FROM feedback WHERE false"
            )

    def close(self) -> None:
        """Whatever landed is gone."""
        with self._store.transaction() as transaction:
            _clear(transaction)

    def take(self, exchanges: Sequence[Mapping[str, Any]], opinions: Sequence[Mapping[str, Any]]) -> None:
        with self._store.transaction() as transaction:
            for table, rows in (("temp.landing", exchanges), ("temp.said", opinions)):
                first = self._place
                self._place += len(rows)
                told = [{**row, "file": self.file, "place": first + n} for n, row in enumerate(rows)]
                transaction.insert(table, told)

    @contextmanager
    def settling(self) -> Iterator[Transaction]:
        """The transaction in which the others of these methods work."""
        with self._store.transaction() as self._transaction:
            yield self._transaction

    def settle_exchanges(self, now: datetime) -> tuple[int, int, int]:
        """(completed, stored, known): each exchange once; one with its text completes one without, here or in the
        file."""
        landed = self._count("SELECT count(*) AS n FROM temp.landing")
        self._choose()
        completed = self._count(f"SELECT count(*) AS n FROM ({_COMPLETING})")
        self._transaction.execute(_COMPLETE)
        self._transaction.execute("DELETE FROM temp.chosen WHERE source_id IN (SELECT source_id FROM traffic)")
        stored = self._count("SELECT count(*) AS n FROM temp.chosen")
        self._transaction.execute(_STORE, [self._format, now])
        self._transaction.execute(_NOT_LAST)
        return completed, stored, landed - completed - stored

    def _choose(self) -> None:
        self._transaction.execute(_CHOOSE)

    def settle_opinions(self, now: datetime) -> tuple[int, int]:
        """(known, stored) of those that are items of their own."""
        said = self._count("SELECT count(*) AS n FROM temp.said WHERE NOT part")
        self._transaction.execute(
            """DELETE FROM temp.said WHERE opinion_id IN (SELECT opinion_id FROM feedback)
               OR place NOT IN (SELECT min(place) FROM temp.said GROUP BY opinion_id)"""
        )
        stored = self._count("SELECT count(*) AS n FROM temp.said WHERE NOT part")
        self._transaction.execute(
            """INSERT INTO feedback SELECT * EXCLUDE (part, place) REPLACE (CAST(? AS TIMESTAMPTZ) AS ingested_at)
               FROM temp.said ORDER BY place""",
            [now],
        )
        return said - stored, stored

    def flagged(self) -> Counter[str]:
        """By flag, of what this file stored."""
        rows = self._transaction.query(
            """SELECT flag, count(*) AS n FROM (SELECT unnest(flags) AS flag FROM traffic
               WHERE source_id IN (SELECT source_id FROM temp.chosen)) GROUP BY flag ORDER BY n DESC, flag"""
        )
        return Counter({row["flag"]: row["n"] for row in rows})

    def older_than(self, time: datetime) -> list[str]:
        rows = self._transaction.query(
            "SELECT source_id FROM traffic WHERE coalesce(called_at, ingested_at) < ?", [time]
        )
        return [row["source_id"] for row in rows]

    def _count(self, sql: str) -> int:
        return int(self._transaction.query(sql)[0]["n"])


def _clear(transaction: Transaction) -> None:
    for table in ("landing", "said", "chosen"):
        transaction.execute(f"DROP TABLE IF EXISTS temp.{table}")


#: One row an exchange: of several with one id (a span and its log, an export that overlaps) the first with text, with
#: what only another one tells.
_CHOOSE = """
CREATE TEMP TABLE chosen AS
WITH one AS (
  SELECT source_id, arg_min(place, (list_contains(flags, 'no_content'), place)) AS place,
    max(nullif(conversation, '')) AS conversation, max(nullif(trace, '')) AS trace, max(nullif(name, '')) AS name,
    max(nullif(model, '')) AS model, min(called_at) AS called_at, max(input_tokens) AS input_tokens,
    max(output_tokens) AS output_tokens, max(usd) AS usd, count(*) AS times
  FROM temp.landing GROUP BY source_id)
SELECT l.* REPLACE (
  coalesce(one.conversation, l.conversation) AS conversation, coalesce(one.trace, l.trace) AS trace,
  coalesce(one.name, l.name) AS name, coalesce(one.model, l.model) AS model, one.called_at AS called_at,
  one.input_tokens AS input_tokens, one.output_tokens AS output_tokens, one.usd AS usd)
FROM temp.landing l JOIN one USING (source_id, place)
"""

#: What is here without its text and comes with it, or is here with it and comes with what was not known.
_COMPLETING = """
SELECT c.*, list_contains(t.flags, 'no_content') AS brings_text
FROM temp.chosen c JOIN traffic t USING (source_id)
WHERE (list_contains(t.flags, 'no_content') AND NOT list_contains(c.flags, 'no_content'))
  OR (NOT list_contains(t.flags, 'no_content') AND list_contains(c.flags, 'no_content')
      AND ((t.input_tokens IS NULL AND c.input_tokens IS NOT NULL) OR (t.called_at IS NULL AND c.called_at IS NOT NULL)
           OR (t.model = '' AND c.model <> '') OR (t.usd IS NULL AND c.usd IS NOT NULL)))
"""

_COMPLETE = f"""
UPDATE traffic SET
  messages = CASE WHEN c.brings_text THEN c.messages ELSE traffic.messages END,
  tools = coalesce(traffic.tools, c.tools), answer = coalesce(traffic.answer, c.answer),
  "row" = coalesce(traffic."row", c."row"), turn = greatest(traffic.turn, c.turn),
  asked = CASE WHEN c.brings_text THEN c.asked ELSE traffic.asked END,
  held = CASE WHEN c.brings_text THEN c.held ELSE traffic.held END,
  earlier = CASE WHEN c.brings_text THEN c.earlier ELSE traffic.earlier END,
  conversation = coalesce(nullif(traffic.conversation, ''), c.conversation),
  name = coalesce(nullif(traffic.name, ''), c.name), model = coalesce(nullif(traffic.model, ''), c.model),
  called_at = coalesce(traffic.called_at, c.called_at), input_tokens = coalesce(traffic.input_tokens, c.input_tokens),
  output_tokens = coalesce(traffic.output_tokens, c.output_tokens), usd = coalesce(traffic.usd, c.usd),
  flags = list_sort(list_distinct(list_filter(list_concat(traffic.flags, c.flags), lambda flag: flag <> 'no_content')))
FROM ({_COMPLETING}) AS c WHERE traffic.source_id = c.source_id
"""

_STORE = """
INSERT INTO traffic BY NAME
SELECT * EXCLUDE (place) REPLACE (CAST(? AS VARCHAR) AS format, CAST(? AS TIMESTAMPTZ) AS ingested_at)
FROM temp.chosen ORDER BY place
"""

#: A later call holds the conversation so far, answer and all; in one and the same conversation the question is enough:
#: an answer may come back without its thoughts.
_NOT_LAST = """
WITH longer AS (SELECT DISTINCT conversation, unnest(earlier) AS digest FROM traffic WHERE len(earlier) > 0),
held AS (
  SELECT t.source_id FROM traffic t JOIN longer ON longer.digest = t.held
  WHERE t.conversation = '' OR longer.conversation = '' OR t.conversation = longer.conversation
  UNION SELECT t.source_id FROM traffic t JOIN longer ON longer.digest = t.asked
  WHERE t.conversation <> '' AND t.conversation = longer.conversation)
UPDATE traffic SET flags = list_append(flags, 'not_last_turn')
WHERE source_id IN (SELECT source_id FROM held) AND NOT list_contains(flags, 'not_last_turn')
"""


def remove_exchanges(transaction: Transaction, source_ids: Sequence[str]) -> int:
    """Exchanges, what was said of them, and their answers, verdicts and failures where they were looked at. How many
    exchanges there were."""
    if not source_ids:
        return 0
    ids = list(source_ids)
    mine = "SELECT answer_id FROM answers WHERE list_contains(?, source_id)"
    transaction.execute(f"DELETE FROM failures WHERE answer_id IN ({mine})", [ids])
    transaction.execute(f"DELETE FROM verdicts WHERE subject_id IN ({mine})", [ids])
    transaction.execute("DELETE FROM answers WHERE list_contains(?, source_id)", [ids])
    transaction.execute("DELETE FROM feedback WHERE list_contains(?, about)", [ids])
    found = transaction.query("SELECT count(*) AS n FROM traffic WHERE list_contains(?, source_id)", [ids])
    transaction.execute("DELETE FROM traffic WHERE list_contains(?, source_id)", [ids])
    return int(found[0]["n"])
