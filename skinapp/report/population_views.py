"""Charts of a data set with their tables and texts, for the Explore page and the report."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from skinapp.charts import body, population
from skinapp.charts.style import class_colour
from skinapp.datasets import registry as data_sets
from skinapp.datasets.audit import Audit
from skinapp.datasets.registry import DATASETS
from skinapp.demographics import limitations, records, statistics
from skinapp.demographics.records import FILTERS, NAMES, Filters, Table
from skinapp.evaluation import subgroups
from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.labels.guide import Entry
from skinapp.report.document import Chart

COMPARED = ("sex", "site", "confirmation", "diagnosis", "skin_type", "skin_tone", "split")
"""The columns in which two selections are compared, besides age."""
UNCERTAIN = "too few images"
SKIN = {"skin_type": "Fitzpatrick skin type", "skin_tone": "Skin tone, from 0 (very dark) to 5 (very light)"}
"""Columns on the colour of the skin, with their headings."""


def selection(table: Table, frame: pd.DataFrame, filters: Filters) -> str:
    """The selection in a sentence: "56 images of 36 lesions: melanoma, women, back, 60 or older." """
    total = statistics.totals(frame)
    counted = f"{total.images:,} {'image' if total.images == 1 else 'images'}"
    if table.has_lesions:
        counted += f" of {total.lesions:,} {'lesion' if total.lesions == 1 else 'lesions'}"
    whole = "the whole data set" if table.id in DATASETS else "the whole table"
    return f"{counted}: {records.in_words(table, filters) or whole}."


def diagnoses(table: Table, frame: pd.DataFrame) -> Chart:
    """How many images each diagnosis has, the most common first."""
    counts = _most_common_first(statistics.counts(frame, "diagnosis"))
    names = [table.name(code) for code in counts["value"]]
    return Chart(
        population.bars(counts, names, [class_colour(code) for code in counts["value"]], column="diagnosis"),
        counts.assign(diagnosis=names)[["diagnosis", "images", "lesions", "share"]],
        "Images by diagnosis: " + listed(names, counts["images"]),
    )


def images_per_lesion(frame: pd.DataFrame) -> Chart:
    """How many lesions have one image, two images, and so on."""
    spread = statistics.images_per_lesion(frame)
    return Chart(
        population.lesion_bars(spread),
        spread,
        "Lesions by number of images: " + listed(spread["images"], spread["lesions"]),
    )


def lesions_by_modality(frame: pd.DataFrame) -> Chart:
    """How many lesions have a dermoscopy image, a close-up or both."""
    counts = statistics.lesions_by_modality(frame)
    return Chart(
        population.bars(counts, counts["value"].tolist(), [population.ACCENT] * len(counts), unit="lesions"),
        counts,
        "Lesions by kind of image: " + listed(counts["value"], counts["lesions"]),
    )


def not_stated(frame: pd.DataFrame) -> Chart:
    """For how many images each column is not stated."""
    absent = statistics.missing(frame)
    absent["column"] = absent["column"].map(NAMES)
    colours = [population.ACCENT] * len(absent)
    return Chart(
        population.bars(absent, absent["column"].tolist(), colours, whole=int(frame["images"].sum())),
        absent,
        "Images without a stated value: " + listed(absent["column"], absent["images"]),
    )


def ages(table: Table, frame: pd.DataFrame) -> Chart:
    """Ages in bands of five years by diagnosis, for a selection with at least one age."""
    bands = statistics.age_bands(frame)
    return Chart(
        population.age_histogram(bands, table.name),
        bands.rename_axis("from_age").reset_index(),
        f"Ages in bands of five years; the band with the most images starts at {bands.sum(axis=1).idxmax()} years",
    )


def ages_by_diagnosis(table: Table, frame: pd.DataFrame) -> Chart:
    """Quartiles and means of age by diagnosis, for a selection with at least one age."""
    summary = statistics.age_summary(frame)
    return Chart(
        population.age_boxes(summary, table.name),
        summary.round(2),
        "Median age by diagnosis: " + listed(map(table.name, summary["diagnosis"]), summary["median"]),
    )


def by_diagnosis(table: Table, frame: pd.DataFrame, column: str, title: str) -> Chart:
    """A column's values by diagnosis, each diagnosis as a bar of 100%."""
    images, merged = statistics.merge_rare_columns(statistics.cross(frame, "diagnosis", column), 8)
    shares = statistics.shares(images)
    return Chart(
        population.share_bars(shares, images, table.name, str.capitalize, column if column in FILTERS else "", merged),
        _with_names(images, table),
        f"{title} by diagnosis. All images: " + listed(images.columns, images.sum()),
    )


