"""python -m train trust: how often the verdict on an attention map is wrong, of shipped and of randomised networks.

The limits of skinapp/attention/verdict.py are chosen on validation images; test images then say how often a shipped
network's map is called untrustworthy, and how often that of a randomised copy is not. A copy has its head drawn anew,
or all of its weights, as before training (the first and last step of Adebayo et al. 2018, arXiv:1810.03292).
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ai_edge_litert.interpreter import Interpreter
from tqdm import tqdm

from skinapp import attention, imaging, registry
from skinapp.attention import verdict
from skinapp.attention.verdict import Evidence
from skinapp.registry import Model
from skinapp.runtime import softmax
from train import datasets, masks
from train.similar import share

if TYPE_CHECKING:
    import keras

MODELS = ("ham10000-efficientnetb1", "ham10000-efficientnetv2b0", "malignancy-efficientnetb1")
COPIES = ("shipped", "head", "all")
"""What of a network is drawn anew: nothing, the last layer, or everything."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="ID", help="default: %(default)s")
    parser.add_argument("--images", type=int, default=60, metavar="N", help="of each split (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/trust.csv"), metavar="FILE", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    known = masks.table(datasets.data_root() / "ham10000").drop_duplicates("group")
    chosen = pd.concat(
        [known[known["split"] == split].sample(options.images, random_state=0) for split in ("validation", "test")]
    )
    rows = []
    for model in map(registry.model, options.models):
        for copy in COPIES:
            predict = answering(randomised(model, copy, seed=1), model.temperature)
            for record in tqdm(chosen.to_dict("records"), desc=f"{model.id}, {copy}", unit="image", mininterval=5):
                pixels = imaging.load(record["path"], model.input_size)
                found = evidence(predict, pixels, masks.square_mask(record["mask"], 120))
                rows.append(
                    {"model": model.id, "copy": copy, **{name: record[name] for name in ("image", "group", "split")}}
                    | {"moved": found.moved, "alike": found.alike, "trusted": found.trusted}
                )
            options.out.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(rows).round(4).to_csv(options.out, index=False)
    print(json.dumps(rates(pd.DataFrame(rows)), indent=2))
    return 0


def randomised(model: Model, copy: str, seed: int) -> bytes:
    """The LiteRT file of a model, with the weights of its head, or all of them, drawn anew as before training."""
    if copy == "shipped":
        return registry.verified_bytes(model, "model.tflite")
    import keras

    from train.export import to_litert

    registry.verified_bytes(model, "model.keras")
    keras.utils.set_random_seed(seed)
    trained = keras.saving.load_model(model.folder / "model.keras", compile=False)
    # a clone has the layers, and weights of its own
    fresh = keras.models.clone_model(trained)
    if copy == "head":
        copy_body(trained, fresh)
    return to_litert(fresh)


def copy_body(source: "keras.Model", target: "keras.Model") -> None:
    """Every layer's weights but those of the head."""
    from train import network

    head = target.get_layer("logits").get_weights()
    network.copy_weights(source, target)
    target.get_layer("logits").set_weights(head)


def answering(content: bytes, temperature: float) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Uint8 [S, S, 3] to the probabilities [K] and class maps [h, w, K] of a LiteRT file."""
    interpreter = Interpreter(model_content=content)
    runner = interpreter.get_signature_runner()

    # the signature runner does not keep its interpreter alive
    def predict(pixels: np.ndarray, _: Interpreter = interpreter) -> tuple[np.ndarray, np.ndarray]:
        outputs = runner(image=pixels[np.newaxis].astype(np.float32))
        return softmax(outputs["logits"][0].astype(np.float64) / temperature), outputs["class_maps"][0].copy()

    return predict


def evidence(
    predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], pixels: np.ndarray, mask: np.ndarray
) -> Evidence:
    """What the verdict on the map of the most probable class rests on."""
    probabilities, class_maps = predict(pixels)
    index = int(probabilities.argmax())

    def explain(square: np.ndarray) -> np.ndarray:
        return attention.grad_cam(predict(square)[1], index)

    cam = attention.grad_cam(class_maps, index)
    return verdict.gather(lambda square: predict(square)[0], explain, pixels, index, cam, mask)


def rates(table: pd.DataFrame) -> dict[str, Any]:
    """Of each model, copy and split: images, and the share that is trusted, with its 95% interval over lesions."""
    return {
        f"{model}, {copy}, {split}": {
            "images": len(part),
            "trusted": share(part["trusted"].to_numpy(dtype=float), part["group"].to_numpy()),
        }
        for (model, copy, split), part in table.groupby(["model", "copy", "split"], sort=False)
    }
