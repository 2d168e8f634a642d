"""Any CSV becomes a table, with messages on its problems."""

import io

import numpy as np
import pandas as pd
import pytest

from skinapp.datasets import columns
from skinapp.demographics import own_table, records, statistics
from skinapp.demographics.records import Filters
from skinapp.errors import DataError
from skinapp.labels.sets import MALIGNANCY, MILK10K

PLAIN = """\
image_id,lesion_id,dx,age,sex,localization
a,1,mel,60,male,back
b,1,mel,60,male,back
c,2,nv,30,female,face
"""


def built(text: str | bytes, **chosen: str) -> own_table.OwnTable:
    raw = own_table.read(text if isinstance(text, bytes) else text.encode())
    return own_table.build(raw, columns.guess(list(raw.columns)) | chosen)


def build(text: str | bytes, **chosen: str) -> tuple[records.Table, list[str]]:
    """The table, and all sentences on its cells and its split."""
    own = built(text, **chosen)
    return own.table, [*own.problems, *own.audit.problems, *own.audit.notes]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_any_separator_and_encoding(separator: str, encoding: str) -> None:
    text = PLAIN.replace("face", "Fuß").replace(",", separator)
    table, _ = build(text.encode(encoding))
    total = statistics.totals(table.frame)
    assert (total.images, total.lesions, total.mean_age) == (3, 2, 50)
    assert records.values(table, "site") == ["back", "fuß"]


