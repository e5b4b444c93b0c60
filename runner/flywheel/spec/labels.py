"""Declared labels, and which of them an answer or a gold names."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flywheel.normal import words
from flywheel.text import one_line

#: What stands between labels of a set that is no list, unless a label has it in itself.
SEPARATORS = ("\n", ";", "|", ",", "；", "，", "、")
_BULLET = re.compile(r"\A(?:[-*•+]|\d+[.)])\s+")
_MOST_CHARACTERS = 20_000
_AROUND = " \t\r\n\"'`*“”‘’«»„"


@dataclass(frozen=True)
class Labels:
    """The declared labels. `lenient`: letter case, a full stop at the end and quotes around a label do not count."""

    declared: tuple[str, ...]
    lenient: bool = False

    @classmethod
    def in_file(cls, file: Path, lenient: bool) -> Labels:
        """One a line. Raises OSError or UnicodeDecodeError where it cannot be read."""
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        return cls(tuple(line.strip() for line in lines if line.strip()), lenient)

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.declared)

    @property
    def some(self) -> str:
        """The first few, for people."""
        shown = ", ".join(one_line(label, 40) for label in self.declared[:3])
        return shown if len(self.declared) <= 3 else f"{shown}, …"

    def one(self, text: str) -> str:
        """The declared label that the text is, or the text without blanks around it."""
        label = text.strip()
        return self._loose.get(_loosely(label), label) if self.lenient and label not in self.known else label

    def many(self, text: str) -> frozenset[str]:
        """The labels that the text names: a JSON list, or labels with separators between them. An empty text, or list,
        names none."""
        listed = _listed(text)
        if isinstance(listed, str):
            text, listed = listed, None
        parts = [text] if text.strip() in self.known else self._split(text) if listed is None else listed
        return frozenset(self.one(part) for part in parts if part.strip())

    def of(self, text: str, many: bool) -> frozenset[str]:
        """What the text says, as a set: of one label, where there are not `many`."""
        return self.many(text) if many else frozenset([self.one(text)])

    def named_in(self, text: str) -> frozenset[str]:
        """The labels that a longer text holds as whole words: `card` is not in `cardboard`. Letter case counts of
        single letters alone; of labels one of which begins the other the longest is named."""
        said, place = folded_words(text), 0
        found = {label for label in self._by_words.get((), ()) if label in text}  # of marks alone
        while place < len(said):
            forms = self._by_first_word.get(said[place], ())
            form = next((form for form in forms if tuple(said[place : place + len(form)]) == form), None)
            found |= self._by_words[form] if form else set()
            place += len(form) if form else 1
        return frozenset(found)

    @cached_property
    def _by_words(self) -> dict[tuple[str, ...], set[str]]:
        found: dict[tuple[str, ...], set[str]] = {}
        for label in self.declared:
            found.setdefault(tuple(folded_words(label)), set()).add(label)
        return found

    @cached_property
    def _by_first_word(self) -> dict[str, list[tuple[str, ...]]]:
        """The longest first."""
        found: dict[str, list[tuple[str, ...]]] = {}
        for form in sorted(filter(None, self._by_words), key=len, reverse=True):
            found.setdefault(form[0], []).append(form)
        return found

    def _split(self, text: str) -> list[str]:
        cuts = [mark for mark in SEPARATORS if not any(mark in label for label in self.declared)]
        parts = re.split("|".join(map(re.escape, cuts)), text) if cuts else [text]
        return [part if self.one(part) in self.known else _BULLET.sub("", part.strip()) for part in parts]

    @cached_property
    def _loose(self) -> dict[str, str]:
        """Loose form → label, where it is one label's alone."""
        forms = [_loosely(label) for label in self.declared]
        return {form: label for form, label in zip(forms, self.declared, strict=True) if forms.count(form) == 1}


def folded_words(text: str) -> list[str]:
    """The words of a text (`normal.words`), in lower case but for single letters: `A` is a label, `a` an article."""
    return [word if len(word) == 1 else word.casefold() for word in words(text)]


def _loosely(label: str) -> str:
    return " ".join(label.strip(_AROUND).rstrip(".。").strip(_AROUND).casefold().split())


def _listed(text: str) -> Sequence[str] | str | None:
    """A JSON list of texts or whole numbers or, in an object of one field, what that field has: a list, or a text of
    labels. Also a list as Python writes it."""
    if text.lstrip()[:1] not in ("[", "{") or len(text) > _MOST_CHARACTERS:
        return None
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        value = _pythons(text)
    if isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
        if isinstance(value, str):
            return value
    if isinstance(value, list) and all(type(item) in (str, int) for item in value):
        return [str(item) for item in value]
    return None


def _pythons(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
