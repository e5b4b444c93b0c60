"""Schema faults in the project's words: complete messages. (FAULTS F 107, 108.)"""

from __future__ import annotations

import typing

import pydantic_core
import pytest

from flywheel.spec import models
from flywheel.spec.base import SpecModel
from flywheel.spec.wording import _EXPECTED, _LIMIT, FAMILIES, fields_by_key

GENERATOR = "flywheel.yaml:21:{column}: generate[0].teachers{rest}"

ONE_FAULT = [
    (
        ("rank: 16", 'rank: "16"'),
        "flywheel.yaml:24:9: train.rank: expected a whole number, found text. Write 16 without quotes.\n"
        '      rank: "16"\n'
        "            ^",
    ),
    (
        ("rank: 16", "rank: no"),
        "flywheel.yaml:24:9: train.rank: expected a whole number, found text.\n      rank: no\n            ^",
    ),
    (
        ("rank: 16", "rank: 1:30"),
        "flywheel.yaml:24:9: train.rank: expected a whole number, found text.\n      rank: 1:30\n            ^",
    ),
    (
        ("rank: 16", "rank: 16.5"),
        "flywheel.yaml:24:9: train.rank: expected a whole number, found a number.\n      rank: 16.5\n            ^",
    ),
    (
        ("rank: 16", "rank: true"),
        "flywheel.yaml:24:9: train.rank: expected a whole number, found true.\n      rank: true\n            ^",
    ),
    (
        ("rank: 16", "rank:"),
        "flywheel.yaml:24:8: train.rank: expected a whole number, found nothing. "
        "Leave the key out, or give it a value.\n"
        "      rank:\n"
        "           ^",
    ),
    (
        ("rank: 16", "rank: 0"),
        "flywheel.yaml:24:9: train.rank: must be at least 1, is 0.\n      rank: 0\n            ^",
    ),
    (
        ("rank: 16", "dropout: 1"),
        "flywheel.yaml:24:12: train.dropout: must be less than 1, is 1.\n      dropout: 1\n               ^",
    ),
    (
        ("rank: 16", "rnak: 16"),
        'flywheel.yaml:24:3: train.rnak: unknown key "rnak". Did you mean "rank"?\n      rnak: 16\n      ^',
    ),
    (
        ("rank: 16", "init: bas"),
        'flywheel.yaml:24:9: train.init: "bas" is not one of base, incumbent. Did you mean "base"?\n'
        "      init: bas\n"
        "            ^",
    ),
    (
        ("rank: 16", "method: [lora]"),
        "flywheel.yaml:24:3: train.method: expected sft or dpo or kto or grpo, found a list.\n"
        "      method: [lora]\n      ^",
    ),
    (
        ("rank: 16", "targets: q"),
        'flywheel.yaml:24:12: train.targets: expected a list or "all-linear", found text.\n'
        "      targets: q\n"
        "               ^",
    ),
    (
        ("{kind: exact}", "{kind: exact, ignore_case: no}"),
        "flywheel.yaml:19:36: verifiers.same.ignore_case: expected true or false, found text. "
        "YAML 1.2 knows only true and false: write false.\n"
        "      same: {kind: exact, ignore_case: no}\n"
        "                                       ^",
    ),
    (
        ("{kind: exact}", "{kind: exact, ignore_cas: true}"),
        'flywheel.yaml:19:23: verifiers.same.ignore_cas: unknown key "ignore_cas". '
        'Did you mean "ignore_case"?\n'
        "      same: {kind: exact, ignore_cas: true}\n"
        "                          ^",
    ),
    (
        ("{kind: exact}", "{kind: command, command: ./check.sh --strict}"),
        "flywheel.yaml:19:34: verifiers.same.command: expected a list, found text. Write [./check.sh, --strict].\n"
        "      same: {kind: command, command: ./check.sh --strict}\n"
        "                                     ^",
    ),
    (
        ("{kind: exact}", "{kind: command, command: [true]}"),
        "flywheel.yaml:19:35: verifiers.same.command[0]: expected text, found true. Put it in quotes.\n"
        "      same: {kind: command, command: [true]}\n"
        "                                      ^",
    ),
    (
        ("{kind: exact}", "{kind: exakt}"),
        'flywheel.yaml:19:16: verifiers.same.kind: "exakt" is not one of sql, math, json_schema, exact, '
        'regex, label, python, code, judge, command. Did you mean "exact"?\n'
        "      same: {kind: exakt}\n"
        "                   ^",
    ),
    (
        ("{kind: exact}", "{kind: 5}"),
        "flywheel.yaml:19:16: verifiers.same.kind: expected sql or math or json_schema or exact or regex or "
        "label or python or code or judge or command, found 5.\n"
        "      same: {kind: 5}\n"
        "                   ^",
    ),
    (
        ("{kind: exact}", "{ignore_case: true}"),
        'flywheel.yaml:19:3: verifiers.same.kind: missing key "kind". '
        "One of code, command, exact, json_schema, judge, label, math, python, regex, sql.\n"
        "      same: {ignore_case: true}\n"
        "      ^",
    ),
    (
        ("{kind: exact}", "exact"),
        "flywheel.yaml:19:9: verifiers.same: expected a mapping, found text.\n      same: exact\n            ^",
    ),
    (
        ("{kind: exact}", "{kind: regex}"),
        'flywheel.yaml:19:3: verifiers.same.pattern: missing key "pattern". '
        "Python's `re`; the whole answer must match.\n"
        "      same: {kind: regex}\n"
        "      ^",
    ),
    (
        ("    target: answer\n", ""),
        'flywheel.yaml:5:3: tasks.answer.target: missing key "target". '
        "The column that holds the right answer.\n"
        "      answer:\n"
        "      ^",
    ),
    (
        ("version: 1", "version: 2"),
        "flywheel.yaml:2:10: version: expected 1, found 2.\n    version: 2\n             ^",
    ),
    (
        ("version: 1", "version: true"),
        "flywheel.yaml:2:10: version: expected a whole number. Write version: 1.\n    version: true\n             ^",
    ),
    (
        ("name: orders", "name: my orders"),
        'flywheel.yaml:3:7: name: "my orders" is not a name. '
        "A name is a letter, then at most 62 letters, digits, - or _.\n"
        "    name: my orders\n"
        "          ^",
    ),
    (
        ("name: orders", "name: 12"),
        "flywheel.yaml:3:7: name: expected text, found a whole number. Put it in quotes.\n    name: 12\n          ^",
    ),
    (
        ("verify: [same]", "verify: same"),
        "flywheel.yaml:10:13: tasks.answer.verify: expected a list, found text. Write [same].\n"
        "        verify: same\n"
        "                ^",
    ),
    (
        ("verify: [same]", "verify: []"),
        "flywheel.yaml:10:5: tasks.answer.verify: needs at least one entry, has none.\n        verify: []\n        ^",
    ),
    (
        ("  self: {kind: student, temperature: 1}\n", "  self: {kind: student, temprature: 1}\n"),
        'flywheel.yaml:17:25: teachers.self.temprature: unknown key "temprature". '
        'Did you mean "temperature"?\n'
        "      self: {kind: student, temprature: 1}\n"
        "                            ^",
    ),
    (
        ("function: teachers.py:terse}", "function: teachers.py:terse, options: {a: [1]}}"),
        "flywheel.yaml:15:64: teachers.terse.options.a: expected a single value, found a list.\n"
        "      terse: {kind: python, function: teachers.py:terse, options: {a: [1]}}\n"
        "                                                                   ^",
    ),
    (
        ("name: practice, ", "name: practice, source: seeds, "),
        'flywheel.yaml:22:22: generate[1].source: unknown key "source". Known: allocate, strategy, '
        "floor, modes, parse, accept, forbid, rounds, novelty, max_words, min_words, novelty_by and 13 more.\n"
        "      - {name: practice, source: seeds, teachers: [self], accept: 10, parse: text}\n"
        "                         ^",
    ),
    (
        ("name: orders", "nam: orders"),
        'flywheel.yaml:2:1: name: missing key "name". The domain\'s name.\n'
        "    version: 1\n"
        "    ^\n"
        'flywheel.yaml:3:1: nam: unknown key "nam". Did you mean "name"?\n'
        "    nam: orders\n"
        "    ^",
    ),
]


