"""Dermoscopy stored as DICOM: the picture in the file, as an image that is decoded like any other.

Only the elements that describe the pixels are read, so nothing that identifies a person leaves the file. The declared
colour space is checked against the pixels, since some files declare YBR_FULL_422 but store RGB.
"""

import io
import logging

import numpy as np
import pydicom
from PIL import Image
from pydicom import encaps
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEG2000, UID, JPEG2000Lossless, JPEGBaseline8Bit, JPEGExtended12Bit, RLELossless

from skinapp.errors import ImageError

DEFLATED = b"1.2.840.10008.1.2.1.99"
"""A transfer syntax that compresses the whole file: it is not opened, as it may decompress to any size."""

ELEMENTS = [
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
]
GREY, COLOUR = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
MAX_OUTSIDE = 0.05
"""The maximum share of pixels outside the RGB range for values to count as luma and chroma."""
MAX_CORRELATION = 0.5
"""Between the second and third value of a pixel: green and blue rise together, red and blue chroma do not. With
MAX_OUTSIDE, and a spread of both that exceeds the spread of the first value, this distinguished RGB from luma and
chroma for all but 1 of 3,600 pictures: 1,800 of six data sets, as each of the two."""
TOLERANCE = 8.0
"""How far compression may push grey values outside 0 to 255."""
SAMPLE = 128
"""Rows and columns of the picture that are sampled to recognise its colour space."""

DAMAGED = "The DICOM file is damaged or cut short and cannot be read; export or send it again."

