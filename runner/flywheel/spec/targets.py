"""Deployment targets: each kind's keys and facts. How they are told is in `flywheel.nodes.targets`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flywheel.errors import Path_
from flywheel.spec.base import Name, Positive, Seconds, SpecModel
from flywheel.spec.kinds import Family, Kind


class DeployCanary(SpecModel):
    """How `flywheel serve` goes on testing a promoted model: beside the former one, on live conversations."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of conversations, those that the new model answers until it is decided."""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """It goes where it is shown to lose more than this share beyond what the former loses, and stays where that is
    ruled out. Lost is a conversation with a thumb down, a correction, or an answer that `traffic.match` makes a row of
    a task and a verifier fails that needs no known answer and asks no teacher."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Chance, however often it is looked at, to be wrong about either."""
    hours: Annotated[float, Field(gt=0)] = 24.0
    """So long people have to say something; then a conversation counts, and later words do not."""


class Deploy(Kind):
    """Where the promoted model goes: into its folder first, and then whoever serves it is told."""

    kind: str
    path: str = "deploy"
    """The folder, of its own."""
    approve: Literal["gate", "human"] = "gate"
    """`human`: what the gate promotes waits for `flywheel approve`, and the wheel with it."""
    canary: DeployCanary | None = None
    """After a promotion `flywheel serve` gives a share of conversations to the new model alone, and rolls it back by
    itself where people or verifiers show that it is worse (docs/gate.md)."""

    largest_rank: ClassVar[int | None] = None
    """Of an adapter that any server of the kind can be started for; None where it does not matter."""
    refuses_embeddings: ClassVar[bool] = False
    """Its server refuses an adapter on the embedding of architectures that do not declare it."""

    @property
    def rank_limit(self) -> int | None:
        """Of an adapter that its server takes as it was started; None where any will do."""
        return None

    @property
    def asked_at(self) -> tuple[str, str] | None:
        """Where the served model is asked (an address of OpenAI's protocol) and the name it has there; None where
        nobody is asked."""
        return None

    @property
    def key_reference(self) -> str | None:
        """The reference to its secret."""
        return None

    @property
    def card_license(self) -> str | None:
        """What the model card says of the license."""
        return None

    def tell(self, folder: Path, manifest: dict[str, Any]) -> None:
        """Of a stranger's kind: bring the model in `folder` into service; what it raises means that it is not."""
        raise NotImplementedError(f"{type(self).__name__} has no method tell")

    def identity(self) -> dict[str, Any]:
        """Its keys, for fingerprints: what is told to whom; a secret is no part."""
        return self.model_dump(mode="json", exclude={"api_key", "secret", "timeout_seconds", "canary"})


class FolderDeploy(Deploy):
    """The folder alone."""

    kind: Literal["folder"] = "folder"
    """A folder in the project."""


class ServerDeploy(Deploy):
    """What servers that load adapters while they run have in common."""

    url: str
    """Address of the server, such as `http://127.0.0.1:8000`; may hold `${env:NAME}`."""
    api_key: str | None = None
    """Only as `${env:NAME}`: a literal key is refused."""
    name: Name
    """What clients ask for. The adapter itself is loaded as `<name>-<model id>`."""
    seen_at: str | None = None
    """Where the server sees the folder `path`, such as `/models` in a container (default: where it is here)."""
    max_lora_rank: Positive = 16
    """What the server was started with as `--max-lora-rank`."""
    timeout_seconds: Seconds = 120.0
    """Of one request: loading an adapter can take a while."""

    variables: ClassVar[tuple[str, ...]] = ("url", "api_key")

    @property
    def rank_limit(self) -> int | None:
        return self.max_lora_rank

    @property
    def asked_at(self) -> tuple[str, str] | None:
        return f"{self.url.rstrip('/').removesuffix('/v1')}/v1", self.name

    @property
    def key_reference(self) -> str | None:
        return self.api_key


class VllmDeploy(ServerDeploy):
    """A vLLM server, started with `--enable-lora` and `VLLM_ALLOW_RUNTIME_LORA_UPDATING=True`."""

    kind: Literal["vllm"]
    """A vLLM server that loads the adapter while it runs."""

    largest_rank: ClassVar[int | None] = 512
    refuses_embeddings: ClassVar[bool] = True


class SglangDeploy(ServerDeploy):
    """An SGLang server, started with `--enable-lora`."""

    kind: Literal["sglang"]
    """An SGLang server that loads the adapter while it runs."""


class HubDeploy(Deploy):
    """A repository of the Hugging Face hub; each model is a commit."""

    kind: Literal["hub"]
    """The Hugging Face hub: the folder, with its model card."""
    repo: str
    """`owner/name`, made (private) where it is not there. `./folder` is a folder of the project instead."""
    api_key: str | None = None
    """Only as `${env:NAME}`: a token that may write (default: the one that `hf auth login` left)."""
    license: str | None = None
    """What the model card says, such as `apache-2.0`."""

    variables: ClassVar[tuple[str, ...]] = ("api_key",)

    @property
    def key_reference(self) -> str | None:
        return self.api_key

    @property
    def card_license(self) -> str | None:
        return self.license

    def key_faults(self) -> Iterator[tuple[Path_, str, str]]:
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils._validators import validate_repo_id

        if self.repo.startswith("./"):
            return
        try:
            validate_repo_id(self.repo)
        except HFValidationError:
            yield ("repo",), "is no repository of the hub.", "Write owner/name, or ./folder."


class ToldDeploy(Deploy):
    """What has in common who is told and loads the model by means of its own."""

    check_url: str | None = None
    """Address of the server that then has the model, with `/v1`: its answers are compared. May hold `${env:NAME}`."""
    check_model: str = "deployed"
    """What the model is called there."""
    api_key: str | None = None
    """For `check_url`. Only as `${env:NAME}`: a literal key is refused."""

    @property
    def asked_at(self) -> tuple[str, str] | None:
        return None if self.check_url is None else (self.check_url.rstrip("/"), self.check_model)

    @property
    def key_reference(self) -> str | None:
        return self.api_key


class CommandDeploy(ToldDeploy):
    """A command of yours, run in the project with `FLYWHEEL_ACTION` (deploy, rollback or withdraw), `FLYWHEEL_MODEL_ID`
    and `FLYWHEEL_MODEL_FOLDER`."""

    kind: Literal["command"]
    """A program; one that does not end with 0 has not deployed."""
    command: Annotated[list[str], Field(min_length=1)]
    """The program and its arguments."""
    timeout_seconds: Seconds = 600.0
    """After which it is ended, and has not deployed."""

    variables: ClassVar[tuple[str, ...]] = ("check_url", "api_key")


class WebhookDeploy(ToldDeploy):
    """An address to which the manifest is posted as JSON, signed."""

    kind: Literal["webhook"]
    """A signed request; an answer other than 2xx means not deployed."""
    url: str
    """Where to; may hold `${env:NAME}`."""
    secret: str
    """Only as `${env:NAME}`: the key of the signature, HMAC-SHA256 over timestamp, `.` and body."""
    timeout_seconds: Seconds = 120.0
    """Of one request."""

    variables: ClassVar[tuple[str, ...]] = ("url", "secret", "check_url", "api_key")


TARGETS = Family(
    noun="deployment target",
    key="kind",
    group="flywheel.targets",
    base=Deploy,
    own=(FolderDeploy, VllmDeploy, SglangDeploy, HubDeploy, CommandDeploy, WebhookDeploy),
    facts=("rank_limit", "asked_at", "key_reference"),
    default="folder",
)
AnyDeploy = Annotated[Deploy, TARGETS]
