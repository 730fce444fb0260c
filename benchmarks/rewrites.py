"""What the rewrites of `brainseg.deploy.rewrites` change: errors, kernels and speed, in one run.

    python benchmarks/rewrites.py outputs/demo/*-seed0

For each run: the largest absolute difference of probabilities on test slices, of the export to the
checkpoint and of each rewrite to the export. For the first run also: operators and multiply-adds
by kind of kernel, file size, and time over fp32 (interleaved), of static quantization with none of
the rewrites, with each one more, and of dynamic quantization.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from brainseg.benchmark.timing import ratio, time_rounds
from brainseg.data.parts import read_test, read_val, to_input
from brainseg.deploy import static
from brainseg.deploy.calibration import choose_calibration
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.rewrites import (
    batch_norm_to_depthwise,
    reduce_to_global_pool,
    store_weights,
    transposed_to_convolution,
)
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.runtime.placement import find_placement
from brainseg.runtime.session import Session
from brainseg.terminal import quiet

Rewrite = Callable[[ModelProto], ModelProto]
EXACT: tuple[Rewrite, ...] = (
    batch_norm_to_depthwise,
    transposed_to_convolution,
    reduce_to_global_pool,
)


def open_model(model: ModelProto, folder: Path, name: str, runtime: str = "onnxruntime") -> Session:
    """Write a graph and open it."""
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return open_session(path, runtime=runtime)


def errors(run: Run, images: NDArray[np.float32], folder: Path) -> dict[str, float]:
    """Largest absolute difference of probabilities, by what was changed."""
    model = onnx.load(run.onnx("fp32"))
    reference = open_session(run.onnx("fp32"))
    exact = reference.run(images)
    changed = {rewrite.__name__: rewrite(model) for rewrite in EXACT}
    changed["store_weights"] = store_weights(model)
    changed["store_weights, per channel"] = store_weights(model, per_channel=True)
    found = {"export": float(reference.metadata["parity"])}
    for name, graph in changed.items():
        output = open_model(graph, folder, "changed").run(images)
        found[name] = float(np.abs(output - exact).max())
    return found


def stages(run: Run) -> dict[str, ModelProto]:
    """Static quantization with none of the rewrites, with each one more, and the other modes."""
    val, model = read_val(run), onnx.load(run.onnx("fp32"))
    _, images = choose_calibration(val, 16, seed=0)
    graphs = {"fp32": model, "int8_dynamic": onnx.load(run.onnx("int8_dynamic"))}
    for number in range(len(EXACT) + 1):
        with tempfile.TemporaryDirectory() as folder, quiet():
            rewrites, static.REWRITES = static.REWRITES, EXACT[:number]
            rewritten = static.rewrite(model)
            static.REWRITES = rewrites
            ranges = Path(folder) / "ranges.json"
            calibrate(rewritten, to_input(images), "minmax", ranges)
            name = "int8_static" + (f" + {EXACT[number - 1].__name__}" if number else "")
            graphs[name] = static.quantize_graph(rewritten, ranges)
    return graphs


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--passes", type=int, default=100)
    given = parser.parse_args()
    runs = [Run(path) for path in given.runs]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for run in runs:
            images = to_input(read_test(run)["images"][: given.images])
            print(run.path, *(f"{k} {v:.1e}" for k, v in errors(run, images, folder).items()))
        images = to_input(read_test(runs[0])["images"][:1])
        print(f"\n{runs[0].path}: kernels in onnxruntime on the CPU, size and speed over fp32")
        sessions = {}
        for number, (stage, graph) in enumerate(stages(runs[0]).items()):
            for runtime in ("onnxruntime", "openvino"):
                if stage != "int8_dynamic" or runtime == "onnxruntime":
                    session = open_model(graph, folder, f"{number}", runtime)
                    sessions[stage, runtime] = session
            kernels = find_placement(sessions[stage, "onnxruntime"])["kernels"]
            size = (folder / f"{number}.onnx").stat().st_size / runs[0].onnx("fp32").stat().st_size
            print(
                f"  {stage:44} {size:6.1%}",
                *(
                    f"{kind}: {found['nodes']} nodes, {found['multiply_adds_share']:.1%} of work;"
                    for kind, found in sorted(kernels.items())
                ),
            )
        rng = np.random.default_rng(0)
        passes = [lambda i, s=session: s.run(images) for session in sessions.values()]
        time_rounds(passes, range(5), 1, rng)
        times = time_rounds(passes, range(given.passes), 1, rng)
        for (stage, runtime), milliseconds in zip(sessions, times, strict=True):
            speed, (low, high) = ratio(times[0], milliseconds, rng)
            print(f"  {stage:44} {runtime:12} {speed:.2f}× ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
