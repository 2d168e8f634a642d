"""Public images of the ISIC archive, with licence and attribution, through https://api.isic-archive.com/api/docs."""

import dataclasses
import functools
import json
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from skinapp.errors import DataError, SkinappError
from skinapp.files import replacing
from skinapp.images import imaging, isolated

ARCHIVE = "https://api.isic-archive.com"
DOMAIN = "isic-archive.com"
"""The domain of all the archive's addresses, of entries and of files; an entry cannot redirect us anywhere else."""
CONNECT_AND_READ_SECONDS = (4, 10)
TOTAL_SECONDS = 30
MAX_CONCURRENT = 8
"""Images that are fetched at the same time, for all visitors."""
MAX_ENTRY_BYTES = 2**20
"""Bytes of the metadata of an image."""
MAX_REDIRECTS = 3

EXAMPLES = ("ISIC_0010656", "ISIC_5254934", "ISIC_6203412", "ISIC_6788018")
"""Dermoscopy images of palms and soles that anyone may show and share: moles and a melanoma, of the data set
isic_more."""
OPEN_LICENCES = ("CC-0", "CC-BY")
"""Spelt as in the archive."""
SHOWN_LICENCES = (*OPEN_LICENCES, "CC-BY-NC")
"""Licences under which an image may be shown with attribution for non-commercial use."""
HAM10000 = range(24306, 34321)
"""The range of HAM10000's image numbers in the archive."""


SLOW = "The ISIC archive is too slow at the moment. Try again later."


@dataclass(frozen=True)
class Example:
    """An image of the archive: the bytes of its file, and its metadata ("" if the archive states nothing)."""

    isic_id: str
    data: bytes
    licence: str
    attribution: str
    diagnosis: str


def fetch(isic_id: str) -> Example:
    """The archive's image of that id ("ISIC_0024306", or its seven digits).

    SkinappError if the id is malformed or unknown, the archive cannot be reached or takes longer than TOTAL_SECONDS,
    the file is larger than imaging.MAX_BYTES, or an address is not the archive's.
    """
    digits = re.fullmatch(r"(?:ISIC_)?(\d{7})", isic_id.strip(), re.IGNORECASE | re.ASCII)
    if not digits:
        raise SkinappError("An ISIC id looks like ISIC_0024306: the letters, an underscore and seven digits.")
    return _in_time(functools.partial(_fetch, f"ISIC_{digits[1]}"))


