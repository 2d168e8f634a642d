"""Features of a lesion's texture, from the grey values inside its segmentation: co-occurrence, local binary patterns,
and the Fourier power spectrum by frequency ring and by direction."""

import itertools

import numpy as np
from scipy import fft, ndimage
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

LEVELS = 32
"""Steps of the grey values in the co-occurrence matrix."""
DISTANCES = (1, 4)
"""Distances, in pixels, of the pairs that are counted."""
ANGLES = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
PROPERTIES = ("contrast", "homogeneity", "energy", "correlation", "entropy")
RADII = (1, 3)
"""Radii, in pixels, of the local binary patterns."""
NEIGHBOURS = 8
RINGS = (1, 4, 8, 16, 32, 64, 112)
"""Limits of the frequency rings, in cycles per side of the square; the last is the finest that 224 pixels show."""
ORIENTATIONS = 4
ORIENTED_FROM = 4
"""The lowest frequency, in cycles per side, that counts in the directions: lower ones show the lesion's own shape."""
TAPER = 0.02
"""How softly the spectrum's window begins inside the border: the standard deviation of a blur, in shares of the
side."""
FLAT = 1.0
"""A lesion whose grey values have a smaller standard deviation than this has no texture."""

FOURIER = (
    *(f"ring_{low}_{high}" for low, high in itertools.pairwise(RINGS)),
    *(f"orientation_{180 * step // ORIENTATIONS}" for step in range(ORIENTATIONS)),
    "spectral_slope",
)
TITLES = {
    **{
        f"{name}_{distance}": f"Co-occurrence at {distance} px: {name}" for distance in DISTANCES for name in PROPERTIES
    },
    **{
        f"pattern_{radius}_{bin_}": f"Local pattern at {radius} px, "
        + ("irregular" if bin_ > NEIGHBOURS else f"{bin_} of {NEIGHBOURS} not darker")
        for radius in RADII
        for bin_ in range(NEIGHBOURS + 2)
    },
    **{
        f"ring_{low}_{high}": f"Fourier power at {low} to {high} cycles per side"
        for low, high in itertools.pairwise(RINGS)
    },
    **{
        f"orientation_{180 * step // ORIENTATIONS}": "Fourier power in the main direction"
        if step == 0
        else f"Fourier power at {180 * step // ORIENTATIONS}° to the main direction"
        for step in range(ORIENTATIONS)
    },
    "spectral_slope": "Slope of the Fourier power spectrum",
}


def measure(square: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """The features of TITLES for uint8 RGB [H, W, 3] and its bool mask [H, W]; all NaN for a lesion of one grey value.
    The functions of this module define them."""
    grey = luma(square)
    if grey[mask].std() < FLAT:
        return dict.fromkeys(TITLES, np.nan)
    return co_occurrence(grey, mask) | binary_patterns(grey, mask) | spectrum(grey, mask)


def luma(square: np.ndarray) -> np.ndarray:
    """Uint8 RGB [H, W, 3] -> grey values [H, W], 0-255 (ITU-R BT.601)."""
    return square @ np.array([0.299, 0.587, 0.114])


def co_occurrence(grey: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Properties of the grey-level co-occurrence matrix (Haralick et al. 1973, doi:10.1109/TSMC.1973.4309314) of grey
    values 0-255 [H, W] in LEVELS steps, over pairs of pixels that both lie inside, in four directions together.

    Contrast is in squared steps; homogeneity, energy and correlation have no unit; entropy is in bits. NaN where no
    pair lies inside, and the correlation of a matrix with one level only.
    """
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    steps = 1 + (grey[box] * LEVELS / 256).astype(np.uint8)
    # level 0, outside the lesion, is taken out afterwards
    levels = np.where(mask[box], steps, 0).astype(np.uint8)
    counts = graycomatrix(levels, DISTANCES, ANGLES, LEVELS + 1, symmetric=True)[1:, 1:].sum(axis=3, keepdims=True)
    features: dict[str, float] = {}
    for position, distance in enumerate(DISTANCES):
        matrix = counts[:, :, position : position + 1]
        if not matrix.any():
            features |= {f"{name}_{distance}": np.nan for name in PROPERTIES}
            continue
        values = {name: float(graycoprops(matrix, name)[0, 0]) for name in PROPERTIES}
        values["entropy"] /= np.log(2)
        if np.count_nonzero(matrix.sum(axis=(1, 2, 3))) < 2:
            # scikit-image calls it 1
            values["correlation"] = np.nan
        features |= {f"{name}_{distance}": value for name, value in values.items()}
    return features


def binary_patterns(grey: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """The share of each rotation-invariant uniform local binary pattern (Ojala et al. 2002,
    doi:10.1109/TPAMI.2002.1017623), 0-1, among the pixels whose neighbours all lie inside; NaN where there are none."""
    features: dict[str, float] = {}
    for radius in RADII:
        inside = ndimage.binary_erosion(mask, np.ones((2 * radius + 1,) * 2))
        names = [f"pattern_{radius}_{bin_}" for bin_ in range(NEIGHBOURS + 2)]
        if not inside.any():
            features |= dict.fromkeys(names, np.nan)
            continue
        box = ndimage.find_objects(mask.astype(np.uint8))[0]
        patterns = local_binary_pattern(grey[box].astype(np.uint8), NEIGHBOURS, radius, "uniform")
        counts = np.bincount(patterns[inside[box]].astype(int), minlength=NEIGHBOURS + 2)
        features |= {name: float(count / inside.sum()) for name, count in zip(names, counts, strict=True)}
    return features


def spectrum(grey: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """The Fourier power spectrum of the grey values [H, W] inside a mask, minus their mean.

    `ring_` is the share of the power, 0-1, at frequencies between two of RINGS; `orientation_` the share, among
    frequencies of ORIENTED_FROM or more, whose waves run within 22.5 degrees of the strongest direction, or at 45, 90
    and 135 degrees to it, counter-clockwise; `spectral_slope` the slope of the logarithm of the mean power in a ring
    over that of its frequency. All NaN where there is no power.
    """
    side = grey.shape[0]
    window = ndimage.gaussian_filter(mask.astype(np.float64), TAPER * side) * mask
    waves = (grey - (grey * window).sum() / window.sum()) * window
    power = np.abs(fft.fft2(waves)) ** 2
    down, right = np.meshgrid(*(fft.fftfreq(length, 1 / length) for length in grey.shape), indexing="ij")
    frequency = np.hypot(down, right)
    rings = np.digitize(frequency.ravel(), RINGS)
    sums, sizes = (np.bincount(rings, values, len(RINGS) + 1)[1:-1] for values in (power.ravel(), np.ones(power.size)))
    angle = np.degrees(np.arctan2(-down, right))
    wedges = np.round(angle / (180 / ORIENTATIONS)).astype(int) % ORIENTATIONS
    oriented = (frequency >= ORIENTED_FROM) & (frequency < RINGS[-1])
    by_orientation = np.bincount(wedges[oriented], power[oriented], ORIENTATIONS)
    if not sums.all() or not by_orientation.all():
        return dict.fromkeys(FOURIER, np.nan)
    centres = np.sqrt(np.array(RINGS[:-1]) * np.array(RINGS[1:]))
    slope = np.polyfit(np.log(centres), np.log(sums / sizes), 1)[0]
    turned = np.roll(by_orientation, -by_orientation.argmax())
    values = [*(sums / sums.sum()), *(turned / turned.sum()), slope]
    return {name: float(value) for name, value in zip(FOURIER, values, strict=True)}
