"""Training on several devices that share each batch."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from skinapp.errors import DataError
from train.fit import hosts


@contextlib.contextmanager
def distributed(devices: int, batch_size: int) -> Iterator[None]:
    """Data parallelism over this many devices of each host: `tf.distribute` on TensorFlow, Keras distribution on JAX.

    DataError if there are fewer devices, if they cannot share a batch evenly, or for more than one device on PyTorch.
    """
    backend = keras.backend.backend()
    together = devices * hosts.count()
    if devices < 1 or batch_size % together:
        raise DataError(
            f"A batch of {batch_size} cannot be shared by {together} devices; change --devices or batch_size."
        )
    if together == 1:
        yield
    elif backend == "tensorflow":
        import tensorflow as tf

        available = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        _enough(devices, len(available))
        with tf.distribute.MirroredStrategy([device.name for device in available[:devices]]).scope():
            yield
    elif backend == "jax":
        import jax

        _enough(devices, jax.local_device_count())
        chosen = [one for host in range(hosts.count()) for one in jax.local_devices(process_index=host)[:devices]]
        names = [f"{one.platform}:{one.id}" for one in chosen]
        # each host reads its own part of a batch
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names, auto_shard_dataset=False))
        try:
            yield
        finally:
            keras.distribution.set_distribution(None)
    else:
        raise DataError(f"On {backend}, training uses one device; for several, set KERAS_BACKEND to tensorflow or jax.")


def _enough(wanted: int, available: int) -> None:
    if wanted > available:
        raise DataError(
            f"--devices is {wanted}, but only {available} {'is' if available == 1 else 'are'} available; pass "
            f"--devices {available}."
        )


IMAGES = "images_on_device"
"""The name of the variable of `ImagesOnDevice`."""


class ImagesOnDevice(keras.layers.Layer):
    """Row numbers [n] -> images, uint8 [n, s, s, 3]. All images are in the memory of each device."""

    def __init__(self, images: np.ndarray):
        """DataError if they are known not to fit."""
        super().__init__(dtype="float32")
        free = free_memory()
        if free is not None and images.nbytes > free:
            raise DataError(
                f"The decoded images take up {images.nbytes / 1e9:.1f} GB, and the device has {free / 1e9:.1f} GB "
                "free; lower cache_size, or leave out --images-on-device."
            )
        self.images = self.add_weight(
            shape=images.shape,
            dtype="uint8",
            # without initialising with zeros first, which would double the memory
            initializer=lambda shape, dtype: ops.convert_to_tensor(np.ascontiguousarray(images), dtype=dtype),
            trainable=False,
            name=IMAGES,
        )

    def call(self, rows: keras.KerasTensor) -> keras.KerasTensor:
        return ops.take(self.images, rows, axis=0)


def free_memory() -> int | None:
    """The free memory of the first GPU in bytes; None without a GPU, or on TensorFlow, which does not report it."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        known = jax.local_devices()[0].memory_stats()
        return known["bytes_limit"] - known["bytes_in_use"] if known else None
    if backend == "torch":
        import torch

        return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
    return None
