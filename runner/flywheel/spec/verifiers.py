"""Verifiers: each kind's keys and facts. What runs them is in `flywheel.verifiers`."""

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import Field

from flywheel.answers import READING, Language, extract_answer
from flywheel.errors import Fault, Path_
from flywheel.hashing import canonical, hash_file
from flywheel.records.rows import shown
from flywheel.spec import secrets
from flywheel.spec.base import Name, Positive, Seconds
from flywheel.spec.databases import database_files, databases_digest, holes, path_problem, row_problems
from flywheel.spec.kinds import Family, Kind
from flywheel.spec.labels import Labels
from flywheel.text import did_you_mean, one_line


class Verifier(Kind):
    """Who says whether an answer is right. A kind of your own is a subclass with a method `open`."""

    kind: str
    timeout_seconds: Seconds = 5.0
    """After this the verdict is unknown, never wrong (of untrusted code that runs too long: wrong)."""
    golden: str | None = None
    """Cases for `flywheel audit` (JSONL, CSV or Parquet): the task's columns, `answer`, and `expect`: pass or fail."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Packages whose version can change a verdict."""
    confined: ClassVar[bool] = True
    """Its check needs nothing but `files`, to be built and to judge: its process gives up everything else. False for a
    check that runs other people's code, or has a sandbox of its own."""
    sees_form: ClassVar[bool] = False
    """It compares with a known answer and fails an answer of the wrong form without one, too."""

    def open(self, root: Path) -> Callable[[Any], Any]:
        """The check of a stranger's kind: from `records.Subject` to True or False, with a reason as (bool, str), or a
        `verifiers.finding.Finding`. Called in the process that judges; what it raises is "unknown"."""
        raise NotImplementedError(f"{type(self).__name__} has no method open")

    @property
    def reaches_out(self) -> bool:
        """It talks to a server, so that its process cannot be confined after all."""
        return False

    @property
    def is_confined(self) -> bool:
        """Its process can do nothing but compute and read its files."""
        return self.confined and not self.reaches_out

    @property
    def needs_reference(self) -> bool:
        """It compares with a known right answer; without one its verdict is unknown."""
        return False

    @property
    def tells_right_from_wrong(self) -> bool:
        """It claims to: not one that only looks at the form, such as a query that parses."""
        return self.needs_reference

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a row that it reads, whether or not the student sees them."""
        return ()

    @property
    def hidden(self) -> tuple[str, ...]:
        """Those of them that the student must not see."""
        return self.columns

    @property
    def asks(self) -> str | None:
        """The teacher that it asks; no process that may be killed then runs it."""
        return None

    @property
    def calls_each(self) -> int:
        """Calls to that teacher for one answer."""
        return 0

    @property
    def cases_of_people(self) -> str | None:
        """A file of cases that people judged, with which it is calibrated."""
        return None

    @property
    def agreement_needed(self) -> float:
        """Cohen's kappa with those people, from which on its verdicts count."""
        return 0.0

    @property
    def may_gate(self) -> bool:
        """A gate may follow it: not one that nobody compared with people."""
        return True

    @property
    def runs_programs(self) -> bool:
        """It runs what models wrote, which needs a sandbox."""
        return False

    @property
    def language(self) -> Language:
        """What an answer is written in: where it stands in a longer text, and how `audit` corrupts it."""
        return "text"

    @property
    def named_by(self) -> str | None:
        """The column with the name of what an answer defines, such as a function."""
        return None

    @property
    def says_sets(self) -> bool:
        """An answer is a set of labels."""
        return False

    @property
    def patience(self) -> float:
        """Seconds after which its process is killed and the verdict unknown."""
        return self.timeout_seconds

    @property
    def form(self) -> "Verifier | None":
        """What tells in milliseconds that a right answer is none, by its form; None where nothing does."""
        return None

    def labels_in(self, root: Path) -> Labels:
        """The answers that there are, where they are a fixed set; else none."""
        return Labels(())

    def gold_faults(self, golds: Sequence[str], files: Mapping[str, Path]) -> Iterator[tuple[int, str, str]]:
        """Right answers that no answer could match: (index, message, hint). `files`: as in `file_faults`."""
        return iter(())

    def programs_in(self, root: Path) -> Mapping[str, str]:
        """Like `files`, where only the project's folder tells whether they are files."""
        return {}

    def reads_in(self, root: Path) -> Sequence[str]:
        """Further files, relative to the project, that its confined process reads."""
        return ()

    def parts_in(self, root: Path) -> Mapping[str, str]:
        """Part → value, of what can change a verdict and only the project's folder or this machine tells. Raises
        OSError."""
        return {}

    def parts(self, root: Path, teachers: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, str]:
        """Everything that can change its verdicts, for fingerprints. `teachers`: parameters of each teacher
        (`teachers.parameters`), where one that it asks is among them. Raises OSError where a file cannot be read."""
        settings = self.model_dump(mode="json", exclude={"golden"})  # auditing a verifier changes no verdict
        found = {"spec": canonical(settings), "implementation": str(self.implementation), "reading": str(READING)}
        if self.origin is not None:
            found["code"] = self.origin.digest
        if self.asks is not None and teachers is not None:
            found["teacher"] = canonical(dict(teachers[self.asks]))
        found |= {package: package_version(package) for package in self.packages}
        found |= {part: hash_file(root / file) for part, file in {**self.files, **self.programs_in(root)}.items()}
        return {**found, **self.parts_in(root)}

    def row_faults_in(self, root: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str, str]]:
        """Rows that it could not judge: (index, message, hint)."""
        return iter(())

    @property
    def takes_answers_as_written(self) -> bool:
        """It compares letter by letter, as lm-eval's `exact_match` does."""
        return False


