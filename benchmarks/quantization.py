"""What each way of quantizing loses and costs: the tables of docs/quantization.md.

    python benchmarks/quantization.py RUN... --out FOLDER [--only plain,mse,…]

For each run, which must be exported: `int8_static` plain, with each option, and with several;
`int8_qat` where the run has that file. For each: the change of mean IoU on validation and test
against fp32 with its 95 % interval over patients, the smallest margin within which it is
equivalent on test (two one-sided tests at 5 %), the pixels that change sides, the file, the
seconds that making it took, and the time of a pass over that of plain `int8_static` and of fp32,
all of a run interleaved in one session with a control (plain against itself).

What was made and scored is kept in FOLDER and not done again, unless the file is another one.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from brainseg.benchmark.timing import OtherLoad, ratio, time_rounds
from brainseg.data.parts import read_test, read_val, to_input
from brainseg.deploy.options import choose_options
from brainseg.deploy.quantize import QUANTIZERS
from brainseg.environment import cpu_flags
from brainseg.errors import check_known
from brainseg.evaluation.cases import THRESHOLD
from brainseg.evaluation.changes import compare_maps
from brainseg.evaluation.differences import paired_interval
from brainseg.evaluation.equivalence import TOST_LEVEL, equivalent_within
from brainseg.evaluation.metrics import confusion, mean_iou, mean_ious, tumor_iou
from brainseg.files import hash_file, write_json, write_npz
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.scoring.record import unmasked
from brainseg.scoring.score import predict_part
from brainseg.terminal import bar
from brainseg.vocabulary import QAT_MODE, REFERENCE, STATIC_MODE

PLAIN = "plain"

OPTIONS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "percentile": {"method": "percentile"},
    "entropy": {"method": "entropy"},
    "mse": {"method": "mse"},
    "equalize": {"equalize": True},
    "learn_rounding": {"learn_rounding": True},
    "correct_bias": {"correct_bias": True},
    "percentile + equalize": {"method": "percentile", "equalize": True},
    "percentile + equalize + bias": {
        "method": "percentile",
        "equalize": True,
        "correct_bias": True,
    },
    "all four": {
        "method": "percentile",
        "equalize": True,
        "learn_rounding": True,
        "correct_bias": True,
    },
}

PARTS: dict[str, Callable[[Run], Mapping[str, NDArray]]] = {"val": read_val, "test": read_test}

ROUNDS = 60


def main() -> None:
    """Make, score, time and show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", help=f"names with commas between, beside {PLAIN}; default: all")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    names = list(dict.fromkeys([PLAIN, *(given.only.split(",") if given.only else OPTIONS)]))
    check_known("way", names, OPTIONS)
    print("processor:", ", ".join(flag for flag in cpu_flags() if "vnni" in flag or "amx" in flag))
    for path in given.runs:
        run, folder = Run(path), given.out / path.name
        folder.mkdir(parents=True, exist_ok=True)
        files = {REFERENCE: run.onnx(REFERENCE)}
        made = {name: _make(run, OPTIONS[name], folder / f"{name}.onnx") for name in names}
        files |= {name: folder / f"{name}.onnx" for name in names}
        if run.onnx(QAT_MODE).exists():
            files[QAT_MODE] = run.onnx(QAT_MODE)
        scores = {name: _score(run, file, folder / f"{name}.json") for name, file in files.items()}
        times = _time(run, files, given.rounds)
        _show(run, files, made, scores, times)


def _make(run: Run, options: Mapping[str, Any], target: Path) -> float:
    """Seconds that making a file took."""
    record, source = target.with_suffix(".made.json"), hash_file(run.onnx(REFERENCE))
    chosen = choose_options(STATIC_MODE, {STATIC_MODE: options})
    made = json.loads(record.read_text()) if record.exists() else {}
    if not made or (made.get("source", source), made.get("options", chosen)) != (source, chosen):
        start = time.perf_counter()
        model, _ = QUANTIZERS[STATIC_MODE](onnx.load(run.onnx(REFERENCE)), run, chosen)
        made = {"seconds": time.perf_counter() - start, "source": source, "options": chosen}
        onnx.save(model, target)
        write_json(record, made)
    return made["seconds"]


