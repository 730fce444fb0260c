"""The verbs of `brainseg data`. Each imports what it needs when it is called."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from brainseg.errors import InputError

app = typer.Typer(help="Prepare, check and look at data sets.", no_args_is_help=True)

Root = Annotated[Path, typer.Argument(help="Folder of a data set.")]
Layout = Annotated[
    str | None,
    typer.Option(help="figshare, folder, kaggle_mri, nifti, lgg or dicom; detected otherwise."),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option", help="Of the layout: planes=axial,coronal, channel=1, patient_pattern=…"
    ),
]


@app.command()
def audit(
    roots: Annotated[list[Path], typer.Argument(help="Folders of data sets.")],
    out: Annotated[Path, typer.Option(help="Folder for audit.json and index.html.")],
    layout: Layout = None,
    option: Options = None,
) -> None:
    """Find what is there, what is broken, and what stands twice, also across data sets."""
    from rich.console import Console

    from brainseg.data.audit.collect import audit as audit_sets
    from brainseg.data.audit.page import print_audit, write_audit
    from brainseg.data.layouts.slices import parse_options
    from brainseg.terminal import widen

    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file. Give a folder for audit.json and index.html.")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as cache:
        found = audit_sets(roots, Path(cache), layout, parse_options(option or []))
        facts = write_audit(found, out)
    print_audit(facts, widen(Console()))
    print(f"{len(found.images)} images in {time.monotonic() - start:.0f} s: {out}/index.html")


@app.command()
def convert(
    root: Root,
    out: Annotated[Path, typer.Option(help="New folder for images/, masks/ and labels.csv.")],
    layout: Layout = None,
    option: Options = None,
) -> None:
    """Cut NIfTI, DICOM or LGG volumes into slices, in the layout of `data=folder`."""
    from brainseg.data.cases import detect_layout
    from brainseg.data.layouts.slices import READERS, parse_options, write_slices

    kind = layout or detect_layout(root)
    if kind not in READERS:
        raise InputError(f"{root} has the layout {kind}. Expected volumes: {', '.join(READERS)}.")
    count = write_slices(kind, root, out, parse_options(option or []))
    print(f"{count} slices: {out}")


@app.command()
def labels(
    root: Annotated[Path, typer.Argument(help="Data set with images/ and masks/.")],
    from_mat: Annotated[Path, typer.Option(help="Folder of figshare's original N.mat files.")],
) -> None:
    """Write labels.csv (id, class, patient) from figshare's original MATLAB files."""
    from brainseg.data.layouts.figshare import write_labels

    print(f"{write_labels(root, from_mat)} cases: {root / 'labels.csv'}")


@app.command()
def phantom(
    out: Annotated[Path, typer.Option(help="New folder for images/, masks/ and labels.csv.")],
    patients: Annotated[int, typer.Option(min=1)] = 64,
    slices: Annotated[int, typer.Option(help="Slices per patient.", min=1)] = 8,
    healthy_slices: Annotated[
        int, typer.Option(help="Slices without tumour, of each patient with one, on top.", min=0)
    ] = 0,
    size: Annotated[int, typer.Option(help="Height and width in pixels.", min=32)] = 224,
    seed: int = 0,
    difficulty: Annotated[str, typer.Option(help="easy or hard.")] = "easy",
) -> None:
    """Draw synthetic brains with tumours, in the same layout as the real data."""
    from brainseg.data.phantom.write import write_phantom
    from brainseg.files import read_csv

    if out.exists():
        raise InputError(f"{out} exists already. Give a new folder.")
    write_phantom(
        out,
        patients=patients,
        slices=slices,
        healthy_slices=healthy_slices,
        size=size,
        seed=seed,
        difficulty=difficulty,
    )
    print(f"{len(read_csv(out / 'labels.csv'))} slices of {patients} patients: {out}")


@app.command()
def show(
    root: Annotated[Path, typer.Argument(help="Folder of a data set, or a run.")],
    out: Annotated[Path, typer.Option(help="The picture (PNG).")],
    layout: Layout = None,
    option: Options = None,
    columns: Annotated[int, typer.Option(help="Cases of a class in a row.", min=1)] = 6,
    seed: Annotated[int, typer.Option(help="Draws the cases, and the split.")] = 0,
) -> None:
    """Draw a contact sheet: cases with the outlines of their masks, by class and split."""
    from brainseg.data.layouts.slices import parse_options
    from brainseg.data.show import show_cases

    options = parse_options(option or [])
    count = show_cases(root, out, layout=layout, options=options, columns=columns, seed=seed)
    print(f"{count} cases: {out}")


@app.command()
def benchmark(
    root: Root,
    layout: Layout = None,
    option: Options = None,
    size: Annotated[int, typer.Option(help="Height and width in pixels.", min=32)] = 224,
    images: Annotated[int, typer.Option(help="Images that are timed.", min=8)] = 512,
    batch: Annotated[int, typer.Option(help="Images in a batch.", min=1)] = 16,
    workers: Annotated[int, typer.Option(help="Processes that load.", min=0)] = 0,
) -> None:
    """Time each stage from the files to batches, in images per second."""
    from rich.console import Console

    from brainseg.data.layouts.slices import parse_options
    from brainseg.data.throughput import measure_throughput, to_table

    stages = measure_throughput(
        root,
        layout=layout,
        options=parse_options(option or []),
        size=size,
        images=images,
        batch=batch,
        workers=workers,
    )
    Console().print(to_table(stages))
