"""python -m train download: data sets from their publishers, with attribution and licence next to the images.

Unfinished downloads are in `.download-<name>` and resume from there. A data set's folder is created at the end, in one
step, so it is either complete or absent. Images downloaded by id are the exception: they appear one by one, each
complete.
"""

import argparse
import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import requests
from tqdm import tqdm

from skinapp import tables
from skinapp.datasets import ham10000
from skinapp.datasets.isic import ARCHIVE
from skinapp.datasets.metadata import FILE
from skinapp.datasets.registry import DATASETS, ISIC_MORE, DataSet, data_root
from skinapp.errors import DataError
from skinapp.images import imaging
from train.data import transfer
from train.data.splits import ham10000_split, listed
from train.data.transfer import Remote

RECORD = "download.json"
ISIC = "isic"
ISIC_ID = re.compile(r"ISIC_\d{7}", re.ASCII)
ADDRESS_SECONDS = 600
"""Addresses of single images are signed and expire; after this time they are requested again."""
IDS_AT_ONCE = 500
"""The number of images from the ISIC archive whose addresses are requested at a time, before they expire."""
ARCHIVE_COLUMNS = {
    "age": "age_approx",
    "sex": "sex",
    "site": "anatom_site_general",
    "confirmation": "diagnosis_confirm_type",
    "skin_tone_class": "skin_tone_class",
    "licence": "licence",
    "attribution": "attribution",
}
"""Columns of a data set's table that the archive states, under its names."""
LICENCES = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-NC 4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
    "CC BY-NC 4.0, CC BY 4.0 or CC0": "https://www.isic-archive.com/terms-of-use",
    "CC-0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-NC": "https://creativecommons.org/licenses/by-nc/4.0/",
    "ISIC archive terms of use, non-commercial": "https://www.isic-archive.com/terms-of-use",
}
"""The address of each licence's text; names with a hyphen are those of the ISIC archive."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "To continue an interrupted download, run the same command again. malignant-benign needs the "
        "environment variables KAGGLE_USERNAME and KAGGLE_KEY (an API token of a free Kaggle account). isic needs "
        "--ids. By downloading you accept the publisher's licence, which is saved beside the images."
    )
    parser.add_argument("dataset", choices=[*COMMAND_NAMES, ISIC], help="what to download")
    parser.add_argument(
        "--ids", type=Path, metavar="FILE", help="for isic: a text file with one id per line, such as ISIC_0024306"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the folder of the data sets (default: SKINAPP_DATA, or data)"
    )
    parser.add_argument(
        "--max-bytes", type=int, metavar="N", help="stop with an error before more than N bytes of disk are used"
    )


def run(options: argparse.Namespace) -> int:
    if options.max_bytes is not None and options.max_bytes < 1:
        raise DataError(f"--max-bytes is {options.max_bytes}; it must be at least 1.")
    root = options.out or data_root()
    if options.dataset == ISIC:
        if options.ids is None:
            raise DataError("Images of the ISIC archive are chosen by id: pass --ids FILE, with one id per line.")
        ids = read_ids(options.ids)
        _make(root)
        print(download_images(ids, root / ISIC, options.max_bytes))
    else:
        if options.ids is not None:
            raise DataError(f"--ids is for isic; {options.dataset} is downloaded whole.")
        _make(root)
        dataset = DOWNLOADABLE[COMMAND_NAMES[options.dataset]]
        by_id = dataset.publisher.host == ISIC
        print((download_listed if by_id else download)(dataset, root, options.max_bytes))
    return 0


def download(dataset: DataSet, root: Path, limit: int | None = None) -> str:
    """Download, check and arrange a data set as `root` / folder; return a sentence on the result."""
    target, work = root / dataset.folder, root / f".download-{dataset.folder}"
    if _is_complete(target):
        return f"{dataset.name} is already complete in {target}."
    with transfer.open_session() as session:
        files = listing(session, dataset)
        work.mkdir(exist_ok=True)
        fetched = sum(file.stat().st_size for file in work.iterdir() if file.is_file())
        announced = sum(file.size or 0 for file in files)
        # archives of photographs unpack to about their own size, and are deleted only at the end
        transfer.check_room(max(announced - fetched, 0) + announced, work, limit)
        with tqdm(total=announced or None, unit="B", unit_scale=True, desc=dataset.name) as progress:
            for file in files:
                transfer.fetch(session, file, work, progress, limit)
    ready = work / "ready"
    shutil.rmtree(ready, ignore_errors=True)
    try:
        ready.mkdir()
        ARRANGE[dataset.id](work, ready, limit)
        _write_terms(dataset, ready)
        record = [
            {"name": file.name, "size": (work / file.name).stat().st_size, "checksum": file.checksum} for file in files
        ]
        (ready / RECORD).write_text(
            json.dumps(
                {"address": dataset.publisher.address, "date": date.today().isoformat(), "files": record}, indent=2
            )
        )
    except (OSError, DataError) as error:
        free = transfer.room(work, limit)
        shutil.rmtree(ready, ignore_errors=True)
        if isinstance(error, OSError) and transfer.is_full(error):
            raise DataError(transfer.full(work, announced, free)) from None
        raise
    ready.rename(target)
    shutil.rmtree(work)
    return f"{dataset.name} is in {target}. Licence: {dataset.licence}; see LICENSE and ATTRIBUTION.md there."


def download_listed(dataset: DataSet, root: Path, limit: int | None = None) -> str:
    """Download the images of a data set that are single files of the ISIC archive, and arrange them as `root` / folder;
    return a sentence on the result. Images that the archive no longer has are left out."""
    target, work = root / dataset.folder, root / f".download-{dataset.folder}"
    if _is_complete(target):
        return f"{dataset.name} is already complete in {target}."
    table = listed(dataset.id)
    ids = table["image_id"].tolist()
    ready = work / "ready"
    # left by an attempt that was interrupted while arranging the images
    for file in ready.glob("*/*"):
        file.replace(work / "images" / file.name)
    for start in range(0, len(ids), IDS_AT_ONCE):
        print(f"{dataset.name}: images {start + 1:,} to {min(start + IDS_AT_ONCE, len(ids)):,} of {len(ids):,}")
        download_images(ids[start : start + IDS_AT_ONCE], work, limit, leave_out_unknown=True)
    found = tables.read_file(work / FILE).set_index("image")
    table = table[table["image_id"].isin(found.index)]
    found = found.loc[table["image_id"]]
    columns = {name: found[archive] for name, archive in ARCHIVE_COLUMNS.items() if archive in found}
    complete = table.assign(**{name: column.to_numpy() for name, column in columns.items()})
    not_stated = [column for column in dataset.columns.values() if column not in complete]
    complete = complete.assign(**dict.fromkeys(not_stated, ""))
    folders = table["modality"] if len(dataset.images) > 1 else [dataset.images[0]] * len(table)
    for file, folder in zip(found["file"], folders, strict=True):
        (ready / folder).mkdir(parents=True, exist_ok=True)
        (work / "images" / file).replace(ready / folder / file)
    complete.to_csv(ready / FILE, index=False)
    _write_terms(dataset, ready)
    record = {"address": dataset.publisher.address, "date": date.today().isoformat(), "images": len(complete)}
    (ready / RECORD).write_text(json.dumps(record, indent=2))
    ready.rename(target)
    shutil.rmtree(work)
    left_out = len(ids) - len(complete)
    return (
        f"{dataset.name} is in {target}. Licence: {dataset.licence}; see LICENSE and ATTRIBUTION.md there."
        + f" The archive no longer has {left_out:,} of {len(ids):,} images." * bool(left_out)
    )


def read_ids(file: Path) -> list[str]:
    """The ids in a text file, one per line. DataError names malformed and repeated ones."""
    try:
        lines = [(number, line.strip()) for number, line in enumerate(file.read_text().splitlines(), start=1)]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as a text file ({error}).") from None
    ids = [(number, line) for number, line in lines if line]
    malformed = [f"line {number}: {line[:40]}" for number, line in ids if not ISIC_ID.fullmatch(line)]
    times = Counter(line for _, line in ids)
    repeated = [f"{line}, {count} times" for line, count in times.items() if count > 1]
    if malformed:
        raise DataError(f"{file} has lines that are not ids like ISIC_0024306:\n{_some(malformed)}")
    if repeated:
        raise DataError(f"{file} lists ids more than once:\n{_some(repeated)}")
    if not ids:
        raise DataError(f"{file} holds no ids; write one per line, such as ISIC_0024306.")
    return [line for _, line in ids]


def download_images(ids: list[str], target: Path, limit: int | None = None, leave_out_unknown: bool = False) -> str:
    """Download single images of the ISIC archive to `target`/images, and their rows to `target`/metadata.csv.

    Images that exist already are skipped. DataError lists unknown ids before any image is downloaded, unless unknown
    ids are left out.
    """
    table_file = target / "metadata.csv"
    table = (
        pd.read_csv(table_file, dtype=str)
        if table_file.exists()
        else pd.DataFrame({"image": [], "file": []}, dtype=str)
    )
    complete = {row["image"] for row in table.to_dict("records") if (target / "images" / str(row["file"])).is_file()}
    table = table[table["image"].isin(complete)]
    wanted = [image for image in ids if image not in complete]
    if not wanted:
        return f"All {len(ids):,} images are already in {target}."
    work = target / ".download"
    rows: list[dict[str, Any]] = []
    with transfer.open_session() as session:
        entries = _entries(session, wanted, leave_out_unknown)
        size = sum(int(entry["files"]["full"].get("size") or 0) for entry, _ in entries.values())
        work.mkdir(parents=True, exist_ok=True)
        (target / "images").mkdir(exist_ok=True)
        transfer.check_room(size, target, limit)
        try:
            with tqdm(total=size, unit="B", unit_scale=True, desc="ISIC archive") as progress:
                for image, (entry, received) in entries.items():
                    fresh = entry if time.monotonic() - received < ADDRESS_SECONDS else _entry(session, image)
                    file = _image_file(image, fresh)
                    transfer.fetch(session, file, work, progress, limit)
                    (work / file.name).replace(target / "images" / file.name)
                    rows.append(_row(image, file.name, fresh))
        finally:
            # if a later image fails, complete images stay, with their licences
            if rows:
                _write_images_table(pd.concat([table, pd.DataFrame(rows, dtype=str)], ignore_index=True), target)
    shutil.rmtree(work)
    return f"{len(wanted):,} new images are in {target}; their licences and sources are in ATTRIBUTION.md there."


def listing(session: requests.Session, dataset: DataSet) -> list[Remote]:
    """The files of a data set at its publisher. DataError if one is missing, or the host's API has changed."""
    publisher = dataset.publisher
    if publisher.host == "dataverse":
        return dataverse(session, publisher.key, publisher.files)
    if publisher.host == "mendeley":
        key, version = publisher.key.split("/")
        return mendeley(session, key, version, list(publisher.files))
    (archive,) = publisher.files.values()
    return kaggle(publisher.key, archive)


