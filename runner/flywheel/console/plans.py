"""A plan, drawn: as a table of what would happen and why, and as a graph."""

from __future__ import annotations

from collections.abc import Mapping

from flywheel.plan import Plan, PlanNode
from flywheel.text import one_line, plural, usd

_MARKS = {"new": "+", "changed": "~", "reused": "=", "blocked": "!"}


def plan_text(
    plan: Plan,
    budgets: Mapping[int, Mapping[str, int]] | None = None,
    verbose: bool = False,
    training: str = "",
    rounds: str = "",
    targeting: str = "",
) -> str:
    """One line a node; reused ones are counted unless `verbose`. `budgets`: iteration → mode → lessons, where known.
    `training`: what is chosen where the spec leaves it open. `rounds`: how many answers are judged then.
    `targeting`: where it can hardly pay."""
    lines = [f"{plan.name}: {plural(plan.iterations, 'iteration')}, {plural(len(plan.nodes), 'node')}"]
    for iteration in range(1, plan.iterations + 1):
        nodes = [node for node in plan.nodes if node.iteration == iteration]
        reused = sum(node.status == "reused" for node in nodes)
        lines.append(f"\niteration {iteration}" + (f"  ({reused} reused)" if reused else ""))
        lines += [_line(node) for node in nodes if verbose or node.status != "reused"]
        if bought := (budgets or {}).get(iteration):
            lines.append(
                "  lessons bought: " + ", ".join(f"{mode or 'any mode'} {count}" for mode, count in bought.items())
            )
    if training:
        lines += ["", f"train, where the spec leaves it open: {training}."]
    if rounds:
        lines += ["", rounds]
    if targeting:
        lines += ["", targeting]
    return "\n".join([*lines, "", totals(plan)])


def _line(node: PlanNode) -> str:
    name = node.name.split(".", 1)[1]
    shown = one_line("; ".join(node.why[:3]) + (f" (+{len(node.why) - 3} more)" if len(node.why) > 3 else ""), 110)
    estimate = _estimate(node)
    return f"  {_MARKS[node.status]} {name:<28} {node.status:<8} {estimate:<34} {shown}".rstrip()


def _estimate(node: PlanNode) -> str:
    found = node.estimate
    parts = []
    if found.calls:
        parts.append(f"~{plural(found.calls, 'call')}")
    if found.tokens:
        parts.append(f"~{found.tokens:,} tokens")
    if found.usd:
        parts.append(f"~{usd(found.usd)}")
    if found.seconds is not None and node.status != "reused":
        parts.append(span(*found.seconds))
    return ", ".join(parts)


def totals(plan: Plan) -> str:
    pending = plan.pending
    if not pending:
        return "Nothing to do: everything is as the spec wants it."
    blocked = sum(node.status == "blocked" for node in pending)
    counted = [f"{plural(len(pending) - blocked, 'node')} to run"]
    if blocked:
        counted.append(f"{blocked} blocked")
    calls, price = sum(n.estimate.calls for n in pending), sum(n.estimate.usd for n in pending)
    counted.append(f"about {plural(calls, 'teacher call')}, {usd(price)}{_unpriced(plan)}")
    counted.append(f"{span(*plan.seconds)}{_untimed(plan)}")
    return "; ".join(counted) + "."


def span(low: float, high: float) -> str:
    """Two times as one: `2 to 5 min`, each rounded as far as it can be trusted."""
    unit, seconds = next(
        (name, size) for name, size in (("h", 3600), ("min", 60), ("s", 1)) if high >= 2 * size or size == 1
    )
    least, most = (round(time / seconds, 1 if unit == "h" else None) for time in (low, high))
    return f"{least:g} to {most:g} {unit}" if least < most else f"{most:g} {unit}"


def _unpriced(plan: Plan) -> str:
    names = ", ".join(plan.unpriced)
    return f" without {names}, whose price nobody knows (usd_per_million_input and _output)" if names else ""


def _untimed(plan: Plan) -> str:
    """What is not in the sum."""
    names = plan.untimed
    return f" without {', '.join(names)}, whose time nobody knows yet" if names else ""


def graph_dot(plan: Plan) -> str:
    """Graphviz DOT."""
    colours = {"new": "lightgreen", "changed": "khaki", "reused": "lightgrey", "blocked": "lightpink"}
    nodes = [f'  "{n.name}" [style=filled, fillcolor={colours[n.status]}];' for n in plan.nodes]
    edges = [f'  "{parent}" -> "{n.name}";' for n in plan.nodes for parent in n.parents]
    return "\n".join(["digraph flywheel {", "  rankdir=LR; node [shape=box, fontname=monospace];", *nodes, *edges, "}"])


def graph_mermaid(plan: Plan) -> str:
    ids = {node.name: f"n{i}" for i, node in enumerate(plan.nodes)}
    nodes = [f'  {ids[n.name]}["{n.name} ({n.status})"]' for n in plan.nodes]
    edges = [f"  {ids[parent]} --> {ids[n.name]}" for n in plan.nodes for parent in n.parents]
    return "\n".join(["flowchart LR", *nodes, *edges])
