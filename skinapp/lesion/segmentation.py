"""The lesion in a square, segmented by a small network and corrected by hand.

`python -m train segment` trains the network, models/lesion-segmentation; its README.md says how good it is.
"""

import dataclasses
import functools
import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

# scipy.ndimage, which takes a quarter of a second to import, is imported at its first use
from skinapp.errors import ModelError, SegmentationError
from skinapp.images import imaging
from skinapp.inference import registry

SMALLEST = 0.003
"""A region that covers less than this share of the square does not count as a lesion."""
LARGEST = 0.97
"""A segmentation that covers more than this share of the square does not show where the lesion ends."""
FLAT = 2.0
"""An image whose grey values have a smaller standard deviation than this counts as empty."""


@dataclass(frozen=True)
class Segmentation:
    """The lesion in a square: `mask` bool [H, W], the `probabilities` float32 [H, W] that a pixel belongs to it (0 and
    1 if it was drawn by hand), and a `note` for the user, "" if there is none."""

    mask: np.ndarray
    probabilities: np.ndarray
    note: str = ""

    @property
    def share(self) -> float:
        """The lesion's share of the square, 0-1."""
        return float(self.mask.mean())


def segment(square: np.ndarray) -> Segmentation:
    """The lesion in uint8 RGB [S, S, 3], at the threshold chosen on validation lesions.

    SegmentationError if there is no visible lesion, ModelError if the network is missing or was altered.
    """
    if square.std(axis=(0, 1)).max() < FLAT:
        raise SegmentationError("The image is one colour throughout, so it shows no lesion to segment.")
    return at_threshold(probabilities(square), card()["threshold"])


def probabilities(square: np.ndarray) -> np.ndarray:
    """The network's probability that a pixel belongs to the lesion: uint8 [S, S, 3] -> float32 [S, S]."""
    network = _loaded(str(folder()), card()["files"]["model.tflite"]["sha256"])
    return network.probabilities(square, square.shape[0])


def at_threshold(probabilities: np.ndarray, threshold: float) -> Segmentation:
    """Probabilities [H, W] -> the largest connected region at or above the threshold, with holes filled.

    SegmentationError if it is smaller than SMALLEST.
    """
    regions, count = scipy.ndimage.label(probabilities >= threshold)
    if count:
        largest = 1 + int(np.argmax(np.bincount(regions.ravel())[1:]))
        mask = scipy.ndimage.binary_fill_holes(regions == largest)
    else:
        mask = np.zeros(probabilities.shape, dtype=bool)
    return _checked(Segmentation(mask, probabilities))


def grown(segmentation: Segmentation, by: float) -> Segmentation:
    """The border moved outwards by a share of the square's side, or inwards if the share is negative.

    SegmentationError if nothing is left.
    """
    distance = abs(by) * segmentation.mask.shape[0]
    if by > 0:
        mask = scipy.ndimage.distance_transform_edt(~segmentation.mask) <= distance
    elif by < 0:
        # the lesion is assumed to extend beyond the edge of the square
        framed = np.pad(segmentation.mask, 1, mode="edge")
        mask = (scipy.ndimage.distance_transform_edt(framed) > distance)[1:-1, 1:-1]
    else:
        return segmentation
    return _checked(dataclasses.replace(segmentation, mask=mask))


def ellipse(shape: tuple[int, int], x: float, y: float, width: float, height: float, degrees: float) -> Segmentation:
    """An ellipse drawn by hand: centre and axes in shares of the square's sides, rotated counter-clockwise.

    SegmentationError if it is outside the square.
    """
    rows, columns = (np.arange(size) / size + 0.5 / size for size in shape)
    angle = np.radians(degrees)
    across, up = columns - x, y - rows[:, np.newaxis]
    along = across * np.cos(angle) + up * np.sin(angle)
    beside = up * np.cos(angle) - across * np.sin(angle)
    mask = (along / (width / 2)) ** 2 + (beside / (height / 2)) ** 2 <= 1
    return _checked(Segmentation(mask, mask.astype(np.float32)))


def with_border(square: np.ndarray, segmentation: Segmentation) -> np.ndarray:
    """The square with the border as a white line edged in black, so that it shows on any skin: uint8 [H, W, 3]."""
    width = max(1, round(square.shape[0] / 200))
    outer = scipy.ndimage.binary_dilation(segmentation.mask, iterations=width) & ~segmentation.mask
    around = scipy.ndimage.binary_dilation(segmentation.mask, iterations=2 * width) & ~segmentation.mask
    picture = square.copy()
    picture[around] = 20
    picture[outer] = 255
    return picture


def folder() -> Path:
    return registry.segmentation().folder


def card() -> dict[str, Any]:
    """The card of the network: its threshold, scores, and the hashes of its files. ModelError if it is missing."""
    return registry.segmentation().card


def _checked(segmentation: Segmentation) -> Segmentation:
    if segmentation.share < SMALLEST:
        raise SegmentationError(
            "No lesion was found in the square. Move the square so that the lesion is in the middle, or choose "
            "“Ellipse” and set its border yourself."
        )
    note = ""
    if segmentation.share > LARGEST:
        note = (
            "The lesion covers the whole square, so no skin is left to compare it with. Choose a larger square, or "
            "choose “Ellipse” and set the border yourself."
        )
    return dataclasses.replace(segmentation, note=note)


class Network:
    """The loaded network; callers in several threads take turns."""

    def __init__(self, content: bytes):
        # the signature runner does not keep its interpreter alive
        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._run = self._interpreter.get_signature_runner()
        self._lock = threading.Lock()
        self.size = int(self._run.get_input_details()["image"]["shape"][1])

    def probabilities(self, square: np.ndarray, side: int) -> np.ndarray:
        """The probability that a pixel belongs to the lesion, float32 [side, side], for uint8 RGB [S, S, 3]."""
        pixels = imaging.crop_resize(Image.fromarray(square), self.size)
        with self._lock:
            small = self._run(image=pixels[np.newaxis].astype(np.float32))["probabilities"][0].copy()
        return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BILINEAR)).clip(0, 1)


@functools.lru_cache(maxsize=2)
def _loaded(folder: str, sha256: str) -> Network:
    try:
        content = (Path(folder) / "model.tflite").read_bytes()
    except OSError:
        raise ModelError(f"The network in {folder} lacks its file model.tflite; fetch the folder again.") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"The file model.tflite in {folder} was changed after it was published; fetch it again.")
    return Network(content)
