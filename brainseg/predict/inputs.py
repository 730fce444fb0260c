"""What people give to be segmented: pictures, NIfTI volumes, DICOM series, and folders of these."""

import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from brainseg.data.case import name_some
from brainseg.data.image import IMAGE_SUFFIXES
from brainseg.data.layouts.dicom_file import looks_like_dicom
from brainseg.data.layouts.folder import is_picture
from brainseg.data.layouts.mask_names import ENDING, find_masks
from brainseg.data.layouts.walk import list_files
from brainseg.errors import InputError
from brainseg.files import printable
from brainseg.predict.dicom_study import FoundSeries, choose_series, find_series, tell_others
from brainseg.predict.image_file import PICTURES, read_picture_file
from brainseg.predict.settings import Settings
from brainseg.predict.volume import VOLUMES, read_volume_file

logger = logging.getLogger(__name__)

NIFTI = (".nii", ".nii.gz")

SEG, ARRAYS = ".seg.dcm", ".mask.npz"
"""How the names of masks of a DICOM series end."""

RESULTS = (*PICTURES, *VOLUMES, SEG, ARRAYS)
"""How the names of earlier results end, which are no inputs."""

LONGEST_NAME = 180
"""Bytes of a name in the results; file systems allow 255, with all that is appended."""


class Subject(Protocol):
    """An input that was read: slices, and how masks of them are written."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Slices, N×H×W."""

    @property
    def note(self) -> str | None:
        """How it was converted, if it was."""

    def write(
        self, masks: NDArray[np.bool_], probabilities: NDArray[np.float32], made: Path, stem: str
    ) -> dict[str, Any]:
        """Write results.

        Args:
            masks: of the slices, N×H×W.
            probabilities: the same.
            made: folder to write to.
            stem: how the names of the files begin.

        Returns:
            What the input's row says of them.
        """


def write_whole(
    subject: Subject,
    masks: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    made: Path,
    stem: str,
) -> dict[str, Any]:
    """As `subject.write`; where the disk is full, none of its files is left."""
    with TemporaryDirectory(dir=made, prefix=".") as folder:
        written = subject.write(masks, probabilities, Path(folder), stem)
        for file in Path(folder).iterdir():
            file.replace(made / file.name)
    return written


@dataclass(frozen=True)
class Input:
    """Something to segment, not read yet.

    Attributes:
        kind: `image`, `volume` or `series`.
        name: as people know it: a file, or a series.
        stem: how the names of its results may begin.
        read: reads it; raises an InputError where it cannot be used.
    """

    kind: str
    name: str
    stem: str
    read: Callable[[], Subject]


ReadSeries = Callable[[FoundSeries], Subject]


def find_inputs(paths: Sequence[Path], settings: Settings, read_series: ReadSeries) -> list[Input]:
    """The files that were given, and in place of a folder what is in it and below.

    DICOM files are taken by series, see `choose_series`; other files of the same folder are told
    and left out. In a folder, hidden files are no inputs, nor are results of an earlier
    prediction, nor masks beside their images (`x_mask.png` beside `x.png`, `masks/` beside
    `images/`), which are told.

    Args:
        paths: files and folders.
        settings: how volumes are cut, and which series are chosen.
        read_series: reads a DICOM series; what comes of it is not the same everywhere.

    Raises:
        InputError: there is nothing.
    """
    files: list[Path] = []
    for path in paths:
        files += _find_in(path) if _is_folder(path) else [path]
    if not files:
        where = ", ".join(map(str, paths)) or "the arguments"
        raise InputError(
            f"Nothing to segment in {where}: expected files or folders of "
            f"{', '.join((*IMAGE_SUFFIXES, *NIFTI))} or DICOM."
        )
    dicom = [path for path in files if _is_dicom(path)]
    others = [path for path in files if path not in set(dicom)]
    inputs = [_input_of(path, settings) for path in others]
    return inputs + _find_series(dicom, paths, settings.series, read_series)


