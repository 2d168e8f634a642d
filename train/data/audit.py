"""python -m train audit: find causes of optimistic test scores in a data set or its split."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont
from scipy.stats import chi2_contingency
from scipy.stats.contingency import association

from skinapp import tables
from skinapp.datasets import audit, duplicates
from skinapp.datasets.metadata import FILE
from skinapp.errors import DataError
from skinapp.images import imaging
from train.data import datasets
from train.data.datasets import TRAINABLE, data_root

RESAMPLE = "resample-before-split"
NOTHING: dict[str, Any] = {"groups": 0, "images": [0, 0]}
"""The result for two parts that share no group."""
CATEGORIES = ("label", "sex", "site", "confirmation")
CELL, CAPTION, PAIRS_PER_ROW = (200, 150), 44, 3


@dataclass(frozen=True)
class Audit:
    """The findings. `summary` can be written as JSON; the frames have one row per pair, image and comparison."""

    summary: dict[str, Any]
    pairs: pd.DataFrame
    clusters: pd.DataFrame
    drift: pd.DataFrame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", choices=sorted(TRAINABLE), help="a folder in SKINAPP_DATA")
    parser.add_argument(
        "--split-column",
        metavar="NAME",
        help="a column of metadata.csv whose values name the parts (default: the split that training uses)",
    )
    parser.add_argument(
        "--against",
        metavar="DATASET",
        choices=sorted(TRAINABLE),
        help="look for images that are in both data sets, instead of duplicates within one",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/audit"),
        metavar="DIR",
        help="audit.json, pairs.csv, clusters.csv, drift.csv and the contact sheet go to DIR/<dataset> (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--sheet", type=int, default=60, metavar="N", help="pairs on the contact sheet (default: %(default)s)"
    )
    parser.add_argument(
        "--reproduce",
        choices=[RESAMPLE],
        help="instead of the audit, repeat a tutorial's protocol: sample each class with replacement, then split off a "
        "random 25%% as test",
    )
    parser.add_argument(
        "--per-class",
        type=int,
        default=500,
        metavar="N",
        help="for --reproduce: images per class (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, default=20, metavar="N", help="for --reproduce: repetitions (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    for name in ("sheet", "per_class", "seeds"):
        if getattr(options, name) < 1:
            raise DataError(f"--{name.replace('_', '-')} is {getattr(options, name)}; it must be at least 1.")
    if options.against == options.dataset:
        raise DataError("--against names the same data set; leave it out to look within one data set.")
    table = read(options.dataset, options.split_column)
    if options.reproduce:
        print(describe_resampling(resample_before_split(table, options.per_class, options.seeds), options.per_class))
        return 0
    prints = duplicates.fingerprints(list(table["path"]), options.dataset)
    name = options.dataset
    if options.against:
        other = read(options.against, None)
        result = between(table, prints, other, duplicates.fingerprints(list(other["path"]), options.against))
        name += f"-against-{options.against}"
    else:
        other, result = table, within(table, prints)
    folder = options.out / name
    write(result, table, other, folder, options.sheet)
    print(describe(name, result))
    print(f"\nAll files are in {folder}.")
    return 0


def read(name: str, split_column: str | None) -> pd.DataFrame:
    """A data set's table in the common form; `split_column` names a column of metadata.csv to use as the split."""
    table = datasets.read(name)
    if split_column is None:
        return table
    metadata = data_root() / TRAINABLE[name].folder / FILE
    return table.assign(split=_column(metadata, split_column, table))


def within(table: pd.DataFrame, prints: duplicates.Fingerprints) -> Audit:
    """Audit one data set: shared groups, duplicates, label conflicts, and drift between its parts."""
    pairs = audit.named(duplicates.pairs(prints), table, table)
    pairs["same_group"] = pairs["group_1"] == pairs["group_2"]
    clusters = duplicates.clusters(len(table), [(pairs["first"], pairs["second"])])
    sharing = {tuple(one["parts"]): one for one in audit.shared(table, "group")}
    summary = {
        "images": len(table),
        "groups": int(table["group"].nunique()),
        "parts": {
            str(part): {"images": len(rows), "groups": int(rows["group"].nunique())}
            for part, rows in table.groupby("split")
        },
        "unreadable": _unreadable(table, prints),
        "files_without_a_row": _unlisted_files(table),
        "groups_with_several_labels": list(audit.several(table, "group", "label")),
        "shared_groups": [
            {"parts": " | ".join(parts)}
            | ({"groups": one["count"], "images": one["images"]} if (one := sharing.get(parts)) else NOTHING)
            for parts in audit.part_pairs(table)
        ],
        "pairs": audit.counts(pairs),
        "pairs_of_different_groups": audit.counts(pairs[~pairs["same_group"]]),
        "images_with_a_duplicate": int(pd.concat([pairs["first"], pairs["second"]]).nunique()),
        "between_parts": _between_parts(pairs),
        "label_conflicts": audit.conflicts(pairs, one_label_set=True),
    }
    drift = pd.DataFrame(
        [row for one, two in audit.part_pairs(table) for row in drifts(table, one, two)],
        columns=["parts", "variable", "measure", "value", "chi_square", "degrees", "p", "detail"],
    )
    numbered = table[["image", "group", "label", "split"]].assign(cluster=clusters)
    return Audit(summary, pairs, numbered, drift)