def _fetch(isic_id: str, deadline: float) -> Example:
    try:
        entry = json.loads(_download(f"{address()}/api/v2/images/{isic_id}/", MAX_ENTRY_BYTES, deadline))
        return Example(
            isic_id,
            data=_download(entry["files"]["full"]["url"], imaging.MAX_BYTES, deadline),
            licence=str(entry.get("copyright_license") or ""),
            attribution=str(entry.get("attribution") or ""),
            diagnosis=_diagnosis(entry),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if getattr(getattr(error, "response", None), "status_code", None) == HTTPStatus.NOT_FOUND:
            raise SkinappError(f"The ISIC archive has no public image {isic_id}; check the number.") from None
        raise SkinappError(
            "The ISIC archive could not be reached or sent an unexpected response. Try again later."
        ) from error


def address() -> str:
    """Where the archive is; the environment variable SKINAPP_ISIC_URL replaces its address."""
    return os.environ.get("SKINAPP_ISIC_URL", ARCHIVE).rstrip("/")


def examples(ids: Sequence[str] = EXAMPLES, licences: Sequence[str] = OPEN_LICENCES) -> list[Example]:
    """Images by their ids, from the user's cache folder or else from the archive; without those that cannot be fetched,
    or whose licence is another. The environment variable XDG_CACHE_HOME replaces ~/.cache."""
    with ThreadPoolExecutor(len(ids)) as pool:
        fetched = pool.map(_example, ids)
        return [example for example in fetched if example and example.licence in licences]


def dataset_of(isic_id: str) -> str:
    """The data set, by its id in the registry, that an image of the archive belongs to; "" if that is not known."""
    if isic_id in EXAMPLES:
        return "isic_more"
    return "ham10000" if int(isic_id.removeprefix("ISIC_")) in HAM10000 else ""


def _example(isic_id: str) -> Example | None:
    # a user without a home directory, as in a container, has no cache
    home = Path(os.environ.get("HOME", os.devnull))
    folder = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "skinapp" / "examples"
    facts, image = folder / f"{isic_id}.json", folder / f"{isic_id}.jpg"
    try:
        known = Example(data=image.read_bytes(), **json.loads(facts.read_text()))
        isolated.decode(known.data)
        return known
    except (OSError, ValueError, TypeError, SkinappError):
        pass  # not there yet, or damaged
    try:
        example = fetch(isic_id)
        isolated.decode(example.data)
    except SkinappError:
        return None
    stated = {name: value for name, value in dataclasses.asdict(example).items() if name != "data"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(image) as partial:
            partial.write_bytes(example.data)
        with replacing(facts) as partial:
            partial.write_text(json.dumps(stated))
    except (OSError, DataError):
        pass  # fetch it again next time
    return example


def page(isic_id: str) -> str:
    """The web address of an image in the archive."""
    return f"{ARCHIVE}/images/{isic_id}/"


_slots = threading.BoundedSemaphore(MAX_CONCURRENT)


def _in_time(work: Callable[[float], Example]) -> Example:
    """`work(deadline)`, or SkinappError at the deadline, even if a server keeps sending a byte now and then.

    Such a server occupies a thread and a slot, but keeps nobody waiting.
    """
    deadline = time.monotonic() + TOTAL_SECONDS
    result: Future[Example] = Future()

    def run() -> None:
        with _slots:
            try:
                result.set_result(work(deadline))
            except BaseException as error:  # noqa: BLE001  # it is raised where the result is awaited
                result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return result.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise SkinappError(SLOW) from None


def _download(url: str, most: int, deadline: float) -> bytes:
    """The content at an address of the archive, at most `most` bytes. The limits apply to what arrives, not to what the
    server announces."""
    import requests  # here, as pages that only link to the archive open sooner without it

    for _ in range(1 + MAX_REDIRECTS):
        _check_address(url)
        # request no compression, so that the content is never larger than what arrives
        headers = {"Accept-Encoding": "identity"}
        with requests.get(
            url, headers=headers, timeout=CONNECT_AND_READ_SECONDS, stream=True, allow_redirects=False
        ) as response:
            if response.is_redirect:
                url = urljoin(url, response.headers["Location"])
                continue
            response.raise_for_status()
            data = bytearray()
            # read whatever has arrived, not a full block, so that the deadline is checked every few seconds
            while chunk := response.raw.read1(2**16, decode_content=False):
                data += chunk
                if len(data) > most:
                    raise SkinappError(f"The file of this image is larger than {most // 2**20} MB; choose another id.")
                if time.monotonic() > deadline:
                    raise SkinappError(SLOW)
            return bytes(data)
    raise ValueError("too many redirects")


def _check_address(url: str) -> None:
    """ValueError unless it is an https address of the archive, or at SKINAPP_ISIC_URL."""
    # The same parser that will open the address, as others treat a backslash differently. No page needs it to open.
    from urllib3.util import parse_url

    parts, own = parse_url(url), parse_url(address())
    if (parts.scheme, parts.host, parts.port) == (own.scheme, own.host, own.port):
        return
    host = parts.host or ""
    if parts.scheme != "https" or not (host == DOMAIN or host.endswith(f".{DOMAIN}")):
        raise ValueError(f"{host} is not the ISIC archive")


def _diagnosis(entry: dict[str, Any]) -> str:
    """The most specific of the archive's diagnoses, which it lists from diagnosis_1 (benign or not) to diagnosis_5."""
    clinical = (entry.get("metadata") or {}).get("clinical") or {}
    names = [f"diagnosis_{level}" for level in (5, 4, 3, 2, 1)] + ["diagnosis"]
    return next((str(clinical[name]) for name in names if clinical.get(name)), "")
