"""Images that show the same picture: identical files, identical pixels, or near duplicates, also rotated or mirrored.

Near duplicates are found in two steps, since a perceptual hash alone matches thousands of unrelated moles: its 64 bits
show little more than a dark spot in the middle of light skin.

1. **Hash.** Grey 64 x 64, discrete cosine transform, lowest 8 x 8 coefficients, one bit each: above their median or
   not (the "pHash" of Zauner 2010, https://phash.org/docs/pubs/thesis_zauner.pdf). A pair is a candidate if at most
   HAMMING of the 64 bits differ. Rotating or mirroring an image only swaps or negates coefficients, so its eight
   orientations are compared without decoding it again.
2. **Detail.** The correlation of what the hash leaves out: coefficients up to 48 x 48 without the lowest 8 x 8, each
   times its frequency, so that fine structure counts as much as coarse. Image edges are faded out first, so that the
   round frame of a dermatoscope does not count. Copies that were resized or saved again keep most of the detail;
   different lesions share none.

The limits were set by looking at every pair near them in HAM10000 and the malignant/benign set. In the same
orientation, all pairs above 0.7 were one picture or one burst of pictures of a lesion, and most pairs between 0.5 and
0.7 were small round moles of different people; with at most two bits of difference, everything above 0.5 was one
picture. Seven more orientations give seven more chances to match: there, round moles reach 0.74, and copies stay above
0.9.

Crops, zooms and new photographs of the same lesion are not detected.

Up to EXHAUSTIVE images, every pair is compared. Beyond that, candidates are neighbours in sorted order: the signs of
the detail's lower frequencies, which unrelated images share only by chance, are sorted by TABLES random choices of
KEY_BITS of them, and each image is compared with the next WINDOW in each order. The time grows as n log n. In 7,645
images of both sets this finds all 1,109 pairs that comparing every pair finds; among far more images, copies that keep
little detail can be missed.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.fft
from numpy.typing import ArrayLike
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from skinapp.errors import ImageError
from skinapp.images import imaging

HAMMING = 12
"""A candidate pair differs in at most this many of 64 bits."""
CORRELATION = 0.7
"""The minimum correlation of detail."""
CLOSE_HAMMING, CLOSE_CORRELATION = 2, 0.5
"""Pairs with hashes this close need less correlation, since blurred or strongly compressed copies keep little
detail."""
TURNED_CORRELATION = 0.85
"""Pairs that match only rotated or mirrored need more."""
SAME_FILE, SAME_PIXELS, NEAR = KINDS = ("same file", "same pixels", "near")

SIDE, HASHED, DETAIL, SIGNED = 64, 8, 48, 16
ORIENTATIONS = 8
BLOCK, CHUNK = 256, 4096
EXHAUSTIVE = 20_000
"""Up to this many images on a side, every pair is compared."""
TABLES, KEY_BITS, WINDOW = 64, 24, 8
"""Beyond that: the number of sort orders, the number of signs each sorts by, and the number of neighbours compared."""
DIFFERENT_SIGNS = 77
"""Neighbours that differ in more of the 192 signs are not looked at any further; unrelated images differ in 96."""
MANY_EQUAL = 100
"""If more images than this are equal, each is paired with the first only, to limit the number of pairs."""


@dataclass(frozen=True)
class Fingerprints:
    """The fingerprints of the images that are compared.

    `files` and `pixels`: SHA-256 of the file and of the decoded RGB, "" if it cannot be read. `hashes`: uint64 [8, n],
    one row per orientation, the first unchanged. `signs`: bool [n, 16, 16], those of the detail's lower frequencies.
    `greys`: uint8 [n, 64, 64], in a temporary file, so that memory does not limit the number of images. `problems`:
    maps a row to the reason why the image cannot be read.
    """

    files: np.ndarray
    pixels: np.ndarray
    hashes: np.ndarray
    signs: np.ndarray
    greys: np.ndarray
    problems: dict[int, str]


Reader = Callable[[np.ndarray], np.ndarray]
"""Rows -> their details, float32 [rows, 48, 48]."""
Candidates = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows of the first and of the second set, and the distance of their hashes in bits."""


def fingerprints(paths: Sequence[str | Path], name: str = "images") -> Fingerprints:
    """Read and decode every file once. An unreadable file is listed in `problems` and matches no other."""
    count = len(paths)
    files, pixels = np.full(count, "", dtype="U64"), np.full(count, "", dtype="U64")
    with tempfile.TemporaryFile() as file:
        # the mapping outlives the file's name; an empty one cannot be mapped
        greys = np.memmap(file, np.uint8, "w+", shape=(max(1, count), SIDE, SIDE))[:count]
    problems: dict[int, str] = {}

    def read(row: int) -> None:
        try:
            data = imaging.read(paths[row])
            image = imaging.decode(data)
        except ImageError as error:
            problems[row] = str(error)
            return
        files[row] = hashlib.sha256(data).hexdigest()
        pixels[row] = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
        greys[row] = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS))

    with ThreadPoolExecutor() as pool:
        list(tqdm(pool.map(read, range(count)), total=count, desc=f"reading {name}", unit="image"))
    hashes = np.empty((ORIENTATIONS, count), dtype=np.uint64)
    signs = np.empty((count, SIGNED, SIGNED), dtype=bool)
    for start in range(0, count, BLOCK):
        part = slice(start, start + BLOCK)
        coarse, details = _transform(greys[part])
        hashes[:, part] = [_bits(turn(coarse, orientation)) for orientation in range(ORIENTATIONS)]
        signs[part] = details[:, :SIGNED, :SIGNED] > 0
    return Fingerprints(files, pixels, hashes, signs, greys, dict(sorted(problems.items())))


