"""The maps of the attention page for the other images of the session, so that a method can be judged on more than one
image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from PIL import Image

from skinapp.attention import catalogue, targets
from skinapp.errors import SkinappError
from skinapp.images import imaging, quality
from skinapp.inference import analysis, modality
from skinapp.inference.analysis import Analysis
from skinapp.inference.registry import Model
from skinapp.ui import gate, map_grid, removal, session_images, square, turn
from skinapp.ui import photo as photos
from skinapp.ui.admission import BusyError
from skinapp.ui.layout import plain
from skinapp.ui.map_controls import MAX_CLASSIFICATIONS, MapRequest
from skinapp.ui.map_grid import MadeMap, View
from skinapp.ui.session_images import Photo

MAX_IMAGES = 8
SWITCH = "attention_strip"
"""The key of the switch that makes slow maps of the other images."""
SIDE = 320
"""Pixels of the squares in the strip."""


@dataclass(frozen=True, eq=False)
class Tile:
    """A map of one image: its `square` uint8 [SIDE, SIDE, 3], the map `raw` float32 [h, w] or the `problem` that
    prevented it, the `probability` of the class as text, and a `doubt` about the image."""

    square: np.ndarray | None = None
    raw: np.ndarray | None = None
    probability: str = ""
    doubt: str = ""
    problem: str = ""


def images() -> list[Photo]:
    """The images of the session, in the order in which they were added, including those not yet classified."""
    return list((session_images.held() | session_images.pending()).values())


def first_readable() -> Photo | None:
    """The first image of the session that can be read; None without one."""
    for photo in images():
        try:
            photos.preview_of(photo)
        except SkinappError:
            continue
        return photo
    return None


def show(maps: Sequence[MadeMap], photo: Photo, models: Sequence[Model], view: View, most: int) -> None:
    """Show the maps of `photo`, and the same maps of the session's other images, at most `most` maps in total; nothing
    for a single image. Slow methods run only on request."""
    others = [one for one in images() if one.key != photo.key][: MAX_IMAGES - 1]
    made = [cam for cam in maps if cam.raw is not None]
    if not others or not made:
        return
    rows = made[: max(most // (len(others) + 1), 1)]
    while len(rows) > 1 and _classifications(rows) * (len(others) + 1) > MAX_CLASSIFICATIONS:
        rows.pop()
    shown = others[: MAX_CLASSIFICATIONS // max(_classifications(rows), 1) - 1]
    st.space("small")
    st.subheader("The same maps for your other images", anchor=False)
    if len(rows) < len(made) or len(shown) < len(others):
        first = "map" if len(rows) == 1 else f"{len(rows)} maps"
        of = "each image" if len(shown) == len(others) else f"{len(shown) + 1} of your {len(others) + 1} images"
        st.caption(
            f"Only the first {first} of {of} {'is' if len(rows) == 1 else 'are'} shown: the limit is {most} maps or "
            f"{MAX_CLASSIFICATIONS:,} classifications in total."
        )
    others = shown
    if not others:
        return
    slow = [row for row in rows if not row.request.method.quick]
    if slow and not st.toggle(
        f"Make {len(slow) * len(others)} more {'map' if len(slow) * len(others) == 1 else 'maps'}",
        key=SWITCH,
        help="Each takes as long as the first.",
    ):
        return
    try:
        tiles = _make([row.request for row in rows], others, models)
    except turn.CancelledError:
        # turns the switch off in the next run
        return
    except BusyError as error:
        turn.show_busy(error, "strip")
        return
    for one in rows:
        _show_row(one, photo, {other.key: tiles[_key(one.request, other)] for other in others}, view)


def _classifications(maps: Sequence[MadeMap]) -> int:
    """How many images are classified to make these maps for one image."""
    return sum(made.request.method.classifications(**made.request.settings) for made in maps)


def _make(requests: Sequence[MapRequest], others: Sequence[Photo], models: Sequence[Model]) -> dict[tuple, Tile]:
    """A tile for each image and request, one image after another. The session caches those of the last run."""
    held: dict[tuple, Tile] = photos.cached("attention_strip", "", dict)
    keys = {_key(request, photo) for photo in others for request in requests}
    for key in set(held) - keys:
        del held[key]
    new = [photo for photo in others if any(_key(request, photo) not in held for request in requests)]
    if new:
        words = f"Making maps for {len(new)} more {'image' if len(new) == 1 else 'images'}"
        with turn.at_slow_work(words, "strip", turn.off(SWITCH)) as progress:
            for number, photo in enumerate(new):
                analyses: dict[str, Analysis] = {}

                def still_at(share: float, number: int = number) -> None:
                    progress(number / len(new))

                for request in requests:
                    key = _key(request, photo)
                    still_at(0.0)
                    if key not in held:
                        held[key] = _tile(request, photo, models, analyses, still_at)
    return {_key(request, photo): held[_key(request, photo)] for photo in others for request in requests}


def _key(request: MapRequest, photo: Photo) -> tuple:
    """The cache key of a tile: the image with its square, the visitor's statements about it, and the request."""
    try:
        settings = tuple(square.settings(photo).values())
    except SkinappError:
        settings = ()
    removals = removal.chosen(request.model)
    return photo.key, settings, gate.kind_stated(photo), gate.shows_anyway(photo), tuple(removals), request.key


