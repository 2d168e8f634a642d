"""Which model is better, how sure that is, and what an operating point costs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import streamlit as st

from skinapp.datasets.registry import title as title_of_data
from skinapp.errors import DataError, ModelError
from skinapp.evaluation import comparison, error_analysis, operating_points, predictions
from skinapp.evaluation.comparison import CLASSES, MALIGNANT, MEASURES, Draws, Shared
from skinapp.evaluation.operating_points import OperatingPoint
from skinapp.evaluation.predictions import Predictions
from skinapp.images import imaging
from skinapp.inference import registry, runtime
from skinapp.inference.registry import Model
from skinapp.report import comparison_report, comparison_views, document
from skinapp.report.comparison_views import CURVES, Names
from skinapp.report.document import Chart
from skinapp.ui import layout, panel
from skinapp.ui import photo as photos
from skinapp.ui.layout import plain

OWN = "own"
"""The id of what a visitor uploaded."""

NAMES = {OWN: "Your predictions"}
"""Models are called by their id, but for this one."""

QUESTIONS = {CLASSES: "Which class", MALIGNANT: "Malignant or not"}
THRESHOLD, SENSITIVITY, PREVALENCE = 50, 95, 5.0
"""Percent, until the reader says otherwise."""

SHOWN_ERRORS = 8

T = TypeVar("T")


@st.cache_resource(max_entries=64, show_spinner=False)
def for_everyone(key: tuple[str, ...], _compute: Callable[[], Any]) -> Any:
    return _compute()


def remembered(shared: Shared, name: str, compute: Callable[[], T]) -> T:
    """What `compute` gives for these files, computed once: for everyone or, with a visitor's own, in their session."""
    if OWN not in shared.ids:
        return for_everyone((shared.digest, name), compute)
    kept = st.session_state.setdefault("compare_own", {})
    if (shared.digest, name) not in kept:
        kept[shared.digest, name] = compute()
    return kept[shared.digest, name]


def weights_of(shared: Shared) -> np.ndarray:
    return remembered(shared, "weights", shared.weights)


def show(chart: Chart, key: str) -> None:
    panel.show(chart.figure, chart.table, key, chart.words)


def choose_own(known: dict[str, Predictions]) -> Predictions | None:
    """The visitor's own file, completed with what the models here know of its images. It stays in the session."""
    with st.expander("Compare your own predictions", icon=":material/upload_file:", key="own_file"):
        st.markdown(
            "A CSV file with the column `image` and a probability for each class, `p_<label>`; or the seven columns of "
            "the ISIC challenge, `image,MEL,NV,BCC,AKIEC,BKL,DF,VASC`. Ids must be those of the test images here, "
            "whose labels and lesions are then taken from them. The file stays in memory while you look at it."
        )
        file = st.file_uploader("Predictions file", type="csv", key="own_predictions")
        key, own = st.session_state.get("compare_own_file", (None, None))
        if file is None or key != file.file_id:
            st.session_state.pop("compare_own", None)
            st.session_state.pop("compare_own_file", None)
        if file is None:
            return None
        if key != file.file_id:
            try:
                own = predictions.own(file.getvalue(), OWN, "Your predictions", list(known.values()))
            except DataError as error:
                st.error(str(error))
                return None
            st.session_state["compare_own_file"] = (file.file_id, own)
        st.caption(f"{len(own.table):,} of its images are test images here; label set {own.labels.id}.")
        return own


def choose_all() -> None:
    """Other images or another question have other models: start with all of them."""
    st.session_state.pop("models", None)


