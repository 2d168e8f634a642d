"""Choosing an image, and the square of it that a model sees. What a visitor adds stays in their session's memory."""

import io
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, TypeVar

import numpy as np
import streamlit as st
from PIL import Image, ImageDraw

from skinapp.datasets import isic
from skinapp.errors import SkinappError
from skinapp.images import imaging, synthetic
from skinapp.images.imaging import Crop
from skinapp.inference import modality
from skinapp.inference.modality import Recognised
from skinapp.ui.layout import path, plain

if TYPE_CHECKING:
    from streamlit.typing import UploadedFile

T = TypeVar("T")

SOURCES = {
    "upload": ":material/upload: Upload",
    "camera": ":material/photo_camera: Camera",
    "sample": ":material/draw: Without a photo",
}

SUGGESTED_ISIC_ID = "ISIC_0030623"
"""An image of the test split: the bundled HAM10000 models have never seen it or its lesion."""

PREVIEW_SIDE = 720
SMALLEST_CROP = 20
"""Percent of the shorter side."""


@dataclass(frozen=True)
class Photo:
    """An image file, not decoded yet. `name` is for downloads, `caption` is Markdown, `key` identifies the image."""

    key: str
    data: bytes = field(repr=False)
    name: str
    caption: str
    synthetic: bool = False


def choose() -> Photo | None:
    """Show the ways to add an image; return the one that was added, or None."""
    source = st.segmented_control(
        "Image source",
        list(SOURCES),
        format_func=SOURCES.__getitem__,
        default="upload",
        required=True,
        key="photo_source",
        label_visibility="collapsed",
    )
    if source == "sample":
        return _sample()
    if source == "camera":
        # only now does the browser ask to use the camera
        return _added(st.camera_input("Hold the camera close and steady", key="photo_camera", resolution="1080p"))
    # no filter by type: the widget would reject a PDF without a reason, while `imaging.decode` says what to do
    return _added(
        st.file_uploader(
            "One image: JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC",
            key="photo_upload",
            help="A dermoscopy image, or a close-up phone photo that shows the whole lesion. It stays in this "
            "session's memory and is never stored.",
        )
    )


def send(data: bytes, name: str, caption: str, page: str = "classify") -> NoReturn:
    """Go to the classify page, or another, with an image of a public data set. `caption` is plain text."""
    st.session_state["sample"] = Photo(name, data, name.replace("/", "-"), plain(caption))
    st.session_state["photo_source"] = "sample"
    # otherwise the query parameters of this page's widgets would be carried over
    st.switch_page(path(page), query_params={})


def keep_for_next_page(photo: Photo) -> None:
    """Let `choose`, on the page that is opened next, start with this image and its square. For a button's callback,
    since the widgets here already exist."""
    st.session_state["sample"] = photo
    st.session_state["photo_source"] = "sample"
    names = ("side", "x", "y")
    chosen = {name: st.session_state.get(f"crop_{name}_{photo.key}") for name in names}
    st.session_state["square"] = (photo.key, {name: value for name, value in chosen.items() if value is not None})


def decoded(photo: Photo, crop: Crop = imaging.CENTRE) -> Image.Image:
    """The photo as upright RGB, fine enough for the crop. ImageError where it cannot be read.

    The session holds one decoded image: that of the latest photo and crop.
    """
    key = photo.key, imaging.reduction(photo.data, crop)
    return cached("image", key, lambda: imaging.decode(photo.data, crop))


def recognised(photo: Photo) -> Recognised | None:
    """What kind of image the photo is; None for a drawing, and where the network for it is not installed.

    ModelError where it cannot be recognised.
    """
    return None if photo.synthetic else cached("recognised", photo.key, lambda: modality.recognise(decoded(photo)))


CACHED = "cached_"


def cached(name: str, key: Hashable, make: Callable[[], T]) -> T:
    """The result of `make`, made again when the key changes. The session holds only the latest of each name."""
    known, value = st.session_state.get(CACHED + name, (None, None))
    if known != key:
        # the old one is freed before the new one is made
        value = None
        st.session_state.pop(CACHED + name, None)
        value = make()
        st.session_state[CACHED + name] = (key, value)
    return value


def forget() -> None:
    """Free the decoded image and everything that was computed from it."""
    for name in list(st.session_state):
        if str(name).startswith(CACHED):
            st.session_state.pop(name, None)


