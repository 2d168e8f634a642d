"""An image in; every class with its probability, and where the model looked, out."""

import numpy as np
import streamlit as st
from PIL import Image

from skinapp import attention, charts, imaging, registry, runtime, ui
from skinapp.charts import percent
from skinapp.errors import SkinappError
from skinapp.imaging import Crop
from skinapp.registry import Model
from skinapp.runtime import Prediction
from skinapp.ui import photo as photos
from skinapp.ui.photo import Photo

# pixels at which the square and its map are shown; the model itself sees its own input size
MAP_SIDE = 512


@st.fragment
def show_answer(model: Model, photo: Photo, image: Image.Image) -> None:
    """The square and the model's answer to it. A fragment, so that moving the square redraws no more than this."""
    picture, result = st.columns(2, gap="medium")
    with picture:
        crop = photos.choose_crop(photo, image)
    try:
        image = photos.decoded(photo, crop)
        prediction = runtime.classifier(model).predict(imaging.crop_resize(image, model.input_size, crop))
    except SkinappError as error:
        result.error(str(error))
        return
    with result:
        show_probabilities(prediction)
    if prediction.class_maps is None:
        st.caption("This network ends in dense layers, so there is no map of where it looked.")
    else:
        show_map(prediction, prediction.class_maps, photo, image, crop)


def show_probabilities(prediction: Prediction) -> None:
    frame = charts.probability_frame(prediction)
    top = frame.iloc[0]
    st.subheader(f"The model's highest probability: {top['class']}, {percent(top['probability'])}", anchor=False)
    st.metric(
        "Malignant classes together",
        percent(prediction.malignancy),
        help="The summed probability of the classes that count as malignant, pre-cancers included: "
        + "; ".join(label.name for label in prediction.model.labels.labels if label.malignant),
    )
    st.plotly_chart(
        charts.probability_bars(frame),
        key="probabilities",
        config={"displayModeBar": False},
        alt="; ".join(f"{row['class']} {percent(row['probability'])}" for _, row in frame.iterrows()),
    )
    st.caption("Hatched bars are the classes that count as malignant.")
    with st.expander("Table and download", icon=":material/table_chart:", key="table"):
        st.dataframe(
            frame,
            hide_index=True,
            column_order=["class", "malignant", "probability"],
            column_config={
                "class": "Class",
                "malignant": st.column_config.CheckboxColumn("Malignant"),
                "probability": st.column_config.NumberColumn("Probability", format="percent"),
            },
            alt="Every class with its probability",
        )
        st.download_button(
            "Download as CSV",
            frame.to_csv(index=False),
            "probabilities.csv",
            "text/csv",
            key="download_table",
            icon=":material/download:",
            on_click="ignore",
        )


@st.fragment
def show_map(prediction: Prediction, class_maps: np.ndarray, photo: Photo, image: Image.Image, crop: Crop) -> None:
    """The attention map of a class beside the square it belongs to."""
    labels = prediction.model.labels
    st.space("small")
    st.subheader(
        "Where the model looked",
        anchor=False,
        help="Grad-CAM at the network's last convolution. It is coarse, and it shows where the evidence for a class "
        "lies, not whether that evidence is good.",
    )
    choice, strength = st.columns(2, gap="medium")
    code = choice.selectbox(
        "Map of the class",
        charts.probability_frame(prediction)["code"].tolist(),
        format_func=lambda code: labels[code].name,
        # a new square or image starts at its own most probable class
        key=f"map_class_{photo.key}_{prediction.predicted}",
    )
    opacity = strength.slider("Opacity", 0, 100, 60, 5, format="%d%%", key="map_opacity") / 100
    square = imaging.crop_resize(image, MAP_SIDE, crop)
    cam = attention.grad_cam(class_maps, labels.codes.index(code))
    overlay = attention.overlay(square, cam, opacity)
    name = labels[code].name
    before, after = st.columns(2, gap="medium")
    before.image(square, "The square the model saw", width="stretch", alt="The square of the image")
    if cam.any():
        words = (
            f"Yellow speaks most for “{name}” in this image, dark speaks less, and what keeps its colour not at all."
        )
    else:
        words = f"No part of the image speaks for “{name}”."
    after.image(overlay, words, width="stretch", alt=f"The same square with the attention map of {name}")
    after.download_button(
        "Download the map as PNG",
        photos.png(overlay),
        f"{photo.name}-map-{code}.png",
        "image/png",
        key="download_map",
        icon=":material/download:",
        on_click="ignore",
    )


def show_classes(model: Model) -> None:
    st.space("small")
    st.subheader("What the classes mean", anchor=False)
    with st.grid(2, min_column_width=300, gap=("small", "medium")):
        for label in model.labels.labels:
            with st.container(gap=None):
                badge = " :orange-badge[counts as malignant]" if label.malignant else ""
                ui.guide_link(label.code, f"**{label.name}**{badge}")
                st.markdown(label.summary)


def show_limits(model: Model) -> None:
    training, scores = model.card["training"], model.card["scores"]

    def share(name: str) -> str:
        score = scores[name]
        return f"{score['value']:.0%} (95% interval {score['low']:.0%} to {score['high']:.0%})"

    missed = ""
    if "sensitivity_malignancy" in scores:
        found = share("sensitivity_malignancy")
        missed = f"Of the malignant ones, it gave half or more to the malignant classes in {found}."
    st.space("small")
    with st.container(border=True):
        st.subheader("What this does not tell you", anchor=False)
        st.markdown(
            f"""
- **It is not a diagnosis.** The model compares one picture with pictures it learnt from. It knows nothing about your
  history, how the spot has changed, or the rest of your skin.
- **It is often wrong.** On {model.card["test"]["images"]:,} test images, like those it learnt from, its highest
  probability named the right class in {share("accuracy")}. {missed}
- **It learnt from few places.** {training["images"]["train"]:,} {model.modality} images of {training["dataset"]}, from
  a few clinics and mostly of light skin. Other cameras, phone photos and darker skin can be answered worse, and the
  probabilities are calibrated on such images only.
- **It knows {len(model.labels.codes)} classes and no others.** Anything else, healthy skin included, is still divided
  among them.
- **If a spot is new, changes, bleeds or worries you, see a doctor,** whatever the numbers here say.
"""
        )


with ui.page("Classify"):
    st.title("Classify an image", anchor=False)
    st.markdown(
        "Add a dermoscopy image to see every class with its probability, and where the model looked. "
        "Nothing you add is kept."
    )

    for reason in registry.problems().values():
        st.warning(reason)
    models = {model.id: model for model in registry.ranked()}
    if not models:
        st.error("There is no model to answer with. Put a model folder into `models`, then load this page again.")
        st.stop()
    model = next(iter(models.values()))
    if len(models) > 1:
        model = models[st.selectbox("Model", list(models), format_func=lambda key: models[key].title, key="model")]

    photo = photos.choose()
    if photo is None:
        photos.forget()
    else:
        try:
            show_answer(model, photo, photos.decoded(photo))
        except SkinappError as error:
            st.error(str(error))
    show_classes(model)
    show_limits(model)
