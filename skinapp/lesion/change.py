"""Compares two photos of one lesion: aligns the second with the first, and reports differences larger than between
photos of an unchanged lesion.

Two photos of an unchanged lesion differ too: in distance, angle, light and focus. `python -m train change` measures how
much on pairs of photos of one lesion, for each kind of image, and writes the figures that `noise` reads.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.feature import SIFT, match_descriptors
from skimage.measure import ransac
from skimage.transform import SimilarityTransform, warp

from skinapp.errors import ImageError, SegmentationError
from skinapp.images import imaging
from skinapp.inference import analysis as analyses
from skinapp.inference.analysis import Analysis
from skinapp.inference.registry import Model
from skinapp.lesion import segmentation, shape

NOISE_FILE = Path(__file__).with_name("change.json")
SIDE = 240
"""Pixels of the squares in which points are matched."""
MIN_POINTS = 6
"""With fewer matched points, the photos may show different lesions."""
DISTANCE_RATIO = 0.85
"""Maximum ratio of the distances to the nearest and the second nearest descriptor: a point with a higher ratio is not
matched (Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94)."""
TOLERANCE = 4.0
"""Maximum error of a matched point, in pixels."""
TRIALS = 400

OFFSET = 0.005
"""Added to a probability and to its complement before taking log odds, so that differences between tiny probabilities
carry little weight."""

SIZE, CANCER, DIAMETER = "Size", "Probability of cancer", "Largest diameter"
NO_MATCH = (
    "These photos could not be aligned: they may show different lesions, or differ too much in sharpness, light or "
    "distance. Check that both show the same lesion, and compare them by eye."
)


@dataclass(frozen=True, eq=False)
class Alignment:
    """The alignment of the second square with the first: `aligned`, uint8 [S, S, 3], is the second in the frame of the
    first, white where it does not reach (`covered`, bool [S, S], is False there). `scale` is the length in the second
    square that corresponds to 1 in the first, in units of the side; `degrees` the rotation of the second, -180 to 180;
    `points` the number of matched points."""

    aligned: np.ndarray
    covered: np.ndarray
    scale: float
    degrees: float
    points: int


@dataclass(frozen=True)
class Change:
    """A measurement in both photos, its unit ("%", "mm" or ""), and its noise: 95 of 100 pairs of photos of an
    unchanged lesion differ by less, as a factor for SIZE, in log odds for CANCER, and as a difference for everything
    else; None if it was not measured."""

    name: str
    before: float
    after: float
    unit: str
    noise: float | None

    @property
    def is_usual(self) -> bool | None:
        """Whether the difference is usual between photos of an unchanged lesion; None if that is not known."""
        if self.noise is None:
            return None
        if self.name == SIZE:
            return bool(max(self.after / self.before, self.before / self.after) <= self.noise)
        if self.name == CANCER:
            return bool(abs(log_odds(self.after) - log_odds(self.before)) <= self.noise)
        return bool(abs(self.after - self.before) <= self.noise)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The differences between two photos of a lesion; `alignment` is None if they do not match. `note` says what
    failed: aligning the photos, or finding the lesion in them. `exceeded` says in how many pairs of photos of an
    unchanged lesion at least one of these differences exceeds its noise, and in how many they were measured; None if
    they were not."""

    changes: tuple[Change, ...]
    alignment: Alignment | None = None
    note: str = ""
    exceeded: tuple[int, int] | None = None


def compare(
    first: Analysis, second: Analysis, millimetres: tuple[float | None, float | None] = (None, None)
) -> Comparison:
    """Compare two photos of a lesion that one model has analysed. `millimetres` are the real lengths of the sides of
    the squares, if known; they then set the scale instead of the alignment."""
    kind = first.model.modality
    notes = []
    alignment = None
    try:
        alignment = align(first.square, second.square)
    except ImageError as error:
        notes.append(str(error))
    before, after = millimetres
    scale = before / after if before and after else alignment.scale if alignment else None
    result: list[Change] = []
    try:
        # the same size as the squares in which the noise was measured
        squares = [imaging.crop_resize(one.image, SIDE, one.crop) for one in (first, second)]
        masks = [segmentation.segment(square).mask for square in squares]
    except SegmentationError as error:
        notes.append(f"Size, shape and colour cannot be compared. {error}")
    else:
        result += changes((squares[0], masks[0]), (squares[1], masks[1]), scale, kind)
        if before and after:
            lengths = [
                shape.diameter(mask) / SIDE * length for mask, length in zip(masks, (before, after), strict=True)
            ]
            result.append(Change(DIAMETER, lengths[0], lengths[1], "mm", None))
    shares = [next(iter(analyses.shares(one.prediction).values())) for one in (first, second)]
    result.append(of_cancer(shares[0], shares[1], first.model))
    if alignment is None:
        # the noise was measured on pairs that can be aligned
        result = [dataclasses.replace(one, noise=None) for one in result]
    judged = {one.name for one in result if one.noise is not None}
    complete = judged == {*noise(kind), CANCER}
    return Comparison(
        tuple(result),
        alignment,
        " ".join(notes),
        (_of_network(first.model)["exceeded"], figures()[kind]["measured"]) if complete else None,
    )


