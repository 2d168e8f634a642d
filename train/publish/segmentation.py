"""python -m train segment: the network that outlines the lesion, from HAM10000's masks to models/lesion-segmentation.

A U-Net (Ronneberger et al. 2015, arXiv:1505.04597) whose way down is the first four blocks of an EfficientNetV2B0, left
as ImageNet made them; the way up is learnt, from square views as the app cuts them, and kept as it does best on whole
lesions that were held back.
"""

import argparse
import hashlib
import importlib.metadata
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.errors import DataError, SegmentationError
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import registry
from skinapp.labels.sets import HAM10000
from skinapp.lesion import segmentation
from train.data import datasets, masks
from train.data.masks import Outlined
from train.publish.retrieval_index import share

if TYPE_CHECKING:
    import keras

SIZE = 96
"""Pixels of the network's input and of the outline it gives."""
SKIPS = {"block1a_project_activation": 16, "block2b_add": 32, "block3b_add": 48}
"""Activations that the way up takes from the way down, finest first, and the channels there."""
DEEPEST = "block4c_add"
BATCH = 32
JUDGED_SIDE = 120
"""Pixels of the squares at which outlines are judged: those of the published masks as they lie here."""
THRESHOLDS = np.arange(0.3, 0.71, 0.05).round(2)
POOR = 0.8
SEED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--init",
        default="efficientnetv2b0_imagenet_notop.weights.h5",
        metavar="FILE",
        help="initial weights in the folder SKINAPP_WEIGHTS, or imagenet: Keras fetches them (default: %(default)s)",
    )
    parser.add_argument("--epochs", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--samples", type=int, default=6400, metavar="N", help="views an epoch (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--models", type=Path, default=Path("models"), metavar="DIR", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    folder = options.runs / "lesion-segmentation"
    settings = {name: getattr(options, name) for name in ("init", "epochs", "samples")}
    begin(folder, settings)
    known = masks.prepare(options.runs)
    fit(known, folder, options.init, options.epochs, options.samples)
    content = to_litert(folder / "best.keras")
    card = evaluate(content, known.table, folder)
    print(json.dumps({name: card[name] for name in ("threshold", "validation", "scores", "diagnoses")}, indent=2))
    print(export(content, card, folder, options.models))
    return 0


def begin(folder: Path, settings: dict[str, str | int]) -> None:
    """Make the run's folder. DataError where one of other settings is there."""
    file = folder / "settings.json"
    if file.exists():
        if json.loads(file.read_text()) != settings:
            raise DataError(f"{folder} was begun with other settings; move it away, or pass another --runs folder.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(file) as partial:
        partial.write_text(json.dumps(settings, indent=2))


def build(init: str) -> "keras.Model":
    """RGB 0-255 [n, SIZE, SIZE, 3] -> logits of the lesion [n, SIZE, SIZE]."""
    import keras
    from keras import layers

    from train.fit import network

    def convolved(x: "keras.KerasTensor", filters: int) -> "keras.KerasTensor":
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        return layers.Activation("swish")(layers.BatchNormalization(momentum=0.95)(x))

    base = network.build("efficientnetv2b0", SIZE, 2, init)
    base.trainable = False
    x = convolved(base.get_layer(DEEPEST).output, 96)
    for name, filters in reversed(SKIPS.items()):
        x = layers.UpSampling2D(interpolation="bilinear")(layers.Conv2D(filters, 1, use_bias=False)(x))
        x = convolved(layers.Concatenate()([x, base.get_layer(name).output]), filters)
    x = layers.Conv2D(1, 1, dtype="float32")(x)
    x = layers.UpSampling2D(interpolation="bilinear", dtype="float32")(x)
    return keras.Model(base.input, layers.Reshape((SIZE, SIZE), name="logits")(x), name="lesion-segmentation")


def loss(targets: "keras.KerasTensor", logits: "keras.KerasTensor") -> "keras.KerasTensor":
    """Cross-entropy of each pixel and one less Dice of each image (Milletari et al. 2016, arXiv:1606.04797): [n]."""
    from keras import ops

    entropy = ops.mean(ops.relu(logits) - logits * targets + ops.softplus(-ops.abs(logits)), axis=(1, 2))
    probabilities = ops.sigmoid(logits)
    shared = ops.sum(probabilities * targets, axis=(1, 2))
    # a few pixels on both sides, so that an image without a lesion has a Dice as well
    of_both = ops.sum(probabilities, axis=(1, 2)) + ops.sum(targets, axis=(1, 2))
    return entropy + 1 - (2 * shared + 20) / (of_both + 20)


def views(known: Outlined, samples: int) -> "keras.utils.PyDataset":
    """Batches of random views of the training images; `start` draws those of an epoch, from its number alone."""
    import keras

    rows = np.flatnonzero(known.table["split"] == "train")

    class Views(keras.utils.PyDataset):
        batch = BATCH

        def start(self, epoch: int) -> None:
            self.epoch = epoch
            self.drawn = np.random.default_rng([SEED, epoch]).choice(rows, samples)

        def __len__(self) -> int:
            return samples // BATCH

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            generator = np.random.default_rng([SEED, self.epoch, index])
            pairs = [
                masks.view(known.pictures[row], known.masks[row], SIZE, generator)
                for row in self.drawn[index * BATCH : (index + 1) * BATCH]
            ]
            images, targets = zip(*pairs, strict=True)
            return np.stack(images), np.stack(targets)

    dataset = Views()
    dataset.start(0)
    return dataset


def fit(known: Outlined, folder: Path, init: str, epochs: int, samples: int) -> None:
    """Train, going on after the last finished epoch; leaves `best.keras` and `history.csv` in `folder`."""
    import keras

    from train.fit import training as training

    images, lesions = masks.squares(known.table[known.table["split"] == "validation"], SIZE)
    keras.utils.set_random_seed(SEED)
    network = build(init)
    dataset = views(known, samples)
    steps = len(dataset)
    network.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                1e-5, steps * epochs - steps // 2, warmup_target=1e-3, warmup_steps=steps // 2, alpha=0.01
            ),
            weight_decay=0.01,
        ),
        loss=loss,
        jit_compile=False,
    )

    def validate(epoch: int, logs: dict[str, float]) -> None:
        scores = dice(network.predict(images, batch_size=BATCH, verbose=0) > 0, lesions)
        logs["val_dice"] = float(scores.mean())
        if logs["val_dice"] > max(earlier_scores(folder)[:epoch], default=0.0):
            with replacing(folder / "best.keras") as partial:
                network.save(partial)

    bar = training.Progress(dataset, epochs)
    with training.interruptible() as stop:
        try:
            network.fit(
                dataset,
                initial_epoch=training.resume(network, folder),
                epochs=epochs,
                # the views of a batch follow from its number, whatever the process did before
                shuffle=False,
                verbose=0,
                callbacks=[
                    training.StartEpoch(dataset, SEED),
                    keras.callbacks.LambdaCallback(on_epoch_end=validate),
                    bar,
                    training.History(folder / "history.csv"),
                    training.Checkpoint(folder),
                    stop,
                ],
            )
        finally:
            bar.close()


