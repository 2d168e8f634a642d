"""Augmentation: layers for RGB 0-255 that run on the device, inside the training graph."""

import importlib.util

import keras
import numpy as np
from keras import layers, ops

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

    keras-cv also augments outside training. It draws strengths from TensorFlow's global generator, so a run is only
    reproducible after `keras.utils.set_random_seed`, and its state cannot be set for an epoch: a resumed run gets
    different augmentation from an uninterrupted one.
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
        # in parallel, the order of random draws, and so the result, would vary
        return tf.map_fn(lambda image: grid_mask(rand_augment(image)), images, parallel_iterations=1)

    # wrapped in tf.function, since keras-cv branches on tensors in Python, which Keras does not convert
    return [*_geometry(seed), layers.Lambda(tf.function(one_by_one), dtype="float32")]


POLICIES = {"standard": standard, "kerascv": kerascv, "none": none}


def check(policy: str) -> None:
    """DataError if this policy cannot run here."""
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


class RandomAffine(layers.Layer):
    """Flips, rotation by any angle, zoom (a view of 0.65 to 1.1 of the image's width) and shifts of up to a tenth, as
    one bilinear interpolation.

    Images [n, s, s, 3], mirrored at their edges. A single interpolation blurs less than four, and takes a third of the
    time.
    """

    def __init__(self, seed: int):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        if not training:
            return images
        uniform = keras.random.uniform((5, ops.shape(images)[0]), seed=self.seed_generator)
        angle = 2 * np.pi * uniform[0]
        cosine, sine = ops.cos(angle), ops.sin(angle)
        zoom = 0.65 + 0.45 * uniform[1]
        # one axis is enough: with a rotation by any angle, it gives the flip of the other axis too
        flip = ops.where(uniform[2] < 0.5, -1.0, 1.0)
        matrix = zoom * ops.stack([cosine * flip, -sine, sine * flip, cosine])
        matrix = ops.reshape(ops.transpose(matrix), (-1, 2, 2))
        shift = 0.4 * uniform[3:] - 0.2
        return affine(images, matrix, ops.transpose(shift))


def affine(images: keras.KerasTensor, matrix: keras.KerasTensor, shift: keras.KerasTensor) -> keras.KerasTensor:
    """Images [n, s, s, 3] whose pixel at (x, y) is taken from matrix [n, 2, 2] (x, y) + shift [n, 2]: bilinear, and
    mirrored at the edges. Coordinates are relative to the middle, in units of half the image's width."""
    if keras.backend.backend() == "torch":
        # takes a twentieth of the time of Keras's affine_transform on PyTorch
        import torch

        theta = torch.cat([matrix, shift[:, :, None]], dim=2)
        planes = images.permute(0, 3, 1, 2)
        grid = torch.nn.functional.affine_grid(theta, list(planes.shape), align_corners=False)
        sampled = torch.nn.functional.grid_sample(planes, grid, "bilinear", "reflection", align_corners=False)
        return sampled.permute(0, 2, 3, 1)
    size = ops.cast(ops.shape(images)[1], "float32")
    flat = ops.reshape(matrix, (-1, 4))
    # Keras counts pixels from the centre of the first one, which is (size - 1) / 2 from the middle
    offset = (size - 1) / 2 * (1 - flat[:, 0::2] - flat[:, 1::2]) + size / 2 * shift
    zero = ops.zeros_like(offset[:, :1])
    transform = ops.concatenate([flat[:, :2], offset[:, :1], flat[:, 2:], offset[:, 1:], zero, zero], axis=1)
    return ops.image.affine_transform(images, transform, "bilinear", "reflect")


def _geometry(seed: int) -> list[keras.layers.Layer]:
    return [RandomAffine(seed)]
