"""Who is in the data: every panel for any selection of a data set, and what the data cannot tell."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
import streamlit as st

from skinapp.charts import body, population
from skinapp.datasets.registry import SOURCES, SYMPTOMS
from skinapp.demographics import limitations, records, statistics
from skinapp.demographics.records import NAMES, Filters, Table
from skinapp.errors import SkinappError
from skinapp.evaluation import subgroups
from skinapp.inference import registry
from skinapp.report import population_views
from skinapp.report.document import Chart
from skinapp.ui import gallery, layout, own_table, panel

OWN = "own"
AGES = (0, 100)
"""The ends of the age slider; at its upper end, older people are not left out."""
MOST_OPTIONS = 1000
MALIGNANT = {True: "Malignant", False: "Not malignant"}
SHARE = st.column_config.NumberColumn("Share", format="percent")
COUNT = {
    "images": st.column_config.NumberColumn("Images", format="localized"),
    "lesions": st.column_config.NumberColumn("Lesions", format="localized"),
    "share": SHARE,
}


def clear_filters(prefix: str) -> None:
    for name in records.FILTERS:
        if f"{prefix}{name}" in st.session_state:
            st.session_state[f"{prefix}{name}"] = AGES if name == "age" else None if name == "malignant" else []


def choose_filters(table: Table, prefix: str, *, shared: bool = True) -> Filters:
    """Show the filters of a table and return what is chosen. With `shared`, they stand in the page's address."""
    bind: Literal["query-params"] | None = "query-params" if shared else None

    def several(name: str, format_func: Callable[[str], str] = str) -> tuple[str, ...]:
        options = records.values(table, name)
        return tuple(
            st.multiselect(
                NAMES[name],
                options[:MOST_OPTIONS],
                format_func=format_func,
                key=f"{prefix}{name}",
                placeholder="All",
                bind=bind,
                help=f"The {MOST_OPTIONS:,} most common of {len(options):,}." if len(options) > MOST_OPTIONS else None,
            )
        )

    with st.grid(3, min_column_width=240, gap=("small", "medium")):
        diagnosis = several("diagnosis", lambda code: table.name(code))
        sex = several("sex", str.capitalize)
        site = several("site", str.capitalize)
        confirmation = several("confirmation", str.capitalize)
        age = st.slider(
            "Age in years",
            *AGES,
            AGES,
            5,
            key=f"{prefix}age",
            bind=bind,
            help="Both ends are included. Once it is moved, images whose age is not stated are left out."
            + (" Ages are published in steps of five, so over 60 is 65 and up." if table.id == "ham10000" else ""),
        )
        malignant = st.segmented_control(
            "Malignant or not",
            list(MALIGNANT.values()),
            key=f"{prefix}malignant",
            bind=bind,
            help="As the data set groups its diagnoses; nothing chosen takes both.",
            disabled=table.labels is None,
        )
    low, high = age
    return Filters(
        diagnosis,
        None if malignant is None else malignant == MALIGNANT[True],
        sex,
        None if age == AGES else (low, high if high < AGES[1] else np.inf),
        site,
        confirmation,
    )


def show_totals(table: Table, frame: pd.DataFrame) -> None:
    """How many images and lesions the selection has, and who they are of."""
    all_rows, total = statistics.totals(table.frame), statistics.totals(frame)
    sex = statistics.counts(frame, "sex").set_index("value")["share"].to_dict()
    with st.grid(4, min_column_width=150, gap="small"):
        for name, value, words in (
            ("Images", f"{total.images:,}", f"of {all_rows.images:,}"),
            ("Lesions", f"{total.lesions:,}", f"of {all_rows.lesions:,}"),
            (
                "Mean age",
                f"{total.mean_age:.2f}" if total.aged else "not stated",
                f"SD {total.sd_age:.2f}, n = {total.aged:,}" if total.aged > 1 else f"n = {total.aged:,}",
            ),
            (
                "Male",
                f"{sex.get('male', 0):.1%}",
                f"{sex.get('female', 0):.1%} female",
            ),
        ):
            st.metric(name, value, words, delta_color="off", delta_arrow="off")


def show(chart: Chart, key: str, columns: dict[str, Any] | None = None) -> None:
    panel.show(chart.figure, chart.table, key, chart.words, columns)


