"""Everything that needs a GPU, in one command that ends by itself: `make gpu-check`.

    python benchmarks/gpu_check.py --minutes 8 --out outputs/gpu-check [--data FIGSHARE]

It needs no network, no environment of its own and nothing installed but what brainseg needs; each
part is a process that may crash or hang. What was found out stands in `summary.md` and
`rows.json`, renewed after each part, beside the log and the files of the run that was timed. On a
machine without a GPU the same parts run small, on the CPU.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from budget import Budget, Outcome

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("deploy.json", "benchmarks.json", "history.csv")
"""Files of the run that was timed which go into the output."""

TINY = ("layers=[1,1,1,1]", "channels=[16,32,64,128]", "stem_chs=16")

JOBLIB_LAUNCHER = "hydra-joblib-launcher"
"""Without this package the sweep is sequential."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Scale:
    """How much is done on a device.

    Attributes:
        minutes: for everything.
        size: of images, pixels.
        batch: images per step of training.
        patients: of the phantoms.
        slices: of a patient.
        passes: timed, at most.
        jobs: trainings at once.
        network: overrides that shape it.
    """

    device: str
    minutes: float
    size: int
    batch: int
    patients: int
    slices: int
    passes: int
    jobs: int
    network: tuple[str, ...] = ()


SCALES = {
    "cuda": Scale("cuda", 8, 224, 16, 16, 8, 100, 4),
    "cpu": Scale(
        "cpu", 5, 64, 4, 12, 2, 10, 2, tuple(f"+model.encoder_args.{each}" for each in TINY)
    ),
}


@dataclass
class Check:
    """What the parts share.

    Attributes:
        scale: how much is done.
        budget: runs commands.
        work: a folder for runs, which are too large to be kept.
        out: the folder that is kept.
        data: a data set in the layout of figshare; phantoms where it is `None`.
    """

    scale: Scale
    budget: Budget
    work: Path
    out: Path
    data: Path | None = None
    tables: dict[str, Rows] = field(default_factory=dict)

    def python(self, *arguments: object, seconds: tuple[float, float]) -> Outcome:
        """Run Python; `seconds` are what it takes with a GPU, and small without."""
        expected = seconds[0 if self.scale.device == "cuda" else 1]
        command = [sys.executable, *map(str, arguments)]
        return self.budget.run(command, expected)

    def brainseg(self, *arguments: object, seconds: tuple[float, float]) -> Outcome:
        """Run a verb."""
        return self.python("-m", "brainseg", *arguments, seconds=seconds)

    def train(self, experiment: str, *overrides: str, seconds: tuple[float, float]) -> Outcome:
        """Train without any timing; runs are found with `runs`."""
        scale = self.scale
        phantoms = (f"data.patients={scale.patients}", f"data.slices={scale.slices}")
        data = ("data=figshare", f"data.root={self.data}") if self.data else phantoms
        return self.python(
            *("train.py", "-m", *data, *scale.network),
            *(f"data.image_size={scale.size}", f"data.batch_size={scale.batch}"),
            *(f"data.cache_dir={self.work / 'cache'}", "tracking=none", "deploy.devices=[]"),
            *(f"output_dir={self.work}", f"experiment_name={experiment}", *overrides),
            seconds=seconds,
        )

    def runs(self, experiment: str, name: str = "") -> list[Path]:
        """The runs of an experiment that have a history."""
        histories = sorted((self.work / experiment).glob(f"{name}*/history.csv"))
        return [history.parent for history in histories]

    def run(self, name: str) -> Path:
        """The run that is timed.

        Raises:
            FileNotFoundError: its training failed.
        """
        for path in self.runs("check", f"{name}-"):
            return path
        raise FileNotFoundError(f"there is no run of {name}: see its training")


def environment(check: Check) -> Rows:
    """Environment."""
    if shutil.which("nvidia-smi"):
        check.budget.run(["nvidia-smi"], 5)
    file = check.out / "environment.json"
    check.python("benchmarks/describe.py", file, seconds=(20, 10))
    found = json.loads(file.read_text())
    gpus = ", ".join(f"{gpu['name']}, driver {gpu.get('driver')}" for gpu in found["gpus"])
    cpu = found["cpu"]
    facts = {
        "GPU": gpus or "none",
        "CUDA starts": str(found["cuda_starts"]),
        "CPU": f"{cpu['model']}, {found['usable_cores']} of {cpu['logical_cores']} cores usable",
        "CPU flags": " ".join(cpu["flags"]),
        "CUDA of torch, cuDNN": f"{found['cuda']}, {found['cudnn']}",
        "commit": (found["commit"] or {}).get("hash"),
        **{name: version for name, version in found["versions"].items() if version},
    }
    return [{"what": what, "value": value} for what, value in facts.items()]


def training(check: Check) -> Rows:
    """Training, export and quantization in every mode."""
    modes = "deploy.modes=[fp16,int8_dynamic,int8_weights,int8_static]"
    check.train("check", "model.attention=ag", "trainer.max_epochs=3", modes, seconds=(130, 40))
    one = ("model.attention=none", "trainer.max_epochs=1", "deploy.modes=[fp16]")
    check.train("check", *one, seconds=(75, 15))
    return speeds(check, "check")


