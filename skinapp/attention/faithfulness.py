"""The faithfulness of an attention map, measured on the image at hand. Needs only NumPy and Pillow.

Throughout, `probability` maps uint8 [n, S, S, 3] to the probability of the map's class [n], `pixels` is the model's
input, uint8 [S, S, 3], a map `cam` is [h, w] in 0-1 and covers the whole square at any size, and so does `mask`, bool
[H, W], True on the lesion.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

Probability = Callable[[np.ndarray], np.ndarray]
Explain = Callable[[np.ndarray], np.ndarray]
"""Maps uint8 [S, S, 3] to an attention map [h, w]."""

NOISE = 5.0
"""Standard deviation of the small noise, in grey values of 255."""
CROP = 0.05
"""The share of the side that the small crop removes at each edge."""


@dataclass(frozen=True)
class Parts:
    """Probabilities of a class for the whole square, for the lesion alone, and for the skin around it alone."""

    unchanged: float
    lesion: float
    background: float


def resized(cam: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map resized to [h, w] with bilinear interpolation: float32 in 0-1."""
    height, width = shape
    image = Image.fromarray(cam.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).clip(0, 1)


def blur(pixels: np.ndarray) -> np.ndarray:
    """The square, blurred until no detail is left; it replaces removed pixels.

    Black, the usual choice, would itself look like a dark lesion.
    """
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(pixels.shape[0] / 10)))


def pixel_ranks(cam: np.ndarray, side: int) -> np.ndarray:
    """The rank of each of side x side pixels, 0 where the map is strongest: int [side, side].

    Ties are broken by one fixed random order, so that a flat map carries no information.
    """
    values = resized(cam, (side, side)).ravel()
    shuffled = np.random.default_rng(0).permutation(values.size)
    order = shuffled[np.argsort(-values[shuffled], kind="stable")]
    ranks = np.empty(values.size, dtype=np.int64)
    ranks[order] = np.arange(values.size)
    return ranks.reshape(side, side)


def insertion_deletion(
    probability: Probability, pixels: np.ndarray, cam: np.ndarray, steps: int = 16
) -> tuple[float, float]:
    """Areas under the curves of the class's probability as the strongest pixels are inserted, and as they are deleted.

    Insertion starts from the blurred square, deletion from the original; each of `steps` steps changes an equal share
    of the pixels, strongest first. A map that shows what the prediction depends on has a large insertion area and a
    small deletion area. Petsiuk et al. 2018, arXiv:1806.07421, who delete with black.
    """
    inserted, deleted = curves(probability, pixels, cam, steps)
    return area(inserted), area(deleted)


