"""An attention map with the data that the panels below it need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skinapp.attention import catalogue, heatmap
from skinapp.attention.catalogue import Method
from skinapp.errors import ImageError
from skinapp.inference import runtime
from skinapp.inference.analysis import Analysis
from skinapp.inference.registry import Model
from skinapp.ui.session_images import Photo


@dataclass(frozen=True, eq=False)
class ExplainedMap:
    """The map `cam` [h, w] in 0-1 of the class `code`, made by a method, at a block if the method needs one."""

    analysis: Analysis
    photo: Photo
    code: str
    cam: np.ndarray
    method: Method
    layer: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    before_each: Callable[[], None] = lambda: None
    """Called before each classification; an exception that it raises stops the work."""

    @property
    def model(self) -> Model:
        return self.analysis.model

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.model.labels[self.code].name

    @property
    def index(self) -> int:
        return self.model.labels.codes.index(self.code)

    @property
    def square_key(self) -> str:
        """Distinguishes squares, for the keys of widgets."""
        crop = self.analysis.crop
        return f"{self.photo.key}_{crop.x:.4f}_{crop.y:.4f}_{crop.side:.4f}"

    @property
    def content_key(self) -> int:
        """A cache key for anything computed from this map."""
        pixels, cam = self.analysis.pixels.tobytes(), self.cam.tobytes()
        settings = self.layer, tuple(self.settings.items())
        return hash((self.square_key, pixels, self.model.id, self.code, self.method.id, settings, cam))

    def explain(self, pixels: np.ndarray, model: Model | None = None) -> np.ndarray:
        """The map of other pixels, or of a copy of the network, by the same method; all zeros for an image of one
        colour."""
        try:
            return catalogue.explain(
                self.method.id,
                model or self.model,
                pixels,
                self.code,
                self.layer,
                lambda share: self.before_each(),
                **self.settings,
            )
        except ImageError:
            return np.zeros_like(self.cam)

    def all_probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Probabilities [K] of uint8 [S, S, 3], from the image alone."""
        self.before_each()
        return runtime.classifier(self.model).predict_input(pixels).probabilities

    def probability(self, images: np.ndarray) -> np.ndarray:
        """The class's probability [n] of uint8 [n, S, S, 3]."""
        return np.array([self.all_probabilities(pixels)[self.index] for pixels in images])


def of_last_convolution(analysis: Analysis, photo: Photo, code: str, class_maps: np.ndarray) -> ExplainedMap:
    """Grad-CAM of a class from the class maps that came with the prediction."""
    cam = heatmap.grad_cam(class_maps, analysis.model.labels.codes.index(code))
    return ExplainedMap(analysis, photo, code, cam, catalogue.method("last-convolution"))
