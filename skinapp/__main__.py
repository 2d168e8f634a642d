"""The command `skinapp`, or `python -m skinapp`: models, allow, datasets, classify, score, compare, audit, report."""

import argparse
import sys

from skinapp.commands import allow, audit, classify, compare, datasets, models, report, score
from skinapp.commands.answer import CAUTION
from skinapp.errors import SkinappError

COMMANDS = (models, allow, datasets, classify, score, compare, audit, report)


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
    for command in COMMANDS:
        command.add(commands)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
