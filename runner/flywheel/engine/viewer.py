"""`flywheel report --serve`: the reports, and of each iteration every item, a page at a time out of the store.

For runs with more items than a page holds. Only this machine can ask, only to look, and only under the server's own
name: a page elsewhere that has its name resolve to this machine is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from flywheel.engine.history import open_lookup
from flywheel.engine.lookback import life
from flywheel.engine.loopback import STRANGER, LoopbackHandler, loopback_server, serve_until_stopped
from flywheel.errors import FlywheelError, UsageError
from flywheel.report import Report, items
from flywheel.report.html import render_items, render_life

_TEXT = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"
#: What lies in `reports/` and may be asked for.
_FILES = {
    "index.html": _HTML, "report.json": "application/json", "summary.md": _TEXT, "junit.xml": "application/xml",
    "items.csv": "text/csv; charset=utf-8", "items.parquet": "application/octet-stream",
}  # fmt: skip
_ITERATION = re.compile(r"iter-\d{3,}")

Answer = tuple[HTTPStatus, str, bytes]


def viewer(root: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server on the loopback of this machine for the project at `root`; port 0 takes a free one. `serve_forever` runs
    it. Raises UsageError where the port is taken."""

    class Handler(LoopbackHandler):
        def do_GET(self) -> None:
            known = self.is_asked_by_its_own_name
            self.send_page(*(answer(root, self.path) if known else _said(HTTPStatus.FORBIDDEN, STRANGER)))

    return loopback_server(Handler, port)


def answer(root: Path, address: str) -> Answer:
    """What the server says to a GET of `address`: status, content type, body."""
    split = urlsplit(address)
    wanted = dict(parse_qsl(split.query))
    first, _, rest = unquote(split.path).strip("/").partition("/")
    try:
        if first == "row" and rest:
            return _html(_life(root, rest))
        if _ITERATION.fullmatch(first) and rest == "items":
            return _html(_items(root, first, wanted))
        return _file(root / "reports", first, rest)
    except FlywheelError as error:
        return _said(HTTPStatus.NOT_FOUND, str(error))


def _html(text: str) -> Answer:
    return HTTPStatus.OK, _HTML, text.encode()


def _said(status: HTTPStatus, text: str) -> Answer:
    return status, _TEXT, f"{text}\n".encode()


def _file(reports: Path, first: str, rest: str) -> Answer:
    """A report's file; nothing else is reachable, whatever the address."""
    folder, name = (reports / first, rest or "index.html") if _ITERATION.fullmatch(first) else (reports, first)
    path = folder / (name or "index.html")
    if path.name not in _FILES or path.parent != folder or not path.is_file():
        return _said(HTTPStatus.NOT_FOUND, "There is no such page. The reports begin at /")
    body = path.read_bytes()
    if path.name == "index.html":
        body = body.replace(b'<p class="small" id="x-served" hidden>', b'<p class="small" id="x-served">', 1)
    return HTTPStatus.OK, _FILES[path.name], body


def _items(root: Path, folder: str, wanted: Mapping[str, str]) -> str:
    report = _report(root, folder)
    chain = {n: _nodes(_report(root, f"iter-{n:03d}")) for n in _iterations(root) if n <= report.iteration}
    with open_lookup(root / ".flywheel") as query:
        page = items.found(query, chain[report.iteration], wanted)
        past = items.pasts(query, chain, [row["item_id"] for row in page.rows])
    return render_items(report, page, past)


def _iterations(root: Path) -> list[int]:
    return sorted(int(path.parent.name[5:]) for path in (root / "reports").glob("iter-*/report.json"))


def _report(root: Path, folder: str) -> Report:
    path = root / "reports" / folder / "report.json"
    if not path.is_file():
        raise UsageError(f"{folder}: no such report. Run `flywheel apply` first.")
    return Report.model_validate_json(path.read_text(encoding="utf-8"), strict=False)


def _nodes(report: Report) -> dict[str, list[str]]:
    """The steps that the report was made from: also when the spec has changed since."""
    found: dict[str, list[str]] = {}
    for node in report.provenance.nodes:
        found.setdefault(node.kind, []).append(node.fingerprint)
    return found


def _life(root: Path, row_id: str) -> str:
    with open_lookup(root / ".flywheel") as query:
        return render_life(row_id, life(query, row_id))


def serve(root: Path, port: int, say: Callable[[str], None], path: str = "") -> None:
    """Until Ctrl-C. `say` is told the address."""
    serve_until_stopped(viewer(root, port), say, path)
