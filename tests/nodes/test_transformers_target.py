"""A promoted model behind `transformers serve`, which a command starts: what that server answers decides."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mini_domain import Domain

pytestmark = pytest.mark.slow

#: What a user writes: merge, put the folder where the server finds it, start the server anew, wait until it answers.
COMMAND = """
import os, signal, subprocess, sys, time, urllib.request
from contextlib import suppress
from pathlib import Path
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

port, adapted, served = sys.argv[1], sys.argv[2] == "adapted", Path("served")
home = Path(os.environ["FLYWHEEL_MODEL_FOLDER"])
model = AutoModelForCausalLM.from_pretrained("student")
if adapted and os.environ["FLYWHEEL_ACTION"] != "withdraw":
    model = PeftModel.from_pretrained(model, home).merge_and_unload()
model.save_pretrained(served)
AutoTokenizer.from_pretrained(home).save_pretrained(served)
GenerationConfig.from_pretrained(home).save_pretrained(served)
if Path("server.pid").exists():
    with suppress(ProcessLookupError):
        os.kill(int(Path("server.pid").read_text()), signal.SIGKILL)
serve = [str(Path(sys.executable).with_name("transformers")), "serve", "--host", "127.0.0.1", "--port", port]
with open("serve.log", "ab") as log:
    server = subprocess.Popen(
        [*serve, "--device", "cpu", str(served.resolve())], stdout=log, stderr=log, start_new_session=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
Path("server.pid").write_text(str(server.pid))
for _ in range(240):
    if server.poll() is not None:
        sys.exit(f"the server ended with {server.returncode}")
    with suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
        sys.exit(0)
    time.sleep(0.5)
sys.exit("the server does not answer")
"""


Served = Callable[[Path, str], Domain]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A project with this student whose `deploy` starts a server, which gets the adapter or (`base`) does not."""
    domain = Domain(tmp_path / "project")

    def written(student: Path, what: str) -> Domain:
        domain.spec = Domain.written(domain.root, student).spec
        (domain.root / "serve_it.py").write_text(COMMAND)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        target = {
            "kind": "command", "command": [sys.executable, "serve_it.py", str(port), what],
            "check_url": f"http://127.0.0.1:{port}/v1", "check_model": str((domain.root / "served").resolve()),
        }  # fmt: skip
        # Enough for a model of random weights to say one of the two colours, which half of the things have.
        train = {"rank": 16, "max_steps": 120, "batch_size": 12, "learning_rate": 0.02}
        gate = [{"suite": "holdout", "better_by": 0.05}]
        return domain.edit(lambda spec: spec.update(deploy=target, train=train, gate=gate))

    yield written
    if (pid := domain.root / "server.pid").exists():
        with suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_chat_that_answers_as_was_evaluated_is_deployed(served: Served, chat_student: Path) -> None:
    domain = served(chat_student, "adapted")
    outcome = domain.apply()
    assert (outcome.promoted, outcome.error) == ([1], "")
    assert [row["action"] for row in domain.query("SELECT action FROM deployments")] == ["deploy"]


def test_a_server_that_was_given_the_base_is_found_out(served: Served, mini_student: Path) -> None:
    domain = served(mini_student, "base")
    domain.apply()
    (deploy,) = domain.query("SELECT summary FROM nodes WHERE kind = 'deploy'")
    assert not deploy["summary"]["deployed"]
    assert "prompts as the base model does" in deploy["summary"]["why"]
    assert domain.query("SELECT * FROM deployments") == []
