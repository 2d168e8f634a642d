"""Ways to add an image, and the square of it that a model sees. What a visitor adds stays in their session's memory."""

import io
from collections.abc import Callable, Hashable
from typing import NoReturn, TypeVar

import numpy as np
import streamlit as st
from PIL import Image, ImageDraw

from skinapp.attention import heatmap
from skinapp.datasets import isic
from skinapp.errors import SkinappError
from skinapp.images import imaging, synthetic
from skinapp.images.imaging import Crop
from skinapp.inference import modality
from skinapp.inference.modality import Recognised
from skinapp.ui import session_images
from skinapp.ui.layout import path, plain
from skinapp.ui.session_images import CACHED, OWN, Photo

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
SHOWN_HEIGHT = 360
"""Pixels: on a phone, the answer, the picture and its map then fit one and a half screens."""
SQUARE = {"side": 100, "x": 50, "y": 50}
"""Where the square starts, in percent: `imaging.CENTRE`."""


def choose() -> None:
    """Show the ways to add an image; what is added is shown from the next run on."""
    source = st.segmented_control(
        "Image source",
        list(SOURCES),
        format_func=SOURCES.__getitem__,
        default="upload",
        required=True,
        key="photo_source",
        label_visibility="collapsed",
        on_change=_draw_first,
    )
    if source == "sample":
        _offer_samples()
    elif source == "camera":
        # only now does the browser ask to use the camera
        key = "photo_camera"
        st.camera_input(
            "Hold the camera close and steady", key=key, resolution="1080p", on_change=_take_picture, args=(key,)
        )
    else:
        # a new key empties the widget: its files are held by the session, within bounds.
        # no filter by type: the widget would reject a PDF without a reason, while `imaging.decode` says what to do
        key = f"photo_upload_{session_images.additions()}"
        st.file_uploader(
            f"Up to {session_images.MAX_FILES} images: JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC",
            accept_multiple_files=True,
            key=key,
            on_change=_take_files,
            args=(key,),
            help="Dermoscopy images, or close-up phone photos that show the whole lesion. They stay in this session's "
            "memory and are never stored.",
        )


def send(data: bytes, name: str, caption: str, page: str = "classify") -> NoReturn:
    """Go to the classify page, or another, with an image of a public data set. `caption` is plain text."""
    session_images.add(Photo(name, data, name.replace("/", "-"), plain(caption)))
    # otherwise the query parameters of this page's widgets would be carried over
    st.switch_page(path(page), query_params={})


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


def crop_of(photo: Photo) -> Crop:
    """The square that the visitor chose on any page; imaging.CENTRE until then. ImageError where the photo cannot be
    read."""
    (width, height), _ = preview_of(photo)
    percent = chosen_square(photo)
    side = percent["side"] / 100
    # a slider from 0 to 100% spans the remaining room, so that the square stays inside the image
    room_x, room_y = _room(width, height, side)
    x = percent["x"] / 100 if room_x else 0.5
    y = percent["y"] / 100 if room_y else 0.5
    return Crop(0.5 + (x - 0.5) * room_x / width, 0.5 + (y - 0.5) * room_y / height, side)


def chosen_square(photo: Photo) -> dict[str, int]:
    """The settings of the square, in percent, by the names of SQUARE."""
    return {name: st.session_state.get(_crop_key(name, photo), start) for name, start in SQUARE.items()}


def choose_crop(photo: Photo) -> None:
    """Sliders that resize the square of `crop_of` and, where there is room, move it."""
    (width, height), _ = preview_of(photo)
    st.caption(
        "The model sees only what is inside the square. Leave a margin of skin around the lesion; if there are two "
        "lesions, or one in a corner, put the square around the one you mean."
    )
    side = _percent_slider("Size", "side", photo, SMALLEST_CROP, "Percent of the shorter side.")
    room_x, room_y = _room(width, height, side / 100)
    if room_x:
        _percent_slider("Left to right", "x", photo)
    if room_y:
        _percent_slider("Top to bottom", "y", photo)


