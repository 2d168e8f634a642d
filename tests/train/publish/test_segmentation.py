"""Training of the lesion segmentation on drawings: views, resuming, and a folder that the app can use."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinapp.errors import DataError
from skinapp.labels.sets import HAM10000
from skinapp.lesion import segmentation as lesion_segmentation
from train.__main__ import main
from train.data import masks
from train.publish import segmentation

pytestmark = pytest.mark.slow


def draw_lesion(seed: int) -> tuple[Image.Image, Image.Image]:
    """A dark ellipse on skin, 160x120, and its mask."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:120, :160]
    y, x = generator.uniform(50, 70), generator.uniform(65, 95)
    mask = ((rows - y) / generator.uniform(20, 35)) ** 2 + ((columns - x) / generator.uniform(20, 35)) ** 2 <= 1
    pixels = np.where(mask[..., np.newaxis], (90, 60, 50), (220, 180, 160)) + generator.normal(0, 4, (120, 160, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), Image.fromarray(mask.astype(np.uint8) * 255)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the form of HAM10000 with masks: nine lesions of each class, one of them tested."""
    root = tmp_path_factory.mktemp("data") / "ham10000"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    rows = []
    for number in range(9 * len(HAM10000.codes)):
        image, code = f"ISIC_{number:07}", HAM10000.codes[number % len(HAM10000.codes)]
        rows.append((f"HAM_{number}", image, code, "test" if number < len(HAM10000.codes) else "train"))
        picture, mask = draw_lesion(number)
        picture.save(root / "images" / f"{image}.png")
        mask.save(root / "masks" / f"{image}.png")
    table = pd.DataFrame(rows, columns=["lesion_id", "image_id", "dx", "split"])
    table = table.assign(dx_type="histo", age=50.0, sex="female", localization="back")
    table.to_csv(root / "metadata.csv", index=False)
    return root.parent


def tiny(init: str) -> Any:
    """Replaces the U-Net with a threshold on smoothed brightness."""
    import keras
    from keras import layers

    images = keras.Input((segmentation.SIZE, segmentation.SIZE, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    x = layers.Conv2D(4, 5, padding="same", activation="relu")(x)
    x = layers.Conv2D(1, 1)(x)
    return keras.Model(images, layers.Reshape((segmentation.SIZE, segmentation.SIZE), name="logits")(x))


def test_dice_worked_by_hand() -> None:
    predicted = np.array([[[True, True], [False, False]], [[False, False], [False, False]]])
    true = np.array([[[True, False], [False, False]], [[False, False], [False, False]]])
    # 2 * 1 / (2 + 1), and two empty masks
    assert segmentation.dice(predicted, true) == pytest.approx([2 / 3, 1])


def test_views_keep_picture_and_mask_together() -> None:
    picture, mask = draw_lesion(0)
    picture, mask = (np.asarray(one.resize((masks.WIDTH, masks.HEIGHT))) for one in (picture, mask))
    bare = 0
    for seed in range(60):
        pixels, target = masks.view(picture, mask, 96, np.random.default_rng(seed))
        assert pixels.shape == (96, 96, 3)
        assert pixels.dtype == np.uint8
        assert target.dtype == np.float32
        assert 0 <= target.min() <= target.max() <= 1
        if not target.any():
            bare += 1
            continue
        inside, outside = target > 0.9, target < 0.1
        if inside.any() and outside.any():
            assert pixels[inside].mean() < pixels[outside].mean()
    assert 0 < bare < 20


def test_a_mask_is_cut_as_its_image_is() -> None:
    picture, mask = draw_lesion(3)
    grey = np.asarray(picture.convert("L").resize((60, 60), box=(20, 0, 140, 120)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks.Image, "open", lambda _: mask)
        cut = masks.square_mask(Path("any"), 60)
    assert cut.shape == (60, 60)
    assert grey[cut].mean() + 50 < grey[~cut].mean()


def test_training_stops_resumes_and_ends_in_a_folder_that_the_app_uses(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(data))
    monkeypatch.setattr(segmentation, "build", tiny)
    runs, models = tmp_path / "runs", tmp_path / "models"
    command = ["segment", "--samples", "64", "--runs", str(runs), "--models", str(models), "--init", "none"]

    class StopError(Exception):
        pass

    real = segmentation.earlier_scores

    def stop_in_the_second_epoch(folder: Path) -> list[float]:
        scores = real(folder)
        if len(scores) == 1:
            raise StopError
        return scores

    monkeypatch.setattr(segmentation, "earlier_scores", stop_in_the_second_epoch)
    with pytest.raises(StopError):
        main([*command, "--epochs", "3"])
    monkeypatch.setattr(segmentation, "earlier_scores", real)
    assert main([*command, "--epochs", "3"]) == 0
    history = pd.read_csv(models / "lesion-segmentation" / "history.csv")
    assert history["epoch"].tolist() == [0, 1, 2]
    assert {path.name for path in (models / "lesion-segmentation").iterdir()} == {
        "model.json",
        "model.tflite",
        "README.md",
        "history.csv",
        "dice.csv",
    }

    monkeypatch.setenv("SKINAPP_MODELS", str(models))
    card = lesion_segmentation.card()
    assert card["test"] == {"images": 7, "groups": 7, "side": 120}
    assert card["threshold"] in segmentation.THRESHOLDS
    square = np.asarray(draw_lesion(100)[0].crop((20, 0, 140, 120)).resize((224, 224)))
    assert lesion_segmentation.probabilities(square).shape == (224, 224)

    # the same folder with other settings is another run
    assert main([*command, "--epochs", "5"]) == 2
    assert "started with other settings" in capsys.readouterr().err

    (models / "lesion-segmentation" / "model.tflite").write_bytes(b"corrupted")
    lesion_segmentation._loaded.cache_clear()
    with pytest.raises(lesion_segmentation.ModelError, match="changed after it was published"):
        lesion_segmentation.probabilities(square)


def test_a_missing_mask_is_named(data: Path, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "ham10000"
    shutil.copytree(data / "ham10000", root)
    (root / "masks" / "ISIC_0000020.png").unlink()
    with pytest.raises(DataError, match="ISIC_0000020"):
        masks.table(root)
