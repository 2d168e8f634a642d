import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

from skinapp.errors import ModelError
from skinapp.evaluation import bootstrap, metrics
from skinapp.inference import registry
from tests import model_folder
from tests.committee import make as make_committee
from tests.metadata_model import make

FOLDERS = sorted(folder for folder in registry.default_root().iterdir() if folder.is_dir())
CLASSIFIERS = [folder for folder in FOLDERS if folder.name != "lesion-segmentation"]


@pytest.fixture(params=CLASSIFIERS, ids=lambda folder: folder.name)
def bundled(request: pytest.FixtureRequest) -> registry.Model:
    return registry.read_model(request.param)


def test_the_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(registry.SCHEMA_FILE.read_text()))


def test_there_are_models_and_no_problems() -> None:
    assert list(registry.models()) == [folder.name for folder in CLASSIFIERS]
    assert registry.models()
    assert registry.problems() == {}
    assert registry.segmentation().folder in FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_file_is_the_published_one(folder: Path) -> None:
    entry = registry.read(folder)
    registry.verify(entry)
    assert {file.name for file in folder.iterdir()} == {"model.json", *entry.card["files"]}


def test_the_models_are_small_enough_to_clone() -> None:
    assert sum(file.lstat().st_size for file in registry.default_root().rglob("*")) < registry.MAX_ROOT_BYTES


def test_the_scores_are_those_of_the_predictions(bundled: registry.Model) -> None:
    table = pd.read_csv(bundled.folder / "predictions.csv")
    # with several data sets, the card's scores are those of the first
    table = table[table["dataset"] == table["dataset"].iloc[0]]
    codes = bundled.labels.codes
    labels = table["label"].map(codes.index).to_numpy()
    probabilities = table[[f"p_{code}" for code in codes]].to_numpy()
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(table)), abs=1e-5)
    assert len(table) == bundled.card["test"]["images"] == table["image"].nunique()
    assert table["group"].nunique() == bundled.card["test"]["groups"]

    malignant = tuple(label.malignant for label in bundled.labels.labels)
    found = bootstrap.intervals(
        metrics.DIAGNOSIS_SCORES | metrics.malignancy_scores(malignant),
        labels,
        probabilities,
        table["group"].to_numpy(),
        bundled.card["test"]["resamples"],
    )
    assert found.keys() == bundled.card["scores"].keys()
    for name, score in found.items():
        published = bundled.card["scores"][name]
        # four decimals in the card, six in the table
        assert (score.value, score.low, score.high) == pytest.approx(
            (published["value"], published["low"], published["high"]), abs=2e-4
        ), name


def test_further_tests_and_operating_points_are_those_of_their_files(bundled: registry.Model) -> None:
    model_folder.check_further_tests(bundled)
    model_folder.check_operating_points(bundled)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    card = json.loads((folder / "model.json").read_text())
    change(card)
    (folder / "model.json").write_text(json.dumps(card))


CORRUPTIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no card": (lambda folder: (folder / "model.json").unlink(), "has no model.json"),
    "card is not JSON": (lambda folder: (folder / "model.json").write_text("{"), "is not valid JSON"),
    "card is not text": (lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe{}"), "is not valid JSON"),
    "card is a list": (lambda folder: (folder / "model.json").write_text("[]"), "is not of type 'object'"),
    "key missing": (lambda folder: edit(folder, lambda card: card.pop("licence")), "'licence' is a required property"),
    "key added": (lambda folder: edit(folder, lambda card: card.update(note="x")), r"'note' was unexpected"),
    "wrong type": (
        lambda folder: edit(folder, lambda card: card["input"].update(size="large")),
        r"\$\.input\.size: 'large' is not of type 'integer'",
    ),
    "temperature of zero": (lambda folder: edit(folder, lambda card: card.update(temperature=0)), r"\$\.temperature"),
    "changelog behind the version": (
        lambda folder: edit(folder, lambda card: card.update(version="9.0.0")),
        r"does not end with its version 9\.0\.0",
    ),
    "kind unknown": (lambda folder: edit(folder, lambda card: card.update(kind="oracle")), "'oracle' is not one of"),
    "wrong id": (lambda folder: edit(folder, lambda card: card.update(id="other")), "the names must match"),
    "id is a path": (lambda folder: edit(folder, lambda card: card.update(id="../other")), "does not match"),
    "unknown label set": (
        lambda folder: edit(folder, lambda card: card["labels"].update(set="birds")),
        "no label set 'birds'",
    ),
    "classes in another order": (
        lambda folder: edit(folder, lambda card: card["labels"]["codes"].reverse()),
        "are not those of the label set",
    ),
    "file missing": (lambda folder: (folder / "model.tflite").unlink(), "lacks its file model.tflite"),
    "file shorter": (
        lambda folder: (folder / "predictions.csv").write_text("image\n"),
        "predictions.csv .* was changed after it was published",
    ),
    "file not listed": (
        lambda folder: edit(folder, lambda card: card["files"].pop("model.tflite")),
        "does not list its file model.tflite",
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_folder_is_left_out_with_a_reason(name: str, own_models: Path, model: registry.Model) -> None:
    corrupt, sentence = CORRUPTIONS[name]
    corrupt(own_models / model.id)
    assert registry.models(own_models) == {}
    assert list(registry.problems(own_models)) == [model.id]
    with pytest.raises(ModelError, match=sentence):
        registry.model(model.id, own_models)


def test_one_changed_byte_is_found(own_models: Path, model: registry.Model) -> None:
    model_folder.change_byte(own_models / model.id / "model.tflite")
    own = registry.model(model.id, own_models)
    with pytest.raises(ModelError, match=r"model\.tflite .* was changed after it was published; fetch the folder"):
        registry.verify(own)


def test_a_server_leaves_out_a_folder_with_a_changed_file(own_models: Path, model: registry.Model) -> None:
    shutil.copytree(registry.models()["malignancy-mlp64"].folder, own_models / "malignancy-mlp64")
    model_folder.change_byte(own_models / model.id / "predictions.csv")
    assert len(registry.models(own_models)) == 2
    registry.check_hashes(own_models)
    assert list(registry.models(own_models)) == ["malignancy-mlp64"]
    assert "predictions.csv" in registry.problems(own_models)[model.id]
    # also when a file changes while the server runs
    model_folder.change_byte(own_models / "malignancy-mlp64" / "model.tflite")
    assert registry.models(own_models) == {}
    assert "was changed after it was published" in registry.problems(own_models)["malignancy-mlp64"]


def test_models_with_the_same_network_share_its_file(model: registry.Model) -> None:
    fused = registry.model(f"{model.id}-clinical")
    file = fused.folder / "model.tflite"
    assert file.readlink() == Path("..") / model.id / "model.tflite"
    # a copy of the folder is complete
    assert registry.verified_bytes(fused, file.name) == registry.verified_bytes(model, file.name)


def test_a_folder_that_may_not_be_read_is_left_out(
    own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> registry.Model:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(registry, "read", refuse)
    assert registry.models(own_models) == {}
    assert "cannot be read: Permission denied" in registry.problems(own_models)[model.id]


def test_a_file_that_disappears_later_is_found(own_models: Path, model: registry.Model) -> None:
    own = registry.model(model.id, own_models)
    (own.folder / "history.csv").unlink()
    with pytest.raises(ModelError, match=r"lacks its file history\.csv"):
        registry.verify(own)


def test_an_unknown_model_is_answered_with_the_known_ones(model: registry.Model) -> None:
    with pytest.raises(ModelError, match=f"no model 'nope'; choose one of: .*{model.id}"):
        registry.model("nope")


def test_an_empty_and_a_missing_root(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "none"):
        assert registry.models(root) == {}
        assert registry.problems(root) == {}
        with pytest.raises(ModelError, match="there are none in"):
            registry.model("nope", root)


def test_the_environment_names_another_root(
    own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKINAPP_MODELS", str(own_models))
    assert registry.model(model.id).folder == own_models / model.id


def test_stray_files_and_hidden_folders_are_not_models(own_models: Path, model: registry.Model) -> None:
    (own_models / "notes.txt").write_text("x")
    (own_models / ".partial").mkdir()
    assert list(registry.models(own_models)) == [model.id]
    assert registry.problems(own_models) == {}


def test_models_for_dermoscopy_come_before_better_ones_for_phone_photos(
    own_models: Path, model: registry.Model
) -> None:
    for model_id, modality, rank in (("phone", "smartphone", 0.99), ("worse", "dermoscopy", 0.1)):
        make(model, own_models, model_id, modality, rank)
    assert [one.id for one in registry.ranked(own_models)] == [model.id, "worse", "phone"]


def test_the_default_is_chosen_on_held_out_images_and_never_on_test(own_models: Path, model: registry.Model) -> None:
    for model_id, held_out, tested in (("better", 0.9, 0.2), ("worse", 0.1, 0.99), ("unknown", None, 1.0)):
        make(model, own_models, model_id, "dermoscopy")

        def change(card: dict[str, Any], held_out: float | None = held_out, tested: float = tested) -> None:
            card["scores"]["balanced_accuracy"]["value"] = tested
            card["validation"]["balanced_accuracy"]["value"] = held_out
            if held_out is None:
                del card["validation"]
                card["logit_adjustment"]["tried"] = []

        edit(own_models / model_id, change)
    assert [one.id for one in registry.ranked(own_models)] == ["better", model.id, "worse", "unknown"]


def test_held_out_scores_are_of_validation_cross_validation_or_the_chosen_adjustment() -> None:
    score = {"balanced_accuracy": {"value": 0.5}}
    validated = {
        "kind": "classifier",
        "training": {"images": {"train": 8, "validation": 1, "test": 1}},
        "scores": score,
    }
    assert registry.held_out_score(validated) is None
    assert registry.held_out_score(validated | {"validation": {"balanced_accuracy": {"value": 0.4}}}) == 0.4
    tried = [
        {"logit_adjustment": 0.0, "balanced_accuracy": 0.9, "accuracy": 1},
        {"logit_adjustment": 0.5, "balanced_accuracy": 0.3, "accuracy": 1},
    ]
    assert registry.held_out_score(validated | {"logit_adjustment": {"applied": 0.5, "tried": tried}}) == 0.3
    crossed = {"kind": "classifier", "training": {"images": {"train": 8, "test": 1}}, "scores": score}
    assert registry.held_out_score(crossed | {"fusion": {}}) == 0.5
    # scores on images that may be test images
    assert registry.held_out_score(crossed) is None


def test_a_committee_comes_before_single_networks_of_its_kind(own_models: Path, model: registry.Model) -> None:
    # its held-out scores are those of its single networks
    make_committee(model, own_models)
    make(model, own_models, "single", "dermoscopy", 0.99)
    edit(own_models / "committee", lambda card: card["validation"]["balanced_accuracy"].update(value=0.6))
    assert [one.id for one in registry.ranked(own_models)] == ["committee", "single", model.id]


def test_every_bundled_model_has_a_held_out_score(bundled: registry.Model) -> None:
    assert registry.held_out_score(bundled.card) is not None


def test_the_segmentation_network_is_not_a_classifier(own_models: Path, model: registry.Model) -> None:
    network = registry.segmentation()
    with pytest.raises(ModelError, match="is a segmentation network, not a classifier"):
        registry.read_model(network.folder)
    with pytest.raises(ModelError, match="no lesion segmentation network in"):
        registry.segmentation(own_models)
    shutil.copytree(network.folder, own_models / network.id)
    assert list(registry.models(own_models)) == [model.id]
    assert registry.segmentation(own_models).card == network.card


def test_a_corrupted_segmentation_network_is_listed_as_a_problem(own_models: Path) -> None:
    network = registry.segmentation()
    shutil.copytree(network.folder, own_models / network.id)
    (own_models / network.id / "dice.csv").write_text("short")
    assert "dice.csv" in registry.problems(own_models)[network.id]


def test_a_folder_is_read_again_only_when_it_changes(
    own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    real = registry.read
    monkeypatch.setattr(registry, "read", lambda folder: reads.append(folder) or real(folder))
    for _ in range(3):
        assert list(registry.models(own_models)) == [model.id]
        assert registry.problems(own_models) == {}
    assert len(reads) == 1
    edit(own_models / model.id, lambda card: card.update(title="Another title"))
    assert registry.model(model.id, own_models).title == "Another title"
    assert len(reads) == 2


@pytest.mark.parametrize("change", ["class", "threshold"])
def test_prediction_sets_that_do_not_fit_the_model_are_refused(
    change: str, own_models: Path, model: registry.Model
) -> None:
    file = own_models / model.id / "model.json"
    card = json.loads(file.read_text())
    classes = {code: {"groups": 30, "thresholds": [0.1, 0.05]} for code in card["labels"]["codes"]}
    card["conformal"] = {"images": "Validation images", "coverages": [0.8, 0.9], "classes": classes}
    file.write_text(json.dumps(card))
    assert registry.model(model.id, own_models).card["conformal"]["classes"] == classes
    if change == "class":
        del classes["nv"]
    else:
        classes["nv"]["thresholds"] = [0.1]
    file.write_text(json.dumps(card))
    with pytest.raises(ModelError, match="do not fit its classes"):
        registry.model(model.id, own_models)
