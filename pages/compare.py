"""Which model is better, how sure that is, and what an operating point costs."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import streamlit as st

from skinapp import breakdown, compare_charts, comparison, operating, predictions, registry, runtime, ui
from skinapp.comparison import CLASSES, MALIGNANT, MEASURES, Draws, Shared
from skinapp.errors import DataError, ModelError, SkinappError
from skinapp.metrics import Interval
from skinapp.operating import OperatingPoint
from skinapp.predictions import Predictions
from skinapp.registry import Model
from skinapp.ui import panel, plain

OWN = "own"
"""The id of what a visitor uploaded."""

QUESTIONS = {CLASSES: "Which class", MALIGNANT: "Malignant or not"}
DATASETS = {
    "ham10000": "HAM10000",
    "malignant_benign": "Malignant vs. benign (Kaggle)",
    "pad_ufes_20": "PAD-UFES-20",
}
"""Names of data sets; others are shown as predictions.csv has them."""

T = TypeVar("T")


@st.cache_resource(max_entries=48, show_spinner=False)
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


def words(found: Interval, form: str = ".3f") -> str:
    """0.695 (0.650 to 0.739)"""
    if np.isnan(found.value):
        return "not defined"
    return f"{found.value:{form}} ({found.low:{form}} to {found.high:{form}})"


def signed(found: Interval) -> str:
    return words(found, "+.3f")


def p_value(value: float) -> str:
    if np.isnan(value):
        return "not defined"
    return "under 0.001" if value < 0.001 else f"{value:.3f}"


def interval_of(row: Any) -> Interval:
    return Interval(row["value"], row["low"], row["high"])


def name_of(model_id: str) -> str:
    return "Your predictions" if model_id == OWN else model_id


def choose_own(known: dict[str, Predictions]) -> Predictions | None:
    """The visitor's own file, completed with what the models here know of its images. It stays in the session."""
    with st.expander("Compare your own predictions", icon=":material/upload_file:", key="own_file"):
        st.markdown(
            "A CSV file with the column `image` and a probability for each class, `p_<label>`; or the seven columns of "
            "the ISIC challenge, `image,MEL,NV,BCC,AKIEC,BKL,DF,VASC`. Ids must be those of the test images here, "
            "whose labels and lesions are then taken from them. The file stays in memory while you look at it."
        )
        file = st.file_uploader("Predictions file", type="csv", key="own_predictions")
        if file is None:
            st.session_state.pop("compare_own", None)
            st.session_state.pop("compare_own_file", None)
            return None
        key, own = st.session_state.get("compare_own_file", (None, None))
        if key != file.file_id:
            st.session_state.pop("compare_own", None)
            try:
                read = predictions.read(file.getvalue(), "Your file", "Your predictions")
                read = predictions.complete(read, list(known.values()))
            except DataError as error:
                st.error(str(error))
                return None
            own = Predictions(OWN, read.title, read.labels, read.table, read.digest)
            st.session_state["compare_own_file"] = (file.file_id, own)
        st.caption(f"{len(own.table):,} of its images are test images here; label set {own.labels.id}.")
        return own


def choose_models(known: dict[str, Predictions]) -> tuple[list[Predictions], str, str]:
    """The models to compare, the question and the data set, each in the page's address."""
    datasets: dict[str, None] = {}
    for model in [*(model.id for model in registry.ranked()), *known]:
        datasets |= dict.fromkeys(known[model].datasets if model in known else [])
    left, right = st.columns([3, 2], gap="medium")
    dataset = left.selectbox(
        "Test images of",
        list(datasets),
        format_func=lambda name: DATASETS.get(name, name),
        key="test",
        bind="query-params",
    )
    order = [*(model.id for model in registry.ranked() if model.id in known), *known]
    there = {name: known[name] for name in dict.fromkeys(order) if dataset in known[name].datasets}
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
        help="Models of different classes can be compared on the summed probability of what is malignant.",
    )
    if question == CLASSES:
        there = {name: model for name, model in there.items() if model.labels == richest}
    chosen = st.multiselect(
        "Models",
        list(there),
        default=list(there),
        format_func=name_of,
        key="models",
        bind="query-params",
        placeholder="Choose at least one model",
    )
    return [there[name] for name in chosen], question or asked[0], dataset


