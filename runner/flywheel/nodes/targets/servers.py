"""vLLM and SGLang: the adapter is loaded under a name of its own, asked, and only then gets the name clients use."""

from __future__ import annotations

import re
from typing import Any

from flywheel.nodes.targets.release import Action, AskServed, Release, Server, TargetRefused, hiding
from flywheel.spec.targets import ServerDeploy

#: The first vLLM that can give a name another adapter in one step. Those before it take that for a standing order:
#: they read the adapter from its folder again for every token that it writes.
_SWITCHES = (0, 33)


class VllmServer:
    """By vLLM 0.32.0 and 0.33.0."""

    load_path, unload_path = "/load_lora_adapter", "/unload_lora_adapter"
    models_path = "/models"

    def __init__(self, spec: ServerDeploy) -> None:
        self.spec = spec
        address = spec.url.rstrip("/").removesuffix("/v1")
        self.openai = Server(f"{address}/v1", spec.api_key, spec.timeout_seconds, hiding(spec))
        self.root = Server(address, spec.api_key, spec.timeout_seconds, hiding(spec))
        self.admin = self.openai

    def tell(self, model: Release, former: Release | None, check: AskServed, action: Action) -> None:
        """Safe to repeat: what is loaded already is not loaded again. Raises TargetRefused, with all put back."""
        del action
        before = self.loaded()
        own, path = self._versioned(model), self._seen(model)
        try:
            self._make(before, own, path)
            check(self.openai, self.asked_as(own))
            if before.get(self.spec.name) != path:
                self.point(self.spec.name, path, self.spec.name in before)
            self._make_sure(path)
            check(self.openai, self.asked_as(self.spec.name))
        except TargetRefused as error:
            raise TargetRefused(f"{error}{self._put_back(before, model, former)}") from None
        for name in before:
            if self._is_versioned(name) and name != own:
                self._unload(name)

    def loaded(self) -> dict[str, str]:
        """Name → folder of each adapter that the server has."""
        return {model["id"]: str(model.get("root") or "") for model in self._models() if model.get("parent")}

    def asked_as(self, name: str) -> str:
        """How a request names an adapter."""
        return name

    def point(self, name: str, path: str, is_loaded: bool) -> None:
        """Requests for `name` go to the adapter in `path` from now on."""
        in_place = is_loaded and self.switches()
        if is_loaded and not in_place:
            self._unload(name)
        self._load(name, path, **({"load_inplace": True} if in_place else {}))

    def switches(self) -> bool:
        """Whether a name that is loaded is given another folder in one step; otherwise it is gone for a moment."""
        try:
            said = str(self.root.get("/version"))
        except TargetRefused:  # behind a proxy that passes on less
            return False
        found = re.search(r"(\d+)\.(\d+)", said)
        return found is not None and (int(found[1]), int(found[2])) >= _SWITCHES

    def _models(self) -> list[dict[str, Any]]:
        found = self.openai.get(self.models_path)
        if not isinstance(found, dict) or not isinstance(found.get("data"), list):
            raise TargetRefused(f"{self.openai.place} does not list its models as OpenAI's protocol wants it.")
        return list(found["data"])

    def _make(self, before: dict[str, str], name: str, path: str) -> None:
        if before.get(name) == path:
            return
        if name in before:
            self._unload(name)
        self._load(name, path)

    def _load(self, name: str, path: str, **more: Any) -> None:
        try:
            self.admin.post(self.load_path, {"lora_name": name, "lora_path": path, **more})
        except TargetRefused as error:
            raise TargetRefused(f"{name} was not loaded: {error}{_advice(str(error), path)}") from None

    def _unload(self, name: str) -> None:
        self.admin.post(self.unload_path, {"lora_name": name})

    def _make_sure(self, path: str) -> None:
        if (found := self.loaded().get(self.spec.name)) != path:
            raise TargetRefused(f"{self.openai.place} says that {self.spec.name} is {found or 'nothing'}, not {path}.")

    def _put_back(self, before: dict[str, str], model: Release, former: Release | None) -> str:
        """What is to be said of it; empty where all is as it was."""
        name, path = self.spec.name, self._seen(model)
        was = self._seen(former) if former is not None else before.get(name)
        try:
            now = self.loaded()
            if now.get(name) != was and (name in now or name in before):
                if was is not None and was != path:
                    self.point(name, was, name in now)
                elif name in now:
                    self._unload(name)
            if self._versioned(model) in now and was != path:
                self._unload(self._versioned(model))
        except TargetRefused as error:
            return f" And it could not be put back: {error} Look at what it serves as {name}."
        return ""

    def _seen(self, model: Release) -> str:
        """The real folder: behind the link `current` the server would keep what the old model left."""
        if self.spec.seen_at is None:
            return str(model.home.resolve())
        return f"{self.spec.seen_at.rstrip('/')}/{model.home.name}"

    def _versioned(self, model: Release) -> str:
        return f"{self.spec.name}-{model.model_id}"

    def _is_versioned(self, name: str) -> bool:
        return re.fullmatch(rf"{re.escape(self.spec.name)}-[0-9a-f]{{8,}}", name) is not None


class SglangServer(VllmServer):
    """By SGLang 0.5.23: requests name base and adapter."""

    def __init__(self, spec: ServerDeploy) -> None:
        super().__init__(spec)
        self.admin = self.root

    def asked_as(self, name: str) -> str:
        base = next((str(model["id"]) for model in self._models() if not model.get("parent")), "")
        return f"{base}:{name}"

    def switches(self) -> bool:
        return False


def _advice(said: str, path: str) -> str:
    """What to do about the commonest reasons."""
    unknown = "answered 404" in said and "load_lora_adapter" in said and "adapter found" not in said.lower()
    if unknown or "LoRA is not enabled" in said:
        return " Start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, SGLang with --enable-lora."
    if re.search(r"(?i)\brank\b", said):
        return " Start it with a higher --max-lora-rank."
    if re.search(r"(?i)no such file|not found|does not exist|no adapter", said):
        return f" It must see the folder {path}: say where it does with deploy.seen_at."
    return ""
