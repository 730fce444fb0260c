"""The range of every activation, from what it does on calibration images.

All methods but `minmax` look twice: at the extremes, then at a histogram between them, so that no
bin and no level is wasted after a ReLU. (onnxruntime's own histograms are symmetric about zero, and
its `entropy`, with 128 bins for 128 levels, has hardly a choice but to keep everything.)
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator, save_tensors_data

from brainseg.deploy.calibration import Batches
from brainseg.deploy.static import OPERATORS
from brainseg.terminal import bar, quiet

Floats = NDArray[np.float64]
Range = tuple[float, float]
"""The lowest and the highest value that 8 bits express; zero lies between them."""

LEVELS = 256
BINS = 2048

PERCENTILE = 99.99
"""Of the values that are kept; as many are cut off below as above."""

STEP = BINS // 128
"""Bins between two ends that `least_divergence` compares."""

RARELY = 1e-4
"""Stands for no value at all where a logarithm is taken."""

CHUNK = 8
"""Calibration images whose activations are held in memory together."""


def calibrate(model: ModelProto, images: NDArray[np.float32], method: str, ranges: Path) -> None:
    """Measure the range of every activation and write it to `ranges` (JSON).

    Args:
        model: from `static.rewrite`.
        images: N×1×H×W in [0, 1].
        method: `minmax`, or a key of `METHODS`.
        ranges: file to write, for `static.insert_qdq`.
    """
    found = observe(model, images)
    if method != "minmax":
        histograms = Histograms({name: data.range_value for name, data in found.items()})
        observe(model, images, histograms)
        found = TensorsData(CalibrationMethod.MinMax, histograms.choose(METHODS[method]))
    save_tensors_data(found, ranges)


class Collector(Protocol):
    """What looks at activations, in the place of onnxruntime's own collectors."""

    def collect(self, name_to_arr: Mapping[str, list[NDArray[np.float32]]]) -> None:
        """Look at activations, each given image by image."""


@quiet()
def observe(
    model: ModelProto, images: NDArray[np.float32], collector: Collector | None = None
) -> Any:
    """Run calibration images through a network and show its activations to `collector`.

    Returns:
        Without a collector: the extremes of each activation, onnxruntime's `TensorsData`.
    """
    kind = CalibrationMethod.Percentile if collector else CalibrationMethod.MinMax
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        onnx.save(model, source)
        calibrator = create_calibrator(
            source,
            list(OPERATORS),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=kind,
        )
        calibrator.collector = collector
        for start in bar(range(0, len(images), CHUNK), "Calibrating"):
            calibrator.collect_data(Batches(images[start : start + CHUNK]))
        return None if collector else calibrator.compute_data()


class Histograms:
    """Counts the values of each tensor.

    Zeros are not counted: 8 bits express them exactly, whatever the range.

    Args:
        extremes: of each tensor, arrays of one number.
    """

    def __init__(self, extremes: Mapping[str, tuple[NDArray, NDArray]]) -> None:
        self._edges = {
            name: np.linspace(min(low.item(), 0), max(high.item(), 0), BINS + 1)
            for name, (low, high) in extremes.items()
        }
        self._counts = {name: np.zeros(BINS) for name in extremes}

    def collect(self, name_to_arr: Mapping[str, list[NDArray[np.float32]]]) -> None:
        """Add the values of tensors, each given image by image."""
        for name, arrays in name_to_arr.items():
            ends = self._edges[name][[0, -1]]
            for array in arrays:
                self._counts[name] += np.histogram(array[array != 0], BINS, tuple(ends))[0]

    def choose(self, method: Callable[[Floats, Floats], Range]) -> dict[str, Any]:
        """The range of each tensor; where all values are zero, that of the extremes."""
        chosen = {}
        for name, counts in self._counts.items():
            edges = self._edges[name]
            ends = method(counts, edges) if counts.any() else edges[[0, -1]]
            chosen[name] = tuple(np.array(end, np.float32) for end in ends)
        return chosen


