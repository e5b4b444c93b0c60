"""From a table to a project: what is guessed, what is left out, and that the project is whole, valid or not there."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from flywheel.engine.golds import gold_doubts, validated
from flywheel.engine.project import Workspace, open_project
from flywheel.engine.starting.lengths import fitted
from flywheel.engine.starting.splitting import least_fixed
from flywheel.engine.starting.start import Started, Wishes, start
from flywheel.engine.starting.tables import read_table
from flywheel.errors import FlywheelError, SpecInvalid, UsageError
from flywheel.prompting.templates import render
from flywheel.records.rows import read_rows, target_text
from flywheel.text import normalised

FILES = ("lessons", "holdout", "probes", "seeds")
_THINGS = "parcel refund password invoice address phone card account voucher receipt basket order"
_WORDS = "why can you please tell where my new old blue green lost late broken today again still never soon"
THINGS, WORDS = _THINGS.split(), _WORDS.split()

Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def questions(count: int, seed: int = 1) -> Iterator[str]:
    """Texts of which no two are alike."""
    rng, seen = random.Random(seed), set[str]()
    while len(seen) < count:
        text = " ".join(rng.sample(WORDS, 6)) + f" {rng.choice(THINGS)}?"
        if text not in seen:
            seen.add(text)
            yield text


def tickets(count: int = 120, labels: Sequence[Any] = ("delivery", "money", "other")) -> Rows:
    return [{"text": text, "label": labels[i % len(labels)]} for i, text in enumerate(questions(count))]


def csv_file(name: str, rows: Rows, delimiter: str = ",", start_with: str = "") -> str:
    with Path(name).open("w", encoding="utf-8", newline="") as handle:
        handle.write(start_with)
        writer = csv.DictWriter(handle, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return name


def jsonl_file(name: str, rows: Rows) -> str:
    Path(name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return name


def started(source: str, **wishes: Any) -> Started:
    return start(source, Path("made"), Wishes(**wishes))


def opened() -> Workspace:
    """The project, which is valid without a warning, right answers included."""
    project = open_project(Path("made/flywheel.yaml"))
    assert validated(project) == []
    assert gold_doubts(project.spec, project.root) == []
    return project


def rows_of(file: str) -> Rows:
    return read_rows(Path(f"made/rows/{file}.jsonl"))


def all_rows() -> Rows:
    return [row for file in FILES for row in rows_of(file)]


def refused(source: str, **wishes: Any) -> str:
    with pytest.raises(FlywheelError) as caught:
        started(source, **wishes)
    assert not Path("made").exists()
    return str(caught.value)


# --- formats ----------------------------------------------------------------------------------------------------------


def parquet_file(name: str, rows: Rows) -> str:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), name)
    return name


def json_file(name: str, rows: Rows) -> str:
    Path(name).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return name


FORMATS: dict[str, Callable[[str, Rows], str]] = {
    "t.csv": csv_file,
    "bom.csv": lambda name, rows: csv_file(name, rows, start_with="\ufeff"),
    "semicolons.csv": lambda name, rows: csv_file(name, rows, ";"),
    "t.tsv": lambda name, rows: csv_file(name, rows, "\t"),
    "t.json": json_file,
    "t.jsonl": jsonl_file,
    "t.parquet": parquet_file,
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_table_makes_the_same_project_in_every_format(name: str) -> None:
    rows = tickets()
    rows[3]["text"] = 'two lines,\nwith "quotes"; and more'

    made = started(FORMATS[name](name, rows))

    assert opened().spec.tasks["label"].target == "label"
    assert {(row["text"], row["label"]) for row in all_rows()} == {(row["text"], row["label"]) for row in rows}
    assert f"{name}: 120 rows of text, label" in made.guessed
    assert "label: by its name (--target says otherwise)" in made.guessed


@pytest.mark.parametrize(("encoding", "name"), [("cp1252", "Windows-1252"), ("utf-16", "UTF-16")])
def test_a_table_as_excel_writes_it_is_read_and_what_was_guessed_is_shown(encoding: str, name: str) -> None:
    rows = [{**row, "label": {"money": "Kündigung"}.get(row["label"], row["label"])} for row in tickets()]
    text = Path(csv_file("t.csv", rows, ";")).read_text(encoding="utf-8")
    Path("t.csv").write_text(text, encoding=encoding, newline="")

    made = started("t.csv")

    assert f'not UTF-8, so read as {name}: "' in made.guessed
    assert "Kündigung" in {row["label"] for row in all_rows()}


def test_a_bad_row_of_such_a_table_is_said_in_its_own_file() -> None:
    Path("t.csv").write_bytes("text,label\nß,a\nc\n".encode("cp1252"))

    with pytest.raises(SpecInvalid) as caught:
        started("t.csv")

    assert [(fault.file, fault.line) for fault in caught.value.faults] == [("t.csv", 3)]


def test_bytes_that_are_neither_are_refused_with_their_line() -> None:
    Path("t.csv").write_bytes(b"text,label\na,b\n\x81\xff,c\n")

    with pytest.raises(SpecInvalid, match=r"t\.csv:3: not UTF-8 text"):
        started("t.csv")


def test_the_project_is_named_after_the_table() -> None:
    made = start(csv_file("Tickets 2026.csv", tickets()), None, Wishes())

    assert made.folder == Path("Tickets_2026")
    assert (made.task, made.example) == ("label", 'text="…"')
    assert open_project(made.folder / "flywheel.yaml").spec.name == "Tickets_2026"


def test_a_file_that_is_not_there_names_the_nearest() -> None:
    csv_file("tickets.csv", tickets())

    assert refused("ticket.csv") == 'ticket.csv: there is no such file. Did you mean "tickets.csv"?'
    assert refused("nothing/here.csv").endswith("Name a CSV, TSV, JSON, JSONL or Parquet file.")
    assert "is empty" in refused(jsonl_file("none.jsonl", []))


def test_a_data_set_of_the_hub_is_not_fetched_without_leave() -> None:
    assert refused("someone/tickets") == (
        "someone/tickets: there is no such file. If it is a data set of the Hugging Face hub, set FLYWHEEL_ONLINE=1: "
        "without it nothing is fetched."
    )


def test_a_data_set_is_read_by_the_datasets_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("FLYWHEEL_ONLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    Path("someone/tickets").mkdir(parents=True)  # the library reads a folder of that name as it reads the hub
    jsonl_file("someone/tickets/train.jsonl", tickets(30))
    monkeypatch.setattr(Path, "exists", lambda path: False)

    table = read_table("someone/tickets")

    assert [dict(row) for row in table.rows] == tickets(30)
    assert table.stem == "tickets"


# --- kinds ------------------------------------------------------------------------------------------------------------


def test_few_recurring_values_are_labels_and_the_prompt_names_them() -> None:
    made = started(csv_file("t.csv", tickets()))

    project = opened()
    assert "labels: one of 3 values in 120 rows (--kind says otherwise)" in made.guessed
    assert Path("made/labels.txt").read_text().split() == ["delivery", "money", "other"]
    shown = render(Path("prompts/label.md"), project.root, {"row": {"text": "{{ x }}"}})
    assert shown == "one of: delivery, money, other\ntext: {{ x }}\nlabel:"
    assert project.spec.evals["holdout"].slices == ["label"]


def test_of_many_labels_a_prompt_for_the_small_student_names_a_few_and_has_the_rest_at_hand() -> None:
    labels = [f"a_rather_long_name_of_a_label_{i:02}" for i in range(40)]
    csv_file("t.csv", tickets(200, labels))

    started("t.csv")

    project = opened()
    shown = render(Path("prompts/label.md"), project.root, {"row": {"text": "x"}})
    assert shown.startswith(f"one of 40 labels, such as {labels[0]}, ")
    assert ", ".join(labels) in (project.root / "prompts" / "label.md").read_text()


@pytest.mark.parametrize(
    "labels",
    [
        (True, False), (0, 1, 2), (1, 2, 3, 4, 5), ("yes", "no"), ("#1", "{{ a }}", "b: c", "d}e"),
        ('say "hi"', "it's"), ("a, b", "c; d"), ("Übung", "日本語", "да"), ("- x", "* y"), ("null", "true", "~"),
    ],
)  # fmt: skip
def test_labels_may_be_of_any_type_and_hold_any_sign(labels: Sequence[Any]) -> None:
    jsonl_file("t.jsonl", tickets(120, labels))

    made = started("t.jsonl")

    assert "kind      labels" in made.guessed
    opened()
    assert {row["label"] for row in all_rows()} == {target_text(label) for label in labels}


def test_a_label_is_what_an_answer_is_read_as() -> None:
    jsonl_file("t.jsonl", tickets(120, ["`code`", "bold\n", "plain"]))

    started("t.jsonl")

    opened()
    assert Path("made/labels.txt").read_text().split() == ["bold", "code", "plain"]


def test_spellings_of_one_label_are_one_and_said() -> None:
    rows = tickets()
    rows[0]["label"], rows[3]["label"], rows[6]["label"] = " Delivery", "DELIVERY  ", "delivery\n"

    made = started(jsonl_file("t.jsonl", rows))

    opened()
    assert Path("made/labels.txt").read_text().split() == ["delivery", "money", "other"]
    assert "one spelling for each label, changed in 3 rows" in made.guessed


def test_a_label_that_may_be_another_one_misspelled_is_said_and_left_as_it_is() -> None:
    rows = tickets(160, ["Lieferung", "Rechnung", "Konto 1", "Konto 2"])
    rows[0]["label"], rows[1]["label"], rows[2]["label"] = "Liefrung", "Rechnug", "Konto 3"

    made = started(jsonl_file("t.jsonl", rows))

    assert '"Liefrung" (1 row) looks like "Lieferung" (39): if it is, mend the table' in made.guessed
    assert '"Rechnug" (1 row) looks like "Rechnung" (39)' in made.guessed
    assert made.guessed.count("looks like") == 2  # a label that counts is no misspelling
    assert "Liefrung" in Path("made/labels.txt").read_text().split()


def test_lists_of_labels_are_sets() -> None:
    rows = [{**row, "label": ["a", "b"][: 1 + i % 2]} for i, row in enumerate(tickets())]

    made = started(jsonl_file("t.jsonl", rows))

    assert opened().spec.verifiers["right"].says_sets
    assert "sets of 2 values" in made.guessed


def test_a_label_in_hardly_any_row_is_said() -> None:
    rows = tickets()
    rows[0]["label"] = "rare"

    made = started(csv_file("t.csv", rows))

    assert "1 label in fewer than 3 rows, too few to learn or measure: rare" in made.guessed
    assert [row["label"] for row in rows_of("holdout")].count("rare") == 0


def test_numbers_are_compared_as_numbers() -> None:
    rows = [{"q": text, "n": i * 1.5} for i, text in enumerate(questions(80))]

    made = started(jsonl_file("t.jsonl", rows), target="n")

    assert "numbers: every answer is a number" in made.guessed
    assert [v.language for v in opened().spec.verifiers.values()] == ["math"]


def test_decimal_commas_between_semicolons_are_numbers() -> None:
    rows = [{"frage": text, "betrag": f"{i},{i % 90 + 10}"} for i, text in enumerate(questions(80))]

    made = started(csv_file("t.csv", rows, ";"), target="betrag")

    assert "1,5 is one and a half" in made.guessed
    assert opened().spec.verifiers["equal"].model_dump()["decimal_comma"] is True


def test_worked_answers_are_judged_by_their_result() -> None:
    rows = [{"q": text, "answer": f"first {i}\nthen\n#### {i * 7}"} for i, text in enumerate(questions(80))]

    started(jsonl_file("t.jsonl", rows))

    assert opened().spec.tasks["answer"].final == "#### (.+)"


@pytest.mark.parametrize("as_text", [False, True])
def test_objects_get_a_schema_that_they_fit(as_text: bool) -> None:
    rows: Rows = []
    for i, text in enumerate(questions(80)):
        order = {
            "item": f"it's {i}",
            "n": i if i % 3 else i + 0.5,
            "to": {"city": "x"},
            **({"gift": None} if i % 2 else {}),
        }
        rows.append({"mail": text, "order": json.dumps(order) if as_text else order})
    source = csv_file("t.csv", rows) if as_text else jsonl_file("t.jsonl", rows)

    made = started(source, target="order")

    assert "fields: JSON in each of 80 rows, with item, n, to" in made.guessed
    opened()
    schema = json.loads(Path("made/answer.schema.json").read_text())
    assert schema["properties"]["n"] == {"type": "number"}
    assert "gift" not in schema["required"]


QUERIES = [f"SELECT name FROM things WHERE price > {i}" for i in range(60)]


def test_queries_are_run_on_the_tables_of_a_script() -> None:
    Path("shop.sql").write_text("CREATE TABLE things (name TEXT, price INTEGER); INSERT INTO things VALUES ('a', 90);")
    rows = [{"question": text, "sql": sql} for text, sql in zip(questions(60), QUERIES, strict=True)]
    csv_file("t.csv", rows)

    assert "--setup schema.sql" in refused("t.csv")
    made = started("t.csv", setup=Path("shop.sql"))

    assert "sql: every answer is a query" in made.guessed
    assert list(open_project(Path("made/flywheel.yaml")).spec.verifiers) == ["parses", "same_rows"]


def test_a_query_that_the_tables_cannot_run_is_said_and_nothing_is_written() -> None:
    Path("shop.sql").write_text("CREATE TABLE things (name TEXT, price INTEGER);")
    rows = [{"question": t, "sql": sql.replace("name", "nam")} for t, sql in zip(questions(60), QUERIES, strict=True)]

    said = refused(csv_file("t.csv", rows), setup=Path("shop.sql"))

    assert said.startswith("nothing was written, because the project would not be valid:\n")
    assert "nam" in said
    assert ".init-" not in said


def test_free_text_says_that_it_is_compared_letter_by_letter() -> None:
    rows = [{"question": a, "answer": b} for a, b in zip(questions(80), questions(80, 2), strict=True)]

    made = started(csv_file("t.csv", rows))

    opened()
    assert "text: the answers are neither few values" in made.guessed
    assert "a judge has to read it" in made.guessed


def test_a_kind_that_is_named_counts() -> None:
    csv_file("t.csv", tickets())

    assert 'there is no kind "label". Did you mean "labels"?' in refused("t.csv", kind="label")
    assert "some answers are no JSON objects" in refused("t.csv", kind="fields")
    assert "text: named by --kind" in started("t.csv", kind="text").guessed


# --- columns ----------------------------------------------------------------------------------------------------------


def test_what_tells_nothing_or_everything_is_not_shown_to_the_student() -> None:
    extra = {"ticket_id": 0, "nr": 0, "language": "en", "note": "", "code": ""}
    rows = [{**row, **extra, "ticket_id": f"T{i}", "nr": i + 10} for i, row in enumerate(tickets())]
    for row in rows:
        row["code"] = {"delivery": "D", "money": "M", "other": "O"}[row["label"]]

    made = started(csv_file("t.csv", rows))

    assert set(all_rows()[0]) == {"text", "label"}
    assert (
        "ticket_id, nr: an identifier; language: one value; note: empty; code: it gives the answer away" in made.guessed
    )


def test_names_that_a_prompt_or_the_spec_cannot_hold_are_changed_and_said() -> None:
    rows = [
        {"Customer message": r["text"], "items": 1, "ITEMS ": 2, "mode": r["label"], "2nd": i * i, "日本": f"{i % 7}"}
        for i, r in enumerate(tickets())
    ]  # fmt: skip

    made = started(
        csv_file("t.csv", rows), target="mode", inputs=("Customer message", "items", "ITEMS ", "2nd", "日本")
    )

    assert set(all_rows()[0]) == {"Customer_message", "items_", "ITEMS", "column_2nd", "column", "mode_"}
    assert "Customer message is Customer_message" in made.guessed
    opened()


def test_names_that_differ_in_letter_case_only_are_told_apart() -> None:
    rows = [{"text": row["text"], "Text": f"more {i}", "TEXT": row["label"]} for i, row in enumerate(tickets())]

    started(jsonl_file("t.jsonl", rows), target="TEXT")

    assert set(all_rows()[0]) == {"TEXT", "text_2", "Text_3"}
    opened()


def test_the_answer_is_the_one_column_whose_values_recur() -> None:
    rows = [{"a": row["text"], "b": row["label"]} for row in tickets()]

    assert "b: the one column whose values recur" in started(csv_file("t.csv", rows)).guessed


@pytest.mark.parametrize(
    "name", ["Kategorie", "CATÉGORIE", "Antwort", "respuesta", "Ticket Category", "true_label", "Etikett:"]
)
def test_the_answer_is_known_by_its_name_in_several_languages(name: str) -> None:
    rows = [{"text": row["text"], name: row["label"], "agent": "xyz"[i % 5 % 3]} for i, row in enumerate(tickets())]

    assert f"answer    {name}: by its name" in started(csv_file("t.csv", rows)).guessed


def test_of_two_names_that_end_like_an_answer_none_is_taken() -> None:
    rows = [
        {"a": row["text"], "true_label": row["label"], "said_label": "xy"[i % 2]} for i, row in enumerate(tickets())
    ]

    assert "--target: true_label (3 values) or said_label (2 values)" in refused(csv_file("t.csv", rows))


def test_subjects_that_recur_are_no_answers() -> None:
    """Most of the lines stand in two rows each, a few in many."""
    rare, common = [f"bill {n} is wrong" for n in range(34)], ["urgent!", "hello", "once more", "a question"]
    rows = [
        {"subject": rare[i // 2] if i < 68 else common[i % 4], "text": row["text"]}
        for i, row in enumerate(tickets(150))
    ]

    said = refused(csv_file("t.csv", rows))

    assert "has no right answers (no column is named like one, or has values that recur)" in said
    assert said.endswith("If one of its columns holds them, name it: --target with one of subject, text")


def test_dates_and_identifiers_are_not_shown_and_one_that_recurs_is_offered_as_a_group() -> None:
    rows = [
        {"Eingang": f"{1 + i % 28:02}.03.2026 {i % 24:02}:15", "text": row["text"], "Kundennr.": f"K{i % 50}",
         "Kategorie": row["label"]}
        for i, row in enumerate(tickets())
    ]  # fmt: skip

    made = started(csv_file("t.csv", rows, ";"))

    assert "text: left out: Eingang: dates; Kundennr.: an identifier (--inputs says otherwise)" in made.guessed
    assert "(--group Kundennr.: those of one customer, too)" in made.guessed


def test_dates_alone_are_the_question() -> None:
    rows = [{"said": f"{1 + i % 28}/{1 + i % 12}/{1990 + i}", "label": "ab"[i % 2]} for i in range(120)]

    assert "question  said: all others" in started(csv_file("t.csv", rows)).guessed


def test_an_input_that_may_not_be_known_yet_is_said() -> None:
    rows = [
        {"subject": row["text"], "agent": "xyz"[i % 5 % 3], "label": row["label"]} for i, row in enumerate(tickets())
    ]

    said = started(csv_file("t.csv", rows)).guessed

    assert "agent has 3 values. If nobody knows it yet when a question comes in, leave it out: --inputs subject" in said


def test_objects_beside_labels_are_not_taken_for_the_question() -> None:
    rows = [{"mail": row["text"], "order": {"n": i}, "sort": row["label"]} for i, row in enumerate(tickets())]

    assert refused(jsonl_file("t.jsonl", rows)).endswith(
        "Name it with --target: order (120 values) or sort (3 values), or another one (mail)"
    )
    assert "order: the one column" in started(jsonl_file("t.jsonl", [{**row, "sort": "x"} for row in rows])).guessed


def test_what_cannot_be_guessed_is_asked_or_named() -> None:
    rows = [{"a": row["text"], "b": row["label"], "c": "xy"[i % 5 % 2]} for i, row in enumerate(tickets())]
    csv_file("t.csv", rows)

    assert refused("t.csv").endswith(
        "cannot be guessed. Name it with --target: b (3 values) or c (2 values), or another one (a)"
    )
    made = start("t.csv", Path("made"), Wishes(), lambda question, choices: choices[1])

    assert "answer    b: said by you" in made.guessed


def test_a_flag_that_names_no_column_names_the_nearest() -> None:
    csv_file("t.csv", tickets())

    assert refused("t.csv", target="lable") == '--target: t.csv has no column "lable". Did you mean "label"?'
    assert "--inputs: t.csv has no column" in refused("t.csv", inputs=("x",))
    assert "cannot be shown to the student" in refused("t.csv", target="label", inputs=("label",))


def test_nested_inputs_are_shown_as_json() -> None:
    rows = [{"order": {"id": i, "text": row["text"]}, "label": row["label"]} for i, row in enumerate(tickets())]

    started(jsonl_file("t.jsonl", rows))

    project = opened()
    row = {key: value for key, value in rows_of("holdout")[0].items() if key != "label"}
    assert json.dumps(row["order"]) in render(Path("prompts/label.md"), project.root, {"row": row})


# --- rows -------------------------------------------------------------------------------------------------------------


def test_rows_that_cannot_be_used_are_counted_and_said() -> None:
    rows = tickets()
    rows[4]["label"], rows[9]["text"], rows[10]["label"] = "", " ", None
    rows += [dict(rows[0]), {**rows[1], "text": rows[1]["text"].upper()}, {**rows[2], "label": "money"}]

    made = started(jsonl_file("t.jsonl", rows))

    for text in (
        "left out: 1 row without a question",
        "left out: 2 rows without an answer (--teacher provider/model lets a model answer them)",
        "left out: 2 rows that repeat another one",
        "left out: 2 rows that contradict each other (lines 3 and 123)",
    ):
        assert text in made.guessed
    assert len(all_rows()) == 120 - 3 - 1
    assert not any(row["text"] == rows[2]["text"] for row in all_rows())


def test_thirty_rows_are_a_project_that_says_how_little_they_show() -> None:
    made = started(csv_file("t.csv", tickets(30)))

    opened()
    assert "6 of the 10 holdout rows more right, 60 points; more rows would show smaller gains. Hardly" in made.guessed
    assert "# and by more than chance: here at least 6 of 10 rows" in Path("made/flywheel.yaml").read_text()


def test_with_too_few_rows_for_the_gate_nothing_is_written() -> None:
    said = refused(csv_file("t.csv", tickets(15)))

    assert "15 rows with question and answer: too few. The gate needs 6 rows" in said


def test_the_fewest_rows_are_those_with_which_the_gate_can_promote() -> None:
    from flywheel.stats import alpha_at, mcnemar_p

    assert mcnemar_p(least_fixed(), 0) <= alpha_at(1, 0.05) < mcnemar_p(least_fixed() - 1, 0)


def test_answers_that_are_all_one_are_refused() -> None:
    assert "all answers are the same" in refused(csv_file("t.csv", tickets(60, ["a"])), target="label", kind="labels")


def test_the_files_share_no_question_and_hold_each_label_in_proportion() -> None:
    rows = tickets(400, ["a", "a", "a", "b"])

    started(csv_file("t.csv", rows))

    asked = [normalised(row["text"]) for row in all_rows()]
    assert len(set(asked)) == len(asked) == 400
    assert {file: len(rows_of(file)) for file in FILES} == {"lessons": 240, "holdout": 100, "probes": 40, "seeds": 20}
    assert 74 <= Counter(row["label"] for row in rows_of("holdout"))["a"] <= 76


def test_the_same_table_is_always_split_alike() -> None:
    csv_file("t.csv", tickets())
    first, second = (start("t.csv", Path(name), Wishes()) for name in ("one", "two"))

    for one, other in zip(first.files, second.files, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_rows_of_one_group_stay_on_one_side() -> None:
    rows = [{**row, "customer": f"c{i % 17}"} for i, row in enumerate(tickets(200))]
    by_text = {row["text"]: row["customer"] for row in rows}

    made = started(csv_file("t.csv", rows), group="customer")

    sides = {file: {by_text[row["text"]] for row in rows_of(file)} for file in FILES}
    assert sum(map(len, sides.values())) == 17
    assert "customer: the group" in made.guessed


def test_one_group_for_all_cannot_be_split() -> None:
    rows = [{**row, "customer": "c"} for row in tickets(200)]

    assert "1 bundle can stand on different sides" in refused(csv_file("t.csv", rows), group="customer")


def test_near_duplicates_stay_on_one_side_also_through_a_third_row_and_whatever_they_answer() -> None:
    texts, tail = list(questions(120)), ["really", "kindly", "surely", "gladly", "quickly"]
    stories = [" ".join(texts[i : i + 5]) for i in range(0, 120, 5)]
    chains = [[" ".join([story, *tail[:n]]) for n in range(6)] for story in stories]
    rows = [{"text": text, "label": "ab"[i % 2]} for chain in chains for i, text in enumerate(chain)]

    made = started(csv_file("t.csv", rows))

    side = {row["text"]: file for file in FILES for row in rows_of(file)}
    assert [len({side[text] for text in chain}) for chain in chains] == [1] * 24
    assert "rows that are alike stay together: 144 are" in made.guessed


def test_rows_too_long_for_the_built_in_student_are_left_out_and_a_larger_one_takes_them() -> None:
    rows = tickets()
    for row in rows[:10]:
        row["text"] += " and then the long story of it" * 200
    csv_file("t.csv", rows)

    larger = start("t.csv", Path("larger"), Wishes(base="someone/model"))
    made = started("t.csv")

    assert "left out: 10 rows too long for the small built-in student" in made.guessed
    assert len(all_rows()) == 110
    assert "left out" not in larger.guessed
    assert open_project(Path("larger/flywheel.yaml")).spec.student.base == "someone/model"


def test_answers_are_as_long_as_lets_most_rows_fit() -> None:
    short, long = ["a b"] * 9 + ["a b " * 200], ["x y"] * 8 + ["x y " * 100] * 2

    fit = fitted("builtin:tiny", short, long)

    assert fit.fits == (True,) * 9 + (False,)
    assert fit.max_new_tokens % 16 == 0


# --- without answers --------------------------------------------------------------------------------------------------


def test_a_table_without_answers_says_what_to_do() -> None:
    unlabelled = csv_file("t.csv", [{"text": row["text"]} for row in tickets()])
    empty = csv_file("e.csv", [{**row, "label": ""} for row in tickets()])

    for said in (refused(unlabelled), refused(empty, target="label")):
        assert "has no right answers" in said
        assert "--teacher provider/model" in said


def test_a_model_answers_rows_that_have_no_answer_and_votes() -> None:
    rows = tickets(160)
    for row in rows[100:]:
        row["label"] = ""

    made = started(csv_file("t.csv", rows), teacher="ollama/qwen3")

    project = opened()
    assert [g.strategy for g in project.spec.generate] == ["targeted", "trace"]
    assert len(rows_of("unanswered")) == 60
    assert "ollama/qwen3 answers them" in made.guessed
    asked = {row["text"] for row in rows_of("unanswered")}
    assert not asked & {row["text"] for row in all_rows()}
    shown = render(Path("prompts/label_teacher.md"), project.root, {"row": {"text": "x"}})
    assert "one of: delivery, money, other" in shown


def test_a_model_without_a_row_to_answer_is_refused() -> None:
    assert "every row has its answer" in refused(csv_file("t.csv", tickets()), teacher="ollama/qwen3")


# --- all or nothing ---------------------------------------------------------------------------------------------------


def test_a_project_that_is_there_is_never_touched() -> None:
    csv_file("t.csv", tickets())
    Path("made").mkdir()
    Path("made/flywheel.yaml").write_text("mine")

    with pytest.raises(UsageError, match=r"made/flywheel.yaml exists already; nothing was written"):
        started("t.csv")

    assert [path.name for path in Path("made").rglob("*")] == ["flywheel.yaml"]


def test_files_that_are_no_project_stay() -> None:
    csv_file("t.csv", tickets())
    Path("made/rows").mkdir(parents=True)
    Path("made/rows/holdout.jsonl").write_text("mine")

    with pytest.raises(UsageError, match="exists already; nothing was written"):
        started("t.csv")
    Path("made/rows/holdout.jsonl").rename("made/mine")
    started("t.csv")

    assert Path("made/mine").read_text() == "mine"
    opened()


def test_a_failure_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import flywheel.engine.starting.start as place

    csv_file("t.csv", tickets())
    moved, replace = [], place.os.replace

    def fail(source: Path, target: Path) -> None:
        moved.append(target)
        if len(moved) > 3:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(place, "os", type("os", (), {"replace": staticmethod(fail)}))
    with pytest.raises(KeyboardInterrupt):
        started("t.csv")

    assert sorted(path.name for path in Path().iterdir()) == ["t.csv"]


def test_every_bad_row_of_the_table_is_said_at_its_line() -> None:
    Path("t.csv").write_text("text,label\na,b\nc\nd,e,f\n")

    with pytest.raises(SpecInvalid) as caught:
        started("t.csv")

    assert [fault.line for fault in caught.value.faults] == [3, 4]
