"""Every method on every shipped network with gradients; cases worked by hand; and error messages.

The fast tier covers one network and our own methods, the slow tier all networks and the methods of the grad-cam
package.
"""

import builtins
import math
import sys
from typing import Any

import numpy as np
import pytest

from skinapp.attention import catalogue as lab
from skinapp.attention import gradients, methods, targets
from skinapp.attention.methods import (
    grad_cam,
    grad_cam_plus_plus,
    integrated_gradients,
    last_convolution,
    occlusion,
    rise,
    smoothgrad,
)
from skinapp.errors import ImageError, ModelError
from skinapp.images import imaging
from skinapp.inference import architecture, registry, runtime
from skinapp.inference.registry import Model

FEW = {
    "integrated-gradients": {"steps": 2},
    "smoothgrad": {"samples": 2},
    "occlusion": {"cells": 4, "patch": 2},
    "rise": {"masks": 8},
}
QUICK = {"grad-cam", "occlusion"}
"""A method of each kind: by gradients, and by hiding parts of the image."""
EARLY = {"package-scorecam", "package-ablationcam"}
"""These methods need one prediction per channel, so they are tested at a block with few."""
COMPARING = {"rise", "package-ablationcam", "package-finercam"}
"""Methods that compare classes, by the probability or by the difference from the nearest class."""


NETWORKS = [model.id for model in registry.ranked() if "model.keras" in model.card["files"]]
"""Most tests here use the first one, so that it is loaded once."""


@pytest.fixture(
    scope="module", params=[NETWORKS[0], *(pytest.param(network, marks=pytest.mark.slow) for network in NETWORKS[1:])]
)
def lab_model(request: pytest.FixtureRequest) -> registry.Model:
    return registry.model(request.param)


@pytest.fixture(scope="module")
def square(lab_model: registry.Model, photos: list[bytes]) -> np.ndarray:
    return imaging.load(photos[0], lab_model.input_size)


def skip_without(method: lab.Method) -> None:
    if sentence := lab.missing(method.needs):
        pytest.skip(f"{sentence} `make research` does it.")


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, id=method.id, marks=[] if method.id in QUICK else [pytest.mark.slow])
        for method in lab.METHODS.values()
    ],
)
def test_every_method_on_every_network(method: lab.Method, lab_model: registry.Model, square: np.ndarray) -> None:
    skip_without(method)
    codes = lab_model.labels.codes
    layer = next(block.name for block in architecture.blocks(lab_model)[1:]) if method.id in EARLY else None
    shares: list[float] = []
    raw = lab.raw(method.id, lab_model, square, codes[0], layer, shares.append, **FEW.get(method.id, {}))
    assert raw.ndim == 2
    assert raw.dtype == np.float32
    assert np.isfinite(raw).all()
    assert raw.std() > 0
    if method.layered:
        assert raw.shape == (architecture.block(lab_model, layer).side,) * 2
    assert shares == sorted(shares)
    # the package does not report progress, so its methods stay at 0
    assert not any(shares) or shares[-1] == 1
    cam = lab.scaled(raw)
    assert cam.min() >= 0
    assert cam.max() in (0, 1)
    # methods without a class; and, with two classes, methods that already compare classes
    other = lab.raw(method.id, lab_model, square, (codes[0], codes[1]), layer, **FEW.get(method.id, {}))
    same = method.id == "package-eigencam" or (method.id in COMPARING and len(codes) == 2)
    assert (np.abs(other - raw).max() <= 1e-3 * np.abs(raw).max()) == same


def test_a_difference_of_classes_is_the_difference_of_linear_maps(
    lab_model: registry.Model, square: np.ndarray
) -> None:
    first, second = lab_model.labels.codes[:2]
    for method in ("last-convolution", "grad-cam"):
        apart = [lab.raw(method, lab_model, square, code) for code in (first, second)]
        both = lab.raw(method, lab_model, square, (first, second))
        assert both == pytest.approx(apart[0] - apart[1], abs=1e-4 * float(np.abs(both).max()) + 1e-5)


def test_grad_cam_at_the_last_block_is_the_exported_map(lab_model: registry.Model, square: np.ndarray) -> None:
    code = lab_model.labels.codes[0]
    by_gradient, exported = (
        lab.explain(method, lab_model, square, code) for method in ("grad-cam", "last-convolution")
    )
    assert by_gradient == pytest.approx(exported, abs=0.02)


