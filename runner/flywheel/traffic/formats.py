"""The table of formats, and which of them a file has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flywheel.errors import UsageError
from flywheel.records import Row
from flywheel.spec.traffic import Columns
from flywheel.text import did_you_mean, one_line
from flywheel.traffic.importer import Importer
from flywheel.traffic.langfuse import Langfuse
from flywheel.traffic.litellm import LitellmLogs
from flywheel.traffic.mlflow import Mlflow
from flywheel.traffic.openai import OpenAI
from flywheel.traffic.openinference import OpenInference
from flywheel.traffic.otlp import Otlp
from flywheel.traffic.rows import Rows
from flywheel.traffic.served import ServedLogs

IMPORTERS: Mapping[str, type[Importer]] = {
    importer.name: importer
    for importer in (ServedLogs, Otlp, LitellmLogs, Mlflow, OpenInference, Langfuse, OpenAI, Rows)
}
"""In the order in which they are tried: those with the plainest marks first."""

LOOKED_AT = 20
"""Items of a file by which its format is told."""


def importer_of(name: str, columns: Columns) -> Importer:
    """Raises UsageError with the nearest name."""
    if name not in IMPORTERS:
        raise UsageError(f'unknown format "{name}". {did_you_mean(name, ["auto", *IMPORTERS])}')
    return IMPORTERS[name](columns)


def detected(file: str, items: Sequence[Row], columns: Columns) -> Importer:
    """The format that all of these first items have. Raises UsageError that says what was seen."""
    importers = [importer(columns) for importer in IMPORTERS.values()]
    found = [next((importer for importer in importers if importer.sees(item)), None) for item in items]
    if None in found:
        number = found.index(None)
        raise UsageError(f"{file}: {_seen(items[number], number)}. {_ADVICE}\n{_known()}")
    names = list(dict.fromkeys(importer.name for importer in found if importer is not None))
    if len(names) > 1:
        raise UsageError(
            f"{file}: {names[0]} and {names[1]} in one file. Split it, or say which is meant: --format {names[0]}."
        )
    chosen = found[0]
    assert chosen is not None
    return chosen


_ADVICE = "Name its columns in traffic.columns (docs/howto-traffic.md), or its format: --format NAME."


def _seen(item: Row, number: int) -> str:
    keys = ", ".join(one_line(str(key), 40) for key in list(item)[:8])
    more = " …" if len(item) > 8 else ""
    return f"item {number + 1} has the keys {keys or '(none)'}{more}, which is no format that is known"


def _known() -> str:
    return "\n".join(f"    {name:<14}{importer.about}" for name, importer in IMPORTERS.items())
