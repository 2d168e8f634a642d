"""Augmentation: layers for RGB 0-255 that run on the device, inside the training graph."""

import importlib.util

import keras
from keras import layers

from skinapp.errors import DataError

_RANGE = (0, 255)


def standard(seed: int) -> list[keras.layers.Layer]:
    """Flips, rotation by any angle, zoom, shift, colour and erasing, all of core Keras."""
    return [
        *_geometry(seed),
        layers.RandomBrightness(0.15, value_range=_RANGE, seed=seed + 4),
        layers.RandomContrast(0.25, value_range=_RANGE, seed=seed + 5),
        layers.RandomHue(0.05, value_range=_RANGE, seed=seed + 6),
        layers.RandomSaturation((0.4, 0.6), value_range=_RANGE, seed=seed + 7),
        # saturation can leave the range a little
        layers.ReLU(max_value=255.0),
        layers.RandomErasing(0.3, scale=(0.02, 0.15), value_range=_RANGE, seed=seed + 8),
    ]


def none(seed: int) -> list[keras.layers.Layer]:
    """No augmentation."""
    return []


def kerascv(seed: int) -> list[keras.layers.Layer]:
    """The geometry of `standard`, then keras-cv's RandAugment and GridMask; only on TensorFlow, see `check`.

    RandAugment (Cubuk et al. 2019, arXiv:1909.13719): two operations per image, of automatic contrast, colour,
    contrast, brightness, shear and shift. Solarising and equalising are left out, since both change the colours that
    distinguish lesions. GridMask (Chen et al. 2020, arXiv:2001.04086): black squares over at most a quarter of the
    image.

    keras-cv augments even outside training. It draws strengths from TensorFlow's global generator, so a run is only
    reproducible after `keras.utils.set_random_seed`, and it has no state that can be set for an epoch: a resumed run
    gets different augmentation than an uninterrupted one.
    """
    import keras_cv
    import tensorflow as tf

    unfit = (keras_cv.layers.Solarization, keras_cv.layers.Equalization)
    precision = keras.config.dtype_policy()
    # the mean of an image overflows in half precision
    keras.config.set_dtype_policy("float32")
    try:
        operations = keras_cv.layers.RandAugment.get_standard_policy(_RANGE, 0.3, magnitude_stddev=0.15, seed=seed + 10)
        rand_augment = keras_cv.layers.RandomAugmentationPipeline(
            [operation for operation in operations if not isinstance(operation, unfit)],
            augmentations_per_image=2,
            rate=10 / 11,
            seed=seed + 11,
        )
        grid_mask = keras_cv.layers.GridMask(seed=seed + 12)
    finally:
        keras.config.set_dtype_policy(precision)

    def one_by_one(images: tf.Tensor) -> tf.Tensor:
        # run in parallel, the order of random draws, and so the result, would vary
        return tf.map_fn(lambda image: grid_mask(rand_augment(image)), images, parallel_iterations=1)

    # wrapped in tf.function, since keras-cv branches on tensors in Python, which Keras does not convert
    return [*_geometry(seed), layers.Lambda(tf.function(one_by_one), dtype="float32")]


POLICIES = {"standard": standard, "kerascv": kerascv, "none": none}


def check(policy: str) -> None:
    """DataError if that policy cannot run here."""
    if policy == "kerascv" and keras.backend.backend() != "tensorflow":
        raise DataError(
            f"The augmentation 'kerascv' runs on TensorFlow, not on {keras.backend.backend()}; set "
            "KERAS_BACKEND=tensorflow, or use augmentation=standard."
        )
    if policy == "kerascv" and importlib.util.find_spec("keras_cv") is None:
        raise DataError(
            "The augmentation 'kerascv' needs keras-cv, which is not installed; run pip install -r "
            "requirements-train.txt, or use augmentation=standard."
        )


def mixing(mixup: float, cutmix: float, seed: int) -> list[keras.layers.Layer]:
    """MixUp (Zhang et al. 2018) and CutMix (Yun et al. 2019) of those beta parameters, 0 for none, on image and target.

    Each maps {"images": [n, s, s, 3], "labels": one-hot float [n, classes]} to the same form.
    """
    chosen = []
    if mixup:
        chosen.append(layers.MixUp(mixup, seed=seed + 20))
    if cutmix:
        chosen.append(layers.CutMix(cutmix, seed=seed + 21))
    return chosen


def _geometry(seed: int) -> list[keras.layers.Layer]:
    return [
        layers.RandomFlip("horizontal_and_vertical", seed=seed),
        layers.RandomRotation(0.5, fill_mode="reflect", seed=seed + 1),
        layers.RandomZoom((-0.35, 0.1), fill_mode="reflect", seed=seed + 2),
        layers.RandomTranslation(0.1, 0.1, fill_mode="reflect", seed=seed + 3),
    ]
