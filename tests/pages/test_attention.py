"""The attention page: shows the library's own maps for an image, and reasons for maps that cannot be made."""

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Multiselect

from skinapp.attention import attribution
from skinapp.attention import catalogue as methods
from skinapp.attention.sanity_check import MAX_SIMILARITY
from skinapp.formatting import percent
from skinapp.images import imaging
from skinapp.inference import registry, retrieval, runtime
from skinapp.ui import attention_audit, layout
from tests import tiny_network
from tests.pages.test_classify import upload_several
from tests.pictures import encode, lesion
from train.publish import retrieval_index

PHOTO = encode(lesion(400, 300, seed=1))


@pytest.fixture(scope="module")
def model() -> registry.Model:
    """The default model of the page: the best image-only single network."""
    return next(one for one in registry.ranked() if one.kind == "classifier" and not one.clinical)


@pytest.fixture
def page() -> AppTest:
    return (
        AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=120).switch_page("pages/attention.py").run()
    )


def upload(at: AppTest, data: bytes) -> AppTest:
    at.file_uploader[0].upload("photo.jpg", data).run()
    assert not at.exception
    return at


def made_maps(at: AppTest) -> dict[tuple, tuple[np.ndarray | None, str]]:
    return at.session_state["cached_attention_maps"][1]


def classes(at: AppTest) -> Multiselect[Any]:
    return next(one for one in at.multiselect if one.label == "Classes")


def test_an_upload_gets_the_librarys_map_of_the_most_probable_class(
    page: AppTest, model: registry.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # no thumbnails of similar cases without the data set
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path))
    upload(page, PHOTO)
    [(raw, problem)] = made_maps(page).values()
    [code] = classes(page).value
    assert not problem
    expected = methods.raw("last-convolution", model, imaging.load(PHOTO, model.input_size), code)
    assert (raw == expected).all()
    # the image with its square, the square, the colours, the map, and the segmentation
    assert len(page.image) == 5


def test_two_methods_and_two_classes_and_nothing_is_made_twice(page: AppTest) -> None:
    page.session_state["attention_occlusion_cells"] = 3
    page.session_state["attention_occlusion_patch"] = 1
    upload(page, PHOTO)
    page.pills(key="attention_methods").set_value(["last-convolution", "occlusion"])
    classes(page).set_value(["mel", "nv"]).run()
    assert page.number_input(key="attention_occlusion_cells").value == 3
    assert not page.exception
    made = made_maps(page)
    assert {(key[1], key[3]) for key in made} >= {
        (method, code) for method in ("last-convolution", "occlusion") for code in ("mel", "nv")
    }
    before = {key: id(raw) for key, (raw, _) in made.items()}
    page.slider(key="attention_opacity").set_value(20).run()
    page.toggle(key="attention_linked").set_value(True).run()
    assert {key: id(raw) for key, (raw, _) in made_maps(page).items()} == before


def test_one_class_rather_than_another(page: AppTest, model: registry.Model) -> None:
    upload(page, PHOTO)
    classes(page).set_value(["mel"])
    page.selectbox(key="attention_against").set_value("nv").run()
    raw = next(raw for key, (raw, _) in made_maps(page).items() if key[3] == ("mel", "nv"))
    pixels = imaging.load(PHOTO, model.input_size)
    parts = [methods.raw("last-convolution", model, pixels, code) for code in ("mel", "nv")]
    assert raw == pytest.approx(parts[0] - parts[1], abs=1e-4)
    page.selectbox(key="attention_against").set_value("mel").run()
    assert "cannot be compared with itself" in page.warning[0].value


def test_a_class_that_one_of_two_models_lacks(page: AppTest) -> None:
    upload(page, PHOTO)
    both = ["ham10000-efficientnetb1", "malignancy-efficientnetb1"]
    page.multiselect(key="attention_models").set_value(both).run()
    classes(page).set_value(["mel"]).run()
    assert not page.exception
    assert "The model 'malignancy-efficientnetb1' has no class 'mel'" in page.warning[0].value


