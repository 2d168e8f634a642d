"""From the networks of a cross-validation to one model: the data behind each choice, and the published files."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from skinapp.errors import DataError, ModelError
from skinapp.evaluation import conformal, operating_points
from skinapp.images import imaging
from skinapp.inference import registry, runtime
from skinapp.inference.views import VIEWS
from skinapp.labels.sets import HAM10000
from tests import model_folder
from tests.pictures import lesion
from tests.train.conftest import Published
from train.__main__ import main as train
from train.config import Config
from train.data import datasets
from train.fit import cross_validation, stages
from train.publish import committee, evaluate, export, fuse

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_graphs")]

COLUMNS = [f"p_{code}" for code in HAM10000.codes]


@pytest.fixture(scope="module")
def data(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny HAM10000, and a second data set of its classes with two test images of each, and two to train on."""
    root = tmp_path_factory.mktemp("two")
    (root / "ham10000").symlink_to(tiny_data / "ham10000")
    rows: list[tuple[str, str, str, str]] = []
    for code in HAM10000.codes:
        for split in ("test", "test", "train", "train"):
            rows.append((f"other_{len(rows)}", f"other_lesion_{len(rows)}", code, split))
    (root / "other" / "images").mkdir(parents=True)
    for number, (image, *_) in enumerate(rows):
        lesion(90, 90, seed=200 + number).save(root / "other" / "images" / f"{image}.webp")
    pd.DataFrame(rows, columns=["image", "lesion", "diagnosis", "split"]).to_csv(root / "other" / "rows.csv")
    return root


