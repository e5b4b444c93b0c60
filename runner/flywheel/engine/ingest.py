"""Production traffic into the store: files → exchanges without personal data, each file whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Any

from flywheel.engine.project import Workspace
from flywheel.errors import Fault, FlywheelError, SpecInvalid, UsageError
from flywheel.files import write_text
from flywheel.records import Row
from flywheel.records.rows import shown
from flywheel.records.traffic import Found, LeftOut, LoggedExchange, Opinion
from flywheel.spec.traffic import Traffic
from flywheel.store import Store
from flywheel.store.database import Transaction
from flywheel.store.traffic import Landing, remove_exchanges
from flywheel.traffic import LOOKED_AT, Importer, NotOfFormat, Pseudonyms, TornLine, detected, importer_of, read_items
from flywheel.traffic.matching import counted
from flywheel.traffic.messages import dumped

BATCH = 5_000
"""Exchanges in memory at a time."""
TORN = "a last line that was cut off"
MATCHES_NONE = "none"


@dataclass
class Ingested:
    """What became of a file: `items == stored + completed + known + opinions + sum(refused)`.

    `completed`: of an exchange that was here without its text, the text; or the other way round. `known`: here already.
    `flagged` and `redacted` count by kind, `matched` by task the exchanges that were read.
    """

    file: str
    format: str
    items: int = 0
    stored: int = 0
    completed: int = 0
    known: int = 0
    opinions: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    flagged: Counter[str] = field(default_factory=Counter)
    redacted: Counter[str] = field(default_factory=Counter)
    matched: Counter[str] = field(default_factory=Counter)
    removed: int = 0
    """Older than `traffic.keep_days`."""

    def balanced(self) -> bool:
        return self.items == self.stored + self.completed + self.known + self.opinions + self.refused.total()


class _Rehearsed(Exception):
    """Ends a transaction of which nothing is to stay."""


def ingest(
    project: Workspace, files: Sequence[Path], format: str = "auto", dry_run: bool = False
) -> Iterator[Ingested]:
    """Take in each file, whole or not at all; yields what became of it. With `dry_run` nothing is written.

    Raises StoreLocked where an apply runs, SpecInvalid with `file:line` where something cannot be read, UsageError
    where a format is not known.
    """
    for file in files:
        if not file.is_file():
            raise UsageError(f"{file}: {'a folder; name its files' if file.is_dir() else 'there is no such file'}.")
    chosen = None if format == "auto" else importer_of(format, project.spec.traffic.columns)
    with _store(project, dry_run) as store:
        for file in files:
            pseudonyms = Pseudonyms(project.spec.traffic.redact, key_of(project.state, keep=not dry_run))
            yield _taken_in(store, _Border(project.spec.traffic, pseudonyms, store), file, chosen, dry_run)


@contextmanager
def _store(project: Workspace, dry_run: bool) -> Iterator[Store]:
    """Where there is none yet, a rehearsal makes none."""
    if not dry_run or project.store_path.exists():
        with Store(project.store_path) as store:
            yield store
        return
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "rehearsal.duckdb") as store:
        yield store


def key_of(state: Path, keep: bool) -> bytes:
    """What pseudonyms are made with: made once, and only this project has it."""
    path = state / "traffic.key"
    if path.exists():
        return bytes.fromhex(path.read_text().strip())
    made = secrets.token_hex(32)
    if keep:
        write_text(path, made + "\n")
        os.chmod(path, 0o600)
    return bytes.fromhex(made)


def _taken_in(store: Store, reading: _Border, file: Path, chosen: Importer | None, dry_run: bool) -> Ingested:
    items = read_items(file)
    head = _head(items)
    name = shown(file)
    importer = chosen or (
        detected(name, [item for _, item in head.items], reading.spec.columns) if head.items else None
    )
    done = Ingested(name, importer.name if importer else "empty")
    with closing(Landing(store, name, done.format)) as landing, suppress(_Rehearsed):
        if importer is not None:
            reading.fill(landing, importer, chain(head.items, head.rest), done)
        with landing.settling() as transaction:
            _settle(transaction, landing, reading.spec, done)
            if not done.balanced():
                raise FlywheelError(f"{name}: items were lost: {done}. Nothing of it was kept.")
            if dry_run:
                raise _Rehearsed
    return done


@dataclass
class _Head:
    items: list[tuple[int, Row]]
    rest: Iterator[tuple[int, Row]]


def _head(items: Iterator[tuple[int, Row]]) -> _Head:
    """The first items, by which the format is told. A line that is torn among them is met again in `rest`."""
    found: list[tuple[int, Row]] = []
    try:
        for item in islice(items, LOOKED_AT):
            found.append(item)
    except TornLine as torn:
        return _Head(found, _raising(torn))
    return _Head(found, items)


def _raising(torn: TornLine) -> Iterator[tuple[int, Row]]:
    raise torn
    yield


def _settle(transaction: Transaction, landing: Landing, spec: Traffic, done: Ingested) -> None:
    """What was read joins what is here."""
    now = datetime.now(UTC)
    done.completed, done.stored, more_known = landing.settle_exchanges(now)
    known_opinions, done.opinions = landing.settle_opinions(now)
    done.known += more_known + known_opinions
    done.flagged = landing.flagged()
    if spec.keep_days is not None:
        done.removed = remove_exchanges(transaction, landing.older_than(now - timedelta(days=spec.keep_days)))
    transaction.insert("ingests", [_record(transaction, done, now)])


def _record(transaction: Transaction, done: Ingested, now: datetime) -> Row:
    return {
        "sequence": next_sequence(transaction), "action": "ingest", "file": done.file, "format": done.format,
        "items": done.items, "stored": done.stored, "completed": done.completed, "known": done.known,
        "opinions": done.opinions, "refused": dict(done.refused), "flagged": dict(done.flagged),
        "redacted": dict(done.redacted), "removed": done.removed, "done_at": now,
    }  # fmt: skip


def next_sequence(transaction: Transaction) -> int:
    found = transaction.query("SELECT coalesce(max(sequence), 0) + 1 AS next FROM ingests")
    return int(found[0]["next"])


def source_hash(source_id: str) -> str:
    """By which a forgotten exchange is known, and nothing else of it."""
    return hashlib.sha256(source_id.encode()).hexdigest()


class _Border:
    """Items → rows for the store, a batch at a time."""

    def __init__(self, spec: Traffic, pseudonyms: Pseudonyms, store: Store) -> None:
        self.spec, self.pseudonyms = spec, pseudonyms
        self.forgotten = {row["source_hash"] for row in store.query("SELECT source_hash FROM forgotten")}
        self.oldest = None if spec.keep_days is None else datetime.now(UTC) - timedelta(days=spec.keep_days)

    def fill(self, landing: Landing, importer: Importer, items: Iterator[tuple[int, Row]], done: Ingested) -> None:
        exchanges: list[Row] = []
        opinions: list[Row] = []
        for found in self._found(landing.file, importer, items):
            done.items += 1
            if not isinstance(found, LeftOut) and (reason := self._refused(found)):
                found = LeftOut(reason)
            if isinstance(found, LeftOut):
                done.refused[found.reason] += 1
            elif isinstance(found, Opinion):
                opinions.append(self._opinion(found, found.about))
            else:
                row = self._exchange(found, done)
                exchanges.append(row)
                opinions += [self._opinion(said, row["source_id"], part=True) for said in found.feedback]
            if len(exchanges) + len(opinions) >= BATCH:
                landing.take(exchanges, opinions)
                exchanges, opinions = [], []
        landing.take(exchanges, opinions)
        done.redacted = Counter(self.pseudonyms.counts)

    def _found(self, file: str, importer: Importer, items: Iterator[tuple[int, Row]]) -> Iterator[Found]:
        try:
            for line, item in items:
                yield from _parts(file, line, importer, item)
        except TornLine as torn:
            if not importer.may_be_torn:
                hint = "The file is cut off: export it again, or remove the line."
                raise _fault(file, torn.line, "the last line is no JSON and has no end.", hint) from None
            yield LeftOut(TORN)

    def _refused(self, found: LoggedExchange | Opinion) -> str:
        known = found.source_id if isinstance(found, LoggedExchange) else found.about
        if self.forgotten and source_hash(self.pseudonyms.text(known)) in self.forgotten:
            return "forgotten"
        if self.oldest is not None and found.at is not None and found.at < self.oldest:
            return "older than traffic.keep_days"
        return ""

    def _exchange(self, exchange: LoggedExchange, done: Ingested) -> Row:
        clean = self.pseudonyms
        messages = [self._message(message) for message in exchange.messages]
        answer = None if exchange.answer is None else clean.text(exchange.answer)
        row = None if exchange.row is None else clean.value(exchange.row)
        for task in counted(self.spec.match, exchange.name, messages, row) or [MATCHES_NONE]:
            done.matched[task] += 1
        asked, held, earlier = _history(messages, answer)
        return {
            "source_id": clean.text(exchange.source_id) or _content_id(exchange, messages, answer, row),
            "conversation": clean.text(exchange.conversation), "trace": exchange.trace, "name": exchange.name,
            "turn": exchange.turn, "messages": messages, "tools": list(exchange.tools) or None, "answer": answer,
            "row": row, "model": exchange.model, "called_at": exchange.at, "input_tokens": exchange.input_tokens,
            "output_tokens": exchange.output_tokens, "usd": exchange.usd, "flags": list(exchange.flags),
            "asked": asked, "held": held, "earlier": earlier,
        }  # fmt: skip

    def _message(self, message: Row) -> Row:
        clean = self.pseudonyms
        if len(message) == 2:  # nearly all
            return {"role": message["role"], "content": clean.text(message["content"])}
        return {**clean.value(message), "role": message["role"]}

    def _opinion(self, said: Opinion, about: str, part: bool = False) -> Row:
        """`part`: it came with its exchange, and is no item of its own."""
        clean = self.pseudonyms
        correction = None if said.correction is None else clean.text(said.correction)
        comment = None if said.comment is None else clean.text(said.comment)
        content = dumped([about, said.rating, correction, comment, said.author])
        return {
            "opinion_id": said.opinion_id or hashlib.sha256(content.encode()).hexdigest()[:32],
            "about": about if part else clean.text(about), "given_at": said.at, "rating": said.rating,
            "correction": correction, "comment": comment, "author": said.author, "part": part,
        }  # fmt: skip


def _parts(file: str, line: int, importer: Importer, item: Row) -> Iterator[Found]:
    try:
        yield from importer.found(item)
    except NotOfFormat as error:
        message = f"not of the format {importer.name}: {error}."
        raise _fault(file, line, message, "Is it another format? Name it: --format NAME.") from None


def _fault(file: str, line: int, message: str, hint: str) -> SpecInvalid:
    return SpecInvalid([Fault(message, file=file, line=line, hint=hint)])


def _content_id(exchange: LoggedExchange, messages: list[Row], answer: str | None, row: Row | None) -> str:
    """Of what has no id: the same content is the same exchange."""
    content = dumped([messages, answer, row, exchange.at])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _history(messages: Sequence[Row], answer: str | None) -> tuple[str, str, list[str]]:
    """Digests of the conversation before the answer, with the answer, and of both for each answer in its history. The
    system's words are left out: they may hold the time of day."""
    running = hashlib.blake2b(digest_size=12)
    earlier: list[str] = []
    for message in messages:
        if message["role"] == "system":
            continue
        if message["role"] == "assistant":
            earlier.append(running.hexdigest())
        _say(running, message["role"], message["content"])
        if message["role"] == "assistant":
            earlier.append(running.hexdigest())
    asked = running.hexdigest()
    _say(running, "assistant", answer or "")
    return asked, running.hexdigest(), earlier


def _say(running: Any, role: str, text: str) -> None:
    running.update(f"{role}\0{text.strip()}\0".encode())
