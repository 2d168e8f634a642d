"""Inputs of the benchmarks: drawings of lesions with sensor noise, as JPEG files, and tables."""

from pathlib import Path

import numpy as np
from PIL import Image

from skinapp.demographics import records
from skinapp.images import synthetic

PHONE_SIZE = (4000, 3000)
HAM10000_SIZE = (600, 450)
"""The size at which HAM10000 is published."""


def phone_photo(file: Path) -> Path:
    """A 12-megapixel JPEG."""
    return _save(synthetic.draw(0, 1000, 750).resize(PHONE_SIZE, Image.Resampling.BICUBIC), 0, file)


def dermoscopy_images(folder: Path, count: int) -> Path:
    """A folder of `count` different JPEGs of HAM10000's size."""
    folder.mkdir()
    drawings = [synthetic.draw(seed, *HAM10000_SIZE) for seed in range(20)]
    for number in range(count):
        _save(drawings[number % len(drawings)], number, folder / f"{number:04}.jpg")
    return folder


def hard_links(files: Path, folder: Path, count: int) -> Path:
    """A folder of `count` hard links to the files of another folder, a thousand per subfolder."""
    sources = sorted(files.iterdir())
    for number in range(count):
        below = folder / f"{number // 1000:03}"
        if number % 1000 == 0:
            below.mkdir(parents=True)
        (below / f"{number:06}.jpg").hardlink_to(sources[number % len(sources)])
    return folder


def demographics_table(file: Path, rows: int) -> Path:
    """A CSV of `rows` rows with HAM10000's columns, sampled from the shipped table with replacement."""
    frame = records.shipped("ham10000").frame.sample(rows, replace=True, random_state=0)
    names = {"lesion": "lesion_id", "diagnosis": "dx", "confirmation": "dx_type", "site": "localization"}
    frame.drop(columns=["images", "split"]).rename(columns=names).to_csv(file, index=False)
    return file


def _save(drawing: Image.Image, seed: int, file: Path) -> Path:
    grain = np.random.default_rng(seed).integers(-6, 7, (drawing.height, drawing.width, 1), dtype=np.int16)
    Image.fromarray((np.asarray(drawing) + grain).clip(0, 255).astype(np.uint8)).save(file, quality=90)
    return file
