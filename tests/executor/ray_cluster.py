"""A cluster of several Ray nodes, all of them processes of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flywheel.executor import cluster as room

SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20}


@contextmanager
def cluster_of(nodes: int) -> Iterator[Any]:
    """The head and `nodes` others, of one core each; the head has none. Skips where Ray is not installed."""
    pytest.importorskip("ray", reason='needs Ray: pip install "flywheel-loop[ray]"')
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = {**SMALL, "num_cpus": 0, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        # Ray's nodes have this machine's own address, to which our tests may not connect; Ray itself does.
        refuse = room._refuse_unreachable
        patch.setattr(room, "_refuse_unreachable", lambda address: address == cluster.address or refuse(address))
        try:
            for _ in range(nodes):
                cluster.add_node(**SMALL)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def stations(nodes: Any, name: str = "Station") -> list[int]:
    """Process ids of the actors of this class on these nodes; Ray gives a process the name of its actor."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in nodes.worker_nodes}
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and f"ray::{name}".encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
