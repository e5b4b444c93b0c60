"""A promoted model reaches who serves it, is asked there, and is taken back where another model answers."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from flywheel.engine.rollback import rollback
from flywheel.errors import SpecInvalid
from flywheel.nodes.targets import Release, ServedPrompt, TargetRefused, release, tell
from flywheel.spec.targets import WebhookDeploy
from mini_domain import Domain
from stand_in import StandInWorker, say


class ScriptedServer:
    """vLLM's endpoints (and SGLang's) on the stand-in's weights, with what vLLM 0.32.0 answered there."""

    def __init__(self, sglang: bool = False) -> None:
        self.sglang = sglang
        self.adapters: dict[str, str] = {}
        self.calls: list[tuple[str, Any]] = []
        self.headers: list[Any] = []
        self.version: Any = {"version": "0.33.0"}
        self.models = ""
        self.max_rank = 16
        self.updating = self.lora = True
        self.fails_once = ""
        self.serves_base: set[str] | bool = False
        self.busy = 0
        self.address = ""
        self.status = 200
        self.refusal = ""

    def get(self, path: str) -> tuple[int, Any]:
        if path == "/version":
            return 200, self.version
        if self.models:
            return 200, self.models
        cards = [{"id": "base", "root": "/models/base", "parent": None}]
        cards += [{"id": name, "root": path, "parent": "base"} for name, path in self.adapters.items()]
        return 200, {"object": "list", "data": cards}

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        self.calls.append((path, body))
        if self.busy:
            self.busy -= 1
            return 503, {"error": {"message": "loading"}}
        prefix = "" if self.sglang else "/v1"
        if path == f"{prefix}/load_lora_adapter" and self.updating:
            return self.load(body)
        if path == f"{prefix}/unload_lora_adapter" and self.updating:
            return self.unload(body["lora_name"])
        if path == "/v1/completions":
            return self.complete(body)
        return (self.status, {}) if path == "/hook" else (404, {"detail": "Not Found"})

    def load(self, body: Any) -> tuple[int, Any]:
        name, path = body["lora_name"], Path(body["lora_path"])
        if self.refusal:
            return 401, {"error": {"message": self.refusal}}
        if name == self.fails_once:
            self.fails_once = ""
            return failed(500, "the disk is full")
        if not self.lora:
            return failed(500, worker("LoRA is not enabled. Use --enable-lora to enable LoRA."))
        if name in self.adapters and not body.get("load_inplace"):
            hint = "If you want to load the adapter in place, set 'load_inplace' to True."
            return failed(400, f"The lora adapter '{name}' has already been loaded. {hint}")
        if not (path / "adapter_config.json").exists():
            return failed(404, f"Loading lora {name} failed: No adapter found for <path>")
        rank = json.loads((path / "adapter_config.json").read_text())["r"]
        if rank > self.max_rank:
            return failed(500, worker(f"LoRA rank {rank} is greater than max_lora_rank {self.max_rank}."))
        self.adapters[name] = str(path)
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def unload(self, name: str) -> tuple[int, Any]:
        if self.adapters.pop(name, None) is None:
            return failed(404, f"The lora adapter '{name}' cannot be found.")
        return 200, f"Success: LoRA adapter '{name}' removed successfully."

    def complete(self, body: Any) -> tuple[int, Any]:
        name = body["model"].removeprefix("base:") if self.sglang else body["model"]
        if name not in self.adapters:
            return failed(404, f"The model `{name}` does not exist. Valid aliases: base.")
        ignored = self.serves_base is True or (self.serves_base and name in self.serves_base)
        return 200, {"choices": [{"text": say(None if ignored else self.adapters[name], body["prompt"])}]}

    @property
    def changes(self) -> list[str]:
        """What was loaded and unloaded, in order."""
        return [f"{p.rpartition('/')[2].split('_')[0]} {b['lora_name']}" for p, b in self.calls if "lora" in p]


def failed(status: int, message: str) -> tuple[int, Any]:
    return status, {"error": {"message": message, "param": None, "code": status}}


def worker(message: str) -> str:
    """As vLLM passes on what went wrong in its engine."""
    return (
        f"Call to add_lora method failed: Worker failed with error '{message}', please check the stack trace above for "
        "the root cause"
    )