def choose_crop(photo: Photo) -> Crop:
    """Show the photo with the square marked, and sliders to resize it and, where there is room, to move it.

    Until a slider is moved, the square is the one that the command line uses: imaging.CENTRE. ImageError where the
    photo cannot be read.
    """
    (width, height), small = cached("preview", photo.key, lambda: _reduced(photo))
    frame = st.container()
    with st.expander("Move or resize the square", icon=":material/crop:", key="crop_controls"):
        st.caption(
            "The model sees only what is inside the square. Leave a margin of skin around the lesion; if there are two "
            "lesions, or one in a corner, put the square around the one you mean."
        )
        carried_over = st.session_state.get("square", ("", {}))
        start = {"side": 100, "x": 50, "y": 50} | (carried_over[1] if carried_over[0] == photo.key else {})
        side = _percent_slider(
            "Size",
            SMALLEST_CROP,
            100,
            f"crop_side_{photo.key}",
            "Percent of the shorter side.",
            value=start["side"],
        )
        # a slider from 0 to 100% spans the remaining room, so that the square stays inside the image
        room_x = width - side * min(width, height)
        room_y = height - side * min(width, height)
        x = _percent_slider("Left to right", 0, 100, f"crop_x_{photo.key}", value=start["x"]) if room_x >= 1 else 0.5
        y = _percent_slider("Top to bottom", 0, 100, f"crop_y_{photo.key}", value=start["y"]) if room_y >= 1 else 0.5
    crop = Crop(0.5 + (x - 0.5) * room_x / width, 0.5 + (y - 0.5) * room_y / height, side)
    frame.image(preview(small, crop), caption=photo.caption, width="stretch", alt="The image, with the square marked")
    return crop


def show_uncropped(photo: Photo) -> None:
    """The photo alone, with nothing to choose. ImageError where it cannot be read."""
    _, small = cached("preview", photo.key, lambda: _reduced(photo))
    st.image(small, photo.caption, width="stretch", alt="The image")


def preview(small: Image.Image, crop: Crop) -> Image.Image:
    """The image, pale outside the square and with a line around it."""
    left, top, right, bottom = (round(edge) for edge in crop.box(*small.size))
    pale = Image.blend(small, Image.new("RGB", small.size, "white"), 0.6)
    pale.paste(small.crop((left, top, right, bottom)), (left, top))
    pen = ImageDraw.Draw(pale)
    # dark within light, so that the line shows on any skin
    pen.rectangle((left, top, right - 1, bottom - 1), outline="white", width=4)
    pen.rectangle((left + 1, top + 1, right - 2, bottom - 2), outline="black", width=2)
    return pale


def _reduced(photo: Photo) -> tuple[tuple[int, int], Image.Image]:
    """The size at which a photo is decoded for its centre square, and the photo with its longer side PREVIEW_SIDE."""
    image = decoded(photo)
    scale = PREVIEW_SIDE / max(image.size)
    return image.size, image.resize([max(1, round(edge * scale)) for edge in image.size], reducing_gap=2.0)


def png(pixels: np.ndarray) -> bytes:
    """Uint8 [H, W, 3] -> the bytes of a PNG file, without metadata."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def hand_over(name: str, data: bytes | None, caption: str) -> None:
    """Let `choose`, on the page that is opened next, start with this image; without its bytes, with its ISIC id."""
    st.session_state["photo_source"] = "sample"
    if data is None:
        st.session_state["isic_id"] = name
    else:
        st.session_state["sample"] = Photo(name, data, name.replace("/", "-"), caption)


def _added(file: "UploadedFile | None") -> Photo | None:
    # neither the file's name nor its metadata goes any further
    return Photo(file.file_id, file.getvalue(), "image", "Your image") if file else None


def _sample() -> Photo:
    drawing, archive = st.columns(2, gap="medium")
    with drawing:
        st.markdown("**A drawing**")
        st.caption("A computer-generated lesion. It shows no real person; use it only to try the app.")
        if st.button("Draw another lesion", icon=":material/refresh:", key="draw"):
            st.session_state["drawing"] = st.session_state.get("drawing", 0) + 1
            st.session_state.pop("sample", None)
    with archive:
        st.markdown("**An example from the ISIC archive**")
        st.caption("A public dermoscopy image, fetched from the internet with its licence.")
        with st.form("isic", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
            isic_id = st.text_input(
                "ISIC id",
                SUGGESTED_ISIC_ID,
                key="isic_id",
                max_chars=20,
                help="The suggested image was not used for training. Other HAM10000 images may have been.",
            )
            fetch = st.form_submit_button("Fetch", icon=":material/download:")
        if fetch:
            try:
                with st.spinner("Fetching from the ISIC archive"):
                    st.session_state["sample"] = _from_archive(isic.fetch(isic_id))
            except SkinappError as error:
                st.error(str(error))
    if "sample" not in st.session_state:
        st.session_state["sample"] = _drawing(st.session_state.get("drawing", 0))
    return st.session_state["sample"]


def _drawing(seed: int) -> Photo:
    name = f"drawing-{seed + 1}"
    return Photo(
        name,
        png(np.asarray(synthetic.draw(seed))),
        name,
        f"Drawing {seed + 1}, computer-generated. Not a photo of skin.",
        True,
    )


def _from_archive(example: isic.Example) -> Photo:
    facts = [
        f"{example.isic_id} from the ISIC archive",
        f"Licence: {plain(example.licence or 'not stated')}",
        f"Attribution: {plain(example.attribution or 'not stated')}",
        f"Diagnosis in the archive: {plain(example.diagnosis or 'not stated')}",
    ]
    return Photo(example.isic_id, example.data, example.isic_id, ". ".join(facts) + ".")


def _percent_slider(label: str, low: int, high: int, key: str, hint: str | None = None, *, value: int) -> float:
    chosen: int = st.slider(label, low, high, value, format="%d%%", key=key, help=hint)
    return chosen / 100
