"""Do lessons become alike as the wheel turns? Each iteration's figures beside those of the first."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping

from flywheel.report import queries
from flywheel.report.model import Collapse, CollapseRow
from flywheel.report.scoring import Chain, Query, decoded

#: Least share of rows that people wrote: with a tenth of them kept, models that learned from their own kind got only a
#: little worse (Shumailov et al. 2024, Nature 631:755).
LEAST_REAL = 0.1
#: Least part of the first iteration's figure. Chosen, not derived.
LEAST = 0.8
#: Lengths beyond these parts of the first iteration's. Chosen, not derived.
LENGTHS = (2 / 3, 3 / 2)


def collapse(query: Query, chain: Chain) -> Collapse:
    """Of iterations whose lessons were measured; reports of earlier versions have none."""
    sql = queries.watched(chain)
    found = [(row["iteration"], watch) for row in query(sql, ()) if (watch := decoded(row["watch"]))]
    # A figure's first one: an iteration of few lessons has not all of them.
    first = dict(ChainMap(*(watch for _, watch in found)))
    rows = tuple(CollapseRow(iteration=n, **watch, warnings=warnings(watch, first)) for n, watch in found)
    return Collapse(rows=rows, query=sql)


def warnings(watch: Mapping[str, float], first: Mapping[str, float]) -> tuple[str, ...]:
    """What is beyond its limit, by the names of the figures."""
    found = ["real"] if watch["real"] < LEAST_REAL else []
    for name in ("distinct", "entropy", "tail"):
        if name in watch and name in first and watch[name] < LEAST * first[name]:
            found.append(name)
    low, high = (part * first["length"] for part in LENGTHS)
    return (*found, "length") if not low <= watch["length"] <= high else tuple(found)