@pytest.mark.slow
def test_integrated_gradients_add_up_to_the_change_of_the_score(lab_model: registry.Model, square: np.ndarray) -> None:
    class_weights = targets.class_weights(lab_model, lab_model.labels.codes[0])
    both = np.stack([square, np.zeros_like(square)])
    change = np.subtract(*(methods.logits(lab_model, both) @ class_weights))
    steps = [
        integrated_gradients.shares(lab_model, square, class_weights, steps=count).sum() - change for count in (4, 64)
    ]
    assert abs(steps[1]) < 0.1 * max(1, abs(change))
    assert abs(steps[1]) <= abs(steps[0]) + 0.05


# A 2x2 map with two channels. Gradients of channel 0: 1, 0, 0, 1; of channel 1: -1, 1, 0, 0.
FEATURES = np.array([[[1.0, 2.0], [0.0, 4.0]], [[3.0, 0.0], [4.0, 2.0]]])
GRADIENTS = np.array([[[1.0, -1.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 0.0]]])


def test_grad_cam_of_a_two_by_two_case_worked_by_hand() -> None:
    # mean gradients 1/2 and 0, so half of channel 0
    assert grad_cam.combine(FEATURES, GRADIENTS) == pytest.approx(np.array([[0.5, 0], [1.5, 2]]))


def test_grad_cam_plus_plus_of_a_two_by_two_case_worked_by_hand() -> None:
    # both channels sum to 8, so where the gradient is 1, alpha = 1 / (2 + 8); channel 0 has two such cells, 1 has one
    expected = 0.2 * FEATURES[..., 0] + 0.1 * FEATURES[..., 1]
    assert expected == pytest.approx(np.array([[0.4, 0.4], [0.6, 1.0]]))
    assert grad_cam_plus_plus.combine(FEATURES, GRADIENTS) == pytest.approx(expected)


def test_grad_cam_plus_plus_takes_features_that_sum_below_zero_as_none() -> None:
    features = np.full((2, 2, 1), -1.0)
    result = grad_cam_plus_plus.combine(features, np.full((2, 2, 1), 0.5))
    # alpha = 1/2 at each of four cells, the weight 4 * 0.5 / 2
    assert result == pytest.approx(np.full((2, 2), -1.0))


def test_a_map_with_nothing_for_the_class_is_all_zeros() -> None:
    for raw in (np.zeros((3, 3)), np.full((3, 3), -2.0)):
        cam = lab.scaled(raw)
        assert cam.dtype == np.float32
        assert (cam == 0).all()


def test_one_scale_for_several_maps() -> None:
    assert (lab.scaled(np.array([[1.0, 4.0]]), peak=8) == [[0.125, 0.5]]).all()
    assert (lab.scaled(np.array([[1.0, 4.0]]), peak=2) == [[0.5, 1]]).all()


