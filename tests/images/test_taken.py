"""The day on which a photo was taken."""

import datetime

import pytest
from PIL import ExifTags, Image

from skinapp.images.taken import taken
from tests import dicom
from tests.pictures import encode, lesion

TODAY = datetime.date(2026, 3, 1)


def photo(original: str | None = None, changed: str | None = None) -> bytes:
    exif = Image.Exif()
    if original is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = original
    if changed is not None:
        exif[ExifTags.Base.DateTime] = changed
    return encode(lesion(), exif=exif)


@pytest.mark.parametrize(
    ("data", "day"),
    [
        (photo("2025:12:24 18:00:00"), datetime.date(2025, 12, 24)),
        (photo("2026:03:01 23:59:59"), TODAY),
        (photo(changed="2024:02:29 00:00:00"), datetime.date(2024, 2, 29)),
        (photo("2025:12:24 18:00:00", "2026:01:01 00:00:00"), datetime.date(2025, 12, 24)),
        (photo("2026:03:02 00:00:00"), None),
        (photo("2031:01:01 00:00:00"), None),
        (photo("0000:00:00 00:00:00"), None),
        (photo("yesterday"), None),
        (photo(), None),
        (b"no image", None),
        (b"", None),
        (dicom.compressed(encode(lesion())), None),
    ],
)
def test_the_day_of_a_photo(data: bytes, day: datetime.date | None) -> None:
    assert taken(data, TODAY) == day