def forms(check: Check) -> Rows:
    """The exported network of `ag` in onnxruntime, in every form."""
    batches, timing = ("1,16", 5) if check.scale.device == "cuda" else ("1,2", 1)
    file = check.work / "forms.json"
    check.python(
        *("benchmarks/cuda_forms.py", check.run("ag"), "--device", check.scale.device),
        *("--batch", batches, "--seconds", timing, "--json", file),
        seconds=(50, 10),
    )
    return [row | {"network": "ag"} for row in read(file)]


def product(check: Check) -> Rows:
    """`brainseg benchmark` as users call it."""
    ag, none = check.run("ag"), check.run("none")
    on_gpu = [("cuda", (ag, none), 1, 75)]  # batches are among the forms
    small = [("cpu", (ag, none), 1, 30), ("cpu", (ag,), 2, 20)]
    times: Rows = []
    for device, runs, batch, seconds in on_gpu if check.scale.device == "cuda" else small:
        outcome = check.brainseg(
            *("benchmark", *runs, "--device", device, "--batch", batch, "--mode", "all"),
            *("--runtime", "onnxruntime", "--passes", check.scale.passes),
            seconds=(seconds, seconds),
        )
        told = next((line for line in outcome.lines if " networks on " in line), None)
        took = {"device": device, "batch": batch, "estimate": told, "took_s": outcome.seconds}
        times.append(took | {"status": outcome.status})
    check.tables["product_times"] = times
    return [row for run in (none, ag) for row in deploy_rows(run)]


def throughput(check: Check) -> Rows:
    """Training images/s beside a bare loop: compiled, and in several jobs at once."""
    alone, beside = check.work / "throughput.json", check.work / "side_by_side.json"
    scale = check.scale
    shared = ("benchmarks/training_throughput.py", "--size", scale.size, "--batch", scale.batch)
    # Compiling takes minutes on a CPU.
    more = ("--compile", "--batches", 20) if scale.device == "cuda" else ("--batches", 2)
    times = ("--rounds", 3, "--seconds", 10)
    check.python(*shared, *more, *times, "--json", alone, seconds=(130, 50))
    jobs = ("--jobs", scale.jobs, "--rounds", 0)
    check.python(*shared, *jobs, *more[-2:], "--json", beside, seconds=(40, 40))
    rows = json.loads(alone.read_text())["rows"]
    if beside.exists():
        rows.append({"name": "side by side", **json.loads(beside.read_text())["side_by_side"]})
    return rows


def threads(check: Check) -> Rows:
    """Latency on the CPU against threads."""
    run = check.run("ag")
    check.brainseg(
        *("benchmark", run, "--mode", "int8_static", "--device", "cpu"),
        *("--threads", "1,2,4,all", "--runtime", "onnxruntime", "--passes", check.scale.passes),
        seconds=(60, 15),
    )
    modes = ("fp32", "int8_static")
    alike = ("cpu", 1)
    rows = [row for row in deploy_rows(run) if (row["device"], row["batch"]) == alike]
    return [row for row in rows if row["mode"] in modes]


def tests(check: Check) -> Rows:
    """The tests that need a GPU."""
    outcome = check.python(
        *("-m", "pytest", "tests/test_gpu.py", "tests/training/test_gpu.py", "-m", "cuda"),
        *("-q", "--durations=5", "-p", "no:cacheprovider"),
        *("-W", "default"),  # versions here may be others than those that are pinned
        seconds=(130, 15),
    )
    told = [line for line in outcome.lines if line.startswith(("FAILED", "ERROR", "SKIPPED"))]
    return [{"result": line} for line in [*told, *outcome.lines[-1:]]]


def sweep(check: Check) -> Rows:
    """The promised sweep: four variants, several at once."""
    installed = any(each.name == JOBLIB_LAUNCHER for each in metadata.distributions())
    parallel = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={check.scale.jobs}")
    check.train(
        *("sweep", "model.attention=none,ag,se,cbam", "trainer.max_epochs=2"),
        *("deploy.modes=[int8_dynamic]", *(parallel if installed else ())),
        seconds=(90, 60),
    )
    table = check.work / "sweep" / "report" / "table.json"
    shown = ("attention", "mode", "device", "mean_iou", "tumor_iou", "status")
    rows = read(table)["rows"] if table.exists() else []
    return [*speeds(check, "sweep"), *({key: row.get(key) for key in shown} for row in rows)]


PARTS: tuple[Callable[[Check], Rows], ...] = (
    *(environment, training, tests, product, forms, throughput, threads, sweep),
)
"""In the order of their value; the first two are needed by the others."""

OTHER_TITLES = {
    "product_times": "How long that took",
    "failures": "Parts that failed",
    "commands": "Commands",
}
"""Name of a table that is no part's → heading."""


