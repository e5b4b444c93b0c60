"""Words said to models, and what is read out of their answers."""

from flywheel.prompting.answers import parse_rows
from flywheel.prompting.shots import shots_of
from flywheel.prompting.templates import Templates, check_template, render

__all__ = ["Templates", "check_template", "parse_rows", "render", "shots_of"]
