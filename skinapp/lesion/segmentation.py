"""Where the lesion ends: its outline in a square, from a small segmentation network, and corrected by hand.

`python -m train segment` makes the network, models/lesion-segmentation; its README.md says how well it does.
"""

import dataclasses
import functools
import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from scipy import ndimage

from skinapp.errors import ModelError, OutlineError
from skinapp.images import imaging
from skinapp.inference import registry

SMALLEST = 0.003
"""The share of the square below which nothing counts as a lesion."""
LARGEST = 0.97
"""The share of the square from which on the outline says nothing about where the lesion ends."""
FLAT = 2.0
"""Standard deviation, in grey values, below which an image shows nothing."""


@dataclass(frozen=True)
class Outline:
    """The lesion in a square: `mask` bool [H, W], the network's `probabilities` float32 [H, W] that a place belongs to
    it (0 and 1 where it was drawn by hand), and a `note` for the reader, "" where there is none."""

    mask: np.ndarray
    probabilities: np.ndarray
    note: str = ""

    @property
    def share(self) -> float:
        """The lesion's share of the square, 0-1."""
        return float(self.mask.mean())


def find(square: np.ndarray) -> Outline:
    """The lesion in uint8 RGB [S, S, 3], at the threshold that validation lesions chose.

    OutlineError where there is none to be seen, ModelError where the network is not installed or was altered.
    """
    if square.std(axis=(0, 1)).max() < FLAT:
        raise OutlineError("The image is the same all over, so there is no lesion to outline.")
    return at_threshold(probabilities(square), card()["threshold"])


def probabilities(square: np.ndarray) -> np.ndarray:
    """The network's probability that a place belongs to the lesion: uint8 [S, S, 3] -> float32 [S, S]."""
    network = _loaded(str(folder()), card()["files"]["model.tflite"]["sha256"])
    return network.probabilities(square, square.shape[0])


def at_threshold(found: np.ndarray, threshold: float) -> Outline:
    """Probabilities [H, W] -> the largest connected place that reaches the threshold, its holes filled.

    OutlineError where that is smaller than SMALLEST.
    """
    places, count = ndimage.label(found >= threshold)
    if count:
        largest = 1 + int(np.argmax(np.bincount(places.ravel())[1:]))
        mask = ndimage.binary_fill_holes(places == largest)
    else:
        mask = np.zeros(found.shape, dtype=bool)
    return _noted(Outline(mask, found))


def grown(outline: Outline, by: float) -> Outline:
    """The outline moved outwards by a share of the square's side, or inwards where it is negative.

    OutlineError where nothing is left.
    """
    distance = abs(by) * outline.mask.shape[0]
    if by > 0:
        mask = ndimage.distance_transform_edt(~outline.mask) <= distance
    elif by < 0:
        # what lies outside the square counts as more of the lesion
        framed = np.pad(outline.mask, 1, mode="edge")
        mask = (ndimage.distance_transform_edt(framed) > distance)[1:-1, 1:-1]
    else:
        return outline
    return _noted(dataclasses.replace(outline, mask=mask))


def ellipse(shape: tuple[int, int], x: float, y: float, width: float, height: float, degrees: float) -> Outline:
    """An ellipse drawn by hand: centre and axes in shares of the square's sides, turned counter-clockwise.

    OutlineError where it has no place in the square.
    """
    rows, columns = (np.arange(size) / size + 0.5 / size for size in shape)
    angle = np.radians(degrees)
    across, up = columns - x, y - rows[:, np.newaxis]
    along = across * np.cos(angle) + up * np.sin(angle)
    beside = up * np.cos(angle) - across * np.sin(angle)
    mask = (along / (width / 2)) ** 2 + (beside / (height / 2)) ** 2 <= 1
    return _noted(Outline(mask, mask.astype(np.float32)))


def drawn(square: np.ndarray, outline: Outline) -> np.ndarray:
    """The square with the outline as a line, white on black so that it shows on any skin: uint8 [H, W, 3]."""
    width = max(1, round(square.shape[0] / 200))
    outer = ndimage.binary_dilation(outline.mask, iterations=width) & ~outline.mask
    around = ndimage.binary_dilation(outline.mask, iterations=2 * width) & ~outline.mask
    picture = square.copy()
    picture[around] = 20
    picture[outer] = 255
    return picture


def folder() -> Path:
    return registry.segmentation().folder


def card() -> dict[str, Any]:
    """The card of the network: its threshold, scores, and the hashes of its files. ModelError where there is none."""
    return registry.segmentation().card


def _noted(outline: Outline) -> Outline:
    if outline.share < SMALLEST:
        raise OutlineError(
            "No lesion was found in the square. Move the square so that the lesion is in its middle, or draw the "
            "outline by hand."
        )
    note = ""
    if outline.share > LARGEST:
        note = (
            "The outline covers the whole square, so it does not tell the lesion from the skin. Take a larger square, "
            "or draw the outline by hand."
        )
    return dataclasses.replace(outline, note=note)


class Network:
    """The loaded network; callers in several threads take turns."""

    def __init__(self, content: bytes):
        # the signature runner does not keep its interpreter alive
        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._run = self._interpreter.get_signature_runner()
        self._lock = threading.Lock()
        self.size = int(self._run.get_input_details()["image"]["shape"][1])

    def probabilities(self, square: np.ndarray, side: int) -> np.ndarray:
        """Of uint8 RGB [S, S, 3] the probability that a place belongs to the lesion: float32 [side, side]."""
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
