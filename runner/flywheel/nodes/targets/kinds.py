"""The table that ties a deployment target's class to the code that tells it. The folder alone has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from flywheel.nodes.targets.outside import CommandTarget, HubTarget, StrangerTarget, WebhookTarget
from flywheel.nodes.targets.release import Action, AskServed, Release
from flywheel.nodes.targets.servers import SglangServer, VllmServer
from flywheel.spec.targets import CommandDeploy, Deploy, HubDeploy, SglangDeploy, VllmDeploy, WebhookDeploy


class Target(Protocol):
    """Who is told of a model."""

    def tell(self, model: Release, former: Release | None, check: AskServed, action: Action) -> None:
        """Safe to repeat. Raises TargetRefused, with the target put back to `former`, the model in force before."""


_OPEN: Mapping[type[Deploy], Callable[..., Target]] = {
    VllmDeploy: lambda spec, root: VllmServer(spec),
    SglangDeploy: lambda spec, root: SglangServer(spec),
    HubDeploy: HubTarget,
    CommandDeploy: CommandTarget,
    WebhookDeploy: lambda spec, root: WebhookTarget(spec),
}


def tell(spec: Deploy, root: Path, model: Release, former: Release | None, check: AskServed, action: Action) -> None:
    """Tell the target that `spec` names of `model`. Raises TargetRefused where it does not serve it."""
    if (opened := _OPEN.get(type(spec))) is not None:
        opened(spec, root).tell(model, former, check, action)
    elif spec.origin is not None:
        StrangerTarget(spec).tell(model, former, check, action)
