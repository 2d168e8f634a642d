"""From the bytes of a file to the model's input. The app, the command line, evaluation and training all use it.

Decoding, orientation, cropping and resizing are in this one place, so that an image gives the same pixels, and
therefore the same prediction, wherever it comes from.
"""

import contextlib
import io
import math
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from skinapp.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "HEIF")
EXTENSIONS = (
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".heic",
    ".heif",
    ".dcm",
    ".dicom",
)
DICOM_MARK, DICOM_MARK_AT = b"DICM", 128
MAX_BYTES = 50 * 1024 * 1024
MAX_PIXELS = 150_000_000
"""For a JPEG, which can be decoded at a fraction of its size."""
MAX_FULL_PIXELS = 40_000_000
"""For every other format, which has to be decoded in full, at up to 10 bytes per pixel."""
LARGE_PIXELS = 4_000_000
"""Images with more pixels than this wait for one of the two slots of `_large_decodes`."""
BAND_PIXELS = 1_000_000
"""Pixels that are converted to 8 bits at a time."""
MIN_SIDE = 64
DECODED_SIDE = 480
"""A JPEG is decoded at the smallest of its built-in scales (1/1 to 1/8) in which the shorter side has at least this
many pixels; twice, four or eight times as many if a small square is cut out of it."""

TOO_MANY_PIXELS = (
    f"The image has too many pixels and was not opened: the limit is {MAX_PIXELS // 1_000_000} megapixels for a JPEG, "
    f"{MAX_FULL_PIXELS // 1_000_000} for any other format. Save it at a smaller size, or as a JPEG."
)

TOO_MUCH = "The image takes too much time or memory to open; save it at a smaller size, or as a JPEG."

pillow_heif.register_heif_opener()
# Pillow only warns from its limit to twice that, unless warnings are errors.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)


_large_decodes = threading.BoundedSemaphore(2)


@dataclass(frozen=True)
class Crop:
    """A square of an upright image, in fractions: centre (0-1, 0-1), and side as a share (0-1] of the shorter side."""

    x: float = 0.5
    y: float = 0.5
    side: float = 1.0

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels of a `width` x `height` image, shifted inwards if it would extend beyond
        the image."""
        side = min(width, height) * min(max(self.side, 0.0), 1.0)
        left = min(max(self.x * width - side / 2, 0.0), width - side)
        top = min(max(self.y * height - side / 2, 0.0), height - side)
        return left, top, left + side, top + side


CENTRE = Crop()


def read(path: str | Path) -> bytes:
    """The bytes of a file. ImageError if it is missing, not a regular file, unreadable or larger than MAX_BYTES."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ImageError("This is a device, a pipe or a socket, not a file; name an image file.")
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(_too_many_bytes(path.stat().st_size))
        with path.open("rb") as file:
            # the file may be growing
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ImageError("There is no such file; check the path.") from None
    except IsADirectoryError:
        raise ImageError("This is a folder, not an image; name the image files in it.") from None
    except OSError as error:
        raise ImageError(f"The file cannot be read ({error.strerror}).") from None
    if len(data) > MAX_BYTES:
        raise ImageError(_too_many_bytes(len(data)))
    return data


def check_bytes(data: bytes) -> None:
    """ImageError if the data is empty or larger than MAX_BYTES."""
    if not data:
        raise ImageError("The file is empty; choose another one.")
    if len(data) > MAX_BYTES:
        raise ImageError(_too_many_bytes(len(data)))


def decode(data: bytes, crop: Crop = CENTRE) -> Image.Image:
    """Bytes of an image file -> upright RGB, first frame, on white where it was transparent, without metadata.

    Large JPEGs are decoded at a `reduction`, a smaller one where only a small `crop` is needed; other formats keep
    their full size. At most two large images of these formats are decoded at a time; others wait. Raises ImageError for
    anything that is not a readable image of at least 64 px a side and at most 150 megapixels for a JPEG, 40 for every
    other format.
    """
    image = _opened(data)
    scale = _reduction(image, crop)
    large = not _reducible(image) and image.width * image.height > LARGE_PIXELS
    with _large_decodes if large else contextlib.nullcontext():
        try:
            if isinstance(image, ImageFile.ImageFile) and _reducible(image):
                image.draft(None, (math.ceil(image.width / scale), math.ceil(image.height / scale)))
            image.load()
            # a single name, so that each copy is freed as soon as the next is made
            upright: Image.Image = image
            del image
            upright = ImageOps.exif_transpose(upright)
            upright = _to_8_bits(upright)
            upright = _on_white(upright)
            rgb = upright.convert("RGB")
        except MemoryError:
            raise ImageError(TOO_MUCH) from None
        except Exception as error:  # decoders raise many exception types for the same reason: the file is damaged
            raise ImageError(
                "The image file is damaged or cut short and cannot be read; save or send it again."
            ) from error
    rgb.info = {}
    return rgb