def show_overview(table: Table, frame: pd.DataFrame) -> None:
    st.subheader("Diagnoses", anchor=False)
    show(population_views.diagnoses(table, frame), "diagnoses", {"diagnosis": "Diagnosis"} | COUNT)
    show_classes(table, statistics.counts(frame, "diagnosis")["value"].tolist())
    left, right = st.columns(2, gap="medium")
    with left:
        spread = statistics.images_per_lesion(frame)
        st.subheader("Images per lesion", anchor=False)
        if table.has_lesions:
            panel.show(
                population.lesion_bars(spread),
                spread,
                "images_per_lesion",
                "Lesions by their number of images: " + population_views.listed(spread["images"], spread["lesions"]),
                {"images": "Images of the lesion"} | {key: COUNT[key] for key in ("lesions", "share")},
            )
        else:
            st.caption("The table has no lesion numbers, so every image counts as a lesion of its own.")
    with right:
        st.subheader("Not stated", anchor=False)
        show(
            population_views.not_stated(frame),
            "missing",
            {"column": "Column"} | {key: COUNT[key] for key in ("images", "share")},
        )
    if table.id != OWN:
        show_facts(table)


def show_classes(table: Table, codes: list[str]) -> None:
    if table.labels is not None:
        layout.guide_links({code: table.name(code) for code in codes if code in table.labels.codes})


def show_facts(table: Table) -> None:
    found = pd.DataFrame(limitations.headline(table))
    st.subheader("Headline figures", anchor=False)
    st.caption(f"Of the whole data set, whatever the filters say. {SOURCES[table.id].citation}.")
    if not found["published"].any():
        found = found.drop(columns="published")
    else:
        st.caption(
            "Counted here and as reported: the two differ in the last digit of the standard deviation (16.97, reported "
            "as 16.96) and in the share of men (5,406 of 10,015 are 54.0%, reported as 54.1%)."
        )
    st.dataframe(
        found,
        hide_index=True,
        height="content",
        column_config={
            "name": "Figure",
            "here": "Counted here",
            "count": "Of what",
            "published": "As reported",
        },
        alt="The data set's headline figures",
    )


def show_people(table: Table, frame: pd.DataFrame) -> None:
    summary = statistics.age_summary(frame)
    st.subheader("Age in years", anchor=False)
    if summary.empty:
        st.caption("No age is stated in this selection.")
    else:
        show(population_views.ages(table, frame), "ages", {"from_age": "From age"})
        panel.show(
            population.age_boxes(summary, table.name),
            summary.round(2),
            "age_by_diagnosis",
            "Median age by diagnosis: "
            + population_views.listed(map(table.name, summary["diagnosis"]), summary["median"]),
        )
        st.caption(
            "The number beside each name is the median. Boxes go from the first to the third quartile, whiskers to the "
            "youngest and oldest, and the dashed line is the mean; the table has its 95% interval, over lesions."
        )
    show_shares(table, frame, "sex", "Sex")
    if "skin_type" in frame:
        show_shares(table, frame, "skin_type", "Fitzpatrick skin type")


def show_shares(table: Table, frame: pd.DataFrame, column: str, title: str) -> None:
    st.subheader(title, anchor=False)
    show(population_views.by_diagnosis(table, frame, column, title), f"{column}_by_diagnosis")


def show_sites(table: Table, frame: pd.DataFrame) -> None:
    sites = statistics.counts(frame, "site").sort_values("images", ascending=False, kind="stable")
    drawing, numbers = st.columns(2, gap="medium")
    with drawing:
        st.subheader("On the body", anchor=False)
        panel.show(
            body.outline(sites),
            sites,
            "body",
            "Images by site on a drawn body: " + population_views.listed(sites["value"].head(15), sites["images"]),
            {"value": "Site"} | COUNT,
        )
        rest = body.elsewhere(sites)
        words = "Darker is more images. A count is of the whole site: left and right, and front and back, are one. "
        if len(rest):
            words += (
                "Not on the drawing: "
                + population_views.listed(map(layout.plain, rest["value"].head(10)), rest["images"])
                + "."
            )
        st.caption(words)
    with numbers:
        st.subheader("All sites", anchor=False)
        colours = [population.ACCENT] * len(sites)
        panel.show(
            population.bars(sites, [value.capitalize() for value in sites["value"]], colours),
            sites,
            "sites",
            "Images by site: " + population_views.listed(sites["value"].head(15), sites["images"]),
            {"value": "Site"} | COUNT,
        )
    found = statistics.folded(statistics.cross(frame, "diagnosis", "site"), 20)
    st.subheader("Site by diagnosis", anchor=False)
    panel.show(
        population.heat_map(statistics.shares(found), found, table.name),
        population_views.with_names(found, table),
        "site_by_diagnosis",
        "Images of each diagnosis at each site; the table has the numbers",
    )
    st.caption("Numbers are images; a darker cell is a larger share of its diagnosis. " + codes_explained(table, found))