@pytest.mark.parametrize(("change", "message"), ONE_FAULT, ids=[case[0][1].strip() for case in ONE_FAULT])
def test_a_fault_in_words(project, change: tuple[str, str], message: str) -> None:
    assert project.edit(change).faults() == message


@pytest.mark.parametrize(
    ("teachers", "messages"),
    [
        ("5", ["expected a list or a mapping, found a whole number."]),
        ("terse", ["expected a list or a mapping, found text."]),
        ("[]", ['missing key "teachers": nobody writes these lessons. Name one or more.']),
        ("{}", ['missing key "teachers": nobody writes these lessons. Name one or more.']),
        ("[terse, 5]", ["expected text, found a whole number. Put it in quotes."]),
        (
            "{terse: 0, chatty: x}",
            ["must be more than 0, is 0.", "expected a number, found text."],
        ),
        (
            "{terse: 1, a b: 1}",
            ['"a b" is not a name. A name is a letter, then at most 62 letters, digits, - or _.'],
        ),
    ],
)
def test_a_union_speaks_of_the_member_that_was_meant(project, teachers: str, messages: list[str]) -> None:
    project.edit(("[terse, chatty]", teachers))
    assert [line.split(": ", 2)[2] for line in project.messages()] == messages


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("deploy: {aprove: human}", 'deploy.aprove: unknown key "aprove". Did you mean "approve"?'),
        (
            "ablate: [{name: d, without: dedup, suite: holdout}]",
            'ablate[0].without: "dedup" is not a part. Write verifier.NAME, teacher.NAME, generator.NAME or '
            "curate.STAGE, such as curate.dedup.",
        ),
        ("loop: {max_unknown: 5%}", "loop.max_unknown: expected a number, found text. Write 0.05."),
    ],
)
def test_a_near_miss_in_a_later_part_is_told_what_to_write(project, more: str, message: str) -> None:
    project.edit(("version: 1", f"version: 1\n{more}"))
    assert message in "\n".join(project.messages())


