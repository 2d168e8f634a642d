"""A model of the kind `features`: boosted trees on measurements of the lesion, instead of a network."""

from dataclasses import dataclass

import numpy as np

from skinapp.errors import ModelError
from skinapp.inference import registry, trees
from skinapp.inference.registry import Model
from skinapp.inference.trees import Trees

WEIGHTS_FILE = registry.TREES_FILE


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of a lesion: the names of the features; their values, NaN if missing; and sentences on why some
    are missing."""

    names: tuple[str, ...]
    values: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """How many features are missing and why, as sentences; empty where all were measured."""
        if not self.notes:
            return ""
        missing = sum(np.isnan(value) for value in self.values)
        if missing == len(self.names):
            return f"{' '.join(self.notes)} The answer only reflects how common each class is among images like this."
        return f"{' '.join(self.notes)} {missing} of {len(self.names)} features are missing."


@dataclass(frozen=True, eq=False)
class Contributions:
    """What each feature `added` to the logit of each class, float64 [features, K], in the order of `names`; and the
    mean logits of the training images [K], the `base` that they are added to: together they are the logits."""

    names: tuple[str, ...]
    added: np.ndarray
    base: np.ndarray


@dataclass(frozen=True, eq=False)
class FeatureModel:
    """The loaded trees of a model."""

    trees: Trees

    def predict(self, pixels: np.ndarray) -> tuple[Measured, np.ndarray]:
        """Uint8 RGB [S, S, 3] -> what was measured, and the logits, float32 [K]. ModelError if the segmentation
        network is missing or was altered."""
        # imported here, since only these models need the segmentation, which is in a higher layer
        from skinapp.lesion import features

        measured = features.measure(pixels)
        return measured, self.trees.logits(self._row(measured)).astype(np.float32)

    def contributions(self, measured: Measured) -> Contributions:
        """The contributions of the features to the logits of a prediction, see `Trees.contributions`."""
        added, base = self.trees.contributions(self._row(measured))
        return Contributions(tuple(map(str, self.trees.names)), added, base)

    def _row(self, measured: Measured) -> np.ndarray:
        by_name = dict(zip(measured.names, measured.values, strict=True))
        return np.array([by_name[name] for name in self.trees.names])


def load(model: Model) -> FeatureModel:
    """The trees of a model of this kind. ModelError if its file was changed or contains no trees, or if the trees need
    features that are not measured here, or have other classes."""
    from skinapp.lesion import features

    try:
        loaded = trees.load(registry.verified_bytes(model, WEIGHTS_FILE))
    except ValueError as error:
        raise ModelError(f"The file {WEIGHTS_FILE} of the model '{model.id}' {error}.") from None
    if unknown := sorted(set(map(str, loaded.names)) - set(features.TITLES)):
        raise ModelError(
            f"The model '{model.id}' needs the features {', '.join(unknown[:5])}, which this version of the app does "
            "not measure; train it again."
        )
    if len(loaded.offset) != len(model.labels.codes):
        raise ModelError(
            f"The trees of the model '{model.id}' have {len(loaded.offset)} classes, not {len(model.labels.codes)}; "
            "fetch the folder again."
        )
    return FeatureModel(loaded)