def _score(run: Run, file: Path, record: Path) -> dict[str, Any]:
    """How a file differs from fp32 on both parts; of fp32 itself, its scores."""
    maps, scored = record.with_suffix(".npz"), hash_file(file)
    known = json.loads(record.read_text()) if record.exists() else {}
    if known.get("scored") != scored or not maps.exists():
        session = open_session(file)
        write_npz(
            maps, **{part: predict_part(session, read(run), part) for part, read in PARTS.items()}
        )
    found, exact = np.load(maps), np.load(record.with_name(f"{REFERENCE}.npz"))
    values: dict[str, Any] = {"scored": scored}
    for part, read in PARTS.items():
        truth = read(run)
        outlined = ~unmasked(truth)
        masks, patients = truth["masks"][outlined] > 0, truth["patients"][outlined].tolist()
        before, after = (
            np.array([confusion(a >= THRESHOLD, b) for a, b in zip(each, masks, strict=True)])
            for each in (exact[part][outlined], found[part][outlined])
        )
        interval, tost = (
            paired_interval(before, after, patients, mean_ious, level=level)
            for level in (0.95, TOST_LEVEL)
        )
        scores = [mean_iou(counts.sum(0)) or 0 for counts in (before, after)]
        values[part] = {
            "mean_iou": scores[1],
            "tumor_iou": tumor_iou(after.sum(0)),
            "change": scores[1] - scores[0],
            "interval": interval,
            "within": equivalent_within(tost) if tost else None,
            **compare_maps(exact[part], found[part]),
        }
    write_json(record, values)
    return values


def _time(run: Run, files: Mapping[str, Path], rounds: int) -> dict[str, Any]:
    """Ratio of each file's time to that of plain `int8_static`, and of fp32; the first is A/A."""
    images, rng = to_input(read_val(run)["images"][:40]), np.random.default_rng(0)
    order = [PLAIN, *files]
    sessions = [open_session(files[name]) for name in order]
    passes = [lambda index, s=session: s.run(images[index : index + 1]) for session in sessions]
    time_rounds(passes, range(5), len(images), rng)
    load = OtherLoad("cpu")
    taken = time_rounds(passes, bar(range(rounds), "Timing"), len(images), rng)
    exact = taken[order.index(REFERENCE)]
    return {
        "control": ratio(taken[order.index(PLAIN, 1)], taken[0], rng),
        "other_load": load.share(),
        **{
            name: {
                "ms": float(np.median(own)),
                "over_plain": ratio(own, taken[0], rng),
                "speedup": ratio(exact, own, rng),
            }
            for name, own in zip(order[1:], taken[1:], strict=True)
        },
    }


def _show(
    run: Run,
    files: Mapping[str, Path],
    made: Mapping[str, float],
    scores: Mapping[str, Any],
    times: Mapping[str, Any],
) -> None:
    exact = scores[REFERENCE]
    control, (low, high) = times["control"]
    print(
        f"\n{run.name}: fp32 mean IoU {exact['val']['mean_iou']:.4f} on validation, "
        f"{exact['test']['mean_iou']:.4f} on test (tumour {exact['test']['tumor_iou']:.3f}); "
        f"control {control:.3f} ({low:.3f} to {high:.3f}), other load {times['other_load']:.0%}\n\n"
        "| way | validation | test | equivalent within | change sides, ppm | file "
        "| time over plain | speed-up over fp32 | made in, s |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
    size = files[REFERENCE].stat().st_size
    for name, file in files.items():
        if name == REFERENCE:
            continue
        val, test, timed = scores[name]["val"], scores[name]["test"], times[name]
        within = "–" if test["within"] is None else f"{test['within']:.4f}"
        cells = [
            name,
            _change(val),
            _change(test),
            within,
            f"{1e6 * test['disagreement']:.0f}",
            f"{file.stat().st_size / size:.1%}",
            f"{timed['over_plain'][0]:.3f}",
            f"{timed['speedup'][0]:.2f}×",
            f"{made[name]:.0f}" if name in made else "–",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def _change(values: Mapping[str, Any]) -> str:
    interval: Sequence[float] | None = values["interval"]
    told = "" if interval is None else f" ({interval[0]:+.4f} to {interval[1]:+.4f})"
    return f"{values['change']:+.4f}{told}"


if __name__ == "__main__":
    main()
