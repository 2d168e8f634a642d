"""python -m train: from a published data set to a model in models/; --help lists the commands."""

import argparse
import importlib
import sys
from pathlib import Path

from skinapp.errors import SkinappError

RUNS = {
    "prepare": "decode the images of a data set, once; fit does it too where it was not done",
    "fit": "train a network; stopped or killed, it goes on when it is run again",
    "evaluate": "calibrate the network of a run and score it on the test images; or score a model on your own images",
    "export": "put an evaluated network into models/, where the app finds it",
    "fuse": "make a second model of an exported one, which also takes what is known about the patient",
    "ablate": "train variations of a short run and compare them with it on the validation lesions",
}
"""The commands that work on the run of one configuration."""

TOOLS = {
    "download": ("train.data.download", "fetch a data set, or images by id, from the publisher"),
    "compare-published": ("train.publish.compare_published", "published models and ours on the same images"),
    "audit": ("train.data.audit", "look for shared lesions, duplicates and drift in a data set and its split"),
    "search": ("train.studies.search", "search for the best small network, under a leaking protocol or an honest one"),
    "summarise": ("train.data.summarise", "count who is in the data sets, for the explorer of the app"),
    "sort-by-class": ("train.data.sort_by_class", "lay a data set out in class folders, as image tutorials expect"),
    "artefacts": ("train.studies.artefacts", "what hairs, rulers and stickers do to the answers of a model"),
    "missing-answers": ("train.studies.missing_metadata", "what it costs when answers about the patient are left out"),
    "attention-audit": (
        "train.studies.attention_audit",
        "measure the attention methods on test images with lesion masks",
    ),
    "quality": (
        "train.studies.quality",
        "find when a picture is too blurred, dark or bright, and how often that warns",
    ),
    "modality": ("train.publish.modality", "learn to tell dermoscopy, phone photos and anything else apart"),
    "segment": ("train.publish.segmentation", "train the network that outlines the lesion, and put it into models/"),
    "similar": ("train.publish.retrieval_index", "index a model's training images, for the similar cases of an image"),
    "sanity-check": ("train.studies.sanity_check", "how often the sanity check of a map is wrong"),
    "doctor": ("train.doctor", "check what training and the app need, and say how to fix what is missing"),
}
"""The commands with modules of their own."""

STEPS = """
a model, step by step:
  C=train/configs/ham10000-efficientnetb1.yaml
  python -m train doctor                what is missing, and how to get it
  python -m train download ham10000     the images, once
  python -m train fit      --config $C  hours without a GPU; Ctrl-C stops it, the same line goes on
  python -m train evaluate --config $C  scores on the test images
  python -m train export   --config $C  the app shows the model

SKINAPP_DATA names the folder of the data sets (default: data), SKINAPP_WEIGHTS that of initial weights (default:
weights). KERAS_BACKEND=jax or torch trains on those instead of TensorFlow.
"""

EXAMPLES = {
    "prepare": """
example:
  python -m train prepare --config train/configs/ham10000-efficientnetb1.yaml
""",
    "fit": """
examples:
  python -m train fit --config train/configs/ham10000-efficientnetb1.yaml
  python -m train fit --config train/configs/ham10000-efficientnetb1.yaml --runs runs/large batch_size=64

Every epoch is scored on the validation images, and the best network is kept; fit prints its file. Ctrl-C stops
training; evaluate and export then take the best network so far, and the same fit goes on after the last finished epoch,
to the same result as without the break. Other settings are another run: give it another --runs folder or id=NAME.
""",
    "evaluate": """
examples:
  python -m train evaluate --config train/configs/ham10000-efficientnetb1.yaml
  python -m train evaluate --model ham10000-efficientnetb1 --images photos --labels photos.csv

With --config it comes after fit, and writes evaluation.json and predictions.csv into the run. Scores are printed with
their 95% intervals.
""",
    "export": """
example:
  python -m train export --config train/configs/ham10000-efficientnetb1.yaml

It comes after evaluate. Nothing is written where the exported file answers otherwise than the trained network. A model
of the same id is replaced.
""",
    "fuse": """
example:
  python -m train fuse --config train/configs/ham10000-efficientnetb1.yaml --title "Seven kinds, with age, sex and site"

It comes after export, and writes models/<id>-clinical/. The network stays as it is.
""",
    "ablate": """
example:
  python -m train ablate --config train/configs/ablations/ham10000.yaml --out ablation.csv

The file is that of a run, with one more key: rows, each a name and the settings it changes. KEY=VALUE goes into all
rows. The table is written after each; stopped, the same line goes on with the next.
""",
}
"""What --help says below the options."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0, or 2 with a sentence on standard error where it cannot be done, 130 where it was stopped."""
    try:
        options = parse(arguments)
        return options.run(options)
    except SkinappError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        general = "Stopped. What is finished is kept; run the same command again to go on."
        print(str(stop) or general, file=sys.stderr)
        return 130


