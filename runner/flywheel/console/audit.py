"""The rates of `flywheel audit` as a table, and what a person should look at."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.console.looks import table_text
from flywheel.engine.audit import AuditRun
from flywheel.text import duration, one_line, plural
from flywheel.verifiers.rates import TOGETHER, ErrorRate

#: Wrong decisions that are shown of each source; the store has more.
SHOWN = 3


def audit_text(audit: AuditRun) -> str:
    rates = [
        {
            "task": found.task,
            "verifier": "all together" if found.verifier == TOGETHER else found.verifier,
            "false accepts": _words(found.false_accepts),
            "false rejects": _words(found.false_rejects),
            "unknown": found.false_accepts.unknown + found.false_rejects.unknown,
        }
        for found in audit.reliability
    ]
    sources = [
        {name: row[name] for name in ("task", "source", "expected", "cases", "passed", "failed", "unknown")}
        | {"verifier": "" if row["verifier"] == TOGETHER else row["verifier"]}
        for row in audit.rows
        if _shows_sources(row, audit.rows)
    ]
    judged = f"{plural(audit.probes, 'case')} in {duration(audit.seconds)}"
    return "\n\n".join([table_text(rates), table_text(sources), *_wrong(audit.rows), judged])


def audit_json(audit: AuditRun) -> dict[str, Any]:
    """For programs: rates of each task and verifier ("*": all together), and the rows as stored."""
    rates = [
        {"task": found.task, "verifier": found.verifier, "version": found.version}
        | {"false_accepts": _figures(found.false_accepts), "false_rejects": _figures(found.false_rejects)}
        for found in audit.reliability
    ]
    return {"rates": rates, "rows": audit.rows, "cases": audit.probes, "seconds": round(audit.seconds, 3)}


def _figures(rate: ErrorRate) -> dict[str, Any]:
    low, high = rate.interval
    return {
        "wrong": rate.wrong, "decided": rate.decided, "unknown": rate.unknown, "rate": rate.rate, "low": low,
        "high": high,
    }  # fmt: skip


def _shows_sources(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Sources are shown of the verifiers together; golden cases, and where one verifier was audited, of each."""
    return row["verifier"] == TOGETHER or row["source"] == "golden" or all(r["verifier"] != TOGETHER for r in rows)


def _words(rate: ErrorRate) -> str:
    if rate.rate is None:
        return "no case"
    low, high = rate.interval
    return f"{rate.wrong} of {rate.decided:,} = {rate.rate:.2%} ({low:.2%} to {high:.2%})"


def _wrong(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A few wrong decisions of each source, and where the others are."""
    blocks = []
    for row in rows:
        if not row["wrong"] or not _shows_sources(row, rows):
            continue
        said = "accepted" if row["expected"] == "fail" else "rejected"
        count = row["passed"] if row["expected"] == "fail" else row["failed"]
        lines = [f"{row['task']}: {said} {count} of {row['source']}; is that wrong?"]
        for case in row["wrong"][:SHOWN]:
            lines.append(f"  {one_line(case['answer'], 100) or '(empty)'}")
            if case["reference"] not in (None, case["answer"]):
                lines.append(f"    for {one_line(case['reference'], 100)}")
            if case["reason"]:
                lines.append(f"    {one_line(case['reason'], 100)}")
        blocks.append("\n".join(lines))
    if blocks:
        blocks.append('More of them: flywheel query "SELECT task, source, wrong FROM audits ORDER BY audited_at DESC"')
    return blocks


def show_progress(done: int, total: int) -> None:
    """One line that counts, in a terminal only."""
    if sys.stderr.isatty() and (done == total or done % 50 == 0):
        print(f"\rjudged {done:,} of {total:,}", end="\n" if done == total else "", file=sys.stderr, flush=True)
