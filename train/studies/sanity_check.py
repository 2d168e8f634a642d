"""python -m train sanity-check: how often the sanity check of an attention map is right, also for randomised networks.

The limits of skinapp/attention/sanity_check.py are chosen on validation lesions, for all models together. On test
lesions, which were not used for the limits, the command counts the outcomes for the maps of each shipped model, and on
those of a copy whose last layer is random (the first step of Adebayo et al. 2018, arXiv:1810.03292).

The check uses the app's segmentation and a blur. Whether "Supported" is right is judged independently: on HAM10000 the
published mask shows whether the map does better than a uniform map and a centred blob, and the strongest part of the
map is hidden by the mean colour of the skin instead of a blur.
"""

import argparse
import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from skinapp.attention import faithfulness, heatmap, sanity_check
from skinapp.attention.sanity_check import MAX_SIMILARITY, RIGHT, Evidence, Limits, Outcome
from skinapp.errors import SegmentationError
from skinapp.files import replacing
from skinapp.images import imaging
from skinapp.inference import registry
from skinapp.inference.analysis import SQUARE_SIDE
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Classifier
from skinapp.lesion import segmentation
from train.data import masks
from train.options import add_figures, add_runs
from train.publish.retrieval_index import share
from train.studies import held_out
from train.studies.randomised import with_random_head

COPIES = ("shipped", "head")
"""The randomised part of a network: none, or the last layer."""
MASK_SIDE = 120
WRONG = 0.05
"""The aim: at most this share of the maps of a model's randomised copy is supported."""
LEADS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2)
"""The limits of the lead that are tried."""
SPARE = 0.02
"""By how much the limits have to exceed these targets on validation lesions, since they are chosen on them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="ID",
        help="models to measure with the limits as they are, while the figures of the others stay (default: choose "
        "limits for all models that have maps, and measure all)",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=100,
        metavar="N",
        help="test images; three fifths as many validation images choose the limits (default: %(default)s)",
    )
    add_runs(parser)
    add_figures(parser, sanity_check.CARD_FILE, "docs/sanity-check.md")


def run(options: argparse.Namespace) -> int:
    models = [registry.model(name) for name in options.models] if options.models else with_maps()
    models.sort(key=lambda model: bool(model.clinical))
    options.runs.mkdir(parents=True, exist_ok=True)
    file = options.runs / "sanity-check.csv"
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    first: dict[tuple[str, ...], str] = {}
    for model in models:
        # a model that also takes metadata has the same networks, and so the same maps, as the image-only model
        if tuple(model.hashes) in first:
            continue
        first[tuple(model.hashes)] = model.id
        chosen = sample(lesions(model.modality), options.images)
        if options.models:
            chosen = chosen[chosen["split"] == "test"]
        for copy in COPIES:
            stamp = "-".join(network[:12] for network in model.hashes)
            done = {row["image"] for row in rows if (row["networks"], row["copy"]) == (stamp, copy)}
            left = chosen[~chosen["image"].isin(done)]
            if left.empty:
                continue
            source = model if copy == "shipped" else with_random_head(model, options.runs / "untrained")
            # on a single thread, since several would slow each other down on a busy machine
            classifier = Classifier(source, threads=1)
            for record in tqdm(left.to_dict("records"), desc=f"{model.id}, {copy}", unit="image", mininterval=5):
                result = measure(classifier, record)
                known: dict[Any, Any] = {name: record[name] for name in ("image", "group", "split")}
                rows.append({"model": model.id, "networks": stamp, "copy": copy} | known | result)
            with replacing(file) as partial:
                pd.DataFrame(rows).to_csv(partial, index=False)
    table = pd.DataFrame(rows)
    table = table[table["model"].isin(first.values())]
    limits = sanity_check.limits() if options.models else choose(table[table["split"] == "validation"])
    earlier = sanity_check.card()["models"] if options.models else {}
    card = {"limits": dataclasses.asdict(limits), "models": dict(earlier)}
    for model in models:
        one = table[(table["model"] == first[tuple(model.hashes)]) & (table["split"] == "test")]
        card["models"][model.id] = {"networks": model.hashes, **counts(one, limits)}
    with replacing(options.out) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n")
    sanity_check.card.cache_clear()
    with replacing(options.table) as partial:
        partial.write_text(markdown(card))
    print(markdown(card))
    return 0


def with_maps() -> list[Model]:
    """The single-image models whose maps the app shows."""
    return [model for model in registry.ranked() if model.has_class_maps]


def lesions(modality: str) -> pd.DataFrame:
    """One image of each lesion, as `held_out.table` has them."""
    return held_out.table(modality).drop_duplicates("group")


def sample(table: pd.DataFrame, images: int) -> pd.DataFrame:
    """Test images, and 3 in 5 as many validation images."""
    count = {"validation": images * 3 // 5, "test": images}
    return pd.concat([table[table["split"] == split].sample(count[split], random_state=0) for split in count])


def measure(classifier: Classifier, record: dict[Any, Any]) -> dict[str, Any]:
    """The measurements of the check of the map of the most likely class, and those for judging the outcome."""
    pixels = imaging.load(record["path"], classifier.model.input_size)
    try:
        mask = segmentation.segment(imaging.load(record["path"], SQUARE_SIDE)).mask
    except SegmentationError:
        mask = None
    found, cam = evidence(classifier, pixels, mask)
    measured = {
        "log_odds_change": found.log_odds_change,
        "similarity": found.similarity,
        "matters": found.matters,
        "lead": found.lead,
    }
    published = masks.square_mask(record["mask"], MASK_SIDE) if record["mask"] else mask
    judged = {"published_lead": np.nan, "covered_matters": False}
    if published is not None and published.any() and not published.all():
        judged = judge(classifier, pixels, cam, published, found)
    return measured | judged


def judge(
    classifier: Classifier, pixels: np.ndarray, cam: np.ndarray, mask: np.ndarray, found: Evidence
) -> dict[str, Any]:
    """The lead of a map with another `mask`, and whether its strongest part matters when hidden by the skin's mean
    colour."""
    side = pixels.shape[0]
    lesion = np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))
    colour = sanity_check.mean_colour(pixels, ~lesion)
    covered = classifier.predict(np.where(sanity_check.strongest(cam, side), colour, pixels)).probabilities
    again = dataclasses.replace(
        found,
        hidden={"strongest": covered},
        inside=faithfulness.energy_inside(cam, mask),
        blob=faithfulness.energy_inside(faithfulness.centred_blob((side, side)), mask),
        share=float(mask.mean()),
    )
    return {"published_lead": again.lead, "covered_matters": again.matters}


def evidence(classifier: Classifier, pixels: np.ndarray, mask: np.ndarray | None) -> tuple[Evidence, np.ndarray]:
    """The evidence on a model's map for its most likely class, and the map [h, w]."""
    predict = classifier.predict
    prediction = predict(pixels)
    index = int(prediction.probabilities.argmax())

    def explain(square: np.ndarray) -> np.ndarray:
        class_maps = predict(square).class_maps
        assert class_maps is not None
        return heatmap.grad_cam(class_maps, index)

    assert prediction.class_maps is not None
    cam = heatmap.grad_cam(prediction.class_maps, index)
    return sanity_check.gather(lambda square: predict(square).probabilities, explain, pixels, index, cam, mask), cam