def between(
    first: pd.DataFrame, prints: duplicates.Fingerprints, second: pd.DataFrame, other: duplicates.Fingerprints
) -> Audit:
    """Audit two data sets against each other: shared images, their parts, and labels that disagree."""
    pairs = audit.named(duplicates.pairs(prints, other), first, second).assign(same_group=False)
    links = [(pairs["first"], pairs["second"] + len(first))]
    both = pd.concat([first.assign(dataset="first"), second.assign(dataset="second")], ignore_index=True)
    clusters = both[["dataset", "image", "group", "label", "split"]].assign(
        cluster=duplicates.clusters(len(both), links)
    )
    best = pairs.sort_values("correlation", ascending=False)
    summary = {
        "images": [len(first), len(second)],
        "unreadable": _unreadable(first, prints) | _unreadable(second, other),
        "pairs": audit.counts(pairs),
        "images_in_both": [int(pairs["first"].nunique()), int(pairs["second"].nunique())],
        "by_part": _by_part(best.drop_duplicates("second"), "part_1", "part_2", "label_2"),
        "between_parts": _between_parts(pairs),
        "label_conflicts": audit.conflicts(pairs, one_label_set=False),
    }
    return Audit(summary, pairs, clusters, pd.DataFrame())


def drifts(table: pd.DataFrame, one: str, two: str) -> Iterator[dict[str, Any]]:
    """How two parts differ in age (standardised mean difference) and in categories (chi-square, Cramer's V).

    Each group counts once, with its first image: chi-square assumes independence, and images of one lesion or patient
    are not independent. An empty value counts as `unknown`.
    """
    first, second = (table[table["split"] == part].drop_duplicates("group") for part in (one, two))
    if "age" in table:
        ages = [pd.to_numeric(rows["age"], errors="coerce") for rows in (first, second)]
        detail = "; ".join(
            f"{part}: mean {age.mean():.1f}, SD {age.std():.1f}, n = {age.count():,}, {age.isna().sum():,} missing"
            for part, age in zip((one, two), ages, strict=True)
        )
        difference = standardised_mean_difference(*(age.dropna().to_numpy(dtype=np.float64) for age in ages))
        yield {
            "parts": f"{one} | {two}",
            "variable": "age",
            "measure": "standardised mean difference",
            "value": difference,
            "detail": detail,
        }
    for variable in CATEGORIES:
        if variable in table and table[variable].notna().any():
            values = [rows[variable].astype("string").fillna("unknown") for rows in (first, second)]
            counts = pd.concat([value.value_counts() for value in values], axis=1).fillna(0).to_numpy(dtype=np.int64)
            if len(counts) > 1:
                test = chi2_contingency(counts, correction=False)
                yield {
                    "parts": f"{one} | {two}",
                    "variable": variable,
                    "measure": "Cramer's V",
                    "value": cramers_v(counts),
                    "chi_square": float(test.statistic),
                    "degrees": int(test.dof),
                    "p": float(test.pvalue),
                    "detail": f"{counts.sum():,} groups, {len(counts)} values",
                }


def standardised_mean_difference(first: np.ndarray, second: np.ndarray) -> float:
    """(mean of second - mean of first) / root of the mean of both variances; values below 0.1 are usually considered
    small.

    NaN with fewer than two values on a side. Austin 2009, doi:10.1002/sim.3697.
    """
    if min(len(first), len(second)) < 2:
        return float("nan")
    spread = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    return float((second.mean() - first.mean()) / spread) if spread else float("nan")


def cramers_v(counts: np.ndarray) -> float:
    """Association in a table of counts, 0 to 1: root of chi-square / (n (min(rows, columns) - 1)), without
    correction."""
    return float(association(counts, method="cramer"))


