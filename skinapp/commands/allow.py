"""`python -m skinapp allow`: use a model folder that someone else made."""

import argparse
from typing import TYPE_CHECKING

from skinapp.inference import allowed, registry

if TYPE_CHECKING:
    from skinapp.commands import Commands


def add(commands: "Commands") -> None:
    parser = commands.add_parser(
        "allow",
        help="allow a model folder that someone else made",
        epilog="A network from an unknown source can harm the computer that runs it: do this only if you know where it "
        "comes from. Models that came with the app, or were published or adopted on this machine, do not need this.",
    )
    parser.add_argument("model", metavar="ID", help="the model, by the name of its folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    entry = registry.read(registry.default_root() / options.model)
    registry.verify(entry)
    file = allowed.add(entry.card, entry.folder.parent)
    print(f"{entry.id} is {f'allowed: {file}' if file else 'already allowed'}")
    return 0
