"""File downloads that resume after an interruption, are verified, and get their final name only when complete."""

import base64
import errno
import hashlib
import re
import shutil
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from skinapp.errors import DataError

RETRIES = 5
"""Failed attempts in a row after which a download is given up."""
BACKOFF_SECONDS = 1.0
"""The wait before the second attempt; it doubles for each further one."""
CONNECT_AND_READ_SECONDS = (10, 60)
CHUNK = 2**16
"""Bytes read at a time, and so the maximum that a dropped connection loses."""
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RESUME_HINT = "Run the same command again to continue."
CONNECTION_ERRORS = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class _InterruptedError(Exception):
    """The transfer stopped and may be tried again."""


@dataclass(frozen=True)
class Remote:
    """A file to download: its local name, its address, and its size in bytes and checksum if the publisher states them.

    `checksum` is (algorithm as hashlib names it, hexadecimal digest); `login` is (user, password).
    """

    name: str
    url: str
    size: int | None = None
    checksum: tuple[str, str] | None = None
    login: tuple[str, str] | None = field(default=None, repr=False)


def open_session() -> requests.Session:
    session = requests.Session()
    # compressed responses would change the meaning of lengths and ranges
    session.headers.update({"User-Agent": "skinapp-train (python-requests)", "Accept-Encoding": "identity"})
    return session


def get_json(session: requests.Session, url: str, missing: Any = None) -> Any:
    """The parsed response, or `missing`, if that is not None, for an address that does not exist (status 404).

    DataError if the address does not exist, the host cannot be reached after several attempts, or the response is not
    JSON.
    """

    def attempt() -> Any:
        with session.get(url, timeout=CONNECT_AND_READ_SECONDS) as response:
            if missing is not None and response.status_code == requests.codes.not_found:
                return missing
            _check_status(response, url)
            try:
                return response.json()
            except ValueError:
                raise DataError(f"{host(url)} sent an unexpected response; it may have changed: {shown(url)}") from None

    return _retried(attempt, url, lambda: 0)


def fetch(session: requests.Session, remote: Remote, folder: Path, progress: tqdm, limit: int | None = None) -> Path:
    """Download to `folder` / name, through a .part file that is kept for the next attempt.

    A .part file is continued only if there is a checksum to verify the result. After a wrong checksum the file is
    downloaded once more. `limit` is the most that `folder` may hold, in bytes. Raises DataError.
    """
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    if target.exists():
        progress.update(target.stat().st_size)
        return target
    for _ in range(2):
        progress.update(_size(part))
        checksum = _retried(lambda: _receive(session, remote, part, progress, limit), remote.url, lambda: _size(part))
        if checksum is None or _digest(part, checksum[0]) == checksum[1].lower():
            part.replace(target)
            return target
        progress.update(-_size(part))
        part.unlink()
    raise DataError(
        f"{remote.name} from {host(remote.url)} had a wrong checksum, twice, and was removed. The file or the "
        "connection is damaged; try again later."
    )


def check_room(needed: int, folder: Path, limit: int | None = None) -> None:
    """DataError if `folder` has no room for `needed` more bytes, on the disk or within `limit`."""
    free = room(folder, limit)
    if needed > free:
        raise DataError(full(folder, needed, free))


def room(folder: Path, limit: int | None = None) -> int:
    """The free space in `folder`, in bytes."""
    free = shutil.disk_usage(folder).free
    if limit is None:
        return free
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return min(free, limit - used)


def full(folder: Path, needed: int, free: int) -> str:
    return (
        f"There is not enough room in {folder}: {megabytes(needed)} are needed and {megabytes(max(free, 0))} are free. "
        f"Free {megabytes(needed - free)}, or choose another folder with --out. {RESUME_HINT}"
    )


def is_full(error: OSError) -> bool:
    """Whether an error means a full disk."""
    return error.errno in FULL_DISK


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def shown(url: str) -> str:
    """An address for use in messages: without a password, and without the query, which may contain a signature."""
    return urlsplit(url)._replace(netloc=host(url), query="", fragment="").geturl()


