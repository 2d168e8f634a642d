"""How published models were trained."""

from pathlib import Path

import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.evaluation import training_history
from skinapp.inference import registry
from skinapp.report import training_views


@pytest.mark.parametrize("chosen", registry.models().values(), ids=lambda chosen: chosen.id)
def test_every_models_training_is_shown_with_its_chosen_epoch(chosen: registry.Model) -> None:
    table = training_history.history(chosen)
    source = pd.read_csv(chosen.folder / "history.csv")
    assert set(table.loc[table["chosen"], "epoch"]) == set(source.loc[source["chosen"], "epoch"])
    loss = table[table["series"] == "loss"]
    assert loss["value"].to_numpy() == pytest.approx(source["loss"].dropna().to_numpy())
    assert training_views.history(table, chosen.id).figure.data


def test_a_broken_history_is_reported(own_models: Path, model: registry.Model) -> None:
    broken = registry.read_model(own_models / model.id)
    (broken.folder / "history.csv").write_text("stage\n1\n")
    with pytest.raises(DataError, match="lacks the columns epoch and loss"):
        training_history.history(broken)


def test_figures_of_several_protocols_stand_side_by_side() -> None:
    tables = {name: training_history.protocols(model) for name, model in registry.models().items()}
    assert set(tables["ham10000-cnn32"]["test"]) > {"HAM10000, resampled before it was split"}
    for name, table in tables.items():
        card = registry.model(name).card
        # held-out images of another training set do not count as another protocol
        assert not any(test in card["training"]["dataset"] for test in table["test"])
        own_protocol = table[table["score"] == "accuracy"].iloc[0]
        assert own_protocol["value"] == card["scores"]["accuracy"]["value"]
