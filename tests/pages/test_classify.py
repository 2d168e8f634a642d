"""The classify page: shows the library's own answer for an image; a bad file is reported and the page still works."""

import dataclasses
import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from skinapp import formatting
from skinapp.datasets import isic
from skinapp.errors import DataError, SkinappError
from skinapp.evaluation import observed_risk
from skinapp.images import imaging, isolated, removal, synthetic
from skinapp.images.imaging import Crop
from skinapp.inference import analysis, conformal, registry, runtime
from skinapp.labels import sets
from skinapp.report import case_report
from skinapp.ui import add_image, layout, session_images
from skinapp.ui import photo as photos_module
from skinapp.ui.prediction import group_name
from tests.pictures import encode, lesion, png

PHOTO = encode(lesion(400, 300, seed=1))


BAD_FILES = {
    "empty.jpg": b"",
    "text.jpg": b"this is not an image",
    "truncated.jpg": PHOTO[: len(PHOTO) // 2],
    "truncated.png": encode(lesion(), "PNG")[:20_000],
    "paper.pdf": b"%PDF-1.7\n1 0 obj",
    "paper.jpg": b"%PDF-1.7\n1 0 obj",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "pixel.png": encode(Image.new("RGB", (1, 1)), "PNG"),
    "small.png": encode(Image.new("RGB", (63, 200)), "PNG"),
    "huge.png": png(30_000, 30_000, 8, 2, b""),
    "heavy.bmp": b"BM" + bytes(imaging.MAX_BYTES),
}


@pytest.fixture
def page() -> AppTest:
    return AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=30).switch_page("pages/classify.py").run()


def upload(at: AppTest, data: bytes, name: str = "photo.jpg") -> AppTest:
    at.file_uploader[0].upload(name, data).run()
    assert not at.exception
    return at


def upload_several(at: AppTest, files: Mapping[str, bytes]) -> AppTest:
    for name, data in files.items():
        at.file_uploader[0].upload(name, data)
    at.run()
    assert not at.exception
    return at


def shown(at: AppTest) -> dict[str, float]:
    """The probabilities in the page's table, by code."""
    table = at.dataframe[0].value
    return dict(zip(table["code"], table["probability"], strict=True))


def expected(model: registry.Model, data: bytes, crop: Crop = imaging.CENTRE) -> runtime.Prediction:
    return runtime.classifier(model).predict(imaging.load(data, model.input_size, crop))


def words(at: AppTest) -> str:
    """All text on the page."""
    return "\n".join(element.value for element in at.markdown)


def headline(at: AppTest) -> str:
    return next(heading.value for heading in at.subheader if heading.value.startswith("Most likely"))


def shares(at: AppTest) -> dict[str, str]:
    """The displayed shares of cancer, pre-cancer and harmless."""
    names = [group_name(name) for name in sets.GROUPS.values()]
    return {metric.label: metric.value for metric in at.metric if metric.label in names}


def test_an_uploaded_photo_gets_exactly_the_librarys_answer(page: AppTest, model: registry.Model) -> None:
    upload(page, PHOTO)
    prediction = expected(model, PHOTO)
    probabilities = shown(page)
    assert probabilities == dict(zip(model.labels.codes, prediction.probabilities, strict=True))
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-9)
    name = model.labels[prediction.predicted].spoken
    assert headline(page) == f"Most likely: {name}, {formatting.percent(prediction.probabilities.max())}"
    assert shares(page) == {
        group_name(name): formatting.short_percent(share) for name, share in analysis.shares(prediction).items()
    }
    assert sum(analysis.shares(prediction).values()) == pytest.approx(1)
    assert page.get("plotly_chart")
    assert any(
        f"Answered by “{layout.plain(prediction.model.short_name)}”" in caption.value for caption in page.caption
    )