def show_leaderboard(shared: Shared, drawn: Draws, known: dict[str, Predictions], dataset: str) -> None:
    st.subheader("Leaderboard", anchor=False)
    own = comparison.leaderboard(shared, drawn)
    own["kind"] = "here"
    theirs = comparison.published(shared.question, dataset)
    theirs["kind"] = "published"
    both = pd.concat([own, theirs.drop(columns=["images", "protocol"])], ignore_index=True)
    both["text"] = [words(interval_of(row)) for _, row in both.iterrows()]
    wide = both.pivot_table(index=["kind", "model"], columns="score", values="text", aggfunc="first", sort=False)
    wide = wide[[name for name in MEASURES if name in wide]].reset_index()
    cards = {name: known[name].model for name in shared.ids}
    images = dict(zip(theirs["model"], theirs["images"], strict=True))
    wide["images"] = [images.get(name, len(shared.images)) for name in wide["model"]]
    wide["parameters"] = [_card(cards.get(name), _parameters) for name in wide["model"]]
    wide["megabytes"] = [_card(cards.get(name), _megabytes) for name in wide["model"]]
    wide["milliseconds"] = [_card(cards.get(name), _milliseconds) for name in wide["model"]]
    wide["model"] = wide["model"].map(name_of)
    st.dataframe(
        wide,
        hide_index=True,
        key="leaderboard_table",
        column_config={
            "kind": st.column_config.TextColumn("From", width="small", help="Measured here, or a published figure."),
            "model": st.column_config.TextColumn("Model", pinned=True),
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
        "Value (95% interval). Intervals are from 2,000 bootstrap resamples of whole lesions or patients. "
        "Sensitivity and specificity are for a threshold of one half. Press a column's head to sort."
    )
    available = [name for name in MEASURES if name in drawn.by_model[shared.ids[0]]]
    score = st.selectbox(
        "Show", available, format_func=lambda name: MEASURES[name].name, key="measure", bind="query-params"
    )
    part = both[both["score"] == score].sort_values("value", ascending=not MEASURES[score].higher)
    frame = pd.DataFrame(
        {
            "row": part["model"].map(name_of),
            "series": [
                name_of(m) if k == "here" else "published" for m, k in zip(part["model"], part["kind"], strict=True)
            ],
            "value": part["value"],
            "low": part["low"],
            "high": part["high"],
            "note": part["text"],
        }
    )
    frame.loc[frame["series"] == "published", "row"] += " (published)"
    panel.show(
        compare_charts.forest(frame, MEASURES[score].name, [name_of(name) for name in shared.ids], one_each=True),
        both.drop(columns="text"),
        "leaderboard",
        f"{MEASURES[score].name} with 95% intervals: "
        + "; ".join(f"{row} {note}" for row, note in zip(frame["row"], frame["note"], strict=True)),
    )
    if len(theirs):
        with st.expander("Where the published figures are from", icon=":material/menu_book:", key="published_source"):
            for protocol, rows in theirs.groupby("protocol", sort=False):
                st.markdown(f"{', '.join(dict.fromkeys(rows['model']))}: {plain(str(protocol))}")


def _card(model: Model | None, read: Callable[[Model], Any]) -> Any:
    return read(model) if model else None


def _parameters(model: Model) -> int:
    return int(model.card["architecture"]["parameters"])


def _megabytes(model: Model) -> float | None:
    size = model.card["files"].get("model.tflite", {}).get("size")
    return size / 1e6 if size else None


def _milliseconds(model: Model) -> str | None:
    try:
        median, least, most = runtime.milliseconds(model)
    except ModelError:
        return None
    # as wide as each other, so that the column sorts as numbers do
    return f"{median:6.1f} ({least:.1f} to {most:.1f})"


def choose_pair(shared: Shared) -> list[str]:
    """The two models that are looked at closely; the only one, where there is one."""
    if len(shared.ids) == 1:
        return shared.ids
    left, right = st.columns(2, gap="medium")
    first = left.selectbox("Model A", shared.ids, format_func=name_of, key="a", bind="query-params")
    others = [name for name in shared.ids if name != first]
    second = right.selectbox("Model B", others, format_func=name_of, key="b", bind="query-params")
    return [first, second]


def show_paired(shared: Shared, weights: np.ndarray, drawn: Draws, pair: list[str]) -> None:
    first, second = pair
    names = {name: f"**{name_of(name)}**" for name in shared.ids}
    st.markdown(comparison.sentence(shared, weights, first, second, names))
    table = comparison.paired(shared, drawn, first, second)
    table["name"] = [MEASURES[name].name for name in table["score"]]
    table["words"] = [
        {"first better": "A better", "second better": "B better"}.get(verdict, verdict) for verdict in table["verdict"]
    ]
    notes = [
        f"{signed(Interval(row['difference'], row['low'], row['high']))} · {row['words']}"
        for _, row in table.iterrows()
    ]
    frame = table.rename(columns={"name": "row", "difference": "value"}).assign(series="A minus B", note=notes)
    panel.show(
        compare_charts.forest(frame, "A minus B, with 95% interval", ["A minus B"], zero=True),
        table.drop(columns=["name", "words"]),
        "paired",
        f"Differences, {name_of(first)} minus {name_of(second)}: "
        + "; ".join(f"{row['row']} {row['note']}" for _, row in frame.iterrows()),
    )
    tests = remembered(shared, "tests", lambda: comparison.pairwise(shared))
    several = len(shared.ids) > 2
    shown = pd.DataFrame(
        {
            "Pair": [f"{name_of(a)} and {name_of(b)}" for a, b in zip(tests["first"], tests["second"], strict=True)],
            "Only the first right": tests["only_first"],
            "Only the second right": tests["only_second"],
            "McNemar p": tests["mcnemar_p"].map(p_value),
            **({"McNemar p, Holm": tests["mcnemar_p_holm"].map(p_value)} if several else {}),
            "ROC AUC, malignant, difference": [
                signed(Interval(row["auc_difference"], row["auc_low"], row["auc_high"])) for _, row in tests.iterrows()
            ],
            "DeLong p": tests["delong_p"].map(p_value),
            **({"DeLong p, Holm": tests["delong_p_holm"].map(p_value)} if several else {}),
        }
    )
    st.dataframe(shown, hide_index=True, key="tests_table", alt="Tests of each pair of models")
    st.caption(
        "McNemar's test is exact and asks whether both are right equally often; DeLong's, whether both rank equally "
        "well. Both take images as independent; where a lesion has several images, rather trust the intervals above."
        + (f" Holm's correction is for all {len(tests):,} pairs." if several else "")
    )


@st.fragment
def show_operating_point(shared: Shared, pair: list[str]) -> None:
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
    if by == "sensitivity":
        wanted = middle.slider(
            "Sensitivity, at least", 50, 100, 95, format="%d%%", key="sensitivity", bind="query-params"
        )
        thresholds = {name: operating.threshold_for(shared, name, wanted / 100) for name in shared.ids}
    else:
        chosen = middle.slider("Threshold", 1, 99, 50, format="%d%%", key="threshold", bind="query-params")
        thresholds = dict.fromkeys(shared.ids, chosen / 100)
    prevalence = (
        right.slider(
            "Malignant among the people examined",
            0.5,
            50.0,
            5.0,
            0.5,
            format="%.1f%%",
            key="prevalence",
            bind="query-params",
            help="Predictive values and the counts per 1,000 depend on it. Among these test images it is "
            f"{shared.malignant.mean():.0%}, which is far from a screening clinic's.",
        )
        / 100
    )
    points = {
        name: operating.operating_point(shared, weights, name, thresholds[name], prevalence) for name in shared.ids
    }
    for name in pair:
        show_point(name, points[name])
    table = pd.DataFrame({name_of(name): _point_row(point) for name, point in points.items()}).T.reset_index(
        names="model"
    )
    st.dataframe(table, hide_index=True, key="points_table", alt="The operating point of every model")
    if by == "sensitivity":
        st.caption("Each threshold was chosen on these same images, which flatters it a little.")

    st.space("small")
    code = st.selectbox(
        "Curves of",
        ["", *(shared.labels.codes if shared.question == CLASSES else [])],
        format_func=lambda code: shared.labels[code].name if code else "The malignant classes together",
        key="curves_of",
        bind="query-params",
    )
    show_curves(shared, weights, thresholds, code or None)
    columns = st.columns(len(pair), gap="medium")
    for column, name in zip(columns, pair, strict=True):
        with column:
            point = points[name]
            counts = pd.DataFrame(
                {
                    "label": ["malignant", "malignant", "benign", "benign"],
                    "named": ["malignant", "benign"] * 2,
                    "images": [
                        point.true_positives,
                        point.false_negatives,
                        point.false_positives,
                        point.true_negatives,
                    ],
                }
            )
            counts["share"] = counts["images"] / counts.groupby("label")["images"].transform("sum")
            st.markdown(f"**{name_of(name)}**")
            panel.show(
                compare_charts.confusion(counts),
                counts,
                f"called_{name}",
                f"At threshold {point.threshold:.2f}, {name_of(name)} finds {point.true_positives:,} and misses "
                f"{point.false_negatives:,} malignant images; it clears {point.true_negatives:,} and calls "
                f"{point.false_positives:,} of the others.",
            )


def show_point(name: str, point: OperatingPoint) -> None:
    st.markdown(f"**{name_of(name)}**, threshold {point.threshold:.3f}")
    with st.grid(4, min_column_width=150):
        for label, found, form, meaning in (
            ("Sensitivity", point.sensitivity, ".1%", "The share of malignant images that are called malignant."),
            ("Specificity", point.specificity, ".1%", "The share of the other images that are not."),
            ("Missed per 1,000 people", point.missed, ".1f", "People with a malignant lesion that is not called."),
            ("Needless per 1,000 people", point.needless, ".0f", "People without one who are referred all the same."),
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


def _point_row(point: OperatingPoint) -> dict[str, str]:
    return {
        "threshold": f"{point.threshold:.3f}",
        "sensitivity": words(point.sensitivity),
        "specificity": words(point.specificity),
        "positive predictive value": words(point.positive_predictive_value),
        "negative predictive value": words(point.negative_predictive_value),
        "missed per 1,000": words(point.missed, ".1f"),
        "needless per 1,000": words(point.needless, ".0f"),
        "net benefit on these images": f"{point.net_benefit:+.3f}",
    }


CURVES = {
    "roc": ("ROC", "1 - specificity", "Sensitivity"),
    "precision": ("Precision and recall", "Recall (sensitivity)", "Precision"),
    "benefit": ("Net benefit", "Threshold", "Net benefit"),
    "risk": ("Risk and coverage", "Share of images answered, surest first", "Share of those named wrongly"),
}


def curves_of(shared: Shared, weights: np.ndarray, kind: str, code: str | None) -> dict[str, pd.DataFrame]:
    return remembered(
        shared,
        f"{kind} {code}",
        lambda: {name_of(name): operating.curve(shared, weights, name, kind, code) for name in shared.ids},
    )


def show_curves(shared: Shared, weights: np.ndarray, thresholds: dict[str, float], code: str | None) -> None:
    """ROC, precision-recall, net benefit and risk-coverage, with the operating point marked where there is one."""
    marks: dict[str, dict[str, tuple[float, float]]] = {kind: {} for kind in CURVES}
    for name in shared.ids:
        positive, chance = operating.side(shared, name, code)
        threshold = thresholds[name]
        called = chance >= threshold
        found, alarmed = (called & positive).sum(), (called & ~positive).sum()
        marks["roc"][name_of(name)] = (alarmed / (~positive).sum(), found / positive.sum())
        if called.any():
            marks["precision"][name_of(name)] = (found / positive.sum(), found / called.sum())
        if threshold < 1:
            benefit = (found - alarmed * threshold / (1 - threshold)) / len(positive)
            marks["benefit"][name_of(name)] = (threshold, benefit)
    with st.grid(2, min_column_width=320, gap="medium"):
        for kind, (title, x, y) in CURVES.items():
            curves = curves_of(shared, weights, kind, code)
            references: dict[str, pd.DataFrame] = {}
            y_range: tuple[float, float] | None = (0, 1)
            if kind == "roc":
                references = compare_charts.diagonal()
            elif kind == "benefit":
                share = float(operating.side(shared, shared.ids[0], code)[0].mean())
                at = np.arange(1, 100) / 100
                references = {
                    "Refer everybody": pd.DataFrame({"x": at, "y": share - (1 - share) * at / (1 - at)}),
                    "Refer nobody": pd.DataFrame({"x": [0, 1], "y": [0, 0]}),
                }
                y_range = (-0.15 * share, share * 1.05)
            elif kind == "risk":
                y_range = (0, max(0.05, 1.1 * max(curve["high"].max() for curve in curves.values())))
            with st.container():
                st.markdown(f"**{title}**")
                panel.show(
                    compare_charts.lines(
                        curves, x, y, marks[kind], references, y_range=y_range, percent=kind != "benefit"
                    ),
                    pd.concat([frame.assign(model=name) for name, frame in curves.items()], ignore_index=True),
                    f"curve_{kind}",
                    f"{title}: {y} over {x} for {', '.join(curves)}, with 95% bands",
                )
    st.caption(
        "Bands are pointwise 95% intervals. Large marks are the operating point. Net benefit counts a needless "
        "referral as t / (1 - t) of a cancer found, at the share of malignant lesions among these images."
    )


def show_reliability(shared: Shared, weights: np.ndarray, known: dict[str, Predictions], pair: list[str]) -> None:
    st.subheader("Calibration", anchor=False)
    st.markdown("Of the images a model is 80% sure of, 80% should be right: dots on the dotted line.")
    tables: dict[str, pd.DataFrame] = {}
    errors = []
    for name in pair:
        after = shared.probabilities[name]
        model = known[name].model
        versions = {name_of(name): after}
        # with cross-validation each part has a temperature of its own, which the card does not give
        if shared.question == CLASSES and model and "validation" in model.card["training"]["images"]:
            versions[f"{name_of(name)}, before temperature"] = operating.raw(after, model.temperature)
        for title, rows in versions.items():
            tables[title] = remembered(
                shared, f"reliability {title}", lambda rows=rows: operating.reliability(shared, weights, rows)
            )  # type: ignore[misc]
            error = remembered(
                shared, f"ece {title}", lambda rows=rows: comparison.calibration_error(shared, weights, rows)
            )  # type: ignore[misc]
            errors.append(f"{title}: ECE {words(error)}")
    panel.show(
        compare_charts.reliability(tables),
        pd.concat([table.assign(model=name) for name, table in tables.items()], ignore_index=True),
        "reliability",
        "Share right over confidence. " + "; ".join(errors),
    )
    st.caption(". ".join(errors) + ".")


def show_confusion(shared: Shared, weights: np.ndarray, pair: list[str]) -> None:
    st.subheader("Which class is taken for which", anchor=False)
    columns = st.columns(len(pair), gap="medium")
    for column, name in zip(columns, pair, strict=True):
        with column:
            st.markdown(f"**{name_of(name)}**")
            table = breakdown.confusion(shared, name)
            panel.show(
                compare_charts.confusion(table),
                table,
                f"confusion_{name}",
                f"Confusion matrix of {name_of(name)}: counts, and shares of each label's images",
            )
    wrong = remembered(shared, "wrong", lambda: breakdown.wrong_by_class(shared, weights))
    st.markdown("**Named wrongly, by class**")
    columns = st.columns(len(pair), gap="medium")
    for column, name in zip(columns, pair, strict=True):
        part = wrong[wrong["model"] == name]
        part = part.assign(
            name=[shared.labels[code].name for code in part["label"]],
            note=[f"{words(interval_of(row), '.0%')}, n = {row['images']:,}" for _, row in part.iterrows()],
        )
        with column:
            st.caption(name_of(name))
            panel.show(
                compare_charts.class_bars(part),
                part.drop(columns="note"),
                f"wrong_{name}",
                f"{name_of(name)} names wrongly: "
                + "; ".join(f"{a} {b}" for a, b in zip(part["name"], part["note"], strict=True)),
            )


@st.fragment
def show_subgroups(shared: Shared, pair: list[str]) -> None:
    names = breakdown.subgroup_names(shared)
    st.subheader("Subgroups", anchor=False)
    if not names:
        st.markdown("Nothing is recorded about the people or lesions of these images.")
        return
    weights = weights_of(shared)
    left, right = st.columns(2, gap="medium")
    fact = left.selectbox("By", names, format_func=breakdown.SUBGROUPS.__getitem__, key="by_fact", bind="query-params")
    score = right.selectbox(
        "Score",
        list(comparison.scores(shared.labels)),
        format_func=lambda name: MEASURES[name].name,
        key="subgroup_score",
        bind="query-params",
    )
    table = remembered(shared, f"subgroups {fact} {score}", lambda: breakdown.subgroups(shared, weights, fact, score))
    table = table[table["model"].isin(pair)]
    frame = pd.DataFrame(
        {
            "row": [
                f"{row['subgroup']} (n = {row['images']:,}, {row['malignant']:,} malignant)"
                for _, row in table.iterrows()
            ],
            "series": table["model"].map(name_of),
            "value": table["value"],
            "low": table["low"],
            "high": table["high"],
            "note": [
                "too few to say" if np.isnan(row["value"]) else words(interval_of(row), ".2f")
                for _, row in table.iterrows()
            ],
        }
    )
    if gap := breakdown.largest_gap(table, MEASURES[score].higher):
        verdict = "their intervals overlap" if gap.overlap else "their intervals do not overlap"
        st.markdown(
            f"The largest gap: **{name_of(gap.model)}** does better for “{plain(gap.best)}” than for "
            f"“{plain(gap.worst)}”, by {gap.difference:.2f}; {verdict}."
        )
    else:
        st.markdown("Too few images to compare subgroups.")
    panel.show(
        compare_charts.forest(frame, MEASURES[score].name, [name_of(name) for name in shared.ids]),
        table,
        "subgroups",
        f"{MEASURES[score].name} by {breakdown.SUBGROUPS[fact].lower()}: "
        + "; ".join(f"{row['row']}, {row['series']}: {row['note']}" for _, row in frame.iterrows()),
    )
    st.caption(
        f"Too few to say: fewer than {breakdown.FEW_IMAGES} images, or {breakdown.FEW_ON_A_SIDE} of a side that the "
        "score needs. Subgroups differ in their mix of diagnoses too, and with many of them some gap is always large."
    )


def weights_of(shared: Shared) -> np.ndarray:
    return remembered(shared, "weights", shared.weights)


with ui.page("Compare"):
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
    except SkinappError as error:
        st.error(str(error))
        st.stop()
    malignant = int(shared.malignant.sum())
    controls.markdown(
        f":material/photo_library: **{len(shared.images):,} images** of {len(np.unique(shared.groups)):,} lesions or "
        f"patients that {'all ' + str(len(chosen)) + ' models have' if len(chosen) > 1 else 'the model has'} answered; "
        f"{malignant:,} of them malignant ({malignant / len(shared.images):.0%})."
    )
    with st.spinner("Resampling lesions"):
        weights = weights_of(shared)
        drawn = remembered(shared, "draws", lambda: comparison.draw(shared, weights))
    show_leaderboard(shared, drawn, known, dataset)
    st.space("medium")
    st.subheader("Two models, image by image" if len(chosen) > 1 else "One model", anchor=False)
    pair = choose_pair(shared)
    if len(pair) == 2:
        show_paired(shared, weights, drawn, pair)
    st.space("medium")
    st.subheader("What an operating point costs", anchor=False)
    show_operating_point(shared, pair)
    st.space("medium")
    show_reliability(shared, weights, known, pair)
    if question == CLASSES:
        show_confusion(shared, weights, pair)
    show_subgroups(shared, pair)
