"""Rows in files, whole messages."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from flywheel.errors import SpecInvalid
from flywheel.hashing import fingerprint
from flywheel.records.rows import read_row_file, read_rows, shown, target_text


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(name: str, data: str | bytes) -> list[dict]:
    Path(name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_rows(Path(name))


def refused(name: str, data: str | bytes) -> str:
    with pytest.raises(SpecInvalid) as caught:
        read(name, data)
    return str(caught.value)


def test_json_lines() -> None:
    text = '\ufeff{"q": "é {{x}}", "n": 1.5}\r\n\n{"q": null, "n": {"a": [1]}}'
    assert read("a.jsonl", text) == [{"q": "é {{x}}", "n": 1.5}, {"q": None, "n": {"a": [1]}}]
    assert read_row_file(Path("a.jsonl")).lines == (1, 3)
    assert read_row_file(Path("a.jsonl")).file == "a.jsonl"


def test_a_line_separator_in_a_row_is_no_new_line() -> None:
    assert read("a.jsonl", '{"q": "a\u2028b\x0bc"}\n'.replace("\x0b", "\\u000b")) == [{"q": "a\u2028b\x0bc"}]


def test_csv() -> None:
    assert read("a.CSV", '\ufeffq,n\r\n"a, ""b""\nc",1\r\n\r\nd,\r\n') == [
        {"q": 'a, "b"\nc', "n": "1"},
        {"q": "d", "n": ""},
    ]
    assert read_row_file(Path("a.CSV")).lines == (3, 5)


def test_parquet() -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"q": "a", "n": 1, "l": [1.5]}, {"q": None, "n": 2, "l": []}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), "a.parquet")
    assert read_rows(Path("a.parquet")) == rows
    assert read_row_file(Path("a.parquet")).lines == (1, 2)


def test_parquet_with_what_json_cannot_hold() -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"d": datetime.date(2026, 1, 1)}, {"d": None}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), "a.parquet")
    with pytest.raises(SpecInvalid) as caught:
        read_rows(Path("a.parquet"))
    assert str(caught.value) == ('a.parquet:1: column "d": cannot fingerprint a value of type date. Store it as text.')


@pytest.mark.parametrize(("name", "data"), [("a.jsonl", ""), ("a.jsonl", " \n\n"), ("a.csv", "q,n\n")])
def test_no_rows(name: str, data: str) -> None:
    assert read(name, data) == []


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", '{"q": 1}\n{"q": }\n', "a.jsonl:2: not JSON: Expecting value at column 7. "
                                           'Write one JSON object a line.\n    {"q": }'),
        ("a.jsonl", "[1]", 'a.jsonl:1: not a JSON object. Write the columns by name: {"question": …}.\n    [1]'),
        ("a.jsonl", '{"q": {"b": 1, "b": 2}}', 'a.jsonl:1: the key "b" stands twice. Keep the one that is meant.\n'
                                                       '    {"q": {"b": 1, "b": 2}}'),
        ("a.jsonl", '{"q": NaN}', "a.jsonl:1: NaN is not JSON. Write null, or leave the row out.\n"
                                  '    {"q": NaN}'),
        ("a.jsonl", '{"q": 1e999}', 'a.jsonl:1: the number 1e999 is too large.\n    {"q": 1e999}'),
        ("a.jsonl", '{"q": "\\ud800"}', "a.jsonl:1: text with half of a surrogate pair. "
                                        'Write the character itself, or both halves.\n    {"q": "\\ud800"}'),
        ("a.jsonl", b'{"q": 1}\n{"q": "\xff"}', "a.jsonl:2: not UTF-8 text. Save the file as UTF-8."),
        ("a.csv", "q,q\n1,2\n", 'a.csv:1: the column "q" stands twice. Name every column once.'),
        ("a.csv", "q,\n1,2\n", "a.csv:1: a column without a name. Name every column once."),
        ("a.csv", "q,n\n1,2,3\n4\n", "a.csv:2: 3 values for 2 columns. Put a value that holds a comma in "
                                     "quotes.\na.csv:3: 1 value for 2 columns. Put a value that holds a comma "
                                     "in quotes."),
        ("a.csv", 'q\n"a\n', "a.csv:2: not CSV: unexpected end of data."),
        ("a.csv", b"q\n1\n\xff\n", "a.csv:3: not UTF-8 text. Save the file as UTF-8."),
        ("a.parquet", "PAR?", "a.parquet: not a Parquet file: "),
        ("a.txt", "x", 'a.txt: unknown kind of data file ".txt". Known: .csv, .jsonl, .parquet.'),
    ],
)  # fmt: skip
def test_what_is_refused(name: str, data: str | bytes, message: str) -> None:
    found = refused(name, data)
    assert found == message or (name == "a.parquet" and found.startswith(message))


def test_deep_and_long_json() -> None:
    assert refused("a.jsonl", '{"q": ' + "[" * 100_000).split("\n")[0] == (
        "a.jsonl:1: not JSON that can be read: nested too deep."
    )
    assert refused("a.jsonl", '{"q": ' + "9" * 5_000 + "}").split("\n")[0] == (
        "a.jsonl:1: a number with too many digits."
    )


def test_every_bad_line_up_to_a_bound() -> None:
    found = refused("a.jsonl", "x\n" * 30).split("\n")
    assert len([line for line in found if line.startswith("a.jsonl:")]) == 21
    assert found[-1] == "a.jsonl: and 10 more faults."


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(SpecInvalid) as caught:
        read_rows(Path("no.jsonl"))
    assert str(caught.value) == "no.jsonl: cannot be read: No such file or directory."


def test_what_is_read_can_be_fingerprinted() -> None:
    for row in read("a.jsonl", '{"q": "\\ud83d\\ude00", "n": 1e308}\n'):
        assert len(fingerprint(row)) == 64


@pytest.mark.parametrize(
    ("value", "text"),
    [("a b", "a b"), ({"b": 1, "a": [1.5, None]}, '{"a":[1.5,null],"b":1}'), (3, "3"), (True, "true")],
)
def test_targets_as_text(value: object, text: str) -> None:
    assert target_text(value) == text


def test_paths_as_a_person_would_type_them(tmp_path: Path) -> None:
    assert shown(tmp_path / "a" / "b.jsonl") == "a/b.jsonl"
    assert shown(tmp_path.parent) == str(tmp_path.parent)
