"""How promotions fared on live traffic: `.flywheel/canary/<former>-<new>.json`, written when a trial ends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flywheel.errors import FlywheelError

Ending = Literal["kept", "lost"]


@dataclass(frozen=True)
class LiveTest:
    """A trial that ended. `words`: conversations, how many each model lost, the interval of the difference in points;
    `at`: ISO 8601, UTC."""

    model_id: str
    former_id: str
    ending: Ending
    at: str
    words: str

    @property
    def verdict(self) -> str:
        return "rolled back" if self.ending == "lost" else "stays"


def live_tests(folder: Path) -> list[LiveTest]:
    """Oldest first. Raises FlywheelError for a file that is no such record."""
    return sorted((_read(path) for path in folder.glob("*.json")), key=lambda test: test.at)


def _read(path: Path) -> LiveTest:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        ending: Ending = "lost" if said["ending"] == "lost" else "kept"
        return LiveTest(said["model_id"], said["former_id"], ending, said["at"], said["words"])
    except (ValueError, KeyError, TypeError) as error:
        raise FlywheelError(
            f"{path}: no record of a live test ({error}). The file was edited; restore it, or move it elsewhere."
        ) from error
