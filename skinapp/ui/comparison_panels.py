"""The parts of a comparison on the screen, each with its charts and what can be chosen in it."""

from functools import partial

import pandas as pd
import streamlit as st

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, conformal, error_analysis, measures, pairs, subgroups, training_history
from skinapp.evaluation.bootstrap import FEWEST_GROUPS
from skinapp.evaluation.comparison import Shared
from skinapp.evaluation.measures import MEASURES
from skinapp.evaluation.predictions import Predictions
from skinapp.inference import runtime
from skinapp.inference.conformal import COVERAGES
from skinapp.report import calibration_views, comparison_views, conformal_views, error_views, training_views
from skinapp.report.case_report import COVERAGE
from skinapp.report.comparison_views import Names
from skinapp.report.document import Chart
from skinapp.ui import address, layout, panel
from skinapp.ui.comparison import computed_once, draws_of, weights_of
from skinapp.ui.layout import plain


def show(chart: Chart, key: str) -> None:
    panel.show(chart.figure, chart.table, key, chart.words)


def show_leaderboard(shared: Shared, known: dict[str, Predictions], published: pd.DataFrame, names: Names) -> None:
    board = computed_once(
        shared, "board", lambda: comparison_views.scoreboard(shared, draws_of(shared), published, names)
    )
    costs = comparison_views.model_costs({names[name]: known[name].model for name in shared.ids})
    st.dataframe(
        comparison_views.wide(board).join(costs, on="name"),
        hide_index=True,
        key="leaderboard_table",
        column_config={
            "name": st.column_config.TextColumn("Model", pinned=True),
            "origin": st.column_config.TextColumn("Source", help="Measured here or published elsewhere."),
            **{name: st.column_config.TextColumn(one.name, help=one.meaning) for name, one in MEASURES.items()},
            "images": st.column_config.NumberColumn("Images", format="localized"),
            "parameters": st.column_config.NumberColumn("Parameters", format="localized"),
            "megabytes": st.column_config.NumberColumn(
                "Size, MB", format="%.1f", help="Size of the file that the app runs."
            ),
            "milliseconds": st.column_config.TextColumn(
                "Milliseconds per image",
                help=f"Measured once on this machine: median, minimum and maximum of {runtime.TIMED} runs.",
            ),
        },
        alt="Every score of every model with its 95% interval",
    )
    st.caption(
        f"Value (95% interval), from {bootstrap.RESAMPLES:,} bootstrap resamples of whole lesions or patients. A score "
        f"based on fewer than {FEWEST_GROUPS} lesions or patients has no interval. Sensitivity and specificity are at "
        "a threshold of 50%. Click a column header to sort."
    )
    score = address.selectbox(st.container(), "Show", _measures(shared), "measure")
    show(comparison_views.leaderboard(board, score, names), "leaderboard")
    if len(published):
        with st.expander("Sources of the published figures", icon=":material/menu_book:", key="published_source"):
            for protocol, rows in published.groupby("protocol", sort=False):
                st.markdown(f"{', '.join(dict.fromkeys(rows['model']))}: {plain(str(protocol))}")


def _measures(shared: Shared) -> dict[str, str]:
    return {name: MEASURES[name].name for name in measures.scores(shared.labels)}


def show_pair(shared: Shared, pair: list[str], names: Names) -> None:
    """What two models differ by, score by score, and the tests of every pair."""
    first, second = pair
    bold = {name: f"**{words}**" for name, words in names.items()}
    st.markdown(pairs.sentence(shared, weights_of(shared), first, second, bold))
    show(comparison_views.paired(shared, draws_of(shared), first, second, names), "paired")
    tests = computed_once(shared, "tests", lambda: pairs.pairwise(shared))
    st.dataframe(
        comparison_views.tests(tests, names), hide_index=True, key="tests_table", alt="Tests of each pair of models"
    )
    st.caption(
        "McNemar's exact test asks whether both models are correct equally often; DeLong's test asks whether both "
        "rank equally well. Both assume that images are independent. Where lesions have several images, rely on the "
        "intervals above." + (f" Holm's correction covers all {len(tests):,} pairs." if len(tests) > 1 else "")
    )


def show_calibration(shared: Shared, known: dict[str, Predictions], pair: list[str], names: Names) -> None:
    st.markdown(
        "Where a model gives its most likely class a probability of 80%, it should be correct for 80% of the images. "
        "The dotted line shows this perfect calibration."
    )
    chart = computed_once(
        shared,
        f"calibration {pair}",
        lambda: calibration_views.reliability(shared, weights_of(shared), known, pair, names),
    )
    show(chart, "reliability")
    st.caption(chart.words)