def codes_explained(table: Table, found: pd.DataFrame) -> str:
    if table.labels is None:
        return ""
    return ", ".join(f"{code}: {table.name(code)}" for code in found.index if table.name(code) != code) + "."


def show_confirmation(table: Table, frame: pd.DataFrame) -> None:
    show_shares(table, frame, "confirmation", "How the diagnosis was confirmed")
    st.caption(
        "Histology is a look at removed tissue under the microscope. Follow-up is a lesion that did not change over "
        "visits, expert consensus the agreement of doctors on the image, confocal microscopy an image of the skin's "
        "cells without removing any."
    )


def show_symptoms(table: Table, frame: pd.DataFrame) -> None:
    st.subheader("What patients say about the lesion", anchor=False)
    rows = []
    for name in (name for name in SYMPTOMS if name in frame):
        found = statistics.cross(frame[frame[name].notna()], "diagnosis", name).reindex(
            columns=["yes", "no"], fill_value=0
        )
        for code, yes, no in found.itertuples():
            low, high = statistics.wilson(yes, yes + no)
            rows.append((NAMES[name], code, yes, yes + no, yes / max(1, yes + no), low, high))
    table_out = pd.DataFrame(rows, columns=["sign", "diagnosis", "yes", "images", "share", "low", "high"])
    counts = table_out.pivot_table(index="diagnosis", columns="sign", values="yes", sort=False).astype(int)
    shares = table_out.pivot_table(index="diagnosis", columns="sign", values="share", sort=False)
    panel.show(
        population.heat_map(shares, counts, table.name),
        table_out.assign(diagnosis=table_out["diagnosis"].map(table.name)),
        "symptoms",
        "Images of which the sign was reported, by diagnosis; the table has shares with intervals",
        {name: st.column_config.NumberColumn(name.capitalize(), format="percent") for name in ("share", "low", "high")},
    )
    st.caption(
        "Numbers are images with the sign; darker cells are larger shares of a diagnosis. The table has 95% intervals."
    )


def show_relations(table: Table, frame: pd.DataFrame) -> None:
    st.subheader("What goes along with the diagnosis", anchor=False)
    st.markdown(
        "Each is tested over one image a lesion, since images of one lesion are not independent. The p-value tells how "
        "often chance alone would give such differences, the effect size how large they are: 0 is none, 1 the most."
    )
    found = statistics.relations(frame)
    if not found:
        st.info("This selection has too few diagnoses or values to test anything. Widen the filters.")
        return
    for relation in found:
        means, means_not = limitations.meaning(relation)
        with st.container(border=True):
            p = "p < 0.001" if relation.p < 0.001 else f"p = {relation.p:.3f}"
            st.markdown(f"**{NAMES[relation.column]} and diagnosis**")
            st.markdown(
                f"**{relation.effect:.2f}** {relation.effect_name} · {relation.test} "
                f"{relation.statistic:,.1f} ({relation.df} degrees of freedom), {p}, n = {relation.lesions:,} lesions"
            )
            st.markdown(f"{means}  \n:gray[{means_not}]")
    summary = pd.DataFrame(found)
    with st.expander("Table and downloads", icon=":material/table_chart:", key="relations_table"):
        st.dataframe(summary, hide_index=True, alt="Every test with its effect size")
        st.download_button(
            "Download as CSV",
            summary.to_csv(index=False),
            "relations.csv",
            "text/csv",
            key="relations_csv",
            icon=":material/download:",
            on_click="ignore",
        )
    st.caption(
        "Kruskal-Wallis compares ages by rank, as they are rounded and skewed; ANOVA would ask for bell curves of one "
        "width. Chi-square compares counts; Cramér's V is its effect size."
    )


