"""The commands of `python -m skinapp`, one module each.

In each module, `add` declares the command and its options, and `run` does the work and returns the exit code. What a
command needs is imported when it runs, so that every command starts quickly.
"""

import argparse
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