def resample_before_split(table: pd.DataFrame, per_class: int, seeds: int) -> pd.DataFrame:
    """Sample `per_class` images of every class with replacement, then split off a random test part; one row per seed.

    `copies` is the share (0 to 1) of test rows whose image is also a training row, `lesions` the share whose lesion or
    patient is; `images` counts the distinct images sampled.
    """
    rows = []
    for seed in range(seeds):
        resample = datasets.resampled(table, per_class, seed)
        test, train = resample[resample["split"] == "test"], resample[resample["split"] == "train"]
        copies = test["image"].isin(set(train["image"]))
        lesions = test["group"].isin(set(train["group"]))
        by_class = copies.groupby(test["label"]).mean().add_prefix("copies_")
        rows.append(
            {
                "seed": seed,
                "test": len(test),
                "images": resample["image"].nunique(),
                "copies": copies.mean(),
                "lesions": lesions.mean(),
                **by_class,
            }
        )
    return pd.DataFrame(rows)


def describe_resampling(table: pd.DataFrame, per_class: int) -> str:
    """The result of `resample_before_split` as text: means over the seeds, lowest to highest."""

    def share(column: str) -> str:
        return f"{table[column].mean():.1%} ({table[column].min():.1%} to {table[column].max():.1%})"

    lines = [
        f"{per_class} images per class sampled with replacement, then a random quarter as test; mean of {len(table)} "
        "seeds (lowest to highest)",
        f"test rows: {table['test'].iloc[0]:,}; distinct images sampled: {table['images'].mean():,.0f}",
        f"test rows that are copies of a training row:          {share('copies')}",
        f"test rows whose lesion or patient is in training too: {share('lesions')}",
        "copies by class:",
    ]
    classes = [str(column) for column in table if str(column).startswith("copies_")]
    lines += [f"  {column.removeprefix('copies_'):10} {share(column)}" for column in classes]
    return "\n".join(lines)


def describe(name: str, result: Audit) -> str:
    """The findings as plain text."""
    summary = result.summary
    lines = [f"Audit of {name}"]
    if "parts" in summary:
        lines += [
            f"{summary['images']:,} images of {summary['groups']:,} groups (lesions or patients)",
            *(
                f"  {part}: {size['images']:,} images, {size['groups']:,} groups"
                for part, size in summary["parts"].items()
            ),
            "",
            "Groups in two parts at once:",
            *(
                f"  {shared['parts']}: {shared['groups']:,} groups, {shared['images'][0]:,} and "
                f"{shared['images'][1]:,} images"
                + (" (excluded on purpose)" if audit.LEFT_OUT[0] in shared["parts"] else "")
                for shared in summary["shared_groups"]
            ),
            *([] if summary["shared_groups"] else ["  there is only one part"]),
            f"Groups whose images have different labels: {len(summary['groups_with_several_labels'])} "
            "(an error for lesions, normal for patients)",
            f"Image files that the table for training does not have: {len(summary['files_without_a_row'])}",
        ]
    else:
        first, second = summary["images"]
        shared = summary["images_in_both"]
        lines += [
            f"The first set has {first:,} images, the second {second:,}; {shared[0]:,} of the first and "
            f"{shared[1]:,} of the second are in both",
            "Shared images of the second set, by part in the first, part in the second, and label in the second:",
            *(f"  {key}: {count:,}" for key, count in summary["by_part"].items()),
        ]
    lines += [
        f"Images that cannot be read: {len(summary['unreadable'])}",
        *(f"  {image}: {reason}" for image, reason in list(summary["unreadable"].items())[:20]),
        "",
        "Duplicate pairs: " + _listed(summary["pairs"]),
    ]
    if "pairs_of_different_groups" in summary:
        lines += [
            f"  of different groups: {_listed(summary['pairs_of_different_groups'])}",
            f"  images with a duplicate: {summary['images_with_a_duplicate']:,}",
        ]
    lines += ["Duplicate pairs between parts:"]
    lines += [f"  {key}: {count:,}" for key, count in summary["between_parts"].items()] or ["  none"]
    lines += [f"Duplicates whose labels disagree: {len(summary['label_conflicts'])}"]
    lines += [f"  {conflict}" for conflict in summary["label_conflicts"][:20]]
    if len(summary["label_conflicts"]) > 20:
        lines += ["  ... and more, see audit.json"]
    if len(result.drift):
        shown = result.drift.drop(columns="detail").round({"value": 3, "chi_square": 1})
        shown["p"] = ["" if pd.isna(p) else "<0.0001" if p < 0.0001 else f"{p:.4f}" for p in shown["p"]]
        lines += [
            "",
            "Drift between parts, one image per group (about 0.1 and below is small):",
            shown.to_string(index=False, na_rep=""),
            *result.drift.loc[result.drift["variable"] == "age", "detail"],
        ]
    return "\n".join(lines)


