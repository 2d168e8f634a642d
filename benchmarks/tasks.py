"""What is measured, each done our way and the plain way: a function that prepares, and gives what is then timed."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from skinapp import registry

Task = Callable[[Path], object]


def model() -> registry.Model:
    """The first bundled model that has its network for Keras as well."""
    return next(model for model in registry.models().values() if "model.keras" in model.card["files"])


def photo() -> Task:
    """A JPEG file to probabilities and the map of the most probable class."""
    from skinapp import attention, imaging, runtime

    classifier = runtime.classifier(model())

    def classify(file: Path) -> object:
        prediction = classifier.predict(imaging.load(file, classifier.model.input_size))
        return attention.grad_cam(prediction.class_maps, int(prediction.probabilities.argmax()))

    return classify


def plain_photo() -> Task:
    from benchmarks.plain import PlainClassifier

    classifier = PlainClassifier(model())

    def classify(file: Path) -> object:
        pixels = classifier.load(file)
        return classifier.grad_cam(pixels, int(classifier.probabilities(pixels).argmax()))

    return classify


def scoring() -> Task:
    """Probabilities of every JPEG of a folder: `python -m skinapp score`, loading of the model included."""
    from skinapp.score import score

    def classify(folder: Path) -> object:
        with tempfile.TemporaryDirectory() as results:
            return score(folder, model(), Path(results) / "predictions.csv")

    return classify


def plain_scoring() -> Task:
    from benchmarks.plain import PlainClassifier

    classifier = PlainClassifier(model())
    return lambda folder: [classifier.probabilities(classifier.load(file)) for file in sorted(folder.iterdir())]


TASKS: dict[str, Callable[[], Task]] = {
    "photo": photo,
    "plain_photo": plain_photo,
    "scoring": scoring,
    "plain_scoring": plain_scoring,
}