def dataverse(session: requests.Session, doi: str, names: Mapping[str, str]) -> list[Remote]:
    """The files of a Dataverse data set whose names match; `names` maps patterns to local names.

    https://guides.dataverse.org/en/latest/api/native-api.html. Tables are offered in two forms; the MD5 is that of the
    original, so the original is requested.
    """
    base = _base("SKINAPP_DATAVERSE_URL", "https://dataverse.harvard.edu")
    response = transfer.get_json(session, f"{base}/api/datasets/:persistentId/?persistentId=doi:{doi}")
    try:
        listed = [entry["dataFile"] for entry in response["data"]["latestVersion"]["files"]]
        files = {
            name: Remote(
                name,
                f"{base}/api/access/datafile/{file['id']}" + "?format=original" * ("originalFileFormat" in file),
                file.get("originalFileSize", file["filesize"]),
                ("md5", file["md5"]),
            )
            for pattern, name in names.items()
            for file in listed
            if re.fullmatch(pattern, file["filename"])
        }
    except (KeyError, TypeError):
        raise DataError(_changed(base)) from None
    return _complete(files, list(names.values()), base)


def mendeley(session: requests.Session, dataset: str, version: str, names: list[str]) -> list[Remote]:
    """The files with those names in a Mendeley Data data set, in any of its folders."""
    base = _base("SKINAPP_MENDELEY_URL", "https://data.mendeley.com")
    response = transfer.get_json(session, f"{base}/public-api/datasets/{dataset}?version={version}")
    try:
        files = {
            file["filename"]: Remote(
                file["filename"],
                file["content_details"]["download_url"],
                file["content_details"].get("size", file.get("size")),
                ("sha256", file["content_details"]["sha256_hash"]),
            )
            for file in response["files"]
            if file["filename"] in names
        }
    except (KeyError, TypeError):
        raise DataError(_changed(base)) from None
    return _complete(files, names, base)


