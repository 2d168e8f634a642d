import numpy as np
import pytest

from skinapp.attention import heatmap
from skinapp.inference import registry, runtime


def test_grad_cam_of_a_two_by_two_case_worked_by_hand() -> None:
    # class 1 in each cell: -2, 1, 4, 2; negative values become 0, then divided by the largest: 0, 1/4, 1, 1/2
    class_maps = np.array([[[9.0, -2.0], [9.0, 1.0]], [[9.0, 4.0], [9.0, 2.0]]], dtype=np.float32)
    cam = heatmap.grad_cam(class_maps, 1)
    assert cam.dtype == np.float32
    assert (cam == [[0, 0.25], [1, 0.5]]).all()
    assert (heatmap.grad_cam(class_maps, 0) == 1).all()


def test_without_evidence_for_a_class_the_map_is_empty() -> None:
    cam = heatmap.grad_cam(np.full((3, 4, 2), -1.0, dtype=np.float32), 0)
    assert cam.shape == (3, 4)
    assert (cam == 0).all()


@pytest.mark.parametrize("index", [-1, 2])
def test_a_class_that_does_not_exist(index: int) -> None:
    with pytest.raises(IndexError, match="of 2"):
        heatmap.grad_cam(np.zeros((2, 2, 2), dtype=np.float32), index)


def test_grad_cam_leaves_the_class_maps_alone() -> None:
    class_maps = np.array([[[-1.0, 2.0]]], dtype=np.float32)
    heatmap.grad_cam(class_maps, 0)
    assert (class_maps == [[[-1.0, 2.0]]]).all()


@pytest.mark.parametrize("shape", [(64, 64, 3), (90, 60, 3), (7, 5, 3)])
def test_an_empty_map_leaves_every_pixel(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    overlay = heatmap.overlay(pixels, np.zeros((5, 5), dtype=np.float32), opacity=1)
    assert overlay.dtype == np.uint8
    assert (overlay == pixels).all()


def test_pixels_far_from_the_map_do_not_change() -> None:
    cam = np.zeros((8, 8), dtype=np.float32)
    cam[1, 1] = 1
    pixels = np.full((80, 80, 3), 200, dtype=np.uint8)
    overlay = heatmap.overlay(pixels, cam)
    assert (overlay[50:, 50:] == 200).all()
    assert (overlay[10:20, 10:20] != 200).any()


def test_opacity_goes_from_the_image_to_the_colours() -> None:
    pixels = np.full((16, 16, 3), 255, dtype=np.uint8)
    strongest = np.ones((4, 4), dtype=np.float32)
    assert (heatmap.overlay(pixels, strongest, 0) == 255).all()
    # the last colour of Cividis: https://doi.org/10.1371/journal.pone.0199239
    assert np.abs(heatmap.overlay(pixels, strongest, 1) - np.array([254, 232, 56])).max() <= 3
    half = heatmap.overlay(pixels, strongest, 0.5).astype(float)
    assert half == pytest.approx((255 + heatmap.overlay(pixels, strongest, 1).astype(float)) / 2, abs=1)


def test_lightness_grows_with_the_map() -> None:
    steps = np.linspace(0, 1, 11, dtype=np.float32)
    black = np.zeros((4, 4, 3), dtype=np.uint8)
    lightness = [
        heatmap.overlay(black, np.full((2, 2), step, dtype=np.float32), 1)[0, 0] @ [0.2126, 0.7152, 0.0722]
        for step in steps
    ]
    assert lightness == sorted(lightness)
    assert lightness[-1] > 150


def test_maps_of_a_model(model: registry.Model, inputs: list[np.ndarray]) -> None:
    prediction = runtime.classifier(model).predict(inputs[0])
    for index in range(len(model.labels.codes)):
        cam = heatmap.grad_cam(prediction.class_maps, index)
        assert cam.shape == prediction.class_maps.shape[:2]
        assert cam.min() >= 0
        assert cam.max() in (0, 1)
        assert heatmap.overlay(inputs[0], cam).shape == inputs[0].shape
