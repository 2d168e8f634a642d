"""`python -m skinapp classify DERMOSCOPY --close-up PHOTO`: the two images of one lesion."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from skinapp.commands import answer, output
from skinapp.errors import DataError, ImageError, ModelError
from skinapp.inference import modality, registry
from skinapp.inference.conformal import COVERAGE

if TYPE_CHECKING:
    from PIL.Image import Image

    from skinapp.inference.pair import PairAnalysis


def run(options: argparse.Namespace) -> int:
    from skinapp.inference import pair

    if len(options.images) != 1:
        raise DataError("--close-up goes with one dermoscopy image; name one image.")
    if options.remove:
        raise DataError("--close-up cannot be combined with --remove.")
    paths = [options.images[0], options.close_up]
    maps = output.map_files(paths, options.cam_dir) if options.cam_dir else {}
    model = registry.model(options.model) if options.model else next(iter(registry.pairs()), None)
    if model is None:
        raise ModelError("There is no model for a dermoscopy image and a close-up; leave out --close-up.")
    answer.warn_unused(model, answer.given_metadata(options))
    images = [_read(path) for path in paths]
    kinds = [modality.recognise(image) for image in images]
    mismatches = pair.mismatches(kinds)
    if mismatches and not options.anyway:
        raise ImageError(" ".join([*mismatches, "Add --anyway to classify them as they are."]))
    analysis = pair.analyse(model, images, recognised=kinds)
    # what an answer means was measured for images of the kinds that the networks were trained on
    meant = answer.Meaning() if mismatches else answer.meaning(analysis.prediction.combined, options)
    if options.json:
        _print_json(paths, kinds, analysis, meant)
    else:
        why = f"With the close-up {paths[1]}. {' '.join(mismatches)}".strip()
        _print(paths[0], analysis, answer.lines(analysis.combined, why, meant))
    if options.report:
        from skinapp.report import case_report

        page = case_report.write_pair(analysis, options.coverage or COVERAGE, options.prevalence, mismatches)
        output.write_page(options.report, page)
    if maps and analysis.prediction.class_maps:
        from skinapp.attention import heatmap

        cams = pair.maps(analysis.prediction, analysis.prediction.combined.predicted)
        for path, single, cam in zip(paths, analysis.alone, cams, strict=True):
            output.write_map(maps[path], heatmap.overlay(single.pixels, cam))
    return 0


def _read(path: Path) -> "Image":
    from skinapp.images import imaging

    try:
        return imaging.decode(imaging.read(path))
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def _print_json(
    paths: list[Path], kinds: list[modality.Recognised], analysis: "PairAnalysis", meant: answer.Meaning
) -> None:
    alone = dict(zip(("dermoscopy", "close_up"), analysis.prediction.alone, strict=True))
    result = {
        "image": str(paths[0]),
        "close_up": str(paths[1]),
        "modality": {name: kind.probabilities for name, kind in zip(alone, kinds, strict=True)},
        "model": analysis.prediction.combined.model.id,
        "alone": {name: answer.by_class(one) for name, one in alone.items()},
        "warnings": {
            name: list(answer.warnings_of(one).values()) for name, one in zip(alone, analysis.alone, strict=True)
        },
    }
    print(json.dumps(result | answer.in_json(analysis.prediction.combined, meant)))


def _print(path: Path, analysis: "PairAnalysis", said: list[str]) -> None:
    from skinapp.inference import warnings
    from skinapp.inference.analysis import most_likely

    alone = zip(("dermoscopy image", "close-up"), analysis.prediction.alone, strict=True)
    close_up = analysis.alone[1]
    # `said` has the warnings about the dermoscopy image
    problems = warnings.of_quality(close_up.quality, close_up.model.modality).values()
    answer.show(
        path,
        analysis.combined,
        [
            *said,
            *(f"Warning, close-up: {sentence}" for sentence in problems),
            *(f"From the {name} alone: {most_likely(one)}" for name, one in alone),
        ],
    )
    print(answer.CAUTION)
