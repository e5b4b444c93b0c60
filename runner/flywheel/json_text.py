"""JSON for everybody to read; and JSON values in a model's answer: bare, in fences, between words, or cut off."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

Broken = Callable[[str, str], None]
"""Is told (what is wrong, the piece) of each piece that could not be read."""


def as_json(value: Any, indent: int | None = None) -> str:
    """Valid JSON, on one line without `indent`: numbers that JSON does not have become null, anything else its text."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str, indent=indent, allow_nan=False)
    except ValueError:
        whole = json.loads(json.dumps(value, default=str), parse_constant=lambda name: None)
        return json.dumps(whole, ensure_ascii=False, indent=indent)


_OBJECT = re.compile(r"\{\s*[\"'}]")
_STARTS = re.compile(r"[\[{]")
_NEXT_LINE = re.compile(r"\n[ \t]*(?=\{)")
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_BRACE = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}]', re.DOTALL)

MAX_BROKEN = 50
"""Broken pieces after which the rest of an answer is given up: a text made of brackets costs quadratic time."""
MAX_OBJECT_CHARACTERS = 50_000
"""How far the end of a broken object is looked for."""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's fields. Raises ValueError where a key stands twice: which of the two is meant, nobody can say."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f'the key "{next(key for key in keys if keys.count(key) > 1)}" stands twice')
    return fields


_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=distinct)


def json_values(text: str, broken: Broken = lambda reason, piece: None) -> Iterator[Any]:
    """Every JSON array or object in `text`, outermost first. Never raises: what cannot be read goes to `broken`."""
    position = pieces = 0
    while match := _STARTS.search(text, position):
        start = match.start()
        try:
            value, position = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            pieces += 1
            if pieces > MAX_BROKEN:
                broken(f"more than {MAX_BROKEN} broken pieces; dropped the rest from character {start}", "")
                return
            value, position = _repaired(text, start, broken)
        if value is not None:
            yield value


def _repaired(text: str, start: int, broken: Broken) -> tuple[Any, int]:
    """(the object that starts here, or None; where to go on). An array goes on inside, object by object."""
    if not _OBJECT.match(text, start):
        return None, start + 1
    end = _closing(text, start)
    if end is None:
        # With JSON lines, one broken line does not take the rest along.
        following = _NEXT_LINE.search(text, start)
        end = following.end() if following else len(text)
        broken("cut off in the middle of a row", text[start:end])
        return None, end
    piece = text[start:end]
    try:
        return _DECODER.decode(_TRAILING_COMMA.sub(lambda m: m[1] or "", piece)), end
    except (ValueError, RecursionError) as error:
        reason = str(error).split(":")[0] if isinstance(error, ValueError) else "nested too deeply"
        broken(f"not valid JSON ({reason})", piece)
        return None, end


def _closing(text: str, start: int) -> int | None:
    """Where the object that opens at `start` closes, braces in strings aside; None past `MAX_OBJECT_CHARACTERS`."""
    depth = 0
    for match in _BRACE.finditer(text, start, start + MAX_OBJECT_CHARACTERS):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return None
