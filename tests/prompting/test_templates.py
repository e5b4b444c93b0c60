"""Prompt files: what they may say, what they must not, and where a fault is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from flywheel.errors import FlywheelError, SpecInvalid
from flywheel.prompting import check_template, render

ROW: dict[str, Any] = {"question": "how many?", "items": 3, "tags": ["a", "b"], "none": None}


def rendered(folder: Path, text: str, **values: Any) -> str:
    (folder / "p.md").write_text(text, encoding="utf-8")
    return render(Path("p.md"), folder, values)


def refused(folder: Path, text: str, **values: Any) -> str:
    """The message, and that it came before any time or memory was spent."""
    started = time.monotonic()
    with pytest.raises(SpecInvalid) as caught:
        rendered(folder, text, **values)
    assert time.monotonic() - started < 60
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Q: {{ row.question }}\nA:", "Q: how many?\nA:"),
        ("{{ row['question']|upper }}", "HOW MANY?"),
        ("{% for t in row.tags %}\n- {{ loop.index }}/{{ loop.length }} {{ t }}\n{% endfor %}", "- 1/2 a\n- 2/2 b\n"),
        ("{{ row.tags|join(', ') }} {{ row.tags|tojson }}", 'a, b ["a", "b"]'),
        ("{{ row.question ~ '!' }} {{ row.question + '?' }}", "how many?! how many??"),
        ("{% if row.none is none %}nothing{% endif %}", "nothing"),
        ("{{ missing|default('x') }}{% if missing is defined %}y{% endif %}", "x"),
        ("{% for k, v in row.tags|groupby(0) %}{{ k }}{% endfor %}", "ab"),
        ("{% set n = row.tags|length %}{{ n * 2 + 1 }}", "5"),
        ("{% for i in range(3) %}{{ i }}{% endfor %}", "012"),
        ("{{ row.question.split(' ')[0] }} {{ row.question|replace('many', 'few') }}", "how how few?"),
        ("{{ [row.question, 'b']|join('\n')|indent(2) }}", "how many?\n  b"),
        ("{{ {'sql': 'a < b & c'}|tojson }}", '{"sql": "a < b & c"}'),
        ("{{ '<b>' }}", "<b>"),
    ],
)
def test_what_a_prompt_may_say(tmp_path: Path, text: str, expected: str) -> None:
    assert rendered(tmp_path, text, row=ROW) == expected


def test_a_column_wins_over_a_method(tmp_path: Path) -> None:
    assert rendered(tmp_path, "{{ row.items }} {{ row.keys() | length }}", row=ROW) == "3 4"


HOSTILE = ["{{ 7 * 7 }}", "{% for x in range(9) %}{% endfor %}", "{{ ''.__class__ }}", "{# gone #}", "{{"]


@pytest.mark.parametrize("value", HOSTILE)
def test_rows_are_never_template_text(tmp_path: Path, value: str) -> None:
    values = {"row": {"q": value}, "rows": [{"q": value}]}
    assert rendered(tmp_path, "{{ row.q }}|{{ rows[0].q }}", **values) == f"{value}|{value}"


ESCAPES = [
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ row.__class__ }}",
    "{{ row|attr('__class__') }}",
    "{{ '{0.__class__}'.format(row) }}",
    "{{ '%s'|format(row) }}",
    "{{ self._TemplateReference__context }}",
    "{{ lipsum.__globals__ }}",
    "{{ joiner }}{{ joiner() }}",
    "{{ namespace(a=1) }}",
    "{{ row.update({'a': 1}) }}",
    "{{ row.tags.append('x') }}",
    "{% include 'p.md' %}",
    "{% import 'p.md' as p %}",
    "{% extends 'p.md' %}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for x in row.tags recursive %}{{ loop(row.tags) }}{% endfor %}",
    "{% set x %}{{ row.question }}{% endset %}",
    "{% filter upper %}x{% endfilter %}",
]


@pytest.mark.parametrize("text", ESCAPES)
def test_nothing_but_data_is_reached(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text, row=ROW).startswith("p.md:1: ")


BOMBS = [
    "{{ 'a' * 10**9 }}",
    "{{ 'a' * 1000000000 }}",
    "{{ [0] * 1000000000 }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%999999999d'|format(1) }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ 'a\nb'|indent(1000000000) }}",
    "{{ row|tojson(indent=1000000000) }}",
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{{ row.question }}{{ row.question }}{% endfor %}",
    "{{ range(99999)|map('string')|map('replace', '1', row.long)|list|length }}",
    "{{ range(99999)|join(row.long) }}",
    "".join(f"{{% set a{i + 1} = a{i} ~ a{i} %}}" for i in range(60)).replace("a0", "row.question"),
    "".join(f"{{% set a{i + 1} = a{i} + a{i} %}}" for i in range(60)).replace("a0", "row.question"),
    "".join(f"{{% set a{i + 1} = a{i} + a{i} %}}" for i in range(60)).replace("a0", "row.tags"),
    "".join(f"{{% set a{i + 1} = a{i} * a{i} %}}" for i in range(60)).replace("a0", "row.items"),
    "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
    "{{ " + "9" * 10_000 + " }}",
    "{{ row.long|replace('x', row.long) }}",
    "x" * 200_001,
]


@pytest.mark.parametrize("text", BOMBS, ids=range(len(BOMBS)))
def test_bombs_are_refused_before_they_go_off(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text, row={**ROW, "long": "x" * 20_000}).startswith("p.md")


def test_a_fault_has_its_line_and_the_nearest_right_thing(tmp_path: Path) -> None:
    text = "one\n{% for f in failures %}\n{{ f.ansver }}\n{% endfor %}"
    message = refused(tmp_path, text, failures=[{"answer": 1}])
    assert message == "p.md:3: 'dict object' has no attribute 'ansver'. Did you mean \"answer\"?"
    message = refused(tmp_path, "one\ntwo {{ fialures }}", failures=[])
    assert message == "p.md:2: 'fialures' is undefined. Did you mean \"failures\"?"
    assert refused(tmp_path, "a\n\n{% if %}").startswith("p.md:3: ")
    assert refused(tmp_path, "a\n{{ 'x'|uper }}").startswith("p.md:2: No filter named 'uper'")


def test_checking_finds_what_rendering_would(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("fine {{ row.anything }}")
    assert check_template(Path("p.md"), tmp_path) == []
    (tmp_path / "p.md").write_text("a\n{% include 'x' %}")
    (fault,) = check_template(Path("p.md"), tmp_path)
    assert (fault.file, fault.line) == ("p.md", 2)


def test_an_edited_file_is_another_template(tmp_path: Path) -> None:
    assert rendered(tmp_path, "one") == "one"
    assert rendered(tmp_path, "two") == "two"


@pytest.mark.parametrize("path", ["../p.md", "/etc/hostname", "link.md"])
def test_a_prompt_outside_the_project_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "p.md").write_text("outside")
    root = tmp_path / "project"
    root.mkdir()
    (root / "link.md").symlink_to(tmp_path / "p.md")
    with pytest.raises(SpecInvalid, match="must lie inside the project"):
        render(Path(path), root, {})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "prompt.md").write_bytes(b"a\nb\xff")
    with pytest.raises(SpecInvalid, match=r"prompt.md:2: is not UTF-8"):
        render(Path("prompt.md"), tmp_path, {})
    with pytest.raises(SpecInvalid, match=r'promt.md: cannot be read: .*Did you mean "prompt.md"'):
        render(Path("promt.md"), tmp_path, {})
    (tmp_path / "bom.md").write_bytes(b"\xef\xbb\xbfhi\r\nyou")
    assert render(Path("bom.md"), tmp_path, {}) == "hi\nyou"


def test_only_plain_values_are_shown(tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match=r"cannot show row\.when: it is a \w*Path"):
        rendered(tmp_path, "x", row={"when": tmp_path})


def test_ten_thousand_short_prompts_take_about_a_second(tmp_path: Path) -> None:
    rendered(tmp_path, "{{ row.question }}", row=ROW)
    started = time.process_time()
    for _ in range(2_000):
        render(Path("p.md"), tmp_path, {"row": ROW})
    # A tenth of the expected speed, so that a busy machine does not fail it.
    assert time.process_time() - started < 2.0
