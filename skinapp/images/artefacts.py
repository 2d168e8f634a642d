"""Detects whatever covers or surrounds a lesion and is not skin: hairs, rulers, stickers, dark corners and ink. Each
kind is detected separately, and detections can be filled in from the surrounding skin.

The limits were set by looking at training images; docs/artefacts.md says how often detections are right.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import color, measure, morphology

from skinapp.images import hair
from skinapp.images.removal import DARK_CORNERS, HAIR, INK, KINDS, RULER, STICKER, Removed

SIDE = 224
"""Pixels of the shorter side of the copy in which all but hairs are detected; the limits below are for it."""
SMALLEST = 64
"""Pixels of the shorter side of the smallest image in which anything but hairs is detected."""
LARGEST = 0.75
"""Above this share of the image nothing is filled in, since too little skin is left to fill it from."""

BLACK = 75
"""The highest value, of 255, of any channel in a dark corner, for an image of normal brightness; darker images have a
lower limit, by SHADE."""
SHADE = 0.4
"""The limit of a dark corner as a share of the median brightness in the middle of the image."""
ROUND = 0.025
"""How far, as a share of the side, the rim of a dermatoscope may be from a circle."""
RIM, SOFT_RIM, SOFT_SHADE = 5, 16, 0.8
"""Pixels by which dark corners are widened; pixels from the circle, and share of the median brightness in the middle,
within which slightly dark pixels also belong to them, since a rim is blurred."""

UNLIKE_SKIN = (20.0, 26.0)
"""How much lower than in the skin CIELAB's a* (greener) or b* (bluer) is in stickers and ink."""
COLOURED = 18.0
"""The minimum chroma of stickers and ink, in CIELAB."""
VIVID = 62.0
"""The minimum chroma of stickers in skin-like colours: yellow, orange and red."""
STICKER_SHARE = 0.008
"""The minimum share of the image that a sticker covers."""
SOLID = 0.88
"""The minimum share of its convex hull that a sticker covers; ink is ragged."""
PINK = 45.0
"""The highest a* of ink; anything pinker is cloth."""
INK_PIXELS = 25
"""The minimum size of a stroke of ink, in pixels."""
CENTRAL = 0.22
"""The radius of the middle of the image, as a share of its side, in which a blue area is a lesion, not ink."""

DARK, FAINT = 14, 9
"""Grey values by which single ticks, and a ruler's numbers, are darker than the skin on both sides."""
LINE_LIMITS = (9, 14, 22)
"""The same for lines with ticks, tried one after the other."""
LINE, WIDEST_BAR = 120, 28
"""In pixels: the minimum length of a scale bar, and its maximum width, numbers included."""
STRAIGHT = 0.97
"""The minimum share of its length over which the line of a scale bar is visible."""
TICK, WIDEST_TICK = (3.5, 34), 5
"""In pixels: the length of ticks, and their maximum width."""
SMALLEST_STEP, LARGEST_STEP = 4, 45
"""Pixels from one tick to the next."""
EVEN = 0.35
"""The minimum autocorrelation of the ticks of a scale bar, at one step and at two."""
PARALLEL, UPRIGHT = 10, 70
"""In degrees: the maximum difference between the angles of ticks without a line, and the minimum angle between them and
their row."""
UNEVEN = 0.12
"""How far such ticks may deviate from even steps, as a share of a step; at least one pixel."""
RIDGE = 2.0
"""The maximum length of ticks without a line, in steps; the ridges of a palm or sole are longer."""
MIN_TICKS, SHORTEST_ROW = 6, 45
"""The minimum number of such ticks, and the minimum distance from the first to the last, in pixels."""
MAX_TICKS = 150
"""With more short lines than this, the smaller ones are left out, so that hairy skin takes no longer."""
NUMBERS = 12
"""Pixels around the ticks within which numbers and the line of a ruler are."""


def remove(pixels: np.ndarray, kinds: Collection[str]) -> Removed:
    """Uint8 RGB [H, W, 3] -> the image with detected artefacts of the `kinds`, keys of KINDS, filled in. Pixels without
    detections are unchanged."""
    marks = masks(pixels, kinds)
    shares = {kind: float(mask.mean()) for kind, mask in marks.items()}
    hidden = np.logical_or.reduce([np.zeros(pixels.shape[:2], bool), *marks.values()])
    too_much = bool(hidden.mean() > LARGEST)
    return Removed(pixels if too_much else hair.fill(pixels, hidden), shares, too_much)


