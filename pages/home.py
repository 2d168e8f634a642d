"""What this bench is and is not, and three doors: for an image, for the data, for the models."""

from collections.abc import Callable

import streamlit as st
from PIL import Image

from skinapp.errors import SkinappError
from skinapp.images import synthetic
from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.report import headlines
from skinapp.report.headlines import Headline
from skinapp.ui import layout, privacy, tour


@st.cache_data(max_entries=1, show_spinner=False)
def cover() -> Image.Image:
    return synthetic.draw(7)


@st.cache_data(max_entries=4, show_spinner=False)
def recognised(_model: Model, key: tuple[str, str]) -> Headline:
    """Cached by id and version."""
    return headlines.recognised(_model)


@st.cache_data(max_entries=1, show_spinner=False)
def dark_skin() -> Headline:
    return headlines.dark_skin()


def show_door(heading: str, text: str, figure: Callable[[], Headline] | None, links: dict[str, str]) -> None:
    """A card: whom it is for, the figure that matters to them, and the pages to go on to."""
    with st.container(border=True, height="stretch"):
        st.markdown(f"**{heading}**")
        if figure is not None:
            try:
                shown = figure()
            except SkinappError as error:
                st.error(str(error))
            else:
                with st.container(gap=None):
                    st.metric(shown.name, shown.value)
                    st.caption(shown.words)
        st.markdown(text)
        for page, label in links.items():
            st.page_link(layout.path(page), label=label, icon=":material/arrow_forward:")


def show_doors(best: Model | None) -> None:
    with st.grid(3, min_column_width=260, gap="medium"):
        show_door(
            ":material/person: If you have an image",
            "See what a model predicts, how far to trust it, and what the diagnoses mean. Models miss cancers, so no "
            "answer here replaces a doctor.",
            (lambda: recognised(best, (best.id, best.card["version"]))) if best else None,
            {"classify": "Classify an image", "guide": "Read about a diagnosis"},
        )
        show_door(
            ":material/groups: If you want to know who is in the data",
            "The age, sex, body site and diagnosis in the public data sets, how diagnoses were confirmed, and what "
            "the data cannot tell you, such as how well a model works on dark skin.",
            dark_skin,
            {"explore": "Explore the data sets"},
        )
        show_door(
            ":material/science: If you study models",
            "Compare models on the same images, with intervals and paired tests; move the operating point; read how "
            "each model was trained.",
            (lambda: headlines.balanced_accuracy(best)) if best else None,
            {"compare": "Compare models", "models": "Read the model cards"},
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
            if not tour.running():
                st.button("Take the tour", icon=":material/tour:", key="start_tour", on_click=tour.start)
        st.caption("No photo at hand? Choose “Example” on the Classify page. Nothing you add is stored.")
        privacy.link()
    drawing.image(
        cover(), "A computer-generated drawing", width="stretch", alt="Drawing of a brown lesion on skin with two hairs"
    )
    for reason in registry.problems().values():
        st.warning(reason)
    ranking = registry.ranked()
    if not registry.models():
        st.error(layout.NO_MODELS)
    show_doors(ranking[0] if ranking else None)
    if ranking:
        st.caption(
            f"The best model is {layout.plain(ranking[0].short_name)}: it does best on images that were held out from "
            "training. Its figures here are from test images, which were not used to choose it."
        )
    st.markdown(
        ":material/block: **This is not a medical device.** It gives no diagnosis; if a spot worries you, see a doctor."
    )