def unzip(
    archive: Path, folder: Path, target_of: Callable[[PurePosixPath], Path | None], limit: int | None = None
) -> int:
    """Unpack the files for which `target_of` returns a relative path; return their number.

    DataError if the archive is damaged, two files would get the same name, or a name points outside `folder`. Links in
    an archive are never created. Free space is checked first.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            chosen: dict[Path, zipfile.ZipInfo] = {}
            for entry in opened.infolist():
                name = PurePosixPath(entry.filename.replace("\\", "/"))
                if name.is_absolute() or ".." in name.parts or ":" in entry.filename:
                    raise DataError(f"{archive.name} holds a file that leads out of its folder, {name}; not unpacked.")
                target = None if entry.is_dir() else target_of(name)
                if target is not None and target in chosen:
                    raise DataError(f"{archive.name} holds two files that would be {target}; not unpacked.")
                if target is not None:
                    chosen[target] = entry
            check_room(sum(entry.file_size for entry in chosen.values()), folder, limit)
            for target, entry in tqdm(chosen.items(), desc=f"unpacking {archive.name}", unit="file"):
                (folder / target).parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, (folder / target).open("wb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
    # RuntimeError: encrypted, or compressed in a way that zipfile does not know
    except (zipfile.BadZipFile, zipfile.LargeZipFile, RuntimeError, zlib.error, EOFError) as error:
        archive.unlink()
        raise DataError(f"{archive.name} is damaged ({error}) and was removed. {RESUME_HINT}") from None
    return len(chosen)


def _receive(
    session: requests.Session, remote: Remote, part: Path, progress: tqdm, limit: int | None
) -> tuple[str, str] | None:
    """Fill `part`; return the checksum to compare it with. _InterruptedError if another attempt may succeed."""
    have = _size(part)
    if remote.size is not None and have > remote.size:
        have = _drop(part, progress)
    if remote.size is not None and 0 < have == remote.size:
        return remote.checksum
    headers = {"Range": f"bytes={have}-"} if have else {}
    with session.get(
        remote.url, headers=headers, auth=remote.login, stream=True, timeout=CONNECT_AND_READ_SECONDS
    ) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            _drop(part, progress)
            raise _InterruptedError("the local part does not belong to the remote file")
        _check_status(response, remote.url)
        checksum = remote.checksum or _announced(response)
        continued = response.status_code == requests.codes.partial_content
        if continued and (checksum is None or not _starts_at(response, have)):
            _drop(part, progress)
            raise _InterruptedError("the local part may not belong to the remote file")
        if have and not continued:
            have = _drop(part, progress)
        coming = int(response.headers.get("Content-Length", 0))
        free = room(part.parent, limit)
        if coming > free:
            raise DataError(full(part.parent, coming, free))
        try:
            with part.open("ab") as file:
                for chunk in response.iter_content(CHUNK):
                    free -= len(chunk)
                    if free < 0:
                        raise DataError(full(part.parent, len(chunk), free + len(chunk)))
                    file.write(chunk)
                    file.flush()
                    progress.update(len(chunk))
        except OSError as error:
            if not is_full(error):
                raise
            missing = max((remote.size or have + coming) - _size(part), 1)
            raise DataError(full(part.parent, missing, room(part.parent, limit))) from None
    if remote.size is not None and _size(part) > remote.size:
        _drop(part, progress)
        raise _InterruptedError("received more than the publisher announces")
    if remote.size is not None and _size(part) < remote.size:
        raise _InterruptedError("received less than the publisher announces")
    return checksum


def _retried(attempt: Callable[[], Any], url: str, progress: Callable[[], int]) -> Any:
    """Repeat `attempt` until it succeeds or makes no progress RETRIES times in a row; `progress` measures it."""
    failures = 0
    while True:
        before = progress()
        try:
            return attempt()
        except (_InterruptedError, *CONNECTION_ERRORS) as error:
            failures = 1 if progress() > before else failures + 1
            if failures >= RETRIES:
                raise DataError(f"{_unreached(url, error)} Check the connection. {RESUME_HINT}") from None
            wait = BACKOFF_SECONDS * 2 ** (failures - 1)
            tqdm.write(
                f"{host(url)}: interrupted, attempt {failures + 1} of {RETRIES} in {wait:.0f} s", file=sys.stderr
            )
            time.sleep(wait)
        except requests.RequestException as error:
            raise DataError(f"{_unreached(url, error)} The address is {shown(url)}.") from None


def _unreached(url: str, error: Exception) -> str:
    if isinstance(error, requests.ConnectionError) and not isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"{host(url)} could not be reached."
    # messages from requests may quote the redirect address, including its signature
    reason = str(error) if isinstance(error, _InterruptedError) else type(error).__name__
    return f"The transfer from {host(url)} failed ({reason})."


def _check_status(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status in (requests.codes.too_many_requests, requests.codes.request_timeout) or status >= 500:
        raise _InterruptedError(f"status {status}")
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        raise DataError(f"{host(url)} refuses access (status {status}); check the user name and key if it needs them.")
    if status >= 400:
        raise DataError(f"{host(url)} has nothing at {shown(url)} (status {status}); the publisher may have moved it.")


def _announced(response: requests.Response) -> tuple[str, str] | None:
    """The MD5 in the header of Google Cloud Storage, https://cloud.google.com/storage/docs/xml-api/reference-headers."""
    match = re.search(r"md5=([A-Za-z0-9+/]{22}==)", response.headers.get("x-goog-hash", ""))
    return ("md5", base64.b64decode(match[1]).hex()) if match else None


def _starts_at(response: requests.Response, start: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _drop(part: Path, progress: tqdm) -> int:
    progress.update(-_size(part))
    part.unlink(missing_ok=True)
    return 0


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _digest(file: Path, algorithm: str) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, algorithm).hexdigest()
