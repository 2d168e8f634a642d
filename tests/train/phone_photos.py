"""Small data sets of phone photos: drawings, with tables in the published form."""

from pathlib import Path

import pandas as pd

from skinapp.labels.sets import PAD_UFES_20
from tests.pictures import encode, lesion


def pad_ufes_20(root: Path) -> None:
    """PAD-UFES-20 with three images of each class, each of a different patient."""
    images = root / "pad_ufes_20" / "images"
    images.mkdir(parents=True)
    rows = []
    for number, code in enumerate(PAD_UFES_20.codes * 3):
        image = f"PAT_{number}_{number}_{number}"
        (images / f"{image}.jpg").write_bytes(encode(lesion(120, 120, seed=number)))
        rows.append({"patient_id": f"PAT_{number}", "lesion_id": number, "diagnostic": code, "img_id": f"{image}.png"})
    table = pd.DataFrame(rows).assign(biopsed=True, age=50, gender="FEMALE", region="ARM", fitspatrick=2.0)
    for name in ("itch", "grew", "hurt", "changed", "bleed", "elevation"):
        table[name] = False
    table.assign(diameter_1=5.0, diameter_2=4.0).to_csv(root / "pad_ufes_20" / "metadata.csv", index=False)


def milk10k(root: Path, tested: int) -> None:
    """MILK10k with a close-up of each of 60 lesions, the first `tested` of them for testing."""
    images = root / "milk10k" / "clinical"
    images.mkdir(parents=True)
    rows = []
    for number, code in enumerate(PAD_UFES_20.codes * 10):
        image = f"m10k_{number}x"
        (images / f"{image}.jpg").write_bytes(encode(lesion(160, 120, seed=number)))
        split = "test" if number < tested else "train"
        known = ("mel", code, 50, "male", "head", 3, "", "", split)
        rows.append((image, f"IL_{number}", "clinical", "MEL", "Melanoma", *known))
    columns = "image_id,lesion_id,modality,dx,diagnosis,dx7,dx6,age,sex,site,skin_tone_class,confirmation"
    columns += ",near_duplicate_of_ham10000_train,split"
    pd.DataFrame(rows, columns=columns.split(",")).to_csv(root / "milk10k" / "metadata.csv", index=False)
