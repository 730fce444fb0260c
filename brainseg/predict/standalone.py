"""Marks brain tumours in MRI slices. For research use only. Not a medical device.

    python predict.py INPUT… --out FOLDER

takes pictures, NIfTI volumes, DICOM series and folders of these. It needs onnxruntime, numpy and
pillow; nibabel for NIfTI volumes, pydicom for DICOM, and h5py for MATLAB files. It was put together
from the sources of brainseg, whose rules and masks it has; what it does itself comes first.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainseg.errors import InputError, explain, in_words
from brainseg.files import hash_file, staging, write_csv, write_npz
from brainseg.predict.dicom_frames import Frame, measure_volume, read_pixels, sort_frames
from brainseg.predict.dicom_study import FoundSeries
from brainseg.predict.folder_lock import alone_in
from brainseg.predict.image_file import OVERLAY, write_overlay_of
from brainseg.predict.inputs import ARRAYS, Input, find_inputs, unique_stems, write_whole
from brainseg.predict.predict import COLUMNS, PATHS, TABLE, check_folder, measure
from brainseg.predict.segment import segment_batch, to_masks
from brainseg.predict.settings import Settings, parse_threshold
from brainseg.runtime.onnxruntime import CPU, start_inference
from brainseg.vocabulary import BEST, RESEARCH_ONLY

NEWEST = 1
"""Format of the packages that this file can read."""

NEEDED = {
    "volume": ("NIfTI volumes", "nibabel"),
    "series": ("DICOM files", "pydicom"),
    ".mat": ("MATLAB files", "h5py"),
    "skimage": ("Masks without small parts", "scikit-image"),
    "cv2": ("Colour images of 16 bits and rare kinds of TIFF", "opencv-python-headless"),
}
"""What needs a package of its own."""


@dataclass(frozen=True)
class Package:
    """What `manifest.json` says of a network.

    Attributes:
        model: its file.
        threshold: probability from which a pixel is tumour.
        best_threshold: that with the best score on validation, where it is known.
        plane: across which volumes are cut into slices.
        keep_aspect: whether images are padded to a square rather than squeezed.
    """

    model: Path
    threshold: float
    best_threshold: float | None
    plane: str
    keep_aspect: bool


@dataclass(frozen=True)
class Network:
    """The network of a package, opened.

    Attributes:
        run: images N×1×H×W in [0, 1] to probabilities N×1×H×W.
        image_size: height and width that it takes, pixels.
        keep_aspect: as that of the package.
    """

    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    image_size: int
    keep_aspect: bool


@dataclass(frozen=True)
class Series:
    """A DICOM series: slices N×H×W in their order in space, and where they are from."""

    pixels: NDArray[np.uint8]
    note: str | None
    frames: list[Frame]

    def write(
        self, masks: NDArray[np.bool_], probabilities: NDArray[np.float32], made: Path, stem: str
    ) -> dict[str, Any]:
        """Write arrays with the place of each slice; only `brainseg predict` writes DICOM-SEG."""
        write_npz(
            made / f"{stem}{ARRAYS}",
            mask=masks.astype(np.uint8),
            probability=probabilities,
            instance=np.array([str(frame.dataset.SOPInstanceUID) for frame in self.frames]),
            frame=np.array([frame.index for frame in self.frames]),
            position=np.stack([frame.place for frame in self.frames]),
            orientation=np.stack([frame.directions for frame in self.frames]),
            spacing=np.stack([frame.spacing for frame in self.frames]),
        )
        write_overlay_of(made / f"{stem}{OVERLAY}", self.pixels, masks)
        found = {"mask": f"{stem}{ARRAYS}", "overlay": f"{stem}{OVERLAY}"}
        return found | measure_volume(self.frames, masks)


def main(arguments: Sequence[str] | None = None, folder: Path = Path(__file__).parent) -> int:
    """Run the command line.

    Args:
        arguments: those that were typed.
        folder: the package.

    Returns:
        0, or 1 where something cannot be done: what, and what to do, is on standard error. 130 if
        it is interrupted.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        package = read_package(folder)
        given = read_arguments(arguments, package)
        network = open_network(package, given.threads)
        settings = Settings(
            threshold=choose_threshold(given.threshold, package),
            tta=given.tta,
            min_area=given.min_area,
            plane=given.plane,
            channel=given.channel,
            series=(*given.series,),
        )
        rows = predict(network, given.inputs, given.out, settings, given.overwrite)
    except KeyboardInterrupt:
        print("Interrupted: nothing was written.", file=sys.stderr)
        return 130
    except Exception as error:
        if (told := explain(error)) is None:
            raise
        print(f"Error: {told}", file=sys.stderr)
        return 1
    failed = [row for row in rows if row["error"]]
    print(f"{len(rows) - len(failed)} of {len(rows)} done: {given.out / TABLE}. {RESEARCH_ONLY}")
    for told in dict.fromkeys(row["error"] for row in failed):
        print(f"Error: {told}", file=sys.stderr)
    return 1 if failed else 0


