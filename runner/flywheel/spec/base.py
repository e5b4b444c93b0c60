"""What all parts of the spec are made of: strict frozen models, and the types of their keys."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from flywheel.spec.docstrings import field_docstrings

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Stops = list[Annotated[str, Field(min_length=1)]]
Usd = Annotated[float, Field(ge=0, le=1e9)]
Scalar = str | int | float | bool

Severity = Literal["critical", "major", "minor"]
SEVERITY_WEIGHT: dict[str, float] = {"critical": 4.0, "major": 2.0, "minor": 1.0}


class SpecModel(BaseModel):
    """Strict (no coercion), frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """With the docstrings of fields as their descriptions."""
        found = handler(schema)
        properties = handler.resolve_ref_schema(found)["properties"]
        for name, text in field_docstrings(cls).items():
            if name in cls.model_fields:
                properties[cls.model_fields[name].alias or name]["description"] = text
        return found
