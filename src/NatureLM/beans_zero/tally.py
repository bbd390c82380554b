"""Sums over rows from which metrics follow, and their intervals by resampling the rows.

A metric of a whole file is a function of a few sums over its rows, such as how often each label was right.
Rows that add the same to every sum are of one kind; a resample of the rows is then a count of each kind, and
a thousand of them take a second or two for a hundred thousand rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt

__all__ = ["RESAMPLES", "FloatArray", "IntArray", "Measure", "Tally"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Measure = Callable[[FloatArray, int], Mapping[str, FloatArray]]
"""Makes metrics, each of shape (samples,), of sums, shape (samples, width), and a number of rows."""

RESAMPLES = 1000
TAILS = (0.025, 0.975)
"""Of the 95 % percentile interval (Efron and Tibshirani 1993, *An Introduction to the Bootstrap*)."""

_BLOCK = 4_000_000
"""Numbers held at a time."""


@dataclass(frozen=True)
class Tally:
    """What the rows add to the sums, and the metrics that follow from the sums.

    Attributes
    ----------
    kinds : array of int, shape (rows,)
        Each row's kind.
    columns : array of int, shape (entries,)
        The sum that an entry adds to.
    entries : array of int, shape (entries,)
        The kind that an entry belongs to.
    values : array of float, shape (entries,)
        What a row of that kind adds to that sum.
    measure : callable
        Makes metrics of sums.
    width : int
        Number of sums.
    """

    kinds: IntArray
    columns: IntArray
    entries: IntArray
    values: FloatArray
    measure: Measure
    width: int

    def metrics(self) -> dict[str, float]:
        """Return the metrics of the rows as they are."""
        counts = np.bincount(self.kinds)[None].astype(float)
        measured = self.measure(self._sums(counts), len(self.kinds))
        return {name: float(values[0]) for name, values in measured.items()}

    def intervals(
        self, name: str, resamples: int = RESAMPLES, seed: int = 0
    ) -> dict[str, tuple[float, float]]:
        """Return the 95 % bootstrap interval of each metric.

        Parameters
        ----------
        name : str
            Of the component: each draws its own numbers, whatever else is in the file.
        resamples : int
        seed : int
        """
        rng = np.random.default_rng([seed, crc32(name.encode())])
        rows, width = len(self.kinds), int(self.kinds.max()) + 1
        step = max(1, _BLOCK // max(width, len(self.entries)))
        drawn: dict[str, list[FloatArray]] = {}
        for start in range(0, resamples, step):
            counts = np.empty((min(step, resamples - start), width))
            for sample in counts:
                sample[:] = np.bincount(self.kinds[rng.integers(0, rows, rows)], minlength=width)
            for metric, values in self.measure(self._sums(counts), rows).items():
                drawn.setdefault(metric, []).append(values)
        quantiles = {metric: np.nanquantile(np.concatenate(all_), TAILS) for metric, all_ in drawn.items()}
        return {metric: (float(low), float(high)) for metric, (low, high) in quantiles.items()}

    def _sums(self, counts: FloatArray) -> FloatArray:
        """Return the sums, shape (samples, width), for counts of kinds, shape (samples, kinds)."""
        sums = np.zeros((len(counts), self.width))
        order = np.argsort(self.columns, kind="stable")
        there, starts = np.unique(self.columns[order], return_index=True)
        if len(there):
            added = counts[:, self.entries[order]] * self.values[order]
            sums[:, there] = np.add.reduceat(added, starts, axis=1)
        return sums