class SqlVerifier(Verifier):
    """One query that reads, in a database of the task: `setup`, `database` or `dsn` says which."""

    kind: Literal["sql"]
    """SQL: one query."""
    engine: Literal["duckdb", "sqlite", "postgres"] = "duckdb"
    """Whose SQL it is. `duckdb` and `sqlite` run in a locked-down, confined process, `postgres` on your server."""
    check: Literal["parses", "same_rows"]
    """`parses`: one query that binds against the schema. `same_rows`: gives the gold query's rows (ordered
    when the gold orders)."""
    setup: str | None = None
    """SQL script that makes the database (`duckdb`, `sqlite`; what `.dump` writes is one)."""
    database: str | None = None
    """`sqlite`: a database file, read only. One per row: `databases/{{ row.db_id }}/{{ row.db_id }}.sqlite`."""
    dsn: str | None = None
    """`postgres`: how to reach the server, as `${env:NAME}`. Name a role that can only read."""
    match: Literal["ours", "spider", "bird"] = "ours"
    """When rows are the same. `spider`, `bird`: as those benchmarks' own scripts say, on the declared database."""
    any_column_order: bool = False
    """`ours`: columns may stand in another order than the gold's."""
    ignore_duplicates: bool = False
    """`ours`: a row counts once, so that DISTINCT makes no difference."""
    decimals: Annotated[int, Field(ge=0, le=15)] | None = None
    """`ours`: numbers are equal that differ by no more than rounding to so many decimals does."""
    max_rows: Positive = 10_000
    """`ours`: a result with more rows is wrong."""
    instances: Annotated[int, Field(ge=0, le=20)] = 4
    """`ours`, `same_rows`: further databases of the same schema, generated from a seed (empty; doubled rows and NULLs;
    other values; rows that the gold's own conditions select), on which the rows must agree too, so that no lucky
    match passes. None with `postgres`."""

    implementation: ClassVar[int] = 3  # engines, rules, rows that the gold selects
    variables: ClassVar[tuple[str, ...]] = ("dsn",)

    @property
    def needs_reference(self) -> bool:
        return self.check == "same_rows"

    @property
    def reaches_out(self) -> bool:
        return self.engine == "postgres"

    @property
    def files(self) -> Mapping[str, str]:
        return {} if self.setup is None else {"setup": self.setup}

    @property
    def columns(self) -> tuple[str, ...]:
        """What fills the holes of `database`."""
        return () if self.database is None else tuple(holes(self.database))

    @property
    def hidden(self) -> tuple[str, ...]:
        return ()

    @property
    def language(self) -> Language:
        return "sql"

    @property
    def form(self) -> "Verifier | None":
        """Whether a gold binds; of a server nothing is asked before it must be."""
        if self.reaches_out:
            return None
        keys = {key: getattr(self, key) for key in ("engine", "setup", "database", "timeout_seconds")}
        return SqlVerifier(kind="sql", check="parses", **keys)

    def reads_in(self, root: Path) -> Sequence[str]:
        return [] if self.database is None else database_files(root, self.database, self.match == "spider")

    def parts_in(self, root: Path) -> Mapping[str, str]:
        if self.engine == "duckdb":
            return {"duckdb": package_version("duckdb"), "sqlglot": package_version("sqlglot")}
        if self.engine == "postgres":
            return {"psycopg": _version_or_none("psycopg")}
        found = {"sqlite": sqlite3.sqlite_version, "sqlglot": package_version("sqlglot")}
        files = self.reads_in(root)
        return found if self.database is None else {**found, "databases": databases_digest(root, files)}

    def key_faults(self) -> Iterator[tuple[Path_, str, str]]:
        sources = _SOURCES[self.engine]
        given = [key for key in ("setup", "database", "dsn") if getattr(self, key) is not None]
        for key in given:
            if key not in sources:
                engines = [engine for engine, keys in _SOURCES.items() if key in keys]
                yield (key,), f"engine {self.engine} has no {key}.", f"Write engine: {' or '.join(engines)}."
        if not given:
            yield (), f"no database: {' or '.join(sources)} is missing.", _SOURCE_HINTS[self.engine]
        elif len(given) > 1 and all(key in sources for key in given):
            yield (given[1],), f"{given[0]} names the database already.", "Keep one of the two."
        if self.dsn is not None and not secrets.REFERENCE.fullmatch(self.dsn):
            yield ("dsn",), "it may hold a password.", "Write ${env:NAME} and set the variable NAME."
        yield from self._rule_faults()

    def _rule_faults(self) -> Iterator[tuple[Path_, str, str]]:
        given = self.model_fields_set
        for key in _OURS_ALONE:
            if key in given and self.match != "ours":
                hint = f"Remove it: match: {self.match} has rules of its own."
                yield (key,), f"counts with match: ours alone, not with {self.match}.", hint
        if "instances" in given and self.engine == "postgres" and self.instances:
            yield ("instances",), "a role that can only read makes no databases.", "Remove it."

    def faults_in(self, root: Path) -> Iterator[tuple[Path_, str, str]]:
        if self.engine == "sqlite" and self.database is not None and (problem := path_problem(root, self.database)):
            yield ("database",), *problem

    def row_faults_in(self, root: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str, str]]:
        """Rows whose database is not there."""
        return row_problems(root, self.database, rows) if self.columns and self.database else iter(())


