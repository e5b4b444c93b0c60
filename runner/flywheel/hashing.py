"""Content fingerprints: sha256 over canonical JSON or bytes. What cannot be hashed is refused."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError


class Unhashable(FlywheelError):
    """A value without a canonical form met a fingerprint; a constant in its place would reuse stale work."""


def canonical(value: Any) -> str:
    """JSON text that is equal exactly when the values are: sorted keys, no spaces, no NaN.

    Raises `Unhashable` for anything that JSON cannot carry without loss.
    """
    _refuse_lossy(value)
    return _ENCODER.encode(value)


#: `json.dumps` would make one a call.
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _refuse_lossy(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise Unhashable(f"cannot fingerprint a mapping with the key {key!r}: keys must be text")
            if type(item) is not str:
                _refuse_lossy(item)
    elif isinstance(value, list | tuple):
        for item in value:
            if type(item) is not str:
                _refuse_lossy(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise Unhashable(f"cannot fingerprint the number {value}")
    elif value is not None and not isinstance(value, str | int | float | bool):
        raise Unhashable(f"cannot fingerprint a value of type {type(value).__name__}")


def fingerprint(value: Any) -> str:
    """64 hex digits over the canonical JSON of `value`."""
    return fingerprint_of_text(canonical(value))


def fingerprint_of_text(text: str) -> str:
    """64 hex digits over a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


class ListFingerprint:
    """`fingerprint` of a list that is longer than memory holds, an item at a time."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256(b"[")
        self._is_empty = True

    def add(self, item: Any) -> None:
        self._digest.update((b"" if self._is_empty else b",") + canonical(item).encode())
        self._is_empty = False

    def done(self) -> str:
        whole = self._digest.copy()
        whole.update(b"]")
        return whole.hexdigest()


def short(digest: str) -> str:
    return digest[:12]


def seed_from(*parts: Any) -> int:
    """A 31-bit seed that depends only on `parts`: results do not depend on who runs what when."""
    return int(fingerprint(list(parts))[:8], 16) & 0x7FFFFFFF


def hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
