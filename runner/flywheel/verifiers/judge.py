"""The judge: every subject, every verifier of its task, each verdict from a process that may be killed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from flywheel.executor import Pool, Result
from flywheel.records import Outcome, Subject, Verdict
from flywheel.spec.models import Verifier
from flywheel.verifiers.finding import Check, VerifierInvalid, unknown
from flywheel.verifiers.kinds import KINDS, needs_reference, version_of

#: Address space of one child: room for a user's numpy, too little for a bomb to reach the machine's limits.
MEMORY_BYTES = 2 << 30

_Question = tuple[str, Subject]
_Answer = tuple[Outcome, str, float]


class Judge:
    """Runs verifiers over subjects. `root`: the project; `workers`: child processes; `log`: what they print.

    Children start at the first `judge` and stay, with databases and imports, until `close`.
    """

    def __init__(
        self, verifiers: Mapping[str, Verifier], root: Path, workers: int = 2, log: Path | None = None
    ) -> None:
        self._verifiers = dict(verifiers)
        self._root = root
        self._workers = workers
        self._log = log
        self._versions: dict[str, str] = {}
        self._open: frozenset[str] = frozenset()
        self._pool: Pool | None = None

    def judge(self, subjects: Iterable[Subject], verify: Mapping[str, Sequence[str]]) -> Iterator[list[Verdict]]:
        """One list a subject, in order: a verdict of every verifier that `verify` names for its task.

        A verifier that raises, hangs or kills its process says "unknown", with the reason. Raises
        VerifierInvalid where one cannot be built. One `judge` at a time.
        """
        if empty := [task for task, names in verify.items() if not names]:
            raise VerifierInvalid(f"tasks.{empty[0]}.verify: no verifier is named")
        pool = self._pool_for(frozenset(name for names in verify.values() for name in names))
        asked: deque[Subject] = deque()

        def questions() -> Iterator[_Question]:
            for subject in subjects:
                asked.append(subject)
                for name in verify[subject.task]:
                    yield name, subject

        verdicts: list[Verdict] = []
        for result in pool.map(questions(), lambda question: self._verifiers[question[0]].timeout_seconds):
            names = verify[asked[0].task]
            verdicts.append(self._verdict(asked[0], names[len(verdicts)], result))
            if len(verdicts) == len(names):
                asked.popleft()
                yield verdicts
                verdicts = []

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pool_for(self, names: frozenset[str]) -> Pool:
        """A pool whose children have these verifiers; a task that needs further ones has it opened anew."""
        if self._pool is None or not names <= self._open:
            self.close()
            self._open |= names
            chosen = {name: self._verifiers[name] for name in sorted(self._open)}
            self._versions = {name: version_of(name, spec, self._root) for name, spec in chosen.items()}
            self._pool = Pool(
                "flywheel.verifiers.judge:open_checks",
                self._workers,
                setup=(chosen, self._root),
                log=self._log,
                memory_bytes=MEMORY_BYTES,
            )
        return self._pool

    def _verdict(self, subject: Subject, name: str, result: Result) -> Verdict:
        outcome, reason, seconds = _said(result, self._verifiers[name].timeout_seconds)
        return Verdict(subject.subject_id, name, self._versions[name], outcome, reason, seconds)


def _said(result: Result, timeout: float) -> _Answer:
    if result.status == "ok":
        answer: _Answer = result.value
        return answer
    reason = f"raised {result.reason}" if result.status == "raised" else result.reason
    return "unknown", reason, timeout if result.status == "timed_out" else 0.0


def open_checks(setup: tuple[Mapping[str, Verifier], Path]) -> Callable[[_Question], _Answer]:
    """In the child: every check, built once, and the function that asks one of them."""
    verifiers, root = setup
    checks = {name: _opened(name, spec, root) for name, spec in verifiers.items()}
    comparing = {name for name, spec in verifiers.items() if needs_reference(spec)}

    def ask(question: _Question) -> _Answer:
        name, subject = question
        started = time.perf_counter()
        if name in comparing and subject.reference is None:
            finding = unknown("no reference to compare with")
        else:
            finding = checks[name](subject)
        return finding.outcome, finding.reason, time.perf_counter() - started

    return ask


def _opened(name: str, spec: Verifier, root: Path) -> Check:
    try:
        return KINDS[spec.kind].open(spec, root)
    except (VerifierInvalid, OSError) as error:
        raise VerifierInvalid(f"verifiers.{name}: {error}") from error


def outcome_of(verdicts: Iterable[Verdict]) -> Outcome:
    """Fail if any verifier fails, else unknown if any is unknown, else pass. No verdict at all is unknown."""
    outcomes = {verdict.outcome for verdict in verdicts}
    if "fail" in outcomes:
        return "fail"
    return "pass" if outcomes == {"pass"} else "unknown"
