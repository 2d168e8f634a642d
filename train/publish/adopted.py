"""A network that was trained elsewhere, independent of the file format: its inputs and outputs, and its converted
form."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skinapp.errors import ModelError
from skinapp.inference.runtime import softmax

if TYPE_CHECKING:
    import keras

LOGITS, SOFTMAX, SIGMOID = "logits", "softmax", "sigmoid"
"""Kinds of output: logits, or probabilities from one of two functions."""
AGREEMENT = 0.02
"""The maximum difference between a logit and the original's: this share of the largest logit, or this value if all are
below 1."""
SMALLEST = 1e-6
"""Probabilities below this are treated as equal to it in the comparison of logarithms."""


@dataclass(frozen=True)
class Preprocessing:
    """Converts RGB 0-255 to a network's input: channels reversed for `bgr`, then times `scale` plus `offset`, per
    channel."""

    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bgr: bool = False

    @property
    def changes(self) -> bool:
        return self != Preprocessing()

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Uint8 [n, S, S, 3] -> float32 of the same shape."""
        ordered = images[..., ::-1] if self.bgr else images
        return ordered.astype(np.float32) * np.array(self.scale, np.float32) + np.array(self.offset, np.float32)


def _of_all(scale: float, offset: float) -> Preprocessing:
    return Preprocessing((scale,) * 3, (offset,) * 3)


IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPROCESSING = {
    "included": Preprocessing(),
    "0-255": Preprocessing(),
    "0-1": _of_all(1 / 255, 0),
    "-1-1": _of_all(1 / 127.5, -1),
    "imagenet": Preprocessing(
        tuple(1 / (255 * one) for one in IMAGENET_DEVIATION),  # type: ignore[arg-type]
        tuple(-mean / one for mean, one in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)),  # type: ignore[arg-type]
    ),
    "imagenet-bgr": Preprocessing(offset=(-103.939, -116.779, -123.68), bgr=True),
}
"""By name; the last two are the modes `torch` and `caffe` of keras.applications."""


@dataclass(frozen=True)
class Head:
    """How a network's outputs become logits: `outputs` is their kind, and class i of the model is output `order[i]`.

    With `single`, the network has one output z for two classes, which is equivalent to the two outputs 0 and z.
    """

    outputs: str
    order: tuple[int, ...]
    single: bool
    preprocessing: Preprocessing

    def columns(self, values: np.ndarray) -> np.ndarray:
        """Weights, or logits, [..., outputs] -> [..., classes], in the order of the model's classes."""
        both = np.concatenate([np.zeros_like(values), values], axis=-1) if self.single else values
        return both[..., list(self.order)]


@dataclass(frozen=True)
class Converted:
    """A network in the form that the app needs: the content of `model.tflite`, the shapes of its outputs without the
    batch, and, where gradients can be computed, the network in Keras with its `blocks` as in `architecture.Block`."""

    content: bytes
    shapes: dict[str, list[int]]
    parameters: int
    network: "keras.Model | None" = None
    blocks: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Source:
    """The original network. `format` as in a card; `name` of the architecture; `size` of the images, in pixels; `count`
    of outputs; `outputs` their kind, None if the network does not state it.

    `run` maps preprocessed float32 [n, size, size, 3] to the outputs [n, count]; `convert` makes the app's network.
    """

    format: str
    name: str
    size: int
    count: int
    outputs: str | None
    run: Callable[[np.ndarray], np.ndarray]
    convert: Callable[[Head], Converted]


def checked_shape(shape: tuple[int | None, ...], size: int | None) -> int:
    """The side of the square images [n, side, side, 3] that a network takes: fixed, or `size` if it takes any.
    ModelError if its input has another form."""
    if len(shape) != 4:
        raise ModelError(
            f"Its input has the shape {_words(shape)}, which is not an image; it must be n x side x side x 3."
        )
    _, height, width, channels = shape
    if channels != 3:
        first = " Channels must come last." if shape[1] == 3 else ""
        raise ModelError(f"Its input has the shape {_words(shape)}, not n x side x side x 3.{first}")
    if height != width:
        raise ModelError(f"It takes images of {height} x {width} pixels; the app gives squares.")
    if height is None and size is None:
        raise ModelError("It takes images of any size; say with --size which side, in pixels, it was trained on.")
    if height is not None and size is not None and height != size:
        raise ModelError(f"It takes images of {height} x {height} pixels; leave out --size {size}.")
    return height or size or 0


def checked_count(shape: tuple[int | None, ...]) -> int:
    """The number of outputs of a network for an image. ModelError if its output is not a row of numbers."""
    if len(shape) != 2 or shape[1] is None:
        raise ModelError(f"Its output has the shape {_words(shape)}; it must be one number for each class.")
    return shape[1]


def check_one(what: str, names: list[str]) -> None:
    """ModelError unless a network has one input, or one output."""
    if len(names) != 1:
        listed = f" ({', '.join(names)})" if names else ""
        raise ModelError(f"It has {len(names)} {what}s{listed}; only networks with one are adopted.")


def recognised_outputs(values: np.ndarray) -> str:
    """The kind of the outputs [n, count], judging by their values. ModelError for independent probabilities, which
    cannot be distinguished from other numbers between 0 and 1 unless the network states it."""
    if values.min() < 0 or values.max() > 1:
        return LOGITS
    if values.shape[1] > 1 and np.abs(values.sum(axis=1) - 1).max() < 1e-3:
        return SOFTMAX
    raise ModelError(
        "Its outputs are between 0 and 1 without adding up to 1, and its last layer is not a sigmoid that could "
        "explain it. Adopt the network with logits, softmax or sigmoid as its last layer."
    )


def comparable(values: np.ndarray, outputs: str) -> np.ndarray:
    """Outputs as logits, for comparison: the logarithms of probabilities, or their log odds for sigmoids."""
    values = values.astype(np.float64)
    if outputs == LOGITS:
        return values
    clipped = values.clip(SMALLEST, 1 - SMALLEST)
    return np.log(clipped) if outputs == SOFTMAX else np.log(clipped / (1 - clipped))


def difference(original: np.ndarray, logits: np.ndarray, head: Head) -> float:
    """The largest difference in a probability between the original, by its outputs [n, count], and the app's network,
    by its logits [n, classes]. ModelError if a logit differs by more than AGREEMENT allows."""
    if not np.isfinite(original).all():
        raise ModelError("It gives numbers that are not finite for some images.")
    theirs = head.columns(comparable(original, head.outputs))
    ours = logits.astype(np.float64)
    if head.single:
        # only the difference of the two matters
        ours = ours - ours[:, [head.order.index(0)]]
    if head.outputs == SOFTMAX:
        ours = comparable(softmax(ours), SOFTMAX)
    elif head.outputs == SIGMOID:
        ours = ours.clip(*comparable(np.array([0.0, 1.0]), SIGMOID))
    largest = float(np.abs(theirs - ours).max())
    allowed = AGREEMENT * max(1.0, float(np.abs(theirs).max()))
    if not largest <= allowed:
        raise ModelError(
            f"The converted network and the original differ by {largest:.3f} in a logit; at most {allowed:.3f} is "
            "allowed. Nothing was written."
        )
    return float(np.abs(softmax(theirs) - softmax(ours)).max())


def _words(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if side is None else str(side) for side in shape)