@pytest.fixture(scope="module")
def known(data: Path, tiny: Config) -> object:
    """Register the second data set for reading and training."""
    entry = dataclasses.replace(datasets.TRAINABLE["ham10000"], id="other", name="Other clinic", folder="other")

    def read(root: Path) -> pd.DataFrame:
        table = pd.read_csv(root / "rows.csv")
        return datasets.common_form(entry, root, table, table["split"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKINAPP_DATA", str(data))
        patch.setitem(datasets.TRAINABLE, "other", entry)
        patch.setitem(datasets.READERS, "other", read)
        yield


@pytest.fixture(scope="module")
def config(tiny: Config, known: object, crossed: Published) -> Config:
    """The cross-validated networks of `crossed` as a committee with all views."""
    return dataclasses.replace(crossed.config, committee=True, views=tuple(VIEWS))


@pytest.fixture(scope="module")
def runs(crossed: Published, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The members' runs, without a network that was trained on all images; evaluated."""
    folder = shutil.copytree(crossed.runs, tmp_path_factory.mktemp("committee") / "runs")
    shutil.rmtree(folder / "crossed")
    committee.evaluate(config, folder, also=["other"])
    return folder


@pytest.fixture(scope="module")
def model(config: Config, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> registry.Model:
    models = tmp_path_factory.mktemp("models")
    committee.export(config, runs, models)
    return registry.model("crossed", models)


def test_a_committee_needs_all_its_members(config: Config, runs: Path, tmp_path: Path) -> None:
    some = shutil.copytree(runs, tmp_path / "runs")
    shutil.rmtree(some / "crossed-fold-1")
    with pytest.raises(DataError, match="crossed-fold-1 is not finished; run fit"):
        committee.evaluate(config, some)


def test_no_network_is_trained_on_all_images(config: Config, runs: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(runs, tmp_path / "runs")
    last = cross_validation.fit_all(cross_validation.networks(config), copied)[-1]
    assert last.is_relative_to(copied / "crossed-fold-1")
    assert not list((copied / "crossed").glob("stage-*"))


def test_every_training_image_is_predicted_by_the_member_that_has_not_seen_its_lesion(
    config: Config, runs: Path
) -> None:
    saved = pd.read_csv(runs / "crossed" / "out_of_fold.csv").set_index("image")
    table = datasets.read("ham10000")
    assert set(saved.index) == set(table.loc[table["split"] == "train", "image"])
    assert saved.columns.tolist() == ["group", "label", *COLUMNS, "dataset"]
    single = json.loads((runs / "crossed" / "evaluation.json").read_text())["single_temperature"]
    data = datasets.prepare(config.dataset, config.image_size, runs)
    for part in committee.parts(config):
        divided = datasets.with_validation(data.table, part.folds, part.fold, part.seed)
        network = keras.saving.load_model(runs / part.id / "stage-1" / "last.keras", compile=False)
        images, rows = data.images, np.flatnonzero(divided["split"] == "validation")
        # by hand: each view on its own, then the mean
        views = [images[rows], images[rows][:, :, ::-1], images[rows][:, ::-1, ::-1], np.rot90(images[rows], 1, (1, 2))]
        logits = np.mean([network.predict(view, verbose=0) for view in views], axis=0)
        by_hand = runtime.softmax(logits / single)
        assert saved.loc[divided["image"].iloc[rows], COLUMNS].to_numpy() == pytest.approx(by_hand, abs=1e-4)


def test_teacher_logits_are_out_of_fold_if_a_fold_holds_out_the_image(config: Config, runs: Path) -> None:
    saved = np.load(runs / "crossed" / "logits.npz")
    out_of_fold = pd.read_csv(runs / "crossed" / "out_of_fold.csv").set_index("image")
    assert set(saved["images"]) == set(out_of_fold.index)
    single = json.loads((runs / "crossed" / "evaluation.json").read_text())["single_temperature"]
    probabilities = runtime.softmax(saved["logits"].astype(np.float64) / single)
    assert out_of_fold.loc[saved["images"], COLUMNS].to_numpy() == pytest.approx(probabilities, abs=2e-6)
    table = datasets.read("ham10000").set_index("image")
    for part in committee.parts(config):
        divided = datasets.with_validation(table.reset_index(), **part.division).set_index("image")
        assert set(divided.loc[saved["images"][saved["folds"] == part.fold], "split"]) == {"validation"}


def test_the_single_temperature_and_the_thresholds_follow_from_the_out_of_fold_table(
    model: registry.Model, runs: Path
) -> None:
    saved = pd.read_csv(model.folder / "out_of_fold.csv")
    probabilities = saved[COLUMNS].to_numpy()
    truth = datasets.encode(saved["label"], HAM10000)
    single = json.loads((runs / "crossed" / "evaluation.json").read_text())["single_temperature"]
    logits = single * np.log(probabilities)
    assert evaluate.fit_temperature(logits, truth) == pytest.approx(single, rel=0.02)
    assert model.temperature <= round(single, 4)
    groups = saved["group"].to_numpy()
    assert model.card["conformal"] == conformal.calibrate(
        HAM10000, truth, probabilities, groups, "HAM10000, out of fold"
    )
    chosen = {point.id: point.threshold for point in operating_points.choose(HAM10000, truth, probabilities)}
    published = {point.id: point for point in operating_points.of_card(model.card)}
    assert {name: point.threshold for name, point in published.items()} == chosen
    assert set(chosen) == {"cancer-90", "cancer-95", "melanoma-90", "melanoma-95"}
    for point in published.values():
        assert list(point.measured) == ["HAM10000, out of fold", "HAM10000", "Other clinic"]
        sensitivity, _ = point.measured["HAM10000, out of fold"]
        assert sensitivity.value >= point.sensitivity


def test_published_predictions_match_the_app(model: registry.Model, config: Config) -> None:
    registry.verify(model)
    assert model.weights == ("member-1.tflite", "member-2.tflite")
    assert [member["fold"] for member in model.card["members"]] == [0, 1]
    assert model.views == tuple(VIEWS)
    classifier = runtime.Classifier(model)
    for name, dataset, count in (("predictions.csv", "ham10000", 7), ("predictions-other.csv", "other", 14)):
        table = pd.read_csv(model.folder / name)
        assert len(table) == count
        assert set(table["dataset"]) == {dataset}
        paths = datasets.read(dataset).set_index("image")["path"]
        for row in table.to_dict("records"):
            prediction = classifier.predict(imaging.load(paths[row["image"]], model.input_size))
            assert [row[column] for column in COLUMNS] == pytest.approx(prediction.probabilities, abs=2e-3)


def test_the_card_follows_from_the_files(model: registry.Model) -> None:
    model_folder.check_further_tests(model)
    model_folder.check_operating_points(model)


def test_the_card_says_what_was_done(model: registry.Model) -> None:
    text = (model.folder / "README.md").read_text()
    assert "2 x tiny" in text
    assert "Scores on the test images: HAM10000" in text
    assert "2 networks, 4 views of each image" in text
    assert "| score | HAM10000, 7 images | Other clinic, 14 images |" in text
    assert "95% sensitivity for cancer or pre-cancer" in text
    assert "Scores of single networks, out of fold" in text
    assert "by cross-validation" not in text
    assert not re.search(r"\bnan\b", text)
    [other] = model.card["other_tests"]
    assert (other["name"], other["predictions"], other["images"]) == ("Other clinic", "predictions-other.csv", 14)
    history = pd.read_csv(model.folder / "history.csv")
    assert history.loc[history["chosen"], "fold"].tolist() == [0, 1]


def test_an_evaluation_of_other_views_is_not_exported(config: Config, runs: Path, tmp_path: Path) -> None:
    upright = dataclasses.replace(config, views=("upright",))
    with pytest.raises(DataError, match=r"was evaluated with views=.*; run evaluate again"):
        committee.export(upright, runs, tmp_path)


def test_a_disagreeing_member_leaves_the_older_committee_alone(
    config: Config, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreeing = export.run_litert
    monkeypatch.setattr(export, "run_litert", lambda *arguments: agreeing(*arguments)[:, ::-1] * 9)
    with pytest.raises(ModelError, match="LiteRT and Keras differ"):
        committee.export(config, runs, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_further_training_data_set_gets_a_separate_file(
    config: Config, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks of one data set stand in for those of two: only the division of the tests matters."""
    both = dataclasses.replace(config, id="both", dataset="ham10000+other", views=("upright",))
    for part in committee.parts(both):
        one = config.id + part.id.removeprefix("both")
        shutil.copytree(runs / one, tmp_path / part.id)
        (tmp_path / part.id / "config.json").unlink()
    committee.evaluate(both, tmp_path)
    files = {name: pd.read_csv(tmp_path / "both" / name) for name in ("predictions.csv", "predictions-other.csv")}
    assert {name: set(table["dataset"]) for name, table in files.items()} == {
        "predictions.csv": {"ham10000"},
        "predictions-other.csv": {"other"},
    }
    out_of_fold = pd.read_csv(tmp_path / "both" / "out_of_fold.csv")
    assert set(out_of_fold["dataset"]) == {"ham10000"}

    # every training image has teacher logits
    saved = np.load(tmp_path / "both" / "logits.npz")
    table = datasets.read(both.dataset)
    assert set(saved["images"]) == set(table.loc[table["split"] == "train", "image"])
    assert set(saved["folds"]) == {0, 1}
    pupil = dataclasses.replace(both, id="pupil", teacher="both")
    assert set(stages.teacher_logits(pupil, tmp_path).index) == set(saved["images"])

    # and those that no fold holds out have logits from one of the networks
    monkeypatch.setattr(datasets, "NEVER_HELD_OUT", ("other",))
    committee.evaluate(both, tmp_path)
    again = np.load(tmp_path / "both" / "logits.npz")
    other = table.set_index("image").loc[again["images"], "dataset"].to_numpy() == "other"
    assert set(again["folds"][other]) == {-1}
    assert set(again["folds"][~other]) == {0, 1}
    assert np.isfinite(again["logits"]).all()
    assert (np.abs(again["logits"][other]).sum(axis=1) > 0).all()
    # teacher logits have no adjustment, since the student gets its own
    predictions = (tmp_path / "both" / "predictions.csv").read_text()
    committee.evaluate(dataclasses.replace(both, logit_adjustment=1.0), tmp_path)
    assert np.load(tmp_path / "both" / "logits.npz")["logits"] == pytest.approx(again["logits"], abs=1e-4)
    assert (tmp_path / "both" / "predictions.csv").read_text() != predictions
    held = fuse.held_out(both, tmp_path, tmp_path)[0]
    assert set(held.table["dataset"]) == {"ham10000"}
    assert len(held.logits) == (~other).sum()
    with pytest.raises(DataError, match="is part of the run's data"):
        committee.evaluate(both, tmp_path, also=["other"])


def test_any_model_is_scored_on_further_data_sets(
    published: Published, known: object, tmp_path: Path, tiny: Config
) -> None:
    runs = shutil.copytree(published.runs, tmp_path / "runs")
    settings = {field: getattr(published.config, field) for field in Config.__dataclass_fields__}
    settings |= {"stages": [vars(stage) for stage in published.config.stages], "views": ["upright"]}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    command = ["evaluate", "--config", str(tmp_path / "tiny.yaml"), "--runs", str(runs)]
    assert train([*command, "--also", "other"]) == 0
    folder = export.export(published.config, runs, tmp_path / "models")
    model = registry.model("tiny", tmp_path / "models")
    assert [test["name"] for test in model.card["other_tests"]] == ["Other clinic"]
    assert len(pd.read_csv(folder / "predictions-other.csv")) == 14
    before = pd.read_csv(published.models / "tiny" / "predictions.csv")
    pd.testing.assert_frame_equal(pd.read_csv(folder / "predictions.csv"), before)
    # without it, no trace of it is left
    evaluate.evaluate(published.config, runs)
    export.export(published.config, runs, tmp_path / "models")
    assert not (folder / "predictions-other.csv").exists()
    assert registry.model("tiny", tmp_path / "models").card["other_tests"] == []


def test_a_further_data_set_without_test_images_is_refused(published: Published, tiny: Config, known: object) -> None:
    with pytest.raises(DataError, match="There is no data set 'nowhere'"):
        evaluate.further_test(published.config, "nowhere", published.runs)


def test_the_temperature_of_a_mean_is_that_which_fits_it() -> None:
    """Synthetic networks with independent errors: the temperature extrapolated from one network per image is close to
    the one that fits the mean of all five, which calibrates it."""
    generator = np.random.default_rng(1)
    prior = np.array([0.03, 0.05, 0.11, 0.01, 0.11, 0.67, 0.02])

    def draw(images: int) -> tuple[np.ndarray, np.ndarray]:
        labels = generator.choice(7, images, p=prior)
        common = np.log(prior) + 3.5 * np.eye(7)[labels] + 1.5 * generator.normal(size=(images, 7))
        return labels, common + generator.normal(size=(5, images, 7))

    labels, networks = draw(6000)
    _, unseen = draw(700)
    tested, logits = draw(6000)
    single = evaluate.fit_temperature(networks[0], labels)
    best = evaluate.fit_temperature(logits.mean(axis=0), tested)
    extrapolated = committee.averaged_temperature(networks[0], labels, unseen)
    assert single > 1.1 * best, "single networks are less certain"
    assert abs(extrapolated - best) < 0.35 * abs(single - best)


def test_metadata_are_not_added_to_a_committee(config: Config, runs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a committee; fuse adds metadata to single networks only"):
        fuse.fuse(config, "With metadata", 0.0, runs, tmp_path)


def test_a_further_data_set_needs_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", "m", "--images", "d", "--labels", "l.csv"]
    assert train(["evaluate", *options, "--also", "milk10k"]) == 2
    assert "only goes with --config" in capsys.readouterr().err