def choose_models(known: dict[str, Predictions]) -> tuple[list[Predictions], str, str]:
    """The models to compare, the question and the data set, each in the page's address."""
    order = list(dict.fromkeys([*(model.id for model in registry.ranked() if model.id in known), *known]))
    datasets = list(dict.fromkeys(dataset for name in order for dataset in known[name].datasets))
    left, right = st.columns([3, 2], gap="medium")
    dataset = left.selectbox(
        "Test images of",
        datasets,
        format_func=title_of_data,
        key="test",
        bind="query-params",
        on_change=choose_all,
    )
    there = {name: known[name] for name in order if dataset in known[name].datasets}
    richest = next((model.labels for model in there.values() if len(model.labels.codes) > 2), None)
    asked = [CLASSES, MALIGNANT] if richest else [MALIGNANT]
    question = right.segmented_control(
        "Question",
        asked,
        format_func=QUESTIONS.__getitem__,
        default=asked[0],
        required=True,
        key="question",
        bind="query-params",
        on_change=choose_all,
        help="Models of different classes can be compared on the summed probability of what is malignant.",
    )
    if question == CLASSES:
        there = {name: model for name, model in there.items() if model.labels == richest}
    chosen = st.multiselect(
        "Models",
        list(there),
        default=list(there),
        format_func=lambda name: NAMES.get(name, name),
        key="models",
        bind="query-params",
        placeholder="Choose at least one model",
    )
    return [there[name] for name in chosen if name in there], question or asked[0], dataset


def show_leaderboard(
    shared: Shared, drawn: Draws, known: dict[str, Predictions], published: pd.DataFrame, names: Names
) -> None:
    st.subheader("Leaderboard", anchor=False)
    board = remembered(shared, "board", lambda: comparison_views.scoreboard(shared, drawn, published, names))
    table = comparison_views.wide(board)
    cards = {names[name]: known[name].model for name in shared.ids}
    for column, read in (("parameters", parameters), ("megabytes", megabytes), ("milliseconds", milliseconds)):
        table[column] = [read(model) if (model := cards.get(name)) else None for name in table["name"]]
    st.dataframe(
        table,
        hide_index=True,
        key="leaderboard_table",
        column_config={
            "name": st.column_config.TextColumn("Model", pinned=True),
            "origin": st.column_config.TextColumn("From", help="Measured here, or a published figure."),
            **{name: st.column_config.TextColumn(one.name, help=one.meaning) for name, one in MEASURES.items()},
            "images": st.column_config.NumberColumn("Images", format="localized"),
            "parameters": st.column_config.NumberColumn("Parameters", format="localized"),
            "megabytes": st.column_config.NumberColumn(
                "Size, MB", format="%.1f", help="Of the file that the app runs."
            ),
            "milliseconds": st.column_config.TextColumn(
                "Milliseconds an image",
                help=f"Measured on this machine, once: median, least and most of {runtime.TIMED} answers.",
            ),
        },
        alt="Every score of every model with its 95% interval",
    )
    st.caption(
        f"Value (95% interval), from {comparison.RESAMPLES:,} bootstrap resamples of whole lesions or patients. "
        "Sensitivity and specificity are for a threshold of one half. Press a column's head to sort by it."
    )
    score = st.selectbox(
        "Show",
        list(comparison.scores(shared.labels)),
        format_func=lambda name: MEASURES[name].name,
        key="measure",
        bind="query-params",
    )
    show(comparison_views.leaderboard(board, score, names), "leaderboard")
    if len(published):
        with st.expander("Where the published figures are from", icon=":material/menu_book:", key="published_source"):
            for protocol, rows in published.groupby("protocol", sort=False):
                st.markdown(f"{', '.join(dict.fromkeys(rows['model']))}: {plain(str(protocol))}")


def parameters(model: Model) -> int:
    return int(model.card["architecture"]["parameters"])


def megabytes(model: Model) -> float | None:
    return model.card["files"]["model.tflite"]["size"] / 1e6 if model.runnable else None


def milliseconds(model: Model) -> str | None:
    try:
        median, least, most = runtime.milliseconds(model)
    except ModelError:
        return None
    # as wide as each other, so that the column sorts as numbers do
    return f"{median:6.1f} ({least:.1f} to {most:.1f})"


