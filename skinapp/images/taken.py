"""The day on which a photo was taken, as its camera noted it. Nothing else is read from the metadata."""

import datetime
import io

from PIL import ExifTags, Image

from skinapp.images.imaging import FORMATS

FORM = "%Y:%m:%d"


def taken(data: bytes, today: datetime.date) -> datetime.date | None:
    """The day in a photo's EXIF data; None if there is none, it cannot be read, or it is after `today`."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            exif = image.getexif()
        noted = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
        day = datetime.datetime.strptime(str(noted)[:10], FORM).date()
    except Exception:  # noqa: BLE001  # damaged metadata raise errors of many kinds, and the day is only a suggestion
        return None
    return day if day <= today else None
