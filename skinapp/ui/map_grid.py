"""The maps of the attention page: made, cached in the session, and shown side by side with their downloads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from skinapp.attention import catalogue, heatmap, picture, record, targets
from skinapp.errors import SkinappError
from skinapp.inference import architecture
from skinapp.ui import layout, turn
from skinapp.ui import photo as photos
from skinapp.ui.map_controls import MapRequest
from skinapp.ui.session_images import Photo

CANCELLED = "Cancelled before it was made."
MAX_HELD = 48
"""The number of maps of one image that a session caches."""

OVERLAY, ALONE = "Over the image", "Map alone"


@dataclass(frozen=True, eq=False)
class MadeMap:
    """A map as returned by its method, `raw` float32 [h, w], or the reason why there is none."""

    request: MapRequest
    raw: np.ndarray | None
    problem: str = ""

    @property
    def scale_group(self) -> tuple[str, str, str | None]:
        """Maps of one model, method and block can share a colour scale."""
        return self.request.model.id, self.request.method.id, self.request.layer


@dataclass(frozen=True)
class View:
    """How maps are shown: `opacity` and `share` 0-1; `linked` for a shared colour scale."""

    over: bool
    opacity: float
    share: float
    linked: bool


def make(requests: Sequence[MapRequest], photo: Photo) -> list[MadeMap]:
    """The maps. The session caches the latest ones for this photo and square. BusyError if too many visitors are
    waiting for slow maps."""
    crop, remove = requests[0].analysis.crop, requests[0].analysis.remove
    cache: dict[tuple, tuple[np.ndarray | None, str]] = photos.cached("attention_maps", (photo.key, crop, remove), dict)
    keys = [request.key for request in requests]
    new = {key: one for key, one in zip(keys, requests, strict=True) if key not in cache}
    slow = [key for key, one in new.items() if one.method.id != "last-convolution"]
    cache |= {key: _make(one) for key, one in new.items() if key not in slow}
    if slow:

        def cancel() -> None:
            for key in slow:
                cache.setdefault(key, (None, CANCELLED))

        words = f"Making {len(slow)} {'map' if len(slow) == 1 else 'maps'}"
        if any("tensorflow" in new[key].method.needs for key in slow):
            words += " (loads TensorFlow and the network the first time)"
        with turn.at_slow_work(words, "maps", cancel) as progress:
            for number, key in enumerate(slow):

                def whole(share: float, number: int = number) -> None:
                    progress((number + share) / len(slow))

                whole(0.0)
                cache[key] = _make(new[key], whole)
    cancelled = [key for key in keys if cache[key][1] == CANCELLED]
    if cancelled:

        def make_again() -> None:
            for key in cancelled:
                cache.pop(key, None)

        st.button("Make the cancelled maps", icon=":material/refresh:", key="make_cancelled", on_click=make_again)
    made = [MadeMap(one, *cache[key]) for key, one in zip(keys, requests, strict=True)]
    for key in [key for key in cache if key not in keys][: max(len(cache) - MAX_HELD, 0)]:
        del cache[key]
    return made


def show(maps: Sequence[MadeMap], view: View) -> None:
    """The maps side by side."""
    peaks: dict[tuple, float] = {}
    for made in maps:
        if made.raw is not None:
            peaks[made.scale_group] = max(peaks.get(made.scale_group, 0.0), float(made.raw.max()))
    several = len({made.request.model.id for made in maps}) > 1
    with st.grid(min(len(maps) + 1, 3), min_column_width=240, gap="medium"):
        with st.container(gap="xsmall"):
            square = maps[0].request.analysis.square
            st.image(square, "What the model saw", width="stretch", alt="The square of the image")
            st.image(
                picture.scale(), "From no evidence to most evidence", width="stretch", alt="Colours from dark to yellow"
            )
        for made in maps:
            with st.container(gap="xsmall"):
                _show_map(made, view, peaks.get(made.scale_group) if view.linked else None, several)


def choose_view() -> View:
    """The controls above the maps."""
    st.space("small")
    with st.grid(4, min_column_width=200, gap="medium"):
        way = st.segmented_control("View", [OVERLAY, ALONE], default=OVERLAY, required=True, key="attention_view")
        opacity = st.slider("Opacity", 0, 100, 60, 5, format="%d%%", key="attention_opacity") / 100
        share = st.slider(
            "Line around the strongest pixels",
            0,
            95,
            50,
            5,
            format="%d%%",
            key="attention_share",
            help="The line encloses the fewest pixels that make up this share of the map's sum. At 0% there is no "
            "line. A map with a value for every pixel, such as integrated gradients, is first smoothed with a Gaussian "
            f"({picture.SMOOTHING:.0%} of the square's side) to keep the line from following single specks; the "
            "colours are not smoothed.",
        )
        linked = st.toggle(
            "Shared colour scale",
            key="attention_linked",
            help="Maps of the same model, method and block share one colour scale, so a class with less evidence "
            "looks fainter. Otherwise, each map is scaled to its own maximum.",
        )
    return View(way == OVERLAY, opacity, share / 100, linked)


def drawn(square: np.ndarray, cam: np.ndarray, view: View) -> np.ndarray:
    """A map [h, w] in 0-1 rendered with the visitor's settings, over a square or alone: uint8 [S, S, 3]."""
    side = square.shape[0]
    shown = heatmap.overlay(square, cam, view.opacity) if view.over else picture.map_alone(cam, side)
    if view.share and cam.any():
        shown = picture.with_contour(shown, picture.strongest(cam, view.share, side))
    return shown