def test_a_model_that_uses_patient_details_says_that_its_maps_do_not(page: AppTest) -> None:
    upload(page, PHOTO)
    clinical = registry.model("ham10000-efficientnetb1-clinical")
    page.multiselect(key="attention_models").set_value([clinical.id]).run()
    assert not page.exception
    note = "also uses details about the patient. Its maps, and the probabilities beside them, come from the image alone"
    assert note in " ".join(one.value for one in page.caption)


@pytest.mark.usefixtures("clear_dermoscopy")
def test_another_image_starts_with_its_own_most_likely_class(page: AppTest, model: registry.Model) -> None:
    upload(page, PHOTO)
    other = encode(ImageOps.invert(lesion(400, 300, seed=1)))
    first, second = (
        runtime.classifier(model).predict(imaging.load(data, model.input_size)).predicted for data in (PHOTO, other)
    )
    assert first != second
    assert classes(page).value == [first]
    upload(page, other)
    assert classes(page).value == [second]


def test_an_image_all_black(page: AppTest) -> None:
    file = io.BytesIO()
    Image.new("RGB", (300, 300)).save(file, "PNG")
    upload(page, file.getvalue())
    next(one for one in page.toggle if one.label == "Show the answer anyway").set_value(True).run()
    assert any("The image is all black" in warning.value for warning in page.warning)