def most_values(counts: Floats, edges: Floats) -> Range:
    """The range of `PERCENTILE` of the values.

    Args:
        counts: values in each bin, N.
        edges: of the bins, N + 1; the first is at most 0, the last at least 0.
    """
    cut = (1 - PERCENTILE / 100) / 2
    shares = np.cumsum(counts) / counts.sum()
    low = edges[np.searchsorted(shares, cut, side="right")]
    high = edges[np.searchsorted(shares, 1 - cut) + 1]
    return min(low, 0.0), max(high, 0.0)


def least_error(counts: Floats, edges: Floats) -> Range:
    """The range with the least expected squared error, of all pairs of edges.

    The error is the squared distance of what is clipped, and a twelfth of the squared step for what
    is rounded (Banner et al., ACIQ, arXiv:1810.05723, section 3: here with the counts in place of a
    Gaussian or Laplacian density). See `most_values` for the arguments.
    """
    centres = (edges[:-1] + edges[1:]) / 2
    before = [np.append(0, np.cumsum(counts * centres**power)) for power in range(3)]
    after = [moment[-1] - moment for moment in before]
    below, above = (m2 - 2 * edges * m1 + edges**2 * m0 for m0, m1, m2 in (before, after))
    lows, highs = np.flatnonzero(edges <= 0)[:, None], np.flatnonzero(edges >= 0)
    step = (edges[highs] - edges[lows]) / (LEVELS - 1)
    inside = before[0][highs] - before[0][lows]
    error = below[lows] + above[highs] + inside * step**2 / 12
    low, high = np.unravel_index(error.argmin(), error.shape)
    return float(edges[lows[low, 0]]), float(edges[highs[high]])


def least_divergence(counts: Floats, edges: Floats) -> Range:
    """The range whose levels say most of the distribution (Kullback-Leibler, as in TensorRT).

    Migacz, "8-bit inference with TensorRT", GTC 2017; here both ends are free and searched in turn
    until neither moves. See `most_values` for the arguments.
    """
    bins = len(counts)
    lows = range(0, np.flatnonzero(edges <= 0)[-1] + 1, STEP)
    highs = range(bins, np.flatnonzero(edges >= 0)[0] - 1, -STEP)
    low, high = 0, bins
    while True:
        before = low, high
        starts = [low for low in lows if high - low >= LEVELS]
        low = min(starts, key=lambda low: divergence(counts, low, high))
        stops = [high for high in highs if high - low >= LEVELS]
        high = min(stops, key=lambda high: divergence(counts, low, high))
        if before == (low, high):
            return edges[low], edges[high]


def divergence(counts: Floats, low: int, high: int) -> float:
    """Of the bins from `low` to `high`, in `LEVELS` levels, from all values clipped to them.

    Less what the noise of the counts gives by itself: one half of a value for each bin that is not
    a level of its own (Miller, 1955). Without that, few values are cut to the narrowest range.
    """
    inside = counts[low:high]
    clipped = inside.copy()
    clipped[0] += counts[:low].sum()
    clipped[-1] += counts[high:].sum()
    there = clipped > 0
    level = np.arange(len(inside)) * LEVELS // len(inside)
    filled = np.bincount(level, there)
    kept = np.bincount(level, inside)[level] / np.maximum(filled[level], 1)
    p, q = clipped[there], np.maximum(kept[there], RARELY)
    noise = (np.count_nonzero(there) - np.count_nonzero(filled)) / 2
    return float((p @ np.log((p / p.sum()) / (q / q.sum())) - noise) / p.sum())


METHODS: dict[str, Callable[[Floats, Floats], Range]] = {
    "percentile": most_values,
    "entropy": least_divergence,
    "mse": least_error,
}
"""Name → how a range is chosen from a histogram; `minmax`, which needs none, is the other one."""
