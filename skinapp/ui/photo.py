"""Data of a photo, computed once per session: its pixels, its kind, a preview; and functions to show it."""

import io
from collections.abc import Callable, Hashable
from typing import TypeVar

import numpy as np
import streamlit as st
from PIL import Image

from skinapp.errors import ImageError
from skinapp.images import imaging, isolated
from skinapp.images.imaging import Crop
from skinapp.inference import events, modality, training_images
from skinapp.inference.modality import Recognised
from skinapp.inference.registry import Model
from skinapp.ui.session_images import CACHED, Photo

T = TypeVar("T")

PREVIEW_SIDE = 720
SHOWN_HEIGHT = 360
"""Maximum height of a picture, in pixels: on a phone, the answer, the picture and its map then fit one and a half
screens."""


def decoded(photo: Photo, crop: Crop = imaging.CENTRE) -> Image.Image:
    """The photo as upright RGB, fine enough for the crop. ImageError if it cannot be read.

    The session holds a single decoded image, that of the latest photo and crop.
    """
    try:
        reduction = cached("reduction", (photo.key, crop), lambda: isolated.reduction(photo.data, crop))
        return cached("image", (photo.key, reduction), lambda: isolated.decode(photo.data, crop))
    except ImageError:
        count_refusal(photo, events.UNREADABLE)
        raise


def count_refusal(photo: Photo, reason: str) -> None:
    """Report that an image got no answer: once for each image and reason, however often the page is redrawn."""
    counted: set[tuple[str, str]] = st.session_state.setdefault(CACHED + "refusals", set())
    if (photo.key, reason) not in counted:
        counted.add((photo.key, reason))
        events.refused(reason)


def recognised(photo: Photo) -> Recognised | None:
    """The kind of image; None for a drawing. ModelError if recognition fails."""
    return None if photo.synthetic else cached("recognised", photo.key, lambda: modality.recognise(decoded(photo)))


def cached(name: str, key: Hashable, make: Callable[[], T]) -> T:
    """The cached result of `make`, recomputed when the key changes. The session holds only the latest for each name."""
    known, value = st.session_state.get(CACHED + name, (None, None))
    if known != key:
        # the old one is freed before the new one is made
        value = None
        st.session_state.pop(CACHED + name, None)
        value = make()
        st.session_state[CACHED + name] = (key, value)
    return value


def preview_of(photo: Photo) -> tuple[tuple[int, int], Image.Image]:
    """The size at which a photo is decoded for its centre square, and the photo scaled to a longer side of
    PREVIEW_SIDE. ImageError if it cannot be read."""
    return cached("preview", photo.key, lambda: _reduced(photo))


def show_picture(picture: Image.Image, caption: str, alt: str) -> None:
    """A picture limited in height to fit next to or below an answer, and never wider than the screen."""
    with st.container(width=round(SHOWN_HEIGHT * picture.width / picture.height)):
        st.image(picture, caption or None, width="stretch", alt=alt)


def show_uncropped(photo: Photo) -> None:
    """Show the full photo without controls. ImageError if it cannot be read."""
    _, small = preview_of(photo)
    show_picture(small, photo.caption, "The image")


def show_origin(photo: Photo, model: Model) -> None:
    """For a published image: show its diagnosis, and whether the model was trained on it."""
    if photo.image:
        diagnosis = f"Published diagnosis: **{photo.diagnosis}**. " if photo.diagnosis else ""
        st.caption(f"{diagnosis}{training_images.sentence(model, photo.dataset, photo.image)}")


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
