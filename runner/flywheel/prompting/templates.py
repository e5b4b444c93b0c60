"""Prompt files: a small, bounded part of Jinja.

A prompt file is written by the project but fed with rows that models wrote, so three things hold. Rows are
values and never template text: `{{` in a row stays as it is. A template sees plain copies of dicts, lists,
text and numbers, and only the syntax, filters and methods listed here: what is not listed (macros, includes,
`namespace`, `format`, …) is refused with its line. Work and output are bounded before they happen: `'a' *
10**9` is refused, not computed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from traceback import walk_tb
from typing import Any, cast

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.visitor import NodeTransformer

from flywheel.errors import Fault, FlywheelError, SpecInvalid
from flywheel.text import did_you_mean

MAX_CHARACTERS = 200_000
"""Of a template file, of any text made inside a template, and of the rendered prompt."""
MAX_STEPS = 100_000
"""Turns of all loops and calls of one rendering."""
MAX_INTEGER_BITS = 1_024

_SYNTAX_NAMES = """
Template Output TemplateData For If Assign With Name Const Tuple List Dict Pair Keyword CondExpr
Filter Test Call Getitem Getattr Slice Concat Compare Operand Mul Div FloorDiv Add Mod Sub Not Neg
Pos And Or
"""
_FILTER_NAMES = """
abs capitalize count d default dictsort first float groupby int items last length list lower map max
min reject rejectattr reverse round select selectattr sort string title trim truncate unique upper
wordcount
"""
_METHOD_NAMES = """
items keys values get upper lower title capitalize strip lstrip rstrip split rsplit splitlines
startswith endswith removeprefix removesuffix count index find isdigit isalpha isalnum isnumeric
isupper islower cycle changed
"""
_SYNTAX = frozenset(_SYNTAX_NAMES.split())
_FILTERS = _FILTER_NAMES.split()
_METHODS = frozenset(_METHOD_NAMES.split())
_OWNERS = (str, dict, list, tuple, int, float, LoopContext)

_steps: ContextVar[int] = ContextVar("steps")


def render(template_path: Path, root: Path, values: Mapping[str, Any]) -> str:
    """The prompt: the template file with `values` (plain dicts, lists, text, numbers) filled in.

    `template_path` is absolute or relative to `root`, and inside it. Raises `SpecInvalid` with the template's
    file and line for bad syntax, unknown names, anything outside the allowed part of Jinja, and output past
    `MAX_CHARACTERS`.
    """
    return _filled(*_opened(template_path, root), values)


class Templates:
    """The prompt files of a project as they are now: each is read once, however often it is filled in."""

    def __init__(self, root: Path) -> None:
        self._opened = lru_cache(maxsize=None)(lambda path: _opened(Path(path), root))

    def render(self, template_path: str, values: Mapping[str, Any]) -> str:
        """As `render`."""
        return _filled(*self._opened(template_path), values)


def _opened(template_path: Path, root: Path) -> tuple[str, Template]:
    name = _name_in(template_path, root)
    return name, _compiled(_read(root / name, name), name)


def _filled(name: str, template: Template, values: Mapping[str, Any]) -> str:
    copies = {key: _plain(value, key) for key, value in values.items()}
    token = _steps.set(0)
    try:
        return _bounded_join(template.root_render_func(template.new_context(copies)))
    except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError, RecursionError) as error:
        raise SpecInvalid([_fault(error, name, copies)]) from error
    finally:
        _steps.reset(token)


def check_template(template_path: Path, root: Path) -> list[Fault]:
    """What is wrong with a prompt file that can be seen without rendering it."""
    try:
        _opened(template_path, root)
    except SpecInvalid as error:
        return error.faults
    return []


def _name_in(template_path: Path, root: Path) -> str:
    base = root.resolve()
    path = (base / template_path).resolve()
    if not path.is_relative_to(base):
        raise SpecInvalid(
            [
                Fault(
                    "a prompt file must lie inside the project.",
                    file=str(template_path),
                    hint="Move it there.",
                )
            ]
        )
    return path.relative_to(base).as_posix()


def _read(path: Path, name: str) -> str:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise SpecInvalid([Fault("is not UTF-8 text.", file=name, line=line, hint="Save it as UTF-8.")]) from error
    except OSError as error:
        hint = did_you_mean(path.name, (p.name for p in path.parent.glob("*")))
        raise SpecInvalid([Fault(f"cannot be read: {error.strerror}.", file=name, hint=hint)]) from error
    if len(text) > MAX_CHARACTERS:
        raise SpecInvalid([Fault(f"is longer than {MAX_CHARACTERS:,} characters.", file=name, hint="Shorten it.")])
    return text


def _plain(value: Any, place: str) -> Any:
    """A copy made of exact builtin types: a template can reach nothing but data."""
    kind = type(value)
    if kind in (str, int, float, bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, place) for item in value]
    for exact in (str, int, float):
        if isinstance(value, exact):
            return exact(value)
    raise FlywheelError(f"a prompt cannot show {place}: it is a {kind.__name__}, not text, a number or a list.")


def _bounded_join(chunks: Iterable[str]) -> str:
    parts: list[str] = []
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > MAX_CHARACTERS:
            break
        parts.append(chunk)
    _within(total)
    return "".join(parts)


def _within(characters: int) -> None:
    """Called before a text of so many characters is made; making text costs steps too."""
    if characters > MAX_CHARACTERS:
        raise SecurityError(f"makes text of {characters:,} characters; the most is {MAX_CHARACTERS:,}.")
    _step(characters // 256)


def _step(cost: int = 1) -> None:
    steps = _steps.get() + cost
    if steps > MAX_STEPS:
        raise SecurityError(f"loops and calls take more than {MAX_STEPS:,} steps.")
    _steps.set(steps)


def _counted(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        _step()
        yield item


def _joined(items: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    """Jinja's `join`, its size known before it is made."""
    values = (PROMPTS.getattr(item, attribute) if attribute else item for item in _counted(items))
    return _bounded_join(part for i, value in enumerate(values) for part in ((d if i else ""), str(value)))


