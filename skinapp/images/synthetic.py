"""A computer-generated lesion, to try the app without a photo. It shows no real person; its result means nothing."""

import numpy as np
from PIL import Image, ImageDraw

SKIN = ((238, 205, 186), (229, 184, 158), (205, 158, 128), (160, 113, 86), (112, 76, 58))
LIGHT_PIGMENT, DARK_PIGMENT = (0.72, 0.60, 0.52), (0.30, 0.22, 0.20)
"""The share of the skin's red, green and blue that remains under thin and under dense pigment."""


def draw(seed: int, width: int = 720, height: int = 540) -> Image.Image:
    """The drawing of that seed: RGB, the same on every call. Border, colour, texture and hairs vary with the seed."""
    rng = np.random.default_rng(seed)
    tone = seed % len(SKIN)
    y, x = np.mgrid[0:height, 0:width] / height
    x, y = x - width / height / 2, y - 0.5

    skin = np.array(SKIN[tone], dtype=float) * (1 + 0.05 * _noise(rng, width, height, 5))[..., np.newaxis]
    skin *= (1 + 0.03 * _noise(rng, width, height, 120))[..., np.newaxis]

    # the border: a circle bent by a few harmonics of the angle
    centre_x, centre_y = rng.uniform(-0.08, 0.08, 2)
    angle = np.arctan2(y - centre_y, x - centre_x)
    radius = np.full_like(x, rng.uniform(0.25, 0.32))
    for harmonic in range(2, 7):
        radius *= 1 + rng.normal(0, 0.2 / harmonic) * np.cos(harmonic * angle + rng.uniform(0, 2 * np.pi))
    depth = 1 - np.hypot(x - centre_x, y - centre_y) / radius + 0.05 * _noise(rng, width, height, 9)
    cover = _smooth_step(depth / rng.uniform(0.12, 0.3))

    # pigment: darker towards the middle, in patches, with a net of lines and a few dots
    darkness = rng.uniform(0.05, 0.25) + 0.55 * np.clip(depth, 0, 1) + 0.4 * _noise(rng, width, height, 8)
    bend = 0.012 * _noise(rng, width, height, 14)
    pitch = rng.uniform(0.028, 0.04)
    net = np.cos(2 * np.pi * (x + bend) / pitch) * np.cos(2 * np.pi * (y + 0.5 * x - bend) / pitch)
    darkness += 0.3 * (0.5 - np.abs(net)) * _smooth_step(1.3 - 1.3 * np.clip(depth, 0, 1))
    for _ in range(rng.integers(6, 26)):
        dot_angle, dot_radius = rng.uniform(0, 2 * np.pi), 0.24 * np.sqrt(rng.uniform())
        dot_x, dot_y = centre_x + dot_radius * np.cos(dot_angle), centre_y + dot_radius * np.sin(dot_angle)
        darkness += 0.5 * np.exp(-((x - dot_x) ** 2 + (y - dot_y) ** 2) / (2 * rng.uniform(0.005, 0.011) ** 2))
    share = np.clip(darkness, 0, 1)[..., np.newaxis]
    lesion = skin * (np.array(LIGHT_PIGMENT) * (1 - share) + np.array(DARK_PIGMENT) * share)

    pixels = skin * (1 - cover[..., np.newaxis]) + lesion * cover[..., np.newaxis]
    pixels *= (1 - 0.22 * np.hypot(x, y) ** 2)[..., np.newaxis]
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return with_hairs(image, rng, int(rng.integers(0, 6)))


def _noise(rng: np.random.Generator, width: int, height: int, cells: int) -> np.ndarray:
    """Smooth noise [height, width] of about -1 to 1, with `cells` bumps along the width."""
    coarse = rng.uniform(-1, 1, (max(2, cells * height // width), cells)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _smooth_step(values: np.ndarray) -> np.ndarray:
    inside = np.clip(values, 0, 1)
    return inside * inside * (3 - 2 * inside)


def with_hairs(image: Image.Image, rng: np.random.Generator, count: int) -> Image.Image:
    """The image, drawn over with `count` dark, bent hairs from edge to edge."""
    scale = 3  # drawn larger and then reduced, as Pillow's lines have hard edges
    width, height = image.width * scale, image.height * scale
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    for _ in range(count):
        # from one edge to the opposite one, bent towards a point between
        start, end = rng.uniform(-0.1, 1.1, 2)
        points = np.array([(-0.1, start), rng.uniform(0.1, 0.9, 2), (1.1, end)])
        points = (points if rng.uniform() < 0.5 else points[:, ::-1]) * (width, height)
        step = np.linspace(0, 1, 40)[:, np.newaxis]
        curve = (1 - step) ** 2 * points[0] + 2 * step * (1 - step) * points[1] + step**2 * points[2]
        pen.line([tuple(point) for point in curve], fill=170, width=int(rng.integers(4, 8)), joint="curve")
    image.paste((52, 36, 30), mask=mask.resize(image.size, Image.Resampling.LANCZOS))
    return image
