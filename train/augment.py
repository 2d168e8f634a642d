"""Augmentation, as layers that run on the device, inside the training graph, on RGB 0-255."""

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
        # saturation leaves the range a little
        layers.ReLU(max_value=255.0),
        layers.RandomErasing(0.3, scale=(0.02, 0.15), value_range=_RANGE, seed=seed + 8),
    ]


def none(seed: int) -> list[keras.layers.Layer]:
    """Nothing."""
    return []


def kerascv(seed: int) -> list[keras.layers.Layer]:
    """The geometry of `standard`, then keras-cv's RandAugment and GridMask; only on TensorFlow, see `check`.

    RandAugment (Cubuk et al. 2019, arXiv:1909.13719): two operations an image, of automatic contrast, colour, contrast,
    brightness, shear and shift. Solarising and equalising are left out: negatives and channels stretched one by one
    rewrite the colours by which lesions are told apart. GridMask (Chen et al. 2020, arXiv:2001.04086): black squares
    over a quarter of the image at most.

    keras-cv augments whether training or not. It draws strengths from TensorFlow's global stream, so that `seed`
    settles everything only after `keras.utils.set_random_seed`, and has no state that an epoch could set: a run repeats
    itself, but one that was interrupted goes on with other augmentation than without the break.
    """
    import keras_cv
    import tensorflow as tf

    unfit = (keras_cv.layers.Solarization, keras_cv.layers.Equalization)
    precision = keras.config.dtype_policy()
    # in half precision the mean of an image overflows
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
        # in parallel the order of the draws, and so what an image gets, would be left to chance
        return tf.map_fn(lambda image: grid_mask(rand_augment(image)), images, parallel_iterations=1)

    # a function of TensorFlow, since keras-cv branches on tensors in Python, which Keras does not convert
    return [*_geometry(seed), layers.Lambda(tf.function(one_by_one), dtype="float32")]


POLICIES = {"standard": standard, "kerascv": kerascv, "none": none}


def check(policy: str) -> None:
    """DataError where that policy cannot run here."""
    if policy == "kerascv" and keras.backend.backend() != "tensorflow":
        raise DataError(
            f"The augmentation 'kerascv' runs on TensorFlow, not on {keras.backend.backend()}; set "
            "KERAS_BACKEND=tensorflow, or take augmentation=standard."
        )
    if policy == "kerascv" and importlib.util.find_spec("keras_cv") is None:
        raise DataError(
            "The augmentation 'kerascv' needs keras-cv, which is not installed; run pip install -r "
            "requirements-train.txt, or take augmentation=standard."
        )


def mixing(mixup: float, cutmix: float, seed: int) -> list[keras.layers.Layer]:
    """MixUp (Zhang et al. 2018) and CutMix (Yun et al. 2019) of those beta parameters, 0 for none, on image and target.

    Each takes and gives {"images": [n, s, s, 3], "labels": one-hot float [n, classes]}.
    """
    chosen = []
    if mixup:
        chosen.append(layers.MixUp(mixup, seed=seed + 20))
    if cutmix:
        chosen.append(layers.CutMix(cutmix, seed=seed + 21))
    return chosen


class RandomAffine(layers.Layer):
    """Flips, rotation by any angle, zoom by 0.65 to 1.1 and shifts of up to a tenth, as one bilinear interpolation.

    Images [n, s, s, 3], mirrored at their edges. One interpolation blurs less than one for each of the three and takes
    a third of the time; on PyTorch its own sampler takes a twentieth of that of `keras.ops.image.affine_transform`.
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
        flip = ops.where(uniform[2] < 0.5, -1.0, 1.0)
        # a mirrored image turned by any angle is also one that is mirrored the other way
        matrix = zoom * ops.stack([cosine * flip, -sine, sine * flip, cosine])
        matrix = ops.reshape(ops.transpose(matrix), (-1, 2, 2))
        shift = 0.4 * uniform[3:] - 0.2
        return warped(images, matrix, ops.transpose(shift))


def warped(images: keras.KerasTensor, matrix: keras.KerasTensor, shift: keras.KerasTensor) -> keras.KerasTensor:
    """Images [n, s, s, 3] through (x, y) -> matrix [n, 2, 2] (x, y) + shift [n, 2], in halves of the image's width from
    its middle, bilinear and mirrored at the edges."""
    if keras.backend.backend() == "torch":
        import torch

        theta = torch.cat([matrix, shift[:, :, None]], dim=2)
        planes = images.permute(0, 3, 1, 2)
        grid = torch.nn.functional.affine_grid(theta, list(planes.shape), align_corners=False)
        sampled = torch.nn.functional.grid_sample(planes, grid, "bilinear", "reflection", align_corners=False)
        return sampled.permute(0, 2, 3, 1)
    half = (ops.cast(ops.shape(images)[1], "float32") - 1) / 2
    flat = ops.reshape(matrix, (-1, 4))
    offset = half * (1 - flat[:, 0::2] - flat[:, 1::2] + shift)
    zero = ops.zeros_like(offset[:, :1])
    transform = ops.concatenate([flat[:, :2], offset[:, :1], flat[:, 2:], offset[:, 1:], zero, zero], axis=1)
    return ops.image.affine_transform(images, transform, "bilinear", "mirror")


def _geometry(seed: int) -> list[keras.layers.Layer]:
    return [RandomAffine(seed)]
