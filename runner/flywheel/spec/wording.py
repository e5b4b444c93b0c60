"""pydantic's errors in the project's words, each at its place in the YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from flywheel.errors import Fault, Path_
from flywheel.spec.docstrings import field_docstrings
from flywheel.spec.document import Document
from flywheel.spec.kinds import Family
from flywheel.spec.models import Spec
from flywheel.spec.strategies import STRATEGIES
from flywheel.spec.targets import TARGETS
from flywheel.spec.teachers import TEACHERS
from flywheel.spec.verifiers import VERIFIERS
from flywheel.text import did_you_mean, listing, one_line

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_LIMIT = {
    "greater_than": ("gt", "must be more than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}
_QUOTED = re.compile(r"'([^']*)'")
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
#: Sections whose entries differ by kind.
FAMILIES: dict[str | int, Family] = {
    "teachers": TEACHERS, "verifiers": VERIFIERS, "generate": STRATEGIES, "deploy": TARGETS,
}  # fmt: skip
#: Those that hold one entry and not many.
SINGLE = frozenset({"deploy"})
NAME_RULE = "A name is a letter, then at most 62 letters, digits, - or _."
PART_RULE = "Write verifier.NAME, teacher.NAME, generator.NAME or curate.STAGE, such as curate.dedup."


def schema_faults(document: Document, error: ValidationError) -> list[Fault]:
    """One fault for each thing that is wrong, in the order of the file."""
    found = [_Finding(document.tree, detail) for detail in error.errors(include_url=False, include_input=False)]
    groups: dict[Path_, list[_Finding]] = {}
    for finding in found:
        groups.setdefault(finding.path if finding.union is None else finding.union, []).append(finding)
    faults = [fault for group in groups.values() for fault in _group_faults(document, group)]
    return sorted(faults, key=lambda f: (f.line, f.column))


class _Finding:
    """A pydantic error with its real path. In `loc` the members of a union stand among the keys: `path` is
    without them, and `union` says where the union is, if there is one."""

    def __init__(self, tree: Any, detail: ErrorDetails) -> None:
        self.type = detail["type"]
        self.message = detail["msg"]
        self.context = detail.get("ctx", {})
        self.of_key = detail["loc"][-1:] == ("[key]",)
        self.union: Path_ | None = None
        self.path: Path_ = ()
        self.raw: Any = tree
        for index, part in enumerate(detail["loc"]):
            self._step(part, is_last=index == len(detail["loc"]) - 1)

    def _step(self, part: str | int, is_last: bool) -> None:
        is_index = isinstance(self.raw, list) and isinstance(part, int)
        is_key = isinstance(self.raw, dict) and part in self.raw
        if is_index or is_key:
            self.raw = self.raw[part]
            self.path += (part,)
        elif is_last and self.type == "missing":
            self.path += (part,)
        elif part != "[key]":
            self.union = self.path


def _group_faults(document: Document, group: list[_Finding]) -> Iterator[Fault]:
    """Faults of one path; where a union is, only what concerns the member that was meant."""
    union = group[0].union
    inner = [f for f in group if f.path != union or f.of_key]
    if union is None or inner:
        for finding in inner or group:
            yield _fault(document, finding)
        return
    words = dict.fromkeys(word for f in group for word in _choices(f))
    expected = "a single value" if len(words) >= 4 else " or ".join(words)
    yield document.fault(union, f"expected {expected}, found {_kind_of(group[0].raw)}.")


def _choices(finding: _Finding) -> list[str]:
    if finding.type == "literal_error":
        return [f'"{choice}"' for choice in _QUOTED.findall(finding.context["expected"])]
    return [_EXPECTED.get(finding.type, finding.message)]


def _fault(document: Document, finding: _Finding) -> Fault:
    path, raw, context = finding.path, finding.raw, finding.context
    name = one_line(str(path[-1]), 60) if path else ""
    if finding.of_key:
        return document.key_fault(path, f'"{name}" is not a name.', NAME_RULE)
    if finding.type == "extra_forbidden":
        if said := _of_other_kinds(document, path):
            return document.key_fault(path, said, "Remove it.")
        return document.key_fault(path, f'unknown key "{name}".', did_you_mean(name, _keys_at(document, path[:-1])))
    if finding.type == "missing":
        return document.fault(path, f'missing key "{name}".', _description(document, path))
    if finding.type in _EXPECTED:
        return document.fault(path, f"expected {_EXPECTED[finding.type]}, found {_kind_of(raw)}.", _retype(finding))
    if finding.type in _LIMIT:
        key, words = _LIMIT[finding.type]
        return document.fault(path, f"{words} {context[key]:g}, is {raw}.")
    if finding.type == "string_pattern_mismatch":
        what, rule = ("a part", PART_RULE) if name == "without" else ("a name", NAME_RULE)
        return document.fault(path, f'"{one_line(raw, 80)}" is not {what}.', rule)
    if finding.type == "too_short":
        return document.fault(path, "needs at least one entry, has none.")
    return _choice_fault(document, finding)


def _choice_fault(document: Document, finding: _Finding) -> Fault:
    """A value out of a fixed set: a literal, or the `kind` of a teacher or verifier."""
    path, raw, context = finding.path, finding.raw, finding.context
    family = FAMILIES.get(path[0]) if path else None
    if family is not None and finding.type == "stranger":
        return document.fault((*path, family.key), context["message"], context["hint"])
    if family is not None and finding.type == "union_tag_not_found":
        kinds = ", ".join(sorted(family.by_name))
        return document.fault((*path, family.key), f'missing key "{family.key}".', f"One of {kinds}.")
    if family is not None and finding.type == "union_tag_invalid":
        return _not_one_of(document, (*path, family.key), raw[family.key], family.names())
    if finding.type == "literal_error":
        choices = _QUOTED.findall(context["expected"]) or [context["expected"]]
        return _not_one_of(document, path, raw, choices)
    return document.fault(path, f"{finding.message}.")


def _not_one_of(document: Document, path: Path_, raw: Any, choices: list[str]) -> Fault:
    if not isinstance(raw, str):
        found = f"{raw:g}" if type(raw) in (int, float) else _kind_of(raw)
        return document.fault(path, f"expected {' or '.join(choices)}, found {found}.")
    near = did_you_mean(raw, choices)
    hint = near if near.startswith("Did") and len(choices) > 1 else ""
    one = "" if len(choices) == 1 else "one of "
    return document.fault(path, f'"{one_line(raw, 60)}" is not {one}{listing(choices, raw)}.', hint)


def _kind_of(raw: Any) -> str:
    if isinstance(raw, bool):
        return "true" if raw else "false"
    kinds = {int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return kinds.get(type(raw), "nothing")


def _retype(finding: _Finding) -> str:
    """How to write the value that was meant."""
    raw, expected = finding.raw, finding.type
    if raw is None:
        return "Leave the key out, or give it a value."
    if isinstance(raw, str) and expected in ("int_type", "float_type") and _NUMBER.fullmatch(raw):
        return f"Write {raw} without quotes."
    if isinstance(raw, str) and expected == "float_type" and (percent := _PERCENT.fullmatch(raw)):
        return f"Write {float(percent[1]) / 100:g}."
    if isinstance(raw, str) and expected == "bool_type" and raw.lower() in _TRUTH:
        return f"YAML 1.2 knows only true and false: write {_TRUTH[raw.lower()]}."
    if isinstance(raw, int | float) and expected == "string_type":
        return "Put it in quotes."
    if isinstance(raw, str) and expected == "list_type":
        entries = ", ".join(raw.split()) if finding.path[-1:] == ("command",) else raw
        return f"Write [{one_line(entries, 60)}]."
    return ""


_TRUTH = {"yes": "true", "on": "true", "no": "false", "off": "false", "true": "true", "false": "false"}


# --- what the models say about a place ----------------------------------------------------------------------


def _keys_at(document: Document, path: Path_) -> list[str]:
    return [key for model in _models_at(document, path) for key in fields_by_key(model)]


def _of_other_kinds(document: Document, path: Path_) -> str:
    """What is wrong with a key that other kinds of the family read; empty where none does."""
    family = FAMILIES.get(path[0]) if len(path) == (2 if path[0] in SINGLE else 3) else None
    owners = [name for name, kind in family.by_name.items() if path[-1] in fields_by_key(kind)] if family else []
    if family is None or not owners:
        return ""
    if len(owners) <= 3:
        return f"{path[-1]} is for {family.key}: {', '.join(owners)}."
    entry = document.tree[str(path[0])]
    said = (entry if path[0] in SINGLE else entry[path[1]]).get(family.key, family.default)
    return f"{path[-1]} is not read with {family.key}: {said}."


def _description(document: Document, path: Path_) -> str:
    """The first sentence that the models say of a missing key."""
    for model in _models_at(document, path[:-1]):
        said = field_docstrings(model)
        for name, field in model.model_fields.items():
            if (field.alias or name) == str(path[-1]) and name in said:
                return said[name].split("\n")[0].split(". ")[0].rstrip(".") + "."
    return ""


def fields_by_key(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The model's fields by the key that the YAML has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models_at(document: Document, path: Path_) -> list[type[BaseModel]]:
    """The models that the mapping at `path` may be: one, or one of a kind that is declared."""
    raw: Any = document.tree
    for part in path:
        raw = raw[part]
    found: list[type[BaseModel]] = []
    for option in options(_annotation_at(document, path)):
        if isinstance(option, Family):
            found += [kind for kind in [option.class_of(raw)] if kind is not None]
        elif isinstance(option, type) and issubclass(option, BaseModel):
            found.append(option)
    return found


def _annotation_at(document: Document, path: Path_) -> Any:
    here: Any = Spec
    for index, part in enumerate(path):
        here = _under(document, here, path[:index], part)
    return here


def _under(document: Document, annotation: Any, path: Path_, part: str | int) -> Any:
    for model in _models_at(document, path):
        if part in fields_by_key(model):
            field = fields_by_key(model)[str(part)]
            # Of a key that holds one entry pydantic keeps the family apart.
            return next(
                (Annotated[field.annotation, f] for f in field.metadata if isinstance(f, Family)), field.annotation
            )
    for option in options(annotation):
        if get_origin(option) is dict:
            return get_args(option)[1]
        if get_origin(option) is list:
            return get_args(option)[0]
    return None


def options(annotation: Any) -> list[Any]:
    """The alternatives of an annotation, without `Annotated` and None; of kinds their family."""
    if get_origin(annotation) is Annotated:
        families = [part for part in annotation.__metadata__ if isinstance(part, Family)]
        return families or options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [o for member in get_args(annotation) for o in options(member) if o is not type(None)]
    return [annotation]
