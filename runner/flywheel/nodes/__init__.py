"""What the wheel does. A node is a function of a Context, in `verbs`; it returns rows, the engine writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flywheel.nodes.context import Context, NodeResult
from flywheel.nodes.verbs.ablate import ablate
from flywheel.nodes.verbs.budget import budget
from flywheel.nodes.verbs.curate import curate
from flywheel.nodes.verbs.curve import curve
from flywheel.nodes.verbs.deploy import deploy
from flywheel.nodes.verbs.diagnose import diagnose
from flywheel.nodes.verbs.evaluate import evaluate
from flywheel.nodes.verbs.gate import gate
from flywheel.nodes.verbs.generate import generate
from flywheel.nodes.verbs.mine import mine
from flywheel.nodes.verbs.prefer import prefer
from flywheel.nodes.verbs.probe import probe
from flywheel.nodes.verbs.report import report
from flywheel.nodes.verbs.sample import sample
from flywheel.nodes.verbs.shadow import shadow
from flywheel.nodes.verbs.train import train
from flywheel.nodes.verbs.verify import verify

RUN: Mapping[str, Callable[[Context], NodeResult]] = {
    "probe": probe,
    "mine": mine,
    "diagnose": diagnose,
    "budget": budget,
    "generate": generate,
    "verify": verify,
    "curate": curate,
    "train": train,
    "sample": sample,
    "prefer": prefer,
    "evaluate": evaluate,
    "shadow": shadow,
    "ablate": ablate,
    "curve": curve,
    "gate": gate,
    "report": report,
    "deploy": deploy,
}

"""What runs each verb. What it reads and waits for is its class in `plan.verbs`."""

__all__ = ["RUN", "Context", "NodeResult"]
