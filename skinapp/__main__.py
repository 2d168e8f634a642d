"""The command `skinapp`, or `python -m skinapp`: models, allow, datasets, classify, score, compare, audit, report."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from skinapp.errors import DataError, ImageError, ModelError, SkinappError
from skinapp.files import replacing
from skinapp.images import removal
from skinapp.inference import allowed, metadata, modality, registry
from skinapp.inference.conformal import COVERAGE, COVERAGES

if TYPE_CHECKING:
    import numpy as np

    from skinapp.evaluation.observed_risk import ObservedRisk
    from skinapp.inference.analysis import Analysis
    from skinapp.inference.runtime import Prediction

CAUTION = "A research tool, not a diagnostic device: ask a doctor about any lesion that worries you."
COVERAGE_HELP = (
    f"also give the set of classes that contains the true one with this certainty: {', '.join(map(str, COVERAGES))}"
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns 0; 1 if an audit finds a problem; 2, with a message on standard error, if something
    cannot be done; 130 on Ctrl-C."""
    options = parse(arguments)
    try:
        return options.run(options)
    except SkinappError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to continue.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="skinapp", description=f"Skin-lesion classifiers. {CAUTION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    models = commands.add_parser("models", help="list the models")
    models.add_argument("--json", action="store_true", help="print every model.json as one JSON list")
    models.set_defaults(run=list_models)

    allow = commands.add_parser(
        "allow",
        help="allow a model folder that someone else made",
        epilog="A network from an unknown source can harm the computer that runs it: do this only if you know where it "
        "comes from. Models that came with the app, or were published or adopted on this machine, do not need this.",
    )
    allow.add_argument("model", metavar="ID", help="the model, by the name of its folder")
    allow.set_defaults(run=allow_model)

    datasets = commands.add_parser("datasets", help="list the data sets")
    datasets.add_argument(
        "--croissant",
        type=Path,
        metavar="DIR",
        help="write each data set's description to DIR in Croissant 1.0 (JSON-LD), with its table",
    )
    datasets.set_defaults(run=list_datasets)

    classify = commands.add_parser("classify", help="classify images, with the probability of every class")
    classify.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    classify.add_argument(
        "--model", metavar="ID", help="the model to use (default: the best single network for the kind of image)"
    )
    classify.add_argument(
        "--close-up",
        type=Path,
        metavar="PHOTO",
        help="a clinical close-up of the same lesion as IMAGE, a single dermoscopy image: both are classified together",
    )
    classify.add_argument(
        "--anyway",
        action="store_true",
        help="also classify images that do not show a lesion or, with --close-up, images of another kind",
    )
    classify.add_argument("--coverage", type=float, metavar="SHARE", help=COVERAGE_HELP)
    classify.add_argument(
        "--prevalence",
        type=float,
        metavar="SHARE",
        help="also give the probability of cancer where this share of such lesions is cancer, such as 0.02",
    )
    classify.add_argument(
        "--remove",
        type=kinds_of,
        default=(),
        metavar="KIND,...",
        help=f"detect and fill in these before the image is classified: {', '.join(removal.KINDS)} (default: none, as "
        "in score)",
    )
    classify.add_argument("--json", action="store_true", help="print one JSON object per line")
    classify.add_argument(
        "--cam-dir", type=Path, metavar="DIR", help="write an attention map of each image to DIR/<image>.cam.png"
    )
    classify.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="write the answer for one image, or for both with --close-up, as an HTML page that opens offline",
    )
    patient = classify.add_argument_group(
        "patient metadata",
        "These apply to all images. Models that use patient metadata read it; all are optional.",
    )
    for question in metadata.QUESTIONS:
        patient.add_argument(question.flag, metavar=question.form, help=f"{question.title}. {question.hint}".strip())
    classify.set_defaults(run=classify_images)

    score = commands.add_parser(
        "score",
        help="score any number of images: in a folder, in a table's `image` column, or listed on standard input",
        epilog="Models that use patient metadata read it from the table's columns of the same names, such as "
        "age and sex; an empty cell or a missing column means unknown. Images that fail are listed, with the reason, "
        "in <FILE>.failed.csv or FOLDER/failures. A manifest beside the predictions names the model and the libraries.",
    )
    score.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="a folder, a CSV, a Parquet file, or - for a list of paths on standard input",
    )
    score.add_argument("--model", required=True, metavar="ID", help="the model to use")
    score.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE.csv|FOLDER",
        help="where to write the predictions, as a CSV or as a folder of Parquet files; run the same command again to "
        "resume",
    )
    score.add_argument(
        "--shard",
        metavar="I/N",
        help="score only part I of N of the images, counting from 1, as one of N jobs that share the folder",
    )
    score.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where to run: on this machine, or on a Ray cluster, writing to a FOLDER (default: %(default)s)",
    )
    score.add_argument(
        "--address",
        default="",
        metavar="HOST:PORT",
        help="with --engine ray: the cluster, or auto for the one that this machine belongs to (default: this machine)",
    )
    score.add_argument("--coverage", type=float, metavar="SHARE", help=COVERAGE_HELP)
    score.add_argument(
        "--sets", action="store_true", help="add the sets of classes for every coverage that the model has"
    )
    score.add_argument("--embeddings", action="store_true", help="add the embedding of every image (in a FOLDER)")
    score.add_argument(
        "--cam",
        action="store_true",
        help="add the class map of the predicted class, whose positive part is Grad-CAM (in a FOLDER)",
    )
    score.set_defaults(run=score_images)

    compare = commands.add_parser("compare", help="compare models on the test images they share")
    compare.add_argument("first", metavar="A", help="a model id, or a predictions file (.csv)")
    compare.add_argument("others", nargs="+", metavar="B", help="one or more others to compare it with")
    compare.add_argument(
        "--test", metavar="DATASET", help="the test images, such as milk10k (default: the models' own test images)"
    )
    compare.add_argument(
        "--find", metavar="CLASS", help="what to find: the code of a class, cancer or cancer-or-pre-cancer"
    )
    compare.add_argument(
        "--sensitivity",
        type=float,
        default=0.95,
        metavar="SHARE",
        help="the share of the class in --find that each model is set to find (default: %(default)s)",
    )
    compare.add_argument(
        "--prevalence",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="the share of the people examined who have that condition (default: %(default)s)",
    )
    compare.add_argument(
        "--coverage",
        type=float,
        default=0.95,
        metavar="SHARE",
        help="the coverage at which prediction sets are measured (default: %(default)s)",
    )
    compare.add_argument("--json", action="store_true", help="print every statistic as one JSON object")
    compare.set_defaults(run=compare_models)

    audit = commands.add_parser(
        "audit",
        help="check a table of images and its split for problems that make test scores too optimistic",
        epilog="Exit code: 0 if no problems were found, 1 if any were, 2 if the table or the folder cannot be used.",
    )
    audit.add_argument(
        "table",
        type=Path,
        metavar="TABLE.csv",
        help="a CSV with one row per image: image, lesion, patient, diagnosis and part, where known; or a folder that "
        "`isic image download` made",
    )
    audit.add_argument(
        "--images", type=Path, metavar="DIR", help="also look for identical and nearly identical images in this folder"
    )
    audit.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    audit.set_defaults(run=audit_table)

    report = commands.add_parser("report", help="write a report on all models and their data as one HTML file")
    report.add_argument(
        "--out", required=True, type=Path, metavar="FILE.html", help="where to write the report; it opens offline"
    )
    report.add_argument(
        "--images", nargs="+", type=Path, default=[], metavar="FILE", help="add attention maps of these images"
    )
    report.set_defaults(run=write_report)
    return parser.parse_args(arguments)


