"""Rows in files, whole messages."""

from __future__ import annotations

import datetime
from decimal import Decimal
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


def test_a_json_array_is_rows() -> None:
    assert read("a.json", '\ufeff[\n {"q": "é", "n": {"a": [1]}},\n {"q": null}\n]\n') == [
        {"q": "é", "n": {"a": [1]}},
        {"q": None},
    ]
    assert read_row_file(Path("a.json")).lines == (1, 2)
    assert read("a.json", "") == read("a.json", "[]") == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('[{"q": 1},\n {"q": }]', "a.json:2: not JSON: Expecting value at column 8."),
        ('{"q": 1}', "a.json:1: not an array of objects."),
        ('[{"q": 1}, 2]', "a.json:2: not a JSON object."),
        ('[{"q": 1, "q": 2}]', "a.json:1: "),
        ('[{"q": NaN}]', "a.json:1: NaN is not JSON."),
        ('[{"q": "\\ud800"}]', "a.json:1: text with half of a surrogate pair."),
    ],
)
def test_a_json_array_that_is_refused(data: str, message: str) -> None:
    assert refused("a.json", data).startswith(message)


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


def write_parquet(**columns: object) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), "a.parquet")


def test_parquet_of_all_kinds() -> None:
    import pyarrow as pa

    moment = datetime.datetime(2024, 1, 2, 3, 4, 5)
    write_parquet(
        decimal=[Decimal("12.50"), Decimal("1E+3")],
        day=[datetime.date(2024, 1, 2), None],
        moment=pa.array([moment, None], pa.timestamp("us")),
        zoned=pa.array([moment.replace(tzinfo=datetime.UTC), None], pa.timestamp("us", "UTC")),
        clock=[datetime.time(1, 2, 3), None],
        span=[datetime.timedelta(days=1, seconds=3, microseconds=5), None],
        text=[b"\xc3\xa9", None],
        word=pa.array(["a", "b"]).dictionary_encode(),
        named=pa.array([[("a", Decimal("1.5"))], []], pa.map_(pa.string(), pa.decimal128(4, 1))),
        numbered=pa.array([[(1, "x")], None], pa.map_(pa.int64(), pa.string())),
        nested=[{"days": [datetime.date(2024, 1, 2)], "deep": [{"n": Decimal("0.10")}]}, None],
        large=pa.array([2**64 - 1, 0], pa.uint64()),
    )
    first, second = read_rows(Path("a.parquet"))
    assert first == {
        "decimal": "12.50", "day": "2024-01-02", "moment": "2024-01-02T03:04:05", "zoned": "2024-01-02T03:04:05+00:00",
        "clock": "01:02:03", "span": "PT86403.000005S", "text": "é", "word": "a", "named": {"a": "1.5"},
        "numbered": [[1, "x"]], "nested": {"days": ["2024-01-02"], "deep": [{"n": "0.10"}]}, "large": 2**64 - 1,
    }  # fmt: skip
    assert (second["decimal"], second["nested"], second["span"]) == ("1000.00", None, None)
    fingerprint([first, second])


def test_parquet_with_what_json_cannot_hold_is_one_fault_a_column() -> None:
    write_parquet(image=[b"ok", b"\xff", b"\xfe"], score=[float("nan"), 1.0, float("inf")], q=["a", "b", "c"])
    with pytest.raises(SpecInvalid) as caught:
        read_rows(Path("a.parquet"))
    mend = "Store it as text, or leave the column out."
    assert set(str(caught.value).split("\n")) == {
        f'a.parquet:1: column "score": the number nan; so in 2 rows. {mend}',
        f'a.parquet:2: column "image": bytes that are no UTF-8 text; so in 2 rows. {mend}',
    }


@pytest.mark.parametrize(
    ("name", "data", "rows"),
    [
        ("a.csv", "q;n\n1,5;2\n", [{"q": "1,5", "n": "2"}]),
        ("a.csv", "q\tn\na, b\t2\n", [{"q": "a, b", "n": "2"}]),
        ("a.tsv", "q\tn\na\t2\n", [{"q": "a", "n": "2"}]),
        ("a.tsv", "q, r\tn\na\t2\n", [{"q, r": "a", "n": "2"}]),
        ("a.csv", 'q;n\n"a;b\nc";2\n', [{"q": "a;b\nc", "n": "2"}]),
        ("a.csv", "q;r,n\n1;2,3\n", [{"q;r": "1;2", "n": "3"}]),
        ("a.csv", "what; now\nno separator here\n", [{"what; now": "no separator here"}]),
        ("a.csv", "only\nx;y\n", [{"only": "x;y"}]),
    ],
)
def test_columns_between_commas_semicolons_or_tabs(name: str, data: str, rows: list[dict]) -> None:
    assert read(name, data) == rows
    assert ("separated by" in read_row_file(Path(name)).note) == (
        name == "a.csv" and len(rows[0]) > 1 and "r,n" not in data
    )


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
        ("a.txt", "x", 'a.txt: unknown kind of data file ".txt". Known: .csv, .json, .jsonl, .parquet, .tsv.'),
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
    found = refused("a.jsonl", "".join(f"{'[' * (i + 1)}x\n" for i in range(30))).split("\n")
    assert len([line for line in found if line.startswith("a.jsonl:")]) == 21
    assert found[-1] == "a.jsonl:20: and 10 more faults."


def test_one_fault_of_many_lines_is_said_once() -> None:
    found = refused("a.jsonl", "x\n" * 30).split("\n")
    assert len([line for line in found if line.startswith("a.jsonl:")]) == 1
    assert found[0].startswith(
        "a.jsonl:1: not JSON: Expecting value at column 1, here and in 29 further rows (2, 3, 4, …)."
    )


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
