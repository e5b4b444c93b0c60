"""What a decision rests on: scores, training rows, adapter, holdout, report. Hashed by the gate, and looked at again
before a person's word is taken, before anything is deployed, and before the pointer moves back.

Everything is found from the store alone, so that a model of an earlier spec can be looked at too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flywheel.errors import FlywheelError, Tampered
from flywheel.gate.grounds import Grounds
from flywheel.gate.refusals import is_refusal
from flywheel.hashing import fingerprint, hash_file, short
from flywheel.nodes.lessons.lesson import LESSON_ID, lesson_id_of
from flywheel.records import TOO_LONG
from flywheel.records.decision import Decision, PairedItem, Precondition, Staging
from flywheel.records.nodes import finished, makers, record_of
from flywheel.spec.models import GateRule, Measure
from flywheel.student.loading import adapter_hash
from flywheel.text import plural

Query = Callable[..., list[dict[str, Any]]]
Row = Mapping[str, Any]

#: Columns of `scores` that a decision may hang on. Not `seconds`: they differ from run to run, and a rule on them is
#: recomputed anyway.
SCORED = '"row", gold, answer, outcome, score, mode, cluster, tokens, truncated'


@dataclass(frozen=True)
class Lineage:
    """The nodes of one iteration that a deployed model comes from."""

    gate: str
    evaluate: str
    train: str
    """The one that made the model: it may have learned from judged answers after the lessons."""
    curate: str
    report: str

    @classmethod
    def of(cls, nodes: Mapping[str, Sequence[str]]) -> Lineage:
        """Of an iteration's nodes by verb; of several the last."""
        last = {field.name: nodes[field.name][-1] for field in fields(cls)}
        return cls(**{**last, "train": makers(nodes)[0]})


# --- what the gate reads ----------------------------------------------------------------------------------------------


Scores = Mapping[tuple[str, str], Row]
"""(suite, item) → its row of `scores`, for one arm."""


def ruling(
    rules: Sequence[GateRule],
    incumbent: Scores,
    candidate: Scores,
    preconditions: Sequence[Precondition] = (),
    look: int = 1,
    seed: int = 0,
    noise: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
    stages: Mapping[str, Row] = MappingProxyType({}),
) -> Decision:
    """What the gate says of two models' scores.

    `noise`: suite → `items` measured twice with one model, and how many of them `differ`; `stages`: suite → `ends` and
    `stage` of its `Staging`, where it may have been evaluated in part.
    """
    return grounds_of(rules, incumbent, candidate, preconditions, look, seed, noise, stages).decide()


def grounds_of(
    rules: Sequence[GateRule],
    incumbent: Scores,
    candidate: Scores,
    preconditions: Sequence[Precondition],
    look: int,
    seed: int,
    noise: Mapping[str, Mapping[str, int]],
    stages: Mapping[str, Row] = MappingProxyType({}),
) -> Grounds:
    """What the gate reads of two models' scores; arguments as of `ruling`."""
    items = sorted({*incumbent, *candidate})
    pairs = [(suite, item, incumbent.get((suite, item), {}), candidate.get((suite, item), {})) for suite, item in items]
    return Grounds(
        rules,
        {rule.suite: [_scored(*pair[1:]) for pair in pairs if pair[0] == rule.suite] for rule in rules},
        preconditions,
        look,
        seed,
        {
            (rule.suite, rule.measure): [_measured(rule.measure, *pair[1:]) for pair in pairs if pair[0] == rule.suite]
            for rule in rules
            if rule.measure is not None
        },
        {suite: found["differ"] / found["items"] for suite, found in noise.items() if found["items"]},
        {suite: Staging(tuple(found["ends"]), found["stage"]) for suite, found in stages.items()},
    )


def _scored(item: str, before: Row, after: Row) -> PairedItem:
    cluster = after.get("cluster") or before.get("cluster")
    too_long = bool(before.get("too_long") or after.get("too_long"))
    scores, modes = (before.get("score"), after.get("score")), (before.get("mode"), after.get("mode"))
    return PairedItem(item, *scores, *modes, cluster, too_long)


def _measured(measure: Measure, item: str, before: Row, after: Row) -> PairedItem:
    cluster = after.get("cluster") or before.get("cluster")
    return PairedItem(item, _cost(measure, before), _cost(measure, after), cluster=cluster)


def _cost(measure: Measure, row: Row) -> float | None:
    if measure == "refusals":
        return float(is_refusal(row["answer"] or "")) if row else None
    value = row.get(measure)
    return None if value is None else float(value)


def scores_of(query: Query, evaluate: str, arm: str) -> dict[tuple[str, str], dict[str, Any]]:
    """One arm's scores."""
    rows = query(
        """SELECT suite, item_id, cluster, score, mode, answer, tokens, seconds, truncated,
             list_contains(json_extract_string(verdicts, '$[*].verifier'), ?) AS too_long
           FROM scores WHERE node = ? AND arm = ?""",
        [TOO_LONG, evaluate, arm],
    )
    return {(row["suite"], row["item_id"]): row for row in rows}


