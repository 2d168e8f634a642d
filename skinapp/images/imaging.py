"""From the bytes of a file to the model's input. The app, the command line, evaluation and training all come here.

Decode, orient, crop and resize stand in this one place so that an image gives the same pixels, and so the same
answer, whichever way it arrives.
"""

import io
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

from skinapp.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "HEIF")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif")
MAX_BYTES = 50 * 1024 * 1024
MAX_PIXELS = 150_000_000
MIN_SIDE = 64
DECODED_SIDE = 480
"""A JPEG is decoded at the smallest of its own scales (1/1 to 1/8) in which the shorter side has at least this many
pixels; twice, four or eight times as many where a small square is cut out of it."""

pillow_heif.register_heif_opener()
# Pillow only warns from its limit to twice that, unless told to refuse.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Crop:
    """A square of an upright image, in fractions: centre (0-1, 0-1), and side as a share (0-1] of the shorter side."""

    x: float = 0.5
    y: float = 0.5
    side: float = 1.0

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels of a `width` x `height` image, moved inside where it would stick out."""
        side = min(width, height) * min(max(self.side, 0.0), 1.0)
        left = min(max(self.x * width - side / 2, 0.0), width - side)
        top = min(max(self.y * height - side / 2, 0.0), height - side)
        return left, top, left + side, top + side


CENTRE = Crop()


def read(path: str | Path) -> bytes:
    """The bytes of a regular file. ImageError where it is missing, anything else, unreadable or over MAX_BYTES."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ImageError("This is a device, a pipe or a socket, not a file; name an image file.")
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(_too_many_bytes(path.stat().st_size))
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError("There is no such file; check the path.") from None
    except IsADirectoryError:
        raise ImageError("This is a folder, not an image; name the image files in it.") from None
    except OSError as error:
        raise ImageError(f"The file cannot be read ({error.strerror}).") from None


def decode(data: bytes, crop: Crop = CENTRE) -> Image.Image:
    """Bytes of an image file -> upright RGB, first frame, on white where it was transparent, without metadata.

    Large JPEGs come out reduced, less so where only a small `crop` is needed (see `decoded_side`); the result of every
    other format has its full size.
    Raises ImageError for anything that is not a readable image of 64 px to 150 megapixels.
    """
    if not data:
        raise ImageError("The file is empty; choose another one.")
    if len(data) > MAX_BYTES:
        raise ImageError(_too_many_bytes(len(data)))
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(_too_many_pixels()) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise ImageError(_not_an_image(data)) from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(_too_many_pixels())
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"The image is {width} x {height} pixels; at least {MIN_SIDE} x {MIN_SIDE} are needed. Use a larger one."
        )
    try:
        if image.format in ("JPEG", "MPO"):  # MPO: a phone's JPEG with a second picture behind the first
            scale = max(1, min(width, height) // decoded_side(crop))
            image.draft(None, (math.ceil(width / scale), math.ceil(height / scale)))
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # decoders raise many kinds, all for one reason: the file is damaged
        raise ImageError("The image file is damaged or cut short and cannot be read; save or send it again.") from error


def decoded_side(crop: Crop) -> int:
    """The least pixels that the shorter side of a decoded JPEG has, so that enough are left of the crop."""
    return DECODED_SIDE * 2 ** min(3, max(0, math.ceil(-math.log2(max(crop.side, 1e-3)))))


def crop_resize(image: Image.Image, size: int, crop: Crop = CENTRE) -> np.ndarray:
    """Upright RGB -> uint8 [size, size, 3], values 0-255: the square `crop`, bicubic with antialiasing."""
    resized = image.resize((size, size), Image.Resampling.BICUBIC, box=crop.box(*image.size), reducing_gap=3.0)
    return np.asarray(resized)


def load(source: str | Path | bytes, size: int, crop: Crop = CENTRE) -> np.ndarray:
    """A file or its bytes -> the model's input, uint8 [size, size, 3]. Raises ImageError."""
    data = source if isinstance(source, bytes) else read(source)
    return crop_resize(decode(data, crop), size, crop)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow's own conversion clips at 255 where a viewer would scale: 16 bits, and numbers from 0 to 1
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        peak = values.max()
        tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        top = next((top for top in tops if peak <= top), peak)
        image = Image.fromarray(np.clip(values * (255.0 / top), 0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size, "white")
        image.paste(rgba, mask=rgba.getchannel("A"))
    rgb = image.convert("RGB")
    rgb.info = {}
    return rgb


def _too_many_bytes(size: int) -> str:
    return (
        f"The file has {size / 1024**2:.0f} MB; at most {MAX_BYTES // 1024**2} MB are read. "
        "Save it smaller or as a JPEG."
    )


def _too_many_pixels() -> str:
    return f"The image has more than {MAX_PIXELS // 1_000_000} megapixels and was not opened; save it smaller."


def _not_an_image(data: bytes) -> str:
    head = data[:1024].lstrip().lower()
    if head.startswith(b"%pdf"):
        kind = "This is a PDF, not a photo."
    elif head.startswith((b"<svg", b"<?xml")) or b"<svg" in head:
        kind = "This is an SVG drawing, not a photo."
    else:
        kind = "This is not an image that can be read, whatever its name says, or its beginning is damaged."
    return f"{kind} Use a JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC file."