def unique_stems(stems: Sequence[str]) -> list[str]:
    """Stems of results; one that was there before gets `-2`, `-3`, … appended.

    Very long stems are cut.
    """
    taken: set[str] = set()
    names = []
    for stem in stems:
        stem = stem.encode()[:LONGEST_NAME].decode(errors="ignore")
        name, count = stem, 1
        while name.lower() in taken:  # some file systems do not tell cases apart
            count += 1
            name = f"{stem}-{count}"
        taken.add(name.lower())
        names.append(name)
    return names


def _input_of(path: Path, settings: Settings) -> Input:
    name = printable(path)
    if suffix := _nifti_suffix(path):
        stem = printable(Path(path.name[: -len(suffix)]))
        return Input("volume", name, stem, partial(read_volume_file, path, settings))
    return Input("image", name, printable(Path(path.stem)), partial(read_picture_file, path))


def _find_series(
    files: Sequence[Path],
    paths: Sequence[Path],
    chosen: Sequence[str],
    read_series: ReadSeries,
) -> list[Input]:
    """DICOM series as inputs; what was given and is none becomes an input that cannot be read."""
    found, others, damaged = find_series(files)
    taken, refused = choose_series(found, chosen)
    given = {path: why for path, why in others.items() if path in paths}
    if not found and not damaged:
        given = others
    if told := tell_others({path: why for path, why in others.items() if path not in given}):
        logger.warning("%s", told)
    inputs = [
        Input("series", each.name, _safe(each.uid), partial(read_series, each)) for each in taken
    ]
    unread = refused | {printable(path): why for path, why in {**damaged, **given}.items()}
    return inputs + [
        Input("series", name, "none", partial(_refuse, why)) for name, why in unread.items()
    ]


def _safe(uid: str) -> str:
    """A UID as the name of a file: it is a stranger's text, and may be a path."""
    return re.sub(r"[^\w.]+", "-", uid).lstrip(".-") or "series"


def _refuse(why: str) -> Subject:
    raise InputError(why)


def _find_in(folder: Path) -> list[Path]:
    """The inputs below a folder; also those, and folders, that cannot be opened."""
    listed, left_out = list_files(folder)
    found = sorted([*listed, *(path for paths in left_out.values() for path in paths)])
    found = [path for path in found if not path.name.endswith(RESULTS)]
    dicom = {path for path in found if _is_dicom(path)}
    folders = {path.parent for path in dicom}
    beside = [path for path in found if path.parent in folders and path not in dicom]
    if beside:
        logger.warning("Left out, beside DICOM files: %s.", name_some(map(printable, beside)))
    found = [path for path in found if path.parent not in folders]
    volumes = [path for path in found if _nifti_suffix(path)]
    pictures = [path for path in found if is_picture(path) or _is_folder(path)]
    masks = find_masks(pictures) | _label_volumes(volumes)
    if masks:
        named = name_some(map(printable, sorted(masks)))
        logger.warning("Masks beside their images are left out: %s.", named)
    return sorted({*dicom, *pictures, *volumes} - masks)


def _label_volumes(volumes: Sequence[Path]) -> set[Path]:
    """Volumes that are named as masks (`x-seg.nii.gz`), beside others that are not."""
    marked = {
        path for path in volumes if ENDING.search(path.name[: -len(_nifti_suffix(path) or "")])
    }
    images = {path.parent for path in volumes if path not in marked}
    return {path for path in marked if path.parent in images}


def _nifti_suffix(path: Path) -> str | None:
    name = path.name.lower()
    return next((suffix for suffix in reversed(NIFTI) if name.endswith(suffix)), None)


def _is_dicom(path: Path) -> bool:
    known = is_picture(path) or _nifti_suffix(path) or not path.is_file()
    return not known and looks_like_dicom(path)


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 (which also takes names that are too long)