def curves(
    probability: Probability, pixels: np.ndarray, cam: np.ndarray, steps: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """The insertion and deletion curves, [steps + 1] each: probabilities from no pixel to all pixels changed."""
    if steps < 1:
        raise ValueError(f"at least one step is needed, not {steps}")
    side = pixels.shape[0]
    ranks, blurred = pixel_ranks(cam, side), blur(pixels)
    squares = []
    for step in range(steps + 1):
        strongest = (ranks < round(step * side * side / steps))[..., np.newaxis]
        squares += [np.where(strongest, pixels, blurred), np.where(strongest, blurred, pixels)]
    # both curves end at one of the first two squares
    values = np.asarray(probability(np.stack(squares[:-2])), dtype=np.float64)
    inserted, deleted = values[::2], values[1::2]
    return np.append(inserted, deleted[0]), np.append(deleted, inserted[0])


def area(curve: np.ndarray) -> float:
    """The area under a curve of evenly spaced points over 0-1, by the trapezoidal rule."""
    return float((curve[1:] + curve[:-1]).mean() / 2)


def energy_inside(cam: np.ndarray, mask: np.ndarray) -> float:
    """The share of a map's sum that is on the lesion, 0-1 (the energy-based pointing game of Wang et al. 2020,
    arXiv:1910.01279); 0 if the map is all zeros."""
    energy = resized(cam, mask.shape).astype(np.float64)
    total = energy.sum()
    return float(energy[mask].sum() / total) if total > 0 else 0.0


def similarity(cam_a: np.ndarray, cam_b: np.ndarray) -> float:
    """Spearman's rank correlation of two maps, -1 to 1, at the size of the smaller one.

    Adebayo et al. 2018, arXiv:1810.03292, use it to compare the map of a network with that of a randomised one. 0 if a
    map is flat, since it then ranks nothing.
    """
    shape = min(cam_a.shape, cam_b.shape, key=np.prod)
    ranks_a, ranks_b = (_ranks(cam if cam.shape == shape else _shrunk(cam, shape)) for cam in (cam_a, cam_b))
    spread = ranks_a.std() * ranks_b.std()
    return float(((ranks_a - ranks_a.mean()) * (ranks_b - ranks_b.mean())).mean() / spread) if spread > 0 else 0.0


def stability(explain: Explain, pixels: np.ndarray, cam: np.ndarray) -> dict[str, float]:
    """How similar the map stays under changes that leave the lesion alone: small noise, both flips, a small crop.

    Each map is transformed back before the comparison.
    """
    noise = np.random.default_rng(0).normal(0, NOISE, pixels.shape)
    noisy = (pixels + noise).round().clip(0, 255).astype(np.uint8)
    side = pixels.shape[0]
    edge = round(CROP * side)
    inner = Image.fromarray(pixels).crop((edge, edge, side - edge, side - edge))
    cropped = np.asarray(inner.resize((side, side), Image.Resampling.BICUBIC))
    inner_cam = resized(cam, (side, side))[edge : side - edge, edge : side - edge]
    return {
        "small noise": similarity(explain(noisy), cam),
        "mirrored": similarity(explain(np.ascontiguousarray(pixels[:, ::-1]))[:, ::-1], cam),
        "upside down": similarity(explain(np.ascontiguousarray(pixels[::-1]))[::-1], cam),
        "cropped by 5%": similarity(explain(cropped), inner_cam),
    }


def parts(probability: Probability, pixels: np.ndarray, mask: np.ndarray) -> Parts:
    """The probability for the whole square, for the lesion alone and for the skin alone.

    Hidden parts are filled with the mean colour of the skin. ValueError if the mask covers nothing or everything.
    """
    lesion = np.asarray(Image.fromarray(mask).resize(pixels.shape[1::-1], Image.Resampling.NEAREST))
    if lesion.all() or not lesion.any():
        raise ValueError("the mask must cover a part of the square, not all or none of it")
    skin = pixels[~lesion].mean(axis=0).round().astype(np.uint8)
    alone = np.where(lesion[..., np.newaxis], pixels, skin)
    around = np.where(lesion[..., np.newaxis], skin, pixels)
    whole, lesion_alone, skin_alone = (float(value) for value in probability(np.stack([pixels, alone, around])))
    return Parts(whole, lesion_alone, skin_alone)


def random_map(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A map of independent uniform numbers, float32 [h, w]: the baseline that every map must beat."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def centred_blob(shape: tuple[int, int]) -> np.ndarray:
    """A Gaussian in the middle, float32 [h, w], with a standard deviation of a quarter of the side. A map that does no
    better shows only that photographers centre the lesion."""
    rows, columns = (np.arange(size) / size + 0.5 / size - 0.5 for size in shape)
    return np.exp(-(rows[:, np.newaxis] ** 2 + columns**2) / (2 * 0.25**2)).astype(np.float32)


def _shrunk(cam: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    return np.asarray(Image.fromarray(cam.astype(np.float32)).resize((width, height), Image.Resampling.BOX))


def _ranks(cam: np.ndarray) -> np.ndarray:
    """Ranks of a map's values, where equal values share their mean rank: float64 [h * w]."""
    _, group, count = np.unique(cam, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[group.ravel()]
