"""An image in; every class with its probability, and where the model looked, out."""

import numpy as np
import streamlit as st
from PIL import Image

from skinapp.attention import heatmap
from skinapp.charts import probabilities
from skinapp.errors import ModelError, SkinappError
from skinapp.formatting import percent
from skinapp.images import hair, imaging, quality
from skinapp.images.imaging import Crop
from skinapp.inference import modality, registry, runtime
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Prediction
from skinapp.ui import layout, lesion_panels, metadata_form
from skinapp.ui import photo as photos
from skinapp.ui.photo import Photo

# pixels at which the square and its map are shown; the model itself sees its own input size
MAP_SIDE = 512


SUITED = ""
"""Stands for the choice to leave the model to what the image is."""


def show_picture(photo: Photo, image: Image.Image) -> Crop:
    """The image with its square, and below it what is to be said of the picture itself."""
    crop = photos.choose_crop(photo, image)
    for sentence in quality.warnings(quality.measure(image, crop)):
        st.warning(sentence, icon=":material/photo_camera:")
    return crop


@st.fragment
def show_answer(model: Model, photo: Photo, image: Image.Image) -> None:
    """The square and the model's answer to it. A fragment, so that moving the square redraws no more than this."""
    picture, result = st.columns(2, gap="medium")
    with picture:
        crop = show_picture(photo, image)
        hairless = not model.removes_hair and st.toggle(
            "Take hairs out of the picture first",
            key="hair_removal",
            help="Dark hairs are found and painted over from the skin beside them. The model learnt with hairs, and on "
            "test images it answers no better without them.",
        )
    try:
        image = photos.decoded(photo, crop)
        pixels = imaging.crop_resize(image, model.input_size, crop)
        classifier = runtime.classifier(model)
        alone = classifier.predict(hair.remove(pixels) if hairless else pixels)
        with picture:
            answers = metadata_form.ask(model)
        prediction = classifier.with_answers(alone, answers)
    except SkinappError as error:
        result.error(str(error))
        return
    with result:
        show_probabilities(prediction, alone, len(answers))
    if prediction.class_maps is None:
        st.caption("This network ends in dense layers, so there is no map of where it looked.")
    else:
        show_map(prediction, prediction.class_maps, photo, image, crop, hairless)


def show_unanswered(photo: Photo, image: Image.Image) -> None:
    """The image alone, for one that the models know nothing about."""
    picture, _ = st.columns(2, gap="medium")
    picture.image(photos.preview(image, imaging.CENTRE), photo.caption, width="stretch", alt="The image")


