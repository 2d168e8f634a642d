"""Does what deploy/Dockerfile does on a machine without Docker, and answers its health check.

    .venv/bin/python deploy/rehearse.py              # with the packages of this Python
    .venv/bin/python deploy/rehearse.py --install    # in a new environment, as in the image; prints its size

The files that the image holds are copied to a new folder. The server runs there as an unprivileged user without
capabilities, in namespaces of its own: every file system is read-only but an empty /tmp, and there is no network but
the machine itself. It needs Linux, root, and `unshare` and `setpriv` of util-linux.
"""

import argparse
import fcntl
import json
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
SYSTEM = ("/usr", "/etc", "/bin", "/lib", "/lib64", "/dev")
TRIES = 60
"""Half seconds in which the server has to start."""


@dataclass(frozen=True)
class Image:
    """What the last stage of a Dockerfile says: the files and folders it copies from the checkout, the environment, the
    user and group, the command, and the health check."""

    files: tuple[str, ...]
    environment: dict[str, str]
    user: str
    command: list[str]
    health_check: list[str]


def read(text: str) -> Image:
    """The last stage of the text of a Dockerfile, written as the one here is."""
    text = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", " ")
    stage = re.split(r"(?m)^FROM .*\n", text)[-1]
    lines = [line.partition(" ")[::2] for line in stage.splitlines() if line]
    copies = [shlex.split(rest)[:-1] for name, rest in lines if name == "COPY" and not rest.startswith("--from")]
    [environment] = [dict(pair.split("=", 1) for pair in shlex.split(rest)) for name, rest in lines if name == "ENV"]
    [user] = [rest for name, rest in lines if name == "USER"]
    [check] = [rest.partition(" CMD ")[2] for name, rest in lines if name == "HEALTHCHECK"]
    [command] = [rest for name, rest in lines if name == "CMD"]
    return Image(
        tuple(file for files in copies for file in files), environment, user, json.loads(command), json.loads(check)
    )


def copy(image: Image, folder: Path) -> None:
    """The image's files, readable by everyone, in a new folder."""
    for name in image.files:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    folder.chmod(0o755)


def inside(root: Path) -> None:
    """Run the server and its health check in `root`; called in new namespaces of mounts, processes and the network."""
    image = read(DOCKERFILE.read_text())
    _start_loopback()
    os.chroot(root)
    os.chdir("/app")
    user, group = image.user.split(":")
    unprivileged = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
    unprivileged += ["--bounding-set=-all", "--inh-caps=-all"]
    environment = image.environment | {"PATH": f"{sys.prefix}/bin:/usr/bin:/bin"}

    def run(command: list[str]) -> bool:
        done = subprocess.run([*unprivileged, *command], env=environment, stderr=subprocess.DEVNULL)
        return done.returncode == 0

    if written := [place for place in ("/", "/app", "/app/models", sys.prefix) if run(["touch", f"{place}/written"])]:
        raise SystemExit(f"{written[0]} can be written to.")
    started = time.monotonic()
    with subprocess.Popen([*unprivileged, *image.command], env=environment) as server:
        try:
            for _ in range(TRIES):
                if server.poll() is not None:
                    raise SystemExit("The server stopped.")
                if run(image.health_check):
                    seconds = time.monotonic() - started
                    [memory] = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
                    break
                time.sleep(0.5)
            else:
                raise SystemExit("The health check was not answered.")
        finally:
            server.terminate()
    print(
        f"The health check was answered after {seconds:.1f} s; the server takes {int(memory) / 1000:.0f} MB of memory."
    )


def mount_root(root: Path, files: Path) -> None:
    """What the server sees, at `root`: the system, this Python and the `files`, read-only, and an empty /tmp."""
    _mount("--make-rprivate", "/")
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root)
    for name, options in {"tmp": "size=256m,mode=1777", "app": "mode=755"}.items():
        (root / name).mkdir()
        _mount("-t", "tmpfs", "-o", options, "tmpfs", root / name)
    shown = {Path("/app"): files} | {Path(name): Path(name) for name in (*SYSTEM, sys.base_prefix, sys.prefix)}
    for place, source in shown.items():
        target = root / place.relative_to("/")
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.exists():
            target.mkdir(parents=True, exist_ok=True)
            _mount("--rbind", source, target)
            _mount("-o", "remount,bind,ro", target)
    (root / "proc").mkdir()
    _mount("-t", "proc", "proc", root / "proc")
    _mount("-o", "remount,ro", root)


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _start_loopback() -> None:
    """A new namespace has the loopback device, switched off."""
    switched_on, set_flags = 0x1, 0x8914
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, set_flags, struct.pack("16sH14s", b"lo", switched_on, b""))


def install(folder: Path) -> Path:
    """The packages of requirements-serve.lock in a new virtual environment, whose Python is returned."""
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    options = ["--no-cache-dir", "--disable-pip-version-check", "--quiet", "--require-hashes"]
    subprocess.run([python, "-m", "pip", "install", *options, "-r", ROOT / "requirements-serve.lock"], check=True)
    for tests in list((folder / "venv").rglob("tests")):
        shutil.rmtree(tests, ignore_errors=True)
    subprocess.run([python, "-m", "pip", "uninstall", "--yes", "--quiet", "setuptools", "pip"], check=True)
    size = sum(file.lstat().st_size for file in (folder / "venv").rglob("*") if not file.is_dir())
    print(f"The packages take {size / 1e6:.0f} MB.")
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="install the packages first, in a new environment")
    parser.add_argument("--inside", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        mount_root(*options.inside)
        inside(options.inside[0])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "root").mkdir()
        copy(read(DOCKERFILE.read_text()), folder / "app")
        python = install(folder) if options.install else Path(sys.executable)
        subprocess.run([python, "-m", "compileall", "-q", folder / "app"], check=True)
        command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
        subprocess.run(
            [*command, python, Path(__file__).resolve(), "--inside", folder / "root", folder / "app"], check=True
        )


if __name__ == "__main__":
    main()
