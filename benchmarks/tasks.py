"""The tasks to measure, in our code and in plain code. Each function prepares a task and returns the part to time."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skinapp.inference import registry

if TYPE_CHECKING:
    from skinapp.evaluation.comparison import Shared

Task = Callable[[Path], object]


@functools.cache
def model() -> registry.Model:
    """The first shipped model that also has its Keras network."""
    return next(model for model in registry.models().values() if "model.keras" in model.card["files"])


def photo() -> Task:
    """A JPEG file to probabilities and the map of the most probable class."""
    from skinapp.attention import heatmap
    from skinapp.images import imaging
    from skinapp.inference import runtime

    classifier = runtime.classifier(model())

    def classify(file: Path) -> object:
        prediction = classifier.predict(imaging.load(file, classifier.model.input_size))
        return heatmap.grad_cam(prediction.class_maps, int(prediction.probabilities.argmax()))

    return classify


def plain_photo() -> Task:
    from benchmarks.plain import PlainClassifier

    classifier = PlainClassifier(model())

    def classify(file: Path) -> object:
        pixels = classifier.load(file)
        return classifier.grad_cam(pixels, int(classifier.probabilities(pixels).argmax()))

    return classify


def decoding() -> Task:
    """A JPEG file to pixels, in this process."""
    from skinapp.images import imaging

    return lambda file: imaging.decode(imaging.read(file))


def decoding_apart() -> Task:
    """The same in a separate process, as for visitors' images."""
    from skinapp.images import imaging, isolated

    assert isolated.start()
    return lambda file: isolated.decode(imaging.read(file))


MEMBERS, VIEWS = 5, ("upright", "mirrored", "upside down", "quarter turn")
"""The networks and views of the shipped committee."""
SINGLE = "ham10000-efficientnetv2b0"
"""A network as large as each of its members."""


def committee_photo() -> Task:
    """A JPEG file to the committee's probabilities and the map of the most probable class."""
    from skinapp.attention import heatmap
    from skinapp.images import imaging
    from skinapp.inference import runtime

    classifier = runtime.Classifier(registry.model("ham10000-committee"))

    def classify(file: Path) -> object:
        prediction = classifier.predict(imaging.load(file, classifier.model.input_size))
        return heatmap.grad_cam(prediction.class_maps, int(prediction.probabilities.argmax()))

    return classify


def one_by_one() -> Task:
    """The same from single classifications of a loaded network, one for each member and view."""
    from skinapp.attention import heatmap
    from skinapp.images import imaging
    from skinapp.inference import runtime, views

    classifier = runtime.Classifier(registry.model(SINGLE))

    def classify(file: Path) -> object:
        pixels = imaging.load(file, classifier.model.input_size)
        seen = [np.ascontiguousarray(view) for view in views.seen(pixels, VIEWS)]
        predictions = [classifier.predict(view) for _ in range(MEMBERS) for view in seen]
        maps = np.stack([prediction.class_maps for prediction in predictions])
        maps = views.upright_again(maps, MEMBERS * VIEWS).mean(axis=0)
        return heatmap.grad_cam(maps, int(np.mean([prediction.logits for prediction in predictions], axis=0).argmax()))

    return classify


FEATURES = ("ham10000-features", "malignancy-features")
"""The shipped features models."""


def features_photo(name: str) -> Task:
    """A JPEG file to the probabilities of a features model and the contributions of the features."""
    from skinapp.images import imaging
    from skinapp.inference import runtime

    classifier = runtime.classifier(registry.model(name))

    def classify(file: Path) -> object:
        prediction = classifier.predict(imaging.load(file, classifier.model.input_size))
        return classifier.contributions(prediction)

    return classify


def scoring() -> Task:
    """Probabilities of every JPEG of a folder: `python -m skinapp score`, loading of the model included."""
    from skinapp.inference.scoring import score

    def classify(folder: Path) -> object:
        with tempfile.TemporaryDirectory() as results:
            return score(folder, model(), Path(results) / "predictions.csv")

    return classify


def plain_scoring() -> Task:
    from benchmarks.plain import PlainClassifier

    classifier = PlainClassifier(model())
    return lambda folder: [classifier.probabilities(classifier.load(file)) for file in sorted(folder.iterdir())]


SIX = (
    "balanced_accuracy",
    "accuracy",
    "macro_f1",
    "roc_auc_malignancy",
    "average_precision_malignancy",
    "brier",
)
RESAMPLES = 2000
EVERY = 40
"""Plain code computes one of this many resamples."""