def write(result: Audit, first: pd.DataFrame, second: pd.DataFrame, folder: Path, sheet: int) -> None:
    """Write the findings: audit.json, the three tables and, if there are pairs, the contact sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audit.json").write_text(json.dumps(result.summary, indent=2))
    result.pairs.drop(columns=["first", "second"]).round(4).to_csv(folder / "pairs.csv", index=False)
    result.clusters.to_csv(folder / "clusters.csv", index=False)
    if len(result.drift):
        result.drift.round(6).to_csv(folder / "drift.csv", index=False)
    if len(result.pairs):
        contact_sheet(result.pairs, first["path"], second["path"], sheet).save(folder / "pairs.png", optimize=True)


def contact_sheet(pairs: pd.DataFrame, first: pd.Series, second: pd.Series, count: int) -> Image.Image:
    """At most `count` pairs side by side: first those across parts and groups, then by lowest correlation.

    `first` and `second` hold the files of the rows that the pairs name.
    """
    order = pairs.assign(harmless=(pairs["part_1"] == pairs["part_2"]) | pairs["same_group"])
    chosen = order.sort_values(["harmless", "correlation"], kind="stable").head(count)
    width, height = 2 * CELL[0] + 10, CELL[1] + CAPTION
    rows = -(-len(chosen) // PAIRS_PER_ROW)
    sheet = Image.new("RGB", (PAIRS_PER_ROW * width, rows * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, pair in enumerate(chosen.to_dict("records")):
        left, top = number % PAIRS_PER_ROW * width, number // PAIRS_PER_ROW * height
        for side, file in enumerate((first.iloc[pair["first"]], second.iloc[pair["second"]])):
            image = imaging.decode(imaging.read(file)).resize(CELL)
            sheet.paste(image, (left + side * CELL[0], top))
            caption = f"{pair[f'image_{side + 1}']}\n{pair[f'label_{side + 1}']}, {pair[f'part_{side + 1}']}"
            draw.text((left + side * CELL[0] + 2, top + CELL[1]), caption, fill="black", font=font, spacing=1)
        text = f"{pair['kind']}, {pair['distance']} bits, {pair['correlation']:.2f}" + ", turned" * pair["turned"]
        draw.text((left + 2, top + CELL[1] + 27), text, fill="firebrick", font=font)
    return sheet


def _column(file: Path, name: str, table: pd.DataFrame) -> np.ndarray:
    """A column of the published table, matched to the rows of `table` by image id."""
    published = tables.read_file(file, text=(), required=(name,), remedy="--split-column needs it")
    images = {Path(str(image)).stem for image in table["image"]}
    for column in published.select_dtypes(exclude="number"):
        stems = published[column].map(lambda value: Path(str(value)).stem)
        if stems.is_unique and images <= set(stems):
            values = published[name].astype("string").fillna("unknown").set_axis(stems)
            return values.loc[[Path(str(image)).stem for image in table["image"]]].to_numpy()
    raise DataError(f"No column of {file} names every image, so '{name}' cannot be matched to them.")


def _unreadable(table: pd.DataFrame, prints: duplicates.Fingerprints) -> dict[str, str]:
    return {str(table["image"].iloc[row]): reason for row, reason in prints.problems.items()}


def _unlisted_files(table: pd.DataFrame) -> list[str]:
    known = {Path(path) for path in table["path"]}
    return sorted(
        str(file)
        for folder in {file.parent for file in known}
        if folder.is_dir()
        for file in folder.iterdir()
        if file.suffix.lower() in imaging.EXTENSIONS and file not in known
    )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def _between_parts(pairs: pd.DataFrame) -> dict[str, int]:
    """Counts of pairs across parts, by the parts and by whether both are of one group, the worst first."""
    apart = pairs[pairs["part_1"] != pairs["part_2"]]
    counts: dict[str, int] = {}
    for pair in apart.sort_values("same_group", kind="stable").to_dict("records"):
        one, two = sorted((str(pair["part_1"]), str(pair["part_2"])))
        key = f"{one} | {two}, {'the same group' if pair['same_group'] else 'different groups'}"
        counts[key] = counts.get(key, 0) + 1
    return counts


def _by_part(pairs: pd.DataFrame, *columns: str) -> dict[str, int]:
    counts = pairs.groupby(list(columns)).size()
    return {" | ".join(map(str, key)): int(count) for key, count in zip(counts.index, counts, strict=True)}
