"""Dermoscopy as DICOM: the same pixels as from any other file, whatever colour space it declares; and error
messages."""

import io
import logging
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from skinapp.__main__ import main
from skinapp.errors import ImageError
from skinapp.images import imaging
from tests import dicom
from tests.pictures import encode, lesion

PICTURE = lesion()
RGB = np.asarray(PICTURE)
GREY = np.asarray(PICTURE.convert("L"))
YBR = np.asarray(PICTURE.convert("YCbCr"))


def decoded(data: bytes) -> np.ndarray:
    image = imaging.decode(data)
    assert image.mode == "RGB"
    assert image.info == {}
    return np.asarray(image)


def difference(data: bytes, expected: np.ndarray) -> float:
    return float(np.abs(decoded(data).astype(float) - expected).mean())


def halved(ybr: np.ndarray) -> bytes:
    """Luma and chroma as YBR_FULL_422 stores them: two lumas, then their common chroma."""
    pairs = ybr[:, : ybr.shape[1] // 2 * 2].reshape(-1, 2, 3).astype(int)
    chroma = pairs[..., 1:].mean(axis=1).round()
    return np.concatenate([pairs[..., 0], chroma], axis=1).astype(np.uint8).tobytes()


def grey_as(values: np.ndarray) -> np.ndarray:
    return np.stack([values] * 3, axis=-1)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, "1.2.840.10008.1.2.1"])
def test_rgb_as_it_is(syntax: str) -> None:
    assert (decoded(dicom.native(RGB, syntax=syntax)) == RGB).all()


def test_by_plane() -> None:
    planes = np.ascontiguousarray(np.moveaxis(RGB, -1, 0))
    data = dicom.native(RGB, PlanarConfiguration=1, PixelData=planes.tobytes())
    assert (decoded(data) == RGB).all()


@pytest.mark.parametrize("declared", ["YBR_FULL", "YBR_FULL_422"])
def test_declared_as_chroma_but_stored_as_rgb(declared: str) -> None:
    assert (decoded(dicom.native(RGB, declared)) == RGB).all()


def test_chroma_that_is_chroma() -> None:
    assert difference(dicom.native(YBR, "YBR_FULL"), RGB) < 1.5


def test_chroma_of_pairs_of_pixels() -> None:
    even = YBR[:, :300]
    data = dicom.native(even, "YBR_FULL_422", PixelData=halved(even))
    assert difference(data, RGB) < 2


def test_grey_of_8_bits_either_way_up() -> None:
    assert (decoded(dicom.native(GREY, "MONOCHROME2")) == grey_as(GREY)).all()
    assert (decoded(dicom.native(255 - GREY, "MONOCHROME1")) == grey_as(GREY)).all()


