"""Latency of exported networks in onnxruntime, in every form that CUDA offers, side by side.

    python benchmarks/cuda_forms.py RUN… --batch 1,16 --seconds 10 --json forms.json

The forms are those of a row's `got`, each on and off, and two that the product does not use: NumPy
arrays passed to `run`, and a pass over what is already on the device. Of each: the median latency,
and the largest change of a probability against plain fp32. Forms of one network and batch are
interleaved. Without CUDA the two forms that exist on a CPU are timed, and the others say why not.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
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
from brainseg.vocabulary import DEVICES

Images = NDArray[np.float32]

PLAIN, BOUND, GRAPH, RESIDENT = "plain", "IO binding", "CUDA graph", "CUDA graph, no copies"
TRANSPORTS = (PLAIN, BOUND, GRAPH, RESIDENT)
"""NumPy in and out; buffers on the device, bound once; one launch per pass; likewise, from what is
on the device to what stays there."""

WARMUP, ROUNDS = 5, 300


@dataclass(frozen=True)
class Arithmetic:
    """In what a file is computed: `mode` is fp32 or fp16, TF32 for what is in 32 bits."""

    mode: str
    tf32: bool = False
    nhwc: bool = False

    @property
    def name(self) -> str:
        """As in tables."""
        tf32 = "TF32" if self.tf32 else "TF32 off"
        return f"{self.mode}, {tf32}{', NHWC' if self.nhwc else ''}"


ARITHMETICS = (
    Arithmetic("fp32"),
    Arithmetic("fp32", nhwc=True),
    Arithmetic("fp32", tf32=True),
    Arithmetic("fp32", tf32=True, nhwc=True),
    Arithmetic("fp16"),
    Arithmetic("fp16", tf32=True),
    Arithmetic("fp16", tf32=True, nhwc=True),
)
"""The first is the reference."""


Pass = Callable[[Images], Any]


@dataclass(frozen=True)
class Form:
    """A row of the table; what was not measured is `None`, and `reason` says why.

    Attributes:
        median_ms: of a pass, which is a whole batch.
        change: largest absolute difference of a probability to plain fp32.
    """

    network: str
    batch: int
    arithmetic: str
    transport: str
    median_ms: float | None = None
    change: float | None = None
    reason: str | None = None


class Bound:
    """A session whose input and output have fixed places on the device."""

    def __init__(self, session: ort.InferenceSession, device: str, images: Images) -> None:
        self._session, self._name = session, session.get_inputs()[0].name
        self._input, self._output = (  # probabilities have the shape of images
            ort.OrtValue.ortvalue_from_numpy(images, device) for _ in range(2)
        )
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(self._name, self._input)
        self._binding.bind_ortvalue_output(session.get_outputs()[0].name, self._output)

    def plain(self, images: Images) -> Images:
        """Run without those places."""
        return self._session.run(None, {self._name: images})[0]

    def bound(self, images: Images) -> Images:
        """Copy the images there, run, copy the probabilities back."""
        self._input.update_inplace(images)
        self.resident(images)
        return self._output.numpy()

    def resident(self, _: Images) -> None:
        """Run on what is there."""
        self._session.run_with_iobinding(self._binding)


def open_bound(
    path: Path, device: str, arithmetic: Arithmetic, images: Images, *, graph: bool
) -> Bound | str:
    """A session in this form after its first pass, or why there is none."""
    if device == "cpu" and (arithmetic.tf32 or arithmetic.nhwc or graph):
        return "needs CUDA"
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = physical_cores()
    given = {
        "use_tf32": int(arithmetic.tf32),
        "prefer_nhwc": int(arithmetic.nhwc),
        "enable_cuda_graph": int(graph),  # refused where CUDA lacks one of the nodes
    }
    on_cuda = [("CUDAExecutionProvider", given)] if device == "cuda" else []
    try:
        session = ort.InferenceSession(
            path, options, [*on_cuda, "CPUExecutionProvider"], enable_fallback=0
        )
        opened = Bound(session, device, images)
        opened.bound(images)
    except Exception as error:  # onnxruntime's errors have no base class of their own
        return str(error)
    return opened


def open_passes(
    path: Path, device: str, arithmetic: Arithmetic, images: Images
) -> dict[str, Pass | str]:
    """The passes of a file by `TRANSPORTS`; a string says why there is none."""
    usual, captured = (
        open_bound(path, device, arithmetic, images, graph=graph) for graph in (False, True)
    )
    return {
        PLAIN: usual if isinstance(usual, str) else usual.plain,
        BOUND: usual if isinstance(usual, str) else usual.bound,
        GRAPH: captured if isinstance(captured, str) else captured.bound,
        RESIDENT: captured if isinstance(captured, str) else captured.resident,
    }


def until(seconds: float, rounds: int) -> Iterator[int]:
    """Up to `rounds` rounds, of which none starts after `seconds`."""
    end = time.monotonic() + seconds
    for number in range(rounds):
        if number and time.monotonic() > end:
            return
        yield number


def measure(run: Run, batch: int, device: str, seconds: float) -> list[Form]:
    """All forms of a run's network at one batch size, interleaved.

    Args:
        run: with the modes fp32 and fp16.
        batch: images per pass.
        device: one of `vocabulary.DEVICES`.
        seconds: after which no round of passes begins.
    """
    stored = to_input(read_test(run)["images"])
    images = [np.roll(stored, -step, 0)[np.arange(batch) % len(stored)] for step in range(4)]
    passes = {
        (arithmetic.name, transport): found
        for arithmetic in ARITHMETICS
        for transport, found in open_passes(
            run.onnx(arithmetic.mode), device, arithmetic, images[0]
        ).items()
    }
    ready = {key: found for key, found in passes.items() if not isinstance(found, str)}
    changes = find_changes(ready, images)
    calls = [lambda index, run=found: run(images[index]) for found in ready.values()]
    rng = np.random.default_rng(0)
    time_rounds(calls, until(seconds / 4, WARMUP), len(images), rng)
    times = time_rounds(calls, until(seconds, ROUNDS), len(images), rng)
    medians = dict(zip(ready, np.median(times, axis=1).tolist(), strict=True))
    return [
        Form(
            *(run.name, batch, *key),
            median_ms=medians.get(key),
            change=changes.get(key),
            reason=found if isinstance(found, str) else None,
        )
        for key, found in passes.items()
    ]


def find_changes(ready: dict[tuple[str, str], Pass], images: list[Images]) -> dict[Any, float]:
    """Largest change of a probability against the first form; passes without copies show none."""
    shown = {key: found for key, found in ready.items() if key[1] != RESIDENT}
    reference, *_ = shown.values()
    expected = [reference(each) for each in images]
    return {
        key: max(
            float(np.abs(found(each) - of).max()) for each, of in zip(images, expected, strict=True)
        )
        for key, found in shown.items()
    }


def main() -> None:
    """Measure run by run, batch by batch; what is done is written at once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--batch", default="1,16", help="images per pass, comma-separated")
    parser.add_argument("--device", choices=DEVICES, default="cuda")
    parser.add_argument("--seconds", type=float, default=8, help="of timing, per run and batch")
    parser.add_argument("--json", type=Path, help="file to write")
    given = parser.parse_args()
    forms: list[Form] = []
    if given.device == "cuda":
        import torch  # brings the CUDA libraries that onnxruntime then finds

        torch.cuda.init()
    for path in given.runs:
        for batch in map(int, given.batch.split(",")):
            found = measure(Run(path), batch, given.device, given.seconds)
            for form in found:
                about = f"{form.network}, batch {batch}, {form.arithmetic}, {form.transport}"
                found_out = f"{form.median_ms:.2f} ms" if form.median_ms else form.reason
                print(f"{about}: {found_out}", flush=True)
            forms += found
            if given.json:
                write_json(given.json, [asdict(form) for form in forms])


if __name__ == "__main__":
    main()
