"""HAM10000's images with their lesion masks, and the square views for training the segmentation network."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from skinapp.datasets.registry import data_root
from skinapp.errors import DataError
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.images.imaging import CENTRE, Crop
from train.data import datasets

WIDTH, HEIGHT = 256, 192
"""Pixels of a cached picture, from which square views are cut."""
WITHOUT_MASK = ("ISIC_0026042", "ISIC_0029819")
"""Images whose published mask is completely white."""
BARE_SKIN_SHARE = 0.08
"""The share of views next to the lesion, so that the network also sees bare skin."""


@dataclass(frozen=True)
class Segmented:
    """A table in the common form, of images with a mask, whose file is in the column `mask`; and the cached pictures,
    uint8 [rows, HEIGHT, WIDTH, 3], and masks, uint8 [rows, HEIGHT, WIDTH], 255 on the lesion."""

    table: pd.DataFrame
    pictures: np.ndarray
    masks: np.ndarray


def table(root: Path) -> pd.DataFrame:
    """HAM10000 in the common form, with each mask file; the validation lesions are those of the classifiers."""
    known = datasets.with_validation(datasets.ham10000(root), folds=8, fold=0, seed=0)
    known = known[~known["image"].isin(WITHOUT_MASK)].reset_index(drop=True)
    return known.assign(mask=pd.Series(datasets.image_files(root / "masks", known["image"])))


def prepare(runs: Path) -> Segmented:
    """Decode pictures and masks into a cache below `runs`, or open the cache if it exists.

    DataError lists the files that cannot be read.
    """
    known = table(data_root() / "ham10000")
    folder = runs / "cache" / "ham10000-segmented"
    stamp_file, files = folder / "stamp.json", [folder / "pictures.npy", folder / "masks.npy"]
    stamp = {"size": [WIDTH, HEIGHT], "images": len(known)}
    if not (stamp_file.exists() and json.loads(stamp_file.read_text()) == stamp):
        folder.mkdir(parents=True, exist_ok=True)
        stamp_file.unlink(missing_ok=True)
        _write(files[0], list(known["path"]), _picture, (HEIGHT, WIDTH, 3))
        _write(files[1], list(known["mask"]), _mask, (HEIGHT, WIDTH))
        with replacing(stamp_file) as partial:
            partial.write_text(json.dumps(stamp))
    pictures, masks = (np.load(file, mmap_mode="r") for file in files)
    return Segmented(known, pictures, masks)


def squares(known: pd.DataFrame, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The centre squares that the app uses: images, uint8 [n, size, size, 3], and masks, bool [n, size, size]."""
    pairs = [
        (imaging.load(path, size), square_mask(mask, size))
        for path, mask in tqdm(
            zip(known["path"], known["mask"], strict=True), total=len(known), desc="squares", leave=False
        )
    ]
    images, masks = zip(*pairs, strict=True)
    return np.stack(images), np.stack(masks)


def square_mask(file: Path, size: int, crop: Crop = CENTRE) -> np.ndarray:
    """The same part of a mask file that `imaging.crop_resize` cuts from its image: bool [size, size]."""
    with Image.open(file) as mask:
        grey = mask.convert("L")
    resized = grey.resize((size, size), Image.Resampling.BILINEAR, box=crop.box(*grey.size))
    return np.asarray(resized) >= 128


def view(
    picture: np.ndarray, mask: np.ndarray, size: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A square of a cached picture, rotated and coloured at random, and its mask.

    Uint8 [HEIGHT, WIDTH, 3] and [HEIGHT, WIDTH] -> uint8 [size, size, 3] and float32 [size, size] in 0-1.
    """
    box = _box(mask, generator)
    image = Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC, box=box)
    resized = Image.fromarray(mask).resize((size, size), Image.Resampling.BILINEAR, box=box)
    turns, mirrored = int(generator.integers(4)), generator.random() < 0.5
    pixels, target = np.rot90(np.asarray(image), turns), np.rot90(np.asarray(resized), turns)
    if mirrored:
        pixels, target = pixels[:, ::-1], target[:, ::-1]
    # brightness, colour and contrast differ between cameras
    gain = np.exp(generator.normal(0, 0.12) + generator.normal(0, 0.06, 3))
    contrast, middle = np.exp(generator.normal(0, 0.15)), pixels.mean()
    coloured = ((pixels - middle) * contrast + middle) * gain
    return coloured.round().clip(0, 255).astype(np.uint8), target.astype(np.float32) / 255


def _box(mask: np.ndarray, generator: np.random.Generator) -> tuple[float, float, float, float]:
    if generator.random() < BARE_SKIN_SHARE:
        for _ in range(10):
            x, y, side = *generator.random(2), generator.uniform(0.3, 0.6)
            box = Crop(float(x), float(y), float(side)).box(WIDTH, HEIGHT)
            left, top, right, bottom = (round(edge) for edge in box)
            if not mask[top:bottom, left:right].any():
                return box
    x, y = generator.normal(0.5, 0.12, 2)
    return Crop(float(x), float(y), float(generator.uniform(0.55, 1))).box(WIDTH, HEIGHT)


def _picture(file: Path) -> np.ndarray:
    picture = imaging.decode(imaging.read(file))
    return np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def _mask(file: Path) -> np.ndarray:
    try:
        with Image.open(file) as mask:
            return np.asarray(mask.convert("L").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
    except OSError as error:
        raise DataError(f"The mask {file} cannot be read ({error}).") from None


def _write(file: Path, sources: list[Path], read: Callable[[Path], np.ndarray], shape: tuple[int, ...]) -> None:
    with replacing(file) as partial, partial.open("wb") as stream, ThreadPoolExecutor() as pool:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(sources), *shape)}
        np.lib.format.write_array_header_1_0(stream, header)
        try:
            for array in tqdm(pool.map(read, sources), total=len(sources), desc=file.stem, unit="image"):
                stream.write(array.tobytes())
        finally:
            pool.shutdown(cancel_futures=True)