def speeds(check: Check, experiment: str) -> Rows:
    """Images/s of the runs of an experiment, the median of their epochs but the first."""
    rows: Rows = []
    for run in check.runs(experiment):
        with (run / "history.csv").open(newline="") as file:
            epochs = [float(row["images_per_second"]) for row in csv.DictReader(file)]
        later = sorted(epochs[1:] or epochs)
        row = {"experiment": experiment, "run": run.name.split("-")[0], "epochs": len(epochs)}
        rows.append(row | {"images_per_second": later[len(later) // 2]})
    return rows


def read(file: Path) -> Any:
    """What a command wrote; nothing where it did not come so far."""
    return json.loads(file.read_text()) if file.exists() else []


def deploy_rows(run: Path) -> Rows:
    """What the rows of `deploy.json` say of speed."""
    shown = ("passes", "noisy", "scores_from", "got", "reason")
    return [
        {
            "network": run.name.split("-")[0],
            "mode": " ".join([row["mode"], row["options"].get("precision", "")]).strip(),
            **{key: row[key] for key in ("runtime", "device", "batch", "threads", "status")},
            "latency_ms": (row["latency_ms"] or {}).get("p50"),
            "device_ms": (row["device_ms"] or {}).get("p50"),
            "speedup": row["speedup"],
            **{key: row.get(key) for key in shown},
        }
        for row in read(run / "deploy.json")
    ]


def write(check: Check, failures: Rows) -> None:
    """Renew the summary, the rows and the files of the run."""
    commands = [
        {"command": shorten(each.command, check), "status": each.status, "seconds": each.seconds}
        for each in check.budget.outcomes
    ]
    tables = check.tables | {"failures": failures, "commands": commands}
    text = json.dumps(tables, indent=1, default=str)
    (check.out / "rows.json").write_text(text, encoding="utf-8")
    titles = {part.__name__: (part.__doc__ or "").rstrip(".") for part in PARTS} | OTHER_TITLES
    now, scale = datetime.now(UTC), check.scale
    lines = [
        "# GPU check" if scale.device == "cuda" else "# GPU check, small, without a GPU",
        f"{now:%Y-%m-%d %H:%M} UTC, {platform.node()}; images {scale.size}×{scale.size}.",
    ]
    for name, rows in tables.items():
        lines += [f"## {titles[name]}", *markdown(rows)] if rows else []
    (check.out / "summary.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    for run in check.runs("check", "ag-"):
        for name in filter(lambda name: (run / name).exists(), KEPT):
            shutil.copy(run / name, check.out / f"ag.{name}")


def shorten(command: str, check: Check) -> str:
    """A command without the folders of this machine."""
    return command.replace(sys.executable, "python").replace(str(check.work), "RUNS")


def markdown(rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    """A table of rows; columns in which nothing stands are left out."""
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = [key for key in keys if any(row.get(key) not in (None, "", {}) for row in rows)]
    lines = [columns, ["---"] * len(columns)]
    lines += [[show(row.get(column)) for column in columns] for row in rows]
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(value: Any) -> str:
    """A value in a table."""
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {show(each)}" for key, each in value.items() if each is not None)
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def run_parts(check: Check, names: Sequence[str]) -> bool:
    """Run the first two parts and those named; whether all went well, or was left out."""
    failures: Rows = []
    for part in PARTS:
        name = part.__name__
        if part not in PARTS[:2] and name not in names:
            continue
        check.budget.say(f"\n── {part.__doc__} {check.budget.left:.0f} s are left.")
        try:
            check.tables[name] = part(check)
        except Exception as error:  # whatever it is, the other parts can still be done
            failures.append({"part": name, "reason": f"{type(error).__name__}: {error}"})
            check.budget.say(f"  failed: {error}")
        write(check, failures)
    statuses = [each.status for each in check.budget.outcomes]
    return not failures and all(each.startswith(("ok", "skipped")) for each in statuses)


def main() -> int:
    """Run the parts; the exit code is 1 where something failed or hung."""
    names = ",".join(part.__name__ for part in PARTS[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, help="default: 8 with a GPU, 5 without")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "gpu-check")
    parser.add_argument("--data", type=Path, help="a data set in figshare's layout")
    parser.add_argument("--small", action="store_true", help="on the CPU, in spite of a GPU")
    parser.add_argument("--parts", default=names, help=f"default: {names}")
    given = parser.parse_args()
    scale = SCALES["cpu" if given.small or shutil.which("nvidia-smi") is None else "cuda"]
    minutes = scale.minutes if given.minutes is None else given.minutes
    out, data = given.out.resolve(), given.data and given.data.resolve()
    out.mkdir(parents=True, exist_ok=True)
    log = out / "log.txt"
    log.write_text("")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    variables = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}
    if scale.device == "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = ""
    budget = Budget(60 * minutes, log, ROOT, variables)
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as work:
        fine = run_parts(Check(scale, budget, Path(work), out, data), given.parts.split(","))
    budget.say(f"\n{out / 'summary.md'}")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
