"""python -m skinapp models | classify | score"""

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

from skinapp import registry
from skinapp.errors import ImageError, ModelError, SkinappError

CAUTION = "A research tool, not a diagnostic device: ask a doctor about any lesion that worries you."


def main(arguments: list[str] | None = None) -> int:
    """Run one command. 0; or 2, with sentences on standard error, where something asked for cannot be done."""
    options = parse(arguments)
    try:
        return options.run(options)
    except SkinappError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m skinapp", description=f"Skin-lesion classifiers. {CAUTION}")
    commands = parser.add_subparsers(required=True)

    models = commands.add_parser("models", help="list the models")
    models.add_argument("--json", action="store_true", help="the whole model cards, as one JSON list")
    models.set_defaults(run=list_models)

    classify = commands.add_parser("classify", help="classify images, one answer each")
    classify.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    classify.add_argument("--model", metavar="ID", help="default: the best diagnosis model")
    classify.add_argument("--json", action="store_true", help="one JSON object a line")
    classify.add_argument("--cam-dir", type=Path, metavar="DIR", help="write <image>.cam.png overlays there")
    classify.set_defaults(run=classify_images)

    score = commands.add_parser("score", help="score every image of a folder or of a CSV's `image` column")
    score.add_argument("source", type=Path, metavar="DIR_OR_CSV")
    score.add_argument("--model", required=True, metavar="ID")
    score.add_argument("--out", required=True, type=Path, metavar="FILE.csv", help="run again to go on with it")
    score.set_defaults(run=score_images)
    return parser.parse_args(arguments)


def list_models(options: argparse.Namespace) -> int:
    models = registry.models()
    if options.json:
        print(json.dumps([model.card for model in models.values()], indent=2))
    else:
        for model in models.values():
            score = model.card["scores"]["balanced_accuracy"]
            figure = f"balanced accuracy {score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
            print(f"{model.id}  {model.title}; {model.modality}; {figure}, n = {model.card['test']['images']:,}")
    for problem in registry.problems().values():
        print(problem, file=sys.stderr)
    if not models:
        raise ModelError(f"There is no usable model in {registry.default_root()}.")
    return 0


def classify_images(options: argparse.Namespace) -> int:
    import numpy as np
    from PIL import Image

    from skinapp import attention, imaging
    from skinapp.runtime import classifier

    model = registry.model(options.model) if options.model else default_model()
    if options.cam_dir and not model.has_class_maps:
        raise ModelError(f"The model '{model.id}' ends in dense layers and has no map to draw; leave --cam-dir out.")
    answer = classifier(model)
    overlays = overlay_files(options.images, options.cam_dir) if options.cam_dir else {}
    failed = False
    for path in options.images:
        try:
            pixels = imaging.load(path, model.input_size)
        except ImageError as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed = True
            continue
        prediction = answer.predict(pixels)
        if options.json:
            print(
                json.dumps(
                    {
                        "image": str(path),
                        "model": model.id,
                        "probabilities": dict(zip(model.labels.codes, prediction.probabilities.tolist(), strict=True)),
                        "malignancy": prediction.malignancy,
                        "predicted": prediction.predicted,
                    }
                )
            )
        else:
            print(f"{path}  (malignant classes together {prediction.malignancy:.1%})")
            for index in np.argsort(-prediction.probabilities):
                print(f"  {prediction.probabilities[index]:6.1%}  {model.labels.labels[index].name}")
        if overlays and prediction.class_maps is not None:
            cam = attention.grad_cam(prediction.class_maps, int(prediction.probabilities.argmax()))
            Image.fromarray(attention.overlay(pixels, cam)).save(overlays[path])
    if not options.json:
        print(CAUTION)
    return 2 if failed else 0


def score_images(options: argparse.Namespace) -> int:
    from skinapp.score import score

    model = registry.model(options.model)
    with tqdm(unit="image", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        summary = score(options.source, model, options.out, progress)
    print(f"{summary.scored:,} scored, {summary.skipped:,} were there already: {options.out}", file=sys.stderr)
    if summary.failed:
        failed_file = options.out.with_name("failed.csv")
        print(f"{summary.failed:,} could not be read; the reasons are in {failed_file}", file=sys.stderr)
    return 0


def default_model() -> registry.Model:
    """The diagnosis model with the highest balanced accuracy on its test images."""
    for model in registry.ranked():
        if model.task == "diagnosis":
            return model
    left_out = " ".join(registry.problems().values())
    raise ModelError(f"There is no usable diagnosis model in {registry.default_root()}. {left_out}".strip())


def overlay_files(images: list[Path], folder: Path) -> dict[Path, Path]:
    """Where each image's overlay goes: `<name>.cam.png`, numbered where two images share a name."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SkinappError(f"The folder {folder} cannot be made ({error.strerror}).") from None
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