def _replaced(text: str, old: str, new: str, count: int = -1) -> str:
    """Jinja's `replace`, its size known before it is made."""
    _within(len(text) + text.count(old) * len(new))
    return text.replace(old, new, count)


def _indented(text: str, width: int = 4, first: bool = False) -> str:
    _within(len(text) + (text.count("\n") + 1) * width)
    pad = " " * width
    return (pad if first else "") + text.replace("\n", "\n" + pad)


def _json(value: Any, indent: int | None = None) -> str:
    """JSON for a model: nothing is escaped for HTML, as Jinja's own `tojson` would."""
    if indent is not None and not 0 <= indent <= 8:
        raise SecurityError("tojson indents by 0 to 8 spaces.")
    return json.dumps(value, ensure_ascii=False, indent=indent)


class _PromptEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with plain-data operators, listed methods and columns that win over dict methods."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and isinstance(left, str | list) and type(left) is type(right):
            _within(len(left) + len(right))
            return super().call_binop(context, operator, left, right)
        if not (isinstance(left, int | float) and isinstance(right, int | float)):
            kinds = f"{type(left).__name__} {operator} {type(right).__name__}"
            raise SecurityError(f"{kinds} is not allowed: arithmetic is for numbers, and + for texts or lists.")
        if sum(x.bit_length() for x in (left, right) if isinstance(x, int)) > MAX_INTEGER_BITS:
            raise SecurityError("computes with a number that is too large.")
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        # A column called "items" or "count" is meant, not dict.items.
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        _step()
        kwargs.pop("_loop_vars", None)
        kwargs.pop("_block_vars", None)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if __obj is not safe_range and not (isinstance(owner, _OWNERS) and name in _METHODS):
            hint = f" Use the filter |{name}." if name in __self.filters else ""
            raise SecurityError(f"calling {name or type(__obj).__name__!r} is not allowed.{hint}")
        return __obj(*args, **kwargs)


class _Bounding(NodeTransformer):
    """Refuses what is not listed, and puts loops and `~` under the bounds."""

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        kind = type(node).__name__
        if kind not in _SYNTAX:
            raise TemplateSyntaxError(f"{kind} is not part of what a prompt file may use.", node.lineno or 1)
        return super().generic_visit(node, *args, **kwargs)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise TemplateSyntaxError("recursive loops are not part of what a prompt file may use.", node.lineno)
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "_counted", node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "join", node.lineno)


def _filtered(node: nodes.Node, name: str, line: int) -> nodes.Filter:
    return nodes.Filter(cast(nodes.Expr, node), name, [], [], None, None, lineno=line)


def _environment() -> _PromptEnvironment:
    environment = _PromptEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, optimized=False)
    own: dict[str, Callable[..., Any]] = {
        "join": _joined,
        "replace": _replaced,
        "indent": _indented,
        "tojson": _json,
        "_counted": _counted,
    }
    environment.filters = {name: FILTERS[name] for name in _FILTERS} | own
    environment.globals = {"range": safe_range}
    return environment


PROMPTS = _environment()


@lru_cache(maxsize=256)
def _compiled(source: str, name: str) -> Template:
    """The compiled template; the cache is keyed by content, so an edited file is another template."""
    try:
        tree = _Bounding().visit(PROMPTS.parse(source, name, name))
        code = PROMPTS.compile(tree, name, name)
    except (TemplateError, RecursionError, ValueError, OverflowError) as error:
        raise SpecInvalid([_fault(error, name, {})]) from error
    return PROMPTS.template_class.from_code(PROMPTS, code, dict(PROMPTS.globals))


def _fault(error: BaseException, name: str, values: Mapping[str, Any]) -> Fault:
    message = (error.message if isinstance(error, TemplateError) else str(error)) or "cannot be rendered"
    if isinstance(error, RecursionError):
        message = "is nested too deeply"
    return Fault(message.rstrip(".") + ".", file=name, line=_line(error, name), hint=_nearest(message, values))


def _line(error: BaseException, name: str) -> int:
    """The template's line where `error` happened, as Jinja maps it from the compiled code."""
    if isinstance(error, TemplateSyntaxError):
        return error.lineno
    lines = [
        template.get_corresponding_lineno(line)
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_code.co_filename == name and (template := frame.f_globals.get("__jinja_template__"))
    ]
    return lines[-1] if lines else 0


def _nearest(message: str, values: Mapping[str, Any]) -> str:
    """For an undefined name or column: the nearest one that the prompt is given."""
    found = re.search(r"'([^']+)' is undefined|has no attribute '([^']+)'", message)
    if not found:
        return ""
    return did_you_mean(found[1], values) if found[1] else did_you_mean(found[2], _columns(values))


def _columns(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return set(value).union(*(_columns(item) for item in value.values()))
    return set().union(*(_columns(item) for item in value)) if isinstance(value, list) else set()
