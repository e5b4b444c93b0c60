from __future__ import annotations
from typing import Any
from flywheel.verifiers.instances import Content, TableShape

def witnesses(gold: Any, answer: Any, tables: tuple[TableShape, ...]) -> Content:
    return ()
