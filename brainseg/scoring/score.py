"""Networks to per-case scores on the test and validation slices that the run carries with it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainseg.data.parts import read_test, read_val, to_input
from brainseg.deploy.export import load_network
from brainseg.evaluation.cases import (
    COLUMNS,
    counts_of,
    read_cases,
    summarize,
    to_uint8,
)
from brainseg.evaluation.differences import paired_interval
from brainseg.evaluation.metrics import mean_iou, mean_ious
from brainseg.files import is_fresh, write_csv
from brainseg.rows import RUNTIME
from brainseg.run import Run
from brainseg.runtime.open import open_session
from brainseg.runtime.placement import find_placement
from brainseg.runtime.session import Session
from brainseg.scoring.record import record, record_attention, record_truth, score_part
from brainseg.terminal import bar
from brainseg.vocabulary import CHECKPOINT

BATCH = 16
"""Images per pass of the checkpoint."""

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Images N×1×H×W in [0, 1] to probabilities N×1×H×W."""

Cases = list[dict[str, Any]]
"""Rows of `cases.<mode>.csv`."""


def score_checkpoint(run: Run, *, progress: bool = True) -> dict[str, Any]:
    """Score the best checkpoint in torch, on CUDA where it is present.

    Writes what `record` does, the attention's coefficients, and what the true masks look like.

    Returns:
        The metrics (SPEC section 8).

    Raises:
        InputError: the run has no configuration, checkpoint or test images.
    """
    test = read_test(run)
    record_truth(run, test, progress=progress)
    record_attention(run, test)
    found = predict_checkpoint(run, test, progress=progress)
    return record(run, CHECKPOINT, test, found, progress=progress)


def predict_checkpoint(
    run: Run, part: Mapping[str, NDArray], *, progress: bool = True
) -> NDArray[np.uint8]:
    """Probability maps N×H×W of the images of `part`, from the best checkpoint of `run`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = load_network(run).to(device)

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.from_numpy(images).to(device)).cpu().numpy()

    return _predict_all(predict, part, BATCH, CHECKPOINT, progress)


def score(run: Run, mode: str, *, progress: bool = True) -> None:
    """Score `model.<mode>.onnx` in onnxruntime on the CPU, on the validation and the test split.

    Writes `cases.val.<mode>.csv`, and what `record` does.

    Raises:
        InputError: the file is missing or damaged, or the run has no validation or test images.
    """
    val, test = read_val(run), read_test(run)
    session = open_session(run.onnx(mode))
    on_val = score_part(val, predict_part(session, val, f"{mode} on validation", progress=progress))
    write_csv(run.cases(mode, "val"), on_val, COLUMNS)
    found = predict_part(session, test, mode, progress=progress)
    record(run, mode, test, found, progress=progress)


def measure(
    run: Run,
    mode: str,
    session: Session,
    reference: Cases | None = None,
    *,
    progress: bool = True,
) -> tuple[dict[str, Any], Cases]:
    """All values of a row that need no clock: size, placement, loading, parity, accuracy.

    Accuracy is that of the session's own runtime and device; what `score` found is read again.

    Args:
        run: that the network belongs to.
        mode: of the network.
        session: that runs it.
        reference: the test cases of fp32 in the same runtime on the same device, with which its
            own are compared over patients; `None` where they are not known, or are its own.
        progress: whether to draw bars, where standard error is a terminal.

    Returns:
        The values, and the test cases that they come from.
    """
    val, cases = (_scored(run, mode, part, session, progress=progress) for part in ("val", "test"))
    metrics = summarize(cases)
    parity = session.metadata.get("parity") if _is_usual(session) else None
    values = {
        "size_bytes": run.onnx(mode).stat().st_size,
        **find_placement(session),
        "load_ms": session.load_ms,
        "parity": None if parity is None else float(parity),
        **{name: metrics[name] for name in ("mean_iou", "tumor_iou", "dice")},
        "val_mean_iou": mean_iou(counts_of(val)),
        "delta_mean_iou_interval": reference and _interval(reference, cases),
    }
    return values, cases


def predict_part(
    session: Session, part: Mapping[str, NDArray], what: str, *, progress: bool = True
) -> NDArray[np.uint8]:
    """Probability maps N×H×W of all images of a split.

    One image a pass, as in use: dynamic quantization scales a whole batch at once, and so the
    score of a case would depend on its neighbours.
    """
    return _predict_all(session.run, part, 1, what, progress)


def _scored(run: Run, mode: str, part: str, session: Session, *, progress: bool) -> Cases:
    """The cases of a split, read again where this very file was scored in the same way."""
    stored = run.cases(mode, part)
    if _is_usual(session) and is_fresh(stored, run.onnx(mode)):
        return read_cases(stored)
    slices = read_test(run) if part == "test" else read_val(run)
    return score_part(slices, predict_part(session, slices, mode, progress=progress))


def _is_usual(session: Session) -> bool:
    """Whether it is of the runtime and device in which `score` and `export` look at a file."""
    return (session.runtime, session.device) == (RUNTIME, "cpu")


def _interval(reference: Cases, cases: Cases) -> list[float] | None:
    """How the test score changes, over patients."""
    patients = [case["patient"] for case in cases]
    interval = paired_interval(counts_of(reference), counts_of(cases), patients, mean_ious)
    return None if interval is None else list(interval)


def _predict_all(
    predict: Predict, part: Mapping[str, NDArray], batch: int, what: str, progress: bool
) -> NDArray[np.uint8]:
    images = part["images"]
    starts = bar(range(0, len(images), batch), f"Scoring {what}", progress)
    return np.concatenate(
        [to_uint8(predict(to_input(images[start : start + batch]))[:, 0]) for start in starts]
    )
