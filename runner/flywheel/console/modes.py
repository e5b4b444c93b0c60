"""`flywheel modes` as text."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.engine.proposing.proposals import Proposal, Unnamed
from flywheel.report import words
from flywheel.stats import wilson
from flywheel.text import one_line, plural


def modes_text(found: Sequence[Unnamed]) -> str:
    """Task by task: what the fallback took, the groups in it, and how to accept one."""
    if not found:
        return "Every failure has a mode of its own: nothing is left to the fallback."
    blocks = [block for task in found for block in (_head(task), *map(_group, task.proposals))]
    if any(one.when for task in found for one in task.proposals):
        blocks.append("Take those that mean something: flywheel modes --accept NAME --accept NAME | patch -p1")
    return "\n\n".join(blocks)


def _head(task: Unnamed) -> str:
    looked = f", of which {task.looked_at:,} were looked at" if task.looked_at < task.failures else ""
    groups = plural(len(task.proposals), "group") if task.proposals else "no two groups of them can be told apart"
    return (
        f"{task.task}: {task.failures:,} of {plural(task.all_failures, 'failure')} fell to {task.fallback!r}{looked}; "
        f"{groups}"
    )


def _group(one: Proposal) -> str:
    if one.when:
        lines = [
            f"  {one.name}: {plural(one.failures, 'failure')}",
            f"    when: {one.when}",
            f"    on the half that it was not found on: right for {_share(one.right, one.said)} that it names, names "
            f"{_share(one.right, one.there)} of the group",
        ]
    else:
        lines = [f"  {plural(one.failures, 'failure')} that are alike, and no short predicate tells them"]
    lines += [
        f"    answer {one_line(str(e['answer']), 60)!r}"
        + (f", right {one_line(str(e['gold']), 60)!r}" if e["gold"] else "")
        for e in one.examples
    ]
    return "\n".join(lines)


def _share(right: int, n: int) -> str:
    if not n:
        return "0 of 0"
    low, high = wilson(right, n)
    return f"{right} of {n} ({words.percent(low)} to {words.percent(high)})"