def test_methods_that_are_not_installed_are_greyed_out_with_the_command_that_adds_them(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_spec(name: str) -> object:
        return None if name in ("tensorflow", "torch") else object()

    monkeypatch.setattr(methods.importlib.util, "find_spec", find_spec)
    upload(page, PHOTO)
    choosable = page.pills(key="attention_methods")
    assert choosable.options == ["Grad-CAM, last convolution", "Occlusion", "RISE"]
    greyed = [pills for pills in page.pills if pills.disabled]
    assert {title for pills in greyed for title in pills.options} == {
        method.title for method in methods.METHODS.values() if method.needs != methods.LITERT
    }
    said = [element.value for element in page.markdown]
    assert any("torch" in caption and "`make research` adds" in caption for caption in said)
    assert any("TensorFlow" in caption and "requirements.txt` adds" in caption for caption in said)
    assert sum(raw is not None for raw, _ in made_maps(page).values()) == 1


@pytest.mark.slow
def test_road_without_and_with_the_research_packages(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(page, PHOTO)
    with monkeypatch.context() as patch:
        patch.setattr(methods.importlib.util, "find_spec", lambda name: None)
        page.toggle(key="road_map").set_value(True).run()
        assert not page.exception
        assert any("`make research` adds" in warning.value for warning in page.warning)
    if missing := methods.missing(methods.TORCH):
        pytest.skip(missing)
    page.run()
    assert not page.exception
    scores = next(table.value for table in page.dataframe if "ROAD" in table.value)
    assert list(scores["map"]) == ["this map", "centred blob", "random map"]
    assert scores["ROAD"].between(-1, 1).all()


def test_a_new_image_frees_the_maps_of_the_old_one(page: AppTest) -> None:
    upload(page, PHOTO)
    before = page.session_state["cached_attention_maps"][0]
    upload(page, encode(lesion(400, 300, seed=2)))
    assert page.session_state["cached_attention_maps"][0] != before
    assert len(made_maps(page)) == 1
    page.button(key="remove_image").click().run()
    # the first one is still there
    assert page.session_state["cached_attention_maps"][0] == before
    page.button(key="remove_all_images").click().run()
    assert "cached_attention_maps" not in page.session_state


def open_page(at: AppTest, name: str) -> AppTest:
    at.switch_page(f"pages/{name}.py").run()
    assert not at.exception
    return at


def test_the_image_its_square_and_the_model_that_answered_are_on_every_page() -> None:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/classify.py").run()
    upload(at, PHOTO)
    chosen = [model for model in registry.ranked() if model.has_class_maps][-1].id
    at.selectbox(key="model").set_value(chosen).run()
    next(slider for slider in at.slider if slider.label == "Size").set_value(80).run()
    at.button(key="to_attention").click().run()
    assert not at.exception
    assert at.title[0].value == "Where a model looked"
    assert at.multiselect(key="attention_models").value == [chosen]
    assert next(slider for slider in at.slider if slider.label == "Size").value == 80
    for name in ("guide", "models", "home"):
        open_page(at, name)
        assert at.button(key="remove_image").label == "Remove"
    open_page(at, "classify")
    assert at.selectbox(key="model").value == chosen
    assert next(slider for slider in at.slider if slider.label == "Size").value == 80
    open_page(at, "attention")
    at.button(key="remove_image").click().run()
    assert not at.exception
    assert not open_page(at, "classify").metric


def test_a_new_image_of_another_kind_gets_the_model_for_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that answered comes first only for the same image."""
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/classify.py").run()
    upload(at, PHOTO)
    at.session_state["answered_by"] = "smartphone-efficientnetb1-6class"
    open_page(at, "attention")
    [chosen] = at.multiselect(key="attention_models").value
    kind = at.session_state["cached_recognised"][1].kind
    assert kind == "dermoscopy"
    assert registry.model(chosen).modality == kind


def test_the_strip_makes_no_more_classifications_than_one_image_may(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skinapp.ui.map_strip.MAX_CLASSIFICATIONS", 2)
    upload_several(page, {f"spot-{seed}.jpg": encode(lesion(400, 300, seed=seed)) for seed in (1, 2, 3)})
    assert not page.exception
    assert "Only the first map of 2 of your 3 images is shown" in " ".join(caption.value for caption in page.caption)
    assert len(page.session_state["cached_attention_strip"][1]) == 1


@pytest.mark.slow
def test_the_maps_of_several_images_are_in_a_strip(page: AppTest, model: registry.Model) -> None:
    photos = {f"spot-{seed}.jpg": encode(lesion(400, 300, seed=seed)) for seed in (1, 2, 3)}
    china = encode(Image.fromarray(load_sample_image("china.jpg")))
    upload_several(page, photos | {"china.jpg": china})
    assert any(header.value == "The same maps for your other images" for header in page.subheader)
    tiles = page.session_state["cached_attention_strip"][1]
    [code] = classes(page).value
    made = [tile.raw for tile in tiles.values() if tile.raw is not None]
    for raw, name in zip(made, ("spot-2.jpg", "spot-3.jpg"), strict=True):
        expected = methods.raw("last-convolution", model, imaging.load(photos[name], model.input_size), code)
        assert raw == pytest.approx(expected, abs=1e-4)
    # each has to pass the same checks as the first
    [failed] = [tile for tile in tiles.values() if tile.raw is None]
    assert "Fails a check" in failed.problem
    before = {key: id(tile) for key, tile in tiles.items()}
    page.slider(key="attention_opacity").set_value(20).run()
    assert {key: id(tile) for key, tile in page.session_state["cached_attention_strip"][1].items()} == before
    next(button for button in page.button if button.label == "Open").click().run()
    assert not page.exception
    assert made_maps(page)
    assert len(page.session_state["cached_attention_strip"][1]) == 3


def test_a_slow_method_waits_before_it_is_run_for_every_image(page: AppTest, model: registry.Model) -> None:
    page.session_state["attention_occlusion_cells"] = 2
    page.session_state["attention_occlusion_patch"] = 1
    upload_several(page, {"one.jpg": PHOTO, "two.jpg": encode(lesion(400, 300, seed=2))})
    page.pills(key="attention_methods").set_value(["last-convolution", "occlusion"]).run()
    toggle = page.toggle(key="attention_strip")
    assert toggle.label == "Make 1 more map"
    toggle.set_value(True).run()
    assert not page.exception
    assert [key[-1][1] for key in page.session_state["cached_attention_strip"][1]] == ["last-convolution", "occlusion"]


@pytest.mark.slow
def test_the_number_of_maps_is_limited_by_the_page(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_several(page, {f"{seed}.jpg": encode(lesion(300, 225, seed=seed)) for seed in range(9)})
    page.multiselect(key=page.multiselect[1].key).set_value(["mel", "nv"]).run()
    assert not page.exception
    # eight images and at most twelve maps: one row
    assert len(page.session_state["cached_attention_strip"][1]) == 7
    assert any("Only the first map of each image is shown" in caption.value for caption in page.caption)


def test_pictures_not_of_skin_get_no_map_unless_requested(page: AppTest) -> None:
    upload(page, encode(Image.fromarray(load_sample_image("china.jpg"))))
    assert "The models are made for dermoscopy images and phone photos only" in page.warning[0].value
    assert "cached_attention_maps" not in page.session_state
    next(toggle for toggle in page.toggle if toggle.label == "Show the answer anyway").set_value(True).run()
    assert made_maps(page)
    # the choice made here applies on the classify page
    assert open_page(page, "classify").metric


def test_the_table_of_the_audit_is_shown_and_an_altered_one_is_not(
    own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = own_models / model.id / "attention-audit.csv"
    measures = {f"{name}{end}": 0.5 for name in attention_audit.MEASURES for end in ("", "_low", "_high")}
    row = {"title": "A method", "images": 300, **measures, "milliseconds": 12.4, "answers": 1.26}
    row |= {"milliseconds_low": 10.0, "milliseconds_high": 20.0, "network": None}
    pd.DataFrame([row]).to_csv(file, index=False)
    card = json.loads((own_models / model.id / "model.json").read_text())
    content = file.read_bytes()
    card["files"][file.name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (own_models / model.id / "model.json").write_text(json.dumps(card))
    monkeypatch.setenv("SKINAPP_MODELS", str(own_models))
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=120).switch_page("pages/attention.py").run()
    upload(at, PHOTO)
    shown = next(table.value for table in at.dataframe if "Method" in table.value)
    assert shown.iloc[0].to_dict() == {
        "Method": "A method",
        "Images": 300,
        "On the lesion": "0.50 (0.50 to 0.50)",
        "Insertion": "0.50 (0.50 to 0.50)",
        "Deletion": "0.50 (0.50 to 0.50)",
        "Similarity, untrained head": "0.50 (0.50 to 0.50)",
        "Similarity, untrained network": "",
        "Time, ms": "12 (10 to 20)",
        "Times one classification": "1.3",
    }
    assert any("up to 300 test images" in caption.value for caption in at.caption)
    file.write_bytes(content.replace(b"0.5", b"0.9"))
    at.run()
    assert any("was changed after it was published" in error.value for error in at.error)


def test_the_effect_of_border_colour_and_texture_is_shown(page: AppTest, model: registry.Model) -> None:
    page.session_state["lesion_panels"] = "Border, colour, texture"
    upload(page, PHOTO)
    changed, result = page.session_state["cached_attribution"][1]
    pixels = imaging.load(PHOTO, model.input_size)
    classifier = runtime.classifier(model)
    before = classifier.predict(pixels)
    assert result.unchanged == pytest.approx(before.probabilities.max())
    text = " ".join(element.value for element in page.markdown)
    for feature, change in changed.items():
        after = classifier.predict(change.lesion).probabilities[before.probabilities.argmax()]
        assert result.effects[feature].lesion == pytest.approx(after)
        assert f"**{percent(after)}**; same change beside the lesion: {percent(result.effects[feature].skin)}" in text


def test_the_figures_of_test_images_are_shown_for_the_networks_that_they_were_measured_for(
    page: AppTest, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = {"value": 0.1234, "low": 0.1, "high": 0.15}
    feature = dict.fromkeys(("lesion", "skin", "difference", "lesion_changes", "skin_changes"), share)
    figures = {"images": 300, "lesions": 290, "whole": share, "features": dict.fromkeys(attribution.FEATURES, feature)}
    entry = {"networks": model.hashes, "images_of": "HAM10000", "outlines": "masks", "all": figures}
    entry |= {"classes": {"mel": {"name": "Melanoma", **figures, "images": 40}}}
    monkeypatch.setattr(attribution, "card", lambda: {"models": {model.id: entry}})
    page.session_state["lesion_panels"] = "Border, colour, texture"
    upload(page, PHOTO)
    assert any("300 test images of 290 lesions from HAM10000" in caption.value for caption in page.caption)
    page.selectbox(key=f"attribution_class_{model.id}").set_value("mel").run()
    assert any("40 test images" in caption.value for caption in page.caption)
    table = next(table.value for table in page.dataframe if "feature" in table.value)
    assert list(table["lesion"]) == [12.34] * 3
    entry["networks"] = ["0" * 64]
    page.run()
    assert not any("feature" in table.value for table in page.dataframe)


def test_similar_cases_of_phone_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of PAD-UFES-20 lists patients, and has no links to the ISIC archive."""
    phone = registry.model("smartphone-efficientnetb1-6class")
    folder = tmp_path / phone.id
    shutil.copytree(phone.folder, folder)
    generator = np.random.default_rng(0)
    size = phone.card["outputs"]["embedding"][0]
    count = 8
    index = retrieval.Index(
        np.zeros(size, np.float32),
        np.eye(size, 4, dtype=np.float32),
        generator.integers(-127, 128, (count, 4)).astype(np.int8),
        np.array([f"PAT_{number}_1_1" for number in range(count)]),
        np.array([f"PAT_{number}" for number in range(count)]),
        np.array(["MEL", "NEV"] * 4),
    )
    share = {"value": 0.5, "low": None, "high": None}
    test = {"images": 9, "lesions": 9, "same": share, "right": share, "sure": {"all": {"images": 9, "right": share}}}
    card = {"dataset": "pad_ufes_20", "looked_up": "MILK10k close-ups", "images": 8, "lesions": 8, "test": test}
    retrieval_index.write(registry.read_model(folder), index, card)
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path))
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/attention.py").run()
    upload(at, PHOTO)
    text = " ".join(element.value for element in at.markdown)
    assert "The most similar of 8 images from PAD-UFES-20, as the model sees them, one per patient" in text
    assert "isic-archive" not in text
    assert any(
        "9 test images from MILK10k close-ups, the prediction was correct for 50% where all 5 agreed (9 images)"
        in caption.value
        for caption in at.caption
    )


