"""What the files hold: rows, prompts, and probes apart from holdouts. (FAULTS F 113, 114.)"""

from __future__ import annotations

import json

import pytest

PROBES = "evals/probes.jsonl"
PROMPT = "prompts/answer.md"


def lines(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def row(thing: str = "apples", a: int = 1, b: int = 2, answer: str = "3") -> dict[str, object]:
    return {"thing": thing, "a": a, "b": b, "answer": answer}


# --- prompts


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("x\n{% if %}", "prompts/answer.md:2: tasks.answer.prompt: not Jinja: "
                        "Expected an expression, got 'end of statement block'."),
        ("{{ row.thing", "prompts/answer.md:1: tasks.answer.prompt: not Jinja: "
                         "unexpected end of template, expected 'end of print statement'."),
        ("x\n{% include 'answer.md' %}", "prompts/answer.md:2: tasks.answer.prompt: "
                                         "a prompt cannot read other files. Write the text out here."),
        ("{% extends 'answer.md' %}", "prompts/answer.md:1: tasks.answer.prompt: "
                                      "a prompt cannot read other files. Write the text out here."),
        ("{{ row.thin }}", "prompts/answer.md:1: tasks.answer.prompt: "
                           'no row has the column "thin". Did you mean "thing"?'),
        ("\n{{ row['thin'] }}", "prompts/answer.md:2: tasks.answer.prompt: "
                                'no row has the column "thin". Did you mean "thing"?'),
        ("{{ row.thing }}\n{{ row.answer }}",
         'prompts/answer.md:2: tasks.answer.prompt: row.answer is the answer: '
         'the prompt sees the row without "answer". Remove it.'),
        ("{{ row.thing }} {{ a }}", 'prompts/answer.md:1: tasks.answer.prompt: unknown variable "a". '
                                    "Did you mean row.a?"),
        ("{{ row.thing }} {{ task }}", 'prompts/answer.md:1: tasks.answer.prompt: unknown variable "task". '
                                       "A task's prompt sees only row."),
    ],
)  # fmt: skip
def test_prompts_that_cannot_be_rendered(project, prompt: str, message: str) -> None:
    project.write(PROMPT, prompt)
    assert project.messages() == [message]


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ row | tojson }}",
        "{% for key, value in row.items() %}{{ key }}{{ value }}{% endfor %}",
        "{% set x = row.thing %}{{ x }}{% for i in range(2) %}{{ loop.index }}{{ i }}{% endfor %}",
        "{{ row.get('thing') }}",
        "{% for thing in row %}{{ row[thing] }}{% endfor %}",
    ],
)
def test_prompts_that_can(project, prompt: str) -> None:
    assert project.write(PROMPT, prompt).load().warnings == ()


def test_a_prompt_that_is_not_text(project) -> None:
    project.write(PROMPT, b"\xff")
    assert project.messages() == ["prompts/answer.md: tasks.answer.prompt: not UTF-8 text. Save it as UTF-8."]


def test_a_second_opinion_prompt_is_checked_too(project) -> None:
    project.edit(("accept: 20", "accept: 20, second_opinion_prompt: prompts/again.md"))
    project.write("prompts/again.md", "{{ style }} {{ row.thin }} {{ styl }}")
    assert project.messages() == [
        'prompts/again.md:1: generate[0].second_opinion_prompt: unknown variable "styl". Did you mean "style"?',
        'prompts/again.md:1: generate[0].second_opinion_prompt: no row has the column "thin". Did you mean "thing"?',
    ]


def test_a_prompt_for_lessons(project) -> None:
    project.edit(("accept: 20", "accept: 20, prompt: prompts/lessons.md"))
    text = "{{ task.name }} {{ mode }} {{ mode_description }} {{ n }} {{ failures }} {{ seeds }} {{ style }}"
    project.write("prompts/lessons.md", text)
    assert project.load().warnings == ()
    project.write("prompts/lessons.md", "{% for f in failure %}{{ f.row.question }}{% endfor %}{{ thing }}")
    assert project.messages() == [
        'prompts/lessons.md:1: generate[0].prompt: unknown variable "failure". Did you mean "failures"?',
        'prompts/lessons.md:1: generate[0].prompt: unknown variable "thing". Did you mean row.thing?',
    ]


