import io
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin

from skinapp.errors import ImageError
from skinapp.images import imaging
from tests.pictures import encode, interlaced_png, lesion, png

UPRIGHT = lesion()
GREY = UPRIGHT.convert("L")
PALE_CORNER = (0, 0, 60, 60)

# the inverse of each EXIF orientation
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def transparent() -> Image.Image:
    """The picture as RGBA, its corner fully transparent."""
    image = UPRIGHT.convert("RGBA")
    image.paste((0, 0, 0, 0), PALE_CORNER)
    return image


def whitened(image: Image.Image) -> Image.Image:
    image = image.convert("RGB")
    image.paste("white", PALE_CORNER)
    return image


def difference(image: Image.Image, expected: Image.Image) -> float:
    """The mean absolute difference of two pictures of one size."""
    assert image.mode == "RGB"
    assert image.size == expected.size
    return float(np.abs(np.asarray(image, dtype=float) - np.asarray(expected.convert("RGB"), dtype=float)).mean())


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        imaging.decode(data)
    return str(caught.value)


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_comes_out_upright(orientation: int, file_format: str) -> None:
    turn = STORED_AS[orientation]
    stored = UPRIGHT if turn is None else UPRIGHT.transpose(turn)
    data = encode(stored, file_format, exif=oriented(orientation))
    assert difference(imaging.decode(data), UPRIGHT) < 4


def test_large_jpegs_are_upright_too() -> None:
    large = lesion(1600, 1200)
    data = encode(large.transpose(Image.Transpose.ROTATE_90), exif=oriented(6))
    decoded = imaging.decode(data)
    assert decoded.size == (800, 600)
    assert difference(decoded, large.reduce(2)) < 4


GREY_16 = np.asarray(GREY).astype(np.uint16) * 257
ROWS_16 = b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in np.asarray(UPRIGHT))
# name -> bytes, the expected result, and the mean difference that the coding may cause
READABLE: dict[str, tuple[Callable[[], bytes], Image.Image, float]] = {
    "jpeg": (lambda: encode(UPRIGHT), UPRIGHT, 3),
    "progressive jpeg": (lambda: encode(UPRIGHT, progressive=True), UPRIGHT, 3),
    "jpeg with full colour resolution": (lambda: encode(UPRIGHT, subsampling=0), UPRIGHT, 3),
    "jpeg in grey": (lambda: encode(GREY), GREY, 2),
    "jpeg in CMYK": (lambda: encode(UPRIGHT.convert("CMYK")), UPRIGHT, 3),
    "jpeg followed by rubbish": (lambda: encode(UPRIGHT) + b"rubbish" * 900, UPRIGHT, 3),
    "jpeg with a large EXIF block": (lambda: encode(UPRIGHT, exif=large_exif()), UPRIGHT, 3),
    "jpeg with an orientation that does not exist": (lambda: encode(UPRIGHT, exif=oriented(9)), UPRIGHT, 3),
    "mpo": (lambda: encode(UPRIGHT, "MPO", quality=95, save_all=True, append_images=[GREY]), UPRIGHT, 3),
    "png": (lambda: encode(UPRIGHT, "PNG"), UPRIGHT, 0),
    "png, interlaced": (lambda: interlaced_png(UPRIGHT), UPRIGHT, 0),
    "png of 1 bit": (lambda: encode(UPRIGHT.convert("1"), "PNG"), UPRIGHT.convert("1"), 0),
    "png of 16-bit grey": (lambda: encode(Image.fromarray(GREY_16), "PNG"), GREY, 0),
    "png of 16-bit colour": (lambda: png(*UPRIGHT.size, 16, 2, ROWS_16), UPRIGHT, 0),
    "png with a palette": (lambda: encode(UPRIGHT.quantize(256), "PNG"), UPRIGHT, 3),
    "png with a palette and transparency": (lambda: encode(transparent().quantize(256), "PNG"), whitened(UPRIGHT), 4),
    "png with alpha": (lambda: encode(transparent(), "PNG"), whitened(UPRIGHT), 0),
    "png of grey with alpha": (lambda: encode(transparent().convert("LA"), "PNG"), whitened(GREY), 1),
    "png with a colour that is transparent": (
        lambda: encode(keyed(), "PNG", transparency=(0, 255, 0)),
        whitened(UPRIGHT),
        0,
    ),
    "png with gamma": (lambda: encode(UPRIGHT, "PNG", pnginfo=gamma()), UPRIGHT, 0),
    "webp, lossless with alpha": (lambda: encode(transparent(), "WEBP", lossless=True), whitened(UPRIGHT), 0),
    "webp, animated": (lambda: animated("WEBP", lossless=True), UPRIGHT, 0),
    "gif, animated": (lambda: animated("GIF"), UPRIGHT, 6),
    "gif with transparency": (lambda: encode(transparent(), "GIF"), whitened(UPRIGHT), 8),
    "png, animated": (lambda: animated("PNG"), UPRIGHT, 0),
    "bmp": (lambda: encode(UPRIGHT, "BMP"), UPRIGHT, 0),
    "bmp of 1 bit": (lambda: encode(UPRIGHT.convert("1"), "BMP"), UPRIGHT.convert("1"), 0),
    "bmp with a palette": (lambda: encode(UPRIGHT.quantize(256), "BMP"), UPRIGHT, 3),
    "tiff of several pages": (lambda: animated("TIFF"), UPRIGHT, 0),
    "tiff, LZW": (lambda: encode(UPRIGHT, "TIFF", compression="tiff_lzw"), UPRIGHT, 0),
    "tiff, JPEG inside": (lambda: encode(UPRIGHT, "TIFF", compression="jpeg", quality=95), UPRIGHT, 3),
    "tiff in CMYK": (lambda: encode(UPRIGHT.convert("CMYK"), "TIFF"), UPRIGHT, 1),
    "tiff in YCbCr": (lambda: encode(UPRIGHT.convert("YCbCr"), "TIFF"), UPRIGHT, 3),
    "tiff in Lab": (lambda: encode(UPRIGHT.convert("LAB"), "TIFF"), UPRIGHT, 3),
    "tiff of 16-bit grey": (lambda: encode(Image.fromarray(GREY_16), "TIFF"), GREY, 0),
    "tiff of 16-bit grey, big end first": (lambda: encode(big_endian(), "TIFF"), GREY, 0),
    "tiff of 32-bit whole numbers": (lambda: encode(Image.fromarray(GREY_16.astype(np.int32)), "TIFF"), GREY, 0),
    "tiff of floats from 0 to 1": (
        lambda: encode(Image.fromarray(np.asarray(GREY, dtype=np.float32) / 255), "TIFF"),
        GREY,
        0,
    ),
    "tiff of floats": (lambda: encode(Image.fromarray(np.asarray(GREY, dtype=np.float32)), "TIFF"), GREY, 0),
    "heic": (lambda: encode(UPRIGHT, "HEIF", quality=95), UPRIGHT, 3),
    "heic with alpha": (lambda: encode(transparent(), "HEIF", quality=95), whitened(UPRIGHT), 4),
}


