"""The report of one image: it contains all results, and is self-contained."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinapp.__main__ import main
from skinapp.errors import DataError
from skinapp.images import imaging
from skinapp.images.imaging import Crop
from skinapp.inference import analysis, conformal, registry
from skinapp.inference.analysis import Analysis
from skinapp.inference.registry import Model
from skinapp.lesion import segmentation
from skinapp.report import case_report, document
from skinapp.report.document import Heading, Picture
from tests import dicom
from tests.pictures import encode, lesion


@pytest.fixture(scope="module")
def made(model: Model) -> Analysis:
    return analysis.analyse(lesion(400, 300), model, Crop(0.4, 0.4, 0.6))


@pytest.fixture(scope="module")
def html(made: Analysis) -> str:
    return document.render(case_report.TITLE, case_report.sections(made, prevalence=0.02), case_report.CAUTION)


def test_the_report_has_everything(made: Analysis, html: str) -> None:
    card = made.model.card
    for label in made.model.labels.labels:
        assert f"<td>{label.name}</td>".replace("'", "&#39;") in html
    for words in (
        "Most likely: ",
        " ".join(analysis.next_step(made.prediction)),
        "Of 100 test images that got an answer like this",
        "Where 2% of such lesions are cancer",
        "The model saw only what is inside the square",
        "The square is 180 pixels wide",
        f"version {card['version']}",
        "not a diagnostic device",
        "UTC",
        card["licence"],
    ):
        assert words in html
    assert html.count('<img src="data:image/png;base64,') == 3
    assert ("With 95% certainty" in html) == (conformal.of_model(made.model) is not None)


def test_nothing_is_loaded_from_elsewhere(html: str) -> None:
    assert not re.search(r"<(link|iframe|script)\b|url\(|src=\"(?!data:)", html)


def test_the_sanity_check_of_the_map_is_in_it(made: Analysis) -> None:
    assert made.prediction.class_maps is not None
    cam = case_report.heatmap.grad_cam(made.prediction.class_maps, int(made.prediction.probabilities.argmax()))
    drawn = segmentation.ellipse(made.square.shape[:2], 0.5, 0.5, 0.2, 0.2, 0)
    evidence = case_report.check_map(made, cam, drawn)
    report = case_report.sections(made, lesion=drawn)
    section = next(one for one in report if one.heading == "Where the model looked")
    at = section.blocks.index(Heading(evidence.badge))
    assert section.blocks[at + 1] == case_report.sanity_check.sentence(evidence, made.model.labels)
    border = Image.fromarray(segmentation.with_border(made.square, drawn))
    assert [block.png for block in section.blocks if isinstance(block, Picture)][1] == document.png(border)


def test_a_square_without_a_lesion_says_so(model: Model) -> None:
    flat = analysis.analyse(Image.new("RGB", (300, 300), (200, 160, 140)), model)
    words = " ".join(str(block) for one in case_report.sections(flat) for block in one.blocks)
    assert "one colour throughout" in words
    assert "fails the sanity check" in words


def test_patient_metadata_is_shown_with_the_answer_from_the_image_alone() -> None:
    clinical = next(one for one in registry.ranked() if one.clinical)
    both = analysis.analyse(lesion(), clinical, values={"age": 71.0, "sex": "male"})
    blocks = case_report.sections(both)[0].blocks
    assert isinstance(blocks[0], Heading)
    stated = next(block for block in blocks if isinstance(block, str) and "From the image alone" in block)
    assert "71" in stated
    assert analysis.most_likely(both.image_prediction) in stated


def test_the_picture_is_the_image_with_the_square(made: Analysis) -> None:
    picture = case_report.sections(made)[1].blocks[0]
    assert isinstance(picture, Picture)
    pixels = np.asarray(imaging.decode(picture.png)).astype(int)
    assert pixels.shape == (300, 400, 3)
    # the picture is pale outside the square
    assert pixels[290, 390].min() > np.asarray(made.image)[290, 390].min()
    left, top, right, bottom = (round(edge) for edge in made.crop.box(400, 300))
    inside = slice(top + 5, bottom - 5), slice(left + 5, right - 5)
    assert (pixels[inside] == np.asarray(made.image)[inside]).all()


def test_an_image_of_another_kind_gets_neither_a_set_nor_a_count(made: Analysis) -> None:
    doubt = "This looks like a phone photo of skin, but the model knows dermoscopy images."
    words = case_report.write(made, prevalence=0.02, doubt=doubt)
    assert doubt in words
    for left_out in ("certainty", "test images that got", "Where 2% of such lesions"):
        assert left_out not in words
        assert left_out in case_report.write(made, prevalence=0.02)


def test_an_impossible_prevalence(made: Analysis) -> None:
    with pytest.raises(DataError, match="above 0 and below 1"):
        case_report.sections(made, prevalence=3)


def test_classify_writes_the_report_of_a_dicom_file_without_its_patient(tmp_path: Path) -> None:
    photo, file = tmp_path / "a.dcm", tmp_path / "case.html"
    photo.write_bytes(dicom.compressed(encode(lesion())))
    assert main(["classify", str(photo), "--model", "ham10000-efficientnetb1", "--report", str(file)]) == 0
    text = file.read_text()
    assert "Most likely" in text
    assert "Muster" not in text
    assert "a.dcm" not in text


@pytest.mark.parametrize(
    ("images", "report", "sentence"),
    [
        (1, "no/case.html", "There is no folder"),
        (1, ".", "is a folder"),
        (2, "case.html", "A report covers one image"),
    ],
)
def test_a_report_that_cannot_be_written(
    images: int, report: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(encode(lesion()))
    assert main(["classify", *[str(photo)] * images, "--report", str(tmp_path / report)]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [photo]
