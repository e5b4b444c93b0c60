"""Whether the price of a call is known: of the spec, else of litellm's table."""

from __future__ import annotations

from collections.abc import Mapping

from flywheel.errors import Fault
from flywheel.spec.models import Loop
from flywheel.spec.teachers import Teacher
from flywheel.teachers.litellm import known_price
from flywheel.teachers.money import Price, declared_price
from flywheel.teachers.openai_compatible import serves


def price_of(teacher: Teacher) -> Price | None:
    """The spec's price, else litellm's, else None."""
    declared = declared_price(teacher)
    if declared is not None:
        return declared
    return known_price(teacher.priced_as)


def expected_prices(teachers: Mapping[str, Teacher]) -> dict[str, Price | None]:
    """Of teachers that are asked elsewhere; None where nobody knows. A server of one's own costs what the spec says,
    else nothing, as its calls are counted."""
    return {
        name: (declared_price(teacher) or Price()) if serves(teacher) else price_of(teacher)
        for name, teacher in teachers.items()
    }


def check_prices(teachers: Mapping[str, Teacher], loop: Loop) -> list[Fault]:
    """A fault for each teacher with a dollar limit and no known price: such a limit would not hold."""
    return [
        Fault(
            f'the price of "{teacher.priced_as}" is not known, so the limit of dollars would not hold.',
            path=("teachers", name),
            hint="Give usd_per_million_input and usd_per_million_output (0 for a server of your own), "
            "or remove max_usd.",
        )
        for name, teacher in teachers.items()
        if teacher.remote and (teacher.usd_limit is not None or loop.max_usd is not None) and price_of(teacher) is None
    ]
