"""The verbs of the wheel, one file each. A node is a function of a Context; it returns rows, the engine writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flywheel.nodes.ablate import ablate
from flywheel.nodes.budget import budget
from flywheel.nodes.context import Context, Result
from flywheel.nodes.curate import curate
from flywheel.nodes.deploy import deploy
from flywheel.nodes.diagnose import diagnose
from flywheel.nodes.evaluate import evaluate
from flywheel.nodes.gate import gate
from flywheel.nodes.generate import generate
from flywheel.nodes.probe import probe
from flywheel.nodes.report import report
from flywheel.nodes.train import train
from flywheel.nodes.verify import verify

VERBS: Mapping[str, Callable[[Context], Result]] = {
    "probe": probe,
    "diagnose": diagnose,
    "budget": budget,
    "generate": generate,
    "verify": verify,
    "curate": curate,
    "train": train,
    "evaluate": evaluate,
    "ablate": ablate,
    "gate": gate,
    "report": report,
    "deploy": deploy,
}

__all__ = ["VERBS", "Context", "Result"]
