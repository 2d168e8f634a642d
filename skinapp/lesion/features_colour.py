"""Features of a lesion's colour: variegation, the six colours of dermoscopy, the blue-white veil, and how the lesion
differs from the skin around it. They depend on the camera and the light."""

import numpy as np
from scipy import ndimage

from skinapp.lesion import shape

REFERENCES = {
    "white": (240, 225, 220),
    "red": (190, 80, 80),
    "light_brown": (185, 130, 90),
    "dark_brown": (100, 60, 45),
    "blue_grey": (110, 115, 135),
    "black": (35, 28, 28),
}
"""The six colours of the ABCD rule of dermoscopy (Nachbar et al. 1994, doi:10.1016/S0190-9622(94)70061-3), in sRGB. The
rule names them only; these values are this project's."""
FARTHEST = 22.0
"""A pixel that is farther from every reference, in CIELAB, has none of the six colours."""
PRESENT = 0.05
"""A colour is present from this share of the lesion's pixels on."""
SKIN_FROM, SKIN_TO = 0.03, 0.12
"""The skin around the lesion lies between these distances from it, in shares of the square's side."""
LEAST_SKIN = 0.01
"""With less skin around the lesion, as a share of the square, the lesion is not compared with it."""
DARKEST_SKIN = 20.0
"""Around the lesion, what has a lower lightness is the dark corner of a dermatoscope, not skin."""

AXES = {"lightness": "lightness L*", "red_green": "red to green a*", "yellow_blue": "yellow to blue b*"}
TITLES = {
    "variegation": "Colour variegation",
    **{f"mean_{name}": f"Mean {title}" for name, title in AXES.items()},
    **{f"sd_{name}": f"Spread of {title}" for name, title in AXES.items()},
    **{f"skin_{name}": f"Lesion minus skin, {title}" for name, title in AXES.items()},
    "colours": "Number of the six dermoscopic colours",
    **{f"share_{name}": f"Share of {name.replace('_', ' ')}" for name in REFERENCES},
    "blue_white": "Share of blue-white veil",
}
OF_SKIN = (*(f"skin_{name}" for name in AXES), "blue_white")
"""The features that need skin around the lesion."""


def measure(square: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """The features of TITLES for uint8 RGB [H, W, 3] and its bool mask [H, W].

    Colours are in CIELAB units (delta E, 2.3 is just noticeable): `variegation` as in `shape`, means, standard
    deviations, and the lesion's median minus that of the skin, see `skin`. `colours` counts the six colours that cover
    at least PRESENT of the lesion; each `share_` and `blue_white` is a share of its pixels, 0-1. OF_SKIN is NaN where
    too little skin is visible.
    """
    pixels = square[mask]
    colours = shape.lab(pixels)
    shares = six_colours(colours)
    around = square[skin(mask)]
    around_lab = shape.lab(around)
    around_lab, around = (values[around_lab[:, 0] >= DARKEST_SKIN] for values in (around_lab, around))
    compared = len(around) >= LEAST_SKIN * mask.size
    differences = np.median(colours, axis=0) - np.median(around_lab, axis=0) if compared else np.full(3, np.nan)
    return {
        "variegation": shape.spread(colours),
        **{f"mean_{name}": float(value) for name, value in zip(AXES, colours.mean(axis=0), strict=True)},
        **{f"sd_{name}": float(value) for name, value in zip(AXES, colours.std(axis=0), strict=True)},
        **{f"skin_{name}": float(value) for name, value in zip(AXES, differences, strict=True)},
        "colours": float(sum(share >= PRESENT for share in shares.values())),
        **{f"share_{name}": share for name, share in shares.items()},
        "blue_white": blue_white(pixels, np.median(around, axis=0)) if compared else np.nan,
    }


def skin(mask: np.ndarray) -> np.ndarray:
    """The ring of skin around a lesion, bool [H, W], from SKIN_FROM to SKIN_TO of the side away from it."""
    distance = ndimage.distance_transform_edt(~mask) / mask.shape[0]
    return (distance > SKIN_FROM) & (distance <= SKIN_TO)


def six_colours(colours: np.ndarray) -> dict[str, float]:
    """The share of CIELAB colours [n, 3], 0-1, that is nearest to each of the REFERENCES, and not farther from it than
    FARTHEST."""
    references = shape.lab(np.array(list(REFERENCES.values()), np.uint8))
    distances = np.stack([((colours - reference) ** 2).sum(axis=1) for reference in references])
    nearest = np.where(distances.min(axis=0) <= FARTHEST**2, distances.argmin(axis=0), len(references))
    counts = np.bincount(nearest, minlength=len(references) + 1)
    return {name: float(count / len(colours)) for name, count in zip(REFERENCES, counts, strict=False)}


def blue_white(pixels: np.ndarray, skin: np.ndarray) -> float:
    """The share of the blue-white veil in uint8 RGB [n, 3], 0-1, beside skin of the colour [3]: pixels whose blue is at
    least 30% of their red, green and blue together, and whose red is 51 to 194 below the skin's (Celebi et al. 2008,
    doi:10.1016/j.compmedimag.2008.08.002)."""
    values = pixels.astype(np.float64)
    blue = values[:, 2] >= 0.3 * values.sum(axis=1)
    relative = values[:, 0] - skin[0]
    return float((blue & (relative >= -194) & (relative < -51)).mean())
