"""NOTICE lists every file that was made from data, with the sources from the registry of data sets."""

import fnmatch
import re
import subprocess
from pathlib import Path

import pytest

from skinapp.datasets.registry import DATASETS, ISIC_MORE, DataSet

ROOT = Path(__file__).parents[1]
NOTICE = (ROOT / "NOTICE").read_text()
MADE_FROM_DATA = re.compile(
    r".*\.(npz|npy|csv|gz|tflite|keras|h5|jpg|jpeg|png|webp)|.*/splits/.*\.txt|skinapp/.*\.json"
)
NOT_FROM_DATA = ("skinapp/inference/model.schema.json",)


def patterns() -> list[str]:
    """The files that NOTICE lists: the lines before each licence."""
    return [
        name.strip()
        for block in re.findall(r"\n\n((?:\S.*\n)+)  Licence:", NOTICE)
        for name in re.split(r",\s+", block)
    ]


def test_every_file_that_was_made_from_data_has_its_licence_and_source() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    made = [name for name in tracked if MADE_FROM_DATA.fullmatch(name) and not name.startswith(("tests/", "docs/"))]
    assert "skinapp/inference/modality.npz" in made
    unlisted = [name for name in made if not any(fnmatch.fnmatch(name, one) for one in (*patterns(), *NOT_FROM_DATA))]
    assert unlisted == []
    unused = [
        one
        for one in patterns()
        if not any(fnmatch.fnmatch(name, one) for name in [*tracked, "models/a/out_of_fold.csv"])
    ]
    assert unused == []


@pytest.mark.parametrize("dataset", [*DATASETS.values(), ISIC_MORE], ids=lambda dataset: dataset.id)
def test_sources_are_those_of_the_registry(dataset: DataSet) -> None:
    words = " ".join(NOTICE.split())
    assert f"[{dataset.title}] {dataset.attribution} Licence: {dataset.licence}. {dataset.publisher.address}" in words
