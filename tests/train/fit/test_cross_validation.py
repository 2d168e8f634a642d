"""Cross-validation: which network scores which images, and what is exported."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.inference import registry
from tests import model_folder
from tests.sources import write_isic_more, write_milk10k
from tests.train.conftest import Published, light_augmentation, tiny_network_on
from train.config import Config
from train.data import datasets
from train.fit import augmentation, cross_validation, run_folder
from train.publish import export, fuse

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_graphs")]


@pytest.fixture
def config(crossed: Published, tiny: Config) -> Config:
    """The run, with its data and network."""
    return crossed.config


@pytest.fixture
def runs(crossed: Published) -> Path:
    return crossed.runs


def test_an_untrained_run_cannot_be_evaluated(config: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not finished; run fit"):
        cross_validation.evaluate(config, tmp_path)


def test_every_group_is_scored_by_a_network_that_has_not_seen_it(runs: Path, config: Config) -> None:
    saved = np.load(runs / "crossed" / "logits.npz")
    predictions = pd.read_csv(runs / "crossed" / "predictions.csv")
    table = datasets.read("ham10000")
    assert set(predictions["image"]) == set(table.loc[table["split"] == "train", "image"])
    assert (predictions.groupby("group")["image"].count() > 0).all()
    by_group = pd.Series(saved["folds"]).groupby(predictions["group"]).nunique()
    assert set(by_group) == {1}
    for fold in range(config.folds):
        part = cross_validation.fold_config(config, fold)
        divided = datasets.with_validation(table, part.folds, part.fold, part.seed)
        held_back = divided.loc[divided["split"] == "validation", "image"]
        assert set(predictions["image"][saved["folds"] == fold]) == set(held_back)
    assert len(np.unique(saved["logits"][:, 0].round(5))) > config.folds


def test_the_network_of_all_images_is_exported_with_the_scores_of_the_parts(crossed: Published) -> None:
    model = registry.model("crossed", crossed.models)
    card, folder = model.card, model.folder
    evaluation = json.loads((crossed.runs / "crossed" / "evaluation.json").read_text())
    assert card["scores"]["accuracy"]["value"] == round(evaluation["tests"][0]["scores"]["accuracy"]["value"], 4)
    assert "validation" not in card["training"]["images"]
    assert "Scores by cross-validation" in (folder / "README.md").read_text()
    history = pd.read_csv(folder / "history.csv")
    assert history["chosen"].tolist() == [False] * (len(history) - 1) + [True]


class Several(NamedTuple):
    """A run on three data sets, and the folder that holds them."""

    config: Config
    runs: Path
    data: Path


@pytest.fixture(scope="module")
def several(crossed: Published, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Several:
    """Cross-validated, not evaluated."""
    folder = tmp_path_factory.mktemp("several")
    data, runs = folder / "data", folder / "runs"
    data.mkdir()
    (data / "ham10000").symlink_to(tiny_data / "ham10000")
    write_milk10k(data)
    write_isic_more(data)
    sources = {"ham10000": 0.5, "milk10k": 0.25, "isic_more": 0.25}
    config = dataclasses.replace(
        crossed.config,
        id="several",
        dataset="+".join(sources),
        shares=sources,
        reference="ham10000",
        logit_adjustment=0.5,
    )
    with tiny_network_on(data) as patch:
        patch.setitem(augmentation.POLICIES, "standard", light_augmentation)
        cross_validation.fit_all(cross_validation.networks(config), runs)
    return Several(config, runs, data)


def test_a_committee_is_trained_on_all_sources_and_keeps_the_networks_of_the_parts(
    several: Several, tmp_path: Path
) -> None:
    """Its members are the networks of the cross-validation, which are not trained again."""
    runs = shutil.copytree(several.runs, tmp_path / "runs")
    shutil.rmtree(runs / "several")
    committee = dataclasses.replace(several.config, committee=True)
    with tiny_network_on(several.data) as patch:
        patch.setitem(augmentation.POLICIES, "standard", light_augmentation)
        last = cross_validation.fit_all(cross_validation.networks(committee), runs)[-1]
    assert last == runs / "several-fold-1" / "stage-1" / "best.keras"
    assert not (runs / "several").exists()
    for fold in range(committee.folds):
        history = pd.read_csv(runs / f"several-fold-{fold}" / "stage-1" / "history.csv")
        # HAM10000's choose the epoch, MILK10k's are also recorded, and the other set holds none out
        assert {"val_balanced_log_loss", "val_milk10k_balanced_log_loss"} <= set(history)
        assert not [name for name in history if "isic_more" in name]
        assert np.isfinite(history["loss"]).all()


def test_of_several_data_sets_the_first_is_tested_out_of_fold_and_the_others_on_their_test_images(
    several: Several, tmp_path: Path
) -> None:
    config, runs, models = several.config, several.runs, tmp_path / "models"
    with tiny_network_on(several.data):
        cross_validation.evaluate(config, runs)
        export.export(config, runs, models)
        held, tested = fuse.held_out(config, runs, models)
        table = datasets.read(config.dataset)
    first = table[table["dataset"] == "ham10000"]
    trained = set(first.loc[first["split"] == "train", "image"])
    assert set(np.load(runs / "several" / "logits.npz")["images"]) == trained == set(held.table["image"])
    assert tested is held
    folder = models / "several"
    assert set(pd.read_csv(folder / "predictions.csv")["image"]) == trained
    milk10k = pd.read_csv(folder / "predictions-milk10k.csv")
    assert set(milk10k["image"]) == set(
        table.loc[(table["dataset"] == "milk10k") & (table["split"] == "test"), "image"]
    )
    model = registry.model("several", models)
    assert [test["name"] for test in model.card["other_tests"]] == ["MILK10k"]
    model_folder.check_further_tests(model)
    assert [row["name"] for row in model.card["operating_points"][0]["measured"]] == [
        "HAM10000, out of fold",
        "MILK10k",
    ]


def test_patience_never_ends_the_run_of_a_part(config: Config) -> None:
    assert cross_validation.fold_config(dataclasses.replace(config, patience=1), 0).patience == len(config.stages)
    assert cross_validation.fold_config(dataclasses.replace(config, patience=99), 0).patience == 99


@pytest.mark.slow
def test_a_cross_validation_starts_from_the_network_of_the_same_part(
    runs: Path, config: Config, tmp_path: Path
) -> None:
    runs = shutil.copytree(runs, tmp_path / "runs")
    later = dataclasses.replace(config, id="later", init="run:crossed")
    for fold in range(config.folds):
        part = cross_validation.fold_config(later, fold)
        assert run_folder.initial(part, runs) == str(runs / f"crossed-fold-{fold}" / "stage-1" / "last.keras")
    assert run_folder.initial(later, runs) == str(runs / "crossed" / "stage-1" / "last.keras")
    cross_validation.fit_all(cross_validation.networks(later), runs)
    for name in ("later", "later-fold-1"):
        assert run_folder.last_file(later, runs / name).exists()


def test_the_parts_of_a_cross_validation_start_from_one_run_on_other_lesions(
    runs: Path, config: Config, tmp_path: Path
) -> None:
    runs = shutil.copytree(runs, tmp_path / "runs")
    # the network of part 0 has not seen the lesions of part 0: as `pretrained`, it suits that part and no other
    shutil.copytree(runs / "crossed-fold-0", runs / "pretrained")
    later = dataclasses.replace(config, id="later", init="run:pretrained", hold_out_all=True)
    file = runs / "pretrained" / "stage-1" / "last.keras"
    assert run_folder.initial(cross_validation.fold_config(later, 0), runs) == str(file)
    with pytest.raises(DataError, match="holds out"):
        run_folder.initial(cross_validation.fold_config(later, 1), runs)


def test_init_rejects_a_run_that_learnt_from_held_out_lesions(runs: Path, config: Config, tmp_path: Path) -> None:
    runs = shutil.copytree(runs, tmp_path / "runs")
    for wrong in (
        {"init": "run:crossed", "fold": 0, "seed": 1},
        {"init": "run:crossed-fold-1", "fold": 0},
        {"init": "run:crossed", "fold": 1, "folds": config.folds + 1},
    ):
        with pytest.raises(DataError, match="lesions or patients that this one holds out"):
            run_folder.initial(dataclasses.replace(config, id="other", **wrong), runs)
    with pytest.raises(DataError, match="There is no run"):
        run_folder.initial(dataclasses.replace(config, init="run:absent"), runs)
    (runs / "begun").mkdir()
    (runs / "begun" / "config.json").write_text((runs / "crossed" / "config.json").read_text())
    with pytest.raises(DataError, match="is not finished"):
        run_folder.initial(dataclasses.replace(config, init="run:begun"), runs)