def choose_pair(shared: Shared, names: Names) -> list[str]:
    """The two models that are looked at closely; the only one, where there is one."""
    if len(shared.ids) == 1:
        return shared.ids
    left, right = st.columns(2, gap="medium")
    first = left.selectbox("Model A", shared.ids, format_func=names.__getitem__, key="a", bind="query-params")
    others = [name for name in shared.ids if name != first]
    second = right.selectbox("Model B", others, format_func=names.__getitem__, key="b", bind="query-params")
    return [first, second]


def show_paired(shared: Shared, weights: np.ndarray, drawn: Draws, pair: list[str], names: Names) -> None:
    first, second = pair
    bold = {name: f"**{words}**" for name, words in names.items()}
    st.markdown(comparison.sentence(shared, weights, first, second, bold))
    show(comparison_views.paired(shared, drawn, first, second, names), "paired")
    tests = remembered(shared, "tests", lambda: comparison.pairwise(shared))
    st.dataframe(
        comparison_views.tests(tests, names), hide_index=True, key="tests_table", alt="Tests of each pair of models"
    )
    st.caption(
        "McNemar's test is exact and asks whether both are right equally often; DeLong's, whether both rank equally "
        "well. Both take images as independent; where a lesion has several images, rather trust the intervals above."
        + (f" Holm's correction is for all {len(tests):,} pairs." if len(tests) > 1 else "")
    )


@st.fragment
def show_operating_point(shared: Shared, pair: list[str], names: Names) -> None:
    """The threshold and all that it moves. A fragment, so that moving it redraws no more than this."""
    weights = weights_of(shared)
    st.markdown(
        "Where a model's malignant probability is at or above the threshold, the lesion is called malignant. A low "
        "threshold misses fewer cancers and sends more people to a doctor for nothing."
    )
    left, middle, right = st.columns(3, gap="medium")
    by = left.segmented_control(
        "Set",
        ["threshold", "sensitivity"],
        format_func={"threshold": "The threshold", "sensitivity": "At least this sensitivity"}.__getitem__,
        default="threshold",
        required=True,
        key="by",
        bind="query-params",
    )
    threshold, wanted = THRESHOLD, SENSITIVITY
    if by == "sensitivity":
        wanted = middle.slider(
            "Sensitivity, at least", 50, 100, wanted, format="%d%%", key="sensitivity", bind="query-params"
        )
    else:
        threshold = middle.slider("Threshold", 1, 99, threshold, format="%d%%", key="threshold", bind="query-params")
    share = right.slider(
        "Malignant among the people examined",
        0.5,
        50.0,
        PREVALENCE,
        0.5,
        format="%.1f%%",
        key="prevalence",
        bind="query-params",
        help="Predictive values and the counts per 1,000 depend on it. Among these test images it is "
        f"{shared.malignant.mean():.0%}, which is far from a screening clinic's.",
    )
    thresholds = thresholds_of(shared, by, threshold, wanted)
    points = {
        name: operating_points.operating_point(shared, weights, name, thresholds[name], share / 100)
        for name in shared.ids
    }
    for name in pair:
        show_point(names[name], points[name])
    st.dataframe(
        comparison_views.points(points, names), hide_index=True, key="points_table", alt="Every model's operating point"
    )
    if by == "sensitivity":
        st.caption("Each threshold was chosen on these same images, which flatters it a little.")
    for column, name in zip(st.columns(len(pair), gap="medium"), pair, strict=True):
        with column:
            st.markdown(f"**{names[name]}**")
            show(comparison_views.called(points[name], names[name]), f"called_{name}")
    chosen = st.selectbox(
        "Curves of",
        ["", *(shared.labels.codes if shared.question == CLASSES else [])],
        format_func=lambda code: shared.labels[code].name if code else "The malignant classes together",
        key="curves_of",
        bind="query-params",
    )
    code = chosen or None
    with st.grid(2, min_column_width=320, gap="medium"):
        for kind, (title, _, _) in CURVES.items():
            curves = remembered(shared, f"{kind} {chosen}", partial(all_curves, shared, weights, kind, code))
            with st.container():
                st.markdown(f"**{title}**")
                show(comparison_views.curve(shared, curves, kind, code, thresholds, names), f"curve_{kind}")
    st.caption(
        "Bands are pointwise 95% intervals. Large marks are the operating point. Net benefit counts a needless "
        "referral as t / (1 - t) of a cancer found, at the share of malignant lesions among these images. Risk and "
        "coverage has no threshold on malignancy, and no mark."
    )


