"""Images, volumes and series to masks, overlays and a table: what `brainseg predict` does."""

import csv
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg import __version__, interrupt
from brainseg.errors import InputError, in_words
from brainseg.files import hash_file, read_csv, staging, write_csv, write_json
from brainseg.lock import locked
from brainseg.predict import manifest
from brainseg.predict.algorithm import Algorithm
from brainseg.predict.inputs import RESULTS, Input, find_inputs, unique_stems, write_whole
from brainseg.predict.packaged import SUMS
from brainseg.predict.segment import keeps_aspect, segment, to_masks
from brainseg.predict.series import read_series
from brainseg.predict.settings import Settings
from brainseg.predict.unlike import find_unlike
from brainseg.runtime.open import open_session
from brainseg.runtime.session import Session
from brainseg.terminal import bar
from brainseg.vocabulary import RESEARCH_ONLY

TABLE = "predictions.csv"
COLUMNS = (
    "input",
    "kind",
    "mask",
    "probability_map",
    "overlay",
    "width",
    "height",
    "slices",
    "tumor_slices",
    "area_px",
    "area_share",
    "volume_ml",
    "probability",
    "max_probability",
    "seconds",
    "note",
    "warning",
    "error",
    "notice",
)
PATHS = ("mask", "probability_map", "overlay")
"""Columns that name files."""

ROW_BYTES = 8192
"""Kept free on the disk for each row of the table and of the manifest."""

NOT_TOLD = ("batch", "series", "secondary_capture", "channel")
"""Settings that do not change what the network does."""


