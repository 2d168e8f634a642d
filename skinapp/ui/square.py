"""The square of a photo that a model sees: proposed, chosen, drawn, and the same on every page."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from skinapp.attention import picture
from skinapp.charts import photo as charts
from skinapp.errors import ModelError
from skinapp.images import imaging
from skinapp.images.imaging import Crop
from skinapp.lesion import square
from skinapp.lesion.square import Proposal
from skinapp.ui import gate
from skinapp.ui import photo as photos
from skinapp.ui.session_images import OWN, Photo

SMALLEST = 10
"""Percent of the shorter side."""
CENTRE = {"side": 100, "x": 50, "y": 50}
"""The settings of `imaging.CENTRE`, in percent."""
MARGIN = 1.0
"""Margin of the square around a box that the visitor draws."""
THUMBNAIL = 96
"""Pixels of the pictures that a visitor chooses from."""


def crop_of(photo: Photo) -> Crop:
    """The square that the visitor chose on any page; until then the proposed one if models do well with it, otherwise
    imaging.CENTRE. ImageError if the photo cannot be read."""
    (width, height), _ = photos.preview_of(photo)
    percent = settings(photo)
    side = percent["side"] / 100
    # a slider from 0 to 100% spans the remaining room, so that the square stays inside the image
    room_x, room_y = _room(width, height, side)
    x = percent["x"] / 100 if room_x else 0.5
    y = percent["y"] / 100 if room_y else 0.5
    return Crop(0.5 + (x - 0.5) * room_x / width, 0.5 + (y - 0.5) * room_y / height, side)


def settings(photo: Photo) -> dict[str, int]:
    """The square in percent, by the names of CENTRE. ImageError as for `crop_of`."""
    keys = {name: _key(name, photo) for name in CENTRE}
    start = {} if all(key in st.session_state for key in keys.values()) else _start(photo)
    return {name: st.session_state.get(key, start.get(name)) for name, key in keys.items()}


def proposed(photo: Photo) -> Proposal:
    """The squares around the lesions of a photo; none for a drawing or an image that is not of skin."""
    # cached for every image of the session, since a grid needs them all in each run
    key = f"proposed_{gate.kind_stated(photo)}_{photo.key}"
    if key not in st.session_state:
        kind = _kind(photo)
        try:
            proposal = square.propose(photos.decoded(photo), kind) if kind in square.figures() else Proposal()
        except ModelError:
            proposal = Proposal()
        st.session_state[key] = proposal
    return st.session_state[key]


def show(photo: Photo, cam: np.ndarray | None = None, opacity: float = 0.0, map_of: str = "") -> None:
    """The photo with its square, and over it a map of the class `map_of`."""
    _, small = photos.preview_of(photo)
    over = f" and the attention map of {map_of} over it" if map_of else ""
    caption = "" if photo.caption == OWN else photo.caption
    marked = picture.in_image(small, crop_of(photo), cam, opacity)
    photos.show_picture(marked, caption, f"The image, with the square marked{over}")


def offer(photo: Photo) -> None:
    """Ask which lesion is meant if several are in view, and offer to change the square, behind a button."""
    ask_which(photo)
    offer_change(photo)


def offer_change(photo: Photo) -> None:
    """A button with the controls that change the square."""
    with st.popover("Move or resize the square", icon=":material/crop:"):
        _change(photo, proposed(photo).squares)


def ask_which(photo: Photo) -> None:
    """The squares of several lesions to choose from; nothing if only one is in view."""
    if len(proposed(photo).squares) < 2:
        return
    _, small = photos.preview_of(photo)
    chosen = settings(photo)
    st.markdown("**Two lesions are in view. Which one do you mean?**")
    with st.container(horizontal=True, gap="small"):
        for number, crop in enumerate(proposed(photo).squares, 1):
            with st.container(width=THUMBNAIL, gap="xsmall"):
                st.image(imaging.crop_resize(small, THUMBNAIL, crop), width=THUMBNAIL, alt=f"Lesion {number}")
                st.button(
                    f"Lesion {number}",
                    key=f"lesion_{number}_{photo.key}",
                    type="primary" if chosen == _percent(photo, crop) else "secondary",
                    on_click=_choose,
                    args=(photo, crop),
                )


def _change(photo: Photo, squares: tuple[Crop, ...]) -> None:
    (width, height), _ = photos.preview_of(photo)
    st.caption(
        "The model sees only what is inside the square. Leave a margin of skin around the lesion. Drag a box around "
        "the lesion in the picture, or use the sliders."
    )
    key = f"drawn_{photo.key}"
    draw_box(photo, key, crop_of(photo), _draw, (photo, key))
    with st.container(horizontal=True, gap="small"):
        if squares:
            st.button(
                "Around the lesion",
                icon=":material/center_focus_strong:",
                key=f"around_{photo.key}",
                on_click=_choose,
                args=(photo, squares[0]),
                help=_measured(photo),
            )
        st.button(
            "Centre of the image",
            icon=":material/crop_square:",
            key=f"centre_{photo.key}",
            on_click=_choose,
            args=(photo, imaging.CENTRE),
        )
    side = _slider("Size", "side", photo, SMALLEST, "As a percentage of the shorter side.")
    room_x, room_y = _room(width, height, side / 100)
    if room_x:
        _slider("Left to right", "x", photo)
    if room_y:
        _slider("Top to bottom", "y", photo)


def draw_box(photo: Photo, key: str, crop: Crop, on_select: Any, arguments: tuple) -> None:
    """The photo with a square, in which the visitor can drag a box; see `drawn_box`."""
    _, small = photos.preview_of(photo)
    st.plotly_chart(
        charts.drawable(small, crop),
        key=key,
        alt="The image. Draw a box on it.",
        theme=None,
        on_select=lambda: on_select(*arguments),
        selection_mode="box",
        config={"displayModeBar": False},
    )


def drawn_box(photo: Photo, key: str) -> tuple[float, float, float, float] | None:
    """The box that the visitor drew last, in shares of the image's width and height: left, top, right, bottom."""
    event: Mapping[str, Any] = st.session_state.get(key) or {}
    boxes = (event.get("selection") or {}).get("box") or []
    if not boxes:
        return None
    _, small = photos.preview_of(photo)
    x, y = sorted(boxes[-1]["x"]), sorted(boxes[-1]["y"])
    left, right = (min(max(edge / small.width, 0.0), 1.0) for edge in (x[0], x[-1]))
    top, bottom = (min(max(edge / small.height, 0.0), 1.0) for edge in (y[0], y[-1]))
    return (left, top, right, bottom) if right > left and bottom > top else None