def kinds_of(text: str) -> tuple[str, ...]:
    """Parse a list of artefact kinds, such as "hair,ruler"."""
    kinds = tuple(one.strip() for one in text.split(","))
    if unknown := [kind for kind in kinds if kind not in removal.KINDS]:
        raise argparse.ArgumentTypeError(
            f"'{unknown[0]}' cannot be removed; use one or more of {', '.join(removal.KINDS)}"
        )
    return kinds


def list_models(options: argparse.Namespace) -> int:
    from skinapp.evaluation.bootstrap import Interval

    models = registry.models()
    if options.json:
        print(json.dumps([model.card for model in models.values()], indent=2))
    else:
        for model in models.values():
            figure = f"balanced accuracy {Interval(**model.card['scores']['balanced_accuracy']).text()}"
            print(f"{model.id}  {model.title}; {model.modality}; {figure}, n = {model.card['test']['images']:,}")
    if not models:
        raise registry.no_models()
    for problem in registry.problems().values():
        print(problem, file=sys.stderr)
    return 0


def allow_model(options: argparse.Namespace) -> int:
    entry = registry.read(registry.default_root() / options.model)
    registry.verify(entry)
    file = allowed.add(entry.card, entry.folder.parent)
    print(f"{entry.id} is {f'allowed: {file}' if file else 'already allowed'}")
    return 0


