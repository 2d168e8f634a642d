"""A model folder is replaced in one step, and keeps the files that still describe its network."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from skinapp.errors import ModelError
from skinapp.inference import registry
from train.publish import folder as publishing
from train.publish.folder import draft, publish, release

ADDED = ("similar.json", "similar.npz", "attention-audit.csv")


@pytest.fixture
def model() -> registry.Model:
    """A network to whose folder later commands have added files."""
    networks = (one for one in registry.ranked() if one.kind == "classifier")
    return next(one for one in networks if set(ADDED) <= one.card["files"].keys())


def fill(folder: Path, model: registry.Model, extra: str = "") -> None:
    for name in ("history.csv", "predictions.csv", "model.tflite"):
        shutil.copy(model.folder / name, folder)
    with (folder / "predictions.csv").open("a") as stream:
        stream.write(extra)


def described(model: registry.Model, **changed: Any) -> dict[str, Any]:
    return {name: value for name, value in model.card.items() if name != "files"} | changed


def test_the_same_network_keeps_what_later_commands_added(own_models: Path, model: registry.Model) -> None:
    before = registry.fingerprint(own_models / model.id)
    assert before.keys() >= set(ADDED)
    with draft(own_models, model.id) as new:
        fill(new, model)
        target = publish(new, described(model, title="Another title"), own_models)
    again = registry.model(model.id, own_models)
    registry.verify(again)
    assert (again.title, again.card["version"]) == ("Another title", model.card["version"])
    after = registry.fingerprint(target)
    assert {name: after[name] for name in ADDED} == {name: before[name] for name in ADDED}
    # files that export itself writes are not carried over
    assert "model.keras" not in after
    assert [path.name for path in own_models.iterdir()] == [model.id]


def test_another_network_drops_them_and_is_another_version(own_models: Path, model: registry.Model) -> None:
    with draft(own_models, model.id) as new:
        fill(new, model, "\n")
        target = publish(new, described(model), own_models, "Trained for longer.")
    assert not set(ADDED) & {path.name for path in target.iterdir()}
    entry = registry.model(model.id, own_models).card["changelog"][-1]
    assert entry["changes"] == "Trained for longer."
    assert len(json.loads((target / "model.json").read_text())["changelog"]) == len(model.card["changelog"]) + 1


@pytest.mark.parametrize("exchange", [True, False])
def test_the_older_folder_stays_whole_if_the_new_one_cannot_replace_it(
    exchange: bool, own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = registry.fingerprint(own_models / model.id)
    if not exchange:
        monkeypatch.setattr(publishing, "_exchange", lambda first, second: False)

    with draft(own_models, model.id) as new:
        fill(new, model)
        with pytest.raises(ModelError, match="temperature"):
            publish(new, described(model, temperature=0), own_models)
    assert registry.fingerprint(own_models / model.id) == before

    real = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.parent.name.startswith(".partial-") and path.name == model.id:
            raise OSError("disk full")
        return real(path, target)

    if not exchange:
        monkeypatch.setattr(Path, "rename", failing)
        with draft(own_models, model.id) as new:
            fill(new, model)
            with pytest.raises(OSError, match="disk full"):
                publish(new, described(model), own_models)
        assert registry.fingerprint(own_models / model.id) == before
    assert [path.name for path in own_models.iterdir()] == [model.id]


@pytest.mark.parametrize("exchange", [True, False])
def test_swapping(exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchange:
        monkeypatch.setattr(publishing, "_exchange", lambda first, second: False)
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    publishing.swap(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_versions_worked_by_hand() -> None:
    first = release(None, False, "")
    assert (first["version"], first["changelog"][0]["changes"]) == ("1.0.0", "First release.")
    assert release(first, True, "") == first
    assert release(first, True, "A better title.")["version"] == "1.0.1"
    other = release(first, False, "")
    assert [entry["version"] for entry in other["changelog"]] == ["1.0.0", "1.1.0"]
    assert other["changelog"][-1]["changes"] == "Trained again."
