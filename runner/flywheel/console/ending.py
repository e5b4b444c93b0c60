"""How an apply ended, and what a person can do next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.console.looks import held_back_lines
from flywheel.text import plural

if TYPE_CHECKING:
    from flywheel.engine.apply import ApplyOutcome
    from flywheel.engine.project import Workspace

Row = dict[str, Any]
GOES_ON = "`flywheel apply` goes on where it was"


def ending_text(
    outcome: ApplyOutcome, project: Workspace, found: Row, iterations: int, until: str | None = None
) -> str:
    """What came of it, and the commands that come next. `found`: the project's status; `iterations`: of the plan;
    `until`: the step that it was not to go beyond."""
    has_nothing_to_do = outcome.ran == outcome.left == 0
    as_wanted = f"{until} is done" if until else "everything is as the spec wants it"
    said = f"Nothing to do: {as_wanted}." if has_nothing_to_do else _came_of_it(outcome, found)
    steps = _next_steps(outcome, project, found, iterations, until)
    told = [said, *([] if has_nothing_to_do else _so_far(project, found["lessons"]))]
    return "\n".join([*told, *(f"  {what + ':':<8} {command}" for what, command in steps)])


def _so_far(project: Workspace, lessons: Row) -> list[str]:
    from flywheel.report.words import beside_people  # with it comes all of the report: not where nothing was done

    loop = project.spec.loop
    prices = loop.human_usd_per_example, loop.human_minutes_per_example
    beside = beside_people(lessons["accepted"], lessons["usd"], *prices)
    return [f"  so far:  {beside}"] if beside else []


def error_text(outcome: ApplyOutcome) -> str:
    """For stderr: what stopped it, and that nothing of it is lost."""
    if outcome.exit_code == 130:
        return f"interrupted, with {plural(outcome.left, 'step')} to go; {GOES_ON}."
    return outcome.error


def _came_of_it(outcome: ApplyOutcome, found: Row) -> str:
    promoted = ", ".join(str(number) for number in outcome.promoted)
    # An iteration that an earlier run promoted may wait, be deployed now, or be refused: "nothing" would deny it.
    said = [f"promoted in iteration {promoted}"] if promoted else []
    said += held_back_lines({n: why for n, why in found["held_back"].items() if n in outcome.promoted})
    said += ["nothing was promoted: the incumbent stays"] if outcome.exit_code == 3 else []
    said += [f"{plural(outcome.ran, 'step')} done"] if not said else []
    if found["deployments"]:
        last = found["deployments"][-1]
        said.append(f"deployed: {last['model_id']} (iteration {last['iteration']})")
    return "; ".join(said)


def _next_steps(
    outcome: ApplyOutcome, project: Workspace, found: Row, iterations: int, until: str | None
) -> list[tuple[str, str]]:
    """(what it does, command), of those that work now."""
    from flywheel.engine.asking import example_row

    at = _option(project.file)
    steps = []
    if found["deployments"]:
        task = next(iter(project.spec.tasks))
        steps.append(("ask it", f"flywheel ask {task} {example_row(project, task)}{at}"))
    if (project.root / "reports" / "index.html").exists():
        steps.append(("look", f"flywheel report --open{at}"))
    if outcome.exit_code == 0 and until:
        steps.append(("go on", f"flywheel apply{at}"))
    elif outcome.exit_code in (0, 3):
        steps.append(("go on", f"flywheel apply --iterations {iterations + 1}{at}"))
    elif outcome.exit_code == 1:
        steps.append(("mended?", f"flywheel apply{at}"))
    return steps


def _option(file: Path) -> str:
    return "" if file == Path("flywheel.yaml") else f" --file {shlex.quote(str(file))}"