def list_datasets(options: argparse.Namespace) -> int:
    from skinapp.datasets.registry import DATASETS

    if options.croissant:
        from skinapp.demographics import croissant

        print(*croissant.write(options.croissant), sep="\n")
    else:
        for dataset in DATASETS.values():
            print(f"{dataset.id}  {dataset.name}; {dataset.published_images:,} images published; {dataset.credit}")
    return 0


def classify_images(options: argparse.Namespace) -> int:
    if options.close_up:
        return classify_pair(options)

    from skinapp.attention import heatmap
    from skinapp.images import imaging
    from skinapp.inference import conformal, runtime
    from skinapp.inference.analysis import analyse

    chosen = registry.model(options.model) if options.model else None
    if chosen:
        runtime.check_one_image(chosen)
    models = registry.ranked()
    # many images may be classified here, and a committee takes as long as all of its networks together
    models = [model for model in models if model.kind != "committee"] or models
    if chosen is None and not models:
        raise registry.no_models()
    if chosen and options.cam_dir and not chosen.has_class_maps:
        raise ModelError(f"The model '{chosen.id}' has no class maps; leave out --cam-dir.")
    raw = {question.name: getattr(options, question.name) for question in metadata.QUESTIONS}
    raw = {name: text for name, text in raw.items() if text is not None}
    if options.report:
        check_report_file(options.report)
        if len(options.images) > 1:
            raise DataError("A report covers one image; name one image, or leave out --report.")
    overlays = overlay_files(options.images, options.cam_dir) if options.cam_dir else {}
    if chosen:
        warn_unused(chosen, raw)
    failed = False
    warned: set[str] = set()
    for path in options.images:
        try:
            image = imaging.decode(imaging.read(path))
            if chosen:
                model, route, kind = chosen, None, None
            else:
                kind = modality.recognise(image)
                route = modality.route(models, kind)
                model = route.model
        except ImageError as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed = True
            continue
        result = {"image": str(path), "modality": kind.probabilities if kind else None}
        if kind and kind.kind == "neither" and not options.anyway:
            why = route.words() if route else ""
            print(f"{path}: {why} Add --anyway or --model ID to classify it.", file=sys.stderr)
            if options.json:
                print(json.dumps(result | {"model": None, "probabilities": None}))
            failed = True
            continue
        if not chosen and model.id not in warned:
            warn_unused(model, raw)
            warned.add(model.id)
        values = metadata.parse(model.clinical, raw)
        analysis = analyse(image, model, remove=options.remove, modality=kind, values=values)
        prediction = analysis.prediction
        # the prediction set and the observed risk hold only for images of the kind that the network was trained on
        doubt = route.doubt if route else ""
        observed = None if doubt else meaning(prediction, options.prevalence)
        codes = None
        if options.coverage is not None and not doubt:
            codes = conformal.prediction_set(prediction, options.coverage)
        if options.json:
            print(
                json.dumps(
                    result
                    | {
                        "model": prediction.model.id,
                        "metadata": values,
                        "probabilities": dict(zip(model.labels.codes, prediction.probabilities.tolist(), strict=True)),
                        "malignancy": prediction.malignancy,
                        "predicted": prediction.predicted,
                        **({"set": list(codes)} if codes is not None else {}),
                        **({"removed": removed_in_json(analysis.removed)} if analysis.removed else {}),
                        "warnings": list(warnings_of(analysis)),
                        **more(prediction),
                        **(in_json(observed, options.prevalence) if observed else {}),
                    }
                )
            )
        else:
            print_analysis(path, analysis, route.words(prediction.model) if route else "", observed, options.prevalence)
            if codes is not None:
                print(f"  {conformal.in_words(prediction, options.coverage)}")
        if options.report:
            write_case(analysis, options, doubt)
        if overlays and prediction.class_maps is not None:
            cam = heatmap.grad_cam(prediction.class_maps, int(prediction.probabilities.argmax()))
            write_map(overlays[path], heatmap.overlay(analysis.pixels, cam))
    if not options.json:
        print(CAUTION)
    return 2 if failed else 0