def align(first: np.ndarray, second: np.ndarray) -> Alignment:
    """Align the second of two squares, uint8 RGB [S, S, 3] each, with the first, by a shift, a rotation and a scale.

    Points are matched by SIFT (Lowe 2004) and their common transform found by RANSAC (Fischler and Bolles 1981). If the
    lesion fills the square, its growth looks like a change of distance. ImageError if the photos do not match.
    """
    (points, descriptors), (other_points, other_descriptors) = _features(first), _features(second)
    if min(len(points), len(other_points)) < MIN_POINTS:
        raise ImageError(NO_MATCH)
    matched = match_descriptors(descriptors, other_descriptors, max_ratio=DISTANCE_RATIO, cross_check=True)
    if len(matched) < MIN_POINTS:
        raise ImageError(NO_MATCH)
    # x before y
    pairs = points[matched[:, 0]][:, ::-1], other_points[matched[:, 1]][:, ::-1]
    transform, inliers = ransac(
        pairs, SimilarityTransform, min_samples=2, residual_threshold=TOLERANCE, max_trials=TRIALS, rng=0
    )
    if inliers is None or inliers.sum() < MIN_POINTS:
        raise ImageError(NO_MATCH)
    side = first.shape[0]
    full = _scaling(second.shape[0]) @ transform.params @ np.linalg.inv(_scaling(side))
    return Alignment(
        warp(second, full, output_shape=(side, side), cval=255, preserve_range=True).round().astype(np.uint8),
        warp(np.ones(second.shape[:2]), full, output_shape=(side, side), order=0) > 0.5,
        float(transform.scale),
        float(np.degrees(transform.rotation)),
        int(inliers.sum()),
    )


def changes(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    scale: float | None,
    kind: str,
) -> list[Change]:
    """The measurements in two photos of a kind, given the square, uint8 [S, S, 3], and the lesion's mask, bool [S, S],
    of each.

    `scale` is that of their `Alignment`, or the ratio of the real lengths of the sides of the first and the second
    square; without it, sizes cannot be compared. ValueError for an empty mask.
    """
    result = []
    known = noise(kind)
    if scale is not None:
        before, after = (float(mask.mean()) for _, mask in (first, second))
        result.append(Change(SIZE, before, after / scale**2, "%", known.get(SIZE)))
    for one, other in zip(shape.measure(*first), shape.measure(*second), strict=True):
        if one.name != shape.SHARE:
            result.append(Change(one.name, one.value, other.value, one.unit, known.get(one.name)))
    return result


def of_cancer(before: float, after: float, model: Model) -> Change:
    """The probabilities of cancer that a model gives two photos. Their noise is known only if it was measured with the
    model's current networks."""
    return Change(CANCER, before, after, "%", _of_network(model).get("noise"))


def log_odds(probability: float) -> float:
    """The natural logarithm of the odds, with OFFSET added to both sides."""
    return math.log((probability + OFFSET) / (1 - probability + OFFSET))


def sentence(change: Change) -> str:
    """A sentence on a change."""
    if change.name == SIZE:
        words = f"{change.name}: {change.after / change.before:.2f} times that in the first photo"
    else:
        form, unit = (".0%", "") if change.unit == "%" else (".2f", f" {change.unit}" if change.unit else "")
        words = f"{change.name}: {change.before:{form}}{unit}, then {change.after:{form}}{unit}"
    if change.is_usual is None:
        return f"{words}. How much this differs between photos of an unchanged lesion has not been measured."
    usual = "no more than usual" if change.is_usual else "more than usual"
    return f"{words}: {usual} ({limit(change)} in 95 of 100 pairs of photos of an unchanged lesion)."


def limit(change: Change) -> str:
    """A sentence on how much two photos of an unchanged lesion differ; "" if it was not measured."""
    if change.noise is None:
        return ""
    if change.name == SIZE:
        return f"{1 / change.noise:.2f} to {change.noise:.2f} times"
    if change.name == CANCER:
        low, high = (_from_log_odds(log_odds(change.before) + sign * change.noise) for sign in (-1, 1))
        return f"from {change.before:.0%} to between {low:.0%} and {high:.0%}"
    return f"a difference of up to {change.noise:{'.0%' if change.unit == '%' else '.2f'}}"


def noise(kind: str) -> Mapping[str, float]:
    """The noise of each measurement, by name: the difference that 95 of 100 pairs of photos of an unchanged lesion do
    not exceed, see Change; empty for a kind of image that was not measured."""
    return figures().get(kind, {}).get("noise", {})


def _of_network(model: Model) -> dict[str, Any]:
    """The figures that were measured with the model's current networks; empty if there are none."""
    measured = figures().get(model.modality, {}).get("cancer", {}).get(model.id, {})
    return measured if measured.get("networks") == model.hashes else {}


def _from_log_odds(value: float) -> float:
    """The probability with these `log_odds`, 0-1."""
    return min(1.0, max(0.0, (1 + 2 * OFFSET) / (1 + math.exp(-value)) - OFFSET))


@functools.cache
def figures() -> dict[str, Any]:
    """What `python -m train change` measured, by kind of image."""
    return json.loads(NOISE_FILE.read_text())


def _features(square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (row, column) [n, 2] of a square at SIDE, and their descriptors [n, 128]; none in a uniform picture."""
    grey = Image.fromarray(square).convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    detector = SIFT()
    try:
        detector.detect_and_extract(np.asarray(grey) / 255.0)
    except RuntimeError:  # no points were found
        return np.empty((0, 2)), np.empty((0, 128))
    return np.asarray(detector.keypoints), np.asarray(detector.descriptors)


def _scaling(side: int) -> np.ndarray:
    """From the pixels of a square at SIDE to those of one with this side."""
    factor = side / SIDE
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
