"""The configuration of a training run: a frozen dataclass, read from YAML and checked before anything slow starts."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

import yaml

from skinapp.errors import DataError
from skinapp.images.removal import KINDS
from skinapp.inference.views import UPRIGHT, VIEWS
from skinapp.labels.sets import label_set
from train.data.datasets import sources
from train.data.packed import read as read_pack
from train.fit.augmentation import POLICIES
from train.fit.losses import LOSSES
from train.fit.network import ARCHITECTURES, SMALL

SAMPLING = {"natural": 0.0, "square-root": 0.5, "balanced": 1.0}
"""Sampling exponents: an image of class c, which has n_c images, has weight n_c ** -exponent."""


RUN = "run:"
"""The prefix of `init` if it names another run in the same folder of runs, instead of a model."""


@dataclass(frozen=True)
class Stage:
    """Some epochs at one image size (px), with a linear warm-up and a cosine from `learning_rate` to `final_rate`.

    `mixup` and `cutmix` are beta parameters, 0 for none; larger images need more of them (Tan and Le 2021,
    arXiv:2104.00298, section 4). `frozen_blocks` freezes the stem and that many blocks of the backbone; with all of
    them (5 of VGG16, 6 of EfficientNetV2B0, 7 of EfficientNetB1) only the head trains.
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
    """One training run, and how its network is evaluated and exported.

    - `stages` run in order; each starts with the weights of the previous one.
    - `input_size` is the model's image size, px; by default that of the last stage. A somewhat larger size than in
      training often scores better, as random zooms make things look larger in training (Touvron et al. 2019,
      arXiv:1906.06423).
    - `dataset` is one of train/data/datasets.py, or several joined by +. The validation images of the first one choose
      the epoch; scores on those of the others are also recorded.
    - `shares` maps each data set to its share of the sampled images; without it, images are sampled by class alone.
    - `reference` is the data set whose class shares the logits are for: in training, the logits of an image are
      corrected for how much more common each class is in its source, see `source_offsets` in train/fit/stages.py.
    - `init` is explained at `network.build`. `run:` before the id of another run starts from the network of its last
      epoch, if that was trained on nothing that this run holds out; for a part of a cross-validation, from the network
      of the same part.
    - `teacher` is the id of an evaluated cross-validation in the same folder of runs: its held-out probabilities make
      up `teacher_share` of the target of each image for which they are known, the published label the rest (Hinton et
      al. 2015, arXiv:1503.02531).
    - `metadata` also trains what the first data set's patient metadata adds to the logits; each field of an image is
      left out with probability `metadata_dropout` each time the image is sampled. The network itself sees the image
      alone.
    - `augmentation` names a policy in train/fit/augmentation.py, `loss` a loss in train/fit/losses.py.
    - `remove` lists kinds of artefact, see skinapp/images/removal.py, that are removed from every image, in training
      and wherever the model is used.
    - `colour_constancy` removes the colour of the light from every image, see train/data/colour_constancy.py. It is for
      studies: the app does not do it, so such a network cannot be exported.
    - `packed` is a file written by `python -m train pack`; table and images are then read from it.
    - `ema` is the momentum of a moving average of the weights, which is then validated and saved; 0 for none.
    - `precision` other than float32 is for GPUs and processors that support it; the exported network is float32.
    - `logit_adjustment` times the logarithm of each class's share of the training images is subtracted from its logit
      after training (Menon et al. 2021, arXiv:2007.07314, section 4.1). 0 leaves the logits alone; 1 predicts as if
      classes were equally common, which is what the loss `logit-adjusted` trains for.
    - `folds` is the number of parts, of whole lesions or patients, into which the training images are divided; part
      number `fold` is held out for validation. If `fold` is null, nothing is held out and the last epoch is saved;
      train/fit/cross_validation.py then also trains a network without each part and tests it on that part.
    - `hold_out_all` also divides the data sets that otherwise train in every fold.
    - `without` is a source, that is, a collection in a data set, that is not trained on, and neither are images of its
      lesions elsewhere; what a fold holds out of it stays held out.
    - `committee`, if `fold` is null, makes the networks of the folds the model; no network is trained on all images.
    - `views` are the views of an image, see skinapp/inference/views.py, whose logits the exported model averages.
    - `beside` is the id of a run under another protocol whose scores the card also shows.
    - `ship_weights: false` leaves the weights out of the model folder, for a model that is only a baseline.
    - `note` is a text for the card.
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
    packed: str = ""
    remove: tuple[str, ...] = ()
    colour_constancy: bool = False
    samples_per_epoch: int = 6000
    batch_size: int = 32
    sampling: str = "square-root"
    shares: dict | None = None
    reference: str | None = None
    teacher: str = ""
    teacher_share: float = 0.5
    metadata: bool = False
    metadata_dropout: float = 0.5
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
    hold_out_all: bool = False
    without: str = ""
    committee: bool = False
    views: tuple[str, ...] = (UPRIGHT,)
    seed: int = 0
    short_name: str = ""
    beside: str | None = None
    ship_weights: bool = True
    note: str = ""

    def __post_init__(self) -> None:
        label_set(self.labels)
        datasets = [source.id for source in sources(self.dataset)]
        if self.shares is not None:
            _check_shares(self.shares, datasets)
        if self.reference is not None:
            _one_of("reference", self.reference, datasets)
            if self.without == self.reference:
                raise DataError(
                    f"Setting 'without' leaves out '{self.without}', which is the 'reference'; set another."
                )
        _one_of("architecture", self.architecture, {**ARCHITECTURES, **SMALL})
        _one_of("sampling", self.sampling, SAMPLING)
        _one_of("augmentation", self.augmentation, POLICIES)
        _one_of("loss", self.loss, LOSSES)
        _one_of("optimizer", self.optimizer, ("adamw", "sgd"))
        for kind in self.remove:
            _one_of("remove", kind, KINDS)
        for view in self.views:
            _one_of("views", view, VIEWS)
        if UPRIGHT not in self.views or len(set(self.views)) < len(self.views):
            raise DataError(f"Setting 'views' is {list(self.views)}; it must list '{UPRIGHT}', and no view twice.")
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
                    f"Setting 'stages: final_rate' is {stage.final_rate}; it must be from 0 to the learning rate."
                )
            for name in ("mixup", "cutmix", "frozen_blocks"):
                _not_negative(f"stages: {name}", getattr(stage, name))
        sizes = {stage.image_size for stage in self.stages} | {self.image_size}
        if self.architecture in SMALL and len(sizes) > 1:
            raise DataError(f"The network '{self.architecture}' accepts images of one size only, not {sorted(sizes)}.")
        if self.input_size is not None:
            _positive("input_size", self.input_size)
        if self.packed:
            largest = read_pack(Path(self.packed)).size
            if max(self.cache_size, self.image_size) > largest:
                raise DataError(
                    f"The images in {self.packed} are {largest} px; set cache_size={largest} or less, no stage above "
                    "that, or pack the data set at a larger --size."
                )
        for name in ("cache_size", "samples_per_epoch", "batch_size", "patience"):
            _positive(name, getattr(self, name))
        for name in ("label_smoothing", "dropout", "ema", "teacher_share", "metadata_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise DataError(f"Setting '{name}' is {getattr(self, name)}; it must be at least 0 and below 1.")
        _not_negative("weight_decay", self.weight_decay)
        if self.loss == "logit-adjusted" and self.logit_adjustment > 0:
            raise DataError(
                f"Setting 'logit_adjustment' is {self.logit_adjustment}, but the loss 'logit-adjusted' already "
                "corrects for class shares; set logit_adjustment=0."
            )
        if self.samples_per_epoch < self.batch_size:
            raise DataError(
                f"Setting 'samples_per_epoch' is {self.samples_per_epoch}; it must be at least the batch size, "
                f"{self.batch_size}."
            )
        if self.folds < 2 or not 0 <= (self.fold or 0) < self.folds:
            raise DataError(
                f"Setting 'fold' is {self.fold} and 'folds' is {self.folds}; 'folds' must be at least 2, and 'fold' "
                "from 0 to folds - 1."
            )

    @property
    def is_committee(self) -> bool:
        """Whether this is the run of a whole committee rather than one of its members."""
        return self.committee and self.fold is None

    @property
    def image_size(self) -> int:
        return self.input_size or self.stages[-1].image_size

    @property
    def division(self) -> dict[str, Any]:
        """The arguments of `with_validation` for this run."""
        return {name: getattr(self, name) for name in ("folds", "fold", "seed", "hold_out_all", "without")}

    @property
    def pixels(self) -> dict[str, Any]:
        """The arguments of `prepare` that change the decoded images."""
        return {"remove": self.remove, "colour_constancy": self.colour_constancy, "pack": self.packed}

    @property
    def fingerprint(self) -> str:
        """A hash of the settings that training depends on, so that a checkpoint with other settings is never
        resumed."""
        settings = dataclasses.asdict(self)
        for name in (
            "title",
            "short_name",
            "initial_weights",
            "input_size",
            "logit_adjustment",
            "committee",
            "views",
            "beside",
            "ship_weights",
            "note",
        ):
            del settings[name]
        if self.packed:
            # the content of the file counts, not its path
            settings["packed"] = read_pack(Path(self.packed)).digest
        # so that runs from before these settings were added can be resumed
        for names in (
            ("shares",),
            ("reference",),
            ("teacher", "teacher_share"),
            ("metadata", "metadata_dropout"),
            ("packed",),
            ("remove",),
            ("colour_constancy",),
            ("hold_out_all",),
            ("without",),
        ):
            if not settings[names[0]]:
                for name in names:
                    del settings[name]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def load_config(path: str | Path, overrides: tuple[str, ...] = ()) -> Config:
    """A YAML file with `key=value` overrides -> Config. DataError names an unknown key or impossible value."""
    return from_settings(read_settings(path, overrides))


def read_settings(path: str | Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """The settings in a YAML file, with `key=value` overrides. DataError if it holds no settings."""
    try:
        settings = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise DataError(f"There is no configuration file {path}.") from None
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(settings, dict):
        raise DataError(f"{path} holds no settings; write lines of the form 'key: value'.")
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
    """Settings, as read from YAML -> Config. DataError names an unknown key or impossible value."""
    stages = settings.get("stages")
    if not isinstance(stages, list):
        raise DataError("Setting 'stages' is missing or is not a list.")
    settings = settings | {"stages": tuple(build(Stage, stage, "stages: ") for stage in stages)}
    for name in ("views", "remove"):
        if name in settings:
            if not isinstance(settings[name], list):
                raise DataError(f"Setting '{name}' is {settings[name]!r}; it must be a list.")
            settings[name] = tuple(map(str, settings[name]))
    return build(Config, settings, "")


def build(kind: type, settings: Any, where: str) -> Any:
    """Settings -> a dataclass of that kind. DataError names an unknown key or impossible value, and says `where`."""
    if not isinstance(settings, dict):
        raise DataError(f"{where}{settings!r} is not a set of settings.")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key, value in settings.items():
        if key not in fields:
            raise DataError(f"There is no setting '{where}{key}'; choose one of {', '.join(fields)}.")
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


def _check_shares(shares: dict, datasets: list[str]) -> None:
    if unknown := [str(name) for name in shares if name not in datasets]:
        raise DataError(
            f"Setting 'shares' has {', '.join(unknown)}, which 'dataset' does not; it has {', '.join(datasets)}."
        )
    if missing := [name for name in datasets if name not in shares]:
        raise DataError(
            f"Setting 'shares' gives no share to {', '.join(missing)}; leave it out of 'dataset', or add it."
        )
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not share > 0:
            raise DataError(f"Setting 'shares: {name}' is {share!r}; it must be a number above 0.")
    if not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise DataError(f"The numbers of setting 'shares' add up to {sum(shares.values()):g}; they must add up to 1.")


def _one_of(name: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise DataError(f"Setting '{name}' is {value!r}; it must be one of {', '.join(allowed)}.")


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise DataError(f"Setting '{name}' is {value}; it must be above 0.")


def _not_negative(name: str, value: float) -> None:
    if not value >= 0:
        raise DataError(f"Setting '{name}' is {value}; it must not be below 0.")