def classify_pair(options: argparse.Namespace) -> int:

    from skinapp.attention import heatmap
    from skinapp.images import imaging
    from skinapp.inference import conformal, pair
    from skinapp.inference.analysis import most_likely

    if len(options.images) != 1:
        raise DataError("--close-up goes with one dermoscopy image; name one image.")
    if options.remove:
        raise DataError("--close-up cannot be combined with --remove.")
    if options.report:
        check_report_file(options.report)
    paths = [options.images[0], options.close_up]
    overlays = overlay_files(paths, options.cam_dir) if options.cam_dir else {}
    chosen = registry.model(options.model) if options.model else next(iter(registry.pairs()), None)
    if chosen is None:
        raise ModelError("There is no model for a dermoscopy image and a close-up; leave out --close-up.")
    warn_unused(
        chosen,
        {
            question.name: getattr(options, question.name)
            for question in metadata.QUESTIONS
            if getattr(options, question.name)
        },
    )
    images = []
    for path in paths:
        try:
            images.append(imaging.decode(imaging.read(path)))
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from None
    kinds = [modality.recognise(image) for image in images]
    mismatches = pair.mismatches(kinds)
    if mismatches and not options.anyway:
        raise ImageError(" ".join([*mismatches, "Add --anyway to classify them as they are."]))
    analysis = pair.analyse(chosen, images, recognised=kinds)
    alone = dict(zip(("dermoscopy", "close_up"), analysis.prediction.alone, strict=True))
    combined = analysis.prediction.combined
    codes = chosen.labels.codes
    # the prediction set and the observed risk hold only for images of the kinds that the networks were trained on
    observed = None if mismatches else meaning(combined, options.prevalence)
    in_set = None
    if options.coverage is not None and not mismatches:
        in_set = conformal.prediction_set(combined, options.coverage)
    if options.json:
        result = {
            "image": str(paths[0]),
            "close_up": str(paths[1]),
            "modality": {name: kind.probabilities for name, kind in zip(alone, kinds, strict=True)},
            "model": chosen.id,
            "probabilities": dict(zip(codes, combined.probabilities.tolist(), strict=True)),
            "alone": {name: dict(zip(codes, one.probabilities.tolist(), strict=True)) for name, one in alone.items()},
            "malignancy": combined.malignancy,
            "predicted": combined.predicted,
            **({"set": list(in_set)} if in_set is not None else {}),
        }
        of_test = in_json(observed, options.prevalence) if observed else {}
        print(json.dumps(result | more(combined) | of_test))
    else:
        print_analysis(
            paths[0],
            analysis.combined,
            f"With the close-up {paths[1]}. {' '.join(mismatches)}".strip(),
            observed,
            options.prevalence,
        )
        if in_set is not None:
            print(f"  {conformal.in_words(combined, options.coverage)}")
        for name, one in zip(("dermoscopy image", "close-up"), alone.values(), strict=True):
            print(f"  From the {name} alone: {most_likely(one)}")
        print(CAUTION)
    if options.report:
        from skinapp.report import case_report

        page = case_report.write_pair(analysis, options.coverage or COVERAGE, options.prevalence, mismatches)
        write_page(options.report, page)
    if overlays and analysis.prediction.class_maps:
        cams = pair.maps(analysis.prediction, combined.predicted)
        for path, single, cam in zip(paths, analysis.alone, cams, strict=True):
            write_map(overlays[path], heatmap.overlay(single.pixels, cam))
    return 0


