"""How cost grows: with the size of images, batches, a report and a data set.

    python benchmarks/scaling.py size --threads 1
    python benchmarks/scaling.py batch --threads 1
    python benchmarks/scaling.py memory
    python benchmarks/scaling.py report RUN
    python benchmarks/scaling.py data --counts 100,1000,10000
    python benchmarks/scaling.py draw

Each adds to `docs/scaling.json` what is not there yet, and prints a table of all that is there, in
Markdown; `draw` makes the figures of `docs/performance.md` from it. Networks and data sets are
written below `outputs/scaling` and kept there for the next call. Give a command alone on the
machine, or look at the seconds of processor only.
"""

import argparse
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scaling_data import REPORT_STEPS, STEPS, watch, write_data_set
from scaling_figures import draw, tabulate

from brainseg.benchmark.timing import time_rounds
from brainseg.data.parts import to_input
from brainseg.environment import describe, physical_cores
from brainseg.evaluation.cases import COLUMNS, read_cases
from brainseg.files import read_json, write_csv, write_json, write_npz, write_text
from brainseg.run import Run
from brainseg.runtime.memory import peak_memory_mb
from brainseg.runtime.open import open_session
from brainseg.runtime.session import Session
from brainseg.terminal import bar
from brainseg.vocabulary import RUNTIMES

MODES = ("fp32", "int8_static")
IMAGES = 8
"""Phantoms to calibrate on and to time."""

Record = dict[str, Any]