def earlier_scores(folder: Path) -> list[float]:
    """The validation Dice of each finished epoch of a run."""
    file = folder / "history.csv"
    return pd.read_csv(file)["val_dice"].tolist() if file.exists() else []


def dice(found: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The Dice coefficient of each pair of masks [n, H, W]: [n], 1 where both are empty."""
    shared = (found & drawn).sum(axis=(1, 2))
    of_both = found.sum(axis=(1, 2)) + drawn.sum(axis=(1, 2))
    return np.where(of_both == 0, 1.0, 2 * shared / np.maximum(of_both, 1))


def to_litert(file: Path) -> bytes:
    """A trained network as a LiteRT file: half-precision weights, float32 [1, SIZE, SIZE, 3] in,
    `probabilities` out."""
    import keras
    import tensorflow as tf

    network = keras.saving.load_model(file, compile=False)
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(
        "serve",
        lambda image: {"probabilities": keras.ops.sigmoid(network(image, training=False))},
        input_signature=[tf.TensorSpec((1, SIZE, SIZE, 3), tf.float32, name="image")],
    )
    with tempfile.TemporaryDirectory() as saved:
        archive.write_out(saved, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=["serve"])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def evaluate(content: bytes, known: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """Choose the threshold on validation, judge the test images once, and leave `dice.csv` in `folder`: the card.

    It is the exported file that is judged, with all that the app does to its answer.
    """
    validation, test = (known[known["split"] == split].reset_index(drop=True) for split in ("validation", "test"))
    found, drawn = outlined(content, validation)
    by_threshold = {float(threshold): judged(found, drawn, float(threshold)).mean() for threshold in THRESHOLDS}
    threshold = max(by_threshold, key=by_threshold.__getitem__)
    validated = share(judged(found, drawn, threshold), validation["group"].to_numpy())

    scores = judged(*outlined(content, test), threshold)
    table = test[["image", "group", "label"]].assign(dice=scores.round(4))
    with replacing(folder / "dice.csv") as partial:
        table.to_csv(partial, index=False)
    lesions = table["group"].to_numpy()
    return {
        "id": registry.OUTLINE,
        "title": "The outline of the lesion",
        "task": "segmentation",
        "threshold": threshold,
        "validation": {
            "images": len(validation),
            "dice": validated,
            "by_threshold": {f"{threshold:g}": round(float(value), 4) for threshold, value in by_threshold.items()},
        },
        "test": {"images": len(test), "lesions": len(set(lesions))},
        "scores": {
            "dice": share(scores, lesions),
            "jaccard": share(scores / (2 - scores), lesions),
            f"dice_below_{POOR:g}": share((scores < POOR).astype(float), lesions),
            "not_found": share((scores == 0).astype(float), lesions),
        },
        "diagnoses": {
            str(code): {"images": len(part), "dice": share(part["dice"].to_numpy(), part["group"].to_numpy())}
            for code, part in table.groupby("label")
        },
    }


def outlined(content: bytes, known: pd.DataFrame) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of each image's centre square the probabilities that a LiteRT file gives, and the mask, both at JUDGED_SIDE."""
    network = segmentation.Network(content)
    found, drawn = [], []
    for image, mask in tqdm(zip(known["path"], known["mask"], strict=True), total=len(known), unit="image"):
        found.append(network.probabilities(imaging.load(image, 2 * JUDGED_SIDE), JUDGED_SIDE))
        drawn.append(masks.square_mask(mask, JUDGED_SIDE))
    return found, drawn


def judged(found: list[np.ndarray], drawn: list[np.ndarray], threshold: float) -> np.ndarray:
    """The Dice coefficient of every image's outline at a threshold, [n]; 0 where no lesion is found."""

    def mask(probabilities: np.ndarray) -> np.ndarray:
        try:
            return segmentation.at_threshold(probabilities, threshold).mask
        except SegmentationError:
            return np.zeros(probabilities.shape, dtype=bool)

    return dice(np.stack([mask(one) for one in found]), np.stack(drawn))


def export(content: bytes, card: dict[str, Any], folder: Path, models: Path) -> Path:
    """Put the network, its card and its history into `models`, replacing an older one; give the folder."""
    settings = json.loads((folder / "settings.json").read_text())
    card |= {
        "initial_weights": "EfficientNetV2B0, ImageNet; its first four blocks were left as they are",
        "training": settings | {"seconds": round(float(pd.read_csv(folder / "history.csv")["seconds"].sum()))},
        "attribution": datasets.HAM10000_ATTRIBUTION,
        "licence": "CC BY-NC 4.0",
        "versions": {name: importlib.metadata.version(name) for name in ("keras", "tensorflow", "ai-edge-litert")},
    }
    target = models / registry.OUTLINE
    models.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=models) as partial:
        new = Path(partial) / registry.OUTLINE
        new.mkdir()
        (new / "model.tflite").write_bytes(content)
        (new / "README.md").write_text(readme(card))
        for name in ("history.csv", "dice.csv"):
            shutil.copy(folder / name, new)
        card["files"] = {
            file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": file.stat().st_size}
            for file in sorted(new.iterdir())
        }
        (new / "model.json").write_text(json.dumps(card, indent=2) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)
    return target