def print_analysis(
    path: Path, analysis: "Analysis", why: str, observed: "ObservedRisk | None", prevalence: float | None
) -> None:
    from skinapp.evaluation import observed_risk
    from skinapp.inference.analysis import agreement, shares

    prediction = analysis.prediction
    groups = "; ".join(f"{name[0].lower()}{name[1:]} {share:.1%}" for name, share in shares(prediction).items())
    print(f"{path}  ({groups})")
    if why:
        print(f"  {why}")
    for index in (-prediction.probabilities).argsort():
        print(f"  {prediction.probabilities[index]:6.1%}  {prediction.model.labels.labels[index].name}")
    if sentence := agreement(prediction):
        print(f"  {sentence}")
    if analysis.removed and analysis.removed.any_detected:
        print(f"  {removal.sentence(analysis.removed)}")
    if not prediction.model.is_network:
        from skinapp.report import feature_views

        print(f"  {feature_views.sentence(prediction, prediction.predicted)}")
    for sentence in warnings_of(analysis).values():
        print(f"  Warning: {sentence}")
    if observed:
        print(f"  {observed_risk.sentence(observed)}")
        if prevalence is not None:
            print(f"  {observed_risk.prevalence_sentence(observed, prevalence)}")
    if prediction.model.card.get("operating_points"):
        from skinapp.report import operating_point_views

        by_class = dict(zip(prediction.model.labels.codes, prediction.probabilities, strict=True))
        for sentence in operating_point_views.published(prediction.model, by_class):
            print(f"  {sentence}")


def warnings_of(analysis: "Analysis") -> dict[str, str]:
    """Why this answer may be wrong: maps the name of each warning that predicts errors to a sentence."""
    from skinapp.inference import warnings

    return warnings.of_quality(analysis.quality, analysis.model.modality) | warnings.cautions(analysis)


def meaning(prediction: "Prediction", prevalence: float | None) -> "ObservedRisk | None":
    """How often answers like this one were cancers. If that cannot be counted, None and a message on standard error, or
    a DataError if it is needed for the probability at another prevalence."""
    from skinapp.evaluation import observed_risk

    try:
        return observed_risk.observed_risk(prediction)
    except DataError as error:
        if prevalence is not None:
            raise
        print(error, file=sys.stderr)
        return None


def in_json(observed: "ObservedRisk", prevalence: float | None) -> dict[str, Any]:
    """The observed risk as JSON: `observed`, and `at_prevalence` if a prevalence was given."""
    from skinapp.evaluation import observed_risk

    # JSON has no NaN
    risk = {name: None if value != value else value for name, value in vars(observed.risk).items()}
    result: dict[str, Any] = {"observed": dataclasses.asdict(observed) | {"risk": risk}}
    if prevalence is not None:
        result["at_prevalence"] = observed_risk.at_prevalence(observed, prevalence)
    return result


def more(prediction: "Prediction") -> dict[str, Any]:
    """Results that only some models give, as JSON: how far their networks and views agree, what they measured, and
    which of their operating points the image reaches."""
    from skinapp.inference import runtime

    result: dict[str, Any] = {}
    if agreed := runtime.agreement(prediction):
        result["agreement"] = dataclasses.asdict(agreed)
    if not prediction.model.is_network:
        from skinapp.report import feature_views

        result["features"] = feature_views.in_json(prediction)
    if prediction.model.card.get("operating_points"):
        from skinapp.evaluation import operating_points

        by_class = dict(zip(prediction.model.labels.codes, prediction.probabilities, strict=True))
        result["operating_points"] = {
            point.id: point.reached(by_class) for point in operating_points.of_card(prediction.model.card)
        }
    return result


