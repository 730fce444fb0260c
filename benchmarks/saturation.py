"""What 8, 7 and mixed bits of weights lose on x86 without VNNI, where sums of products saturate.

    python benchmarks/saturation.py RUN… [--images N]

Simulated; and emulated where `qemu-x86_64` is installed (Debian: qemu-user), which runs onnxruntime
on a Haswell: AVX2 and no VNNI. The loss is against fp32, on validation images that did not
calibrate.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from brainseg.data.parts import read_val, to_input
from brainseg.deploy.calibration import choose_calibration
from brainseg.deploy.ranges import calibrate
from brainseg.deploy.saturation import predict_saturated, weights_of_seven
from brainseg.deploy.static import insert_qdq, rewrite
from brainseg.evaluation.cases import THRESHOLD, to_uint8
from brainseg.evaluation.metrics import confusion, mean_iou
from brainseg.run import Run
from brainseg.runtime.open import open_session

EMULATOR = ("qemu-x86_64", "-cpu", "Haswell")
CALIBRATION = 64

PREDICT = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.log_severity_level = 1, 4
network = onnxruntime.InferenceSession(
    sys.argv[1], options, disabled_optimizers=["WeightBiasQuantization"]
)
images = numpy.load(sys.argv[2])
found = [network.run(None, {"image": images[i : i + 1]})[0] for i in range(len(images))]
numpy.save(sys.argv[3], numpy.concatenate(found))
"""
"""Without brainseg and torch, which take minutes to import in an emulator."""


def predict(model: ModelProto, images: NDArray[np.float32], folder: Path) -> NDArray[np.float32]:
    """Probabilities on this CPU."""
    onnx.save(model, folder / "model.onnx")
    session = open_session(folder / "model.onnx")
    return np.concatenate([session.run(images[i : i + 1]) for i in range(len(images))])


def emulate(model: ModelProto, images: NDArray[np.float32], folder: Path) -> NDArray[np.float32]:
    """Probabilities on a CPU with AVX2 and no VNNI."""
    onnx.save(model, folder / "model.onnx")
    np.save(folder / "images.npy", images)
    files = (folder / name for name in ("model.onnx", "images.npy", "found.npy"))
    subprocess.run(
        [*EMULATOR, sys.executable, "-c", PREDICT, *map(str, files)],
        check=True,
        stderr=subprocess.DEVNULL,  # features of a Haswell that the emulator lacks
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return np.load(folder / "found.npy")


def describe(found: NDArray, exact: NDArray, masks: NDArray) -> str:
    """Loss of mean IoU, mean absolute change of probability, share of pixels that change sides."""
    sides = [to_uint8(each[:, 0]) >= THRESHOLD for each in (exact, found)]
    scores = [mean_iou(confusion(each, masks)) or 0 for each in sides]
    changed = np.mean(sides[0] != sides[1])
    return f"{scores[0] - scores[1]:+.4f}  {np.abs(found - exact).mean():.2e}  {changed:.2e}"


def measure(run: Run, number: int, folder: Path) -> None:
    """Print the rows of a run."""
    val = read_val(run)
    ids, images = choose_calibration(val, CALIBRATION, seed=0)
    others = np.flatnonzero(~np.isin(val["ids"], ids))
    rows = others[np.linspace(0, len(others) - 1, min(number, len(others))).astype(int)]
    shown, masks, inputs = to_input(val["images"][rows]), val["masks"][rows] > 0, to_input(images)
    model, ranges = rewrite(onnx.load(run.onnx("fp32"))), folder / "ranges.json"
    calibrate(model, inputs, "minmax", ranges)
    exact = predict(model, shown, folder)
    for bits in ("8", "7", "mixed"):
        seven = weights_of_seven(bits, model, ranges, inputs)
        quantized = insert_qdq(model, ranges, seven=seven)
        found = {
            "this CPU": predict(quantized, shown, folder),
            "simulated": predict_saturated(quantized, shown),
        }
        if shutil.which(EMULATOR[0]):
            found["emulated"] = emulate(quantized, shown, folder)
        for where, probabilities in found.items():
            print(f"{bits:5}  {len(seven):3}  {where:9}  {describe(probabilities, exact, masks)}")


def main() -> None:
    """Print a table for each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=64)
    given = parser.parse_args()
    for path in given.runs:
        print(f"{path}: bits, layers with 7, where, loss of mean IoU, |Δp|, pixels that change")
        with tempfile.TemporaryDirectory() as folder:
            measure(Run(path), given.images, Path(folder))


if __name__ == "__main__":
    main()
