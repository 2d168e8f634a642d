"""The effect of the square around the lesion: no network classifies its training images, and the arithmetic is
right."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinapp.errors import DataError
from skinapp.inference.registry import Model
from skinapp.lesion.square import Box
from tests.pictures import lesion
from train.studies import held_out, square
from train.studies.square import Outcomes


def common(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["image", "group", "split"])
    return table.assign(path=[Path(name) for name in table["image"]], label="nv", dataset="ham10000")


def trained(model: Model, dataset: str, **card: object) -> Model:
    return dataclasses.replace(model, card=model.card | {"training": {"dataset": dataset}} | card)


class Config:
    dataset, folds, seed = "ham10000", 2, 0
    fold: int | None = 1


@pytest.fixture
def divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four training images, held out by two folds, and a test image."""
    rows = [("a", "a", "train"), ("b", "b", "train"), ("c", "c", "train"), ("d", "d", "train"), ("t", "t", "test")]
    held_out = {0: {"a", "b"}, 1: {"c", "d"}}

    def with_validation(table: pd.DataFrame, folds: int, fold: int | None, seed: int) -> pd.DataFrame:
        validation = table["image"].isin(held_out[fold])
        return table.assign(split=table["split"].mask(validation, "validation"))

    monkeypatch.setattr(square, "read", lambda name: common(rows))
    monkeypatch.setattr(square, "load_config", lambda file, settings: Config())
    monkeypatch.setattr(square, "with_validation", with_validation)


def parts(rows: pd.DataFrame) -> dict[str, tuple[str, str]]:
    return {row["image"]: (row["part"], row["member"]) for row in rows.to_dict("records")}


@pytest.mark.usefixtures("divided")
def test_a_network_classifies_its_held_out_images(model: Model) -> None:
    rows = square.unseen(trained(model, "HAM10000"), "ham10000")
    assert parts(rows) == {"c": ("validation", ""), "d": ("validation", ""), "t": ("test", "")}


@pytest.mark.usefixtures("divided")
def test_a_committees_member_classifies_its_held_out_images(model: Model) -> None:
    members = [{"file": "member-1.tflite", "fold": 0}, {"file": "member-2.tflite", "fold": 1}]
    rows = square.unseen(trained(model, "HAM10000", members=members), "ham10000")
    assert parts(rows) == {
        "a": ("validation", "member-1.tflite"),
        "b": ("validation", "member-1.tflite"),
        "c": ("validation", "member-2.tflite"),
        "d": ("validation", "member-2.tflite"),
        "t": ("test", ""),
    }
    one = held_out.one_member(trained(model, "HAM10000", members=members), "member-2.tflite")
    assert one.weights == ("member-2.tflite",)


@pytest.mark.usefixtures("divided")
def test_a_network_classifies_all_images_of_an_unseen_data_set(model: Model) -> None:
    rows = square.unseen(trained(model, "PAD-UFES-20"), "ham10000")
    assert set(rows["image"]) == {"a", "b", "c", "d", "t"}


@pytest.mark.usefixtures("divided")
def test_a_network_trained_on_everything_classifies_only_test_images(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Config, "fold", None)
    rows = square.unseen(trained(model, "HAM10000"), "ham10000")
    assert parts(rows) == {"t": ("test", "")}


def test_a_data_set_without_a_test_part_is_halved_by_groups(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"{group}-{number}", f"g{group}", "train") for group in range(30) for number in range(2)]
    monkeypatch.setattr(square, "read", lambda name: common(rows))
    divided = square.unseen(trained(model, "PAD-UFES-20"), "ham10000")
    assert set(divided["part"]) == {"validation", "test"}
    assert len(divided[["group", "part"]].drop_duplicates()) == 30


def outcomes(shares: list[float]) -> Outcomes:
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    count = len(shares)
    # the centre is wrong for every second image, the square is right for all
    centre = np.array([right if number % 2 else wrong for number in range(count)])
    return Outcomes(
        np.zeros(count, int),
        np.arange(count).astype(str),
        centre,
        {2.0: np.tile(right, (count, 1))},
        np.where(np.isnan(shares), 0, 1),
        np.array(shares),
    )


def test_the_square_counts_only_for_lesions_that_are_small_enough() -> None:
    made = outcomes([0.1, 0.1, 0.5, 0.5, np.nan, np.nan] * 10)
    assert made.difference(2.0, 1.0).value == pytest.approx(1 / 3)
    figures = made.figures(2.0, 0.2)
    assert figures["difference"]["value"] == pytest.approx(1 / 6, abs=1e-4)
    assert figures["centre"]["value"] == pytest.approx(0.5)
    assert figures["moved"] == figures["not_found"] == pytest.approx(1 / 3, abs=1e-4)


def saved(folder: Path, number: int) -> Path:
    file = folder / f"{number}.png"
    lesion(160, 120, seed=number).save(file)
    return file


def test_what_is_measured(model: Model, tmp_path: Path) -> None:
    codes = [model.labels.codes[0], model.labels.codes[1]] * 2
    table = pd.DataFrame(
        {
            "path": [saved(tmp_path, number) for number in range(4)],
            "label": codes,
            "group": ["a", "b", "c", "d"],
            "part": ["validation", "validation", "test", "test"],
            "member": "",
        }
    )
    measured = square.measure(model, {"ham10000": table, "pad_ufes_20": table.iloc[:0]})
    assert measured["model"] == model.id
    assert measured["margin"] in square.MARGINS
    assert list(measured["sets"]) == ["ham10000"]
    assert measured["sets"]["ham10000"]["test"]["images"] == 2
    assert measured["two_lesions"]["pairs"] == 1
    assert "HAM10000" in square.table({"dermoscopy": measured})
    with pytest.raises(DataError, match="none is left"):
        square.measure(model, {"ham10000": table.iloc[:0]})


def test_both_lesions_count_only_one_in_each_half(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = [saved(tmp_path, number) for number in range(4)]
    left, right = Box(50, 50, 90, 90), Box(350, 50, 390, 90)
    boxes: list[list[Box]] = [[left, right], [left, left]]

    def lesions(image: Image.Image) -> list[Box]:
        assert image.size == (512, 256)
        return boxes.pop()

    monkeypatch.setattr(square.square, "lesions", lesions)
    assert square.count_both_found(files) == {"pairs": 2, "both_found": 1}
