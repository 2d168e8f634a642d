"""Boosted decision trees as plain arrays: their logits, and how much each feature contributed to them.

scikit-learn trains them (`train.publish.features`); here they need only NumPy, and give the same numbers.
"""

import functools
import io
import zipfile
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

NOT_TREES = "contains no decision trees; fetch the folder again"


@dataclass(frozen=True, eq=False)
class Trees:
    """The trees of all classes, their nodes one after another.

    names [F] of the features; roots [T], the first node of each tree; columns [T], the raw score that each tree adds
    to; feature [N], the feature that a node looks at, -1 for a leaf; threshold [N], up to which a value goes left;
    missing_left [N], whether a missing value goes left; left, right [N], the next node, always a later one; value [N]
    of a leaf; count [N], the training images that reached a node; baseline [C] of the raw scores; mix [C, K] and offset
    [K], which turn them into logits.
    """

    names: np.ndarray
    roots: np.ndarray
    columns: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    count: np.ndarray
    baseline: np.ndarray
    mix: np.ndarray
    offset: np.ndarray

    def raw(self, row: np.ndarray) -> np.ndarray:
        """The raw scores, float64 [C], of features [F], NaN where missing: what scikit-learn's `decision_function`
        gives, to the last bit."""
        left, node = self._goes_left(row), self.roots
        while (inner := self.feature[node] >= 0).any():
            node = np.where(inner, np.where(left[node], self.left[node], self.right[node]), node)
        # added one after another, as scikit-learn does
        return np.array(
            [
                np.cumsum(np.concatenate([[start], self.value[node[self.columns == column]]]))[-1]
                for column, start in enumerate(self.baseline)
            ]
        )

    def logits(self, row: np.ndarray) -> np.ndarray:
        """The logits, float64 [K], of features [F], NaN where missing."""
        return self.raw(row) @ self.mix + self.offset

    def contributions(self, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The contribution of each feature to each logit, float64 [F, K], and the mean logits [K]; together they add up
        to the logits.

        These are the Shapley values of TreeSHAP, where an unknown feature follows both branches of a node as the
        training images did (path-dependent; Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9). A leaf adds to each
        feature j on its path its value times (o_j - z_j) times the integral, over t from 0 to 1, of the product of z_k
        (1 - t) + o_k t over the other features k of the path: o is 1 if the row's value leads to the leaf and 0
        otherwise, and z is the share of training images that it leads there. The product is a polynomial in t, so
        Gauss-Legendre quadrature is exact.
        """
        paths = self._paths
        taken = np.ones_like(paths.shares)
        follows = self._goes_left(row)[paths.nodes] == paths.lefts
        np.minimum.at(taken, (paths.leaves, paths.slots), follows)
        depth = paths.features.shape[1]
        points, weights = np.polynomial.legendre.leggauss(depth // 2 + 1)
        points, weights = (points + 1) / 2, weights / 2
        factors = paths.shares[..., None] * (1 - points) + taken[..., None] * points
        one = np.ones_like(factors[:, :1])
        before = np.cumprod(np.concatenate([one, factors[:, :-1]], axis=1), axis=1)
        after = np.cumprod(np.concatenate([one, factors[:, :0:-1]], axis=1), axis=1)[:, ::-1]
        added = paths.values[:, None] * (taken - paths.shares) * ((before * after) @ weights)
        raw = np.zeros((len(self.names), len(self.baseline)))
        used = paths.features >= 0
        np.add.at(raw, (paths.features[used], np.broadcast_to(paths.columns[:, None], used.shape)[used]), added[used])
        mean = self.baseline + np.bincount(
            paths.columns, paths.values * paths.shares.prod(axis=1), minlength=len(self.baseline)
        )
        return raw @ self.mix, mean @ self.mix + self.offset

    def _goes_left(self, row: np.ndarray) -> np.ndarray:
        """Whether the row goes left at each node [N]."""
        values = row[self.feature]
        return np.where(np.isnan(values), self.missing_left, values <= self.threshold)

    @functools.cached_property
    def _paths(self) -> "_Paths":
        inner = np.flatnonzero(self.feature >= 0)
        parent = np.full(len(self.feature), -1)
        parent[self.left[inner]] = parent[self.right[inner]] = inner
        leaves = np.flatnonzero(self.feature < 0)
        steps: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # leaf, its node on this step, and the node above
        rows, node = np.arange(len(leaves)), leaves
        while len(rows := rows[parent[node] >= 0]):
            node = node[parent[node] >= 0]
            steps.append((rows, node, parent[node]))
            node = parent[node]
        features = np.full((len(leaves), max(len(steps), 1)), -1)
        shares, slots = np.ones(features.shape), []
        for rows, node, above in steps:
            # a feature that a path uses twice has a single slot
            same = features[rows] == self.feature[above][:, None]
            slot = np.where(same.any(axis=1), same.argmax(axis=1), (features[rows] < 0).argmax(axis=1))
            features[rows, slot] = self.feature[above]
            shares[rows, slot] *= self.count[node] / self.count[above]
            slots.append(slot)
        tree = np.searchsorted(self.roots, leaves, side="right") - 1

        def joined(arrays: list[np.ndarray]) -> np.ndarray:
            return np.concatenate([np.empty(0, int), *arrays])

        above = joined([above for _, _, above in steps])
        return _Paths(
            features,
            shares,
            self.value[leaves],
            self.columns[tree],
            joined([rows for rows, _, _ in steps]),
            joined(slots),
            above,
            self.left[above] == joined([node for _, node, _ in steps]),
        )


@dataclass(frozen=True, eq=False)
class _Paths:
    """The paths to the leaves: for each leaf [L], the features that lead to it [L, D], -1 in unused slots, the share of
    training images that each leads to it [L, D], its value [L] and its column [L]; and for each of S steps, its leaf,
    the slot of its feature, its node, and whether the path goes left there."""

    features: np.ndarray
    shares: np.ndarray
    values: np.ndarray
    columns: np.ndarray
    leaves: np.ndarray
    slots: np.ndarray
    nodes: np.ndarray
    lefts: np.ndarray


def save(trees: Trees) -> bytes:
    """The content of a file of plain arrays."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {field.name: getattr(trees, field.name) for field in fields(Trees)}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def load(content: bytes) -> Trees:
    """The trees in the content of a file that `save` made. Nothing in it is executed. ValueError if it is not such a
    file, or a node points to an earlier one or out of the file."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            trees = Trees(**{field.name: arrays[field.name] for field in fields(Trees)})
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{NOT_TREES} ({error})") from None
    nodes, positions = len(trees.feature), np.arange(len(trees.feature))
    inner = trees.feature >= 0
    forward = all(
        ((next_ > positions) & (next_ < nodes))[inner].all() if next_.shape == positions.shape else False
        for next_ in (trees.left, trees.right)
    )
    columns = len(trees.baseline)
    same = all(len(one) == nodes for one in (trees.threshold, trees.missing_left, trees.value, trees.count))
    if not (
        forward
        and same
        and nodes
        and trees.feature.max() < len(trees.names)
        and trees.roots.shape == trees.columns.shape
        and ((trees.roots >= 0) & (trees.roots < nodes)).all()
        and ((trees.columns >= 0) & (trees.columns < columns)).all()
        and trees.mix.shape == (columns, len(trees.offset))
    ):
        raise ValueError(NOT_TREES)
    return trees
