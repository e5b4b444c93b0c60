"""Tables, lives and status as text. Everything that a model wrote is shown escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flywheel.text import duration, one_line, plural, printable

if TYPE_CHECKING:
    from flywheel.engine.dataset import ExportedDataset
    from flywheel.engine.doctor import Diagnosis
    from flywheel.engine.export import Exported
    from flywheel.engine.reviewing.writing import Written

Row = dict[str, Any]


def table_text(rows: Sequence[Row], width: int = 60) -> str:
    """Columns aligned; long cells cut."""
    if not rows:
        return "(no rows)"
    names = list(rows[0])
    cells = [[one_line(cell(row[name]), width) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    lines = [names, ["-" * w for w in widths], *cells]
    text = "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)
    return f"{text}\n({plural(len(rows), 'row')})"


def cell(value: Any) -> str:
    """JSON of what is nested, six digits of a number, nothing for null, else the text."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def status_text(found: Row) -> str:
    lines = _run_lines(found["run"])
    if found.get("store") and found["run"]:
        lines.append(f"store: {found['store']}")
    if found["as_of_last_apply"]:
        lines.append(
            "What follows is as of the last apply that ended."
            if found["decisions"]
            else "Nothing was decided before it."
        )
    for decision in found["decisions"]:
        said = one_line(decision["explanation"], 150)
        lines.append(f"{decision['decided_at']:%Y-%m-%d %H:%M} iteration {decision['iteration']}: {said}")
    lines += held_back_lines(found["held_back"])
    for row in found["approvals"][-5:]:
        said = {"approve": "approved", "reject": "rejected"}[row["verdict"]]
        note = f": {one_line(row['note'], 100)}" if row["note"] else ""
        person = one_line(row["person"], 60)
        lines.append(f"{row['given_at']:%Y-%m-%d %H:%M} iteration {row['iteration']} {said} by {person}{note}")
    for row in found["deployments"][-5:]:
        lines.append(
            f"{row['deployed_at']:%Y-%m-%d %H:%M} {row['action']} {row['model_id']} (iteration {row['iteration']})"
        )
    if found["canary"]:
        lines.append(f"canary: {found['canary']}")
    if found["deployments"]:
        lines.append(f"deployed now: {found['deployments'][-1]['model_id']}")
    return "\n".join(lines)


def held_back_lines(held_back: Mapping[int, str]) -> list[str]:
    """Of promotions that did not go into service, by iteration."""
    return [f"iteration {number} is not deployed: {one_line(why, 400)}" for number, why in sorted(held_back.items())]


def _run_lines(run: Row | None) -> list[str]:
    if run is None:
        return ["no run yet: flywheel apply"]
    done = f"{run['steps_done']:,} of {plural(run['steps'], 'step')} done"
    if run["status"] == "killed":
        return [f"run {run['run_id']} was killed, {done}; `flywheel apply` goes on where it was."]
    if run["status"] != "running":
        why = f" ({run['error']})" if run["error"] not in ("", run["status"]) else ""
        return [f"run {run['run_id']}: {run['status']}{why}"]
    lines = [f"run {run['run_id']} is running since {duration(run['seconds'])}, {done}."]
    for node, said in run["running"].items():
        counted = f"{said['done'] or 0:,}/{said['total']:,} {said.get('what') or ''}" if said.get("total") else ""
        loss = f"  loss {said['loss']:.3f}" if said.get("loss") is not None else ""
        lines.append(f"  {node:<28} {counted}{loss}".rstrip())
    return lines


def approval_text(found: Row) -> str:
    """What a person has just approved or rejected: the decision in words, scores, where the report is."""
    decision, row = found["decision"], found["approval"]
    lines = [f"iteration {row['iteration']}, {decision['candidate_id']}: {one_line(decision['explanation'], 2_000)}"]
    lines += [
        f"  {one_line(s['suite'], 40):<24} incumbent {_percent(s['incumbent'])}  candidate {_percent(s['candidate'])}"
        f"  ({plural(s['items'], 'item')})"
        for s in found["scores"]
    ]
    lines.append(f"  report: {found['report']}")
    lines += [f"  {name:<14} {row[name]}" for name in ("decision_hash", "report_hash", "weights_hash", "dataset_hash")]
    said = {"approve": "approved", "reject": "rejected"}[row["verdict"]]
    lines.append(f"{said} by {one_line(row['person'], 100)}. Now: flywheel apply")
    return "\n".join(lines)


def findings_text(findings: Sequence[Diagnosis]) -> str:
    """A line for each thing the doctor looked at, and under it what would mend it."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.outcome:<8} {finding.name:<12} {printable(finding.text)}")
        if finding.mend:
            lines.append(f"{'':<21} {finding.mend}")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"


def exported_text(found: Exported) -> str:
    """What was written, and how to use it."""
    lines = [f"{found.folder}: {found.model_id} (iteration {found.iteration})"]
    if found.prompts:
        untied = "; output layer untied from the embedding" if found.untied else ""
        lines.append(f"merged: {found.equal} of {found.prompts} answers equal the adapter's{untied}")
    lines += [f"note: {note}" for note in found.notes]
    return "\n".join([*lines, f"How to ask it: {found.folder / 'README.md'}"])


def exported_dataset_text(found: ExportedDataset) -> str:
    """How many rows of which origin were written, and where it says how to load them."""
    origins = ", ".join(f"{count:,} {origin}" for origin, count in sorted(found.origins.items()))
    what = f"{plural(found.rows, 'row')} ({origins}) of {found.model_id} (iteration {found.iteration})"
    return f"{found.folder}: {what}\nHow to load it: {found.folder / 'README.md'}"


def written_text(found: Sequence[Written]) -> str:
    """A line for each file that settled words went into."""
    lines = [f"{file.path}: {plural(file.rows, 'row')} written, {file.left:,} still open" for file in found]
    return "\n".join(lines or ["nothing to write: no --rows, and no judge with a file of cases"])
