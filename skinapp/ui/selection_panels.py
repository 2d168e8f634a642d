"""Statistics of a selection of a data set: totals, associations, a comparison, the scores of a model."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from skinapp.datasets.registry import title
from skinapp.demographics import limitations, records, statistics
from skinapp.demographics.own_table import OwnTable
from skinapp.demographics.records import NAMES, Filters, Table
from skinapp.evaluation import subgroups
from skinapp.inference import registry
from skinapp.report import population_views as views
from skinapp.ui import address, filters, panel
from skinapp.ui.layout import plain

CELLS = {name: NAMES[name] for name in ("age", "sex", "site", "confirmation", "diagnosis")}
WIDEST = (0.1, 0.6, 0.3)
"""Minimum, maximum and default of the widest interval that is shown as a number."""


def show_selection(table: Table, frame: pd.DataFrame, chosen: Filters) -> None:
    """The selection in a sentence."""
    st.markdown(f"#### {plain(views.selection(table, frame, chosen))}")


def show_totals(table: Table, frame: pd.DataFrame) -> None:
    """The number of images and lesions in the selection, and the age and sex of the people."""
    everyone, total = statistics.totals(table.frame), statistics.totals(frame)
    sex = statistics.counts(frame, "sex").set_index("value")["share"].to_dict()
    age = f"{total.mean_age:.1f}" if total.aged else "not stated"
    spread = f"SD {total.sd_age:.1f}, " if total.aged > 1 else ""
    with st.grid(4, min_column_width=130, gap="small"):
        for name, value, words in (
            ("Images", f"{total.images:,}", f"of {everyone.images:,}"),
            ("Lesions", f"{total.lesions:,}", f"of {everyone.lesions:,}"),
            ("Mean age", age, f"{spread}n = {total.aged:,}"),
            ("Male", f"{sex.get('male', 0):.1%}", f"{sex.get('female', 0):.1%} female"),
        ):
            st.metric(name, value, words, delta_color="off", delta_arrow="off")


def show_associations(frame: pd.DataFrame) -> None:
    """Every column's association with the diagnosis: its strength, and what it does and does not mean."""
    st.subheader("Associations with the diagnosis", anchor=False)
    st.markdown(
        "Each test uses one image per lesion, because images of the same lesion are not independent. The p-value says "
        "how often chance alone would give differences this large. The effect size says how large they are, from 0 "
        "(none) to 1 (the largest possible)."
    )
    tested = statistics.associations(frame)
    if not tested:
        st.info("This selection has too few diagnoses or values to test anything. Widen the filters.")
        return
    for association in tested:
        means, means_not = limitations.meaning(association)
        with st.container(border=True):
            p = "p < 0.001" if association.p < 0.001 else f"p = {association.p:.3f}"
            st.markdown(f"**{NAMES[association.column]} and diagnosis**")
            st.markdown(
                f"**{association.effect:.2f}** {association.effect_name} · {association.test} "
                f"{association.statistic:,.1f} ({association.df} degrees of freedom), {p}, "
                f"n = {association.lesions:,} lesions"
            )
            st.markdown(f"{means}  \n:gray[{means_not}]")
    panel.show(None, pd.DataFrame(tested), "associations", "Every test with its effect size")
    st.caption(
        "The Kruskal-Wallis test compares ages by rank, since they are rounded and skewed; ANOVA would need normal "
        "distributions of equal variance. The chi-square test compares counts; Cramér's V is its effect size."
    )


def show_comparison(table: Table, frame: pd.DataFrame, chosen: Filters, tables: Mapping[str, Table]) -> None:
    """The differences between the selection and the rest of its data set, or another selection."""
    st.subheader("Compare with", anchor=False)
    against = filters.choose_second(table, frame, chosen, tables)
    if against is None:
        return
    other, second, name = against
    first_total, second_total = statistics.totals(frame), statistics.totals(second)
    st.markdown(
        f"**This selection**: {first_total.images:,} images of {first_total.lesions:,} lesions.  \n"
        f"**{name}**: {second_total.images:,} images of {second_total.lesions:,} lesions."
    )
    if other.id != table.id:
        st.caption("Sites and diagnoses are grouped into those that both data sets have.")
    chart = views.differences(table, frame, other, second)
    if chart is None:
        st.info("The two selections have no recorded values in common. Choose others.")
        return
    panel.show_chart(chart, "differences")
    st.caption(
        "Dots to the right mean more, or older, in this selection. The first number is for this selection, the second "
        "for the other, counting one image per lesion. Differences within the grey band, up to 0.1, are considered "
        "small. Lines are 95% intervals."
    )