def masks(pixels: np.ndarray, kinds: Collection[str]) -> dict[str, np.ndarray]:
    """Kind -> bool [H, W], True where it was detected, in the order of KINDS."""
    small, shape = _small(pixels), pixels.shape[:2]

    def detected(kind: str) -> np.ndarray:
        if kind == HAIR:
            return hair.mask(pixels)
        return _enlarged(DETECTORS[kind](small), shape) if min(shape) >= SMALLEST else np.zeros(shape, bool)

    return {kind: detected(kind) for kind in KINDS if kind in kinds}


def dark_corners(pixels: np.ndarray) -> np.ndarray:
    """Uint8 RGB [H, W, 3] -> bool [H, W], True on the dark rim of a dermatoscope, and on black bars along an edge.

    A dark region connected to a corner is a rim if its edge follows a circle around the rest of the image.
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    value = ndimage.uniform_filter(pixels.max(axis=2).astype(np.float32), 3)
    middle = value[height // 4 : -(height // 4), width // 4 : -(width // 4)]
    usual = float(np.median(middle))
    dark = value < min(BLACK, SHADE * usual)
    labels, _ = ndimage.label(dark)
    corners = {labels[corner] for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1))} - {0}
    marked = np.isin(labels, list(corners))
    depth = _beyond_a_circle(marked, side)
    if depth is None:
        marked = _bars(dark)
    else:
        marked &= depth > -2 * ROUND * side
        soft = (depth > -SOFT_RIM * side / SIDE) & (value < SOFT_SHADE * usual)
        marked |= ndimage.binary_propagation(marked, mask=marked | soft)
    return ndimage.binary_dilation(marked, iterations=max(1, round(RIM * side / SIDE))) if marked.any() else marked


def _bars(dark: np.ndarray) -> np.ndarray:
    """Rows and columns at an edge of the image that are dark from end to end, at most a third of it."""
    bars = np.zeros_like(dark)
    for turn in range(4):
        lines = np.rot90(dark, turn)
        full = lines[: len(lines) // 3].mean(axis=1) > 0.97
        depth = int(np.argmin(full)) if not full.all() else 0
        np.rot90(bars, turn)[:depth] = True
    return bars


def _beyond_a_circle(corners: np.ndarray, side: int) -> np.ndarray | None:
    """Pixels [H, W] by which each pixel is outside the circle along the edge of the dark corners, around the middle of
    the image; None if that edge is not such a circle (least squares, Kasa 1976, doi:10.1109/TIM.1976.6312298)."""
    edge = ndimage.binary_dilation(corners) & ~corners
    edge[[0, -1]] = edge[:, [0, -1]] = False
    y, x = np.nonzero(edge)
    if len(y) < 8:
        return None
    design = np.c_[x, y, np.ones(len(x))]
    (a, b, c), *_ = np.linalg.lstsq(design, (x**2 + y**2).astype(float), rcond=None)
    centre_x, centre_y = a / 2, b / 2
    radius = np.sqrt(max(c + centre_x**2 + centre_y**2, 0))
    height, width = corners.shape
    if max(abs(centre_x - width / 2), abs(centre_y - height / 2)) > 0.3 * side or not 0.25 < radius / side < 1.2:
        return None
    if np.median(abs(np.hypot(x - centre_x, y - centre_y) - radius)) > ROUND * side:
        return None
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(columns - centre_x, rows - centre_y) - radius


def stickers(pixels: np.ndarray) -> np.ndarray:
    """Uint8 RGB [H, W, 3] -> bool [H, W], True on coloured stickers: solid areas of a colour that skin does not have,
    at an edge of the image."""
    return _stickers(*_colours(pixels))


def ink(pixels: np.ndarray) -> np.ndarray:
    """Uint8 RGB [H, W, 3] -> bool [H, W], True on the blue and violet of a surgical marker, outside the middle of the
    image and without stickers."""
    lab, skin = _colours(pixels)
    lightness, a, b = np.moveaxis(lab, -1, 0)
    bluer, chroma = skin[2] - b, np.hypot(a, b)
    blue = (bluer > UNLIKE_SKIN[1]) & (b < -6) & (chroma > COLOURED) & (lightness < skin[0] - 6) & (a < PINK)
    blue &= ~_stickers(lab, skin)
    faint = blue | ((bluer > 0.5 * UNLIKE_SKIN[1]) & (b < 6) & (lightness < skin[0] - 3) & (a < PINK))
    labels, count = ndimage.label(faint, np.ones((3, 3)))
    if not count:
        return blue
    index = np.arange(1, count + 1)
    sure = ndimage.sum_labels(blue, labels, index)
    central = ndimage.mean(_in_the_middle(blue.shape), labels, index)
    strokes = np.isin(labels, index[(sure >= INK_PIXELS * _area(blue)) & (central < 0.3)])
    return ndimage.binary_dilation(strokes, iterations=2) if strokes.any() else strokes


def _colours(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CIELAB [H, W, 3] of the slightly blurred image, and of the skin [3]: the median of all pixels that are not
    black."""
    blurred = ndimage.uniform_filter(pixels.astype(np.float32), (3, 3, 0)) / 255
    lab = color.rgb2lab(blurred)
    lit = lab[..., 0] > 25
    return lab, np.median(lab[lit] if lit.any() else lab.reshape(-1, 3), axis=0)


