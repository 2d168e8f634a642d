"""Augmentation, as layers that run on the device, inside the training graph, on RGB 0-255."""

import keras
from keras import layers

_RANGE = (0, 255)


def standard(image_size: int, seed: int) -> list[keras.layers.Layer]:
    """Size, then flips, rotation by any angle, zoom, shift, colour and erasing. RGB 0-255 in and out."""
    return [
        layers.Resizing(image_size, image_size, antialias=True),
        layers.RandomFlip("horizontal_and_vertical", seed=seed),
        layers.RandomRotation(0.5, fill_mode="reflect", seed=seed + 1),
        layers.RandomZoom((-0.35, 0.1), fill_mode="reflect", seed=seed + 2),
        layers.RandomTranslation(0.1, 0.1, fill_mode="reflect", seed=seed + 3),
        layers.RandomBrightness(0.15, value_range=_RANGE, seed=seed + 4),
        layers.RandomContrast(0.25, value_range=_RANGE, seed=seed + 5),
        layers.RandomHue(0.05, value_range=_RANGE, seed=seed + 6),
        layers.RandomSaturation((0.4, 0.6), value_range=_RANGE, seed=seed + 7),
        # saturation leaves the range a little
        layers.ReLU(max_value=255.0),
        layers.RandomErasing(0.3, scale=(0.02, 0.15), value_range=_RANGE, seed=seed + 8),
    ]
