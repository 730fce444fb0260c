"""Latency of exported networks in onnxruntime, in every form that CUDA offers, side by side.

    python benchmarks/cuda_forms.py RUN… --batch 1,16 --seconds 10 --json forms.json

The forms are those of a row's `got`, each on and off, and one that the product does not use: NumPy
arrays passed to `run`. Of each: the median latency, and the largest change of a probability against
plain fp32. Forms of one network and batch are interleaved. Without CUDA the two forms that exist on
a CPU are timed, and the others say why not.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from brainseg.benchmark.timing import time_rounds
from brainseg.data.parts import read_test, to_input
from brainseg.environment import physical_cores
from brainseg.files import write_json
from brainseg.run import Run
from brainseg.runtime.cuda import BoundNetwork, Form, require_cuda
from brainseg.runtime.onnxruntime import open_inference
from brainseg.vocabulary import DEVICES

Images = NDArray[np.float32]

PLAIN, BOUND, GRAPH, RESIDENT = "plain", "IO binding", "CUDA graph", "CUDA graph, no copies"
TRANSPORTS = (PLAIN, BOUND, GRAPH, RESIDENT)
"""NumPy in and out; buffers on the device; one launch per pass; likewise, from what is on the
device to what stays there."""

WARMUP, ROUNDS = 5, 300


ARITHMETICS = tuple(
    (mode, tf32, nhwc)
    for mode in ("fp32", "fp16")
    for tf32 in (False, True)
    for nhwc in (False, True)
)
"""In what a file is computed: its mode; TF32, for what is in 32 bits; channels last. The first is
the reference."""

Pass = Callable[[Images], Any]


def open_network(path: Path, device: str, form: Form, images: Images) -> BoundNetwork | str:
    """A network in this form after its first pass, or why there is none."""
    if device == "cpu" and (form.tf32 or form.nhwc or form.graph):
        return "needs CUDA"
    on_cuda = form if device == "cuda" else None
    try:
        inference = open_inference(path, physical_cores(), on_cuda)
        network = BoundNetwork(inference, form.graph, device)
        network.predict(images)
    except Exception as error:  # onnxruntime's errors have no base class of their own
        return str(error)
    return network


def open_passes(
    path: Path, device: str, tf32: bool, nhwc: bool, images: Images
) -> tuple[dict[str, Pass], str | None]:
    """The passes of a file by `TRANSPORTS`, and why some are missing."""
    passes: dict[str, Pass] = {}
    usual = open_network(path, device, Form(tf32, False, nhwc), images)
    if isinstance(usual, str):
        return passes, usual
    passes |= {PLAIN: plain(usual.inference), BOUND: usual.predict}
    captured = open_network(path, device, Form(tf32, True, nhwc), images)
    if isinstance(captured, str):
        return passes, captured
    passes |= {GRAPH: captured.predict, RESIDENT: lambda each: captured.repeat(len(each))}
    return passes, None


def plain(session: ort.InferenceSession) -> Pass:
    """NumPy in, NumPy out."""
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def until(seconds: float, rounds: int) -> Iterator[int]:
    """Up to `rounds` rounds, of which none starts after `seconds`."""
    end = time.monotonic() + seconds
    for number in range(rounds):
        if number and time.monotonic() > end:
            return
        yield number


def measure(run: Run, batch: int, device: str, seconds: float) -> list[dict[str, Any]]:
    """All forms of a run's network at one batch size, interleaved.

    Args:
        run: with the modes fp32 and fp16.
        batch: images per pass.
        device: one of `vocabulary.DEVICES`.
        seconds: after which no round of passes begins.

    Returns:
        A row for each of `ARITHMETICS`: by transport the median of a pass in ms, `change` (the
        largest absolute difference of a probability to plain fp32), and `reason` where a form is
        missing.
    """
    stored = to_input(read_test(run)["images"])
    images = [np.roll(stored, -step, 0)[np.arange(batch) % len(stored)] for step in range(4)]
    opened = [
        open_passes(run.onnx(mode), device, tf32, nhwc, images[0])
        for mode, tf32, nhwc in ARITHMETICS
    ]
    reference = opened[0][0][PLAIN]
    expected = [reference(each) for each in images]
    rows = [
        {
            **{"network": run.name, "batch": batch, "mode": mode, "tf32": tf32, "nhwc": nhwc},
            **dict.fromkeys(TRANSPORTS),
            "change": largest_change(passes, images, expected),
            "reason": reason,
        }
        for (mode, tf32, nhwc), (passes, reason) in zip(ARITHMETICS, opened, strict=True)
    ]
    ready = [passes for passes, _ in opened]
    calls = [lambda at, run=each: run(images[at]) for passes in ready for each in passes.values()]
    rng = np.random.default_rng(0)
    time_rounds(calls, until(seconds / 4, WARMUP), len(images), rng)
    times = time_rounds(calls, until(seconds, ROUNDS), len(images), rng)
    medians = iter(np.median(times, axis=1).tolist())
    for row, passes in zip(rows, ready, strict=True):
        row |= {transport: next(medians) for transport in passes}
    return rows


def largest_change(
    passes: dict[str, Pass], images: Sequence[Images], expected: Sequence[Images]
) -> float | None:
    """Of a probability, in any of the passes; those without copies show none."""
    changes = [
        float(np.abs(found(each) - of).max())
        for transport, found in passes.items()
        if transport != RESIDENT
        for each, of in zip(images, expected, strict=True)
    ]
    return max(changes, default=None)


def main() -> None:
    """Measure run by run, batch by batch; what is done is written at once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--batch", default="1,16", help="images per pass, comma-separated")
    parser.add_argument("--device", choices=DEVICES, default="cuda")
    parser.add_argument("--seconds", type=float, default=8, help="of timing, per run and batch")
    parser.add_argument("--json", type=Path, help="file to write")
    given = parser.parse_args()
    if given.device == "cuda":
        require_cuda()  # torch brings the libraries that onnxruntime then finds
    done: list[dict[str, Any]] = []
    for path in given.runs:
        for batch in map(int, given.batch.split(",")):
            rows = measure(Run(path), batch, given.device, given.seconds)
            for row in rows:
                told = {key: value for key, value in row.items() if value not in (None, False)}
                print(*(f"{key} {show(value)}," for key, value in told.items()))
            done += rows
            if given.json:
                write_json(given.json, done)


def show(value: Any) -> str:
    """A value of a row, in four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
