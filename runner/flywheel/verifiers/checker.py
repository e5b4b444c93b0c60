"""The checker: every subject, every verifier of its task, each verdict from a process that may be killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from flywheel.answers import final_answer
from flywheel.executor import Pool, Result
from flywheel.records import Outcome, Subject, Verdict
from flywheel.sandbox.outcome import TIERS
from flywheel.spec.verifiers import Verifier
from flywheel.verifiers.kinds import open_check, version_of

if TYPE_CHECKING:
    from flywheel.spec.models import Task

#: Address space of one child: room for a user's numpy, too little for a bomb to reach the machine's limits.
MEMORY_BYTES = 2 << 30
#: Subjects judged together: as many as take about so long, within these bounds.
_ROUND_SECONDS = 1.0
_ROUND_SIZES = (16, 4_096)


_Question = tuple[str, Subject]
"""Whom to ask about what. Plain tuples both ways: pickling a class of ours costs as much as a small verdict."""

_Answer = tuple[Outcome, str, float, str, float | None]
"""Outcome, reason, seconds, tier, score."""


class Checker:
    """Runs verifiers over subjects. `root`: the project; `workers`: child processes; `log`: what they print;
    `open_pool`: where they run, if not here.

    Children start at the first `judge` and stay, with databases and imports, until `close`. Those that run only our
    own checks can compute and read the verifiers' files, and nothing else (as far as the kernel helps: see `tier`);
    those that run the project's programs are not confined. Verifiers that ask a teacher are asked elsewhere
    (`verifiers.rubric`).
    """

    def __init__(
        self,
        verifiers: Mapping[str, Verifier],
        root: Path,
        workers: int = 2,
        log: Path | None = None,
        unsafe: bool = False,
        open_pool: Callable[..., Pool] = Pool,
    ) -> None:
        self._verifiers = {name: spec for name, spec in verifiers.items() if spec.asks is None}
        self._root = root
        self._workers = workers
        self._log = log
        self._unsafe = unsafe
        self._open_pool = open_pool
        self._versions: dict[str, str] = {}
        self._pools: dict[bool, Pool] = {}
        """By whether their children are confined."""
        self._tiers: dict[str, str] = {}
        self._round = _ROUND_SIZES[0]

    @property
    def tiers(self) -> Mapping[str, str]:
        """How untrusted text was contained so far: "programs" that ran and our own "checks" → the weakest
        `sandbox.Tier`."""
        return self._tiers

    def judge(
        self, subjects: Iterable[Subject], tasks: Mapping[str, Task], cascade: bool = False
    ) -> Iterator[list[Verdict]]:
        """One list a subject, in order: a verdict of every verifier of its task, on its final answer. With `cascade`
        the list ends with the first that fails.

        A verifier that raises, hangs or kills its process says "unknown", with the reason. Raises
        VerifierInvalid where one cannot be built. One `judge` at a time.
        """
        verify = {name: [v for v in task.verify if v in self._verifiers] for name, task in tasks.items()}
        self._open({name for names in verify.values() for name in names})
        waiting = iter(subjects)
        while chosen := list(islice(waiting, self._round)):
            started = time.monotonic()
            final = [with_final_answer(subject, tasks[subject.task].final) for subject in chosen]
            found = self._judged(final, [verify[subject.task] for subject in chosen], cascade)
            self._pace(len(chosen) / max(time.monotonic() - started, 1e-3))
            yield from found

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self._pools = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _judged(
        self, subjects: Sequence[Subject], names: Sequence[Sequence[str]], cascade: bool
    ) -> list[list[Verdict]]:
        found: list[dict[str, Verdict]] = [{} for _ in subjects]
        for step in _steps(names, cascade):
            asked = [(place, name) for place, name in step if not (cascade and _has_failed(found[place]))]
            for place, verdict in self._ask(subjects, asked):
                found[place][verdict.verifier] = verdict
        return [[said[name] for name in order if name in said] for said, order in zip(found, names, strict=True)]

    def _ask(self, subjects: Sequence[Subject], asked: Sequence[tuple[int, str]]) -> Iterator[tuple[int, Verdict]]:
        patience = {name: self._verifiers[name].patience for _, name in asked}
        for confined, pool in self._pools.items():
            names = {name for name in patience if self._verifiers[name].is_confined is confined}
            here = [(place, name) for place, name in asked if name in names]
            questions: Iterator[_Question] = ((name, subjects[place]) for place, name in here)
            answers = pool.map(questions, lambda question: patience[question[0]])
            for (place, name), result in zip(here, answers, strict=True):
                outcome, reason, seconds, tier, score = _said(result, patience[name])
                if tier:
                    self._note_tier("checks" if confined else "programs", tier)
                subject_id = subjects[place].subject_id
                yield place, Verdict(subject_id, name, self._versions[name], outcome, reason, seconds, score)

    def _pace(self, subjects_per_second: float) -> None:
        least, most = _ROUND_SIZES
        self._round = max(least, min(most, int(subjects_per_second * _ROUND_SECONDS)))

    def _open(self, names: set[str]) -> None:
        """Pools whose children have these verifiers; a task that needs further ones has them opened anew."""
        further = names - self._versions.keys()
        if self._pools and not further:
            return
        self._versions |= {name: version_of(name, self._verifiers[name], self._root) for name in further}
        self.close()
        for confined in (True, False):
            chosen = [name for name in sorted(self._versions) if self._verifiers[name].is_confined is confined]
            if chosen:
                self._pools[confined] = self._pool({name: self._verifiers[name] for name in chosen}, confined)

    def _pool(self, verifiers: Mapping[str, Verifier], confined: bool) -> Pool:
        return self._open_pool(
            "flywheel.verifiers.checker:open_checks",
            self._workers,
            setup=(verifiers, self._root, confined, self._unsafe),
            log=self._log,
            memory_bytes=MEMORY_BYTES,
        )

    def _note_tier(self, what: str, tier: str) -> None:
        """The weakest: machines differ."""
        known = self._tiers.get(what)
        if known == tier:
            return
        known = known or tier
        self._tiers[what] = max(known, tier, key=lambda t: TIERS.index(t) if t in TIERS else len(TIERS))


def _steps(names: Sequence[Sequence[str]], cascade: bool) -> Iterator[list[tuple[int, str]]]:
    """What is asked together, as (place of the subject, verifier): all, or in a cascade one verifier a subject."""
    if not cascade:
        yield [(place, name) for place, order in enumerate(names) for name in order]
        return
    for turn in range(max(map(len, names))):
        yield [(place, order[turn]) for place, order in enumerate(names) if turn < len(order)]


def _has_failed(said: Mapping[str, Verdict]) -> bool:
    return any(verdict.outcome == "fail" for verdict in said.values())


def _said(result: Result, timeout: float) -> _Answer:
    if result.status == "ok":
        answer: _Answer = result.value
        return answer
    reason = f"raised {result.reason}" if result.status == "raised" else result.reason
    return "unknown", reason, timeout if result.status == "timed_out" else 0.0, "", None


def open_checks(setup: tuple[Mapping[str, Verifier], Path, bool, bool]) -> Callable[[_Question], _Answer]:
    """In the child: every check, built once, and the function that asks one of them.

    It is confined before: DuckDB starts threads, and a thread keeps what it may do.
    """
    from flywheel.sandbox import capability, confine  # here: only children need it

    verifiers, root, confined, unsafe = setup
    tier = confine(files_of(verifiers.values(), root)) if confined else ""
    checks = {name: open_check(name, spec, root, unsafe) for name, spec in verifiers.items()}
    tiers = {name: capability().tier if spec.runs_programs else tier for name, spec in verifiers.items()}

    def ask(question: _Question) -> _Answer:
        name, subject = question
        started = time.perf_counter()
        finding = checks[name](subject)
        return finding.outcome, finding.reason, time.perf_counter() - started, tiers[name], finding.score

    return ask


def files_of(verifiers: Iterable[Verifier], root: Path) -> list[Path]:
    """What a confined child that judges by these verifiers may read."""
    return [root / file for spec in verifiers for file in (*spec.files.values(), *spec.reads_in(root))]


def with_final_answer(subject: Subject, pattern: str | None) -> Subject:
    """The subject with answer and reference cut to what `pattern` finds of them."""
    if pattern is None:
        return subject
    reference = None if subject.reference is None else final_answer(subject.reference, pattern)
    return replace(subject, answer=final_answer(subject.answer, pattern), reference=reference)


def outcome_of(verdicts: Iterable[Verdict]) -> Outcome:
    """Fail if any verifier fails, else unknown if any is unknown, else pass. No verdict that counts is unknown."""
    outcomes = {verdict.outcome for verdict in verdicts if not verdict.advisory}
    if "fail" in outcomes:
        return "fail"
    return "pass" if outcomes == {"pass"} else "unknown"