def _tile(
    request: MapRequest,
    photo: Photo,
    models: Sequence[Model],
    analyses: dict[str, Analysis],
    progress: Callable[[float], None],
) -> Tile:
    """The map of one image, which has to pass the same checks as the first. `analyses` caches those of this image, by
    model."""
    model, seen = request.model, None
    try:
        crop = square.crop_of(photo)
        image = photos.decoded(photo, crop)
        seen = imaging.crop_resize(image, SIDE, crop)
        route = gate.route(models, photo, model)
        if gate.reasons(route, quality.measure(image, crop)) and not gate.shows_anyway(photo):
            return Tile(seen, problem="Fails a check. Open it to see which, and to show its map anyway.")
        if model.id not in analyses:
            analyses[model.id] = analysis.analyse(image, model, crop, remove=removal.chosen(model))
        made = MapRequest(analyses[model.id], request.target, request.method, request.layer, request.settings)
        raw = catalogue.raw(
            made.method.id, model, made.analysis.pixels, made.target, made.layer, progress, **dict(made.settings)
        )
        doubt = ""
        if route.doubt and route.recognised and route.recognised.kind in modality.ONE:
            doubt = f"Looks like {modality.ONE[route.recognised.kind]}, which this model was not trained for."
        return Tile(seen, raw, made.probability, doubt)
    except turn.CancelledError:
        raise
    except SkinappError as error:
        return Tile(seen, problem=str(error))


def _show_row(made: MadeMap, photo: Photo, tiles: dict[str, Tile], view: View) -> None:
    """One method and class for every image, the current one first."""
    request = made.request
    name = targets.name(request.model, request.target)
    st.markdown(f"**{plain(name)}**, {request.method.title}, {plain(request.model.short_name)}")
    current = Tile(imaging.crop_resize(Image.fromarray(request.analysis.square), SIDE), made.raw, request.probability)
    everything = {photo.key: current} | tiles
    peaks = [float(tile.raw.max()) for tile in everything.values() if tile.raw is not None]
    names = {file.key: file.name for file in session_images.files()}
    known = {one.key: one for one in (photo, *images())}
    with st.grid(len(everything), min_column_width=116, gap="small"):
        for key, tile in everything.items():
            with st.container(gap="xsmall"):
                _show_tile(tile, name, names.get(key, known[key].name), view, max(peaks) if view.linked else None)
                if key == photo.key:
                    st.caption("Shown above")
                else:
                    st.button(
                        "Open",
                        key=f"strip_{request.name}_{key}",
                        on_click=_open,
                        args=(known[key],),
                        width="stretch",
                    )


def _show_tile(tile: Tile, name: str, file: str, view: View, peak: float | None) -> None:
    if tile.square is not None and tile.raw is None:
        st.image(tile.square, width="stretch", alt=f"{file}, without a map")
    if tile.square is not None and tile.raw is not None:
        cam = catalogue.scaled(tile.raw, peak)
        st.image(map_grid.drawn(tile.square, cam, view), width="stretch", alt=f"Map of {name} for {file}")
    st.markdown(f":small[{plain(file)}]" + (f"  \n**{tile.probability}**" if tile.probability else ""))
    if tile.problem:
        st.caption(f":material/error: {plain(tile.problem)}")
    elif tile.doubt:
        st.caption(f":material/help: {plain(tile.doubt)}")
    elif tile.raw is not None and not tile.raw.max() > 0:
        st.caption("No part of the image counted towards this.")


def _open(photo: Photo) -> None:
    if photo.key in session_images.pending():
        session_images.hold(photo)
    session_images.show(photo.key)
