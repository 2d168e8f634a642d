"""The model used for an upload, messages about it, and the optional patient metadata."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_image
from streamlit.testing.v1 import AppTest

from skinapp.images import imaging
from skinapp.inference import metadata, registry, runtime
from skinapp.inference.modality import Recognised
from skinapp.ui import layout, session_images
from tests.metadata_model import make
from tests.pages.test_classify import shown, upload
from tests.pictures import encode, lesion

PHOTO = encode(lesion(400, 300, seed=1))
OTHER = {"dermoscopy": "smartphone", "smartphone": "dermoscopy"}


@pytest.fixture
def phone(own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch) -> registry.Model:
    """A model for phone photos with metadata fields, and the bundled one for dermoscopy; no others are installed."""
    monkeypatch.setenv("SKINAPP_MODELS", str(own_models))
    return make(model, own_models, "phone", "smartphone")


def open_classify() -> AppTest:
    return AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=30).switch_page("pages/classify.py").run()


def recognise_as(kind: str, monkeypatch: pytest.MonkeyPatch, share: float = 0.96) -> None:
    probabilities = dict.fromkeys(("dermoscopy", "smartphone", "neither"), (1 - share) / 2) | {kind: share}
    monkeypatch.setattr(
        "skinapp.inference.modality.recognise", lambda image: Recognised(kind, probabilities, unlike=False)
    )


def expected(model: registry.Model, values: metadata.Metadata | None = None) -> dict[str, float]:
    prediction = runtime.classifier(model).predict(imaging.load(PHOTO, model.input_size), values)
    return dict(zip(model.labels.codes, prediction.probabilities, strict=True))


def page_text(at: AppTest) -> str:
    return " ".join(element.value for element in (*at.markdown, *at.caption, *at.warning))


@pytest.mark.parametrize("kind", list(OTHER))
def test_an_upload_gets_the_model_for_its_kind_and_may_be_given_another(
    kind: str, phone: registry.Model, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognise_as(kind, monkeypatch)
    models = {one.modality: one for one in (registry.read_model(phone.folder.parent / model.id), phone)}
    at = upload(open_classify(), PHOTO)
    assert f"Answered by “{layout.plain(models[kind].short_name)}”" in page_text(at)
    assert shown(at) == pytest.approx(expected(models[kind]))
    assert "do not apply here" not in page_text(at)
    at.selectbox(key="model").set_value(models[OTHER[kind]].id).run()
    assert "do not apply here" in page_text(at)
    assert shown(at) == pytest.approx(expected(models[OTHER[kind]]))


@pytest.mark.parametrize("share", [0.57, 0.89])
def test_an_uncertain_kind_is_asked_for_and_both_answers_are_shown_until_then(
    share: float, phone: registry.Model, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognise_as("smartphone", monkeypatch, share)
    names = {phone.id: "a", model.id: "b"}
    for place in ("skinapp.ui.prediction.most_likely_name", "skinapp.inference.analysis.most_likely"):
        monkeypatch.setattr(place, lambda prediction: names[prediction.model.id])
    at = upload(open_classify(), PHOTO)
    assert "The two models disagree" in page_text(at)
    assert "If it is a phone photo: **a**" in page_text(at)
    assert "If it is a dermoscopy image: **b**" in page_text(at)
    assert not at.metric
    [kind] = [one for one in at.segmented_control if one.label == "Phone photo or dermoscopy?"]
    kind.set_value("dermoscopy").run()
    assert not at.exception
    bundled = registry.read_model(phone.folder.parent / model.id)
    assert shown(at) == pytest.approx(expected(bundled))
    assert "Dermoscopy, as you said" in page_text(at)


def test_an_uncertain_kind_on_which_both_models_agree_is_answered_and_asked_for(
    phone: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognise_as("smartphone", monkeypatch, 0.6)
    monkeypatch.setattr("skinapp.ui.prediction.most_likely_name", lambda prediction: "mole")
    at = upload(open_classify(), PHOTO)
    assert at.metric
    assert any(one.label == "Phone photo or dermoscopy?" for one in at.segmented_control)
    assert f"Answered by “{layout.plain(phone.short_name)}”" in page_text(at)


def test_a_clear_kind_is_not_asked_for(phone: registry.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    recognise_as("smartphone", monkeypatch, 0.9)
    at = upload(open_classify(), PHOTO)
    assert not any(one.label == "Phone photo or dermoscopy?" for one in at.segmented_control)
    assert at.metric


def test_a_blurred_picture_can_be_retaken_or_answered_anyway() -> None:
    blurred = lesion(400, 300, seed=1).filter(ImageFilter.GaussianBlur(8))
    at = upload(open_classify(), encode(blurred))
    assert any("The image is blurred" in warning.value for warning in at.warning)
    assert not at.metric
    assert not at.dataframe
    next(toggle for toggle in at.toggle if toggle.label == "Show the answer anyway").set_value(True).run()
    assert not at.exception
    assert at.metric
    assert any("The image is blurred" in warning.value for warning in at.warning)


def test_pictures_not_of_skin_get_no_probabilities_unless_requested() -> None:
    at = upload(open_classify(), encode(Image.fromarray(load_sample_image("china.jpg"))))
    assert "The models are made for dermoscopy images and phone photos only" in at.warning[0].value
    assert not at.metric
    next(toggle for toggle in at.toggle if toggle.label == "Show the answer anyway").set_value(True).run()
    assert not at.exception
    assert at.metric


def key(name: str, photo: bytes) -> str:
    return f"patient_phone_{name}_{session_images.key_of(photo)}"


def test_the_next_photo_is_of_another_patient(phone: registry.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    recognise_as("smartphone", monkeypatch)
    at = upload(open_classify(), PHOTO)
    at.number_input(key=key("age", PHOTO)).set_value(85).run()
    at.button(key="remove_image").click().run()
    assert key("age", PHOTO) not in at.session_state
    other = encode(lesion(400, 300, seed=9))
    assert upload(at, other).number_input(key=key("age", other)).value is None
    assert "into account" not in page_text(at)


def test_a_half_filled_form_moves_the_answer_and_the_page_says_from_where(
    phone: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognise_as("smartphone", monkeypatch)
    at = upload(open_classify(), PHOTO)
    alone = expected(phone)
    assert shown(at) == pytest.approx(alone)
    assert "From the image alone" not in page_text(at)
    at.number_input(key=key("age", PHOTO)).set_value(85).run()
    assert not at.exception
    assert shown(at) == pytest.approx(expected(phone, {"age": 85.0}))
    first = phone.labels.codes[0]
    assert shown(at)[first] > alone[first]
    assert "This answer takes 1 detail about the patient into account. From the image alone: " in page_text(at)


def test_the_form_takes_no_impossible_age(phone: registry.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    recognise_as("smartphone", monkeypatch)
    at = upload(open_classify(), PHOTO)
    age, diameter = (at.number_input(key=key(name, PHOTO)) for name in ("age", "diameter_1"))
    assert (age.label, age.min, age.max) == ("Age (years)", 0, 120)
    assert (diameter.label, diameter.min, diameter.max) == ("Larger diameter (mm)", 0.5, 200)


def test_a_model_without_questions_asks_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = next(one for one in registry.models().values() if one.runnable and not one.clinical)
    shutil.copytree(source.folder, tmp_path / source.id)
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path))
    at = upload(open_classify(), PHOTO)
    assert at.metric
    assert not [one for one in at.number_input if one.key.startswith("patient")]


def two_lesions() -> Image.Image:
    """One lesion in the upper left corner, another one to the right."""
    canvas = Image.new("RGB", (800, 400), (214, 168, 142))
    canvas.paste(lesion(260, 200, seed=1), (0, 0))
    canvas.paste(lesion(260, 200, seed=3).rotate(180), (540, 200))
    return canvas


def test_with_two_lesions_or_one_in_a_corner_the_square_decides(
    phone: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognise_as("smartphone", monkeypatch)
    at = upload(open_classify(), encode(two_lesions()))
    assert "Drag a box around the lesion in the picture, or use the sliders" in page_text(at)
    values = []
    for side in (0, 100):
        for label, value in (("Size", 50), ("Left to right", side), ("Top to bottom", side)):
            next(slider for slider in at.slider if slider.label == label).set_value(value).run()
        assert not at.exception
        values.append(shown(at))
    assert values[0] != values[1]


def test_a_photo_of_a_screen_is_answered_with_a_warning() -> None:
    pixels = np.asarray(lesion(600, 450, seed=1)).astype(float)
    # the grid of a display's pixels, which a camera turns into coarse stripes
    pixels *= 0.85 + 0.15 * np.sin(np.arange(600) * 2.1)[np.newaxis, :, np.newaxis]
    at = upload(open_classify(), encode(Image.fromarray(pixels.clip(0, 255).astype(np.uint8))))
    for toggle in [one for one in at.toggle if one.label == "Show the answer anyway"]:
        toggle.set_value(True).run()
    assert "photos of a screen" in page_text(at)
