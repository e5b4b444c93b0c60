"""Budget policies: what the lessons that failures buy are spent on. Each policy's facts; what it does is in
`flywheel.nodes.lessons.policies`.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from flywheel.spec.base import SpecModel

PolicyName = Literal["error_mass", "per_lesson", "confusion", "edge", "uniform"]


class BudgetPolicy:
    """One policy. The defaults are those of one that divides the budget over error modes."""

    name: ClassVar[PolicyName]
    made_from: ClassVar[str | None] = None
    """What stands in the mode's place where lessons are made from chosen probe rows; empty: from all as they come. No
    error mode can have such a name."""
    meaning: ClassVar[str] = ""
    """What teachers and the report are told of such lessons."""
    samples_student: ClassVar[bool] = False
    """It wants to know how often the student solves a probe row."""


class ErrorMass(BudgetPolicy):
    """Rate x severity of each mode."""

    name = "error_mass"


class PerLesson(BudgetPolicy):
    """Severity x the fall of a mode's rate that a lesson has brought in earlier iterations."""

    name = "per_lesson"


class Confusion(BudgetPolicy):
    """Both sides of pairs of labels that the student confuses."""

    name = "confusion"
    made_from = "(confused)"
    meaning = "Rows of two labels that are taken for each other: tell them apart."


class Edge(BudgetPolicy):
    """Rows that the student solves sometimes."""

    name = "edge"
    made_from = "(edge)"
    meaning = "Rows that the student solves sometimes."
    samples_student = True


class Uniform(BudgetPolicy):
    """Rows as they come, right and wrong alike: the control of `flywheel compare --untargeted`."""

    name = "uniform"
    made_from = ""


POLICIES: Mapping[str, BudgetPolicy] = {
    policy.name: policy for policy in (ErrorMass(), PerLesson(), Confusion(), Edge(), Uniform())
}
assert set(POLICIES) == set(get_args(PolicyName))


class Budget(SpecModel):
    """What the lessons of generators with `from: errors` are spent on."""

    policy: PolicyName | dict[PolicyName, Annotated[float, Field(gt=0)]] = "error_mass"
    """`error_mass`: each mode's rate times its severity. `per_lesson`: severity times the measured fall of the rate per
    lesson (from the second iteration on; little evidence is drawn to the mean of all modes). `confusion`: rows of both
    labels of confused pairs. `edge`: rows of which the student solves 20 to 80% of 8 samples. `uniform`: rows as they
    come. A mapping mixes them by weight. What a policy finds nothing for goes by error mass."""

    @property
    def weights(self) -> dict[str, float]:
        """Policy → share of the lessons, in the order of the table."""
        said = {self.policy: 1.0} if isinstance(self.policy, str) else dict(self.policy)
        return {name: said[name] / sum(said.values()) for name in POLICIES if name in said}

    @property
    def is_default(self) -> bool:
        return self.weights == {"error_mass": 1.0}

    @property
    def samples_student(self) -> bool:
        return any(POLICIES[name].samples_student for name in self.weights)
