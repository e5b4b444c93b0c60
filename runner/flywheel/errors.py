"""What can go wrong, as one small tree.

    FlywheelError              anything a user can act on; carries an exit code
    ├── SpecInvalid            the YAML (or a file it names) is wrong; exit 4
    ├── UsageError             the command line is wrong; exit 64
    ├── StoreError             the store cannot be used
    │   └── StoreLocked        another process holds it; exit 75
    ├── NodeFailed             one node of the DAG failed; exit 1
    ├── BudgetStop             a declared limit of calls, tokens or dollars is reached; exit 5
    ├── ApprovalNeeded         the gate promoted, and a person has not spoken yet; exit 6
    ├── PlanMoved              a saved plan no longer fits the store or the files; exit 1
    └── Tampered               a hash does not match what was recorded; exit 1

Every message ends in what to do next. Anything that is not a FlywheelError is a bug.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

#: A place in the YAML: keys and list indices from the root, never string-joined.
Path_ = tuple[str | int, ...]


class FlywheelError(Exception):
    """A fault the user can act on. `exit_code` is what the process ends with."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True)
class Fault:
    """One thing wrong with an input file.

    `path` is the place in the YAML tree; `file`, `line`, `column` (1-based) are filled by the loader, or
    by whoever reads a data file. `hint` is the nearest right thing or the next command.
    """

    message: str
    path: Path_ = ()
    hint: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    source: str = ""
    warning: bool = False


class SpecInvalid(FlywheelError):
    """The spec or a file it names is invalid; `faults` holds every fault found, with places."""

    exit_code = 4

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("\n".join(render_fault(f) for f in faults))


class UsageError(FlywheelError):
    exit_code = 64


class StoreError(FlywheelError):
    pass


class StoreLocked(StoreError):
    exit_code = 75


class NodeFailed(FlywheelError):
    pass


class BudgetStop(FlywheelError):
    exit_code = 5


class ApprovalNeeded(FlywheelError):
    exit_code = 6


class PlanMoved(FlywheelError):
    pass


class Tampered(FlywheelError):
    pass


def dotted(path: Path_) -> str:
    """`("gate", 0, "suite")` → `gate[0].suite`, for people only."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else (f".{part}" if out else part)
    return out


def render_fault(fault: Fault) -> str:
    """`file:line:col: where: what. Hint` with the source line and a caret under it."""
    place = ":".join(str(p) for p in (fault.file, fault.line, fault.column) if p)
    head = ": ".join(p for p in (place, dotted(fault.path), fault.message) if p)
    if fault.warning:
        head = f"warning: {head}"
    if fault.hint:
        head += f" {fault.hint}"
    if fault.source:
        head += f"\n    {fault.source}"
        if fault.column:
            head += "\n    " + " " * (fault.column - 1) + "^"
    return head
