"""The tabs of a comparison, each with its charts and controls."""

from collections.abc import Mapping
from functools import partial

import pandas as pd
import streamlit as st

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, conformal, measures, pairs, subgroups, training_history
from skinapp.evaluation.bootstrap import MIN_GROUPS
from skinapp.evaluation.comparison import Shared
from skinapp.evaluation.operating_points import Threshold
from skinapp.evaluation.predictions import Predictions
from skinapp.inference.conformal import COVERAGE, COVERAGES
from skinapp.report import calibration_views, comparison_views, conformal_views, error_views, training_views
from skinapp.report.comparison_views import Names
from skinapp.report.document import Chart
from skinapp.ui import address, panel
from skinapp.ui.comparison import computed_once, draws_of, progress, results_of, weights_of
from skinapp.ui.layout import plain

SETS = "sets"
EXTERNAL = "`python -m train evaluate --model ID --images DIR --labels CSV --name NAME`"


def show_scores(shared: Shared, known: Mapping[str, Predictions], published: pd.DataFrame, names: Names) -> None:
    """Every score of every model, a chart of one of them, and that score on every test set."""
    known_measures = measures.named(shared.target)
    board = comparison_views.scoreboard(shared, draws_of(shared), published, names)
    sizes = comparison_views.sizes({names[name]: known[name].model for name in shared.ids})
    table = comparison_views.wide(board).join(sizes, on="name")
    ids = {words: name for name, words in names.items()}
    st.dataframe(
        table.assign(id=table["name"].map(ids)),
        hide_index=True,
        height=min(36 * (len(table) + 1), 290),
        key="scores_table",
        column_config={
            "name": st.column_config.TextColumn("Model", pinned=True, width=270),
            "origin": st.column_config.TextColumn("Source", help="Measured here or published elsewhere."),
            **{name: st.column_config.TextColumn(one.name, help=one.meaning) for name, one in known_measures.items()},
            "images": st.column_config.NumberColumn("Images", format="localized"),
            "parameters": st.column_config.NumberColumn("Parameters", format="localized"),
            "megabytes": st.column_config.NumberColumn(
                "Size, MB", format="%.1f", help="Size of the files that the app runs."
            ),
            "id": st.column_config.TextColumn("Id", help="The name of the model's folder, as used in commands."),
        },
        alt="Every score of every model with its 95% interval",
    )
    st.caption(
        f"Value (95% interval), from {bootstrap.RESAMPLES:,} bootstrap resamples of whole lesions or patients. A score "
        f"based on fewer than {MIN_GROUPS} lesions or patients has no interval. Sensitivity and specificity are at "
        "a threshold of 50%. Click a column header to sort."
    )
    score = address.selectbox(st.container(), "Score", _scores(shared), "measure")
    ranking = comparison_views.leaderboard(board, score, shared.target, shared.ids, names)
    _show_test_sets(shared, known, score, names, ranking)
    with st.expander("Milliseconds per image, and sources", icon=":material/timer:", key="speed"):
        if st.toggle("Measure the speed on this machine", key="measure_speed"):
            for name in progress([name for name in shared.ids if known[name].model], "Timing"):
                model = known[name].model
                assert model is not None
                st.markdown(f"- {plain(names[name])}: {comparison_views.speed(model)}")
        for protocol, rows in published.groupby("protocol", sort=False):
            st.markdown(f"Published, {', '.join(dict.fromkeys(rows['model']))}: {plain(str(protocol))}")


def _scores(shared: Shared) -> dict[str, str]:
    known = measures.named(shared.target)
    return {name: known[name].name for name in measures.scores(shared)}


def _show_test_sets(shared: Shared, known: Mapping[str, Predictions], score: str, names: Names, ranking: Chart) -> None:
    """The `ranking` by one score, that score on every data set that the models were tested on, and their drop outside
    their own."""
    results = results_of(shared, known, score)
    title = measures.named(shared.target)[score].name
    chart = comparison_views.drop(results, title, shared.ids, names) if results else None
    if chart is None:
        panel.show_chart(ranking, "leaderboard")
    else:
        left, right = st.columns(2, gap="medium")
        with left:
            panel.show_chart(ranking, "leaderboard")
        with right:
            panel.show_chart(chart, "drop")
    if not results:
        return
    st.markdown(f"**{title} on every test set**")
    table = comparison_views.test_sets(results, names)
    panel.show_table(table, "test_sets", f"{title} of every model on every data set that it was tested on")
    st.caption(
        "Internal test images are held out from the data set that a model was trained on; external ones come from "
        "elsewhere, and show how well the score holds up there. "
        + (
            "The change is the score on external images minus the score on the first internal set."
            if chart is not None
            else f"None of these models has been tested on external images; to add some, run {EXTERNAL}."
        )
    )


