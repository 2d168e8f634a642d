"""The operating point of a comparison: the sensitivity or threshold, what is detected there, and what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from skinapp.evaluation import curves, error_analysis, operating_points
from skinapp.evaluation.comparison import Shared, Target
from skinapp.evaluation.operating_points import Difference, OperatingPoint, Threshold
from skinapp.evaluation.predictions import Predictions
from skinapp.formatting import joined
from skinapp.report import operating_point_views
from skinapp.report.comparison_views import Names
from skinapp.report.operating_point_views import CURVES
from skinapp.ui import address, error_gallery, panel
from skinapp.ui.comparison import computed_once, progress, weights_of
from skinapp.ui.layout import plain

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

THRESHOLD, SENSITIVITY, PREVALENCE = 50.0, 95.0, 5.0
"""The sliders' defaults, in percent."""

BY_SENSITIVITY, BY_THRESHOLD = "sensitivity", "threshold"
OLD_SETTINGS = {
    "The threshold": BY_THRESHOLD,
    "At least this sensitivity": BY_SENSITIVITY,
    "Minimum sensitivity": BY_SENSITIVITY,
}

OUTCOMES = {
    "missed": (True, False),
    "detected": (True, True),
    "alarm": (False, True),
    "passed": (False, False),
}
"""Maps the code of an outcome to whether its images show the target, and whether they are flagged."""

LINES = """
- **ROC.** Move the threshold from strict to lenient and the curve climbs: each step up finds more {many}, each step to
  the right flags more other images. The further up and left, the better. The dotted diagonal is guessing.
- **Precision and recall.** Of the flagged images, how many are {many}, for each share of {many} found? Precision
  falls where {many} are rare, so compare it only within one test set.
- **Net benefit.** How much a model helps someone who would examine at most (1 - t) / t healthy people for each case
  found, at threshold t: cases found minus false alarms, weighted accordingly. A model is worth using where its curve is
  above both dotted lines, referring everyone and referring no one.
- **Risk and coverage.** If the model only answers where it is most confident, and leaves the rest to a person, how
  often is it wrong? The lower, the better. It is about the most likely class, so it has no threshold.
- **The shaded band** shows how far the curve might move with other patients of the same kind (95% interval at each
  point). **The large mark** is the operating point chosen above.
"""


@dataclass(frozen=True)
class Setting:
    """How the thresholds are set: for a sensitivity (0-1), or all at one threshold (0-1); and the prevalence (0-1)."""

    sensitivity: float | None
    threshold: float
    prevalence: float

    def aim(self, target: Target) -> str:
        """The beginning of a sentence on what is detected."""
        return operating_point_views.aim(target, self.sensitivity, self.threshold)


@dataclass(frozen=True)
class Answer:
    """Every model's threshold and its results on images of `dataset`, and the difference between the two models."""

    setting: Setting
    dataset: str
    thresholds: dict[str, Threshold]
    points: dict[str, OperatingPoint]
    apart: Difference | None


def choose(left: "DeltaGenerator", middle: "DeltaGenerator", right: "DeltaGenerator") -> Setting:
    """The sensitivity or threshold, and the prevalence, in three containers."""
    by = address.segmented_control(
        left,
        "Set the operating point by",
        {BY_SENSITIVITY: "Sensitivity", BY_THRESHOLD: "Threshold"},
        "by",
        old_labels=OLD_SETTINGS,
        help="Choose either the share that should be found, for which each model gets its own threshold, or one "
        "probability threshold for all models. An image at or above the threshold is flagged.",
    )
    sensitivity, threshold = None, THRESHOLD / 100
    if by == BY_SENSITIVITY:
        with address.number("sensitivity", SENSITIVITY, 50, 100):
            sensitivity = middle.slider("Sensitivity", 50.0, 100.0, step=1.0, format="%.0f%%", key="sensitivity") / 100
        # a link with a threshold means that it was set directly
        st.query_params.pop("threshold", None)
    else:
        with address.number("threshold", THRESHOLD, 1, 99):
            threshold = middle.slider("Threshold", 1.0, 99.0, step=1.0, format="%.0f%%", key="threshold") / 100
    with address.number("prevalence", PREVALENCE, 0.5, 50):
        prevalence = right.slider(
            "Prevalence",
            0.5,
            50.0,
            step=0.5,
            format="%.1f%%",
            key="prevalence",
            help="The share of the people examined who have the condition. Predictive values and counts per 1,000 "
            "people depend on it. It is far higher among test images than in a screening clinic.",
        )
    return Setting(sensitivity, threshold, prevalence / 100)


def answer(shared: Shared, known: Mapping[str, Predictions], pair: list[str], setting: Setting, dataset: str) -> Answer:
    """The results of the models at their thresholds."""
    if setting.sensitivity is None:
        thresholds = dict.fromkeys(shared.ids, Threshold(setting.threshold))
    else:
        thresholds = operating_points.for_sensitivity(shared, known, setting.sensitivity, dataset)
    weights = weights_of(shared)
    points = {
        name: operating_points.operating_point(shared, weights, name, thresholds[name], setting.prevalence)
        for name in shared.ids
    }
    apart = None
    if len(pair) == 2:
        apart = operating_points.difference(shared, weights, pair[0], pair[1], thresholds, setting.prevalence)
    return Answer(setting, dataset, thresholds, points, apart)


