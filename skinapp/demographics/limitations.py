"""The headline figures of a data set, and sentences, with numbers, on its limitations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinapp.datasets.registry import DATASETS
from skinapp.demographics.records import NOT_STATED, Table, malignant
from skinapp.demographics.statistics import (
    Association,
    counts,
    images_per_lesion,
    lesions_by_modality,
    strength,
    totals,
)


@dataclass(frozen=True)
class Fact:
    """A figure: its name, its value as counted here, what was counted, and the published value ("" if there is
    none)."""

    name: str
    here: str
    count: str
    published: str = ""


PUBLISHED = {
    "Images": "10,015",
    "Lesions": "7,470",
    "Mean age": "51.86",
    "Standard deviation of age": "16.96",
    "Male": "54.1%",
    "Female": "45.5%",
    "Sex not stated": "0.6%",
    "Histology": "53.3%",
    "Follow-up": "37.0%",
    "Expert consensus": "9.0%",
    "Confocal microscopy": "0.7%",
    "akiec": "327",
    "bcc": "514",
    "bkl": "1,099",
    "df": "115",
    "mel": "1,113",
    "nv": "6,705",
    "vasc": "142",
}
"""The figures usually quoted for HAM10000. Two differ from a count of the published table in the last digit."""


DARK = {"skin_tone": ("0", "1"), "skin_type": ("5", "6")}
"""The values of each column on skin colour that count as dark."""


def headline(table: Table) -> list[Fact]:
    """The headline figures of a whole data set."""
    frame = table.frame
    total = totals(frame)
    published = PUBLISHED if table.id == "ham10000" else {}
    facts = [
        ("Images", f"{total.images:,}", "all rows of the table"),
        ("Lesions", f"{total.lesions:,}", "different lesion numbers"),
    ]
    if total.aged:
        facts += [
            ("Mean age", f"{total.mean_age:.2f}", f"years, stated for {total.aged:,} images"),
            ("Standard deviation of age", f"{total.sd_age:.2f}", f"years, stated for {total.aged:,} images"),
        ]
    for column, missing in (("sex", "Sex not stated"), ("confirmation", "Confirmation not stated")):
        values = counts(frame, column)
        if (values["value"] != NOT_STATED).any():
            facts += [
                (
                    missing if row["value"] == NOT_STATED else str(row["value"]).capitalize(),
                    f"{row['share']:.1%}",
                    f"{row['images']:,} images",
                )
                for row in values.to_dict("records")
            ]
    sites = counts(frame, "site")
    top = sites[sites["value"] != NOT_STATED].sort_values("images", ascending=False, kind="stable").head(5)
    facts += [
        (f"Site {rank}: {row['value']}", f"{row['share']:.1%}", f"{row['images']:,} images")
        for rank, row in enumerate(top.to_dict("records"), start=1)
    ]
    facts += [
        (row["value"], f"{row['images']:,}", f"images of {row['lesions']:,} lesions, {row['share']:.1%}")
        for row in counts(frame, "diagnosis").to_dict("records")
    ]
    return [Fact(table.name(name), here, count, published.get(name, "")) for name, here, count in facts]


def disagreements(facts: Sequence[Fact]) -> str:
    """A sentence on the figures that differ from the published ones; "" if all agree or none is published."""
    differing = [
        f"{fact.name.lower()} is {fact.here} here ({fact.count}) and {fact.published} in publications"
        for fact in facts
        if fact.published and fact.here != fact.published
    ]
    return f"Most figures agree with the published ones, but {'; '.join(differing)}." if differing else ""


def limits(table: Table) -> list[tuple[str, str]]:
    """The limitations of the data set: pairs of a heading and a text with numbers."""
    frame, total = table.frame, totals(table.frame)
    general = [_confirmed(table), _skin_type(table), *([_several(table)] if table.has_lesions else []), _missing(table)]
    if table.id == "ham10000":
        newborn = int(frame.loc[frame["age"] == 0, "images"].sum())
        return [
            *general,
            (
                "Only two clinics",
                "All images come from a university clinic in Vienna and a practice in Queensland. The table does not "
                "say which image is from where, so a difference between diagnoses may be a difference between cameras.",
            ),
            (
                "Shares are not risks",
                f"Melanomas make up {_share(frame, 'diagnosis', 'mel')} of the images because they were collected on "
                "purpose, not because melanomas are that common.",
            ),
            (
                "Ages are rounded",
                f"Every age is a multiple of five. For {newborn:,} images it is 0 years, which may sometimes mean that "
                "the age is unknown.",
            ),
        ]
    if table.id == "pad_ufes_20":
        published = DATASETS[table.id].published_images
        return [
            *general,
            (
                "Not the whole data set",
                f"Only {total.images:,} of the {published:,} published images are counted here, so shares can differ "
                "from those of the whole data set.",
            ),
            (
                "One region",
                "All patients were seen in Espírito Santo, Brazil. Many are farmers with ancestors from Pomerania, "
                "Germany or Italy, so results may not carry over to other people.",
            ),
        ]
    if table.id == "milk10k":
        published = DATASETS[table.id].published_images
        both, dermoscopy, close_up = lesions_by_modality(frame)["lesions"]
        return [
            *general,
            (
                "Suspected cancers only",
                "The lesions were photographed because they might be cancer. Basal cell carcinomas make up "
                f"{_share(frame, 'diagnosis', 'BCC')} of the images and moles {_share(frame, 'diagnosis', 'NV')}, so "
                "shares are not risks.",
            ),
            (
                "Not the whole data set",
                f"{total.images:,} of the {published:,} published images are counted here; those that show the same "
                f"picture as a HAM10000 test image are left out. {both:,} lesions have both images, {close_up:,} only "
                f"a close-up and {dermoscopy:,} only a dermoscopy image.",
            ),
        ]
    if table.id == "malignant_benign":
        shared = int(frame.loc[frame["origin"].notna(), "images"].sum())
        other = frame[frame["origin"].isna()]
        cancers = int(other.loc[other["diagnosis"] == "malignant", "images"].sum())
        return [
            *general,
            (
                "Published without a table",
                f"Age, sex, site and confirmation are known only for the {shared:,} images "
                f"({shared / total.images:.0%}) that are also in HAM10000, matched by comparing the images. If you "
                "train on both data sets, split them together.",
            ),
            (
                "The source gives the label away",
                f"Of the other {int(other['images'].sum()):,} images, {cancers:,} are malignant, so a model can learn "
                "the label from the source of an image.",
            ),
        ]
    return general


def _confirmed(table: Table) -> tuple[str, str]:
    frame = table.frame
    state = np.append(malignant(table), np.nan)[frame["diagnosis"].cat.codes]
    known = frame["confirmation"].notna().to_numpy()
    parts, mostly_biopsied = [], False
    for value, word in ((1.0, "malignant"), (0.0, "other")):
        rows = frame[(state == value) & known]
        biopsied, images = int(rows.loc[rows["confirmation"] == "histology", "images"].sum()), int(rows["images"].sum())
        if images:
            parts.append(f"{biopsied:,} of {images:,} images of {word} classes ({biopsied / images:.0%})")
            mostly_biopsied = value == 0 and biopsied > images / 2
    if not parts and known.any():
        return (
            "How diagnoses were confirmed",
            "None of the diagnoses is a known class, so confirmed cancers and other confirmed lesions cannot be told "
            "apart.",
        )
    if not parts:
        return "How diagnoses were confirmed", "The table does not say how any diagnosis was confirmed."
    heading = "Cancers are confirmed by biopsy; most other lesions are not"
    if mostly_biopsied:
        heading = "Other lesions were biopsied too, because they looked suspicious"
    return (
        heading,
        f"A biopsy confirmed the diagnosis of {' and '.join(parts)}. Moles that were biopsied looked suspicious to "
        "someone, so they differ from other moles. A diagnosis without a biopsy can be wrong.",
    )


FEW_DARK = 0.05
"""A data set with a smaller share than this has almost no dark skin."""


def dark_skin(frame: pd.DataFrame) -> tuple[int, int]:
    """How many images show dark skin, and how many state its colour."""
    column = next((name for name in DARK if name in frame and frame[name].notna().any()), None)
    if column is None:
        return 0, 0
    images = frame["images"]
    return int(images[frame[column].isin(DARK[column])].sum()), int(images[frame[column].notna()].sum())


def _skin_type(table: Table) -> tuple[str, str]:
    frame, total = table.frame, totals(table.frame)
    for column, name, words in (
        ("skin_tone", "Skin tone, from 0 (very dark) to 5 (very light),", "0 or 1"),
        ("skin_type", "Skin type", "type 5 or 6"),
    ):
        if column in frame and frame[column].notna().any():
            dark, stated = dark_skin(frame)
            counted = f"{name} is stated for {stated:,} of {total.images:,} images"
            if dark >= FEW_DARK * stated:
                return "Skin types", f"{counted}, and {dark:,} of those are {words}."
            return (
                "Almost no dark skin",
                f"{counted}, and only {dark:,} of those are {words}. How well a model works on dark skin cannot be "
                "judged from them.",
            )
    return (
        "Skin type is not recorded",
        f"No skin type is recorded for any of the {total.images:,} images, so how well a model works on dark skin "
        "cannot be checked.",
    )


def _several(table: Table) -> tuple[str, str]:
    spread = images_per_lesion(table.frame)
    several = spread[spread["images"] > 1]
    lesions, images = int(several["lesions"].sum()), int((several["images"] * several["lesions"]).sum())
    return (
        "Several images show the same lesion",
        f"{lesions:,} of {int(spread['lesions'].sum()):,} lesions have more than one image, {images:,} images in all. "
        "A random split puts images of one lesion in both training and test, so a model looks better than it is.",
    )


def _missing(table: Table) -> tuple[str, str]:
    frame, total = table.frame, totals(table.frame)
    parts = []
    for column in ("sex", "age", "site"):
        absent = int(frame.loc[frame[column].isna(), "images"].sum())
        parts.append(f"{column} for {absent:,} ({absent / total.images:.1%})")
    return "What is missing", f"Not stated among the {total.images:,} images: {', '.join(parts)}."


def _share(frame: pd.DataFrame, column: str, value: str) -> str:
    values = counts(frame, column)
    images, share = (values.loc[values["value"] == value, name].sum() for name in ("images", "share"))
    return f"{share:.1%} ({images:,})"


MEANINGS = {
    "age": (
        "People with different diagnoses differ in age, so age alone says something about the diagnosis.",
        "It does not show that age causes anything: someone chose who to photograph, and when.",
    ),
    "sex": (
        "The mix of diagnoses differs between women and men in this data set.",
        "It does not show that either has a higher risk: people who were not photographed are missing.",
    ),
    "site": (
        "Diagnoses occur on different parts of the body, so the site is a clue, and a model may see it in the image.",
        "It does not show where on the body a diagnosis is common, only where it was photographed.",
    ),
    "confirmation": (
        "How reliable a label is depends on the diagnosis.",
        "It is not a property of the lesions: doctors biopsy mostly those that look malignant.",
    ),
    "skin_tone": (
        "The mix of diagnoses differs between skin tones in this data set.",
        "With so few people with dark skin, it says almost nothing about them.",
    ),
    "skin_type": (
        "The mix of diagnoses differs between skin types in this data set.",
        "With so few people with skin types 4 to 6, it says almost nothing about them.",
    ),
}
SYMPTOM_MEANING = (
    "What patients report about a lesion is associated with its diagnosis.",
    "Patients came to the clinic for a reason, so it does not show how well the symptom would work for screening.",
)


def meaning(association: Association) -> tuple[str, str]:
    """A sentence on what an association means, and one on what it does not mean."""
    means, means_not = MEANINGS.get(association.column, SYMPTOM_MEANING)
    size = strength(association.effect**0.5 if association.column == "age" else association.effect)
    if association.p >= 0.05:
        means = "In this selection, the differences could be due to chance."
    text = f"There is {size} association. {means}"
    if association.sparse > 0.2:
        means_not += f" {association.sparse:.0%} of the expected counts are below 5, so the p-value is approximate."
    return text, means_not
