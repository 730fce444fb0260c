"""The verbs that use a trained network."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from brainseg.cli.threshold import choose_threshold
from brainseg.errors import InputError
from brainseg.run import Run
from brainseg.vocabulary import DEVICES, MODES, REFERENCE, RESEARCH_ONLY

app = typer.Typer()

LISTED = 20
"""Inputs that are listed in the terminal; more are only counted."""


@app.command()
def predict(
    model: Annotated[
        Path, typer.Argument(help="A run, a package, or a file such as model.fp32.onnx.")
    ],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(help="Images, NIfTI volumes, DICOM files, or folders of these."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder for masks, overlays and predictions.csv.")],
    mode: Annotated[
        str | None, typer.Option(help=f"Of a run: {', '.join(MODES)}; default: {REFERENCE}.")
    ] = None,
    device: Annotated[str, typer.Option(help=f"{' or '.join(DEVICES)}.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads; default: the physical cores.", min=1)
    ] = None,
    batch: Annotated[int, typer.Option(help="Slices per pass.", min=1)] = 1,
    threshold: Annotated[
        str,
        typer.Option(
            help="Probability from which a pixel is tumour, or `best`: that of the largest mean "
            "IoU on the run's validation slices, measured once."
        ),
    ] = "0.5",
    tta: Annotated[
        str,
        typer.Option(
            help="none, or flips: average over the image and its mirror images, for four times "
            "the time. Whether that pays is measured on a run's validation slices, once."
        ),
    ] = "none",
    min_area: Annotated[
        int, typer.Option(help="Leave out parts of a mask with fewer pixels.", min=0)
    ] = 0,
    keep_aspect: Annotated[
        bool | None,
        typer.Option(
            "--keep-aspect/--squeeze",
            help="Pad images to a square, or squeeze them; default: as the network was trained.",
        ),
    ] = None,
    plane: Annotated[
        str | None,
        typer.Option(
            help="Of slices of NIfTI volumes: axial, coronal or sagittal; default: as the network "
            "was trained, else axial."
        ),
    ] = None,
    channel: Annotated[
        int | None, typer.Option(help="Of a NIfTI file with four dimensions, from 0.", min=0)
    ] = None,
    series: Annotated[
        list[str] | None, typer.Option(help="UID of a DICOM series; may be repeated.")
    ] = None,
    secondary_capture: Annotated[
        bool, typer.Option("--secondary-capture", help="Overlays of DICOM slices as DICOM, too.")
    ] = False,
    dicomweb: Annotated[
        str | None,
        typer.Option(help="Address of an archive that has the study, instead of inputs."),
    ] = None,
    study: Annotated[str | None, typer.Option(help="UID of the study in the archive.")] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Store the DICOM-SEG in the archive.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier prediction in that folder.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print manifest.json rather than a summary.")
    ] = False,
) -> None:
    """Segment images, NIfTI volumes and DICOM series; for research use only.

    Of each, a mask that lies on it (PNG, NIfTI or DICOM-SEG), an overlay and a CSV row.
    """
    from brainseg.predict.predict import check_folder
    from brainseg.predict.predict import predict as segment
    from brainseg.predict.settings import Settings

    _check_sources(inputs, dicomweb, study, store, series)
    file = _find_file(model, mode)
    check_folder(out, overwrite)  # before anything is measured
    settings = Settings(
        choose_threshold(threshold, tta, model, mode or REFERENCE, device, threads),
        *(tta, min_area, keep_aspect, batch, plane or _plane(model), channel),
        *(tuple(series or ()), secondary_capture),
    )
    options: Any = {"device": device, "threads": threads, "overwrite": overwrite}
    if dicomweb and study:
        from brainseg.predict.archive import Archive
        from brainseg.predict.archived_study import predict_study

        told = predict_study(file, Archive(dicomweb), study, out, settings, store=store, **options)
    else:
        told = segment(file, inputs or [], out, settings, **options)
    rows = told["rows"]
    failed = [row for row in rows if row["error"]]
    if as_json:
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _summarize(rows, out)
    if failed:
        raise InputError("\n".join(str(row["error"]) for row in failed))


def _check_sources(
    inputs: list[Path] | None,
    dicomweb: str | None,
    study: str | None,
    store: bool,
    series: list[str] | None,
) -> None:
    """Refuse inputs and an archive together, and an archive without a study."""
    if bool(inputs) == bool(dicomweb):
        raise InputError(
            "Expected something to segment: files or folders, or --dicomweb URL --study UID; "
            f"found {'both' if inputs else 'neither'}."
        )
    if bool(dicomweb) != bool(study) or (store and not dicomweb):
        raise InputError("--dicomweb URL and --study UID belong together, and --store to them.")
    if dicomweb and len(series or ()) > 1:
        raise InputError("Of a study in an archive, give one --series at a time.")


def _find_file(model: Path, mode: str | None) -> Path:
    """The network's file; what is no run has one mode, which cannot be chosen."""
    from brainseg.predict.packaged import is_package, model_of
    from brainseg.scoring.models import find_file

    if mode and (model.is_file() or is_package(model)):
        raise InputError(
            f"--mode chooses among the modes of a run; {model} has its own. Leave --mode away."
        )
    return model_of(model) or find_file(model, mode or REFERENCE)


def _plane(model: Path) -> str:
    """The plane in which a network was trained, as far as that is known."""
    from brainseg.predict.package import usual_plane
    from brainseg.predict.packaged import is_package, read_manifest

    if is_package(model):
        return read_manifest(model)["plane"]
    return usual_plane(Run(model))


def _summarize(rows: list[dict[str, Any]], out: Path) -> None:
    done = [row for row in rows if not row["error"]]
    kinds = Counter(row["kind"] for row in rows)
    what = ", ".join(
        f"{count} {kind if kind == 'series' or count == 1 else kind + 's'}"
        for kind, count in kinds.items()
    )
    if done and len(rows) <= LISTED:
        _print_table(done)
    print(f"{len(done)} of {len(rows)} segmented ({what}): {out}/predictions.csv")
    print(RESEARCH_ONLY)
    for note, count in Counter(row["note"] for row in done if row["note"]).items():
        print(f"  {count} of them: {note}")
    warned = [row for row in done if row["warning"]]
    if warned:
        print(f"  {len(warned)} unlike the training data, such as {warned[0]['input']}:")
        print(f"    {warned[0]['warning']}")


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from brainseg.terminal import widen

    table = Table("input", "slices", "with tumour", "tumour", Column("mask", overflow="fold"))
    for row in rows:
        volume = row["volume_ml"]
        size = f"{row['area_px']} px" if volume is None else f"{volume:.2f} ml"
        counts = str(row["slices"]), str(row["tumor_slices"])
        name = row["input"] if row["kind"] == "series" else Path(row["input"]).name
        table.add_row(escape(name), *counts, size, escape(Path(row["mask"]).name))
    widen(Console()).print(table)
