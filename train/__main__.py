"""The command `skinapp-train`, or `python -m train`: from a published data set to a model folder."""

import argparse
import importlib
import sys
from pathlib import Path

from skinapp.errors import SkinappError
from train.options import add_models, add_runs

RUNS = {
    "prepare": "decode the images of a data set; fit does this too if needed",
    "fit": "train a network; run it again to resume",
    "evaluate": "calibrate a trained network and score it on the test images, or score a model on your own images",
    "export": "write the model folder of an evaluated network, for the app",
    "fuse": "make a version of an exported model that also uses patient metadata",
    "pair": "make a model for both images of a lesion from a network for dermoscopy images and one for close-ups",
    "ablate": "train variations of a short cross-validation and compare them on held-out lesions",
}
"""Commands that work on the run of one configuration."""

TOOLS = {
    "download": ("train.data.download", "download a data set, or single images, from the publisher"),
    "pack": ("train.data.pack", "write a data set as one small file that fit can read"),
    "compare-published": ("train.publish.compare_published", "compare published models with ours on the same images"),
    "audit": ("train.data.audit", "check a data set and its split for shared lesions, duplicates and drift"),
    "search": ("train.studies.search", "search for the best small network, with or without leakage"),
    "search-head": ("train.studies.search_head", "search for the best head and augmentation of a pre-trained network"),
    "tutorial": (
        "train.studies.tutorial",
        "the classic tutorial on 300 images: split them the wrong way, then the right way, and compare",
    ),
    "summarise": ("train.data.summarise", "count who is in the data sets, for the Explore page"),
    "sort-by-class": (
        "train.data.sort_by_class",
        "copy a data set into one folder per class, as image tutorials expect",
    ),
    "artefacts": (
        "train.studies.artefacts",
        "measure whether removing hairs, rulers, stickers, dark corners and ink helps",
    ),
    "sources": (
        "train.studies.sources",
        "measure whether a network can tell its data sources apart, and score it on each",
    ),
    "left-out": ("train.studies.left_out", "score networks on the images of clinics that they were not trained on"),
    "missing-metadata": (
        "train.studies.missing_metadata",
        "compare ways to add patient metadata, with some of it left out",
    ),
    "attention-audit": (
        "train.studies.attention_audit",
        "measure the attention methods on test images",
    ),
    "attribution": (
        "train.studies.attribution",
        "measure how far answers depend on a lesion's border, colour and texture",
    ),
    "quality": (
        "train.studies.quality",
        "compute the limits for blur, light and glare, and count how often they trigger a warning",
    ),
    "modality": (
        "train.publish.modality",
        "train the classifier that tells dermoscopy, phone photos and other images apart",
    ),
    "features": (
        "train.publish.features",
        "measure the features of lesions, train boosted trees on them, and write the model folder",
    ),
    "features-study": (
        "train.studies.features",
        "test the published claim for Fourier features, and fuse the features models with networks",
    ),
    "segment": ("train.publish.segmentation", "train the lesion segmentation network and write its model folder"),
    "retrieval-index": ("train.publish.retrieval_index", "index training images, to show similar cases"),
    "change": ("train.studies.change", "measure how far two photos of an unchanged lesion differ"),
    "square": ("train.studies.square", "measure what the square around the lesion changes, and choose its margin"),
    "conformal": ("train.publish.conformal", "give an exported model prediction sets and operating points"),
    "coverage": ("train.studies.coverage", "measure the prediction sets of every model on every test set"),
    "sanity-check": (
        "train.studies.sanity_check",
        "choose the limits of the sanity check of an attention map, and measure how often it is right",
    ),
    "warnings": ("train.studies.warnings", "measure how often answers with and without each warning are wrong"),
    "adopt": ("train.publish.adopt", "make a model folder from a classifier that was trained elsewhere"),
    "doctor": ("train.doctor", "check whether this machine is ready for training, and show how to fix what is missing"),
}
"""Commands with their own modules."""

