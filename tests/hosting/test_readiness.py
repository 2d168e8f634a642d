"""The server is ready only if a model answers."""

from pathlib import Path

import pytest

from skinapp.hosting import readiness
from skinapp.inference import registry
from tests.model_folder import change_byte


@pytest.fixture(autouse=True)
def fresh() -> None:
    readiness._check.cache_clear()


def test_ready_where_the_best_model_answers(
    own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKINAPP_MODELS", str(own_models))
    # otherwise the time for which a result is valid may end between the two calls
    monkeypatch.setattr(readiness, "VALID_SECONDS", 10**9)
    result = readiness.check()
    assert (result.ready, result.model, result.left_out) == (True, model.id, ())
    assert result.seconds > 0
    # the result is reused for a while
    assert readiness.check() is result


def test_not_ready_where_the_only_model_was_changed(
    own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_byte(own_models / model.id / "model.tflite")
    monkeypatch.setenv("SKINAPP_MODELS", str(own_models))
    result = readiness.check()
    assert (result.ready, result.left_out) == (False, (model.id,))
    assert "model.tflite" in result.reason
    assert "was changed after it was published" in result.reason


def test_not_ready_without_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path / "none"))
    result = readiness.check()
    assert not result.ready
    assert "set SKINAPP_MODELS" in result.reason