def test_a_table_without_header_gets_numbered_columns() -> None:
    raw = own_table.read(b"mel,60,male\nnv,30,female\n")
    assert list(raw.columns) == ["Column 1", "Column 2", "Column 3"]
    assert len(raw) == 2
    own = own_table.build(raw, {"diagnosis": "Column 1", "age": "Column 2", "sex": "Column 3"})
    assert statistics.totals(own.table.frame).mean_age == 45


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"PK\x03\x04xlsx", "Excel"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "not a text file"),
        (b"dx,age\n", "no rows"),
        (b"dx,age\nmel,1\nnv,2,3,4\n", "line 3 has 4 cells where 2"),
    ],
)
def test_files_that_are_not_tables_are_rejected(data: bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        own_table.read(data)


def test_columns_are_known_by_their_published_names() -> None:
    guess = columns.guess(["Image ID", "lesion_id", "DX", "Gender", "localization", "note"])
    assert guess["image"] == "Image ID"
    assert (guess["diagnosis"], guess["sex"], guess["site"], guess["age"]) == ("DX", "Gender", "localization", None)


def test_no_column_or_one_for_two_fields_is_reported() -> None:
    raw = own_table.read(PLAIN.encode())
    with pytest.raises(DataError, match="at least one column"):
        own_table.build(raw, {})
    with pytest.raises(DataError, match="chosen twice"):
        own_table.build(raw, {"diagnosis": "dx", "site": "dx"})


def test_a_clean_table_has_no_problems() -> None:
    own = built(PLAIN)
    assert own.problems == own.audit.problems == ()
    assert own.audit.notes[1] == "1 lesion has several images, 2 in all: split by lesion, not by image."


def test_every_problem_is_named() -> None:
    text = (
        "image,lesion,dx,age,sex,split\n"
        "a,1,mel,60,male,train\n"
        "a,1,nv,170,male,test\n"
        "b,2,wart,-3,female,train\n"
        "b,2,wart,-3,female,train\n"
        "c,,bcc,old,female,train\n"
    )
    table, problems = build(text)
    text = " ".join(problems)
    assert "2 rows with unknown labels: 'wart' (2)" in text
    assert "3 ages are below 0 or over 120" in text
    assert "'170' (1)" in text
    assert "1 age is not a number: 'old'" in text
    assert "2 rows have the image of an earlier row: a, b." in text
    assert "1 row is identical to an earlier row" in text
    assert "1 row without a lesion" in text
    assert "1 lesion has different labels: 1 (mel, nv)." in text
    assert "1 lesion is in both test and train" in text
    assert statistics.totals(table.frame).aged == 1
    assert statistics.totals(table.frame).lesions == 3
    assert len(records.select(table, Filters(malignant=True))) == 2
    assert len(records.select(table, Filters(malignant=False))) == 1


def test_names_and_codes_in_any_case_are_known() -> None:
    table, problems = build("dx\nMelanoma\nMEL\nmel\nBasal cell carcinoma\n")
    assert statistics.counts(table.frame, "diagnosis").set_index("value")["images"].to_dict() == {"bcc": 1, "mel": 3}
    assert not any("unknown" in problem for problem in problems)


def test_unknown_labels_stay() -> None:
    table, problems = build("dx\nspot\nstripe\nspot\n")
    assert table.labels is None
    assert any("None of the diagnoses is a known class" in problem for problem in problems)
    assert statistics.counts(table.frame, "diagnosis")["images"].tolist() == [2, 1]
    assert records.select(table, Filters(malignant=True)).empty


@pytest.mark.slow
def test_thousands_of_sites_and_half_a_million_rows() -> None:
    generator = np.random.default_rng(0)
    rows = 500_000
    frame = pd.DataFrame(
        {
            "dx": generator.choice(["mel", "nv", "bcc"], rows),
            "age": generator.integers(0, 90, rows),
            "localization": generator.integers(0, 6000, rows),
            "lesion_id": generator.integers(0, rows // 2, rows),
        }
    )
    buffer = io.BytesIO()
    frame.to_csv(buffer, index=False)
    table, problems = build(buffer.getvalue())
    assert statistics.totals(table.frame).images == rows
    assert any("6,000 different values" in problem for problem in problems)
    assert len(records.values(table, "site")) == own_table.MAX_VALUES["site"] + 1


def test_mixed_types_are_text() -> None:
    table, _ = build("dx,age,site\nmel,60,1\nnv,4.5,back\nnv,,1.0\n")
    assert statistics.totals(table.frame).mean_age == pytest.approx(32.25)
    assert set(records.values(table, "site")) == {"1", "1.0", "back"}


def test_headers_that_differ_by_a_blank_are_two_columns() -> None:
    table, _ = build("dx,age,age \nmel,60,61\nnv,30,31\n")
    assert statistics.totals(table.frame).mean_age == 45
    table, _ = build("dx,age,age \nmel,60,61\nnv,30,31\n", age="age (2)")
    assert statistics.totals(table.frame).mean_age == 46


def test_ages_may_have_a_decimal_comma() -> None:
    table, _ = build("dx;age\nmel;60,5\nnv;30,5\n")
    assert statistics.totals(table.frame).mean_age == 45.5


def test_a_table_of_the_isic_archive_has_classes_and_its_rules_are_checked() -> None:
    text = (
        "isic_id,age_approx,sex,anatom_site_general,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_confirm_type,"
        "fitzpatrick_skin_type\n"
        "ISIC_0000001,60,male,head/neck,Malignant,Malignant melanocytic proliferations (Melanoma),Melanoma Invasive,"
        "histopathology,II\n"
        "ISIC_0000002,30,female,nose,Benign,Benign melanocytic proliferations,Nevus,"
        "serial imaging showing no change,VI\n"
        "ISIC_0000003,30,female,palms/soles,Benign,Benign cysts,,histopathology,\n"
        "ISIC_0000004,30,female,palms/soles,Malignant,,,histopathology,\n"
    )
    own = built(text)
    assert own.table.labels is MILK10K
    assert own.table.frame["diagnosis"].tolist() == ["MEL", "NV", "BEN_OTH", "Malignant"]
    assert own.table.frame["confirmation"].tolist()[:2] == ["histology", "follow-up"]
    assert own.table.frame["skin_type"].tolist()[:2] == ["2", "6"]
    text = " ".join(own.problems)
    assert "1 row with unknown labels: 'Malignant' (1)" in text
    assert "1 row breaks a rule of the ISIC archive for anatom_site_general: Unsupported value" in text
    assert "for diagnosis: Unsupported value for diagnosis: 'Benign:Benign cysts'." in text


def test_isic_diagnoses_that_say_no_more_than_malignant_or_not() -> None:
    rows = "".join(
        f"ISIC_000000{number},{age},{kind}\n" for number, age, kind in ((1, 50, "Benign"), (2, 60, "Malignant"))
    )
    own = built("isic_id,age_approx,diagnosis_1\n" + rows)
    assert own.table.labels is MALIGNANCY
    assert own.table.frame["diagnosis"].tolist() == ["benign", "malignant"]


def test_the_former_names_of_isic_diagnoses_are_known() -> None:
    own = built("isic_id,age_approx,diagnosis\na,50,melanoma\nb,60,nevus\nc,70,seborrheic keratosis\n")
    assert own.table.frame["diagnosis"].tolist() == ["mel", "nv", "bkl"]
    assert not any("ISIC archive" in problem for problem in own.problems)


def test_image_names_lose_their_ending_and_keep_their_points() -> None:
    table, _ = build("image,dx\na.b.JPG,mel\nc.webp,nv\nd.e,nv\n")
    assert table.frame["image"].tolist() == ["a.b", "c", "d.e"]
