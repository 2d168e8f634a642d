"""A model's prediction for an image: the most likely class, cancer, pre-cancer and harmless, and every class."""

import streamlit as st

from skinapp.charts import probabilities
from skinapp.formatting import percent
from skinapp.inference import analysis as analyses
from skinapp.inference.analysis import Analysis
from skinapp.inference.runtime import Prediction
from skinapp.labels import sets
from skinapp.report import operating_point_views
from skinapp.ui import panel


def show(analysis: Analysis) -> None:
    """The prediction and, if there is patient metadata, the prediction from the image alone."""
    prediction, model = analysis.prediction, analysis.model
    frame = probabilities.probability_frame(prediction)
    st.subheader(f"Most likely: {_most_likely(prediction)}", anchor=False)
    groups = analyses.groups(model)
    contents = analyses.contents(model)
    with st.container(horizontal=True, gap="medium"):
        for name, share in analyses.shares(prediction).items():
            names = dict.fromkeys(one.name for code in groups[name] for one in contents[code])
            st.metric(name, percent(share), help="The total probability of: " + "; ".join(names) + ".")
    if sentence := analyses.agreement(prediction):
        st.caption(f":material/groups: {sentence}")
    if analysis.metadata:
        count = len(analysis.metadata)
        alone = analysis.image_prediction
        shares = "; ".join(f"{name.lower()} {percent(share)}" for name, share in analyses.shares(alone).items())
        st.markdown(
            f":material/person: Includes {count} {'detail' if count == 1 else 'details'} about the patient. From the "
            f"image alone: {_most_likely(alone)}; {shares}."
        )
        image_alone = dict(zip(model.labels.codes, alone.probabilities, strict=True))
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


def _most_likely(prediction: Prediction) -> str:
    share = percent(float(prediction.probabilities.max()))
    return f"{prediction.model.labels[prediction.predicted].spoken}, {share}"
