"""Shared fixtures, and the distribution of tests over processes.

Tests marked `data` need the data sets, in the folder set by SKINAPP_DATA or in ../shared/data.
"""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from skinapp.images import imaging
from skinapp.inference import allowed, registry
from tests.pictures import encode, lesion

# no deadline, since a shared machine may stall any single example
hypothesis.settings.register_profile("skinapp", deadline=None, max_examples=50)
hypothesis.settings.load_profile("skinapp")

CHECKOUT = Path(__file__).parents[1]

# most tests make their own models; tests/inference/test_allowed.py tests models from elsewhere
os.environ[allowed.ALL] = "1"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """With several processes, each runs whole files, or whole folders if fixtures are costly, so that there is one
    server and one browser, and networks are trained once."""
    return Scopes(config, log)


COSTLY_FIXTURES = ("tests/browser", "tests/train/fit", "tests/train/publish", "tests/train/studies", "tests/attention")


class Scopes(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return folder if folder in COSTLY_FIXTURES else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest scopes first, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(COSTLY_FIXTURES))


@pytest.fixture(scope="module", autouse=True)
def freeze_garbage() -> Iterator[None]:
    """Exclude existing objects from garbage collection. Keras collects garbage after every network, and searching
    everything that earlier files and TensorFlow left in the process would take most of a second each time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the data sets; skips where there is none."""
    root = Path(os.environ.get("SKINAPP_DATA", CHECKOUT.parent / "shared" / "data"))
    if not (root / "ham10000" / "metadata.csv").is_file():
        pytest.skip(f"no data sets in {root}: set SKINAPP_DATA to the folder that holds ham10000/")
    return root


@pytest.fixture(scope="session")
def model() -> registry.Model:
    """The best bundled single network for dermoscopy images without metadata."""
    usable = (one for one in registry.ranked() if one.kind == "classifier" and not one.clinical)
    return next(one for one in usable if one.modality == "dermoscopy")


@pytest.fixture
def own_models(model: registry.Model, tmp_path: Path) -> Path:
    """A models folder with a copy of the bundled model, for tests that corrupt it."""
    root = tmp_path / "models"
    shutil.copytree(model.folder, root / model.id)
    return root


@pytest.fixture(scope="session")
def photos() -> list[bytes]:
    """Four real-looking JPEGs of different lesions."""
    return [encode(lesion(seed=seed)) for seed in range(4)]


@pytest.fixture(scope="session")
def inputs(model: registry.Model, photos: list[bytes]) -> list[np.ndarray]:
    """The photos as the model's input."""
    return [imaging.load(photo, model.input_size) for photo in photos]