def read_arguments(arguments: Sequence[str] | None, package: Package) -> argparse.Namespace:
    """What was typed, with the package's own values where nothing was."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT")
    parser.add_argument("--out", required=True, type=Path, help="folder for the results")
    text = f"probability from which a pixel is tumour, or {BEST} (default: %(default)s)"
    parser.add_argument("--threshold", default=package.threshold, help=text)
    text = "none, or flips: average over mirror images, for four times the time"
    parser.add_argument("--tta", default=Settings.tta, help=text)
    text = "leave out parts of a mask with fewer pixels (needs scikit-image)"
    parser.add_argument("--min-area", type=int, default=Settings.min_area, help=text)
    text = "of slices of NIfTI volumes: axial, coronal or sagittal (default: %(default)s)"
    parser.add_argument("--plane", default=package.plane, help=text)
    text = "of a NIfTI file with four dimensions, from 0"
    parser.add_argument("--channel", type=int, help=text)
    parser.add_argument("--series", action="append", default=[], help="UID of a DICOM series")
    text = "of the CPU (default: its physical cores)"
    parser.add_argument("--threads", type=int, default=0, help=text)
    text = "replace an earlier prediction in that folder"
    parser.add_argument("--overwrite", action="store_true", help=text)
    given = parser.parse_args(arguments)
    if given.threads < 0:
        parser.error("--threads: expected 1 or more")
    return given


def read_package(folder: Path) -> Package:
    """What a package says of its network.

    Raises:
        InputError: it is missing or damaged, of a newer brainseg, or its network has changed.
    """
    file = folder / "manifest.json"
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if int(told["format"]) > NEWEST:
            raise InputError(f"{folder} is of a newer brainseg. Use the predict.py in it.")
        model, best = folder / Path(told["model"]).name, told["best_threshold"]
        package = Package(
            model,
            threshold=float(told["threshold"]),
            best_threshold=None if best is None else float(best),
            plane=str(told["plane"]),
            keep_aspect=bool(told["keep_aspect"]),
        )
        expected = told["model_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is missing or damaged. Copy the package again.") from error
    if not model.is_file() or hash_file(model) != expected:
        raise InputError(f"{model} is not the file that was packaged. Copy the package again.")
    return package


def choose_threshold(given: str | float, package: Package) -> float:
    """The threshold that was typed, as a number.

    Raises:
        InputError: it is none, or the best one is not known.
    """
    if given != BEST:
        return parse_threshold(given)
    if package.best_threshold is None:
        raise InputError(f"This package does not say which threshold is {BEST}. Give a number.")
    return package.best_threshold


def open_network(package: Package, threads: int) -> Network:
    """Open a package's network on the CPU."""
    session = start_inference(package.model, threads, [CPU])
    image = session.get_inputs()[0]

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {image.name: images})[0])

    return Network(run, int(image.shape[-1]), package.keep_aspect)


def predict(
    network: Network,
    paths: Sequence[Path],
    out: Path,
    settings: Settings,
    overwrite: bool = False,
) -> list[dict[str, Any]]:
    """Segment all inputs; what `out` had stays until all is there. Returns the rows of the table.

    Raises:
        InputError: there is no input, `out` cannot be used, has results or is being worked on, or
            the disk is full.
    """
    inputs = find_inputs(paths, settings, read_series)
    check_folder(out, overwrite)
    stems = unique_stems([each.stem for each in inputs])
    with alone_in(out), staging(out, TABLE) as made:
        check_folder(out, overwrite)  # again: another process may just have ended
        rows = []
        for number, (each, stem) in enumerate(zip(inputs, stems, strict=True), 1):
            tell_progress(f"{number} of {len(inputs)}: {each.name}")
            rows.append(predict_one(network, each, made, stem, settings))
        tell_progress("")
        for row in rows:
            row |= {key: str(out / row[key]) for key in PATHS if row[key]}
        write_csv(made / TABLE, rows, COLUMNS)
    return rows


def predict_one(
    network: Network, given: Input, made: Path, stem: str, settings: Settings
) -> dict[str, Any]:
    """Segment one input, slice by slice, and write what comes of it. Returns its row."""
    row = dict.fromkeys(COLUMNS) | {
        "input": given.name,
        "kind": given.kind,
        "notice": RESEARCH_ONLY,
    }
    start = time.perf_counter()
    try:
        check_installed(given)
        subject = given.read()
        images = subject.pixels
        found = [
            segment_batch(network, images[k : k + 1], settings.tta, network.keep_aspect)
            for k in range(len(images))
        ]
        probabilities = np.concatenate(found)
        masks = to_masks(probabilities, settings.threshold, settings.min_area)
        seconds = round(time.perf_counter() - start, 4)
        written = write_whole(subject, masks, probabilities, made, stem)
    except InputError as error:
        return row | {"error": str(error)}
    except ModuleNotFoundError as error:
        return row | {"error": tell_needed(str(error.name))}
    except Exception as error:  # whatever it is, the others can still be done
        return row | {"error": f"{given.name} cannot be segmented ({in_words(error)})."}
    found_out = measure(masks, probabilities) | {"seconds": seconds, "note": subject.note}
    return row | written | found_out


def tell_progress(text: str) -> None:
    """Show where the work is in the last line of a terminal; nothing in a file."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def check_installed(given: Input) -> None:
    """Refuse a file whose package is missing.

    Raises:
        InputError: it says which one.
    """
    kind = ".mat" if given.name.lower().endswith(".mat") else given.kind
    if kind in NEEDED and find_spec(NEEDED[kind][1]) is None:
        raise InputError(tell_needed(kind))


def tell_needed(kind: str) -> str:
    """A sentence on the package that a kind of file needs."""
    what, package = NEEDED.get(kind, ("Such files", kind))
    return f"{what} need another package: pip install {package}"


def read_series(found: FoundSeries) -> Series:
    """Read the slices of a DICOM series."""
    frames = sort_frames(found.datasets, found.name)
    return Series(read_pixels(frames, found.name), None, frames)


if __name__ == "__main__":
    sys.exit(main())