def show_comparison(table: Table, frame: pd.DataFrame, filters: Filters, tables: dict[str, Table]) -> None:
    st.subheader("Compare with", anchor=False)
    rest = "The rest of this data set"
    way = st.segmented_control(
        "Compare the selection with",
        [rest, "Another selection"],
        default=rest,
        required=True,
        key="against",
        bind="query-params",
        label_visibility="collapsed",
    )
    other = table
    if way == rest:
        if not filters.active:
            st.info("The selection is the whole data set. Set a filter above, or compare with another selection.")
            return
        second = table.frame.drop(frame.index)
        second_name = "The rest"
    else:
        choices = list(tables)
        other = tables[
            st.selectbox(
                "Data set to compare with",
                choices,
                index=choices.index(table.id),
                format_func=lambda key: tables[key].title,
                key="b_data",
                bind="query-params",
                on_change=clear_filters,
                args=("b_",),
            )
        ]
        second = records.select(other, choose_filters(other, "b_", shared=OWN not in (table.id, other.id)))
        second_name = other.title
        if second.empty:
            st.warning("No image passes the second selection. Take a filter away.")
            return
    one, two = statistics.totals(frame), statistics.totals(second)
    st.markdown(
        f"**This selection**: {one.images:,} images of {one.lesions:,} lesions.  \n"
        f"**{second_name}**: {two.images:,} images of {two.lesions:,} lesions."
    )
    columns = ["sex", "site", "confirmation", "diagnosis", "skin_type", "split"]
    if other.id != table.id:
        st.caption("Sites and diagnoses are grouped into what both data sets have in common.")
        found = statistics.standardised_differences(
            statistics.comparable(frame), statistics.comparable(second), columns
        )
    else:
        found = statistics.standardised_differences(frame, second, columns)
    if found.empty:
        st.info("There is nothing that both selections state. Choose others.")
        return
    finite = found[np.isfinite(found["difference"])]
    shown = finite.reindex(finite["difference"].abs().sort_values(ascending=False).index).head(population.MOST_ROWS)
    name = table.name if other.id == table.id else str
    labels = [
        f"{NAMES[row['variable']]}: {name(row['value']) if row['variable'] == 'diagnosis' else row['value']} · "
        + (
            f"{row['first']:.1f} / {row['second']:.1f}"
            if row["variable"] == "age"
            else f"{row['first']:.0%} / {row['second']:.0%}"
        )
        for row in shown.to_dict("records")
    ]
    panel.show(
        population.love_plot(shown, labels),
        found.round(3),
        "differences",
        "Standardised differences, the largest first: " + "; ".join(labels[:8]),
    )
    st.caption(
        "To the right: more, or older, in this selection; the two figures are this selection / the other, over one "
        "image a lesion. Within the grey band, up to 0.1, a difference counts as small. Lines are 95% intervals."
    )


def show_performance(table: Table, filters: Filters) -> None:
    st.subheader("How well a model does on this selection", anchor=False)
    models = {model.id: model for model in registry.models().values() if table.id in subgroups.tested_on(model)}
    if not models:
        st.info("No model here was tested on this data set.")
        return
    ranking = [model.id for model in registry.ranked() if model.id in models]
    options = [*ranking, *(key for key in models if key not in ranking)]
    with st.grid(3, min_column_width=220, gap=("small", "medium")):
        model = models[
            st.selectbox(
                "Model", options, format_func=lambda key: models[key].title, key="tested_model", bind="query-params"
            )
        ]
        by = st.selectbox(
            "In cells of",
            ["age", "sex", "site", "confirmation", "diagnosis"],
            format_func=NAMES.__getitem__,
            key="cells",
            bind="query-params",
        )
        widest = st.slider(
            "Too few to say: interval wider than",
            0.1,
            0.6,
            0.3,
            0.05,
            key="widest",
            bind="query-params",
            help="A 95% interval wider than this is drawn as an empty grey ring and not told as a number.",
        )
    tested = subgroups.predictions(model, table.id)
    if tested.labels is not table.labels:
        if filters.diagnosis:
            st.caption("This model's predictions state only malignant or not, so the diagnosis filter is left out.")
        filters = filters.but(diagnosis=())
    frame = records.select(tested, filters)
    if frame.empty:
        st.warning("No test image of this model passes the filters. Take a filter away.")
        return
    found = subgroups.cells(frame, by, widest)
    if by == "diagnosis":
        found["cell"] = found["cell"].map(tested.name)
    shown = found.assign(cell=[f"{row['cell']} · n = {row['images']:,}" for row in found.to_dict("records")])
    told = found.copy()
    for measure in subgroups.MEASURES:
        told[measure] = [
            f"{value:.2f} ({low:.2f} to {high:.2f})" if known else "too few to say"
            for value, low, high, known in zip(
                *(told[f"{measure}{end}"] for end in ("", "_low", "_high", "_shown")), strict=True
            )
        ]
    told = told[["cell", "images", "lesions", "malignant", *subgroups.MEASURES]]
    panel.show(
        population.cells(shown, list(subgroups.MEASURES), subgroups.MEASURES),
        told,
        "performance",
        "; ".join(f"{row['cell']}: sensitivity {row['sensitivity']}" for row in told.to_dict("records")),
        {"cell": NAMES[by]} | {key: st.column_config.TextColumn(name) for key, name in subgroups.MEASURES.items()},
    )
    first = told.iloc[0]
    st.markdown(
        f"Of {first['images']:,} test images ({first['malignant']:,} malignant) in this selection: sensitivity "
        f"**{first['sensitivity']}**, specificity **{first['specificity']}**, calibration **{first['calibration']}**."
    )
    st.caption(
        "Sensitivity: the share of malignant images given half or more of malignant probability. Specificity: the "
        "share of the others given less. Calibration: mean malignant probability minus the malignant share; 0 is best. "
        "Intervals are of 95%, with lesions as the number of cases. Many cells are looked at, so some will stand out "
        "by chance."
    )


