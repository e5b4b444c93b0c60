"""Teachers: who writes lessons, and the one desk through which they are asked."""

from flywheel.teachers.desk import Desk, DeskStopped
from flywheel.teachers.diversity import Repeats
from flywheel.teachers.faults import OUT_OF_REACH, is_final
from flywheel.teachers.journal import drain, read_journal
from flywheel.teachers.money import Spent
from flywheel.teachers.parameters import parameters
from flywheel.teachers.prices import check_prices, expected_prices
from flywheel.teachers.routes import check_routes
from flywheel.teachers.secrets import Redactor, redactor_of

__all__ = [
    "OUT_OF_REACH",
    "Desk",
    "DeskStopped",
    "Redactor",
    "Repeats",
    "Spent",
    "check_prices",
    "check_routes",
    "drain",
    "expected_prices",
    "is_final",
    "parameters",
    "read_journal",
    "redactor_of",
]
