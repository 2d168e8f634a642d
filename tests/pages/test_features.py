"""Features models on every page: measurements instead of a map, and left out where a network is needed."""

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from skinapp.images import imaging
from skinapp.inference import registry, runtime
from skinapp.lesion import features
from skinapp.report import feature_views
from skinapp.ui import layout
from tests.pictures import encode, lesion

PHOTO = encode(lesion(400, 300, seed=1))
MODEL = "malignancy-features"


@pytest.fixture(scope="module")
def model() -> registry.Model:
    return registry.model(MODEL)


def text(at: AppTest) -> str:
    return " ".join(element.value for element in (*at.markdown, *at.caption, *at.warning, *at.info))


@pytest.fixture
def answered() -> AppTest:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/classify.py").run()
    at.file_uploader[0].upload("photo.jpg", PHOTO).run()
    at.selectbox(key="model").set_value(MODEL).run()
    assert not at.exception
    assert not at.error
    return at


@pytest.mark.usefixtures("clear_dermoscopy")
def test_the_contributions_stand_in_place_of_a_map(answered: AppTest, model: registry.Model) -> None:
    prediction = runtime.classifier(model).predict(imaging.load(PHOTO, model.input_size))
    assert {tab.label for tab in answered.tabs} >= {"Features", "Every class", "Segmentation"}
    assert "Map" not in {tab.label for tab in answered.tabs}
    table = next(frame.value for frame in answered.dataframe if "contribution" in frame.value)
    index = model.labels.codes.index(prediction.predicted)
    assert table["contribution"].sum() == pytest.approx(prediction.logits[index], abs=1e-5)
    assert set(table["feature"]) == {*features.TITLES, "start"}
    assert feature_views.READING in text(answered)
    assert "there is no map of where it looked" in text(answered)
    other = next(code for code in model.labels.codes if code != prediction.predicted)
    box = next(box for box in answered.selectbox if box.label == "What counted towards the class")
    box.set_value(other).run()
    table = next(frame.value for frame in answered.dataframe if "contribution" in frame.value)
    assert table["contribution"].sum() == pytest.approx(prediction.logits[1 - index], abs=1e-5)


@pytest.mark.usefixtures("clear_dermoscopy")
def test_the_attention_page_leaves_it_out_with_a_reason(answered: AppTest) -> None:
    answered.switch_page("pages/attention.py").run()
    assert not answered.exception
    assert not answered.error
    assert "no map of where it looked. The features that led to its answer are on the Classify page" in text(answered)
    offered = answered.multiselect(key="attention_models")
    assert offered.value
    assert not any("measured features" in option for option in offered.options)


@pytest.mark.usefixtures("clear_dermoscopy")
def test_an_image_without_a_lesion_says_that_nothing_was_measured() -> None:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/classify.py").run()
    generator = np.random.default_rng(0)
    skin = (np.array([225, 180, 160]) + generator.normal(0, 3, (300, 300, 3))).clip(0, 255).astype(np.uint8)
    at.file_uploader[0].upload("skin.png", encode(Image.fromarray(skin), "PNG")).run()
    at.selectbox(key="model").set_value(MODEL).run()
    assert not at.exception
    assert "no feature can be measured" in text(at)
    assert "The answer only reflects how common each class is" in text(at)


def test_the_models_page_lists_what_is_measured(model: registry.Model) -> None:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/models.py")
    at.query_params["card"] = MODEL
    at.run()
    assert not at.exception
    assert "Fractal dimension of the border" in text(at)
    assert f"{model.card['training']['boosting']['iterations']} iterations" in text(at)