def _draw(photo: Photo, key: str) -> None:
    drawn = drawn_box(photo, key)
    if drawn:
        (width, height), _ = photos.preview_of(photo)
        left, top, right, bottom = drawn
        box = square.Box(left * width, top * height, right * width, bottom * height)
        _choose(photo, square.around(box, (width, height), MARGIN))


def _choose(photo: Photo, crop: Crop) -> None:
    for name, value in _percent(photo, crop).items():
        st.session_state[_key(name, photo)] = value


def _kind(photo: Photo) -> str:
    """The kind of image that a photo is; "" if that is not known."""
    try:
        recognised = photos.recognised(photo)
    except ModelError:
        recognised = None
    return gate.kind_stated(photo) or (recognised.kind if recognised else "")


def _start(photo: Photo) -> dict[str, int]:
    proposal = proposed(photo)
    if not proposal.used:
        return CENTRE
    key = f"start_{gate.kind_stated(photo)}_{photo.key}"
    if key not in st.session_state:
        st.session_state[key] = _percent(photo, proposal.squares[0])
    return st.session_state[key]


def _percent(photo: Photo, crop: Crop) -> dict[str, int]:
    """The slider settings of a square."""
    (width, height), _ = photos.preview_of(photo)
    side = max(SMALLEST, round(100 * crop.side))
    offsets = {}
    for name, centre, length, room in zip(
        ("x", "y"), (crop.x, crop.y), (width, height), _room(width, height, side / 100), strict=True
    ):
        offset = 0.5 + (centre - 0.5) * length / room if room else 0.5
        offsets[name] = round(100 * min(max(offset, 0.0), 1.0))
    return {"side": side, **offsets}


def _measured(photo: Photo) -> str:
    """The measured effect of the proposed squares on test images."""
    sentences = []
    for one in square.figures()[_kind(photo)]["sets"].values():
        test = one["test"]
        before, after, by = (test[name] for name in ("centre", "square", "difference"))
        images = f"{test['images']:,} test images from {one['name']}"
        where = f"With the default model, on {images}, squares around small lesions"
        if by["low"] is None:
            sentences.append(f"{where} did not change balanced accuracy ({before['value']:.3f}).")
            continue
        sentences.append(
            f"{where} changed balanced accuracy from {before['value']:.3f} to {after['value']:.3f} (difference "
            f"{by['value']:+.3f}, 95% interval {by['low']:+.3f} to {by['high']:+.3f})."
        )
    return " ".join(sentences)


def _key(name: str, photo: Photo) -> str:
    return f"crop_{name}_{photo.key}"


def _room(width: int, height: int, side: float) -> tuple[float, float]:
    """The pixels by which the square can move sideways and up or down; 0 for less than one."""
    left = (width - side * min(width, height), height - side * min(width, height))
    return left[0] if left[0] >= 1 else 0.0, left[1] if left[1] >= 1 else 0.0


def _slider(label: str, name: str, photo: Photo, low: int = 0, hint: str | None = None) -> int:
    st.session_state.setdefault(_key(name, photo), settings(photo)[name])
    return st.slider(label, low, 100, format="%d%%", key=_key(name, photo), help=hint, persist_state="session")