def test_a_whole_number_is_good_where_a_number_is_wanted(project) -> None:
    assert project.load().spec.teachers["self"].temperature == 1.0


def test_every_fault_of_the_schema_comes_at_once(project) -> None:
    project.edit(
        ("rank: 16", 'rank: "16"\n  epochs: 0\n  lora: 5'),
        ("name: orders", "name: my orders"),
        ("{kind: exact}", "{kind: exact, ignore_space: yes}"),
        ("accept: 20", "accept: twenty"),
        ("better_by: 0.02", "better_by: 2"),
    )
    places = [": ".join(line.split(": ")[:2]) for line in project.messages()]
    assert places == [
        "flywheel.yaml:3:7: name",
        "flywheel.yaml:19:37: verifiers.same.ignore_space",
        "flywheel.yaml:21:57: generate[0].accept",
        "flywheel.yaml:24:9: train.rank",
        "flywheel.yaml:25:11: train.epochs",
        "flywheel.yaml:26:3: train.lora",
        "flywheel.yaml:30:33: gate[0].better_by",
    ]


def test_every_kind_of_error_that_the_models_can_make_has_words() -> None:
    """A new constraint in the models needs words here; pydantic's own would leak through otherwise."""
    known = {
        *_EXPECTED, *_LIMIT, "extra_forbidden", "missing", "literal_error", "union_tag_invalid",
        "union_tag_not_found", "string_pattern_mismatch", "too_short",
    }  # fmt: skip
    assert known <= set(typing.get_args(pydantic_core.core_schema.ErrorType))
    kinds = [kind for family in FAMILIES.values() for kind in family.own]
    entries = [*kinds, *(m for m in vars(models).values() if isinstance(m, type) and issubclass(m, SpecModel))]
    fields = [field for model in entries for field in fields_by_key(model).values()]
    constraints = {type(rule).__name__ for field in fields for rule in field.metadata}
    assert constraints <= {"Gt", "Ge", "Lt", "Le", "MinLen", "_PydanticGeneralMetadata", "Family"}
