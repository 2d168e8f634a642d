from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from skinapp.datasets import duplicates
from skinapp.datasets.duplicates import NEAR, SAME_FILE, SAME_PIXELS
from tests.pictures import encode
from tests.train.textures import texture


def pairs_in(folder: Path, files: dict[str, bytes]) -> set[tuple[str, str, str, bool]]:
    """The duplicate pairs among files, as (first, second, kind, turned)."""
    paths = []
    for name, content in files.items():
        (folder / name).write_bytes(content)
        paths.append(folder / name)
    pairs = duplicates.pairs(duplicates.fingerprints(paths))
    names = list(files)
    return {
        (names[pair["first"]], names[pair["second"]], pair["kind"], pair["turned"]) for pair in pairs.to_dict("records")
    }


@pytest.mark.slow
def test_unrelated_images_are_not_matched(tmp_path: Path) -> None:
    assert pairs_in(tmp_path, {f"{seed}": encode(texture(seed)) for seed in range(60)}) == set()


def test_copies_of_the_file_and_of_the_pixels(tmp_path: Path) -> None:
    image = texture(0)
    files = {"a": encode(image, "PNG"), "b": encode(image, "PNG"), "c": encode(image, "BMP"), "d": encode(texture(1))}
    assert pairs_in(tmp_path, files) == {
        ("a", "b", SAME_FILE, False),
        ("a", "c", SAME_PIXELS, False),
        ("b", "c", SAME_PIXELS, False),
    }


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(lambda image: encode(image, quality=40), id="strong compression"),
        pytest.param(lambda image: encode(image.resize((160, 120))), id="smaller"),
        pytest.param(lambda image: encode(image.resize((224, 224)), "WEBP", quality=70), id="squeezed to a square"),
        pytest.param(lambda image: encode(image.resize((1200, 900))), id="larger"),
        pytest.param(lambda image: encode(ImageOps.autocontrast(image)), id="contrast"),
        pytest.param(lambda image: encode(image.point(lambda value: min(value + 25, 255))), id="brighter"),
    ],
)
def test_altered_copies_are_near(tmp_path: Path, copy: object) -> None:
    for seed in range(4):
        files = {"original": encode(texture(seed)), "copy": copy(texture(seed)), "other": encode(texture(seed + 100))}
        assert pairs_in(tmp_path, files) == {("original", "copy", NEAR, False)}


@pytest.mark.parametrize("transposition", list(Image.Transpose))
def test_rotated_and_mirrored_copies_are_near(tmp_path: Path, transposition: Image.Transpose) -> None:
    image = texture(3)
    files = {"original": encode(image), "turned": encode(image.transpose(transposition), quality=80)}
    assert pairs_in(tmp_path, files) == {("original", "turned", NEAR, True)}


def test_rotating_coefficients_rotates_the_image() -> None:
    grey = np.random.default_rng(0).normal(size=(1, duplicates.SIDE, duplicates.SIDE)).astype(np.float32)
    turned = {1: grey[:, :, ::-1], 2: grey[:, ::-1], 3: grey[:, ::-1, ::-1], 4: grey.swapaxes(1, 2)}
    turned |= {
        4 + number: grey.swapaxes(1, 2)[:, :: 1 - number // 2 * 2, :: 1 - number % 2 * 2] for number in (1, 2, 3)
    }
    coarse, details = duplicates._transform(grey)
    for orientation, image in turned.items():
        other_coarse, other_details = duplicates._transform(image)
        np.testing.assert_allclose(duplicates.turn(coarse, orientation), other_coarse, atol=1e-4)
        np.testing.assert_allclose(duplicates.turn(details, orientation), other_details, atol=1e-6)


def test_even_images_are_like_their_copies_only(tmp_path: Path) -> None:
    files = {f"{value}": encode(Image.new("RGB", (100, 100), (value, 90, 90)), "PNG") for value in (10, 100, 200)}
    files["again"] = files["10"]
    assert pairs_in(tmp_path, files) == {("10", "again", SAME_FILE, False)}


def test_unreadable_files_are_noted_and_match_nothing(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(encode(texture(0), "PNG"))
    (tmp_path / "bad.png").write_bytes(b"not an image")
    paths = [tmp_path / name for name in ("good.png", "bad.png", "bad.png", "none.png")]
    prints = duplicates.fingerprints(paths)
    assert list(prints.problems) == [1, 2, 3]
    assert "no such file" in prints.problems[3]
    assert duplicates.pairs(prints).empty


def test_pairs_between_two_sets_are_rows_of_each(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(encode(texture(number), "PNG"))
    (tmp_path / "copy.jpg").write_bytes(encode(texture(3)))
    first = duplicates.fingerprints([tmp_path / f"{number}.png" for number in range(5)])
    second = duplicates.fingerprints([tmp_path / "copy.jpg", tmp_path / "1.png"])
    pairs = duplicates.pairs(first, second)
    assert list(zip(pairs["first"], pairs["second"], pairs["kind"], strict=True)) == [(1, 1, SAME_FILE), (3, 0, NEAR)]


def test_many_images_are_searched_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    for number in range(7):
        (tmp_path / f"{number}.png").write_bytes(encode(texture(number % 5), "PNG"))
        paths.append(tmp_path / f"{number}.png")
    prints = duplicates.fingerprints(paths)
    whole = duplicates.pairs(prints)
    monkeypatch.setattr(duplicates, "BLOCK", 2)
    pd.testing.assert_frame_equal(duplicates.pairs(prints), whole)
    assert list(zip(whole["first"], whole["second"], strict=True)) == [(0, 5), (1, 6)]


@pytest.mark.slow
def test_beyond_the_limit_sorted_neighbours_are_compared_and_copies_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(encode(texture(number), "PNG"))
        paths.append(tmp_path / f"{number}.png")
    for number, altered in enumerate((texture(7).resize((200, 150)), texture(9).transpose(Image.Transpose.ROTATE_90))):
        (tmp_path / f"copy{number}.jpg").write_bytes(encode(altered, quality=70))
        paths.append(tmp_path / f"copy{number}.jpg")
    prints = duplicates.fingerprints(paths)
    whole = duplicates.pairs(prints)
    assert list(zip(whole["first"], whole["second"], whole["turned"], strict=True)) == [(7, 40, False), (9, 41, True)]
    monkeypatch.setattr(duplicates, "EXHAUSTIVE", 10)
    pd.testing.assert_frame_equal(duplicates.pairs(prints), whole)


def test_of_very_many_equal_images_each_is_paired_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "MANY_EQUAL", 4)
    image = encode(texture(0), "PNG")
    duplicated = pairs_in(tmp_path, dict.fromkeys("abcde", image))
    assert duplicated == {("a", name, SAME_FILE, False) for name in "bcde"}


def test_clusters_follow_links_through_others() -> None:
    numbers = duplicates.clusters(6, [([0, 1], [1, 2]), ([4], [3])])
    assert numbers[0] == numbers[1] == numbers[2]
    assert numbers[3] == numbers[4]
    assert len(set(numbers)) == 3