def show_pair(
    shared: Shared, known: Mapping[str, Predictions], published: pd.DataFrame, pair: list[str], names: Names
) -> None:
    """The difference of two models in every score, the tests of every pair, and both beside published models."""
    first, second = pair
    st.markdown(f"**A** is {plain(names[first])}, **B** is {plain(names[second])}.")
    panel.show_chart(comparison_views.paired(shared, draws_of(shared), first, second, names), "paired")
    tests = computed_once(shared, "tests", lambda: pairs.pairwise(shared))
    st.dataframe(
        comparison_views.tests(tests, shared.target, names),
        hide_index=True,
        key="tests_table",
        alt="Tests of each pair of models",
    )
    st.caption(
        "McNemar's exact test asks whether both models are correct equally often; DeLong's test asks whether both "
        "rank images equally well. Both assume that images are independent. Where lesions have several images, rely on "
        "the intervals above." + (f" Holm's correction covers all {len(tests):,} pairs." if len(tests) > 1 else "")
    )
    table = comparison_views.against_published((known[name].model for name in pair), names)
    if table.empty or published.empty:
        return
    with st.expander("Compared with published models on the same images", icon=":material/menu_book:", key="beside"):
        panel.show_table(table, "published_differences", "Paired differences from published models")
        st.caption(f"Differences with 95% intervals. {plain(' '.join(dict.fromkeys(published['protocol'])))}")


def show_calibration(shared: Shared, known: dict[str, Predictions], pair: list[str], names: Names) -> None:
    """Whether probabilities are calibrated, or whether prediction sets reach their coverage."""
    options = {"target": f"Probability of {shared.target.spoken}", "class": "Most likely class"}
    with_sets = [name for name in pair if (model := known[name].model) and "conformal" in model.card]
    if with_sets:
        options[SETS] = "Prediction sets"
    older_link = any(key in st.query_params for key in ("coverage", "sets_by", "sets_measure"))
    if older_link and "shown" not in st.query_params and "shown" not in st.session_state:
        st.query_params["shown"] = SETS
    shown = address.segmented_control(st.container(), "Show", options, "shown")
    if shown == SETS:
        _show_sets(shared, known, with_sets, names)
        return
    of_target = shown == "target"
    event = f"should be {shared.target.many}" if of_target else "should be classified correctly"
    st.markdown(
        f"Of the images with a probability of 80%, 80% {event}. The dotted line shows this perfect calibration."
    )
    chart = computed_once(
        shared,
        f"calibration {pair} {shown} {list(names.values())}",
        lambda: calibration_views.reliability(shared, weights_of(shared), known, pair, names, of_target),
    )
    panel.show_chart(chart, "reliability")
    st.caption(plain(chart.words))


@st.fragment
def _show_sets(shared: Shared, known: dict[str, Predictions], pair: list[str], names: Names) -> None:
    """How often the prediction sets of these models hold the label, and their sizes, on every test set of each."""
    st.markdown(
        "A prediction set contains the true label with a chosen certainty, in every class, if the images are like "
        "those used for calibration. The charts show how this worked out on each model's test sets."
    )
    first, second, third = st.columns(3, gap="medium")
    coverages = {f"{one:g}": f"{one:.0%}" for one in (COVERAGE, *(one for one in COVERAGES if one != COVERAGE))}
    coverage = float(address.selectbox(first, "Certainty", coverages, "coverage"))
    tests = {
        name: computed_once(
            shared, f"sets {coverage}", partial(conformal.on_every_test_set, known[name], coverage), models=(name,)
        )
        for name in progress(pair, "Measuring prediction sets")
    }
    every = [one for measured in tests.values() for one in measured]
    by = address.selectbox(second, "Group by", conformal_views.parts(every), "sets_by")
    measure = address.selectbox(third, "Measure", conformal_views.MEASURES, "sets_measure")
    for column, (name, measured) in zip(st.columns(len(tests), gap="medium"), tests.items(), strict=True):
        with column:
            st.markdown(f"**{plain(names[name])}**")
            labels = known[name].labels
            panel.show_chart(conformal_views.chart(measured, by, measure, labels, names), f"sets_{name}")
            for sentence in conformal_views.sentences(measured, labels):
                st.caption(plain(sentence))


