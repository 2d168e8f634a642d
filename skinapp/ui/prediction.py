"""A model's answer for an image: as text, as shares, the next step, and every class."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from skinapp.charts import probabilities
from skinapp.errors import DataError
from skinapp.evaluation import observed_risk
from skinapp.evaluation.observed_risk import ObservedRisk
from skinapp.formatting import percent, short_percent
from skinapp.inference import analysis as analyses
from skinapp.inference import conformal
from skinapp.inference.analysis import Analysis
from skinapp.inference.runtime import Prediction
from skinapp.labels import sets
from skinapp.report import operating_point_views
from skinapp.ui import layout, panel

PREVALENCE = "answer_prevalence"
"""The session key of the prevalence that the visitor sets, in percent."""


def show_answer(analysis: Analysis, recognised: str, observed: ObservedRisk | None, *, familiar: bool) -> None:
    """The most likely class, the shares of cancer, pre-cancer and harmless, what to do next, the observed risk, if it
    is known, and the model that answered.

    If the image is not `familiar`, that is, not of the kind that the model was trained on, there is no prediction set:
    its coverage holds only for images like those of the calibration.
    """
    prediction, model = analysis.prediction, analysis.model
    st.subheader(f"Most likely: {analyses.most_likely(prediction)}", anchor=False)
    show_shares(prediction)
    if familiar and conformal.of_model(model):
        st.markdown(f":material/checklist: {conformal.in_words(prediction, conformal.COVERAGE)}")
    if analysis.metadata:
        count = len(analysis.metadata)
        alone = analysis.image_prediction
        by_group = analyses.shares(alone).items()
        shares = ", ".join(f"{group_name(name).lower()} {percent(share)}" for name, share in by_group)
        st.markdown(
            f":material/person: This answer takes {count} {'detail' if count == 1 else 'details'} about the patient "
            f"into account. From the image alone: {analyses.most_likely(alone)} ({shares})."
        )
    step, reason = analyses.next_step(prediction)
    st.markdown(f":material/stethoscope: **{step}** {reason}")
    if observed:
        show_observed(observed, chosen_prevalence(observed))
    said = f"{recognised}. " if recognised else ""
    st.caption(f":material/deployed_code: {said}Answered by “{layout.plain(model.short_name)}”.")
    if sentence := analyses.agreement(prediction):
        st.caption(f":material/groups: {sentence}")


def show_observed(observed: ObservedRisk, prevalence: float | None) -> None:
    """How often answers like this one were cancers, and the probability at the visitor's prevalence, if it is set."""
    st.markdown(f":small[:material/query_stats: {observed_risk.sentence(observed)}]")
    if prevalence is not None:
        st.markdown(f":small[:material/percent: {observed_risk.prevalence_sentence(observed, prevalence)}]")


def offer_report(label: str, write: Callable[[], str], file: str, key: str) -> None:
    """A button that saves an answer as one HTML file, which is written only on request."""
    st.download_button(
        label,
        write,
        file,
        "text/html",
        key=key,
        icon=":material/download:",
        on_click="ignore",
        help="One HTML file with your image, where the model looked, every probability, and what it all means. It "
        "opens offline and prints well. It also contains any details you entered, so be careful who you send it to.",
    )


def what_it_meant(prediction: Prediction) -> ObservedRisk | None:
    """The test images with a similar answer; None for a model without test predictions, or with none for such
    images."""
    try:
        observed = observed_risk.observed_risk(prediction)
    except DataError:
        return None
    return observed if observed.images else None


def chosen_prevalence(observed: ObservedRisk | None) -> float | None:
    """The prevalence of the target in the visitor's setting, 0-1; None until they set it for this target."""
    percentage = st.session_state.get(f"{PREVALENCE}_{observed.target}") if observed else None
    return None if percentage is None else percentage / 100


def choose_prevalence(observed: ObservedRisk) -> None:
    """A button with a control for how common the target is."""
    if not 0 < observed.test_share < 1:
        return
    with st.popover(f"How common is {observed.target}?", icon=":material/percent:"):
        st.number_input(
            f"In your setting, how many of 100 lesions like this are {observed.target}?",
            0.1,
            99.9,
            None,
            1.0,
            "%g",
            key=f"{PREVALENCE}_{observed.target}",
            persist_state="session",
            placeholder=f"{100 * observed.test_share:.0f} among the test images",
            help="The same answer means less where cancer is rare, and more where it is common, as in a skin cancer "
            "clinic.",
        )


def show_shares(prediction: Prediction) -> None:
    """Cancer, pre-cancer and harmless, side by side at any width."""
    groups, contents = analyses.groups(prediction.model), analyses.contents(prediction.model)
    with st.grid(3, min_column_width=80, gap="small"):
        for name, share in analyses.shares(prediction).items():
            names = dict.fromkeys(one.name for code in groups[name] for one in contents[code])
            st.metric(
                group_name(name), short_percent(share), help="The total probability of: " + "; ".join(names) + "."
            )


def group_name(name: str) -> str:
    """A name from `sets.GROUPS` as the heading of its share: "Cancer"."""
    return name.removesuffix(", all types together")


def most_likely_name(prediction: Prediction) -> str:
    """The most likely class within a sentence."""
    return prediction.model.labels[prediction.predicted].spoken


def show_every_class(analysis: Analysis) -> None:
    """Every class with its probability, as bars and as a table, and the operating points of the model."""
    prediction, model = analysis.prediction, analysis.model
    frame = probabilities.probability_frame(prediction)
    if analysis.metadata:
        image_alone = dict(zip(model.labels.codes, analysis.image_prediction.probabilities, strict=True))
        frame["image alone"] = frame["code"].map(image_alone)
    panel.show(
        probabilities.probability_bars(frame),
        frame,
        "probabilities",
        "; ".join(f"{row['class']} {percent(row['probability'])}" for row in frame.to_dict("records")),
        {
            "class": "Class",
            "kind": "Kind",
            "probability": st.column_config.NumberColumn("Probability", format="percent"),
            "image alone": st.column_config.NumberColumn("From the image alone", format="percent"),
        },
        ["class", "kind", "probability", "image alone"],
    )
    _show_operating_points(prediction)


def show_both(predictions: Sequence[Prediction], names: Mapping[str, str]) -> None:
    """The answers of two models side by side, while it is undecided which of them suits the image."""
    st.markdown("**The two models disagree.** Choose the kind of image to see the full answer.")
    with st.grid(2, min_column_width=150, gap="small", border=True):
        for prediction in predictions:
            with st.container(gap="xsmall"):
                st.markdown(f"If it is {names[prediction.model.modality]}: **{analyses.most_likely(prediction)}**")
                shares = analyses.shares(prediction).items()
                st.markdown("  \n".join(f"{group_name(name)} {percent(share)}" for name, share in shares))
                st.caption(f"Answered by “{layout.plain(prediction.model.short_name)}”.")


def _show_operating_points(prediction: Prediction) -> None:
    model = prediction.model
    by_class = dict(zip(model.labels.codes, prediction.probabilities, strict=True))
    sentences = operating_point_views.published(model, by_class)
    if sentences:
        with st.expander("Operating points", icon=":material/tune:", key="operating_points"):
            for sentence in sentences:
                st.markdown(f"- {sentence}")
            counted = [one for held in analyses.contents(model).values() for one in held if one.malignant]
            together = sets.target(model.labels, [label.code for label in model.labels.labels if label.malignant])
            st.caption(
                f"{together.capitalize()}: {'; '.join(one.name for one in counted)}, all together. Intervals are 95%."
            )
