"""The hub, a command, and an address that wants to be told."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from flywheel.errors import FlywheelError
from flywheel.files import copy_folder
from flywheel.nodes.targets.release import Action, AskServed, Release, Server, TargetRefused, hiding
from flywheel.project_code import where
from flywheel.spec.secrets import resolve_env
from flywheel.spec.targets import CommandDeploy, Deploy, HubDeploy, WebhookDeploy
from flywheel.text import one_line


class Told:
    """Who loads the model by means of its own, and is told of the former one again where another is served."""

    def __init__(self, spec: Deploy) -> None:
        self.told = spec

    def say(self, model: Release, action: Action) -> None:
        """Raises TargetRefused where the model was not taken."""
        raise NotImplementedError

    def tell(self, model: Release, former: Release | None, check: AskServed, action: Action) -> None:
        self.say(model, action)
        if self.told.asked_at is None:
            return
        address, name = self.told.asked_at
        try:
            check(Server(address, self.told.key_reference, 120.0, hiding(self.told)), name)
        except TargetRefused as error:
            raise TargetRefused(f"{error}{self._put_back(model, former)}") from None

    def _put_back(self, model: Release, former: Release | None) -> str:
        try:
            self.say(former or model, "rollback" if former else "withdraw")
        except TargetRefused as error:
            return f" And it could not be put back: {error}"
        return ""


class CommandTarget(Told):
    def __init__(self, spec: CommandDeploy, root: Path) -> None:
        super().__init__(spec)
        self.spec, self._root = spec, root

    def say(self, model: Release, action: Action) -> None:
        told = {
            "FLYWHEEL_ACTION": action,
            "FLYWHEEL_MODEL_ID": model.model_id,
            "FLYWHEEL_MODEL_FOLDER": str(model.home.resolve()),
        }
        name = one_line(self.spec.command[0], 60)
        try:
            process = subprocess.Popen(
                self.spec.command, cwd=self._root, env={**os.environ, **told}, text=True, errors="replace",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise TargetRefused(f"{name} cannot be run: {error.strerror or error}.") from None
        try:
            said, _ = process.communicate(timeout=self.spec.timeout_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise TargetRefused(
                f"{name} did not end within {self.spec.timeout_seconds:g} s (deploy.timeout_seconds)."
            ) from None
        if process.returncode != 0:
            last = one_line(hiding(self.spec).detail(said.strip().rpartition("\n")[2]), 200) or "it said nothing"
            raise TargetRefused(f"{name} ended with {process.returncode}: {last}")


class WebhookTarget(Told):
    def __init__(self, spec: WebhookDeploy) -> None:
        super().__init__(spec)
        self._server = Server(spec.url, None, spec.timeout_seconds, hiding(spec))
        self._secret = resolve_env(spec.secret).encode()

    def say(self, model: Release, action: Action) -> None:
        """The same delivery may come twice: it names its model."""
        body = json.dumps({"action": action, "manifest": dict(model.manifest)}, sort_keys=True).encode()
        stamp = str(int(time.time()))
        signed = hmac.new(self._secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        self._server.send(
            body,
            {
                "Content-Type": "application/json",
                "X-Flywheel-Timestamp": stamp,
                "X-Flywheel-Signature": f"sha256={signed}",
            },
        )


class StrangerTarget(Told):
    """Whatever its method raises means that it did not take the model."""

    def say(self, model: Release, action: Action) -> None:
        if action == "withdraw":
            raise TargetRefused("nothing was deployed before.")
        try:
            self.told.tell(model.home, dict(model.manifest))
        except Exception as error:
            raise TargetRefused(f"{type(self.told).__name__}: {hiding(self.told).detail(where(error))}") from error


class HubTarget:
    """A commit a model; a folder instead of a repository is replaced as a whole."""

    def __init__(self, spec: HubDeploy, root: Path) -> None:
        self._spec, self._root = spec, root

    def tell(self, model: Release, former: Release | None, check: AskServed, action: Action) -> None:
        del former, check
        if self._spec.repo.startswith("./"):
            self._copy(model)
        else:
            self._push(model, action)

    def _copy(self, model: Release) -> None:
        try:
            copy_folder(model.home, self._root / self._spec.repo / model.model_id, lambda scratch: None)
        except (OSError, FlywheelError) as error:
            raise TargetRefused(f"{self._spec.repo}: {error}") from None

    def _push(self, model: Release, action: Action) -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        api = HfApi(token=None if self._spec.api_key is None else resolve_env(self._spec.api_key))
        try:
            api.create_repo(self._spec.repo, private=True, exist_ok=True)
            api.upload_folder(
                repo_id=self._spec.repo, folder_path=model.home, commit_message=f"{action} {model.model_id}",
                delete_patterns="*",
            )  # fmt: skip
        except (HfHubHTTPError, OSError, ValueError) as error:
            said = one_line(hiding(self._spec).detail(str(error)), 200)
            raise TargetRefused(f"the hub did not take {self._spec.repo}: {said}") from None
