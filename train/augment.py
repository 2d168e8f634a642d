"""Augmentation, as layers that run on the device, inside the training graph, on RGB 0-255."""

import keras
from keras import layers

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


POLICIES = {"standard": standard, "none": none}


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


def _geometry(seed: int) -> list[keras.layers.Layer]:
    return [
        layers.RandomFlip("horizontal_and_vertical", seed=seed),
        layers.RandomRotation(0.5, fill_mode="reflect", seed=seed + 1),
        layers.RandomZoom((-0.35, 0.1), fill_mode="reflect", seed=seed + 2),
        layers.RandomTranslation(0.1, 0.1, fill_mode="reflect", seed=seed + 3),
    ]
