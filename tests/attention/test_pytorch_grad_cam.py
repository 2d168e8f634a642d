"""The grad-cam package on our networks. Skipped where PyTorch is not installed; `make research` installs it."""

import builtins
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from skinapp.attention import catalogue as lab
from skinapp.attention import gradients, pytorch_grad_cam, targets
from skinapp.attention.methods import grad_cam, grad_cam_plus_plus
from skinapp.errors import ModelError
from skinapp.inference import registry

SENTENCE = lab.missing(lab.TORCH)
needs_research = pytest.mark.skipif(bool(SENTENCE), reason=f"{SENTENCE} `make research` does it.")


@needs_research
@pytest.mark.slow
@pytest.mark.parametrize("layer", ["block5d", "top"])
def test_our_grad_cam_is_the_packages(model: registry.Model, inputs: list[np.ndarray], layer: str) -> None:
    for target in ("mel", ("mel", "nv")):
        ours, theirs = (lab.raw(name, model, inputs[0], target, layer) for name in ("grad-cam", "package-gradcam"))
        assert np.abs(ours).max() > 0
        assert ours == pytest.approx(theirs, abs=1e-4 * float(np.abs(ours).max()))


class FixedBlock:
    """A block with fixed features [h, w, C] and gradients, as the package sees one."""

    def __init__(self, features: np.ndarray, gradient: np.ndarray):
        self.features, self.gradient = (values.transpose(2, 0, 1)[np.newaxis] for values in (features, gradient))

    def cam(self, name: str) -> np.ndarray:
        _, grad_cam_package = pytorch_grad_cam.load()
        method = getattr(grad_cam_package, name)
        # skips the constructor, which needs a network
        weights = method.get_cam_weights(None, None, None, None, self.features, self.gradient)
        return (weights[:, :, None, None] * self.features).sum(axis=1)[0]


@needs_research
def test_on_the_same_tensors_ours_are_the_packages() -> None:
    generator = np.random.default_rng(0)
    features, gradient = generator.random((5, 4, 6)), 10 * generator.normal(size=(5, 4, 6))
    block = FixedBlock(features, gradient)
    assert grad_cam.combine(features, gradient) == pytest.approx(block.cam("GradCAM"))
    # the package adds a millionth to the denominator, which is negligible for gradients of this size
    assert grad_cam_plus_plus.combine(features, gradient) == pytest.approx(block.cam("GradCAMPlusPlus"), rel=1e-4)


@needs_research
@pytest.mark.slow
def test_the_adapter_predicts_as_keras_and_gives_its_gradients(model: registry.Model, inputs: list[np.ndarray]) -> None:
    torch, _ = pytorch_grad_cam.load()
    halves = pytorch_grad_cam.adapter(model, "block6a")
    image = torch.from_numpy(inputs[0].transpose(2, 0, 1)[np.newaxis].astype(np.float32))
    features = halves.features(image)
    features.retain_grad()
    logits = halves.head(features)
    whole = gradients.keras_network(model)(inputs[0][np.newaxis].astype(np.float32), training=False)
    assert logits.detach().numpy() == pytest.approx(np.asarray(whole), abs=1e-3)
    logits[0, 1].backward()
    class_weights = targets.class_weights(model, model.labels.codes[1])
    expected_features, expected_gradients = gradients.features_and_gradients(model, inputs[0], class_weights, "block6a")
    assert pytorch_grad_cam.to_keras(features)[0] == pytest.approx(expected_features, abs=1e-3)
    assert pytorch_grad_cam.to_keras(features.grad)[0] == pytest.approx(expected_gradients, abs=1e-4)


@needs_research
@pytest.mark.slow
def test_the_second_derivative_is_that_of_finite_differences(model: registry.Model, inputs: list[np.ndarray]) -> None:
    torch, _ = pytorch_grad_cam.load()
    halves = pytorch_grad_cam.adapter(model, "block6e")
    image = torch.from_numpy(inputs[0].transpose(2, 0, 1)[np.newaxis].astype(np.float32))
    features = halves.features(image).detach()
    along = torch.sign(features)

    def gradient_at(at: Any) -> Any:
        at = at.clone().requires_grad_()
        return torch.autograd.grad(halves.head(at)[0, 1], at, create_graph=True)[0], at

    first, at = gradient_at(features)
    product = torch.autograd.grad(first, at, grad_outputs=along)[0].numpy()
    step = 1e-2
    ahead, behind = (gradient_at(features + sign * step * along)[0].detach().numpy() for sign in (1, -1))
    expected = (ahead - behind) / (2 * step)
    assert np.abs(expected).max() > 0
    assert np.corrcoef(product.ravel(), expected.ravel())[0, 1] > 0.98