def parse(arguments: list[str] | None) -> argparse.Namespace:
    from train.publish import evaluate_folder

    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Train a model and put it into models/, where the app finds it.",
        epilog=STEPS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, text in RUNS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=EXAMPLES.get(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument(
            "--config",
            type=Path,
            required=name != "evaluate",
            metavar="FILE",
            help="the settings of a run, one of train/configs or your own",
        )
        command.add_argument(
            "--runs",
            type=Path,
            default=Path("runs"),
            metavar="DIR",
            help="where decoded images and runs are kept (default: %(default)s)",
        )
        command.add_argument(
            "settings",
            nargs="*",
            metavar="KEY=VALUE",
            help="settings in place of the file's, such as seed=1; train/config.py explains them all",
        )
        if name == "fit":
            command.add_argument(
                "--devices", type=int, default=1, metavar="N", help="GPUs that share each batch (default: %(default)s)"
            )
        if name == "fuse":
            command.add_argument("--title", required=True, help="what the new model is called")
            command.add_argument(
                "--adjustment",
                type=float,
                default=0.0,
                metavar="X",
                help="how much of each class's log share is taken off its logit, 0 to 1 (default: %(default)s)",
            )
        if name in ("export", "fuse"):
            command.add_argument(
                "--models",
                type=Path,
                default=Path("models"),
                metavar="DIR",
                help="the folder of the app's models (default: %(default)s)",
            )
        if name == "evaluate":
            evaluate_folder.add_arguments(command)
        if name == "ablate":
            command.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="the table of figures")
        command.set_defaults(run=run, command=name)
    for name, (module, text) in TOOLS.items():
        tool = importlib.import_module(module)
        command = commands.add_parser(name, help=text, description=text)
        tool.add_arguments(command)
        command.set_defaults(run=tool.run)
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    from train.publish import evaluate_folder

    if options.command == "evaluate" and evaluate_folder.wanted(options):
        return evaluate_folder.run(options)
    # Keras takes seconds to import, so only after the arguments are known to be good
    from train.config import load_config

    if options.command == "ablate":
        from train.studies.ablation import ablate

        print(ablate(options.config, tuple(options.settings), options.runs, options.out))
        return 0
    config = load_config(options.config, tuple(options.settings))
    if options.command == "prepare":
        from train.data.datasets import prepare

        data = prepare(config.dataset, config.cache_size, options.runs, config.hair_removal)
        print(f"{len(data.table):,} images, {len(set(data.table['group'])):,} lesions or patients")
    elif options.command == "fit":
        from train.fit import cross_validation, training

        train = training.fit if config.fold is not None else cross_validation.fit_all
        print(train(config, options.runs, options.devices))
    elif options.command == "evaluate":
        from train.fit import cross_validation
        from train.publish import evaluate

        judge = evaluate.evaluate if config.fold is not None else cross_validation.evaluate
        for name, score in judge(config, options.runs).items():
            print(f"{name:28} {score.value:.4f}  {score.low:.4f} to {score.high:.4f}")
    elif options.command == "fuse":
        from train.publish.fuse import fuse

        print(fuse(config, options.title, options.adjustment, options.runs, options.models))
    else:
        from train.publish.export import export

        print(export(config, options.runs, options.models))
    return 0


if __name__ == "__main__":
    sys.exit(main())
