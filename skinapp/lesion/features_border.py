"""Features of a lesion's shape, from its segmentation: asymmetry, border irregularity, fractal dimension and Fourier
descriptors of the border."""

import numpy as np
from scipy import ndimage
from skimage.measure import find_contours

from skinapp.lesion import shape

POINTS = 256
"""Points along the border, at equal distances, that the Fourier descriptors are computed from."""
HARMONICS = range(2, 9)
"""The numbers of lobes that have a descriptor of their own."""
FINE_HARMONICS = range(9, 33)
BOXES = (2, 4, 8, 16)
"""Sides of the boxes, in pixels, that the border is covered with."""
SHIFTS = 4
STEP = 0.25
"""Pixels between the points of the border that are looked for in the boxes."""
SMALLEST_SIDE = 2 * BOXES[-1]
"""A lesion whose bounding box has a shorter side, in pixels, is too small for the largest boxes."""

LARGE = 4000
"""A lesion of more pixels is large."""

TITLES = {
    "share": "Share of the square",
    "asymmetry": "Asymmetry",
    "irregularity": "Border irregularity",
    "notches": "Notches",
    "fractal_dimension": "Fractal dimension of the border",
    **{f"lobes_{number}": f"Fourier descriptor, {number} lobes" for number in HARMONICS},
    "fine_lobes": f"Fourier descriptor, {FINE_HARMONICS[0]} or more lobes",
}


def measure(mask: np.ndarray) -> dict[str, float]:
    """The features of TITLES for a bool mask [H, W] that does not touch the edge of the square.

    `share`, `asymmetry` and `notches` are shares, 0-1; `irregularity` is 1 for a disc. The other features are defined
    at the functions of this module.
    """
    descriptors = fourier_descriptors(mask)
    return {
        "share": float(mask.mean()),
        # of a large lesion, every second pixel is enough, and takes a quarter of the time
        "asymmetry": shape.asymmetry(mask[::2, ::2] if mask.sum() > LARGE else mask),
        "irregularity": shape.irregularity(mask),
        "notches": shape.notches(mask),
        "fractal_dimension": fractal_dimension(mask),
        **{f"lobes_{number}": descriptors[number] for number in HARMONICS},
        "fine_lobes": float(np.sqrt(sum(descriptors[number] ** 2 for number in FINE_HARMONICS))),
    }


def fractal_dimension(mask: np.ndarray) -> float:
    """The box-counting dimension of the border: minus the slope of the logarithm of the number of boxes that hold a
    part of it over the logarithm of their side, for boxes of BOXES pixels. No unit; 1 for a smooth border, up to 2.

    Counts are means over several positions of the grid. NaN for a lesion that is too small for the boxes.
    """
    if min(part.stop - part.start for part in ndimage.find_objects(mask.astype(np.uint8))[0]) < SMALLEST_SIDE:
        return np.nan
    corners, along = _border(mask)
    line = np.interp(np.arange(0, along[-1], STEP), along, corners)
    counts = [np.mean([_boxes(line, side, shift * side / SHIFTS) for shift in range(SHIFTS)]) for side in BOXES]
    return float(-np.polyfit(np.log(BOXES), np.log(counts), 1)[0])


def fourier_descriptors(mask: np.ndarray) -> dict[int, float]:
    """Number of lobes m -> how strongly the border bulges m times on its way around: sqrt(|c(1 + m)|^2 + |c(1 - m)|^2)
    over |c(1)|, with the Fourier coefficients c of the border as a complex function of its length.

    No unit; 0 for a disc; e / sqrt(2) for a border at the radius 1 + e cos(m t), if e is small. Neither position, size,
    rotation nor mirroring change them (after Zahn and Roskies 1972, doi:10.1109/TC.1972.5008949, and Kuhl and Giardina
    1982, doi:10.1016/0146-664X(82)90034-X).
    """
    corners, along = _border(mask)
    points = np.interp(np.linspace(0, along[-1], POINTS, endpoint=False), along, corners)
    coefficients = np.fft.fft(points) / POINTS
    # the border may run either way around
    if abs(coefficients[-1]) > abs(coefficients[1]):
        coefficients = np.roll(coefficients[::-1], 1)
    magnitudes = np.abs(coefficients) / abs(coefficients[1])
    return {
        number: float(np.hypot(magnitudes[1 + number], magnitudes[1 - number]))
        for number in (*HARMONICS, *FINE_HARMONICS)
    }


def _border(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the outer border, complex [n], the first one again at the end, and their distances along it, in
    pixels [n]."""
    line = max(find_contours(np.pad(mask, 1).astype(np.float64), 0.5), key=len)
    corners = line[:, 1] + 1j * line[:, 0]
    return corners, np.concatenate([[0], np.cumsum(np.abs(np.diff(corners)))])


def _boxes(line: np.ndarray, side: int, shift: float) -> int:
    """How many boxes of a grid hold points of a line, complex [n], the grid shifted along both axes."""
    columns, rows = (np.floor((axis + shift) / side).astype(int) for axis in (line.real, line.imag))
    return len(np.unique(columns * 10_000 + rows))
