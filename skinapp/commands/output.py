"""The files that commands write: HTML pages and attention maps."""

from pathlib import Path

import numpy as np
from PIL import Image

from skinapp.errors import DataError
from skinapp.files import replacing


def check_page(file: Path) -> None:
    """DataError if a page cannot be written to this file."""
    if not file.parent.is_dir():
        raise DataError(f"There is no folder {file.parent}; create it, or name a file in another folder.")
    if file.is_dir():
        raise DataError(f"{file} is a folder; name a file in it, such as {file / 'report.html'}.")


def write_page(file: Path, html: str) -> None:
    with replacing(file) as partial:
        partial.write_text(html, encoding="utf-8")


def map_files(images: list[Path], folder: Path) -> dict[Path, Path]:
    """Maps each image to the file of its attention map: `<name>.cam.png`, numbered if two images share a name."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be created ({error.strerror}).") from None
    files: dict[Path, Path] = {}
    for path in images:
        name, number = f"{path.name}.cam.png", 1
        while folder / name in files.values() and path not in files:
            number += 1
            name = f"{path.name}.{number}.cam.png"
        files.setdefault(path, folder / name)
    return files


def write_map(file: Path, pixels: np.ndarray) -> None:
    """Write the uint8 RGB `pixels` [H, W, 3] as a PNG. DataError if that is not possible."""
    with replacing(file) as partial:
        Image.fromarray(pixels).save(partial, "PNG")
