"""Small data sets in the form of MILK10k and of the further images of the ISIC archive."""

from pathlib import Path

import pandas as pd

from skinapp.labels.sets import HAM10000, MILK10K
from tests.pictures import lesion

DX7 = {code.upper(): code for code in HAM10000.codes} | {"SCCKA": "scc"}
DX6 = {"AKIEC": "ACK", "BCC": "BCC", "BKL": "SEK", "MEL": "MEL", "NV": "NEV", "SCCKA": "SCC"}


def write_milk10k(root: Path, copy_of: str | None = None) -> None:
    """For each class, three lesions for training and one for testing, each as dermoscopy image and close-up. The first
    melanoma's dermoscopy image shows the picture `copy_of` of HAM10000."""
    rows: list[dict[str, object]] = []
    for code in MILK10K.codes:
        for letter, split in (("a", "train"), ("b", "train"), ("d", "train"), ("c", "test")):
            for modality in ("dermoscopy", "clinical"):
                rows.append(
                    {
                        "image_id": f"ISIC_1{len(rows):06}",
                        "lesion_id": f"IL_{code}_{letter}",
                        "modality": modality,
                        "dx": code,
                        "dx7": DX7.get(code) if modality == "dermoscopy" else None,
                        "dx6": DX6.get(code) if modality == "clinical" else None,
                        "age": 60.0,
                        "sex": "female",
                        "site": "head_neck_face",
                        "skin_tone_class": len(rows) % 6,
                        "confirmation": "histopathology",
                        "near_duplicate_of_ham10000_train": None,
                        "split": split,
                    }
                )
    table = pd.DataFrame(rows)
    first = (table["lesion_id"] == "IL_MEL_a") & (table["modality"] == "dermoscopy")
    table.loc[first, "near_duplicate_of_ham10000_train"] = copy_of
    for number, row in enumerate(rows):
        folder = root / "milk10k" / str(row["modality"])
        folder.mkdir(parents=True, exist_ok=True)
        lesion(80, 64, seed=1000 + number).save(folder / f"{row['image_id']}.webp")
    table.to_csv(root / "milk10k" / "metadata.csv", index=False)


def write_isic_more(root: Path, copy_of: str | None = None, patient: str | None = None) -> None:
    """For each class, one image in a collection; another collection, and one that is left out, with melanomas only. The
    first image shows the picture `copy_of` of the malignant/benign set, the second is of a `patient`."""
    images = root / "isic_more" / "images"
    images.mkdir(parents=True)
    rows = [("isic_acral", code) for code in HAM10000.codes] + [("isic2019_melanoma_300", "mel")] * 2
    table = pd.DataFrame(rows, columns=["source", "dx7"])
    table["image_id"] = [f"ISIC_2{number:06}" for number in range(len(rows))]
    table["lesion_id"] = ["", "", *(f"L{number // 2}" for number in range(len(rows) - 2))]
    table["patient_id"] = ["", patient or "", *[""] * (len(rows) - 2)]
    table["near_duplicate_of_malignant_benign"] = [copy_of or "", *[""] * (len(rows) - 1)]
    table = table.assign(age="", sex="", site="")
    for number, image in enumerate(table["image_id"]):
        lesion(80, 64, seed=2000 + number).save(images / f"{image}.webp")
    table.to_csv(root / "isic_more" / "metadata.csv", index=False)