SHARED = """{{ n }}
{% if task.name == "answer" %}
{{ row.a }} {{ row.b }}
{% elif task["name"] in ["other"] %}
{{ row.colour }}
{% else %}
{{ row.nobodys }}
{% endif %}
{{ row.a if task.target == "answer" else row.colour }} {{ "x" if task.name == "other" and row.colour else "y" }}
"""


def shared_by_two(project, text: str):
    """One prompt file for the lessons of two tasks whose rows have other columns."""
    second = "tasks:\n  other: {prompt: prompts/other.md, target: label, probes: evals/other.jsonl, verify: [same]}\n"
    project.edit(
        ("tasks:\n", second),
        ("{name: targeted,", "{name: colours, task: other, prompt: prompts/shared.md,"),
        ("{name: practice,", "{name: practice, task: answer, prompt: prompts/shared.md,"),
        ("accept: 10, parse: text}", "accept: 10, parse: text}\n  - {name: more, task: answer, teachers: [terse], "
         "prompt: prompts/shared.md, second_opinion: [chatty], accept: 5}"),
    )  # fmt: skip
    project.write("evals/other.jsonl", lines(*({"colour": f"c{i}", "label": "1"} for i in range(3))))
    return project.write("prompts/other.md", "{{ row.colour }}").write("prompts/shared.md", text)


def test_of_a_prompt_file_that_several_tasks_share_each_has_its_own_branches(project) -> None:
    assert [fault.message for fault in shared_by_two(project, SHARED).load().warnings] == []


@pytest.mark.parametrize(
    "text",
    [
        "{% if task.name != 'answer' %}\n{{ row.colr }}{% endif %}",
        "{% if mode == 'x' %}\n{{ row.colr if task.name != 'answer' }}{% endif %}",
        "{% if task.name == 'answer' %}{{ row.a }}{% else %}\n{{ row.colr }}{% endif %}",
        "{% if task.name != 'answer' and mode %}\n{{ row.colr }}{% endif %}",
    ],
)
def test_in_the_branch_of_a_task_its_columns_are_looked_for_with_their_line(project, text: str) -> None:
    [message] = shared_by_two(project, text).messages()
    assert message == ('prompts/shared.md:2: generate[0].prompt: no row has the column "colr". Did you mean "colour"?')


@pytest.mark.parametrize(
    "text",
    [
        "{% for task in failures %}{% if task.name == 'no' %}{{ row.colr }}{% endif %}{% endfor %}",
        "{% with task = failures[0] %}{% if task.name == 'no' %}{{ row.colr }}{% endif %}{% endwith %}",
        "{% macro say(task) %}{% if task.name == 'no' %}{{ row.colr }}{% endif %}{% endmacro %}{{ say(failures[0]) }}",
    ],
)
def test_where_task_is_another_name_in_the_file_every_branch_counts(project, text: str) -> None:
    assert 'no row has the column "colr"' in shared_by_two(project, text).faults()


# --- rows


def test_an_empty_probe_file(project) -> None:
    assert project.write(PROBES, "\n").faults() == (
        "flywheel.yaml:8:13: tasks.answer.probes: evals/probes.jsonl is empty: no probe rows. "
        "Add rows to it.\n"
        "        probes: evals/probes.jsonl\n"
        "                ^"
    )


def test_bad_lines_are_named(project) -> None:
    project.write(PROBES, lines(row(), [1]) + '{"thing"\n' + lines({"thing": "x"}, row(answer=None)))
    assert project.faults() == (
        'evals/probes.jsonl:2: tasks.answer.probes: not a JSON object. Write the columns by name: {"question": …}.\n'
        "    [1]\n"
        "evals/probes.jsonl:3: tasks.answer.probes: not JSON: Expecting ':' delimiter at column 9. "
        "Write one JSON object a line.\n"
        '    {"thing"'
    )


