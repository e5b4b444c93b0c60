"""In what two readings of a node's inputs differ, entry by entry, and in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flywheel.hashing import short

#: Parts whose lists have names for their places.
_PLACES = {
    re.compile(r"taxonomy\.[^.]+"): ("place", "severity", "when", "task"),
    re.compile(r"evals\.[^.]+"): ("task", "data", "lm_eval"),
}
#: A part that is an entry of a list.
_ENTRY = re.compile(r"(.+)\[(\d+)\]")
#: Of a text that changed somewhere in the middle, what is shown before and from there on.
_BEFORE, _SHOWN = 12, 48


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(place, old, new) of each entry in which two readings of parts differ. An entry of a list that only has another
    place, because one came before it or went, is no change."""
    kept = dict(_kept(old, new))
    before = {part: value for part, value in old.items() if part not in kept}
    now = {part: value for part, value in new.items() if part not in kept.values()}
    for part in sorted(before.keys() | now.keys()):
        yield from apart(part, before.get(part), now.get(part))
    if before == now and old != new:  # nothing but places
        yield "order", list(kept), list(kept.values())


def _kept(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Entries of lists that stay what they are, as (place before, place now)."""
    left = [part for part in new if _ENTRY.fullmatch(part)]
    for part, value in old.items():
        if entry := _ENTRY.fullmatch(part):
            same = [other for other in left if other.startswith(f"{entry[1]}[") and new[other] == value]
            if same:
                found = part if part in same else same[0]
                left.remove(found)
                yield part, found


def apart(part: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """(`gate[0].better_by`, old, new) of each entry in which two values of `gate[0]` differ."""
    old, new = _named(part, old), _named(part, new)
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from apart(f"{part}.{key}", old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and _is_of_mappings([*old, *new]):
        for index in range(max(len(old), len(new))):
            yield from apart(f"{part}[{index}]", *(side[index] if index < len(side) else None for side in (old, new)))
    else:
        yield part, old, new


def in_words(part: str, old: Any, new: Any) -> str:
    """`train.rank 16 → 32`; of two long texts what follows from where they part."""
    if isinstance(old, str) and isinstance(new, str) and max(len(old), len(new)) > _SHOWN and not _is_hash(old):
        return f"{part} {_from_where_they_part(old, new)} → {_from_where_they_part(new, old)}"
    return f"{part} {_shown(old)} → {_shown(new)}"


def _named(part: str, value: Any) -> Any:
    if isinstance(value, list):
        for pattern, names in _PLACES.items():
            if pattern.fullmatch(part) and len(value) == len(names):
                return dict(zip(names, value, strict=True))
    return value


def _is_of_mappings(values: list[Any]) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def _from_where_they_part(text: str, other: str) -> str:
    same = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    start = max(0, same - _BEFORE)
    end = start + _SHOWN
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        said = ", ".join(f"{key}: {_shown(item)}" for key, item in value.items() if item is not None)
        return f"{{{said}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return short(value) if _is_hash(value) else str(value)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64