def all_curves(shared: Shared, weights: np.ndarray, kind: str, code: str | None) -> dict[str, pd.DataFrame]:
    return {name: operating_points.curve(shared, weights, name, kind, code) for name in shared.ids}


def thresholds_of(shared: Shared, by: str | None, threshold: int, sensitivity: int) -> dict[str, float]:
    """Each model's threshold: the same for all, or its own for at least that sensitivity. Both in percent."""
    if by == "sensitivity":
        return {name: operating_points.threshold_for(shared, name, sensitivity / 100) for name in shared.ids}
    return dict.fromkeys(shared.ids, threshold / 100)


def show_point(name: str, point: OperatingPoint) -> None:
    st.markdown(f"**{name}**, threshold {point.threshold:.3f}")
    with st.grid(4, min_column_width=150):
        for label, found, form, meaning in (
            ("Sensitivity", point.sensitivity, ".1%", "The share of malignant images that are called malignant."),
            ("Specificity", point.specificity, ".1%", "The share of the other images that are not."),
            ("Missed per 1,000", point.missed, ".1f", "People with a malignant lesion that is not called."),
            ("Needless per 1,000", point.needless, ".0f", "People without one who are referred all the same."),
        ):
            st.metric(
                label,
                f"{found.value:{form}}",
                f"{found.low:{form}} to {found.high:{form}}",
                delta_color="off",
                delta_arrow="off",
                delta_description="95% interval",
                help=meaning,
            )


def show_calibration(
    shared: Shared, weights: np.ndarray, known: dict[str, Predictions], pair: list[str], names: Names
) -> None:
    st.subheader("Calibration", anchor=False)
    st.markdown("Of the images a model is 80% sure of, 80% should be right: on the dotted line.")
    chart = remembered(
        shared, f"calibration {pair}", lambda: comparison_report.calibration(shared, weights, known, pair, names)
    )
    show(chart, "reliability")
    st.caption(chart.words)


def show_classes(shared: Shared, weights: np.ndarray, pair: list[str], names: Names) -> None:
    st.subheader("Which class is taken for which", anchor=False)
    wrong = remembered(shared, "wrong", lambda: error_analysis.wrong_by_class(shared, weights))
    for column, name in zip(st.columns(len(pair), gap="medium"), pair, strict=True):
        with column:
            st.markdown(f"**{names[name]}**")
            show(comparison_views.confusion(shared, name, names), f"confusion_{name}")
            st.markdown("Named wrongly, by class")
            show(comparison_views.wrong(shared, wrong, name, names), f"wrong_{name}")
    layout.guide_links({label.code: label.name for label in shared.labels.labels})


@st.fragment
def show_subgroups(shared: Shared, pair: list[str], names: Names) -> None:
    facts = error_analysis.subgroup_names(shared)
    st.subheader("Subgroups", anchor=False)
    if not facts:
        st.markdown("Nothing is recorded about the people or lesions of these images.")
        return
    weights = weights_of(shared)
    left, right = st.columns(2, gap="medium")
    fact = left.selectbox(
        "By", facts, format_func=error_analysis.SUBGROUPS.__getitem__, key="by_fact", bind="query-params"
    )
    score = right.selectbox(
        "Score",
        list(comparison.scores(shared.labels)),
        format_func=lambda name: MEASURES[name].name,
        key="subgroup_score",
        bind="query-params",
    )
    table = remembered(
        shared, f"subgroups {fact} {score} {pair}", lambda: error_analysis.subgroups(shared, weights, fact, score, pair)
    )
    st.markdown(plain(comparison_views.gap_words(table, score, names)))
    show(comparison_views.subgroups(table, fact, score, names), "subgroups")
    st.caption(
        f"Too few to say: fewer than {error_analysis.FEW_IMAGES} images, or {error_analysis.FEW_ON_A_SIDE} of a side "
        "that the score needs. Subgroups differ in their mix of diagnoses too, and with many of them some gap is "
        "always large."
    )