def test_rows_without_a_needed_column(project) -> None:
    project.write(PROBES, lines(row(), {"thing": "x", "a": 1, "answer": "2"}, row(answer=None)))
    assert project.faults() == (
        'evals/probes.jsonl:2: tasks.answer.probes: the row lacks the column "b". Known: a, answer, thing.\n'
        'evals/probes.jsonl:3: tasks.answer.probes: the row has null in the column "answer". Give it a value.'
    )


def test_what_many_rows_lack_is_said_once_with_their_number(project) -> None:
    rows = [{"thing": f"x{i}", "a": 1, "answer": "2"} for i in range(30)]
    project.write(PROBES, lines(row(), *rows, row("y", answer=None)))
    assert project.messages() == [
        'evals/probes.jsonl:2: tasks.answer.probes: the row lacks the column "b", here and in 29 further rows '
        "(3, 4, 5, …). Known: a, answer, thing.",
        'evals/probes.jsonl:32: tasks.answer.probes: the row has null in the column "answer". Give it a value.',
    ]


def test_many_different_faults_are_counted(project) -> None:
    project.write(PROBES, lines(row()) + "".join(f'{{"thing{"g" * i}" 1}}\n' for i in range(30)))
    found = project.messages()
    assert len(found) == 21
    assert found[-1] == "evals/probes.jsonl:21: tasks.answer.probes: and 10 more faults."


def test_a_column_that_no_row_has_is_one_fault_of_the_file(project) -> None:
    project.write(PROBES, lines(*({"thing": f"x{i}", "a": 1, "answer": "2"} for i in range(30))))
    assert project.messages() == [
        'evals/probes.jsonl:1: tasks.answer.probes: none of its 30 rows has the column "b". Known: a, answer, thing.'
    ]


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_a_csv_with_another_separator_is_read_and_told(project, separator: str, name: str) -> None:
    text = project.root.joinpath("evals/seeds.csv").read_text()
    loaded = project.write("evals/seeds.csv", text.replace(",", separator)).load()
    (warning,) = [fault for fault in loaded.warnings if "separated" in fault.message]
    assert warning.message == f"evals/seeds.csv: its columns are separated by {name}; it is read so."
    assert warning.path == ("tasks", "answer", "seeds")


def test_columns_that_the_spec_names(project) -> None:
    project.edit(
        ("data: evals/holdout.jsonl", "data: evals/holdout.jsonl, slices: [thing, wordng]"),
        ("{kind: student, temperature: 1}", "{kind: dataset, path: evals/seeds.csv, match: thng}"),
        (", parse: text", ""),
    )
    assert project.messages() == [
        'flywheel.yaml:17:55: teachers.self.match: no row of evals/seeds.csv has the column "thng". '
        'Did you mean "thing"?',
        "flywheel.yaml:26:70: evals.holdout.slices[1]: no row of evals/holdout.jsonl has the column "
        '"wordng". Known: a, answer, b, thing.',
    ]


def test_a_dataset_teacher_needs_the_columns_of_its_task(project) -> None:
    project.edit(
        ("{kind: student, temperature: 1}", "{kind: dataset, path: evals/more.csv}"), (", parse: text", "")
    ).write("evals/more.csv", "thing,a,answer\nhats,1,2\n")
    assert project.messages() == [
        'evals/more.csv:2: teachers.self.path: the row lacks the column "b". Known: a, answer, thing.'
    ]


def test_templates_in_rows_are_only_text(project) -> None:
    project.write(PROBES, lines(row(thing="{{ row.answer }} {% include 'x' %}")))
    assert project.load().warnings == ()


def test_an_empty_file_of_labels(project) -> None:
    project.edit(("{kind: exact}", "{kind: label, labels: labels.txt}")).write("labels.txt", " \n")
    assert project.messages() == [
        "flywheel.yaml:19:31: verifiers.same.labels: labels.txt is empty: no labels. Write one a line."
    ]


