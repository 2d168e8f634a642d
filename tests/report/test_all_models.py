"""The report on all models: every model is in it, with the figures of its folder; errors are reported."""

import datetime
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape
from PIL import Image

from skinapp.__main__ import main
from skinapp.evaluation import predictions, studies
from skinapp.evaluation.claims import CLAIMS
from skinapp.inference import registry
from skinapp.inference.analysis import analyse
from skinapp.inference.modality import Recognised
from skinapp.report import all_models, comparison_report, document, published_views
from skinapp.report.document import Chart, Heading, Picture, Section
from tests.metadata_model import make
from tests.pictures import encode, lesion

MADE = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)
MODEL = "malignancy-mlp64"


def headings(section: Section) -> list[str]:
    return [block.text for block in section.blocks if isinstance(block, Heading)]


@pytest.fixture(scope="module")
def known() -> dict[str, predictions.Predictions]:
    shipped, left_out = predictions.shipped()
    assert not left_out
    return shipped


def test_every_model_has_a_row_and_the_figures_of_its_card(known: dict[str, predictions.Predictions]) -> None:
    models = list(registry.models().values())
    section = all_models.overview(models)
    table = next(block for block in section.blocks if hasattr(block, "columns"))
    assert table["Model"].tolist() == list(known)
    for row, model in zip(table.to_dict("records"), models, strict=True):
        score = model.card["scores"]["balanced_accuracy"]
        assert row["Balanced accuracy"] == f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
    chart = next(block for block in section.blocks if isinstance(block, Chart))
    cards = {model.id: model.card["scores"]["balanced_accuracy"]["value"] for model in models}
    assert dict(zip(chart.table["model"], chart.table["value"], strict=True)) == cards


def test_published_accuracies_are_shown_with_ours(known: dict[str, predictions.Predictions]) -> None:
    section = all_models.published(known)
    [table] = [block for block in section.blocks if hasattr(block, "columns")]
    assert table["Published"].tolist() == [published_views.claim(claim) for claim in CLAIMS]
    score = registry.model("ham10000-efficientnetb1").card["scores"]["accuracy"]
    repeated = table.loc[table["Published"] == "84.3% accuracy, seven classes", published_views.REPEATED].item()
    assert repeated == f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
    assert any("threshold" in block for block in section.blocks if isinstance(block, str))


@pytest.mark.parametrize("model_id", ["ham10000-efficientnetb1", MODEL])
def test_a_models_part(known: dict[str, predictions.Predictions], model_id: str) -> None:
    model = registry.model(model_id)
    section = all_models.one_model(known[model_id])
    assert section.heading == model.title
    for part in ("Protocol", "Scores", "Confusion matrix", "ROC, malignant versus the rest", "Calibration", "Limits"):
        assert part in headings(section)
    assert ("Error rate by class" in headings(section)) == (model.task == "diagnosis")
    paragraphs = [block for block in section.blocks if isinstance(block, str)]
    assert {model.card["training"]["protocol"], *model.card["limits"]} <= set(paragraphs)
    scores = all_models.scores_of(model)
    assert scores["Value"].tolist() == [score["value"] for score in model.card["scores"].values()]
    # the charts count the same images as the card's scores
    confusion = next(block for block in section.blocks if isinstance(block, Chart))
    right = confusion.table[confusion.table["label"] == confusion.table["predicted"]]["images"].sum()
    assert confusion.table["images"].sum() == model.card["test"]["images"]
    assert right / model.card["test"]["images"] == pytest.approx(model.card["scores"]["accuracy"]["value"], abs=1e-4)


def test_charts_use_the_images_that_the_card_counts(known: dict[str, predictions.Predictions]) -> None:
    for model_id, one in known.items():
        assert len(all_models.tested(one).images) == registry.model(model_id).card["test"]["images"], model_id


def test_a_model_with_patient_metadata_says_so(model: registry.Model, tmp_path: Path) -> None:
    table = all_models.card_of(make(model, tmp_path, "asking", "smartphone"))
    rows = dict(zip(table[""], table[" "], strict=True))
    assert rows["Patient metadata (optional)"] == "age, sex, it itches, larger diameter"
    assert rows["Kind of image"] == "phone photos"


def test_the_studies_stand_in_the_report_with_their_commands() -> None:
    section = all_models.measured()
    titles = headings(section)
    assert titles == [*(study.title for study in studies.measured()), published_views.SEARCH, published_views.REMOVALS]
    tables = [block for block in section.blocks if isinstance(block, pd.DataFrame)]
    assert len(tables) == len(titles)
    assert not any(table.empty for table in tables)
    assert sum("python -m train" in block for block in section.blocks if isinstance(block, str)) == len(titles)


