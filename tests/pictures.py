"""Pictures for the tests, drawn and encoded in memory."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter


def lesion(width: int = 300, height: int = 225, seed: int = 0) -> Image.Image:
    """A mottled brown spot off the centre of mottled skin, darker towards the corners, so that it is recognised as
    dermoscopy: RGB, without rotational or mirror symmetry."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    across, down = x / width - generator.uniform(0.3, 0.45), y / height - generator.uniform(0.3, 0.45)
    spot = np.exp(-(((across / 0.19) ** 2 + (down / 0.34) ** 2) ** 3.2))[..., np.newaxis]
    skin = np.array([255.0, 221.0, 248.0]) + mottled(generator, width, height, 0.28) * [28, 33, 33]
    tone = np.array([141.0, 87.0, 52.0]) + generator.uniform(-12, 12, 3)
    tone = tone + mottled(generator, width, height, 0.54) * [54, 43, 36]
    light = 1 - 0.54 * ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2)[..., np.newaxis]
    pixels = (skin * (1 - spot) + tone * spot) * light + generator.normal(0, 0.8, (height, width, 1))
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return picture.filter(ImageFilter.GaussianBlur(width / 360))


def mottled(generator: np.random.Generator, width: int, height: int, slope: float) -> np.ndarray:
    """Noise with a standard deviation of 1 whose amplitude falls off as frequency to the power `slope`: [height, width,
    1]."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis] * height, np.fft.rfftfreq(width) * width)
    phases = generator.normal(size=frequency.shape) + 1j * generator.normal(size=frequency.shape)
    noise = np.fft.irfft2(phases / np.maximum(frequency, 1) ** slope, s=(height, width))
    return (noise / noise.std())[..., np.newaxis]


def skin(seed: int, size: int = 600) -> Image.Image:
    """A patterned lesion on patterned skin."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 255, (40, 40), dtype=np.uint8)).resize((size, size), 3)
    texture = (np.asarray(coarse).astype(float) - 128)[..., np.newaxis]
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    spot = (((x / 0.35) ** 2 + (y / 0.25) ** 2) < 1)[..., np.newaxis]
    pixels = np.where(spot, [110, 70, 50] + 0.5 * texture, [215, 170, 150] + 0.25 * texture)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2))


def closer(picture: Image.Image, side: int, zoom: float = 1.0, degrees: float = 0.0, dark: float = 1.0) -> np.ndarray:
    """The middle of a picture as seen by a camera that is closer and rotated, with less light."""
    seen = 0.6 * picture.width / zoom
    corner = (picture.width - seen) / 2
    middle = picture.rotate(degrees, 3).resize((side, side), 3, box=(corner, corner, corner + seen, corner + seen))
    return (np.asarray(middle) * dark).astype(np.uint8)


def encode(image: Image.Image, file_format: str = "JPEG", **options: object) -> bytes:
    """The bytes of an image file; JPEGs at quality 95 by default."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **({"quality": 95} if file_format == "JPEG" else {}) | options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, interlaced: bool = False) -> bytes:
    """A PNG from raw scan lines, for formats that Pillow does not write (https://www.w3.org/TR/png-3/)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def interlaced_png(image: Image.Image) -> bytes:
    """An RGB picture as an Adam7-interlaced PNG."""
    pixels = np.asarray(image)
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    lines = [b"\0" + line.tobytes() for top, left, down, across in passes for line in pixels[top::down, left::across]]
    return png(image.width, image.height, 8, 2, b"".join(lines), interlaced=True)


def small_ham10000(root: Path) -> Path:
    """Write a data set in HAM10000's form to `root`, a melanoma, ISIC_0, and two moles; return `root`."""
    images = root / "ham10000" / "images"
    images.mkdir(parents=True)
    rows = []
    for number, code in enumerate(("mel", "nv", "nv")):
        lesion(seed=number).save(images / f"ISIC_{number}.webp")
        rows.append((f"ISIC_{number}", f"HAM_{number}", code, "histo", 50.0, "male", "back"))
    columns = ["image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "ham10000" / "metadata.csv", index=False)
    return root