def reduction(data: bytes, crop: Crop = CENTRE) -> int:
    """The factor by which `decode` may reduce the sides of an image, read from its header: 1 unless it is a large JPEG.
    Crops with the same reduction are cut from the same decoded image. Raises ImageError as `decode`."""
    return _reduction(_opened(data), crop)


def decoded_side(crop: Crop) -> int:
    """The minimum shorter side of a decoded JPEG, in pixels, so that the crop keeps enough detail."""
    return DECODED_SIDE * 2 ** min(3, max(0, math.ceil(-math.log2(max(crop.side, 1e-3)))))


def crop_resize(image: Image.Image, size: int, crop: Crop = CENTRE) -> np.ndarray:
    """Upright RGB -> uint8 [size, size, 3], values 0-255: the square `crop`, bicubic with antialiasing."""
    resized = image.resize((size, size), Image.Resampling.BICUBIC, box=crop.box(*image.size), reducing_gap=3.0)
    return np.asarray(resized)


def load(source: str | Path | bytes, size: int, crop: Crop = CENTRE) -> np.ndarray:
    """A file or its bytes -> the model's input, uint8 [size, size, 3]. Raises ImageError."""
    data = source if isinstance(source, bytes) else read(source)
    return crop_resize(decode(data, crop), size, crop)


def _opened(data: bytes) -> Image.Image:
    """The image with its header read and nothing decoded, except for some in DICOM files. ImageError if it may not or
    cannot be decoded."""
    check_bytes(data)
    try:
        image: Image.Image
        if data.startswith(DICOM_MARK, DICOM_MARK_AT):
            from skinapp.images import dicom

            # some are already decompressed here
            with _large_decodes:
                image = dicom.opened(data, MAX_FULL_PIXELS)
        else:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(TOO_MANY_PIXELS) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise ImageError(_not_an_image(data)) from None
    width, height = image.size
    if width * height > (MAX_PIXELS if _reducible(image) else MAX_FULL_PIXELS):
        raise ImageError(TOO_MANY_PIXELS)
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"The image is {width} x {height} pixels; at least {MIN_SIDE} x {MIN_SIDE} are needed. Use a larger one."
        )
    return image


def _reducible(image: Image.Image) -> bool:
    return image.format in ("JPEG", "MPO")  # MPO: a phone's JPEG with a second picture behind the first


def _reduction(image: Image.Image, crop: Crop) -> int:
    return max(1, min(image.size) // decoded_side(crop)) if _reducible(image) else 1


def _to_8_bits(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float images as grey of 8 bits, band by band; every other image as it is.

    Pillow's own conversion clips at 255 where a viewer would scale: 16 bits, and numbers from 0 to 1.
    """
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    rows = max(1, BAND_PIXELS // image.width)

    def bands() -> Iterator[tuple[slice, np.ndarray]]:
        for top in range(0, image.height, rows):
            bottom = min(top + rows, image.height)
            band = np.asarray(image.crop((0, top, image.width, bottom)), dtype=np.float64)
            yield slice(top, bottom), np.nan_to_num(band)

    peak = max(float(band.max()) for _, band in bands())
    tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
    top = next((top for top in tops if peak <= top), peak)
    grey = np.empty((image.height, image.width), dtype=np.uint8)
    for part, band in bands():
        grey[part] = np.clip(band * (255.0 / top), 0, 255).round()
    return Image.fromarray(grey)


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _too_many_bytes(size: int) -> str:
    return (
        f"The file is {size / 1024**2:.0f} MB; the limit is {MAX_BYTES // 1024**2} MB. Save it at a smaller size, or "
        "as a JPEG."
    )


def _not_an_image(data: bytes) -> str:
    head = data[:1024].lstrip().lower()
    if head.startswith(b"%pdf"):
        kind = "This is a PDF, not a photo."
    elif head.startswith((b"<svg", b"<?xml")) or b"<svg" in head:
        kind = "This is an SVG drawing, not a photo."
    else:
        kind = "This is not a readable image, whatever its name says, or the start of the file is damaged."
    return f"{kind} Use a JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC or DICOM file."
