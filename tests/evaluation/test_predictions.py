"""Predictions files: reading, completion from the models here, and error messages."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skinapp.datasets import registry as data_sets
from skinapp.errors import DataError, ModelError
from skinapp.evaluation import comparison, predictions
from skinapp.evaluation.comparison import CLASSES
from skinapp.inference import registry
from skinapp.labels.sets import HAM10000, MALIGNANCY
from tests import model_folder

HEAD = "image,label,p_benign,p_malignant\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> registry.Model:
    """A bundled model, with a single test set."""
    return model_folder.with_own_tests_alone("ham10000-cnn32", tmp_path_factory.mktemp("models"))


def read(text: str) -> predictions.Predictions:
    return predictions.read(text.encode(), "mine.csv")


def test_a_file_with_the_documented_columns() -> None:
    parsed = read(HEAD + "a,benign,0.75,0.25\nb,malignant,0.4,0.6\n")
    assert parsed.labels == MALIGNANCY
    assert parsed.probabilities == pytest.approx(np.array([[0.75, 0.25], [0.4, 0.6]]))
    assert parsed.table["label"].tolist() == ["benign", "malignant"]


def test_the_isic_challenges_columns() -> None:
    # in the challenge's order: melanoma, nevus, basal cell carcinoma, ...
    parsed = read("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_1.jpg,0.4,0.3,0.1,0.05,0.05,0.05,0.05\n")
    assert parsed.labels == HAM10000
    assert parsed.table.index.tolist() == ["ISIC_1"]
    assert dict(zip(HAM10000.codes, parsed.probabilities[0], strict=True)) == pytest.approx(
        {"mel": 0.4, "nv": 0.3, "bcc": 0.1, "akiec": 0.05, "bkl": 0.05, "df": 0.05, "vasc": 0.05}
    )


def test_zeros_count_as_rounded_values() -> None:
    parsed = read(HEAD + "a,benign,1,0\n")
    assert 0 < parsed.probabilities[0, 1] < 1e-6
    assert parsed.probabilities.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "mine.csv is empty"),
        ("a picture, not a table\n1,2\n", "no column 'image'"),
        (HEAD, "no rows"),
        ("name,p_benign,p_malignant\na,0.5,0.5\n", "no column 'image'"),
        ("image,p_cat,p_dog\na,0.5,0.5\n", "cat, dog, which are not a known label set"),
        ("image,label\na,benign\n", "no column p_<label>"),
        (HEAD + "a,benign,,0.5\n", "a probability is not a number for a;"),
        (HEAD + "a,benign,nan,0.5\nb,benign,nan,0.5\n", "for a and 1 more image;"),
        (HEAD + "a,benign,half,0.5\n", "words where probabilities should be"),
        (HEAD + "a,benign,0.5,0.6\n", "do not sum to 1"),
        (HEAD + "a,benign,1.5,-0.5\n", "below 0 or above 1"),
        (HEAD + "a,benign,0.5,0.5\na,benign,0.5,0.5\n", "lists a more than once"),
        (HEAD + ",benign,0.5,0.5\n", "1 rows without an image id"),
        (HEAD + "a,maybe,0.5,0.5\n", "the label 'maybe'"),
    ],
)
def test_a_file_that_cannot_be_used_is_reported(text: str, sentence: str) -> None:
    with pytest.raises(DataError) as reason:
        read(text)
    assert sentence in str(reason.value)


def test_a_million_rows_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "MAX_ROWS", 1000)
    rows = "".join(f"image{number},0.5,0.5\n" for number in range(1001))
    with pytest.raises(DataError, match="more than 1,000 rows"):
        read("image,p_benign,p_malignant\n" + rows)


def test_every_shipped_file_is_read(model: registry.Model) -> None:
    shipped, left_out = predictions.shipped()
    assert list(shipped) == list(registry.models())
    assert not left_out
    # every test set has a name to show
    assert all(data_sets.title(name) != name for one in shipped.values() for name in one.datasets)
    assert (shipped[model.id].table["dataset"] == "ham10000").sum() == model.card["test"]["images"]


def test_an_incomplete_folder_is_named_and_the_others_are_read(own_models: Path, model: registry.Model) -> None:
    shutil.copytree(own_models / model.id, own_models / "corrupted")
    (own_models / "corrupted" / "history.csv").unlink()
    shipped, left_out = predictions.shipped(own_models)
    assert list(shipped) == [model.id]
    assert list(left_out) == ["corrupted"]


def test_a_file_without_labels_gets_them_and_the_groups(model: registry.Model) -> None:
    theirs = predictions.of_model(model)
    text = theirs.table.sample(50, random_state=0)[theirs.columns].reset_index().to_csv(index=False)
    own = predictions.own(text.encode(), "own", "Mine", [theirs])
    assert len(own.table) == 50
    for column in ("label", "group", "dataset", "sex"):
        expected = theirs.table.loc[own.table.index, column]
        assert own.table[column].fillna("").tolist() == expected.fillna("").tolist()


def test_malignant_or_benign_is_derived_from_seven_classes(model: registry.Model) -> None:
    theirs = predictions.of_model(model)
    table = pd.DataFrame({"image": theirs.table.index[:40], "p_benign": 0.5, "p_malignant": 0.5})
    own = predictions.own(table.to_csv(index=False).encode(), "own", "Mine", [theirs])
    assert own.table.index.equals(theirs.table.index[:40])
    for label, seven in zip(own.table["label"], theirs.table["label"][:40], strict=True):
        assert (label == "malignant") == HAM10000[seven].malignant


def test_without_models_there_is_nothing_to_complete_a_file_from() -> None:
    with pytest.raises(ModelError, match="no usable model"):
        predictions.own(b"image,p_benign,p_malignant\na,0.5,0.5\n", "own", "Mine", [])


def test_no_overlap_is_reported(model: registry.Model) -> None:
    with pytest.raises(DataError, match="no images in common"):
        predictions.own((HEAD + "elsewhere,benign,0.5,0.5\n").encode(), "own", "Mine", [predictions.of_model(model)])


@pytest.mark.parametrize("ending", [".jpg", ".JPG", ".jpeg", ".PNG", ""])
def test_ids_may_end_as_files_do(ending: str) -> None:
    parsed = read(f"{HEAD}ISIC_1{ending},benign,0.75,0.25\nPAT_1_2.3{ending},benign,0.75,0.25\n")
    assert parsed.table.index.tolist() == ["ISIC_1", "PAT_1_2.3"]


def test_groups_that_are_left_empty_are_filled_in(model: registry.Model) -> None:
    theirs = predictions.of_model(model)
    some = theirs.table.sample(40, random_state=0)
    table = some[theirs.columns].reset_index().assign(group=["", "mine"] * 20)
    own = predictions.own(table.to_csv(index=False).encode(), "own", "Mine", [theirs])
    assert own.table["group"].tolist()[1::2] == ["mine"] * 20
    assert own.table["group"].tolist()[::2] == some["group"].tolist()[::2]
    assert len(comparison.share([own, theirs], CLASSES).weights(5)[0]) == 40


def test_a_file_cannot_set_the_data_set_of_an_image(model: registry.Model) -> None:
    theirs = predictions.of_model(model)
    table = theirs.table.head(5)[theirs.columns].reset_index().assign(dataset="../secrets")
    own = predictions.own(table.to_csv(index=False).encode(), "own", "Mine", [theirs])
    assert own.datasets == ["ham10000"]


def test_a_published_file_is_parsed_once_and_again_when_it_changes(
    own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = registry.read_model(own_models / model.id)
    parsed: list[str] = []
    read_once = predictions.read

    def counted(content: bytes, name: str, **more: Any) -> predictions.Predictions:
        parsed.append(name)
        return read_once(content, name, **more)

    monkeypatch.setattr(predictions, "read", counted)
    first = predictions.of_model(here)
    assert predictions.of_model(here).table is first.table
    assert len(parsed) == 1
    file = here.folder / "predictions.csv"
    os.utime(file, ns=(0, 0))
    assert predictions.of_model(here).table is not first.table
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]) + "\n")
    assert len(predictions.of_model(here).table) == len(first.table) - 1
    assert len(parsed) == 3


def test_a_visitors_file_is_in_no_cache(model: registry.Model) -> None:
    theirs = predictions.of_model(model)
    size = predictions._parsed.cache_info().currsize
    text = theirs.table.head(30)[theirs.columns].reset_index().to_csv(index=False)
    predictions.own(text.encode(), "own", "Mine", [theirs])
    assert predictions._parsed.cache_info().currsize == size


def test_images_are_on_disk_in_the_folder_of_a_known_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path))
    for name in ("ham10000/images/a.jpg", "malignant_benign/benign/7.webp", "secrets/images/a.jpg", "b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert predictions.image_file("ham10000", "a") == tmp_path / "ham10000/images/a.jpg"
    assert predictions.image_file("malignant_benign", "benign/7") == tmp_path / "malignant_benign/benign/7.webp"
    assert predictions.image_file("malignant_benign", "a") is None
    (close_up := tmp_path / "milk10k/clinical/c.jpg").parent.mkdir(parents=True)
    close_up.touch()
    assert predictions.image_file("milk10k-clinical", "c") == close_up, "a part of a data set lies in its folder"
    for dataset, image in (
        ("secrets", "a"),
        ("../secrets", "a"),
        ("ham10000", "../../b"),
        ("ham10000", "../../secrets/images/a"),
        ("ham10000", str(tmp_path / "b")),
        ("ham10000", "a\0"),
        ("ham10000", "a" * 5000 + "/.."),
    ):
        assert predictions.image_file(dataset, image) is None


def test_a_file_from_another_program_has_the_same_predictions() -> None:
    text = HEAD + "a,benign,0.75,0.25\nb,malignant,0.5,0.5\n"
    other = text.replace(",", ";").replace("0.", "0,")
    assert predictions.read(other.encode("utf-16"), "mine.csv").table.equals(read(text).table)


@pytest.fixture
def with_elsewhere(own_models: Path, model: registry.Model) -> registry.Model:
    """The bundled model with predictions on a further test set, of more images than its own."""
    table = pd.read_csv(model.folder / "predictions.csv")
    parts = [table.assign(image=table["image"] + ending, dataset="elsewhere") for ending in ("-a", "-b")]
    pd.concat(parts).to_csv(own_models / model.id / "predictions-elsewhere.csv", index=False)
    card = json.loads((own_models / model.id / "model.json").read_text())
    content = (own_models / model.id / "predictions-elsewhere.csv").read_bytes()
    card["files"]["predictions-elsewhere.csv"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (own_models / model.id / "model.json").write_text(json.dumps(card))
    return registry.read_model(own_models / model.id)


def test_a_further_test_set_is_there_but_not_mixed_in(with_elsewhere: registry.Model, model: registry.Model) -> None:
    both, own = predictions.of_model(with_elsewhere), predictions.of_model(model)
    assert both.datasets == ["ham10000", "elsewhere"]
    assert both.digest != own.digest
    assert len(both.table) == 3 * len(own.table)
    assert comparison.share([both], CLASSES).images.tolist() == own.table.index.tolist()
    assert comparison.share([both, own], CLASSES).images.tolist() == own.table.index.tolist()
    elsewhere = comparison.share([both], CLASSES, "elsewhere")
    assert len(elsewhere.images) == 2 * len(own.table)
    with pytest.raises(DataError, match="no images in common"):
        comparison.share([both, own], CLASSES, "elsewhere")


def test_an_image_in_two_test_sets_is_reported(with_elsewhere: registry.Model) -> None:
    file = with_elsewhere.folder / "predictions-elsewhere.csv"
    file.write_bytes((with_elsewhere.folder / "predictions.csv").read_bytes())
    with pytest.raises(DataError, match="twice; evaluate the model again"):
        predictions.of_model(with_elsewhere)
