"""A features model on the command line."""

import json
from pathlib import Path

import pytest
from PIL import Image

from skinapp.__main__ import main
from skinapp.lesion import features
from tests.test_command_line import photo

MODEL = "ham10000-features"


def test_classify_gives_every_feature_and_its_contribution(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["classify", str(photo(tmp_path / "a.jpg")), "--model", MODEL, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["predicted"] == max(answer["probabilities"], key=answer["probabilities"].__getitem__)
    assert set(answer["features"]) == {*features.TITLES, "start"}
    assert all(isinstance(one["contribution"], float) for one in answer["features"].values())
    assert answer["features"]["colours"]["value"] in range(7)


def test_classify_names_what_counted_most(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    report = tmp_path / "case.html"
    assert main(["classify", str(photo(tmp_path / "a.jpg")), "--model", MODEL, "--report", str(report)]) == 0
    assert "What counted most towards " in capsys.readouterr().out
    text = report.read_text()
    assert "What the model measured" in text
    assert "Where the model looked" not in text


def test_a_picture_of_one_colour_says_that_nothing_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.new("RGB", (300, 300), (200, 150, 130)).save(tmp_path / "plain.png")
    assert main(["classify", str(tmp_path / "plain.png"), "--model", MODEL, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert "features" in answer["warnings"]
    assert all(one["value"] is None for one in answer["features"].values())


def test_maps_and_embeddings_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = str(photo(tmp_path / "a.jpg"))
    assert main(["classify", file, "--model", MODEL, "--cam-dir", str(tmp_path / "maps")]) == 2
    assert "has no class maps" in capsys.readouterr().err
    for option, words in (("--embeddings", "has no embedding"), ("--cam", "has no class maps")):
        assert main(["score", str(tmp_path), "--model", MODEL, "--out", str(tmp_path / "out"), option]) == 2
        assert words in capsys.readouterr().err