# --- cases that people judged

CASES = "evals/cases.jsonl"
GOLDEN = ("{kind: exact}", "{kind: exact, golden: evals/cases.jsonl}")
JUDGE = (
    "verifiers:\n",
    "verifiers:\n  good: {kind: judge, teacher: judge, rubric: rubric.md, calibration: evals/cases.jsonl}\n",
)
COURT = (("teachers:\n", "teachers:\n  judge: {kind: python, function: teachers.py:terse}\n"), JUDGE)


def case(**changes: object) -> dict[str, object]:
    found = {**row(), "reference": "3", "expect": "pass", **changes}
    return {column: value for column, value in found.items() if value != "left out"}


def test_every_fault_of_golden_cases_has_its_line(project) -> None:
    project.edit(GOLDEN).write(
        CASES,
        lines(
            case(),
            case(expect="maybe"),
            case(expect="left out"),
            case(answer="left out"),
            case(thing="left out"),
            case(reference="left out"),
            case(b=None),
        ),
    )
    known = "Known: a, answer, b, expect"
    assert project.messages() == [
        "evals/cases.jsonl:2: verifiers.same.golden: column \"expect\" is 'maybe'. Write pass or fail.",
        'evals/cases.jsonl:3: verifiers.same.golden: missing column "expect". Write pass or fail.',
        'evals/cases.jsonl:4: verifiers.same.golden: missing column "answer". Write the answer that is judged.',
        f'evals/cases.jsonl:5: verifiers.same.golden: the row lacks the column "thing". {known}, reference.',
        f'evals/cases.jsonl:6: verifiers.same.golden: the row lacks the column "reference". {known}, thing.',
        'evals/cases.jsonl:7: verifiers.same.golden: the row has null in the column "b". Give it a value.',
    ]


def test_golden_cases_that_are_sound(project) -> None:
    assert project.edit(GOLDEN).write(CASES, lines(case(), case(expect="fail"))).load().warnings == ()


def test_an_empty_file_of_golden_cases(project) -> None:
    project.edit(GOLDEN).write(CASES, "")
    assert "verifiers.same.golden: evals/cases.jsonl is empty: no case rows. Add rows to it." in project.messages()[0]


def test_a_form_is_judged_without_a_right_answer(project) -> None:
    project.edit(("{kind: exact}", "{kind: regex, pattern: '[0-9]+', golden: evals/cases.jsonl}"))
    assert project.write(CASES, lines(case(reference="left out"))).load().warnings == ()


def test_calibration_cases_have_a_label(project) -> None:
    project.edit(*COURT, ("verify: [same]", "verify: [same, good]")).write("rubric.md", "Is it so?")
    project.write(CASES, lines(case(label="pass", expect="left out"), case()))
    assert project.messages() == [
        'evals/cases.jsonl:2: verifiers.good.calibration: missing column "label". Write pass or fail.'
    ]


def test_cases_of_a_verifier_that_judges_several_tasks_name_theirs(project) -> None:
    second = "tasks:\n  other: {prompt: prompts/other.md, target: answer, probes: evals/other.jsonl, verify: [same]}\n"
    project.write("evals/other.jsonl", lines({"thing": "boats", "a": 1, "b": 2, "answer": "3"}))
    project.edit(("tasks:\n", second), GOLDEN).write("prompts/other.md", "{{ row.thing }}")
    project.edit(
        ("name: targeted,", "name: targeted, task: answer,"), ("name: practice,", "name: practice, task: answer,")
    )
    project.write(CASES, lines(case(task="answer"), case(task="othr"), case(), case(task="other", b="left out")))
    named = 'verifiers.same.golden: column "task" names no task that this verifier judges'
    assert project.messages() == [
        f'evals/cases.jsonl:2: {named}: "othr". Did you mean "other"?',
        f'evals/cases.jsonl:3: {named}: "None". Known: answer, other.',
    ]


