"""Rows of a task as people write them at the prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from flywheel.errors import SpecInvalid, UsageError
from flywheel.records import Row
from flywheel.records.rows import read_rows, rows_of_text

_KEY_VALUE = re.compile(r"(\w+)=(.*)", re.DOTALL)


def rows_of(words: Sequence[str], stdin: TextIO) -> list[Row]:
    """The rows that the words of a command line mean: `key=value` words make one row (of text), any other word is a
    JSON object, a file (JSONL, CSV, Parquet) or `-`, JSON lines on `stdin`. Raises UsageError for anything else."""
    pairs = {found[1]: found[2] for word in words if (found := _KEY_VALUE.fullmatch(word))}
    others = [word for word in words if not _KEY_VALUE.fullmatch(word)]
    try:
        rows = [row for word in others for row in _rows(word, stdin)]
    except SpecInvalid as error:
        raise UsageError(str(error)) from error
    rows += [pairs] if pairs else []
    if not rows:
        raise UsageError(f"{' '.join(words)}: no row in it. Write column=value, a JSON object, or a file with rows.")
    return rows


def _rows(word: str, stdin: TextIO) -> list[Row]:
    if word == "-":
        return rows_of_text(stdin.read(), "stdin")
    if word.lstrip().startswith("{"):
        return rows_of_text(word, "ROW")
    if not Path(word).is_file():
        raise UsageError(f'"{word}" is neither column=value, nor a JSON object, nor a file.')
    return read_rows(Path(word))
