"""Secrets: named, never held, never echoed. (FAULTS F 110, 116.)"""

from __future__ import annotations

import pytest

from flywheel.spec.loader import missing_env
from flywheel.spec.secrets import redacted

SELF = "self: {kind: student, temperature: 1}"
PROMPTED = ("parse: text", "parse: text, prompt: prompts/answer.md")
WELL = "self: {kind: litellm, model: openai/x, api_key: '${env:KEY}', api_base: 'http://${env:HOST}:8000'}"


def test_references_stay_unresolved(project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "canary-value")
    loaded = project.edit((SELF, WELL), PROMPTED).load()
    teacher = loaded.spec.teachers["self"]
    assert (teacher.api_key, teacher.api_base) == ("${env:KEY}", "http://${env:HOST}:8000")
    assert "canary-value" not in repr(loaded)


def test_variables_that_are_not_set_are_named_before_anything_is_spent(project) -> None:
    loaded = project.edit((SELF, WELL), PROMPTED).load()
    found = missing_env(loaded, {"HOST": "localhost"})
    assert [(f.line, f.column, f.path, f.message, f.hint) for f in found] == [
        (
            17,
            51,
            ("teachers", "self", "api_key"),
            "the environment variable KEY is not set.",
            "Set it: export KEY=… and run again.",
        )
    ]
    assert missing_env(loaded, {"HOST": "localhost", "KEY": "x"}) == []


def test_an_unused_teacher_needs_no_variable(project) -> None:
    loaded = project.edit((SELF, WELL), PROMPTED, ("teachers: [self]", "teachers: [terse]")).load()
    assert missing_env(loaded, {}) == []


JUDGED = (
    ("teachers:\n", "teachers:\n  judge: {kind: litellm, model: openai/j, api_key: '${env:JUDGE_KEY}'}\n"),
    ("verifiers:\n", "verifiers:\n  good: {kind: judge, teacher: judge, rubric: rubric.md}\n"),
)
STAND_IN = "stand_in: {kind: litellm, model: openai/s, api_key: '${env:STAND_IN_KEY}'}"
BESIDE = ("teachers:\n", f"teachers:\n  {STAND_IN}\n")


def unset(loaded) -> list[str]:
    return [str(fault.path[1]) for fault in missing_env(loaded, {})]


def test_a_judge_that_is_asked_needs_its_variable(project) -> None:
    project.write("rubric.md", "Is it so?").edit(*JUDGED, ("suite: holdout, better_by", "suite: kept, better_by"))
    project.edit(("evals:\n", "evals:\n  kept: {lm_eval: arc_easy}\n"))
    assert unset(project.load()) == []
    assert unset(project.edit(("verify: [same]", "verify: [same, good]")).load()) == ["judge"]


def test_a_teacher_that_stands_in_needs_its_variable(project) -> None:
    project.edit(BESIDE, ("teachers.py:terse}", "teachers.py:terse, fallback: [chatty]}"))
    assert unset(project.load()) == []
    project.edit(("teachers.py:chatty}", "teachers.py:chatty, fallback: [stand_in]}"))
    assert unset(project.load()) == ["stand_in"]


def test_a_teacher_that_answers_a_suite_needs_its_variable(project) -> None:
    project.edit(BESIDE, ("data: evals/holdout.jsonl", "data: evals/holdout.jsonl, teachers: [stand_in]"))
    assert unset(project.load()) == ["stand_in"]


LITERAL = "a literal key does not belong in a file. Write ${env:NAME} and set the variable NAME."


@pytest.mark.parametrize(
    ("keys", "place", "message"),
    [
        ("api_key: hunter2secret", "17:51: teachers.self.api_key", LITERAL),
        ("api_key: 'prefix ${env:KEY}'", "17:51: teachers.self.api_key", LITERAL),
        ("api_key: $KEY", "17:51: teachers.self.api_key", LITERAL),
        ("api_base: 'http://${HOST}'", "17:52: teachers.self.api_base",
         "not a reference to a variable. Write ${env:NAME}."),
        ("api_base: '${env:}'", "17:52: teachers.self.api_base",
         "not a reference to a variable. Write ${env:NAME}."),
        ("style: '${env:STYLE}'", "17:49: teachers.self.style",
         "variables are read only in keys, addresses and dsn. Write the value itself."),
        ("style: sk-abcdefghijklmnop1234", "17:49: teachers.self.style",
         "this looks like a secret key. Write ${env:NAME} in api_key."),
    ],
)  # fmt: skip
def test_what_is_no_reference(project, keys: str, place: str, message: str) -> None:
    project.edit((SELF, f"self: {{kind: litellm, model: openai/x, {keys}}}"), PROMPTED)
    assert project.messages() == [f"flywheel.yaml:{place}: {message}"]


SECRET = "hunter2-canary-7f3a"


@pytest.mark.parametrize(
    "change",
    [
        (SELF, f"self: {{kind: litellm, model: openai/x, api_key: {SECRET}}}"),
        (SELF, f"self: {{kind: litellm, model: openai/x, api_key: {SECRET}, modle: y}}"),
        (SELF, f'self: {{kind: litellm, modle: openai/x, api_key: "{SECRET}"}}'),
        (SELF, f"self:\n    kind: litellm\n    api_key: {SECRET}\n    model: [}}"),
        (SELF, f"self: {{kind: litellm, model: openai/x, api-key: {SECRET}}}"),
        (SELF, f"self: {{kind: litellm, model: openai/x, api_key: {SECRET}, api_key: {SECRET}}}"),
        (SELF, f"self: {{kind: litellm, model: openai/x, api_key: [{SECRET}]}}"),
        (SELF, f"self: {{kind: litellm, model: openai/x, api_key:\n      {SECRET}}}"),
        (SELF, f"self: {{kind: litellm, model: openai/x, api_key:\n      {SECRET}: [}}"),
        (SELF, f"self:\n    kind: litellm\n    api_key: >-\n      {SECRET}\n    model: 5"),
    ],
)
def test_a_secret_is_never_echoed(project, change: tuple[str, str]) -> None:
    found = project.edit(change).faults()
    assert SECRET not in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefghijklmnop1234", "hf_abcdefghijklmnopqrstuvwx", "ghp_abcdefghijklmnopqrstuvwx",
        "AKIAABCDEFGHIJKLMNOP", "xoxb-1234567890-abc", "AIzaSyA1234567890abcdefghijklmnopqrstu",
        "gsk_abcdefghijklmnopqrstuvwx",
    ],
)  # fmt: skip
def test_keys_are_known_by_their_beginning(key: str) -> None:
    assert redacted(f"- {key}") == "- " + "*" * len(key)


def test_redaction_leaves_the_rest() -> None:
    text = "max_tokens: 12, model: openai/gpt, api_key: ${env:KEY}, revision: " + "a1" * 20
    assert redacted(text) == text