def on_the_body(frame: pd.DataFrame) -> tuple[Chart, pd.DataFrame]:
    """The sites on a drawing of the body, and a list of those that are not on it."""
    counts = _most_common_first(statistics.counts(frame, "site"))
    words = "Images by site on a drawing of the body: " + listed(counts["value"].head(15), counts["images"])
    return Chart(body.drawing(counts), counts, words), body.elsewhere(counts)


def sites(frame: pd.DataFrame) -> Chart:
    """How many images each site has, the most common first."""
    counts = _most_common_first(statistics.counts(frame, "site"))
    names = [value.capitalize() for value in counts["value"]]
    return Chart(
        population.bars(counts, names, [population.ACCENT] * len(counts), column="site"),
        counts,
        "Images by site: " + listed(counts["value"].head(15), counts["images"]),
    )


def sites_by_diagnosis(table: Table, frame: pd.DataFrame) -> Chart:
    """Images of each diagnosis at each of the most common sites."""
    images, merged = statistics.merge_rare_columns(statistics.cross(frame, "diagnosis", "site"), 20)
    return Chart(
        population.heat_map(statistics.shares(images), images, table.name, "site", merged),
        _with_names(images, table),
        "Images of each diagnosis at each site; the table has the numbers",
    )


def codes_explained(table: Table, frame: pd.DataFrame) -> str:
    """mel: Melanoma, nv: Melanocytic nevus. "" if the codes are the names."""
    codes = [code for code in statistics.counts(frame, "diagnosis")["value"] if table.name(code) != code]
    return ", ".join(f"{code}: {table.name(code)}" for code in codes) + "." * bool(codes)


def symptoms(table: Table, frame: pd.DataFrame) -> Chart:
    """For how many images of each diagnosis patients report each symptom."""
    reported = statistics.symptoms(frame).assign(symptom=lambda rows: rows["symptom"].map(NAMES))
    images = reported.pivot_table(index="diagnosis", columns="symptom", values="yes", sort=False).astype(int)
    shares = reported.pivot_table(index="diagnosis", columns="symptom", values="share", sort=False)
    return Chart(
        population.heat_map(shares, images, table.name),
        reported.assign(diagnosis=reported["diagnosis"].map(table.name)),
        "Images for which patients report the symptom, by diagnosis; the table has shares with intervals",
    )


def differences(table: Table, frame: pd.DataFrame, other: Table, second: pd.DataFrame) -> Chart | None:
    """Standardised differences between two selections, the largest first; None if they have no values in common.

    Between two data sets, sites and diagnoses are grouped into those that both have.
    """
    if other.id != table.id:
        frame, second = statistics.comparable(frame), statistics.comparable(second)
    rows = statistics.standardised_differences(frame, second, COMPARED)
    if rows.empty:
        return None
    finite = rows[np.isfinite(rows["difference"])]
    largest = finite.reindex(finite["difference"].abs().sort_values(ascending=False).index).head(population.MAX_ROWS)
    name = table.name if other.id == table.id else str
    labels = []
    for row in largest.to_dict("records"):
        value = name(row["value"]) if row["variable"] == "diagnosis" else row["value"]
        form = ".1f" if row["variable"] == "age" else ".0%"
        labels.append(f"{NAMES[row['variable']]}: {value} · {row['first']:{form}} / {row['second']:{form}}")
    return Chart(
        population.love_plot(largest, labels),
        rows.round(3),
        "Standardised differences, the largest first: " + "; ".join(labels[:8]),
    )


