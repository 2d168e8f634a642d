"""A lesion's shape and colour, measured from its segmentation. The numbers describe; they do not judge.

They quantify what the ABCD rule of dermoscopy looks at (Nachbar et al. 1994, doi:10.1016/S0190-9622(94)70061-3), but
are not its scores.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, spatial

SHARE = "Share of the square"


@dataclass(frozen=True)
class Measurement:
    """A measurement: its name, value, unit and definition, and the source of the definition."""

    name: str
    value: float
    unit: str
    definition: str
    source: str

    @property
    def shown(self) -> str:
        if self.unit == "%":
            return f"{100 * self.value:.0f}%"
        return f"{self.value:.2f}" if not self.unit else f"{self.value:.1f} {self.unit}"


def measure(square: np.ndarray, mask: np.ndarray, millimetres: float | None = None) -> list[Measurement]:
    """All measurements of uint8 RGB [H, W, 3] with its bool mask [H, W]. The diameter needs the length in `millimetres`
    that the side of the square shows. ValueError if the mask is empty."""
    if not mask.any():
        raise ValueError("the mask is empty")
    measurements = [
        Measurement(
            "Asymmetry",
            asymmetry(mask),
            "%",
            "The part of the lesion that does not match when it is folded along its axes: half the area covered by "
            "only one of the lesion and its mirror image, divided by the lesion's area, averaged over the two "
            "principal axes through the centre. 0% for a disc or an ellipse.",
            "After Stoecker et al. 1992, doi:10.1016/0895-6111(92)90073-I",
        ),
        Measurement(
            "Border irregularity",
            irregularity(mask),
            "",
            "The perimeter squared, divided by 4 pi times the area. 1 for a disc, 1.5 for an ellipse three times as "
            "long as wide, more where the border is notched.",
            "Golston et al. 1992, doi:10.1016/0895-6111(92)90074-J",
        ),
        Measurement(
            "Notches",
            notches(mask),
            "%",
            "The share of the lesion's convex hull, the shape of a band stretched around it, that is not lesion. 0% "
            "if the border never turns inwards.",
            "Solidity, as in Zunic and Rosin 2004, doi:10.1109/TPAMI.2004.19",
        ),
        Measurement(
            "Colour variegation",
            variegation(square, mask),
            "",
            "How far the lesion's pixels lie from their mean colour: the root mean square distance (delta E) in CIELAB "
            "colour space, in which 2.3 is just noticeable. It depends on the camera and the light.",
            "CIE 1976 L*a*b*; Mahy et al. 1994, doi:10.1002/col.5080190208",
        ),
        Measurement(
            SHARE,
            float(mask.mean()),
            "%",
            "The lesion's area divided by that of the square. It shows how close the camera was, not how large the "
            "lesion is.",
            "Ratio of areas",
        ),
    ]
    if millimetres:
        measurements.append(
            Measurement(
                "Largest diameter",
                diameter(mask) * millimetres / mask.shape[0],
                "mm",
                "The longest straight line between two points of the border, based on the length you entered for the "
                "side of the square.",
                "Feret's diameter",
            )
        )
    return measurements


def asymmetry(mask: np.ndarray) -> float:
    """0-1: the mean over both principal axes of area(mask xor mirrored) / (2 area(mask))."""
    rows, columns = np.nonzero(mask)
    lesion = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    # leave room for parts that are mirrored out of the box
    lesion = np.pad(lesion, max(lesion.shape)).astype(np.float32)
    points = np.argwhere(lesion).astype(np.float64)
    centre = points.mean(axis=0)
    spread = (points - centre).T @ (points - centre)
    differences = []
    for axis in np.linalg.eigh(spread).eigenvectors.T:
        mirror = 2 * np.outer(axis, axis) - np.eye(2)
        mirrored = ndimage.affine_transform(lesion, mirror, centre - mirror @ centre, order=1)
        differences.append(np.abs(mirrored - lesion).sum() / (2 * lesion.sum()))
    return float(np.mean(differences))


def irregularity(mask: np.ndarray) -> float:
    """Perimeter ** 2 / (4 pi area)."""
    return float(perimeter(mask) ** 2 / (4 * np.pi * mask.sum()))


def perimeter(mask: np.ndarray) -> float:
    """The length of the border, in pixels, by the Cauchy-Crofton formula: pi / 2 times how often lines in four
    orientations through all pixels cross it, times their distance (Legland and Lehmann 2012, hdl:10380/3342).

    Counting the border's pixel steps instead would overestimate the length of slanted borders.
    """
    framed = np.pad(mask, 1)
    level, upright = (framed[:, 1:] != framed[:, :-1]).sum(), (framed[1:] != framed[:-1]).sum()
    falling, rising = (framed[1:, 1:] != framed[:-1, :-1]).sum(), (framed[1:, :-1] != framed[:-1, 1:]).sum()
    return float(np.pi / 2 * (level + upright + (falling + rising) / np.sqrt(2)) / 4)


def notches(mask: np.ndarray) -> float:
    """0-1: 1 - area / area of the convex hull of the lesion's pixels."""
    # in two dimensions, the area is what scipy calls the volume
    return float(1 - mask.sum() / _hull(mask).volume)


def variegation(square: np.ndarray, mask: np.ndarray) -> float:
    """Root mean square distance of the lesion's pixels from their mean, in CIELAB."""
    return spread(lab(square[mask]))


def spread(colours: np.ndarray) -> float:
    """Root mean square distance of CIELAB colours [n, 3] from their mean."""
    return float(np.sqrt(((colours - colours.mean(axis=0)) ** 2).sum(axis=1).mean()))


def lab(rgb: np.ndarray) -> np.ndarray:
    """Uint8 sRGB [n, 3] -> CIELAB [n, 3] under D65 (IEC 61966-2-1; CIE 15)."""
    share = rgb / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / to_xyz.sum(axis=1)
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def diameter(mask: np.ndarray) -> float:
    """The longest distance between two points of the lesion, in pixels, from outer edge to outer edge."""
    hull = _hull(mask)
    return float(spatial.distance.pdist(hull.points[hull.vertices]).max())


def _hull(mask: np.ndarray) -> spatial.ConvexHull:
    """The convex hull of the corners of the lesion's pixels."""
    corners = ndimage.binary_dilation(np.pad(mask, ((0, 1), (0, 1))), np.ones((2, 2)), origin=-1)
    return spatial.ConvexHull(np.argwhere(corners))