def _stickers(lab: np.ndarray, skin: np.ndarray) -> np.ndarray:
    lightness, a, b = np.moveaxis(lab, -1, 0)
    chroma = np.hypot(a, b)
    unlike = (chroma > COLOURED) & ((a < skin[1] - UNLIKE_SKIN[0]) | (b < skin[2] - UNLIKE_SKIN[1]))
    vivid = (chroma > VIVID) & (np.hypot(a - skin[1], b - skin[2]) > 32)
    coloured = ndimage.binary_opening((unlike | vivid) & (lightness > 28), iterations=2)
    labels, count = ndimage.label(_closed(coloured, 4))
    marked = np.zeros_like(coloured)
    for region in measure.regionprops(labels) if count else []:
        top, left, bottom, right = region.bbox
        at_edge = top == 0 or left == 0 or bottom == marked.shape[0] or right == marked.shape[1]
        if at_edge and region.area >= STICKER_SHARE * marked.size and region.solidity >= SOLID:
            marked |= labels == region.label
    return ndimage.binary_dilation(ndimage.binary_fill_holes(marked), iterations=4) if marked.any() else marked


def rulers(pixels: np.ndarray) -> np.ndarray:
    """Uint8 RGB [H, W, 3] -> bool [H, W], True on the ticks, the line and the numbers of a ruler or scale bar, and on
    the paper that it is printed on.

    A ruler is a straight, dark, thin line with evenly spaced ticks on it, or a row of such ticks alone.
    """
    scale = min(pixels.shape[:2]) / SIDE
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    hat = hair.black_hat(grey, max(3, round(hair.REACH * scale)))
    # a line at the edge of the image has no skin on its other side
    hat[:2] = hat[-2:] = hat[:, :2] = hat[:, -2:] = 0
    marked = np.zeros(grey.shape, bool)
    for ticks in [*_scale_bars(hat), *_rows_of_ticks(hat)]:
        marked |= _ruler(pixels, hat, ticks)
    return marked


@dataclass(frozen=True)
class _Ticks:
    """A row of ticks, in pixels along (u) and across (v) a line that is turned by `angle`, from the corner of the
    image."""

    angle: float
    first: float
    last: float
    top: float
    bottom: float


@dataclass(frozen=True, eq=False)
class _Parts:
    """The connected parts of a mask: `labels` int [H, W], and of each of n parts its number of pixels, centre, length,
    width, angle of its length from -pi / 2 to pi / 2 (all [n], by the moments of its pixels)."""

    labels: np.ndarray
    sizes: np.ndarray
    x: np.ndarray
    y: np.ndarray
    length: np.ndarray
    width: np.ndarray
    angle: np.ndarray


def _parts(mask: np.ndarray) -> _Parts:
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    y, x = np.nonzero(labels)
    of = labels[y, x] - 1

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(of, values, count) / np.maximum(sizes, 1)

    sizes = np.bincount(of, minlength=count)
    centre_x, centre_y = mean(x), mean(y)
    # a pixel is a square, not a point
    xx, yy = mean(x**2) - centre_x**2 + 1 / 12, mean(y**2) - centre_y**2 + 1 / 12
    xy = mean(x * y) - centre_x * centre_y
    spread = np.hypot(xx - yy, 2 * xy)
    length, width = (np.sqrt(np.maximum(6 * (xx + yy + sign * spread), 0)) for sign in (1, -1))
    return _Parts(labels, sizes, centre_x, centre_y, length, width, 0.5 * np.arctan2(2 * xy, xx - yy))


def _scale_bars(hat: np.ndarray) -> list[_Ticks]:
    """The straight lines with evenly spaced ticks in a black-hat image [H, W]. Faint ones appear at a low limit, those
    among hair or dirt at a high one."""
    scale = min(hat.shape) / SIDE
    for limit in LINE_LIMITS:
        dark = hat > limit
        parts = _parts(ndimage.binary_closing(dark, np.ones((3, 3))))
        long = (parts.length > LINE * scale) & (parts.width < WIDEST_BAR * scale)
        bars = [_scale_bar(hat, dark & (parts.labels == part + 1), parts.angle[part]) for part in np.flatnonzero(long)]
        if any(bars):
            return [bar for bar in bars if bar]
    return []