def performance(tested: Table, frame: pd.DataFrame, by: str, widest: float) -> Chart:
    """A model's sensitivity, specificity and calibration in the cells of a `subgroups.predictions` frame.

    The first row of the table is the whole frame. Values with an interval wider than `widest` are UNCERTAIN.
    """
    cells = subgroups.cells(frame, by, widest)
    if by == "diagnosis":
        cells["cell"] = cells["cell"].map(tested.name)
    labelled = cells.assign(cell=[f"{row['cell']} · n = {row['images']:,}" for row in cells.to_dict("records")])
    shown = cells.copy()
    for measure in subgroups.MEASURES:
        ends = (cells[f"{measure}{end}"] for end in ("", "_low", "_high", "_shown"))
        shown[measure] = [
            f"{value:.2f} ({low:.2f} to {high:.2f})" if certain else UNCERTAIN
            for value, low, high, certain in zip(*ends, strict=True)
        ]
    return Chart(
        population.cells(labelled, list(subgroups.MEASURES), subgroups.MEASURES),
        shown[["cell", "images", "lesions", "malignant", *subgroups.MEASURES]],
        "; ".join(f"{row['cell']}: sensitivity {row['sensitivity']}" for row in shown.to_dict("records")),
    )


def parts(audited: Audit) -> pd.DataFrame:
    """The size of each part of a split: its rows, and its images, lesions and patients where they are known."""
    sizes = pd.DataFrame(audited.summary.get("parts", {})).T
    return sizes.rename_axis("part").reset_index()


def headline(table: Table) -> tuple[pd.DataFrame, str]:
    """The headline figures of a data set, without the column of published ones if there are none, and a sentence on
    figures that disagree."""
    facts = limitations.headline(table)
    figures = pd.DataFrame(facts)
    if not figures["published"].any():
        figures = figures.drop(columns="published")
    return figures, limitations.disagreements(facts)


def counts_of(entry: Entry) -> pd.DataFrame:
    """Images and lesions of a diagnosis in each data set that has it, and their share of its images."""
    rows = []
    for key, dataset in DATASETS.items():
        counts = statistics.counts(records.shipped(key).frame, "diagnosis")
        mine = counts[counts["value"].isin(entry.codes)]
        if len(mine):
            rows.append((dataset.title, *(mine[name].sum() for name in ("images", "lesions", "share"))))
    return pd.DataFrame(rows, columns=["Data set", "Images", "Lesions", "Share"])


def sensitivities(entry: Entry) -> pd.DataFrame:
    """How often each model recognises a diagnosis in its test images, by data set; the default model first.

    DataError if a model's predictions cannot be read.
    """
    rows = []
    for model in registry.listed():
        for code in set(entry.codes) & set(model.labels.codes):
            for dataset in sorted(filter(data_sets.whole, subgroups.tested_on(model))):
                recall = subgroups.recall(subgroups.predictions(model, dataset).frame, code)
                if recall is not None:
                    share = recall.share
                    interval = f"{share.low:.0%} to {share.high:.0%}" if share.exists else "none"
                    rows.append(
                        (f"{share.value:.0%}", interval, recall.images, model.short_name, data_sets.title(dataset))
                    )
    return pd.DataFrame(rows, columns=["sensitivity", "interval", "images", "model", "dataset"])


def tested_models(dataset: str) -> dict[str, tuple[Model, str]]:
    """The models that were tested on a data set or a part of it, the best first, and the id of the test set. The key is
    the model's id, with the part if it is one."""
    return {
        model.id if test == dataset else f"{model.id}:{test}": (model, test)
        for model in registry.listed()
        for test in sorted(subgroups.tested_on(model))
        if (published := data_sets.whole(test)) and published.id == dataset
    }


def tested_images(images: pd.Series) -> dict[tuple[str, str], int]:
    """How many of some images, by their ids, are test images of a model: (model, data set) -> count, without zeros."""
    wanted = set(images.astype(str).str.rpartition("/")[2])
    counts = {}
    for model in registry.listed():
        for dataset in sorted(filter(data_sets.whole, subgroups.tested_on(model))):
            tested = subgroups.predictions(model, dataset).frame["image"]
            if count := int(tested.str.rpartition("/")[2].isin(wanted).sum()):
                counts[model.id, dataset] = count
    return counts


def listed(names: Iterable[object], numbers: Iterable[float]) -> str:
    """melanoma 1,113, nevus 6,705"""
    return ", ".join(f"{name} {number:,.0f}" for name, number in zip(names, numbers, strict=False))


def _most_common_first(counts: pd.DataFrame) -> pd.DataFrame:
    return counts.sort_values("images", ascending=False, kind="stable")


def _with_names(images: pd.DataFrame, table: Table) -> pd.DataFrame:
    """A cross table for the screen: the diagnoses' names in the first column."""
    shown = images.rename(columns=str).rename_axis(None, axis=1)
    shown.insert(0, "diagnosis", [table.name(code) for code in images.index])
    return shown
