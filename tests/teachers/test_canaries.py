"""What a variable holds is nowhere: not in a journal, a store, an event, or on the terminal, in any form."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web
from desks import chat_teacher, request
from stub_server import Hit, StubServer, completion

from flywheel.spec.teachers import LitellmTeacher
from flywheel.store.database import Store
from flywheel.teachers import Desk
from flywheel.teachers.journal import drain
from flywheel.teachers.secrets import Redactor, redactor

USER, PASSWORD, QUERY, PATH, KEY = "canary-user", 'c&nary/p+ss w"ord', "canary=query+1", "canary-path-9", "canary-key-0"
SHORT = "pw7x"


def inside(value: str) -> str:
    """What of the value stands in a longer text's base64, whatever its neighbours."""
    return base64.b64encode(b"Basic " + value.encode() + b" and more").decode()[8 : 8 + len(value) * 8 // 6 - 1]


def forms(value: str) -> set[str]:
    raw = value.encode()
    return {
        value, quote(value, safe=""), quote(value), quote_plus(value), quote(value, safe="").lower(),
        html.escape(value),
        json.dumps(value)[1:-1], base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode(),
    }  # fmt: skip


def environment(server: StubServer) -> dict[str, str]:
    host = server.url.removeprefix("http://").partition("/")[0]
    return {
        "USER_": quote(USER, safe=""), "PASSWORD_": quote(PASSWORD, safe=""), "QUERY_": quote(QUERY, safe=""),
        "PATH_": PATH, "HOST_": host, "STUB_KEY": KEY, "SHORT_": SHORT,
        "BASE_": f"http://{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@{host}/v1?sig={quote(QUERY, safe='')}",
    }  # fmt: skip


BASES = {
    "parts": "http://${env:USER_}:${env:PASSWORD_}@${env:HOST_}/v1?sig=${env:QUERY_}",
    "whole": "${env:BASE_}",
    "path": "http://${env:HOST_}/${env:PATH_}/v1?sig=${env:QUERY_}",
    "key": "http://${env:HOST_}/v1",
    "short": "http://${env:SHORT_}:${env:SHORT_}@${env:HOST_}/v1",
}


class Echo:
    """Answers and refuses with everything that it was told, in every form."""

    def __init__(self, status: int) -> None:
        self.status = status

    async def __call__(self, hit: Hit) -> web.StreamResponse:
        told = [hit.request.path_qs, hit.request.path, *hit.request.headers.values(), *hit.request.query.values()]
        values = (USER, PASSWORD, QUERY, PATH, KEY, SHORT)
        told += [form for value in values for form in forms(value)]
        told += [base64.b64encode(f"Basic {value} and more".encode()).decode() for value in values]
        text = " ".join([*told, f"http://{USER}:{PASSWORD}@{hit.request.host}/v1"])
        if self.status == 200:
            return web.json_response(completion(text))
        return web.json_response({"error": {"message": text}}, status=self.status)


@pytest.mark.parametrize("model", ["openai/stub", "litellm_proxy/stub"])
@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize("base", BASES)
def test_what_a_server_echoes_is_kept_nowhere(
    tmp_path: Path, server: StubServer, base: str, status: int, model: str, capfd: pytest.CaptureFixture[str]
) -> None:
    server.usual = Echo(status)
    secrets = {
        "parts": [USER, PASSWORD, QUERY], "whole": [USER, PASSWORD, QUERY], "path": [PATH, QUERY], "key": [KEY],
        "short": [SHORT],
    }[base]  # fmt: skip
    known = environment(server)
    api_key = "${env:STUB_KEY}" if base in ("key", "path") else None
    teacher = chat_teacher("", model=model, api_base=BASES[base], api_key=api_key, max_retries=1, timeout_seconds=60.0)
    events: list[dict[str, Any]] = []
    with Desk({"gpt": teacher}, tmp_path, tmp_path / "calls", lookup=known.get, on_event=events.append) as desk:
        (reply,) = desk.ask([request()])
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*.journal")).decode()
    with Store(tmp_path / "store.duckdb") as store:
        drain(tmp_path / "calls", lambda entries: store.save_calls("r", entries))
        rows = json.dumps(store.query("SELECT * FROM calls"), default=str, ensure_ascii=False)
    shown = [kept, rows, repr(reply), json.dumps(events), *capfd.readouterr()]
    if status == 200 and base != "key":  # of an answer: what is secret, and no host, user or port
        secrets = [s for s in secrets if s != USER]
    for secret in secrets:
        for form in {secret} if secret == SHORT else forms(secret) | {inside(secret)}:
            found = [text for text in shown if form in text]
            assert not found, f"{form!r} in {found[0][max(0, found[0].index(form) - 60) :][:200]}"


@pytest.mark.parametrize("model", ["openai/stub", "litellm_proxy/stub"])
def test_a_server_that_is_not_there_shows_no_secret(
    tmp_path: Path, model: str, capfd: pytest.CaptureFixture[str]
) -> None:
    known = {"BASE_": f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:9/v1?sig=canary-query"}
    teacher = chat_teacher("", model=model, api_base="${env:BASE_}", api_key=None, max_retries=0, timeout_seconds=60.0)
    with Desk({"gpt": teacher}, tmp_path, tmp_path / "calls", lookup=known.get) as desk:
        (reply,) = desk.ask([request()])
    assert reply.fault == "connection"
    for text in (reply.detail, *capfd.readouterr()):
        assert "canary" not in text
        assert quote(PASSWORD, safe="") not in text


def test_a_query_stays_behind_the_path(tmp_path: Path, server: StubServer) -> None:
    teacher = chat_teacher("", api_base="http://${env:HOST_}/v1/?version=2&sig=${env:QUERY_}", api_key=None)
    with Desk({"gpt": teacher}, tmp_path, tmp_path / "calls", lookup=environment(server).get) as desk:
        assert desk.ask([request()])[0].status == "ok"
    seen = server.hits[-1].request
    assert (seen.path, dict(seen.query)) == ("/v1/chat/completions", {"version": "2", "sig": QUERY})


def test_a_port_or_a_host_in_a_variable_changes_no_answer() -> None:
    known = {"PORT": "8000", "HOST": "sales", "KEY_": "key-of-the-service"}
    base = "http://${env:HOST}:${env:PORT}/v1"
    teacher = LitellmTeacher(kind="litellm", model="openai/m", api_base=base, api_key="${env:KEY_}")
    redact = redactor([teacher], known.get)

    assert redact("8000 sales by key-of-the-service") == "8000 sales by [secret]"
    assert redact.detail("8000 at sales:8000, 18000 wholesales") == "[secret] at [secret]:[secret], 18000 wholesales"


def test_a_short_secret_goes_where_it_stands_alone() -> None:
    redact = Redactor(["pw7", "ab"])

    assert redact("user:pw7@host xpw7x (pw7) ab") == "user:[secret]@host xpw7x ([secret]) ab"


def test_of_any_url_that_is_told_user_and_password_go() -> None:
    redact = Redactor([])

    assert redact.detail("see http://a:b@c/d, https://e@f") == "see http://[secret]@c/d, https://[secret]@f"
    assert redact("see http://a:b@c/d") == "see http://a:b@c/d"
