"""The other image of a lesion on the classify page: the answer from both, and messages about mismatched images."""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from skinapp.images import imaging
from skinapp.inference import modality, pair, registry
from skinapp.inference.modality import Recognised
from skinapp.ui import layout, session_images
from tests import pair as pairs
from tests.pictures import encode, lesion

DERMOSCOPY, CLOSE_UP = encode(lesion(400, 300, seed=1)), encode(lesion(300, 320, seed=2))
MODEL = "ham10000-efficientnetv2b0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> registry.Model:
    return pairs.make(registry.model(MODEL), tmp_path_factory.mktemp("models"))


@pytest.fixture
def root(made: registry.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with the pair and a model for one image."""
    folder = tmp_path / "models"
    single = registry.model(MODEL)
    shutil.copytree(single.folder, folder / single.id)
    shutil.copytree(made.folder, folder / made.id)
    monkeypatch.setenv("SKINAPP_MODELS", str(folder))
    return folder


def seen(monkeypatch: pytest.MonkeyPatch, by_width: dict[int, str]) -> None:
    """Replace the recogniser: the width of the image determines its kind."""

    def recognise(image: Image.Image) -> Recognised:
        return Recognised(by_width[image.width], dict.fromkeys(modality.KINDS, 0.9), False)

    monkeypatch.setattr(modality, "recognise", recognise)


def uploaded() -> AppTest:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/classify.py").run()
    at.file_uploader[0].upload("photo.jpg", DERMOSCOPY).run()
    assert not at.exception
    return at


def with_both(at: AppTest, second: bytes = CLOSE_UP) -> AppTest:
    [uploader] = [one for one in at.file_uploader if one.key.startswith("pair_upload")]
    uploader.upload("second.jpg", second).run()
    assert not at.exception
    return at


def both_images(at: AppTest) -> dict[str, float]:
    """The probabilities from both images, by code; empty if there is no answer."""
    for table in (frame.value for frame in at.dataframe):
        if "close-up" in table:
            return dict(zip(table["code"], table["probability"], strict=True))
    return {}


def expected(root: Path, first: bytes, second: bytes) -> dict[str, float]:
    model = registry.model("pair", root)
    predicted = pair.predict(model, [imaging.load(one, model.input_size) for one in (first, second)])
    return dict(zip(model.labels.codes, predicted.combined.probabilities, strict=True))


def test_without_a_model_for_both_nothing_is_offered(root: Path) -> None:
    shutil.rmtree(root / "pair")
    at = uploaded()
    assert not [one for one in at.file_uploader if one.key.startswith("pair")]


def test_the_answer_from_both_images_has_the_maps_of_both(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, {400: "dermoscopy", 300: "smartphone"})
    at = uploaded()
    assert "pair" not in at.selectbox(key="model").options
    assert not both_images(at)
    assert "Add the close-up of the same lesion" in [one.label for one in at.expander]
    with_both(at)
    assert not at.error
    assert both_images(at) == pytest.approx(expected(root, DERMOSCOPY, CLOSE_UP))
    assert any(one.value.startswith("Both images, most likely: ") for one in at.subheader)
    text = " ".join(one.value for one in at.markdown)
    assert "From the dermoscopy image alone: " in text
    assert "From the close-up alone: " in text
    assert "With 95% certainty" in text
    assert "test lesions" in text
    assert "Save the answer from both images" in [one.label for one in at.get("download_button")]
    captions = [image.captions[0] for image in at.image]
    for name in ("Dermoscopy image: ", "Close-up: "):
        assert any(caption.startswith(name) for caption in captions), "its map"
    [swap] = [one for one in at.toggle if one.label == "Swap the two images"]
    swap.set_value(True).run()
    assert any("look swapped" in warning.value for warning in at.warning)
    next(one for one in at.toggle if one.label == "Show the answer anyway").set_value(True).run()
    assert both_images(at) == pytest.approx(expected(root, CLOSE_UP, DERMOSCOPY))


def test_the_second_image_stays_until_it_or_the_first_is_removed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, {400: "dermoscopy", 300: "smartphone"})
    at = with_both(uploaded())
    answered = both_images(at)
    at.switch_page("pages/guide.py").run()
    at.switch_page("pages/classify.py").run()
    assert not at.exception
    assert both_images(at) == answered
    remove_second(at)
    assert not both_images(at)
    with_both(at)
    assert both_images(at) == answered
    [key] = at.session_state[session_images.IMAGES]
    assert at.session_state[session_images.SECOND + key].data == CLOSE_UP
    at.button(key="remove_image").click().run()
    assert session_images.SECOND + key not in at.session_state


def remove_second(at: AppTest) -> None:
    next(one for one in at.button if one.label == "Remove the close-up").click().run()


def test_another_second_image_is_checked_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, {400: "dermoscopy", 300: "dermoscopy"})
    at = with_both(uploaded())
    next(one for one in at.toggle if one.label == "Show the answer anyway").set_value(True).run()
    assert both_images(at)
    remove_second(at)
    with_both(at, encode(lesion(300, 320, seed=3)))
    assert any("looks like a dermoscopy image" in warning.value for warning in at.warning)
    assert not both_images(at)


def test_a_dark_second_image_has_its_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, {400: "dermoscopy", 300: "smartphone"})
    at = with_both(uploaded())
    assert not any("The second image" in warning.value for warning in at.warning)
    remove_second(at)
    with_both(at, encode(lesion(300, 320, seed=2).point(lambda value: value // 12)))
    assert both_images(at)
    assert any("The second image: " in warning.value and "dark" in warning.value for warning in at.warning)


def test_the_second_image_counts_and_others_make_room_for_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, {400: "dermoscopy", 300: "smartphone"})
    at = uploaded()
    other = encode(lesion(400, 300, seed=4))
    at.file_uploader[0].upload("other.jpg", other).run()
    first, _ = at.session_state[session_images.IMAGES]
    at.button(key="all_files").click().run()
    at.button(key=f"open_{first}").click().run()
    monkeypatch.setattr(session_images, "MAX_BYTES", len(DERMOSCOPY) + len(other) + len(CLOSE_UP) - 1)
    with_both(at)
    # the one on the page stays, with its second image
    assert both_images(at)
    assert list(at.session_state[session_images.IMAGES]) == [first]


def test_a_close_up_that_comes_first_asks_for_the_dermoscopy_image(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, {400: "smartphone", 300: "dermoscopy"})
    at = uploaded()
    assert "Add the dermoscopy image of the same lesion" in [one.label for one in at.expander]
    assert both_images(with_both(at)) == pytest.approx(expected(root, CLOSE_UP, DERMOSCOPY))


def test_an_image_of_the_wrong_kind_is_named_and_the_visitor_may_go_on(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen(monkeypatch, {400: "dermoscopy", 300: "dermoscopy"})
    at = with_both(uploaded())
    assert any("given as the close-up looks like a dermoscopy image" in warning.value for warning in at.warning)
    assert not both_images(at)
    next(one for one in at.toggle if one.label == "Show the answer anyway").set_value(True).run()
    assert both_images(at) == pytest.approx(expected(root, DERMOSCOPY, CLOSE_UP))
    # what was counted on test lesions does not hold for such images
    assert not any("test lesions" in one.value and "got an answer like this" in one.value for one in at.markdown)


def test_a_second_file_that_is_not_an_image_is_reported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, {400: "dermoscopy"})
    at = with_both(uploaded(), b"this is not an image")
    assert len(at.error) == 1
    assert at.dataframe[0].value["probability"].sum() == pytest.approx(1), "the answer to the first image stays"


def test_a_changed_network_is_reported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, {400: "dermoscopy", 300: "smartphone"})
    file = root / "pair" / "close-up.tflite"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    at = with_both(uploaded())
    assert any("close-up.tflite" in error.value and "was changed" in error.value for error in at.error)
    assert not both_images(at)


def test_the_models_page_shows_it(root: Path) -> None:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/models.py")
    at.query_params["card"] = "pair"
    at.run()
    assert not at.exception
    text = " ".join(element.value for element in at.markdown).replace("\\", "")
    assert "**Network**: 2 x efficientnetv2b0" in text
    assert "**Input**: two images, each 32 x 32 px" in text
    assert "**Kind of image**: a dermoscopy image and a close-up of each lesion" in text
