"""Frames and figures of the app's charts."""

import numpy as np
import pytest

from skinapp import formatting
from skinapp.charts import probabilities, style
from skinapp.inference import registry
from skinapp.inference.runtime import Prediction
from skinapp.labels.sets import HAM10000


@pytest.fixture
def prediction(model: registry.Model) -> Prediction:
    probabilities = np.array([0.02, 0.05, 0.1, 0.003, 0.3, 0.5, 0.027])
    return Prediction(
        model, np.log(probabilities), probabilities, np.zeros((1, 1, 7)), np.zeros(1), np.zeros((1, 1, 7))
    )


def test_the_frame_has_every_class_most_probable_first(prediction: Prediction) -> None:
    frame = probabilities.probability_frame(prediction)
    assert frame["code"].tolist() == ["nv", "mel", "bkl", "bcc", "vasc", "akiec", "df"]
    assert frame["probability"].sum() == pytest.approx(1)
    assert frame.loc[frame["malignant"], "probability"].sum() == pytest.approx(prediction.malignancy)


def test_the_bars_follow_the_frame_and_mark_cancer_and_pre_cancer(prediction: Prediction) -> None:
    frame = probabilities.probability_frame(prediction)
    figure = probabilities.probability_bars(frame)
    bars = figure.data[0]
    assert list(bars.x) == frame["probability"].tolist()
    assert list(bars.marker.color) == [style.PALETTE[code] for code in frame["code"]]
    assert [bool(shape) for shape in bars.marker.pattern.shape] == frame["malignant"].tolist()
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert texts[:4] == ["Melanocytic nevus", "50%", "Melanoma · cancer", "30%"]
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the first row is on top


def test_every_class_has_its_own_colour() -> None:
    colours = [style.class_colour(code) for code in HAM10000.codes]
    assert len(set(colours)) == len(HAM10000.codes)
    assert style.OTHER_COLOUR not in colours
    assert style.class_colour("unknown") == style.OTHER_COLOUR


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "under 1%"), (0.0099, "under 1%"), (0.01, "1%"), (0.874, "87%"), (0.99, "99%"), (0.9901, "over 99%")],
)
def test_percent_never_claims_certainty(share: float, text: str) -> None:
    assert formatting.percent(share) == text