class Records:
    """What was measured, in a file that is written after each measurement."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.all: list[Record] = read_json(file) if file.exists() else []

    def lacks(self, **key: Any) -> bool:
        """Whether nothing of this kind was measured yet."""
        return not any(key.items() <= record.items() for record in self.all)

    def add(self, **record: Any) -> None:
        """Keep a measurement, with the date and the machine."""
        environment = describe()
        commit, cpu = environment["commit"] or {}, environment["cpu"]
        self.all.append(
            record
            | {
                "date": f"{datetime.now(UTC):%Y-%m-%d}",
                "cpu": f"{cpu['model']}, {cpu['physical_cores']} cores",
                "commit": commit.get("hash", "")[:7],
            }
        )
        write_json(self._file, self.all)


def make_network(folder: Path, size: int, attention: str) -> Run:
    """An untrained network of the usual width, exported and quantized at a size; made once."""
    import torch

    from brainseg.data.phantom.write import draw_patient
    from brainseg.deploy.export import export
    from brainseg.deploy.quantize import quantize
    from brainseg.model.unet import build_resunet

    run = Run(folder / f"{attention}-{size}")
    if run.onnx("int8_static").exists():
        return run
    print(f"making {run.path}", flush=True)
    slices = [each for n in range(IMAGES) for each in draw_patient(n, 0, 1, size, "hard")]
    images, masks = (np.stack(arrays) for arrays in zip(*slices, strict=True))
    names = np.array([f"{number}" for number in range(IMAGES)])
    config = {"model": {"attention": attention}, "data": {"image_size": size}}
    write_text(run.config, yaml.safe_dump(config))
    write_npz(run.val, ids=names, classes=names, images=images, masks=masks.astype(np.uint8))
    torch.manual_seed(0)
    network = build_resunet(attention=attention)
    with torch.no_grad():  # statistics of the norms, without which values would grow beyond bounds
        for _ in range(5):
            network(torch.rand(4, 1, 64, 64))
    export(run, torch.nn.Sequential(network, torch.nn.Sigmoid()).eval())
    quantize(run, "int8_static", {"images": IMAGES})
    return run


class Pass:
    """A pass of a network over a batch, and the milliseconds of processor that each one used."""

    def __init__(self, session: Session, pixels: NDArray[np.float32]) -> None:
        self._session, self._pixels = session, pixels
        self.used: list[float] = []

    def __call__(self, index: int) -> None:
        """Run the network once."""
        start = time.process_time()
        self._session.run(self._pixels)
        self.used.append(1e3 * (time.process_time() - start))


def time_network(
    runs: dict[int, Run], batches: Sequence[int], threads: int, passes: int
) -> Iterator[Record]:
    """Milliseconds per image of each size, batch, mode and runtime, all interleaved.

    `ms` is the median by the clock, `cpu_ms` the least of processor.
    """
    rng = np.random.default_rng(0)
    calls: dict[tuple[int, int, str, str], Pass] = {}
    for size, batch, mode, runtime in product(runs, batches, MODES, RUNTIMES):
        print(f"opening {size}×{size}, batch {batch}, {mode}, {runtime}", flush=True)
        file = runs[size].onnx(mode)
        session = open_session(file, "cpu", threads, runtime, batch=batch)
        images = np.resize(np.load(runs[size].val)["images"], (batch, size, size))
        calls[size, batch, mode, runtime] = Pass(session, to_input(images))
    time_rounds([*calls.values()], range(2), 1, rng)
    times = time_rounds([*calls.values()], bar(range(passes), "Timing"), 1, rng)
    for (key, call), wall in zip(calls.items(), times, strict=True):
        place = dict(zip(("size", "batch", "mode", "runtime"), key, strict=True))
        # What else the machine does can only add to it.
        found = {"ms": float(np.median(wall)) / key[1], "cpu_ms": min(call.used) / key[1]}
        yield place | {"threads": threads, "passes": passes} | found


def copy_run(run: Run, folder: Path, number: int, kind: str) -> None:
    """A copy with slightly other results: of another seed, or of another network."""
    seed, rate = (number, 0.001) if kind == "seeds" else (0, round(0.001 + number / 1e5, 5))
    target = Run(folder / f"none-seed{seed}-{number}")
    shutil.copytree(run.path, target.path, ignore=shutil.ignore_patterns("figures", "checkpoints"))
    config, state = run.read_config(), run.read_state()
    config["seed"] = state["identity"]["seed"] = seed
    config["optim"]["lr"] = state["identity"]["optim.lr"] = rate
    write_text(target.config, yaml.safe_dump(config))
    write_json(target.state, state)
    rng = np.random.default_rng(number)
    for file in target.path.glob("cases.*.csv"):
        cases = read_cases(file)
        for case in cases:
            lost = int(rng.integers(0, 1 + case["tp"] // 5))
            case |= {"tp": case["tp"] - lost, "fn": case["fn"] + lost}
        write_csv(file, cases, COLUMNS)


def measure_report(run: Run, counts: Iterable[int], folder: Path, records: Records) -> None:
    """Seconds and memory of a first report and of one with nothing new; size of the page."""
    for kind, count in product(("seeds", "networks"), counts):
        experiment = folder / f"report-{kind}-{count}"
        if not experiment.is_dir():
            for number in range(count):
                copy_run(run, experiment, number, kind)
        for name, step in REPORT_STEPS.items():
            key = {"subject": "report", "kind": kind, "runs": count, "step": name}
            if records.lacks(**key):
                found = watch(step, experiment)
                page = (experiment / "report" / "index.html").stat().st_size
                records.add(**key, **found, page_bytes=page)
                print(key, found, flush=True)


def measure_data(counts: Iterable[int], folder: Path, records: Records) -> None:
    """Seconds and memory of each step with a data set of so many images."""
    for count, (name, step) in product(counts, STEPS.items()):
        key = {"subject": "data", "images": count, "step": name}
        if records.lacks(**key):
            root, out = folder / f"images-{count}", folder / f"of-{count}"
            if not root.is_dir():
                write_data_set(root, count)
            found = watch(step, root, out)
            records.add(**key, **found)
            print(key, found, flush=True)


def measure_network(given: argparse.Namespace, records: Records) -> None:
    """Time, or look at the memory of, the networks that a command asks for."""
    sizes = [224] if given.what == "batch" else given.sizes
    batches = given.batches if given.what == "batch" else [1]
    runs = {size: make_network(given.folder, size, given.attention) for size in sizes}
    threads = given.threads or physical_cores()
    key = {"subject": given.what, "attention": given.attention, "threads": threads}
    if given.what == "memory":
        for (size, run), mode, runtime in product(runs.items(), MODES, RUNTIMES):
            found = key | {"size": size, "mode": mode, "runtime": runtime}
            if records.lacks(**found):
                session = open_session(run.onnx(mode), "cpu", threads, runtime)
                records.add(**found, mib=peak_memory_mb(session))
        return
    if records.lacks(**key):
        for found in time_network(runs, batches, threads, given.passes):
            records.add(**key | found)


def numbers(text: str) -> list[int]:
    """The numbers in `1,2,3`."""
    return list(map(int, text.split(",")))


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("size", "batch", "memory", "report", "data", "draw"))
    parser.add_argument("run", type=Path, nargs="?", help="of report: copies of it are reported")
    parser.add_argument("--attention", default="none")
    parser.add_argument("--sizes", type=numbers, default=[96, 128, 160, 224, 320, 512])
    parser.add_argument("--batches", type=numbers, default=[1, 2, 4, 8, 16])
    parser.add_argument("--counts", type=numbers, help="of runs, or of images")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--passes", type=int, default=15)
    parser.add_argument("--folder", type=Path, default=Path("outputs/scaling"))
    parser.add_argument("--records", type=Path, default=Path("docs/scaling.json"))
    given = parser.parse_args()
    records = Records(given.records)
    if given.what == "draw":
        draw(records.all, given.records.parent)
        return
    if given.what == "report":
        measure_report(Run(given.run), given.counts or [1, 4, 16, 64], given.folder, records)
    elif given.what == "data":
        measure_data(given.counts or [100, 1000, 10_000, 100_000], given.folder, records)
    else:
        measure_network(given, records)
    print(tabulate(records.all, given.what))


if __name__ == "__main__":
    main()