def test_removals_are_chosen_and_reported(page: AppTest, model: registry.Model) -> None:
    image = synthetic.with_hairs(lesion(400, 300, seed=1), np.random.default_rng(0), 12)
    upload(page, encode(image, "PNG"), "hairy.png")
    choice = page.pills(key="remove_from_dermoscopy")
    assert list(choice.options) == list(removal.KINDS.values())
    assert choice.value == list(removal.by_default("dermoscopy"))
    assert removal.advice("dermoscopy") in choice.help
    for chosen in ([], ["hair", "sticker"]):
        page.pills(key="remove_from_dermoscopy").set_value(chosen).run()
        assert not page.exception
        made = analysis.analyse(image, model, remove=chosen)
        assert shown(page) == dict(zip(model.labels.codes, made.prediction.probabilities, strict=True))
        said = [caption.value for caption in page.caption if "emoved" in caption.value]
        sentence = removal.sentence(made.removed) if made.removed else ""
        # next to the answer, and above the square that the model saw
        assert said == ([f":material/healing: {sentence} See “Artefacts” below.", sentence] if sentence else [])
    assert sentence.startswith("Removed: hairs (")


def test_every_page_removes_what_was_chosen(page: AppTest, model: registry.Model) -> None:
    image = synthetic.with_hairs(lesion(400, 300, seed=1), np.random.default_rng(0), 12)
    upload(page, encode(image, "PNG"), "hairy.png")
    page.pills(key="remove_from_dermoscopy").set_value(["hair"]).run()
    page.switch_page("pages/attention.py").run()
    assert not page.exception
    assert page.session_state["cached_attention_maps"][0][2] == ("hair",)


def test_an_old_link_with_the_option_for_hairs_still_opens() -> None:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=30)
    at.query_params["hair_removal"] = "true"
    at.switch_page("pages/classify.py").run()
    assert not at.exception
    upload(at, PHOTO)
    assert headline(at)


def test_the_prediction_set_and_the_observed_risk_are_below_the_answer(page: AppTest, model: registry.Model) -> None:
    upload(page, PHOTO)
    prediction = expected(model, PHOTO)
    observed = observed_risk.observed_risk(prediction)
    assert conformal.in_words(prediction, 0.95) in words(page)
    assert observed_risk.sentence(observed) in words(page)
    assert "of such lesions are" not in words(page)
    page.number_input(key=f"answer_prevalence_{observed.target}").set_value(2.0).run()
    assert not page.exception
    assert observed_risk.prevalence_sentence(observed, 0.02) in words(page)


def test_a_model_of_another_kind_of_image_promises_nothing(page: AppTest) -> None:
    upload(page, PHOTO)
    other = next(one for one in registry.ranked() if one.modality == "smartphone" and conformal.of_model(one))
    page.selectbox(key="model").set_value(other.id).run()
    assert not page.exception
    assert "so its scores do not apply here" in " ".join(box.value for box in page.warning)
    assert headline(page)
    assert "certainty" not in words(page)
    assert "test images that got an answer like this" not in words(page)
    assert not any("answer_prevalence" in (box.key or "") for box in page.number_input)


