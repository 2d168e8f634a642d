"""Any form of a CSV gives the same table; a file that is not a table is reported."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from skinapp import tables
from skinapp.errors import DataError

PLAIN = "image,age,site\na,60,back\nb,30,face\n"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_any_separator_and_encoding(separator: str, encoding: str) -> None:
    content = PLAIN.replace("face", "Fuß").replace(",", separator).encode(encoding)
    assert tables.read(content).to_dict("list") == {"image": ["a", "b"], "age": ["60", "30"], "site": ["back", "Fuß"]}


@pytest.mark.parametrize(
    "content",
    ["image;p\na;0,25\nb;1\n", "image\tp\na\t0,25\nb\t1\n", 'image,p\na,"0,25"\nb,1\n', "image,p\na,.25\nb,1\n"],
)
def test_decimal_points_and_commas_are_numbers(content: str) -> None:
    assert tables.read(content.encode(), text=("image",))["p"].tolist() == [0.25, 1.0]


def test_text_columns_stay_text_and_empty_cells_are_missing() -> None:
    table = tables.read(b" image ,age,known\n007,60,True\n,,False\n", text=("image",))
    assert table["image"].iloc[0] == "007"
    assert table["image"].isna().tolist() == table["age"].isna().tolist() == [False, True]
    assert table["known"].tolist() == [True, False]


def test_quoted_cells_may_hold_separators_and_line_breaks() -> None:
    table = tables.read(b'image,note\na,"one, two\nthree"\nb,"say ""no"""\n')
    assert table["note"].tolist() == ["one, two\nthree", 'say "no"']


def test_a_cell_with_another_separator_does_not_mislead() -> None:
    assert list(tables.read(b"image,note\na,x;y;z\nb,u;v;w\n").columns) == ["image", "note"]


def test_headers_that_differ_by_spaces_are_distinguished() -> None:
    table = tables.read(b"age,age ,  skin   type ,\n1,2,3,4\n")
    assert list(table.columns) == ["age", "age (2)", "skin type", "Column 4"]


def test_a_first_line_that_is_data_is_kept() -> None:
    table = tables.read(b"mel,60\nnv,30\n", has_header=lambda cells: False)
    assert table.to_dict("list") == {"Column 1": ["mel", "nv"], "Column 2": ["60", "30"]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The list is empty"),
        (b" \n\t\n", "The list is empty"),
        (b"\xef\xbb\xbf", "The list is empty"),
        (b"\xff\xfe", "The list is empty"),
        (b"PK\x03\x04xlsx", "The list is an Excel file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "The list is not a text file"),
        (b"image,age\n", "has a header but no rows"),
        (b"image,age\na,1\nb,2,3,4\n", "line 3 has 4 cells where 2 are expected"),
        (b"image,site,age\na,basal cell, skin,50\n", "rows with more cells than its header"),
        (b"image,age\na,1,\nb,1,5\n", "rows with more cells than its header"),
        (b"image\na\nb\nc\nd\n", "has more than 3 rows"),
        (b"picture,age\na,1\n", "lacks the column image; it has picture, age"),
        (b"image,age\na,1\na,2\n", "lists an image twice: a"),
    ],
)
def test_a_file_that_is_not_a_table_is_reported(content: bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        tables.read(content, "The list", required=("image",), unique="image", max_rows=3)


def test_tens_of_thousands_of_columns_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pd, "read_csv", None)
    wide = b",".join(b"column %d" % number for number in range(60_000)) + b"\n" + b"1," * 59_999 + b"1\n"
    with pytest.raises(DataError, match="The list has more than 5,000 columns"):
        tables.read(wide, "The list")
    (tmp_path / "wide.csv").write_bytes(wide)
    with pytest.raises(DataError, match="more than 5,000 columns"):
        next(tables.chunks(tmp_path / "wide.csv"))


def test_a_header_longer_than_the_part_that_guesses_the_separator_names_every_column() -> None:
    names = [f"{number}-{'x' * 100}" for number in range(1_000)]
    table = tables.read("\n".join([",".join(names), ",".join("1" * 1_000)]).encode())
    assert list(table.columns) == names


def test_many_columns_of_one_name_are_numbered() -> None:
    table = tables.read(b"age" + b",age" * 4_999 + b"\n1" + b",1" * 4_999 + b"\n")
    assert list(table.columns[[0, 1, -1]]) == ["age", "age (2)", "age (5000)"]


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1+1", "\t'=1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("a;=1+1", "a;'=1+1"),
        ("-0.5 (-1.2 to 3%)", "-0.5 (-1.2 to 3%)"),
        ("+12%", "+12%"),
        ("a-b = c", "a-b = c"),
    ],
)
def test_downloads_contain_no_formulas(cell: str, written: str) -> None:
    content = tables.downloadable(pd.DataFrame({"name": [cell, "plain"], cell: [-1.5, float("nan")]}))
    assert list(csv.reader(content.splitlines(keepends=True))) == [["name", written], [written, "-1.5"], ["plain", ""]]


def test_a_file_that_is_missing_comes_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no table .*none\.csv; make it\.$"):
        tables.read_file(tmp_path / "none.csv", remedy="make it")
    with pytest.raises(DataError, match="cannot be read"):
        tables.read_file(tmp_path)


def test_a_plain_table_is_read_as_pandas_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("image,p,n,word,flag\na,0.123457,1,,True\nb,1e-06,,x,False\n")
    pd.testing.assert_frame_equal(tables.read_file(file, text=("image",)), pd.read_csv(file))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("face", "Fuß"),
        'a; b ;b\n1;"x\ny";é\n\n2;3\n',
        "image\na\nb\nc\n",
        "a\tb\r\n1\t 2\r\n",
        "a,b\n1,2,\n3,4,\n",
    ],
)
def test_a_table_in_chunks_is_the_same_table(
    text: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "CHUNK_ROWS", 1)
    file = tmp_path / "table.csv"
    file.write_bytes(text.encode(encoding))
    whole, chunks = tables.read_file(file), list(tables.chunks(file))
    assert len(chunks) == len(whole)
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), whole)


def test_an_encoding_is_found_wherever_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BLOCK", 7)
    file = tmp_path / "table.csv"
    for text, encoding in (("image\n" + "a\n" * 20 + "café\n", "cp1252"), ("image\n" + "é\n" * 20, "utf-8")):
        file.write_bytes(text.encode(encoding))
        [table] = tables.chunks(file)
        assert table["image"].iloc[-1] == text.split()[-1]


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", b"image\n", b"PK\x03\x04", b"\0\0", b"a,b\n1,2\n3,4,5\n", b"image,b\n1,2,3\n", b"other\n1\n"],
)
def test_chunks_of_a_file_that_is_not_a_table_give_the_same_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(content)
    with pytest.raises(DataError) as whole:
        tables.read_file(file, required=("image",))
    with pytest.raises(DataError) as chunks:
        list(tables.chunks(file, required=("image",)))
    assert str(chunks.value) == str(whole.value)


def test_chunks_of_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(tables.chunks(tmp_path / "none.csv"))
