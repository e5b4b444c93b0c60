"""`flywheel certify` and `flywheel verify`: a decision as a file, and that file looked at where nothing else is."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flywheel.engine.history import open_lookup
from flywheel.engine.planning import make_plan
from flywheel.engine.project import Workspace
from flywheel.errors import FlywheelError, UsageError
from flywheel.files import write_text
from flywheel.hashing import hash_file, short
from flywheel.json_text import distinct
from flywheel.nodes.trust.certificate import FORMAT, Certificate, Check, checked, read_part, sealed
from flywheel.nodes.trust.evidence import (
    Lineage,
    dataset_hash,
    evidence,
    grounds_in,
    holdout_files,
    verify_report,
    verify_store,
)
from flywheel.plan import VERBS
from flywheel.records.nodes import Query, finished, record_of
from flywheel.spec.document import read_text
from flywheel.student.loading import adapter_hash

#: A certificate of a million items has a tenth of it.
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Verified:
    """What was looked at: in the certificate alone, and against files where some were named."""

    certificate: Certificate
    checks: list[Check]
    notes: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        return all(check.holds for check in self.checks)


# --- writing ----------------------------------------------------------------------------------------------------------


def certify(project: Workspace, iteration: int, out: Path) -> dict[str, Any]:
    """Write the certificate of an iteration's decision to `out`, as JSON, packed where its name ends in `.gz`.

    Gives the document. Raises UsageError where that iteration has no decision on a candidate, or no report yet;
    Tampered where store or report were edited since, and nothing is written.
    """
    plan = make_plan(project, max(iteration, project.spec.loop.iterations))
    with open_lookup(project.state) as query:
        document = _document(project, query, Lineage.of(plan.chain()[iteration]), iteration)
    write_text(out, _packed(document) if out.suffix == ".gz" else _text(document))
    return document


def _document(project: Workspace, query: Query, lineage: Lineage, iteration: int) -> dict[str, Any]:
    if not finished(query, [lineage.report]):
        raise UsageError(f"iteration {iteration} of this spec has no report yet. Run `flywheel apply`.")
    if not query("SELECT node FROM adapters WHERE node = ?", [lineage.train]):
        raise UsageError(f"iteration {iteration} trained no candidate, so nothing was judged. Name another iteration.")
    decision = verify_store(query, lineage)
    verify_report(query, project.root, lineage.report, published=False)
    run = query("SELECT spec_text, versions FROM runs WHERE run_id = ?", [record_of(query, lineage.gate).run_id])[-1]
    adapter = query("SELECT path, weights_hash FROM adapters WHERE node = ?", [lineage.train])[-1]
    found = evidence(query, lineage.evaluate, lineage.curate, adapter["weights_hash"])
    return sealed(
        {
            "certificate": FORMAT,
            "project": project.spec.name,
            "flywheel": run["versions"]["flywheel"],
            "gate": VERBS["gate"].implementation,
            "decided_at": decision["decided_at"].isoformat(),
            "decision": {k: v for k, v in decision.items() if k not in ("decision_hash", "decided_at")},
            "decision_hash": decision["decision_hash"],
            "read": read_part(grounds_in(query, lineage, decision), decision["stages"] or {}),
            "hashes": {
                "spec": _text_hash(run["spec_text"]),
                "scores": found["scores"],
                "dataset": found["training rows"],
                "adapter": found["adapter"],
                "report": record_of(query, lineage.report).summary["hash"],
                "files": holdout_files(query, lineage.evaluate),
            },
            "lineage": vars(lineage),
            "adapter_path": adapter["path"],
        }
    )


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"


def _packed(document: dict[str, Any]) -> bytes:
    return gzip.compress(_text(document).encode(), mtime=0)  # the same decision, the same bytes


# --- looking again ----------------------------------------------------------------------------------------------------


def verify(
    path: Path,
    project: Path | None = None,
    spec: Path | None = None,
    adapter: Path | None = None,
    report: Path | None = None,
) -> Verified:
    """Derive the decision in the certificate at `path` again, and hold its hashes against a project or single parts.

    Needs no project, store, model or network unless they are named. Raises UsageError for a file that is no certificate
    and for a path that is not there.
    """
    document, certificate = _read(path)
    named = (("--project", project), ("--spec", spec), ("--adapter", adapter), ("--report", report))
    if lost := next(((flag, place) for flag, place in named if place is not None and not place.exists()), None):
        raise UsageError(f"{lost[0]} {lost[1]}: there is nothing there.")
    try:
        checks = checked(document, certificate)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _no_certificate(path, f"its decision cannot be read: {error!r}") from error
    checks += _parts(certificate, spec, adapter, report)
    if project is not None:
        checks += _against_project(certificate, project)
    own = VERBS["gate"].implementation
    notes = () if own == certificate.gate else (f"decided by version {certificate.gate} of the gate; this is {own}",)
    return Verified(certificate, checks, notes)


def _read(path: Path) -> tuple[dict[str, Any], Certificate]:
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file. `flywheel certify ITERATION` writes one.")
    try:
        text = _unpacked(path.read_bytes()).decode("utf-8")
        document = json.loads(text, object_pairs_hook=distinct)
        return document, Certificate.model_validate_json(text, strict=True)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        raise _no_certificate(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from invalid
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise _no_certificate(path, str(error)) from error


def _unpacked(data: bytes) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        text = packed.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES:,} bytes when unpacked")
    return text


def _no_certificate(path: Path, why: str) -> UsageError:
    return UsageError(f"{path}: not a certificate ({why}). Ask for it again; `flywheel certify ITERATION` writes one.")


def _parts(certificate: Certificate, spec: Path | None, adapter: Path | None, report: Path | None) -> list[Check]:
    hashes = certificate.hashes
    wanted: list[tuple[str, Path | None, str, Callable[[Path], str]]] = [
        ("spec", spec, hashes.spec, _spec_hash),
        ("adapter", adapter, hashes.adapter, adapter_hash),
        ("report", report, hashes.report, _report_hash),
    ]
    return [_held(what, path, recorded, take) for what, path, recorded, take in wanted if path is not None]


def _held(what: str, path: Path, recorded: str, take: Callable[[Path], str]) -> Check:
    try:
        return _compared(what, path, recorded, take(path))
    except (OSError, ValueError, FlywheelError) as error:
        return Check(what, False, f"{path}: cannot be read ({error})")


def _compared(what: str, path: Path, recorded: str, found: str) -> Check:
    if found == recorded:
        return Check(what, True, f"{path} has the certified one")
    return Check(what, False, f"{path} has one with the hash {short(found)}, the certified has {short(recorded)}")


def _spec_hash(path: Path) -> str:
    return _text_hash(read_text(path / "flywheel.yaml" if path.is_dir() else path))


def _text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _report_hash(path: Path) -> str:
    """Of the report's data, whichever of its files is named."""
    return hash_file(path / "report.json" if path.is_dir() else path.with_name("report.json"))


def _against_project(certificate: Certificate, project: Path) -> list[Check]:
    root = project if project.is_dir() else project.parent
    folder = root / "reports" / f"iter-{certificate.decision['iteration']:03d}"
    checks = _parts(certificate, project, root / certificate.adapter_path, folder)
    checks += [_held("holdout", root / path, known, hash_file) for path, known in certificate.hashes.files.items()]
    return checks + _against_store(certificate, root / ".flywheel")


def _against_store(certificate: Certificate, state: Path) -> list[Check]:
    lineage, hashes = certificate.lineage, certificate.hashes
    try:
        with open_lookup(state) as query:
            scores = evidence(query, lineage.evaluate, lineage.curate, "")["scores"]
            rows = dataset_hash(query, lineage.curate)
    except (FlywheelError, LookupError) as error:
        why = "that iteration is not in it" if isinstance(error, LookupError) else str(error)
        return [Check("store", False, f"{state.name}: {why}")]
    found = (("scores", hashes.scores, scores), ("training rows", hashes.dataset, rows))
    return [_compared(what, state, recorded, now) for what, recorded, now in found]
