"""Where the answer stands in what a model wrote: one reader, for teachers, students and evaluations alike.

Thoughts go first (`thoughts`). Then, of fenced and indented blocks (`blocks`), the one that is an answer in the task's
language counts (`reading`): Python that defines what is tested, a query, JSON. What a program printed and how it is
used are none. Where no block is marked, the answer is all that was written. Where a task says how the final answer is
marked, `final` finds it, and where a model ran on into a next question.
"""

from flywheel.answers.final import final_answer, ran_on, stopped
from flywheel.answers.reading import Language, extract_answer
from flywheel.answers.thoughts import closing_tag, is_thought_tag, leading_thought, open_thought, without_thoughts

#: Rises when a text could be read differently: verdicts hang on it.
READING = 1

__all__ = [
    "READING",
    "Language",
    "closing_tag",
    "extract_answer",
    "final_answer",
    "is_thought_tag",
    "leading_thought",
    "open_thought",
    "ran_on",
    "stopped",
    "without_thoughts",
]