def test_cases_that_all_lack_one_column_are_one_fault_with_their_number(project) -> None:
    bare = {"thing": "boats", "a": 1, "b": 2, "expect": "pass"}
    project.edit(GOLDEN).write(CASES, lines(case(expect="no"), *[bare] * 25))
    assert project.messages() == [
        "evals/cases.jsonl:1: verifiers.same.golden: column \"expect\" is 'no'. Write pass or fail.",
        'evals/cases.jsonl:2: verifiers.same.golden: missing column "answer", here and in 24 further rows '
        "(3, 4, 5, …). Write the answer that is judged.",
    ]


# --- probes and holdouts


def test_rows_in_probes_and_holdout(project) -> None:
    project.write("evals/holdout.jsonl", lines(row("boats", 3, 3, "6"), row("knives sharp", 2, 5, "7")))
    project.write(PROBES, lines(row(), row("boats", 3, 3, "5"), row("Boats!", 3, 3, "6")))
    holdout = 'of the suite "holdout". Keep it in one of the two.'
    assert project.messages() == [
        f"evals/probes.jsonl:2: tasks.answer.probes: the row is also in evals/holdout.jsonl:1, {holdout}",
        f"evals/probes.jsonl:3: tasks.answer.probes: the row is also in evals/holdout.jsonl:1, {holdout}",
        f"evals/seeds.csv:3: tasks.answer.seeds: the row is also in evals/holdout.jsonl:2, {holdout}",
    ]


def test_the_same_file_for_both(project) -> None:
    project.write("evals/holdout.jsonl", (project.root / PROBES).read_bytes() + lines(row("x"), row("y")).encode())
    project.edit(("probes: evals/probes.jsonl", "probes: evals/holdout.jsonl"))
    found = project.messages()
    assert len(found) == 4
    assert found[-1] == (
        "evals/holdout.jsonl:4: tasks.answer.probes: and 2 more rows that are also in evals/holdout.jsonl, "
        'of the suite "holdout".'
    )


def test_other_columns_make_no_other_row(project) -> None:
    """What the student sees is what counts, not an id beside it."""
    project.write("evals/holdout.jsonl", lines(row("boats", 3, 3, "6") | {"id": 1}))
    project.write(PROBES, lines(row("boats", 3, 3, "6") | {"id": 2}))
    assert "the row is also in evals/holdout.jsonl:1" in project.faults()


@pytest.mark.parametrize(
    ("probe", "holdout"),
    [
        (row("3 + 4", 1, 1, "7"), row("3 - 4", 1, 1, "-1")),
        (row("+", 1, 1, "7"), row("-", 1, 1, "-1")),
        (row("boats", 1, 1, "7"), row("boats", 1, 2, "7")),
    ],
)
def test_rows_that_are_not_the_same(project, probe: dict, holdout: dict) -> None:
    project.write("evals/holdout.jsonl", lines(holdout)).write(PROBES, lines(probe))
    assert project.load().warnings == ()


def test_a_row_of_a_suite_that_stands_in_it_again_is_told(project) -> None:
    project.write("evals/holdout.jsonl", lines(row("plums"), row("pears"), row("plums"), row("pears", answer="4")))

    said = [(fault.line, fault.message, fault.hint) for fault in project.load().warnings if fault.path[0] == "evals"]

    where = "1 row of 4, of which this one asks what line"
    assert said == [
        (3, f"a question stands twice: {where} 1 asks.", "It counts once."),
        (4, f"a question has two right answers: {where} 2 asks.", "One of them is wrong: mend it."),
    ]


def test_parquet_probes(project) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist([row("boats", 3, 3, "6"), row()])
    pyarrow.parquet.write_table(table, project.root / "evals/probes.parquet")
    project.edit(("evals/probes.jsonl", "evals/probes.parquet"))
    assert project.messages() == [
        "evals/probes.parquet:1: tasks.answer.probes: the row is also in evals/holdout.jsonl:1, "
        'of the suite "holdout". Keep it in one of the two.'
    ]


