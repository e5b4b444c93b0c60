"""The code check: a program is given inputs and gives back values, and what they are compared with it never sees.

The program runs in a session of the sandbox; each case is one call with inputs of its own, and the value that comes
back is only a claim, compared here (`flywheel.verifiers.equality` is the policy of types). Leaving early, a reply
nobody asked for, an exception, a value that is not plain, or too much time, memory or output is a fail; where the
sandbox itself fails the program is run once more, and then the verdict is unknown. A reason begins with its type, one
of REASONS.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from flywheel.records import Row, Subject
from flywheel.sandbox import Limits, Sandbox
from flywheel.sandbox.values import NotPlain
from flywheel.spec.verifiers import CodeVerifier
from flywheel.text import one_line, plural
from flywheel.verifiers.cases import Case, NoTests, Script, TestsUnreadable, called_by, read_tests
from flywheel.verifiers.equality import Policy
from flywheel.verifiers.finding import PASS, Check, Finding, fail, unknown
from flywheel.verifiers.mutants import mutants
from flywheel.verifiers.programs import Program, ProgramUnreadable, assemble
from flywheel.verifiers.referee import REMOTE, referee
from flywheel.verifiers.remote import Call, RemoteModule, Said, SandboxFailed, Stopped, shown

#: First words of the reasons of a fail, for error modes: `reason.code LIKE 'timed out%'`.
REASONS = (
    "no answer", "too long", "syntax error", "no function", "wrong value", "raised", "did not raise",
    "not a plain value", "failed assertion", "timed out", "out of memory", "crashed", "ended early",
    "too much output", "forged result", "the tests accept a wrong answer", "the tests do not run",
)  # fmt: skip

MAX_REASON = 500
MAX_OUTPUT = 2_000
_SHOWN_FAILURES = 5
_REPLY_BYTES = 1 << 20
#: A mutant that needs so much longer than the answer has failed: it loops.
_MUTANT_PATIENCE = 5.0
_MUTANT_SECONDS = 0.25


def open_code(spec: CodeVerifier, root: Path, unsafe: bool = False) -> Check:
    """The check of one answer. Raises SandboxUnavailable where nothing contains a program, unless `unsafe`."""
    sandbox = _shared_sandbox(unsafe)

    def check(subject: Subject) -> Finding:
        return _twice(lambda: _judged(spec, sandbox, subject))

    return check


@cache
def _shared_sandbox(unsafe: bool) -> Sandbox:
    """One a process, kept: its fork server is what makes a program cheap, and it ends with this process."""
    sandbox = Sandbox(unsafe=unsafe, workers=1)
    atexit.register(sandbox.close)
    return sandbox


def _twice(run: Callable[[], Finding]) -> Finding:
    try:
        return _storable(run())
    except SandboxFailed:
        pass
    try:
        return _storable(run())
    except SandboxFailed as error:
        return unknown(f"the sandbox failed twice: {one_line(str(error), 300)}")


def _storable(finding: Finding) -> Finding:
    """What a program says may hold half a character, which no file and no database takes."""
    return replace(finding, reason=finding.reason.encode("utf-8", "backslashreplace").decode())


def _judged(spec: CodeVerifier, sandbox: Sandbox, subject: Subject) -> Finding:
    # Tests that a teacher wrote are part of what is judged: where they do not run, the lesson is no good.
    useless = unknown if subject.trusted else fail
    try:
        trial = _trial(spec, sandbox, subject.row, subject.answer, tell=not subject.trusted)
        started = time.monotonic()
        failure = next(trial.failures(), None)
        if failure is not None:
            return fail(failure[:MAX_REASON])
        if subject.trusted or not spec.mutants:
            return PASS
        return _weighed(trial, spec.mutants, time.monotonic() - started)
    except ProgramUnreadable as error:
        return fail(str(error))
    except NoTests:
        return unknown("no tests")
    except TestsUnreadable as error:
        return useless(f"the tests do not run: {error}"[:MAX_REASON])


def _weighed(trial: _Trial, count: int, seconds: float) -> Finding:
    """Whether the tests, which the answer passes in `seconds`, tell it from a wrong one."""
    limit = min(trial.limits.seconds, _MUTANT_SECONDS + _MUTANT_PATIENCE * seconds)
    limits = replace(trial.limits, seconds=limit)
    tried = 0
    for tried, source in enumerate(mutants(trial.program, count), 1):  # noqa: B007
        mutant = replace(trial, program=replace(trial.program, source=source), limits=limits)
        if next(mutant.failures(), None) is not None:
            return PASS
    return fail(f"the tests accept a wrong answer: none of {plural(tried, 'mutant')} fails them")


def _trial(spec: CodeVerifier, sandbox: Sandbox, row: Row, answer: str, tell: bool) -> _Trial:
    prefix = _text(row, spec.prefix) or ""
    program = assemble(answer, prefix, _text(row, spec.entry_point), called_by(row.get(spec.tests)))
    return _Trial(
        sandbox,
        program,
        read_tests(row.get(spec.tests), program.entry_point),
        prefix,
        Policy(spec.numbers, spec.tolerance),
        Limits(spec.timeout_seconds, spec.memory_mb << 20, _REPLY_BYTES),
        tell,
    )


def _text(row: Row, column: str | None) -> str | None:
    return None if column is None or row.get(column) in (None, "") else str(row[column])


@dataclass(frozen=True)
class _Trial:
    """A program and the tests that it faces."""

    sandbox: Sandbox
    program: Program
    tests: tuple[Case, ...] | Script
    prefix: str
    policy: Policy
    limits: Limits
    tell: bool
    """Whether reasons may say what was expected."""

    def failures(self) -> Iterator[str]:
        """Why the program is wrong, a reason for each test that fails; nothing where it is right.

        Raises TestsUnreadable where the tests do not run.
        """
        try:
            with RemoteModule(self.sandbox, self.limits) as solution:
                loaded = solution.load(self.program.source, "solution")
                if loaded.error:
                    yield f"raised: loading the program raised {loaded.error}"
                elif isinstance(self.tests, Script):
                    yield from self._refereed(solution, self.tests)
                else:
                    for case in self.tests:
                        yield from self._failed(solution, case)
        except Stopped as error:
            yield str(error)

    def _failed(self, solution: RemoteModule, case: Case) -> Iterator[str]:
        call = Call(self.program.entry_point, case.args, case.kwargs)
        try:
            said = solution.call(call)
        except NotPlain as error:
            raise TestsUnreadable(f"they pass what is not plain: {error}") from error
        wanted = f" instead of {_expectation(case)}" if self.tell else ""
        if said.is_not_plain:
            yield f"not a plain value: {call} gave one: {said.error}"
        elif said.error:
            if not case.expects_error(said.error_name):
                yield f"raised: {call} raised {said.error}{wanted}"
        elif case.relation == "raises":
            yield f"did not raise: {call} gave {shown(said.value)}{wanted}"
        elif not case.holds(said.value, self.policy):
            yield f"wrong value: {call} gave {shown(said.value)}{wanted}"

    def _refereed(self, solution: RemoteModule, script: Script) -> Iterator[str]:
        """The tests run beside the solution, and each call that they make is relayed."""
        source = referee(script.source, self.program.entry_point, self.prefix, self.policy)
        with RemoteModule(self.sandbox, self.limits) as tests:
            relay = _Relay(solution)
            with _telling_of_tests():
                said = tests.load(source, "tests", remote=REMOTE)
            while said.asks is not None:
                heard = relay.pass_on(said.asks)
                with _telling_of_tests():
                    said = tests.answer(heard)
            failure = relay.failure(said)
            if failure:
                yield failure


@dataclass
class _Relay:
    """Carries the tests' calls to the solution, and remembers the last."""

    solution: RemoteModule
    last: Call | None = None
    heard: Said = field(default_factory=Said)

    def pass_on(self, call: Call) -> list[Any]:
        """Calls the solution. `["value", value]` or `["raised", class, text]`, as `referee` reads it."""
        self.last, self.heard = call, self.solution.call(call)
        if self.heard.is_not_plain:
            raise Stopped(f"not a plain value: {call} gave one: {self.heard.error}")
        if self.heard.error:
            name, _, text = self.heard.error.partition(": ")
            return ["raised", name, text]
        return ["value", self.heard.value]

    def failure(self, said: Said) -> str:
        """What the tests' end means: the reason of a fail, or "". Raises TestsUnreadable where it means nothing."""
        if said.is_not_plain:
            raise TestsUnreadable(f"they pass what is not plain: {said.error}")
        if self.last is None:
            raise TestsUnreadable(said.error or "they never call the function")
        if not said.error:
            return ""
        if said.error_name == self.heard.error_name:
            return f"raised: {self.last} raised {self.heard.error}"
        return f"failed assertion: {said.error}, after {self.last} gave {self.heard.error or shown(self.heard.value)}"


@contextmanager
def _telling_of_tests() -> Iterator[None]:
    """What stops the tests is not the program's doing."""
    try:
        yield
    except Stopped as error:
        raise TestsUnreadable(str(error)) from error


def _expectation(case: Case) -> str:
    """What the case wants, in words."""
    value = shown(case.expected)
    match case.relation:
        case "true" | "false":
            return f"a {case.relation} value"
        case "differs":
            return f"anything but {value}"
        case "in":
            return f"one of {value}"
        case "not in":
            return f"none of {value}"
        case "within" | "nearer":
            return f"{value} within {case.tolerance:g}"
        case "raises":
            return f"{case.expected}"
    return value
