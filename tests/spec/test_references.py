"""Cross-references: complete messages, one spoilt thing at a time."""

from __future__ import annotations

import pytest

SECOND = ", second_opinion: [chatty, terse]"
CHATTY = "  chatty: {kind: python, function: teachers.py:chatty}\n"
PRACTICE = "  - {name: practice, teachers: [self], accept: 10, parse: text}\n"
SUITE = "{task: answer, data: evals/holdout.jsonl}"
SELF = "self: {kind: student, temperature: 1}"

ONE_FAULT = [
    # --- names that must exist
    (
        [("verify: [same]", "verify: [same, sam]")],
        'flywheel.yaml:10:20: tasks.answer.verify[1]: unknown verifier "sam". Did you mean "same"?',
    ),
    (
        [("name: other}", "name: other, task: anser}")],
        'flywheel.yaml:13:25: taxonomy[1].task: unknown task "anser". Did you mean "answer"?',
    ),
    (
        [("[terse, chatty]", "[terse, chaty]")],
        'flywheel.yaml:21:40: generate[0].teachers[1]: unknown teacher "chaty". Did you mean "chatty"?',
    ),
    (
        [("[terse, chatty]", "{terse: 2, chaty: 1}")],
        'flywheel.yaml:21:50: generate[0].teachers.chaty: unknown teacher "chaty". Did you mean "chatty"?',
    ),
    (
        [("second_opinion: [chatty, terse]", "second_opinion: [chatty, bob]")],
        'flywheel.yaml:21:86: generate[0].second_opinion[1]: unknown teacher "bob". '
        "Known: chatty, self, terse.",
    ),
    (
        [("name: practice,", "name: practice, task: x,")],
        'flywheel.yaml:22:28: generate[1].task: unknown task "x". Known: answer.',
    ),
    (
        [("name: practice,", "name: practice, modes: [emty],")],
        'flywheel.yaml:22:30: generate[1].modes[0]: unknown error mode "emty". Did you mean "empty"?',
    ),
    (
        [("task: answer, data", "task: anser, data")],
        'flywheel.yaml:26:19: evals.holdout.task: unknown task "anser". Did you mean "answer"?',
    ),
    (
        [("suite: holdout", "suite: holdut")],
        'flywheel.yaml:28:13: gate[0].suite: unknown suite "holdut". Did you mean "holdout"?',
    ),
    (
        [("better_by: 0.02", "falls_by: 0.3, mode: othr")],
        'flywheel.yaml:28:43: gate[0].mode: unknown error mode "othr". Did you mean "other"?',
    ),
    # --- names that stand twice
    (
        [("name: practice", "name: targeted")],
        'flywheel.yaml:22:5: generate[1]: the generator "targeted" stands twice, here and in line 21.',
    ),
    (
        [("name: other}", "name: empty}")],
        'flywheel.yaml:13:5: taxonomy[1]: the error mode "empty" stands twice, here and in line 12.',
    ),
    (
        [("verify: [same]", "verify: [same, same]")],
        'flywheel.yaml:10:20: tasks.answer.verify[1]: the verifier "same" stands twice, here and in line 10.',
    ),
    (
        [("[terse, chatty]", "[terse, terse]")],
        'flywheel.yaml:21:40: generate[0].teachers[1]: the teacher "terse" stands twice, '
        "here and in line 21. Give weights: {name: 2}.",
    ),
    # --- taxonomy
    (
        [("name: other}", "name: other, when: 'true'}")],
        'flywheel.yaml:11:1: taxonomy: no fallback: the last error mode for task "answer" must be one '
        "without `when`. Add - {name: other} at the end.",
    ),
    (
        [("- {name: other}", "- {name: other}\n  - {name: more, when: 'true'}")],
        'flywheel.yaml:14:5: taxonomy[2]: "more" can never be reached: "other" above it has no `when`. '
        'Give "other" a `when`, or move it to the end.',
    ),
    (
        [("- {name: other}", "- {name: other}\n  - {name: more}")],
        'flywheel.yaml:14:5: taxonomy[2]: "more" can never be reached: "other" above it has no `when`. '
        'Give "other" a `when`, or move it to the end.',
    ),
    (
        [("accept: 20", "accept: 20, modes: [empty]"), ("accept: 10", "accept: 10, modes: [empty]")],
        'flywheel.yaml:13:5: taxonomy[1]: no generator covers the error mode "other" of task "answer". '
        "Add it to the modes of one of: targeted, practice.",
    ),
    # --- generators
    (
        [(SECOND, "")],
        'flywheel.yaml:21:5: generate[0]: nothing to compare with: "same" needs a known answer, and "terse" '
        "writes its own questions. Add second_opinion: [terse, chatty].",
    ),
    (
        [("[terse, chatty]", "[terse]"), (SECOND, "")],
        'flywheel.yaml:21:5: generate[0]: nothing to compare with: "same" needs a known answer, and "terse" '
        "writes its own questions. Add second_opinion: [chatty].",
    ),
    (
        [(CHATTY, ""), ("[terse, chatty]", "[terse]"), (SECOND, "")],
        'flywheel.yaml:20:5: generate[0]: nothing to compare with: "same" needs a known answer, and "terse" '
        'writes its own questions. "terse" is alone: add another teacher as second_opinion or, where there are '
        "questions, let it answer each several times and vote: strategy: trace, from: data, data: a file of rows "
        "without the target (docs/strategies/trace.md).",
    ),
    (
        [
            (CHATTY, ""),
            ("[terse, chatty]", "[terse]"),
            (SECOND, ", second_opinion: [terse]"),
        ],
        'flywheel.yaml:20:53: generate[0].second_opinion: "terse" would be asked about its own lessons. '
        '"terse" is alone: add another teacher as second_opinion or, where there are questions, let it answer each '
        "several times and vote: strategy: trace, from: data, data: a file of rows without the target "
        "(docs/strategies/trace.md).",
    ),
    (
        [(SECOND, ", second_opinion: [chatty]")],
        'flywheel.yaml:21:61: generate[0].second_opinion: "chatty" would be asked about its own lessons. '
        "Add a teacher that did not write them.",
    ),
    (
        [(SELF, "self: {kind: dataset, path: evals/seeds.csv}"), (SECOND, ", second_opinion: [terse, self]"),
         (PRACTICE, "")],
        'flywheel.yaml:21:85: generate[0].second_opinion[1]: the teacher "self" has recorded rows only and '
        "cannot answer a new one. Name a teacher of another kind.",
    ),
    (
        [("parse: text", "parse: text, second_opinion_prompt: prompts/answer.md")],
        "flywheel.yaml:22:88: generate[1].second_opinion_prompt: no teacher gives a second opinion. "
        "Add second_opinion: […], or remove the prompt.",
    ),
    (
        [(SELF, "self: {kind: litellm, model: openai/x}")],
        'flywheel.yaml:22:5: generate[1]: missing key "prompt": the teacher "self" reads prompts. '
        "Name a Jinja file.",
    ),
    (
        [("    seeds: evals/seeds.csv\n", ""), ("parse: text", "parse: text, from: seeds")],
        'flywheel.yaml:21:5: generate[1]: parse: text needs rows with known answers, and task "answer" has '
        "no seeds. Add tasks.answer.seeds, or from: errors.",
    ),
    (
        [("    seeds: evals/seeds.csv\n", ""), ("parse: text", "from: seeds")],
        'flywheel.yaml:21:5: generate[1]: the teacher "self" needs rows with known answers, and task '
        '"answer" has no seeds. Add tasks.answer.seeds, or from: errors.',
    ),
    (
        [("    probes: evals/probes.jsonl\n", ""), (PRACTICE, "")],
        'flywheel.yaml:20:5: generate[0]: task "answer" has no probes, so no errors are found to teach from. '
        "Add tasks.answer.probes, or from: seeds.",
    ),
    (
        [("accept: 20", "accept: 20, max_candidates: 10")],
        "flywheel.yaml:21:77: generate[0].max_candidates: 10 candidates cannot give 20 lessons. "
        "Raise it above accept.",
    ),
    (
        [("accept: 20", "accept: 20, floor: 0.6")],
        "flywheel.yaml:21:68: generate[0].floor: floor 0.6 is above cap 0.5.",
    ),
    # --- verifiers
    (
        [("{kind: exact}", "{kind: regex, pattern: '['}")],
        "flywheel.yaml:19:32: verifiers.same.pattern: not a regular expression: "
        "unterminated character set at position 0.",
    ),
    (
        [("{kind: exact}", "{kind: label, labels: ['2', '7', '3', '4', '5', '6', a, a]}")],
        'flywheel.yaml:19:65: verifiers.same.labels[7]: the label "a" stands twice, here and in line 19.',
    ),
    (
        [("{kind: exact}", "{kind: label, labels: []}")],
        "flywheel.yaml:19:23: verifiers.same.labels: needs at least one entry, has none.",
    ),
    # --- suites and gate
    (
        [(SUITE, "{task: answer, lm_eval: gsm8k}")],
        "flywheel.yaml:26:19: evals.holdout.task: task and lm_eval exclude each other. Make two suites of it.",
    ),
    (
        [(SUITE, "{data: evals/holdout.jsonl}")],
        'flywheel.yaml:26:3: evals.holdout: missing key "task". A suite is task and data, or lm_eval.',
    ),
    (
        [(SUITE, "{task: answer}")],
        'flywheel.yaml:26:3: evals.holdout: missing key "data". A suite is task and data, or lm_eval.',
    ),
    (
        [(SUITE, "{task: answer, data: evals/holdout.jsonl, metric: acc}")],
        "flywheel.yaml:26:62: evals.holdout.metric: metric is for lm_eval suites only. Remove it.",
    ),
    (
        [(SUITE, "{task: answer, data: evals/holdout.jsonl, role: guard}")],
        "flywheel.yaml:25:1: evals: no suite has the role target: nothing says what should rise. "
        "Give one suite role: target.",
    ),
    (
        [(", better_by: 0.02", "")],
        "flywheel.yaml:28:5: gate[0]: says nothing that must hold. "
        "Add one of better_by, not_worse_than, at_least, at_most, falls_by.",
    ),
    (
        [("better_by: 0.02", "better_by: 0.02, at_least: 0.5")],
        "flywheel.yaml:28:5: gate[0]: better_by and at_least in one rule. Make a rule of each.",
    ),
    (
        [("better_by: 0.02", "falls_by: 0.3")],
        'flywheel.yaml:28:5: gate[0]: missing key "mode": falls_by is about one error mode.',
    ),
    (
        [("better_by: 0.02", "at_least: 0.5, mode: other")],
        "flywheel.yaml:28:43: gate[0].mode: at_least is about the score, not about an error mode. "
        "Use falls_by, or remove mode.",
    ),
    (
        [("better_by: 0.02", "falls_by: 0.3, mode: other"), (SUITE, "{lm_eval: gsm8k}")],
        'flywheel.yaml:28:43: gate[0].mode: the suite "holdout" is one of lm-eval, whose failures have no '
        "error modes. Name a suite with a task.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), ONE_FAULT, ids=[case[1].split(": ", 1)[1][:60] for case in ONE_FAULT])
def test_one_fault(project, changes: list[tuple[str, str]], message: str) -> None:
    assert project.edit(*changes).messages() == [message]


TWO_TASKS = [
    (
        "    verify: [same]\n",
        "    verify: [same]\n  other:\n"
        "    {prompt: prompts/answer.md, target: answer, probes: evals/probes.jsonl, verify: [same]}\n",
    ),
    (PRACTICE, ""),
]


def test_with_two_tasks_a_generator_says_which(project) -> None:
    assert project.edit(*TWO_TASKS).messages() == [
        'flywheel.yaml:23:5: generate[0]: missing key "task": there are several tasks. Add one of answer, other.'
    ]


def test_a_task_has_rows_somewhere(project) -> None:
    project.edit(*TWO_TASKS, ("name: targeted,", "name: targeted, task: answer,"))
    rowless = (", probes: evals/probes.jsonl, verify: [same]}", ", verify: [same]}")

    assert project.edit(rowless).messages() == [
        'flywheel.yaml:11:3: tasks.other: task "other" has no rows, and no suite measures it. Add tasks.other.probes.'
    ]
    project.edit(("evals:\n", "evals:\n  more: {task: other, data: evals/holdout.jsonl}\n")).load()


def test_a_task_without_a_generator_is_a_warning(project) -> None:
    project.edit(*TWO_TASKS, ("name: targeted,", "name: targeted, task: answer,"))
    found = [f.message for f in project.load().warnings]
    assert found == [
        'no generator teaches the task "other": it is only measured.',
        'no generator uses the teacher "self".',
    ]


def test_a_mode_of_one_task_is_not_of_another(project) -> None:
    project.edit(
        *TWO_TASKS,
        ("name: targeted,", "name: targeted, task: answer, modes: [there, empty, other],"),
        ("taxonomy:\n", "taxonomy:\n  - {name: there, task: other, when: 'true'}\n"),
    )
    assert project.messages() == [
        'flywheel.yaml:24:44: generate[0].modes[0]: the error mode "there" is of task "other", not of "answer".'
    ]


def test_each_task_needs_its_own_fallback(project) -> None:
    project.edit(
        *TWO_TASKS,
        ("name: targeted,", "name: targeted, task: answer,"),
        ("{name: other}", "{name: other, task: answer}"),
    )
    assert project.messages() == [
        'flywheel.yaml:13:1: taxonomy: no fallback: the last error mode for task "other" must be one without '
        "`when`. Add - {name: other} at the end."
    ]


def test_a_fallback_for_each_task_is_well(project) -> None:
    project.edit(
        *TWO_TASKS,
        ("name: targeted,", "name: targeted, task: answer,"),
        ("{name: other}", "{name: other, task: answer}\n  - {name: rest}"),
    )
    assert [mode.name for mode in project.load().spec.taxonomy] == ["empty", "other", "rest"]


def test_the_default_taxonomy_has_a_fallback(project) -> None:
    start, end = "taxonomy:\n", "teachers:\n"
    text = (project.root / "flywheel.yaml").read_text()
    project.edit((text[text.index(start) : text.index(end)], ""))
    assert [mode.name for mode in project.load().spec.taxonomy] == ["wrong"]


@pytest.mark.parametrize(
    "change",
    [
        ("{kind: exact}", "{kind: regex, pattern: '.*'}"),
        ("parse: text", "parse: text, from: seeds"),
        ("[chatty, terse]", "[self]"),
    ],
)
def test_what_may_be_left_out_or_said(project, change: tuple[str, str]) -> None:
    assert project.edit(change).load().warnings == ()


VENDORS = (
    "  vendor: {{kind: litellm, model: openai/great, api_base: 'http://localhost:8000/v1'}}\n"
    "  twin: {{kind: litellm, model: {model}, api_base: '{base}', temperature: 0.1}}\n"
)


@pytest.mark.parametrize("base", ["http://localhost:8000/v1", "http://127.0.0.1:8000/v1/", "HTTP://LOCALHOST:8000/v1"])
@pytest.mark.parametrize("model", ["openai/great", "hosted_vllm/great"])
def test_two_names_for_one_model_are_one_author(project, base: str, model: str) -> None:
    project.edit(
        (CHATTY, CHATTY + VENDORS.format(model=model, base=base)),
        ("teachers: [terse, chatty], accept: 20" + SECOND, "teachers: [vendor], accept: 20, second_opinion: [twin]"),
        ("teachers: [self], accept: 10", "teachers: [terse, chatty], accept: 10"),
    )
    [message] = [m for m in project.messages() if "second_opinion" in m]
    assert '"twin" is the same under another name: "vendor" would be asked about its own lessons.' in message


@pytest.mark.parametrize(
    ("model", "base"), [("openai/greater", "http://localhost:8000/v1"), ("openai/great", "http://localhost:8001/v1")]
)
def test_another_model_or_server_is_another_author(project, model: str, base: str) -> None:
    project.edit(
        (CHATTY, CHATTY + VENDORS.format(model=model, base=base)),
        ("teachers: [terse, chatty], accept: 20" + SECOND, "teachers: [vendor], accept: 20, second_opinion: [twin]"),
    )
    assert not [m for m in project.messages() if "own lessons" in m]


def test_a_verifier_that_compares_nothing_needs_no_second_opinion(project) -> None:
    project.edit(("{kind: exact}", "{kind: regex, pattern: '.*'}"), (SECOND, ""))
    assert project.load().warnings == ()


def test_running_without_a_sandbox_is_a_warning(project) -> None:
    project.edit(("name: orders\n", "name: orders\nallow_unsafe_execution: true\n"))
    [warning] = project.load().warnings
    assert (warning.line, warning.path) == (4, ("allow_unsafe_execution",))
    assert warning.message.startswith("where no sandbox works, programs that models wrote run here")
    assert project.edit(("execution: true", "execution: false")).load().warnings == ()


def test_unused_names_are_warnings(project) -> None:
    project.edit((PRACTICE, ""), ("  same: {kind: exact}\n", "  same: {kind: exact}\n  num: {kind: math}\n"))
    assert [(f.line, f.message) for f in project.load().warnings] == [
        (17, 'no generator uses the teacher "self".'),
        (20, 'no task uses the verifier "num".'),
    ]


def test_references_are_checked_beside_schema_faults(project) -> None:
    project.edit(
        ("{kind: exact}", "{kind: exact, case: no}"),
        ("accept: 20", "accept: many"),
        ("[terse, chatty]", "[terse, chaty]"),
        ("suite: holdout", "suite: holdut"),
    )
    assert [line.split(": ")[1] for line in project.messages()] == [
        "verifiers.same.case",
        "generate[0].teachers[1]",
        "generate[0].accept",
        "gate[0].suite",
    ]


def test_a_key_with_a_fault_is_not_called_missing_as_well(project) -> None:
    assert len(project.edit(("better_by: 0.02", "beter_by: 0.02")).messages()) == 1


def test_nothing_is_said_of_references_into_a_broken_section(project) -> None:
    project.edit(("verifiers:\n  same: {kind: exact}\n", "verifiers: [exact]\n"))
    assert project.messages() == ["flywheel.yaml:18:1: verifiers: expected a mapping, found a list."]


JUDGE = "{kind: judge, teacher: chatty, rubric: prompts/answer.md}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [("teachers: [self], accept", "teachers: [], accept")],
            'generate[1]: missing key "teachers": nobody writes these lessons. Name one or more.',
        ),
        (
            [("name: practice,", "name: practice, hint_prompt: prompts/answer.md,")],
            "generate[1].hint_prompt: hint_prompt is for strategy: rationalize. Remove it.",
        ),
        (
            [("name: practice,", "name: practice, from: data,")],
            'generate[1]: missing key "data": from: data reads a file. Name it.',
        ),
        (
            [("name: practice,", "name: practice, data: evals/holdout.jsonl,")],
            "generate[1].data: data is read only with from: data. Add from: data, or remove it.",
        ),
        (
            [("name: practice,", "name: practice, novelty_by: characters,")],
            "generate[1].novelty_by: novelty_by is read only with novelty. Add novelty: 0.95, or remove it.",
        ),
        (
            [("[terse, chatty]", "[terse], strategy: self_play"), (SECOND, "")],
            'generate[0].teachers[0]: self_play is for the student; the teacher "terse" is another. '
            "Name a teacher of kind: student.",
        ),
        (
            [("name: practice,", 'name: practice, forbid: ["("],')],
            "generate[1].forbid[0]: not a regular expression: missing ), unterminated subpattern at position 0.",
        ),
        (
            [("self: {kind: student", "self: {fallback: [self], kind: student")],
            'teachers.self.fallback[0]: "self" would stand in for itself. Name another teacher.',
        ),
        (
            [("self: {kind: student", "self: {fallback: [chaty], kind: student")],
            'teachers.self.fallback[0]: unknown teacher "chaty". Did you mean "chatty"?',
        ),
        (
            [("better_by: 0.02", "at_most: 0.02")],
            'gate[0]: missing key "measure": at_most is about what an answer costs. One of tokens, refusals, seconds, '
            "truncated.",
        ),
        (
            [("better_by: 0.02", "better_by: 0.02, measure: tokens")],
            "gate[0].measure: better_by is about the score. Use at_most, or remove measure.",
        ),
        (
            [(SUITE, "{task: answer, data: evals/holdout.jsonl, repeats: 2, pass_at: 5}")],
            "evals.holdout.pass_at: pass@5 needs as many answers to an item; repeats is 2. Set repeats: 5 or more.",
        ),
        (
            [("gate:", "ablate: [{name: x, without: curate.dedupe, suite: holdout}]\ngate:")],
            'ablate[0].without: there is no curate "dedupe" to leave out. Did you mean "dedup"?',
        ),
        (
            [("gate:", "ablate: [{name: x, without: teacher.chaty, suite: holdout}]\ngate:")],
            'ablate[0].without: there is no teacher "chaty" to leave out. Did you mean "chatty"?',
        ),
        (
            [("[terse, chatty], accept", "[terse, chatty], strategy: code_with_tests, accept")],
            "generate[0].strategy: nothing would run the tests: no verifier of the task is of kind code. "
            "Add one to verifiers and to the task's verify.",
        ),
        (
            [("better_by: 0.02", "at_most: 20, measure: refusals")],
            "gate[0].at_most: refusals is a share of the answers: it is never above 20. Write 0.05 for 5%.",
        ),
        (
            [("target: answer", 'target: answer\n    final: "#### .+"')],
            "tasks.answer.final: needs one group around the final answer, has 0. For example: '#### (.+)'.",
        ),
    ],
)
def test_one_fault_of_the_later_keys(project, changes: list[tuple[str, str]], message: str) -> None:
    faults = [line.split(": ", 1)[1] for line in project.edit(*changes).messages()]
    assert faults == [message]


def test_a_judge_neither_judges_its_own_lessons_nor_gates_unmeasured(project) -> None:
    project.edit(("verify: [same]", "verify: [same, taste]"), ("verifiers:", f"verifiers:\n  taste: {JUDGE}"))
    project.write("prompts/answer.md", "{{ row.question }}")
    faults = project.faults()
    assert 'the judge "taste" is the teacher "chatty" and would judge its own lessons' in faults
    assert 'would follow the judge "taste", whose agreement with people is not measured' in faults


def test_tests_of_a_code_task_must_stand_in_its_rows(project) -> None:
    project.edit(("verify: [same]", "verify: [same, runs]"), ("verifiers:", "verifiers:\n  runs: {kind: code}"))
    assert 'none of its 2 rows has the column "tests"' in project.faults()
