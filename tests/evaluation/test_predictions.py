"""Predictions files: what is read, what is completed from the models here, and the sentence for what cannot be used."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.evaluation import predictions
from skinapp.inference import registry
from skinapp.labels.sets import HAM10000, MALIGNANCY

HEAD = "image,label,p_benign,p_malignant\n"


def read(text: str) -> predictions.Predictions:
    return predictions.read(text.encode(), "mine.csv")


def test_a_file_with_the_documented_columns() -> None:
    found = read(HEAD + "a,benign,0.75,0.25\nb,malignant,0.4,0.6\n")
    assert found.labels == MALIGNANCY
    assert found.probabilities == pytest.approx(np.array([[0.75, 0.25], [0.4, 0.6]]))
    assert found.table["label"].tolist() == ["benign", "malignant"]


def test_the_isic_challenges_columns() -> None:
    # in the challenge's order: melanoma, nevus, basal cell carcinoma, ...
    found = read("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_1.jpg,0.4,0.3,0.1,0.05,0.05,0.05,0.05\n")
    assert found.labels == HAM10000
    assert found.table.index.tolist() == ["ISIC_1"]
    assert dict(zip(HAM10000.codes, found.probabilities[0], strict=True)) == pytest.approx(
        {"mel": 0.4, "nv": 0.3, "bcc": 0.1, "akiec": 0.05, "bkl": 0.05, "df": 0.05, "vasc": 0.05}
    )


def test_zeros_are_what_rounding_left() -> None:
    found = read(HEAD + "a,benign,1,0\n")
    assert 0 < found.probabilities[0, 1] < 1e-6
    assert found.probabilities.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "mine.csv is empty"),
        ("a picture, not a table\n1,2\n", "no column 'image'"),
        (HEAD, "no rows"),
        ("name,p_benign,p_malignant\na,0.5,0.5\n", "no column 'image'"),
        ("image,p_cat,p_dog\na,0.5,0.5\n", "cat, dog, which is no label set known here"),
        ("image,label\na,benign\n", "no column p_<label>"),
        (HEAD + "a,benign,,0.5\n", "a has a probability that is no number"),
        (HEAD + "a,benign,nan,0.5\nb,benign,nan,0.5\n", "as have 1 more images"),
        (HEAD + "a,benign,half,0.5\n", "words where probabilities should be"),
        (HEAD + "a,benign,0.5,0.6\n", "do not sum to 1"),
        (HEAD + "a,benign,1.5,-0.5\n", "below 0 or above 1"),
        (HEAD + "a,benign,0.5,0.5\na,benign,0.5,0.5\n", "a and 0 more images twice"),
        (HEAD + ",benign,0.5,0.5\n", "1 rows without an image id"),
        (HEAD + "a,maybe,0.5,0.5\n", "the label 'maybe'"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(DataError) as reason:
        read(text)
    assert sentence in str(reason.value)


def test_a_million_rows_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "MAX_ROWS", 1000)
    rows = "".join(f"image{number},0.5,0.5\n" for number in range(1001))
    with pytest.raises(DataError, match="more than 1,000 rows"):
        read("image,p_benign,p_malignant\n" + rows)


def test_every_shipped_file_is_read(model: registry.Model) -> None:
    found, left_out = predictions.shipped()
    assert list(found) == list(registry.models())
    assert not left_out
    assert len(found[model.id].table) == model.card["test"]["images"]


def test_an_incomplete_folder_is_named_and_the_others_are_read(own_models: Path, model: registry.Model) -> None:
    shutil.copytree(own_models / model.id, own_models / "spoiled")
    (own_models / "spoiled" / "history.csv").unlink()
    found, left_out = predictions.shipped(own_models)
    assert list(found) == [model.id]
    assert list(left_out) == ["spoiled"]


def test_a_file_without_labels_gets_them_and_the_groups(model: registry.Model) -> None:
    theirs = predictions.of_model(model)
    text = theirs.table.sample(50, random_state=0)[theirs.columns].reset_index().to_csv(index=False)
    own = predictions.own(text.encode(), "own", "Mine", [theirs])
    assert len(own.table) == 50
    for column in ("label", "group", "dataset", "sex"):
        expected = theirs.table.loc[own.table.index, column]
        assert own.table[column].fillna("").tolist() == expected.fillna("").tolist()


def test_malignant_or_benign_is_learnt_from_seven_classes(model: registry.Model) -> None:
    theirs = predictions.of_model(model)
    table = pd.DataFrame({"image": theirs.table.index[:40], "p_benign": 0.5, "p_malignant": 0.5})
    own = predictions.own(table.to_csv(index=False).encode(), "own", "Mine", [theirs])
    for label, seven in zip(own.table["label"], theirs.table["label"], strict=False):
        assert (label == "malignant") == HAM10000[seven].malignant


def test_no_overlap_is_a_sentence(model: registry.Model) -> None:
    with pytest.raises(DataError, match="no image in common"):
        predictions.own((HEAD + "elsewhere,benign,0.5,0.5\n").encode(), "own", "Mine", [predictions.of_model(model)])


def test_images_are_found_on_disk_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path))
    for name in ("one/images/a.jpg", "two/benign/7.webp"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert predictions.image_file("one", "a") == tmp_path / "one/images/a.jpg"
    assert predictions.image_file("two", "benign/7") == tmp_path / "two/benign/7.webp"
    assert predictions.image_file("two", "a") is None


def test_a_file_of_another_make_is_the_same_predictions() -> None:
    text = HEAD + "a,benign,0.75,0.25\nb,malignant,0.5,0.5\n"
    other = text.replace(",", ";").replace("0.", "0,")
    assert predictions.read(other.encode("utf-16"), "mine.csv").table.equals(read(text).table)
