"""How many cores this process may use."""

import os


def usable_cores() -> int:
    """The number of cores that the system lets this process run on, which a container or `taskset` may limit; where the
    system does not say, all cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
