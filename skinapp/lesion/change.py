"""Two photos of one lesion: the second laid over the first, and what differs by more than the camera explains.

Two photos of an unchanged lesion differ too: in distance, angle, light and focus. `python -m train change` measures how
much on pairs of photos of one lesion, and writes the file with the figures, which `noise` reads.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.feature import SIFT, match_descriptors
from skimage.measure import ransac
from skimage.transform import SimilarityTransform, warp

from skinapp.errors import ImageError
from skinapp.lesion import shape

NOISE_FILE = Path(__file__).with_name("change.json")
SIDE = 240
"""Pixels of the squares in which points are matched."""
FEWEST_POINTS = 6
"""With fewer points of one square found again in the other, the photos may show different lesions."""
DISTANCE_RATIO = 0.85
"""Of the nearest descriptor to the next one: a point whose two candidates are closer to each other is not matched
(Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94)."""
TOLERANCE = 4.0
"""Pixels by which a matched point may miss its place."""
TRIALS = 400

SIZE, CANCER = "Size", "Probability of cancer"
NO_MATCH = (
    "These photos could not be laid over each other: they may show different lesions, or differ too much in sharpness, "
    "light or distance. Check that both show the same lesion, and compare them by eye."
)


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the second square lies over the first: `aligned`, uint8 [S, S, 3], is the second seen from where the first
    was taken, white where it does not reach (`covered`, bool [S, S], is False there). `scale` is the length in the
    second square of what has length 1 in the first, both squares having side 1; `degrees` the rotation of the second,
    -180 to 180; `points` how many points of the first were found again."""

    aligned: np.ndarray
    covered: np.ndarray
    scale: float
    degrees: float
    points: int


@dataclass(frozen=True)
class Change:
    """A measure of both photos, its unit ("%", "" or "mm"), and its noise: 95 of 100 pairs of photos of an unchanged
    lesion differ by less, as a factor for SIZE and as a difference for everything else."""

    name: str
    before: float
    after: float
    unit: str
    noise: float

    @property
    def by_camera(self) -> bool:
        """Whether the two differ by no more than the camera explains."""
        if self.name == SIZE:
            return bool(max(self.after / self.before, self.before / self.after) <= self.noise)
        return bool(abs(self.after - self.before) <= self.noise)


def align(first: np.ndarray, second: np.ndarray) -> Alignment:
    """Lay the second of two squares, uint8 RGB [S, S, 3] each, over the first, by a shift, a rotation and a scale.

    Points are matched by SIFT (Lowe 2004) and their common transform found by RANSAC (Fischler and Bolles 1981). If the
    lesion fills the square, its own growth counts as a change of distance. ImageError if the photos do not match.
    """
    (points, descriptors), (other_points, other_descriptors) = _features(first), _features(second)
    if min(len(points), len(other_points)) < FEWEST_POINTS:
        raise ImageError(NO_MATCH)
    matched = match_descriptors(descriptors, other_descriptors, max_ratio=DISTANCE_RATIO, cross_check=True)
    if len(matched) < FEWEST_POINTS:
        raise ImageError(NO_MATCH)
    # x before y
    pairs = points[matched[:, 0]][:, ::-1], other_points[matched[:, 1]][:, ::-1]
    transform, inliers = ransac(
        pairs, SimilarityTransform, min_samples=2, residual_threshold=TOLERANCE, max_trials=TRIALS, rng=0
    )
    if inliers is None or inliers.sum() < FEWEST_POINTS:
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
    cancer: tuple[float, float] | None = None,
) -> list[Change]:
    """What was measured in two photos: the square, uint8 [S, S, 3], and the lesion's mask, bool [S, S], of each.

    `scale` is that of their `Alignment`, or the ratio of the millimetres that the sides of the first and the second
    square show; without one, the sizes cannot be compared. `cancer` are the probabilities of cancer; their noise is
    that of the model in `figures`. ValueError for an empty mask.
    """
    result = []
    if scale is not None:
        before, after = (float(mask.mean()) for _, mask in (first, second))
        result.append(Change(SIZE, before, after / scale**2, "%", noise()[SIZE]))
    for one, other in zip(shape.measure(*first), shape.measure(*second), strict=True):
        if one.name in noise():
            result.append(Change(one.name, one.value, other.value, one.unit, noise()[one.name]))
    if cancer is not None:
        result.append(Change(CANCER, *cancer, "%", noise()[CANCER]))
    return result


def sentence(change: Change) -> str:
    """A change in words."""
    if change.name == SIZE:
        factor = change.after / change.before
        words = f"{change.name}: {factor:.2f} times the first"
        limit = f"{1 / change.noise:.2f} to {change.noise:.2f} times"
    else:
        form = ".0%" if change.unit == "%" else ".2f"
        words = f"{change.name}: {change.before:{form}}, then {change.after:{form}}"
        limit = f"a difference of up to {change.noise:{form}}"
    explained = "no more than the camera explains" if change.by_camera else "more than the camera explains"
    return f"{words}: {explained} ({limit} in 95 of 100 pairs of photos of an unchanged lesion)."


def noise() -> Mapping[str, float]:
    """Name of a measure -> how far apart two photos of an unchanged lesion are in 95 of 100 pairs, see Change."""
    return figures()["noise"]


@functools.cache
def figures() -> dict[str, Any]:
    """What `python -m train change` measured."""
    return json.loads(NOISE_FILE.read_text())


def _features(square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (row, column) [n, 2] of a square at SIDE, and their descriptors [n, 128]; none in an even picture."""
    grey = Image.fromarray(square).convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    detector = SIFT()
    try:
        detector.detect_and_extract(np.asarray(grey) / 255.0)
    except RuntimeError:  # it finds no points
        return np.empty((0, 2)), np.empty((0, 128))
    return np.asarray(detector.keypoints), np.asarray(detector.descriptors)


def _scaling(side: int) -> np.ndarray:
    """From the pixels of a square at SIDE to those of one with this side."""
    factor = side / SIDE
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
