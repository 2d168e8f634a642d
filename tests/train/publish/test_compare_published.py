import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.inference import registry
from skinapp.labels.sets import HAM10000
from train.publish import card_content, compare_published

TRUTH = ("nv", "nv", "nv", "nv", "mel", "mel", "bcc", "df")
OURS = ("nv", "nv", "nv", "nv", "mel", "mel", "bcc", "nv")
"""All right except the dermatofibroma."""
THEIRS = ("nv", "mel", "mel", "mel", "nv", "nv", "nv", "nv")
"""Right only on the first mole, so wrong on six images that ours has right."""
PUBLISHED_BALANCED_ACCURACY = {
    "BiomedCLIP": 0.1763,
    "CLIP Large": 0.6684,
    "DermFM-Zero": 0.8322,
    "DermLIP PanDerm": 0.8101,
    "DermLIP ViT-B/16": 0.6732,
    "DINOv3 ViT-L/16": 0.7477,
    "MONET": 0.6604,
    "PanDerm": 0.7820,
}
"""As DermFM-Zero's repository states them: statistic_reproduce/reference_outputs/linear_probe, means of a bootstrap."""


def predictions(named: tuple[str, ...], labels: tuple[str, ...] = TRUTH, prefix: str = "image") -> pd.DataFrame:
    """A table with a probability of 0.94 for the class named for each image, and 0.01 for every other."""
    table = pd.DataFrame({"image": [f"{prefix}{number}" for number in range(len(named))], "label": labels})
    for code in HAM10000.codes:
        table[f"p_{code}"] = np.where(np.array(named) == code, 0.94, 0.01)
    return table


def compared(ours: registry.Model, folder: Path) -> pd.DataFrame:
    return compare_published.compare(ours.id, ours.labels, ours.folder / "predictions.csv", folder)


@pytest.fixture(scope="module")
def model() -> registry.Model:
    return registry.model("ham10000-efficientnetb1")


