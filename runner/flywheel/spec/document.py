"""YAML text to a plain tree with places, bounded before anything can grow.

PyYAML reads YAML 1.1 (`no` is False, `1e-4` is text, the last of two equal keys wins) and its composers can
be made to crash or to fill memory. Here the events of libyaml, whose parser does not recurse, are taken one
by one: scalars by the YAML 1.2 core schema, equal keys refused, depth and values counted as they come.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from flywheel.errors import Fault, Path_, SpecInvalid
from flywheel.records.rows import shown
from flywheel.spec.secrets import awaits_key, redacted, secret_words
from flywheel.text import one_line, printable

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 50_000
"""Scalars, lists and mappings after aliases are followed."""
MAX_FAULTS = 100
"""Faults of the YAML itself after which nobody reads on."""
MAX_SHOWN = 160
"""Characters of a source line that a fault may show."""

MAX_DIGITS = 100
TOO_LARGE = 1 << 63
"""Python refuses to read thousands of digits; such a number stands for any that is too large."""

Place = tuple[int, int]
"""Line and column, 1-based."""

_LoaderClass: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_INT_IN_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Source:
    """The text of a file, and how a fault of it is written."""

    file: str
    text: str
    secrets: tuple[str, ...] = ()
    """What stands under `api_key`: never shown, wherever it is written."""

    @cached_property
    def lines(self) -> dict[int, str]:
        """By number from 1, split where libyaml splits. (It may point one past the last.)"""
        return dict(enumerate(_LINE_BREAK.split(self.text), start=1))

    def fault(self, place: Place, message: str, hint: str = "", path: Path_ = ()) -> Fault:
        line, column = place
        message, hint = redacted(message, self.secrets), redacted(hint, self.secrets)
        return Fault(message, path, hint, self.file, line, column, self.line(place))

    def line(self, place: Place) -> str:
        """The source line, safe to show; nothing where it is too long to point into or may be a secret."""
        line, column = place
        if column > MAX_SHOWN or awaits_key(self.lines.get(line - 1, "")):
            return ""
        return printable(redacted(self.lines.get(line, "").rstrip(), self.secrets)[:MAX_SHOWN])


@dataclass(frozen=True)
class Document:
    """A YAML file: its tree of plain values and the place of everything in it."""

    source: Source
    tree: dict[str, Any]
    places: dict[Path_, Place]
    """Where a person looks for the value at a path: a scalar itself, the key of a list or mapping."""
    keys: dict[Path_, Place] = field(default_factory=dict)
    """Where the key at a path stands."""

    def fault(self, path: Path_, message: str, hint: str = "") -> Fault:
        """A fault of the value at `path`, or of the nearest thing around it that is written down."""
        return self.source.fault(_nearest(self.places, path), message, hint, path)

    def key_fault(self, path: Path_, message: str, hint: str = "") -> Fault:
        """A fault of the key at `path` itself."""
        return self.source.fault(_nearest(self.keys | {(): (1, 1)}, path), message, hint, path)

    def warning(self, path: Path_, message: str, hint: str = "") -> Fault:
        return replace(self.fault(path, message, hint), warning=True)


def _nearest(places: dict[Path_, Place], path: Path_) -> Place:
    while path not in places and path:
        path = path[:-1]
    return places.get(path, (1, 1))


def read_document(path: Path) -> Document:
    """The YAML file at `path`. Raises `SpecInvalid` with every fault of the YAML itself."""
    return parse_document(read_text(path), shown(path))


def parse_document(text: str, file: str) -> Document:
    """Like `read_document`, for text that is already in memory."""
    source = Source(file, text)
    if bad := _UNPRINTABLE.search(text):
        place = _place_of(text, bad.start())
        raise SpecInvalid([source.fault(place, f"the character U+{ord(bad[0]):04X} is not allowed in YAML.")])
    composer = _Composer(source)
    root = composer.compose()
    if not composer.faults and not isinstance(root.value, dict):
        composer.refuse((root.line, root.column), "the file must hold keys and values.", "Start with name: …")
    if composer.faults:
        raise SpecInvalid(composer.faults)
    places: dict[Path_, Place] = {(): (root.line, root.column)}
    keys: dict[Path_, Place] = {}
    tree = _plain(root, (), places, keys)
    source = Source(file, text, tuple(secret_words(tree)))
    return Document(source, tree, places, keys)


def read_text(path: Path) -> str:
    """UTF-8 text of at most `MAX_BYTES`, without its byte order mark."""
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "Give the path of a flywheel.yaml, or start one: flywheel init."
        raise SpecInvalid([Fault(f"cannot be read: {reason}.", file=shown(path), hint=hint)]) from None
    except ValueError as error:
        raise SpecInvalid([Fault(f"not a path: {error}.", file=printable(str(path)))]) from None
    if len(data) > MAX_BYTES:
        hint = "Keep rows in data files and name them."
        raise SpecInvalid([Fault("larger than 1 MiB.", file=shown(path), hint=hint)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message = f"not UTF-8 text (byte 0x{data[error.start]:02x})."
        hint = "Save the file as UTF-8."
        raise SpecInvalid([Fault(message, file=shown(path), line=line, hint=hint)]) from None


def _place_of(text: str, offset: int) -> Place:
    lines = _LINE_BREAK.split(text[:offset])
    return len(lines), len(lines[-1]) + 1


# --- composing ----------------------------------------------------------------------------------------------


@dataclass
class _Node:
    """A value with its place. `keys`: places of a mapping's keys; `size`: values below, aliases followed."""

    value: Any
    line: int
    column: int
    depth: int = 1
    size: int = 1
    keys: dict[str, Place] = field(default_factory=dict)

    def adopt(self, child: _Node) -> None:
        self.size += child.size
        self.depth = max(self.depth, child.depth + 1)


