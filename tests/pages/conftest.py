"""Fixtures of the tests of pages."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from skinapp.inference import registry


@pytest.fixture(scope="session")
def model() -> registry.Model:
    """The bundled model that answers where nothing else is chosen or recognised, with or without questions."""
    return registry.ranked()[0]


@pytest.fixture(autouse=True)
def no_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The archive is not reached, and no examples are kept on disk."""
    monkeypatch.setenv("SKINAPP_ISIC_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def set_aside() -> Iterator[None]:
    """Streamlit collects garbage after every run of a page; it would search all that earlier tests and TensorFlow have
    left in the process, most of a second each time."""
    gc.freeze()
    yield
    gc.unfreeze()