def readme(card: dict[str, Any]) -> str:
    """The model card for people."""
    from train.publish.export import table

    def shown(score: dict[str, float]) -> list[str]:
        return [f"{score['value']:.3f}", f"{score['low']:.3f} to {score['high']:.3f}"]

    training = card["training"]
    scores = table(
        ["score", "value", "95% interval"],
        [[name.replace("_", " "), *shown(score)] for name, score in card["scores"].items()],
    )
    diagnoses = table(
        ["diagnosis", "images", "Dice", "95% interval"],
        [
            [HAM10000[code].name, f"{part['images']:,}", *shown(part["dice"])]
            for code, part in card["diagnoses"].items()
        ],
    )
    return f"""# {card["title"]}

Where the lesion ends in a dermoscopy image. It serves the trust measures of attention maps and the measurements of
shape and colour; it does not classify, and its outline is no finding. For research and teaching, not a diagnostic
device.

- **Network**: a U-Net whose way down is the first four blocks of EfficientNetV2B0 (ImageNet, left as they are).
- **Input**: RGB, {SIZE} x {SIZE} px, values 0-255: the square that the models see. **Output**: for each pixel the
  probability that it belongs to the lesion.
- **Then**: from {card["threshold"]:g} on a pixel counts as lesion, chosen on validation; the largest connected place is
  kept, its holes filled.
- **Licence**: {card["licence"]}, as the training data asks.

## Data

HAM10000 with the lesion masks of its authors. {card["attribution"]}

Trained on the training lesions, chosen on the same validation lesions as the classifiers, tested on the
{card["test"]["images"]:,} images whose lesions ({card["test"]["lesions"]:,}) were never trained on; images that share a
lesion with them were left out. {" and ".join(masks.NOT_DRAWN)} are left out too: their masks are white all over.

## Training

{training["epochs"]} epochs of {training["samples"]:,} views: squares of 55% to 100% of the shorter side, turned,
mirrored and recoloured, {masks.BARE:.0%} of them of bare skin. Cross-entropy and Dice loss, AdamW.
{training["seconds"] / 60:.0f} minutes on a busy core. To make it again:
`python -m train segment --epochs {training["epochs"]} --samples {training["samples"]}`.

## Scores on the test images

One outline against the published mask, on the centre square at {JUDGED_SIDE} px. Intervals are 95%, from bootstrap
resamples of lesions. A lesion that is not found counts as a Dice of 0.

{scores}

{diagnoses}

On the validation images, which chose the threshold and the epoch: Dice {" (".join(shown(card["validation"]["dice"]))}),
{card["validation"]["images"]:,} images.

## Limits

- The published masks are themselves drawn half by machine, and borders of lesions are often a matter of opinion.
- Phone photos: PAD-UFES-20 has no masks, so how it does there is not measured. Look at the outline, and correct it.
- It gives one outline: of several lesions, the largest.
"""
