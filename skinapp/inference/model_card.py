"""The human-readable model card, generated from `model.json` alone: the README.md of a model's folder, and its page."""

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from skinapp.formatting import joined
from skinapp.images import removal
from skinapp.inference import metadata, model_index
from skinapp.inference.model_index import score_name
from skinapp.labels.sets import HAM10000, of_card, target

Card = Mapping[str, Any]
MEMBERS = {"dermoscopy": "lesions", "smartphone": "patients", "dermoscopy and close-up": "lesions"}
"""The unit by which a modality's images are grouped."""
IMAGES_OF_PAIR = {"dermoscopy": "dermoscopy image", "smartphone": "close-up"}
"""The images of a pair in the order of its networks: the modality of each, and its name."""
GOOD_SENSITIVITY, BAD_SENSITIVITY = 0.8, 0.7
"""A classifier is good at a class if it recognises at least the first share of its images, bad below the second."""
GOOD_DICE, BAD_DICE = 0.9, 0.85
"""The same for the mean Dice coefficient of a segmentation network."""
PREPROCESSING = {
    "included": "The network takes these values as they are.",
    "0-255": "The network takes these values as they are.",
    "0-1": "A first layer divides them by 255.",
    "-1-1": "A first layer scales them to -1 to 1.",
    "imagenet": "A first layer scales them to 0-1, subtracts ImageNet's mean and divides by its standard deviation.",
    "imagenet-bgr": "A first layer orders the channels blue, green, red and subtracts ImageNet's mean.",
}
"""Descriptions of the preprocessing in front of an adopted network, by its name in the card."""
OUT_OF_FOLD = ("committee", "features")
"""The kinds of models whose choices were made on out-of-fold predictions."""
FEW_IMAGES = 20
"""The card makes no claim about a class with fewer test images."""
SMALL_P = 0.001
"""Smaller p values are not stated exactly."""
OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD"}
BACKENDS = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}


@dataclass(frozen=True)
class Table:
    """Cells as text, without Markdown."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A heading ("" for the beginning), and below it paragraphs and lists in Markdown, and tables."""

    title: str
    blocks: tuple[str | Table, ...]


