"""What this bench is and is not, who it is for, where to start, and its models."""

import pandas as pd
import streamlit as st
from PIL import Image

from skinapp.evaluation.bootstrap import Interval
from skinapp.images import synthetic
from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.ui import layout

# score in the card -> its name and its meaning, in the order shown
SCORES = {
    "balanced_accuracy": (
        "Balanced accuracy",
        "The share of images classified correctly in each class, averaged over the classes.",
    ),
    "accuracy": ("Accuracy", "The share of all images whose most likely class is the correct one."),
    "roc_auc_malignancy": (
        "ROC AUC, malignant or not",
        "How well the malignant probability ranks malignant images above others: 0.5 is chance, 1 is perfect.",
    ),
}

# heading, what to do, and the pages to do it on
AUDIENCES = (
    (
        ":material/person: If you have an image",
        "See what a model predicts, how far to trust it, and what the diagnoses mean.",
        (("classify", "Classify an image"), ("guide", "Read about a diagnosis")),
    ),
    (
        ":material/groups: If you want to know who is in the data",
        "Age, sex, site, diagnosis and how it was confirmed, in three public data sets, and what they cannot tell you.",
        (("explore", "Explore the data sets"),),
    ),
    (
        ":material/science: If you study models",
        "Compare them with intervals and paired tests, move the operating point, and read how each was trained.",
        (("compare", "Compare models"), ("models", "Read the model cards")),
    ),
)


@st.cache_data(max_entries=1, show_spinner=False)
def cover() -> Image.Image:
    return synthetic.draw(7)


def row(model: Model) -> dict[str, object]:
    """A model's row in the table."""
    scores = model.card["scores"]
    texts = {key: Interval(**score).text(".2f") for key in SCORES if (score := scores.get(key))}
    return {
        "title": model.title,
        "modality": model.modality,
        "classes": len(model.labels.codes),
        "images": model.card["test"]["images"],
    } | texts


def show_models(models: list[Model]) -> None:
    st.dataframe(
        pd.DataFrame([row(model) for model in models]),
        hide_index=True,
        key="models",
        column_order=["title", "modality", "classes", *SCORES, "images"],
        column_config={
            "title": st.column_config.TextColumn("Model"),
            "modality": st.column_config.TextColumn(
                "Kind of image", help="The kind of image the model was trained on."
            ),
            "classes": st.column_config.NumberColumn("Classes"),
            **{key: st.column_config.TextColumn(name, help=meaning) for key, (name, meaning) in SCORES.items()},
            "images": st.column_config.NumberColumn("Test images", format="localized"),
        },
        alt="Every model with its scores and their 95% intervals",
    )
    st.caption(
        "Scores with 95% intervals, on lesions or patients that the model was not trained on. Models with different "
        "classes or kinds of image were tested on different images; the Compare page tests models on the same images."
    )


with layout.page("Home"):
    words, drawing = st.columns([3, 2], gap="large", vertical_alignment="center")
    with words:
        st.title("See what a skin-lesion model sees", anchor=False)
        st.markdown(
            "A research bench for skin-lesion image classifiers. Add an image to see the probability of every class, "
            "where the model looked, and what that does not tell you."
        )
        with st.container(horizontal=True):
            if st.button("Classify an image", type="primary", icon=":material/image_search:", key="start"):
                st.switch_page(layout.path("classify"))
            if st.button("See where a model looks", icon=":material/visibility:", key="start_attention"):
                st.switch_page(layout.path("attention"))
        st.caption("No photo at hand? Try the drawing on the Classify page. Nothing you add is stored.")
    drawing.image(
        cover(), "A computer-generated drawing", width="stretch", alt="A drawn brown lesion on skin, with two hairs"
    )

    with st.grid(len(AUDIENCES), min_column_width=260, gap="medium"):
        for heading, text, links in AUDIENCES:
            with st.container(border=True, height="stretch"):
                st.markdown(f"**{heading}**")
                st.markdown(text)
                for page, label in links:
                    st.page_link(layout.path(page), label=label, icon=":material/arrow_forward:")
    st.markdown(
        ":material/block: **What it is not**: a medical device. It gives no diagnosis; if a spot worries you, see a "
        "doctor."
    )

    st.subheader("Models on this bench", anchor=False)
    for reason in registry.problems().values():
        st.warning(reason)
    models = registry.models()
    if models:
        runnable = registry.ranked()
        show_models([*runnable, *(model for model in models.values() if model not in runnable)])
    else:
        st.error(layout.NO_MODELS)