def preview_of(photo: Photo) -> tuple[tuple[int, int], Image.Image]:
    """The size at which a photo is decoded for its centre square, and the photo with its longer side PREVIEW_SIDE.
    ImageError where it cannot be read."""
    return cached("preview", photo.key, lambda: _reduced(photo))


def show_picture(picture: Image.Image, caption: str, alt: str) -> None:
    """A picture as high as fits beside or below an answer, and never wider than the screen."""
    with st.container(width=round(SHOWN_HEIGHT * picture.width / picture.height)):
        st.image(picture, caption or None, width="stretch", alt=alt)


def show_square(photo: Photo, cam: np.ndarray | None = None, opacity: float = 0.0, map_of: str = "") -> None:
    """The photo with its square, and over it a map of the class `map_of`."""
    _, small = preview_of(photo)
    over = f" and the attention map of {map_of} over it" if map_of else ""
    caption = "" if photo.caption == OWN else photo.caption
    show_picture(preview(small, crop_of(photo), cam, opacity), caption, f"The image, with the square marked{over}")


def offer_square(photo: Photo) -> None:
    """The sliders of the square, behind a button."""
    with st.popover("Move or resize the square", icon=":material/crop:"):
        choose_crop(photo)


def show_uncropped(photo: Photo) -> None:
    """The photo alone, with nothing to choose. ImageError where it cannot be read."""
    _, small = preview_of(photo)
    show_picture(small, photo.caption, "The image")


def preview(small: Image.Image, crop: Crop, cam: np.ndarray | None = None, opacity: float = 0.0) -> Image.Image:
    """The image, pale outside the square and with a line around it; the map `cam` [h, w] in 0-1 over the square."""
    left, top, right, bottom = (round(edge) for edge in crop.box(*small.size))
    pale = Image.blend(small, Image.new("RGB", small.size, "white"), 0.6)
    square = small.crop((left, top, right, bottom))
    if cam is not None:
        square = Image.fromarray(heatmap.overlay(np.asarray(square), cam, opacity))
    pale.paste(square, (left, top))
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
    """Show this image on the page that is opened next; without its bytes, offer to fetch it by its ISIC id."""
    if data is None:
        session_images.show(None)
        st.session_state["photo_source"] = "sample"
        st.session_state["isic_id"] = name
    else:
        session_images.add(Photo(name, data, name.replace("/", "-"), caption))


def _take_files(key: str) -> None:
    if uploaded := st.session_state.get(key):
        session_images.add_files(uploaded)


def _take_picture(key: str) -> None:
    if taken := st.session_state.get(key):
        session_images.add_files([taken])
        # the camera is off again
        st.session_state["photo_source"] = "upload"


def _draw_first() -> None:
    if st.session_state.get("photo_source") == "sample":
        session_images.add(_drawing(st.session_state.setdefault("drawing", 0)))


def _draw_another() -> None:
    st.session_state["drawing"] = st.session_state.get("drawing", -1) + 1
    session_images.add(_drawing(st.session_state["drawing"]))


def _offer_samples() -> None:
    drawing, archive = st.columns(2, gap="medium")
    with drawing:
        st.markdown("**A drawing**")
        st.caption("A computer-generated lesion. It shows no real person; use it only to try the app.")
        st.button("Draw another lesion", icon=":material/refresh:", key="draw", on_click=_draw_another)
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
                    session_images.add(_from_archive(isic.fetch(isic_id)))
            except SkinappError as error:
                st.error(str(error))
            else:
                st.rerun()


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


def _crop_key(name: str, photo: Photo) -> str:
    return f"crop_{name}_{photo.key}"


def _room(width: int, height: int, side: float) -> tuple[float, float]:
    """The pixels by which the square can move sideways and up or down; 0 for less than one."""
    left = (width - side * min(width, height), height - side * min(width, height))
    return left[0] if left[0] >= 1 else 0.0, left[1] if left[1] >= 1 else 0.0


def _percent_slider(label: str, name: str, photo: Photo, low: int = 0, hint: str | None = None) -> int:
    key = _crop_key(name, photo)
    st.session_state.setdefault(key, SQUARE[name])
    return st.slider(label, low, 100, format="%d%%", key=key, help=hint, persist_state="session")
