"""Pictures that should be retaken, and those that should not."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from skinapp.images import imaging, quality, synthetic
from skinapp.images.imaging import Crop
from skinapp.images.quality import SENTENCES, Limits, Quality
from tests.pictures import encode


def problems(image: Image.Image, crop: Crop = imaging.CENTRE) -> list[str]:
    return quality.problems(quality.measure(image, crop))


@pytest.mark.parametrize("seed", range(len(synthetic.SKIN)))
def test_skin_of_any_tone_is_accepted(seed: int) -> None:
    assert problems(synthetic.draw(seed)) == []


@pytest.mark.parametrize(
    ("problem", "degrade"),
    [
        ("sharpness", lambda image: image.filter(ImageFilter.GaussianBlur(16))),
        ("dark", lambda image: ImageEnhance.Brightness(image).enhance(0.2)),
        ("bright", lambda image: Image.blend(image, Image.new("RGB", image.size, (240, 240, 240)), 0.85)),
        ("small", lambda image: image.resize((160, 120))),
    ],
)
def test_a_degraded_picture_comes_with_advice_on_retaking_it(problem: str, degrade: object) -> None:
    assert callable(degrade)
    degraded = degrade(synthetic.draw(1))
    assert problem in problems(degraded)
    sentence = quality.sentence(problem, quality.measure(degraded))
    assert sentence.startswith(SENTENCES[problem][:18])
    assert "{" not in sentence


def test_a_reflection_is_found() -> None:
    image = synthetic.draw(1)
    image.paste("white", (300, 200, 380, 280))
    assert problems(image) == ["glare"]


def test_the_size_of_a_file_is_what_counts_not_how_small_it_is_decoded() -> None:
    large = encode(synthetic.draw(2).resize((6000, 4500)))
    assert "small" not in problems(imaging.decode(large))
    assert quality.measure(imaging.decode(encode(synthetic.draw(2, 240, 180)))).side == 180


def test_a_small_square_of_a_photo_is_small() -> None:
    crop = Crop(0.5, 0.5, 0.2)
    assert "small" in problems(synthetic.draw(2), crop)
    assert "small" not in problems(synthetic.draw(2, 1500, 1200), crop)


def test_a_blank_picture_is_not_divided_by_nothing() -> None:
    blank = quality.measure_pixels(np.full((224, 224, 3), 128, np.uint8), 224)
    assert blank.sharpness == 0
    assert quality.problems(blank, Limits(0.03, 60, 205, 0.005)) == ["sharpness"]


def test_a_bright_picture_is_not_also_reported_as_glaring() -> None:
    assert quality.problems(Quality(0.2, 240, 0.5, 224), Limits(0.03, 60, 205, 0.005)) == ["bright"]