@contextmanager
def listening(scripted: ScriptedServer) -> Iterator[ScriptedServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send(*scripted.get(self.path))

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            scripted.headers.append((dict(self.headers), raw))
            self.send(*scripted.post(self.path, json.loads(raw)))

        def send(self, status: int, body: Any) -> None:
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            if not isinstance(body, str):
                self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    scripted.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield scripted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "PAUSES", (0.0, 0.0))


@pytest.fixture(params=["vllm", "sglang"])
def server(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    with listening(ScriptedServer(request.param == "sglang")) as scripted:
        yield scripted


@pytest.fixture
def vllm() -> Iterator[ScriptedServer]:
    with listening(ScriptedServer()) as scripted:
        yield scripted


def deploying(domain: Domain, **keys: Any) -> Domain:
    return domain.edit(lambda spec: spec.update(deploy=keys))


def to_server(domain: Domain, server: ScriptedServer, **keys: Any) -> Domain:
    kind = "sglang" if server.sglang else "vllm"
    return deploying(domain, kind=kind, url=server.address, name="colours", **keys)


def why(domain: Domain, node: str = "i1.deploy") -> dict[str, Any]:
    rows = domain.query("SELECT summary FROM nodes WHERE name = ? ORDER BY ended_at", [node])
    found = rows[-1]["summary"]
    return dict(json.loads(found) if isinstance(found, str) else found)


def history(domain: Domain) -> list[tuple[str, str]]:
    rows = domain.query("SELECT action, model_id FROM deployments ORDER BY sequence")
    return [(row["action"], row["model_id"]) for row in rows]


def current(domain: Domain) -> str | None:
    link = domain.root / "deploy" / "current"
    return link.resolve().name if link.exists() else None


@pytest.fixture
def turned(applied: Domain) -> Domain:
    """An iteration that was promoted, and nothing deployed any more."""
    shutil.rmtree(applied.root / "deploy")
    return applied.edit(lambda spec: spec["loop"].update(iterations=1))


@pytest.fixture(scope="module")
def _deployed_twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models were deployed to the folder, and the first is in force again."""
    domain = Domain.written(tmp_path_factory.mktemp("twice") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flywheel.engine.resources.Worker", StandInWorker)
        domain.apply()
        (domain.root / "deploy" / "current").unlink()
        domain.edit(lambda spec: spec["train"].update(rank=8)).apply()
        rollback(domain.open())
    return domain.root


@pytest.fixture
def twice(_deployed_twice: Path, domain: Domain, monkeypatch: pytest.MonkeyPatch) -> Domain:
    """As if the second model were better than the first."""
    monkeypatch.setattr("flywheel.nodes.verbs.deploy._keep", lambda *_: "")
    shutil.rmtree(domain.root)
    shutil.copytree(_deployed_twice, domain.root, symlinks=True)
    return domain.edit(lambda spec: spec["train"].update(rank=8))


# --- servers ----------------------------------------------------------------------------------------------------------


def test_a_promoted_model_is_loaded_by_its_real_folder_asked_and_given_the_name(
    turned: Domain, server: ScriptedServer
) -> None:
    to_server(turned, server).apply()
    model = current(turned)
    home = str((turned.root / "deploy" / str(model)).resolve())

    assert server.adapters == {f"colours-{model}": home, "colours": home}
    asked = [body for path, body in server.calls if path.endswith("completions")]
    prefix = "base:" if server.sglang else ""
    assert {body["model"] for body in asked} == {f"{prefix}colours-{model}", f"{prefix}colours"}
    assert all(body["temperature"] == 0 for body in asked)


def test_telling_a_server_again_changes_nothing_there(turned: Domain, vllm: ScriptedServer) -> None:
    to_server(turned, vllm).apply()
    vllm.calls.clear()
    to_server(turned, vllm, seen_at=str((turned.root / "deploy").resolve())).apply()
    assert (len(vllm.calls) > 0, vllm.changes) == (True, [])


def test_a_server_that_silently_serves_the_base_undoes_the_promotion_until_it_is_mended(
    turned: Domain, server: ScriptedServer
) -> None:
    before = history(turned)
    server.serves_base = True
    to_server(turned, server).apply()

    assert "as the base model does" in why(turned)["why"]
    assert (why(turned)["deployed"], current(turned), history(turned)) == (False, None, before)
    assert server.adapters == {}
    assert "the promotion was undone" in (turned.root / "reports" / "index.html").read_text()

    server.serves_base = False
    turned.apply()
    assert why(turned)["deployed"]
    assert list(server.adapters) == [f"colours-{current(turned)}", "colours"]


def test_a_model_that_is_not_served_leaves_the_former_one_in_force_and_in_the_history(
    twice: Domain, server: ScriptedServer
) -> None:
    """The name already went to it when it answers as the base."""
    (_, first), (_, second), _ = history(twice)
    server.serves_base = {"colours"}
    to_server(twice, server).apply()

    assert history(twice)[3:] == [("deploy", second), ("rollback", first)]
    assert current(twice) == first
    assert {name: Path(path).name for name, path in server.adapters.items()} in ({}, {"colours": first})
    assert "undone" in why(twice)["why"]


def test_the_new_model_takes_the_name_the_old_one_is_unloaded_and_rollback_turns_both(
    twice: Domain, server: ScriptedServer
) -> None:
    (_, first), (_, second), _ = history(twice)
    old = str((twice.root / "deploy" / first).resolve())
    server.adapters = {f"colours-{first}": old, "colours": old, "colours-of-others": "/elsewhere"}
    to_server(twice, server).apply()
    assert set(server.adapters) == {"colours", f"colours-{second}", "colours-of-others"}
    assert Path(server.adapters["colours"]).name == second == current(twice)

    rollback(twice.open(), first)

    assert set(server.adapters) == {"colours", f"colours-{first}", "colours-of-others"}
    assert Path(server.adapters["colours"]).name == first == current(twice)


@pytest.mark.parametrize(
    ("version", "steps"),
    [
        ({"version": "0.33.0"}, ["load colours"]),
        ({"version": "1.0.1.dev7+g12"}, ["load colours"]),
        ({"version": "0.32.0"}, ["unload colours", "load colours"]),
        ("<html>a proxy's page", ["unload colours", "load colours"]),
    ],
)
def test_a_vllm_that_would_read_the_adapter_anew_for_every_token_unloads_the_name_first(
    twice: Domain, vllm: ScriptedServer, version: Any, steps: list[str]
) -> None:
    (_, first), *_ = history(twice)
    vllm.version = version
    vllm.adapters = {"colours": str((twice.root / "deploy" / first).resolve())}
    to_server(twice, vllm).apply()
    assert [change for change in vllm.changes if change.endswith(" colours")] == steps
    assert Path(vllm.adapters["colours"]).name == current(twice) != first


def test_a_name_that_was_unloaded_for_a_model_that_does_not_load_is_given_back(
    twice: Domain, vllm: ScriptedServer
) -> None:
    (_, first), *_ = history(twice)
    old = str((twice.root / "deploy" / first).resolve())
    vllm.version, vllm.fails_once = {"version": "0.32.0"}, "colours"
    vllm.adapters = {"colours": old, f"colours-{first}": old}
    to_server(twice, vllm).apply()
    assert "the disk is full" in why(twice)["why"]
    assert vllm.adapters == {"colours": old, f"colours-{first}": old}
    assert current(twice) == first


def test_rollback_stays_where_the_server_does_not_follow(twice: Domain, vllm: ScriptedServer) -> None:
    (_, first), (_, second), _ = history(twice)
    to_server(twice, vllm).apply()
    entries = len(history(twice))
    vllm.serves_base = {f"colours-{first}"}

    with pytest.raises(TargetRefused, match="The pointer was not moved"):
        rollback(twice.open(), first)

    assert current(twice) == second
    assert Path(vllm.adapters["colours"]).name == second
    assert len(history(twice)) == entries


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda server: setattr(server, "max_rank", 1), "root cause. Start it with a higher --max-lora-rank."),
        (lambda server: setattr(server, "lora", False), "root cause. Start vLLM with --enable-lora and VLLM_ALLOW"),
        (lambda server: setattr(server, "updating", False), "answered 404: Not Found. Start vLLM with --enable-lora"),
        (lambda server: setattr(server, "busy", 99), "answered 503: loading"),
    ],
)
def test_what_a_server_says_is_passed_on_with_what_to_do(
    turned: Domain, vllm: ScriptedServer, change: Any, words: str
) -> None:
    change(vllm)
    to_server(turned, vllm).apply()
    assert words in why(turned)["why"]
    assert (current(turned), vllm.adapters) == (None, {})


def test_a_folder_that_the_server_does_not_see_is_named(turned: Domain, vllm: ScriptedServer) -> None:
    to_server(turned, vllm, seen_at="/elsewhere").apply()
    assert "It must see the folder /elsewhere/" in why(turned)["why"]
    assert "deploy.seen_at" in why(turned)["why"]


def test_a_character_that_the_length_limit_cut_tells_no_models_apart() -> None:
    """vLLM leaves it out, transformers puts a mark in its place."""
    asked = ServedPrompt("how many?", "3 \ufffd", "three")
    assert asked.read("3 ") == asked.read(asked.answer)
    assert not ServedPrompt("how many?", "3 \ufffd", "3").tells


def test_a_page_in_the_place_of_the_list_of_models_is_said(turned: Domain, vllm: ScriptedServer) -> None:
    vllm.models = "<html>a proxy's page"
    to_server(turned, vllm).apply()
    assert "does not list its models as OpenAI's protocol wants it" in why(turned)["why"]


def test_a_server_that_is_busy_for_a_moment_is_asked_again(turned: Domain, vllm: ScriptedServer) -> None:
    vllm.busy = 2
    to_server(turned, vllm).apply()
    assert current(turned) is not None


def test_the_key_is_sent_and_never_stored(
    turned: Domain, vllm: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVING", "word-of-the-server")
    to_server(turned, vllm, api_key="${env:SERVING}").apply()
    assert all(headers["Authorization"] == "Bearer word-of-the-server" for headers, _ in vllm.headers)
    files = [path for path in turned.root.rglob("*") if path.is_file()]
    assert not [path for path in files if b"word-of-the-server" in path.read_bytes()]


def test_what_a_refusing_server_says_is_passed_on_without_secrets_also_where_it_is_cut(
    turned: Domain, vllm: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVING", "word-of-the-server")
    monkeypatch.setenv("OTHER_API_KEY", "key-of-somebody-else")
    for said in ("bad key word-of-the-server, not key-of-somebody-else", "x" * 285 + " word-of-the-server"):
        vllm.refusal = said
        to_server(turned, vllm, api_key="${env:SERVING}").apply()
        assert "answered 401" in why(turned)["why"]
        assert "[sec" in why(turned)["why"]
        assert "word-of" not in why(turned)["why"]
        assert "key-of" not in why(turned)["why"]


# --- others -----------------------------------------------------------------------------------------------------------

TELLER = """
import os, sys
with open("told.log", "a") as log:
    log.write(" ".join(os.environ[f"FLYWHEEL_{key}"] for key in ("ACTION", "MODEL_ID", "MODEL_FOLDER")) + "\\n")
if os.path.exists("full"):
    sys.exit("the disk is full")
"""


def telling(domain: Domain, **keys: Any) -> Domain:
    (domain.root / "tell.py").write_text(TELLER)
    return deploying(domain, kind="command", command=[sys.executable, "tell.py"], **keys)


def told(domain: Domain) -> list[list[str]]:
    return [line.split() for line in (domain.root / "told.log").read_text().splitlines()]


def test_a_command_is_told_of_a_model_and_of_a_rollback(twice: Domain) -> None:
    (_, first), (_, second), _ = history(twice)
    telling(twice).apply()
    rollback(twice.open(), first)
    homes = [str((twice.root / "deploy" / model).resolve()) for model in (second, first)]
    assert told(twice) == [["deploy", second, homes[0]], ["rollback", first, homes[1]]]


def test_a_command_that_fails_has_not_deployed(turned: Domain) -> None:
    (turned.root / "full").touch()
    telling(turned).apply()
    assert "ended with 1: the disk is full" in why(turned)["why"]
    assert current(turned) is None


def test_what_a_failing_command_says_is_passed_on_without_secrets(
    turned: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_TOKEN", "token-of-the-hub")
    refuse = "import os, sys; sys.exit('no: ' + os.environ['HUB_TOKEN'])"
    deploying(turned, kind="command", command=[sys.executable, "-c", refuse]).apply()
    assert "ended with 1: no: [secret]" in why(turned)["why"]


def test_after_a_command_the_model_is_asked_where_it_says(turned: Domain, vllm: ScriptedServer) -> None:
    """Nobody loads anything there, so that no model of the name answers: the command is told to withdraw."""
    telling(turned, check_url=f"{vllm.address}/v1").apply()
    assert [line[0] for line in told(turned)] == ["deploy", "withdraw"]
    assert "The model `deployed` does not exist" in why(turned)["why"]
    assert current(turned) is None


def test_a_webhook_gets_the_manifest_signed(
    turned: Domain, vllm: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "between-us")
    keys = {"url": f"{vllm.address}/hook", "secret": "${env:HOOK}"}
    deploying(turned, kind="webhook", **keys).apply()

    headers, body = vllm.headers[-1]
    stamp = headers["X-Flywheel-Timestamp"].encode()
    signed = hmac.new(b"between-us", stamp + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Flywheel-Signature"] == f"sha256={signed}"
    assert json.loads(body)["manifest"]["model_id"] == current(turned)
    assert json.loads(body)["action"] == "deploy"

    vllm.status = 500
    spec = WebhookDeploy(kind="webhook", **keys)
    home = turned.root / "deploy" / str(current(turned))
    with pytest.raises(TargetRefused, match="answered 500"):
        tell(spec, turned.root, Release(home, {"model_id": home.name}), None, lambda server, model: None, "deploy")


def test_a_hub_folder_gets_the_whole_model_with_a_card(turned: Domain) -> None:
    deploying(turned, kind="hub", repo="./published", license="mit").apply()
    home = turned.root / "published" / str(current(turned))
    deployed = turned.root / "deploy" / str(current(turned))
    assert {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()} == {
        path.name: path.read_bytes() for path in deployed.iterdir() if path.is_file()
    }
    card = ModelCard.load(home / "README.md").data
    assert (card.library_name, card.license, card.tags) == ("peft", "mit", ["flywheel", "lora"])
    means = turned.query(
        """SELECT suite, avg(score) AS mean FROM scores WHERE arm = 'candidate'
           AND node = (SELECT node FROM nodes WHERE name = 'i1.evaluate') GROUP BY suite"""
    )
    assert {result.dataset_type: result.metric_value for result in card.eval_results or ()} == {
        row["suite"]: pytest.approx(row["mean"]) for row in means
    }


# --- what validate refuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "rank", "words"),
    [
        ({}, 24, "Start it with --max-lora-rank 32 and write deploy.max_lora_rank: 32"),
        ({"max_lora_rank": 1024}, 1024, "no vLLM takes a rank above 512"),
        ({"api_key": "mine"}, 8, "a literal key does not belong in a file"),
        ({"url": "host:80"}, 8, "does not begin with http:// or https://"),
        ({"nam": "x"}, 8, 'unknown key "nam". Did you mean "name"?'),
        ({"repo": "a/b"}, 8, "repo is for kind: hub"),
    ],
)
def test_what_the_server_cannot_take_is_said_before_anything_is_trained(
    domain: Domain, keys: dict[str, Any], rank: int, words: str
) -> None:
    domain.edit(lambda spec: spec.setdefault("train", {}).update(rank=rank))
    deploying(domain, **{"kind": "vllm", "url": "http://127.0.0.1:8000", "name": "colours", **keys})
    with pytest.raises(SpecInvalid) as caught:
        domain.open()
    assert words in str(caught.value)


def test_an_embedding_that_vllm_refuses_for_the_architecture_is_refused(domain: Domain) -> None:
    (domain.root / "student" / "config.json").write_text('{"model_type": "qwen2"}')
    domain.edit(lambda spec: spec.setdefault("train", {}).update(targets=["q_proj", "embed_tokens"]))
    deploying(domain, kind="vllm", url="http://127.0.0.1:8000", name="colours")
    with pytest.raises(SpecInvalid, match=r"vLLM 0\.33\.0 refuses LoRA on the embedding of qwen2"):
        domain.open()


def test_a_variable_that_is_not_set_stops_before_anything_runs(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    deploying(domain, kind="vllm", url="http://127.0.0.1:9", name="colours", api_key="${env:NOT_SET_HERE}")
    with pytest.raises(SpecInvalid, match="NOT_SET_HERE is not set"):
        domain.apply(iterations=1)
    assert domain.calls() == []