def kaggle(dataset: str, name: str) -> list[Remote]:
    """A Kaggle data set: one archive, whose size and checksum are in the response."""
    base = _base("SKINAPP_KAGGLE_URL", "https://www.kaggle.com")
    user, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    if not user or not key:
        raise DataError(
            "Kaggle needs an account: create an API token at https://www.kaggle.com/settings and set the environment "
            "variables KAGGLE_USERNAME and KAGGLE_KEY to its user name and key."
        )
    return [Remote(name, f"{base}/api/v1/datasets/download/{dataset}", login=(user, key))]


def arrange_ham10000(fetched: Path, ready: Path, limit: int | None) -> None:
    """Unpack to images/ISIC_*.jpg, masks/ISIC_*.png, and metadata.csv with a column for our split."""
    for archive in ("images_1.zip", "images_2.zip"):
        transfer.unzip(fetched / archive, ready, lambda name: _under("images", name, name.stem, ".jpg"), limit)
    transfer.unzip(
        fetched / "masks.zip",
        ready,
        lambda name: _under("masks", name, name.stem.removesuffix("_segmentation"), ".png"),
        limit,
    )
    # the publisher has used both commas and tabs as separators
    table = _published_table(fetched / "metadata", DATASETS["ham10000"], "image", "lesion")
    image, lesion = (table[DATASETS["ham10000"].columns[name]] for name in ("image", "lesion"))
    table[ham10000.SPLIT] = ham10000_split(image, lesion)
    table.to_csv(ready / FILE, index=False)
    _check_images(set(image), {file.stem for file in (ready / "images").glob("*")})