def markdown(card: Card) -> str:
    """The whole README.md, which begins with the machine-readable metadata."""
    import yaml  # in requirements-train.txt, as only publishing writes a README.md

    index = yaml.safe_dump(model_index.metadata(card), sort_keys=False, allow_unicode=True, width=120)
    parts = [f"---\n{index}---", f"# {card['title']}"]
    for section in sections(card):
        parts += [f"## {section.title}"] if section.title else []
        parts += [_markdown_table(block) if isinstance(block, Table) else block for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def sections(card: Card) -> list[Section]:
    """The card's sections, from top to bottom."""
    if card["kind"] == "segmentation":
        parts = _segmentation(card)
    elif "fusion" in card:
        parts = _fusion(card)
    elif card["kind"] == "pair":
        parts = _pair(card)
    elif "adopted" in card:
        parts = _adopted(card)
    elif card["kind"] == "features":
        parts = _on_features(card)
    else:
        parts = _classifier(card)
    return [*parts, *_ending(card)]


def sensitivity_sentences(card: Card) -> tuple[list[str], list[str]]:
    """What a classifier is good at and bad at, a sentence for each class, from `recalls` of its first test."""
    labels = of_card(card["labels"])
    good, bad = [], []
    for code, recall in card["test"]["recalls"].items():
        share = recall["correct"] / recall["images"]
        words = (
            f"{labels[code].name}: {recall['correct']:,} of {recall['images']:,} test images recognised ({share:.0%})."
        )
        if recall["images"] >= FEW_IMAGES and share >= GOOD_SENSITIVITY:
            good.append(words)
        elif recall["images"] >= FEW_IMAGES and share < BAD_SENSITIVITY:
            bad.append(words)
    return good, bad


def dice_sentences(card: Card) -> tuple[list[str], list[str]]:
    """What a segmentation network is good at and bad at, a sentence for each diagnosis."""
    good, bad = [], []
    for code, part in card["diagnoses"].items():
        dice = part["dice"]
        limits = "" if dice["low"] is None else f" ({dice['low']:.3f} to {dice['high']:.3f})"
        words = f"{HAM10000[code].name}: mean Dice {dice['value']:.3f}{limits} on {part['images']:,} test images."
        if part["images"] >= FEW_IMAGES and dice["value"] >= GOOD_DICE:
            good.append(words)
        elif part["images"] >= FEW_IMAGES and dice["value"] < BAD_DICE:
            bad.append(words)
    return good, bad


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    return _markdown_table(Table(tuple(header), tuple(tuple(row) for row in rows)))


def cross_validated(card: Card) -> bool:
    """Whether the scores come from cross-validation rather than a held-out test set."""
    return card["kind"] not in OUT_OF_FOLD and "validation" not in card["training"]["images"]


def voters(card: Card) -> str:
    """The networks and views whose answers are averaged, as text: "one network, no test-time augmentation" or "5
    networks, 4 views of each image"."""
    if card["kind"] == "features":
        return "trees on the features of one view"
    members, views = len(card.get("members", ())) or 1, len(card["input"].get("views", ())) or 1
    networks = f"{members} networks" if members > 1 else "one network"
    return f"{networks}, {views} views of each image" if views > 1 else f"{networks}, no test-time augmentation"


def settings_file(card: Card) -> str:
    """The settings that a model was trained with, in the repository."""
    if card["kind"] == "features":
        return f"train/configs/features/{card['id'].removesuffix('-features')}.yaml"
    return f"train/configs/{card['id']}.yaml"


def _classifier(card: Card) -> Iterator[Section]:
    network = card["architecture"]
    maps = (
        "ending in global average pooling and one dense layer, so its class maps are exact"
        if "class_maps" in card["outputs"]
        else "ending in dense layers, so it has no class maps"
    )
    size = card["input"]["size"]
    removed = f"; {removal.named(card['input']['remove'])} are removed first" if "remove" in card["input"] else ""
    outputs = ", ".join(f"`{name}` {shape}" for name, shape in card["outputs"].items())
    views, members = card["input"].get("views", ()), card.get("members", ())
    name = f"{len(members)} x {network['name']}" if members else network["name"]
    means = [what for what, many in (("the networks", members), (f"the views ({joined(views)})", views)) if many]
    mean = f" Logits and class maps are averaged over {joined(means)}." if means else ""
    yield Section(
        "",
        (
            card["intended_use"],
            _list(
                f"**Network**: {name}, {network['parameters']:,} parameters, {maps}.",
                f"**Initial weights**: {card['initial_weights']}.",
                f"**Input**: RGB, {size} x {size} px, values 0-255; {card['input']['resize']}{removed}.",
                f"**Output**: {outputs}.{mean} Probabilities are the softmax of logits / {card['temperature']:g}.",
                f"**Licence**: {card['licence']}, as the training data require.",
            ),
        ),
    )
    yield from _strengths(card)
    yield _data(card, "images")
    yield Section("Training", tuple(_training(card)))
    yield from _results(card)


def _on_features(card: Card) -> Iterator[Section]:
    training, size = card["training"], card["input"]["size"]
    trees = training["boosting"]
    yield Section(
        "",
        (
            card["intended_use"],
            "The lesion is segmented, its shape, colour and texture are measured, and decision trees predict the class "
            "from these features; no neural network classifies the image. docs/features.md defines every feature.",
            _list(
                f"**Trees**: scikit-learn's gradient boosting, {trees['iterations']:,} iterations, "
                f"{card['architecture']['parameters']:,} leaves.",
                f"**Input**: RGB, {size} x {size} px; {card['input']['resize']}. The network of "
                "[lesion-segmentation](../lesion-segmentation/README.md) segments the lesion. A feature that cannot be "
                "measured is a missing value.",
                f"**Output**: `logits` {card['outputs']['logits']}. Probabilities are the softmax of logits / "
                f"{card['temperature']:g}. The contributions of the features to a logit are exact (TreeSHAP).",
                f"**Licence**: {card['licence']}, as the training data require.",
            ),
        ),
    )
    yield from _strengths(card)
    yield _data(card, "images")
    yield Section(
        "Training",
        (
            f"Learning rate {trees['learning_rate']:g}, at most {trees['leaves']} leaves in a tree, at least "
            f"{trees['least_images']} images in a leaf, L2 penalty {trees['penalty']:g}, seed {trees['seed']}. "
            "`history.csv` has a row for each iteration of the cross-validation, numbered in the column `epoch`.",
            f"To train it again: `python -m train features --config {settings_file(card)}`; see docs/features.md.",
            *filter(None, [training["note"]]),
        ),
    )
    yield from _results(card)


def _results(card: Card) -> Iterator[Section]:
    """The scores on every set of images, and the logit adjustment."""
    yield from _scored(card)
    if "published" in card:
        yield _published(card)
    if "validation" in card:
        yield _validation(card)
    images = (
        "out-of-fold" if card["kind"] in OUT_OF_FOLD else "cross-validated" if cross_validated(card) else "validation"
    )
    yield _adjustment(card, f"{images} images")


def _adopted(card: Card) -> Iterator[Section]:
    adopted, network, size = card["adopted"], card["architecture"], card["input"]["size"]
    maps = (
        "Its head is global average pooling and one dense layer, so its class maps are exact."
        if "class_maps" in card["outputs"]
        else "Its head is not global average pooling followed by one dense layer, so it has no class maps."
    )
    outputs = ", ".join(f"`{name}` {shape}" for name, shape in card["outputs"].items())
    yield Section(
        "",
        (
            card["intended_use"],
            _list(
                f"**Network**: {network['name']}, {network['parameters']:,} parameters, trained elsewhere and adopted "
                f"from the file `{adopted['file']}` ({adopted['format']}, SHA-256 {adopted['sha256'][:12]}). {maps}",
                f"**Input**: RGB, {size} x {size} px, values 0-255; {card['input']['resize']}. "
                f"{PREPROCESSING[adopted['preprocessing']]}",
                f"**Output**: {outputs}, from the network's {adopted['outputs']}. Probabilities are the softmax of "
                f"logits / {card['temperature']:g}.",
                f"**Licence**: {card['licence']}.",
            ),
            Table(
                ("class", "code", "counts as"),
                tuple(
                    (label.name, label.code, label.kind + (", malignant" if label.malignant_pre_cancer else ""))
                    for label in of_card(card["labels"]).labels
                ),
            ),
        ),
    )
    yield from _strengths(card)
    training = card["training"]
    yield Section("Data", (f"Training data: {training['dataset']}.", training["protocol"], _parts(card, "images")))
    yield from _scored(card)
    yield _validation(card)


def _scored(card: Card) -> Iterator[Section]:
    """The scores on every test set, side by side and one by one, the operating points and the prediction sets."""
    external = [test for test in card["other_tests"] if "predictions" in test]
    if external:
        yield _side_by_side(card, external)
    yield from _chosen_on_held_out(card)
    yield _tested(card, card["test"] | {"scores": card["scores"], "name": card["test"]["dataset"]})
    for test in card["other_tests"]:
        if "recalls" in test:
            yield _tested(card, test)
        else:
            yield Section(
                "The same architecture under another protocol",
                (
                    "Not the model in this folder, but a network of the same architecture.",
                    test["protocol"],
                    _scores(test["scores"]),
                ),
            )


def _data(card: Card, counted: str) -> Section:
    training = card["training"]
    return Section(
        "Data",
        (
            _list(
                f"**Trained on**: {training['dataset']}.",
                f"**Licence of the data**: {training['data_licence']}.",
                f"**Attribution**: {training['attribution']}",
            ),
            training["protocol"],
            _parts(card, counted),
        ),
    )


def _parts(card: Card, counted: str) -> Table:
    """How many images, and lesions or patients, each part of the data has."""
    training = card["training"]
    return Table(
        ("part", counted, MEMBERS[card["modality"]]),
        tuple((part, f"{count:,}", f"{training['groups'][part]:,}") for part, count in training["images"].items()),
    )


def _adjustment(card: Card, images: str, shares_of: str = "training images") -> Section:
    return Section(
        "Logit adjustment",
        (
            f"A multiple of the logarithm of each class's share of the {shares_of} is subtracted from its logit. This "
            f"model uses {card['logit_adjustment']['applied']:g}. Scores on the {images} for each multiple:",
            Table(
                ("logit adjustment", "balanced accuracy", "accuracy"),
                tuple(
                    (f"{row['logit_adjustment']:g}", f"{row['balanced_accuracy']:.3f}", f"{row['accuracy']:.3f}")
                    for row in card["logit_adjustment"]["tried"]
                ),
            ),
        ),
    )


def _validation(card: Card) -> Section:
    if card["kind"] in OUT_OF_FOLD:
        networks = card["kind"] == "committee"
        words = (
            f"Each training image of {card['test']['dataset']} is classified by the "
            f"{'network that was' if networks else 'trees that were'} not trained on its "
            f"{MEMBERS[card['modality']].removesuffix('s')}. These predictions were used to choose the operating "
            "points and the temperature."
        )
        title = f"Scores of {'single networks' if networks else 'the trees'}, out of fold"
        return Section(title, (words, _scores(card["validation"])))
    words = (
        "Used to fit the temperature, so optimistic."
        if "adopted" in card
        else "Used for model selection, so optimistic."
    )
    if "fusion" in card:
        words += " The probabilities of each image come from a fit that had not seen its lesion."
    return Section("Scores on the validation images", (words, _scores(card["validation"])))


def _side_by_side(card: Card, external: Iterable[Card]) -> Section:
    """The scores on the first test images next to those on images of other data sets."""
    tests = [{"name": card["test"]["dataset"], "images": card["test"]["images"], "scores": card["scores"]}, *external]
    return Section(
        "Scores on all test sets",
        (
            "With 95% intervals. The model's settings were chosen on images of the first data set. A dash means that "
            "the score needs a class that has no images there.",
            Table(
                ("score", *(f"{test['name']}, {test['images']:,} images" for test in tests)),
                tuple(
                    (
                        score_name(name),
                        *(_score_text(test["scores"][name]) if name in test["scores"] else "-" for test in tests),
                    )
                    for name in card["scores"]
                ),
            ),
        ),
    )


def _chosen_on_held_out(card: Card) -> Iterator[Section]:
    """The operating points and the prediction sets."""
    if "operating_points" in card:
        yield _operating_points(card)
    if "conformal" in card:
        yield _conformal(card)


def _operating_points(card: Card) -> Section:
    labels = of_card(card["labels"])
    largest = max((point["classes"] for point in card["operating_points"]), key=len)
    measured = [row for point in card["operating_points"] for row in point["measured"]]
    # cards from before accuracy was measured have none
    rates = [name for name in ("sensitivity", "specificity", "accuracy") if any(name in row for row in measured)]
    together = f"{target(labels, largest).capitalize()}: {'; '.join(labels[code].name for code in largest)}"
    return Section(
        "Operating points",
        (
            "Each threshold applies to the combined probability of its classes, and was chosen to reach the stated "
            f"sensitivity on the images in the first of its rows. Intervals are 95%. {together}.",
            Table(
                ("operating point", "threshold", "images", *rates),
                tuple(
                    (
                        f"{point['sensitivity']:.0%} sensitivity for "
                        f"{point.get('of') or target(labels, point['classes'])}",
                        f"{point['threshold']:.3f}",
                        f"{row['name']}, {row['images']:,}",
                        *(_score_text(row[name]) if name in row else "-" for name in rates),
                    )
                    for point in card["operating_points"]
                    for row in point["measured"]
                ),
            ),
        ),
    )


def _conformal(card: Card) -> Section:
    stored, labels = card["conformal"], of_card(card["labels"])
    members = MEMBERS[card["modality"]]
    of_each = "both images" if card["kind"] == "pair" else "one image"
    with_metadata = ", with the published metadata" if "fusion" in card else ""
    # "Validation images" is also the name of a row of the operating points
    images = stored["images"].replace("Validation", "validation")
    return Section(
        "Prediction sets",
        (
            "A set holds the classes whose probability reaches their threshold, and always the most probable class. "
            f"Each threshold is chosen so that the set contains the class for a given share of the class's {members}: "
            f"the percentage in the column header. The thresholds were computed from {of_each} of each "
            f"{members.removesuffix('s')} that the model had not seen ({images}){with_metadata}, and apply to images "
            f"like those. A threshold of 0 means that there were too few {members} for that coverage, so the class is "
            "in every set.",
            Table(
                ("class", members, *(f"{coverage:.0%}" for coverage in stored["coverages"])),
                tuple(
                    (
                        f"{labels[code].name} ({code})",
                        f"{stored['classes'][code]['groups']:,}",
                        *(f"{threshold:.4f}" for threshold in stored["classes"][code]["thresholds"]),
                    )
                    for code in labels.codes
                ),
            ),
        ),
    )


def _score_text(score: Card, form: str = ".3f") -> str:
    value, interval = _interval(score, form)
    return f"{value} ({interval})"


def _training(card: Card) -> Iterator[str | Table]:
    training = card["training"]
    yield from _stages(training)
    yield (
        f"To train it again, run `prepare`, `fit`, `evaluate` and `export` with "
        f"`--config {settings_file(card)}`; see docs/training.md."
    )
    if training["note"]:
        yield training["note"]


def _stages(training: Card) -> Iterator[str | Table]:
    settings = training["settings"]
    yield Table(
        ("stage", "image size", "epochs", "images per epoch", "learning rate", "MixUp", "CutMix", "frozen blocks"),
        tuple(
            (
                f"{number}",
                f"{stage['image_size']} px",
                f"{stage['epochs']}",
                f"{settings['samples_per_epoch']:,}",
                f"{stage['learning_rate']:g} to {stage['final_rate']:g}",
                *(f"{stage[name]:g}" if stage[name] else "-" for name in ("mixup", "cutmix", "frozen_blocks")),
            )
            for number, stage in enumerate(training["stages"], 1)
        ),
    )
    average = f"moving average of the weights with momentum {settings['ema']:g}, " if settings["ema"] else ""
    augmentation = "no" if settings["augmentation"] == "none" else settings["augmentation"]
    yield (
        f"{settings['sampling'].capitalize()} sampling, {settings['loss']} loss with label smoothing "
        f"{settings['label_smoothing']:g}, {OPTIMIZERS[settings['optimizer']]} with weight decay "
        f"{settings['weight_decay']:g}, {augmentation} augmentation, dropout {settings['dropout']:g}, {average}seed "
        f"{settings['seed']}. Training took {training['minutes']:,} minutes on {training['cores']} cores with "
        f"{BACKENDS[training['backend']]}."
    )


def _tested(card: Card, test: Card) -> Section:
    """The section on the test images of one data set, or on all of its images by cross-validation."""
    members = MEMBERS[card["modality"]]
    title = "Scores by cross-validation" if cross_validated(card) else "Scores on the test images"
    before, bins = test["uncalibrated"]["expected_calibration_error"], test["uncalibrated"]["reliability"]
    return Section(
        f"{title}: {test['name']}",
        (
            f"{test['images']:,} images of {test['groups']:,} {members}, {voters(card)}. "
            f"Intervals are 95%, from {card['test']['resamples']:,} bootstrap resamples of {members}.",
            _scores(test["scores"]),
            "Sensitivity by class:",
            _recalls(card, test, "test images"),
            f"Reliability of the most probable class, before calibration (expected calibration error "
            f"{', '.join(_interval(before))}) and after:",
            _reliability({row["low"]: row for row in bins}, test["reliability"]),
        ),
    )


def _recalls(card: Card, test: Card, counted: str) -> Table:
    labels = of_card(card["labels"])
    return Table(
        ("class", "recognised", counted, "sensitivity"),
        tuple(
            (
                f"{labels[code].name} ({code})",
                f"{recall['correct']:,}",
                f"{recall['images']:,}",
                f"{recall['correct'] / recall['images']:.2f}",
            )
            for code, recall in test["recalls"].items()
        ),
    )


def _reliability(before: Mapping[float, Card], after: Iterable[Card]) -> Table:
    empty = {"images": 0, "confidence": math.nan, "accuracy": math.nan}

    def cells(row: Card) -> tuple[str, ...]:
        numbers = (f"{row[name]:.2f}" for name in ("confidence", "accuracy"))
        return (f"{row['images']:,}", *("-" if number == "nan" else number for number in numbers))

    return Table(
        ("confidence", "before: images", "mean confidence", "accuracy", "after: images", "mean confidence", "accuracy"),
        tuple(
            (f"{row['low']:.1f} to {row['high']:.1f}", *cells(before.get(row["low"], empty)), *cells(row))
            for row in after
        ),
    )


def _published(card: Card) -> Section:
    published = card["published"]
    return Section(
        "Compared with published foundation models",
        (
            f"Paired differences on the {published['images']:,} images that both models classified, and p of McNemar's "
            f"exact test with Holm's correction. {published['protocol']}",
            Table(
                ("published model", "score", "value", "this model minus the published one", "p"),
                tuple(
                    (
                        row["model"],
                        score_name(row["score"]),
                        f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
                        f"{row['difference']:+.3f} ({row['difference_low']:+.3f} to {row['difference_high']:+.3f})",
                        "-" if row["p"] is None else _p_value(row["p"]),
                    )
                    for row in published["rows"]
                ),
            ),
        ),
    )


def _fusion(card: Card) -> Iterator[Section]:
    fusion, training, members = card["fusion"], card["training"], MEMBERS[card["modality"]]
    base = fusion["base"]
    data = (
        "cross-validated logits of images whose patients the network had not seen; the scores are for patients that "
        "this fit had not seen either"
        if cross_validated(card)
        else "the validation images; the scores are for the test images"
    )
    if "dropout" in fusion:
        made = (
            "trained together with the network. Each value was left out with probability "
            f"{fusion['dropout']:g} every time an image was used. The temperature, {card['temperature']:.4f}, was "
            f"fitted on {data}."
        )
    else:
        made = (
            f"multinomial logistic regression with an L2 penalty of {fusion['penalty']:g}, on {data}. Each row was "
            "also used with some or all values removed."
        )
    yield Section(
        "",
        (
            card["intended_use"],
            f"The network of [{base}](../{base}/README.md), combined with what is known about the patient. All "
            "fields are optional: a missing value changes nothing.",
            _list(
                f"**Logits**: {fusion['scale']:.3f} times the image's logits, plus a weight for each value "
                f"(`{metadata.WEIGHTS_FILE}`). Class maps are exact for what the image contributes.",
                f"**Fit**: {made} Logit adjustment {fusion['adjustment']:g}.",
                "**Left out**: whether a biopsy was taken, since that gives the diagnosis away.",
                f"**Licence**: {card['licence']}, as the training data require.",
                f"**Trained on**: {training['dataset']}. {training['attribution']}",
            ),
            Table(
                ("field", "values"),
                tuple((field.title, _allowed(field)) for field in metadata.fields_of(card)),
            ),
        ),
    )
    yield from _strengths(card)
    yield Section(
        "Scores",
        (
            f"{card['test']['images']:,} images of {card['test']['groups']:,} {members}, with the published metadata. "
            f"Intervals are 95%, from {card['test']['resamples']:,} bootstrap resamples of {members}.",
            training["protocol"],
            _scores(card["scores"]),
        ),
    )
    if "validation" in card:
        yield _validation(card)
    external = [test for test in card.get("other_tests", ()) if "predictions" in test]
    if external:
        yield _side_by_side(card, external)
    yield from _chosen_on_held_out(card)
    yield Section(
        "What the metadata adds",
        (
            "This model minus the one that sees only the image, on the same images. McNemar's exact test of accuracy: "
            f"p {'' if fusion['mcnemar_p'] < SMALL_P else '= '}{_p_value(fusion['mcnemar_p'])}.",
            Table(
                ("score", "difference", "95% interval"),
                tuple((score_name(name), *_interval(score, "+.3f")) for name, score in fusion["differences"].items()),
            ),
            f"To fit it again: `python -m train fuse --config train/configs/{base}.yaml --title "
            f"{shlex.quote(card['title'])} --adjustment {fusion['adjustment']:g}"
            f"{' --afterwards' * fusion.get('afterwards', False)}`.",
        ),
    )


def _pair(card: Card) -> Iterator[Section]:
    fitted, network, entry, test = card["pair"], card["architecture"], card["input"], card["test"]
    pictures = {IMAGES_OF_PAIR[picture["modality"]]: picture for picture in fitted["pictures"]}
    weights = " plus ".join(f"{picture['weight']:.3f} times those of the {name}" for name, picture in pictures.items())
    outputs = ", ".join(f"`{name}` {shape}" for name, shape in card["outputs"].items())
    views = f" For each image, the views ({joined(entry['views'])}) are averaged." if "views" in entry else ""
    maps = (
        " The class maps of each image, times its weight, are exact: their means and the constants add up to the "
        "logits."
        if "class_maps" in card["outputs"]
        else ""
    )
    yield Section(
        "",
        (
            card["intended_use"],
            "Two networks classify a lesion together: one sees its dermoscopy image, the other a clinical close-up.",
            _list(
                f"**Networks**: {network['name']}, {network['parameters']:,} parameters together.",
                f"**Initial weights**: {card['initial_weights']}.",
                f"**Input**: two images, each RGB, {entry['size']} x {entry['size']} px, values 0-255; "
                f"{entry['resize']}.{views}",
                f"**Output of each network**: {outputs}.",
                f"**Logits**: {weights}, plus a constant for each class.{maps} Probabilities are the softmax of the "
                "logits.",
                f"**Licence**: {card['licence']}, as the training data require.",
            ),
        ),
    )
    yield from _strengths(card)
    yield _data(card, "pairs of images")
    for name, picture in pictures.items():
        command = f"To train it again: `python -m train fit --config train/configs/{picture['run']}.yaml`."
        yield Section(
            f"Training of the network for the {name}",
            (*_stages(picture["training"]), command, *filter(None, [picture["training"]["note"]])),
        )
    again = " ".join(
        f"--{option} train/configs/{picture['run']}.yaml"
        for option, picture in zip(("config", "close-up"), fitted["pictures"], strict=True)
    )
    again += f" --adjustment {fitted['adjustment']:g}" if fitted["adjustment"] else ""
    yield Section(
        "Fit",
        (
            "The weights of the networks (at least 0) and the constants minimise the log loss on the validation "
            "lesions, with a penalty on constants far from 0. They also calibrate the probabilities. For comparison, "
            "each image alone was fitted in the same way. The operating points and prediction sets were chosen on "
            "these lesions too, so their rates there are slightly optimistic; those on the test lesions are not.",
            f"To fit it again from the trained networks: `python -m train pair {again}`.",
        ),
    )
    yield Section(
        f"Scores on the test images: {test['dataset']}",
        (
            f"{test['images']:,} pairs of images, each of a different lesion. Intervals are 95%, from "
            f"{test['resamples']:,} bootstrap resamples of lesions.",
            Table(
                ("score", "both images", *(f"{name} alone" for name in pictures)),
                tuple(
                    (
                        score_name(name),
                        _score_text(score),
                        *(_score_text(picture["scores"][name]) for picture in pictures.values()),
                    )
                    for name, score in card["scores"].items()
                ),
            ),
            "Both images minus one alone, on the same lesions:",
            Table(
                ("score", *(f"minus {name} alone" for name in pictures)),
                tuple(
                    (
                        score_name(name),
                        *(_score_text(picture["differences"][name], "+.3f") for picture in pictures.values()),
                    )
                    for name in card["scores"]
                ),
            ),
            "Sensitivity by class, both images:",
            _recalls(card, test, "lesions"),
        ),
    )
    yield from _chosen_on_held_out(card)
    yield _adjustment(card, "validation lesions", "validation lesions")


def _allowed(field: metadata.Field) -> str:
    if field.kind == "number":
        return f"{field.low:g} to {field.high:g} ({field.unit})"
    return ", ".join(field.categories.values()) or "yes or no"


def _segmentation(card: Card) -> Iterator[Section]:
    test, training, dice = card["test"], card["training"], card["validation"]["dice"]
    size = card["input"]["size"]
    yield Section(
        "",
        (
            "Segments the lesion in a dermoscopy image; it does not classify. The faithfulness of attention maps and "
            f"the features of shape and colour are measured with this segmentation. {card['intended_use']}",
            _list(
                "**Network**: a U-Net whose encoder is the first four blocks of EfficientNetV2B0 (ImageNet, frozen).",
                f"**Input**: RGB, {size} x {size} px, values 0-255: the square that the classifiers see. **Output**: "
                "for each pixel, the probability that it belongs to the lesion.",
                f"**Postprocessing**: a pixel counts as lesion at a probability of {card['threshold']:g} or more, a "
                "threshold chosen on the validation images; the largest connected region is kept and its holes are "
                "filled.",
                f"**Licence**: {card['licence']}, as the training data require.",
            ),
        ),
    )
    yield from _strengths(card)
    yield Section(
        "Data",
        (
            f"HAM10000 with its authors' lesion masks. {training['attribution']}",
            "Trained on the training lesions, with the same validation lesions as the classifiers; tested on "
            f"{test['images']:,} images of {test['groups']:,} lesions that were never trained on. Other images of "
            f"these lesions were left out, and so were {joined(training['excluded'])}, whose masks are entirely white.",
        ),
    )
    yield Section(
        "Training",
        (
            f"{training['epochs']} epochs of {training['samples']:,} views: squares of 55% to 100% of the shorter "
            f"side, rotated, mirrored and recoloured, {training['bare_skin']:.0%} of them of bare skin. Cross-entropy "
            f"and Dice loss, AdamW. Training took {training['seconds'] / 60:.0f} minutes on one core of a busy "
            f"machine. To train it again: `python -m train segment --epochs {training['epochs']} --samples "
            f"{training['samples']}`.",
        ),
    )
    yield Section(
        "Scores on the test images",
        (
            f"Compared with the published masks, on the centre square at {test['side']} px. Intervals are 95%, from "
            "bootstrap resamples of lesions. A lesion that is not found counts as a Dice of 0.",
            _scores(card["scores"]),
            Table(
                ("diagnosis", "images", "Dice", "95% interval"),
                tuple(
                    (HAM10000[code].name, f"{part['images']:,}", *_interval(part["dice"]))
                    for code, part in card["diagnoses"].items()
                ),
            ),
            f"On the {card['validation']['images']:,} validation images, which were used to choose the threshold and "
            f"the epoch: Dice {' ('.join(_interval(dice))}).",
        ),
    )


def _strengths(card: Card) -> Iterator[Section]:
    if card["kind"] == "segmentation":
        good, bad = (
            f"Diagnoses with at least {FEW_IMAGES} test images and a mean Dice {words}:"
            for words in (f"of {GOOD_DICE:g} or more", f"below {BAD_DICE:g}")
        )
    else:
        good, bad = (
            f"Classes with at least {FEW_IMAGES} test images, of which {words} are recognised:"
            for words in (f"{GOOD_SENSITIVITY:.0%} or more", f"fewer than {BAD_SENSITIVITY:.0%}")
        )
    for title, rule, sentences in (("Good at", good, card["good_at"]), ("Bad at", bad, card["bad_at"])):
        yield Section(title, (rule, _list(*sentences) if sentences else "None."))


def _ending(card: Card) -> Iterator[Section]:
    yield Section("Limits", (_list(*card["limits"]),))
    changes = [
        f"**{entry['version']}**" + (f" ({entry['date']})" if "date" in entry else "") + f": {entry['changes']}"
        for entry in reversed(card["changelog"])
    ]
    yield Section("Versions", (_list(*changes), *_conversion(card)))


def _conversion(card: Card) -> Iterator[str]:
    if card["kind"] == "features":
        yield (
            "The file gives exactly the same results as scikit-learn, compared on "
            f"{card['conversion']['images']:,} images."
        )
    elif "conversion" in card:
        conversion = card["conversion"]
        yield (
            f"The LiteRT file{'s differ' if 'pair' in card else ' differs'} from the trained "
            f"network{'s' if 'pair' in card else ''} by at most "
            f"{math.ceil(round(conversion['difference'] * 1e5, 6)) / 1e5:.5f} in any probability, compared on "
            f"{conversion['images']} images."
        )
    elif card["kind"] != "segmentation" and "fusion" not in card:
        yield (
            "The weights are not shipped: the network is only a baseline, and its file would be large. Train it to get "
            "them."
        )


def _p_value(p: float) -> str:
    return f"under {SMALL_P:g}" if p < SMALL_P else f"{p:.3f}"


def _interval(score: Card, form: str = ".3f") -> tuple[str, str]:
    """Value and interval; NaN means that there are too few groups for an interval."""
    if score["low"] is None or math.isnan(score["low"]):
        return f"{score['value']:{form}}", "too few groups"
    return f"{score['value']:{form}}", f"{score['low']:{form}} to {score['high']:{form}}"


def _scores(scores: Mapping[str, Card]) -> Table:
    return Table(
        ("score", "value", "95% interval"),
        tuple((score_name(name), *_interval(score)) for name, score in scores.items()),
    )


def _list(*items: str) -> str:
    return "\n".join(f"- {item}" for item in items)


def _markdown_table(block: Table) -> str:
    rows = [block.header, ("---",) * len(block.header), *block.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
