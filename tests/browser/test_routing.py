"""A phone photo and a dermoscopy image, uploaded on a phone: which model the page uses for each."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from skinapp.images import imaging
from skinapp.inference import modality, registry
from tests.browser.visitor import HEIGHT, as_upload, bottom, headline, keep, settle, upload, wider_than_the_screen
from train.data import datasets

PHONE_MODEL = "smartphone-efficientnetb1-6class"

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(
        PHONE_MODEL not in registry.models(),
        reason=f"no model for phone photos: train and export {PHONE_MODEL} to run this",
    ),
]


def recognised_image(root: Path, name: str, kind: str) -> Path:
    """The first published image of a data set that is recognised with certainty, from the test part if there is one."""
    table: pd.DataFrame = datasets.READERS[name](root / name)
    if (table["split"] == "test").any():
        table = table[table["split"] == "test"]
    for file in table["path"].head(20):
        recognised = modality.recognise(imaging.decode(imaging.read(file)))
        if recognised and recognised.kind == kind and recognised.probabilities[kind] >= modality.SURE:
            return Path(file)
    pytest.fail(f"none of the first 20 images of {name} is surely recognised as {kind}")


@pytest.mark.parametrize(("name", "kind"), [("pad_ufes_20", "smartphone"), ("ham10000", "dermoscopy")])
def test_an_upload_on_a_phone_gets_the_model_for_its_kind_and_a_tap_saves_the_answer(
    data_root: Path, app: str, open_page: Callable[..., Page], name: str, kind: str, tmp_path: Path
) -> None:
    file = recognised_image(data_root, name, kind)
    page = open_page(f"{app}/classify", 390)
    # the first tap of at most four
    upload(page, as_upload(file.read_bytes(), file.name, "image/webp"))
    answered, probability = headline(page).groups()
    suited = next(model for model in registry.ranked() if model.modality == kind)
    # without patient data, a model that uses them leaves the answer to its base
    answering = registry.model(suited.card["fusion"]["base"]) if "fusion" in suited.card else suited
    expect(page.get_by_text(f"{modality.NAMES[kind]}, ")).to_contain_text(f"Answered by “{answering.short_name}”.")
    assert answered in [label.spoken for label in suited.labels.labels]
    settle(page)
    # in view without scrolling
    assert bottom(page.get_by_role("heading", name=re.compile("Most likely"))) < HEIGHT / 2
    assert bottom(page.get_by_text(re.compile("doctor")).first) < HEIGHT
    assert not wider_than_the_screen(page)
    keep(page, f"routed-{kind}")
    # the second tap
    with page.expect_download(timeout=120_000) as download:
        page.get_by_role("button", name="Save this answer").click()
    saved = tmp_path / "answer.html"
    download.value.save_as(saved)
    report = open_page(saved.as_uri(), 390)
    expect(report.get_by_role("heading", name=f"Most likely: {answered}, {probability}")).to_be_visible()
