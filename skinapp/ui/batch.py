"""Several images at once: classified one after the other, and shown as a grid that can be sorted, filtered and
saved."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from skinapp.errors import SkinappError
from skinapp.formatting import percent
from skinapp.images import imaging, quality
from skinapp.inference import analysis, events
from skinapp.inference.registry import Model
from skinapp.labels import sets
from skinapp.ui import gallery, gate, over_time, panel, removal, session_images, square, turn
from skinapp.ui import photo as photos
from skinapp.ui.admission import BusyError
from skinapp.ui.layout import plain
from skinapp.ui.prediction import group_name
from skinapp.ui.session_images import AddedFile, Photo

ANSWERED, OPEN, FAILS = "Answered", "Unclear kind", "Fails a check"
NOT_ANSWERED, NOT_READ = "Not answered", "Not read"
DROPPED = "Classified with other settings, and no longer in memory. Add this photo again to classify it."
WAITING = "Not yet classified with the current settings."
IN_TOTALS = {
    ANSWERED: "answered",
    OPEN: "of unclear kind",
    FAILS: "failing a check",
    NOT_ANSWERED: "not answered",
    NOT_READ: "not read",
}
SHORT = {"small": "Small", "sharpness": "Blurred", "dark": "Dark", "bright": "Very bright", "glare": "Glare"}
ORDERS = {
    "added": "Order added",
    "cancer": "Probability of cancer, highest first",
    "answer": "Answer",
    "quality": "Quality, worst first",
    "kind": "Kind of image",
    "name": "File name",
}


@dataclass(frozen=True)
class Row:
    """The grid's data for an image. `settings` are the choices with which it was classified; `shares` are those of
    `analysis.shares`; `cancer` is the first of them; `problems` are keys of `quality.SENTENCES`; `model` is the title
    of the model that answered, `answered_by` its short name; `doubt` is that of the `Route`, for an image of skin."""

    settings: tuple
    thumbnail: bytes = b""
    problem: str = ""
    state: str = NOT_READ
    answer: str = ""
    code: str = ""
    probability: float = float("nan")
    shares: tuple[tuple[str, float], ...] = ()
    kind: str = ""
    problems: tuple[str, ...] = ()
    model: str = ""
    answered_by: str = ""
    doubt: str = ""

    @property
    def cancer(self) -> tuple[str, float]:
        return self.shares[0] if self.shares else ("", -1.0)


def show(models: Sequence[Model], chosen: Model | None) -> None:
    """The grid of the files that were added together; a click on Open shows one in full."""
    try:
        rows = _answer_all(models, chosen)
    except BusyError as error:
        turn.show_busy(error, "batch")
        rows = st.session_state[session_images.ROWS]
    files = [(file, _row_of(file, rows, chosen)) for file in session_images.files()]
    files = [(file, row) for file, row in files if row.thumbnail or row.problem]
    count = {state: sum(row.state == state for _, row in files) for state in IN_TOTALS}
    totals = ", ".join(f"{number} {IN_TOTALS[state]}" for state, number in count.items() if number)
    st.markdown(f"**{len(files)} {'file' if len(files) == 1 else 'files'}**: {totals}")
    with st.grid(2, min_column_width=150, gap="small"):
        order = st.selectbox(
            "Sort by", list(ORDERS), format_func=ORDERS.__getitem__, key="batch_order", persist_state="session"
        )
        tags = ["All", *dict.fromkeys(_tags(files))]
        if st.session_state.get("batch_filter") not in tags:
            st.session_state.pop("batch_filter", None)
        filtered = st.selectbox("Show", tags, key="batch_filter", persist_state="session")
    anyway = count[FAILS] > 0 and st.toggle(
        "Show answers for images that fail a check",
        key="batch_anyway",
        persist_state="session",
        help="Either answers for such images were wrong more often in tests, or the image does not look like skin.",
    )
    shown = [(file, row) for file, row in files if filtered == "All" or filtered in (row.state, row.answer, row.kind)]
    shown.sort(key=lambda pair: _place(order, *pair))
    with st.container(horizontal=True, gap="small"):
        panel.offer_csv(_table(files, anyway), "answers")
        over_time.offer_comparison("over_time_batch")
    with st.grid(6, min_column_width=150, gap="small", border=True):
        for number, (file, row) in enumerate(shown):
            with st.container(gap="xsmall"):
                _show_card(number, file, row, anyway)


def _answer_all(models: Sequence[Model], chosen: Model | None) -> dict[str, Row]:
    """Classify new images, and those for which another model or square was chosen; if interrupted, the next run
    continues. Each image waits for a separate turn. BusyError if too many visitors are waiting."""
    rows: dict[str, Row] = st.session_state.setdefault(session_images.ROWS, {})
    listed = {file.key for file in session_images.files() if file.key}
    for key in set(rows) - listed:
        del rows[key]
    known = session_images.held() | session_images.pending()
    todo = [known[key] for key in known if key in listed and _stale(rows.get(key), known[key], chosen)]
    if todo:
        bar = st.progress(0.0, f"Image 1 of {len(todo)}")
        for number, photo in enumerate(todo):
            share, words = number / len(todo), f"Image {number + 1} of {len(todo)}"
            bar.progress(share, words)

            def say(wait: str, share: float = share, words: str = words) -> None:
                bar.progress(share, f"{words}. {wait}")

            try:
                with turn.at_answer(say):
                    rows[photo.key] = _answer(photo, models, chosen)
            except BusyError:
                bar.empty()
                raise
            if rows[photo.key].state == NOT_READ:
                session_images.discard(photo.key)
            else:
                session_images.hold(photo)
        session_images.forget_computed()
        bar.empty()
        st.rerun()
    return rows


def _row_of(file: AddedFile, rows: dict[str, Row], chosen: Model | None) -> Row:
    """The result for a file, but none from other settings than the present ones: the image may be no longer in memory,
    or the server too busy to classify it again."""
    row = rows.get(file.key) or Row((), problem=file.problem)
    photo = session_images.held().get(file.key)
    if row.settings and photo is None and row.settings[0] != _choices(chosen):
        return Row((), row.thumbnail, DROPPED, NOT_ANSWERED)
    if row.settings and photo and _stale(row, photo, chosen):
        return Row((), row.thumbnail, WAITING, NOT_ANSWERED)
    return row


def _stale(row: Row | None, photo: Photo, chosen: Model | None) -> bool:
    return row is None or row.settings != _settings(photo, chosen)


def _settings(photo: Photo, chosen: Model | None) -> tuple:
    return (_choices(chosen), gate.kind_stated(photo), *square.settings(photo).values())


def _choices(chosen: Model | None) -> tuple:
    """The choices that hold for every image."""
    return (chosen.id if chosen else "", removal.choices())


def _answer(photo: Photo, models: Sequence[Model], chosen: Model | None) -> Row:
    try:
        settings = _settings(photo, chosen)
        crop = square.crop_of(photo)
        image = photos.decoded(photo, crop)
    except SkinappError as error:
        return Row((), problem=str(error))
    try:
        route = gate.route(models, photo, chosen)
        made = [
            analysis.analyse(image, model, crop, remove=removal.chosen(model), modality=route.recognised)
            for model in route.models
        ]
    except SkinappError as error:
        return Row(settings, problem=str(error), state=NOT_ANSWERED)
    prediction = made[0].prediction
    names = [one.prediction.model.labels[one.prediction.predicted].spoken for one in made]
    problems = tuple(quality.problems(made[0].quality))
    is_open = len(set(names)) > 1
    state = FAILS if gate.reasons(route, made[0].quality) else OPEN if is_open else ANSWERED
    if state == FAILS:
        photos.count_refusal(photo, events.CHECK_FAILED)
    return Row(
        settings,
        gallery.jpeg(imaging.crop_resize(image, gallery.THUMBNAIL, crop)),
        state=state,
        answer=" or ".join(names) if is_open else names[0],
        code=prediction.predicted,
        probability=float(prediction.probabilities.max()),
        shares=tuple(analysis.shares(prediction).items()),
        kind=route.sentence.split(",")[0],
        problems=problems,
        model=" or ".join(one.model.title for one in made) if is_open else prediction.model.title,
        answered_by=" or ".join(one.model.short_name for one in made) if is_open else prediction.model.short_name,
        doubt="" if route.unknown else route.doubt,
    )


def _tags(files: Sequence[tuple[AddedFile, Row]]) -> list[str]:
    return [getattr(row, name) for name in ("state", "kind", "answer") for _, row in files if getattr(row, name)]


def _place(order: str, file: AddedFile, row: Row) -> tuple:
    """The sort key of a file in this order; files without the value come last."""
    values: dict[str, tuple] = {
        "added": (),
        "cancer": (-row.cancer[1],),
        "answer": (not row.answer, row.answer),
        "quality": (-len(row.problems), bool(row.problem)),
        "kind": (not row.kind, row.kind),
        "name": (file.name.lower(),),
    }
    return values[order]


def _show_card(number: int, file: AddedFile, row: Row, anyway: bool) -> None:
    if row.thumbnail:
        st.image(row.thumbnail, width="stretch", alt=f"Image {number + 1}")
    st.markdown(f":small[{plain(file.name)}]")
    if row.problem:
        st.markdown(f":orange[:material/error: {plain(row.problem)}]")
        return
    warnings = [SHORT[name] for name in row.problems]
    if row.state == OPEN:
        st.markdown(f"**{row.answer[0].upper()}{row.answer[1:]}?** Open it and choose the kind of image.")
    elif row.state == ANSWERED or anyway:
        name, share = row.cancer
        st.markdown(
            f"**{row.answer[0].upper()}{row.answer[1:]}, {percent(row.probability)}**  \n{group_name(name)} "
            f"{percent(share)}"
        )
    else:
        st.markdown("**No answer yet**")
    st.caption(" · ".join(plain(one) for one in (row.kind, *warnings, row.answered_by) if one))
    if row.doubt:
        st.caption(f":orange[:material/help: {row.doubt}]")
    if file.key in session_images.held():
        st.button("Open", key=f"open_{file.key}", on_click=session_images.show, args=(file.key,), width="stretch")
    else:
        st.caption("This photo is no longer in memory; add it again to open it.")


def _table(files: Sequence[tuple[AddedFile, Row]], anyway: bool) -> pd.DataFrame:
    """One row per file; for images that fail a check, or whose kind is undecided, only what the grid shows."""
    records = []
    for file, row in files:
        answered = row.state == ANSWERED or (row.state == FAILS and anyway)
        shares = dict(row.shares) if answered else {}
        records.append(
            {
                "file": file.name,
                "state": row.state,
                "note": row.problem,
                "answer": row.answer if answered else "",
                "class": row.code if answered else "",
                "probability": row.probability if answered else None,
                **{group_name(name): shares.get(name) for name in sets.GROUPS.values()},
                "kind": row.kind,
                "quality": "; ".join(SHORT[name].lower() for name in row.problems),
                "model": row.model,
            }
        )
    return pd.DataFrame(records).dropna(axis="columns", how="all")