class _Composer:
    """Builds nodes from libyaml's events. What can be read past is collected in `faults`; the rest raises."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.faults: list[Fault] = []
        self.anchors: dict[str, _Node | None] = {}
        self.events = iter(yaml.parse(source.text, _LoaderClass))

    def refuse(self, place: Place, message: str, hint: str = "") -> None:
        self.faults.append(self.source.fault(place, message, hint))
        if len(self.faults) >= MAX_FAULTS:
            raise SpecInvalid(self.faults)

    def stop(self, place: Place, message: str, hint: str = "") -> SpecInvalid:
        """What ends the reading, with what was found before it."""
        return SpecInvalid([*self.faults, self.source.fault(place, message, hint)])

    def compose(self) -> _Node:
        self.next()
        if isinstance(self.next(), yaml.StreamEndEvent):
            raise self.stop((1, 1), "the file is empty.", "Start one: flywheel init.")
        root = self.node(self.next(), 1)
        self.next()
        if not isinstance(event := self.next(), yaml.StreamEndEvent):
            raise self.stop(_place(event), "a second YAML document.", "Keep one spec in a file.")
        return root

    def next(self) -> Any:
        try:
            return next(self.events)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise self.stop(place, *_in_words(error, self.source, place)) from None
        except yaml.YAMLError as error:
            raise self.stop((1, 1), f"not YAML: {one_line(str(error))}.") from None

    def node(self, event: Any, depth: int) -> _Node:
        if depth > MAX_DEPTH:
            raise self.stop(_place(event), f"nested deeper than {MAX_DEPTH} levels.")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        node = self.content(event, depth)
        if node.depth > MAX_DEPTH:
            raise self.stop(_place(event), f"nested deeper than {MAX_DEPTH} levels, aliases followed.")
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def alias(self, event: Any) -> _Node:
        name = event.anchor
        if name not in self.anchors:
            raise self.stop(_place(event), f"the alias *{name} has no anchor &{name} before it.")
        node = self.anchors[name]
        if node is None:
            raise self.stop(_place(event), f"the alias *{name} stands inside its own anchor.")
        return node

    def content(self, event: Any, depth: int) -> _Node:
        if isinstance(event, yaml.ScalarEvent):
            return _Node(self.scalar(event), *_place(event))
        kind = "map" if isinstance(event, yaml.MappingStartEvent) else "seq"
        if event.tag not in (None, "!", _TAG + kind):
            self.refuse_tag(event)
        return self.mapping(event, depth) if kind == "map" else self.sequence(event, depth)

    def sequence(self, start: Any, depth: int) -> _Node:
        node = _Node([], *_place(start))
        while not isinstance(event := self.next(), yaml.SequenceEndEvent):
            child = self.node(event, depth + 1)
            node.value.append(child)
            node.adopt(child)
            self.bound(node, event)
        return node

    def mapping(self, start: Any, depth: int) -> _Node:
        node = _Node({}, *_place(start))
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            key = self.key(event, depth, node)
            child = self.node(self.next(), depth + 1)
            node.adopt(child)
            self.bound(node, event)
            if key is not None:
                node.value[key] = child
                node.keys[key] = _place(event)
        return node

    def bound(self, node: _Node, event: Any) -> None:
        """Inside the loop as well: a list of aliases to a large node grows between two ends."""
        if node.size > MAX_NODES:
            raise self.stop(_place(event), f"more than {MAX_NODES:,} values, aliases followed.")

    def key(self, event: Any, depth: int, node: _Node) -> str | None:
        """The key, or None where it cannot be one (a fault is then noted and its value read past)."""
        place = _place(event)
        if not isinstance(event, yaml.ScalarEvent):
            self.node(event, depth + 1)
            self.refuse(place, "a key must be plain text.")
            return None
        key = self.scalar(event)
        text = one_line(event.value, 60)
        if key == "<<" and event.implicit[0]:
            self.refuse(place, "merge keys (<<) are not part of YAML 1.2.", "Write the keys out.")
        elif not isinstance(key, str):
            self.refuse(place, f"the key {text} is not text.", f'Put it in quotes: "{text}".')
        elif key in node.keys:
            message = f'the key "{text}" stands twice, here and in line {node.keys[key][0]}.'
            self.refuse(place, message, "Remove one of them.")
        else:
            return key
        return None

    def scalar(self, event: Any) -> Any:
        tag = event.tag
        if tag in ("!", _TAG + "str") or (tag is None and not event.implicit[0]):
            return event.value
        value = core_scalar(event.value)
        if isinstance(value, float) and not math.isfinite(value):
            self.refuse(_place(event), "not a finite number.")
        elif isinstance(value, int) and abs(value) >= TOO_LARGE:
            self.refuse(_place(event), "a whole number of more than 64 bits.")
        elif tag not in (None, _CORE_TAGS[type(value)]):
            self.refuse_tag(event)
        return value

    def refuse_tag(self, event: Any) -> None:
        tag = event.tag.replace(_TAG, "!!")
        self.refuse(_place(event), f"the tag {one_line(tag, 60)} is not allowed here.", "Write plain values.")


_CORE_TAGS = {
    str: None,
    bool: _TAG + "bool",
    int: _TAG + "int",
    float: _TAG + "float",
    type(None): _TAG + "null",
}


def core_scalar(text: str) -> str | int | float | bool | None:
    """A plain scalar by the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#1032-tag-resolution)."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text) if len(text) <= MAX_DIGITS else TOO_LARGE
    if _INT_IN_BASE.fullmatch(text):
        return int(text, 0) if len(text) <= MAX_DIGITS else TOO_LARGE
    if _FLOAT.fullmatch(text):
        return float(text)
    return math.nan if _NOT_FINITE.fullmatch(text) else text


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _in_words(error: yaml.MarkedYAMLError, source: Source, place: Place) -> tuple[str, str]:
    """libyaml's problem, and what mostly helps."""
    line, column = place
    if source.lines.get(line, "")[column - 1 : column] == "\t":
        return "a tab where YAML wants spaces.", "Indent with spaces."
    problem = f"not YAML: {error.problem or error.context}."
    if "mapping values" in problem:
        return problem, 'Put a value that holds ": " in quotes.'
    return problem, "Look for a missing quote, bracket or space."


def _plain(node: _Node, path: Path_, places: dict[Path_, Place], keys: dict[Path_, Place]) -> Any:
    """The tree without nodes; an aliased value is copied, so that nothing is shared."""
    if isinstance(node.value, list):
        for index, child in enumerate(node.value):
            places[(*path, index)] = (child.line, child.column)
        return [_plain(child, (*path, i), places, keys) for i, child in enumerate(node.value)]
    if not isinstance(node.value, dict):
        return node.value
    for key, child in node.value.items():
        keys[(*path, key)] = node.keys[key]
        scalar = not isinstance(child.value, list | dict)
        places[(*path, key)] = (child.line, child.column) if scalar else node.keys[key]
    return {key: _plain(child, (*path, key), places, keys) for key, child in node.value.items()}
