import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinapp.datasets import duplicates
from skinapp.errors import DataError
from skinapp.labels.sets import HAM10000
from tests.pictures import encode
from tests.train.textures import texture
from train.data import audit


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """Eight images: a lesion in two parts, a file copied across the split, a small copy with another label."""
    rows = [
        ("a", "L1", "nv", "train", 30, "male"),
        ("b", "L1", "nv", "test", 30, "male"),
        ("c", "L2", "nv", "train", 40, "female"),
        ("c_copy", "L3", "nv", "test", 42, None),
        ("d", "L4", "mel", "train", 50, "male"),
        ("d_small", "L4", "bcc", "train", 50, "male"),
        ("e", "L5", "mel", "test", 60, "female"),
        ("f", "L6", "bcc", "excluded", None, "female"),
    ]
    for seed, name in enumerate("abcdef"):
        (tmp_path / f"{name}.jpg").write_bytes(encode(texture(seed)))
    (tmp_path / "c_copy.jpg").write_bytes((tmp_path / "c.jpg").read_bytes())
    small = Image.open(tmp_path / "d.jpg").resize((200, 150))
    (tmp_path / "d_small.jpg").write_bytes(encode(small))
    frame = pd.DataFrame(rows, columns=["image", "group", "label", "split", "age", "sex"])
    return frame.assign(path=[tmp_path / f"{image}.jpg" for image in frame["image"]])


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    audit.add_arguments(parser)
    return audit.run(parser.parse_args([str(argument) for argument in arguments]))


def test_what_parts_share_is_reported(table: pd.DataFrame) -> None:
    result = audit.within(table, duplicates.fingerprints(list(table["path"])))
    shared = {entry["parts"]: (entry["groups"], entry["images"]) for entry in result.summary["shared_groups"]}
    assert shared == {"excluded | test": (0, [0, 0]), "excluded | train": (0, [0, 0]), "test | train": (1, [1, 1])}
    assert result.summary["between_parts"] == {"test | train, different groups": 1}
    assert result.summary["pairs"] == {"same file": 1, "same pixels": 0, "near": 1}
    assert result.summary["images_with_a_duplicate"] == 4
    assert "L1" not in result.summary["groups_with_several_labels"]


def test_label_conflicts_are_reported(table: pd.DataFrame) -> None:
    result = audit.within(table, duplicates.fingerprints(list(table["path"])))
    assert result.summary["label_conflicts"] == ["d is mel, d_small is bcc"]
    assert result.summary["groups_with_several_labels"] == ["L4"]
    numbered = result.clusters.set_index("image")["cluster"]
    assert numbered["c"] == numbered["c_copy"]
    assert numbered["a"] != numbered["b"]


def test_files_and_rows_that_do_not_belong_together_are_reported(table: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "e.jpg").write_bytes(b"damaged")
    (tmp_path / "f.jpg").unlink()
    (tmp_path / "stranger.png").write_bytes(b"")
    summary = audit.within(table, duplicates.fingerprints(list(table["path"]))).summary
    assert set(summary["unreadable"]) == {"e", "f"}
    assert summary["files_without_a_row"] == [str(tmp_path / "stranger.png")]


def test_report_and_files(table: pd.DataFrame, tmp_path: Path) -> None:
    result = audit.within(table, duplicates.fingerprints(list(table["path"])))
    text = audit.describe("toy", result)
    assert "excluded | test: 0 groups, 0 and 0 images (excluded on purpose)" in text
    assert "test | train, different groups: 1" in text
    assert "d is mel, d_small is bcc" in text
    out = tmp_path / "out"
    audit.write(result, table, table, out, 60)
    assert json.loads((out / "audit.json").read_text()) == result.summary
    assert len(pd.read_csv(out / "pairs.csv")) == 2
    assert {"value", "p"} <= set(pd.read_csv(out / "drift.csv").columns)
    sheet = np.asarray(Image.open(out / "pairs.png"))
    assert sheet.shape[1] == audit.PAIRS_PER_ROW * (2 * audit.CELL[0] + 10)


def test_the_sheet_shows_pairs_across_the_split_first(table: pd.DataFrame) -> None:
    result = audit.within(table, duplicates.fingerprints(list(table["path"])))
    first = audit.contact_sheet(result.pairs, table["path"], table["path"], 1)
    both = audit.contact_sheet(result.pairs, table["path"], table["path"], 2)
    width = 2 * audit.CELL[0]
    first_cell = np.asarray(first)[: audit.CELL[1], :width]
    np.testing.assert_array_equal(first_cell, np.asarray(both)[: audit.CELL[1], :width])
    left, right = first_cell[:, : audit.CELL[0]], first_cell[:, audit.CELL[0] :]
    np.testing.assert_array_equal(left, right)  # c and its copy, not d and its smaller copy


def test_cramers_v_by_hand() -> None:
    # expected 15 15 / 15 15, so chi-square = 4 * 25 / 15 = 20 / 3; V = sqrt(20 / 3 / 60) = 1 / 3
    assert audit.cramers_v(np.array([[10, 20], [20, 10]])) == pytest.approx(1 / 3)
    assert audit.cramers_v(np.array([[7, 0], [0, 5]])) == pytest.approx(1)
    assert audit.cramers_v(np.array([[10, 20], [10, 20]])) == pytest.approx(0)


