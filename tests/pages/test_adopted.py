"""Every page with adopted networks: with exact class maps, without them, and with logits only."""

import json
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from skinapp.__main__ import main as skinapp
from skinapp.images import imaging
from skinapp.inference import registry, runtime
from skinapp.ui import layout
from tests import adopted_model
from tests.pictures import encode, lesion

pytestmark = pytest.mark.slow

PHOTO = encode(lesion(400, 300, seed=1))


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with three adopted networks and nothing else."""
    folder = tmp_path_factory.mktemp("adopted")
    table = adopted_model.pictures(folder)
    for head in ("maps", "dense", "convolution"):
        adopted_model.network(head).save(folder / f"{head}.keras")
        assert adopted_model.adopt(folder / f"{head}.keras", table, folder / "models", head) == 0
    (folder / "models" / "convolution" / "model.keras").unlink()
    forget(folder / "models" / "convolution", "model.keras")
    return folder / "models"


def forget(folder: Path, name: str) -> None:
    """Remove a file from a model's card."""
    card = json.loads((folder / "model.json").read_text())
    del card["files"][name], card["architecture"]["blocks"]
    (folder / "model.json").write_text(json.dumps(card))


@pytest.fixture(params=["maps", "dense", "convolution"])
def alone(
    request: pytest.FixtureRequest, adopted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> registry.Model:
    """Each adopted network as the only model."""
    shutil.copytree(adopted / request.param, tmp_path / request.param)
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path))
    return registry.model(request.param)


@pytest.fixture
def all_three(adopted: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKINAPP_MODELS", str(adopted))
    return adopted


def opened(page: str) -> AppTest:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=120).switch_page(f"pages/{page}.py").run()
    assert not at.exception
    return at


def text(at: AppTest) -> str:
    return " ".join(element.value for element in (*at.markdown, *at.caption, *at.warning, *at.info))


@pytest.mark.usefixtures("clear_dermoscopy")
def test_an_image_is_classified_and_its_maps_are_made(alone: registry.Model) -> None:
    at = opened("classify")
    at.file_uploader[0].upload("photo.jpg", PHOTO).run()
    assert not at.exception
    assert not at.error
    prediction = runtime.classifier(alone).predict(imaging.load(PHOTO, alone.input_size))
    table = at.dataframe[0].value
    assert dict(zip(table["code"], table["probability"], strict=True)) == pytest.approx(
        dict(zip(alone.labels.codes, prediction.probabilities, strict=True))
    )
    assert "It was trained elsewhere" in text(at)
    at.switch_page("pages/attention.py").run()
    assert not at.exception
    assert not at.error
    [(raw, problem)] = at.session_state["cached_attention_maps"][1].values()
    assert not problem
    assert raw.shape[0] == raw.shape[1]


@pytest.mark.usefixtures("clear_dermoscopy")
def test_a_gradient_map_is_compared_with_randomised_copies(adopted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_MODELS", str(adopted))
    at = opened("attention")
    at.file_uploader[0].upload("photo.jpg", PHOTO).run()
    at.multiselect(key="attention_models").set_value(["dense"]).run()
    methods = next(pill for pill in at.pills if pill.label == "Methods")
    assert "Grad-CAM, last convolution" not in methods.options
    assert methods.value == ["grad-cam"]
    [layer] = [one for one in at.selectbox if one.label.startswith("Block of")]
    assert len(layer.options) == 2
    next(one for one in at.toggle if one.label == "Check this map").set_value(True).run()
    assert not at.exception
    at.toggle(key="randomised_map").set_value(True).run()
    assert not at.exception
    assert any("rank correlation" in frame.value for frame in at.dataframe)


def test_the_other_pages_show_them(all_three: Path) -> None:
    at = opened("models")
    for model_id in ("maps", "dense", "convolution"):
        at.selectbox(key="card").set_value(model_id).run()
        assert not at.exception
        assert "trained elsewhere and adopted" in text(at)
    assert opened("home").metric
    compare = opened("compare")
    assert not compare.error
    assert "45 images" in text(compare)
    for page in ("guide", "explore"):
        assert not opened(page).error


def test_commands_run_them(all_three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photos" / "photo.jpg"
    photo.parent.mkdir()
    photo.write_bytes(PHOTO)
    for model_id in ("maps", "dense", "convolution"):
        assert skinapp(["classify", str(photo), "--model", model_id, "--report", str(tmp_path / "case.html")]) == 0
        assert "An old scar" in (tmp_path / "case.html").read_text()
        assert (
            skinapp(["score", str(photo.parent), "--model", model_id, "--out", str(tmp_path / f"{model_id}.csv")]) == 0
        )
    assert skinapp(["classify", str(photo), "--model", "maps", "--cam-dir", str(tmp_path / "maps")]) == 0
    assert skinapp(["compare", "maps", "dense"]) == 0
    assert skinapp(["models"]) == 0
    assert "balanced accuracy 0.333 (no interval), n = 45" in capsys.readouterr().out
    assert skinapp(["report", "--out", str(tmp_path / "report.html")]) == 0
    report = (tmp_path / "report.html").read_text()
    assert "An old scar (scar)" in report
    assert "trained elsewhere" in report