def show_probabilities(prediction: Prediction, alone: Prediction, answered: int) -> None:
    """The answer; and, where `answered` questions about the patient were, what it was from the image `alone`."""
    frame = probabilities.probability_frame(prediction)
    top = frame.iloc[0]
    st.subheader(f"The model's highest probability: {top['class']}, {percent(top['probability'])}", anchor=False)
    st.metric(
        "Malignant classes together",
        percent(prediction.malignancy),
        help="The summed probability of the classes that count as malignant, pre-cancers included: "
        + "; ".join(label.name for label in prediction.model.labels.labels if label.malignant),
    )
    if answered:
        first = probabilities.probability_frame(alone).iloc[0]
        st.markdown(
            f":material/person: With your {answered} {'answer' if answered == 1 else 'answers'}. From the image alone: "
            f"{first['class']}, {percent(first['probability'])}; malignant classes together "
            f"{percent(alone.malignancy)}."
        )
        image_alone = dict(zip(alone.model.labels.codes, alone.probabilities, strict=True))
        frame["image alone"] = frame["code"].map(image_alone)
    st.plotly_chart(
        probabilities.probability_bars(frame),
        key="probabilities",
        config={"displayModeBar": False},
        alt="; ".join(f"{row['class']} {percent(row['probability'])}" for _, row in frame.iterrows()),
    )
    st.caption("Hatched bars are the classes that count as malignant.")
    with st.expander("Table and download", icon=":material/table_chart:", key="table"):
        st.dataframe(
            frame,
            hide_index=True,
            column_order=["class", "malignant", "probability", "image alone"],
            column_config={
                "class": "Class",
                "malignant": st.column_config.CheckboxColumn("Malignant"),
                "probability": st.column_config.NumberColumn("Probability", format="percent"),
                "image alone": st.column_config.NumberColumn("From the image alone", format="percent"),
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
def show_map(
    prediction: Prediction, class_maps: np.ndarray, photo: Photo, image: Image.Image, crop: Crop, hairless: bool
) -> None:
    """The attention map of a class beside the square it belongs to."""
    labels = prediction.model.labels
    st.space("small")
    st.subheader(
        "Where the model looked",
        anchor=False,
        help="Grad-CAM at the network's last convolution. It is coarse, and it shows where the evidence for a class "
        "lies, not whether that evidence is good. Answers about the patient have no place in it.",
    )
    choice, strength = st.columns(2, gap="medium")
    code = choice.selectbox(
        "Map of the class",
        probabilities.probability_frame(prediction)["code"].tolist(),
        format_func=lambda code: labels[code].name,
        # a new square or image starts at its own most probable class
        key=f"map_class_{photo.key}_{prediction.predicted}",
    )
    opacity = strength.slider("Opacity", 0, 100, 60, 5, format="%d%%", key="map_opacity") / 100
    square = imaging.crop_resize(image, MAP_SIDE, crop)
    if hairless or prediction.model.removes_hair:
        square = hair.remove(square)
    cam = heatmap.grad_cam(class_maps, labels.codes.index(code))
    overlay = heatmap.overlay(square, cam, opacity)
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
    if after.button(
        "Look closer: other methods, layers and models",
        icon=":material/visibility:",
        key="to_attention",
        on_click=photos.take_along,
        args=(photo,),
    ):
        st.switch_page(layout.path("attention"))
    if not cam.any():
        return
    # after the map is drawn, since it takes some more answers of the model
    pixels = imaging.crop_resize(image, prediction.model.input_size, crop)
    if hairless:
        pixels = hair.remove(pixels)
    explain = lesion_panels.last_convolution(prediction.model, labels.codes.index(code))
    subject = lesion_panels.Subject(prediction.model, photo, crop, square, pixels, code, cam, explain)
    lesion_panels.show_sentence(subject)
    lesion_panels.show_panels(subject, prediction)


def show_classes(model: Model) -> None:
    st.space("small")
    st.subheader("What the classes mean", anchor=False)
    with st.grid(2, min_column_width=300, gap=("small", "medium")):
        for label in model.labels.labels:
            with st.container(gap=None):
                badge = " :orange-badge[counts as malignant]" if label.malignant else ""
                layout.guide_link(label.code, f"**{label.name}**{badge}")
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
    known = "the picture and what you answered" if model.clinical else "one picture"
    others = "Dermoscopy images" if model.modality == "smartphone" else "Phone photos"
    with st.container(border=True):
        st.subheader("What this does not tell you", anchor=False)
        st.markdown(
            f"""
- **It is not a diagnosis.** The model compares {known} with what it learnt from. It knows nothing else about your
  history, or the rest of your skin.
- **It is often wrong.** On {model.card["test"]["images"]:,} test images, like those it learnt from, its highest
  probability named the right class in {share("accuracy")}. {missed}
- **It learnt from few places.** {training["images"]["train"]:,} {modality.IMAGES[model.modality]} of
  {training["dataset"]}, from a few clinics and mostly of light skin. {others}, photos of a screen, other cameras and
  darker skin can be answered worse, and the probabilities are calibrated on such images only.
- **It knows {len(model.labels.codes)} classes and no others.** Anything else, healthy skin included, is still divided
  among them.
- **If a spot is new, changes, bleeds or worries you, see a doctor,** whatever the numbers here say.
"""
        )


with layout.page("Classify"):
    st.title("Classify an image", anchor=False)
    st.markdown(
        "Add a dermoscopy image or a phone photo of a spot to see every class with its probability, and where the "
        "model looked. Nothing you add is kept."
    )

    for reason in registry.problems().values():
        st.warning(reason)
    models = {model.id: model for model in registry.ranked()}
    if not models:
        st.error("There is no model to answer with. Put a model folder into `models`, then load this page again.")
        st.stop()
    chosen = models.get(
        st.selectbox(
            "Model",
            [SUITED, *models],
            format_func=lambda key: models[key].title if key else "The best one for the kind of image",
            key="model",
            help="Some models learnt from dermoscopy images, others from phone photos. Left to the page, the kind of "
            "image decides.",
        )
    )
    model = chosen or next(iter(models.values()))

    photo = photos.choose()
    if photo is None:
        photos.forget()
    else:
        try:
            image = photos.decoded(photo)
            recognised = None
            try:
                recognised = photos.recognised(photo)
            except ModelError as error:
                st.warning(str(error))
            route = modality.route(list(models.values()), recognised, chosen)
            model = route.model
            if route.sentence:
                say = st.warning if route.doubtful else st.caption
                say(f":material/{'warning' if route.doubtful else 'fork_right'}: {route.sentence}")
            unknown = recognised is not None and recognised.kind == "neither"
            if unknown and not st.toggle("Show the probabilities all the same", key=f"anyway_{photo.key}"):
                show_unanswered(photo, image)
            else:
                show_answer(model, photo, image)
        except SkinappError as error:
            st.error(str(error))
    show_classes(model)
    show_limits(model)