_SOURCES = {"duckdb": ("setup",), "sqlite": ("setup", "database"), "postgres": ("dsn",)}
"""Keys that say where the database is, by engine."""
_SOURCE_HINTS = {
    "duckdb": "Add setup: schema.sql.",
    "sqlite": "Add database: shop.sqlite, or setup: schema.sql.",
    "postgres": "Add dsn: ${env:NAME}.",
}
_OURS_ALONE = ("any_column_order", "ignore_duplicates", "decimals", "max_rows", "instances")


def _version_or_none(package: str) -> str:
    """Empty where it is not installed, which the check itself then says."""
    try:
        return package_version(package)
    except PackageNotFoundError:
        return ""


class MathVerifier(Verifier):
    """Numeric or symbolic equality of the final answer."""

    kind: Literal["math"]
    """The final answer of a calculation."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """Relative tolerance for numbers; 0 compares exactly, at any size."""
    percent: Literal["lenient", "strict"] = "lenient"
    """`lenient`: 50% is 0.5, and the sign may be left out (50). `strict`: 50% is 0.5 and nothing else."""
    units: Literal["lenient", "required", "ignored"] = "lenient"
    """Two units of measure must agree (10 cm is 0.1 m and not 10 m), but for `ignored`. `lenient`: a unit may be left
    out; `required`: not where the gold has one."""
    decimal_comma: bool | None = None
    """Whether 1,5 is one number. Without a value it is where the other side is one number, else it is a list.
    1.234,5 is read without this key."""

    implementation: ClassVar[int] = 2  # the whole gold, exactly
    packages: ClassVar[tuple[str, ...]] = ("mpmath",)

    @property
    def needs_reference(self) -> bool:
        return True

    @property
    def language(self) -> Language:
        return "math"


class JsonSchemaVerifier(Verifier):
    """The answer is JSON that fits a schema and, where fields are named, agrees with the gold in them."""

    kind: Literal["json_schema"]
    """JSON that fits a schema."""
    schema_file: Annotated[str, Field(alias="schema")]
    """JSON Schema file."""
    compare: Literal["none", "fields"] = "none"
    """`fields`: every field of the gold must be equal in the answer: letters in Unicode's normal form, numbers within
    one floating-point step, instants where the schema says `date-time` or `time`."""
    lists: Literal["ordered", "unordered"] = "ordered"
    """`unordered`: a list's members may stand in any order, each as often as in the gold."""
    ignore_case: bool = False
    """Upper and lower case are one in values."""
    extra: Literal["allow", "forbid"] = "allow"
    """Fields that the answer has and the gold has not. `allow`: they are the schema's business."""
    null_is_absent: bool = False
    """A field that is null is one that is missing."""

    implementation: ClassVar[int] = 2  # normal form, floating-point step, instants, formats
    packages: ClassVar[tuple[str, ...]] = ("jsonschema-rs",)

    @property
    def needs_reference(self) -> bool:
        return self.compare == "fields"

    @property
    def files(self) -> Mapping[str, str]:
        return {"schema": self.schema_file}

    @property
    def language(self) -> Language:
        return "json"

    def file_faults(self, files: Mapping[str, Path]) -> Iterator[tuple[str, Fault]]:
        """A JSON Schema must be JSON, and a schema."""
        for key, path in files.items():
            if key != "schema":
                continue
            try:
                if (wrong := _wrong_in_schema(json.loads(path.read_bytes()))) is not None:
                    yield key, Fault(f"no JSON Schema: {wrong[0]}.", hint=wrong[1], file=shown(path))
            except json.JSONDecodeError as error:
                yield key, Fault(f"not JSON: {error.msg}.", file=shown(path), line=error.lineno, column=error.colno)
            except (ValueError, RecursionError) as error:
                yield key, Fault(f"not JSON that can be read: {one_line(str(error))}.", file=shown(path))


