"""Networks from elsewhere are used only if their hashes are listed or the user allows them."""

import json
import shutil
from pathlib import Path

import pytest

from skinapp.__main__ import main
from skinapp.errors import ModelError
from skinapp.inference import allowed, registry
from train.publish.folder import draft, publish


@pytest.fixture(autouse=True)
def strangers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(allowed.ALL)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def from_elsewhere(own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a model with an unlisted network, in the default root."""
    monkeypatch.setenv("SKINAPP_MODELS", str(own_models))
    folder = own_models / model.id
    (folder / "model.tflite").write_bytes((folder / "model.tflite").read_bytes() + b" ")
    card = model.card | {"files": registry.fingerprint(folder)}
    (folder / "model.json").write_text(json.dumps(card))
    return model.id


def test_every_model_that_comes_with_the_app_is_listed() -> None:
    root = allowed.SHIPPED
    assert registry.problems(root) == {}, "run: python -m skinapp allow ID, and commit skinapp/inference/allowed.txt"
    networks = [
        f"{file['sha256']}  {card['id']}/{name}"
        for card in (json.loads(file.read_text()) for file in root.glob("*/model.json"))
        for name, file in card["files"].items()
        if name.endswith(allowed.NETWORKS)
    ]
    assert sorted(allowed.LISTED.read_text().splitlines()) == sorted(networks)


def test_a_copy_of_a_model_of_ours_is_used_anywhere(own_models: Path, model: registry.Model) -> None:
    assert list(registry.models(own_models)) == [model.id]


def test_a_network_from_elsewhere_is_left_out_with_a_reason(from_elsewhere: str) -> None:
    assert registry.models() == {}
    with pytest.raises(ModelError, match=f"python -m skinapp allow {from_elsewhere}"):
        registry.model(from_elsewhere)


def test_the_user_can_say_so(from_elsewhere: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["allow", from_elsewhere]) == 0
    assert str(allowed.own_list()) in capsys.readouterr().out
    assert list(registry.models()) == [from_elsewhere]
    assert main(["allow", from_elsewhere]) == 0
    assert capsys.readouterr().out == f"{from_elsewhere} is already allowed\n"


def test_a_network_that_changes_after_that_is_not_listed(from_elsewhere: str, own_models: Path) -> None:
    assert main(["allow", from_elsewhere]) == 0
    folder = own_models / from_elsewhere
    (folder / "model.tflite").write_bytes((folder / "model.tflite").read_bytes() + b" ")
    card = json.loads((folder / "model.json").read_text()) | {"files": registry.fingerprint(folder)}
    (folder / "model.json").write_text(json.dumps(card))
    assert list(registry.problems()) == [from_elsewhere]


def test_a_folder_with_a_changed_file_cannot_be_listed(
    from_elsewhere: str, own_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = own_models / from_elsewhere / "model.tflite"
    network.write_bytes(network.read_bytes()[:-1] + b"x")
    assert main(["allow", from_elsewhere]) == 2
    assert "was changed after it was published" in capsys.readouterr().err
    assert not allowed.own_list().exists()


def test_the_operator_of_a_server_can_allow_all(from_elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(allowed.ALL, "1")
    assert list(registry.models()) == [from_elsewhere]


def test_models_published_here_are_listed(from_elsewhere: str, own_models: Path, tmp_path: Path) -> None:
    models = tmp_path / "published"
    card = json.loads((own_models / from_elsewhere / "model.json").read_text())
    with draft(models, from_elsewhere) as folder:
        shutil.copytree(own_models / from_elsewhere, folder, dirs_exist_ok=True)
        (folder / "model.json").unlink()
        publish(folder, card, models)
    assert list(registry.models(models)) == [from_elsewhere]


def test_models_published_in_the_shipped_folder_are_listed_there(
    from_elsewhere: str, own_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowed, "SHIPPED", own_models)
    monkeypatch.setattr(allowed, "LISTED", tmp_path / "allowed.txt")
    assert main(["allow", from_elsewhere]) == 0
    card = json.loads((own_models / from_elsewhere / "model.json").read_text())
    digest = card["files"]["model.tflite"]["sha256"]
    assert f"{digest}  {from_elsewhere}/model.tflite" in allowed.LISTED.read_text().splitlines()
