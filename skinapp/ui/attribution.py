"""How far an answer depends on the lesion's border, colour and texture, for the current image and on test images."""

import numpy as np
import streamlit as st

from skinapp.attention import attribution
from skinapp.attention.attribution import FEATURES, Attribution, Change
from skinapp.errors import SkinappError
from skinapp.formatting import percent
from skinapp.inference.registry import Model
from skinapp.report import attribution_views
from skinapp.ui import layout, panel, segmentation, turn
from skinapp.ui import photo as photos
from skinapp.ui.explained_map import ExplainedMap

REMOVED = {"border": "Border blurred", "colour": "One colour", "texture": "Texture blurred"}


def show(shown: ExplainedMap) -> None:
    """Show each feature removed from the lesion, and the same change next to it, with the probability of the class;
    then the results on test images."""
    try:
        lesion = segmentation.current(shown)
        changed, result = photos.cached(
            "attribution",
            hash(
                (shown.square_key, shown.analysis.pixels.tobytes(), shown.model.id, shown.code, lesion.mask.tobytes())
            ),
            lambda: _measure(shown, lesion.mask),
        )
    except SkinappError as error:
        st.info(str(error))
    except ValueError:
        st.info("There is no skin around the lesion to compare with.")
    else:
        st.markdown(layout.plain(attribution.sentence(result, shown.name)))
        _show_squares(shown, changed, result)
    _show_measured(shown.model)


def _measure(shown: ExplainedMap, mask: np.ndarray) -> tuple[dict[str, Change], Attribution]:
    pixels = shown.analysis.pixels
    with turn.at_answer(), st.spinner("Classifying changed squares"):
        changed = attribution.changes(pixels, mask)
        return changed, attribution.measure(shown.all_probabilities, changed, pixels, shown.index)


def _show_squares(shown: ExplainedMap, changed: dict[str, Change], result: Attribution) -> None:
    with st.grid(4, min_column_width=150, gap="small"):
        with st.container(gap="xsmall"):
            st.image(shown.analysis.pixels, width="stretch", alt="The unchanged square")
            st.markdown(f"Unchanged  \n**{percent(result.unchanged)}**")
        for feature, change in changed.items():
            effect = result.effects[feature]
            with st.container(gap="xsmall"):
                st.image(change.lesion, width="stretch", alt=f"The square, {REMOVED[feature].lower()}")
                words = f"{REMOVED[feature]}  \n**{percent(effect.lesion)}**"
                beside = "" if effect.skin is None else f"; same change beside the lesion: {percent(effect.skin)}"
                st.markdown(words + beside)
    if all(change.skin is not None for change in changed.values()):
        with (
            st.expander("The same changes beside the lesion", icon=":material/compare:", key="attribution_skin"),
            st.grid(4, min_column_width=150, gap="small"),
        ):
            for feature, change in changed.items():
                st.image(
                    change.skin,  # type: ignore[arg-type]
                    f"{FEATURES[feature]}: {percent(result.effects[feature].skin or 0.0)}",
                    width="stretch",
                    alt=f"The square, {REMOVED[feature].lower()} beside the lesion",
                )
    st.caption(
        f"Probabilities of “{layout.plain(shown.name)}”. Any change to an image affects the answer, so the same change "
        "is made to an area of the same size and shape beside the lesion. Changed squares look unlike the images that "
        "the model was trained on. The lesion's border comes from the Segmentation tab, where you can correct it."
    )


def _show_measured(model: Model) -> None:
    """Show the model's figures on test images, if they were measured."""
    entry = attribution.measured(model)
    if entry is None:
        return
    classes = {"": "All answers"} | {code: one["name"] for code, one in entry["classes"].items()}
    st.markdown("**On test images**")
    code = ""
    if len(classes) > 1:
        code = st.selectbox(
            "Answers",
            list(classes),
            format_func=classes.__getitem__,
            key=f"attribution_class_{model.id}",
            label_visibility="collapsed",
        )
    figures = entry["classes"].get(code, entry["all"])
    st.caption(
        f"{figures['images']:,} test images of {figures['lesions']:,} lesions from {entry['images_of']}, with "
        f"{entry['outlines']}. Lesions with too little skin beside them are left out. Intervals are 95%, from "
        "resampling lesions."
    )
    panel.show_chart(attribution_views.effects(figures), f"attribution-{model.id}")
