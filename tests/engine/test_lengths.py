"""Rows that leave no room for an answer are named before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.student import BUILTIN
from flywheel.student.lengths import lengths_in
from mini_domain import Domain, rows

WINDOW = 512


def long_rows(count: int, words: int) -> list[dict[str, str]]:
    return [{**row, "text": f"{row['text']} {'very ' * words}"} for row in rows(700, count)]


def warnings(domain: Domain) -> list[str]:
    return [f"{fault.file}:{fault.line} {fault.message}" for fault in domain.open().warnings]


@pytest.mark.parametrize("file", ["probes", "holdout"])
def test_rows_that_do_not_fit_are_counted_and_the_first_is_named(real_domain: Domain, file: str) -> None:
    short = rows(600, 3)
    real_domain.write_rows(f"evals/{file}.jsonl", [*short, *long_rows(2, WINDOW)])

    (said,) = warnings(real_domain)

    assert f"evals/{file}.jsonl:4" in said
    assert "2 rows of 5 cannot be asked about" in said
    assert "leave room for an answer of" in said


def test_rows_that_fit_and_look_long_are_not_spoken_of(real_domain: Domain) -> None:
    real_domain.write_rows("evals/probes.jsonl", long_rows(2, 60))

    assert warnings(real_domain) == []


def test_the_tokens_of_a_text_are_its_own_whatever_padding_or_cut_the_tokenizers_file_asks_for(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(BUILTIN["builtin:tiny"] / "tokenizer.json"))
    tokenizer.enable_padding(length=20)
    tokenizer.enable_truncation(max_length=30)
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    found = lengths_in(tmp_path, ["a", "a b " * 100])

    assert found is not None
    assert found[0] < 20
    assert found[1] > 30


def test_shots_count(real_domain: Domain) -> None:
    real_domain.write_rows("evals/seeds.jsonl", long_rows(8, 40))
    assert warnings(real_domain) == []

    real_domain.edit(lambda spec: spec["student"].update(shots=8))

    assert any("cannot be asked about" in said for said in warnings(real_domain))


def test_what_was_right_is_not_looked_at_again_until_it_changes(
    real_domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert warnings(real_domain) == []
    with monkeypatch.context() as patched:
        patched.setattr("flywheel.engine.lengths.too_long", lambda *_: pytest.fail("looked again"))
        assert warnings(real_domain) == []

    real_domain.write_rows("evals/probes.jsonl", long_rows(1, WINDOW))

    assert warnings(real_domain) != []
    assert warnings(real_domain) != [], "what is wrong is said every time"


def test_a_student_that_is_not_here_is_not_asked(domain: Domain) -> None:
    """Its folder stands for weights, and has no tokenizer."""
    domain.write_rows("evals/probes.jsonl", long_rows(1, WINDOW))

    assert warnings(domain) == []


def test_known_answers_that_the_student_may_not_write_to_their_end_are_counted(real_domain: Domain) -> None:
    long = [{**row, "label": "blue " * 9} for row in rows(700, 2)]
    real_domain.write_rows("evals/probes.jsonl", [*rows(600, 3), *long])

    (said,) = warnings(real_domain)

    assert "evals/probes.jsonl:4" in said
    assert "2 rows of 5 cannot be answered in full" in said
    assert "the student may write 6" in said

    real_domain.edit(lambda spec: spec["student"].update(max_new_tokens=46))
    assert warnings(real_domain) == []
