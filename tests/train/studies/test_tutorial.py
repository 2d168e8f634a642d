"""The tutorial: the choice of images, the two splits, and the report."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from skinapp.demographics import records
from skinapp.errors import DataError
from skinapp.evaluation import bootstrap
from tests.pictures import lesion
from tests.train.conftest import CHECKOUT, light_augmentation, tiny_network_on
from train.__main__ import main
from train.config import load_config
from train.fit import augmentation, network, stages
from train.studies import tutorial, tutorial_report
from train.studies.tutorial import BY_IMAGE, BY_LESION, SPLITS, HeldOut

CONFIG = Path(tutorial.__file__).parents[1] / "configs" / "studies" / "tutorial.yaml"


def test_the_images_are_three_of_each_of_a_hundred_training_lesions() -> None:
    table = tutorial.choose()
    assert len(table) == table["image"].nunique() == 300
    assert table.groupby("label")["group"].nunique().to_dict() == {"mel": 50, "nv": 50}
    assert (table.groupby("group")["image"].size() == 3).all()
    # the choice is deterministic
    pd.testing.assert_frame_equal(table, tutorial.choose())


@pytest.mark.data
def test_the_images_are_those_lesions_of_the_published_table(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(data_root))
    table = tutorial.choose()
    published = pd.read_csv(data_root / "ham10000" / "metadata.csv").set_index("image_id").loc[table["image"]]
    assert (published["split"] == "train").all()
    assert published["dx"].tolist() == table["label"].tolist()
    pairs = set(zip(published["lesion_id"], table["group"], strict=True))
    assert len(pairs) == published["lesion_id"].nunique() == table["group"].nunique()
    assert [file.stem for file in tutorial.find(table, tmp_path)] == table["image"].tolist()


def test_only_the_split_by_lesion_keeps_lesions_together() -> None:
    table = tutorial.choose()
    config = load_config(CONFIG)
    seen = {}
    for split in SPLITS:
        parts = tutorial.divide(table, split, config.folds, config.seed)
        # both assign the same number of images of each class to each part, as far as lesions allow
        counts = pd.crosstab(parts, table["label"])
        assert len(counts) == config.folds
        assert (counts - 150 / config.folds).abs().to_numpy().max() <= 3
        seen[split] = tutorial.seen_lesions(table["group"], parts)
        assert np.array_equal(parts, tutorial.divide(table, split, config.folds, config.seed))
    assert not seen[BY_LESION].any()
    assert seen[BY_IMAGE].mean() > 0.9


def test_a_lesion_counts_as_seen_if_it_is_in_another_part() -> None:
    assert tutorial.seen_lesions(pd.Series(["a", "a", "b", "b", "c"]), np.array([0, 1, 1, 1, 0])).tolist() == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_without_the_images_the_command_says_how_to_download_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path / "data"))
    assert main(["tutorial", "--runs", str(tmp_path)]) == 2
    ids = tmp_path / "tutorial" / "images.txt"
    assert f"python -m train download isic --ids {ids}" in capsys.readouterr().err
    assert ids.read_text().split() == tutorial.choose()["image"].tolist()


def test_without_a_weights_file_keras_downloads_the_weights_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKINAPP_WEIGHTS", str(tmp_path))
    inits = []
    monkeypatch.setattr(network, "build", lambda architecture, size, classes, init: inits.append(init))
    assert tutorial.with_weights(load_config(CONFIG)).init == "imagenet"
    assert inits == ["imagenet"]

    def offline(*_: object) -> None:
        raise Exception("URL fetch failure")

    monkeypatch.setattr(network, "build", offline)
    with pytest.raises(DataError, match="could not download the initial weights: URL fetch failure"):
        tutorial.with_weights(load_config(CONFIG))


def test_the_share_of_images_that_a_random_split_leaks() -> None:
    frame = pd.DataFrame({"lesion": [0, 1, 1, 2], "images": [1, 1, 1, 2]})
    with_others, leak = tutorial_report.sharing(frame)
    assert with_others == pytest.approx(4 / 5)
    # four of five images have one other image, which is in training with probability 0.8
    assert leak == pytest.approx(4 / 5 * 0.8)


def test_the_page_states_what_is_counted() -> None:
    frame = records.shipped("ham10000").frame
    text = " ".join((CHECKOUT / "docs" / "tutorial.md").read_text().split())
    with_others, leak = tutorial_report.sharing(frame)
    assert f"{frame['images'].sum():,} images, but only {frame['lesion'].nunique():,} lesions" in text
    assert f"{with_others:.0%} of the images show a lesion that another image shows too" in text
    assert f"held out for testing, {leak:.0%} of them show a lesion that is also in training" in text


def split_predictions(
    probability_of_label: np.ndarray, labels: np.ndarray, parts: np.ndarray, groups: pd.Series
) -> HeldOut:
    rows = np.arange(len(labels))
    probabilities = np.empty((len(labels), 2))
    probabilities[rows, labels], probabilities[rows, 1 - labels] = probability_of_label, 1 - probability_of_label
    history = pd.DataFrame({"epoch": [1, 2], "accuracy": [0.6, 0.9], "val_accuracy": [0.5, 0.6]})
    maps = np.random.default_rng(0).random((len(labels), 4, 4), np.float32)
    return HeldOut(parts, tutorial.seen_lesions(groups, parts), probabilities, maps, history)


@pytest.mark.parametrize(
    ("right_by_image", "right_by_lesion", "words"),
    [
        (1.0, 0.6, "the first figure is too good"),
        (0.8, 0.79, "includes zero, so this run does not show"),
        (0.6, 1.0, "the honest split looks better"),
    ],
)
def test_the_summary_says_what_the_interval_says(
    right_by_image: float, right_by_lesion: float, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = tutorial_lesson(right_by_image, right_by_lesion, tmp_path, monkeypatch)
    text = tutorial_report.summary(lesson)
    assert words in text
    assert f"Split by image, the networks classify {right_by_image:.0%}" in text
    everywhere = np.ones(300, bool)
    changed = tutorial_report.changed(lesson.shared, everywhere)
    assert len(changed) == round(max(right_by_image - right_by_lesion, 0) * 300)
    everywhere[changed[:1]] = False
    assert tutorial_report.changed(lesson.shared, everywhere).tolist() == changed[1:].tolist()


def tutorial_lesson(
    right_by_image: float, right_by_lesion: float, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tutorial_report.Lesson:
    """Predictions with these shares of correct answers, spread over lesions; the larger set includes the smaller
    one."""
    from skinapp.labels.sets import MALIGNANCY
    from train.data.datasets import encode
    from train.publish.evaluate import write_predictions

    monkeypatch.setattr(tutorial_report, "inside_lesions", lambda pictures, known: {})
    table = tutorial.choose()
    labels = encode(table["label"], MALIGNANCY)
    order = np.random.default_rng(0).permutation(len(table))
    known: dict[str, HeldOut] = {}
    for split, right in zip(SPLITS, (right_by_image, right_by_lesion), strict=True):
        correct = order < round(right * len(table))
        # another ranking by confidence, so that the two are not the same model
        sure = 0.6 + 0.3 * np.random.default_rng(len(known)).random(len(table))
        parts = tutorial.divide(table, split, 5, 0)
        known[split] = split_predictions(np.where(correct, sure, 1 - sure), labels, parts, table["group"])
        write_predictions(folder / f"{split}.csv", MALIGNANCY, table, known[split].probabilities, with_facts=False)
    return tutorial_report.measure(table, np.zeros((len(table), 1, 1, 3), np.uint8), known, folder)


def test_maps_are_measured_where_there_is_a_map_and_a_lesion(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.asarray(lesion(240, 240).convert("RGB"))
    pictures = np.stack([picture, picture, np.zeros_like(picture)])
    maps = np.ones((3, 4, 4), np.float32)
    maps[1] = 0
    none = np.zeros(3, int)
    known = HeldOut(none, none.astype(bool), np.full((3, 2), 0.5), maps, pd.DataFrame())
    inside = tutorial_report.inside_lesions(pictures, {BY_IMAGE: known})[BY_IMAGE]
    assert 0 < inside[0] < 1
    assert np.isnan(inside[1:]).all()


@pytest.mark.slow
@pytest.mark.usefixtures("without_graphs")
def test_the_whole_tutorial_in_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """With few drawn images, downloaded one by one, a tiny network and one epoch; and again, without training."""
    monkeypatch.setattr(tutorial, "LESIONS", bootstrap.MIN_GROUPS // 2)
    table = tutorial.choose()
    images = tmp_path / "data" / "isic" / "images"
    images.mkdir(parents=True)
    for number, image in enumerate(table["image"]):
        lesion(120, 90, seed=number).save(images / f"{image}.jpg")
    settings = yaml.safe_load(CONFIG.read_text()) | {
        "architecture": "tiny",
        "init": "none",
        "cache_size": 48,
        "samples_per_epoch": 16,
        "folds": 2,
        "stages": [{"image_size": 32, "epochs": 1, "learning_rate": 0.01}],
    }
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = ["tutorial", "--config", str(config), "--runs", str(tmp_path)]
    with tiny_network_on(tmp_path / "data") as patch:
        patch.setitem(augmentation.POLICIES, "standard", light_augmentation)
        assert main(command) == 0
        output = capsys.readouterr().out
        report = (tmp_path / "tutorial" / "report.html").read_text()
        assert output.splitlines()[0] in report
        for heading in ("1. Look at the data", "4. Compare the two", "5. Look at the maps"):
            assert heading in report
        written = pd.read_csv(tmp_path / "tutorial" / f"{BY_LESION}.csv")
        assert written["image"].tolist() == table["image"].tolist()
        # trained networks are not trained again, and give the same predictions
        patch.setattr(stages, "fit_stage", None)
        assert main(command) == 0
    assert capsys.readouterr().out == output
