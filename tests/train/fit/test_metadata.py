"""Patient metadata, fitted by patient, so that missing values do not reveal the label."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.datasets.registry import DATASETS
from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, metrics
from skinapp.inference import metadata, model_card
from skinapp.inference.runtime import softmax
from train.fit import metadata as fitting
from train.studies import missing_metadata

PATIENTS = 120


@pytest.fixture(scope="module")
def study() -> tuple[np.ndarray, pd.DataFrame, np.ndarray, np.ndarray]:
    """Logits with a little information, a table in which age has more, labels and patients, two lesions each.

    As in PAD-UFES-20, sex is recorded only for the second class and half of the first, and carries no information.
    """
    generator = np.random.default_rng(0)
    labels = np.repeat(generator.integers(0, 2, PATIENTS), 2)
    groups = np.repeat([f"patient {number}" for number in range(PATIENTS)], 2)
    logits = generator.normal(0, 1, (2 * PATIENTS, 2)) + 0.7 * np.eye(2)[labels]
    age = np.where(labels == 1, 65, 45) + generator.normal(0, 8, 2 * PATIENTS)
    stated = (labels == 1) | (generator.random(2 * PATIENTS) < 0.5)
    sex = np.where(stated, generator.choice(["male", "female"], 2 * PATIENTS), None)
    return logits, pd.DataFrame({"age": age.round(), "sex": sex}), labels, groups


@pytest.fixture
def one_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single penalty for studies with many fits; the choice of the penalty is tested separately."""
    monkeypatch.setattr(fitting, "best_penalty", lambda *_: 1.0)


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def test_informative_metadata_help(study: tuple) -> None:
    logits, table, labels, groups = study
    fitted = fitting.fit(logits, table, fitting.questions(table), labels, groups, folds=3)
    assert fitted.probabilities.sum(axis=1) == pytest.approx(np.ones(len(labels)))
    assert accuracy(fitted.probabilities, labels) > accuracy(logits, labels) + 0.1
    assert fitted.fusion.scale > 0


def test_missing_values_carry_no_information(study: tuple) -> None:
    logits, table, labels, groups = study
    fitted = fitting.fit(logits, table[["sex"]], fitting.questions(table[["sex"]]), labels, groups, folds=3)
    # an indicator of a missing answer would be right for every third lesion of the first class
    assert abs(accuracy(fitted.probabilities, labels) - accuracy(logits, labels)) < 0.05
    [sex] = fitted.fields
    shares = np.array([metadata.code([sex], {"sex": code}) for code in sex.categories])
    assert np.array(sex.coding["centre"]) @ shares == pytest.approx([0, 0], abs=1e-5)


def test_a_fusion_without_dropout_is_the_best_for_complete_metadata(study: tuple) -> None:
    logits, table, labels, _ = study
    metadata_rows = fitting.parse(fitting.questions(table), table)
    fields = fitting.with_coding(fitting.questions(table), metadata_rows)
    coded = np.array([metadata.code(fields, row) for row in metadata_rows])

    def loss(fusion: metadata.Fusion, x: np.ndarray) -> float:
        return float(-np.log(softmax(fusion.add(logits, x))[np.arange(len(labels)), labels]).mean())

    column_fields = fitting.field_indices(fields)
    complete = fitting.regress(logits, coded, labels, column_fields, 1.0, dropout=False)
    dropped = fitting.regress(logits, coded, labels, column_fields, 1.0, dropout=True)
    assert loss(complete, coded) < loss(dropped, coded)
    # and without any metadata, the one trained with dropout is better
    assert loss(dropped, np.zeros_like(coded)) < loss(complete, np.zeros_like(coded))


def test_parts_that_share_a_patient_are_refused(study: tuple) -> None:
    logits, table, labels, groups = study
    with pytest.raises(DataError, match="patient 0"):
        fitting.fit(logits, table, fitting.questions(table), labels, groups, parts=np.arange(len(labels)) % 2)


def test_parts_that_are_passed_are_the_ones_held_out(study: tuple) -> None:
    logits, table, labels, groups = study
    parts = np.repeat(np.arange(PATIENTS) % 3, 2)
    fields = fitting.questions(table)
    one = fitting.fit(logits, table, fields, labels, groups, parts=parts, folds=3)
    changed = np.where(parts == 0, 1 - labels, labels)
    other = fitting.fit(logits, table, fields, changed, groups, parts=parts, folds=3)
    # the labels of a part do not reach its own probabilities
    assert one.probabilities[parts == 0] == pytest.approx(other.probabilities[parts == 0])
    assert one.probabilities[parts == 1] != pytest.approx(other.probabilities[parts == 1])


def test_the_adjustment_favours_the_rare_class() -> None:
    fusion = metadata.Fusion(1.0, np.zeros(2), np.zeros((1, 2)))
    labels = np.array([0, 0, 0, 1])
    assert fitting.adjusted(fusion, labels, 1.0).bias == pytest.approx([-np.log(0.75), -np.log(0.25)])


