"""After a promotion: the new model beside the former one on live conversations, until people and verifiers have shown
which it is.

A trial is a promotion whose former model is still there. Which of the two answers a conversation hangs on what begins
it and on the two models alone, so a server that starts again goes on; what people said is read from the log. Only the
end is written down: `.flywheel/canary/<former>-<new>.json`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flywheel.engine.history import open_lookup
from flywheel.engine.project import Workspace
from flywheel.engine.serving.log import read_served
from flywheel.engine.serving.verdicts import LiveOutcome
from flywheel.files import write_text
from flywheel.json_text import as_json
from flywheel.records.live import Ending
from flywheel.spec.targets import DeployCanary
from flywheel.stats import stream_interval
from flywheel.text import plural


@dataclass(frozen=True)
class Trial:
    """A promotion under test: by `settings`, with the folder in which its end is written down."""

    model_id: str
    former_id: str
    settings: DeployCanary
    folder: Path

    @property
    def name(self) -> str:
        """In the log, at each answer that was drawn for it."""
        return f"{self.former_id}-{self.model_id}"

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.json"

    def takes(self, unit: str) -> bool:
        """Whether the new model answers this conversation."""
        digest = hashlib.sha256(f"{self.name} {unit}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.settings.share * 2**64

    @property
    def verdicts(self) -> Path:
        """What verifiers said of its answers."""
        return self.folder / f"{self.name}.verdicts.jsonl"

    @property
    def ending(self) -> Ending | None:
        """How it ended; None while it goes on."""
        found: Ending | None = json.loads(self.file.read_text())["ending"] if self.file.is_file() else None
        return found


@dataclass(frozen=True)
class TrialStanding:
    """Conversations that count (`units`), and those of each model that were lost; limits of how much more of its own
    the new one loses, as shares."""

    units: int
    lost: int
    lost_by_former: int
    low: float
    high: float
    by_people: int = 0
    by_verifiers: int = 0
    """Of the lost ones of both models, those with a word against them and those with an answer that a verifier failed;
    some are both."""
    judged: int | None = None
    """Answers of them that verifiers could judge; None where none is asked."""

    def ending(self, margin: float) -> Ending | None:
        if self.low > margin:
            return "lost"
        return "kept" if self.high < margin else None

    @property
    def words(self) -> str:
        made_of = (
            f" ({self.by_people:,} by people's words, {self.by_verifiers:,} by verifiers, which could judge "
            f"{plural(self.judged, 'answer')})"
            if self.judged is not None
            else ""
        )
        return (
            f"{self.units:,} conversations, of which the new model lost {self.lost:,} and the former "
            f"{self.lost_by_former:,}{made_of}; it loses {100 * self.low:+.1f} to {100 * self.high:+.1f} points more"
        )


def trial_of(project: Workspace, model_id: str) -> Trial | None:
    """The trial of the deployed model, ended or not; None where the spec wants none, or there is nothing to try it
    against. Raises StoreError where the history cannot be read now."""
    settings = project.spec.deploy.canary
    if settings is None:
        return None
    with open_lookup(project.state) as query:
        history = query("SELECT action, model_id FROM deployments ORDER BY sequence DESC")
    former = _former(history, model_id)
    if former is None or not (project.root / project.spec.deploy.path / former / "manifest.json").is_file():
        return None
    return Trial(model_id, former, settings, project.state / "canary")


def _former(history: Sequence[Mapping[str, Any]], model_id: str) -> str | None:
    """Which model this one was promoted over; `history` is newest first, and may not know of the promotion yet: an
    apply that goes on holds the store."""
    if not history:
        return None
    last = history[0]
    if last["model_id"] != model_id:
        is_rollback = any(row["model_id"] == model_id for row in history)
        return None if is_rollback else str(last["model_id"])
    before = next((str(row["model_id"]) for row in history if row["model_id"] != model_id), None)
    return before if last["action"] == "deploy" else None


def unit_of(asked: Mapping[str, Any]) -> str:
    """What a conversation is known by: its beginning, up to the first words of its user, as the log has it."""
    begun: Any = asked["prompt"] if asked["messages"] is None else list(_begun(asked["messages"]))
    return hashlib.sha256(as_json([asked["task"], asked["row"], begun]).encode()).hexdigest()


def _begun(messages: Iterable[Mapping[str, Any]]) -> Iterator[list[Any]]:
    for message in messages:
        yield [message["role"], message["content"]]
        if message["role"] == "user":
            return


def standing(
    trial: Trial, served: Path, now: datetime, verdicts: Mapping[str, LiveOutcome] | None = None
) -> TrialStanding:
    """Of the conversations that began so long ago that nothing more is waited for. `verdicts`: receipt → what verifiers
    said; a conversation counts when its answers have been judged. None: nobody is asked but people."""
    told = _told(trial, served)
    wait = timedelta(hours=trial.settings.hours)
    over = {unit for unit, (begun, _) in told.units.items() if now - begun >= wait}
    receipts = {receipt: unit for receipt, unit in told.receipts.items() if unit in over}
    failed: set[str] = set()
    if verdicts is not None:
        over -= {unit for receipt, unit in receipts.items() if receipt not in verdicts}
        failed = {unit for receipt, unit in receipts.items() if verdicts.get(receipt) == "fail"} & over
        spoken = [verdicts[r] in ("pass", "fail") for r, unit in receipts.items() if unit in over]
    people = told.lost & over
    lost = people | failed
    mine = sum(told.units[unit][1] for unit in lost)
    others = len(lost) - mine
    low, high = stream_interval(mine, others, len(over), trial.settings.share, trial.settings.alpha)
    judged = None if verdicts is None else sum(spoken)
    return TrialStanding(len(over), mine, others, low, high, len(people), len(failed), judged)


def trial_answers(trial: Trial, served: Path) -> Iterator[dict[str, Any]]:
    """Answers that were drawn for the trial, as they are in the log."""
    return (one for one in _records(served) if one["kind"] == "answer" and one.get("trial") == trial.name)


@dataclass(frozen=True)
class _Told:
    """What the log tells. Those conversations alone that were drawn from their first answer on: while only one model
    was loaded, or where a client named one, nobody was."""

    units: Mapping[str, tuple[datetime, bool]]
    """Conversation → when it began, and whether the new model answers it."""
    lost: frozenset[str]
    """Those that a person spoke against in time."""
    receipts: Mapping[str, str]
    """Answer given in time → its conversation."""


def _told(trial: Trial, served: Path) -> _Told:
    drawn: dict[str, tuple[datetime, bool] | None] = {}
    unit_by_receipt: dict[str, str] = {}
    given: dict[str, datetime] = {}
    words: list[dict[str, Any]] = []
    for record in _records(served):
        if record["kind"] == "feedback":
            words.append(record)
            continue
        unit = unit_of(record)
        at = datetime.fromisoformat(record["at"])
        drawn.setdefault(unit, (at, trial.takes(unit)) if record.get("trial") == trial.name else None)
        unit_by_receipt[record["id"]] = unit
        if record.get("trial") == trial.name:
            given[record["id"]] = at
    units = {unit: found for unit, found in drawn.items() if found is not None}
    wait = timedelta(hours=trial.settings.hours)
    lost = {
        unit
        for word in words
        if (unit := unit_by_receipt.get(word["receipt"], "")) in units
        and (word.get("rating") == -1 or word.get("correction") is not None)
        and datetime.fromisoformat(word["at"]) - units[unit][0] < wait
    }
    in_time = {
        receipt: unit
        for receipt, at in given.items()
        if (unit := unit_by_receipt[receipt]) in units and at - units[unit][0] < wait
    }
    return _Told(units, frozenset(lost), in_time)


def _records(served: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(served.glob("*.jsonl")):
        yield from read_served(path).records


def end(trial: Trial, ending: Ending, found: TrialStanding) -> None:
    """Write down how it ended, on the disk before anything is done about it."""
    content = {
        "ending": ending, "model_id": trial.model_id, "former_id": trial.former_id, "at": datetime.now(UTC).isoformat(),
        "settings": trial.settings.model_dump(), "standing": asdict(found), "words": found.words,
    }  # fmt: skip
    write_text(trial.file, json.dumps(content, indent=1) + "\n")
