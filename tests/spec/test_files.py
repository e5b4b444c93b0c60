"""Paths stay in the project and can be read; functions exist. (FAULTS F 109.)"""

from __future__ import annotations

import os

import pytest

from flywheel.spec.files import spec_files

INSIDE = "Name a file inside the project, relative to the spec."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../x.jsonl", f'"../x.jsonl" leads out of its folder (..). {INSIDE}'),
        ("evals/../evals/probes.jsonl", f'"evals/../evals/probes.jsonl" leads out of its folder (..). {INSIDE}'),
        ("/etc/hostname", f'"/etc/hostname" is not relative to the project. {INSIDE}'),
        ("~/x.jsonl", f'"~/x.jsonl" is not relative to the project. {INSIDE}'),
        ("'C:/x.jsonl'", f'"C:/x.jsonl" is not relative to the project. {INSIDE}'),
        ("evals\\probes.jsonl", '"evals\\probes.jsonl" holds a backslash. Separate folders by /.'),
        ("\"a\\0b\"", f'"a\\x00b" holds a control character. {INSIDE}'),
        ("''", f'"" names no file. {INSIDE}'),
        ("CON", '"CON" holds "CON", a device on some systems. Rename it.'),
        ("evals/nul.jsonl", '"evals/nul.jsonl" holds "nul.jsonl", a device on some systems. Rename it.'),
        ("x" * 300, f'"{"x" * 79}…" is too long for a file name. {INSIDE}'),
        ("é" * 130, f'"{"é" * 79}…" is too long for a file name. {INSIDE}'),
        ("outside/x.jsonl", '"outside/x.jsonl" is a link that leads out of the project. '
                            "Copy the file into the project."),
        ("circle/x.jsonl", '"circle/x.jsonl" is a link that leads nowhere. Copy the file into the project.'),
        ("evals/probs.jsonl", '"evals/probs.jsonl" does not exist. Did you mean "evals/probes.jsonl"?'),
        ("eval/probes.jsonl", '"eval/probes.jsonl" does not exist. There is no folder eval.'),
        ("evals", '"evals" is a folder. Name a file.'),
        ("pipe.jsonl", '"pipe.jsonl" is not a regular file. Name a file.'),
    ],
)  # fmt: skip
def test_paths_that_are_refused(project, tmp_path_factory, name: str, message: str) -> None:
    (project.root / "outside").symlink_to(tmp_path_factory.mktemp("outside"))
    (project.root / "circle").symlink_to("circle")
    os.mkfifo(project.root / "pipe.jsonl")
    project.edit(("probes: evals/probes.jsonl", f"probes: {name}"))
    assert project.messages() == [f"flywheel.yaml:8:13: tasks.answer.probes: {message}"]


def test_a_link_inside_the_project_is_followed(project) -> None:
    (project.root / "link.jsonl").symlink_to("evals/probes.jsonl")
    project.edit(("probes: evals/probes.jsonl", "probes: link.jsonl"))
    assert project.load().spec.tasks["answer"].probes == "link.jsonl"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(project) -> None:
    (project.root / "evals/probes.jsonl").chmod(0)
    assert "permission denied" in project.faults()


def test_every_named_file_is_listed(project) -> None:
    project.edit(
        ("{kind: exact}", "{kind: json_schema, schema: evals/schema.json}"),
        ("parse: text", "parse: text, prompt: prompts/answer.md"),
    ).write("evals/schema.json", "{}")
    assert spec_files(project.load().spec) == [
        (("tasks", "answer", "prompt"), "prompts/answer.md"),
        (("tasks", "answer", "probes"), "evals/probes.jsonl"),
        (("tasks", "answer", "seeds"), "evals/seeds.csv"),
        (("teachers", "terse", "function"), "teachers.py"),
        (("teachers", "chatty", "function"), "teachers.py"),
        (("verifiers", "same", "schema"), "evals/schema.json"),
        (("generate", 1, "prompt"), "prompts/answer.md"),
        (("evals", "holdout", "data"), "evals/holdout.jsonl"),
    ]