@st.fragment
def show_errors(shared: Shared, pair: list[str], names: Names) -> None:
    st.subheader("Errors", anchor=False)
    lists = {name: f"Surest mistakes of {names[name]}" for name in pair}
    if len(pair) == 2:
        lists = {"both": "Only one of the two is right", **lists}
    left, right = st.columns(2, gap="medium")
    which = left.selectbox("Images", list(lists), format_func=lists.__getitem__, key="errors", bind="query-params")
    code = right.selectbox(
        "Labelled",
        ["", *shared.labels.codes],
        format_func=lambda code: shared.labels[code].name if code else "Any class",
        key="errors_label",
        bind="query-params",
    )
    if which == "both":
        first, second = pair
        table = error_analysis.disagreements(shared, first, second)
        table["right"] = table["right"].map(names)
    else:
        table = error_analysis.mistakes(shared, which)
    if code:
        table = table[table["label"] == code]
    st.caption(f"{len(table):,} of {len(shared.images):,} images; the surest mistake first.")
    datasets = dict(zip(shared.images, shared.facts["dataset"], strict=True))
    with st.grid(4, min_column_width=150, gap="small"):
        for _, row in table.head(SHOWN_ERRORS).iterrows():
            with st.container(border=True, height="stretch"):
                show_error(row, datasets[row["image"]])
    with st.expander("Table and download", icon=":material/table_chart:", key="errors_table"):
        st.dataframe(table, hide_index=True, alt="The images that were named wrongly")
        st.download_button(
            "Download as CSV",
            table.to_csv(index=False),
            "errors.csv",
            "text/csv",
            key="errors_csv",
            icon=":material/download:",
            on_click="ignore",
        )


def show_error(row: pd.Series, dataset: str) -> None:
    """One image: a thumbnail where the data set is on disk, what it was taken for, and the ways to look closer."""
    image = str(row["image"])
    file = predictions.image_file(dataset, image)
    if file:
        st.image(thumbnail(str(file)), width="stretch", alt=f"{image}, labelled {row['label']}")
    named = f"taken for {row['named']}" if "named" in row else f"A: {row['first']}, B: {row['second']}"
    st.markdown(f"**{plain(image)}**  \n{row['label']} · {named}")
    st.caption(f"The mistake's probability: {row['confidence']:.0%}")
    if file or image.startswith("ISIC_"):
        with st.container(horizontal=True, gap="small"):
            for page, icon in (("classify", ":material/image_search:"), ("attention", ":material/visibility:")):
                if layout.path(page).exists() and st.button(page.capitalize(), icon=icon, key=f"{page}_{image}"):
                    caption = f"{image} of {title_of_data(dataset)}, labelled {row['label']}"
                    photos.hand_over(image, file.read_bytes() if file else None, caption)
                    st.switch_page(layout.path(page))


@st.cache_data(max_entries=256, show_spinner=False)
def thumbnail(file: str) -> np.ndarray:
    return imaging.load(Path(file), 200)


def show_training(known: dict[str, Predictions], pair: list[str], names: Names) -> None:
    trained = {name: model for name in pair if (model := known[name].model)}
    if not trained:
        return
    st.subheader("Training", anchor=False)
    for column, (name, model) in zip(st.columns(len(trained), gap="medium"), trained.items(), strict=True):
        with column:
            st.markdown(f"**{names[name]}**")
            try:
                show(comparison_views.training(error_analysis.history(model), names[name]), f"training_{name}")
            except DataError as error:
                st.warning(str(error))


