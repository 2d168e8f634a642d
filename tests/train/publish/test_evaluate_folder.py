import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.images import imaging
from skinapp.inference import registry, runtime
from skinapp.labels.sets import HAM10000, MALIGNANCY, LabelSet
from tests.pictures import encode, lesion
from train.__main__ import main
from train.publish import evaluate_folder

MODEL = "ham10000-efficientnetb1"
TABLE = "image,label,patient\na.jpg,nv,P1\ndeep/b,mel,P1\nc,bkl,P2\nd.png,nv,P3\n"


@pytest.fixture(scope="module")
def model() -> registry.Model:
    return registry.model(MODEL)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_folder, "RESAMPLES", 50)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four labelled pictures, one in a subfolder and one with another extension than in the table, and an unlabelled
    one."""
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for seed, name in enumerate(("a.jpg", "deep/b.jpg", "c.jpg", "d.jpg", "unlabelled.jpg")):
        (folder / name).write_bytes(encode(lesion(seed=seed)))
    return folder


def evaluate(folder: Path, table: str, *more: str) -> int:
    file = folder.parent / "labels.csv"
    file.write_text(table)
    return main(["evaluate", "--model", MODEL, "--images", str(folder), "--labels", str(file), *more])


def sentence(folder: Path, table: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The text on standard error if the exit code is 2."""
    assert evaluate(folder, table, *more) == 2
    return capsys.readouterr().err


def test_scores_counts_and_predictions(folder: Path, capsys: pytest.CaptureFixture[str], model: registry.Model) -> None:
    out = folder.parent / "new" / "predictions.csv"
    assert evaluate(folder, TABLE, "--group-column", "patient", "--out", str(out)) == 0
    output = capsys.readouterr().out
    assert f"{MODEL} on 4 images, 3 groups by patient." in output
    assert "1 images in the folder have no label" in output
    assert "No image of: akiec, bcc, df, vasc" in output
    assert "own" not in output

    written = pd.read_csv(out)
    assert written["image"].tolist() == ["a.jpg", "deep/b", "c", "d.png"]
    assert written["label"].tolist() == ["nv", "mel", "bkl", "nv"]
    assert written["group"].tolist() == ["P1", "P1", "P2", "P3"]
    columns = [f"p_{code}" for code in model.labels.codes]
    assert written.columns.tolist() == ["image", "group", "label", *columns]
    classifier = runtime.Classifier(model)
    for name, row in zip(("a.jpg", "deep/b.jpg", "c.jpg", "d.jpg"), written[columns].to_numpy(), strict=True):
        prediction = classifier.predict(imaging.load(folder / name, model.input_size))
        assert row == pytest.approx(prediction.probabilities, abs=1e-6)

    predicted = np.array(model.labels.codes)[written[columns].to_numpy().argmax(axis=1)]
    right = (predicted == written["label"]).mean()
    assert f"{'accuracy':28} {right:.4f}" in output


def test_scores_and_confusion_worked_by_hand(model: registry.Model) -> None:
    result = evaluate_folder.Evaluation(
        labels=MALIGNANCY,
        predictions=pd.DataFrame(
            {
                "label": ["benign", "benign", "benign", "malignant"],
                "p_benign": [0.9, 0.8, 0.3, 0.4],
                "p_malignant": [0.1, 0.2, 0.7, 0.6],
            }
        ),
        scores={},
        undefined=[],
        failures={},
        unlabelled=0,
    )
    assert evaluate_folder.confusion(result).to_numpy().tolist() == [[2, 1, 3], [0, 1, 1]]
    truth = np.array([0, 0, 0, 1])
    probabilities = result.predictions[["p_benign", "p_malignant"]].to_numpy()
    scores, undefined = evaluate_folder.intervals(MALIGNANCY, truth, probabilities, np.arange(4))
    assert undefined == []
    assert scores["accuracy"].value == pytest.approx(3 / 4)
    assert scores["balanced_accuracy"].value == pytest.approx((2 / 3 + 1) / 2)
    assert scores["sensitivity_malignancy"].value == 1
    assert scores["roc_auc_malignancy"].value == pytest.approx(2 / 3)


def test_scores_that_the_labels_leave_undefined_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(folder, "image,label\na,nv\nc,nv\n") == 0
    output = capsys.readouterr().out
    assert "Not defined for these labels: macro_roc_auc, roc_auc_malignancy, sensitivity_malignancy." in output
    assert " nan" not in output


def test_each_image_is_its_own_group_with_a_note(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(folder, TABLE) == 0
    output = capsys.readouterr().out
    assert f"{MODEL} on 4 images." in output
    assert "Each image counts as a separate group" in output


def test_benign_and_malignant_are_scored_on_the_sum_of_the_malignant_classes(
    folder: Path, capsys: pytest.CaptureFixture[str], model: registry.Model
) -> None:
    out = folder.parent / "predictions.csv"
    table = "picture,truth\na,benign\nc,malignant\n"
    assert evaluate(folder, table, "--image-column", "picture", "--label-column", "truth", "--out", str(out)) == 0
    assert "both grouped into benign and malignant" in capsys.readouterr().out
    row = pd.read_csv(out).set_index("image").loc["a"]
    malignancy = runtime.Classifier(model).predict(imaging.load(folder / "a.jpg", model.input_size)).malignancy
    assert (row["p_benign"], row["p_malignant"]) == pytest.approx((1 - malignancy, malignancy), abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "own", "scored"),
    [
        (["nv", "mel"], HAM10000, HAM10000),
        (["benign", "malignant"], HAM10000, MALIGNANCY),
        (["benign", "nv"], HAM10000, MALIGNANCY),
        (["benign", "malignant"], MALIGNANCY, MALIGNANCY),
        (["nv", "mel"], MALIGNANCY, MALIGNANCY),
    ],
)
def test_which_label_set_is_scored(labels: list[str], own: LabelSet, scored: LabelSet) -> None:
    assert evaluate_folder.scored_labels(pd.Series(labels), own) is scored


