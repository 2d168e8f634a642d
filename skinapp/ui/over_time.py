"""Photos of one spot from different days: aligned, with the differences that are larger than usual."""

import dataclasses
import datetime
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from skinapp.errors import SkinappError
from skinapp.formatting import percent
from skinapp.images import imaging, isolated
from skinapp.inference import analysis, warnings
from skinapp.inference.analysis import Analysis
from skinapp.inference.registry import Model
from skinapp.lesion import change
from skinapp.lesion.change import Change, Comparison
from skinapp.ui import gate, panel, prediction, removal, session_images, square, turn
from skinapp.ui import photo as photos
from skinapp.ui.layout import path, plain
from skinapp.ui.session_images import Photo

MAX_PHOTOS = 6
"""The maximum number of photos in a comparison."""
FIRST = datetime.date(1990, 1, 1)
"""The earliest date that can be entered."""
OTHER = "Another length, such as a ruler"
LENGTHS = {
    OTHER: None,
    "1 euro coin, 23.25 mm": 23.25,
    "2 euro coin, 25.75 mm": 25.75,
    "1 cent coin (euro), 16.25 mm": 16.25,
    "1 cent coin (US), 19.05 mm": 19.05,
    "Quarter (US), 24.26 mm": 24.26,
    "1 pound coin, 23.43 mm": 23.43,
}
"""Objects of known length or diameter, in millimetres."""


def offer() -> None:
    """Explain how to compare the image with another one of the same spot, and offer to add it."""
    st.markdown(
        "**Has this spot changed?** Add another photo of it, older or newer. The two photos are overlaid, and each "
        "difference is shown next to the difference to expect between two photos of an unchanged spot."
    )
    key = f"over_time_upload_{session_images.additions()}"
    st.file_uploader("Another photo of the same spot", key=key, on_change=_add, args=(key,))
    offer_comparison("over_time_tab")
    st.page_link(
        path("guide"),
        label="How to take photos that can be compared",
        icon=":material/menu_book:",
        query_params={"chapter": "check"},
    )


def offer_comparison(key: str) -> None:
    """A button that opens the comparison if the session has several images."""
    if len(session_images.held()) > 1:
        st.button(
            "Compare over time",
            icon=":material/compare:",
            key=key,
            on_click=session_images.show,
            args=(session_images.COMPARED,),
            help="For photos of one spot from different days.",
        )


@turn.needed
def show(models: Sequence[Model], chosen: Model | None) -> None:
    """Show photos of one spot by date, the later one aligned with the first, and the differences."""
    st.subheader("The same spot over time", anchor=False)
    selected = _choose()
    if len(selected) < 2:
        st.info("Choose at least two photos of the same spot.")
        return
    selected = _show_dates(selected)
    if len(selected) < 2:
        return
    ordered = sorted(selected, key=lambda photo: _day(photo) or datetime.date.max)
    first, *later = ordered
    names = _names()
    last = later[-1]
    if len(later) > 1:
        keys = {photo.key: photo for photo in later}
        titles = _unique({photo.key: _title(photo) for photo in later})
        key = st.segmented_control(
            f"Compare {plain(names[first.key])} with",
            list(keys),
            format_func=titles.__getitem__,
            default=last.key,
            required=True,
            key=f"over_time_later_{'_'.join(keys)}",
        )
        last = keys.get(key or "", last)
    try:
        made = _analyse(models, chosen, ordered)
    except SkinappError as error:
        st.error(str(error))
        return
    if made:
        _compare((first, last), (made[first.key], made[last.key]))
        if len(ordered) > 2:
            _show_all(ordered, made)


def _choose() -> list[Photo]:
    held, names = session_images.held(), _names()
    if len(held) == 2:
        return list(held.values())
    keys = st.multiselect(
        "Photos of the same spot",
        list(held),
        list(held)[-2:],
        format_func=names.__getitem__,
        max_selections=MAX_PHOTOS,
        key=f"over_time_{'_'.join(held)}",
    )
    return [held[key] for key in keys]


def _show_dates(selected: Sequence[Photo]) -> list[Photo]:
    """Show each photo with its date, which the visitor can change, and a known length in it; return the readable
    photos."""
    today = datetime.date.today()
    readable = []
    with st.grid(len(selected), min_column_width=150, gap="small", border=True):
        for photo in selected:
            with st.container(gap="xsmall"):
                try:
                    _, small = photos.preview_of(photo)
                except SkinappError as error:
                    st.error(f"{plain(_names()[photo.key])}: {error}")
                    continue
                readable.append(photo)
                st.image(imaging.crop_resize(small, 200, square.crop_of(photo)), alt=_names()[photo.key], width=150)
                st.markdown(f":small[{plain(_names()[photo.key])}]")
                key = _date_key(photo)
                if key not in st.session_state:
                    day = isolated.day_taken(photo.data, today)
                    # a camera whose clock was never set
                    st.session_state[key] = day if day and day >= FIRST else None
                st.date_input("Taken on", min_value=FIRST, max_value=today, key=key, persist_state="session")
                with st.popover("Ruler or coin", icon=":material/straighten:"):
                    _choose_length(photo)
    if not all(_day(photo) for photo in readable):
        st.caption(
            "A photo without a date comes last: the camera recorded no date, or one that cannot be right. Enter the "
            "date to put the photos in order."
        )
    return readable