def test_standardised_mean_difference_by_hand() -> None:
    # means 2 and 5, variances 1 and 7: 3 / sqrt(4)
    first, second = np.array([1.0, 2.0, 3.0]), np.array([2.0, 6.0, 7.0])
    assert second.var(ddof=1) == pytest.approx(7)
    assert audit.standardised_mean_difference(first, second) == pytest.approx(1.5)
    assert np.isnan(audit.standardised_mean_difference(first, second[:1]))
    assert np.isnan(audit.standardised_mean_difference(np.ones(3), np.ones(3)))


def test_drift_counts_a_group_once_and_knows_the_missing() -> None:
    rows = [("train", f"T{number}", "male", 40) for number in range(20)]
    rows += [("test", f"U{number}", "male", 50) for number in range(10)] + [("test", "U9", "female", 90)] * 50
    rows += [("test", f"V{number}", None, None) for number in range(10)]
    table = pd.DataFrame(rows, columns=["split", "group", "sex", "age"]).assign(label="nv")
    drift = {row["variable"]: row for row in audit.drifts(table, "train", "test")}
    # 20 male and 0 unknown against 10 and 10: chi-square = 40 / 3, V = sqrt(40 / 3 / 40)
    assert drift["sex"]["value"] == pytest.approx(np.sqrt(1 / 3))
    assert drift["sex"]["chi_square"] == pytest.approx(40 / 3)
    assert drift["sex"]["degrees"] == 1
    assert drift["age"]["detail"].endswith("test: mean 50.0, SD 0.0, n = 10, 10 missing")
    assert "label" not in drift  # a single value cannot drift


def test_resampling_before_the_split_copies_training_rows_into_the_test() -> None:
    classes = {"rare": 10, "common": 10_000}
    rows = [
        (f"{label}{number}", f"{label}{number // 2}", label)
        for label, count in classes.items()
        for number in range(count)
    ]
    table = pd.DataFrame(rows, columns=["image", "group", "label"])
    result = audit.resample_before_split(table, 200, 3)
    assert list(result["test"]) == [100] * 3
    assert (result["copies_rare"] == 1).all()  # each rare image is drawn about 20 times
    assert (result["copies_common"] < 0.1).all()
    assert (result["lesions"] >= result["copies"]).all()
    pd.testing.assert_frame_equal(result, audit.resample_before_split(table, 200, 3))
    text = audit.describe_resampling(result, 200)
    assert "rare       100.0% (100.0% to 100.0%)" in text


def test_command_on_a_data_set(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(tiny_data))
    assert run("ham10000", "--split-column", "split", "--out", tmp_path) == 0
    assert "test | test_sibling: 1 groups" in capsys.readouterr().out
    assert run("ham10000", "--out", tmp_path) == 0
    assert "excluded | test: 1 groups" in capsys.readouterr().out
    assert json.loads((tmp_path / "ham10000" / "audit.json").read_text())["images"] == 29
    assert run("ham10000", "--reproduce", audit.RESAMPLE, "--per-class", 20, "--seeds", 2) == 0
    assert "test rows: 35" in capsys.readouterr().out


@pytest.mark.slow
def test_command_against_another_data_set(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "ham10000" / "images").mkdir(parents=True)
    source = pd.read_csv(tiny_data / "ham10000" / "metadata.csv")
    source.to_csv(tmp_path / "ham10000" / "metadata.csv", index=False)
    malignant = {label.code: label.malignant for label in HAM10000.labels}
    for kind in ("malignant", "benign"):
        (tmp_path / "malignant_benign" / kind).mkdir(parents=True)
        texture(1000).resize((112, 112)).save(tmp_path / "malignant_benign" / kind / "99.png")
    for number, row in enumerate(source.itertuples()):
        texture(number).save(tmp_path / "ham10000" / "images" / f"{row.image_id}.webp")
        if number < 6:
            # the first copy gets the wrong label on purpose
            kind = "malignant" if malignant[row.dx] != (number == 0) else "benign"
            texture(number).resize((112, 112)).save(tmp_path / "malignant_benign" / kind / f"{number}.png")
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path))
    assert run("ham10000", "--against", "malignant_benign", "--out", tmp_path / "out") == 0
    text = capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "ham10000-against-malignant_benign" / "audit.json").read_text())
    assert summary["images_in_both"] == [6, 6]
    assert len(summary["label_conflicts"]) == 1
    assert "6 of the first and 6 of the second" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split-column", "fold"], "lacks the column fold"),
        (["--against", "ham10000"], "names the same data set"),
        (["--seeds", "0"], "--seeds is 0"),
    ],
)
def test_impossible_options_are_refused(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(tiny_data))
    with pytest.raises(DataError, match=message):
        run("ham10000", *arguments)


def test_a_missing_data_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path))
    with pytest.raises(DataError, match="set SKINAPP_DATA"):
        run("malignant_benign")


@pytest.mark.data
def test_a_tutorials_protocol_tests_on_what_it_trained_on(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(data_root))
    result = audit.resample_before_split(audit.read("ham10000", None), 500, 5)
    assert 0.48 < result["copies"].mean() < 0.58
    assert 0.60 < result["lesions"].mean() < 0.70
