"""Teachers: who writes lessons, and the one desk through which they are asked."""

from flywheel.teachers.desk import Desk, DeskStopped
from flywheel.teachers.faults import is_final
from flywheel.teachers.journal import drain, read_journal
from flywheel.teachers.money import Spent, check_prices
from flywheel.teachers.parameters import parameters

__all__ = [
    "Desk",
    "DeskStopped",
    "Spent",
    "check_prices",
    "drain",
    "is_final",
    "parameters",
    "read_journal",
]
