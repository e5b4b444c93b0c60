"""The log of reviews: whole lines only, each word once, whoever writes beside."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from flywheel.engine.reviewing.log import keep, read_reviews, take_in
from flywheel.errors import Tampered
from flywheel.records.reviews import Review
from flywheel.store import Store


def word(number: int, value: str = "red", person: str = "ada") -> Review:
    return Review(f"{number:032x}", f"lesson/experts/{number}", person, value, given_at="2026-11-28T12:00:00+00:00")


def log_of(state: Path) -> Path:
    return state / "reviews" / "reviews.log"


def test_words_come_back_in_order(tmp_path: Path) -> None:
    words = [word(1), word(2, "näïve\u2028\n"), word(1, "blue", "bob")]
    words[2] = Review(**{**vars(words[2]), "review_id": "f" * 32})
    for one in words:
        keep(tmp_path, one)
    assert read_reviews(tmp_path) == words


def test_the_same_form_sent_twice_is_one_word(tmp_path: Path) -> None:
    for _ in range(2):
        keep(tmp_path, word(1))
    assert read_reviews(tmp_path) == [word(1)]


@pytest.mark.parametrize("cut", [1, 5, 40, 10_000])
def test_a_line_that_was_never_finished_is_replaced_by_the_next(tmp_path: Path, cut: int) -> None:
    keep(tmp_path, word(1))
    whole = log_of(tmp_path).read_bytes()
    log_of(tmp_path).write_bytes(whole + whole[: min(cut, len(whole) - 1)])
    assert read_reviews(tmp_path) == [word(1)]
    keep(tmp_path, word(2))
    assert read_reviews(tmp_path) == [word(1), word(2)]


@pytest.mark.parametrize("line", [0, 1, 2])
def test_an_edited_line_is_named(tmp_path: Path, line: int) -> None:
    for number in range(3):
        keep(tmp_path, word(number))
    lines = log_of(tmp_path).read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b"red", b"rad")
    log_of(tmp_path).write_bytes(b"".join(lines))
    with pytest.raises(Tampered, match=rf"reviews\.log:{line + 1}: "):
        read_reviews(tmp_path)


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    def write(start: int) -> None:
        for number in range(start, start + 10):
            keep(tmp_path, word(number))

    threads = [threading.Thread(target=write, args=(100 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r.review_id for r in read_reviews(tmp_path)) == sorted(
        word(100 * i + k).review_id for i in range(4) for k in range(10)
    )


def test_the_store_takes_each_word_once(tmp_path: Path) -> None:
    with Store(tmp_path / "flywheel.duckdb") as store:
        take_in(tmp_path, store)
        keep(tmp_path, word(1))
        take_in(tmp_path, store)
        keep(tmp_path, word(2))
        take_in(tmp_path, store)
        rows = store.query("SELECT sequence, review_id, value FROM reviews ORDER BY sequence")
    assert rows == [{"sequence": n, "review_id": word(n).review_id, "value": "red"} for n in (1, 2)]
