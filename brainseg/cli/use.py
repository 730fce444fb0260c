"""The verbs that use a trained network."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from brainseg.errors import InputError
from brainseg.vocabulary import DEVICES, MODES, REFERENCE

app = typer.Typer()


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A run, or a file such as model.fp32.onnx.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path, typer.Option(help="Folder for masks, overlays and predictions.csv.")],
    mode: Annotated[str, typer.Option(help=f"Of a run: {', '.join(MODES)}.")] = REFERENCE,
    device: Annotated[str, typer.Option(help=f"{' or '.join(DEVICES)}.")] = "cpu",
) -> None:
    """Segment images: a mask at each image's own size, an overlay and a CSV row for each."""
    from brainseg.predict.predict import predict as segment
    from brainseg.scoring.models import find_file

    rows = segment(find_file(model, mode), images, out, device=device)
    failed = [row for row in rows if row["error"]]
    print(f"{len(rows) - len(failed)} of {len(rows)} images segmented: {out}/predictions.csv")
    for note, count in Counter(row["note"] for row in rows if row["note"]).items():
        print(f"  {count} of them: {note}")
    if failed:
        raise InputError("\n".join(str(row["error"]) for row in failed))
