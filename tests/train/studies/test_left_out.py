"""Networks trained without a clinic: training and scoring."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from skinapp.errors import DataError
from tests.sources import write_milk10k
from tests.train.conftest import light_augmentation, tiny_network_on
from train.config import Config
from train.data import datasets
from train.fit import augmentation, stages
from train.studies import left_out

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_graphs")]


@pytest.fixture
def config(tiny: Config, tiny_data: Path, tmp_path: Path) -> Iterator[Config]:
    """A run on HAM10000 and MILK10k."""
    shutil.copytree(tiny_data / "ham10000", tmp_path / "data" / "ham10000")
    write_milk10k(tmp_path / "data")
    with tiny_network_on(tmp_path / "data") as patch:
        patch.setitem(augmentation.POLICIES, "standard", light_augmentation)
        yield dataclasses.replace(
            tiny,
            dataset="ham10000+milk10k",
            shares={"ham10000": 0.5, "milk10k": 0.5},
            reference="ham10000",
            labels="malignancy",
            stages=tiny.stages[:1],
            hold_out_all=True,
        )


def test_each_source_is_scored_with_and_without_it(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = left_out.measure(config, tmp_path / "runs")
    assert table["source"].tolist() == ["ham10000", "milk10k"]
    assert {run.name for run in (tmp_path / "runs").glob("tiny*")} == {"tiny", "tiny-ham10000", "tiny-milk10k"}
    divided = datasets.with_validation(datasets.read(config.dataset), **config.division)
    counts = divided[divided["split"] == "validation"]["source"].value_counts()
    assert table.set_index("source")["images"].astype(int).to_dict() == counts.to_dict()
    # nothing is trained twice
    monkeypatch.setattr(stages, "fit_stage", None)
    one = left_out.measure(config, tmp_path / "runs", ["milk10k"])
    pd.testing.assert_frame_equal(one, table.tail(1).reset_index(drop=True))


def test_an_unknown_source_is_named(config: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no source 'moon'; these are trained on: ham10000, milk10k"):
        left_out.measure(config, tmp_path, ["moon"])


def test_the_reference_changes_if_it_is_left_out(config: Config) -> None:
    names = ["ham10000", "milk10k"]
    assert left_out.left_out(config, "ham10000", names).reference == "milk10k"
    assert left_out.left_out(config, "milk10k", names).reference == "ham10000"


def test_a_source_that_is_not_held_out_cannot_be_compared(config: Config, tmp_path: Path) -> None:
    for change in ({"fold": None}, {"hold_out_all": False}):
        with pytest.raises(DataError, match="must hold out a fold of every source"):
            left_out.measure(dataclasses.replace(config, **change), tmp_path)
