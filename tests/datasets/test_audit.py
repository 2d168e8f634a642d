"""The audit of any table: groups shared between parts, contradictory labels, duplicates; and errors for bad folders."""

import json
from pathlib import Path

import pandas as pd
import pytest

from skinapp.__main__ import main
from skinapp.datasets import audit
from skinapp.errors import DataError
from tests.pictures import encode
from tests.train.textures import texture

TABLE = """\
isic_id,lesion_id,patient_id,dx,fold
a,L1,P1,nv,train
b,L1,P1,nv,test
c,L2,P2,nv,train
c_copy,L3,P3,nv,test
d,L4,P4,mel,train
d_small,L4,P4,bcc,train
e,L5,P2,mel,test
f,L1,P1,nv,excluded
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").write_text(TABLE)
    images = tmp_path / "images"
    images.mkdir()
    for seed, name in enumerate("abcdef"):
        (images / f"{name}.png").write_bytes(encode(texture(seed), "PNG"))
    (images / "c_copy.bmp").write_bytes(encode(texture(2), "BMP"))
    (images / "d_small.jpg").write_bytes(encode(texture(3).resize((200, 150))))
    return tmp_path


def audited(text: str) -> audit.Audit:
    raw = audit.columns.read(text.encode())
    return audit.of_table(audit.arranged(raw, audit.columns.guess(list(raw.columns))))


def test_a_table_without_problems_has_none() -> None:
    result = audited("image,lesion_id,dx,split\na,1,nv,train\nb,1,nv,train\nc,2,mel,test\n")
    assert result.problems == ()
    assert result.summary["parts"]["train"] == {"rows": 2, "images": 2, "lesions": 1}


def test_what_the_parts_share_and_which_labels_disagree() -> None:
    result = audited(TABLE)
    # the excluded part may share lesions with the others
    assert result.problems == (
        "1 lesion is in both test and train, with 1 and 1 images: L1. Scores on them are optimistic.",
        "2 patients are in both test and train, with 2 and 2 images: P1, P2. Scores on them are optimistic.",
        "1 lesion has different labels: L4 (bcc, mel).",
    )
    assert result.summary["shared"]["lesion"] == [
        {"parts": ["excluded", "test"], "count": 1, "images": [1, 1], "examples": ["L1"]},
        {"parts": ["excluded", "train"], "count": 1, "images": [1, 1], "examples": ["L1"]},
        {"parts": ["test", "train"], "count": 1, "images": [1, 1], "examples": ["L1"]},
    ]


def test_an_image_in_two_parts_and_a_lesion_of_two_patients() -> None:
    result = audited("image,lesion_id,patient_id,dx,split\na,1,x,nv,train\na,1,y,mel,test\n")
    text = " ".join(result.problems)
    assert "1 image is in both test and train: a." in text
    assert "1 image has different labels: a (mel, nv)." in text
    assert "1 lesion belongs to several patients: 1 (x, y)." in text
    assert result.notes == ("1 row has the image of an earlier row: a.",)


def test_without_parts_the_notes_say_how_to_split() -> None:
    result = audited("image,lesion_id\na,1\nb,1\nc,2\n")
    assert result.problems == ()
    assert "names no parts" in result.notes[0]
    assert result.notes[1] == "1 lesion has several images, 2 in all: split by lesion, not by image."


def test_lesion_numbers_within_a_patient_are_not_shared_lesions() -> None:
    # PAD-UFES-20's table numbers lesions for each patient
    names = "img_id,lesion_id,patient_id,diagnostic,biopsed,age,gender,region,fitspatrick"
    names += ",itch,grew,hurt,changed,bleed,elevation,diameter_1,diameter_2"
    rows = ["a.png,1,P1,NEV,False,,,,,,,,,,,,,train", "b.png,1,P2,BCC,True,,,,,,,,,,,,,test"]
    result = audited("\n".join([f"{names},split", *rows]) + "\n")
    assert result.problems == ()
    assert result.summary["lesions"] == 2


@pytest.mark.slow
def test_half_a_million_rows() -> None:
    rows = 500_000
    numbers = pd.Series(range(rows)).astype(str)
    parts = pd.Series(["train", "train", "train", "test"] * (rows // 4))
    labels = pd.Series(["nv"] * rows)
    frame = pd.DataFrame({"image": numbers, "lesion": (numbers.astype(int) // 2).astype(str)})
    result = audit.of_table(frame.assign(split=parts, label=labels))
    assert result.summary["shared"]["lesion"][0]["count"] == rows // 4
    assert len(result.problems) == 1


def test_pictures_are_compared_across_parts_lesions_and_labels(folder: Path) -> None:
    result = audit.run(folder / "table.csv", folder / "images")
    text = " ".join(result.problems)
    assert "1 pair of images shows the same picture in different parts: c and c_copy (same pixels)." in text
    assert "1 pair of images shows the same picture under different labels: d is mel, d_small is bcc." in text
    assert "1 pair of images shows the same picture under different lesions: c and c_copy (same pixels)." in text
    assert result.summary["pairs"] == {"same file": 0, "same pixels": 1, "near": 1}


def test_the_command_prints_words_or_json_and_says_by_its_code_what_it_found(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["audit", str(folder / "table.csv")]) == 1
    text = capsys.readouterr().out
    assert "8 rows, 8 images, 5 lesions, 4 patients" in text
    assert "- 1 lesion has different labels: L4 (bcc, mel)." in text
    assert main(["audit", str(folder / "table.csv"), "--images", str(folder / "images"), "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["images_read"] == 8
    assert len(result["problems"]) == 6
    (folder / "good.csv").write_text("image,lesion,split\na,1,train\nb,2,test\n")
    assert main(["audit", str(folder / "good.csv")]) == 0
    assert "No problems were found." in capsys.readouterr().out


def test_missing_damaged_and_ambiguous_files_are_named(folder: Path) -> None:
    images = folder / "images"
    (images / "e.png").write_bytes(b"damaged")
    (images / "f.png").unlink()
    (images / "more").mkdir()
    (images / "more" / "a.png").write_bytes(encode(texture(9), "PNG"))
    (images / "stranger.png").write_bytes(b"")
    result = audit.run(folder / "table.csv", images)
    assert f"1 image has no file in {images}: f." in result.problems
    assert "1 image was left out because several files have the same name: a." in result.problems
    assert any("1 image file cannot be read: e: " in problem for problem in result.problems)
    assert "1 image file is not in the table." in result.notes


def isic_folder(folder: Path) -> Path:
    folder.mkdir()
    rows = [("ISIC_0000001", "IL_1", "45", "male"), ("ISIC_0000002", "IL_2", "old", "male")]
    rows += [("ISIC_0000003", "IL_2", "50", "female")]
    for seed, row in enumerate(rows):
        (folder / f"{row[0]}.jpg").write_bytes(encode(texture(seed)))
    columns = ["isic_id", "lesion_id", "age_approx", "sex"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["diagnosis_1"], frame["diagnosis_2"] = "Benign", ["", "Benign melanocytic proliferations", "Benign cysts"]
    frame.to_csv(folder / "metadata.csv", index=False)
    return folder


def test_a_folder_of_isic_cli_is_checked_by_the_archives_rules(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = isic_folder(tmp_path / "isic")
    assert main(["audit", str(folder)]) == 1
    text = capsys.readouterr().out
    assert "3 image files were compared" in text
    assert "1 row breaks a rule of the ISIC archive for age: Unable to parse value as an integer." in text
    assert "for diagnosis: Unsupported value for diagnosis: 'Benign:Benign cysts'." in text


def test_a_partly_downloaded_folder_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = isic_folder(tmp_path / "isic")
    (folder / "ISIC_0000003.jpg").unlink()
    (folder / ".isic-partial.12.ISIC_0000003.jpg").write_bytes(b"half")
    assert main(["audit", str(folder)]) == 1
    text = capsys.readouterr().out
    assert f"1 image has no file in {folder}: ISIC_0000003." in text
    assert "1 file is only partly downloaded: run the same `isic image download` command again." in text
    (folder / "metadata.csv").unlink()
    assert main(["audit", str(folder)]) == 2
    assert "image files: 2, partly downloaded: 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "images", "sentence"),
    [
        ("what,years\nx,3\n", None, "No column of"),
        ("lesion,split\n1,train\n", "images", "No column of the table is recognised as the image"),
        ("image,split\nz,train\n", "images", "None of the images in the table is in"),
        (TABLE, "nowhere", "There is no folder"),
    ],
)
def test_a_table_or_folder_that_cannot_be_used_is_reported(
    folder: Path, text: str, images: str | None, sentence: str
) -> None:
    (folder / "table.csv").write_text(text)
    with pytest.raises(DataError, match=sentence):
        audit.run(folder / "table.csv", folder / images if images else None)
    with pytest.raises(DataError, match="There is no table"):
        audit.run(folder / "none.csv")
