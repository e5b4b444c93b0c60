"""Which columns of a row a prompt reads."""

from __future__ import annotations

from pathlib import Path


def row_columns(template_path: Path) -> list[str]:
    """Names read as `row.<name>` or `row["<name>"]` in a template, in order of first use.

    Raises jinja2.TemplateSyntaxError; the spec's loader has refused such files before.
    """
    from jinja2 import Environment, nodes

    tree = Environment(autoescape=False).parse(template_path.read_text(encoding="utf-8"))
    found: dict[str, None] = {}
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if not (isinstance(node.node, nodes.Name) and node.node.name == "row"):
            continue
        if isinstance(node, nodes.Getattr):
            found[node.attr] = None
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            found[str(node.arg.value)] = None
    return list(found)