def have_sets(known: dict[str, Predictions], pair: list[str]) -> list[str]:
    """Those of the models that have prediction sets."""
    return [name for name in pair if (model := known[name].model) and "conformal" in model.card]


@st.fragment
def show_sets(shared: Shared, known: dict[str, Predictions], pair: list[str], names: Names) -> None:
    """How often the prediction sets of these models hold the label, and their sizes, on every test set of each."""
    st.markdown(
        "A prediction set holds the label with a chosen certainty, in every class, if the images are like those that "
        "calibrated it. Here is what came of that on every test set of each model."
    )
    first, second, third = st.columns(3, gap="medium")
    coverages = {f"{one:g}": f"{one:.0%}" for one in (COVERAGE, *(one for one in COVERAGES if one != COVERAGE))}
    coverage = float(address.selectbox(first, "Certainty", coverages, "coverage"))
    tests = {
        name: computed_once(
            shared, f"sets {name} {coverage}", partial(conformal.on_every_test_set, known[name], coverage)
        )
        for name in pair
    }
    every = [one for measured in tests.values() for one in measured]
    by = address.selectbox(second, "Sets by", conformal_views.parts(every), "sets_by")
    measure = address.selectbox(third, "Measure", conformal_views.MEASURES, "sets_measure")
    for column, (name, measured) in zip(st.columns(len(tests), gap="medium"), tests.items(), strict=True):
        with column:
            st.markdown(f"**{names[name]}**")
            labels = known[name].labels
            show(conformal_views.chart(measured, by, measure, labels, names), f"sets_{name}")
            for sentence in conformal_views.sentences(measured, labels):
                st.caption(plain(sentence))


def show_classes(shared: Shared, pair: list[str], names: Names) -> None:
    rates = computed_once(shared, "error rates", lambda: error_analysis.error_rates(shared, weights_of(shared)))
    for column, name in zip(st.columns(len(pair), gap="medium"), pair, strict=True):
        with column:
            st.markdown(f"**{names[name]}**")
            show(error_views.confusion(shared, name, names), f"confusion_{name}")
            st.markdown("Error rate by class")
            show(error_views.error_rates(shared, rates, name, names), f"error_rates_{name}")
    layout.guide_links({label.code: label.name for label in shared.labels.labels})


@st.fragment
def show_subgroups(shared: Shared, pair: list[str], names: Names) -> None:
    columns = subgroups.columns(shared)
    if not columns:
        st.markdown("Nothing is recorded about the people or lesions in these images.")
        return
    left, right = st.columns(2, gap="medium")
    column = address.selectbox(left, "By", {name: subgroups.SUBGROUPS[name] for name in columns}, "by_fact")
    score = address.selectbox(right, "Score", _measures(shared), "subgroup_score")
    table = computed_once(
        shared,
        f"subgroups {column} {score} {pair}",
        lambda: subgroups.by_subgroup(shared, weights_of(shared), column, score, pair),
    )
    st.markdown(plain(error_views.gap_words(table, score, names)))
    show(error_views.by_subgroup(table, column, score, names), "subgroups")
    st.caption(
        f"“Too few images” means fewer than {subgroups.FEW_IMAGES} images, fewer than {subgroups.FEW_ON_A_SIDE} "
        f"malignant or other images where the score needs both, or fewer than {FEWEST_GROUPS} lesions or patients. "
        "Subgroups also differ in their mix of diagnoses, and with many subgroups some gap is always large."
    )


def show_training(known: dict[str, Predictions], pair: list[str], names: Names) -> None:
    trained = {name: model for name in pair if (model := known[name].model)}
    if not trained:
        return
    st.subheader("Training", anchor=False)
    for column, (name, model) in zip(st.columns(len(trained), gap="medium"), trained.items(), strict=True):
        with column:
            st.markdown(f"**{names[name]}**")
            try:
                show(training_views.history(training_history.history(model), names[name]), f"training_{name}")
            except DataError as error:
                st.warning(plain(str(error)))


def show_protocols(known: dict[str, Predictions]) -> None:
    """Networks that were scored under more than one protocol, wherever they were tested."""
    tables = {name: training_history.protocols(model) for name, one in known.items() if (model := one.model)}
    several = {name: table for name, table in tables.items() if len(set(table["test"])) > 1}
    if not several:
        return
    st.subheader("Test protocols", anchor=False)
    st.markdown(
        "The same kind of network, scored on lesions that it was not trained on, and scored the way many tutorials do. "
        "Only the first can be trusted."
    )
    for name, table in several.items():
        st.markdown(f"**{name}**")
        for test, rows in table.groupby("test", sort=False):
            st.markdown(f"- *{plain(str(test))}*, {rows['images'].iloc[0]:,} images: {plain(rows['protocol'].iloc[0])}")
        show(training_views.protocols(table, name), f"protocols_{name}")
