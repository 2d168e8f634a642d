"""Training on several devices that share each batch."""

import contextlib
from collections.abc import Iterator

import keras

from skinapp.errors import DataError


@contextlib.contextmanager
def distributed(devices: int, batch_size: int) -> Iterator[None]:
    """Data parallelism over that many devices: `tf.distribute` on TensorFlow, Keras distribution on JAX.

    DataError if there are fewer devices, if they cannot share a batch evenly, or for more than one device on PyTorch.
    """
    backend = keras.backend.backend()
    if devices < 1 or batch_size % devices:
        raise DataError(
            f"A batch of {batch_size} cannot be shared by {devices} devices; change --devices or batch_size."
        )
    if devices == 1:
        yield
    elif backend == "tensorflow":
        import tensorflow as tf

        available = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        _enough(devices, len(available))
        with tf.distribute.MirroredStrategy([device.name for device in available[:devices]]).scope():
            yield
    elif backend == "jax":
        available = keras.distribution.list_devices()
        _enough(devices, len(available))
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=available[:devices]))
        try:
            yield
        finally:
            keras.distribution.set_distribution(None)
    else:
        raise DataError(f"On {backend}, training uses one device; for several, set KERAS_BACKEND to tensorflow or jax.")


def _enough(wanted: int, available: int) -> None:
    if wanted > available:
        raise DataError(f"--devices is {wanted}, but only {available} available; pass --devices {available}.")
