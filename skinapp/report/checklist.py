"""The reporting checklists CLAIM 2024 and TRIPOD+AI, filled in from the models' cards.

CLAIM 2024: Tejani et al., doi:10.1148/ryai.240300. TRIPOD+AI: Collins et al., doi:10.1136/bmj-2023-078378. The items
are in our own words; their numbers are those of the checklists. What no card states is listed as not answered.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from skinapp.datasets.registry import DATASETS
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.measures import MEASURES
from skinapp.images import removal
from skinapp.inference import metadata, modality, model_card, registry
from skinapp.inference.registry import Model
from skinapp.report.document import Block, Heading, List, Section

Card = Mapping[str, Any]
HEADING = "Reporting checklists"
OVERVIEW = "All models"
"""The heading of the overview section."""


@dataclass(frozen=True)
class Item:
    """An item of one or both checklists: its numbers, the question in our words, and the answer from a card, "" if
    there is none."""

    claim: tuple[str, ...]
    tripod: tuple[str, ...]
    question: str
    answer: Callable[[Card], str]


def section(models: Sequence[Model]) -> Section:
    """Both checklists for some models: answered items first, then unanswered ones."""
    answered, missing = [], []
    for item in ITEMS:
        by_answer: dict[str, list[Model]] = {}
        for model in models:
            by_answer.setdefault(item.answer(model.card), []).append(model)
        silent = by_answer.pop("", [])
        if by_answer:
            lines = [f"{_named(group, models)}{answer}" for answer, group in by_answer.items()]
            answered.append((*_numbers(item), item.question, "\n".join(lines)))
        if silent:
            missing.append(f"{_label(item)}: {item.question}{_of(silent, models)}")
    table = pd.DataFrame(answered, columns=["CLAIM 2024", "TRIPOD+AI", "Item", "Answer"])
    blocks: list[Block] = [
        "CLAIM 2024 (Tejani et al. 2024, doi:10.1148/ryai.240300) and TRIPOD+AI (Collins et al. 2024, "
        "doi:10.1136/bmj-2023-078378) list what a study of a model like these should report. The answers come from the "
        "models' cards; the items are paraphrased.",
        table,
        Heading("Not answered"),
    ]
    return Section(HEADING, [*blocks, List(tuple(missing)) if missing else "Every item is answered."])


def _named(group: Sequence[Model], models: Sequence[Model]) -> str:
    return "" if len(group) == len(models) else f"{'; '.join(model.short_name for model in group)}: "


def _of(silent: Sequence[Model], models: Sequence[Model]) -> str:
    return "" if len(silent) == len(models) else f" (not for {'; '.join(model.short_name for model in silent)})"


def _numbers(item: Item) -> tuple[str, str]:
    return ", ".join(item.claim), ", ".join(item.tripod)


def _label(item: Item) -> str:
    names = zip(("CLAIM", "TRIPOD+AI"), _numbers(item), strict=True)
    return "; ".join(f"{name} {numbers}" for name, numbers in names if numbers)


def _unanswered(card: Card) -> str:
    return ""


def _fixed(words: str) -> Callable[[Card], str]:
    """The same answer for every model: it follows from the existence of a card, or from the document itself."""
    return lambda card: words


def _published(card: Card) -> str:
    known = card.get("published")
    return f"Compared with published models on the same {known['images']:,} test images." if known else ""


def _data(card: Card) -> str:
    return str(card["training"].get("attribution", ""))


def _setting(card: Card) -> str:
    named = (dataset.about for dataset in DATASETS.values() if dataset.name in card["training"]["dataset"])
    return " ".join(named)


def _excluded(card: Card) -> str:
    images, groups = card["training"]["images"], card["training"]["groups"]
    if not images.get("excluded"):
        return ""
    return (
        f"{images['excluded']:,} images of {groups['excluded']:,} {_groups(card)} are left out, because they belong "
        "with test images or are copies of them."
    )


def _groups(card: Card) -> str:
    return model_card.MEMBERS[card["modality"]]


def _preparation(card: Card) -> str:
    entry = card["input"]
    resize = entry["resize"] + (f"; {removal.named(entry['remove'])} are removed" if "remove" in entry else "")
    low, high = entry["range"]
    return f"{entry['channels']}, {entry['size']} x {entry['size']} px, values {low}-{high}; {resize}."


def _predictors(card: Card) -> str:
    images = f"{modality.IMAGES[card['modality']].capitalize()}"
    fields = ", ".join(
        f"{field.title.lower()} ({field.unit})" if field.kind == "number" else field.title.lower()
        for field in metadata.fields_of(card)
    )
    return f"{images}; {fields}." if fields else f"{images}."


def _missing_values(card: Card) -> str:
    if metadata.fields_of(card):
        return "Every detail about the patient is optional; one that is missing changes nothing."
    if card["kind"] == "features":
        return "A feature that cannot be measured is missing; the trees were trained with missing features."
    return "The image is the only input, so no value can be missing."


def _reference(card: Card) -> str:
    return (
        f"The published diagnoses of {card['test']['dataset']}, for training and test images alike: "
        f"{len(card['labels']['codes'])} classes. How they were confirmed is under Data."
    )


def _network(card: Card) -> str:
    network = card["architecture"]
    outputs = ", ".join(f"{name} {shape}" for name, shape in card["outputs"].items())
    counted = "leaves" if card["kind"] == "features" else "parameters"
    return f"{network['name']}, {network['parameters']:,} {counted}; {outputs}."


def _libraries(card: Card) -> str:
    return ", ".join(f"{name} {version}" for name, version in card.get("versions", {}).items())


def _weights(card: Card) -> str:
    shipped = any(name.endswith(".tflite") or name == registry.TREES_FILE for name in card["files"])
    return "The weights, with their SHA-256." if shipped else ""


def _training(card: Card) -> str:
    settings, stages = card["training"].get("settings"), card["training"].get("stages", ())
    if trees := card["training"].get("boosting"):
        return (
            f"Gradient boosting, {trees['iterations']:,} iterations, learning rate {trees['learning_rate']:g}, at most "
            f"{trees['leaves']} leaves in a tree, seed {trees['seed']}."
        )
    if not settings:
        return ""
    return (
        f"{len(stages)} stages, {sum(stage['epochs'] for stage in stages)} epochs of {settings['samples_per_epoch']:,} "
        f"images; {settings['optimizer']}, {settings['loss']} loss, augmentation {settings['augmentation']}, seed "
        f"{settings['seed']}."
    )


def _chosen(card: Card) -> str:
    score = registry.held_out_score(card)
    return "" if score is None else f"On images held out from training, where its balanced accuracy is {score:.3f}."


def _imbalance(card: Card) -> str:
    settings, adjustment = card["training"].get("settings"), card.get("logit_adjustment")
    if adjustment and card["kind"] == "features":
        return f"Logit adjustment {adjustment['applied']:g}."
    if not settings or not adjustment:
        return ""
    return f"{settings['sampling'].capitalize()} sampling; logit adjustment {adjustment['applied']:g}."


def _voters(card: Card) -> str:
    return "One network for each image." if card["kind"] == "pair" else f"{model_card.voters(card).capitalize()}."


def _measures(card: Card) -> str:
    names = (MEASURES[name].name if name in MEASURES else name.replace("_", " ") for name in card["scores"])
    return ", ".join(names) + "."


def _uncertainty(card: Card) -> str:
    return f"95% intervals from {card['test']['resamples']:,} bootstrap resamples of {_groups(card)}."


def _calibration(card: Card) -> str:
    return f"Probabilities are the softmax of logits / {card['temperature']:g}, fitted on held-out images."


def _recalibrated(card: Card) -> str:
    before = card["test"].get("uncalibrated", {}).get("expected_calibration_error")
    after = card["scores"].get("expected_calibration_error")
    if not before or not after:
        return ""
    return f"Expected calibration error {before['value']:.3f} before calibration and {after['value']:.3f} after."


def _maps(card: Card) -> str:
    if card["kind"] == "features":
        return "The exact amount that each feature added to the answer."
    return "Exact class maps, with a sanity check." if "class_maps" in card["outputs"] else ""


def _internal(card: Card) -> str:
    test = card["test"]
    how = "by cross-validation on" if model_card.cross_validated(card) else "on"
    return f"Tested {how} {test['images']:,} images of {test['groups']:,} {_groups(card)} of {test['dataset']}."


def _external(card: Card) -> str:
    trained_on = card["training"]["dataset"]
    tests = (test for test in card.get("other_tests", ()) if "predictions" in test and test["name"] not in trained_on)
    return " ".join(
        f"{test['name']}, {test['images']:,} images: balanced accuracy "
        f"{Interval(**test['scores']['balanced_accuracy']).text()}."
        for test in tests
    )


def _thresholds(card: Card) -> str:
    points = ", ".join(f"{point['id']} {point['threshold']:.3f}" for point in card.get("operating_points", ()))
    classes = f"A probability for each of {len(card['labels']['codes'])} classes."
    return f"{classes} Thresholds: {points}." if points else f"{classes} No threshold is prescribed."


def _numbers_of_images(card: Card) -> str:
    groups = card["training"]["groups"]
    parts = (f"{part} {count:,} ({groups[part]:,})" for part, count in card["training"]["images"].items())
    return f"Images ({_groups(card)}): {', '.join(parts)}."


def _score(*names: str) -> Callable[[Card], str]:
    def answer(card: Card) -> str:
        known = [name for name in names if name in card["scores"]]
        return "; ".join(f"{MEASURES[name].name} {Interval(**card['scores'][name]).text()}" for name in known)

    return answer


def _errors(card: Card) -> str:
    return " ".join(["A confusion matrix and the error rate of every class.", *card["bad_at"]])


def _again(card: Card) -> str:
    known = card["training"].get("settings") or card["training"].get("boosting")
    return f"The settings are in {model_card.settings_file(card)}." if known else ""


def _shared(card: Card) -> str:
    return f"Model: {card['licence']}. Data: {card['training'].get('data_licence', 'not stated')}."


ITEMS = (
    Item(("1",), ("1",), "What kind of study this is", _fixed("Deep-learning classifiers of skin-lesion images.")),
    Item(("2",), ("2",), "A summary", _fixed(f"The section {OVERVIEW}.")),
    Item(("3", "41"), ("3b",), "What the model is meant for, and for whom", lambda card: str(card["intended_use"])),
    Item((), ("3a",), "The medical context, and existing models", _published),
    Item((), ("3c",), "Known health inequalities between groups of people", _unanswered),
    Item(("4",), ("4",), "Aims and hypotheses", _unanswered),
    Item(("5",), (), "Whether data were collected for the study", _fixed("No: the data had been published before.")),
    Item(("6",), (), "The goal: a new model, a test, or both", _fixed("A model is developed and tested.")),
    Item(("7",), ("5a",), "Where the data come from", _data),
    Item((), ("5b",), "When the data were collected", _unanswered),
    Item((), ("6a",), "Clinics and countries", _setting),
    Item(("8",), ("6b",), "Who or what was left out", _excluded),
    Item((), ("6c",), "Treatments before the image was taken", _unanswered),
    Item(("9", "10"), ("7", "12b"), "How images are preprocessed and cropped", _preparation),
    Item(("11",), (), "How the data were de-identified", _unanswered),
    Item(("12",), ("11",), "What happens to missing values", _missing_values),
    Item(("13",), (), "Imaging devices and protocol", _unanswered),
    Item(("14", "17"), ("8a",), "The reference standard", _reference),
    Item(("15",), (), "Why this reference standard", _unanswered),
    Item(("16",), ("8b",), "Who made the annotations, and their training", _unanswered),
    Item(("18",), (), "Agreement between annotators", _unanswered),
    Item((), ("8c",), "Whether the diagnosis was made without knowing the model's answer", _unanswered),
    Item((), ("9a", "9b"), "What the model takes as input", _predictors),
    Item((), ("9c",), "Who recorded the input, and their training", _unanswered),
    Item(("19",), ("12a",), "How images were divided into parts", lambda card: str(card["training"]["protocol"])),
    Item(("20",), (), "What is never split between parts", lambda card: f"A {_groups(card).removesuffix('s')}."),
    Item(("21",), ("10",), "How the number of images was decided", _unanswered),
    Item(("22",), ("12c",), "The network", _network),
    Item((), ("22",), "Everything needed to run the model", _weights),
    Item(("23",), (), "Software and versions", _libraries),
    Item(("24",), (), "Initial weights", lambda card: str(card["initial_weights"])),
    Item(("25",), (), "Training", _training),
    Item(("26",), (), "How the final model was chosen", _chosen),
    Item(("27",), (), "Networks and views that are combined", _voters),
    Item(("28",), ("12e",), "Measures of performance", _measures),
    Item(("29",), (), "Uncertainty", _uncertainty),
    Item((), ("12d", "23b"), "Differences between clinics or data sets", _external),
    Item((), ("12f", "12g"), "Calibration, and how probabilities are computed", _calibration),
    Item((), ("24",), "What calibration changed", _recalibrated),
    Item((), ("13",), "Class imbalance", _imbalance),
    Item((), ("14",), "Fairness across groups of people", _unanswered),
    Item((), ("15",), "Output and thresholds", _thresholds),
    Item(("30",), (), "Robustness", _unanswered),
    Item(("31",), (), "Explanations", _maps),
    Item(("32",), ("16",), "Tests on data like the training data", _internal),
    Item(("33",), (), "Tests on data from elsewhere", _external),
    Item(("34",), ("18d",), "Registration", _unanswered),
    Item((), ("17",), "Ethics approval", _unanswered),
    Item(("35",), ("20a", "21"), "Numbers of images and of lesions or patients", _numbers_of_images),
    Item(("36",), ("20b", "20c"), "Age, sex and diagnoses in each part", _unanswered),
    Item(("37",), ("23a",), "Performance", _score("balanced_accuracy", "roc_auc_malignancy")),
    Item(
        ("38",),
        (),
        "Sensitivity and specificity for cancer",
        _score("sensitivity_malignancy", "specificity_malignancy"),
    ),
    Item(("39",), (), "What the model gets wrong", _errors),
    Item(("40",), ("26",), "Limits", lambda card: "Stated under Limits for each model." if card["limits"] else ""),
    Item((), ("25",), "Interpretation, and what other studies found", _unanswered),
    Item(("42",), (), "Technical details", _again),
    Item((), ("18c",), "A protocol written before the study", _unanswered),
    Item(("43",), ("18e", "18f"), "Access to model, code and data", _shared),
    Item(("44",), ("18a",), "Funding", _unanswered),
    Item((), ("18b",), "Conflicts of interest", _unanswered),
    Item((), ("19",), "How patients were involved", _unanswered),
    Item((), ("27a",), "What to do with poor images", _unanswered),
    Item((), ("27b",), "What users must do or know", _unanswered),
    Item((), ("27c",), "What to study next", _unanswered),
)