def _scale_bar(hat: np.ndarray, part: np.ndarray, about: float) -> _Ticks | None:
    """The scale bar formed by `part`, bool [H, W], of a black-hat image, rotated by roughly the angle `about`; None if
    it is not one."""
    scale = min(hat.shape) / SIDE
    y, x = np.nonzero(part)
    angles = about + np.radians(np.arange(-5, 5.1, 0.5))
    rows = [np.rint(_along(x, y, angle)[1]).astype(int) for angle in angles]
    best = int(np.argmax([np.bincount(row - row.min()).max() for row in rows]))
    angle, row = float(angles[best]), rows[best]
    line = int(np.bincount(row - row.min()).argmax()) + row.min()
    u = np.sort(_along(x, y, angle)[0][abs(row - line) <= 1])
    # the longest stretch without a gap
    stretches = np.split(u, np.flatnonzero(np.diff(u) > 4 * scale) + 1)
    first, last = max(((stretch[0], stretch[-1]) for stretch in stretches), key=lambda ends: ends[1] - ends[0])
    if last - first < LINE * scale:
        return None
    columns = np.arange(first, last)
    across = np.arange(-10, 11)
    along_x = columns * np.cos(angle) - (line + across[:, np.newaxis]) * np.sin(angle)
    along_y = columns * np.sin(angle) + (line + across[:, np.newaxis]) * np.cos(angle)
    band = ndimage.map_coordinates(hat, (along_y, along_x), order=1)
    on = band[9:12].max(axis=0)
    above, below = band[2:8], band[13:19]
    thin = min(np.median(above[-2:]), np.median(below[:2])) < 0.4 * np.median(on)
    if not thin or (on > 0.4 * np.median(on)).mean() < STRAIGHT:
        return None
    sides = above.sum(axis=0), below.sum(axis=0)
    largest = min(LARGEST_STEP, len(columns) // 3)
    if max(_evenness(side, largest) for side in (*sides, sides[0] + sides[1])) < EVEN:
        return None
    return _Ticks(angle, first, last, line - 8 * scale, line + 8 * scale)


def _evenness(profile: np.ndarray, largest: int) -> float:
    """How well a profile [n] correlates with itself when shifted by one step of up to `largest` pixels and by two
    steps: -1 to 1."""
    centred = profile - profile.mean()
    correlation = np.correlate(centred, centred, "full")[len(profile) - 1 :]
    correlation = correlation / max(correlation[0], 1e-6) / (1 - np.arange(len(profile)) / len(profile))
    steps = np.arange(SMALLEST_STEP, largest + 1)
    # if the distance between ticks is not a whole number of pixels, the repetition is off by one pixel
    twice = np.maximum.reduce([correlation[2 * steps + shift] for shift in (-1, 0, 1)])
    return float(np.minimum(correlation[steps], twice).max())


def _rows_of_ticks(hat: np.ndarray) -> list[_Ticks]:
    """The rows of evenly spaced ticks without a line in a black-hat image [H, W], at most two, the longest first."""
    scale = min(hat.shape) / SIDE
    parts = _parts(hat > DARK)
    low, high = TICK
    chosen = (parts.length > low * scale) & (parts.length < high * scale) & (parts.width < WIDEST_TICK * scale)
    chosen &= parts.length > 1.8 * parts.width
    if chosen.sum() > MAX_TICKS:
        chosen &= parts.sizes >= np.sort(parts.sizes[chosen])[-MAX_TICKS]
    x, y, angle, length = (values[chosen] for values in (parts.x, parts.y, parts.angle, parts.length))
    rows: list[_Ticks] = []
    for _ in range(2):
        row, line = _longest_row(x, y, angle, length, scale)
        if len(row) < MIN_TICKS:
            break
        u, v = _along(x[row], y[row], line)
        reach = length[row].max() / 2
        rows.append(_Ticks(line, u.min(), u.max(), v.min() - reach, v.max() + reach))
        rest = np.setdiff1d(np.arange(len(x)), row)
        x, y, angle, length = (values[rest] for values in (x, y, angle, length))
    return rows


def _longest_row(
    x: np.ndarray, y: np.ndarray, angle: np.ndarray, length: np.ndarray, scale: float
) -> tuple[np.ndarray, float]:
    """The largest set of lines [n] that are parallel and evenly spaced: which ones, and the angle of their row. Every
    pair of neighbours is tried."""
    best, turn = np.empty(0, int), 0.0
    apart = np.hypot(x[:, np.newaxis] - x, y[:, np.newaxis] - y)
    parallel = abs(np.sin(angle[:, np.newaxis] - angle)) < np.sin(np.radians(PARALLEL))
    pairs = parallel & (apart > SMALLEST_STEP * scale) & (apart < LARGEST_STEP * scale)
    for one, other in zip(*np.nonzero(np.triu(pairs)), strict=True):
        row = float(np.arctan2(y[other] - y[one], x[other] - x[one]))
        # ticks stand upright on their row
        if abs(np.cos(angle[one] - row)) > np.cos(np.radians(UPRIGHT)):
            continue
        u, v = _along(x - x[one], y - y[one], row)
        steps = u / apart[one, other]
        uneven = abs(steps - np.rint(steps)) * apart[one, other]
        near = parallel[one] & (abs(v) < 2 * scale + 0.3 * length[one])
        near &= uneven < np.maximum(scale, UNEVEN * apart[one, other])
        near &= (length > 0.4 * length[one]) & (length < 2.5 * length[one]) & (length < RIDGE * apart[one, other])
        if not near[one]:
            continue
        numbers = np.unique(np.rint(steps[near])).astype(int)
        runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
        run = next(one_run for one_run in runs if 0 in one_run)
        if len(run) > len(best) and (len(run) - 1) * apart[one, other] > SHORTEST_ROW * scale:
            members = np.flatnonzero(near & np.isin(np.rint(steps), run))
            best, turn = members[np.unique(np.rint(steps[members]), return_index=True)[1]], row
    return best, turn


def _along(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across a line that is turned by `angle`."""
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _rectangle(shape: tuple[int, ...], ticks: _Ticks, margin: float) -> np.ndarray:
    """Bool [H, W], True where the ticks are, and within `margin` pixels of them."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    u, v = _along(x, y, ticks.angle)
    along = (u >= ticks.first - margin) & (u <= ticks.last + margin)
    return along & (v >= ticks.top - margin) & (v <= ticks.bottom + margin)


def _ruler(pixels: np.ndarray, hat: np.ndarray, ticks: _Ticks) -> np.ndarray:
    """The paper of a ruler; if the ticks are on the dermatoscope's glass, the dark and thin pixels near them."""
    near = _rectangle(hat.shape, ticks, NUMBERS)
    lab, skin = _colours(pixels)
    pale = (lab[..., 0] > skin[0] + 8) & (np.hypot(lab[..., 1], lab[..., 2]) < 0.6 * np.hypot(skin[1], skin[2]))
    labels, _ = ndimage.label(_closed(pale, 5))
    core = _rectangle(hat.shape, ticks, 2)
    within = np.bincount(labels[core], minlength=labels.max() + 1)
    within[0] = 0
    if within.max() > 0.5 * core.sum():
        paper = (labels == within.argmax()) | core
        # numbers are holes in the paper, also at the edge of the image; pale skin next to it is not convex
        hull = morphology.convex_hull_image(paper)
        return ndimage.binary_dilation(hull if hull.sum() < 1.4 * paper.sum() else paper, iterations=3)
    return ndimage.binary_dilation(near & (hat > FAINT), iterations=2) | (core & (hat > FAINT / 2))


def _closed(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Binary closing, as if the mask continued beyond the edge of the image."""
    padded = np.pad(mask, 2 * pixels, mode="edge")
    return ndimage.binary_closing(padded, iterations=pixels)[2 * pixels : -2 * pixels, 2 * pixels : -2 * pixels]


def _in_the_middle(shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(x - shape[1] / 2, y - shape[0] / 2) < CENTRAL * min(shape)


def _area(image: np.ndarray) -> float:
    return (min(image.shape[:2]) / SIDE) ** 2


def _small(pixels: np.ndarray) -> np.ndarray:
    """The image with a shorter side of SIDE pixels; a smaller one as it is."""
    height, width = pixels.shape[:2]
    scale = SIDE / min(height, width)
    if scale >= 1:
        return pixels
    size = max(SIDE, round(width * scale)), max(SIDE, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _enlarged(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if mask.shape == shape[:2]:
        return mask
    grown = Image.fromarray(mask.astype(np.float32)).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(grown) > 0.4


DETECTORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    RULER: rulers,
    STICKER: stickers,
    DARK_CORNERS: dark_corners,
    INK: ink,
}
"""The function that marks each kind but hairs in a small image."""