_JSON_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def schema_validator(schema: Any, elsewhere: str = "is outside the file") -> Any:
    """Of a JSON Schema in one file; `elsewhere` is said of what is not in it. Raises what jsonschema-rs does."""
    import jsonschema_rs  # here: few specs have one

    def refuse(uri: str) -> NoReturn:  # it would be fetched
        raise ValueError(f"{uri} {elsewhere}")

    return jsonschema_rs.validator_for(schema, retriever=refuse, validate_formats=True)


def _wrong_in_schema(schema: Any) -> tuple[str, str] | None:
    """What keeps it from being a JSON Schema, and a hint."""
    import jsonschema_rs

    try:
        schema_validator(schema)
    except jsonschema_rs.ValidationError as error:
        path, wrong = [str(part) for part in error.instance_path], error.instance
        if path[-1:] == ["type"]:
            said = f"{one_line(json.dumps(wrong), 60)} is no type"
            return f"{'.'.join(path)}: {said}", did_you_mean(wrong if isinstance(wrong, str) else "", _JSON_TYPES)
        return f"{'.'.join(path) or 'the whole'}: {one_line(error.message, 160)}", ""
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        return one_line(str(error), 160), ""
    return None


class ExactVerifier(Verifier):
    """The answer equals the gold."""

    kind: Literal["exact"]
    """The gold, letter by letter."""
    ignore_case: bool = False
    """Upper and lower case are one."""
    ignore_space: bool = True
    """Spaces at the ends and runs of spaces do not count."""

    @property
    def needs_reference(self) -> bool:
        return True

    @property
    def takes_answers_as_written(self) -> bool:
        return not self.ignore_space and not self.ignore_case  # lm-eval's lower() is not our casefold()


class RegexVerifier(Verifier):
    """The whole answer matches a pattern."""

    kind: Literal["regex"]
    """A regular expression."""
    pattern: str
    """Python's `re`; the whole answer must match."""

    def key_faults(self) -> Iterator[tuple[Path_, str, str]]:
        return pattern_faults(("pattern",), self.pattern)