def test_labels_may_be_a_file(project) -> None:
    project.edit(("{kind: exact}", "{kind: label, labels: labels.txt}")).write("labels.txt", "2\n3\n4\n5\n6\n7\n")
    assert (("verifiers", "same", "labels"), "labels.txt") in spec_files(project.load().spec)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("teachers.py:ters", 'no function "ters" in teachers.py. Did you mean "terse"?'),
        ("teachers.py", '"teachers.py" names no function. Write file.py:function.'),
        ("'teachers.py:'", '"teachers.py:" names no function. Write file.py:function.'),
        ("teacher.py:terse", '"teacher.py" does not exist. Did you mean "teachers.py"?'),
    ],
)
def test_functions_that_are_not_there(project, function: str, message: str) -> None:
    project.edit(("function: teachers.py:terse", f"function: {function}"))
    assert project.messages() == [f"flywheel.yaml:15:35: teachers.terse.function: {message}"]


def test_python_that_cannot_be_parsed(project) -> None:
    project.write("teachers.py", "def terse(request):\n    return (\n")
    assert project.messages()[0] == "teachers.py:2: teachers.terse.function: not Python: '(' was never closed."


def test_a_package_that_a_python_file_needs_and_that_is_not_here_is_told(project) -> None:
    project.write("beside.py", "")
    project.write(
        "teachers.py",
        "import json, os.path\nimport beside\nimport not_here.part\nfrom flywheel.text import plural\n"
        "try:\n    import perhaps\nexcept ImportError:\n    pass\ndef terse(r): ...\ndef chatty(r): ...\n",
    )
    said = {(fault.line, fault.message) for fault in project.load().warnings}
    assert said == {(3, 'imports "not_here", which is not installed here.')}


def test_a_python_file_is_not_run(project) -> None:
    project.write("teachers.py", "raise SystemExit\ndef terse(r): ...\nchatty = terse\n")
    assert project.load().warnings == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes."),
        ("[" * 100_000, "not JSON that can be read: "),
        ('{"type": "objekt"}', 'no JSON Schema: type: "objekt" is no type. Did you mean "object"?'),
        ('{"properties": {"a": {"type": 3}}}', "no JSON Schema: properties.a.type: 3 is no type. Known: array, "),
        ('{"properties": []}', 'no JSON Schema: properties: [] is not of type "object".'),
        ('{"pattern": "("}', 'no JSON Schema: pattern: "(" is not a "regex".'),
        ('{"$ref": "#/nope"}', "no JSON Schema: the whole: Pointer '/nope' does not exist."),
        ('{"$ref": "http://127.0.0.1:9/s"}', "http://127.0.0.1:9/s is outside the file."),
        ("[]", "no JSON Schema: the whole: "),
    ],
)
def test_a_json_schema_must_be_json_and_a_schema(project, content: str, message: str) -> None:
    project.edit(("{kind: exact}", "{kind: json_schema, schema: s.json}")).write("s.json", content)
    assert project.messages()[0].startswith("s.json")
    assert message in project.messages()[0]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../out", f'"../out" leads out of its folder (..). {INSIDE}'),
        (".", '"." holds prompts/answer.md. Name a folder of its own: deploy.'),
        ("evals", '"evals" holds evals/probes.jsonl. Name a folder of its own: deploy.'),
        (".flywheel/x", '".flywheel/x" holds the project itself. Name a folder of its own: deploy.'),
        ("teachers.py", '"teachers.py" is a file. Name a folder.'),
    ],
)
def test_deployment_overwrites_nothing(project, path: str, message: str) -> None:
    project.edit(("version: 1\n", f"version: 1\ndeploy: {{path: {path}}}\n"))
    assert project.messages() == [f"flywheel.yaml:3:16: deploy.path: {message}"]
