"""Randomised copies: all parts of a real network; and every method that supports copies, on a tiny one."""

import numpy as np
import pytest

from skinapp.attention import catalogue, faithfulness, gradients, randomisation
from skinapp.attention.gradients import keras_network
from skinapp.inference import registry
from tests.tiny_network import make

SETTINGS = {"integrated-gradients": {"steps": 2}, "smoothgrad": {"samples": 2}, "occlusion": {"cells": 4, "patch": 1}}
SETTINGS["rise"] = {"masks": 20}


@pytest.mark.slow
def test_the_cascade_goes_from_the_head_to_the_stem_and_leaves_the_network_alone(inputs: list[np.ndarray]) -> None:
    model = registry.model("ham10000-efficientnetb1")
    before = [weights.copy() for weights in keras_network(model).get_weights()]
    steps: list[float] = []
    maps = randomisation.cascade(
        model, lambda copy: catalogue.explain("last-convolution", copy, inputs[0], "akiec"), progress=steps.append
    )
    assert next(iter(maps)) == randomisation.HEAD
    assert list(maps)[-1] == "stem"
    assert "block 6" in maps
    assert steps[-1] == 1
    for weights, original in zip(keras_network(model).get_weights(), before, strict=True):
        assert (weights == original).all()
    trained = catalogue.explain("last-convolution", model, inputs[0], "akiec")
    for cam in maps.values():
        assert cam.shape == trained.shape
        assert np.isfinite(cam).all()
    assert max(randomisation.similarities(trained, maps).values()) < 0.95


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, model: registry.Model) -> registry.Model:
    return make(model, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def pixels(tiny: registry.Model) -> np.ndarray:
    side = tiny.input_size
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "method", [method for method in catalogue.METHODS.values() if method.runs_on_copies], ids=lambda method: method.id
)
def test_a_method_explains_the_copy_that_is_passed(
    method: catalogue.Method, tiny: registry.Model, pixels: np.ndarray
) -> None:
    code = tiny.labels.codes[0]

    def explain(model: registry.Model) -> np.ndarray:
        return catalogue.explain(method.id, model, pixels, code, **SETTINGS.get(method.id, {}))

    # an exact copy has the map of the published network, by LiteRT or by Keras
    fields = {name: getattr(tiny, name) for name in registry.Model.__dataclass_fields__}
    same = explain(gradients.NetworkCopy(**fields, network=keras_network(tiny)))
    assert faithfulness.similarity(same, explain(tiny)) > 0.95
    maps = randomisation.cascade(tiny, explain, every_part=False)
    assert list(maps) == [randomisation.HEAD, "stem"]
    assert all(not np.allclose(cam, same, atol=0.01) for cam in maps.values())


def test_a_map_passes_only_if_no_copy_has_a_similar_one() -> None:
    assert randomisation.passed({"head": 0.5, "stem": -0.9})
    assert not randomisation.passed({"head": 0.1, "stem": 0.81})