def show_split(built: OwnTable) -> None:
    """Groups shared between the parts of a visitor's table, and labels that contradict each other."""
    st.subheader("Split and labels", anchor=False)
    sizes = views.parts(built.audit)
    if len(sizes):
        columns = {str(name): str(name).capitalize() for name in sizes}
        panel.show_table(sizes, "parts", "Rows of each part", columns)
    for problem in built.audit.problems:
        st.warning(plain(problem))
    if not built.audit.problems:
        st.success("No problems found in what could be checked.")
    for note in built.audit.notes:
        st.markdown(f"- {plain(note)}")
    st.caption(
        "This compares the table's cells. `python -m skinapp audit TABLE.csv --images DIR` also looks for identical "
        "and nearly identical images."
    )


def show_own_performance(table: Table, frame: pd.DataFrame) -> None:
    """The scores of a model that was tested on images of a visitor's table."""
    st.subheader("How well a model does on this selection", anchor=False)
    tested = views.tested_images(frame["image"]) if "image" in frame else {}
    if not tested:
        st.info(
            "Judging by their names, none of these images is a test image of a model here. `python -m train evaluate` "
            "scores a model on any folder of labelled images."
        )
        return
    models = registry.models()
    titles = {
        f"{model}-{dataset}": f"{models[model].short_name}: {count:,} test images from {title(dataset)}"
        for (model, dataset), count in tested.items()
    }
    pairs = {f"{model}-{dataset}": (models[model], dataset) for model, dataset in tested}
    with address.private("own_tested", next(iter(titles))):
        if st.session_state["own_tested"] not in titles:
            st.session_state["own_tested"] = next(iter(titles))
        chosen = st.selectbox("Model", list(titles), format_func=titles.__getitem__, key="own_tested")
    predicted = subgroups.predictions(*pairs[chosen])
    wanted = set(frame["image"].astype(str).str.rpartition("/")[2])
    rows = predicted.frame[predicted.frame["image"].str.rpartition("/")[2].isin(wanted)]
    by, widest = _cells()
    _show_cells(predicted, rows, by, widest)


def show_performance(table: Table, chosen: Filters) -> None:
    """A model's scores on the test images that match the filters, in subgroups."""
    st.subheader("How well a model does on this selection", anchor=False)
    models = views.tested_models(table.id)
    if not models:
        st.info("No model here was tested on this data set.")
        return
    titles = {
        key: model.short_name if test == table.id else f"{model.short_name} ({title(test)})"
        for key, (model, test) in models.items()
    }
    with address.option("tested_model", titles, next(iter(titles))):
        model, test = models[st.selectbox("Model", list(titles), format_func=titles.__getitem__, key="tested_model")]
    by, widest = _cells()
    tested = subgroups.predictions(model, test)
    if tested.labels is not table.labels:
        if chosen.diagnosis:
            st.caption("This model's test images have other labels, so the diagnosis filter is ignored.")
        chosen = chosen.changed(diagnosis=())
    frame = records.select(tested, chosen)
    if frame.empty:
        st.warning("No test image of this model matches the filters. Remove one.")
        return
    _show_cells(tested, frame, by, widest)


def _cells() -> tuple[str, float]:
    """Let the visitor choose the grouping of the test images, and the widest interval that is shown."""
    with st.grid(2, min_column_width=220, gap=("small", "medium")):
        with address.option("cells", CELLS, "age"):
            by = st.selectbox("Group by", list(CELLS), format_func=CELLS.__getitem__, key="cells")
        low, high, default = WIDEST
        with address.number("widest", default, low, high):
            words = "A result with a wider 95% interval is shown as an empty grey ring, without a number."
            widest = st.slider("Hide results less certain than", low, high, step=0.05, key="widest", help=words)
    return by, widest


def _show_cells(tested: Table, frame: pd.DataFrame, by: str, widest: float) -> None:
    chart = views.performance(tested, frame, by, widest)
    panel.show_chart(chart, "performance", {"cell": NAMES[by]} | subgroups.MEASURES)
    all_ = chart.table.iloc[0]
    st.markdown(
        f"All {all_['images']:,} test images in this selection ({all_['malignant']:,} malignant): sensitivity "
        f"**{all_['sensitivity']}**, specificity **{all_['specificity']}**, calibration **{all_['calibration']}**."
    )
    st.caption(
        "Sensitivity: the share of malignant images with a malignant probability of at least 50%. Specificity: "
        "the share of other images below 50%. Calibration: the mean malignant probability minus the share of malignant "
        "images; 0 is best. Intervals are 95%, from a bootstrap over lesions. With so many subgroups, some stand "
        "out by chance."
    )