def _make(request: MapRequest, progress: Callable[[float], None] | None = None) -> tuple[np.ndarray | None, str]:
    """The raw map, or the reason why there is none."""
    try:
        raw = catalogue.raw(
            request.method.id,
            request.model,
            request.analysis.pixels,
            request.target,
            request.layer,
            progress,
            **request.settings,
        )
    except turn.CancelledError:
        raise
    except SkinappError as error:
        return None, str(error)
    return raw, ""


def _show_map(made: MadeMap, view: View, peak: float | None, with_model: bool) -> None:
    """Show one map with its class, method and, if there are several, model, and its downloads; or why there is none."""
    request = made.request
    name = targets.name(request.model, request.target) if not made.problem else targets.code(request.target)
    at = ""
    if request.layer and not made.problem:
        at = f", {architecture.block(request.model, request.layer).title}"
    probability = f", {request.probability}" if request.probability else ""
    words = f"**{layout.plain(name)}**{probability}  \n{request.method.title}{at}"
    if with_model:
        words += f"  \n{layout.plain(request.model.short_name)}"
    if made.raw is None:
        st.markdown(words)
        st.warning(made.problem)
        return
    cam = catalogue.scaled(made.raw, peak)
    square = request.analysis.square
    shown = drawn(square, cam, view)
    st.image(
        shown,
        width="stretch",
        alt=f"Attention map of {name} by {request.method.title}, {request.model.short_name}",
    )
    st.markdown(words)
    if not cam.any():
        st.caption("No part of the image counted towards this.")
    _offer_downloads(request, made.raw, shown)


def _offer_downloads(request: MapRequest, raw: np.ndarray, shown: np.ndarray) -> None:
    described = record.describe(
        request.method.id,
        request.model,
        request.analysis.pixels,
        request.target,
        request.layer,
        dict(request.settings),
        raw,
        request.analysis.crop,
    )
    with st.popover("Save", icon=":material/download:", key=f"save_{request.name}"):
        for label, data, suffix, kind in (
            ("Image as PNG", photos.png(shown), "png", "image/png"),
            ("Map as NumPy", record.to_npz(raw, described), "npz", "application/octet-stream"),
            ("Settings as JSON", record.to_json(described), "json", "application/json"),
        ):
            st.download_button(
                label,
                data,
                f"map-{request.name}.{suffix}",
                kind,
                key=f"{suffix}_{request.name}",
                on_click="ignore",
            )
