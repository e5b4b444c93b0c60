"""What an importer is: a format's marks, and how its items become exchanges and opinions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from flywheel.records import Row
from flywheel.records.traffic import Found
from flywheel.spec.traffic import Columns


class NotOfFormat(ValueError):
    """An item that its format does not allow."""


class Importer:
    """One format. `columns`: how plain rows are read."""

    name: ClassVar[str]
    about: ClassVar[str]
    """What it is, for whoever has to choose."""
    may_be_torn: ClassVar[bool] = False
    """It is written line by line while calls are answered: its last line may be cut off by a kill."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def sees(self, item: Row) -> bool:
        """Whether the item is of this format."""
        raise NotImplementedError

    def found(self, item: Row) -> Iterator[Found]:
        """What is in it. An item without an id of its own gets one by its content: `source_id` is then empty.
        Raises NotOfFormat."""
        raise NotImplementedError


def first(item: Any, *keys: str) -> Any:
    """The value of the first of these keys that has one."""
    return next((item[key] for key in keys if item.get(key) not in (None, "")), None)


def mapping(item: Any, key: str) -> Row:
    """The object at a key; an empty one where there is none, or something else."""
    value = item.get(key)
    return value if isinstance(value, dict) else {}