@pytest.mark.parametrize("randomised_head", [pytest.param(True, marks=pytest.mark.slow), False])
def test_rise_of_a_network_whose_head_is_randomised_fails_the_comparison_with_copies(
    model: registry.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, randomised_head: bool
) -> None:
    tiny_network.make(model, tmp_path / "models", randomised_head=randomised_head)
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path / "models"))
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=120).switch_page("pages/attention.py").run()
    at.session_state["attention_rise_masks"] = 60
    upload(at, PHOTO)
    at.pills(key="attention_methods").set_value(["rise"]).run()
    assert at.number_input(key="attention_rise_masks").value == 60
    next(toggle for toggle in at.toggle if toggle.label == "Check this map").set_value(True).run()
    at.toggle(key="randomised_map").set_value(True).run()
    assert not at.exception
    table = next(table.value for table in at.dataframe if "randomised down to" in table.value)
    assert list(table["randomised down to"]) == ["head", "stem"]
    failed = any("fails the randomisation test" in warning.value for warning in at.warning)
    reassured = any("as it should" in caption.value for caption in at.caption)
    unchanged = table["rank correlation"].max() > MAX_SIMILARITY
    assert (failed, reassured) == (unchanged, not unchanged)
    if randomised_head:
        assert failed
        assert table["rank correlation"][0] > 0.95


def test_a_method_that_cannot_run_on_copies_is_not_compared_with_them(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(method: str, model: registry.Model, *_: object, **__: object) -> np.ndarray:
        return np.eye(7, dtype=np.float32)

    monkeypatch.setattr(methods, "raw", made)
    monkeypatch.setattr(methods, "missing", lambda needs: "")
    # the record of a map contains versions of packages that may not be installed here
    monkeypatch.setattr("skinapp.ui.map_grid._offer_downloads", lambda *_: None)
    upload(page, PHOTO)
    page.pills(key="attention_methods").set_value(["package-eigencam"]).run()
    next(toggle for toggle in page.toggle if toggle.label == "Check this map").set_value(True).run()
    assert not page.exception
    assert "randomised_map" not in [toggle.key for toggle in page.toggle]
    assert any("cannot be compared with randomised copies" in caption.value for caption in page.caption)