def arrange_pad_ufes_20(fetched: Path, ready: Path, limit: int | None) -> None:
    """Unpack to images/*.png, and metadata.csv as published."""
    for archive in sorted(fetched.glob("imgs_part_*.zip")):
        transfer.unzip(archive, ready, lambda name: _under("images", name, name.stem, ".png"), limit)
    shutil.copyfile(fetched / FILE, ready / FILE)
    table = _published_table(ready / FILE, DATASETS["pad_ufes_20"], "image")
    _check_images(
        set(table[DATASETS["pad_ufes_20"].columns["image"]]), {file.name for file in (ready / "images").glob("*")}
    )


def arrange_malignant_benign(fetched: Path, ready: Path, limit: int | None) -> None:
    """Unpack to benign/ and malignant/ for the training half, and below test/ for the test half. Skip copies of
    them."""

    def target(name: PurePosixPath) -> Path | None:
        if len(name.parts) == 3 and name.parts[1] in ("benign", "malignant") and name.suffix.lower() == ".jpg":
            half = {"train": Path(), "test": Path("test")}.get(name.parts[0])
            return half / name.parts[1] / name.name if half is not None else None
        return None

    if not transfer.unzip(fetched / "archive.zip", ready, target, limit):
        raise DataError("The archive from Kaggle holds no train/ or test/ images; the publisher has changed it.")


ARRANGE: dict[str, Callable[[Path, Path, int | None], None]] = {
    "ham10000": arrange_ham10000,
    "pad_ufes_20": arrange_pad_ufes_20,
    "malignant_benign": arrange_malignant_benign,
}
"""Functions that turn the downloaded files (first folder) into the layout for training (second folder), within a limit
in bytes."""

DOWNLOADABLE = DATASETS | {ISIC_MORE.id: ISIC_MORE}
COMMAND_NAMES = {name.replace("_", "-"): name for name in DOWNLOADABLE}


def _make(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"The folder {root} cannot be made ({error.strerror}); choose another one with --out."
        ) from None


def _base(variable: str, address: str) -> str:
    return os.environ.get(variable, address).rstrip("/")


def _complete(files: dict[str, Remote], names: list[str], base: str) -> list[Remote]:
    missing = [name for name in names if name not in files]
    if missing:
        raise DataError(
            f"{transfer.host(base)} no longer lists {', '.join(missing)}; the publisher has changed the data set."
        )
    return [files[name] for name in names]


def _changed(base: str) -> str:
    return f"{transfer.host(base)} sent an unexpected response; the publisher may have changed its API."


def _under(folder: str, name: PurePosixPath, stem: str, suffix: str) -> Path | None:
    """The path for an image in an archive; None for other files, such as those added by macOS."""
    wanted = name.suffix.lower() == suffix and not name.name.startswith(".") and "__MACOSX" not in name.parts
    return Path(folder) / f"{stem}{suffix}" if wanted else None


def _check_images(listed: set[str], files: set[str]) -> None:
    if listed != files:
        without_image, without_row = sorted(listed - files), sorted(files - listed)
        raise DataError(
            f"The table and the images do not match: {len(without_image)} rows without an image, "
            f"{len(without_row)} images without a row, such as {(without_image + without_row)[0]}."
        )