def test_the_published_tables_are_read(tmp_path: Path) -> None:
    header = ",".join(DATASETS["pad_ufes_20"].columns.values())
    rows = [
        "PAT_1_1_1.png,1,PAT_1,BCC,True,70,FEMALE,NOSE,2.0,True,UNK,False,False,True,True,6.0,5.0",
        "PAT_2_2_2.png,2,PAT_2,NEV,False,8,,ARM,,False,False,False,False,False,False,0.0,0.0",
    ]
    (tmp_path / "metadata.csv").write_text("\n".join([header, *rows]))
    table = fitting.pad_ufes_20(tmp_path)
    assert "biopsed" not in table
    fields = fitting.questions(table)
    assert dict(next(field for field in fields if field.name == "site").categories) == {"arm": "Arm", "nose": "Nose"}
    first, second = fitting.parse(fields, table)
    assert first["diameter_1"] == 6
    assert first["skin_type"] == 2
    assert "grew" not in first
    assert first["itch"] == "yes"
    assert set(second) == {"age", "site", "itch", "grew", "hurt", "changed", "bleed", "elevation"}


@pytest.mark.data
def test_every_published_value_is_possible(data_root: Path) -> None:
    for read, name in ((fitting.pad_ufes_20, "pad_ufes_20"), (fitting.ham10000, "ham10000")):
        table = read(data_root / name)
        fields = fitting.questions(table)
        assert not [field.name for field in fields if "biops" in field.name]
        metadata_rows = fitting.parse(fields, table)
        assert all(one.coding for one in fitting.with_coding(fields, metadata_rows))


@pytest.mark.usefixtures("one_penalty")
def test_the_effect_of_leaving_a_field_out(study: tuple) -> None:
    logits, table, labels, groups = study
    costs = missing_metadata.measure(logits, table, labels, groups).set_index("metadata")
    assert list(costs.index) == ["all", "none", "all but age", "all but sex", "age alone", "sex alone"]
    fitted = fitting.fit(logits, table, fitting.questions(table), labels, groups)
    whole = bootstrap.intervals({"it": metrics.balanced_accuracy}, labels, fitted.probabilities, groups)["it"]
    assert costs.loc["all", "balanced accuracy"] == f"{whole.value:.3f} ({whole.low:.3f} to {whole.high:.3f})"
    assert costs.loc["all", "balanced accuracy, difference"] == "+0.000 (+0.000 to +0.000)"
    cost = {title: float(text.split()[0]) for title, text in costs["balanced accuracy, difference"].items()}
    # age is informative, and sex is not
    assert cost["none"] < -0.1
    assert cost["all but age"] < -0.1
    assert abs(cost["all but sex"]) < 0.05
    assert abs(cost["age alone"]) < 0.05
    assert cost["none"] == pytest.approx(cost["sex alone"], abs=0.05)
    markdown = model_card.table(list(costs.columns), costs.to_numpy().tolist()).splitlines()
    assert len(markdown) == 2 + len(costs)


@pytest.mark.usefixtures("one_penalty")
def test_ways_to_add_metadata_are_compared_with_the_image_alone(study: tuple) -> None:
    logits, table, labels, groups = study
    # the trained-in logits contain the effect of age, but are overconfident by a factor of 3, which calibration removes
    fields = fitting.questions(table)
    fitted = fitting.fit(logits, table, fields, labels, groups)
    coded = np.array([fitting.metadata.code(fitted.fields, row) for row in fitting.parse(fields, table)])
    trained = 3 * fitted.fusion.add(logits, coded)
    ways = missing_metadata.compare(logits, trained, table, labels, groups).set_index("model")
    assert list(ways.index) == [
        "image alone",
        "fused afterwards, with metadata",
        "fused afterwards, without",
        "trained in, with metadata",
        "trained in, without",
    ]
    gain = {name: float(text.split()[0]) for name, text in ways["balanced accuracy, difference"].items()}
    loss = {name: float(text.split()[0]) for name, text in ways["log loss"].items()}
    assert gain["image alone"] == 0
    assert gain["trained in, without"] == pytest.approx(0, abs=0.05)
    assert gain["fused afterwards, with metadata"] > 0.1
    assert gain["trained in, with metadata"] > 0.1
    assert loss["trained in, with metadata"] == pytest.approx(loss["fused afterwards, with metadata"], abs=0.05)
    assert list(missing_metadata.compare(logits, None, table, labels, groups)["model"]) == list(ways.index[:3])


@pytest.mark.usefixtures("one_penalty")
def test_the_command_prints_a_table_in_markdown(
    study: tuple, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from train.__main__ import main
    from train.publish import fuse

    logits, metadata_rows, labels, groups = study
    images = [f"image {row}" for row in range(len(labels))]
    held = fuse.HeldOut(pd.DataFrame({"image": images, "group": groups}), logits, labels, np.zeros(len(labels)))
    monkeypatch.setattr(fuse, "held_out", lambda *_: (held, held))
    # the publisher uses a different order
    published = metadata_rows.set_index(pd.Index(images)).iloc[::-1]
    monkeypatch.setattr(fitting, "published", lambda dataset: published)
    assert main(["missing-metadata", "--config", "train/configs/smartphone-efficientnetb1-6class.yaml"]) == 0
    ways, lines = (text.splitlines() for text in capsys.readouterr().out.strip().split("\n\n"))
    assert [line.split(" | ")[0] for line in ways[2:]] == [
        f"| {title}" for title in ("image alone", "fused afterwards, with metadata", "fused afterwards, without")
    ]
    assert lines[0].startswith("| metadata | balanced accuracy | balanced accuracy, difference | log loss |")
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        f"| {title}" for title in ("all", "none", "all but age", "all but sex", "age alone", "sex alone")
    ]
    assert lines[3].split(" | ")[2].startswith("-0.")