@pytest.mark.parametrize("dataset", ["ham10000", "pad_ufes_20", "malignant_benign"])
def test_the_data_are_described(dataset: str) -> None:
    section = all_models.data(dataset)
    assert {"Diagnoses", "Sex", "Not stated", "Limits of these data"} <= set(headings(section))
    charts = [block for block in section.blocks if isinstance(block, Chart)]
    assert (
        charts[0].table["images"].sum() == {"ham10000": 10015, "pad_ufes_20": 1035, "malignant_benign": 2637}[dataset]
    )


def test_each_image_goes_to_the_model_for_its_kind(
    model: registry.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model.folder, tmp_path / model.id)
    phone = make(model, tmp_path, "phone", "smartphone", 0.1)
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path))
    kinds = iter(("dermoscopy", "smartphone", "neither"))

    def recognise(image: Image.Image) -> Recognised:
        kind = next(kinds)
        return Recognised(kind, {"dermoscopy": 0.0, "smartphone": 0.0, "neither": 0.0} | {kind: 1.0}, unlike=False)

    monkeypatch.setattr("skinapp.inference.modality.recognise", recognise)
    section = all_models.attention_maps({Path(f"{name}.jpg"): lesion() for name in ("skin", "phone", "cat")})
    assert headings(section) == ["skin.jpg", "phone.jpg", "cat.jpg"]
    first, second = (block for block in section.blocks if isinstance(block, Picture))
    assert f"{model.id}: " in first.caption
    assert f"{phone.id}: " in second.caption
    assert first.png.startswith(b"\x89PNG")
    words = [block for block in section.blocks if isinstance(block, str)]
    assert "neither a dermoscopy image nor a phone photo" in words[-1]
    assert "No map was made" in words[-1]


def test_a_map_lies_over_the_square_that_was_answered(model: registry.Model) -> None:
    image = lesion()
    picture = all_models.attention_map(analyse(image, model))
    pixels = np.asarray(Image.open(io.BytesIO(picture.png)))
    side = all_models.SIDE
    assert pixels.shape == (side, 2 * side + all_models.GAP, 3)
    plain, mapped = pixels[:, :side], pixels[:, -side:]
    assert (plain != mapped).any()


def test_the_whole_document_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    model = registry.model(MODEL)
    shutil.copytree(model.folder, tmp_path / "models" / MODEL)
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path / "models"))
    out = tmp_path / "report.html"
    assert main(["report", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    text = re.sub(r"<script.*?</script>", "", out.read_text(), flags=re.DOTALL)
    assert f"<h2>{model.title}</h2>" in text
    assert "Data: PAD-UFES-20" in text
    assert escape(model.card["training"]["protocol"]) in text
    assert f"{model.card['scores']['balanced_accuracy']['value']:.4g}" in text
    assert not re.search(r"(src|href)=\"(https?:)?//", text)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["report.html"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "nowhere/report.html"], "There is no folder nowhere; create it"),
        (["--out", "."], "is a folder; name a file"),
        (["--out", "r.html", "--images", "notes.jpg", "gone.jpg"], "None of the images can be read"),
    ],
)
def test_refusals(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.jpg").write_text("shopping list")
    assert main(["report", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["notes.jpg"]


def test_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path))
    assert main(["report", "--out", str(tmp_path / "r.html")]) == 2
    assert "There is no usable model" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_image_that_cannot_be_read_is_named_and_the_rest_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(registry.model(MODEL).folder, tmp_path / "models" / MODEL)
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path / "models"))
    (tmp_path / "skin.jpg").write_bytes(encode(lesion()))
    (tmp_path / "notes.jpg").write_text("shopping list")
    out = tmp_path / "r.html"
    files = [str(tmp_path / name) for name in ("notes.jpg", "skin.jpg")]
    assert main(["report", "--out", str(out), "--images", *files]) == 2
    assert "notes.jpg: This is not a readable image" in capsys.readouterr().err
    text = out.read_text()
    assert "<h3>skin.jpg</h3>" in text
    # the only model ends in dense layers
    assert "No model here can make a map" in text


def test_the_document_renders_what_a_section_holds() -> None:
    text = document.render("T", [all_models.limits()], comparison_report.CAUTION, MADE)
    card = json.loads((Path(all_models.modality.CARD_FILE)).read_text())
    for row in card["tests"]:
        assert escape(row["name"]) in text


def test_markup_in_a_files_name_is_shown_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    neither = Recognised("neither", {"dermoscopy": 0.0, "smartphone": 0.0, "neither": 1.0}, unlike=False)
    monkeypatch.setattr("skinapp.inference.modality.recognise", lambda image: neither)
    section = all_models.attention_maps({Path("<script>alert(1)<script>.jpg"): lesion()})
    text = document.render("All models", [section], "Care", MADE)
    assert "&lt;script&gt;alert(1)&lt;script&gt;.jpg" in text
    assert "<script" not in text