def show_protocols(known: dict[str, Predictions]) -> None:
    """Networks that were scored under more than one protocol, wherever they were tested."""
    tables = {name: error_analysis.protocols(model) for name, one in known.items() if (model := one.model)}
    several = {name: table for name, table in tables.items() if len(set(table["test"])) > 1}
    if not several:
        return
    st.subheader("The protocol matters", anchor=False)
    st.markdown("The same kind of network, scored honestly and as many tutorials do it. Only the honest figure counts.")
    for name, table in several.items():
        st.markdown(f"**{name}**")
        for test, rows in table.groupby("test", sort=False):
            st.markdown(f"- *{plain(str(test))}*, {rows['images'].iloc[0]:,} images: {plain(rows['protocol'].iloc[0])}")
        show(comparison_views.protocols(table, name), f"protocols_{name}")


def write_report(
    shared: Shared, drawn: Draws, known: dict[str, Predictions], published: pd.DataFrame, pair: list[str], names: Names
) -> str:
    """The comparison as one HTML file, at the operating point that the address holds."""
    state = st.session_state
    thresholds = thresholds_of(
        shared, state.get("by"), state.get("threshold", THRESHOLD), state.get("sensitivity", SENSITIVITY)
    )
    prevalence = state.get("prevalence", PREVALENCE) / 100
    parts = comparison_report.sections(
        shared, weights_of(shared), drawn, known, published, pair, thresholds, prevalence, names
    )
    return document.render("Skin-lesion classifiers compared", parts, comparison_report.CAUTION)


with layout.page("Compare"):
    st.title("Which model, and is it really better", anchor=False)
    st.markdown(
        "Models side by side on test images of lesions that none of them was trained on, and only on images that all "
        "of them have answered."
    )
    known, left_out = predictions.shipped()
    for reason in left_out.values():
        st.warning(reason)
    if not known:
        st.error("There is no model to compare. Put a model folder into `models`, then load this page again.")
        st.stop()
    controls = st.container()
    own = choose_own(known)
    if own:
        known = known | {OWN: own}
    with controls:
        chosen, question, dataset = choose_models(known)
    if not chosen:
        st.info("Choose at least one model above.")
        st.stop()
    try:
        shared = comparison.share(chosen, question, dataset)
    except DataError as error:
        st.error(str(error))
        st.stop()
    malignant = int(shared.malignant.sum())
    controls.markdown(
        f":material/photo_library: **{len(shared.images):,} images** of {len(np.unique(shared.groups)):,} lesions or "
        f"patients, answered by {'all ' + str(len(chosen)) + ' models' if len(chosen) > 1 else 'the model'}; "
        f"{malignant:,} of them malignant ({malignant / len(shared.images):.0%})."
    )
    with st.spinner("Resampling lesions"):
        weights = weights_of(shared)
        drawn = remembered(shared, "draws", partial(comparison.draw, shared, weights))
    names = {name: NAMES.get(name, name) for name in shared.ids}
    published = comparison.published(question, dataset)
    show_leaderboard(shared, drawn, known, published, names)
    st.space("medium")
    st.subheader("Two models, image by image" if len(chosen) > 1 else "One model", anchor=False)
    pair = choose_pair(shared, names)
    if len(pair) == 2:
        show_paired(shared, weights, drawn, pair, names)
    st.space("medium")
    st.subheader("What an operating point costs", anchor=False)
    show_operating_point(shared, pair, names)
    st.space("medium")
    show_calibration(shared, weights, known, pair, names)
    if question == CLASSES:
        st.space("medium")
        show_classes(shared, weights, pair, names)
    st.space("medium")
    show_subgroups(shared, pair, names)
    st.space("medium")
    show_errors(shared, pair, names)
    st.space("medium")
    show_training(known, pair, names)
    show_protocols(known)
    st.space("medium")
    st.download_button(
        "Download the whole comparison",
        partial(write_report, shared, drawn, known, published, pair, names),
        "comparison.html",
        "text/html",
        key="report",
        icon=":material/download:",
        on_click="ignore",
        help="One HTML file with every figure and table, which opens anywhere and prints well.",
    )
