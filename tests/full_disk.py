"""Simulates a disk that is full when a certain file is written."""

from pathlib import Path

import pytest

from skinapp import files

DEVICE = Path("/dev/full")
only_where_there_is_one = pytest.mark.skipif(
    not DEVICE.exists(), reason="/dev/full, a disk that is always full, is there on Linux"
)


def full_disk_from_now(patch: pytest.MonkeyPatch, file: Path) -> None:
    """Redirect writes to `file` to a full disk, until the patch is undone."""
    partial = files._partial

    def full(target: Path) -> Path:
        path = partial(target)
        if target == file:
            path.symlink_to(DEVICE)
        return path

    patch.setattr(files, "_partial", full)
