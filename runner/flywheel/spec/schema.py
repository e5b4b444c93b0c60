"""The spec for editors and for readers, both from the models: `python -m flywheel.spec.schema [FOLDER]`.

Writes `schemas/flywheel.schema.json` and `docs/spec.md` under the folder (default: here).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flywheel.spec.models import Spec
from flywheel.spec.wording import FAMILIES

SCHEMA_FILE = "schemas/flywheel.schema.json"
REFERENCE_FILE = "docs/spec.md"

Schema = dict[str, Any]


def json_schema() -> Schema:
    """JSON Schema (2020-12) of `flywheel.yaml`: keys as written in YAML, unknown ones refused."""
    schema = Spec.model_json_schema(by_alias=True)
    _close(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "flywheel.yaml"}


def _close(value: Any) -> None:
    """Mappings by name allow only names as keys (pydantic leaves other keys open)."""
    if isinstance(value, dict):
        if "patternProperties" in value:
            value["additionalProperties"] = False
        for item in value.values():
            _close(item)
    elif isinstance(value, list):
        for item in value:
            _close(item)


def schema_text() -> str:
    """What stands in `SCHEMA_FILE`, in this repository and in every project that `flywheel init` writes."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def generated_files() -> dict[str, str]:
    """Path below the repository → text of everything that is generated from the models."""
    return {
        SCHEMA_FILE: schema_text(),
        REFERENCE_FILE: reference(),
    }


# --- docs/spec.md -------------------------------------------------------------------------------------------

_INTRODUCTION = """\
# The spec

<!-- Generated from runner/flywheel/spec/models.py by `python -m flywheel.spec.schema`; do not edit. -->

One file, `flywheel.yaml`, says what is wanted. `flywheel validate` checks it and every file that it names,
and says all faults at once, each with its place:

```
flywheel.yaml:22:32: generate[0].teachers[1]: unknown teacher "chaty". Did you mean "chatty"?
      - {name: targeted, teachers: [terse, chaty], from: errors, accept: 600}
                                           ^
```

- YAML 1.2: only `true` and `false` are truth values, so `no` is text; `1e-4` is a number; a key that stands
  twice is a fault; merge keys (`<<`) and tags other than the core ones are refused, aliases are read. At most
  1 MiB, 64 levels and 50,000 values.
- Types are strict: `rank: "16"` is text and refused. A whole number is good where a number is wanted.
- Paths are relative to the spec's folder and stay in it: no `..`, no absolute path, no link that leads out.
- `${env:NAME}` is read in keys (`api_key`, `secret`), addresses (`api_base`, `url`, `check_url`) and `dsn` only, and
  only when a teacher or a server is asked: plan, store and report hold the reference, never the value.
- `validate` warns of a variable that is not set, and of an address that variables make and that cannot be called;
  it and `plan` need none of them. `apply` refuses to start where a step that is to run would need one.
- CSV is read between commas, semicolons, tabs or bars, whichever the header shows; a `.json` file is one array of
  objects. Of Parquet, decimals and times become text, bytes must be UTF-8 text, lists and structs stay what they are.
- A **bold** key must be given. Everything else has the default shown.

In an editor with a YAML language server, this first line completes and checks the file while you write:
`# yaml-language-server: $schema=./schemas/flywheel.schema.json`. `flywheel init` writes both; after an upgrade
`flywheel schema > schemas/flywheel.schema.json` renews it.
"""


def reference() -> str:
    """`docs/spec.md`: every key with type, default and meaning."""
    schema = json_schema()
    parts = [_INTRODUCTION, "## Top level\n", schema["description"] + "\n", _table(schema, schema)]
    for key, value in schema["properties"].items():
        entry = _entry(value)
        if "$ref" in entry:
            parts += _section(schema, f"## {key}", _resolve(schema, entry))
        elif "allOf" in entry:
            parts += _kinds(schema, key, entry)
    return "\n".join(parts)


def _entry(value: Schema) -> Schema:
    """The schema of one entry of a section that is a list or a mapping by name."""
    by_name = [*value.get("patternProperties", {}).values(), value.get("additionalProperties")]
    entry: Schema = value.get("items") or by_name[0] or value
    return entry