def _choose_length(photo: Photo) -> None:
    """Let the visitor mark an object in the photo and state its length in millimetres."""
    st.caption("With a known length in both photos, sizes are compared in millimetres, whatever the camera distance.")
    name = st.selectbox("What is next to the spot", list(LENGTHS), key=f"length_{photo.key}", persist_state="session")
    if LENGTHS[name] is None:
        st.number_input(
            "Its length in millimetres",
            0.5,
            500.0,
            None,
            key=f"length_mm_{photo.key}",
            placeholder="Unknown",
            persist_state="session",
        )
    st.caption("Drag a box from one end of it to the other.")
    key = _box_key(photo)
    square.draw_box(photo, key, square.crop_of(photo), _keep_box, (photo, key))


def _keep_box(photo: Photo, key: str) -> None:
    drawn = square.drawn_box(photo, key)
    if drawn:
        st.session_state[f"length_box_{photo.key}"] = drawn


def _millimetres(photo: Photo) -> float | None:
    """The real length of the side of the photo's square; None if it is not known."""
    drawn = st.session_state.get(f"length_box_{photo.key}")
    name = st.session_state.get(f"length_{photo.key}", OTHER)
    length = LENGTHS[name]
    length = length or st.session_state.get(f"length_mm_{photo.key}")
    if not drawn or not length:
        return None
    (width, height), _ = photos.preview_of(photo)
    left, top, right, bottom = drawn
    across, down = (right - left) * width, (bottom - top) * height
    # a ruler lies along the diagonal of its box, a coin fills it
    pixels = math.hypot(across, down) if name == OTHER else max(across, down)
    return length * square.crop_of(photo).side * min(width, height) / pixels


def _analyse(models: Sequence[Model], chosen: Model | None, selected: Sequence[Photo]) -> dict[str, Analysis]:
    """Analyse each photo with the model that suits the first; none, with a message, if the photos are of different
    kinds, or show no skin and the visitor has not asked to continue. ImageError if one cannot be read."""
    routes = [gate.route(models, photo, chosen) for photo in selected]
    for photo, route in zip(selected, routes, strict=True):
        if route.unknown and not gate.ask_anyway(photo, [f"{plain(_names()[photo.key])}: {route.doubt}"]):
            return {}
    kinds = {
        gate.kind_stated(photo) or (route.recognised and route.recognised.kind)
        for photo, route in zip(selected, routes, strict=True)
        if not route.unknown
    }
    if len(kinds - {None}) > 1:
        st.warning(
            "These include both dermoscopy images and phone photos, which differ too much to be compared. Choose "
            "photos of one kind."
        )
        return {}
    made = {}
    for photo in selected:
        crop = square.crop_of(photo)
        model = routes[0].models[0]
        remove = removal.chosen(model)
        made[photo.key] = photos.cached(
            f"over_time_{photo.key}",
            (photo.key, crop, model.id, tuple(remove)),
            lambda photo=photo, crop=crop, model=model, remove=remove: _square_of(  # type: ignore[misc]
                analysis.analyse(photos.decoded(photo, crop), model, crop, remove=remove)
            ),
        )
        name, measured = plain(_names()[photo.key]), made[photo.key].quality
        for sentence in warnings.of_quality(measured, model.modality).values():
            st.warning(f"{name}: {sentence}", icon=":material/photo_camera:")
        for hint in warnings.hints(measured, model.modality):
            st.caption(f":material/photo_camera: {name}: {hint}")
    return made


def _square_of(made: Analysis) -> Analysis:
    """The analysis with its square in place of the full image, so that several fit into a session."""
    square_alone = Image.fromarray(imaging.crop_resize(made.image, analysis.SQUARE_SIDE, made.crop))
    return dataclasses.replace(made, image=square_alone, crop=imaging.CENTRE)


def _compare(pair: tuple[Photo, Photo], made: tuple[Analysis, Analysis]) -> None:
    lengths = _millimetres(pair[0]), _millimetres(pair[1])
    key = *((photo.key, square.crop_of(photo)) for photo in pair), made[0].model.id, made[0].remove, lengths
    comparison = photos.cached("comparison", key, lambda: change.compare(*made, lengths))
    if comparison.alignment is None:
        st.warning(change.NO_MATCH, icon=":material/compare:")
        _side_by_side([(photo, one.square) for photo, one in zip(pair, made, strict=True)])
        if not st.toggle("They show the same spot: compare them anyway", key=f"same_spot_{pair[0].key}_{pair[1].key}"):
            return
    else:
        _show_blend(pair, made, comparison)
    _show_changes(comparison)


def _side_by_side(pictures: Sequence[tuple[Photo, object]]) -> None:
    with st.grid(2, min_column_width=150, gap="small"):
        for photo, pixels in pictures:
            st.image(pixels, _title(photo), width="stretch", alt=_title(photo))  # type: ignore[arg-type]