@pytest.fixture
def ours(model: registry.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> registry.Model:
    """The bundled model with predictions for eight images of seven lesions; the two melanomas are one lesion."""
    monkeypatch.setattr(compare_published, "RESAMPLES", 100)
    groups = ["a", "b", "c", "d", "e", "e", "f", "g"]
    predictions(OURS).assign(group=groups).to_csv(tmp_path / "predictions.csv", index=False)
    return dataclasses.replace(model, folder=tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two published models: one worse than ours, one with our predictions."""
    folder = tmp_path / "published_predictions"
    folder.mkdir()
    predictions(THEIRS).to_csv(folder / "ham10000_worse.csv", index=False)
    predictions(OURS).to_csv(folder / "ham10000_equal.csv", index=False)
    predictions(OURS).to_csv(folder / "pad_ufes_20_worse.csv", index=False)
    return folder


def test_eight_images_worked_by_hand(ours: registry.Model, folder: Path) -> None:
    table = compared(ours, folder).set_index(["model", "score"])
    worse = table.loc["worse"]
    # recalls of theirs: bcc 0, df 0, mel 0, nv 1/4; of ours 1, 0, 1, 1
    assert worse.loc["accuracy", "value"] == pytest.approx(1 / 8)
    assert worse.loc["accuracy", "ours_minus_theirs"] == pytest.approx(6 / 8)
    assert worse.loc["balanced_accuracy", "value"] == pytest.approx(1 / 16)
    assert worse.loc["balanced_accuracy", "ours_minus_theirs"] == pytest.approx(3 / 4 - 1 / 16)
    # mel and bcc are malignant; theirs classifies three moles as malignant
    assert worse.loc["sensitivity_malignancy", "value"] == 0
    assert worse.loc["specificity_malignancy", "value"] == pytest.approx(2 / 5)
    assert worse.loc["log_loss", "value"] == pytest.approx(-(np.log(0.94) + 7 * np.log(0.01)) / 8, rel=1e-4)
    assert (table["images"] == 8).all()
    assert (table["groups"] == 7).all()
    assert (table["our_model"] == ours.id).all()
    # seven lesions are too few for an interval
    assert worse[["low", "high", "ours_minus_theirs_low", "ours_minus_theirs_high"]].isna().all(axis=None)


def test_p_values_are_corrected_for_the_number_of_models(ours: registry.Model, folder: Path) -> None:
    table = compared(ours, folder).set_index(["model", "score"])
    # six images on which only ours is right: 2 / 2**6; and none for the identical model
    assert table.loc[("worse", "accuracy"), "mcnemar_p"] == pytest.approx(2 / 64)
    assert table.loc[("equal", "accuracy"), "mcnemar_p"] == 1
    assert table.loc[("worse", "accuracy"), "mcnemar_p_holm"] == pytest.approx(2 * 2 / 64)
    assert table.loc[("equal", "accuracy"), "mcnemar_p_holm"] == 1
    assert table["mcnemar_p"].notna().sum() == table["mcnemar_p_holm"].notna().sum() == 2
    equal = table.loc["equal"]
    assert (equal[["ours_minus_theirs", "ours_minus_theirs_low", "ours_minus_theirs_high"]] == 0).all(axis=None)


def test_twenty_lesions_have_intervals(ours: registry.Model, folder: Path) -> None:
    labels, theirs = TRUTH * 3, THEIRS * 3
    predictions(OURS * 3, labels).assign(group=range(24)).to_csv(ours.folder / "predictions.csv", index=False)
    predictions(theirs, labels).to_csv(folder / "ham10000_worse.csv", index=False)
    table = compared(ours, folder).set_index(["model", "score"]).loc["worse"].loc[["accuracy", "balanced_accuracy"]]
    assert (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).all()
    assert (table["ours_minus_theirs_low"] < table["ours_minus_theirs"]).all()
    assert (table["ours_minus_theirs"] < table["ours_minus_theirs_high"]).all()


def test_only_images_that_both_have_count(ours: registry.Model, folder: Path) -> None:
    (folder / "ham10000_equal.csv").unlink()
    shuffled = predictions(THEIRS).iloc[[7, 5, 1, 0]]
    pd.concat([shuffled, predictions(THEIRS, prefix="other")]).to_csv(folder / "ham10000_worse.csv", index=False)
    table = compared(ours, folder).set_index("score")
    assert table.loc["accuracy", "images"] == 4
    assert table.loc["accuracy", "groups"] == 4
    assert table.loc["accuracy", "value"] == pytest.approx(1 / 4)
    assert table.loc["accuracy", "ours_minus_theirs"] == pytest.approx(2 / 4)


def test_a_probability_of_0_is_one_that_was_rounded(ours: registry.Model, folder: Path) -> None:
    certain = predictions(THEIRS).replace({0.94: 1.0, 0.01: 0.0})
    certain.to_csv(folder / "ham10000_worse.csv", index=False)
    table = compared(ours, folder).set_index(["model", "score"])
    assert table.loc[("worse", "log_loss"), "value"] == pytest.approx(-7 / 8 * np.log(5e-7), rel=1e-3)


def lacking(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=["p_mel", "label"])


def relabelled(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=["nv", "nv", "nv", "mel", *table["label"][4:]])


def strange(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(image="x" + table["image"])


def twice(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.iloc[:1]])


def empty(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(p_nv=table["p_nv"].where(table["image"] != "image2"))


def logits(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(p_nv=[3.0] * len(table))


@pytest.mark.parametrize(
    ("corrupt", "sentence"),
    [
        (lacking, r"ham10000_worse\.csv lacks the columns label, p_mel"),
        (relabelled, r"ham10000_worse\.csv labels 1 of 8 images differently from the predictions of 'ham.*': image3"),
        (strange, r"ham10000_worse\.csv and the predictions of 'ham.*' have no image in common"),
        (twice, r"ham10000_worse\.csv lists an image twice: image0"),
        (empty, r"The probabilities of image2 in ham10000_worse\.csv do not sum to 1"),
        (logits, r"The probabilities of image0 in ham10000_worse\.csv do not sum to 1"),
    ],
)
def test_a_table_that_cannot_be_compared_is_named(
    corrupt: Callable[[pd.DataFrame], pd.DataFrame], sentence: str, ours: registry.Model, folder: Path
) -> None:
    corrupt(predictions(THEIRS)).to_csv(folder / "ham10000_worse.csv", index=False)
    with pytest.raises(DataError, match=sentence):
        compared(ours, folder)


def test_a_missing_folder_and_a_file_that_cannot_be_written(
    ours: registry.Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"no published predictions ham10000_\*\.csv in .*; set SKINAPP_DATA"):
        compared(ours, folder / "none")
    monkeypatch.setenv("SKINAPP_DATA", str(folder.parent))
    monkeypatch.setattr(registry, "model", lambda model_id: ours)
    with pytest.raises(DataError, match="cannot be written"):
        compare_published.run(argparse.Namespace(models=[ours.id], out=folder))


def test_the_command_writes_one_row_a_model_and_score(
    ours: registry.Model, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(folder.parent))
    monkeypatch.setattr(registry, "model", lambda model_id: ours)
    out = folder / "new" / "published.csv"
    assert compare_published.run(argparse.Namespace(models=[ours.id], out=out)) == 0
    table = pd.read_csv(out)
    assert not table.duplicated(["dataset", "model", "score"]).any()
    assert set(table["model"]) == {"worse", "equal"}
    assert set(table["dataset"]) == {"ham10000"}
    assert table["protocol"].str.contains("shares lesions or patients").all()
    assert "worse" in capsys.readouterr().out


def test_a_card_compares_the_model_with_the_published_ones(
    ours: registry.Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ours.folder / "predictions.csv"
    monkeypatch.setenv("SKINAPP_DATA", str(folder.parent))
    made = card_content.published("ours", "ham10000", file)["published"]
    assert "shares lesions or patients" in made["protocol"]
    accuracy = compared(ours, folder).set_index(["model", "score"]).loc[("worse", "accuracy")]
    [row] = [row for row in made["rows"] if (row["model"], row["score"]) == ("worse", "accuracy")]
    assert row["value"] == pytest.approx(accuracy["value"], abs=1e-4)
    assert row["difference"] == pytest.approx(accuracy["ours_minus_theirs"], abs=1e-4)
    monkeypatch.setenv("SKINAPP_DATA", str(folder))
    assert card_content.published("ours", "ham10000", file) == {}


def test_the_shipped_table_is_of_the_shipped_models() -> None:
    file = registry.default_root() / "published.csv"
    table = pd.read_csv(file)
    # of other data sets the published predictions cover only a part of our test images
    rows_of = list(table[table["dataset"] == "ham10000"].groupby(["our_model", "score"]))
    assert rows_of
    for (ours, score), rows in rows_of:
        published = registry.model(ours).card["scores"][score]["value"]
        assert (rows["value"] + rows["ours_minus_theirs"]).to_numpy() == pytest.approx(published, abs=2e-3)


@pytest.mark.data
def test_the_published_figures_come_out(
    data_root: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_published, "RESAMPLES", 100)
    table = compared(model, data_root / "published_predictions").set_index(["score", "model"])
    assert (table["images"] == 1503).all()
    assert (table["groups"] == 1437).all()
    balanced = table.loc["balanced_accuracy"]
    assert balanced["value"].to_dict() == pytest.approx(PUBLISHED_BALANCED_ACCURACY, abs=2e-3)
    assert balanced["value"].idxmax() == "DermFM-Zero"
    assert balanced["value"].max() == pytest.approx(0.8315, abs=1e-4)
    accuracy = table.loc["accuracy"]
    assert (accuracy["mcnemar_p"] <= accuracy["mcnemar_p_holm"]).all()
    ours = balanced["value"] + balanced["ours_minus_theirs"]
    assert ours.to_numpy() == pytest.approx(model.card["scores"]["balanced_accuracy"]["value"], abs=1e-4)