def _resolve(schema: Schema, value: Schema) -> Schema:
    found: Schema = schema["$defs"][value["$ref"].rpartition("/")[2]]
    return found


def _section(schema: Schema, heading: str, model: Schema) -> Iterator[str]:
    yield f"{heading}\n"
    if model.get("description"):
        yield model["description"] + "\n"
    yield _table(schema, model)
    for key, value in model["properties"].items():
        entry = value if "$ref" in value else next(iter(value.get("patternProperties", {}).values()), value)
        if "$ref" in entry:
            yield from _section(schema, f"#{heading.split()[0]} {_path(heading)}.{key}", _resolve(schema, entry))


def _path(heading: str) -> str:
    return heading.partition(" ")[2]


def _kinds(schema: Schema, key: str, entry: Schema) -> Iterator[str]:
    """A section whose entries differ by kind: what all have, then each."""
    family = FAMILIES[key]
    common = family.base.model_json_schema(by_alias=True)
    shown = {name: value for name, value in common["properties"].items() if name != family.key}
    yield f"## {key}\n\n{common['description']}\n\n`{family.key}` says which of these it is; all of them have:\n"
    yield _table(schema, {**common, "properties": shown})
    for name, value in shown.items():
        if nested := next((option for option in value.get("anyOf", ()) if "$ref" in option), None):
            yield from _section(common, f"### {key}.{name}", _resolve(common, nested))
    for branch in entry["allOf"]:
        if "$ref" in branch["then"]:
            model = _resolve(schema, branch["then"])
            own = {name: value for name, value in model["properties"].items() if name not in shown}
            yield f"### {key}: {own[family.key]['const']}\n\n{model.get('description', '')}\n"
            yield _table(schema, {**model, "properties": own})


def _table(schema: Schema, model: Schema) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    required = model.get("required", [])
    for key, value in model["properties"].items():
        shown = f"**`{key}`**" if key in required else f"`{key}`"
        described = value if "description" in value or "$ref" not in value else _resolve(schema, value)
        meaning = described.get("description", "").replace("\n", " ")
        rows.append(f"| {shown} | {_type(value)} | {_default(value)} | {_cell(meaning)} |")
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(value: Schema) -> str:
    """As YAML takes it; of a mapping with keys of its own their table says it, and nothing where there is none."""
    default = value.get("default")
    if default in (None, "") or (isinstance(default, dict) and default):
        return ""
    return f"`{json.dumps(_without_nulls(default), ensure_ascii=False)}`"


def _without_nulls(default: Any) -> Any:
    """Entries of a list without the keys that stand for nothing."""
    if not isinstance(default, list):
        return default
    return [
        {key: item for key, item in entry.items() if item is not None} if isinstance(entry, dict) else entry
        for entry in default
    ]


def _type(value: Schema) -> str:
    """A type in words; alternatives joined by "or", null left out."""
    if "anyOf" in value:
        words = [_type(v) for v in value["anyOf"] if v.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "enum" in value or "const" in value:
        return " \\| ".join(f"`{choice}`" for choice in value.get("enum", [value.get("const")]))
    if "$ref" in value or "allOf" in value:
        return "mapping"
    if value.get("type") == "array":
        return f"list of {_plural(_type(value['items']))}"
    if value.get("type") == "object":
        return f"mapping: name → {_type(_entry(value))}"
    return _scalar(value)


_WORDS = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}
_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _scalar(value: Schema) -> str:
    word = "name" if "pattern" in value else _WORDS[value["type"]]
    limits = [f"{sign} {value[key]:,}" for key, sign in _LIMITS.items() if key in value]
    return " ".join([word, ", ".join(limits)]).strip()


def _plural(word: str) -> str:
    """Choices are no noun, and stay as they are."""
    return word if word == "text" or word.endswith("`") else f"{word}s"


def write(folder: Path) -> list[Path]:
    """Writes the generated files under `folder`; their paths."""
    paths = []
    for name, text in generated_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write(Path(sys.argv[1] if len(sys.argv) > 1 else ".")):
        print(written)
