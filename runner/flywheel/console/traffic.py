"""What became of the files of production traffic, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flywheel.text import plural

if TYPE_CHECKING:
    from flywheel.engine.forget import Forgotten
    from flywheel.engine.ingest import Ingested

NONE = "none"


def ingested_text(done: Ingested) -> str:
    return "\n".join(_lines(done))


def ingested_json(done: Ingested) -> dict[str, Any]:
    return dict(vars(done))  # `asdict` makes a counter of pairs of a counter


def _lines(done: Ingested) -> Iterator[str]:
    parts = [f"{done.stored:,} stored"]
    parts += [f"{count:,} {word}" for word, count in _others(done).items() if count]
    yield f"{done.file} ({done.format}): {plural(done.items, 'item')}: {', '.join(parts)}"
    for word, counts in (("refused", done.refused), ("flagged", done.flagged), ("redacted", done.redacted)):
        if counts:
            yield f"  {word:<9} {_counted(counts)}"
    tasks = Counter({task: count for task, count in done.matched.items() if task != NONE})
    if tasks or done.matched[NONE]:
        rest = f"{done.matched[NONE]:,} of no task" if done.matched[NONE] else ""
        yield f"  {'matched':<9} {', '.join(part for part in (_counted(tasks), rest) if part)}"
    if done.removed:
        yield f"  removed   {plural(done.removed, 'exchange')} older than traffic.keep_days"


def _others(done: Ingested) -> dict[str, int]:
    return {
        "completed": done.completed, "known": done.known, "opinions": done.opinions, "refused": done.refused.total(),
    }  # fmt: skip


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {word}" for word, count in counts.most_common())


def forgotten_text(found: Forgotten) -> str:
    lines = [
        f"removed: {plural(found.exchanges, 'exchange')}, {plural(found.opinions, 'opinion')}, and what was said of "
        "them where they were judged. It is not taken in again.",
        "The file that it came from, calls of teachers that were shown it (.flywheel/calls) and reports keep what they "
        "have.",
    ]
    if found.lessons:
        lines.append(f"lessons made from it: {', '.join(found.lessons)}")
        lines.append(f"adapters trained on them: {', '.join(found.models) or 'none'}")
        lines.append(_advice(found))
    return "\n".join(lines)


def _advice(found: Forgotten) -> str:
    if not found.models:
        return "Now: flywheel apply; the next iteration learns without it."
    where = f"{found.deployed} is deployed. " if found.deployed else ""
    return f"{where}Now: flywheel apply, which trains without it; then remove the adapters named above."
