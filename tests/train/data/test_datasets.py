import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.images import artefacts, imaging
from skinapp.labels.sets import HAM10000, MALIGNANCY, MILK10K, PAD_UFES_20
from tests.full_disk import full_disk_from_now, only_where_there_is_one
from tests.sources import write_isic_more, write_milk10k
from train.data import datasets
from train.fit import metadata
from train.fit.metadata import METADATA


@pytest.fixture
def own_data(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate copy of the tiny HAM10000, for tests that corrupt it."""
    folder = tmp_path / "data" / "ham10000"
    (folder / "images").mkdir(parents=True)
    (folder / "metadata.csv").write_bytes((tiny_data / "ham10000" / "metadata.csv").read_bytes())
    for image in (tiny_data / "ham10000" / "images").iterdir():
        (folder / "images" / image.name).write_bytes(image.read_bytes())
    monkeypatch.setenv("SKINAPP_DATA", str(folder.parent))
    return folder


def test_the_table_has_the_common_form(tiny_data: Path) -> None:
    table = datasets.ham10000(tiny_data / "ham10000")
    assert tuple(table.columns) == datasets.COLUMNS
    assert table["split"].value_counts().to_dict() == {"train": 21, "test": 7, "excluded": 1}
    assert all(Path(path).is_file() for path in table["path"])


@pytest.mark.parametrize("fold", [0, 1])
def test_no_lesion_is_in_two_splits(tiny_data: Path, fold: int) -> None:
    table = datasets.with_validation(datasets.ham10000(tiny_data / "ham10000"), 2, fold, seed=0)
    groups = {split: set(rows["group"]) for split, rows in table.groupby("split")}
    assert groups.keys() == {"train", "validation", "test", "excluded"}
    for one, other in itertools.combinations(groups.keys() - {"excluded"}, 2):
        assert not groups[one] & groups[other]
    assert groups["excluded"] <= groups["test"]


def test_folds_cover_the_training_split_once(tiny_data: Path) -> None:
    table = datasets.ham10000(tiny_data / "ham10000")
    parts = [datasets.with_validation(table, 2, fold, seed=3) for fold in (0, 1)]
    first, second = (part["split"] == "validation" for part in parts)
    assert ((first ^ second) == (table["split"] == "train")).all()
    again = datasets.with_validation(table, 2, 0, seed=3)
    assert (again["split"] == parts[0]["split"]).all()


def test_copies_of_test_images_are_left_out_of_the_folds(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = datasets.ham10000(tiny_data / "ham10000")
    plain = datasets.with_validation(table, 2, 0, seed=0)
    copies = [plain["image"][plain["split"] == split].iloc[0] for split in ("train", "validation")]
    monkeypatch.setattr(datasets, "COPIES_OF_TEST", tuple(copies))
    result = datasets.with_validation(table, 2, 0, seed=0)
    assert (result["split"] != plain["split"]).sum() == 2
    assert set(result["split"][result["image"].isin(copies)]) == {"excluded"}


def test_a_lesion_in_two_splits_is_refused(tiny_data: Path) -> None:
    table = datasets.ham10000(tiny_data / "ham10000")
    leaking = table["group"].where(table["split"] != "test", "HAM_nv_a")
    with pytest.raises(DataError, match="HAM_nv_a is in several parts"):
        datasets.with_validation(table.assign(group=leaking), 2, 0, seed=0)


def test_more_folds_than_images_are_refused(tiny_data: Path) -> None:
    with pytest.raises(DataError, match="cannot be divided into 50 folds; use fewer"):
        datasets.with_validation(datasets.ham10000(tiny_data / "ham10000"), 50, 0, seed=0)


def test_the_cache_holds_what_the_app_would_see(own_data: Path, tmp_path: Path) -> None:
    data = datasets.prepare("ham10000", 40, tmp_path / "runs")
    assert data.images.shape == (29, 40, 40, 3)
    assert data.images.dtype == np.uint8
    for row in (0, 13, 28):
        assert (data.images[row] == imaging.load(data.table["path"].iloc[row], 40)).all()


def test_images_after_removal_have_a_separate_cache(own_data: Path, tmp_path: Path) -> None:
    plain = datasets.prepare("ham10000", 40, tmp_path / "runs")
    bare = datasets.prepare("ham10000", 40, tmp_path / "runs", remove=("hair", "ink"))
    for row in (0, 13, 28):
        assert (bare.images[row] == artefacts.remove(plain.images[row], ["hair", "ink"]).pixels).all()
    assert (tmp_path / "runs" / "cache" / "ham10000-40-without-hair-ink").is_dir()


def test_the_cache_is_used_again_and_rebuilt_for_another_table(
    own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = datasets.prepare("ham10000", 40, tmp_path / "runs")
    decoded = []
    load = imaging.load

    def recording(path: Path, size: int) -> np.ndarray:
        decoded.append(path)
        return load(path, size)

    monkeypatch.setattr(imaging, "load", recording)
    assert (datasets.prepare("ham10000", 40, tmp_path / "runs").images == first.images).all()
    assert not decoded

    table = pd.read_csv(own_data / "metadata.csv").iloc[::-1]
    table.to_csv(own_data / "metadata.csv", index=False)
    other = datasets.prepare("ham10000", 40, tmp_path / "runs")
    assert len(decoded) == 29
    assert (other.images[0] == load(other.table["path"].iloc[0], 40)).all()


def test_a_row_without_an_image_is_named_before_any_is_decoded(own_data: Path, tmp_path: Path) -> None:
    (own_data / "images" / "ISIC_0000004.webp").unlink()
    with pytest.raises(DataError, match=r"1 of 29 images are not in .*ISIC_0000004"):
        datasets.prepare("ham10000", 40, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_images_may_have_any_format(own_data: Path) -> None:
    (own_data / "images" / "ISIC_0000004.webp").rename(own_data / "images" / "ISIC_0000004.jpg")
    assert {path.suffix for path in datasets.ham10000(own_data)["path"]} == {".webp", ".jpg"}


def test_every_unreadable_image_is_listed_and_no_cache_is_left(own_data: Path, tmp_path: Path) -> None:
    (own_data / "images" / "ISIC_0000003.webp").write_bytes(b"")
    (own_data / "images" / "ISIC_0000004.webp").write_bytes(b"not an image")
    with pytest.raises(DataError) as caught:
        datasets.prepare("ham10000", 40, tmp_path / "runs")
    message = str(caught.value)
    assert "2 of 29 images cannot be read" in message
    assert "ISIC_0000003: The file is empty" in message
    assert "ISIC_0000004: This is not a readable image" in message
    assert not list((tmp_path / "runs").rglob("*.npy"))
    assert not list((tmp_path / "runs").rglob("*.json"))


@only_where_there_is_one
@pytest.mark.parametrize("name", ["images.npy", "stamp.json"])
def test_a_full_disk_is_reported_and_leaves_no_cache(
    name: str, own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "cache" / "ham10000-40"
    with monkeypatch.context() as patch:
        full_disk_from_now(patch, folder / name)
        with pytest.raises(DataError, match=f"{name} cannot be written: No space left on device"):
            datasets.prepare("ham10000", 40, tmp_path / "runs")
    assert not list(folder.glob("partial*"))
    data = datasets.prepare("ham10000", 40, tmp_path / "runs")
    assert (data.images[28] == imaging.load(data.table["path"].iloc[28], 40)).all()


CORRUPTIONS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "unknown label": (
        lambda table: table.assign(dx=table["dx"].replace("df", "wart")),
        "Labels outside akiec, .*: wart",
    ),
    "empty label": (lambda table: table.assign(dx=table["dx"].replace("df", np.nan)), "an empty one"),
    "class without an image": (lambda table: table[table["dx"] != "df"], "No image of the classes df"),
    "one image twice": (lambda table: pd.concat([table, table.iloc[[5]]]), "lists an image twice: ISIC_0000005"),
    "column missing": (lambda table: table.drop(columns="lesion_id"), "lacks the column lesion_id; it has image_id"),
    "unknown part": (lambda table: table.assign(split="exam"), "The column split of .* has exam"),
    "demographics missing": (lambda table: table.drop(columns=["age", "sex"]), "lacks the columns age, sex"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_table_is_refused(name: str, own_data: Path) -> None:
    corrupt, sentence = CORRUPTIONS[name]
    corrupt(pd.read_csv(own_data / "metadata.csv")).to_csv(own_data / "metadata.csv", index=False)
    with pytest.raises(DataError, match=sentence):
        datasets.ham10000(own_data)


def test_further_columns_and_images_do_no_harm(own_data: Path) -> None:
    before = datasets.ham10000(own_data)
    pd.read_csv(own_data / "metadata.csv").assign(note="x").to_csv(own_data / "metadata.csv", index=False)
    (own_data / "images" / "ISIC_9999999.webp").write_bytes((own_data / "images" / "ISIC_0000000.webp").read_bytes())
    pd.testing.assert_frame_equal(datasets.ham10000(own_data), before)


def test_without_data_the_message_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path))
    with pytest.raises(DataError, match="set SKINAPP_DATA"):
        datasets.prepare("ham10000", 40, tmp_path)


def splits_of(table: pd.DataFrame) -> dict[str, int]:
    return {str(split): int(count) for split, count in table["split"].value_counts().items()}


def test_milk10k_is_read_by_modality_in_the_classes_of_the_set_it_joins(own_data: Path) -> None:
    write_milk10k(own_data.parent)
    dermoscopy, clinical = datasets.read("milk10k"), datasets.read("milk10k-clinical")
    for table in (dermoscopy, clinical):
        assert tuple(table.columns) == datasets.COLUMNS
        assert set(table["site"]) == {"head, neck or face"}
        # the two pictures of a lesion are in the same part
        assert set(table.loc[table["split"] == "test", "group"].str[-1]) == {"c"}
    assert set(dermoscopy["label"]) == set(HAM10000.codes), "neither scc nor the classes that HAM10000 lacks"
    assert splits_of(dermoscopy) == {"train": 21, "test": 7}
    assert set(clinical["label"]) == set(PAD_UFES_20.codes)
    assert splits_of(clinical) == {"train": 18, "test": 6}
    assert not set(dermoscopy["image"]) & set(clinical["image"])
    assert {Path(path).parent.name for path in clinical["path"]} == {"clinical"}


@pytest.mark.parametrize("fold", [0, 1])
def test_the_images_of_a_pair_are_read_with_their_own_classes_and_held_out_together(own_data: Path, fold: int) -> None:
    write_milk10k(own_data.parent)
    file = own_data.parent / "milk10k" / "metadata.csv"
    published = pd.read_csv(file)
    # one lesion has no dermoscopy image, and the close-ups are listed in another order
    published = published[(published["lesion_id"] != "IL_NV_b") | (published["modality"] == "clinical")]
    published.sort_values(["modality", "age"]).iloc[::-1].to_csv(file, index=False)
    tables = [datasets.read(name) for name in ("milk10k-pairs", "milk10k-pairs-clinical")]
    for table, folder in zip(tables, ("dermoscopy", "clinical"), strict=True):
        assert tuple(table.columns) == datasets.COLUMNS
        assert set(table["label"]) == set(MILK10K.codes)
        assert splits_of(table) == {"train": 32, "test": 11}
        assert "IL_NV_b" not in set(table["group"])
        assert {Path(path).parent.name for path in table["path"]} == {folder}
    divided = [datasets.with_validation(table, 2, fold, seed=0) for table in tables]
    parts = [dict(zip(table["group"], table["split"], strict=True)) for table in divided]
    assert parts[0] == parts[1]
    assert set(parts[0].values()) == {"train", "validation", "test"}


def test_a_lesion_that_is_in_two_sets_is_in_one_fold(own_data: Path) -> None:
    # the first image of HAM10000's melanomas
    ham = datasets.read("ham10000")
    original = ham.loc[ham["group"] == "HAM_mel_a", "image"].iloc[0]
    write_milk10k(own_data.parent, copy_of=original)
    table = datasets.read("ham10000+milk10k")
    copy = table[table["copy_of"] == original]
    assert copy["group"].tolist() == ["HAM_mel_a"]
    for fold in (0, 1):
        divided = datasets.with_validation(table, 2, fold, seed=0)
        parts = divided.loc[divided["group"] == "HAM_mel_a", "split"]
        assert len(parts) == 3
        assert len(set(parts)) == 1
    # alone, it is a lesion like any other
    assert "HAM_mel_a" not in set(datasets.read("milk10k")["group"])


@pytest.mark.parametrize(("original", "copy"), [("test", "train"), ("excluded", "train"), ("train", "test")])
def test_a_copy_across_training_and_test_is_left_out(own_data: Path, original: str, copy: str) -> None:
    ham = datasets.read("ham10000")
    one = ham[ham["split"] == original].iloc[:1]
    other = one.assign(dataset="milk10k", image="ISIC_9000000", group="IL_1", split=copy, copy_of=one["image"].item())
    table = datasets.with_copies(pd.concat([ham, other], ignore_index=True))
    assert table["split"].iloc[-1] == "excluded"
    assert (table["split"].iloc[:-1] == ham["split"]).all()


def test_further_images_train_in_every_fold_but_copies_of_held_out_lesions(own_data: Path) -> None:
    write_isic_more(own_data.parent, patient="HAM_mel_a")
    table = datasets.read("ham10000+isic_more")
    more = table["dataset"] == "isic_more"
    assert splits_of(table[more]) == {"train": 7, "excluded": 2}, "melanomas of a collection without other classes"
    assert set(table.loc[more, "source"]) == {"isic_acral", "isic2019_melanoma_300"}
    alone = [datasets.with_validation(table[~more], 2, fold, seed=0) for fold in (0, 1)]
    both = [datasets.with_validation(table, 2, fold, seed=0) for fold in (0, 1)]
    for one, together in zip(alone, both, strict=True):
        assert (one["split"] == together.loc[~more, "split"]).all()
    # a patient who is also in HAM10000 is held out with HAM10000's lesion, and only then
    held_out = [set(part.loc[more & (part["split"] == "validation"), "group"]) for part in both]
    assert sorted(map(len, held_out)) == [0, 1]
    assert {"HAM_mel_a"} in held_out
    assert all(splits_of(part[more])["excluded"] == 2 for part in both)


def test_a_further_image_of_the_malignant_benign_set_has_its_part(own_data: Path) -> None:
    write_isic_more(own_data.parent, copy_of="malignant/7.webp")
    more = datasets.read("isic_more")
    kaggle = more.iloc[:1].assign(dataset="malignant_benign", image="malignant/7", group="malignant/7", copy_of=None)
    for split, expected in (("train", "train"), ("test", "excluded")):
        both = datasets.with_copies(pd.concat([kaggle.assign(split=split), more], ignore_index=True))
        assert both["group"].iloc[1] == "malignant/7"
        assert both["split"].iloc[1] == expected


def test_a_picture_of_the_malignant_benign_sets_test_part_is_never_trained_on(
    own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if that set is not read, as a network of one set may initialise that of another."""
    listed = tmp_path / "listed.csv"
    monkeypatch.setattr(datasets.splits, "MALIGNANT_BENIGN", listed)
    write_isic_more(own_data.parent, copy_of="malignant/7.webp")
    for part, expected in (("test", 6), ("excluded", 6), ("train", 7)):
        listed.write_text(f"image,group,ham10000,split\nmalignant/7,malignant/7,,{part}\n")
        table = datasets.with_validation(datasets.read("ham10000+isic_more"), 2, 0, seed=0)
        more = table[table["dataset"] == "isic_more"]
        assert splits_of(more)["train"] == expected


def test_close_ups_train_in_every_fold_with_another_set_and_are_divided_when_alone(own_data: Path) -> None:
    write_milk10k(own_data.parent)
    table = datasets.read("milk10k-clinical")
    assert splits_of(datasets.with_validation(table, 2, 0, seed=0))["validation"] == 9
    beside = table.assign(dataset="pad_ufes_20", group=table["group"] + " other", image=table["image"] + " other")
    both = pd.concat([beside, table], ignore_index=True)
    divided = datasets.with_validation(both, 2, 0, seed=0)
    assert splits_of(divided[divided["dataset"] == "milk10k-clinical"]) == {"train": 18, "test": 6}
    everything = datasets.with_validation(both, 2, 0, seed=0, hold_out_all=True)
    assert splits_of(everything[everything["dataset"] == "milk10k-clinical"])["validation"] == 9
    first = datasets.validation_rows(everything)
    assert set(everything["dataset"].iloc[first]) == {"pad_ufes_20"}
    assert len(first) == splits_of(divided)["validation"]


def test_a_source_is_left_out_with_its_lesions_elsewhere(own_data: Path) -> None:
    ham = datasets.read("ham10000")
    original = ham.loc[ham["group"] == "HAM_mel_a", "image"].iloc[0]
    write_milk10k(own_data.parent, copy_of=original)
    table = datasets.read("ham10000+milk10k")
    milk = table["source"] == "milk10k"
    for fold in (0, 1):
        whole = datasets.with_validation(table, 2, fold, seed=0)
        without = datasets.with_validation(table, 2, fold, seed=0, without="milk10k")
        assert "train" not in splits_of(without[milk])
        changed = whole["split"] != without["split"]
        assert set(without.loc[changed, "split"]) == {"excluded"}
        assert set(whole.loc[changed, "split"]) == {"train"}
        # the scored images stay the same, and the copied lesion is also left out of HAM10000
        assert (whole["split"] == "validation").equals(without["split"] == "validation")
        assert set(whole.loc[changed & ~milk, "group"]) <= {"HAM_mel_a"}
        assert not ((without["split"] == "train") & (without["group"] == "HAM_mel_a")).any()
    with pytest.raises(DataError, match="no source 'nowhere'; these are trained on: ham10000, milk10k"):
        datasets.with_validation(table, 2, 0, seed=0, without="nowhere")


def test_malignancy_knows_the_diagnoses_of_every_set() -> None:
    codes = pd.Series(["mel", "nv", "ACK", "AKIEC", "INF", "MAL_OTH", "SCCKA"])
    assert datasets.encode(codes, MALIGNANCY).tolist() == [1, 0, 0, 1, 0, 1, 1]


@pytest.mark.data
def test_biopsy_is_never_an_input(data_root: Path) -> None:
    for name, read in METADATA.items():
        fields = {field.name for field in metadata.questions(read(data_root / name))}
        assert {"age", "sex", "site"} <= fields
        assert not [field for field in fields if "biops" in field]