class LabelVerifier(Verifier):
    """The answer is one of the declared labels and, where there is a gold, the right one."""

    kind: Literal["label"]
    """One of a fixed set of labels, or several."""
    labels: list[str] | str
    """The labels, or a text file with one a line."""
    many: bool = False
    """An answer is a set of labels: a JSON list, or labels with a comma, semicolon, bar or line break between them (one
    that stands in a label itself separates nothing). All must be right; the score is the share of right ones among
    those that either names (Jaccard)."""
    lenient: bool = False
    """Upper and lower case, a full stop at the end, quotes, back-ticks and stars around a label do not count."""

    implementation: ClassVar[int] = 2  # sets; a declared label without a gold is unknown, not right
    distinct: ClassVar[Mapping[str, str]] = {"labels": "the label"}
    sees_form: ClassVar[bool] = True

    @property
    def needs_reference(self) -> bool:
        return True

    @property
    def says_sets(self) -> bool:
        return self.many

    @property
    def files(self) -> Mapping[str, str]:
        return {"labels": self.labels} if isinstance(self.labels, str) else {}

    @property
    def language(self) -> Language:
        return "label"

    def labels_in(self, root: Path) -> Labels:
        """Raises OSError where their file cannot be read."""
        return self._labels(root / self.labels if isinstance(self.labels, str) else None)

    def _labels(self, file: Path | None) -> Labels:
        if file is not None:
            return Labels.in_file(file, self.lenient)
        return Labels(tuple(self.labels) if isinstance(self.labels, list) else (), self.lenient)

    def key_faults(self) -> Iterator[tuple[Path_, str, str]]:
        if self.labels == []:
            yield ("labels",), "needs at least one entry, has none.", ""

    def file_faults(self, files: Mapping[str, Path]) -> Iterator[tuple[str, Fault]]:
        for key, path in files.items():
            try:
                if key == "labels" and not path.read_bytes().decode("utf-8-sig").strip():
                    yield key, Fault(f"{shown(path)} is empty: no labels.", hint="Write one a line.")
            except UnicodeDecodeError:
                yield key, Fault("not UTF-8 text.", file=shown(path), hint="Save it as UTF-8.")

    def gold_faults(self, golds: Sequence[str], files: Mapping[str, Path]) -> Iterator[tuple[int, str, str]]:
        try:
            labels = self._labels(files.get("labels"))
        except (OSError, UnicodeDecodeError):
            return  # said elsewhere
        for index, gold in enumerate(golds) if labels.declared else ():
            for label in sorted(labels.of(extract_answer(gold, "label"), self.many) - labels.known):
                hint = did_you_mean(label, labels.known)
                yield index, f'the right answer "{one_line(label, 60)}" is no label', hint


class PythonVerifier(Verifier):
    """A function in the project: `def check(subject: dict) -> bool | tuple[bool, str]`."""

    kind: Literal["python"]
    """A function in the project."""
    function: str
    """`file.py:function`. `subject` has `row`, `answer`, `reference` (None where there is no gold)."""
    compares: Annotated[bool, Field(alias="needs_reference")] = False
    """The function compares with a known answer; without one the verdict is unknown."""

    confined: ClassVar[bool] = False

    @property
    def functions(self) -> Mapping[str, str]:
        return {"function": self.function}

    @property
    def needs_reference(self) -> bool:
        return self.compares


class CodeVerifier(Verifier):
    """Python run against tests in a sandbox. It gets inputs and returns values; expected values never enter it."""

    kind: Literal["code"]
    """Python in a sandbox."""
    tests: Name = "tests"
    """Column with the tests: JSON cases `[{"args": […], "expected": …}]`, or Python: `assert`s, or
    `def check(candidate)`. The student does not see it."""
    entry_point: Name | None = None
    """Column with the name of the function that is tested (default: the answer's last function)."""
    prefix: Name | None = None
    """Column whose text stands before the answer, such as a signature that the answer continues."""
    numbers: Literal["exact", "close", "equal"] = "exact"
    """`exact`: 2 is not 2.0 and True is not 1. `close`: numbers of any type within `tolerance` are equal. `equal`: as
    Python's `==` has it, for tests that were written for it: 2 is 2.0 and True is 1."""
    tolerance: Annotated[float, Field(ge=0)] = 1e-6
    """Relative and absolute, for `numbers: close`."""
    mutants: Annotated[int, Field(ge=0, le=50)] = 5
    """Tests that a teacher wrote count only if one of so many mutants of the passing answer fails them."""
    memory_mb: Annotated[int, Field(ge=64)] = 512
    """Memory of the program."""

    implementation: ClassVar[int] = 2  # dictionaries of the library, types, modules that tests use
    confined: ClassVar[bool] = False  # its programs run in sandboxes of its own

    @property
    def tells_right_from_wrong(self) -> bool:
        return True

    @property
    def columns(self) -> tuple[str, ...]:
        """The tests come first."""
        return tuple(column for column in (self.tests, self.entry_point, self.prefix) if column is not None)

    @property
    def runs_programs(self) -> bool:
        return True

    @property
    def language(self) -> Language:
        return "python"

    @property
    def named_by(self) -> str | None:
        return self.entry_point

    @property
    def patience(self) -> float:
        """It keeps its own time (a program that is too slow is wrong): by then the check itself hangs."""
        return 20.0 + 2 * (2 + self.mutants) * self.timeout_seconds