def scores_in(rows: Iterable[Row], arm: str) -> dict[tuple[str, str], Row]:
    """The same from rows that are not yet in the store."""
    return {
        (row["suite"], row["item_id"]): {
            **row, "too_long": any(verdict["verifier"] == TOO_LONG for verdict in row["verdicts"] or ())
        }
        for row in rows
        if row["arm"] == arm
    }  # fmt: skip


# --- hashes -----------------------------------------------------------------------------------------------------------


def evidence(query: Query, evaluate: str, curate: str, adapter_hash: str | None) -> dict[str, str]:
    """Part → hash, of what is in the store now."""
    return {
        "scores": _scores_hash(query, evaluate),
        "training rows": dataset_hash(query, curate),
        "adapter": adapter_hash or "",
        "holdout": fingerprint(holdout_files(query, evaluate)),
    }


def decision_hash(row: Row, found: Mapping[str, str]) -> str:
    """Of a row of `decisions` and the evidence that it was made from."""
    body = {k: v for k, v in row.items() if k not in ("decision_hash", "decided_at")}
    if body.get("stages") is None:
        body.pop("stages", None)  # as it was hashed before there were any
    return fingerprint({**body, "evidence": dict(found)})


def _scores_hash(query: Query, evaluate: str) -> str:
    rows = query(
        f"""SELECT suite, arm, item_id, {SCORED} FROM scores
            WHERE node = ? AND arm IN ('incumbent', 'candidate') ORDER BY suite, arm, item_id, answer""",
        [evaluate],
    )
    # As text: a score may be NaN, which no fingerprint takes.
    return fingerprint([[str(cell) for cell in row.values()] for row in rows])


def dataset_hash(query: Query, curate: str) -> str:
    """As curation computes it."""
    rows = query("SELECT lesson_id, prompt, target FROM dataset WHERE node = ? ORDER BY position", [curate])
    return fingerprint([[row["lesson_id"], row["prompt"], row["target"]] for row in rows])


def holdout_files(query: Query, evaluate: str) -> dict[str, str]:
    """Suite file → its hash when it was planned."""
    inputs = record_of(query, evaluate).inputs
    paths = [value for part, value in inputs.items() if part.startswith("evals.") and part.endswith(".data") and value]
    return {path: str(inputs[f"file {path}"]) for path in sorted(set(paths))}


def report_hash(root: Path, summary: Row) -> str:
    """Of an iteration's report as a person sees it: `report.json` and the page."""
    page = root / str(summary["path"])
    files = [page.with_name("report.json"), page]
    if lost := [file for file in files if not file.is_file()]:
        raise Tampered(f"{lost[0].relative_to(root)} is gone. Run `flywheel apply` to write the report again.")
    return fingerprint([hash_file(file) for file in files])


def unverified(query: Query, curate: str) -> list[str]:
    """Training rows that no verifier let pass, and rows that are not what their id says."""
    rows = query(
        f"""SELECT lesson_id, task, "row", target, position, origin != 'seed' AND
                (candidate_id IS NULL OR candidate_id NOT IN (SELECT candidate_id FROM judged WHERE outcome = 'pass'))
                AS unjudged
            FROM dataset WHERE node = ? AND (unjudged OR lesson_id IS DISTINCT FROM {LESSON_ID}) ORDER BY position""",
        [curate],
    )
    return [
        row["lesson_id"]
        for row in rows
        if row["unjudged"] or lesson_id_of(row["task"], row["row"], row["target"]) != row["lesson_id"]
    ]


# --- looking again ----------------------------------------------------------------------------------------------------


def decision_of(query: Query, gate: str) -> dict[str, Any]:
    return query("SELECT * FROM decisions WHERE node = ?", [gate])[-1]


def verify_store(query: Query, lineage: Lineage) -> dict[str, Any]:
    """The decision, where it still follows from the store's rows. Raises Tampered, naming what does not fit."""
    decision = decision_of(query, lineage.gate)
    name = f"the decision of iteration {decision['iteration']}"
    if strange := unverified(query, lineage.curate):
        raise Tampered(
            f"training rows: {plural(len(strange), 'row')} of iteration {decision['iteration']} no verifier let pass "
            f"({', '.join(strange[:3])}): put into the store, or edited, after verification. {_RESTORE}"
        )
    adapter = query("SELECT * FROM adapters WHERE node = ?", [lineage.train])[-1]
    recorded = record_of(query, lineage.gate).summary
    now = evidence(query, lineage.evaluate, lineage.curate, adapter["weights_hash"])
    changed = [part for part, digest in now.items() if recorded["evidence"].get(part) != digest]
    if changed or now["training rows"] != adapter["dataset_hash"]:
        raise Tampered(f"{' and '.join(changed) or 'training rows'}: edited in the store after {name}. {_RESTORE}")
    if decision_hash(decision, now) != decision["decision_hash"]:
        raise Tampered(f"{name} does not match its hash: its row was edited in the store. {_RESTORE}")
    if _gist(_decided_again(query, lineage, decision)) != _gist(_as_recorded(decision)):
        raise Tampered(f"{name} does not follow from its scores: its row was edited in the store. {_RESTORE}")
    return decision