def show_subgroups(shared: Shared, pair: list[str], thresholds: Mapping[str, Threshold], names: Names) -> None:
    """A score of the models in subgroups of people or lesions, with or without their thresholds."""
    facts = computed_once(shared, "facts", lambda: subgroups.with_skin(shared), models=())
    columns = subgroups.columns(facts)
    if not columns:
        st.markdown("Nothing is recorded about the people or lesions in these images.")
        return
    left, right = st.columns(2, gap="medium")
    column = address.selectbox(left, "Group by", {name: subgroups.SUBGROUPS[name] for name in columns}, "by_fact")
    # macro F1 counts a class that a subgroup lacks as 0
    scores = {name: title for name, title in _scores(shared).items() if name != "macro_f1"}
    score = address.selectbox(right, "Score", subgroups.AT_THRESHOLD | scores, "subgroup_score")
    at = {name: threshold.value for name, threshold in thresholds.items()}
    values = subgroups.values(facts, column)
    table = pd.concat(
        computed_once(
            shared,
            f"subgroups {column} {score} {at[name] if score in subgroups.AT_THRESHOLD else ''}",
            partial(subgroups.by_subgroup, shared, weights_of(shared), values, score, [name], at),
            models=(name,),
        )
        for name in progress(pair, "Scoring subgroups")
    ).sort_values("subgroup", kind="stable", ignore_index=True)
    st.markdown(plain(error_views.gap_words(table, score, names)))
    panel.show_chart(error_views.by_subgroup(table, column, score, shared.target, shared.ids, names), "subgroups")
    st.caption(
        f"“Too few images” means fewer than {subgroups.FEW_IMAGES} images, fewer than {subgroups.FEW_ON_A_SIDE} "
        f"{shared.target.many} or other images where the score needs both, or fewer than {MIN_GROUPS} lesions or "
        "patients. Subgroups also differ in their mix of diagnoses, and among many subgroups there is always a large "
        "gap somewhere. Skin type or tone is known for PAD-UFES-20 and MILK10k."
    )


def show_training(known: Mapping[str, Predictions], pair: list[str], names: Names) -> None:
    """The losses of each model over its epochs."""
    trained = {name: model for name in pair if (model := known[name].model)}
    if not trained:
        st.markdown("It is not known how the models behind these predictions were trained.")
        return
    for column, (name, model) in zip(st.columns(len(trained), gap="medium"), trained.items(), strict=True):
        with column:
            st.markdown(f"**{plain(names[name])}**")
            st.caption(plain(model.card["training"]["protocol"]))
            try:
                chart = training_views.history(training_history.history(model), names[name])
                panel.show_chart(chart, f"training_{name}")
            except DataError as error:
                st.warning(plain(str(error)))


def show_protocols(known: Mapping[str, Predictions], names: Names) -> None:
    """Networks that were scored under more than one protocol, on any test set."""
    tables = {name: training_history.protocols(model) for name, one in known.items() if (model := one.model)}
    several = {name: table for name, table in tables.items() if len(set(table["test"])) > 1}
    if not several:
        st.markdown("Every model here was scored under one protocol, on lesions that it was not trained on.")
        return
    st.markdown(
        "The same kind of network, scored on lesions that it was not trained on, and scored the way many tutorials do "
        "it. Only the first score can be trusted."
    )
    chosen = address.selectbox(st.container(), "Model", {name: names[name] for name in several}, "protocols_of")
    table = several[chosen]
    for test, rows in table.groupby("test", sort=False):
        st.markdown(f"- *{plain(str(test))}*, {rows['images'].iloc[0]:,} images: {plain(rows['protocol'].iloc[0])}")
    panel.show_chart(training_views.protocols(table, names[chosen]), f"protocols_{chosen}")