# its messages may quote identifying data
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def opened(data: bytes, max_pixels: int) -> Image.Image:
    """The single picture in the bytes of a DICOM file: not decoded yet if it is stored as JPEG or JPEG 2000.

    ImageError if the file has no picture or several, cannot be read, or has more than `max_pixels` to decompress here.
    """
    if DEFLATED in data:
        raise ImageError("This DICOM file is deflated as a whole, which is not supported; export it without deflation.")
    try:
        return _picture(_dataset(data), max_pixels)
    except (ImageError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise
    except Exception as error:  # as with images: many exception types, one reason
        raise ImageError(DAMAGED) from error


def _dataset(data: bytes) -> pydicom.Dataset:
    """The elements that describe the pixels. ImageError if they do not describe a single readable picture."""
    dataset = pydicom.dcmread(io.BytesIO(data), specific_tags=ELEMENTS)
    if "Rows" not in dataset or "Columns" not in dataset:
        raise ImageError(
            "This DICOM file contains a report, a document or measurements, not an image; use an image file."
        )
    if not dataset.get("PixelData"):
        raise ImageError(DAMAGED)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageError(f"This DICOM file contains {frames:,} images; export the one you want on its own.")
    colours = str(dataset.PhotometricInterpretation)
    if colours not in (*GREY, *COLOUR) or dataset.SamplesPerPixel != (1 if colours in GREY else 3):
        raise ImageError(
            f"The colours of this DICOM file ({colours[:20]}, {dataset.SamplesPerPixel} values per pixel) are not "
            "supported; export it as RGB, or as a JPEG."
        )
    return dataset


def _picture(dataset: pydicom.Dataset, max_pixels: int) -> Image.Image:
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if not syntax.is_encapsulated or syntax == RLELossless:
        image = _from_values(dataset, max_pixels)
    elif syntax in (JPEGBaseline8Bit, JPEGExtended12Bit):
        image = _jpeg(encaps.get_frame(dataset.PixelData, 0, number_of_frames=1), dataset.SamplesPerPixel == 1)
    elif syntax in (JPEG2000, JPEG2000Lossless):
        image = _jpeg_2000(encaps.get_frame(dataset.PixelData, 0, number_of_frames=1), dataset, max_pixels)
    else:
        raise ImageError(
            f"This DICOM file is compressed as {syntax.name}, which cannot be read here; export it as a JPEG, or "
            "without compression."
        )
    if dataset.PhotometricInterpretation != "MONOCHROME1":
        return image
    _check_size(image.height, image.width, max_pixels)
    return _inverted(image)


def _jpeg(frame: bytes, grey: bool) -> Image.Image:
    """A JPEG, not decoded yet, marked with the colour space that its pixels really have."""
    image = Image.open(io.BytesIO(frame), formats=("JPEG",))
    if grey or image.mode != "RGB" or image.info.get("adobe_transform") == 0:
        return image
    as_stored = Image.open(io.BytesIO(_marked_as_rgb(frame)), formats=("JPEG",))
    sample = Image.open(io.BytesIO(_marked_as_rgb(frame)), formats=("JPEG",))
    sample.draft(None, (SAMPLE, SAMPLE))
    return image if _luma_and_chroma(np.asarray(sample)) else as_stored


def _marked_as_rgb(frame: bytes) -> bytes:
    """A JPEG with Adobe's marker for RGB, in place of any other, so that a decoder leaves the values as they are."""
    parts = [frame[:2], b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"]
    at = 2
    # segments up to the start of the scan
    while frame[at] == 0xFF and frame[at + 1] != 0xDA:
        length = 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
        if frame[at + 1] not in (0xE0, 0xEE):
            parts.append(frame[at : at + length])
        at += length
    return b"".join([*parts, frame[at:]])


def _jpeg_2000(frame: bytes, dataset: pydicom.Dataset, max_pixels: int) -> Image.Image:
    """A JPEG 2000; Pillow reverses the colour transforms YBR_ICT and YBR_RCT; the others have none."""
    image = Image.open(io.BytesIO(frame), formats=("JPEG2000",))
    if image.mode != "RGB" or dataset.PhotometricInterpretation not in ("YBR_FULL", "YBR_FULL_422"):
        return image
    _check_size(image.height, image.width, max_pixels)
    return _colour(np.asarray(image))


def _from_values(dataset: pydicom.Dataset, max_pixels: int) -> Image.Image:
    """A picture stored without compression, or as RLE, as grey or RGB of 8 bits. ImageError if it is damaged, or its
    values are not unsigned integers of 8 or 16 bits."""
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if allocated not in (8, 16) or not 0 < stored <= allocated or dataset.get("PixelRepresentation"):
        raise ImageError(
            "The pixels of this DICOM file are not positive numbers of 8 or 16 bits; export it with 8 bits, or as a "
            "JPEG."
        )
    _check_size(rows, columns, max_pixels)
    declared = str(dataset.PhotometricInterpretation)
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if syntax == RLELossless:
        values = pixel_array(dataset, raw=True, index=0)
    else:
        kind = np.dtype(np.uint8 if allocated == 8 else np.uint16).newbyteorder("<" if syntax.is_little_endian else ">")
        numbers = np.frombuffer(dataset.PixelData, kind, len(dataset.PixelData) // kind.itemsize)
        pixels = rows * columns
        if declared == "YBR_FULL_422" and pixels * 2 <= len(numbers) < pixels * 3:
            # each of two pixels has its own luma, and they share their chroma
            pairs = numbers[: pixels * 2].reshape(-1, 4)
            values = pairs[:, [0, 2, 3, 1, 2, 3]].reshape(rows, columns, 3)
        elif len(numbers) < pixels * samples:
            raise ImageError(DAMAGED)
        elif samples == 3 and dataset.get("PlanarConfiguration"):
            values = np.moveaxis(numbers[: pixels * 3].reshape(3, rows, columns), 0, -1)
        else:
            values = numbers[: pixels * samples].reshape((rows, columns, 3) if samples == 3 else (rows, columns))
    values = _to_8_bits(values, stored)
    if samples == 1:
        return Image.fromarray(values)
    return _colour(values) if declared.startswith("YBR") else Image.fromarray(values)


def _to_8_bits(values: np.ndarray, stored: int) -> np.ndarray:
    """Values of `stored` bits as uint8."""
    if values.dtype == np.uint8 and stored == 8:
        return np.ascontiguousarray(values)
    numbers = values & np.asarray(2**stored - 1, values.dtype)
    if stored >= 8:
        return (numbers >> (stored - 8)).astype(np.uint8)
    return (numbers.astype(np.uint16) * 255 // (2**stored - 1)).astype(np.uint8)


def _colour(values: np.ndarray) -> Image.Image:
    """Values uint8 [h, w, 3] that are declared as luma and chroma, as RGB; unchanged if they are RGB already."""
    if not _luma_and_chroma(values):
        return Image.fromarray(values)
    height, width = values.shape[:2]
    return Image.frombytes("YCbCr", (width, height), np.ascontiguousarray(values).tobytes()).convert("RGB")


def _luma_and_chroma(values: np.ndarray) -> bool:
    """Whether uint8 [h, w, 3] are luma and chroma rather than RGB, judging by the values."""
    step = max(1, min(values.shape[:2]) // SAMPLE)
    luma, blue, red = np.moveaxis(values[::step, ::step].astype(np.float64), -1, 0)
    as_rgb = np.stack(
        [
            luma + 1.402 * (red - 128),
            luma - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
            luma + 1.772 * (blue - 128),
        ]
    )
    outside = ((as_rgb < -TOLERANCE) | (as_rgb > 255 + TOLERANCE)).any(axis=0).mean()
    spread = blue.std() * red.std()
    correlation = ((blue - blue.mean()) * (red - red.mean())).mean() / spread if spread else 0.0
    together = correlation > MAX_CORRELATION and blue.std() + red.std() > luma.std()
    return bool(outside <= MAX_OUTSIDE and not together)


def _inverted(image: Image.Image) -> Image.Image:
    """Invert a grey image in which the lowest value means white."""
    values = np.asarray(image)
    return Image.fromarray(np.iinfo(values.dtype).max - values)


def _check_size(rows: int, columns: int, max_pixels: int) -> None:
    if rows * columns > max_pixels:
        raise Image.DecompressionBombError