class JudgeVerifier(Verifier):
    """An LLM with a rubric. Until its agreement with people is measured it can rank lessons, not pass or fail them."""

    kind: Literal["judge"]
    """An LLM with a rubric."""
    teacher: Name
    """Who judges; never a lesson of its own."""
    rubric: str
    """Jinja file with what makes an answer good; it sees `task` (name, description), `row`, `answer`, `reference`."""
    compare: Literal["alone", "pair"] = "alone"
    """`alone`: is the answer good? `pair`: is it at least as good as the reference? Asked in both orders."""
    votes: Annotated[int, Field(ge=1, le=25)] = 1
    """Votes, each an own call; the majority counts, a tie is unknown."""
    calibration: str | None = None
    """Rows that people judged (JSONL, CSV or Parquet): the task's columns, `answer`, and `label`: pass or fail."""
    min_kappa: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Cohen's kappa with those labels, from which on the judge's verdicts count."""

    @property
    def needs_reference(self) -> bool:
        return self.compare == "pair"

    @property
    def tells_right_from_wrong(self) -> bool:
        return True

    @property
    def files(self) -> Mapping[str, str]:
        return {"rubric": self.rubric, **({"calibration": self.calibration} if self.calibration else {})}

    @property
    def asks(self) -> str:
        return self.teacher

    @property
    def cases_of_people(self) -> str | None:
        return self.calibration

    @property
    def agreement_needed(self) -> float:
        return self.min_kappa

    @property
    def may_gate(self) -> bool:
        return self.calibration is not None

    @property
    def calls_each(self) -> int:
        """A pair is shown in both orders."""
        return self.votes * (2 if self.compare == "pair" else 1)


class CommandVerifier(Verifier):
    """A program of yours. It reads one JSON object on stdin (`row`, `answer`, `reference`), and its exit status says:
    0 pass, 1 fail, anything else unknown; what it prints is the reason."""

    kind: Literal["command"]
    """A program of yours."""
    command: Annotated[list[str], Field(min_length=1)]
    """Program and arguments, run in the project's folder without a shell."""
    compares: Annotated[bool, Field(alias="needs_reference")] = False
    """It compares with a known answer; without one the verdict is unknown."""

    confined: ClassVar[bool] = False

    @property
    def needs_reference(self) -> bool:
        return self.compares

    def programs_in(self, root: Path) -> Mapping[str, str]:
        """Those of the program and its arguments that are files in the project."""
        base = root.resolve()
        words = (word for word in self.command if (root / word).resolve().is_relative_to(base))
        return {f"command {word}": word for word in words if os.path.isfile(root / word)}


def pattern_faults(place: Path_, pattern: str) -> Iterator[tuple[Path_, str, str]]:
    """The fault of a text that is no regular expression."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield place, f"not a regular expression: {error}.", ""


VERIFIERS = Family(
    noun="verifier",
    key="kind",
    group="flywheel.verifiers",
    base=Verifier,
    own=(
        SqlVerifier, MathVerifier, JsonSchemaVerifier, ExactVerifier, RegexVerifier, LabelVerifier, PythonVerifier,
        CodeVerifier, JudgeVerifier, CommandVerifier,
    ),
    facts=(
        "needs_reference", "tells_right_from_wrong", "columns", "asks", "calls_each", "cases_of_people", "may_gate",
        "runs_programs", "language", "named_by", "says_sets", "patience", "files",
    ),
)  # fmt: skip
AnyVerifier = Annotated[Verifier, VERIFIERS]
