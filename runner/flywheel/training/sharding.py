"""Weights that do not fit one device, spread over the processes of a training (FSDP: Zhao et al. 2023, arXiv
2304.11277).

Only the frozen weights are: each process has the adapter whole, so that its gradients, checkpoints and files are those
of a training in one process. A layer's weights are together while it computes.
"""

from __future__ import annotations

from typing import Any

from flywheel.errors import NodeFailed
from flywheel.training.ranks import Ranks


def shard(torch: Any, model: Any, device: str, ranks: Ranks) -> None:
    """In place, layer by layer: at no time is the whole model on the device. `model`: with its adapter, and on the CPU.

    Raises NodeFailed where the architecture does not say which of its modules are layers.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    layers = _layers(model.get_base_model())
    learning = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for parameter in learning:
        parameter.data = parameter.data.to(device)
    mesh = init_device_mesh(device, (ranks.world,))
    for module in (*layers, model):
        fully_shard(module, mesh=mesh, ignored_params=learning)


def _layers(base: Any) -> list[Any]:
    """What transformers itself keeps in one piece when it spreads a model."""
    names = set(getattr(base, "_no_split_modules", None) or ())
    found = [module for module in base.modules() if type(module).__name__ in names]
    if not found:
        raise NodeFailed(
            f"the student does not fit one device, and {type(base).__name__} does not say by which layers it could be "
            "spread over several. Train it on devices with more memory."
        )
    return found
