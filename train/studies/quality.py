"""python -m train quality: compute the limits of `skinapp.images.quality`, and how often the warnings appear."""

import argparse
from collections.abc import Callable

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter
from tqdm import tqdm

from skinapp.images import imaging, quality
from skinapp.images.quality import Limits, Quality
from train.data import datasets

SAMPLE = 1000
PERCENT = 1.0
"""At most this percentage of each data set's published pictures may be beyond a limit."""

DEGRADATIONS: dict[str, tuple[str, Callable[[Image.Image], Image.Image]]] = {
    "blurred, 2 px": ("sharpness", lambda image: image.filter(ImageFilter.GaussianBlur(2))),
    "blurred, 3 px": ("sharpness", lambda image: image.filter(ImageFilter.GaussianBlur(3))),
    "blurred, 5 px": ("sharpness", lambda image: image.filter(ImageFilter.GaussianBlur(5))),
    "half the light": ("dark", lambda image: ImageEnhance.Brightness(image).enhance(0.5)),
    "a quarter of the light": ("dark", lambda image: ImageEnhance.Brightness(image).enhance(0.25)),
    "1.6 times the light": ("bright", lambda image: ImageEnhance.Brightness(image).enhance(1.6)),
    "2.2 times the light": ("bright", lambda image: ImageEnhance.Brightness(image).enhance(2.2)),
    "a reflection": ("glare", lambda image: reflected(image)),
}
"""Ways to degrade a picture of 224 x 224 px, and the problem that should then be reported."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> int:
    del options
    measured = measure_all()
    print(f"limits: {limits(measured)}\nin use: {quality.LIMITS}\n")
    print(alarms(measured).to_string(index=False))
    return 0


def measure_all() -> pd.DataFrame:
    """One row per picture and degradation ("" for none): data set, group, degraded, and the quality measures."""
    rows = []
    for name in ("ham10000", "pad_ufes_20"):
        table = datasets.read(name)
        table = table[table["split"] == "train"].drop_duplicates("group" if name == "ham10000" else "image")
        for number, (path, group) in enumerate(
            tqdm(table[["path", "group"]].sample(min(SAMPLE, len(table)), random_state=0).to_numpy(), desc=name)
        ):
            image = Image.fromarray(imaging.load(path, quality.SIDE))
            rows.append({"dataset": name, "group": group, "degraded": "", **measured(image)})
            # a fifth of the pictures is enough to count the warnings
            for degraded, (_, degrade) in DEGRADATIONS.items() if number % 5 == 0 else ():
                rows.append({"dataset": name, "group": group, "degraded": degraded, **measured(degrade(image))})
    return pd.DataFrame(rows)


def measured(image: Image.Image) -> dict[str, float]:
    return vars(quality.measure_pixels(np.asarray(image), quality.SIDE))


def limits(table: pd.DataFrame) -> Limits:
    """Limits that PERCENT of the original pictures exceed, in the data set where more do."""
    sets = [rows for _, rows in table[table["degraded"] == ""].groupby("dataset")]
    return Limits(
        min(float(np.percentile(rows["sharpness"], PERCENT)) for rows in sets),
        min(float(np.percentile(rows["brightness"], PERCENT)) for rows in sets),
        max(float(np.percentile(rows["brightness"], 100 - PERCENT)) for rows in sets),
        max(float(np.percentile(rows["glare"], 100 - PERCENT)) for rows in sets),
    )


def alarms(table: pd.DataFrame, chosen: Limits = quality.LIMITS) -> pd.DataFrame:
    """How many pictures of each data set have each problem, original and degraded, with the share in percent."""
    rows = []
    for (dataset, degraded), part in table.groupby(["dataset", "degraded"]):
        warnings = [
            quality.problems(Quality(row["sharpness"], row["brightness"], row["glare"], row["side"]), chosen)
            for row in part.to_dict("records")
        ]
        wanted = [DEGRADATIONS[str(degraded)][0]] if degraded else ["sharpness", "dark", "bright", "glare"]
        for problem in [*wanted, "any"]:
            count = sum(bool(warning) if problem == "any" else problem in warning for warning in warnings)
            share = round(100 * count / len(part), 1)
            rows.append([dataset, degraded or "as published", problem, count, len(part), share])
    return pd.DataFrame(rows, columns=["data set", "pictures", "problem", "with the problem", "of", "percent"])


def reflected(image: Image.Image) -> Image.Image:
    """The image with a soft white spot of about a twelfth of its area, like a lamp's reflection on wet skin."""
    spot = Image.new("L", image.size)
    width, height = image.size
    spot.paste(255, (width // 5, height // 4, width // 5 + width // 3, height // 4 + height // 4))
    return Image.composite(Image.new("RGB", image.size, "white"), image, spot.filter(ImageFilter.GaussianBlur(6)))
