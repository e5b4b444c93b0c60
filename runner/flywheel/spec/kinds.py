"""Kinds: what differs by `kind:` (or `strategy:`). One class has a kind's keys *and its facts*; whoever wants to know
asks the object, never which kind it is.

Ours stand in a family's table. A stranger's comes by an entry point of the family's group, or from a file of the
project: `kind: file.py:Class`. The code that runs a kind of ours is elsewhere, in the table of its room; a stranger's
class brings its own, in the methods that the family's base class names.
"""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from importlib.metadata import entry_points
from operator import or_
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

from pydantic import (
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializationInfo,
    TypeAdapter,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from flywheel import project_code
from flywheel.errors import Fault, Path_
from flywheel.hashing import fingerprint, hash_file
from flywheel.project_code import CodeInvalid
from flywheel.spec.base import SpecModel


@dataclass(frozen=True)
class Origin:
    """Where a stranger's class is from: what the spec says, the project (empty: an installed package), and a digest of
    the code."""

    reference: str
    root: str
    digest: str


class Kind(SpecModel):
    """Base of all kinds. Keys are fields; facts are properties, with a default here or in the family's base class."""

    model_config = ConfigDict(defer_build=True)

    implementation: ClassVar[int] = 1
    """Rises when what the kind does with the same keys and input could differ."""
    variables: ClassVar[tuple[str, ...]] = ()
    """Keys that may refer to an environment variable, `${env:NAME}`."""
    distinct: ClassVar[Mapping[str, str]] = {}
    """Keys that hold a list whose entries must differ, with what an entry is called."""
    origin: ClassVar[Origin | None] = None
    """Of a stranger's kind only."""

    @property
    def functions(self) -> Mapping[str, str]:
        """Key → the `file.py:function` that it names."""
        return {}

    @property
    def files(self) -> Mapping[str, str]:
        """Key → file, relative to the project, that what the kind does depends on; of a function its file."""
        return {key: project_code.split(function)[0] or function for key, function in self.functions.items()}

    def key_faults(self) -> Iterator[tuple[Path_, str, str]]:
        """What is wrong with its keys beyond their types: (place below the entry, message, hint)."""
        return iter(())

    def faults_in(self, root: Path) -> Iterator[tuple[Path_, str, str]]:
        """Like `key_faults`, of what only the project's folder tells."""
        return iter(())

    def file_faults(self, files: Mapping[str, Path]) -> Iterator[tuple[str, Fault]]:
        """What is wrong in its files: (key, fault), without a file for a fault of the key as such. `files`: key → path,
        of those that can be read."""
        return iter(())

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A stranger's class takes its origin along; one of the project is loaded anew, being in no module that can be
        imported."""
        if self.origin is None:
            return super().__reduce_ex__(protocol)
        kind = None if self.origin.root else type(self)
        return _rebuilt, (kind, self.origin, self.model_dump(by_alias=True))


def _rebuilt(kind: type[Kind] | None, origin: Origin, keys: dict[str, Any]) -> Kind:
    kind = kind or project_code.load(origin.reference, Path(origin.root))
    kind.origin = origin
    found: Kind = kind.model_validate(keys, by_alias=True, by_name=False)
    return found


@dataclass(frozen=True)
class Family:
    """The kinds that one place of the spec may hold. As metadata of an annotation it validates them.

    `key` names the kind, `default` is the kind where it is left out; `group`: the entry points of strangers. `facts`
    are read when a stranger's kind is loaded, so that a fault in one is said at its place.
    """

    noun: str
    key: str
    group: str
    base: type[Kind]
    own: tuple[type[Kind], ...]
    facts: tuple[str, ...]
    default: str = ""

    @cached_property
    def by_name(self) -> dict[str, type[Kind]]:
        return {name: kind for kind in self.own for name in get_args(kind.model_fields[self.key].annotation)}

    def class_of(self, raw: Any) -> type[Kind] | None:
        """The class of a raw entry; a stranger's where it was loaded before."""
        said = raw.get(self.key, self.default) if isinstance(raw, dict) else None
        return (self.by_name.get(said) or _LOADED.get((self.group, said))) if isinstance(said, str) else None

    def variables_of(self, raw: Any) -> tuple[str, ...]:
        """Keys of a raw entry in which variables are read; where its kind is not known, those of any kind of ours."""
        kind = self.class_of(raw)
        return kind.variables if kind is not None else tuple(key for own in self.own for key in own.variables)

    def names(self) -> list[str]:
        """What the key may say: ours, then those of installed packages."""
        return [*self.by_name, *(point.name for point in entry_points(group=self.group))]

    @cached_property
    def _union(self) -> TypeAdapter[Any]:
        """Of ours, for the JSON Schema and for what is said of a kind that nobody has. (To build them all takes longer
        than to check a spec, which needs a few.)"""
        union: Any = reduce(or_, self.own)
        return TypeAdapter(Annotated[union, Field(discriminator=self.key)])

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        dump = core_schema.plain_serializer_function_ser_schema(_dumped, info_arg=True)
        return core_schema.with_info_plain_validator_function(self._validated, serialization=dump)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A branch for each kind that holds under its name alone, so that an editor says what is wrong in the kind that
        was meant: of a `oneOf` it could say no more than that none fits."""
        branches = handler(self._union.core_schema)["oneOf"]
        names = [self._names_in(handler.resolve_ref_schema(branch)) for branch in branches]
        stranger = {"type": "string", "pattern": r"^.+\.py:[A-Za-z_][A-Za-z0-9_]*$"}
        known = {
            "if": {"properties": {self.key: stranger}, "required": [self.key]},
            "then": {"title": f"A {self.noun} of your own, file.py:Class"},
            "else": {"properties": {self.key: {"enum": [name for chosen in names for name in chosen]}}},
        }
        return {
            "type": "object",
            **({} if self.default else {"required": [self.key]}),
            "allOf": [known, *(self._branch(chosen, kind) for chosen, kind in zip(names, branches, strict=True))],
        }

    def _names_in(self, kind: JsonSchemaValue) -> list[str]:
        said = kind["properties"][self.key]
        return list(said.get("enum", [said.get("const")]))

    def _branch(self, names: list[str], kind: JsonSchemaValue) -> JsonSchemaValue:
        chosen: JsonSchemaValue = {"properties": {self.key: {"enum": names}}}
        return {"if": chosen if self.default in names else {**chosen, "required": [self.key]}, "then": kind}

    def _validated(self, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, self.base):
            return value
        said = value.get(self.key, self.default) if isinstance(value, dict) else None
        own = self.by_name.get(said) if isinstance(said, str) else None
        kind = own or (self._stranger(said, info) if isinstance(said, str) else None)
        if kind is None:
            return self._union.validate_python(value)
        raw = {self.key: said, **value}
        found = kind.model_validate(raw, by_alias=True, by_name=False, context=info.context)
        if own is None:
            self._read_facts(found)
        return found

    def _stranger(self, said: str, info: ValidationInfo) -> type[Kind] | None:
        """The class that a stranger's name stands for, None where nobody has that name."""
        try:
            found = self._from_file(said, info) if ".py:" in said else self._installed(said)
        except CodeInvalid as error:
            raise _fault(error.message, error.hint) from None
        if found is not None:
            _LOADED[self.group, said] = found
        return found

    def _from_file(self, said: str, info: ValidationInfo) -> type[Kind]:
        root = Path((info.context or {}).get("root", "."))
        found = self._checked(project_code.load(said, root), said)
        digest = hash_file(project_code.project_file(project_code.split(said)[0], root))
        found.origin = Origin(said, str(root.resolve()), digest)
        return found

    def _installed(self, said: str) -> type[Kind] | None:
        for point in entry_points(group=self.group, name=said):
            try:
                loaded = point.load()
            except Exception as error:
                raise CodeInvalid(f"{point.value} cannot be loaded: {project_code.where(error)}") from error
            found = self._checked(loaded, point.value)
            version = point.dist.version if point.dist else ""
            code = hash_file(Path(inspect.getfile(found)))
            found.origin = Origin(said, "", fingerprint([point.value, version, code]))
            return found
        return None

    def _checked(self, found: Any, name: str) -> type[Kind]:
        if not (inspect.isclass(found) and issubclass(found, self.base)):
            base = f"{self.base.__module__}.{self.base.__name__}"
            raise CodeInvalid(f"{name} is no {self.noun}.", f"Make it a subclass of {base}.")
        return found

    def _read_facts(self, kind: Kind) -> None:
        for fact in self.facts:
            try:
                getattr(kind, fact)
            except Exception as error:
                raise _fault(f"{type(kind).__name__}.{fact} cannot be read: {project_code.where(error)}") from None


def _fault(message: str, hint: str = "") -> PydanticCustomError:
    return PydanticCustomError("stranger", "{message}", {"message": message, "hint": hint})


def _dumped(kind: Kind, info: SerializationInfo) -> dict[str, Any]:
    return kind.model_dump(
        mode=info.mode,
        by_alias=info.by_alias,
        exclude_none=info.exclude_none,
        exclude_defaults=info.exclude_defaults,
        exclude_unset=info.exclude_unset,
    )


_LOADED: dict[tuple[str, str], type[Kind]] = {}
"""Strangers' classes by (group, name), as last loaded: messages about their keys look here."""
