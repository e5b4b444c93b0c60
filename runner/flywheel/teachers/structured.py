"""Answers in JSON: asked for as strictly as the server takes it, and one chance to mend what cannot be read.

A request with a schema goes out with it (`response_format` json_schema), or in JSON mode, or as text in which the JSON
is looked for. A server that refuses the form is asked in the next one, and so are all later calls to that teacher.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from flywheel.answers import without_thoughts
from flywheel.json_text import json_values
from flywheel.records import LessonRequest, Message, Row
from flywheel.teachers.faults import TeacherFault

Form = Literal["schema", "json", "text"]
_LAXER: dict[Form, Form] = {"schema": "json", "json": "text"}
_REFUSED = re.compile(
    r"response.?format|json.?(schema|object|mode)|structured.?outputs?|guided.?(json|decoding)|grammar", re.I
)


class Ladder:
    """The form in which one teacher is asked for JSON. `auto` begins at the strictest and steps down where refused."""

    def __init__(self, output: Literal["auto", "schema", "json", "text"]) -> None:
        self._fixed = output != "auto"
        self._form: Form = "schema" if output == "auto" else output

    def form(self, request: LessonRequest) -> Form:
        return self._form if request.schema is not None else "text"

    def judged(self, form: Form, fault: TeacherFault) -> TeacherFault:
        """`fault`, or one of class "format" where the server would not take `form` and a laxer one is left."""
        if self._fixed or form == "text" or fault.fault != "bad_request" or not _REFUSED.search(fault.detail):
            return fault
        if self._form == form:
            # Calls sent before the step tell nothing about the step after it.
            self._form = _LAXER[form]
        return TeacherFault("format", fault.detail, paid=False)


def response_format(form: Form, schema: Row | None) -> dict[str, Any]:
    """The part of a request's body that asks for `form`."""
    if form == "schema":
        wanted = {"name": "answer", "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": wanted}}
    return {"response_format": {"type": "json_object"}} if form == "json" else {}


def misfit(text: str, schema: Row) -> str:
    """Why `text` cannot be read as `schema` asks; empty where it can.

    It can where some JSON in it, fences and words around it aside, has the required keys; of a list of objects, or an
    object that wraps one, the objects alone will do, and one good object is enough.
    """
    problems: list[str] = []
    layers = list(_layers(schema))
    for value in json_values(without_thoughts(text), lambda reason, piece: problems.append(reason)):
        found = [_lacks(value, layer) for layer in layers]
        if "" in found:
            return ""
        problems.append(found[0])
    return problems[0] if problems else "there is no JSON object or array in it"


def repair(request: LessonRequest, text: str, problem: str) -> LessonRequest:
    """The same request, its conversation continued: the answer, what is wrong with it, what is wanted."""
    wanted = (
        f"That answer cannot be read: {problem}. Send the whole answer again, as JSON that fits this schema and "
        f"nothing else:\n{json.dumps(request.schema, ensure_ascii=False)}"
    )
    said = without_thoughts(text) or text
    return replace(request, messages=(*request.messages, Message("assistant", said), Message("user", wanted)))


def _layers(schema: Row) -> Iterator[Row]:
    """The schema; in an object with one list of objects the list; in a list of objects the object."""
    yield schema
    if schema.get("type") == "array":
        if (schema.get("items") or {}).get("type") == "object":
            yield schema["items"]
        return
    inner = [p for p in (schema.get("properties") or {}).values() if p.get("type") == "array"]
    if len(inner) == 1 and (inner[0].get("items") or {}).get("type") == "object":
        yield from _layers(inner[0])


def _lacks(value: Any, schema: Row) -> str:
    """What is missing in `value`; empty where nothing is. A list needs one good item, or none at all."""
    if schema.get("type") == "array":
        return _lacks_item(value, schema.get("items") or {})
    if schema.get("type") != "object":
        return ""
    if not isinstance(value, dict):
        return f"an object is wanted, not {type(value).__name__}"
    for key in schema.get("required", ()):
        if value.get(key) is None:
            return f'"{key}" is missing'
    parts = ((value[key], part) for key, part in (schema.get("properties") or {}).items() if key in value)
    return next((problem for item, part in parts if (problem := _lacks(item, part))), "")


def _lacks_item(value: Any, items: Row) -> str:
    if not isinstance(value, list):
        return f"a list is wanted, not {type(value).__name__}"
    found = [_lacks(item, items) for item in value]
    return "" if not found or "" in found else found[0]
