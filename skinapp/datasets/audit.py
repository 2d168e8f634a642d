"""Finds what makes test scores too optimistic in a table of images and its split: lesions, patients and pictures shared
by several parts, and labels that contradict each other.

A table for the audit has one row per image, and those of the following columns that are known: `image`, `lesion`,
`patient`, `label`, `split` (the part: training, test and so on), and `path`, the image's file. Values that are not
stated are None.
"""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinapp.datasets import columns, duplicates, isic_columns
from skinapp.datasets.metadata import FILE, NOT_STATED_WORDS
from skinapp.datasets.registry import files_below
from skinapp.errors import DataError
from skinapp.labels.sets import LABEL_SETS

LEFT_OUT = ("excluded", "test_sibling")
"""Parts used for neither training nor testing, so they may share lesions with the others."""
OPTIMISTIC = "Scores on them are optimistic."
EXAMPLES = 5
MAX_PARTS = 100
"""A column with more values does not name the parts of a split."""
SUBJECTS = {
    "image": ("image is", "images are"),
    "lesion": ("lesion is", "lesions are"),
    "patient": ("patient is", "patients are"),
}


@dataclass(frozen=True)
class Audit:
    """The findings. Each of `problems` is a sentence on something to fix before test scores can be trusted, each of
    `notes` a sentence on anything else worth knowing; `summary` has the counts and can be written as JSON."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    summary: dict[str, Any]


def run(file: Path, folder: Path | None = None) -> Audit:
    """Audit a CSV of any kind and, if there is a folder of images, those that it names. DataError as in `read` and
    `with_files`."""
    table, broken = read(file)
    audits = [Audit(tuple(broken), (), {"broken_isic_rules": broken}), of_table(table)]
    if folder is not None:
        table, missing = with_files(table, folder)
        audits += [missing, of_images(table)]
    return Audit(
        tuple(problem for audit in audits for problem in audit.problems),
        tuple(note for audit in audits for note in audit.notes),
        {key: value for audit in audits for key, value in audit.summary.items()},
    )


def describe(name: str, result: Audit) -> str:
    """The findings as text."""
    counts = [f"{result.summary['rows']:,} rows"]
    counts += [f"{result.summary[key]:,} {key}" for key in ("images", "lesions", "patients") if key in result.summary]
    lines = [f"{name}: {', '.join(counts)}"]
    for part, sizes in result.summary.get("parts", {}).items():
        lines.append(f"  {part}: " + ", ".join(f"{count:,} {key}" for key, count in sizes.items()))
    if "images_read" in result.summary:
        lines.append(f"  {result.summary['images_read']:,} image files were compared.")
    lines += ["", "Problems:" if result.problems else "No problems were found."]
    lines += [f"- {problem}" for problem in result.problems]
    if result.notes:
        lines += ["", "Notes:", *(f"- {note}" for note in result.notes)]
    return "\n".join(lines)


def read(file: Path) -> tuple[pd.DataFrame, list[str]]:
    """A CSV of any kind -> its table for the audit, and sentences on what is wrong with any ISIC columns.

    DataError if it cannot be read, or no column names the images, lesions or patients.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise DataError(f"There is no table {file}; check the path.") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from None
    raw = columns.read(content, str(file))
    names = [str(column) for column in raw.columns]
    table = arranged(raw, columns.guess(names))
    if not {"image", "lesion", "patient"} & set(table):
        raise DataError(
            f"No column of {file} is recognised as the image, the lesion or the patient; it has {', '.join(names)}. "
            f"Name one of them {', '.join(columns.FIELDS['image'][:3])}, lesion_id or patient_id."
        )
    return table, isic_columns.problems(raw) if isic_columns.official(names) else []


def arranged(raw: pd.DataFrame, chosen: Mapping[str, str | None]) -> pd.DataFrame:
    """A table of text, and the column of each of `columns.FIELDS` -> the table for the audit."""
    named = {"image": "image", "lesion": "lesion", "patient": "patient", "label": "diagnosis", "split": "split"}
    cells = {name: raw[column] for name, field in named.items() if (column := chosen.get(field)) is not None}
    return pd.DataFrame({name: stated(column) for name, column in cells.items()}, index=raw.index)


