"""YAML: scalars of 1.2, places, and everything that must not get in. (FAULTS F 103–106, 108, 115.)"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from flywheel.errors import SpecInvalid, render_fault
from flywheel.spec.document import MAX_BYTES, core_scalar, parse_document, read_document


def refused(text: str) -> str:
    with pytest.raises(SpecInvalid) as caught:
        parse_document(text, "f.yaml")
    return str(caught.value)


def refused_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> str:
    monkeypatch.chdir(tmp_path)
    Path("f.yaml").write_bytes(data)
    with pytest.raises(SpecInvalid) as caught:
        read_document(Path("f.yaml"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("n", "n"), ("true", True), ("False", False),
        ("1:30", "1:30"), ("012", 12), ("0o17", 15), ("0x1F", 31), ("0b1", "0b1"), ("1_000", "1_000"),
        ("TRUE", True), ("+7", 7), ("-3", -3), ("1e-4", 1e-4), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0),
        ("1.5E+2", 150.0), ("", None), ("~", None), ("null", None), ("Null", None),
        ("2024-01-01", "2024-01-01"), ("=", "="), ("0o9", "0o9"),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = core_scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_quotes_and_str_tags_make_text() -> None:
    tree = parse_document("""{a: '1', b: "no", c: !!str 12, d: ! 3, e: !!int 4, f: !!map {g: !!seq []}}""", "f").tree
    assert tree == {"a": "1", "b": "no", "c": "12", "d": "3", "e": 4, "f": {"g": []}}


def test_aliases_are_copied() -> None:
    tree = parse_document("a: &x {b: [1]}\nc: *x\n", "f").tree
    assert tree == {"a": {"b": [1]}, "c": {"b": [1]}}
    assert tree["a"]["b"] is not tree["c"]["b"]


def test_places_are_of_values_and_keys() -> None:
    document = parse_document("# first\na: 1\nb:\n  - c: x\n  - {d: [y]}\n", "f")
    assert document.places == {
        (): (2, 1),
        ("a",): (2, 4),
        ("b",): (3, 1),
        ("b", 0): (4, 5),
        ("b", 0, "c"): (4, 8),
        ("b", 1): (5, 5),
        ("b", 1, "d"): (5, 6),
        ("b", 1, "d", 0): (5, 10),
    }
    assert document.keys[("b", 1, "d")] == (5, 6)


def test_a_fault_points_at_the_nearest_place_that_is_written() -> None:
    document = parse_document("a:\n  b: 1\n", "f.yaml")
    assert render_fault(document.fault(("a", "c", 3), "gone.")) == "f.yaml:1:1: a.c[3]: gone.\n    a:\n    ^"


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_line_breaks(line_break: str) -> None:
    document = parse_document(line_break.join(["a: 1", "b: é", "c: 3"]), "f.yaml")
    assert document.tree == {"a": 1, "b": "é", "c": 3}
    assert render_fault(document.fault(("c",), "odd.")) == "f.yaml:3:4: c: odd.\n    c: 3\n       ^"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: 1\nb: 2\na: 3\n",
            'f.yaml:3:1: the key "a" stands twice, here and in line 1. Remove one of them.\n    a: 3\n    ^',
        ),
        (
            "a: !!python/object/apply:os.system [x]",
            "f.yaml:1:4: the tag !!python/object/apply:os.system is not allowed here. Write plain values.\n"
            "    a: !!python/object/apply:os.system [x]\n       ^",
        ),
        (
            "a: !!int x",
            "f.yaml:1:4: the tag !!int is not allowed here. Write plain values.\n    a: !!int x\n       ^",
        ),
        ("a: .inf", "f.yaml:1:4: not a finite number.\n    a: .inf\n       ^"),
        ("a: -.INF", "f.yaml:1:4: not a finite number.\n    a: -.INF\n       ^"),
        ("a: 1e999", "f.yaml:1:4: not a finite number.\n    a: 1e999\n       ^"),
        (
            "a: 9223372036854775808",
            "f.yaml:1:4: a whole number of more than 64 bits.\n    a: 9223372036854775808\n       ^",
        ),
        ("1: x", 'f.yaml:1:1: the key 1 is not text. Put it in quotes: "1".\n    1: x\n    ^'),
        ("[a]: x", "f.yaml:1:1: a key must be plain text.\n    [a]: x\n    ^"),
        ("a: &k x\n*k : 1", "f.yaml:2:1: a key must be plain text.\n    *k : 1\n    ^"),
        (
            "a: {<<: {b: 1}}",
            "f.yaml:1:5: merge keys (<<) are not part of YAML 1.2. Write the keys out.\n    a: {<<: {b: 1}}\n        ^",
        ),
        ("", "f.yaml:1:1: the file is empty. Start one: flywheel init."),
        ("# x\n", "f.yaml:1:1: the file is empty. Start one: flywheel init.\n    # x\n    ^"),
        (
            "- a",
            "f.yaml:1:1: the file must hold keys and values. Start with name: …\n    - a\n    ^",
        ),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: a second YAML document. Keep one spec in a file.\n    ---\n    ^"),
        (
            "a:\n\t- b",
            "f.yaml:2:1: a tab where YAML wants spaces. Indent with spaces.\n    \t- b\n    ^",
        ),
        (
            "a: b: c",
            "f.yaml:1:5: not YAML: mapping values are not allowed in this context. "
            'Put a value that holds ": " in quotes.\n    a: b: c\n        ^',
        ),
        (
            "a: 'x",
            "f.yaml:1:6: not YAML: found unexpected end of stream. "
            "Look for a missing quote, bracket or space.\n    a: 'x\n         ^",
        ),
        (
            "a:\n  [b,\n",
            "f.yaml:3:1: not YAML: did not find expected node content. Look for a missing quote, bracket or space.",
        ),
        ("a: b\x07", "f.yaml:1:5: the character U+0007 is not allowed in YAML.\n    a: b\\x07\n        ^"),
        ("a: b\x00c", "f.yaml:1:5: the character U+0000 is not allowed in YAML.\n    a: b\\x00c\n        ^"),
        ("a: *x", "f.yaml:1:4: the alias *x has no anchor &x before it.\n    a: *x\n       ^"),
        (
            "a: &a [*a]",
            "f.yaml:1:8: the alias *a stands inside its own anchor.\n    a: &a [*a]\n           ^",
        ),
    ],
)
def test_what_is_refused_is_said_in_words(text: str, message: str) -> None:
    assert refused(text) == message


def test_all_faults_of_the_yaml_come_at_once() -> None:
    found = [line for line in refused("a: 1\na: 2\n3: x\nb: .nan\nc: !x y\n").split("\n") if "f.yaml" in line]
    assert [line.split(": ")[0] for line in found] == ["f.yaml:2:1", "f.yaml:3:1", "f.yaml:4:4", "f.yaml:5:4"]


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "f.yaml:5:40: more than 50,000 values, aliases followed."),
        (MERGES, "f.yaml:2:10: merge keys (<<) are not part of YAML 1.2. Write the keys out."),
        ("a: &a {b: *a}", "f.yaml:1:11: the alias *a stands inside its own anchor."),
        ("[" * 1_000_000, "f.yaml:1:65: nested deeper than 64 levels."),
        ("{" * 1_000_000, "f.yaml:1:65: nested deeper than 64 levels."),
        ("- " * 500_000, "f.yaml:1:129: nested deeper than 64 levels."),
        ("? " * 500_000, "f.yaml:1:129: nested deeper than 64 levels."),
        (
            f"a: &a {'[' * 60}{']' * 60}\nb: {'[' * 10}*a{']' * 10}",
            "f.yaml:2:9: nested deeper than 64 levels, aliases followed.",
        ),
    ],
    ids=["laughs", "merges", "cycle", "brackets", "braces", "dashes", "questions", "deep alias"],
)
def test_bombs_end_at_once(text: str, message: str) -> None:
    started = time.process_time()
    found = refused(text)
    seconds = time.process_time() - started
    assert found.split("\n")[0] == message
    assert seconds < 5, "0.1 s on a quiet machine, without end where it is expanded"


def test_faults_of_the_yaml_are_bounded() -> None:
    assert refused("a: .nan\n" + "".join(f"{i}: x\n" for i in range(5_000))).count("f.yaml:") == 100


def test_a_byte_order_mark_is_taken_off(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    document = read_document(tmp_path / "f.yaml")
    assert document.tree == {"a": 1}
    assert document.places[("a",)] == (1, 4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nb: \xe9\n", "f.yaml:2: not UTF-8 text (byte 0xe9). Save the file as UTF-8."),
        ("a: 1".encode("utf-16"), "f.yaml:1: not UTF-8 text (byte 0xff). Save the file as UTF-8."),
        (b"a" * (5 << 20), "f.yaml: larger than 1 MiB. Keep rows in data files and name them."),
        (b"\x89PNG\r\n", "f.yaml:1: not UTF-8 text (byte 0x89). Save the file as UTF-8."),
    ],
)
def test_bytes_that_are_no_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, message: str) -> None:
    assert refused_bytes(tmp_path, monkeypatch, data) == message


def test_a_megabyte_is_read(tmp_path: Path) -> None:
    head = b"a: 1\n#"
    (tmp_path / "f.yaml").write_bytes(head + b"x" * (MAX_BYTES - len(head)))
    assert read_document(tmp_path / "f.yaml").tree == {"a": 1}


def test_a_missing_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecInvalid) as caught:
        read_document(Path("flywheel.yaml"))
    assert str(caught.value) == (
        "flywheel.yaml: cannot be read: no such file or directory. "
        "Give the path of a flywheel.yaml, or start one: flywheel init."
    )


def test_a_long_line_is_not_shown_whole() -> None:
    found = refused("a: [" + "x, " * 100 + "&y !z 1]")
    assert found == "f.yaml:1:305: the tag !z is not allowed here. Write plain values."
