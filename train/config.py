"""What defines a training run: a frozen dataclass, filled from YAML, checked before anything slow starts."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

import yaml

from skinapp.errors import DataError
from skinapp.labels import label_set
from train.augment import POLICIES
from train.datasets import sources
from train.losses import LOSSES
from train.network import ARCHITECTURES, SMALL

SAMPLING = {"natural": 0.0, "square-root": 0.5, "balanced": 1.0}
"""How strongly rare classes are drawn more often: weight of an image of class c is n_c ** -exponent."""


RUN = "run:"
"""What `init` begins with where it names another run in the same folder of runs, instead of a model."""


@dataclass(frozen=True)
class Stage:
    """Some epochs at one image size (px), with a linear warm-up and a cosine from `learning_rate` to `final_rate`.

    `mixup` and `cutmix` are beta parameters, 0 for none: a later stage bears more of them (Tan and Le 2021,
    arXiv:2104.00298, section 4). `frozen_blocks` keeps the stem and that many blocks of the backbone as they are.
    """

    image_size: int
    epochs: int
    learning_rate: float
    final_rate: float = 0.0
    warmup_epochs: float = 0.5
    mixup: float = 0.0
    cutmix: float = 0.0
    frozen_blocks: int = 0


@dataclass(frozen=True)
class Config:
    """One training run, and what becomes of its network. `stages` follow each other, the weights carried over.

    The model takes images of `input_size` px, or of the last stage's size. A somewhat larger size than in training
    often scores better, as random zooms make things look larger in training (Touvron et al. 2019, arXiv:1906.06423).
    `augmentation` names a policy of train/augment.py, `loss` one of train/losses.py. `ema` is the momentum of a moving
    average of the weights, which is then what is validated and kept; 0 for none. `precision` other than float32 is for
    GPUs; what is exported is float32.
    After training, `logit_adjustment` times the logarithm of each class's share of the training draws is taken off its
    logit (Menon et al. 2021, arXiv:2007.07314, section 4.1): 0 leaves it, 1 answers as if classes were equally common,
    which is what the loss `logit-adjusted` trains for.
    Of the training images one of `folds` parts, whole lesions or patients, is held back for validation: number `fold`.
    Without a `fold` (null) nothing is held back and the last epoch is kept; train/crossvalidate.py then also trains a
    network without each part, and tests it on that part.
    `hair_removal` takes dark hairs out of every image, here and wherever the model is used.
    `dataset` is one of train/datasets.py, or several joined by +. `init` is explained at `network.build`; `run:` before
    the id of another run of the same folds takes the network that this ended with. `beside` is the id of a run, of
    another protocol, whose scores the card shows too. The folder of a model that is only a baseline may go without its
    weights: `ship_weights: false`. `note` is for the card.
    """

    id: str
    title: str
    dataset: str
    labels: str
    architecture: str
    init: str
    initial_weights: str
    stages: tuple[Stage, ...]
    input_size: int | None = None
    cache_size: int = 240
    hair_removal: bool = False
    samples_per_epoch: int = 6000
    batch_size: int = 32
    sampling: str = "square-root"
    shares: dict | None = None
    reference: str | None = None
    augmentation: str = "standard"
    loss: str = "cross-entropy"
    label_smoothing: float = 0.1
    optimizer: str = "adamw"
    weight_decay: float = 1e-4
    ema: float = 0.0
    dropout: float = 0.3
    logit_adjustment: float = 0.0
    precision: str = "float32"
    patience: int = 8
    folds: int = 8
    fold: int | None = 0
    seed: int = 0
    beside: str | None = None
    ship_weights: bool = True
    note: str = ""

    def __post_init__(self) -> None:
        label_set(self.labels)
        sources(self.dataset)
        _one_of("architecture", self.architecture, {**ARCHITECTURES, **SMALL})
        _one_of("sampling", self.sampling, SAMPLING)
        _one_of("augmentation", self.augmentation, POLICIES)
        _one_of("loss", self.loss, LOSSES)
        _one_of("optimizer", self.optimizer, ("adamw", "sgd"))
        _one_of("precision", self.precision, ("float32", "mixed_float16", "mixed_bfloat16"))
        if not self.stages:
            raise DataError("Setting 'stages' is empty; give at least one stage.")
        for stage in self.stages:
            _positive("stages: image_size", stage.image_size)
            _positive("stages: epochs", stage.epochs)
            _positive("stages: learning_rate", stage.learning_rate)
            if not 0 <= stage.warmup_epochs < stage.epochs:
                raise DataError(
                    f"Setting 'stages: warmup_epochs' is {stage.warmup_epochs}; it must be below the stage's "
                    f"{stage.epochs} epochs."
                )
            if not 0 <= stage.final_rate <= stage.learning_rate:
                raise DataError(
                    f"Setting 'stages: final_rate' is {stage.final_rate}; it must lie from 0 to the learning rate."
                )
            for name in ("mixup", "cutmix", "frozen_blocks"):
                _not_negative(f"stages: {name}", getattr(stage, name))
        sizes = {stage.image_size for stage in self.stages} | {self.image_size}
        if self.architecture in SMALL and len(sizes) > 1:
            raise DataError(f"The network '{self.architecture}' takes images of one size only, not {sorted(sizes)}.")
        if self.input_size is not None:
            _positive("input_size", self.input_size)
        for name in ("cache_size", "samples_per_epoch", "batch_size", "patience"):
            _positive(name, getattr(self, name))
        for name in ("label_smoothing", "dropout", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise DataError(f"Setting '{name}' is {getattr(self, name)}; it must lie from 0 up to, not at, 1.")
        _not_negative("weight_decay", self.weight_decay)
        if self.loss == "logit-adjusted" and self.logit_adjustment > 0:
            raise DataError(
                f"Setting 'logit_adjustment' is {self.logit_adjustment} beside the loss 'logit-adjusted', and would "
                "correct for the class shares twice; set logit_adjustment=0."
            )
        if self.samples_per_epoch < self.batch_size:
            raise DataError(
                f"Setting 'samples_per_epoch' is {self.samples_per_epoch}; it must be at least the batch size, "
                f"{self.batch_size}."
            )
        if self.folds < 2 or not 0 <= (self.fold or 0) < self.folds:
            raise DataError(f"Setting 'fold' is {self.fold} of {self.folds}; take 0 to folds - 1, of at least 2 folds.")

    @property
    def image_size(self) -> int:
        return self.input_size or self.stages[-1].image_size

    @property
    def fingerprint(self) -> str:
        """A hash over the settings that training depends on: a checkpoint of other ones is never resumed."""
        settings = dataclasses.asdict(self)
        for name in ("title", "initial_weights", "input_size", "logit_adjustment", "beside", "ship_weights", "note"):
            del settings[name]
        for name in ("shares", "reference"):
            if settings[name] is None:
                del settings[name]
        if not self.hair_removal:
            # so that runs from before there was this setting go on
            del settings["hair_removal"]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def load_config(path: str | Path, overrides: tuple[str, ...] = ()) -> Config:
    """YAML, with `key=value` overrides on top, to a Config. DataError names an unknown key or impossible value."""
    return from_settings(read_settings(path, overrides))


def read_settings(path: str | Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """The settings in a YAML file, with `key=value` overrides on top. DataError where it is not a set of settings."""
    try:
        settings = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise DataError(f"There is no configuration file {path}.") from None
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(settings, dict):
        raise DataError(f"{path} holds no settings; it should be 'key: value' lines.")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise DataError(f"'{override}' is not of the form key=value.")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise DataError(f"The value of '{override}' is not valid YAML.") from None
    return settings


def from_settings(settings: dict[str, Any]) -> Config:
    """Settings, as YAML gives them, to a Config. DataError names an unknown key or impossible value."""
    stages = settings.get("stages")
    if not isinstance(stages, list):
        raise DataError("Setting 'stages' is missing or is not a list.")
    return _build(Config, settings | {"stages": tuple(_build(Stage, stage, "stages: ") for stage in stages)}, "")


def _build(kind: type, settings: Any, where: str) -> Any:
    if not isinstance(settings, dict):
        raise DataError(f"{where}{settings!r} is not a set of settings.")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key, value in settings.items():
        if key not in fields:
            raise DataError(f"There is no setting '{where}{key}'; there are {', '.join(fields)}.")
        expected = fields[key].type
        if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
            settings = {**settings, key: float(value)}
        elif isinstance(expected, type | UnionType) and (
            not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool)
        ):
            name = expected.__name__ if isinstance(expected, type) else str(expected)
            raise DataError(f"Setting '{where}{key}' is {value!r}; it must be {name}.")
    missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in settings]
    if missing:
        raise DataError(f"Missing settings: {', '.join(where + name for name in missing)}.")
    return kind(**settings)


def _one_of(name: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise DataError(f"Setting '{name}' is {value!r}; it must be one of {', '.join(allowed)}.")


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise DataError(f"Setting '{name}' is {value}; it must be above 0.")


def _not_negative(name: str, value: float) -> None:
    if not value >= 0:
        raise DataError(f"Setting '{name}' is {value}; it must not be below 0.")