@st.fragment
def _show_blend(pair: tuple[Photo, Photo], made: tuple[Analysis, Analysis], comparison: Comparison) -> None:
    """The first photo, the later one aligned with it, and a blend of both. A fragment, so that the slider redraws only
    this."""
    assert comparison.alignment
    first, later = made[0].square, comparison.alignment.aligned
    _side_by_side([(pair[0], first), (pair[1], later)])
    with st.container(width=photos.SHOWN_HEIGHT):
        place = st.container()
        share = st.slider("From the first photo to the later one", 0, 100, 50, 5, format="%d%%", key="over_time_blend")
        # where the later photo does not reach, show the first one
        shown = np.where(comparison.alignment.covered[..., np.newaxis], later, first)
        blended = Image.blend(Image.fromarray(first), Image.fromarray(shown), share / 100)
        place.image(blended, width="stretch", alt="Both photos, one laid over the other")
    st.caption(
        f"The later photo is moved, rotated by {abs(comparison.alignment.degrees):.0f}° and scaled so that "
        f"{comparison.alignment.points} points on the skin line up with those in the first."
    )


def _show_changes(comparison: Comparison) -> None:
    judged = [one for one in comparison.changes if one.is_usual is not None]
    beyond = [one.name.lower() for one in judged if not one.is_usual]
    if beyond:
        rarity = (
            "Each measure exceeds its limit in 5 of 100 pairs of photos of an unchanged spot, so with "
            f"{len(judged)} measures, one often does by chance."
        )
        if comparison.exceeded:
            exceeded, measured = comparison.exceeded
            rarity = (
                f"In tests, at least one of these {len(judged)} measures exceeded its limit in {exceeded:,} of "
                f"{measured:,} pairs of photos of an unchanged spot."
            )
        st.markdown(
            f"**Larger than the usual difference between photos of an unchanged spot: {', '.join(beyond)}.** If a "
            f"spot changes, have a doctor look at it. {rarity}"
        )
    elif judged:
        st.markdown(
            "**No more change than between two photos of an unchanged spot.** This is not an all-clear: a change "
            "smaller than the differences between two photos cannot be seen here. If the spot worries you, see a "
            "doctor."
        )
    else:
        st.markdown(
            "**It is not known whether differences like these are usual.** If a spot changes, have a doctor look at it."
        )
    if comparison.note and comparison.alignment:
        st.caption(comparison.note)
    icons = {True: ":material/check:", False: ":material/priority_high:", None: ":material/question_mark:"}
    st.markdown("  \n".join(f"{icons[one.is_usual]} {plain(change.sentence(one))}" for one in comparison.changes))
    with st.expander("Table and downloads", icon=":material/table_chart:", key="over_time_table"):
        panel.show_table(_table(comparison.changes), "over_time", "Every measure of both photos")


def _table(changes: Sequence[Change]) -> pd.DataFrame:
    words = {True: "within the usual difference", False: "more than usual", None: "not measured"}
    return pd.DataFrame(
        {
            "measure": [one.name for one in changes],
            "first": [round(one.before, 4) for one in changes],
            "later": [round(one.after, 4) for one in changes],
            "unit": ["share, 0-1" if one.unit == "%" else one.unit for one in changes],
            "usual difference": [change.limit(one) for one in changes],
            "result": [words[one.is_usual] for one in changes],
        }
    )


def _show_all(ordered: Sequence[Photo], made: dict[str, Analysis]) -> None:
    """The answer to each photo, by date."""
    st.markdown("**Every photo**")
    rows = []
    for photo in ordered:
        one = made[photo.key].prediction
        name, share = next(iter(analysis.shares(one).items()))
        rows.append(
            {
                "Photo": _names()[photo.key],
                "Taken on": _day(photo),
                "Most likely": prediction.most_likely_name(one),
                prediction.group_name(name): percent(share),
            }
        )
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="The answer for every photo, by date")


def _add(key: str) -> None:
    if uploaded := st.session_state.get(key):
        session_images.add_files([uploaded])
        session_images.show(session_images.COMPARED)


def _names() -> dict[str, str]:
    """Key of an image -> the name of its file."""
    known = {file.key: file.name for file in session_images.files() if file.key}
    return _unique({key: known.get(key, photo.name) for key, photo in session_images.held().items()})


def _unique(names: Mapping[str, str]) -> dict[str, str]:
    """The same names, numbered where several are alike: the browser returns names, not keys."""
    alike, so_far, unique = Counter(names.values()), Counter[str](), {}
    for key, name in names.items():
        so_far[name] += 1
        unique[key] = name if alike[name] == 1 else f"{name} ({so_far[name]})"
    return unique


def _title(photo: Photo) -> str:
    day = _day(photo)
    return f"{day:%-d %B %Y}" if day else _names()[photo.key]


def _day(photo: Photo) -> datetime.date | None:
    return st.session_state.get(_date_key(photo))


def _date_key(photo: Photo) -> str:
    return f"taken_on_{photo.key}"


def _box_key(photo: Photo) -> str:
    return f"length_drawn_{photo.key}"
