"""What a certificate says, and whether that still follows from what is in it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flywheel.engine.certifying import Verified
from flywheel.text import one_line, plural


def verified_text(found: Verified) -> str:
    """A line for each thing that was looked at, and the word."""
    decision = found.certificate.decision
    head = f"{found.certificate.project}, iteration {decision['iteration']}, decided {found.certificate.decided_at}"
    lines = [one_line(head, 200), f"candidate {decision['candidate_id']} against {decision['incumbent_id']}"]
    lines += [f"note: {note}" for note in found.notes]
    lines += [
        f"{'agrees' if check.holds else 'DIFFERS':<8} {one_line(check.what, 40):<28} {one_line(check.detail, 600)}"
        for check in found.checks
    ]
    differ = sum(not check.holds for check in found.checks)
    if not differ:
        return "\n".join([*lines, f"agree: {decision['outcome']} follows from what is certified"])
    return "\n".join([*lines, f"disagree: {plural(differ, 'thing')} of {len(found.checks)} differ"])


def verified_json(found: Verified) -> dict[str, Any]:
    """For programs: the word, the checks, and what was decided of whom."""
    return {
        "agrees": found.agrees, "outcome": found.certificate.decision["outcome"],
        "iteration": found.certificate.decision["iteration"], "hash": found.certificate.hash,
        "checks": [asdict(check) for check in found.checks], "notes": list(found.notes),
    }  # fmt: skip
