"""A data set of any number of synthetic slices, and what auditing, loading and a report cost.

Each step runs in a process of its own, which is watched from outside.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from brainseg.data.phantom.write import Slice, draw_patient
from brainseg.files import building, write_csv
from brainseg.vocabulary import CLASSES, NEGATIVE

SIZE = 128
"""Height and width of the files, pixels."""

CACHED = 96
"""Height and width in the cache."""

HEADS, PER_PATIENT = 400, 5
"""Slices that are drawn, and slices of a patient; every slice is one of them, bent."""

COPY_EVERY, COPY_OF = 50, 20
"""2 % are mirrored copies of the slice that comes so many before, of another patient."""

LOOK = 0.02
"""Seconds between two looks at the memory of a process."""

Step = Callable[..., Any]
"""Takes the data set's folder and one to write to, or the folder of an experiment."""


def write_data_set(root: Path, images: int) -> None:
    """Write `images/`, `masks/` and `labels.csv`; the first ones do not depend on their number."""
    rows = []
    with building(root) as folder:
        (folder / "images").mkdir()
        (folder / "masks").mkdir()
        for number in range(images):
            image, mask = make_slice(number)
            cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
            cv2.imwrite(str(folder / "masks" / f"{number}.png"), 255 * mask)
            patient = number // PER_PATIENT
            label = CLASSES[patient % len(CLASSES)] if mask.any() else NEGATIVE
            rows.append({"id": number, "class": label, "patient": f"patient-{patient}"})
        write_csv(folder / "labels.csv", rows, ("id", "class", "patient"))


def make_slice(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image and mask (H×W, 1 is tumour) of one slice."""
    if number and number % COPY_EVERY == 0:
        image, mask = make_slice(number - COPY_OF)
        return image[:, ::-1], mask[:, ::-1]
    rng = np.random.default_rng([0, number])
    classes = len(CLASSES)
    head = classes * int(rng.integers(HEADS // classes)) + number // PER_PATIENT % classes
    image, mask = _heads()[head]
    x, y = _bend(rng)
    bent = cv2.remap(image, x, y, cv2.INTER_LINEAR).astype(np.float32) / 255
    image = np.rint(255 * bent ** rng.uniform(0.7, 1.4)).astype(np.uint8)
    return image, cv2.remap(mask.astype(np.uint8), x, y, cv2.INTER_NEAREST)


@cache
def _heads() -> list[Slice]:
    return [each for number in range(HEADS) for each in draw_patient(number, 0, 1, SIZE, "hard")]


def _bend(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel comes from: turned, scaled, shifted and warped, as heads differ."""
    angle, scale = np.radians(rng.normal(0, 12)), 1 / rng.uniform(0.85, 1.1)
    y, x = np.indices((SIZE, SIZE), np.float32) - SIZE / 2
    turned = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = rng.uniform(-0.06, 0.06, 2) * SIZE + SIZE / 2
    found = []
    for (along, across), by in zip(turned, shift, strict=True):
        field = rng.normal(0, 0.02 * SIZE, (5, 5)).astype(np.float32)
        warp = cv2.resize(field, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        found.append((along * x + across * y + by + warp).astype(np.float32))
    return found[0], found[1]


def audit(root: Path, out: Path) -> int:
    """`brainseg data audit`; the number of duplicate pairs."""
    from brainseg.data.audit.collect import audit as audit_sets
    from brainseg.data.audit.page import write_audit

    return len(write_audit(audit_sets([root], out / "cache"), out / "audit")["pairs"])


def load(root: Path, out: Path) -> int:
    """Read the data set as training does; builds the cache where there is none."""
    return len(_load(root, out)[0])


def split(root: Path, out: Path) -> float:
    """Seconds of processor for the split alone, the search for leaks included."""
    from brainseg.data.load import divide

    table, slices = _load(root, out)
    start = time.process_time()
    divide(table, slices, {"name": "patient", "seed": 0, "leaks": "refuse"}, "keep", lambda _: None)
    return time.process_time() - start


def find_duplicates(root: Path, out: Path) -> float:
    """Seconds of processor for the search for duplicates, which audit and cache both contain."""
    from brainseg.data.duplicates import find_pairs, make_thumbnail

    table, slices = _load(root, out)
    thumbnails = np.stack([make_thumbnail(image) for image in slices.images])
    start = time.process_time()
    find_pairs(thumbnails, slices.content, table["patient"].tolist())
    return time.process_time() - start


def _load(root: Path, out: Path) -> Any:
    from brainseg.data.load import load_data

    data = {"name": "folder", "root": str(root), "image_size": CACHED, "cache_dir": str(out)}
    return load_data(data, 0)


STEPS: dict[str, Step] = {
    "audit": audit,
    "build the cache": load,
    "load from the cache": load,
    "find duplicates": find_duplicates,
    "split": split,
}
"""In this order: each finds what those before have written."""

ALONE = ("find duplicates", "split")
"""Steps whose answer is the time of the part that is meant: they load the cache first."""


def report(experiment: Path) -> int:
    """`brainseg report`; the number of figures on its page."""
    from joblib.externals.loky import get_reusable_executor

    from brainseg.report.write import write_report

    figures = write_report(experiment).figures
    get_reusable_executor().shutdown()  # its processes end, so that their time is known
    return len(figures)


REPORT_STEPS: dict[str, Step] = {"first": report, "again": report}
"""The second finds its figures drawn."""


def watch(step: Step, *paths: Path) -> dict[str, Any]:
    """Run a step in a new process: seconds, seconds of processor, MiB of memory, and its answer.

    The memory is what belongs to the process and those it starts alone. A mapped file is no part
    of it: the system takes that back when it is short of memory.
    """
    with tempfile.NamedTemporaryFile("r") as answer:
        command = [sys.executable, __file__, step.__name__, answer.name, *map(str, paths)]
        process, most = psutil.Popen(command), 0
        while process.poll() is None:
            most = max(most, _own_memory(process))
            time.sleep(LOOK)
        if process.returncode:
            raise SystemExit(f"{step.__name__} failed.")
        seconds, processor, told = map(float, answer.read().split())
    return {"seconds": seconds, "cpu_seconds": processor, "mib": most / 2**20, "told": told}


def _own_memory(process: psutil.Process) -> int:
    total = 0
    with suppress(psutil.Error):
        for each in (process, *process.children(recursive=True)):
            memory = each.memory_info()
            total += memory.rss - memory.shared
    return total


def _run(step: str, answer: str, *paths: str) -> None:
    start, used = time.perf_counter(), _processor()
    told = globals()[step](*map(Path, paths))
    Path(answer).write_text(f"{time.perf_counter() - start} {_processor() - used} {told}")


def _processor() -> float:
    """Seconds of this process, and of those it started and that have ended."""
    times = psutil.Process().cpu_times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    _run(*sys.argv[1:])