def large_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    return exif


def gamma() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">I", 45_455))
    return info


def keyed() -> Image.Image:
    image = UPRIGHT.copy()
    image.paste((0, 255, 0), PALE_CORNER)
    return image


def animated(file_format: str, **options: object) -> bytes:
    return encode(UPRIGHT, file_format, save_all=True, append_images=[UPRIGHT.rotate(180)], **options)


def big_endian() -> Image.Image:
    return Image.frombytes("I;16B", GREY.size, GREY_16.byteswap().tobytes())


@pytest.mark.parametrize("name", READABLE)
def test_reads(name: str) -> None:
    make, expected, tolerance = READABLE[name]
    assert difference(imaging.decode(make()), expected) <= tolerance


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" * 3,
        b"Exif\0\0" + bytes(range(200)),
    ],
    ids=["cut short", "points outside", "too few entries", "noise"],
)
def test_a_damaged_exif_block_does_not_matter(block: bytes) -> None:
    jpeg = encode(UPRIGHT)
    data = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]
    assert sorted(imaging.decode(data).size) == sorted(UPRIGHT.size)


@pytest.mark.parametrize("second_picture", [False, True], ids=["jpeg", "mpo"])
def test_a_jpeg_of_108_megapixels_is_decoded_reduced(second_picture: bool) -> None:
    more = {"save_all": True, "append_images": [UPRIGHT]} if second_picture else {}
    data = encode(Image.new("RGB", (12_000, 9_000), (180, 120, 100)), "MPO" if second_picture else "JPEG", **more)
    decoded = imaging.decode(data)
    assert decoded.size == (1_500, 1_125)
    assert np.asarray(decoded).reshape(-1, 3).mean(axis=0) == pytest.approx((180, 120, 100), abs=2)