def removed_in_json(removed: removal.Removed) -> dict[str, float]:
    """Maps each kind to the share of the square that was filled in."""
    return {kind: 0.0 if removed.too_much else round(share, 4) for kind, share in removed.shares.items()}


def warn_unused(model: registry.Model, raw: dict[str, str]) -> None:
    """Print which of the given metadata the model does not use."""
    used = {one.name for one in model.clinical}
    unused = [question.flag for question in metadata.QUESTIONS if question.name in raw and question.name not in used]
    if unused:
        print(f"The model '{model.id}' does not use {', '.join(unused)}.", file=sys.stderr)


def score_images(options: argparse.Namespace) -> int:
    from skinapp.inference import conformal, runtime
    from skinapp.inference.cases import WHOLE, parse_shard
    from skinapp.inference.rows import Extras
    from skinapp.inference.scoring import score

    shard = parse_shard(options.shard) if options.shard else WHOLE
    if options.engine == "ray" and shard != WHOLE:
        raise DataError("--engine ray divides the images itself; leave out --shard.")
    if options.engine != "ray" and options.address:
        raise DataError("--address is for a Ray cluster; add --engine ray.")
    model = registry.model(options.model)
    runtime.check_one_image(model)
    coverages = conformal.stored(model) if options.sets else ()
    if options.coverage is not None and options.coverage not in coverages:
        coverages = (*coverages, options.coverage)
    with tqdm(unit="image", disable=None) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        extras = Extras(coverages, options.embeddings, options.cam)
        if options.engine == "ray":
            from skinapp.inference import cluster

            summary = cluster.score(options.source, model, options.out, options.address, progress, extras)
        else:
            summary = score(options.source, model, options.out, progress, extras, shard)
    if summary.missing_columns:
        names = ", ".join(summary.missing_columns)
        print(f"{options.source} has no column for {names}: unknown for every image.", file=sys.stderr)
    if summary.repeated:
        print(f"Repeated rows in {options.source}: {summary.repeated:,}; each image was scored once.", file=sys.stderr)
    if summary.duplicates:
        print(f"Copies of other files, which get the same answer: {summary.duplicates:,}.", file=sys.stderr)
    print(f"{summary.scored:,} scored, {summary.skipped:,} already scored: {options.out}", file=sys.stderr)
    if summary.failed:
        print(f"{summary.failed:,} failed; see {summary.failures} for the reasons.", file=sys.stderr)
    return 0


def compare_models(options: argparse.Namespace) -> int:
    from skinapp.evaluation import comparison, conformal, operating_points, predictions, summary
    from skinapp.report import operating_point_views

    for name in ("sensitivity", "prevalence"):
        if not 0 < (value := getattr(options, name)) < 1:
            raise DataError(f"--{name} must be above 0 and below 1, such as 0.95 for 95%, not {value:g}.")
    shipped, left_out = predictions.shipped()
    chosen: dict[str, predictions.Predictions] = {}
    for name in (options.first, *options.others):
        if name in chosen:
            raise ModelError(f"'{name}' is named twice; choose different models.")
        if name.endswith(".csv"):
            chosen[name] = predictions.own(read_bytes(Path(name)), name, name, list(shipped.values()))
        elif name in left_out:
            raise ModelError(left_out[name])
        else:
            chosen[name] = shipped[registry.model(name).id]
    models = list(chosen.values())
    question = comparison.questions(models)[0]
    target = comparison.target(models, question, options.find, options.test) if options.find else None
    shared = comparison.share(models, question, options.test, target)
    compared = summary.summary(shared)
    weights = shared.weights()
    thresholds = operating_points.for_sensitivity(shared, chosen, options.sensitivity, options.test)
    points = {
        name: operating_points.operating_point(shared, weights, name, thresholds[name], options.prevalence)
        for name in shared.ids
    }
    aim = operating_point_views.aim(shared.target, options.sensitivity)
    for pair in compared["pairs"]:
        first, second = pair["first"], pair["second"]
        names = {first: first, second: second}
        apart = operating_points.difference(shared, weights, first, second, thresholds, options.prevalence)
        of_pair = {name: points[name] for name in names}
        pair["answer"] = operating_point_views.answer(of_pair, apart, shared.target, names, aim)
        pair["answer"].append(operating_point_views.source({name: thresholds[name] for name in names}, names))
    sets = [one for model in models for one in conformal.on_every_test_set(model, options.coverage)]
    if options.json:
        print(json.dumps(compared | {"prediction_sets": [conformal.in_json(one) for one in sets]}, indent=2))
    else:
        print("\n".join([*summary.lines(compared), *(line for one in sets for line in conformal.lines(one))]))
    return 0


