"""How often verifiers are wrong, out of the rows of table `audits`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.hashing import fingerprint, short
from flywheel.stats import wilson
from flywheel.verifiers.kinds import version_of

if TYPE_CHECKING:
    from flywheel.spec.models import Spec

Query = Callable[..., list[dict[str, Any]]]

#: Stands for all verifiers of a task together.
TOGETHER = "*"


@dataclass(frozen=True)
class ErrorRate:
    """`wrong` of `decided` cases were decided wrongly, with the Wilson interval at 95%; `unknown` were not decided."""

    wrong: int
    decided: int
    unknown: int

    @property
    def rate(self) -> float | None:
        return self.wrong / self.decided if self.decided else None

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.wrong, self.decided)


@dataclass(frozen=True)
class Reliability:
    """A verifier's false accepts (of what must fail) and false rejects (of what must pass) on one task."""

    task: str
    verifier: str
    version: str
    false_accepts: ErrorRate
    false_rejects: ErrorRate


def reliability(rows: Iterable[Mapping[str, Any]]) -> list[Reliability]:
    """Of each task and verifier in `rows` of table `audits`, all sources together; in their order."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["verifier"], row["version"]), []).append(row)
    return [
        Reliability(*key, _rate(found, "fail", "passed"), _rate(found, "pass", "failed"))
        for key, found in groups.items()
    ]


def _rate(rows: Sequence[Mapping[str, Any]], expected: str, wrong: str) -> ErrorRate:
    chosen = [row for row in rows if row["expected"] == expected]
    decided = sum(row["passed"] + row["failed"] for row in chosen)
    return ErrorRate(sum(row[wrong] for row in chosen), decided, sum(row["unknown"] for row in chosen))


def versions_of(spec: Spec, root: Path, teachers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Verifier → its version now. `teachers`: parameters of each teacher."""
    return {name: version_of(name, verifier, root, teachers) for name, verifier in spec.verifiers.items()}


def together(verify: Iterable[str], versions: Mapping[str, str]) -> str:
    """The version of a task's verifiers together."""
    return short(fingerprint({name: versions[name] for name in verify}))


def audit_rows(query: Query, spec: Spec, versions: Mapping[str, str]) -> list[dict[str, Any]]:
    """The newest audit of each task and verifier as they are now, rows of table `audits`; of all of a task's verifiers
    together under the name `TOGETHER`. What was audited in another version is left out."""
    wanted = [
        (task, name, version)
        for task, details in spec.tasks.items()
        for name, version in [
            (TOGETHER, together(details.verify, versions)),
            *((verifier, versions[verifier]) for verifier in details.verify),
        ]
    ]
    rows = query(
        """SELECT a.* FROM audits a JOIN (
               SELECT task, verifier, version, max_by(audit, audited_at) AS audit FROM audits GROUP BY ALL) newest
               USING (task, verifier, version, audit)
           ORDER BY a.task, a.verifier, a.expected DESC, a.source"""
    )
    order = {key: place for place, key in enumerate(wanted)}
    found = [row for row in rows if (row["task"], row["verifier"], row["version"]) in order]
    return sorted(found, key=lambda row: order[row["task"], row["verifier"], row["version"]])


def never_audited(spec: Spec, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Tasks none of whose verifiers was audited as it is now; `rows` are those of `audit_rows`."""
    audited = {row["task"] for row in rows}
    return [task for task in spec.tasks if task not in audited]
