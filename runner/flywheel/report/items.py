"""Every item of every suite, as two models answered it: for the page, cut and made safe; for the data files, whole."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.report import queries
from flywheel.report.model import ItemAnswer, ItemPast, ShownItem
from flywheel.report.scoring import TEXT_LIMIT, Chain, Query, Row, decoded, question
from flywheel.report.words import objections, shown

if TYPE_CHECKING:
    import pyarrow as pa

#: What a reader looks for first: in this order, where not all items have room.
MOVEMENTS = ("broken", "fixed", "unknown", "still_wrong", "still_right", "")

Pasts = Mapping[tuple[str, str], Sequence[ItemPast]]


#: Runs of so many items have all of them on the page, as far as its bytes go; larger ones the first of them.
SMALL, SAMPLE = 5_000, 1_000


def item_rows(query: Query, nodes: queries.Nodes, total: int) -> list[Row]:
    """Of one iteration's `total` items those that its page may hold, with both arms' answers; what moved first."""
    limit = total if total <= SMALL else SAMPLE
    every = queries.side_by_side(nodes, nodes)
    return query(f"SELECT * FROM ({every}) ORDER BY {queries.item_order('')} LIMIT {limit}", ())


def pasts(query: Query, chain: Chain, item_ids: Sequence[str] | None = None) -> Pasts:
    """(suite, item) → how it went in each iteration; of all items, or of those."""
    found: dict[tuple[str, str], list[ItemPast]] = defaultdict(list)
    for row in query(queries.pasts(chain, item_ids), ()):
        words = {key: row[key] or "" for key in ("before", "mode_before", "after", "mode_after")}
        found[(row["suite"], row["item_id"])].append(ItemPast(iteration=row["iteration"], **words))
    return found


def page_items(rows: Sequence[Row], targets: Mapping[str, str], past: Pasts) -> Iterator[ShownItem]:
    """Those that moved first; one at a time, so that no more are made than a page takes."""
    for row in sorted(rows, key=lambda row: MOVEMENTS.index(row["movement"])):
        yield page_item(row, targets, past.get((row["suite"], row["item_id"]), ()))


def page_item(row: Row, targets: Mapping[str, str], past: Sequence[ItemPast] = ()) -> ShownItem:
    """`targets`: suite → column with the right answer, which is no part of the question."""
    gold = row["gold"] or ""
    return ShownItem(
        suite=row["suite"],
        item_id=shown(row["item_id"], 80),
        movement=row["movement"],
        slices=tuple(shown(text, 120) for text in slices_of(row)),
        question=question(row["question"], gold, targets.get(row["suite"], ""), decoded(row["slices"]) or ()),
        gold=shown(gold, TEXT_LIMIT),
        first=_answer(row, "a"),
        second=None if row["outcome_b"] is None else _answer(row, "b"),
        past=tuple(past),
    )


def _answer(row: Row, side: str) -> ItemAnswer:
    return ItemAnswer(
        outcome=row[f"outcome_{side}"],
        answer=shown(row[f"answer_{side}"] or "", TEXT_LIMIT),
        mode=row[f"mode_{side}"] or "",
        reason=shown(objections(decoded(row[f"verdicts_{side}"]) or ()), 300),
    )


def slices_of(row: Row) -> list[str]:
    """As "column: value"."""
    return [f"{column}: {value}" for column, value in (decoded(row["slices"]) or {}).items()]


# --- a page at a time -------------------------------------------------------------------------------------------------

#: Items of a page out of the store.
PAGE = 50
#: What can be asked for: as in the address of the report's own page.
FILTERS = ("text", "suite", "movement", "mode", "slice", "verdict", "item", "sort")


@dataclass(frozen=True)
class ItemPage:
    """`number` counts from 1; `found`: items on all pages; `wanted`: the filters that were understood."""

    rows: list[Row]
    found: int
    number: int
    wanted: dict[str, str]

    @property
    def pages(self) -> int:
        return max(1, -(-self.found // PAGE))


def found(query: Query, nodes: queries.Nodes, wanted: Mapping[str, str]) -> ItemPage:
    """The items that the filters leave, one page of them; what is no filter, or no number of a page, is passed over."""
    known = {name: wanted.get(name, "") for name in FILTERS}
    every = queries.items_where(queries.side_by_side(nodes, nodes), known)
    total = query(f"SELECT count(*) AS n FROM ({every})", ())[0]["n"]
    asked = wanted.get("page", "1")
    last = max(1, -(-total // PAGE))
    number = min(max(int(asked), 1), last) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 1
    order = queries.item_order(known["sort"])
    rows = query(f"{every}\nORDER BY {order} LIMIT {PAGE} OFFSET {PAGE * (number - 1)}", ())
    return ItemPage(rows, total, number, known)


# --- on the page ------------------------------------------------------------------------------------------------------

#: Bytes of items that the page carries; with all else it stays within 1.5 MB.
PAGE_BYTES = 900_000
#: The same where there are more items than any page holds: it is a sample, and the server has the rest.
SAMPLE_BYTES = 300_000


@dataclass(frozen=True)
class PageItems:
    """What a page carries of the items: JSON that can stand inside a `script` element, and how many that is."""

    json: str
    items: int
    total: int


def held(items: Iterable[ShownItem], total: int, labels: tuple[str, str], iteration: int = 0) -> PageItems:
    """Of the items, in their order, those that the page has room for; `total`: how many there are. `iteration` is 0
    where the page is not of one iteration."""
    kept, size, room = [], 0, PAGE_BYTES if total <= SMALL else SAMPLE_BYTES
    for item in items:
        text = _compact(_values(item))
        size += len(text.encode()) + 1
        if size > room:
            break
        kept.append(text)
    head = _compact({"labels": labels, "iteration": iteration})
    return PageItems(f'{head[:-1]},"items":[{",".join(kept)}]}}', len(kept), total)


def _compact(value: Any) -> str:
    """JSON without a character that could end the element it stands in, or begin a comment there."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _values(item: ShownItem) -> list[Any]:
    """In the order in which the script reads them."""
    past = [[p.iteration, p.before, p.mode_before, p.after, p.mode_after] for p in item.past]
    answers = [a and [a.outcome, a.answer, a.mode, a.reason] for a in (item.first, item.second)]
    return [item.suite, item.item_id, item.movement, item.slices, item.question, item.gold, *answers, past]


# --- beside the page --------------------------------------------------------------------------------------------------

#: What a spreadsheet takes for a formula; a plain number is none.
_FORMULA, _NUMBER = r"^[=+\-@\t\r]", r"^(?s:.)[\d.,]*$"


def csv_bytes(items: pa.Table) -> bytes:
    """UTF-8 with a header. A text that a spreadsheet would run as a formula gets an apostrophe; Parquet has it bare."""
    import pyarrow as pa
    import pyarrow.csv

    texts = [_inert(column) if pa.types.is_string(column.type) else column for column in items.columns]
    out = io.BytesIO()
    pyarrow.csv.write_csv(pa.table(texts, items.column_names), out)
    return out.getvalue()


def _inert(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    formula = pc.match_substring_regex(texts, _FORMULA)
    if not pc.any(formula).as_py():
        return texts
    formula = pc.and_not(formula, pc.match_substring_regex(texts, _NUMBER))
    return pc.if_else(formula, pc.binary_join_element_wise("'", texts, ""), texts)


def parquet_bytes(items: pa.Table) -> bytes:
    """The same rows, texts as they are."""
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(items, out, compression="zstd")
    return out.getvalue()