def audit_table(options: argparse.Namespace) -> int:
    from skinapp.datasets import audit

    table, images = options.table, options.images
    if table.is_dir():
        table, images = audit.folder_table(table), images or table
    result = audit.run(table, images)
    if options.json:
        findings = {"table": str(table), "problems": result.problems, "notes": result.notes}
        print(json.dumps(findings | result.summary, indent=2))
    else:
        print(audit.describe(str(table), result))
    return 1 if result.problems else 0


def write_report(options: argparse.Namespace) -> int:
    from skinapp.evaluation import predictions
    from skinapp.report import all_models, comparison_report, document

    check_report_file(options.out)
    known, left_out = predictions.shipped()
    for problem in left_out.values():
        print(problem, file=sys.stderr)
    if not known:
        raise registry.no_models()
    images, failed = all_models.read_images(options.images)
    for path, reason in failed.items():
        print(f"{path}: {reason}", file=sys.stderr)
    if failed and not images:
        raise ImageError(
            "None of the images can be read, so no report was written; name others, or leave out --images."
        )
    with tqdm(unit="model", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        text = document.render(
            all_models.TITLE, all_models.sections(known, images, progress), comparison_report.CAUTION
        )
    write_page(options.out, text)
    print(options.out)
    return 2 if failed else 0


def write_case(analysis: "Analysis", options: argparse.Namespace, doubt: str) -> None:
    """Write the report of one image to the file of --report."""
    from skinapp.report import case_report

    write_page(options.report, case_report.write(analysis, options.coverage or COVERAGE, options.prevalence, doubt))


def write_page(file: Path, html: str) -> None:
    with replacing(file) as partial:
        partial.write_text(html, encoding="utf-8")


def check_report_file(file: Path) -> None:
    """DataError if the report cannot be written to this file."""
    if not file.parent.is_dir():
        raise DataError(f"There is no folder {file.parent}; create it, or name a file in another folder.")
    if file.is_dir():
        raise DataError(f"{file} is a folder; name a file in it, such as {file / 'report.html'}.")


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"The file {path} cannot be read ({error.strerror}).") from None


def write_map(file: Path, pixels: "np.ndarray") -> None:
    from PIL import Image

    with replacing(file) as partial:
        Image.fromarray(pixels).save(partial, "PNG")


def overlay_files(images: list[Path], folder: Path) -> dict[Path, Path]:
    """Maps each image to the file of its attention map: `<name>.cam.png`, numbered if two images share a name."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SkinappError(f"The folder {folder} cannot be created ({error.strerror}).") from None
    files: dict[Path, Path] = {}
    for path in images:
        name, number = f"{path.name}.cam.png", 1
        while folder / name in files.values() and path not in files:
            number += 1
            name = f"{path.name}.{number}.cam.png"
        files.setdefault(path, folder / name)
    return files


if __name__ == "__main__":
    sys.exit(main())
