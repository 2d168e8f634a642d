"""Pictures of anything but a skin lesion: photographs that come with installed packages, and drawings.

The photographs are those of scikit-learn (CC BY) and scikit-image (public domain, CC0 or CC BY; its
`skimage/data/README.txt` lists them). They are few, so each is cropped, rotated and recoloured in many ways, sometimes
in the colours of skin, and a classifier is only tested on photographs of which it has seen no part. Two of the drawings
have the statistics of photographs: overlapping shapes of all sizes ("dead leaves") and noise whose spectrum falls with
frequency (Baradad et al. 2021, arXiv:2106.05963).
"""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from skinapp.errors import DataError

PHOTOGRAPHS = {
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
    "skimage": (
        "data",
        (
            *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png"),
            *("coins.png", "color.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "logo.png"),
            *("moon.png", "motorcycle_left.png", "page.png", "retina.jpg", "rocket.jpg", "text.png"),
        ),
    ),
}
SIDE = 320


def photographs() -> dict[str, Path]:
    """Name -> file of each photograph. DataError if scikit-image is not installed."""
    files: dict[str, Path] = {}
    for package, (folder, names) in PHOTOGRAPHS.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise DataError(f"The photographs of {package} are needed; run pip install -r requirements-train.txt.")
        files |= {Path(name).stem: Path(spec.origin).parent / folder / name for name in names}
    return files


def pictures(views: int, seed: int = 0) -> Iterator[tuple[str, Image.Image]]:
    """`views` views of each photograph and `views` drawings of each kind: pairs of source and RGB image."""
    for number, (name, file) in enumerate(photographs().items()):
        with Image.open(file) as opened:
            photograph = opened.convert("RGB")
        for view in range(views):
            yield name, viewed(photograph, np.random.default_rng([seed, number, view]))
    for number, (name, draw) in enumerate(DRAWINGS.items()):
        for view in range(views):
            yield f"drawn {name}", draw(np.random.default_rng([seed, 1000 + number, view]))


def viewed(photograph: Image.Image, generator: np.random.Generator, min_share: float = 0.3) -> Image.Image:
    """A square of a photograph, from `min_share` to all of its shorter side, rotated, with altered light and colours;
    some squares are blurred, dark or overexposed."""
    side = generator.uniform(min_share, 1) * min(photograph.size)
    left, top = (generator.uniform(0, edge - side) for edge in photograph.size)
    square = photograph.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    square = square.transpose(Image.Transpose(int(generator.integers(0, 7))))
    for enhance, spread in ((ImageEnhance.Brightness, 0.3), (ImageEnhance.Contrast, 0.3), (ImageEnhance.Color, 0.6)):
        square = enhance(square).enhance(generator.uniform(1 - spread, 1 + spread))
    if generator.random() < 0.3:
        # a colour cast, as from a lamp
        cast = Image.new("RGB", square.size, tuple(int(value) for value in generator.integers(0, 256, 3)))
        square = Image.blend(square, cast, generator.uniform(0.05, 0.25))
    if generator.random() < 0.25:
        square = Image.blend(square, in_skin_colours(square, generator), generator.uniform(0.4, 1))
    if generator.random() < 0.3:
        square = square.filter(ImageFilter.GaussianBlur(generator.uniform(0.5, 4)))
    if generator.random() < 0.3:
        square = ImageEnhance.Brightness(square).enhance(np.exp(generator.uniform(np.log(0.25), np.log(2.2))))
    return square


def in_skin_colours(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The image recoloured in the colours of skin, so that colour alone does not identify skin."""
    red = generator.integers(150, 240)
    skin = (int(red), int(red * generator.uniform(0.62, 0.85)), int(red * generator.uniform(0.5, 0.8)))
    return ImageOps.colorize(ImageOps.autocontrast(image.convert("L")), (50, 25, 20), (250, 235, 225), skin)


def _colour(generator: np.random.Generator, low: int = 0, high: int = 256) -> tuple[int, ...]:
    return tuple(int(value) for value in generator.integers(low, high, 3))


def _document(generator: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (SIDE, SIDE), _colour(generator, 225))
    pen = ImageDraw.Draw(page)
    size, ink = int(generator.integers(8, 22)), _colour(generator, 0, 90)
    letters = np.array(list("aaabcdeeeefghiiiklmnnnooprrsssttuvw    .,"))
    for top in range(int(generator.integers(4, 30)), SIDE, int(size * 1.6)):
        line = "".join(generator.choice(letters, int(generator.integers(10, 60))))
        pen.text((int(generator.integers(6, 30)), top), line, fill=ink, font_size=size)
    return page.rotate(generator.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=_colour(generator))


def _chart(generator: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(page)
    count = int(generator.integers(3, 12))
    heights = generator.uniform(0.1, 0.9, count) * (SIDE - 60)
    step = (SIDE - 60) / count
    if generator.random() < 0.5:
        colour = _colour(generator)
        for bar, height in enumerate(heights):
            box = (40 + bar * step, SIDE - 30 - height, 40 + (bar + 0.8) * step, SIDE - 30)
            pen.rectangle(box, fill=colour if generator.random() < 0.7 else _colour(generator))
    else:
        for _ in range(int(generator.integers(1, 4))):
            points = [(40 + step * at, SIDE - 30 - generator.uniform(0, SIDE - 60)) for at in range(count)]
            pen.line(points, fill=_colour(generator), width=int(generator.integers(1, 6)))
    pen.line((40, 20, 40, SIDE - 30, SIDE - 10, SIDE - 30), fill="black", width=2)
    pen.text((60, 6), "".join(generator.choice(list("abcdefghij "), 18)), fill="black", font_size=14)
    return page


def _screen(generator: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (SIDE, SIDE), _colour(generator, 0 if generator.random() < 0.4 else 210))
    pen = ImageDraw.Draw(page)
    pen.rectangle((0, 0, SIDE, int(generator.integers(18, 50))), fill=_colour(generator))
    for _ in range(int(generator.integers(3, 14))):
        left, top = generator.integers(0, SIDE - 40, 2).tolist()
        box = (left, top, left + int(generator.integers(30, 180)), top + int(generator.integers(12, 90)))
        pen.rounded_rectangle(box, int(generator.integers(0, 12)), fill=_colour(generator))
        pen.text((left + 6, top + 3), "".join(generator.choice(list("Menuopqrst "), 9)), fill=_colour(generator))
    return page


def _noise(generator: np.random.Generator) -> Image.Image:
    cells = int(generator.choice([4, 8, 20, 80, SIDE]))
    channels = 3 if generator.random() < 0.7 else 1
    coarse = generator.integers(0, 256, (cells, cells, channels), dtype=np.uint8).repeat(4 - channels, axis=2)[..., :3]
    return Image.fromarray(np.ascontiguousarray(coarse)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _gradient(generator: np.random.Generator) -> Image.Image:
    angle = generator.uniform(0, 2 * np.pi)
    down, across = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    share = ((np.cos(angle) * across + np.sin(angle) * down) / 2 + 0.5).clip(0, 1)[..., np.newaxis]
    pixels = share * _colour(generator) + (1 - share) * np.array(_colour(generator))
    return Image.fromarray(pixels.astype(np.uint8))


def _plain(generator: np.random.Generator) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), _colour(generator))


def _shapes(generator: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (SIDE, SIDE), _colour(generator))
    pen = ImageDraw.Draw(page)
    for _ in range(int(generator.integers(4, 20))):
        points = [(float(x), float(y)) for x, y in generator.uniform(0, SIDE, (int(generator.integers(3, 6)), 2))]
        pen.polygon(points, fill=_colour(generator))
    return page


def _stripes(generator: np.random.Generator) -> Image.Image:
    pitch = generator.uniform(6, 60)
    down, across = np.mgrid[:SIDE, :SIDE]
    wave = np.sin(2 * np.pi * across / pitch)
    if generator.random() < 0.6:
        wave = wave * np.sin(2 * np.pi * down / pitch)
    share = (wave > 0).astype(float)[..., np.newaxis]
    pixels = Image.fromarray((share * _colour(generator) + (1 - share) * np.array(_colour(generator))).astype(np.uint8))
    return ImageOps.fit(pixels.rotate(generator.uniform(0, 90), Image.Resampling.BICUBIC), (SIDE, SIDE))


def _leaves(generator: np.random.Generator) -> Image.Image:
    """Shapes that hide one another, many small and few large ones, in the colours of a palette."""
    page = Image.new("RGB", (SIDE, SIDE), _colour(generator))
    pen = ImageDraw.Draw(page)
    palette, spread = generator.integers(0, 256, (int(generator.integers(2, 9)), 3)), generator.uniform(0, 40)
    for radius in sorted(SIDE / 3 / generator.pareto(1.2, 400).clip(0.5, 60), reverse=True):
        x, y = generator.uniform(0, SIDE, 2)
        colour = (palette[generator.integers(len(palette))] + generator.normal(0, spread, 3)).clip(0, 255)
        fill = tuple(int(value) for value in colour)
        if generator.random() < 0.5:
            tall = radius * generator.uniform(0.3, 1)
            pen.ellipse((x - radius, y - tall, x + radius, y + tall), fill=fill)
        else:
            pen.regular_polygon((x, y, radius), int(generator.integers(3, 6)), generator.uniform(0, 90), fill=fill)
    return viewed(page, generator, min_share=0.5)


def _clouds(generator: np.random.Generator) -> Image.Image:
    """Noise whose amplitude falls with frequency, in colours that vary together."""
    down, across = np.fft.fftfreq(SIDE)[:, np.newaxis], np.fft.fftfreq(SIDE)
    frequency = np.maximum(np.hypot(down, across), 1 / SIDE) ** generator.uniform(0.7, 2)
    noise = np.fft.fft2(generator.normal(size=(3, SIDE, SIDE))) / frequency
    channels = np.moveaxis(np.fft.ifft2(noise).real, 0, 2) @ generator.normal(size=(3, 3))
    channels = (channels - channels.mean()) / channels.std() * generator.uniform(20, 70) + _colour(generator, 60, 200)
    return viewed(Image.fromarray(channels.clip(0, 255).astype(np.uint8)), generator, min_share=0.5)


def _face(generator: np.random.Generator) -> Image.Image:
    """A head with eyes, ears and a mouth: a person or an animal, as a child draws them."""
    page = Image.new("RGB", (SIDE, SIDE), _colour(generator))
    pen = ImageDraw.Draw(page)
    x, y = generator.uniform(0.4, 0.6, 2) * SIDE
    wide, tall = generator.uniform(0.2, 0.38, 2) * SIDE
    coat = _colour(generator)
    for side in (-1, 1):
        ear = [
            (x + side * wide, y - tall / 2),
            (x + side * wide * 0.9, y - tall * 1.4),
            (x + side * wide / 4, y - tall),
        ]
        pen.polygon(ear, fill=coat)
    pen.ellipse((x - wide, y - tall, x + wide, y + tall), fill=coat)
    for side in (-1, 1):
        eye, high = x + side * wide * 0.4, y - tall * 0.2
        size = wide * generator.uniform(0.1, 0.25)
        pen.ellipse((eye - size, high - size, eye + size, high + size), fill=_colour(generator, 150))
        pen.ellipse((eye - size / 2, high - size / 2, eye + size / 2, high + size / 2), fill="black")
    pen.polygon(
        [(x - wide / 8, y + tall / 6), (x + wide / 8, y + tall / 6), (x, y + tall / 3)], fill=_colour(generator)
    )
    pen.arc((x - wide / 2, y, x + wide / 2, y + tall * 0.7), 20, 160, fill="black", width=3)
    for _ in range(int(generator.integers(0, 9))):
        start, end = generator.uniform(-1, 1, 2)
        pen.line((x, y + tall / 4, x + wide * 1.5 * start, y + tall * end), fill="black")
    return viewed(page, generator, min_share=0.6)


DRAWINGS: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "document": _document,
    "chart": _chart,
    "screen": _screen,
    "noise": _noise,
    "gradient": _gradient,
    "plain": _plain,
    "shapes": _shapes,
    "stripes": _stripes,
    "leaves": _leaves,
    "clouds": _clouds,
    "face": _face,
}