@pytest.fixture
def looks_left_top(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose logit 0 depends only on the brightness of the top left quarter."""

    def logits(model: registry.Model, images: np.ndarray, progress: Any = None) -> np.ndarray:
        half = images.shape[1] // 2
        result = np.zeros((len(images), len(model.labels.codes)), np.float32)
        result[:, 0] = images[:, :half, :half].mean(axis=(1, 2, 3)) / 64
        return result

    monkeypatch.setattr(occlusion, "logits", logits)
    monkeypatch.setattr(rise, "logits", logits)


@pytest.mark.usefixtures("looks_left_top")
@pytest.mark.parametrize(("method", "settings"), [("occlusion", {"cells": 8, "patch": 1}), ("rise", {"masks": 800})])
def test_hiding_shows_where_a_model_looks(model: registry.Model, method: str, settings: dict[str, int]) -> None:
    size = model.input_size
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[: size // 2, : size // 2] = 250
    cam = lab.explain(method, model, pixels, model.labels.codes[0], **settings)
    half = len(cam) // 2
    assert cam[:half, :half].sum() > 0.75 * cam.sum()


def test_the_masks_of_rise_show_half_on_average() -> None:
    generator = np.random.default_rng(0)
    masks = np.stack([rise.mask(generator, 60, 7) for _ in range(400)])
    assert masks.shape == (400, 60, 60)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert masks.mean(axis=0) == pytest.approx(np.full((60, 60), rise.SHOWN), abs=0.1)


def test_blocks_are_listed_without_running_the_network(lab_model: registry.Model) -> None:
    known = architecture.blocks(lab_model)
    assert known[0].name == "stem"
    assert known[-1].name == "top"
    height, width, _ = lab_model.card["outputs"]["class_maps"]
    assert (known[-1].side, known[-1].side) == (height, width)
    assert known[-1].channels == lab_model.card["outputs"]["embedding"][0]
    sides = [block.side for block in known]
    assert sides == sorted(sides, reverse=True)
    assert architecture.block(lab_model, None) == known[-1]


def test_blocks_have_the_shapes_of_keras(lab_model: registry.Model) -> None:
    network_of_keras = gradients.keras_network(lab_model)
    for block in architecture.blocks(lab_model):
        assert network_of_keras.get_layer(block.layer).output.shape == (None, block.side, block.side, block.channels)


def test_impossible_requests_are_reported(model: registry.Model) -> None:
    size = model.input_size
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    for arguments, sentence in (
        (("last-convolution", "xyz"), "has no class 'xyz'; it has"),
        (("last-convolution", ("mel", "mel")), "cannot be compared with itself"),
        (("nonsense", "mel"), "There is no method 'nonsense'"),
        (("grad-cam", "mel", "embedding"), "not one for each part of the image"),
        (("grad-cam", "mel", "block99z"), "has no block 'block99z'; it has stem"),
        (("rise", "mel", "top"), "cannot be applied to a chosen layer"),
    ):
        method, target, *layer = arguments
        with pytest.raises(ModelError, match=sentence):
            lab.raw(method, model, pixels, target, *layer)
    with pytest.raises(ModelError, match="RISE has no setting steps"):
        lab.raw("rise", model, pixels, "mel", steps=3)
    with pytest.raises(ImageError, match="all black"):
        lab.raw("last-convolution", model, np.zeros_like(pixels), "mel")
    with pytest.raises(ImageError, match="all one colour"):
        lab.raw("last-convolution", model, np.full_like(pixels, 9), "mel")
    with pytest.raises(ValueError, match="expected uint8"):
        lab.raw("last-convolution", model, pixels[:-1], "mel")


def test_networks_without_class_maps_or_gradients_say_what_works(photos: list[bytes]) -> None:
    dense = registry.model("malignancy-mlp64")
    pixels = imaging.load(photos[0], dense.input_size)
    code = dense.labels.codes[1]
    with pytest.raises(ModelError, match="occlusion and RISE work with it"):
        lab.raw("last-convolution", dense, pixels, code)
    with pytest.raises(ModelError, match="occlusion and RISE work without it"):
        lab.raw("smoothgrad", dense, pixels, code)
    assert lab.explain("occlusion", dense, pixels, code, cells=4, patch=1).max() == 1


def test_without_tensorflow_gradient_methods_are_refused_and_the_exported_map_works(
    model: registry.Model, inputs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in ("tensorflow", "keras"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return original(name, *rest, **more)

    gradients.loaded.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    for module in [name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "keras")]:
        monkeypatch.delitem(sys.modules, module)
    for method in ("grad-cam", "grad-cam-plus-plus", "integrated-gradients", "smoothgrad"):
        with pytest.raises(ModelError, match="needs TensorFlow, which is not installed"):
            lab.raw(method, model, inputs[0], "mel")
    side = math.ceil(model.input_size / 32)
    assert lab.explain("last-convolution", model, inputs[0], "mel").shape == (side, side)


def test_methods_are_one_file_each() -> None:
    files = [last_convolution, grad_cam, grad_cam_plus_plus, integrated_gradients, smoothgrad, occlusion, rise]
    runs = [method.run for method in lab.METHODS.values() if "torch" not in method.needs]
    assert runs == [file.explain for file in files]


@pytest.mark.parametrize(
    ("method", "settings"),
    [("rise", {"masks": 1001}), ("rise", {"masks": 0}), ("occlusion", {"cells": 29}), ("occlusion", {"patch": 9})],
)
def test_settings_are_bounded(method: str, settings: dict[str, int], model: Model, inputs: list[np.ndarray]) -> None:
    with pytest.raises(ModelError, match="at most"):
        lab.raw(method, model, inputs[0], model.labels.codes[0], **settings)


@pytest.mark.parametrize(("method", "settings"), [("occlusion", {"cells": 4, "patch": 2}), ("rise", {"masks": 30})])
def test_the_stated_number_of_classifications_is_what_a_map_takes(
    method: str, settings: dict[str, int], model: Model, inputs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    classified = []
    predict = runtime.Classifier.predict_input
    monkeypatch.setattr(runtime.Classifier, "predict_input", lambda *parts: classified.append(1) or predict(*parts))
    lab.raw(method, model, inputs[0], model.labels.codes[0], **settings)
    chosen = lab.method(method)
    assert len(classified) == chosen.classifications(**{**chosen.settings, **settings})


def test_an_exception_in_progress_stops_a_map(model: Model, inputs: list[np.ndarray]) -> None:
    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        raise KeyboardInterrupt

    for method in ("rise", "occlusion"):
        with pytest.raises(KeyboardInterrupt):
            lab.raw(method, model, inputs[0], model.labels.codes[0], progress=stop)
    assert len(shares) == 2