@pytest.mark.parametrize("big", [False, True])
def test_grey_of_12_bits(big: bool) -> None:
    values = (GREY.astype(np.uint32) * 4095 // 255).astype(">u2" if big else "<u2")
    syntax = ExplicitVRBigEndian if big else ImplicitVRLittleEndian
    data = dicom.native(values, "MONOCHROME2", syntax, BitsStored=12, HighBit=11)
    assert difference(data, grey_as(GREY)) <= 1


def test_grey_of_4_bits() -> None:
    data = dicom.native(GREY // 17, "MONOCHROME2", BitsStored=4, HighBit=3)
    assert difference(data, grey_as(GREY // 17 * 17)) == 0


def test_run_length_encoded() -> None:
    dataset = dicom.described()
    for name, value in {"Rows": 225, "Columns": 300, "SamplesPerPixel": 3, "BitsAllocated": 8, "BitsStored": 8}.items():
        setattr(dataset, name, value)
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.compress(RLELossless, RGB)
    assert (decoded(dicom.written(dataset, RLELossless)) == RGB).all()


@pytest.mark.parametrize("declared", ["YBR_FULL_422", "RGB"])
def test_a_jpeg_is_decoded_as_it_would_be_alone(declared: str) -> None:
    frame = encode(PICTURE)
    assert (decoded(dicom.compressed(frame, declared)) == np.asarray(imaging.decode(frame))).all()


@pytest.mark.parametrize("declared", ["YBR_FULL_422", "RGB"])
@pytest.mark.parametrize("marked", [True, False])
def test_a_jpeg_of_rgb_values(declared: str, marked: bool) -> None:
    frame = encode(PICTURE, keep_rgb=True)
    if not marked:
        # as written by some devices: neither Adobe's marker nor the letters R, G and B for the components
        assert frame[2:4] == b"\xff\xee"
        frame = frame[:2] + frame[18:]
        letters = {ord("R"): 1, ord("G"): 2, ord("B"): 3}
        content = bytearray(frame)
        for start, first in ((content.index(b"\xff\xc0"), 10), (content.index(b"\xff\xda"), 5)):
            for at in range(start + first, start + first + (9 if first == 10 else 6), 3 if first == 10 else 2):
                content[at] = letters[content[at]]
        frame = bytes(content)
        assert np.abs(np.asarray(Image.open(io.BytesIO(frame))).astype(float) - RGB).mean() > 30
    assert difference(dicom.compressed(frame, declared), RGB) < 3


def test_a_large_jpeg_is_decoded_small() -> None:
    frame = encode(PICTURE.resize((2400, 1800)))
    data = dicom.compressed(frame)
    assert imaging.reduction(data) == imaging.reduction(frame) == 3
    assert (decoded(data) == np.asarray(imaging.decode(frame))).all()


def test_a_grey_jpeg() -> None:
    frame = encode(PICTURE.convert("L"))
    assert difference(dicom.compressed(frame, "MONOCHROME2"), grey_as(GREY)) < 2
    inverted = encode(Image.fromarray(255 - GREY))
    assert difference(dicom.compressed(inverted, "MONOCHROME1"), grey_as(GREY)) < 2


def test_jpeg_2000() -> None:
    frame = encode(PICTURE, "JPEG2000", irreversible=False, mct=1)
    assert (decoded(dicom.compressed(frame, "YBR_RCT", JPEG2000Lossless)) == RGB).all()
    chroma = encode(Image.fromarray(YBR), "JPEG2000", irreversible=False, mct=0)
    assert difference(dicom.compressed(chroma, "YBR_FULL", JPEG2000Lossless), RGB) < 1.5
    lie = encode(PICTURE, "JPEG2000", irreversible=False, mct=0)
    assert (decoded(dicom.compressed(lie, "YBR_FULL", JPEG2000Lossless)) == RGB).all()


def document() -> bytes:
    return dicom.written(
        dicom.described(EncapsulatedDocument=b"%PDF-1.4", MIMETypeOfEncapsulatedDocument="application/pdf")
    )


def deflated() -> bytes:
    plain = dicom.native(RGB).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    return plain[:400] + zlib.compress(plain[400:])


BAD = {
    "multi-frame": (dicom.native(np.concatenate([RGB, RGB]), Rows=225, NumberOfFrames=2), "contains 2 images"),
    "multi-frame JPEG": (
        dicom.compressed(encode(PICTURE), NumberOfFrames=2, PixelData=encapsulate([encode(PICTURE)] * 2)),
        "contains 2 images",
    ),
    "no picture": (document(), "not an image"),
    "no pixels": (dicom.native(RGB, PixelData=b""), "damaged or cut short"),
    "too few pixels": (dicom.native(RGB, PixelData=RGB[:100].tobytes()), "damaged or cut short"),
    "cut short": (dicom.native(RGB)[:100_000], "damaged or cut short"),
    "cut in the header": (dicom.native(RGB)[:300], "DICOM file"),
    "cut JPEG": (dicom.compressed(encode(PICTURE))[:9_000], "damaged or cut short"),
    "JPEG cut within": (
        dicom.compressed(encode(PICTURE), PixelData=encapsulate([encode(PICTURE)[:9_000]])),
        "damaged or cut short",
    ),
    "not a JPEG": (dicom.compressed(encode(PICTURE), PixelData=encapsulate([b"no JPEG" * 10])), "damaged or cut short"),
    "lossless JPEG": (dicom.compressed(encode(PICTURE), syntax=JPEGLosslessSV1), "compressed as JPEG Lossless"),
    "palette": (dicom.native(GREY, "PALETTE COLOR"), r"colours of this DICOM file \(PALETTE COLOR"),
    "signed": (dicom.native(GREY, "MONOCHROME2", PixelRepresentation=1), "not positive numbers of 8 or 16 bits"),
    "deflated": (deflated(), "deflated as a whole"),
    "small": (dicom.native(RGB[:40, :40]), "40 x 40 pixels"),
    "huge": (dicom.native(RGB, Rows=60_000, Columns=60_000), "too many pixels"),
    "odd frames": (dicom.native(RGB).replace(b"RGB ", b"XYZ "), r"\(XYZ"),
    "nothing after the mark": (b"\0" * 128 + b"DICM", "DICOM file"),
    "noise after the mark": (b"\0" * 128 + b"DICM" + np.random.default_rng(0).bytes(5000), "DICOM file"),
}


@pytest.mark.parametrize(("data", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_file_gets_an_error_message(data: bytes, sentence: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ImageError, match=sentence) as caught:
        imaging.decode(data)
    assert "Muster" not in str(caught.value)
    assert "Muster" not in caplog.text


def test_patient_data_never_leaves_the_file(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    # values that violate the standard, which a reader may quote in a warning
    data = dicom.native(RGB).replace(b"19700101", b"Erika 70").replace(b"4711", b"\xff\xfe\x00!")
    folder, out = tmp_path / "images", tmp_path / "predictions.csv"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(data)
    model = "ham10000-efficientnetb1"
    assert main(["score", str(folder), "--model", model, "--out", str(out)]) == 0
    assert main(["classify", str(folder / "a.dcm"), "--model", model, "--json", "--cam-dir", str(tmp_path)]) == 0
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    output = "".join(capfd.readouterr())
    assert b"a.dcm" in written
    for name in ("Muster", "Erika", "4711"):
        assert name not in output
        assert name.encode() not in written


def test_a_dicom_file_gives_the_same_answer_as_the_picture_in_it() -> None:
    frame = encode(PICTURE)
    assert (imaging.load(dicom.compressed(frame), 240) == imaging.load(frame, 240)).all()