@pytest.mark.parametrize(("side", "width"), [(1.0, 500), (0.99, 1000), (0.5, 1000), (0.3, 2000), (0.001, 4000)])
def test_a_small_crop_is_cut_from_a_finer_image(side: float, width: int) -> None:
    data = encode(Image.new("RGB", (4_000, 4_000)))
    assert imaging.decode(data, imaging.Crop(side=side)).width == width


@pytest.mark.parametrize("size", [(640, 480), (959, 959), (960, 960), (1_001, 5_003), (3_000, 4_000), (8_000, 700)])
def test_a_reduced_jpeg_keeps_its_shape_and_enough_pixels(size: tuple[int, int]) -> None:
    decoded = imaging.decode(encode(Image.new("RGB", size)))
    assert min(decoded.size) >= min(imaging.DECODED_SIDE, min(size))
    assert decoded.width / decoded.height == pytest.approx(size[0] / size[1], rel=0.01)


def test_metadata_is_dropped() -> None:
    exif = oriented(1)
    exif[0x010F] = "a secret camera"
    exif.get_ifd(0x8825)[1] = "N"
    decoded = imaging.decode(encode(UPRIGHT, exif=exif, comment=b"a secret note"))
    assert decoded.info == {}
    assert dict(decoded.getexif()) == {}
    assert b"secret" not in encode(decoded) + encode(decoded, "PNG") + encode(decoded, "TIFF")


def test_the_same_bytes_give_the_same_pixels(photos: list[bytes], tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(photos[0])
    pixels = imaging.load(photos[0], 96)
    assert pixels.shape == (96, 96, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == imaging.load(photos[0], 96)).all()
    assert (pixels == imaging.load(file, 96)).all()
    assert (pixels == imaging.load(str(file), 96)).all()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The file is empty"),
        (b"Dear doctor, here is my mole.", "This is not a readable image, whatever its name says"),
        (b"%PDF-1.7\n1 0 obj\n", "This is a PDF"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "This is an SVG drawing"),
        (b"\n  <svg width='10' height='10'></svg>", "This is an SVG drawing"),
        (encode(UPRIGHT)[:300], "the start of the file is damaged"),
        (encode(UPRIGHT)[:-2_000], "damaged or cut short"),
        (encode(UPRIGHT, "PNG")[:-2_000], "damaged or cut short"),
        (encode(UPRIGHT, "TIFF")[:-2_000], "damaged or cut short"),
        (encode(UPRIGHT, "BMP")[:-2_000], "damaged or cut short"),
        (encode(UPRIGHT, "GIF")[:-2_000], "damaged or cut short"),
        (encode(UPRIGHT, "HEIF")[:-2_000], "damaged or cut short"),
        (encode(Image.new("RGB", (1, 1)), "PNG"), "The image is 1 x 1 pixels; at least 64 x 64"),
        (encode(Image.new("RGB", (63, 500))), "The image is 63 x 500 pixels; at least 64 x 64"),
        (encode(UPRIGHT, "ICO"), "Use a JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC or DICOM file"),
    ],
    ids=[
        "empty", "text", "pdf", "svg", "bare svg", "jpeg header only", "cut jpeg", "cut png", "cut tiff", "cut bmp",
        "cut gif", "cut heic", "one pixel", "narrow", "icon",
    ],
)  # fmt: skip
def test_refuses_with_an_error_message(data: bytes, sentence: str) -> None:
    message = refusal(data)
    assert sentence in message
    assert message.endswith((".", "!"))