def turn(coefficients: np.ndarray, orientation: int) -> np.ndarray:
    """Cosine coefficients [..., k, k] of the image in one of its 8 orientations: 1 and 2 mirror, 4 transposes."""
    signs = (-1.0) ** np.arange(coefficients.shape[-1], dtype=np.float32)
    if orientation & 4:
        coefficients = coefficients.swapaxes(-1, -2)
    if orientation & 2:
        coefficients = coefficients * signs[:, np.newaxis]
    if orientation & 1:
        coefficients = coefficients * signs
    return coefficients


def pairs(
    first: Fingerprints, second: Fingerprints | None = None, min_correlation: float = CORRELATION
) -> pd.DataFrame:
    """Duplicate pairs within `first`, or between `first` and `second`, each pair once.

    `min_correlation` replaces CORRELATION, and also CLOSE_CORRELATION if it is higher.

    Columns: `first` and `second` (rows; within one set first < second), `kind` (one of KINDS), `distance` (bits, 0 to
    64), `correlation` (-1 to 1) and `turned` (whether one must be rotated or mirrored to match).
    """
    other = first if second is None else second
    exact = pd.concat(
        [
            _equal(first.files, other.files, second is None).assign(kind=SAME_FILE),
            _equal(first.pixels, other.pixels, second is None).assign(kind=SAME_PIXELS),
        ]
    ).assign(distance=0, correlation=1.0, turned=False)
    few = max(len(first.files), len(other.files)) <= EXHAUSTIVE
    details = _reader(first, few), _reader(other, few)
    single = [~_one_of_many(pd.Series(prints.pixels)).to_numpy() for prints in (first, other)]
    search = _every_pair if few else _neighbours

    def candidates(orientation: int) -> Iterator[Candidates]:
        for one, two, distance in search(first, other, orientation, second is None):
            keep = single[0][one] & single[1][two]
            for start in range(0, len(one), CHUNK):
                part = slice(start, start + CHUNK)
                yield one[part][keep[part]], two[part][keep[part]], distance[part][keep[part]]

    near = pd.concat(
        [_near(candidates(orientation), *details, orientation, min_correlation) for orientation in range(ORIENTATIONS)]
    )
    near = near.sort_values("correlation", ascending=False, kind="stable")
    every = pd.concat([exact, near.assign(kind=NEAR)]).drop_duplicates(["first", "second"])
    return every.sort_values(["first", "second"], ignore_index=True)


def clusters(count: int, links: Sequence[tuple[ArrayLike, ArrayLike]]) -> np.ndarray:
    """Cluster numbers [count] of rows linked directly or through others; `links` are pairs of arrays of rows."""
    first = np.concatenate([np.asarray(one, dtype=np.int64) for one, _ in links])
    second = np.concatenate([np.asarray(two, dtype=np.int64) for _, two in links])
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


