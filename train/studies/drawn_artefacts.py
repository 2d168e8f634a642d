"""Draws hairs, rulers, stickers, dark corners and ink on an image, to measure the effect of removing them."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from skinapp.images import synthetic
from skinapp.images.removal import DARK_CORNERS, HAIR, INK, RULER, STICKER

Drawing = Callable[[Image.Image, np.random.Generator], Image.Image]


def hairs(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The image with eight to sixteen dark hairs across it."""
    return synthetic.with_hairs(image.copy(), generator, int(generator.integers(8, 17)))


def ruler(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The image with a ruler of paper along one edge, or a scale bar as on a dermatoscope's glass, with equal
    probability."""
    return (_paper_ruler if generator.random() < 0.5 else _scale_bar)(image, generator)


def _paper_ruler(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """A tick per millimetre, a number per centimetre."""
    width, height = image.size
    deep = int(height * generator.uniform(0.1, 0.16))
    strip = Image.new("RGB", (width, deep), (236, 236, 230))
    pen = ImageDraw.Draw(strip)
    step = generator.uniform(0.025, 0.05) * width
    for tick in range(int(width / step) + 1):
        long = 0.55 if tick % 10 == 0 else 0.4 if tick % 5 == 0 else 0.25
        pen.line((tick * step, 0, tick * step, deep * long), fill=(25, 25, 30), width=max(1, width // 220))
        if tick % 10 == 0:
            pen.text((tick * step + 2, deep * 0.45), str(tick // 10 + 1), fill=(25, 25, 30), font_size=deep * 0.5)
    result = image.copy()
    result.paste(strip, (0, height - deep))
    return result.transpose(Image.Transpose.ROTATE_90) if generator.random() < 0.5 else result


def _scale_bar(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    width, height = image.size
    step = generator.uniform(0.03, 0.07) * width
    ticks = int(generator.uniform(0.6, 0.8) * width / step)
    left, level = generator.uniform(0.05, 0.15) * width, generator.uniform(0.85, 0.95) * height
    colour, line = (45, 40, 40), max(1, width // 220)
    result = image.copy()
    pen = ImageDraw.Draw(result)
    pen.line((left, level, left + ticks * step, level), fill=colour, width=line)
    for tick in range(ticks + 1):
        long = (0.035 if tick % 5 == 0 else 0.02) * height
        pen.line((left + tick * step, level - long, left + tick * step, level), fill=colour, width=line)
    return result.transpose(Image.Transpose.ROTATE_90) if generator.random() < 0.5 else result


def sticker(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The image with a round, coloured sticker at an edge, as some clinics place next to lesions."""
    width, height = image.size
    radius = generator.uniform(0.14, 0.22) * width
    across = generator.choice([0.0, 1.0]) * width
    down = generator.uniform(0.1, 0.9) * height
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse((across - radius, down - radius, across + radius, down + radius), fill=255)
    colour = [(30, 90, 190), (40, 150, 70), (215, 60, 60), (235, 190, 40)][int(generator.integers(4))]
    result = image.copy()
    result.paste(colour, mask=mask.filter(ImageFilter.GaussianBlur(1)))
    return result


def dark_corners(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The image within the dark rim of a dermatoscope, slightly off centre."""
    width, height = image.size
    radius = generator.uniform(0.48, 0.62) * min(width, height)
    across, down = (generator.uniform(0.46, 0.54) * side for side in (width, height))
    lit = Image.new("L", image.size)
    ImageDraw.Draw(lit).ellipse((across - radius, down - radius, across + radius, down + radius), fill=255)
    blur = generator.uniform(0.005, 0.02) * width
    return Image.composite(image, Image.new("RGB", image.size, (8, 6, 8)), lit.filter(ImageFilter.GaussianBlur(blur)))


def ink(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The image with two to five ragged strokes of a blue or violet marker around its middle."""
    width, height = image.size
    mask = Image.new("L", image.size)
    pen = ImageDraw.Draw(mask)
    for angle in generator.uniform(0, 2 * np.pi, int(generator.integers(2, 6))):
        for turn in np.linspace(angle, angle + generator.uniform(0.2, 0.6), 12):
            far = generator.uniform(0.38, 0.46)
            x, y = width * (0.5 + far * np.cos(turn)), height * (0.5 + far * np.sin(turn))
            reach = generator.uniform(0.01, 0.03, 2) * width
            pen.line((x - reach[0], y - reach[1], x + reach[0], y + reach[1]), fill=215, width=max(2, width // 45))
    result = image.copy()
    colour = [(45, 60, 165), (95, 45, 140), (60, 50, 110)][int(generator.integers(3))]
    result.paste(colour, mask=mask.filter(ImageFilter.GaussianBlur(width / 300)))
    return result


DRAWINGS: dict[str, Drawing] = {
    HAIR: hairs,
    RULER: ruler,
    STICKER: sticker,
    DARK_CORNERS: dark_corners,
    INK: ink,
}
"""Each kind of artefact, as it is drawn."""
