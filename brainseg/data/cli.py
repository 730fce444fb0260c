"""The verbs of `brainseg data`. Each imports what it needs when it is called."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from brainseg.errors import InputError, check_known

app = typer.Typer(help="Prepare, check and view data sets.", no_args_is_help=True)

Root = Annotated[Path, typer.Argument(help="Folder of a data set.")]
Layout = Annotated[
    str | None,
    typer.Option(help="figshare, folder, kaggle_mri, nifti, lgg or dicom; default: detected."),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option", help="Option of the layout, such as planes=axial or patient_pattern=…"
    ),
]


@app.command()
def audit(
    roots: Annotated[list[Path], typer.Argument(help="Folders of data sets.")],
    out: Annotated[Path, typer.Option(help="Folder for audit.json and index.html.")],
    layout: Layout = None,
    option: Options = None,
) -> None:
    """Describe data sets; find broken files, and duplicates within and across the sets."""
    from rich.console import Console

    from brainseg.data.audit.collect import audit as audit_sets
    from brainseg.data.audit.page import print_audit, write_audit
    from brainseg.data.layouts.options import split_options
    from brainseg.terminal import widen

    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file. Give a folder for audit.json and index.html.")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as cache:
        found = audit_sets(roots, Path(cache), layout, split_options(option))
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
    from brainseg.data.case import name_some
    from brainseg.data.cases import LAYOUTS, detect_layout
    from brainseg.data.layouts.options import READERS, split_options
    from brainseg.data.layouts.slices import write_slices
    from brainseg.files import read_csv

    kind = layout or detect_layout(root)
    check_known("layout", [kind], LAYOUTS)
    if kind not in READERS:
        raise InputError(f"{root} has the layout {kind}. Expected volumes: {', '.join(READERS)}.")
    count = write_slices(kind, root, out, split_options(option))
    patients = dict.fromkeys(row["patient"] for row in read_csv(out / "labels.csv"))
    print(f"{count} slices of {len(patients)} patients ({name_some(patients)}): {out}")


@app.command()
def labels(
    root: Annotated[Path, typer.Argument(help="Data set with images/ and masks/.")],
    from_mat: Annotated[Path, typer.Option(help="Folder with figshare's original N.mat files.")],
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
        int, typer.Option(help="Extra slices without tumour per tumour patient.", min=0)
    ] = 0,
    size: Annotated[int, typer.Option(help="Height and width in pixels.", min=32)] = 224,
    seed: Annotated[int, typer.Option(help="The same seed draws the same brains.")] = 0,
    difficulty: Annotated[str, typer.Option(help="easy (large, bright tumours) or hard.")] = "easy",
) -> None:
    """Draw synthetic brains with tumours, in the layout of the real data."""
    from brainseg.data.phantom.write import write_phantom
    from brainseg.files import read_csv

    if out.exists():
        raise InputError(f"{out} exists already. Choose a new folder.")
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
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
    layout: Layout = None,
    option: Options = None,
    columns: Annotated[int, typer.Option(help="Cases per class and split.", min=1)] = 6,
    seed: Annotated[int, typer.Option(help="Seed of the selection and the split.")] = 0,
) -> None:
    """Draw a contact sheet: cases with outlined masks, by class and split."""
    from brainseg.data.layouts.options import split_options
    from brainseg.data.show import show_cases

    options = split_options(option)
    count = show_cases(root, out, layout=layout, options=options, columns=columns, seed=seed)
    print(f"{count} cases: {out}")


@app.command()
def benchmark(
    root: Root,
    layout: Layout = None,
    option: Options = None,
    size: Annotated[int, typer.Option(help="Height and width in pixels.", min=32)] = 224,
    images: Annotated[int, typer.Option(help="Number of images to time.", min=8)] = 512,
    batch: Annotated[int, typer.Option(help="Images per batch.", min=1)] = 16,
    workers: Annotated[int, typer.Option(help="Processes that load batches.", min=0)] = 0,
) -> None:
    """Measure the images per second of each stage from files to batches."""
    from rich.console import Console

    from brainseg.data.layouts.options import split_options
    from brainseg.data.throughput import measure_throughput, to_table

    stages = measure_throughput(
        root,
        layout=layout,
        options=split_options(option),
        size=size,
        images=images,
        batch=batch,
        workers=workers,
    )
    Console().print(to_table(stages))