def _transform(greys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey [n, 64, 64] -> coarse coefficients float32 [n, 8, 8], and details float32 [n, 48, 48], each of length 1, or
    0 if there is no detail."""
    greys = greys.astype(np.float32)
    window = np.sin(np.pi * (np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
    weights = np.hypot(np.arange(DETAIL)[:, np.newaxis], np.arange(DETAIL)).astype(np.float32)
    weights[:HASHED, :HASHED] = 0
    coarse = scipy.fft.dctn(greys, axes=(1, 2), norm="ortho")[:, :HASHED, :HASHED]
    faded = (greys - greys.mean((1, 2), keepdims=True)) * window[:, np.newaxis] * window
    fine = scipy.fft.dctn(faded, axes=(1, 2), norm="ortho")[:, :DETAIL, :DETAIL] * weights
    length = np.sqrt(np.square(fine).sum((1, 2), keepdims=True))
    # the detail of a uniform image is only rounding error
    return coarse, np.where(length > 1, fine / np.maximum(length, 1), 0).astype(np.float32)


def _details(greys: np.ndarray) -> np.ndarray:
    details = np.empty((len(greys), DETAIL, DETAIL), dtype=np.float32)
    for start in range(0, len(greys), BLOCK):
        details[start : start + BLOCK] = _transform(greys[start : start + BLOCK])[1]
    return details


def _bits(coarse: np.ndarray) -> np.ndarray:
    """Coefficients [n, 8, 8] -> hashes, uint64 [n]. The first, the mean brightness, is left out of the median."""
    flat = coarse.reshape(len(coarse), HASHED**2)
    above = flat > np.median(flat[:, 1:], axis=1, keepdims=True)
    return np.packbits(above, axis=1).view(np.uint64)[:, 0]


def _equal(first: np.ndarray, second: np.ndarray, within: bool) -> pd.DataFrame:
    one = pd.DataFrame({"digest": first, "first": np.arange(len(first))})
    two = pd.DataFrame({"digest": second, "second": np.arange(len(second))})
    if within:  # unique files have no duplicate
        one = one[one["digest"].duplicated(keep=False)]
    one = one[(one["digest"] != "") & ~_one_of_many(one["digest"])]
    equal = one.merge(two, on="digest")[["first", "second"]]
    return equal[equal["first"] < equal["second"]] if within else equal


def _one_of_many(digests: pd.Series) -> pd.Series:
    """Whether a row equals an earlier one, and more than MANY_EQUAL rows are equal to it."""
    stated = digests != ""
    return stated & digests.duplicated() & digests.map(digests.value_counts()).gt(MANY_EQUAL)


def _near(
    candidates: Iterator[Candidates], of_first: Reader, of_second: Reader, orientation: int, min_correlation: float
) -> pd.DataFrame:
    parts = []
    for one, two, distance in candidates:
        correlation = np.einsum("nij,nij->n", turn(of_first(one), orientation), of_second(two))
        upright = np.where(distance <= CLOSE_HAMMING, min(CLOSE_CORRELATION, min_correlation), min_correlation)
        same = correlation >= (TURNED_CORRELATION if orientation else upright)
        rows = {"first": one, "second": two, "distance": distance, "correlation": correlation.astype(np.float64)}
        parts.append(pd.DataFrame(rows)[same])
    empty = pd.DataFrame({"first": [], "second": [], "distance": [], "correlation": []}, dtype=np.int64)
    return pd.concat([empty.astype({"correlation": np.float64}), *parts]).assign(turned=orientation > 0)


def _every_pair(first: Fingerprints, second: Fingerprints, orientation: int, within: bool) -> Iterator[Candidates]:
    """Every pair whose hashes are close, in one of the first set's orientations."""
    for start in range(0, len(first.files), BLOCK):
        offset = start if within else 0
        turned = first.hashes[orientation, start : start + BLOCK, np.newaxis]
        distances = np.bitwise_count(turned ^ second.hashes[0, offset:])
        one, two = np.nonzero(distances <= HAMMING)
        distance = distances[one, two].astype(np.int64)
        one, two = one + start, two + offset
        if within:
            later = one < two
            one, two, distance = one[later], two[later], distance[later]
        yield one, two, distance


def _neighbours(first: Fingerprints, second: Fingerprints, orientation: int, within: bool) -> Iterator[Candidates]:
    """As `_every_pair`, of neighbours in sorted order only."""
    rows, others = len(first.files), len(second.files)
    used = np.ones((SIGNED, SIGNED), dtype=bool)
    used[:HASHED, :HASHED] = False
    signs = np.concatenate([_turned(first.signs, orientation)[:, used], second.signs[:, used]])
    hashes = np.concatenate([first.hashes[orientation], second.hashes[0]])
    packed = np.ascontiguousarray(np.packbits(signs, axis=1)).view(np.uint64)
    generator = np.random.default_rng(0)
    pairs_of_rows = np.empty(0, dtype=np.int64)
    for _ in range(TABLES):
        chosen = generator.choice(signs.shape[1], KEY_BITS, replace=False)
        order = np.argsort(signs[:, chosen] @ (1 << np.arange(KEY_BITS)), kind="stable")
        for step in range(1, WINDOW + 1):
            low, high = np.minimum(order[:-step], order[step:]), np.maximum(order[:-step], order[step:])
            keep = (low < rows) & (high >= rows)
            if within:
                keep &= low < high - rows
            low, high = low[keep], high[keep]
            near = np.bitwise_count(hashes[low] ^ hashes[high]) <= HAMMING
            low, high = low[near], high[near]
            alike = np.bitwise_count(packed[low] ^ packed[high]).sum(axis=1) <= DIFFERENT_SIGNS
            pairs_of_rows = np.union1d(pairs_of_rows, low[alike] * others + high[alike] - rows)
    one, two = np.divmod(pairs_of_rows, others)
    yield one, two, np.bitwise_count(hashes[one] ^ hashes[two + rows]).astype(np.int64)


def _turned(signs: np.ndarray, orientation: int) -> np.ndarray:
    """The signs of the coefficients [n, k, k] of the image in one of its orientations, see `turn`."""
    odd = np.arange(signs.shape[-1]) % 2 == 1
    if orientation & 4:
        signs = signs.swapaxes(-1, -2)
    if orientation & 2:
        signs = signs ^ odd[:, np.newaxis]
    if orientation & 1:
        signs = signs ^ odd
    return signs


def _reader(prints: Fingerprints, few: bool) -> Reader:
    """A function from rows to their details: for few images they are kept in memory, for many they are recomputed."""
    if few:
        details = _details(prints.greys)
        return lambda rows: details[rows]

    def of_rows(rows: np.ndarray) -> np.ndarray:
        distinct, inverse = np.unique(rows, return_inverse=True)
        return _details(prints.greys[distinct])[inverse]

    return of_rows
