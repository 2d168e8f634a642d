"""The meaning of a model's classes, and the limits of its predictions."""

import streamlit as st

from skinapp.evaluation.bootstrap import Interval
from skinapp.formatting import joined
from skinapp.inference import analysis, modality
from skinapp.inference.registry import Model
from skinapp.ui import layout

COLOURS = {"cancer": "red", "pre-cancer": "orange", "harmless": "green"}


def show_classes(model: Model) -> None:
    """Every class with a description and a link to the guide."""
    st.space("small")
    st.subheader("What the classes mean", anchor=False)
    contents, kinds = analysis.contents(model), analysis.kinds(model)
    with st.grid(2, min_column_width=300, gap=("small", "medium")):
        for label in model.labels.labels:
            with st.container(gap=None):
                diagnoses = contents[label.code]
                badge = f" :{COLOURS[label.kind]}-badge[{' or '.join(kinds[label.code])}]"
                layout.guide_link(label.code, f"**{label.name}**{badge}")
                includes = "" if diagnoses == (label,) else f" Includes: {'; '.join(one.name for one in diagnoses)}."
                st.markdown(f"{label.summary}{includes}")


def show_limits(model: Model) -> None:
    """The limits of the model's probabilities, with its scores on test images."""
    training, scores = model.card["training"], model.card["scores"]

    def share(name: str) -> str:
        return interval(scores[name])

    def interval(score: dict[str, float]) -> str:
        one = Interval(**score)
        limits = f"95% interval {one.low:.0%} to {one.high:.0%}" if one.exists else "too few for an interval"
        return f"{one.value:.0%} ({limits})"

    sensitivity = ""
    if "sensitivity_malignancy" in scores:
        counted = [one.spoken for held in analysis.contents(model).values() for one in held if one.malignant]
        sensitivity = (
            f"For {share('sensitivity_malignancy')} of the images of {joined(counted)}, it gave these diagnoses "
            "a combined probability of at least 50%."
        )
    elsewhere = "".join(
        f" On {test['images']:,} test images of another data set, {layout.plain(test['name'])}, it was correct for "
        f"{interval(test['scores']['accuracy'])}."
        for test in model.card.get("other_tests", ())
        if "predictions" in test
    )
    used = "this image and the details you entered" if model.clinical else "this image"
    images = modality.IMAGES[model.modality]
    if "adopted" in model.card:
        source = (
            f"**It was trained elsewhere**, on {images} that were not checked here (training data: "
            f"{layout.plain(training['dataset'])})."
        )
    else:
        source = (
            f"**It was trained on images from only a few clinics**: {training['images']['train']:,} {images} from "
            f"{training['dataset']}, mostly of light skin."
        )
    others = "Dermoscopy images" if model.modality == "smartphone" else "Phone photos"
    st.space("small")
    with st.container(border=True):
        st.subheader("What this does not tell you", anchor=False)
        st.markdown(
            f"""
- **It is not a diagnosis.** The answer is based on {used} alone. The model has not seen the rest of your skin, and it
  does not know your medical history.
- **It is often wrong.** On {model.card["test"]["images"]:,} test images like those it was trained on, the most likely
  class was correct for {share("accuracy")}.{elsewhere} {sensitivity}
- {source} {others}, photos of a screen, other cameras and darker skin can give
  worse results, and the probabilities are calibrated only for images like those it was trained on.
- **It knows {len(model.labels.codes)} classes and no others.** For anything else, even healthy skin, it still divides
  the probability among them.
- **If a spot is new, changes, bleeds or worries you, see a doctor,** whatever the numbers here say.
"""
        )