def stated(column: pd.Series) -> pd.Series:
    """A column of text with None for cells that mean not stated."""
    codes, names = pd.factorize(column)
    values = [None if str(name).strip().lower() in NOT_STATED_WORDS else str(name).strip() for name in names]
    return pd.Series(np.array([*values, None], dtype=object)[codes], column.index, dtype=object)


def with_files(table: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, Audit]:
    """The table with `path`, the file of each image in or below a folder (None if there is none), and notes on files
    that are missing, ambiguous, only partly downloaded or not in the table.

    An image is named by its file, with or without the extension and the folder. DataError if the table does not name
    the images, or none of them is there.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}; check the path of the images.")
    if "image" not in table:
        raise DataError("No column of the table is recognised as the image, so the files cannot be found.")
    files, partial = files_below(folder)
    known: dict[str, list[Path]] = {}
    for file in files:
        for name in {file.stem, f"{file.parent.name}/{file.stem}", str(file.relative_to(folder).with_suffix(""))}:
            known.setdefault(name, []).append(file)
    endings = {file.suffix.lower() for file in files}
    images = table["image"].map(lambda image: image and without_ending(image, endings))
    matches = images.map(lambda image: known.get(image, []) if image else [])
    if not matches.map(len).eq(1).any():
        raise DataError(
            f"None of the images in the table is in {folder}, which has {len(files):,} image files. Check that they "
            f"are named as in the table, such as {next(iter(images.dropna()), 'ISIC_0024306')}.jpg."
        )
    absent = images[matches.map(len) == 0].dropna().unique()
    ambiguous = images[matches.map(len) > 1].unique()
    unlisted = len(files) - len({file for match in matches for file in match})
    problems = []
    if len(absent):
        problems.append(f"{some(len(absent), 'image has', 'images have')} no file in {folder}: {_examples(absent)}.")
    if len(ambiguous):
        problems.append(
            f"{some(len(ambiguous), 'image was', 'images were')} left out because several files have the same name: "
            f"{_examples(ambiguous)}."
        )
    if partial:
        problems.append(
            f"{some(partial, 'file is', 'files are')} only partly downloaded: run the same `isic image download` "
            "command again."
        )
    notes = [f"{some(unlisted, 'image file is', 'image files are')} not in the table."] if unlisted else []
    summary = {
        "images_without_file": len(absent),
        "images_with_several_files": len(ambiguous),
        "partly_downloaded": partial,
        "files_without_a_row": unlisted,
    }
    table = table.assign(path=matches.map(lambda one: one[0] if len(one) == 1 else None))
    return table, Audit(tuple(problems), tuple(notes), summary)


def of_table(table: pd.DataFrame) -> Audit:
    """Findings from the table alone: what several parts share, and labels that contradict each other."""
    problems: list[str] = []
    notes: list[str] = []
    ids = [name for name in ("image", "lesion", "patient") if name in table]
    summary: dict[str, Any] = {"rows": len(table)} | {f"{name}s": int(table[name].nunique()) for name in ids}
    summary["not_stated"] = {name: int(table[name].isna().sum()) for name in table if name != "path"}
    parts = table["split"].nunique() if "split" in table else 0
    has_split = 1 < parts <= MAX_PARTS
    if has_split:
        summary["parts"] = {
            str(part): {"rows": len(rows)} | {f"{name}s": int(rows[name].nunique()) for name in ids}
            for part, rows in table.groupby("split")
        }
        summary["shared"] = {name: shared(table, name) for name in ids}
        for name, overlaps in summary["shared"].items():
            problems += [_sharing(name, overlap) for overlap in overlaps if not set(overlap["parts"]) & set(LEFT_OUT)]
    elif parts > MAX_PARTS:
        notes.append(f"The column of the parts has {parts:,} different values, so it does not describe a split.")
    else:
        notes.append("The table names no parts such as training and test, so overlap between them cannot be checked.")
    if "label" in table:
        summary["several_labels"] = {}
        for name in (name for name in ("image", "lesion") if name in table):
            labels = several(table, name, "label")
            summary["several_labels"][name] = {"count": len(labels), "examples": dict(list(labels.items())[:EXAMPLES])}
            if labels:
                problems.append(
                    f"{some(len(labels), f'{name} has', f'{name}s have')} different labels: {_with_values(labels)}."
                )
    if {"lesion", "patient"} <= set(table):
        patients = several(table, "lesion", "patient")
        summary["lesions_of_several_patients"] = len(patients)
        if patients:
            problems.append(
                f"{some(len(patients), 'lesion belongs', 'lesions belong')} to several patients: "
                f"{_with_values(patients)}."
            )
    if "image" in table:
        again = table.loc[table["image"].notna() & table["image"].duplicated(), "image"]
        summary["rows_with_an_earlier_image"] = len(again)
        if len(again):
            notes.append(
                f"{some(len(again), 'row has', 'rows have')} the image of an earlier row: {_examples(again.unique())}."
            )
    group = next((name for name in ("patient", "lesion") if name in table), None)
    if group and not has_split:
        images = table[group].value_counts()
        if (images > 1).any():
            count, rows = int((images > 1).sum()), int(images[images > 1].sum())
            notes.append(
                f"{some(count, f'{group} has', f'{group}s have')} several images, {rows:,} in all: split by {group}, "
                "not by image."
            )
    if "lesion" not in table and "patient" not in table:
        notes.append("No column identifies the lesion or the patient, so only images can be compared.")
    return Audit(tuple(problems), tuple(notes), summary)


def of_images(table: pd.DataFrame, name: str = "images") -> Audit:
    """Findings from the image files: pictures that occur several times, identical or nearly identical."""
    rows = table[table["path"].notna() & ~table["path"].duplicated()].reset_index(drop=True)
    rows = rows.reindex(columns=["image", "lesion", "label", "split", "path"])
    prints = duplicates.fingerprints(list(rows["path"]), name)
    pairs = named(duplicates.pairs(prints), rows, rows)
    same_lesion = pairs["lesion_1"].notna() & (pairs["lesion_1"] == pairs["lesion_2"])
    parts = pairs["part_1"].notna() & pairs["part_2"].notna() & (pairs["part_1"] != pairs["part_2"])
    across = pairs[parts & ~pairs["part_1"].isin(LEFT_OUT) & ~pairs["part_2"].isin(LEFT_OUT)]
    other_lesions = pairs[~same_lesion & pairs["lesion_1"].notna() & pairs["lesion_2"].notna()]
    disagreeing = conflicts(pairs, one_label_set=True)
    unread = {str(rows["image"].iloc[row]): reason for row, reason in prints.problems.items()}
    problems, notes = [], []
    if len(across):
        problems.append(f"{_show(across)} the same picture in different parts: {_pairs(across)}. {OPTIMISTIC}")
    if disagreeing:
        problems.append(f"{_show(disagreeing)} the same picture under different labels: {_examples(disagreeing)}.")
    if len(other_lesions):
        problems.append(
            f"{_show(other_lesions)} the same picture under different lesions: {_pairs(other_lesions)}. A split by "
            "lesion can separate them."
        )
    if unread:
        examples = "; ".join(f"{image}: {reason}" for image, reason in list(unread.items())[:EXAMPLES])
        problems.append(f"{some(len(unread), 'image file', 'image files')} cannot be read: {examples}")
    if len(pairs):
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts(pairs).items() if count)
        notes.append(f"{_show(pairs)} the same picture: {kinds}.")
    summary = {
        "images_read": len(rows) - len(unread),
        "unreadable": unread,
        "pairs": counts(pairs),
        "pairs_across_parts": counts(across),
        "pairs_of_different_lesions": counts(other_lesions),
        "pairs_with_different_labels": disagreeing,
        "examples": pairs.drop(columns=["first", "second"]).head(MAX_PARTS).round(3).to_dict("records"),
    }
    return Audit(tuple(problems), tuple(notes), summary)


def folder_table(folder: Path) -> Path:
    """The table of a folder that `isic image download` made. DataError if it is missing."""
    if (folder / FILE).is_file():
        return folder / FILE
    files, partial = files_below(folder)
    raise DataError(
        f"There is no {FILE} in {folder} (image files: {len(files):,}, partly downloaded: {partial:,}). isic-cli "
        "writes the table last, so the download did not finish: run the same `isic image download` command again."
        if files or partial
        else f"There is no {FILE} in {folder}; name a CSV, or a folder that `isic image download` made."
    )


def shared(table: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    """The ids of a column that each two parts share: `parts`, `count` of the ids, `images` in each part, and
    `examples`; only for parts that share any."""
    rows = table.loc[table[name].notna() & table["split"].notna(), [name, "split"]].astype(str)
    sizes = rows.value_counts().rename("images").reset_index()
    sizes = sizes[sizes[name].duplicated(keep=False)].sort_values([name, "split"])
    both = sizes.merge(sizes, on=name, suffixes=("_1", "_2"))
    both = both[both["split_1"] < both["split_2"]]
    return [
        {
            "parts": list(parts),
            "count": len(rows),
            "images": [int(rows["images_1"].sum()), int(rows["images_2"].sum())],
            "examples": rows[name].head(EXAMPLES).tolist(),
        }
        for parts, rows in both.groupby(["split_1", "split_2"])
    ]


def several(table: pd.DataFrame, name: str, column: str) -> dict[str, list[str]]:
    """Maps each id with several values of a column to these values."""
    rows = table.loc[table[name].notna() & table[column].notna(), [name, column]].drop_duplicates()
    rows = rows[rows[name].duplicated(keep=False)].sort_values([name, column])
    values: dict[str, list[str]] = {}
    for key, value in zip(rows[name], rows[column], strict=True):
        values.setdefault(str(key), []).append(str(value))
    return values


def part_pairs(table: pd.DataFrame) -> list[tuple[str, str]]:
    """All pairs of parts of a split, in alphabetical order."""
    return list(combinations(sorted(table["split"].unique()), 2))


def named(pairs: pd.DataFrame, first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """A `duplicates.pairs` with the image, label, part and lesion (or group) of both rows, such as `image_1`."""
    for number, (rows, table) in enumerate(((pairs["first"], first), (pairs["second"], second)), start=1):
        for column in ("image", "label", "split", "group", "lesion"):
            if column in table:
                pairs[f"{'part' if column == 'split' else column}_{number}"] = table[column].to_numpy()[rows]
    return pairs


def counts(pairs: pd.DataFrame) -> dict[str, int]:
    """How many pairs there are of each kind."""
    by_kind = pairs["kind"].value_counts()
    return {kind: int(by_kind.get(kind, 0)) for kind in duplicates.KINDS}


def conflicts(pairs: pd.DataFrame, one_label_set: bool) -> list[str]:
    """Pairs whose labels differ or, of two data sets that share no label, whose malignancy differs."""
    first, second = pairs["label_1"].astype(object), pairs["label_2"].astype(object)
    if not one_label_set and not set(first) & set(second):
        known = {"malignant": True, "benign": False} | {
            label.code: label.malignant for labels in LABEL_SETS.values() for label in labels.labels
        }
        first, second = first.map(known), second.map(known)
    differ = (first != second) & first.notna() & second.notna()
    return [
        f"{pair['image_1']} is {pair['label_1']}, {pair['image_2']} is {pair['label_2']}"
        for pair in pairs[differ].to_dict("records")
    ]


def _sharing(name: str, overlap: Mapping[str, Any]) -> str:
    first, second = overlap["parts"]
    images = "" if name == "image" else f", with {overlap['images'][0]:,} and {overlap['images'][1]:,} images"
    return (
        f"{some(overlap['count'], *SUBJECTS[name])} in both {first} and {second}{images}: "
        f"{_examples(overlap['examples'], overlap['count'])}. {OPTIMISTIC}"
    )


def without_ending(image: str, endings: set[str]) -> str:
    image = image.replace("\\", "/").removeprefix("./")
    return str(Path(image).with_suffix("")) if Path(image).suffix.lower() in endings else image


def some(count: int, one: str, several: str) -> str:
    """1 age is, 2 ages are"""
    return f"{count:,} {one if count == 1 else several}"


def _examples(values: Sequence[Any] | np.ndarray, count: int | None = None) -> str:
    more = (len(values) if count is None else count) - EXAMPLES
    return ", ".join(str(value)[:60] for value in values[:EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")


def _with_values(values_of: Mapping[str, Sequence[str]]) -> str:
    return _examples([f"{key} ({', '.join(values[:4])})" for key, values in values_of.items()])


def _show(pairs: Sized) -> str:
    return some(len(pairs), "pair of images shows", "pairs of images show")


def _pairs(pairs: pd.DataFrame) -> str:
    return _examples(
        [
            f"{pair['image_1']} and {pair['image_2']} ({pair['kind']})"
            for pair in pairs.head(EXAMPLES).to_dict("records")
        ],
        len(pairs),
    )
