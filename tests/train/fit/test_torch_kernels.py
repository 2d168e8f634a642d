"""PyTorch's batch normalisation in place of Keras's: the same numbers. Run it with KERAS_BACKEND=torch."""

import keras
import numpy as np
import pytest

from train.fit import torch_kernels

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="needs PyTorch: pip install torch, and set KERAS_BACKEND=torch"
)


def one_step(shape: tuple[int, ...], trainable: bool, fused: bool, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The output, the gradients of inputs and weights, and the moving statistics after one batch."""
    import torch

    with monkeypatch.context() as patch:
        if fused:
            patch.setattr(keras.layers.BatchNormalization, "call", torch_kernels.batch_normalisation)
        layer = keras.layers.BatchNormalization(momentum=0.9)
        layer.build((None, *shape[1:]))
        generator = np.random.default_rng(0)
        layer.set_weights([generator.uniform(0.5, 2, shape[-1]).astype(np.float32) for _ in range(4)])
        layer.trainable = trainable
        inputs = torch.tensor(generator.normal(3, 2, shape).astype(np.float32), requires_grad=True)
        outputs = layer(inputs, training=True)
        (outputs * torch.linspace(0, 1, outputs.numel()).reshape(outputs.shape)).sum().backward()
        learnt = [layer.gamma.value.grad, layer.beta.value.grad] if trainable else []
        tensors = [outputs, inputs.grad, *learnt, layer.moving_mean.value, layer.moving_variance.value]
        return [tensor.detach().numpy() for tensor in tensors]


@pytest.mark.parametrize("shape", [(8, 12, 12, 5), (600, 5)], ids=["images", "vectors"])
@pytest.mark.parametrize("trainable", [True, False])
def test_it_equals_kerass(shape: tuple[int, ...], trainable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, keras_own = (one_step(shape, trainable, fused, monkeypatch) for fused in (True, False))
    assert len(ours) == (6 if trainable else 4)
    *rest, variance = ours
    for one, other in zip(rest, keras_own[:-1], strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4 * float(np.abs(other).max()))
    # the moving variance of a sample of n values: n / (n - 1) times Keras's
    values = np.prod(shape[:-1])
    assert variance == pytest.approx(keras_own[-1], rel=1.1 / (values - 1) if trainable else 1e-6)


def test_it_is_installed_only_on_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = keras.layers.BatchNormalization.call
    monkeypatch.setattr(keras.layers.BatchNormalization, "call", usual)
    with monkeypatch.context() as patch:
        patch.setattr(keras.backend, "backend", lambda: "tensorflow")
        torch_kernels.install()
        assert keras.layers.BatchNormalization.call is usual
    torch_kernels.install()
    assert keras.layers.BatchNormalization.call is torch_kernels.batch_normalisation