def eight_models() -> "tuple[Shared, list[np.ndarray], np.ndarray]":
    """A shipped model's test images, its probabilities [n, classes] at 8 temperatures, malignant [classes]."""
    from skinapp.evaluation import calibration, comparison, predictions

    shared = comparison.share([predictions.of_model(model())], comparison.CLASSES)
    [probabilities] = shared.probabilities.values()
    malignant = np.array([label.malignant for label in shared.labels.labels])
    return (
        shared,
        [calibration.before_temperature(probabilities, 0.6 + 0.1 * k) for k in range(8)],
        malignant,
    )


def statistics() -> Task:
    """95% intervals of six scores of eight models, from resamples of lesions."""
    from skinapp.evaluation import bootstrap, measures

    shared, models, _ = eight_models()
    truth, groups = shared.truth, shared.groups
    chosen = {name: score for name, score in measures.scores(shared).items() if name in SIX}

    def intervals(_: Path) -> object:
        weights = bootstrap.weights(groups, RESAMPLES, 0)
        draws = [bootstrap.draws(chosen, truth, rows, weights) for rows in models]
        return [
            {name: bootstrap.score_interval(chosen[name], values, truth, groups) for name, values in one.items()}
            for one in draws
        ]

    return intervals


def plain_statistics() -> Task:
    """The same with scikit-learn, resample by resample, for one in EVERY resamples."""
    from sklearn import metrics

    shared, models, malignant = eight_models()
    truth, groups = shared.truth, shared.groups
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]

    def intervals(_: Path) -> object:
        generator = np.random.default_rng(0)
        values = []
        for _resample in range(RESAMPLES // EVERY):
            sample = generator.integers(0, len(members), len(members))
            rows = np.concatenate([members[group] for group in sample])
            labels, positive = truth[rows], malignant[truth[rows]]
            for probabilities in models:
                sampled = probabilities[rows]
                predicted, malignant_probability = sampled.argmax(axis=1), sampled[:, malignant].sum(axis=1)
                values.append(
                    (
                        metrics.balanced_accuracy_score(labels, predicted),
                        metrics.accuracy_score(labels, predicted),
                        metrics.f1_score(labels, predicted, average="macro"),
                        metrics.roc_auc_score(positive, malignant_probability),
                        metrics.average_precision_score(positive, malignant_probability),
                        metrics.brier_score_loss(labels, sampled, labels=range(len(malignant)), scale_by_half=False),
                    )
                )
        return np.percentile(np.reshape(values, (-1, len(models), len(SIX))), (2.5, 97.5), axis=0)

    return intervals


EXPLORED = ["dx", "sex", "localization", "dx_type"]
"""The columns to group by, with their names in HAM10000."""


def explore() -> Task:
    """The figures of the Explore page's first view after a filter has changed, for a CSV that is already loaded."""
    from skinapp.datasets import columns
    from skinapp.demographics import own_table, records, statistics

    tables: dict[Path, records.Table] = {}

    def redraw(file: Path) -> object:
        if file not in tables:
            raw = own_table.read(file.read_bytes())
            tables[file] = own_table.build(raw, columns.guess(list(raw.columns))).table
            return None
        frame = records.select(tables[file], records.Filters(sex=("female", "male")))
        return (
            statistics.totals(frame),
            statistics.counts(frame, "diagnosis"),
            statistics.counts(frame, "sex"),
            statistics.images_per_lesion(frame),
            statistics.missing(frame),
        )

    return redraw


def plain_explore() -> Task:
    """One pandas group-by over the same rows, with strings as read from the CSV."""
    import pandas as pd

    frames: dict[Path, pd.DataFrame] = {}

    def group(file: Path) -> object:
        if file not in frames:
            frames[file] = pd.read_csv(file)
            return None
        return frames[file].groupby(EXPLORED, dropna=False).size()

    return group


CLASSIFICATIONS = 12
"""The sanity check of a map may take as long as this many classifications."""


def sanity() -> Task:
    """The segmentation of the lesion and the sanity check of the map, for an image that is already classified."""
    from skinapp.attention import heatmap, sanity_check
    from skinapp.images import imaging
    from skinapp.inference import runtime
    from skinapp.lesion import segmentation

    classifier = runtime.classifier(model())
    size = classifier.model.input_size

    def check(file: Path) -> object:
        pixels, square = imaging.load(file, size), imaging.load(file, 512)
        index = int(classifier.predict(pixels).probabilities.argmax())

        def explain(other: np.ndarray) -> np.ndarray:
            return heatmap.grad_cam(classifier.predict(other).class_maps, index)

        mask = segmentation.segment(square).mask
        evidence = sanity_check.gather(
            lambda other: classifier.predict(other).probabilities, explain, pixels, index, explain(pixels), mask
        )
        return sanity_check.sentence(evidence, classifier.model.labels)

    return check


def classifications() -> Task:
    """CLASSIFICATIONS of the same image, decoded once, one after another."""
    from skinapp.images import imaging
    from skinapp.inference import runtime

    classifier = runtime.classifier(model())

    def classify(file: Path) -> object:
        pixels = imaging.load(file, classifier.model.input_size)
        return [classifier.predict(pixels) for _ in range(CLASSIFICATIONS)]

    return classify


MASKS = 500
MASKS_EVERY = 10
"""Plain code classifies one of this many masked images."""


@functools.cache
def pixels_of(file: Path) -> np.ndarray:
    """The model's input; decoded during the warm-up, as decoding is not measured here."""
    from skinapp.images import imaging

    return imaging.load(file, model().input_size)


def last_convolution() -> Task:
    """Grad-CAM at the last convolution and its picture, for an image that is already classified."""
    from skinapp.attention import heatmap
    from skinapp.images import imaging
    from skinapp.inference import runtime

    classifier = runtime.classifier(model())
    known: dict[Path, tuple] = {}

    def draw(file: Path) -> object:
        if file not in known:
            known[file] = (classifier.predict(pixels_of(file)).class_maps, imaging.load(file, 512))
        class_maps, square = known[file]
        return heatmap.overlay(square, heatmap.grad_cam(class_maps, 0))

    return draw


def classification() -> Task:
    from skinapp.inference import runtime

    classifier = runtime.classifier(model())
    return lambda file: classifier.predict(pixels_of(file))


def early_block() -> Task:
    """Grad-CAM at the first block after the stem, the furthest from the output."""
    from skinapp.attention import catalogue
    from skinapp.inference import architecture

    name = architecture.blocks(model())[1].name
    return lambda file: catalogue.raw("grad-cam", model(), pixels_of(file), model().labels.codes[0], name)


def three_predictions() -> Task:
    """Three classifications by `keras.Model.predict`."""
    from benchmarks.plain import PlainClassifier

    classifier = PlainClassifier(model())
    return lambda file: [classifier.probabilities(pixels_of(file)[np.newaxis].astype(np.float32)) for _ in range(3)]


def rise() -> Task:
    from skinapp.attention import catalogue

    code = model().labels.codes[0]
    return lambda file: catalogue.raw("rise", model(), pixels_of(file), code, masks=MASKS)


def plain_rise() -> Task:
    """One in MASKS_EVERY masks, each with `keras.Model.predict`."""
    from benchmarks.plain import PlainClassifier
    from skinapp.attention.methods.rise import mask

    classifier = PlainClassifier(model())
    size = model().input_size

    def loop(file: Path) -> object:
        generator, pixels = np.random.default_rng(0), pixels_of(file)
        colour, total = pixels.mean(axis=(0, 1)), np.zeros((size, size))
        for _ in range(MASKS // MASKS_EVERY):
            shown = mask(generator, size, 7)
            image = colour + shown[..., np.newaxis] * (pixels - colour)
            total += classifier.probabilities(image[np.newaxis].astype(np.float32))[0] * shown
        return total

    return loop


TASKS: dict[str, Callable[[], Task]] = {
    "last_convolution": last_convolution,
    "classification": classification,
    "early_block": early_block,
    "three_predictions": three_predictions,
    "rise": rise,
    "plain_rise": plain_rise,
    "photo": photo,
    "plain_photo": plain_photo,
    "decoding": decoding,
    "decoding_apart": decoding_apart,
    "committee_photo": committee_photo,
    "one_by_one": one_by_one,
    **{name: functools.partial(features_photo, name) for name in FEATURES},
    "scoring": scoring,
    "plain_scoring": plain_scoring,
    "statistics": statistics,
    "plain_statistics": plain_statistics,
    "explore": explore,
    "plain_explore": plain_explore,
    "sanity": sanity,
    "classifications": classifications,
}
