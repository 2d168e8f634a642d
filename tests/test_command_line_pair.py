"""The commands with a pair: one answer from both images of a lesion, and error messages for mismatches."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinapp.__main__ import main
from skinapp.images import imaging
from skinapp.inference import modality, pair, registry
from skinapp.inference.modality import Recognised
from tests import pair as pairs
from tests.pictures import encode, lesion

MODEL = "ham10000-efficientnetv2b0"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = registry.model(MODEL)
    folder = tmp_path_factory.mktemp("models")
    pairs.make(source, folder)
    shutil.copytree(source.folder, folder / MODEL)
    return folder


@pytest.fixture
def images(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A dermoscopy image, 300 px wide, and a close-up, 320 px wide."""
    monkeypatch.setenv("SKINAPP_MODELS", str(root))

    def recognise(image: Image.Image) -> Recognised:
        kind = "dermoscopy" if image.width == 300 else "smartphone"
        return Recognised(kind, {name: 0.98 if name == kind else 0.01 for name in modality.KINDS}, False)

    monkeypatch.setattr(modality, "recognise", recognise)
    for name, width in (("dermoscopy", 300), ("close-up", 320)):
        (tmp_path / f"{name}.jpg").write_bytes(encode(lesion(width, 240, seed=width)))
    return str(tmp_path / "dermoscopy.jpg"), str(tmp_path / "close-up.jpg")


def test_both_images_are_answered_together(
    root: Path, images: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dermoscopy, close_up = images
    model = registry.model("pair", root)
    expected = pair.predict(model, [imaging.load(Path(image), model.input_size) for image in images])
    command = ["classify", dermoscopy, "--close-up", close_up]
    assert main([*command, "--json", "--cam-dir", str(tmp_path / "maps")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["image"], printed["close_up"], printed["model"]) == (dermoscopy, close_up, "pair")
    assert list(printed["probabilities"].values()) == pytest.approx(expected.combined.probabilities.tolist())
    for name, one in zip(("dermoscopy", "close_up"), expected.alone, strict=True):
        assert list(printed["alone"][name].values()) == pytest.approx(one.probabilities.tolist())
    assert printed["operating_points"] == {"cancer-95": True}
    maps = [np.asarray(Image.open(tmp_path / "maps" / f"{name}.jpg.cam.png")) for name in ("dermoscopy", "close-up")]
    assert {cam.shape for cam in maps} == {(32, 32, 3)}

    assert main([*command, "--model", "pair"]) == 0
    text = capsys.readouterr().out
    assert f"With the close-up {close_up}" in text
    assert "From the close-up alone: " in text
    assert "Warning, close-up" not in text
    assert set(printed["warnings"]) == {"dermoscopy", "close_up"}

    Path(close_up).write_bytes(encode(lesion(320, 240, seed=320).point(lambda value: value // 12)))
    assert main(command) == 0
    assert "Warning, close-up: " in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    assert any("dark" in one for one in json.loads(capsys.readouterr().out)["warnings"]["close_up"])


def test_both_images_get_a_set_an_observed_risk_and_a_report(
    images: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dermoscopy, close_up = images
    file = tmp_path / "answer.html"
    command = ["classify", dermoscopy, "--close-up", close_up, "--coverage", "0.95", "--prevalence", "0.02"]
    assert main([*command, "--json", "--report", str(file)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["predicted"] in printed["set"]
    assert printed["observed"]["test_images"] == 1503
    assert 0 < printed["at_prevalence"]["value"] < 1
    html = file.read_text()
    for words in (
        "for two images of a lesion",
        "From the close-up alone: ",
        "With 95% certainty",
        "Where 2% of such lesions",
    ):
        assert words in html, words
    # both images with their squares, and both maps
    assert html.count('<img src="data:image/png;base64,') == 4
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "With 95% certainty" in text
    assert "test lesions" in text
    assert main([*command, "--report", str(tmp_path / "absent" / "answer.html")]) == 2
    assert "There is no folder" in capsys.readouterr().err
    assert main([*command, "--remove", "hair"]) == 2
    assert "cannot be combined with --remove" in capsys.readouterr().err


def test_images_of_the_wrong_kind_are_named_and_answered_anyway(
    images: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dermoscopy, close_up = images
    swapped = ["classify", close_up, "--close-up", dermoscopy]
    assert main(swapped) == 2
    assert "The two images look swapped" in capsys.readouterr().err
    assert main(["classify", dermoscopy, "--close-up", dermoscopy]) == 2
    assert "given as the close-up looks like a dermoscopy image" in capsys.readouterr().err
    file = tmp_path / "answer.html"
    assert main([*swapped, "--anyway", "--coverage", "0.95", "--report", str(file)]) == 0
    text = capsys.readouterr().out
    assert "The two images look swapped" in text
    assert "The two images look swapped" in file.read_text()
    for words in ("With 95% certainty", "that got an answer like this"):
        # neither holds for images of other kinds
        assert words not in text
        assert words not in file.read_text()


def test_one_image_alone_is_for_other_models(
    images: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dermoscopy, close_up = images
    assert main(["classify", dermoscopy, "--model", "pair"]) == 2
    assert "One image is missing" in capsys.readouterr().err
    assert main(["classify", dermoscopy, close_up, "--close-up", close_up]) == 2
    assert "goes with one dermoscopy image" in capsys.readouterr().err
    assert main(["classify", dermoscopy, "--close-up", close_up, "--model", MODEL]) == 2
    assert f"The model '{MODEL}' takes one image" in capsys.readouterr().err
    assert main(["classify", dermoscopy, "--close-up", str(tmp_path / "absent.jpg")]) == 2
    assert "absent.jpg" in capsys.readouterr().err
    assert main(["score", str(tmp_path), "--model", "pair", "--out", str(tmp_path / "out.csv")]) == 2
    assert "One image is missing" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()
    assert main(["classify", dermoscopy, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == MODEL


def test_a_missing_pair_is_reported(
    root: Path, images: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(root / MODEL, tmp_path / "models" / MODEL)
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path / "models"))
    assert main(["classify", images[0], "--close-up", images[1]]) == 2
    assert "no model for a dermoscopy image and a close-up" in capsys.readouterr().err


@pytest.mark.slow
def test_compare_takes_a_pair_on_the_images_that_others_share(
    root: Path, images: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "pair", MODEL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 1503