def _published_table(file: Path, dataset: DataSet, *names: str) -> pd.DataFrame:
    """The downloaded table as text. DataError if it lacks a published column."""
    table = tables.read(file.read_bytes(), f"The table of {dataset.name}")
    needed = [dataset.columns[name] for name in names]
    if not set(needed) <= set(table.columns):
        raise DataError(
            f"The table of {dataset.name} has the columns {', '.join(table.columns)}; the publisher has changed it."
        )
    return table


def _write_terms(dataset: DataSet, folder: Path) -> None:
    (folder / "ATTRIBUTION.md").write_text(
        f"# {dataset.name}\n\n{dataset.attribution}\n\n"
        f"- Source: {dataset.publisher.address}\n- Licence: {dataset.licence}, {LICENCES[dataset.licence]}\n"
        f"- Downloaded: {date.today().isoformat()}\n- Changes: {dataset.publisher.changes}\n"
    )
    (folder / "LICENSE").write_text(
        f"{dataset.name}, {dataset.publisher.address}\nLicence: {dataset.licence}\n"
        f"Its text, which applies to any use of these files: {LICENCES[dataset.licence]}\n"
    )


def _is_complete(target: Path) -> bool:
    """Whether a data set's folder exists. DataError if it was not made by this command."""
    if target.exists() and not (target / RECORD).exists():
        raise DataError(
            f"{target} exists but was not created by this command; move it away, or choose another folder with --out."
        )
    return target.exists()


def _entries(
    session: requests.Session, ids: list[str], leave_out_unknown: bool
) -> dict[str, tuple[dict[str, Any], float]]:
    """Maps each id to the archive's entry and the time of receipt (seconds). DataError lists every unknown id, unless
    unknown ids are left out."""
    entries, unknown = {}, []
    for image in tqdm(ids, desc="requesting addresses", unit="image"):
        entry = _entry(session, image)
        if entry:
            entries[image] = (entry, time.monotonic())
        else:
            unknown.append(image)
    if unknown and not leave_out_unknown:
        raise DataError(f"The ISIC archive has no public image of {len(unknown)} ids; remove them:\n{_some(unknown)}")
    return entries


def _entry(session: requests.Session, image: str) -> dict[str, Any]:
    base = _base("SKINAPP_ISIC_URL", ARCHIVE)
    entry = transfer.get_json(session, f"{base}/api/v2/images/{image}/", missing={})
    if entry and not (isinstance(entry, dict) and entry.get("files", {}).get("full", {}).get("url")):
        raise DataError(_changed(base))
    return dict(entry)


def _image_file(image: str, entry: dict[str, Any]) -> Remote:
    full = entry["files"]["full"]
    suffix = PurePosixPath(urlsplit(full["url"]).path).suffix.lower()
    return Remote(f"{image}{suffix if suffix in imaging.EXTENSIONS else '.jpg'}", full["url"], full.get("size"))


def _row(image: str, file: str, entry: dict[str, Any]) -> dict[str, Any]:
    metadata = entry.get("metadata") or {}
    return {
        "image": image,
        "file": file,
        "licence": entry.get("copyright_license") or "",
        "attribution": entry.get("attribution") or "",
        **(metadata.get("clinical") or {}),
        **(metadata.get("acquisition") or {}),
    }


def _write_images_table(table: pd.DataFrame, target: Path) -> None:
    partial = target / ".metadata.csv"
    table.to_csv(partial, index=False)
    partial.replace(target / "metadata.csv")
    lines = [
        "# Images of the ISIC archive",
        "",
        f"https://www.isic-archive.com, last added to {date.today().isoformat()}",
    ]
    licences = sorted(set(table["licence"].fillna("")))
    for (licence, attribution), rows in table.fillna("").groupby(["licence", "attribution"]):
        lines += ["", f"## {attribution or 'Without a named source'}, {licence or 'no licence stated'}", ""]
        lines += [f"- {image}" for image in rows["image"]]
    (target / "ATTRIBUTION.md").write_text("\n".join(lines) + "\n")
    texts = [
        f"{licence or 'No licence stated'}: {LICENCES.get(licence, 'see the ISIC archive')}" for licence in licences
    ]
    (target / "LICENSE").write_text(
        "The licence of each image is in metadata.csv. The texts:\n" + "\n".join(texts) + "\n"
    )


def _some(lines: list[str]) -> str:
    return "\n".join(lines[:10] + [f"... and {len(lines) - 10:,} more"] * (len(lines) > 10))
