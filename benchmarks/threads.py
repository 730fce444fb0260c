"""How onnxruntime's threads should wait: latency of every mode of a run, settings side by side.

    python benchmarks/threads.py RUN --threads 1,2 --passes 100

- `sleep`: they sleep between operators (`session.intra_op.allow_spinning=0`), as they did here.
- `stop`: they spin within a pass and sleep after it (`session.force_spinning_stop=1`), as now.
- `spin`: they spin on after it for a while, onnxruntime's default.

Each mode is opened in the first setting, and twice in the second: its A/A control. Ratios are taken
within rounds. Then fp32 is timed right after passes of neighbours in each setting, to see whether
they are quiet.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from brainseg.benchmark.plan import parse_threads
from brainseg.benchmark.timing import ratio, time_rounds
from brainseg.benchmark.variant import spread_images
from brainseg.data.parts import to_input
from brainseg.environment import describe
from brainseg.experiment import exported_modes
from brainseg.run import Run
from brainseg.terminal import bar
from brainseg.vocabulary import REFERENCE

SETTINGS = {
    "sleep": {"session.intra_op.allow_spinning": "0"},
    "stop": {"session.force_spinning_stop": "1"},
    "spin": {},
}
NEIGHBOURS = 4


def open_file(path: Path, threads: int, setting: str, images: np.ndarray) -> Callable[[int], None]:
    """A function that runs the image with an index."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    for key, value in SETTINGS[setting].items():
        options.add_session_config_entry(key, value)
    left_out = ["WeightBiasQuantization"]
    session = ort.InferenceSession(
        path, options, ["CPUExecutionProvider"], disabled_optimizers=left_out
    )
    name = session.get_inputs()[0].name
    return lambda index: session.run(None, {name: images[index : index + 1]})


def compare_modes(run: Run, modes: Sequence[str], threads: int, passes: int) -> None:
    """Print a row for each mode."""
    images = to_input(spread_images(run))
    opened = [
        open_file(run.onnx(mode), threads, setting, images)
        for mode in modes
        for setting in ("sleep", "stop", "stop")
    ]
    rng = np.random.default_rng(0)
    time_rounds(opened, range(5), len(images), rng)
    rounds = bar(range(passes), f"{len(opened)} sessions, {threads} threads")
    times = time_rounds(opened, rounds, len(images), rng).reshape(len(modes), 3, -1)
    for mode, (sleep, stop, twin) in zip(modes, times, strict=True):
        gain, gain_interval = ratio(sleep, stop, rng)
        control, control_interval = ratio(stop, twin, rng)
        cells = (
            *(mode, threads, f"{np.median(sleep):.1f}", f"{np.median(stop):.1f}"),
            *(written(gain, gain_interval), written(control, control_interval)),
        )
        print("|", " | ".join(map(str, cells)), "|", flush=True)


def compare_neighbours(run: Run, threads: int, passes: int) -> None:
    """Print how long fp32 takes right after a pass of neighbours in each setting."""
    images, path = to_input(spread_images(run)), run.onnx(REFERENCE)
    subject = open_file(path, threads, "stop", images)
    rng = np.random.default_rng(0)
    for setting in SETTINGS:
        others = [open_file(path, threads, setting, images) for _ in range(NEIGHBOURS)]
        time_rounds([subject, *others], range(3), len(images), rng)
        alone = time_rounds([subject, subject], range(passes), len(images), rng)
        among = time_rounds([subject, *others], range(passes), len(images), rng)
        medians = (np.median(alone), np.median(among[0]))
        cells = (setting, threads, *(f"{each:.1f}" for each in medians))
        print("|", " | ".join(map(str, cells)), f"| {medians[1] / medians[0]:.3f} |", flush=True)


def written(value: float, interval: Sequence[float]) -> str:
    """A ratio with its interval."""
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def main() -> None:
    """Compare and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--threads", default="1,all")
    parser.add_argument("--passes", type=int, default=100)
    given = parser.parse_args()
    run, counts = Run(given.run), parse_threads(given.threads.split(","))
    cpu = describe()["cpu"]
    print(f"{cpu['model']}, {cpu['physical_cores']} cores, {' '.join(cpu['flags'])}")
    print("| mode | threads | sleep, ms | stop, ms | sleep / stop | control: stop / stop |")
    print("|---|---:|---:|---:|---:|---:|")
    for threads in counts:
        compare_modes(run, exported_modes(run), threads, given.passes)
    print("\n| neighbours | threads | fp32 alone, ms | fp32 among four, ms | ratio |")
    print("|---|---:|---:|---:|---:|")
    for threads in counts:
        compare_neighbours(run, threads, given.passes)


if __name__ == "__main__":
    main()