_RESTORE = (
    "Nothing was deployed. Put back a copy of the store (.flywheel/snapshot.duckdb is from the end of the last apply), "
    "and run the same command again."
)


def _decided_again(query: Query, lineage: Lineage, decision: Row) -> Decision:
    return grounds_in(query, lineage, decision).decide()


def grounds_in(query: Query, lineage: Lineage, decision: Row) -> Grounds:
    """What the gate read when it made `decision`, out of the store."""
    gate, evaluated = record_of(query, lineage.gate), record_of(query, lineage.evaluate)
    return grounds_of(
        [GateRule(**rule) for part, rule in gate.inputs.items() if part.startswith("gate[")],
        scores_of(query, lineage.evaluate, "incumbent"),
        scores_of(query, lineage.evaluate, "candidate"),
        [Precondition(**found) for found in decision["preconditions"]],
        decision["look"],
        gate.inputs["seed"],
        evaluated.summary.get("noise", {}),
        decision.get("stages") or {},
    )


def _as_recorded(decision: Row) -> dict[str, Any]:
    return {"outcome": decision["outcome"], "rules": decision["rules"]}


def _gist(decision: Decision | Row) -> Any:
    """What a later version of the gate must find again too."""
    found = asdict(decision) if isinstance(decision, Decision) else decision
    parts = ("label", "suite", "comparison", "items", "fixed", "broken", "candidate", "observed", "outcome")
    return found["outcome"], sorted(str([rule[part] for part in parts]) for rule in found["rules"])


def verify_adapter(query: Query, root: Path, train: str) -> None:
    """Raise Tampered where the trained adapter on disk is not the recorded one."""
    adapter = query("SELECT * FROM adapters WHERE node = ?", [train])[-1]
    folder = root / adapter["path"]
    if not (folder / "adapter_model.safetensors").is_file():
        raise Tampered(f"{adapter['path']}: the adapter is gone. Run `flywheel apply` to train it again.")
    if (found := adapter_hash(folder)) != adapter["weights_hash"]:
        raise Tampered(
            f"{adapter['path']}: the adapter has changed since it was trained (hash {short(found)}, recorded "
            f"{short(adapter['weights_hash'])}). Put it back, or delete the folder and run `flywheel apply` to train "
            "it again. Nothing was deployed."
        )


def verify_holdout(query: Query, root: Path, evaluate: str, later: bool = False) -> None:
    """Raise Tampered where a suite's file is not the one that both models were measured on.

    With `later`, contents that a later evaluation was planned with will do: a holdout may grow, in the open.
    """
    for path, planned in holdout_files(query, evaluate).items():
        now = hash_file(root / path) if (root / path).is_file() else ""
        if now == planned or (later and now in _known_contents(query, path)):
            continue
        what = "has changed since the models were measured on it" if now else "is gone"
        raise Tampered(
            f"{path}: the holdout {what}. Put it back, or run `flywheel apply` to measure anew. Nothing was deployed."
        )


def _known_contents(query: Query, path: str) -> set[str]:
    return {str(record.inputs.get(f"file {path}", "")) for record in finished(query, verb="evaluate")} - {""}


def verify_report(query: Query, root: Path, report: str, published: bool = True) -> None:
    """Raise Tampered where the report is not as written: the kept one, and if `published` the one under reports/."""
    summary = record_of(query, report).summary
    kept = root / summary["artifact"]
    page = root / summary["path"]
    pairs = [(page.with_name(name), kept / name) for name in ("report.json", "index.html")] if published else []
    for file in [kept / "report.json", *(file for pair in pairs for file in pair)]:
        if not file.is_file():
            raise Tampered(f"{file.relative_to(root)} is gone. Run `flywheel apply` to write the report again.")
    changed = [file for file, original in pairs if hash_file(file) != hash_file(original)]
    if hash_file(kept / "report.json") != summary["hash"]:
        changed.append(kept / "report.json")
    if changed:
        raise Tampered(
            f"{changed[0].relative_to(root)}: the report was edited after it was written. Delete "
            f"{page.parent.relative_to(root)} and run `flywheel apply` to write it again. Nothing was deployed."
        )


def lineage_in(manifest: Row) -> Lineage:
    """Raises FlywheelError for a manifest of the first version, which names no evidence."""
    if "lineage" not in manifest:
        raise FlywheelError(
            f"{manifest['model_id']} was deployed by an earlier flywheel, which did not record what its decision rests "
            "on. Run `flywheel apply` to measure and deploy it again."
        )
    return Lineage(**manifest["lineage"])
