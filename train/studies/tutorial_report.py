"""The measurements of the tutorial, and its report: the steps, each with its figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from skinapp.attention import faithfulness, heatmap
from skinapp.charts import performance
from skinapp.demographics import records
from skinapp.errors import SegmentationError
from skinapp.evaluation import bootstrap, comparison, measures, pairs, predictions
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.comparison import MALIGNANT, Shared
from skinapp.evaluation.measures import Draws
from skinapp.lesion import segmentation
from skinapp.report import comparison_views, document, population_views, training_views
from skinapp.report.document import Block, Chart, Picture, Section
from train.studies.tutorial import BY_IMAGE, BY_LESION, CLASSES, DATASET, IMAGES_EACH, LESIONS, SPLITS, HeldOut

TITLE = "The same images, split the wrong way and the right way"
CAUTION = (
    "For learning only. These networks were trained on a few hundred images, and their scores say nothing about a "
    "clinic."
)
NAMES = {BY_IMAGE: "Split by image", BY_LESION: "Split by lesion"}
EXAMPLES = 4
"""How many lesions, and how many maps, are shown."""
SHOWN = (
    "accuracy",
    "roc_auc_malignancy",
    "sensitivity_malignancy",
    "specificity_malignancy",
    "expected_calibration_error",
    "brier",
)
"""The scores that are compared; with as many images of each class, balanced accuracy is accuracy."""
GAP = 6
"""White pixels between pictures."""
RANDOM_TEST = 0.2
"""The share of images in a random test part, to estimate the effect of such a split on all of HAM10000."""


@dataclass(frozen=True)
class Lesson:
    """A run of the tutorial. `table` has a row per image, and `pictures` are these images, uint8 [n, S, S, 3]. `shared`
    and `draws` compare the two splits; `inside`, by split, is the share of an image's map on the lesion, float [n], NaN
    where there is no map or no lesion was found."""

    table: pd.DataFrame
    pictures: np.ndarray
    held_out: Mapping[str, HeldOut]
    shared: Shared
    draws: Draws
    inside: Mapping[str, np.ndarray]

    @property
    def difference(self) -> Interval:
        """Accuracy when split by image, minus that when split by lesion."""
        return self.draws.difference(BY_IMAGE, BY_LESION, "accuracy")

    @property
    def conclusion(self) -> str:
        """Which split looks better, as returned by `pairs.conclusion`."""
        return pairs.conclusion(self.difference, measures.MEASURES["accuracy"].higher)

    def accuracy(self, split: str) -> Interval:
        return self.draws.interval(split, "accuracy")


def measure(table: pd.DataFrame, pictures: np.ndarray, held_out: Mapping[str, HeldOut], folder: Path) -> Lesson:
    """Compare the predictions that were written to `folder`, as the Compare page would, and the maps."""
    read = [predictions.read((folder / f"{split}.csv").read_bytes(), split) for split in SPLITS]
    shared = comparison.share(read, MALIGNANT)
    return Lesson(table, pictures, held_out, shared, measures.draw(shared), inside_lesions(pictures, held_out))


def inside_lesions(pictures: np.ndarray, held_out: Mapping[str, HeldOut]) -> dict[str, np.ndarray]:
    """By split, the share of each map that is on the lesion, as the app segments it."""
    inside = {split: np.full(len(pictures), np.nan) for split in held_out}
    for row, picture in enumerate(pictures):
        try:
            mask = segmentation.segment(picture).mask
        except SegmentationError:
            continue
        for split, of_split in held_out.items():
            if of_split.maps[row].any():
                inside[split][row] = faithfulness.energy_inside(of_split.maps[row], mask)
    return inside


def write(lesson: Lesson) -> str:
    """The report as one HTML file."""
    sections = [
        Section("What happened", [summary(lesson), *_setting(lesson)]),
        Section("1. Look at the data", _data(lesson)),
        Section("2. Split by image: an impressive score", _split(lesson, BY_IMAGE)),
        Section("3. Split by lesion: a realistic score", _split(lesson, BY_LESION)),
        Section("4. Compare the two", _comparison(lesson)),
        Section("5. Look at the maps", _maps(lesson)),
        Section("What to remember", [document.List(REMEMBER)]),
    ]
    return document.render(TITLE, sections, CAUTION)


def summary(lesson: Lesson) -> str:
    """The result in three sentences."""
    image, lesion = (lesson.accuracy(split) for split in SPLITS)
    endings = {
        pairs.FIRST: "The interval of the difference does not include zero: the first figure is too good, because its "
        "networks were tested on lesions that they had been trained on.",
        pairs.SECOND: "The interval of the difference does not include zero, and the honest split looks better, which "
        "nobody would expect: check what was changed.",
        pairs.UNDECIDED: "The interval of the difference includes zero, so this run does not show what the wrong split "
        "does; use more images.",
        pairs.UNTESTED: "The difference has no interval, so this run shows nothing yet.",
    }
    return (
        f"Split by image, the networks classify {image.text('.0%')} of the {len(lesson.table)} images correctly; split "
        f"by lesion, {lesion.text('.0%')}. The difference is {_points(lesson.difference)}. "
        f"{endings[lesson.conclusion]}"
    )


def _points(difference: Interval) -> str:
    """A difference of shares, in percentage points."""
    value, low, high = (100 * limit for limit in (difference.value, difference.low, difference.high))
    return f"{Interval(value, low, high).text('z.0f')} percentage points"


def _setting(lesson: Lesson) -> list[Block]:
    parts = lesson.held_out[BY_LESION].parts.max() + 1
    return [
        f"Images, network, settings and random seed are the same both times. The {len(lesson.table)} images are "
        f"divided into {parts} parts, and {parts} networks are trained, each without one part, on which it is then "
        "tested. So each image is tested once, and nothing is chosen on the part that is tested. The only difference: "
        "the first time, images are assigned at random; the second time, all images of a lesion go into the same part.",
        "Intervals are 95% percentile intervals from a bootstrap over whole lesions, and those of differences are "
        "paired, since the same images are tested both times.",
    ]


def _data(lesson: Lesson) -> list[Block]:
    whole = records.shipped(DATASET.id)
    with_others, leak = sharing(whole.frame)
    table = lesson.table
    counted = table.groupby("label", sort=False).agg(Images=("image", "size"), Lesions=("group", "nunique"))
    counted.insert(0, "Diagnosis", [whole.name(code) for code in counted.index])
    return [
        f"{whole.title} has {int(whole.frame['images'].sum()):,} images of {whole.frame['lesion'].nunique():,} "
        "lesions. Before anything else, count: which diagnoses are there, and how often was the same lesion "
        "photographed?",
        population_views.diagnoses(whole, whole.frame),
        population_views.images_per_lesion(whole.frame),
        f"{with_others:.0%} of the images show a lesion that is in another image too. Take a random "
        f"{RANDOM_TEST:.0%} of all images as test, and {leak:.0%} of them show a lesion that is also in training.",
        f"The tutorial takes {LESIONS} lesions of each of two diagnoses, {_name(CLASSES[0])} and {_name(CLASSES[1])}, "
        f"and {IMAGES_EACH} images of each lesion: in the order of image ids, the first that have {IMAGES_EACH} images "
        f"in the training part of {whole.title}. Every image here shows a lesion that others show too, so that the "
        "effect of a wrong split can be measured after minutes of training. In the whole data set fewer images do, so "
        "expect a smaller effect there.",
        counted.reset_index(drop=True),
        *(
            Picture(_strip(lesson.pictures[rows]), f"{', '.join(table['image'].iloc[rows])}: one lesion, {_name(code)}")
            for code, rows in _examples(table)
        ),
        "The images of a lesion differ in zoom, angle and light. A network that has seen one recognises the others "
        "without having learnt anything about melanoma.",
    ]


def sharing(frame: pd.DataFrame) -> tuple[float, float]:
    """The share of a shipped table's images whose lesion has another image, and the expected share of a random test
    part of size RANDOM_TEST whose lesion is also in training."""
    per_lesion = frame.groupby("lesion")["images"].sum().to_numpy()
    total = per_lesion.sum()
    return (
        float(per_lesion[per_lesion > 1].sum() / total),
        float((per_lesion * (1 - RANDOM_TEST ** (per_lesion - 1))).sum() / total),
    )


def _examples(table: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    """The label and the rows of some lesions, as many of each class."""
    examples = []
    for code in CLASSES:
        groups = table.loc[table["label"] == code, "group"].unique()[: EXAMPLES // len(CLASSES)]
        examples += [(code, np.flatnonzero(table["group"] == group)) for group in groups]
    return examples


def _split(lesson: Lesson, split: str) -> list[Block]:
    held_out = lesson.held_out[split]
    accuracy, total, seen = lesson.accuracy(split), len(lesson.table), int(held_out.seen.sum())
    how = {
        BY_IMAGE: "Shuffle the images and cut them into parts, as many tutorials do.",
        BY_LESION: "Cut the lesions into parts, and let the images follow.",
    }[split]
    caught = (
        f"Now look at what was tested: {seen} of the {total} test images ({seen / total:.0%}) show a lesion of which "
        "another image was in training. These networks were tested on lesions that they had already seen."
        if seen
        else f"None of the {total} test images shows a lesion that was in training. This is how well the "
        "networks do on lesions that they have never seen, which is what every new patient brings."
    )
    return [
        f"{how} Accuracy: {accuracy.text('.0%')}.",
        _curves(lesson, split),
        _parts(lesson.table, held_out),
        caught,
    ]


def _parts(table: pd.DataFrame, held_out: HeldOut) -> pd.DataFrame:
    """The contents of each part."""
    rows = []
    for part in range(held_out.parts.max() + 1):
        tested = held_out.parts == part
        images = table[tested]
        rows.append(
            {
                "Part": part + 1,
                "Images": len(images),
                **{DATASET.labels[code].name: int((images["label"] == code).sum()) for code in CLASSES},
                "Lesions": images["group"].nunique(),
                "Lesions also in training": images.loc[held_out.seen[tested], "group"].nunique(),
            }
        )
    return pd.DataFrame(rows)


def _curves(lesson: Lesson, split: str) -> Chart:
    """Accuracy over epochs of the first network, in training and on the part that it is tested on; for the second
    split, the latter is compared with that of the first."""
    shown = {NAMES[each]: lesson.held_out[each].history for each in SPLITS[: SPLITS.index(split) + 1]}
    curves = {f"{name}, test": _curve(history, "val_accuracy") for name, history in shown.items()}
    training = {f"{NAMES[split]}, training": _curve(lesson.held_out[split].history, "accuracy")}
    epochs = int(lesson.held_out[split].history["epoch"].max())
    table = pd.concat([history.assign(split=name) for name, history in shown.items()], ignore_index=True)
    last = "; ".join(
        f"{name}: {history['accuracy'].iloc[-1]:.0%} in training and {history['val_accuracy'].iloc[-1]:.0%} in testing"
        for name, history in shown.items()
    )
    return Chart(
        performance.lines(
            curves,
            "Epoch",
            "Accuracy of the first network",
            references=training,
            x_range=(1, max(epochs, 2)),
            # chance level is one half
            y_range=(0.4, 1),
            percent=False,
        ),
        table.rename(columns={"accuracy": "training", "val_accuracy": "test"})[["split", "epoch", "training", "test"]],
        f"Accuracy of the first network after {epochs} epochs: {last}",
    )


def _curve(history: pd.DataFrame, column: str) -> pd.DataFrame:
    return pd.DataFrame({"x": history["epoch"], "y": history[column], "low": np.nan, "high": np.nan})


def _comparison(lesson: Lesson) -> list[Block]:
    shared, draws = lesson.shared, lesson.draws
    names = measures.named(shared.target)
    board = pd.DataFrame(
        {"test": NAMES[split], "score": score} | vars(draws.interval(split, score))
        for score in SHOWN
        for split in SPLITS
    )
    differences = pd.DataFrame(
        {
            "Score": names[score].name,
            "Meaning": names[score].meaning,
            "Split by image minus split by lesion": draws.difference(BY_IMAGE, BY_LESION, score).text("+.3f"),
        }
        for score in SHOWN
    )
    tests = pairs.pairwise(shared).iloc[0]
    return [
        "Each score of both, and below them the paired differences.",
        training_views.protocols(board, "The same network"),
        differences,
        f"{tests['only_first']} images are classified correctly only when split by image, and {tests['only_second']} "
        f"only when split by lesion (McNemar's test, which assumes that images are independent: p "
        f"{comparison_views.p_value(tests['mcnemar_p'])}).",
        f"{BY_IMAGE}.csv and {BY_LESION}.csv, beside this report, have every prediction.",
    ]


def _maps(lesson: Lesson) -> list[Block]:
    by_image, by_lesion = (lesson.inside[split] for split in SPLITS)
    known = np.isfinite(by_image) & np.isfinite(by_lesion)
    weights = bootstrap.weights(lesson.shared.groups)
    means = [bootstrap.mean(values, known, lesson.shared.groups, weights, False) for values in (by_image, by_lesion)]
    apart = bootstrap.mean(by_image - by_lesion, known, lesson.shared.groups, weights, False)
    rows = changed(lesson.shared, lesson.held_out[BY_IMAGE].seen)
    endings = {
        pairs.UNDECIDED: "The interval includes zero: this gives no hint of which networks had seen the lesions.",
        pairs.UNTESTED: "The difference has no interval, so they cannot be compared.",
        pairs.FIRST: "In networks that had seen the lesions, more of the map is on the lesion. A map on the lesion "
        "does not show that a network knows anything about melanoma.",
        pairs.SECOND: "In networks that had seen the lesions, less of the map is on the lesion, so these networks "
        "also recognise what is around it.",
    }
    blocks: list[Block] = [
        "A map shows which part of the image counted towards a class. Does it also show that a network has seen the "
        "lesion before?",
        f"Over {int(known.sum())} images, {means[0].text('.0%')} of the map is on the lesion when split by image, and "
        f"{means[1].text('.0%')} when split by lesion. The difference is {_points(apart)}. "
        f"{endings[pairs.conclusion(apart, True)]}",
    ]
    if len(rows):
        blocks.append(
            f"{len(rows)} images are classified correctly by a network that had seen their lesion and wrongly by the "
            f"one that had not. {'The first of each class' if len(rows) > EXAMPLES else 'These'}: the image, the map "
            "of the former and the map of the latter, both for the right diagnosis. Yellow areas counted most towards "
            "it; if there are none, no part of the image did."
        )
    for row in _some_of_each(rows, lesson.shared.truth):
        likely = [
            f"{lesson.held_out[split].probabilities[row, lesson.shared.truth[row]]:.0%} {NAMES[split].lower()}"
            for split in SPLITS
        ]
        label = _name(lesson.table["label"].iloc[row])
        strip = _strip(
            np.stack(
                [
                    lesson.pictures[row],
                    *(heatmap.overlay(lesson.pictures[row], lesson.held_out[split].maps[row]) for split in SPLITS),
                ]
            )
        )
        blocks.append(Picture(strip, f"{lesson.table['image'].iloc[row]}, {label}: {' and '.join(likely)}"))
    return blocks


def changed(shared: Shared, seen: np.ndarray) -> np.ndarray:
    """The rows that are classified correctly when split by image, with their lesion `seen` [n], and wrongly when split
    by lesion."""
    return np.flatnonzero(seen & shared.correct(BY_IMAGE) & ~shared.correct(BY_LESION))


def _some_of_each(rows: np.ndarray, truth: np.ndarray) -> list[int]:
    """The first EXAMPLES of `rows`, as far as possible as many of each class."""
    each = EXAMPLES // len(CLASSES)
    first = [row for code in range(len(CLASSES)) for row in rows[truth[rows] == code][:each]]
    return [*first, *(row for row in rows if row not in first)][:EXAMPLES]


def _name(code: str) -> str:
    """A diagnosis within a sentence."""
    return DATASET.labels[code].spoken


def _strip(pictures: np.ndarray) -> bytes:
    """Pictures, uint8 [n, S, S, 3], side by side as a PNG file."""
    framed = np.pad(pictures, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255)
    return document.png(Image.fromarray(np.concatenate(list(framed), axis=1)[:, :-GAP]))


REMEMBER = (
    "Count the images of each lesion, and of each patient, before you split.",
    "Split by lesion, or by patient if you know them. Split first; oversample and augment afterwards, and only what is "
    "in training.",
    "Report an interval, and compare models on the same images.",
    "First check the scores that you like best.",
    "A plausible map does not make a score valid.",
)
