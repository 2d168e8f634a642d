"""Fixtures of the tests of pages."""

import pytest

from skinapp.inference import registry


@pytest.fixture(scope="session")
def model() -> registry.Model:
    """The bundled model that answers where nothing else is chosen or recognised, with or without questions."""
    return registry.ranked()[0]
