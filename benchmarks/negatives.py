"""False positives of several networks on the same slices without tumour, from several sources.

    python benchmarks/negatives.py RUN [RUN …] --on SOURCE [SOURCE …]

A source is a run (the test split that it carries with it) or a folder of a data set. Each network
is scored in its fp32 export. A network that has learned where its training negatives come from,
instead of what a tumour looks like, marks tumours in the tumour-free slices of tumour patients and
of other scanners. The last lines show how well border and histogram give the source away.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from brainseg.data.cache import load_slices
from brainseg.data.cases import read_set
from brainseg.data.parts import read_test
from brainseg.data.shortcut import describe_trivially, shortcut_auc
from brainseg.evaluation.cases import score_cases, summarize
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.scoring.score import predict_part

Part = dict[str, NDArray]


def read_source(path: Path, size: int) -> Part:
    """The slices of a run's test split, or of a whole data set, as a run's `test.npz` has them."""
    if Run(path).test.exists():
        return read_test(Run(path))
    with tempfile.TemporaryDirectory() as folder:
        everything = read_set(None, path, Path(folder))
        cases = [case for case in everything if not case.unmasked]  # the others cannot be scored
        slices = load_slices(cases, size, Path(folder))
        images, masks = np.array(slices.images), np.array(slices.masks)
    return {
        "ids": np.array([case.id for case in cases]),
        "classes": np.array([case.label or "unknown" for case in cases]),
        "patients": np.array([case.patient or "" for case in cases]),
        "images": images,
        "masks": masks,
    }


def score(run: Run, part: Part, name: str) -> dict:
    """The metrics of a run's fp32 export on some slices."""
    probabilities = predict_part(open_session(run.onnx("fp32")), part, f"{run.name} on {name}")
    lists = (part[key].tolist() for key in ("ids", "classes", "patients"))
    return summarize(score_cases(*lists, probabilities, part["masks"]))


def source_auc(part: Part) -> float | None:
    """How well border and histogram tell the slices without tumour; copies count as one."""
    copies = [image.tobytes() for image in part["images"]]
    names = [patient or str(copies.index(copies[k])) for k, patient in enumerate(part["patients"])]
    pixels = zip(part["images"], part["masks"], strict=True)
    features = np.array([describe_trivially(image, mask) for image, mask in pixels])
    return shortcut_auc(features, ~part["masks"].any(axis=(1, 2)), names)


def main() -> None:
    """Score all networks on all sources and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--on", nargs="+", type=Path, required=True)
    given = parser.parse_args()
    size = Run(given.runs[0]).read_config()["data"]["image_size"]
    sources = {path: read_source(path, size) for path in given.on}
    table = Table(title="False positives in slices without tumour")
    for name in ("network", "on", "tumour IoU", "of tumour patients", "of others"):
        table.add_column(name)
    for path in given.runs:
        for source, part in sources.items():
            found = score(Run(path), part, source.name)
            rates = [found["negatives"][name] for name in ("of_tumor_patients", "others")]
            told = [
                f"{rate['false_positive_rate']:.1%} of {rate['n']}" if rate["n"] else "–"
                for rate in rates
            ]
            iou = found["tumor_iou"] if found["n_tumor"] else None
            table.add_row(str(path), str(source), "–" if iou is None else f"{iou:.4f}", *told)
    Console(width=160).print(table)
    for source, part in sources.items():
        auc = source_auc(part)
        if auc is not None:
            print(f"{source}: source shortcut {auc:.3f}")


if __name__ == "__main__":
    main()