@pytest.mark.parametrize(
    "size", [(30_000, 30_000), (15_001, 10_000), (2_000_000, 80), (12_000, 12_000), (8_001, 5_000)]
)
def test_too_many_pixels_are_refused_before_decoding(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    message = refusal(png(*size, 1, 0, b"\0"))
    assert "the limit is 150 megapixels for a JPEG, 40 for any other format" in message


def test_40_megapixels_are_read_of_a_png() -> None:
    assert imaging.decode(png(8_000, 5_000, 1, 0, bytes(5_000 * 1_001))).size == (8_000, 5_000)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_deep_images_are_converted_without_copies_in_double_precision(dtype: type) -> None:
    side = 2_000
    data = encode(Image.fromarray(np.arange(side * side, dtype=dtype).reshape(side, side)), "TIFF")
    tracemalloc.start()
    try:
        imaging.decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # the 8-bit result and its copy in Pillow, some bands, and the file, which has up to 4 bytes a pixel
    assert (peak - len(data)) / side**2 < 12


def test_a_transparent_image_takes_at_most_12_bytes_a_pixel(tmp_path: Path) -> None:
    side = 4_000
    file = tmp_path / "large.png"
    file.write_bytes(encode(Image.new("RGBA", (side, side), (200, 150, 120, 128)), "PNG"))
    # in a separate process, as Python does not count Pillow's memory and a peak never falls
    script = f"""
import resource
from skinapp.images import imaging

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

data = imaging.read({str(file)!r})
before = peak()
imaging.decode(data)
print((peak() - before) / {side * side})
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert float(finished.stdout) < 12


def test_at_most_two_large_images_are_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    lock, load = threading.Lock(), ImageFile.ImageFile.load

    def counted(image: ImageFile.ImageFile) -> object:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        try:
            return load(image)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(imaging, "LARGE_PIXELS", 100 * 100)
    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    large, small = encode(UPRIGHT, "BMP"), encode(UPRIGHT.resize((80, 80)), "BMP")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(imaging.decode, [large] * 6))
        assert most == 2
        list(pool.map(imaging.decode, [small] * 6))
        assert most > 2


def test_over_the_byte_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(imaging, "MAX_BYTES", 1024 * 1024)
    content = b"\0" * (1024 * 1024 * 3 + 1)
    assert "The file is 3 MB; the limit is 1 MB" in refusal(content)
    file = tmp_path / "large.jpg"
    file.write_bytes(content)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("read"))
    with pytest.raises(ImageError, match="The file is 3 MB; the limit is 1 MB"):
        imaging.load(file, 96)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no file that grows when it is read")
def test_a_file_that_grows_is_not_read_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imaging, "MAX_BYTES", 1)
    assert Path("/proc/self/status").stat().st_size == 0
    with pytest.raises(ImageError, match="the limit is"):
        imaging.read("/proc/self/status")


def test_paths_that_are_not_files(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        imaging.load(tmp_path / "none.jpg", 96)
    with pytest.raises(ImageError, match="a folder, not an image"):
        imaging.load(tmp_path, 96)


@given(
    st.integers(1, 5_000),
    st.integers(1, 5_000),
    st.builds(imaging.Crop, st.floats(-1, 2), st.floats(-1, 2), st.floats(0.01, 1.5)),
)
def test_a_crop_is_a_square_inside_the_image(width: int, height: int, crop: imaging.Crop) -> None:
    left, top, right, bottom = crop.box(width, height)
    assert left >= 0
    assert top >= 0
    assert right <= width * (1 + 1e-12)
    assert bottom <= height * (1 + 1e-12)
    assert right - left == pytest.approx(bottom - top)
    assert right - left == pytest.approx(min(width, height) * min(crop.side, 1))


@given(
    st.integers(64, 300),
    st.integers(64, 300),
    st.builds(imaging.Crop, st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 1)),
)
def test_every_crop_can_be_cut(width: int, height: int, crop: imaging.Crop) -> None:
    pixels = imaging.crop_resize(Image.new("RGB", (width, height), (10, 200, 30)), 64, crop)
    assert pixels.shape == (64, 64, 3)
    assert (pixels == (10, 200, 30)).all()


def test_a_crop_shows_its_part_of_the_image() -> None:
    quarters = np.zeros((200, 400, 3), dtype=np.uint8)
    quarters[:, 200:] = (255, 0, 0)
    image = Image.fromarray(quarters)
    # the antialiasing of the outermost pixels looks past the edge of the crop
    assert (imaging.crop_resize(image, 32, imaging.Crop(x=1.0))[:, 2:] == (255, 0, 0)).all()
    assert (imaging.crop_resize(image, 32, imaging.Crop(x=0.0))[:, :-2] == 0).all()
    centre = imaging.crop_resize(image, 32)
    assert (centre[:, :12] == 0).all()
    assert (centre[:, 20:] == (255, 0, 0)).all()


def test_one_picture_through_two_formats_gives_almost_the_same_input() -> None:
    as_jpeg, as_png = (imaging.load(encode(UPRIGHT, kind), 96) for kind in ("JPEG", "PNG"))
    assert np.abs(as_jpeg.astype(float) - as_png).mean() < 2


def test_the_input_comes_from_the_bytes_alone(photos: list[bytes]) -> None:
    image = Image.open(io.BytesIO(photos[0]))
    expected = image.convert("RGB").resize(
        (96, 96), Image.Resampling.BICUBIC, box=(37.5, 0, 262.5, 225), reducing_gap=3.0
    )
    assert (imaging.load(photos[0], 96) == np.asarray(expected)).all()
