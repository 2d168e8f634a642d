"""Patient metadata on the command line: options of classify, columns of score."""

import csv
import json
from pathlib import Path

import pytest

from skinapp.__main__ import main
from skinapp.images import imaging
from skinapp.inference import registry, runtime
from tests.metadata_model import make
from tests.pictures import encode, lesion


@pytest.fixture
def phone(own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch) -> registry.Model:
    monkeypatch.setenv("SKINAPP_MODELS", str(own_models))
    return make(model, own_models, "phone", "smartphone")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "a.jpg").write_bytes(encode(lesion()))
    return tmp_path / "a.jpg"


def test_metadata_options_reach_the_model(phone: registry.Model, photo: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["classify", str(photo), "--model", "phone", "--age", "85", "--sex", "f", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    values = {"age": 85.0, "sex": "female"}
    expected = runtime.classifier(phone).predict(imaging.load(photo, phone.input_size), values)
    assert printed["metadata"] == values
    assert list(printed["probabilities"].values()) == pytest.approx(expected.probabilities.tolist())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--age", "190"], "Age: 190 is not possible; write a number from 0 to 120 (years), or leave it out."),
        (["--age", "12 mm"], "Age: '12 mm' is not a number"),
        (["--sex", "63"], "Sex: '63' is not one of the choices; write one of female, male, or leave it out."),
        (["--itch", "sometimes"], "neither yes nor no"),
        (["--diameter-1", "0.2"], "Larger diameter: 0.2 is not possible; write a number from 0.5 to 200 (mm)"),
    ],
)
@pytest.mark.usefixtures("phone")
def test_an_impossible_value_is_refused_with_an_error_message(
    options: list[str], sentence: str, photo: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["classify", str(photo), "--model", "phone", *options]) == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert not out


@pytest.mark.usefixtures("phone")
def test_a_value_that_the_model_does_not_use_is_named(photo: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["classify", str(photo), "--model", "phone", "--site", "back", "--age", "50"]) == 0
    assert "does not use --site." in capsys.readouterr().err


def test_score_reads_the_metadata_and_says_which_columns_are_missing(
    phone: registry.Model, photo: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("b.jpg", "c.jpg", "d.jpg"):
        (photo.parent / name).write_bytes(photo.read_bytes())
    table, out = photo.parent / "table.csv", photo.parent / "p.csv"
    # in the last two, the values of age and diameter are swapped
    table.write_text("image,age,diameter_1\na.jpg,85,\nb.jpg,,\nc.jpg,12 mm,\nd.jpg,,1975\n")
    assert main(["score", str(table), "--model", "phone", "--out", str(out)]) == 0
    assert "has no column for sex, itch, which will count as unknown" in capsys.readouterr().err
    with out.open(newline="") as file:
        scored = {row["image"]: row for row in csv.DictReader(file)}
    assert list(scored) == ["a.jpg", "b.jpg"]
    pixels = imaging.load(photo, phone.input_size)
    for name, values in (("a.jpg", {"age": 85.0}), ("b.jpg", {})):
        expected = runtime.classifier(phone).predict(pixels, values).probabilities
        found = [float(scored[name][f"p_{code}"]) for code in phone.labels.codes]
        assert found == pytest.approx(expected.tolist(), abs=1e-5)
    # the rows without any metadata are from the image-only model; the run can still be continued
    before = out.read_text()
    assert main(["score", str(table), "--model", "phone", "--out", str(out)]) == 0
    assert out.read_text() == before
    with (photo.parent / "p.failed.csv").open(newline="") as file:
        reasons = {row["image"]: row["reason"] for row in csv.DictReader(file)}
    assert list(reasons) == ["c.jpg", "d.jpg"]
    assert "Age: '12 mm' is not a number" in reasons["c.jpg"]
    assert "Larger diameter: 1975 is not possible" in reasons["d.jpg"]
