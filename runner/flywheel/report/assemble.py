"""From the store's rows to one `Report`. Pure: rows come from a `query` callable, the rest from `ReportFacts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from flywheel.errors import StoreError
from flywheel.records.decision import Precondition, RuleResult
from flywheel.report import (
    baseline,
    collapse,
    following,
    items,
    ledger,
    lessons,
    queries,
    rewards,
    scoring,
    shadow,
    trust,
    words,
)
from flywheel.report.facts import ReportFacts
from flywheel.report.model import (
    Banner,
    Changes,
    Deployed,
    Examples,
    Explored,
    Funnel,
    Modes,
    Movement,
    NodeIdentity,
    Note,
    Outcome,
    Provenance,
    Report,
    Scores,
    Staged,
    Worse,
)
from flywheel.report.scoring import Chain, Query, Row, decoded
from flywheel.report.words import shown

#: Characters of the spec that provenance carries; a longer one is cut and its hash still names it.
SPEC_LIMIT = 60_000

TARGET_EXAMPLES: Mapping[Movement, int] = {"fixed": 6, "broken": 6, "still_wrong": 4}
GUARD_EXAMPLES: Mapping[Movement, int] = {"broken": 6}


def assemble(query: Query, iteration: int, chain: Sequence[Mapping[str, Sequence[str]]], facts: ReportFacts) -> Report:
    """The report of one iteration.

    `query(sql, params)` gives rows as dicts. `chain[i]` maps each kind of node (probe, diagnose, budget,
    generate, verify, curate, train, evaluate, shadow, ablate, gate) to its fingerprints in iteration i + 1; later
    iterations are not looked at. Without an adapter the outcome is "untrained", whatever the gate's row says.
    Raises StoreError for an adapter without a decision.
    """
    turns = {n: nodes for n, nodes in enumerate(chain, start=1) if n <= iteration}
    nodes = turns[iteration]
    scores = scoring.scores(query, turns, iteration, facts)
    taught = query(queries.taught(nodes), ())
    modes = scoring.modes(query, nodes, iteration, facts, scores, taught)
    funnel = lessons.funnel(query, nodes, facts, taught)
    training = lessons.training(query, nodes)
    verdict = _verdict(query, nodes, scores, modes, funnel, training.trained, facts.approve == "human")
    every = queries.side_by_side(nodes, nodes)
    audit = trust.audit(query, facts)
    others = [suite.name for suite in facts.suites if suite.role != "target"]
    examples, guard_examples = _with_pasts(
        query,
        turns,
        scoring.examples(query, nodes, iteration, facts, scoring.targets(facts), TARGET_EXAMPLES),
        scoring.examples(query, nodes, iteration, facts, others, GUARD_EXAMPLES),
    )
    return Report(
        name=facts.name,
        description=shown(facts.description, 2_000),
        iteration=iteration,
        iterations=facts.iterations,
        generated_at=facts.generated_at,
        verdict=verdict,
        baseline=baseline.baseline(query, nodes, facts, verdict.incumbent_id),
        approvals=trust.approvals(query, nodes, facts, verdict.outcome == "promote"),
        live=trust.live(facts, {verdict.incumbent_id, verdict.candidate_id}),
        shadow=shadow.shadow(query, nodes, facts),
        changes=_changes(query, turns, iteration, facts),
        scores=scores,
        modes=modes,
        followed=following.followings(query, nodes, facts, modes, taught),
        examples=examples,
        guard_examples=guard_examples,
        items=Explored(
            total=query(queries.items_total(nodes), ())[0]["n"],
            query=every,
            targets=tuple((suite.name, suite.target) for suite in facts.suites),
        ),
        funnel=funnel,
        teachers=ledger.teachers(query, nodes, facts, modes, taught),
        strategies=ledger.strategies(query, nodes, facts, modes, taught),
        verifiers=lessons.verifiers(query, nodes, facts),
        audit=audit,
        ablations=trust.ablations(query, nodes),
        training=training,
        rewards=rewards.rewards(query, nodes, facts, audit),
        trend=scoring.trend(query, turns, facts),
        collapse=collapse.collapse(query, turns),
        costs=lessons.costs(query, turns, iteration),
        measurement=trust.measurement(query, nodes),
        provenance=_provenance(query, nodes, facts),
        deployed=deployed(query),
    )


def _with_pasts(query: Query, turns: Chain, *found: Examples) -> list[Examples]:
    """The same items, with how each went in every iteration so far."""
    past = items.pasts(query, turns, [row.item_id for examples in found for row in examples.rows])
    return [
        examples.model_copy(
            update={
                "rows": tuple(
                    row.model_copy(update={"past": tuple(past.get((row.suite, row.item_id), ()))})
                    for row in examples.rows
                )
            }
        )
        for examples in found
    ]


def _changes(query: Query, turns: Chain, iteration: int, facts: ReportFacts) -> Changes:
    sql = queries.dataset_change(turns.get(iteration - 1, {}), turns[iteration])
    rows = query(sql, ())[0]
    notes = tuple(Note(area=area, text=shown(text, 300)) for area, text in facts.changed)
    return Changes(notes=notes, rows_added=rows["added"], rows_removed=rows["removed"], query=sql)


def _verdict(
    query: Query, nodes: queries.Nodes, scores: Scores, modes: Modes, funnel: Funnel, trained: bool, waits: bool
) -> Banner:
    sql = queries.decision(nodes)
    row: Row = next(iter(query(sql, ())), {})
    rules = tuple(RuleResult(**rule) for rule in decoded(row.get("rules")) or ())
    preconditions = tuple(Precondition(**p) for p in decoded(row.get("preconditions")) or ())
    if trained and not row:
        raise StoreError("the iteration has an adapter but no decision: let `flywheel apply` finish it, then report")
    outcome: Outcome = row["outcome"] if trained else "untrained"
    target = next((score for score in scores.suites if score.role == "target"), None)
    blocked = tuple(p.name for p in preconditions if not p.holds)
    why = words.why_untrained(modes, funnel)
    changes = [s.change for s in (*scores.suites, *scores.slices)] + [mode.change for mode in modes.rows]
    short = [s.suite for s in scores.suites if s.role == "target" and words.mostly_wrong(s)]
    return Banner(
        outcome=outcome,
        headline=words.headline(outcome, target, rules, blocked, why, waits),
        explanation=shown(row.get("explanation") or "", 2_000),
        rules=rules,
        preconditions=preconditions,
        incumbent_id=row.get("incumbent_id") or "",
        candidate_id=row.get("candidate_id") or "",
        look=row.get("look"),
        stages=_stages(decoded(row.get("stages")) or {}),
        mostly_wrong=tuple(short) if outcome == "promote" else (),
        worse=_worse(scores, modes),
        took_over=tuple(words.took_over(mode) for mode in modes.rows if mode.took_over),
        compared=sum(change is not None for change in changes),
        query=sql,
    )


def _stages(found: Mapping[str, Row]) -> tuple[Staged, ...]:
    return tuple(
        Staged(
            suite=suite, used=s["ends"][s["stage"] - 1], planned=s["ends"][-1], stage=s["stage"], stages=len(s["ends"])
        )
        for suite, s in sorted(found.items())
    )


def _worse(scores: Scores, modes: Modes) -> tuple[Worse, ...]:
    """Suites and slices that fell, error modes that rose and did not only take errors over from others."""
    fell = [
        Worse(name=words.score_name(s), change=s.change, items=words.items_of(s))
        for s in (*scores.suites, *scores.slices)
        if s.change and s.change.direction == "down"
    ]
    rose = [
        Worse(name=f"error mode {m.name}", change=m.change, items=words.filtered(mode=m.name))
        for m in modes.rows
        if m.change and m.change.direction == "up" and not m.took_over
    ]
    return (*fell, *rose)


def _provenance(query: Query, nodes: queries.Nodes, facts: ReportFacts) -> Provenance:
    sql = queries.adapters(nodes)
    adapter: Row = next(iter(query(sql, ())), {})
    decided: Row = next(iter(query(queries.decision(nodes), ())), {})
    runs, runs_sql = trust.runs(query, nodes)
    hashes = [("spec", facts.spec_hash)]
    hashes += [(name, adapter.get(f"{name}_hash") or "") for name in ("base", "dataset", "weights")]
    hashes.append(("decision", decided.get("decision_hash") or ""))
    return Provenance(
        command=facts.command,
        seed=facts.seed,
        spec_hash=facts.spec_hash,
        spec_text=shown(facts.spec_text, SPEC_LIMIT),
        versions=tuple(sorted(facts.versions.items())),
        nodes=tuple(NodeIdentity(kind=kind, fingerprint=node) for kind, found in nodes.items() for node in found),
        hashes=tuple((name, digest) for name, digest in hashes if digest),
        training=lessons.settings_of(adapter),
        runs=runs,
        query=sql,
        runs_query=runs_sql,
    )


def deployed(query: Query) -> Deployed | None:
    """What the pointer names now; None before the first deployment."""
    sql = queries.deployed()
    row = next(iter(query(sql, ())), None)
    if row is None:
        return None
    at = (
        datetime.fromtimestamp(row["deployed_at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
        if row["deployed_at"] is not None
        else ""
    )
    named = {key: row[key] or "" for key in ("model_id", "action", "weights_hash")}
    return Deployed(iteration=row["iteration"] or 0, at=at, query=sql, **named)
