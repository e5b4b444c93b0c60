"""Words said to models, and what is read out of their answers."""

from flywheel.prompting.answers import extract_answer, parse_rows
from flywheel.prompting.templates import check_template, render

__all__ = ["check_template", "extract_answer", "parse_rows", "render"]
