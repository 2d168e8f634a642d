"""A committee on the classify and attention pages, and their behaviour if one of its members is corrupted."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from skinapp.images import imaging
from skinapp.inference import analysis, registry, runtime
from skinapp.inference.analysis import Analysis
from skinapp.ui import layout
from tests import committee
from tests.pictures import encode, lesion

PHOTO = encode(lesion(400, 300, seed=1))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> registry.Model:
    source = registry.model("ham10000-efficientnetv2b0")
    return committee.make(source, tmp_path_factory.mktemp("models"))


@pytest.fixture
def root(made: registry.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with the committee, which ranks first, and a single network."""
    single = registry.model("ham10000-efficientnetb1")
    folder = tmp_path / "models"
    shutil.copytree(single.folder, folder / single.id)
    shutil.copytree(made.folder, folder / made.id)
    card = json.loads((folder / made.id / "model.json").read_text())
    card["scores"]["balanced_accuracy"]["value"] = 0.99
    (folder / made.id / "model.json").write_text(json.dumps(card))
    monkeypatch.setenv("SKINAPP_MODELS", str(folder))
    return folder


def uploaded(page: str) -> AppTest:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page(f"pages/{page}.py").run()
    at.file_uploader[0].upload("photo.jpg", PHOTO).run()
    assert not at.exception
    return at


def test_the_answer_says_how_far_the_networks_agree(root: Path) -> None:
    at = uploaded("classify")
    model = registry.model("committee", root)
    prediction = runtime.classifier(model).predict(imaging.load(PHOTO, model.input_size))
    table = at.dataframe[0].value
    assert dict(zip(table["code"], table["probability"], strict=True)) == pytest.approx(
        dict(zip(model.labels.codes, prediction.probabilities, strict=True))
    )
    agreed = runtime.agreement(prediction)
    assert agreed is not None
    captions = " ".join(caption.value for caption in at.caption)
    assert f"{agreed.agreeing} of 3 networks predicted this class" in captions
    assert "across 4 views of the image" in captions
    text = " ".join(element.value for element in at.markdown)
    assert "At 95% sensitivity for cancer or pre-cancer, this image is at or above the threshold" in text
    assert "specificity 61% (50% to 70%)" in text


def test_one_network_answers_a_new_image_before_the_committee(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    analyse = analysis.analyse

    def recorded(image: Any, model: registry.Model, *arguments: Any, **named: Any) -> Analysis:
        asked.append(model.id)
        return analyse(image, model, *arguments, **named)

    monkeypatch.setattr("skinapp.ui.answer.analysis.analyse", recorded)
    at = uploaded("classify")
    assert asked[:2] == ["ham10000-efficientnetb1", "committee"]
    assert "First answer" not in " ".join(caption.value for caption in at.caption)
    asked.clear()
    at.run()
    assert set(asked) <= {"committee"}


def test_a_corrupted_member_leaves_the_other_models_usable(root: Path) -> None:
    (root / "committee" / "member-2.tflite").unlink()
    at = uploaded("classify")
    assert any("lacks its file member-2.tflite" in warning.value for warning in at.warning)
    assert at.dataframe[0].value["probability"].sum() == pytest.approx(1)
    assert "networks predicted this class" not in " ".join(caption.value for caption in at.caption)


def test_only_maps_that_need_no_gradients_are_offered_for_a_committee(root: Path) -> None:
    at = uploaded("attention")
    at.multiselect(key="attention_models").set_value(["committee"]).run()
    [chosen] = [pill for pill in at.pills if pill.label == "Methods"]
    assert [option for pills in at.pills if pills.disabled for option in pills.options]
    assert chosen.options == ["Grad-CAM, last convolution", "Occlusion", "RISE"]
    assert any("comes without the network that gradients need" in caption.value for caption in at.caption)
    raw, problem = list(at.session_state["cached_attention_maps"][1].values())[-1]
    assert not problem
    model = registry.model("committee", root)
    prediction = runtime.classifier(model).predict(imaging.load(PHOTO, model.input_size))
    assert raw == pytest.approx(prediction.class_maps[..., prediction.probabilities.argmax()], abs=1e-5)

    # together with a network that allows them, all are offered, and the committee is skipped for these
    at.multiselect(key="attention_models").set_value(["committee", "ham10000-efficientnetb1"]).run()
    [chosen] = [one for one in at.pills if one.label == "Methods"]
    assert "Grad-CAM, any block" in chosen.options
    assert not at.exception


def test_the_models_page_shows_it(root: Path) -> None:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/models.py")
    at.query_params["card"] = "committee"
    at.run()
    assert not at.exception
    text = " ".join(element.value for element in at.markdown)
    assert "**Network**: 3 x efficientnetv2b0" in text
    assert "**Views**: upright, mirrored, upside down, quarter turn" in text
    assert "Logits and class maps are averaged over the networks and the views (upright, mirrored" in text
    stages = next(frame.value for frame in at.dataframe if "does" in frame.value)
    assert "Of the logits of 3 networks and 4 views" in stages["does"].tolist()
