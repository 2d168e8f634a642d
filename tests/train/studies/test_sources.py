"""The probe for the source of an image, and scores by source."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.inference import registry
from tests.sources import write_isic_more, write_milk10k
from train import __main__ as command
from train.studies import sources

RANDOM = np.random.default_rng(0)


@pytest.fixture
def table() -> pd.DataFrame:
    """Two sources of 60 lesions, one image each; the second has other diagnoses."""
    return pd.DataFrame(
        {
            "source": ["vienna"] * 60 + ["elsewhere"] * 60,
            "group": [f"L{number}" for number in range(120)],
            "label": ["nv"] * 30 + ["mel"] * 30 + ["nv"] * 30 + ["bcc"] * 30,
            "split": ["train"] * 90 + ["test"] * 30,
        }
    )


def probe_scores(table: pd.DataFrame, embeddings: np.ndarray) -> pd.DataFrame:
    rows = sources.probes(table, embeddings)
    rows["value"] = rows["balanced accuracy"].str.split().str[0].astype(float)
    return rows.set_index(rows["images"].str.partition(",")[0])


def test_a_source_that_the_embedding_shows_is_found_and_one_that_it_does_not_is_not(table: pd.DataFrame) -> None:
    noise = RANDOM.normal(size=(120, 8))
    assert probe_scores(table, noise).loc["all", "value"] < 0.65
    informative = noise.copy()
    informative[:, 0] += np.where(table["source"] == "vienna", 0, 6)
    assert probe_scores(table, informative).loc["all", "value"] > 0.95
    assert probe_scores(table, informative).loc["all", ["sources", "chance"]].tolist() == [2, "0.500"]


def test_a_diagnosis_gives_a_source_away_only_among_several_diagnoses(table: pd.DataFrame) -> None:
    diagnosis = RANDOM.normal(size=(120, 8))
    diagnosis[:, 0] += np.where(table["label"] == "bcc", 6, 0)
    diagnosis[:, 1] += np.where(table["label"] == "mel", 6, 0)
    rows = probe_scores(table, diagnosis)
    assert list(rows.index) == ["all", "nv"], "melanomas and carcinomas are each in one source"
    assert rows.loc["all", "value"] > 0.7
    assert rows.loc["nv", "value"] < 0.65


def test_no_lesion_is_in_training_and_test_of_the_probe(table: pd.DataFrame) -> None:
    # each lesion twice, with the same embedding: only a probe that has seen the lesion could recognise its source
    twice = pd.concat([table, table], ignore_index=True)
    embeddings = np.tile(RANDOM.normal(size=(120, 100)), (2, 1))
    assert probe_scores(twice, embeddings).loc["all", "value"] < 0.7


def test_one_source_is_an_error(table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="Fewer than two sources"):
        sources.probes(table[:60], np.zeros((60, 2)))


def test_scores_are_those_of_each_source_and_part(table: pd.DataFrame) -> None:
    labels = (table["label"] != "nv").astype(int).to_numpy()
    right = np.eye(2)[labels]
    right[:30] = right[:30, ::-1]
    rows = sources.scores(table, labels, right, (False, True)).set_index(["source", "part"])
    assert rows["images"].to_dict() == {("elsewhere", "test"): 30, ("elsewhere", "train"): 30, ("vienna", "train"): 60}
    assert rows.loc[("vienna", "train"), "accuracy"].startswith("0.500")
    assert rows.loc[("vienna", "train"), "balanced accuracy"].startswith("0.500")
    assert rows.loc[("elsewhere", "test"), "accuracy"].startswith("1.000")
    assert "nan" not in rows.loc[("vienna", "train"), "AUC of malignancy"].lower()
    assert rows.loc[("elsewhere", "test"), "classes"] == 1


def test_the_sample_has_one_image_of_a_lesion_and_none_that_is_excluded(table: pd.DataFrame) -> None:
    several = pd.concat([table, table, table.assign(split="excluded", group="other")], ignore_index=True)
    sampled = sources.sample(several, 20)
    assert sampled["group"].is_unique
    assert sampled.groupby(["source", "split"]).size().to_dict() == {
        ("elsewhere", "test"): 20,
        ("elsewhere", "train"): 20,
        ("vienna", "train"): 20,
    }


def test_the_command_probes_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, model: registry.Model
) -> None:
    write_milk10k(tmp_path)
    write_isic_more(tmp_path)
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path))
    monkeypatch.setattr(sources, "MIN_LESIONS", 5)
    file = tmp_path / "sources.json"
    assert command.main(["sources", "--model", model.id, "--dataset", "milk10k+isic_more", "--out", str(file)]) == 0
    output = capsys.readouterr().out
    assert f"from the embedding of {model.id}" in output
    assert "isic_acral" in output
    assert {row["source"] for row in pd.read_json(file, typ="series")["scores"]} == {"isic_acral", "milk10k"}
    assert command.main(["sources", "--lesions", "0"]) == 2
    assert command.main(["sources", "--dataset", "elsewhere"]) == 2