def outcomes(table: pd.DataFrame, limits: Limits) -> np.ndarray:
    """The outcome of each row [n]."""
    return np.array(
        [
            sanity_check.outcome(
                limits,
                row["log_odds_change"],
                row["similarity"],
                bool(row["matters"]),
                None if pd.isna(row["lead"]) else row["lead"],
            )
            for row in table.to_dict("records")
        ],
        dtype=object,
    )


def right(table: pd.DataFrame) -> np.ndarray:
    """Whether each map also leads, and its strongest part also matters, by the independent measurements, bool [n]."""
    return ((table["published_lead"] > 0) & table["covered_matters"].astype(bool)).to_numpy()


def best_log_odds(table: pd.DataFrame) -> float:
    """The limit of `log_odds_change` with the best balanced accuracy at separating shipped networks from copies; the
    median one if several are equally good."""
    shipped = table["copy"] == "shipped"

    def balanced_accuracy(limit: float) -> float:
        passed = (table["log_odds_change"] >= limit) & (table["similarity"] <= MAX_SIMILARITY)
        return float((passed[shipped].mean() + 1 - passed[~shipped].mean()) / 2)

    scores = {round(float(limit), 2): balanced_accuracy(limit) for limit in np.arange(0.5, 3.01, 0.05)}
    best = [limit for limit, score in scores.items() if score == max(scores.values())]
    return best[len(best) // 2]


def choose(table: pd.DataFrame) -> Limits:
    """Of the limits that meet both targets with SPARE over all models combined, and without it for each model, those
    that support the most maps of shipped networks; the strictest limits if none does."""
    log_odds = best_log_odds(table)
    shipped = (table["copy"] == "shipped").to_numpy()
    is_right = right(table)
    best, most = None, -1
    for lead in LEADS:
        limits = Limits(log_odds, lead)
        supported = outcomes(table, limits) == Outcome.SUPPORTED
        kept = supported & shipped
        if not kept.any() or is_right[kept].mean() < RIGHT + SPARE or supported[~shipped].mean() > WRONG - SPARE:
            continue
        of_copies = pd.Series(supported[~shipped]).groupby(table.loc[~shipped, "model"].to_numpy()).mean()
        if (of_copies <= WRONG).all() and kept.sum() > most:
            best, most = limits, int(kept.sum())
    return best or limits


def counts(table: pd.DataFrame, limits: Limits) -> dict[str, Any]:
    """For the shipped network and its copy: images, how many have each outcome, the share supported, and of those the
    share that is right, with 95% intervals over lesions."""
    results: dict[str, Any] = {}
    for copy in COPIES:
        part = table[table["copy"] == copy]
        given = outcomes(part, limits)
        groups, supported = part["group"].to_numpy(), given == Outcome.SUPPORTED
        results[copy] = {
            "images": len(part),
            "outcomes": {str(one): int((given == one).sum()) for one in Outcome},
            "supported": share(supported.astype(float), groups),
            "right": share(right(part)[supported].astype(float), groups[supported]) if supported.any() else None,
        }
    return results


def introduction(limits: Limits) -> str:
    return f"""# The sanity check of an attention map

`python -m train sanity-check` writes this page and `skinapp/attention/sanity_check.json`, which the app reads.

- **Do not use**: no matter what is hidden (the strongest 30% of the map, all detail, the lesion, the skin), the natural
  log odds of the class change by less than {limits.log_odds_change:g}; or the map of the blurred square looks the same
  (rank correlation above {MAX_SIMILARITY:g}).
- **Supported**: hiding the strongest 30% of the map changes the prediction, or lowers the probability by 5 points; and
  the share of the map on the lesion exceeds both the lesion's share of the square and the share of a centred blob on
  the lesion by at least {limits.lead:g}.
- **Weak**: everything else, and every map without a segmentation.

The limits were chosen on validation lesions, for all models of that time together; later versions were measured with
the same limits (`--models`). The counts are from test lesions of HAM10000 or, for phone photo models, of MILK10k's
close-ups. A supported map is **right** if independent measurements agree: with the published mask (MILK10k has none, so
there it is the app's segmentation), and with the strongest part hidden by the mean colour of the skin instead of a
blur. A copy has a random last layer, and none of its maps should be supported. A model that also takes metadata has the
same networks, and so the same maps, as the image-only model. Intervals are 95%, over lesions."""


def markdown(card: dict[str, Any]) -> str:
    """docs/sanity-check.md: the outcomes, and how often they are right."""
    lines = [
        *introduction(Limits(**card["limits"])).splitlines(),
        "",
        "| model | maps | supported | weak | do not use | supported maps that are right | "
        "supported maps of a copy with a random last layer |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in card["models"].items():
        shipped, copy = entry["shipped"], entry["head"]
        given = shipped["outcomes"]
        cells = [
            f"`{name}`",
            str(shipped["images"]),
            *(str(given[str(one)]) for one in Outcome),
            in_words(shipped["right"], given[str(Outcome.SUPPORTED)]),
            in_words(copy["supported"], copy["images"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    short = [
        name
        for name, entry in card["models"].items()
        if not entry["shipped"]["right"]
        or entry["shipped"]["right"]["value"] < RIGHT
        or entry["head"]["supported"]["value"] > WRONG
    ]
    aim = f"The aim is at least {RIGHT:.0%} right, and at most {WRONG:.0%} of a copy's maps supported."
    missed = "Every model reaches it."
    if short:
        missed = (
            f"Not reached by {', '.join(f'`{name}`' for name in short)}. The app shows none of the maps of such a "
            "model as supported."
        )
    return "\n".join([*lines, "", f"{aim} {missed}", ""])


def in_words(rate: dict[str, Any] | None, of: int) -> str:
    """A share as a count, with its interval if it has one: "19 of 20 (75% to 100%)"."""
    if rate is None:
        return "none"
    interval = "" if rate["low"] is None else f" ({rate['low']:.0%} to {rate['high']:.0%})"
    return f"{round(rate['value'] * of)} of {of}{interval}"