def test_a_kind_of_file_that_is_not_known(project) -> None:
    project.edit(("evals/probes.jsonl", "evals/probes.jsnl")).write("evals/probes.jsnl", "[]")
    assert project.messages() == [
        'evals/probes.jsnl: tasks.answer.probes: unknown kind of data file ".jsnl". Did you mean ".jsonl"?'
    ]


def test_a_prompt_that_reads_the_whole_row_of_a_code_task_would_show_the_tests(project) -> None:
    project.edit(("verify: [same]", "verify: [same, runs]"), ("verifiers:", "verifiers:\n  runs: {kind: code}"))
    project.write("prompts/answer.md", "{{ row }}")
    assert 'the prompt reads all of row, and with it "tests", which the student must not see' in project.faults()


# --- golds outside the labels


LABELS = ("same: {kind: exact}", "same: {kind: label, labels: ['4', '5', six]}")


def test_right_answers_that_are_no_label_are_faults_with_their_lines(project) -> None:
    project.edit(LABELS).write(
        PROBES, lines(row("boats", answer="4"), row("cars", answer="sixx"), row("cups", 1, 9, "9"))
    )
    project.write("evals/holdout.jsonl", lines(row("pears", 3, 1, "5"))).write(
        "evals/seeds.csv", "thing,a,b,answer\nx,1,1,4\n"
    )
    assert project.messages() == [
        'evals/probes.jsonl:2: tasks.answer.probes: the right answer "sixx" is no label of verifiers.same. '
        'Did you mean "six"?',
        'evals/probes.jsonl:3: tasks.answer.probes: the right answer "9" is no label of verifiers.same. '
        "Known: 4, 5, six.",
    ]


def test_golds_are_read_like_answers(project) -> None:
    """As a list where answers are sets, leniently where answers are, by the labels' file where there is one."""
    project.edit(("same: {kind: exact}", "same: {kind: label, labels: labels.txt, many: true, lenient: true}"))
    project.write("labels.txt", "four\n\nfive\n").write("evals/seeds.csv", "thing,a,b,answer\nx,1,1,Four.\n")
    project.write(PROBES, lines(row("boats", answer=["four", "five"]), row("cars", answer="five; four")))
    project.write("evals/holdout.jsonl", lines(row("pears", 3, 1, "[]")))
    project.load()
    project.write(PROBES, lines(row("boats", answer=["four", "six"])))
    assert project.messages()[0].startswith(
        'evals/probes.jsonl:1: tasks.answer.probes: the right answer "six" is no label'
    )


def test_the_final_answer_of_a_gold_is_its_label(project) -> None:
    project.edit(LABELS, ("    target: answer", "    target: answer\n    final: '#### (.+)'"))
    project.write(PROBES, lines(row("boats", answer="so\n#### 4"))).write(
        "evals/seeds.csv", "thing,a,b,answer\nx,1,1,4\n"
    )
    project.write("evals/holdout.jsonl", lines(row("pears", 3, 1, "#### 5")))
    project.load()


# --- where answers stop


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("    target: answer", "    target: answer\n    stop: ['']"), "tasks.answer.stop[0]"),
        (("    target: answer", "    target: answer\n    stop: END"), "tasks.answer.stop"),
        (("{task: answer, data: evals/holdout.jsonl}", "{lm_eval: gsm8k, stop: [x]}"), "stop is for suites of a task."),
    ],
)
def test_strings_to_stop_at_are_texts_and_for_our_own_tasks(project, change: tuple[str, str], message: str) -> None:
    assert any(message in line for line in project.edit(change).messages())


def test_a_suite_stops_where_its_task_does_unless_it_says(project) -> None:
    spec = project.edit(("    target: answer", "    target: answer\n    stop: [END]")).load().spec
    assert spec.stop_of(spec.evals["holdout"]) == ["END"]
    spec = project.edit(("holdout.jsonl}", "holdout.jsonl, stop: []}")).load().spec
    assert spec.stop_of(spec.evals["holdout"]) == []