def test_without_test_predictions_there_is_no_count(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(prediction: runtime.Prediction) -> None:
        raise DataError("The predictions cannot be read.")

    monkeypatch.setattr(observed_risk, "observed_risk", gone)
    upload(page, PHOTO)
    assert headline(page)
    assert not page.error
    assert "got an answer like this" not in words(page)


def test_the_report_is_written_only_when_it_is_asked_for(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_early(*parts: object, **more: object) -> str:
        raise AssertionError("the report was written without being asked for")

    monkeypatch.setattr(case_report, "write", too_early)
    upload(page, PHOTO)
    assert headline(page)
    assert "Save this answer" in [button.label for button in page.get("download_button")]


def test_the_answer_belongs_to_the_square_that_was_chosen(page: AppTest, model: registry.Model) -> None:
    upload(page, PHOTO)
    # all of the height is used, so there is room only sideways
    sliders = {slider.label: slider for slider in page.slider if str(slider.key).startswith("crop_")}
    assert list(sliders) == ["Size", "Left to right"]
    assert "Top to bottom" not in sliders
    sliders["Left to right"].set_value(0).run()
    assert shown(page) == pytest.approx(
        dict(zip(model.labels.codes, expected(model, PHOTO, Crop(0, 0.5, 1)).probabilities, strict=True))
    )
    next(slider for slider in page.slider if slider.label == "Size").set_value(70).run()
    next(slider for slider in page.slider if slider.label == "Top to bottom").set_value(100).run()
    assert shown(page) == pytest.approx(
        dict(zip(model.labels.codes, expected(model, PHOTO, Crop(0, 1, 0.7)).probabilities, strict=True))
    )


def test_a_new_photo_starts_with_the_centre_square(page: AppTest, model: registry.Model) -> None:
    upload(page, PHOTO)
    next(slider for slider in page.slider if slider.label == "Size").set_value(30).run()
    other = encode(lesion(300, 400, seed=2))
    upload(page, other)
    assert shown(page) == dict(zip(model.labels.codes, expected(model, other).probabilities, strict=True))


def test_the_map_of_any_class_can_be_chosen(page: AppTest, model: registry.Model) -> None:
    upload(page, PHOTO)
    prediction = expected(model, PHOTO)
    [choice] = [box for box in page.selectbox if box.label == "Class shown on the map"]
    assert choice.value == prediction.predicted
    least = model.labels.codes[int(prediction.probabilities.argmin())]
    choice.set_value(least).run()
    assert not page.exception
    assert any(f"towards “{model.labels[least].name}”" in caption.value for caption in page.caption)


def test_one_picture_has_the_map_over_it_with_a_switch_and_an_opacity(page: AppTest) -> None:
    upload(page, PHOTO)
    with_map = str(page.image[0].value)
    page.slider(key="map_opacity").set_value(100).run()
    stronger = str(page.image[0].value)
    page.toggle(key="map_shown").set_value(False).run()
    assert not page.exception
    assert len({with_map, stronger, str(page.image[0].value)}) == 3
    assert page.slider(key="map_opacity").disabled


@pytest.mark.slow
def test_every_model_can_be_chosen(page: AppTest) -> None:
    upload(page, PHOTO)
    for chosen in registry.ranked():
        page.selectbox(key="model").set_value(chosen.id).run()
        assert not page.exception
        by_group = analysis.shares(expected(chosen, PHOTO))
        assert sum(by_group.values()) == pytest.approx(1)
        assert shares(page) == {group_name(name): formatting.short_percent(share) for name, share in by_group.items()}
        maps = [box for box in page.selectbox if box.label == "Class shown on the map"]
        assert bool(maps) == chosen.has_class_maps
        assert any("no map" in caption.value for caption in page.caption) != chosen.has_class_maps


def test_a_bad_file_gets_an_error_message_and_the_next_good_one_works(page: AppTest) -> None:
    for name, content in BAD_FILES.items():
        with pytest.raises(SkinappError) as reason:
            imaging.decode(content)
        upload(page, content, name)
        assert [error.value for error in page.error] == [str(reason.value)]
        assert not page.metric
    upload(page, PHOTO)
    assert not page.error
    assert page.metric


def test_a_heic_photo_is_read(page: AppTest) -> None:
    upload(page, encode(lesion(), "HEIF"), "photo.heic")
    assert not page.error
    assert page.metric


def test_the_camera_is_not_opened_until_asked_and_its_photo_is_answered(page: AppTest, model: registry.Model) -> None:
    assert not page.camera_input
    page.segmented_control(key="photo_source").set_value("camera").run()
    page.camera_input(key="photo_camera").upload("photo.jpg", PHOTO).run()
    assert not page.exception
    assert not page.camera_input
    assert shown(page) == dict(zip(model.labels.codes, expected(model, PHOTO).probabilities, strict=True))


def test_a_drawing_needs_no_photo_and_is_labelled_as_a_drawing(page: AppTest, model: registry.Model) -> None:
    page.segmented_control(key="photo_source").set_value("sample").run()
    assert not page.exception
    drawing = expected(model, encode(synthetic.draw(0), "PNG"))
    assert shown(page) == dict(zip(model.labels.codes, drawing.probabilities, strict=True))
    assert "Not a photo" in page.image[0].captions[0]
    assert [one.label for one in page.file_uploader] == ["The close-up", "Another photo of the same spot"]
    page.button(key="draw").click().run()
    another = expected(model, encode(synthetic.draw(1), "PNG"))
    assert shown(page) == dict(zip(model.labels.codes, another.probabilities, strict=True))


def test_examples_replace_the_drawing_where_the_archive_is_reached(
    page: AppTest, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = isic.Example("ISIC_5254934", PHOTO, "CC-BY", "Imperial College London", "Nevus, atypical")
    monkeypatch.setenv("SKINAPP_ISIC_URL", "http://127.0.0.1:10")
    damaged = dataclasses.replace(example, isic_id="ISIC_6203412", data=b"damaged")
    monkeypatch.setattr(isic, "examples", lambda *_: [example, damaged])
    page.segmented_control(key="photo_source").set_value("sample").run()
    assert not page.exception
    assert [button.key for button in page.button if str(button.key).startswith("example_")] == ["example_ISIC_5254934"]
    with monkeypatch.context() as patch:
        # another run of the page decodes nothing
        patch.setattr(isolated, "decode", None)
        page.run()
    assert not page.exception
    # no answer before one is chosen
    assert not page.metric
    assert any("Imperial College London, CC" in caption.value.replace("\\", "") for caption in page.caption)
    page.button(key="example_ISIC_5254934").click().run()
    assert shown(page) == dict(zip(model.labels.codes, expected(model, PHOTO).probabilities, strict=True))
    said = " ".join(caption.value for caption in page.caption).replace("\\", "")
    assert "Published diagnosis: **Nevus, atypical**" in said
    assert "trained on this image" in said


def test_an_uploaded_photo_has_no_published_diagnosis(page: AppTest) -> None:
    upload(page, PHOTO)
    assert not any("ublished diagnosis" in caption.value for caption in page.caption)


def test_without_the_archive_an_existing_image_is_not_replaced_by_a_drawing(page: AppTest) -> None:
    page.segmented_control(key="photo_source").set_value("sample").run()
    page.button(key="draw").click().run()
    # another run of the page, as after any widget change
    page.run()
    assert list(page.session_state["images"]) == ["drawing-1", "drawing-2"]


def test_an_unreachable_archive_is_reported(page: AppTest) -> None:
    page.segmented_control(key="photo_source").set_value("sample").run()
    fetch = next(button for button in page.button if button.label == "Fetch")
    fetch.click().run()
    assert not page.exception
    assert "could not be reached" in page.error[0].value
    assert page.metric


def test_an_altered_model_gives_an_error_message_instead_of_an_answer(
    own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = own_models / model.id / "model.tflite"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    monkeypatch.setenv("SKINAPP_MODELS", str(own_models))
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=30).switch_page("pages/classify.py").run()
    upload(at, PHOTO)
    assert "was changed after it was published" in at.error[0].value
    assert not at.metric


def test_the_limits_are_on_the_page_before_any_image(page: AppTest, model: registry.Model) -> None:
    text = " ".join(element.value for element in page.markdown)
    assert "It is not a diagnosis" in text
    assert "see a doctor" in text
    for label in model.labels.labels:
        assert label.summary in text


def test_a_removed_photo_leaves_nothing_in_the_session(page: AppTest) -> None:
    upload(page, PHOTO)
    assert "cached_image" in page.session_state
    [photo] = page.session_state["images"].values()
    page.button(key="remove_image").click().run()
    assert not page.exception
    for name in ("image", "preview", "recognised", "segmentation", "sanity_check"):
        assert f"cached_{name}" not in page.session_state
    assert not page.session_state["images"]
    assert f"crop_side_{photo.key}" not in page.session_state
    assert not page.metric


def test_nothing_of_a_removed_photo_is_left_whatever_its_name_ends_in(page: AppTest) -> None:
    upload(page, PHOTO)
    [photo] = page.session_state["images"].values()
    keys = f"same_spot_{photo.key}_other", f"millimetres_{photo.key}_0.5", f"same_spot_other_{photo.key}"
    for key in keys:
        page.session_state[key] = True
    page.button(key="remove_image").click().run()
    assert not any(key in page.session_state for key in keys)


def test_images_of_one_name_from_two_tables_are_two_images() -> None:
    first, second = (add_image.published("1", data, "", "", "") for data in (b"one", b"two"))
    assert first.key != second.key
    assert first.key == session_images.own(b"one").key


def test_a_photos_bytes_and_name_are_never_printed() -> None:
    photo = session_images.Photo("key", b"secret", "image", "Your image")
    assert "secret" not in repr(photo)


@pytest.mark.slow
def test_a_session_holds_one_decoded_picture(page: AppTest) -> None:
    # a JPEG that is decoded reduced, less so for a small square
    upload(page, encode(lesion(3000, 2000, seed=1)))
    assert page.session_state["cached_image"][1].width == 750
    next(slider for slider in page.slider if slider.label == "Size").set_value(30).run()
    assert not page.exception
    # it replaces the other one; the only other image is the small preview
    assert page.session_state["cached_image"][1].width == 3000
    assert max(page.session_state["cached_preview"][1][1].size) == photos_module.PREVIEW_SIDE
    assert "decoded" not in page.session_state


def test_the_download_carries_no_metadata() -> None:
    file = photos_module.png(np.zeros((8, 8, 3), np.uint8))
    with Image.open(io.BytesIO(file)) as image:
        assert not image.info


def test_the_map_has_a_sentence_on_its_sanity_check(page: AppTest) -> None:
    upload(page, PHOTO)
    texts = [element.value for element in page.markdown]
    sentences = [text for text in texts if "hiding the 30%" in text.lower() or "fails the" in text]
    assert len(sentences) == 1
    assert re.match(r":(red|orange|green)-badge", sentences[0])
    names = [metric.label for metric in page.metric]
    assert {"Asymmetry", "Border irregularity", "Notches", "Colour variegation", "Share of the square"} <= set(names)
    assert "Largest diameter" not in names


def test_a_diameter_needs_a_length_and_an_ellipse_can_be_drawn(page: AppTest) -> None:
    upload(page, PHOTO)
    [length] = [box for box in page.number_input if box.label.startswith("Side of the square")]
    length.set_value(20.0).run()
    [way] = [group for group in page.segmented_control if group.label == "Segmentation"]
    way.set_value("Ellipse").run()
    assert not page.exception
    shown_now = {metric.label: metric.value for metric in page.metric}
    # a disc of half the side
    assert shown_now["Share of the square"] == "20%"
    assert float(shown_now["Largest diameter"].removesuffix(" mm")) == pytest.approx(10, abs=0.2)
    assert shown_now["Asymmetry"] == "0%"


def test_an_image_without_a_lesion_says_so_and_the_answer_stands(page: AppTest) -> None:
    skin = np.full((300, 400, 3), (220, 180, 160), dtype=np.uint8)
    upload(page, encode(Image.fromarray(skin), "PNG"), "skin.png")
    anyway = [box for box in page.toggle if box.label.startswith("Show the answer anyway")]
    if anyway:
        anyway[0].set_value(True).run()
    assert not page.exception
    assert any("shows no lesion to segment" in box.value for box in page.warning)
    assert "Cancer" in shares(page)


@pytest.mark.slow
def test_the_full_measures_are_computed_on_request(page: AppTest) -> None:
    upload(page, PHOTO)
    before = len(page.dataframe)
    page.toggle(key="measure_map").set_value(True).run()
    assert not page.exception
    tables = [frame.value for frame in page.dataframe]
    assert len(tables) >= before + 3
    curves = [table for table in tables if "this map" in table]
    assert len(curves) == 2
    for table in curves:
        assert set(table) == {"share", "this map", "centred blob", "random map"}
        assert table.to_numpy().min() >= 0
    inserted, deleted = curves
    # with all or no pixels, the result does not depend on the order
    assert inserted.iloc[-1].nunique() == inserted.iloc[0, 1:].nunique() + 1 == 2
    assert deleted["this map"].iloc[0] == inserted["this map"].iloc[-1]
