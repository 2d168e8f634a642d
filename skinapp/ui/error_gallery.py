"""The images behind the numbers: confusion matrices with clickable cells, and the most confident errors.

Thumbnails if the data set is on disk, otherwise ids with a link to the archive, and buttons to classify an image or see
its attention maps.
"""

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from skinapp.datasets import isic
from skinapp.datasets import registry as data_sets
from skinapp.errors import SkinappError
from skinapp.evaluation import error_analysis, predictions
from skinapp.evaluation.comparison import CLASSES, Shared
from skinapp.images import imaging
from skinapp.report import error_views
from skinapp.report.comparison_views import Names
from skinapp.report.document import Chart
from skinapp.ui import add_image, address, gallery, layout, panel, session_images
from skinapp.ui.comparison import computed_once, weights_of
from skinapp.ui.layout import plain

PAGE_SIZE = 6
COLUMNS = 6
BOTH, ANY, CELL = "both", "any", "cell"
"""Codes: the images that only one of two models classifies correctly; every label; a cell of a confusion matrix."""

UNREADABLE = "The image can no longer be read."

MATRIX, RATES = "matrix", "rates"


@st.fragment
def show(shared: Shared, pair: list[str], names: Names) -> None:
    """The confusion matrices or error rates of the models, and the images behind them."""
    view = MATRIX
    if shared.question == CLASSES:
        view = address.segmented_control(
            st.container(), "Show", {MATRIX: "Confusion matrix", RATES: "Error rate by class"}, "errors_view"
        )
    for column, name in zip(st.columns(len(pair), gap="medium"), pair, strict=True):
        with column:
            st.markdown(f"**{plain(names[name])}**")
            if view == MATRIX:
                chart = error_views.confusion(shared, name, names, selectable=True)
                show_matrix(chart, f"confusion_{name}", _select_cell, name)
            else:
                rates = computed_once(
                    shared, "error rates", lambda: error_analysis.error_rates(shared, weights_of(shared))
                )
                panel.show_chart(error_views.error_rates(shared, rates, name, names), f"error_rates_{name}")
    _show_chosen(shared, pair, names)
    layout.guide_links({label.code: label.name for label in shared.labels.labels})


def show_matrix(chart: Chart, key: str, select: Callable[[str, str, str], None], model_id: str) -> None:
    """A confusion matrix; a click on a cell calls `select` with the model, the label and the prediction."""

    def selected() -> None:
        if points := st.session_state[key]["selection"]["points"]:
            label, predicted = points[0]["customdata"]
            select(model_id, label, predicted)

    st.plotly_chart(
        chart.figure,
        key=key,
        alt=f"{chart.words} Click a number to see its images.",
        on_select=selected,
        selection_mode="points",
        config={"displayModeBar": False},
    )
    with st.expander("Table and downloads", icon=":material/table_chart:", key=f"{key}_table"):
        panel.show_table(chart.table, key, chart.words)


def _select_cell(model_id: str, label: str, predicted: str) -> None:
    st.session_state["errors"] = f"{CELL}:{model_id}"
    st.session_state["cell_label"], st.session_state["cell_predicted"] = label, predicted


def _show_chosen(shared: Shared, pair: list[str], names: Names) -> None:
    """The images of a cell, the most confident errors of one model, or what only one of two classifies correctly."""
    lists = {name: f"Most confident errors of {names[name]}" for name in pair}
    old_labels = {}
    if len(pair) == 2:
        lists = {BOTH: "Only one of the two is correct", **lists}
        # the exact label in links shared before it was reworded
        old_labels["Only one of the two is right"] = BOTH
    lists |= {f"{CELL}:{name}": f"One cell of the matrix: {names[name]}" for name in pair}
    classes = {label.code: label.name for label in shared.labels.labels}
    left, middle, right = st.columns(3, gap="medium")
    which = address.selectbox(left, "Images (or click a number in a matrix)", lists, "errors", old_labels=old_labels)
    if which.startswith(CELL):
        label = address.selectbox(middle, "Label", classes, "cell_label")
        predicted = address.selectbox(right, "Most likely class", classes, "cell_predicted")
        table = error_analysis.in_cell(shared, which.removeprefix(f"{CELL}:"), label, predicted)
    else:
        code = address.selectbox(middle, "Label", {ANY: "Any class", **classes}, "errors_label")
        if which == BOTH:
            table = error_analysis.disagreements(shared, *pair)
            table["correct"] = table["correct"].map(names)
        else:
            table = error_analysis.errors(shared, which)
        table = table[table["label"] == code] if code != ANY else table
    show_images(shared, table, "errors")


def show_images(shared: Shared, table: pd.DataFrame, key: str) -> None:
    """A page of the images of an `error_analysis` table, and the whole table with its download."""
    if table.empty:
        st.info("No images match.")
        return
    pages = -(-len(table) // PAGE_SIZE)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        number = 1
        if pages > 1:
            number = int(st.number_input(f"Page (of {pages:,})", 1, pages, key=f"{key}_page_{pages}", width=160))
        images = "1 image" if len(table) == 1 else f"{len(table):,} images"
        st.caption(f"{images} of {len(shared.images):,}, most confident answers first.")
    datasets = dict(zip(shared.images, shared.facts["dataset"], strict=True))
    start = (number - 1) * PAGE_SIZE
    with st.grid(COLUMNS, min_column_width=140, gap="small"):
        for row in table.iloc[start : start + PAGE_SIZE].to_dict("records"):
            with st.container(border=True, height="stretch", gap="xsmall"):
                _show_image(row, datasets[row["image"]], key)
    with st.expander("Table and download", icon=":material/table_chart:", key=f"{key}_table"):
        panel.show_table(table, key, "The images listed above")


def _show_image(row: dict[Any, Any], dataset: str, key: str) -> None:
    """Show one image: a thumbnail if the data set is on disk, its label and answer, and buttons to open it."""
    image = str(row["image"])
    file = predictions.image_file(dataset, image)
    in_archive = image.startswith("ISIC_")
    if file:
        try:
            thumbnail = gallery.small(str(file), file.stat().st_mtime)
            st.image(thumbnail, width="stretch", alt=f"{image}, labelled {row['label']}")
        except (OSError, SkinappError):
            file = None
            st.caption(UNREADABLE)
    answer = row["predicted"] if "predicted" in row else f"{row['first']} by A, {row['second']} by B"
    name = plain(image)
    st.markdown(
        f":small[{f'[{name}]({isic.page(image)})' if in_archive else name}]  \n"
        f":small[**{row['label']}**, predicted {answer} ({row['confidence']:.0%})]"
    )
    if file or in_archive:
        for page, icon in (("classify", ":material/image_search:"), ("attention", ":material/visibility:")):
            if st.button(
                page.capitalize(),
                icon=icon,
                key=f"{page}_{key}_{image}",
                type="tertiary",
                help=None if file else "Fetches the image from the ISIC archive.",
            ):
                try:
                    if file:
                        caption = f"{image} from {data_sets.title(dataset)}, labelled {row['label']}"
                        photo = add_image.published(image, imaging.read(file), caption, dataset, "")
                        session_images.add(photo)
                    else:
                        add_image.fetch(image)
                except SkinappError as error:
                    st.caption(UNREADABLE if file else plain(str(error)))
                    continue
                st.switch_page(layout.path(page))