def predict(
    model: Path,
    inputs: Sequence[Path],
    out: Path,
    settings: Settings | None = None,
    *,
    device: str = "cpu",
    threads: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Segment images, NIfTI volumes and DICOM series.

    Writes to `out` a mask and an overlay of each, a probability map of volumes, `predictions.csv`
    and `manifest.json`. What `out` has from an earlier prediction stays until all of this one is
    there. Masks have the size of what they were made from and lie on it. What cannot be read
    becomes a row with its `error`, and the others are still done.

    Args:
        model: an ONNX file made by `brainseg export` or `brainseg quantize`.
        inputs: files, and folders of which all is taken, see `find_inputs`.
        out: folder of the results; made where it is missing.
        settings: how images are read and segmented.
        device: `cpu` or `cuda`.
        threads: of the CPU; the physical cores where it is `None`.
        overwrite: whether results of an earlier prediction in `out` are replaced.

    Returns:
        The manifest, of which `rows` has one of `COLUMNS` per input. `area_px` counts pixels or
        voxels; `probability` is the mean over the predicted tumour, and `None` where there is none;
        `seconds` runs from the file to the mask; `note` says how the image was converted.

    Raises:
        InputError: nothing was given, `out` is no folder or holds results, the model cannot be
            opened, the device is missing, or another process writes to `out`.
    """
    settings = settings or Settings()
    started = datetime.now(UTC)
    algorithm = Algorithm(__version__, _short_hash(model), _told(settings))
    read = partial(read_series, algorithm=algorithm, captures=settings.secondary_capture)
    found = find_inputs(inputs, settings, read)
    check_folder(out, overwrite)
    session = open_session(model, device, threads)
    session.image_size  # noqa: B018 (a file of another project is refused before any work)
    _make_folder(out)
    stems = unique_stems([each.stem for each in found])
    check_names(out, stems, overwrite)
    with locked(out), _replacing_results(out), staging(out, TABLE) as made:
        check_folder(out, overwrite)  # another process may have been first
        space = made / ".space"  # of the table, so that a full disk cannot take it
        space.write_bytes(bytes(ROW_BYTES * (1 + len(found))))
        many = all(each.kind == "image" for each in found)
        pairs = bar(list(zip(found, stems, strict=True)), "Predicting", shown=many)
        rows = [_predict_one(session, each, made, stem, settings) for each, stem in pairs]
        for row in rows:
            row |= {key: str(out / row[key]) for key in PATHS if row[key]}
        space.unlink()
        told = manifest.describe(session, settings, rows, started)
        write_json(made / manifest.NAME, told)
        write_csv(made / TABLE, rows, COLUMNS)
    return told


@contextmanager
def _replacing_results(out: Path) -> Iterator[None]:
    """After the block, remove what only the earlier table in `out` lists."""
    before = _listed(out / TABLE)
    yield
    for name in before - _listed(out / TABLE):
        (out / name).unlink(missing_ok=True)


def _listed(table: Path) -> set[str]:
    """Names of the results that a table lists; none where it cannot be read."""
    try:
        rows = read_csv(table)
    except (OSError, ValueError, csv.Error):
        return set()
    named = {Path(row[key] or "").name for row in rows for key in PATHS if row.get(key)}
    return {name for name in named if name.endswith(RESULTS)}


def _predict_one(
    session: Session, given: Input, made: Path, stem: str, settings: Settings
) -> dict[str, Any]:
    """Segment an input and write what comes of it; returns its row."""
    row = dict.fromkeys(COLUMNS) | {"input": given.name, "kind": given.kind}
    start = time.perf_counter()
    try:
        subject = given.read()
        images = subject.pixels
        text = "" if given.kind == "image" else f"Segmenting {given.name}"
        probabilities = segment(session, images, settings, text)
        masks = to_masks(probabilities, settings.threshold, settings.min_area)
        seconds = time.perf_counter() - start
        written = write_whole(subject, masks, probabilities, made, stem)
    except InputError as error:
        return row | {"error": str(error)}
    except Exception as error:  # whatever it is, the others can still be done
        interrupt.settle()
        return row | {"error": f"{given.name} cannot be segmented ({in_words(error)})."}
    keep = settings.keep_aspect
    unlike = find_unlike(session, images, keeps_aspect(session) if keep is None else keep)
    return row | {
        **written,
        **measure(masks, probabilities),
        "seconds": round(seconds, 4),
        "note": subject.note,
        "warning": " ".join(unlike) or None,
        "notice": RESEARCH_ONLY,
    }


def measure(masks: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """What the row of an input says of its masks and probabilities, N×H×W both."""
    return {
        "width": masks.shape[2],
        "height": masks.shape[1],
        "slices": len(masks),
        "tumor_slices": int(masks.any(axis=(1, 2)).sum()),
        "area_px": int(masks.sum()),
        "area_share": float(masks.mean()),
        "probability": float(probabilities[masks].mean()) if masks.any() else None,
        "max_probability": float(np.max(probabilities)),
    }


def _told(settings: Settings) -> dict[str, str]:
    """The settings that change a mask, where they are not the default ones."""
    usual = asdict(Settings())
    return {
        key: str(value)
        for key, value in asdict(settings).items()
        if value != usual[key] and key not in NOT_TOLD
    }


def _short_hash(model: Path) -> str:
    return f"{model.name} {hash_file(model)[:16]}" if model.is_file() else model.name


def check_folder(out: Path, overwrite: bool) -> None:
    """Refuse a folder for results that is none, or has others that shall be kept.

    Raises:
        InputError: it says what to choose instead.
    """
    there = next(path for path in (out, *out.parents) if os.path.exists(path))  # noqa: PTH110
    if not there.is_dir():
        raise InputError(f"{there} is a file; expected a folder. Choose another one with --out.")
    if os.path.exists(out / SUMS):  # noqa: PTH110
        raise InputError(f"{out} is a package. Choose another folder for the results with --out.")
    if not overwrite and os.path.exists(out / TABLE):  # noqa: PTH110
        raise InputError(
            f"{out} holds the results of an earlier prediction ({TABLE}). Choose another folder "
            "with --out, or replace them with --overwrite."
        )


def check_names(out: Path, stems: Sequence[str], overwrite: bool) -> None:
    """Refuse to write over files that are none of an earlier prediction.

    Raises:
        InputError: it names one.
    """
    if overwrite or not out.is_dir():
        return
    there = {path.name for path in out.iterdir()}
    names = [f"{stem}{ending}" for stem in stems for ending in RESULTS]
    taken = [name for name in [*names, manifest.NAME] if name in there]
    if taken:
        raise InputError(
            f"{out / taken[0]} exists. Choose another folder with --out, or replace files of these "
            "names with --overwrite."
        )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{out} cannot be made ({error.strerror}). Choose another folder with --out."
        ) from error
