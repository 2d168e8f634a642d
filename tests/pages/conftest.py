"""Fixtures of the tests of pages."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.components.v2.component_manager import BidiComponentManager

from skinapp.inference import registry
from skinapp.inference.modality import Recognised


@pytest.fixture(scope="package", autouse=True)
def without_committee(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The bundled models without the committee, whose answers take several times as long; test_committee.py makes its
    own committee, and the browser tests use the bundled one."""
    root = tmp_path_factory.mktemp("bundled")
    for folder in registry.default_root().iterdir():
        if folder.name != "ham10000-committee":
            (root / folder.name).symlink_to(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKINAPP_MODELS", str(root))
        yield


@pytest.fixture(scope="package")
def model(without_committee: None) -> registry.Model:
    """The bundled model that answers if nothing else is chosen or recognised, with or without metadata fields."""
    return registry.ranked()[0]


@pytest.fixture(autouse=True)
def no_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The archive cannot be reached, and no examples are stored on disk."""
    monkeypatch.setenv("SKINAPP_ISIC_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def freeze_garbage() -> Iterator[None]:
    """Like the fixture for all tests, but before every test: Streamlit collects garbage after every run of a page."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="package", autouse=True)
def without_components() -> Iterator[None]:
    """Skip Streamlit's search of all installed packages for components whenever a test opens a page. The app uses
    none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BidiComponentManager, "discover_and_register_components", lambda *_, **__: None)
        yield


@pytest.fixture
def clear_dermoscopy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image is recognised as dermoscopy, and none fails on quality."""
    certain = Recognised("dermoscopy", {"dermoscopy": 0.98, "smartphone": 0.01, "neither": 0.01}, unlike=False)
    monkeypatch.setattr("skinapp.inference.modality.recognise", lambda image: certain)
    monkeypatch.setattr("skinapp.images.quality.problems", lambda *_: [])
