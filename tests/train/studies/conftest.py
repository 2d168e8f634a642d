"""Small data sets for the studies of attention."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.pictures import encode, lesion
from tests.train import phone_photos

IMAGES = 6
"""Test images of the small data sets."""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small HAM10000: two images of each class, one of them for testing, all with a round mask."""
    root = tmp_path / "data" / "ham10000"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    rows = []
    for number, code in enumerate(["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"] * 10):
        image = f"ISIC_{number:07}"
        (root / "images" / f"{image}.jpg").write_bytes(encode(lesion(160, 120, seed=number)))
        y, x = np.mgrid[0:120, 0:160]
        round_mask = ((x - 80) ** 2 + (y - 60) ** 2 < 30**2).astype(np.uint8) * 255
        Image.fromarray(round_mask).save(root / "masks" / f"{image}.png")
        split = "test" if number < IMAGES else "train"
        rows.append((image, f"HAM_{number}", code, "histo", 50, "male", "back", split))
    columns = ["image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization", "split"]
    # the lesion number is the patient's; two images of one lesion are tested
    pd.DataFrame(rows, columns=columns).replace("HAM_1", "HAM_0").to_csv(root / "metadata.csv", index=False)
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def close_ups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small MILK10k: a close-up of each of 60 lesions, without masks; IMAGES of them are for testing."""
    phone_photos.milk10k(tmp_path / "data", IMAGES)
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path / "data"))
    return tmp_path