def show_limits(table: Table) -> None:
    st.subheader("What the data cannot tell you", anchor=False)
    for heading, text in limitations.limits(table):
        st.markdown(f"**{heading}.** {text}")


with layout.page("Explore"):
    st.title("Who is in the data", anchor=False)
    for reason in registry.problems().values():
        st.warning(reason)
    if not registry.models():
        st.error("There is no model to test on groups. Put a model folder into `models`, then load this page again.")
    titles = {key: source.title for key, source in SOURCES.items()} | {OWN: "Your own table"}
    chosen = st.segmented_control(
        "Data set",
        list(titles),
        format_func=titles.__getitem__,
        default="ham10000",
        required=True,
        key="data",
        bind="query-params",
        on_change=clear_filters,
        args=("",),
        label_visibility="collapsed",
    )
    tables = {key: records.shipped(key) for key in SOURCES}
    if chosen == OWN:
        table = own_table.choose()
        if table is None:
            st.stop()
        tables[OWN] = table
    else:
        table = tables[chosen]
        st.markdown(SOURCES[chosen].about)
        if chosen == "pad_ufes_20":
            st.info(
                f"Only {statistics.totals(table.frame).images:,} of the {SOURCES[chosen].published_images:,} "
                "published images are counted here."
            )
    prefix = "own_" if chosen == OWN else ""
    with st.container(border=True):
        filters = choose_filters(table, prefix, shared=chosen != OWN)
        if filters.active:
            st.button(
                "Clear all filters",
                icon=":material/filter_alt_off:",
                key="clear",
                on_click=clear_filters,
                args=(prefix,),
            )
    frame = records.select(table, filters)
    show_totals(table, frame)
    views: dict[str, Callable[[], None]] = {
        "Overview": functools.partial(show_overview, table, frame),
        "People": functools.partial(show_people, table, frame),
        "Sites": functools.partial(show_sites, table, frame),
        "Confirmation": functools.partial(show_confirmation, table, frame),
        "Relations": functools.partial(show_relations, table, frame),
        "Compare": functools.partial(show_comparison, table, frame, filters, tables),
    }
    if any(name in table.frame for name in SYMPTOMS):
        views["Symptoms"] = functools.partial(show_symptoms, table, frame)
    if chosen != OWN:
        views["Models"] = functools.partial(show_performance, table, filters)
        views["Images"] = functools.partial(gallery.show, table, filters)
        views["Limits"] = functools.partial(show_limits, table)
    view = st.pills(
        "Show",
        list(views),
        default="Overview",
        required=True,
        key="view",
        bind="query-params",
        label_visibility="collapsed",
    )
    if frame.empty:
        st.warning("No image passes these filters. Take one away, or clear them all.")
    else:
        try:
            views.get(view, views["Overview"])()
        except SkinappError as error:
            st.error(str(error))