def test_a_malignancy_model_is_scored_on_diagnoses(model: registry.Model, folder: Path) -> None:
    def classify_all(images: dict[str, Path], model: registry.Model) -> list[tuple[str, runtime.Prediction]]:
        nothing = np.zeros(2)
        return [
            (name, runtime.Prediction(model, nothing, np.array([0.2, 0.8]), None, nothing, nothing)) for name in images
        ]

    two = dataclasses.replace(model, labels=MALIGNANCY)
    table = pd.DataFrame({"image": ["a", "c"], "label": ["nv", "bcc"], "group": ["a", "c"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_folder, "classify_all", classify_all)
        result = evaluate_folder.evaluate(two, folder, table)
    assert result.labels is MALIGNANCY
    assert result.predictions["label"].tolist() == ["benign", "malignant"]
    assert (result.predictions["p_malignant"] == 0.8).all()
    assert result.scores["accuracy"].value == 1 / 2


def test_an_unreadable_image_is_named_and_the_rest_scored(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "c.jpg").write_bytes(b"\xff\xd8damaged")
    assert evaluate(folder, TABLE) == 2
    output, warned = capsys.readouterr()
    assert f"{MODEL} on 3 images" in output
    assert "1 more could not be read" in output
    assert "1 images in the folder have no label" in output
    assert "c.jpg: This is not a readable image" in warned
    for name in ("a.jpg", "deep/b.jpg", "d.jpg"):
        (folder / name).write_bytes(b"")
    assert "None of the 4 images can be read" in sentence(folder, TABLE, capsys)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            "name,label\na,nv\n",
            "labels.csv lacks the columns image; it has name, label. Name yours with --image-column",
        ),
        ("", "labels.csv is empty"),
        (
            "image,label\na,nv\nb,melanoma\n",
            "Labels outside akiec, bcc, bkl, df, mel, nv, vasc, benign, malignant: mela",
        ),
        ("image,label\na,nv\na.jpg,mel\n", "labels an image twice: a.jpg"),
        ("image,label\na,nv\ngone,mel\n", "1 of 2 labelled images are not in"),
        ("image,label\na,\nb,\n", "labels.csv labels no image"),
        ("image,label\na,nv\n,mel\n", "Line 3 of labels.csv has a label but nothing in the column 'image'"),
    ],
)
def test_a_table_that_cannot_be_used(
    table: str, expected: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in sentence(folder, table, capsys)


def test_a_group_that_is_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = "image,label,patient\na,nv,P1\nc,nv,\n"
    assert "Line 3 of labels.csv" in sentence(folder, table, capsys, "--group-column", "patient")
    assert "lacks the columns lesion" in sentence(folder, table, capsys, "--group-column", "lesion")


def test_an_empty_label_leaves_an_image_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(folder, "image,label\na,nv\nc, \nd,mel\n") == 0
    output = capsys.readouterr().out
    assert f"{MODEL} on 2 images." in output
    assert "3 images in the folder have no label" in output


def test_a_name_that_matches_two_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "deep" / "a.jpg").write_bytes((folder / "a.jpg").read_bytes())
    assert "'a' may be a.jpg or deep/a.jpg; write its path" in sentence(folder, "image,label\na,nv\n", capsys)
    assert evaluate(folder, "image,label\na.jpg,nv\ndeep\\a,mel\n") == 0


def test_folders_files_and_models_that_are_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "There is no folder" in sentence(folder.parent / "none", TABLE, capsys)
    assert "There is no folder" in sentence(folder / "a.jpg", TABLE, capsys)
    arguments = ["--images", str(folder), "--labels", str(folder / "none.csv")]
    assert main(["evaluate", "--model", MODEL, *arguments]) == 2
    assert "There is no table" in capsys.readouterr().err
    assert main(["evaluate", "--model", "none", *arguments]) == 2
    assert "There is no model 'none'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "Pass --config FILE, or --model, --images and --labels together; missing: --model, --images, --labels."),
        (("--model", "m", "--labels", "l.csv"), "missing: --images."),
        (("--model", "m", "--config", "c.yaml"), "leave out the options for a folder of images"),
        (("--out", "o.csv", "--config", "c.yaml"), "leave out the options for a folder of images"),
        (
            ("--model", "m", "--labels", "l", "--images", "i", "seed=1"),
            "'seed=1' is a setting; settings only go with --config FILE",
        ),
    ],
)
def test_half_of_a_command(arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *arguments]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.data
def test_the_published_predictions_come_out(data_root: Path, model: registry.Model, tmp_path: Path) -> None:
    published = pd.read_csv(model.folder / "predictions.csv").sample(60, random_state=0)
    published[["image", "label", "group"]].to_csv(tmp_path / "labels.csv", index=False)
    out = tmp_path / "predictions.csv"
    arguments = ["--images", str(data_root / "ham10000" / "images"), "--labels", str(tmp_path / "labels.csv")]
    assert main(["evaluate", "--model", MODEL, *arguments, "--group-column", "group", "--out", str(out)]) == 0
    written = pd.read_csv(out)
    assert written[["image", "group", "label"]].equals(published[["image", "group", "label"]].reset_index(drop=True))
    columns = [f"p_{code}" for code in model.labels.codes]
    # the file was written with the network in single precision, which LiteRT holds in half
    assert np.abs(written[columns].to_numpy() - published[columns].to_numpy()).max() < 0.02
