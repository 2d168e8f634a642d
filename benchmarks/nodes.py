"""Single-core machines, simulated by processes that can be killed; also used by the tests of the Ray cluster."""

import random
from typing import Any

import psutil

WORKER = "ray::MapWorker"
"""Prefix of the name of a process that runs an actor of Ray Data."""
MEMORY = 100 * 1024**2
"""Size of each machine's object store, in bytes; small, since results are counts."""


class Nodes:
    """A Ray cluster of that many machines; the first one, which the run is connected to, is never killed."""

    def __init__(self, count: int):
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._others = [self._added() for _ in range(count - 1)]
        self.address: str = self._cluster.address

    def kill_worker(self) -> None:
        """SIGKILL to a process that classifies, if there is one."""
        workers = [
            one for one in psutil.process_iter(["cmdline"]) if " ".join(one.info["cmdline"] or []).startswith(WORKER)
        ]
        if workers:
            random.choice(workers).kill()

    def kill_node(self) -> None:
        """SIGKILL to all processes of a machine."""
        self._cluster.remove_node(self._others.pop(0), allow_graceful=False)

    def add_node(self) -> None:
        self._others.append(self._added())

    def shutdown(self) -> None:
        self._cluster.shutdown()

    def _added(self) -> Any:
        return self._cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