STEPS = """
a model, step by step:
  C=train/configs/ham10000-efficientnetb1.yaml
  python -m train doctor                what is missing, and how to fix it
  python -m train download ham10000     the images, once
  python -m train fit      --config $C  hours without a GPU; Ctrl-C stops it, and the same command resumes it
  python -m train evaluate --config $C  scores on the test images
  python -m train export   --config $C  the model folder, for the app

SKINAPP_DATA is the folder of the data sets (default: data), SKINAPP_WEIGHTS the folder of initial weights (default:
weights). To train with JAX or PyTorch instead of TensorFlow, set KERAS_BACKEND to jax or torch.
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
  python -m train fit --config train/configs/ham10000-committee.yaml --jobs 4

Every epoch is scored on the validation images, and the best network is saved; fit prints its file. Ctrl-C stops
training; evaluate and export then use the best network so far. The same command resumes after the last finished epoch,
with the same result as an uninterrupted run. To train with other settings, use another --runs folder or id=NAME.
""",
    "evaluate": """
examples:
  python -m train evaluate --config train/configs/ham10000-efficientnetb1.yaml
  python -m train evaluate --model ham10000-efficientnetb1 --images photos --labels photos.csv
  python -m train evaluate --model ham10000-efficientnetb1 --images photos --labels photos.csv --name "Clinic B"

With --config, run it after fit; it writes evaluation.json and predictions.csv into the run. Scores are printed with
95% intervals; --name adds them to the model's folder, next to those on its own test images.
""",
    "export": """
example:
  python -m train export --config train/configs/ham10000-efficientnetb1.yaml

Run it after evaluate. Nothing is written if the exported file disagrees with the trained network. A model of the same
id is replaced in one step; its changelog continues, and files that later commands added stay if the network is the
same.
""",
    "fuse": """
example:
  python -m train fuse --config train/configs/ham10000-efficientnetb1.yaml --title "Seven kinds, with age, sex and site"

Run it after export; it writes models/<id>-clinical/. The network stays the same. A run with metadata: true has already
learnt what the metadata adds; otherwise, that is fitted on held-out images.
""",
    "pair": """
example:
  python -m train pair --config train/configs/milk10k-pair-dermoscopy.yaml \\
      --close-up train/configs/milk10k-pair-close-up.yaml

Run it after fit for both; it writes models/milk10k-pair/. KEY=VALUE applies to both configurations.
""",
    "ablate": """
example:
  python -m train ablate --config train/configs/studies/ablation.yaml --out ablation.csv

The file describes a cross-validation, and has one more key, rows: a name for each row and the settings it changes.
KEY=VALUE applies to all rows. Every row trains one network per fold, and its difference from the base has a t-interval
over the folds. The table is written after each row; if it is stopped, the same command continues where it left off.
""",
}
"""Text below the options in --help."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, 2 with a message on standard error if something cannot be done, or 130 on Ctrl-C."""
    try:
        options = parse(arguments)
        return options.run(options)
    except SkinappError as error:
        print(error, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] in ("skinapp", "train"):
            raise
        print(f"Training needs the package {error.name}: pip install -r requirements-train.txt", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        general = "Stopped. Finished work is saved; run the same command again to continue."
        print(str(stop) or general, file=sys.stderr)
        return 130


def parse(arguments: list[str] | None) -> argparse.Namespace:
    chosen = (sys.argv[1:] if arguments is None else arguments)[:1]
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Train a model and write its folder, for the app.",
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
            help="the settings of a run: a file in train/configs, or your own",
        )
        if name == "pair":
            command.add_argument(
                "--close-up",
                type=Path,
                required=True,
                metavar="FILE",
                help="the settings of the run for close-ups; --config is the one for dermoscopy images",
            )
        add_runs(command)
        command.add_argument(
            "settings",
            nargs="*",
            metavar="KEY=VALUE",
            help="settings that override the file, such as seed=1; train/config.py explains them all",
        )
        if name == "fit":
            command.add_argument(
                "--devices", type=int, default=1, metavar="N", help="GPUs that share each batch (default: %(default)s)"
            )
            command.add_argument(
                "--images-on-device",
                action="store_true",
                help="keep the decoded images in GPU memory, if they fit",
            )
            command.add_argument(
                "--jobs",
                type=int,
                default=1,
                metavar="N",
                help="train N networks at a time, for several folds or seeds (default: %(default)s)",
            )
            command.add_argument(
                "--seeds",
                type=int,
                default=0,
                metavar="N",
                help="train it N times, with the seeds 0 to N - 1, as ID-seed-0 and so on",
            )
            command.add_argument(
                "--part",
                type=int,
                metavar="K",
                help="with fold: null, train only the network that leaves out part K, counted from 0, or, if K is the "
                "number of parts, the one on all images; for running each network as a cluster job",
            )
        if name == "fuse":
            command.add_argument("--title", required=True, help="the title of the new model")
            command.add_argument(
                "--afterwards",
                action="store_true",
                help="for a run with metadata: true, fit what the metadata adds on held-out images instead of using "
                "what was trained",
            )
        if name in ("fuse", "pair"):
            command.add_argument(
                "--adjustment",
                type=float,
                default=0.0,
                metavar="X",
                help="how much of each class's log share to subtract from its logit, 0 to 1 (default: %(default)s)",
            )
        if name in ("export", "fuse", "pair"):
            add_models(command)
            command.add_argument(
                "--changes", default="", metavar="TEXT", help="a sentence for the changelog, if the model is replaced"
            )
        if name == "evaluate":
            command.add_argument(
                "--also",
                action="append",
                default=[],
                metavar="DATASET",
                help="with --config: another data set, not used for training, whose test images are also scored; "
                "repeat for several",
            )
            if chosen == [name]:
                from train.publish import evaluate_folder

                evaluate_folder.add_arguments(command)
        if name == "ablate":
            command.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="the table to write")
        command.set_defaults(run=run, command=name)
    for name, (module, text) in TOOLS.items():
        command = commands.add_parser(name, help=text, description=text)
        # many import Keras, which takes seconds
        if chosen == [name]:
            tool = importlib.import_module(module)
            tool.add_arguments(command)
            command.set_defaults(run=tool.run)
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    from train.publish import evaluate_folder

    if options.command == "evaluate" and evaluate_folder.scores_folder(options):
        return evaluate_folder.run(options)
    # Keras takes seconds to import, so check the arguments first
    from train.config import load_config

    if options.command == "ablate":
        from train.studies.ablation import ablate

        print(ablate(options.config, tuple(options.settings), options.runs, options.out))
        return 0
    config = load_config(options.config, tuple(options.settings))
    if options.command == "prepare":
        from train.data.datasets import prepare

        data = prepare(config.dataset, config.cache_size, options.runs, **config.pixels)
        print(f"{len(data.table):,} images, {len(set(data.table['group'])):,} lesions or patients")
    elif options.command == "fit":
        from train.fit import jobs

        print(*jobs.fit(config, options), sep="\n")
    elif options.command == "evaluate":
        from train.fit import cross_validation
        from train.publish import committee, evaluate

        evaluate_run = evaluate.evaluate if config.fold is not None else cross_validation.evaluate
        if config.is_committee:
            evaluate_run = committee.evaluate
        for name, score in evaluate_run(config, options.runs, options.also).items():
            print(f"{name:28} {score.value:.4f}  {score.low:.4f} to {score.high:.4f}")
    elif options.command == "fuse":
        from train.publish.fuse import fuse

        print(
            fuse(
                config,
                options.title,
                options.adjustment,
                options.runs,
                options.models,
                options.changes,
                options.afterwards,
            )
        )
    elif options.command == "pair":
        from train.publish.pair import pair

        close_up = load_config(options.close_up, tuple(options.settings))
        print(pair(config, close_up, options.adjustment, options.runs, options.models, options.changes))
    else:
        from train.publish import committee
        from train.publish.export import export

        write = committee.export if config.is_committee else export
        print(write(config, options.runs, options.models, options.changes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
