"""`python -m skinapp classify`: images, or the two images of one lesion."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinapp.commands import answer, output
from skinapp.errors import DataError, ImageError, ModelError
from skinapp.images import removal
from skinapp.inference import metadata, modality, registry
from skinapp.inference.conformal import COVERAGE
from skinapp.inference.metadata import Metadata
from skinapp.inference.modality import Route
from skinapp.inference.registry import Model

if TYPE_CHECKING:
    from PIL.Image import Image

    from skinapp.commands import Commands


def add(commands: "Commands") -> None:
    parser = commands.add_parser("classify", help="classify images, with the probability of every class")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument(
        "--model", metavar="ID", help="the model to use (default: the best single network for the kind of image)"
    )
    parser.add_argument(
        "--close-up",
        type=Path,
        metavar="PHOTO",
        help="a clinical close-up of the lesion in IMAGE, which is then one dermoscopy image: classifies both together",
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="also classify images that do not show a lesion or, with --close-up, images of another kind",
    )
    parser.add_argument("--coverage", type=float, metavar="SHARE", help=answer.COVERAGE_HELP)
    parser.add_argument(
        "--prevalence",
        type=float,
        metavar="SHARE",
        help="also give the probability of cancer where this share of such lesions is cancer, such as 0.02",
    )
    parser.add_argument(
        "--remove",
        type=_kinds,
        default=(),
        metavar="KIND,...",
        help=f"detect and fill in these before the image is classified: {', '.join(removal.KINDS)} (default: none, as "
        "in score)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.add_argument(
        "--cam-dir", type=Path, metavar="DIR", help="write an attention map of each image to DIR/<image>.cam.png"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="write the answer for one image, or for both with --close-up, as an HTML page that opens offline",
    )
    patient = parser.add_argument_group(
        "patient metadata",
        "These options apply to all images, and all are optional. Models that do not use patient metadata ignore them.",
    )
    for question in metadata.QUESTIONS:
        patient.add_argument(question.flag, metavar=question.form, help=f"{question.title}. {question.hint}".strip())
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.report:
        output.check_page(options.report)
    if options.close_up:
        from skinapp.commands import close_up

        return close_up.run(options)
    from skinapp.images import imaging

    chosen = _chosen(options)
    models = [chosen] if chosen else _for_many_images()
    given = answer.given_metadata(options)
    if options.report and len(options.images) > 1:
        raise DataError("A report covers one image; name one image, or leave out --report.")
    maps = output.map_files(options.images, options.cam_dir) if options.cam_dir else {}
    failed = False
    warned: set[str] = set()
    for path in options.images:
        try:
            image = imaging.decode(imaging.read(path))
            route = modality.route(models, None if chosen else modality.recognise(image), chosen)
        except ImageError as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed = True
            continue
        if route.unknown and not options.anyway:
            _refuse(path, route, options)
            failed = True
            continue
        if route.model.id not in warned:
            answer.warn_unused(route.model, given)
            warned.add(route.model.id)
        _answer(path, image, route, metadata.parse(route.model.clinical, given), options, maps.get(path))
    if not options.json:
        print(answer.CAUTION)
    return 2 if failed else 0


def _chosen(options: argparse.Namespace) -> Model | None:
    """The model of --model."""
    if not options.model:
        return None
    from skinapp.inference import runtime

    chosen = registry.model(options.model)
    runtime.check_one_image(chosen)
    if options.cam_dir and not chosen.has_class_maps:
        raise ModelError(f"The model '{chosen.id}' has no class maps; leave out --cam-dir.")
    return chosen


def _for_many_images() -> list[Model]:
    """The models, best first, without committees: many images may be classified here, and a committee takes as long as
    all of its networks together."""
    models = registry.ranked()
    if not models:
        raise registry.no_models()
    return [model for model in models if model.kind != "committee"] or models


def _refuse(path: Path, route: Route, options: argparse.Namespace) -> None:
    print(f"{path}: {route.words()} Add --anyway or --model ID to classify it.", file=sys.stderr)
    if options.json:
        print(json.dumps(_recognition(path, route) | {"model": None, "probabilities": None}))


def _answer(
    path: Path,
    image: "Image",
    route: Route,
    values: Metadata,
    options: argparse.Namespace,
    map_file: Path | None,
) -> None:
    """Classify an image, and write the answer to everything that the options name."""
    from skinapp.inference.analysis import analyse

    analysis = analyse(image, route.model, remove=options.remove, modality=route.recognised, values=values)
    prediction = analysis.prediction
    # what an answer means was measured for images of the kind that the network was trained on
    meant = answer.Meaning() if route.doubt else answer.meaning(prediction, options)
    if options.json:
        result = _recognition(path, route) | {"model": prediction.model.id, "metadata": values}
        if analysis.removed:
            result["removed"] = {
                kind: 0.0 if analysis.removed.too_much else round(share, 4)
                for kind, share in analysis.removed.shares.items()
            }
        result["warnings"] = list(answer.warnings_of(analysis))
        print(json.dumps(result | answer.in_json(prediction, meant)))
    else:
        answer.show(path, analysis, answer.lines(analysis, route.words(prediction.model), meant))
    if options.report:
        from skinapp.report import case_report

        page = case_report.write(analysis, options.coverage or COVERAGE, options.prevalence, route.doubt)
        output.write_page(options.report, page)
    if map_file and prediction.class_maps is not None:
        from skinapp.attention import heatmap

        cam = heatmap.grad_cam(prediction.class_maps, int(prediction.probabilities.argmax()))
        output.write_map(map_file, heatmap.overlay(analysis.pixels, cam))


def _recognition(path: Path, route: Route) -> dict[str, Any]:
    return {"image": str(path), "modality": route.recognised.probabilities if route.recognised else None}


def _kinds(text: str) -> tuple[str, ...]:
    """Parse a list of artefact kinds, such as "hair,ruler"."""
    kinds = tuple(one.strip() for one in text.split(","))
    if unknown := [kind for kind in kinds if kind not in removal.KINDS]:
        raise argparse.ArgumentTypeError(
            f"'{unknown[0]}' cannot be removed; use one or more of {', '.join(removal.KINDS)}"
        )
    return kinds
