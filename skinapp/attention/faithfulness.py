"""The faithfulness of an attention map, measured on the image at hand. NumPy and Pillow alone.

Throughout, `probability` takes uint8 [n, S, S, 3] and gives the probability of the map's class [n], `pixels` is uint8
[S, S, 3] as the model sees it, a map `cam` is [h, w] in 0-1 of any size over the whole square, and `mask` is bool
[H, W], True on the lesion, of any size as well.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

Probability = Callable[[np.ndarray], np.ndarray]
Explain = Callable[[np.ndarray], np.ndarray]
"""Uint8 [S, S, 3] to a map [h, w]."""

NOISE = 5.0
"""Standard deviation of the small noise, in grey values of 255."""
CROP = 0.05
"""The share of the side that the small crop takes off at each edge."""


@dataclass(frozen=True)
class Parts:
    """Probabilities of a class for the whole square, for the lesion alone, and for the skin around it alone."""

    whole: float
    lesion: float
    background: float


def resized(cam: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map at another size [h, w], smoothly: float32 in 0-1."""
    height, width = shape
    image = Image.fromarray(cam.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).clip(0, 1)


def blur(pixels: np.ndarray) -> np.ndarray:
    """The square so blurred that no detail is left: it replaces pixels that are removed.

    Black, the usual choice, would itself look like something dark on the skin.
    """
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(pixels.shape[0] / 10)))


def pixel_ranks(cam: np.ndarray, side: int) -> np.ndarray:
    """The rank of each of side x side pixels, from where the map is strongest: int [side, side].

    Ties are broken by one fixed random order, so that a flat map says nothing.
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
    """Areas under the curves of the class's probability while the strongest pixels are inserted, and deleted.

    Insertion starts from the blurred square, deletion from the whole one; each of `steps` moves an equal share of the
    pixels, in the order of the map. A map that shows what the prediction rests on has a large insertion and a small
    deletion area. Petsiuk et al. 2018, arXiv:1806.07421, there with black for what is deleted.
    """
    inserted, deleted = curves(probability, pixels, cam, steps)
    return area(inserted), area(deleted)


def curves(
    probability: Probability, pixels: np.ndarray, cam: np.ndarray, steps: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """The two curves, [steps + 1] each: probabilities with 0 to all of the strongest pixels inserted, and deleted."""
    if steps < 1:
        raise ValueError(f"at least one step is needed, not {steps}")
    side = pixels.shape[0]
    ranks, blurred = pixel_ranks(cam, side), blur(pixels)
    squares = []
    for step in range(steps + 1):
        strongest = (ranks < round(step * side * side / steps))[..., np.newaxis]
        squares += [np.where(strongest, pixels, blurred), np.where(strongest, blurred, pixels)]
    # the ends are the same two squares
    values = np.asarray(probability(np.stack(squares[:-2])), dtype=np.float64)
    inserted, deleted = values[::2], values[1::2]
    return np.append(inserted, deleted[0]), np.append(deleted, inserted[0])


def area(curve: np.ndarray) -> float:
    """The area under a curve of evenly spaced points over 0-1: its mean height, by trapezoids."""
    return float((curve[1:] + curve[:-1]).mean() / 2)


def energy_inside(cam: np.ndarray, mask: np.ndarray) -> float:
    """The share of a map's sum on the lesion, 0-1 (the energy-based pointing game of Wang et al. 2020,
    arXiv:1910.01279); 0 where the map is all zeros."""
    energy = resized(cam, mask.shape).astype(np.float64)
    total = energy.sum()
    return float(energy[mask].sum() / total) if total > 0 else 0.0


def similarity(cam_a: np.ndarray, cam_b: np.ndarray) -> float:
    """Spearman's rank correlation of two maps, -1 to 1, at the size of the smaller one.

    This is the measure by which Adebayo et al. 2018, arXiv:1810.03292, compare the map of a network with that of a
    randomised one. 0 where a map is flat, and so ranks nothing.
    """
    shape = min(cam_a.shape, cam_b.shape, key=np.prod)
    ranks_a, ranks_b = (_ranks(cam if cam.shape == shape else _shrunk(cam, shape)) for cam in (cam_a, cam_b))
    spread = ranks_a.std() * ranks_b.std()
    return float(((ranks_a - ranks_a.mean()) * (ranks_b - ranks_b.mean())).mean() / spread) if spread > 0 else 0.0


def stability(explain: Explain, pixels: np.ndarray, cam: np.ndarray) -> dict[str, float]:
    """How similar the map stays under changes that do not alter the lesion: small noise, both flips, a small crop.

    Each map is transformed back before it is compared.
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

    Whatever is hidden has the mean colour of the skin. ValueError where the mask covers nothing or everything.
    """
    lesion = np.asarray(Image.fromarray(mask).resize(pixels.shape[1::-1], Image.Resampling.NEAREST))
    if lesion.all() or not lesion.any():
        raise ValueError("the lesion must be a part of the square")
    skin = pixels[~lesion].mean(axis=0).round().astype(np.uint8)
    alone = np.where(lesion[..., np.newaxis], pixels, skin)
    around = np.where(lesion[..., np.newaxis], skin, pixels)
    whole, lesion_alone, skin_alone = (float(value) for value in probability(np.stack([pixels, alone, around])))
    return Parts(whole, lesion_alone, skin_alone)


def random_map(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A map of independent uniform numbers, float32 [h, w]: the baseline that any map has to beat."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def centred_blob(shape: tuple[int, int]) -> np.ndarray:
    """A Gaussian in the middle, float32 [h, w], its standard deviation a quarter of the side: a map that does no better
    only says that photographers put the lesion in the middle."""
    rows, columns = (np.arange(size) / size + 0.5 / size - 0.5 for size in shape)
    return np.exp(-(rows[:, np.newaxis] ** 2 + columns**2) / (2 * 0.25**2)).astype(np.float32)


def _shrunk(cam: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    return np.asarray(Image.fromarray(cam.astype(np.float32)).resize((width, height), Image.Resampling.BOX))


def _ranks(cam: np.ndarray) -> np.ndarray:
    """Ranks of a map's values, equal ones sharing their mean rank: float64 [h * w]."""
    _, group, count = np.unique(cam, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[group.ravel()]
