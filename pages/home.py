"""What this bench is, for whom, what to do first, what it is not, and which models it holds."""

import streamlit as st
from PIL import Image

from skinapp import phantom, registry, ui
from skinapp.registry import Model

# score in the card -> its name and its meaning, in the order shown
SCORES = {
    "balanced_accuracy": ("Balanced accuracy", "The share of each class that is named rightly, averaged over classes."),
    "accuracy": ("Accuracy", "The share of all images whose highest probability names the right class."),
    "roc_auc_malignancy": (
        "ROC AUC, malignant or not",
        "How well the summed malignant probability ranks malignant images above the others: 0.5 is chance, 1 perfect.",
    ),
}


@st.cache_data(max_entries=1, show_spinner=False)
def cover() -> Image.Image:
    return phantom.draw(7)


def show_model(model: Model) -> None:
    card = model.card
    with st.container(border=True):
        st.markdown(f"**{model.title}**")
        st.caption(
            f"{model.modality.capitalize()}, {len(model.labels.codes)} classes, learnt from "
            f"{card['training']['dataset']}. "
            f"Tested on {card['test']['images']:,} images of lesions it had never seen. Licence: {card['licence']}."
        )
        with st.grid(3, min_column_width=180):
            for key, (name, meaning) in SCORES.items():
                if key in card["scores"]:
                    score = card["scores"][key]
                    st.metric(
                        name,
                        f"{score['value']:.2f}",
                        f"{score['low']:.2f} to {score['high']:.2f}",
                        delta_color="off",
                        delta_arrow="off",
                        delta_description="95% interval",
                        help=meaning,
                    )


with ui.page("Home"):
    words, picture = st.columns([3, 2], gap="large", vertical_alignment="center")
    with words:
        st.title("See what a skin-lesion model sees", anchor=False)
        st.markdown(
            "A research bench for image classifiers of skin lesions. Add an image to see every class with its "
            "probability, where the model looked, and what that does not tell you."
        )
        with st.container(horizontal=True):
            if st.button("Classify an image", type="primary", icon=":material/image_search:", key="start"):
                st.switch_page(ui.path("classify"))
            if st.button("See where a model looks", icon=":material/visibility:", key="start_attention"):
                st.switch_page(ui.path("attention"))
        st.caption("No photo at hand? The page has a drawing to try. Nothing you add is kept.")
    picture.image(
        cover(), "A drawing, made by code", width="stretch", alt="A drawn brown lesion on skin, with two hairs"
    )

    with st.grid(3, min_column_width=260, gap="medium"):
        for heading, text in (
            (
                ":material/person: If you have an image",
                "Learn how such models answer, and how far an answer can be trusted.",
            ),
            (
                ":material/science: If you study models",
                "See calibrated probabilities and attention maps, with the tests and the data behind each model.",
            ),
            (
                ":material/block: What it is not",
                "It is no medical device and gives no diagnosis. If a spot worries you, see a doctor.",
            ),
        ):
            with st.container(border=True, height="stretch"):
                st.markdown(f"**{heading}**")
                st.markdown(text)

    st.subheader("Models on this bench", anchor=False)
    for reason in registry.problems().values():
        st.warning(reason)
    models = registry.models()
    if not models:
        st.error("There is no model here yet. Put a model folder into `models`, then load this page again.")
    runnable = registry.ranked()
    for model in [*runnable, *(model for model in models.values() if model not in runnable)]:
        show_model(model)
