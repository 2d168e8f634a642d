"""python -m train segment: train the lesion segmentation network on HAM10000's masks and write its model folder.

A U-Net (Ronneberger et al. 2015, arXiv:1505.04597). Its encoder is the first four blocks of an EfficientNetV2B0 with
frozen ImageNet weights. The decoder is trained on square views like those of the app, and saved at the epoch with the
best score on validation lesions.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.errors import DataError, SegmentationError
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import model_card
from skinapp.lesion import segmentation
from train.data import datasets, masks
from train.data.masks import Segmented
from train.options import add_models, add_runs
from train.publish.folder import LICENCE, draft, publish, versions
from train.publish.retrieval_index import share

if TYPE_CHECKING:
    import keras

SIZE = 96
"""Pixels of the network's input and output."""
SKIPS = {"block1a_project_activation": 16, "block2b_add": 32, "block3b_add": 48}
"""Encoder activations with skip connections to the decoder, finest first, and the decoder's channels there."""
DEEPEST = "block4c_add"
BATCH = 32
SCORED_SIDE = 120
"""The side in pixels at which segmentations are scored against the published masks."""
THRESHOLDS = np.arange(0.3, 0.71, 0.05).round(2)
POOR = 0.8
SEED = 0
INTENDED_USE = (
    "Research and teaching on skin-lesion images. Not a diagnostic device; not for decisions about a person's care."
)
LIMITS = [
    "The published masks were drawn with the help of software, and where a lesion ends is often a matter of opinion.",
    "PAD-UFES-20 has no masks, so how well the network does on phone photos was not measured. Check the segmentation "
    "of a phone photo, and correct it if necessary.",
    "It segments only one lesion, the largest if there are several.",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--init",
        default="efficientnetv2b0_imagenet_notop.weights.h5",
        metavar="FILE",
        help="initial weights in the folder SKINAPP_WEIGHTS, or imagenet, which Keras downloads (default: %(default)s)",
    )
    parser.add_argument("--epochs", type=int, default=5, metavar="N", help="epochs to train (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=6400, metavar="N", help="views per epoch (default: %(default)s)")
    add_runs(parser)
    add_models(parser)


def run(options: argparse.Namespace) -> int:
    folder = options.runs / "lesion-segmentation"
    settings = {name: getattr(options, name) for name in ("init", "epochs", "samples")}
    begin(folder, settings)
    known = masks.prepare(options.runs)
    fit(known, folder, options.init, options.epochs, options.samples)
    content = to_litert(folder / "best.keras")
    scores = evaluate(content, known.table, folder)
    print(json.dumps({name: scores[name] for name in ("threshold", "validation", "scores", "diagnoses")}, indent=2))
    print(export(content, scores, folder, options.models))
    return 0


def begin(folder: Path, settings: dict[str, str | int]) -> None:
    """Make the run's folder. DataError if it exists with other settings."""
    file = folder / "settings.json"
    if file.exists():
        if json.loads(file.read_text()) != settings:
            raise DataError(f"{folder} was started with other settings; move it away, or pass another --runs folder.")
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
    """Mean cross-entropy over pixels plus 1 - Dice of each image (Milletari et al. 2016, arXiv:1606.04797): [n]."""
    from keras import ops

    entropy = ops.mean(ops.relu(logits) - logits * targets + ops.softplus(-ops.abs(logits)), axis=(1, 2))
    probabilities = ops.sigmoid(logits)
    shared = ops.sum(probabilities * targets, axis=(1, 2))
    # add some pixels to both sides, so that Dice is defined for an image without a lesion
    pixels_of_both = ops.sum(probabilities, axis=(1, 2)) + ops.sum(targets, axis=(1, 2))
    return entropy + 1 - (2 * shared + 20) / (pixels_of_both + 20)


def views(known: Segmented, samples: int) -> "keras.utils.PyDataset":
    """Batches of random views of the training images; `start` samples those of an epoch from the epoch number alone."""
    import keras

    rows = np.flatnonzero(known.table["split"] == "train")

    class Views(keras.utils.PyDataset):
        batch = BATCH

        def start(self, epoch: int) -> None:
            self.epoch = epoch
            self.sample = np.random.default_rng([SEED, epoch]).choice(rows, samples)

        def __len__(self) -> int:
            return samples // BATCH

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            generator = np.random.default_rng([SEED, self.epoch, index])
            pairs = [
                masks.view(known.pictures[row], known.masks[row], SIZE, generator)
                for row in self.sample[index * BATCH : (index + 1) * BATCH]
            ]
            images, targets = zip(*pairs, strict=True)
            return np.stack(images), np.stack(targets)

    dataset = Views()
    dataset.start(0)
    return dataset


def fit(known: Segmented, folder: Path, init: str, epochs: int, samples: int) -> None:
    """Train, or resume after the last finished epoch; leave `best.keras` and `history.csv` in `folder`."""
    import keras

    from train.fit import callbacks

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

    bar = callbacks.Progress(dataset, epochs)
    with callbacks.interruptible() as stop:
        try:
            network.fit(
                dataset,
                initial_epoch=callbacks.resume(network, folder),
                epochs=epochs,
                # the views of a batch depend only on its number, not on what the process did before
                shuffle=False,
                verbose=0,
                callbacks=[
                    callbacks.StartEpoch(dataset, SEED),
                    keras.callbacks.LambdaCallback(on_epoch_end=validate),
                    bar,
                    callbacks.History(folder / "history.csv"),
                    callbacks.Checkpoint(folder),
                    stop,
                ],
            )
        finally:
            bar.close()


def earlier_scores(folder: Path) -> list[float]:
    """The validation Dice of each finished epoch of a run."""
    file = folder / "history.csv"
    return pd.read_csv(file)["val_dice"].tolist() if file.exists() else []


def dice(predicted: np.ndarray, published: np.ndarray) -> np.ndarray:
    """The Dice coefficient of each pair of masks [n, H, W]: [n], 1 where both are empty."""
    shared = (predicted & published).sum(axis=(1, 2))
    pixels_of_both = predicted.sum(axis=(1, 2)) + published.sum(axis=(1, 2))
    return np.where(pixels_of_both == 0, 1.0, 2 * shared / np.maximum(pixels_of_both, 1))


def to_litert(file: Path) -> bytes:
    """A trained network as a LiteRT file whose output is `probabilities`."""
    import keras

    from train.publish.export import converted

    network = keras.saving.load_model(file, compile=False)
    return converted(network, lambda image: {"probabilities": keras.ops.sigmoid(network(image, training=False))})


def evaluate(content: bytes, known: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """Choose the threshold on validation, score the test images once, write `dice.csv` to `folder`; return the scores.

    The exported file is scored, with all of the app's post-processing.
    """
    validation, test = (known[known["split"] == split].reset_index(drop=True) for split in ("validation", "test"))
    predicted, published = predictions(content, validation)
    by_threshold = {
        float(threshold): dice_at(predicted, published, float(threshold)).mean() for threshold in THRESHOLDS
    }
    threshold = max(by_threshold, key=by_threshold.__getitem__)
    validated = share(dice_at(predicted, published, threshold), validation["group"].to_numpy())

    scores = dice_at(*predictions(content, test), threshold)
    table = test[["image", "group", "label"]].assign(dice=scores.round(4))
    with replacing(folder / "dice.csv") as partial:
        table.to_csv(partial, index=False)
    lesions = table["group"].to_numpy()
    return {
        "id": "lesion-segmentation",
        "kind": "segmentation",
        "title": "Lesion segmentation",
        "short_name": "Lesion segmentation",
        "task": "segmentation",
        "modality": "dermoscopy",
        "threshold": threshold,
        "validation": {
            "images": len(validation),
            "dice": validated,
            "by_threshold": {f"{threshold:g}": round(float(value), 4) for threshold, value in by_threshold.items()},
        },
        "test": {"images": len(test), "groups": len(set(lesions)), "side": SCORED_SIDE},
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


def predictions(content: bytes, known: pd.DataFrame) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each image's centre square, a LiteRT file's probabilities and the published mask, both at SCORED_SIDE."""
    network = segmentation.Network(content)
    predicted, published = [], []
    for image, mask in tqdm(zip(known["path"], known["mask"], strict=True), total=len(known), unit="image"):
        predicted.append(network.probabilities(imaging.load(image, 2 * SCORED_SIDE), SCORED_SIDE))
        published.append(masks.square_mask(mask, SCORED_SIDE))
    return predicted, published


def dice_at(predicted: list[np.ndarray], published: list[np.ndarray], threshold: float) -> np.ndarray:
    """The Dice coefficient of every image at a threshold, [n]; 0 where no lesion is predicted."""

    def mask(probabilities: np.ndarray) -> np.ndarray:
        try:
            return segmentation.at_threshold(probabilities, threshold).mask
        except SegmentationError:
            return np.zeros(probabilities.shape, dtype=bool)

    return dice(np.stack([mask(one) for one in predicted]), np.stack(published))


def export(content: bytes, scores: dict[str, Any], folder: Path, models: Path) -> Path:
    """Put the network, its card and its history into `models`, replacing an older one; return the folder."""
    settings = json.loads((folder / "settings.json").read_text())
    described = scores | {
        "architecture": "U-Net on the first four blocks of EfficientNetV2B0",
        "initial_weights": "EfficientNetV2B0, ImageNet; its first four blocks stay frozen",
        "input": {"size": SIZE, "dtype": "float32", "range": [0, 255], "channels": "RGB"},
        "training": {
            "dataset": "HAM10000",
            "attribution": datasets.TRAINABLE["ham10000"].attribution,
            **settings,
            "bare_skin": masks.BARE_SKIN_SHARE,
            "seconds": round(float(pd.read_csv(folder / "history.csv")["seconds"].sum())),
            "excluded": list(masks.WITHOUT_MASK),
        },
        "limits": LIMITS,
        "licence": LICENCE,
        "intended_use": INTENDED_USE,
        "versions": versions(),
    }
    good, bad = model_card.dice_sentences(described)
    described |= {"good_at": good, "bad_at": bad}
    with draft(models, described["id"]) as new:
        (new / "model.tflite").write_bytes(content)
        for name in ("history.csv", "dice.csv"):
            shutil.copy(folder / name, new)
        return publish(new, described, models)