class LeftTop:
    """Its probability depends only on the brightness of the top left quarter."""

    def predict_input(self, pixels: np.ndarray) -> SimpleNamespace:
        half = len(pixels) // 2
        return SimpleNamespace(probabilities=np.array([0.0, pixels[:half, :half].mean() / 255]))


@needs_research
def test_road_is_higher_for_the_pixels_that_count(model: registry.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch_grad_cam.runtime, "classifier", lambda model: LeftTop())
    generator = np.random.default_rng(0)
    # a spot in the quarter that counts and one in another, both brighter than their surroundings
    pixels = generator.integers(40, 50, (48, 48, 3), dtype=np.uint8)
    pixels[8:16, 8:16] = pixels[30:38, 30:38] = 250
    ramp = generator.random((48, 48)) / 10
    here, there = ramp.copy(), ramp.copy()
    here[8:16, 8:16] += 1
    there[30:38, 30:38] += 1
    scores = [pytorch_grad_cam.road(model, pixels, cam.astype(np.float32), 1, (95,)) for cam in (here, there)]
    assert scores[0] > 0.02
    assert abs(scores[1]) < 0.02


@needs_research
def test_imputed_pixels_lie_between_their_neighbours() -> None:
    torch, _ = pytorch_grad_cam.load()
    image = torch.from_numpy(np.repeat(np.linspace(0, 1, 9, dtype=np.float32)[np.newaxis], 9, 0)[np.newaxis])
    shown = torch.ones(9, 9)
    shown[3:6, 3:6] = 0
    filled = pytorch_grad_cam._imputer(torch)(image, shown)
    assert filled.shape == image.shape
    assert (filled[0][shown == 1] == image[0][shown == 1]).all()
    # a ramp continues through the gap, apart from the noise
    assert filled[0, 3:6, 3:6].numpy() == pytest.approx(image[0, 3:6, 3:6].numpy(), abs=0.06)


@needs_research
@pytest.mark.slow
def test_eigencam_rejects_a_block_that_is_too_large(model: registry.Model, inputs: list[np.ndarray]) -> None:
    with pytest.raises(ModelError, match="choose a later block"):
        lab.raw("package-eigencam", model, inputs[0], "mel", "stem")


def without(monkeypatch: pytest.MonkeyPatch, missing: str, error: Exception) -> None:
    """Make the import of a package fail, whether it is installed or not; PyTorch itself is replaced with an empty
    module."""
    original = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise error
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    if missing != "torch":
        monkeypatch.setitem(sys.modules, "torch", object())


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch", ModuleNotFoundError("No module named 'torch'"))
    with pytest.raises(ModelError, match="needs PyTorch, which is not installed") as caught:
        pytorch_grad_cam.load()
    assert "make research" in str(caught.value)


def test_torch_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torchvision", ModuleNotFoundError("No module named 'torchvision'"))
    with pytest.raises(ModelError, match="PyTorch is installed, but torchvision is not"):
        pytorch_grad_cam.load()


@needs_research
def test_a_torchvision_that_does_not_fit_torch_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = [name for name in sys.modules if name.partition(".")[0] in ("pytorch_grad_cam", "torchvision")]
    for name in modules:
        monkeypatch.delitem(sys.modules, name)
    original = builtins.__import__
    imported: list[str] = []

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name == "torchvision" and not imported:
            imported.append(name)
            raise RuntimeError("operator torchvision::nms does not exist")
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    _, grad_cam_package = pytorch_grad_cam.load()
    assert imported
    assert grad_cam_package.GradCAM
    # no stub is left behind
    assert getattr(sys.modules.get("torchvision"), "__file__", "none") is not None


def test_missing_packages_are_reported_without_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None if name == "torchvision" else object())
    assert "Not installed: torchvision." in lab.missing(lab.TORCH)
    assert lab.missing(lab.TENSORFLOW) == ""
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    assert "Not installed: torch, torchvision, grad-cam." in lab.missing(lab.TORCH)
    assert "need TensorFlow, which is not installed here" in lab.missing(lab.TENSORFLOW)
    assert lab.missing(lab.LITERT) == ""