def show_answer(
    shared: Shared, known: Mapping[str, Predictions], pair: list[str], answered: Answer, names: Names
) -> None:
    """Show the answer as sentences, and the origin of the thresholds. Two models are called A and B, as above."""
    target, points = shared.target, {name: answered.points[name] for name in pair}
    letters = dict(zip(pair, "AB", strict=False)) if answered.apart else {name: plain(names[name]) for name in pair}
    thresholds = {name: answered.thresholds[name] for name in pair}
    first, *others = operating_point_views.answer(points, answered.apart, target, letters, answered.setting.aim(target))
    with st.container(border=True, gap="small", key="answer"):
        st.markdown(f"#### {first}")
        for sentence in others:
            st.markdown(sentence)
        notes = [operating_point_views.source(thresholds, letters), _without(shared, known, answered, names)]
        if (
            answered.apart
            and answered.setting.sensitivity
            and any(threshold.chosen_on for threshold in thresholds.values())
        ):
            notes.append(_matched(shared, pair, answered.setting, letters))
        st.caption(" ".join(filter(None, notes)))


def _matched(shared: Shared, pair: list[str], setting: Setting, letters: Names) -> str:
    """What the two would flag if both detected the same share here."""
    sensitivity = setting.sensitivity or 0
    chosen = operating_points.chosen_here(shared, pair, sensitivity)
    weights = weights_of(shared)
    points, apart = computed_once(
        shared,
        f"matched {sensitivity}",
        lambda: (
            {
                name: operating_points.operating_point(shared, weights, name, chosen[name], setting.prevalence)
                for name in pair
            },
            operating_points.difference(shared, weights, pair[0], pair[1], chosen, setting.prevalence),
        ),
        models=tuple(pair),
    )
    return operating_point_views.matched(points, apart, shared.target, letters, sensitivity)


def _without(shared: Shared, known: Mapping[str, Predictions], answered: Answer, names: Names) -> str:
    """Which models have no threshold from held-out lesions."""
    if all(threshold.sensitivity is None for threshold in answered.thresholds.values()):
        return ""
    wanted = answered.setting.sensitivity or 0
    lacking = [
        name for name in shared.ids if not operating_points.held_out(known[name], shared, wanted, answered.dataset)
    ]
    return (
        f"For {joined(plain(names[name]) for name in lacking)}, no threshold from held-out lesions finds {wanted:.0%} "
        f"of {shared.target.many}."
    )


def show(shared: Shared, pair: list[str], answered: Answer, names: Names) -> None:
    """Everything that depends on the threshold."""
    target = shared.target
    together = answered.points if len(answered.points) != 2 else {name: answered.points[name] for name in pair}
    table = operating_point_views.table_of(together, names, target, answered.apart if len(together) == 2 else None)
    st.dataframe(table, hide_index=True, key="points_table", alt="Every model's operating point")
    st.caption(
        f"Values with 95% intervals. Predictive values and counts per 1,000 people assume that "
        f"{answered.setting.prevalence:.1%} of the people examined have {operating_point_views.article(target)}; among "
        f"these images the share is {shared.positive.mean():.0%}."
    )
    left, right = st.columns([2, 3], gap="medium")
    with left:
        for name in pair:
            st.markdown(f"**{plain(names[name])}**")
            chart = operating_point_views.outcomes(answered.points[name], names[name], target, selectable=True)
            error_gallery.show_matrix(chart, f"outcomes_{name}", _select_outcome, name)
    with right:
        _show_curves(shared, answered, names)
    _show_outcome(shared, pair, answered, names)


def _select_outcome(model_id: str, label: str, predicted: str) -> None:
    wanted = (label != "other", predicted == operating_point_views.FLAGGED)
    code = next(code for code, outcome in OUTCOMES.items() if outcome == wanted)
    st.session_state["outcome"] = f"{code}:{model_id}"


@st.fragment
def _show_outcome(shared: Shared, pair: list[str], answered: Answer, names: Names) -> None:
    """The images in one cell of the two-by-two tables."""
    many = shared.target.many
    words = {
        "missed": f"{many[0].upper()}{many[1:]} that {{}} misses",
        "detected": f"{many[0].upper()}{many[1:]} that {{}} finds",
        "alarm": "False alarms by {}",
        "passed": "Other images that {} does not flag",
    }
    options = {"": "None"} | {f"{code}:{name}": words[code].format(names[name]) for code in OUTCOMES for name in pair}
    chosen = address.selectbox(st.container(), "Images (or click a number in a matrix)", options, "outcome")
    if chosen:
        code, name = chosen.split(":", 1)
        table = error_analysis.in_outcome(shared, name, answered.thresholds[name].value, *OUTCOMES[code])
        error_gallery.show_images(shared, table, "outcome")


def _show_curves(shared: Shared, answered: Answer, names: Names) -> None:
    kind = address.segmented_control(
        st.container(),
        "Curve",
        {kind: title for kind, (title, _, _) in CURVES.items()},
        "curve",
        label_visibility="collapsed",
    )
    chart = operating_point_views.curve(shared, _curves(shared, kind), kind, answered.thresholds, names)
    panel.show_chart(chart, f"curve_{kind}")
    with st.expander("What the lines mean", icon=":material/help:", key="lines"):
        st.markdown(LINES.format(many=shared.target.many))


def _curves(shared: Shared, kind: str) -> dict[str, pd.DataFrame]:
    weights = weights_of(shared)
    return {
        name: computed_once(shared, f"curve {kind}", partial(curves.curve, shared, weights, name, kind), models=(name,))
        for name in progress(shared.ids, "Computing curves")
    }
