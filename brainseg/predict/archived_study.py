"""A study of an archive: fetched, segmented, and the result stored beside it."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from brainseg.files import telling_full_disk
from brainseg.lock import is_abandoned, locked
from brainseg.predict.archive import Archive
from brainseg.predict.predict import check_folder, predict
from brainseg.predict.settings import Settings

FETCHED = ".fetched."
"""How the name of the folder of what was fetched begins."""

logger = logging.getLogger(__name__)


def predict_study(
    model: Path,
    archive: Archive,
    study: str,
    out: Path,
    settings: Settings,
    *,
    store: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Segment a series of a study, and store its DICOM-SEG where that is asked for.

    What was fetched is removed again; the results stay in `out` whatever the archive does.

    Args:
        model: an ONNX file made by `brainseg export` or `brainseg quantize`.
        archive: that has the study.
        study: StudyInstanceUID.
        out: folder of the results.
        settings: of which `series` is the series to take, or empty for the one that fits.
        store: whether the result is sent to the archive.
        overwrite: whether results of an earlier prediction in `out` are replaced.
        options: others of `predict`.

    Returns:
        The manifest of the prediction.

    Raises:
        InputError: as `predict`, `Archive.choose_series`, `Archive.fetch` and `Archive.store`.
    """
    check_folder(out, overwrite)
    with _fetched(archive, study, settings.series, out) as folder:
        told = predict(model, [folder], out, settings, overwrite=overwrite, **options)
    if store:
        for row in told["rows"]:
            if not row["error"]:
                logger.info("Stored in %s: %s", archive.url, archive.store(Path(row["mask"])))
    return told


@contextmanager
def _fetched(archive: Archive, study: str, series: tuple[str, ...], out: Path) -> Iterator[Path]:
    """The images of a series of a study, in a folder that is there as long as the block runs.

    What an earlier process left that was killed is removed first.

    Args:
        archive: that has the study.
        study: StudyInstanceUID.
        series: SeriesInstanceUID; none for the one that fits.
        out: folder in which it is made: images of patients lie in no common place.

    Raises:
        InputError: as `Archive.choose_series` and `Archive.fetch`, or the disk is full.
    """
    chosen = archive.choose_series(study, *series[:1])
    missing = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    for left in filter(is_abandoned, out.glob(f"{FETCHED}*")):
        shutil.rmtree(left)
    try:
        with (
            telling_full_disk(out),
            TemporaryDirectory(dir=out, prefix=FETCHED) as folder,
            locked(Path(folder)),
        ):
            archive.fetch(study, chosen, Path(folder))
            yield Path(folder)
    finally:
        if missing:
            with suppress(OSError):  # it has results
                out.rmdir()
