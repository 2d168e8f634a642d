"""Whether an image is good enough: too small, blurred, dark, bright or glaring, and how to retake it.

Everything but the size is measured at the scale that a network sees, so that a large photo whose blur vanishes when it
is made smaller gets no warning. The limits are percentiles of images that dermatologists took; `python -m train
quality` measures them, and how many good images get a warning: see docs/phone.md.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from PIL import Image

from skinapp.images import imaging
from skinapp.images.imaging import Crop

SIDE = 224
SMALLEST_SIDE = 200
"""Below this side, in pixels, the square has less detail than the networks expect."""
GLARE = 250
"""A pixel whose three channels all reach this value shows a reflection, not skin."""


@dataclass(frozen=True)
class Limits:
    """Warn below `sharpness` or `darkest`, above `brightest` or above the share `glare`."""

    sharpness: float
    darkest: float
    brightest: float
    glare: float


LIMITS = Limits(sharpness=0.035, darkest=60.0, brightest=205.0, glare=0.005)
"""The limit of darkness is lower than the percentile: the data sets contain little dark skin, and dark skin is not a
defect."""


@dataclass(frozen=True)
class Quality:
    """The measurements of a square: `sharpness`, the finest detail as a share of all contrast (above 0, rarely above
    0.5); `brightness`, the mean grey value (0-255); `glare`, the share of its pixels that are white (0-1); and its
    `side` in pixels."""

    sharpness: float
    brightness: float
    glare: float
    side: int


SENTENCES = {
    "small": "The image is small: the square is {side} pixels wide. Move closer, or use the original photo.",
    "sharpness": "The image is blurred. Wipe the lens, hold the phone 10 to 15 cm away, tap the screen to focus and "
    "hold still.",
    "dark": "The image is dark. Take it in daylight or switch on a lamp, and avoid your own shadow.",
    "bright": "The image is very bright. Switch off the flash, move away from the lamp, or tap the screen so the "
    "camera adjusts.",
    "glare": "The image has a bright reflection. Tilt the phone a little, or switch off the flash.",
}


def measure(image: Image.Image, crop: Crop = imaging.CENTRE) -> Quality:
    """The quality of the square of an upright RGB image, as `imaging.decode` gives it."""
    left, _, right, _ = crop.box(*image.size)
    return measure_pixels(imaging.crop_resize(image, SIDE, crop), round(right - left))


def measure_pixels(pixels: np.ndarray, side: int) -> Quality:
    """The same for a square that is already uint8 [SIDE, SIDE, 3]; `side` is its side in the decoded image."""
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    contrast = max(float(grey.std()), 1.0)
    # what a slight blur removes; robust to a few hard edges such as hairs and the rim of a dermatoscope
    detail = np.abs(grey - scipy.ndimage.gaussian_filter(grey, 1.0))
    fine = float(np.percentile(detail, 90))
    return Quality(fine / contrast, float(grey.mean()), float((pixels.min(axis=2) >= GLARE).mean()), side)


def problems(quality: Quality, limits: Limits = LIMITS) -> list[str]:
    """What is wrong with an image, keys of SENTENCES; empty if nothing is."""
    wrong = {
        "small": quality.side < SMALLEST_SIDE,
        "sharpness": quality.sharpness < limits.sharpness,
        "dark": quality.brightness < limits.darkest,
        "bright": quality.brightness > limits.brightest,
        "glare": quality.glare > limits.glare and quality.brightness <= limits.brightest,
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


def sentence(name: str, quality: Quality) -> str:
    """The sentence on one problem, a key of SENTENCES."""
    return SENTENCES[name].format(side=quality.side)
