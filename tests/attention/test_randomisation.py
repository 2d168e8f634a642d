import numpy as np
import pytest

from skinapp.attention import faithfulness, heatmap, randomisation
from skinapp.attention.gradients import keras_network
from skinapp.inference import registry, runtime


@pytest.mark.slow
def test_the_cascade_goes_from_the_head_to_the_stem_and_leaves_the_network_alone(inputs: list[np.ndarray]) -> None:
    model = registry.model("ham10000-efficientnetv2b0")
    before = [weights.copy() for weights in keras_network(model).get_weights()]
    steps: list[float] = []
    maps = randomisation.cascade(model, inputs[0], 0, steps.append)
    assert next(iter(maps)) == randomisation.HEAD
    assert list(maps)[-1] == "the stem"
    assert "block 6" in maps
    assert steps[-1] == 1
    for weights, kept in zip(keras_network(model).get_weights(), before, strict=True):
        assert (weights == kept).all()
    class_maps = runtime.classifier(model).predict(inputs[0]).class_maps
    assert class_maps is not None
    trained = heatmap.grad_cam(class_maps, 0)
    for cam in maps.values():
        assert cam.shape == trained.shape
        assert np.isfinite(cam).all()
        assert faithfulness.similarity(cam, trained) < 0.95
