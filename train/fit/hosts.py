"""Training on several hosts: each runs the same command, and computes its own part of every batch.

It needs JAX. The environment variables of `keras.distribution.initialize` define the hosts:
KERAS_DISTRIBUTION_JOB_ADDRESSES, address and port of the first host; KERAS_DISTRIBUTION_NUM_PROCESSES; and
KERAS_DISTRIBUTION_PROCESS_ID, from 0.

The first host owns the run. The others begin with a copy of it, and so resume after the same epoch, whatever is on
their disks; from then on all take the same steps.
"""

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from skinapp.errors import DataError

COUNT = "KERAS_DISTRIBUTION_NUM_PROCESSES"


def join() -> None:
    """Join the other hosts, if there are any, before anything is computed. DataError if they cannot be reached, or the
    backend is not JAX."""
    wanted = os.environ.get(COUNT, "1")
    if not wanted.isdecimal() or int(wanted) < 1:
        raise DataError(f"{COUNT} is '{wanted}'; set it to the number of hosts.")
    if wanted == "1":
        return
    if keras.backend.backend() != "jax":
        raise DataError(
            f"{COUNT} is {wanted}, but on {keras.backend.backend()} training uses one host; set KERAS_BACKEND=jax."
        )
    import jax

    if not jax.distributed.is_initialized():
        try:
            keras.distribution.initialize()
        except (RuntimeError, ValueError) as error:
            raise DataError(f"The other hosts cannot be reached: {str(error).splitlines()[0]}") from None


def count() -> int:
    """The number of hosts that train together; 1 before `join`."""
    if keras.backend.backend() != "jax":
        return 1
    import jax

    return jax.process_count()


def index() -> int:
    """The number of this host, from 0."""
    if count() == 1:
        return 0
    import jax

    return jax.process_index()


def folder(run: Path) -> Path:
    """The run's folder on this host: on the first host the run itself, on others a folder next to it."""
    return run.with_name(f"{run.name}-host-{index()}") if index() else run


def receive(own: Path) -> None:
    """Replace the folder of this host with a copy of the first host's."""
    content = b""
    if index() == 0:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(own, arcname=".", filter=lambda entry: None if "partial-" in entry.name else entry)
        content = stream.getvalue()
    content = _from_first(content)
    if index():
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(own, filter="data")


def _from_first(content: bytes) -> bytes:
    """Broadcast the bytes passed by the first host."""
    from jax.experimental.multihost_utils import broadcast_one_to_all

    length = int(broadcast_one_to_all(np.array(len(content), np.int32)))
    filled = np.frombuffer(content.ljust(length, b"\0")[:length], np.uint8)
    return np.asarray(broadcast_one_to_all(filled)).astype(np.uint8).tobytes()


def predictor(model: keras.Model) -> Callable[[np.ndarray, int], np.ndarray]:
    """Like `validation.predict` for this network, on all hosts together; each gets all logits.

    Keras's own `predict` gives each host only its part of the outputs.
    """
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    distribution = keras.distribution.distribution()
    mesh = distribution.device_mesh.backend_mesh
    divided = NamedSharding(mesh, PartitionSpec(distribution.batch_dim_name))

    def run(trainable: list, other: list, images: jax.Array) -> jax.Array:
        return model.stateless_call(trainable, other, images, training=False)[0]

    compiled = jax.jit(run, out_shardings=NamedSharding(mesh, PartitionSpec()))

    def predict(images: np.ndarray, batch: int) -> np.ndarray:
        filled = whole_batches(images, batch)
        variables = [[one.value for one in all_] for all_ in (model.trainable_variables, model.non_trainable_variables)]
        logits = []
        for start in range(0, len(filled), batch):
            own = filled[start : start + batch][part(batch)].astype(np.float32)
            logits.append(np.asarray(compiled(*variables, jax.make_array_from_process_local_data(divided, own))))
        return np.concatenate(logits)[: len(images)]

    return predict


def whole_batches(images: np.ndarray, batch: int) -> np.ndarray:
    """Images [n, ...] padded with copies of the first one to fill batches that several devices can share."""
    return np.concatenate([images, np.repeat(images[:1], -len(images) % batch, axis=0)])


def part(batch: int) -> slice:
    """The slice of a batch that this host computes."""
    size = batch // count()
    return slice(index() * size, (index() + 1) * size)
