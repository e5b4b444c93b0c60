"""Values as JSON, with exact types: what may cross the border of the sandbox, in either direction.

Only exact builtin types cross (`type(x) is int`): an object of the program's own class could answer every question
about itself. Counter, defaultdict and OrderedDict cross as the dictionaries that they are. On JSON:

    None, bool, str, finite float, int below 2**63        themselves
    list                                                  an array
    the rest              {"int": hex} {"float": "nan"|"inf"|"-inf"} {"complex": [re, im]} {"bytes": hex}
                          {"tuple": […]} {"set": […]} {"frozenset": […]} {"dict": [[key, value], …]}
                          {"type": name} for the builtin types themselves

This runs on both sides. Inside, the program shares our process and may have replaced any builtin or any function of
`json`; so what is used here is bound when the module is imported, before the program is there.
"""

from __future__ import annotations

import json
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

MAX_DEPTH = 100

_type, _len, _hex, _list, _join = type, len, hex, list, "".join
_str, _int, _float, _bool, _bytes, _complex = str, int, float, bool, bytes, complex
_tuple, _dict, _set, _frozenset = tuple, dict, set, frozenset
_DICTS = (dict, Counter, defaultdict, OrderedDict)
_items = dict.items
_TYPES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, type(None), type, object)
}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_repr_float, _repr_int = float.__repr__, int.__repr__
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_INFINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
_SPACE = " \t\r\n"
_clock, _set_add, _dict_put = time.monotonic, set.add, dict.__setitem__
_Value = ValueError
_Type = TypeError


class NotPlain(TypeError):
    """The value, or one inside it, is not of a type that may cross; or it is nested too deeply."""


def encode(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A plain value as what JSON can hold.

    Raises NotPlain for any other type, subclasses of plain types included, and beyond `depth` levels.
    """
    kind = _type(value)
    if value is None or kind is _bool or kind is _str:
        return value
    if kind is _int:
        return value if -(2**63) < value < 2**63 else {"int": _hex(value)}
    if kind is _float:
        return _encode_float(value)
    if kind is _bytes:
        return {"bytes": value.hex()}
    if kind is _complex:
        return {"complex": [_encode_float(value.real), _encode_float(value.imag)]}
    if kind is _type and value in _NAMES:
        return {"type": _NAMES[value]}
    return _encode_container(kind, value, depth - 1)


def _encode_float(value: float) -> Any:
    text = _repr_float(value)
    return {"float": text} if text in _INFINITE else value


def _encode_container(kind: type, value: Any, depth: int) -> Any:
    if depth < 0:
        raise NotPlain("a value nested this deeply is not a plain value")
    if kind is _list:
        return [encode(item, depth) for item in value]
    if kind in _DICTS:
        return {"dict": [[encode(key, depth), encode(item, depth)] for key, item in _items(value)]}
    for sort, tag in ((_tuple, "tuple"), (_set, "set"), (_frozenset, "frozenset")):
        if kind is sort:
            return {tag: [encode(item, depth) for item in value]}
    raise NotPlain(f"a {kind.__name__} is not a plain value")


def decode(tagged: Any, depth: int = MAX_DEPTH) -> Any:
    """The value that `encode` wrote. Raises ValueError for anything that it does not write."""
    kind = _type(tagged)
    if tagged is None or kind in (_bool, _str, _int, _float):
        return tagged
    if depth <= 0:
        raise _Value(f"nested more than {MAX_DEPTH} deep")
    if kind is _list:
        return [decode(item, depth - 1) for item in tagged]
    if kind is not _dict or _len(tagged) != 1:
        raise _Value("not an encoded value")
    ((tag, content),) = tagged.items()
    if tag not in _DECODERS:
        raise _Value(f"unknown type {tag[:40]!r}")
    try:
        return _DECODERS[tag](content, depth - 1)
    except (_Type, AttributeError, KeyError) as error:
        raise _Value(f"not a {tag}: {error}") from error


FILLING_SECONDS = 0.25
"""For one set or dict: with keys that were chosen to collide, filling it takes the square of their number."""


def _filled(add: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Adds the items. Raises ValueError where that takes too long."""
    until = _clock() + FILLING_SECONDS
    for number, item in enumerate(items):
        add(item)
        if number % 64 == 63 and _clock() > until:
            raise _Value("keys that collide")


def _decode_set(content: Any, depth: int) -> set[Any]:
    found: set[Any] = _set()
    _filled(lambda item: _set_add(found, item), [decode(item, depth) for item in content])
    return found


def _decode_dict(content: Any, depth: int) -> dict[Any, Any]:
    found: dict[Any, Any] = _dict()
    _filled(lambda pair: _dict_put(found, pair[0], pair[1]), [_decode_pair(pair, depth) for pair in content])
    return found


def _decode_pair(pair: Any, depth: int) -> tuple[Any, Any]:
    key, value = pair
    return decode(key, depth), decode(value, depth)


def _decode_complex(content: Any, depth: int) -> complex:
    real, imaginary = content
    return _complex(decode(real, depth), decode(imaginary, depth))


_DECODERS: dict[str, Callable[[Any, int], Any]] = {
    "int": lambda content, depth: _int(content, 16),
    "float": lambda content, depth: _INFINITE[content],
    "bytes": lambda content, depth: _bytes.fromhex(content),
    "complex": _decode_complex,
    "type": lambda content, depth: _TYPES[content],
    "tuple": lambda content, depth: _tuple([decode(item, depth) for item in content]),
    "set": _decode_set,
    "frozenset": lambda content, depth: _frozenset(_decode_set(content, depth)),
    "dict": _decode_dict,
}


def to_json(document: Any) -> str:
    """JSON text, in ASCII, of None, bool, int, finite float, str, lists, and dicts with str keys."""
    kind = _type(document)
    if kind is _str:
        return _quoted(document)
    if kind is _list:
        return "[" + _join([to_json(item) + "," for item in document])[:-1] + "]"
    if kind is _dict:
        return "{" + _join([f"{_quoted(key)}:{to_json(item)}," for key, item in document.items()])[:-1] + "}"
    if document is None or kind is _bool:
        return {None: "null", True: "true", False: "false"}[document]
    return _repr_int(document) if kind is _int else _repr_float(document)


def from_json(data: bytes, max_bytes: int) -> Any:
    """The document. Raises ValueError where it is larger, nested too deeply for the parser, or not JSON."""
    if _len(data) > max_bytes:
        raise _Value(f"{_len(data):,} bytes; at most {max_bytes:,} are read")
    text = data.decode("utf-8", "surrogatepass").strip(_SPACE)
    try:
        document, end = _scan(text, 0)
    except StopIteration as error:
        raise _Value("not JSON") from error
    except RecursionError as error:
        raise _Value("nested too deeply") from error
    if end != _len(text):
        raise _Value("more than one JSON document")
    return document
